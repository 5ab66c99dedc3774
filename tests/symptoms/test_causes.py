"""The cause that a line names behind the words of whoever passes it on leads, whoever that is."""

from __future__ import annotations

import pytest

from preflight.symptoms import find

OUTER = (
    'Failed to pull image "r.example.com/a:1": rpc error: code = Unknown desc = failed to resolve reference'
    ' "r.example.com/a:1": failed to do request: Head "https://r.example.com/v2/a/manifests/1": {}',
    'ERROR: failed to solve: r.example.com/a:1: failed to resolve source metadata for r.example.com/a:1:'
    ' failed to do request: Head "https://r.example.com/v2/a/manifests/1": {}',
    'error: failed to solve: failed to authorize: failed to fetch anonymous token: Get'
    ' "https://auth.example.com/token": {}',
    'error building image: error building stage: failed to get filesystem from image: Get'
    ' "https://r.example.com/v2/": {}',
    'Error: authenticating creds for "r.example.com": pinging container registry: Get "https://r.example.com/v2/": {}',
    "ERROR: Registering runner... failed  runner=ab status=couldn't execute POST against"
    ' https://g.example.com/api/v4/runners: Post "https://g.example.com/api/v4/runners": {}',
    "WARNING: Appending trace to coordinator... error  couldn't execute PATCH against"
    ' https://g.example.com/api/v4/jobs/1/trace: Patch "https://g.example.com/api/v4/jobs/1/trace": {}',
    'WARNING: Retrying... context=cache error=Put "https://s3.example.com/b/cache.zip?X-Amz-Algorithm=A": {}',
    'ERROR: Job failed (system failure): prepare environment: setting up credentials: Post'
    ' "https://10.96.0.1:443/api/v1/namespaces/ci/secrets": {}',
    'Error: UPGRADE FAILED: Get "https://k8s.example.com:6443/apis/apps/v1": {}',
    'error during connect: Get "http://docker:2375/v1.24/info": {}',
    'go: example.com/mod@v1.0.0: Get "https://proxy.golang.org/example.com/mod/@v/v1.0.0.mod": {}',
    "ERROR: Job failed (system failure): resolving secrets: initializing Vault service: preparing authenticated client:"
    ' checking Vault server health: Get "https://vault.example.com:8200/v1/sys/health": {}',
    "Error: error configuring S3 Backend: error validating provider credentials: error calling"
    ' sts:GetCallerIdentity: Post "https://sts.amazonaws.com/": {}',
)  # fmt: skip
"""Who passes an error on: nodes, builders, the runner, its helper, clients of the API server, tools of a script."""

NAME = "lookup-failed any-name-unresolved docker-service-name internet-not-reached cache-store-not-reached"
REFUSED = (
    "any-refused registry-refuses-connections gitlab-not-reached docker-daemon-not-reached api-not-reached"
    " cache-store-not-reached internet-not-reached api-connection-lost registry-token-service"
)
SILENT = (
    "any-timed-out pull-timed-out gitlab-not-reached api-not-reached cache-store-not-reached internet-not-reached"
    " docker-daemon-not-reached control-plane-slow large-packets-lost api-connection-lost"
)
CUT = (
    "any-cut pull-connection-cut gitlab-not-reached api-connection-lost control-plane-slow exec-stream-cut"
    " docker-daemon-not-reached cache-store-not-reached internet-not-reached kaniko-fails"
)
INNER = (
    ("dial tcp: lookup made-up.example.com on 10.96.0.10:53: server misbehaving", NAME),
    ("dial tcp 10.2.3.4:443: connect: connection refused", REFUSED),
    ("dial tcp 10.2.3.4:443: i/o timeout", SILENT),
    ("dial tcp 10.2.3.4:443: connect: network is unreachable", SILENT),
    ("net/http: TLS handshake timeout", SILENT),
    ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", SILENT),
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "certificate-untrusted"),
    ("x509: certificate has expired or is not yet valid: current time 2024-01-01T00:00:00Z", "certificate-expired"),
    ("x509: certificate is valid for a.example.org, not made-up.example.com", "certificate-name"),
    ("tls: first record does not look like a TLS handshake", "tls-not-spoken any-tls-protocol"),
    ("unexpected EOF", CUT),
    ("read tcp 10.1.1.1:5000->10.2.3.4:443: read: connection reset by peer", CUT),
    ("stream error: stream ID 1; INTERNAL_ERROR; received from peer", CUT),
    ("proxyconnect tcp: dial tcp 10.9.9.9:3128: connect: connection refused", "proxy-in-the-way"),
)
"""Causes in Go's words, which nearly all of these programs print, and the entries that tell them."""


@pytest.mark.parametrize(("cause", "told_by"), INNER, ids=[cause[:40] for cause, _ in INNER])
def test_the_cause_leads_and_not_who_passes_it_on(cause: str, told_by: str) -> None:
    led = {outer: found[0].symptom.id for outer in OUTER if (found := find(outer.format(cause)))}
    assert len(led) == len(OUTER)
    assert {outer[:80]: leads for outer, leads in led.items() if leads not in told_by.split()} == {}


@pytest.mark.parametrize(
    ("status", "leads"),
    [
        ("401 Unauthorized", "any-credentials-refused"),
        ("403 Forbidden", "any-forbidden"),
        ("404 Not Found", "any-not-there"),
        ("413 Request Entity Too Large", "any-too-large"),
        ("429 Too Many Requests", "any-rate-limited"),
        ("503 Service Unavailable", "any-server-error"),
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        "Error: Post https://tool.example.com/api: {}",
        "curl: (22) The requested URL returned error: {:.3}",
        "npm ERR! {} - GET https://npm.example.com/made-up",
        "> Could not GET 'https://maven.example.com/x.pom'. Received status code {:.3} from server: made up",
        '{{"status":{:.3},"error":"made up"}}',
        "tool: server answered HTTP/1.1 {}",
    ],
)
def test_a_status_says_the_same_however_it_is_printed(line: str, status: str, leads: str) -> None:
    assert find(line.format(status))[0].symptom.id == leads


def test_what_names_the_system_is_not_overcome_by_the_cause_behind_it() -> None:
    webhook = 'failed calling webhook "x": Post "https://x.svc:443/": dial tcp 10.1.1.1:443: i/o timeout'
    assert find(webhook)[0].symptom.id == "webhook-slow"
    kubelet = "Error from server: error dialing backend: dial tcp 10.1.1.1:10250: connect: connection refused"
    assert find(kubelet)[0].symptom.id == "kubelet-not-reached"


def test_the_host_that_was_asked_last_is_named() -> None:
    line = (
        "ERROR: Downloading artifacts from coordinator... error couldn't execute GET against"
        ' https://g.example.com/api/v4/jobs/1/artifacts: Get "https://minio.example.com/a?X-Amz-A=1":'
        " dial tcp 10.9.9.9:443: connect: connection refused"
    )
    assert "minio.example.com" in find(line)[0].candidates[0].says


@pytest.mark.parametrize(
    ("line", "leads"),
    [
        (
            'error: error validating "ns.yaml": error validating data: failed to download openapi: Get'
            ' "http://localhost:8080/openapi/v2": dial tcp 127.0.0.1:8080: connect: connection refused',
            "kubectl-of-the-job-led-astray",
        ),
        ("Error: Not authorized to perform sts:AssumeRoleWithWebIdentity", "cloud-identity-refused"),
    ],
)
def test_lines_that_each_begin_a_message_are_not_read_as_one_that_a_terminal_wrapped(line: str, leads: str) -> None:
    log = f"Running with gitlab-runner 17.5.3\nUsing Kubernetes executor with image a\n$ run\n{line}\nERROR: Job failed"

    assert find(log)[0].symptom.id == leads


@pytest.mark.parametrize(
    ("lines", "leads"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'ConnectTimeoutError(<C>, 'Connection"
            " to pip.example.com timed out. (connect timeout=15)')': /simple/requests/\n"
            "ERROR: No matching distribution found for requests",
            "any-timed-out",
        ),
        ("ERROR: No matching distribution found for requests", "pip-finds-nothing"),
        (
            "error NU1301: Unable to load the service index for source https://nuget.example.com/v3/index.json.\n"
            "error NU1301: The remote certificate is invalid because of errors in the certificate chain: PartialChain",
            "certificate-untrusted",
        ),
        (
            "$ ssh web\nssh: connect to host web.example.com port 22: Connection timed out\n"
            "ERROR: Job failed: exit code 255",
            "any-timed-out",
        ),
    ],
)
def test_what_ends_a_row_of_attempts_leaves_the_lead_to_what_they_failed_by(lines: str, leads: str) -> None:
    assert find(lines)[0].symptom.id == leads

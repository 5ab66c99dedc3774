"""Texts of the field, of threads and of the runner's documentation: the right symptom leads, and says what it meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preflight.symptoms import find, read
from tests import expectations

HERE = Path(__file__).parent
TEXTS: list[dict[str, Any]] = expectations.read("symptoms/texts.yaml")
HEALTHY = sorted((HERE / "healthy").glob("*.log"))


def test_the_symptom_that_names_the_cause_leads() -> None:
    """All texts in one test, as each takes a millisecond: what it lists are the texts that are read otherwise."""
    wrong = []
    for text in TEXTS:
        found = find(text["text"])
        leads = found[0].symptom.id if found and found[0].candidates else "nothing"
        if leads != text["leads"]:
            wrong.append(f"{text['text'][:160]!r}: {leads} leads, not {text['leads']} ({text['concluded']})")
    assert not wrong, "\n".join(wrong)


def test_enough_texts_are_of_threads_that_concluded_something() -> None:
    assert len([text for text in TEXTS if text["from"].startswith("https://") and text["concluded"]]) >= 60
    assert len([text for text in TEXTS if text["from"] == "the field"]) == 46


@pytest.mark.parametrize("log", HEALTHY, ids=lambda log: log.stem)
def test_a_log_of_a_job_that_succeeded_shows_nothing(log: Path) -> None:
    reading = read([log.read_bytes()])
    assert reading.succeeded
    assert reading.symptoms == ()
    assert reading.stage is None


def test_there_are_enough_healthy_logs() -> None:
    assert len(HEALTHY) >= 34


def test_a_job_that_its_own_script_fails_says_that_the_environment_is_well() -> None:
    """Whatever the commands before printed: they have succeeded."""
    tried = 0
    for log in HEALTHY:
        text = log.read_text(encoding="utf-8")
        end = text.rfind("Cleaning up project directory")
        if end < 0 or "Uploading artifacts" in text or "Saving cache" in text:
            continue
        failed = f"{text[:end]}$ ./check.sh\n3 problems\n{text[end:]}".replace(
            "Job succeeded", "ERROR: Job failed: command terminated with exit code 1"
        )
        leading = find(failed)[0]
        assert leading.symptom.id == "script-failed", log.name
        assert "the environment is well" in leading.candidates[0].says
        tried += 1
    assert tried >= 20


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ('Put "https://minio.example.com/c?X-Amz-Algorithm=A": context deadline exceeded', "control-plane-slow"),
        ("failed with status code [manifests 1]: 503 Service Unavailable (/v2/x)", "gitlab-answers-with-an-error"),
        ("curl: (28) Failed to connect to github.com port 443: Connection timed out", "gitlab-not-reached"),
        ("unexpected status code https://registry-1.docker.io/v2/x: 429 Too Many Requests", "gitlab-limits-us"),
        ('Get "https://auth.docker.io/token": dial tcp: lookup auth.docker.io: no such host', "docker-service-name"),
        ("curl: (22) The requested URL returned error: 404", "git-not-found"),
        ("reading https://sum.golang.org/lookup/example.org/m@v1.0.0: 410 Gone", "registration-refused"),
        ("npm ERR! 429 Too Many Requests - GET https://npm.example.org/x", "gitlab-limits-us"),
        (
            'Post "https://api.example.com/project/1/deploy": dial tcp 10.1.1.1:443: i/o timeout',
            "cache-store-not-reached",
        ),
        ('Get "https://vault.example.com/v1/sys/health": dial tcp 10.1.1.1:443: i/o timeout', "gitlab-not-reached"),
        ("curl: (7) Failed to connect to sonar.example.com port 443: Connection refused", "gitlab-not-reached"),
        ("Unexpected HTTP status 403 Forbidden from https://api.github.com/repos", "cache-store-error"),
        ('{"error":"insufficient_scope","error_description":"higher privileges"}', "pull-denied"),
        ("FATAL: file does not exist", "git-failed"),
        ("Unable to connect to the server: dial tcp 10.1.1.1:443: i/o timeout", "gitlab-not-reached"),
        (
            'Get "https://index.docker.io/v2/": http2: server sent GOAWAY and closed the connection',
            "control-plane-slow",
        ),
        ('Get "https://proxy.golang.org/x": stream error: stream ID 5; INTERNAL_ERROR', "exec-stream-cut"),
        ("curl: (22) The requested URL returned error: 411 Length Required", "artifact-length-required"),
        ('Error from server (NotFound): secrets "app" not found', "mounted-object-missing"),
        ("unshare: unshare failed: No space left on device", "disk-full"),
        ("google.api_core.exceptions.DeadlineExceeded: 504 Deadline Exceeded", "pod-deleted"),
    ],
)
def test_no_other_system_is_named(text: str, never: str) -> None:
    assert never not in [found.symptom.id for found in find(text)]


def test_a_cut_connection_to_gitlab_is_not_said_of_the_cluster() -> None:
    (cut,) = find("fatal: unable to access 'https://gitlab.com/g/p.git/': OpenSSL SSL_connect: SSL_ERROR_SYSCALL")
    assert {candidate.about for candidate in cut.candidates} == {""}


@pytest.mark.parametrize(
    ("line", "about"),
    [
        ('Failed to pull image "r/x:1": Head "https://r/v2/x/manifests/1": x509: certificate has expired', "registry"),
        ("couldn't execute POST against https://g/api/v4/jobs/request: x509: certificate has expired", "gitlab"),
        ("Unable to connect to the server: x509: certificate has expired", "kubernetes"),
        (
            "setting up credentials: Post https://10.96.0.1:443/api/v1/namespaces/ci/secrets: x509: certificate has "
            "expired. Check https://docs.gitlab.com/runner/shells/ for more information",
            "kubernetes",
        ),
    ],
)
def test_the_same_words_are_said_of_the_system_that_the_line_names(line: str, about: str) -> None:
    (found,) = [found for found in find(line) if found.symptom.id == "certificate-expired"]
    assert {candidate.about for candidate in found.candidates} == {about, ""}
    assert found.candidates[0].about == about


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/busybox/sh: eval: line 87: can't create /kaniko/.docker/x: Permission denied", "user of the container"),
        ("sh: ./deploy.sh: Permission denied", "not executable"),
        ("curl: (22) The requested URL returned error: 507", "no room left, not the cluster"),
        ("cp: error writing x: No space left on device", "the node's disk is full"),
        ("Pod Unable To Assume Role With Annotation", "another pod than the job's"),
        ("Error: Cannot assume IAM Role", "trust policy"),
        (
            "Error: Cannot assume IAM Role\nAccessDenied: User: arn:aws:sts::1:assumed-role/node/i-1 is not authorized "
            "to perform: sts:AssumeRole on resource: arn:aws:iam::1:role/ci",
            "the pod got the node's role",
        ),
        ("Unable to connect to the server: dial tcp 127.0.0.1:43157: connect: connection refused", "names 127.0.0.1"),
        (
            "The connection to the server localhost:8080 was refused - did you specify the right host or port?",
            "no kubeconfig",
        ),
        (
            'Error: Post "https://127.0.0.1:34233/apis/x": dial tcp 127.0.0.1:34233: connection refused',
            "names 127.0.0.1",
        ),
        ("/scripts-1-2/get_sources: line 45: git: command not found", "helper image"),
        ("/scripts-1-2/step_script: line 145: git: command not found", "job's own fault"),
        ("Error response from daemon: unauthorized: authentication required", "caching proxy"),
        ('Error response from daemon: Get "https://r.example/v2/": unauthorized: authentication required', "variables"),
        (
            'checking push permission for "1.dkr.ecr.eu-west-1.amazonaws.com/a:1": POST '
            "https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/a/blobs/uploads/: unexpected status code 401 Unauthorized",
            "ECR",
        ),
        ("The connection to the server 10.96.0.1:443 was refused - did you specify the right host or port?", "sidecar"),
        (
            "The connection to the server docker:6443 was refused - did you specify the right host or port?",
            "kubeconfig",
        ),
        ("Getting source from Git repository\nbash: line 12: git: command not found", "helper image"),
        (
            'prepare environment: unable to upgrade connection: container not found ("helper")',
            "helper container was not",
        ),
        ('prepare environment: unable to upgrade connection: container not found ("build")', "the build container had"),
        ('error: unable to upgrade connection: container not found ("app")', "none of the job's own"),
        ("The node was low on resource: memory.", "memory is used up"),
        ("Warning  Failed  kubelet  Error: ErrImagePull", "does not say why"),
        ("error dialing backend: remote error: tls: internal error", "does not trust the kubelet's certificate"),
        ("error dialing backend: dial tcp 10.1.1.1:10250: i/o timeout", "has no way to port 10250"),
        ("error dialing backend: No agent available", "konnectivity"),
        ("error while generating S3 pre-signed URL error=Access Key is required", "missing in [runners.cache]"),
        ("Failed to load config open /etc/gitlab-runner/config.toml: permission denied", "may not read"),
        ("dial tcp 10.2.3.4:443: i/o timeout", "does not say whose it is"),
        ("prepare environment: waiting for pod running: timed out waiting for pod to start", "does not say why"),
        ("ERROR: prepare timeout: exceeded timeout of 5m0s", "preparation may take"),
        ("OSError: [Errno 24] Too many open files", "ulimit"),
        ("failed to create fsnotify watcher: too many open files", "all pods of the node"),
        ("kubelet  Back-off restarting failed container app in pod web-7d4_prod", "what it runs fails"),
        (
            "kubelet  Back-off restarting failed container gitlab-runner in pod gitlab-runner-7d4_ci",
            "the manager starts",
        ),
        (
            "bash: line 1: ./terraform: cannot execute binary file: Exec format error",
            "often one that the script fetches",
        ),
        (
            "failed to register layer: ApplyLayer exit status 1: lchown /bin: operation not permitted",
            "the layer is whole",
        ),
        ('Get "/v2/": unsupported protocol scheme ""', "a variable that is not defined"),
        ("This job is stuck because no active runners online have any of these tags: gpu", "with these tags"),
        ("WARNING: received: 404 Not Found", "no such cache yet"),
        ("curl: (35) error:0A000152:SSL routines::unsafe legacy renegotiation disabled", "no TLS version"),
        ("curl: (35) error:1408F10B:SSL routines:ssl3_get_record:wrong version number", "speaks plain HTTP"),
        (
            'error when creating "x.yaml": admission webhook "v.kyverno.svc" denied the request',
            "what the script deploys",
        ),
        ('failed calling webhook "w.example.org": x509: certificate signed by unknown authority', "does not trust"),
        ('failed calling webhook "w.example.org": no endpoints available for service "w"', "has no pod that is up"),
        ("The node was low on resource: ephemeral-storage.", "disk is used up"),
        ("curl: (56) Received HTTP code 403 from proxy after CONNECT", "missing in no_proxy"),
        ("curl: (56) Received HTTP code 407 from proxy after CONNECT", "wants credentials"),
        ("Failed to load config toml: line 3: incompatible types: TOML value has type string", "another type"),
        ("Multus: GetCNIConfigFromFile: No networks found in /host/etc/cni/net.d", "has not put its configuration"),
        ('services "web" is forbidden: User "deployer" cannot patch resource "services"', "the user of the kubeconfig"),
        ('error: exec plugin: invalid apiVersion "client.authentication.k8s.io/v1alpha1"', "versions that do not fit"),
        ("$ git log\nbash: line 12: git: command not found", "job's own fault"),
        ("cp: cannot stat './dist': No such file or directory", "made by another job"),
        ("/bin/sh: eval: line 120: -: not found", "has a mistake"),
        ("/usr/bin/env: 'python': No such file or directory", "lacks the program"),
        ("Error during unshare(CLONE_NEWUSER): Invalid argument", "no user namespaces"),
        ("Error during unshare(CLONE_NEWUSER): Operation not permitted", "may not make namespaces"),
        ("using mount program /usr/bin/fuse-overlayfs: fuse: device not found, try 'modprobe fuse'", "no /dev/fuse"),
        ("open /sys/fs/cgroup/u0z5n0: no such file or directory", "does not find its own cgroup"),
        ("cat: /sys/fs/cgroup/cpu/cpu.cfs_quota_us: No such file or directory", "cgroup v1"),
        ("Error: readlink /var/lib/containers/storage/overlay/l/A: invalid argument", "container's own overlay"),
        ("error: x509: certificate has expired or is not yet valid: current time 1 is before 2", "clock"),
        ("error: x509: certificate has expired or is not yet valid: current time 2 is after 1", "is over"),
        (
            "curl: (35) error:1414D172:SSL routines:tls12_check_peer_sigalg:wrong signature type",
            "TLS version or cipher",
        ),
        ('ERROR: made up: malformed HTTP response "x"', "one side speaks HTTP"),
        ("write /cache/x: disk quota exceeded", "quota of a file system"),
        ("curl: (6) Could not resolve host: $API_HOST", "not expanded"),
        ("curl: (6) Could not resolve host: a.example.com", "unknown to the resolvers"),
        ("kex_exchange_identification: Connection closed by remote host", "ssh server refuses"),
        ("EACCES: permission denied, mkdir '/.npm'", "no home of its own"),
        ("tool: could not create '/usr/lib/x': Permission denied", "not the one that the image is made for"),
        ("tool: could not create 'out/x': Permission denied", "may not read or write there"),
        ("strace: ptrace(PTRACE_TRACEME): Operation not permitted", "lacks the privilege"),
        ("BrokenPipeError: [Errno 32] Broken pipe", "other end of the pipe"),
        ("write tcp 10.0.0.1:50000->10.0.0.2:443: write: broken pipe", "stands between"),
        ("ERROR: 403 Forbidden - PUT https://registry.npmjs.example/x", "the account that is used"),
        ("ERROR: 403 Forbidden - GET https://registry.npmjs.example/x", "a proxy or firewall"),
        (
            "fatal: unable to access 'https://g.example.com/': Received HTTP code 503 from proxy after CONNECT",
            "the proxy",
        ),
        ("batch response: Rate limit exceeded", "limits how many requests"),
        (
            "error getting credentials - err: exit status 1, out: `no usernames for https://r.example`",
            "credential helper",
        ),
        (
            "Error response from daemon: client version 1.52 is too new. Maximum supported API version is 1.43",
            "do not fit",
        ),
        ("bind source path does not exist: /builds/g/p", "its own container"),
        ("ssh: connect to host web1 port 22: Connection timed out", "no way to web1"),
        (
            "Failed to create pod sandbox: rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            "runtime",
        ),
        ('task run pod "x" failed: "step-build" exited with code 137', "killed from outside"),
        ('unable to upgrade connection: container not found ("helper")', "helper container"),
        ('unable to upgrade connection: container not found ("build")', "build container"),
        (
            'secrets is forbidden: User "system:serviceaccount:a:b" cannot list resource "secrets" in API group "" in '
            'the namespace "a"',
            "own namespace",
        ),
        (
            'secrets is forbidden: User "system:serviceaccount:a:b" cannot list resource "secrets" in API group "" in '
            'the namespace "c"',
            "the namespace that the line names",
        ),
        ('nodes is forbidden: User "system:serviceaccount:a:b" cannot list resource "nodes"', "job's service account"),
        ('pods is forbidden: User "jane" cannot list resource "pods" in the namespace "a"', "user of the kubeconfig"),
        (
            "Step 2/3 : RUN npm ci\nnpm ERR! request to https://a.example failed, reason: getaddrinfo ENOTFOUND a.b",
            "inside",
        ),
        ("npm ERR! request to https://a.example failed, reason: getaddrinfo EAI_AGAIN a.example", "resolve"),
        ('Get "https://10.0.0.4:10250/containerLogs/ci/x/b": remote error: tls: internal error', "certificate"),
        ("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.", "own rules"),
        (
            'Failed to pull image "1.dkr.ecr.eu-west-1.amazonaws.com/a:1": failed to resolve reference: unexpected '
            "status code 401 Unauthorized",
            "the nodes have no login",
        ),
        (
            'admission webhook "validation.gatekeeper.sh" denied the request: [repos] container <h'
            'elper> has an invalid image repo <docker.io/x>, allowed repos are ["r.example/"]',
            "certain registries",
        ),
        (
            'admission webhook "v.svc-fail" denied the request:\nresource Pod/ci/runner-x was block'
            "ed due to the following policies\nrestrict-image-registries:\n  validate: Unmanaged ima"
            "ge registry is not allowed.",
            "certain registries",
        ),
        (
            'admission webhook "v.svc" denied the request: using a mutable image tag is not allowed',
            "tag of an image",
        ),
        (
            'admission webhook "v.svc" denied the request: you must provide labels: {"team"}',
            "labels or annotations",
        ),
        (
            '$ docker push r.example/a:1\nGet "https://r.example/v2/": x509: certificate signed by unknown authority',
            "Docker's daemon in the job",
        ),
        (
            '$ crane push x r.example/a:1\nGet "https://r.example/v2/": x509: certificate signed by unknown authority',
            "what asks the registry in the job",
        ),
        (
            'Failed to pull image "r.example/a": Head "https://r.example/v2/a/manifests/1": x509: '
            "certificate signed by unknown authority",
            "nodes' runtime",
        ),
        ("Created fresh repository.\nremote: HTTP Basic: Access denied", "the job's own project"),
        (
            "Submodule 'lib' registered for path 'lib'\nCloning into '/builds/a/lib'...\nremote: HTT"
            "P Basic: Access denied",
            "a submodule",
        ),
        ("Normal ScaleDown deleting pod for node scale down", "an autoscaler took the node"),
        (
            "0/6 nodes are available: 3 node(s) had volume node affinity conflict, 3 Insufficient memory.",
            "another zone",
        ),
        ("error building image: error building stage: failed to execute command: signal: killed", "more memory"),
        (
            "An error occurred when calling the AssumeRoleWithWebIdentity operation: No OpenIDConn"
            "ect provider found in your account",
            "no OIDC identity provider",
        ),
        (
            "error: The server uses a certificate signed by unknown authority. Use the --certificate-authority flag",
            "its kubeconfig has another CA",
        ),
        ("AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting 'eu-west-1'", "another region"),
        (
            "error while generating GCS pre-signed URL: Permission 'iam.serviceAccounts.signBlob' denied on resource",
            "may not sign URLs",
        ),
        ("failed to create shim task: qemu-kvm: Could not access KVM kernel module", "virtual machine"),
        (
            "GitLab Agent Server: HTTP->gRPC: failed to find agent: agent not found or not connected",
            "not connected to GitLab",
        ),
        (
            "Normal DisruptionLaunching Launching NodeClaim: Empty\nEvictionByEvictionAPI: evicting",
            "an autoscaler took the node",
        ),
        ("reading https://sum.golang.org/lookup/gitlab.example.com/g/lib@v1.0.0: 404 Not Found", "GOPRIVATE"),
        ("dial tcp 10.96.0.1:443: connect: no route to host", "the API server's"),
        ("Error acquiring the state lock: HTTP remote state endpoint requires auth", "does not take the token"),
        ('admission webhook "v.svc" denied the request: Image contains critical vulnerabilities', "by a scan"),
        (
            'failed to pull image "r.example/a" with specified policies [always]: Error response f'
            'rom daemon: Get "https://r.example/v2/": x509: certificate signed by unknown authorit'
            "y",
            "Docker executor",
        ),
        (
            'Step 1/3 : FROM r.example/a\nGet "https://r.example/v2/": x509: certificate signed by unknown authority',
            "Docker's daemon, which builds",
        ),
        ("hcs::System::Start: Not enough memory resources are available to complete this operation.", "no memory left"),
        (
            'failed pulling image "k8s.gcr.io/pause:3.1": no matching manifest for windows/amd64 10.0.1 in',
            "(pause) image",
        ),
        (
            "Failed to pull image: no matching manifest for windows/amd64 10.0.1 in the list",
            "not published for the node",
        ),
        (
            "Created fresh repository.\nfatal: unable to access 'https://git.example.org/p.git/': "
            "Could not resolve host: "
            "git.example.org",
            "the manager, which took the job",
        ),
        (
            "error building image: error building stage: failed to get filesystem from image: error "
            "removing bin to make "
            "way for new symlink: unlinkat //bin/sh: permission denied",
            "does not run as root",
        ),
        (
            "error building image: error building stage: failed to get filesystem from image: error "
            "removing var/run to "
            "make way for new symlink: unlinkat /var/run/secrets/token: read-only file system",
            "where the pod has a mount",
        ),
        (
            "error building image: error building stage: failed to execute command: extracting fs from image: removing "
            "whiteout .wh.dev: unlinkat //dev/pts/ptmx: operation not permitted",
            "a fault of that version of kaniko",
        ),
        (
            'Failed to pull image "harbor.example.com/a:1":\nrpc error: code = Unknown desc = failed '
            "to do request: Head "
            "https://harbor.example.com/v2/a/manifests/1:\nx509: certificate signed by unknown authority",
            "the nodes' runtime",
        ),
        (
            "ERROR: Preparation failed: Error response from daemon: Get https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/x/"
            "manifests/1: no basic auth credentials (docker.go:200:0s)",
            "the runner, which asks its machine's Docker daemon",
        ),
        (
            "$ docker pull r.example.com/x\nError response from daemon: Head "
            '"https://r.example.com/v2/x/manifests/1": no '
            "basic auth credentials",
            "own script is not logged in",
        ),
        ("x\n$ tar -c --zstd x\ntar: unrecognized option: -c", "a command of the script was given an option"),
        (
            'failed calling webhook "w": Post "https://w.ns.svc:443/m": x509: certificate relies on legacy Common Name '
            "field",
            "does not name its Service",
        ),
        ('failed calling webhook "w": Post "https://w.ns.svc:443/m": x509: certificate has expired', "has expired"),
        ('failed calling webhook "w": Post "https://w.ns.svc:443/m": x509: certificate signed by unknown', "CA bundle"),
        (
            'pods "app-1" is forbidden: unable to validate against any security context constraint: [spec.volumes[0]: '
            'Invalid value: "hostPath": hostPath volumes are not allowed to be used]',
            "something of the node",
        ),
        (
            'ERROR: Preparation failed: Error response from daemon: Get "https://r.example.com/v2/": x509: certificate '
            "signed by unknown authority (docker.go:142:0s)",
            "Docker executor",
        ),
        (
            'Failed to pull image "r.example.com/x": rpc error: code = Unknown desc = failed to do request: Head '
            '"https://r.example.com/v2/x": dial tcp: lookup r.example.com: no such host',
            "the nodes' own resolvers",
        ),
        ("error dialing backend: x509: certificate is valid for 10.0.0.1, not 10.0.0.2", "does not name the address"),
        (
            'x\n$ podman push r\ntime="1" level=error msg="Failed to push" error="x509: certificate signed by unknown '
            'authority"',
            "the job's image",
        ),
        (
            'failed calling webhook "w": Post "https://w.ns.svc:443/m": Address is not allowed',
            "the control plane has no way",
        ),
        ('failed calling webhook "w": the server could not find the requested resource', "is not the webhook"),
        ('failed calling webhook "w": dial tcp: lookup w.ns.svc on 10.0.0.2:53: no such host', "its own NO_PROXY"),
        (
            'failed to get sandbox image "registry.k8s.io/pause:3.9": failed to resolve reference: unexpected status '
            "from HEAD request: 403 Forbidden",
            "(pause) image",
        ),
        ("error: invalid peer certificate: CertExpired", "is over"),
        (
            "rpc error: code = Unknown desc = chain status UntrustedRoot for https://r.example.com/v2/",
            "the node's runtime",
        ),
        (
            "ERROR: Appending trace to coordinator... error couldn't execute PATCH against https://gitlab.example.com/"
            "api/v4/jobs/1/trace",
            "could not be sent",
        ),
        ("WARNING: Appending trace to coordinator... job failed code=403 status=403 Forbidden", "has ended the job"),
        (
            "dial tcp: lookup docker on 100.64.0.10:53: no such host",
            "no alias",
        ),
        (
            "dial tcp: lookup docker on 169.254.169.254:53: no such host",
            "ended at its start",
        ),
        (
            "ERROR: Preparation failed: Error response from daemon: client version 1.42 is too old. "
            "Minimum supported API version is 1.44 (docker.go:779:0s)",
            "the runner itself",
        ),
        (
            "Error response from daemon: client version 1.42 is too old. Minimum supported API version is 1.44",
            "the docker client in the image",
        ),
        (
            "Error: Could not assume role with OIDC: Not authorized to perform sts:AssumeRoleWithWebIdentity",
            "trust policy",
        ),
        (";; connection timed out; no servers could be reached", "does not answer in time"),
        (
            "curl: (6) Could not resolve host: a.example.com\n;; no servers could be reached\n",
            "does not answer in time",
        ),
        ("unlinkat //product_name: device or resource busy", "mounted into kaniko's container"),
        ("rm: cannot remove '/home/ci/.m2': Device or resource busy", "a mount of the container"),
        ("Error: no matching attestations: made up", "wants an attestation"),
        (
            'avc: denied { write } comm="touch" scontext=u:r:container_t:s0 tcontext=u:object_r:cache_t:s0 tclass=dir',
            "has a label",
        ),
        ("Near line 32 (last key parsed 'runners.name'): expected a comma", "the runner's configuration"),
        ("tomllib.TOMLDecodeError: Invalid statement (at line 1, column 1)", "a file of the project"),
    ],
)
def test_the_meaning_that_the_words_of_the_line_ask_for_is_first(line: str, says: str) -> None:
    assert says in find(line)[0].candidates[0].says


@pytest.mark.parametrize(
    ("printed", "leads"),
    [
        ("ls: cannot access 'a': No such file or directory\nValueError: made up", "any-own-fault"),
        ("ls: cannot access 'a': No such file or directory", "file-not-there"),
        (
            "WARNING: Error loading config file: /home/ci/.docker/config.json: permission denied\n"
            "Error response from daemon: manifest for r.example.com/a:1 not found: manifest unknown",
            "image-not-found",
        ),
        ("mesg: ttyname failed: Inappropriate ioctl for device\nsrc/a.ts(3,5): error TS2322: made up", "any-own-fault"),
    ],
)
def test_what_a_script_went_on_after_does_not_lead_before_what_ended_it(printed: str, leads: str) -> None:
    script = f'Executing "step_script" stage of the job script\n$ ./x.sh\n{printed}\nERROR: Job failed: exit code 1'
    assert find(script)[0].symptom.id == leads


def test_git_that_is_missing_in_a_line_alone_may_be_missing_in_the_helper_image() -> None:
    line = "bash: git: command not found"
    assert ["helper image" in candidate.says for candidate in find(line)[0].candidates] == [False, True]
    (said,) = find(f'Executing "step_script" stage of the job script\n{line}')[0].candidates
    assert "job's own fault" in said.says

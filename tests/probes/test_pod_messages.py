"""The words of a real cluster, and of other runtimes, become faults."""

from __future__ import annotations

import re
from typing import Any

import pytest

from preflight.faults import DindFault, PodFault
from preflight.probes.pod_messages import (
    classify_admission,
    classify_daemon,
    classify_end,
    classify_pull,
    classify_scheduling,
    pull_seconds,
)
from tests.probes.apiserver import daemon_log, pull_words, recorded

Json = dict[str, Any]


def refusals(name: str) -> list[str]:
    """What admission said in a recording: at once, or in the Job controller's events."""
    said = [each["response"]["message"] for each in recorded(name) if each["status"] >= 400]
    for each in recorded(name):
        items = each["response"].get("items", []) if isinstance(each["response"], dict) else []
        said += [item["message"] for item in items if item.get("reason") == "FailedCreate"]
    return said


@pytest.mark.parametrize(
    ("recording", "fault", "cause"),
    [
        ("admission_psa_baseline", PodFault.POD_SECURITY, r'^violates PodSecurity "baseline:latest": privileged'),
        ("admission_psa_restricted", PodFault.POD_SECURITY, r'^violates PodSecurity "restricted:latest"'),
        ("job_refused_pod_security", PodFault.POD_SECURITY, r'^violates PodSecurity "baseline:latest": privileged'),
        ("job_refused_quota", PodFault.QUOTA, "^exceeded quota: small, requested: requests.cpu=10m, used: "),
        (
            "admission_limitrange",
            PodFault.LIMIT_RANGE,
            "^maximum memory usage per Container is 512Mi, but limit is 1Gi$",
        ),
        ("job_refused_limitrange", PodFault.LIMIT_RANGE, "^maximum memory usage per Container is 64Mi"),
        ("job_refused_service_account", PodFault.SERVICE_ACCOUNT_MISSING, "gitlab/nosuch"),
    ],
)
def test_admissions_words_name_the_fault(recording: str, fault: PodFault, cause: str) -> None:
    said = refusals(recording)
    assert said, "the recording holds a refusal"
    for message in said:
        found, why = classify_admission(403, message)
        assert found is fault
        assert re.search(cause, why)
        assert "is forbidden" not in why


def test_each_of_the_other_refusals_has_its_fault() -> None:
    quota = [classify_admission(403, message)[0] for message in refusals("admission_quota")]
    assert quota == [PodFault.QUOTA, PodFault.QUOTA]
    account, namespace, name = (
        classify_admission(each["status"], each["response"]["message"]) for each in recorded("admission_refusals")
    )
    assert account[0] is PodFault.SERVICE_ACCOUNT_MISSING
    assert namespace == (PodFault.NAMESPACE_MISSING, 'namespaces "nosuch" not found')
    assert name[0] is PodFault.REFUSED_BY_API
    assert "lowercase RFC 1123" in name[1]


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ('admission webhook "pods.policy.example" denied the request: no latest tags', PodFault.WEBHOOK),
        (
            (
                'Internal error occurred: failed calling webhook "inject.example": failed to call webhook: Post '
                '"https://inject.mesh.svc:443/?timeout=10s": context deadline exceeded'
            ),
            PodFault.WEBHOOK,
        ),
        (
            'pods "x" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per '
            "Container is 1Gi, but limit is 2Gi]",
            PodFault.LIMIT_RANGE,
        ),
        (
            'pods "x" is forbidden: unable to validate against any security context constraint: [provider "anyuid": '
            "Forbidden: not usable by user or serviceaccount, provider restricted-v2: .containers[0].privileged: "
            "Invalid value: true: Privileged containers are not allowed]",
            PodFault.SECURITY_CONSTRAINTS,
        ),
        (
            'pods "x" is forbidden: unable to create new content in namespace gitlab because it is being terminated',
            PodFault.NAMESPACE_MISSING,
        ),
        ('pods "x" is forbidden: pod rejected: RuntimeClass "gvisor" not found', PodFault.CLASS_MISSING),
        ('pods "x" is forbidden: no PriorityClass with name ci-high was found', PodFault.CLASS_MISSING),
        ('pods "x" is forbidden: a plugin of ours says no', PodFault.REFUSED_BY_API),
        ("", PodFault.REFUSED_BY_API),
    ],
)
def test_other_admission_has_its_words_too(message: str, fault: PodFault) -> None:
    found, cause = classify_admission(403, message)
    assert found is fault
    assert cause
    assert not cause.startswith(("[", "pods "))


def scheduling_words(name: str) -> list[str]:
    said: list[str] = []
    for each in recorded(name):
        for item in each["response"].get("items", []):
            if item.get("reason") == "FailedScheduling":
                said.append(item["message"])
            said += [c["message"] for c in item.get("status", {}).get("conditions", []) if c["type"] == "PodScheduled"]
    return said


@pytest.mark.parametrize(
    ("recording", "fault", "cause"),
    [
        ("sched_insufficient_memory", PodFault.UNSCHEDULABLE_RESOURCE, "Insufficient memory"),
        ("sched_insufficient_cpu", PodFault.UNSCHEDULABLE_RESOURCE, "Insufficient cpu"),
        ("sched_node_selector", PodFault.UNSCHEDULABLE_SELECTOR, "didn't match Pod's node affinity/selector"),
        ("sched_taint", PodFault.UNSCHEDULABLE_TAINT, "had untolerated taint {dedicated: db}"),
        ("sched_cordoned", PodFault.UNSCHEDULABLE_CORDONED, "were unschedulable"),
        ("sched_pinned_memory", PodFault.UNSCHEDULABLE_RESOURCE, "Insufficient memory"),
        ("sched_pinned_two_resources", PodFault.UNSCHEDULABLE_RESOURCE, "Insufficient cpu, Insufficient memory"),
        ("sched_pinned_selector", PodFault.UNSCHEDULABLE_SELECTOR, "didn't match Pod's node affinity/selector"),
    ],
)
def test_the_schedulers_words_name_the_fault_and_keep_what_counts(recording: str, fault: PodFault, cause: str) -> None:
    said = scheduling_words(recording)
    assert said, "the recording holds the scheduler's words"
    assert {classify_scheduling(message) for message in said} == {(fault, cause)}


@pytest.mark.parametrize(
    ("message", "fault", "cause"),
    [
        (
            (
                "0/4 nodes are available: 1 Too many pods, 3 node(s) didn't satisfy plugin(s) [NodeAffinity]. "
                "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
            ),
            PodFault.UNSCHEDULABLE_RESOURCE,
            "Too many pods",
        ),
        (
            (
                "0/4 nodes are available: 1 node(s) had taint {dedicated: db}, that the pod didn't tolerate, "
                "3 node(s) didn't match Pod's node affinity/selector."
            ),
            PodFault.UNSCHEDULABLE_TAINT,
            "had taint {dedicated: db}, that the pod didn't tolerate",
        ),
        (
            "0/4 nodes are available: 1 Insufficient nvidia.com/gpu, 3 node(s) didn't match Pod's node affinity.",
            PodFault.UNSCHEDULABLE_RESOURCE,
            "Insufficient nvidia.com/gpu",
        ),
        (
            "0/4 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unschedulable: }.",
            PodFault.UNSCHEDULABLE_CORDONED,
            "had untolerated taint {node.kubernetes.io/unschedulable: }",
        ),
        (
            "0/4 nodes are available: 4 node(s) didn't satisfy plugin(s) [NodeAffinity].",
            PodFault.UNSCHEDULABLE_SELECTOR,
            "the values' node selector or affinity does not match the node",
        ),
        (
            "0/3 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
            PodFault.UNSCHEDULABLE,
            "didn't find available persistent volumes to bind",
        ),
        ("no nodes available to schedule pods", PodFault.UNSCHEDULABLE, "no nodes available to schedule pods"),
    ],
)
def test_other_schedulers_words_are_known_too(message: str, fault: PodFault, cause: str) -> None:
    assert classify_scheduling(message) == (fault, cause)


@pytest.mark.parametrize(
    ("recording", "fault", "cause"),
    [
        ("pull_bad_name", PodFault.PULL_BAD_NAME, "repository name must be lowercase$"),
        (
            "pull_name_unresolvable",
            PodFault.PULL_UNRESOLVED,
            r"^Head .*: dial tcp: lookup \S+ on 10.1.0.252:53: server",
        ),
        ("pull_refused", PodFault.PULL_REFUSED, "dial tcp 192.168.1.50:5000: connect: connection refused$"),
        ("pull_timeout", PodFault.PULL_UNREACHABLE, "dial tcp 192.168.1.77:443: connect: no route to host$"),
        ("pull_tag_absent", PodFault.PULL_NOT_FOUND, "^registry.example.com/library/alpine:nosuch: not found$"),
        ("pull_unauthorized", PodFault.PULL_UNAUTHORIZED, "^pulling from host .* 401 Unauthorized$"),
        ("pull_secret_absent", PodFault.PULL_UNAUTHORIZED, "401 Unauthorized$"),
    ],
)
def test_the_runtimes_words_name_the_fault(recording: str, fault: PodFault, cause: str) -> None:
    said = pull_words(recording)
    assert len(said) >= 2, "the recording holds the state's words and the event's"
    for message in said:
        found, why = classify_pull(message)
        assert found is fault
        assert re.search(cause, why), why


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        # dockerd
        ("Error response from daemon: manifest for x/y:z not found: manifest unknown: manifest unknown", "not-found"),
        (
            (
                "Error response from daemon: pull access denied for x/y, repository does not exist or may require "
                "'docker login': denied: requested access to the resource is denied"
            ),
            "unauthorized",
        ),
        (
            'Error response from daemon: Get "https://r.example/v2/": x509: certificate signed by unknown authority',
            "tls",
        ),
        (
            'Error response from daemon: Get "https://r.example/v2/": http: server gave HTTP response to HTTPS client',
            "tls",
        ),
        ("Error response from daemon: toomanyrequests: You have reached your pull rate limit.", "rate-limited"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "platform"),
        ('Get "https://r.example/v2/": net/http: TLS handshake timeout', "timeout"),
        (
            (
                'Get "https://r.example/v2/": net/http: request canceled while waiting for connection '
                "(Client.Timeout exceeded while awaiting headers)"
            ),
            "timeout",
        ),
        # containerd
        (
            'failed to pull and unpack image "r.example/a:1": no match for platform in manifest: not found',
            "platform",
        ),
        (
            (
                'failed to resolve reference "r.example/a:1": failed to authorize: failed to fetch anonymous token: '
                "unexpected status from GET request to https://auth.example/token: 401 Unauthorized"
            ),
            "unauthorized",
        ),
        (
            'failed to do request: Head "https://r.example/v2/a/manifests/1": dial tcp 192.0.2.1:443: i/o timeout',
            "timeout",
        ),
        (
            (
                'failed to do request: Head "https://r.example/v2/a/manifests/1": dial tcp: lookup r.example on '
                "10.0.0.2:53: read udp 172.24.1.2:40000->10.0.0.2:53: i/o timeout"
            ),
            "unresolved",
        ),
        (
            (
                "failed to copy: httpReadSeeker: failed open: unexpected status code "
                "https://r.example/v2/a/blobs/sha256:00: 429 Too Many Requests - Server message: toomanyrequests: slow"
            ),
            "rate-limited",
        ),
        ("tls: failed to verify certificate: x509: certificate has expired or is not yet valid", "tls"),
        ("unexpected status from HEAD request to https://r.example/v2/a/manifests/1: 403 Forbidden", "unauthorized"),
        # CRI-O
        ("reading manifest 1 in r.example/a: manifest unknown", "not-found"),
        (
            "unable to retrieve auth token: invalid username/password: unauthorized: authentication required",
            "unauthorized",
        ),
        (
            (
                "choosing an image from manifest list docker://r.example/a:1: no image found in image index for "
                'architecture "arm64"'
            ),
            "platform",
        ),
        ("pinging container registry r.example: Get: dial tcp 192.0.2.1:443: connect: connection refused", "refused"),
        # nothing that we know
        ("unexpected EOF", "failed"),
        ("", "failed"),
        # names decide nothing
        ('failed to resolve reference "r.example/denied/x509: tls: /unauthorized:429": unexpected EOF', "failed"),
    ],
)
def test_other_runtimes_words_are_known_too(message: str, fault: str) -> None:
    found, cause = classify_pull(message)
    assert found == f"pull-{fault}"
    assert cause


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ('Successfully pulled image "x" in 175ms (175ms including waiting)', 0.175),
        ('Successfully pulled image "x" in 6.441s (9.441s including waiting). Image size: 3623807 bytes.', 6.441),
        ('Successfully pulled image "x" in 1m2.5s (1m2.5s including waiting)', 62.5),
        ('Successfully pulled image "x" in 1h0m1s', 3601),
        ('Container image "x" already present on machine', None),
    ],
)
def test_pull_times_are_read(said: str, seconds: float | None) -> None:
    assert pull_seconds(said) == seconds


def ended_pod(name: str) -> Json:
    found: Json = recorded(name)[0]["response"]["items"][0]
    return found


@pytest.mark.parametrize(
    ("recording", "fault", "cause"),
    [
        ("end_exit_3", PodFault.EXITED, "container build ended with exit status 3"),
        ("end_out_of_memory", PodFault.EXITED, r"killed for lack of memory \(limit 16Mi\)"),
        ("end_pod_deadline", PodFault.DEADLINE, "Pod was active on the node longer than the specified deadline"),
        ("end_start_error", PodFault.START_ERROR, 'exec: "nosuchprogram": executable file not found'),
    ],
)
def test_a_pods_end_names_the_fault(recording: str, fault: PodFault, cause: str) -> None:
    found, why = classify_end(ended_pod(recording))
    assert found is fault
    assert re.search(cause, why), why


def test_a_pod_that_succeeded_has_no_fault() -> None:
    asked = "GET /api/v1/namespaces/gitlab/pods/life"
    pod = next(each["response"] for each in recorded("pod_life") if each["request"] == asked)
    assert classify_end(pod, container="probe") == (None, "")


@pytest.mark.parametrize(
    ("state", "fault", "cause"),
    [
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
            PodFault.EVICTED,
            "low on resource: ephemeral-storage",
        ),
        (
            {"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: Node didn't have enough resource"},
            PodFault.UNSCHEDULABLE_RESOURCE,
            "didn't have enough resource",
        ),
        (
            {
                "phase": "Failed",
                "conditions": [
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "PreemptionByScheduler",
                        "message": "default-scheduler: preempting to accommodate a higher priority pod",
                    }
                ],
            },
            PodFault.EVICTED,
            "PreemptionByScheduler: default-scheduler: preempting",
        ),
    ],
)
def test_a_pod_that_was_driven_out_says_by_whom(state: Json, fault: PodFault, cause: str) -> None:
    found, why = classify_end({"status": state})
    assert found is fault
    assert cause in why


# --- the Docker daemon's words --------------------------------------------------------------------------------------


def test_an_unprivileged_daemon_says_so_itself() -> None:
    log = daemon_log("dind_unprivileged")
    fault, cause = classify_daemon(log, exit_status=1, privileged=False, port=2375)
    assert fault is DindFault.NOT_PRIVILEGED
    assert "failed to start daemon: Error initializing network controller" in cause
    assert "status 1" in cause


def test_the_same_words_of_a_privileged_daemon_are_another_fault() -> None:
    fault, _ = classify_daemon(daemon_log("dind_unprivileged"), exit_status=1, privileged=True, port=2375)
    assert fault is DindFault.DAEMON_EXITED


def test_a_daemon_that_listens_where_the_client_asks_is_right() -> None:
    assert classify_daemon(daemon_log("dind_privileged"), exit_status=None, privileged=True, port=2375) == (None, "")


@pytest.mark.parametrize(
    ("log", "exit_status", "client", "fault", "cause"),
    [
        ('level=info msg="API listen on [::]:2376"', None, "", DindFault.TLS_MISMATCH, "listens on 2376"),
        (
            'level=info msg="API listen on [::]:2375"',
            None,
            "error during connect: Get http://docker:2375: x509: unknown",
            DindFault.TLS_MISMATCH,
            "its client on port 2375 do not agree on TLS",
        ),
        ('level=info msg="Starting up"', None, "", DindFault.DAEMON_SLOW, "its last line: Starting up"),
        ("", None, "", DindFault.DAEMON_SLOW, "it has logged nothing"),
        (
            'level=info msg="Starting up"\nunable to configure the Docker daemon with file daemon.json: EOF',
            1,
            "",
            DindFault.DAEMON_EXITED,
            "status 1: unable to configure the Docker daemon",
        ),
        ("", 137, "", DindFault.DAEMON_EXITED, "status 137: it logged nothing"),
        (
            (
                "mount: permission denied (are you root?)\nCould not mount /sys/kernel/security.\n"
                "AppArmor detection and --privileged mode might break.\nmount: permission denied (are you root?)"
            ),
            1,
            "",
            DindFault.NOT_PRIVILEGED,
            "are you root",
        ),
    ],
)
def test_the_daemons_words_name_the_fault(
    log: str, exit_status: int | None, client: str, fault: DindFault, cause: str
) -> None:
    found, why = classify_daemon(log, exit_status=exit_status, privileged=False, port=2375, client_log=client)
    assert found is fault
    assert cause in why

"""Probe pods are a job's pods but for the differences that are declared."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from preflight.jobpod import job_pod
from preflight.jobshape import (
    JobShape,
    Resources,
    Service,
    dind_job,
    effective,
    job_name,
    job_pod_limits,
    job_pod_requests,
    pinned,
    probe_job,
    pulled_unless_present,
    waiting_job,
)
from preflight.probes.cluster import read_namespace
from preflight.probes.pod_messages import START_REASONS
from preflight.probes.pod_states import not_started, waits_for
from preflight.quantities import amounts, exactly, quantity, spell

Json = dict[str, Any]
ALPINE = "registry.example.com/library/alpine:latest"
NODE = "k8s-worker-1"

SHAPE = JobShape(
    namespace="gitlab",
    image=ALPINE,
    helper_image="registry.example.com/helper:1",
    service_account="ci",
    pull_secrets=("regcred",),
    node_selector={"workload": "ci"},
    tolerations=({"key": "dedicated", "operator": "Equal", "value": "ci", "effect": "NoSchedule"},),
    dns_policy="None",
    dns_config={"nameservers": ["10.0.0.2"], "options": [{"name": "ndots", "value": "2"}]},
    host_aliases=({"ip": "192.168.1.50", "hostnames": ["gitlab.example.com"]},),
    labels={"team": "ci", "branch": "$CI_COMMIT_REF_NAME"},
    annotations={"sidecar.istio.io/inject": "false"},
    runtime_class="runc",
    scheduler="other-scheduler",
    priority_class="high",
    privileged=True,
    build=Resources(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "2Gi"}),
    helper=Resources(requests={"cpu": "100m"}),
    service=Resources(requests={"cpu": "1"}, limits={"cpu": "2", "memory": "1Gi"}),
    pull_policy=("IfNotPresent",),
)


def probe(shape: JobShape = SHAPE, **more: Any) -> Json:
    wanted = {"node": NODE, "run_id": "ab12", "image": ALPINE, "script": "echo hi", "deadline": 90, "ttl": 60}
    return probe_job(shape, **{**wanted, **more})


def dind(shape: JobShape = SHAPE, **more: Any) -> Json:
    wanted: Json = {
        "node": NODE,
        "run_id": "ab12",
        "client_image": "r.example/docker:latest",
        "daemon_image": "registry.example.com/library/docker:dind",
        "daemon_args": ["--tls=false"],
        "docker_host": "tcp://docker:2375",
        "script": "docker info",
        "deadline": 90,
        "ttl": 60,
    }
    return dind_job(shape, **{**wanted, **more})


def pod_of(job: Json) -> Json:
    spec: Json = job["spec"]["template"]["spec"]
    return spec


# --- what is as in a job's pod --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [probe, dind])
def test_what_the_values_say_is_in_the_pod(make: Any) -> None:
    spec = pod_of(make())
    assert spec["serviceAccountName"] == "ci"
    assert spec["imagePullSecrets"] == [{"name": "regcred"}]
    assert spec["nodeSelector"] == {"workload": "ci"}
    assert spec["tolerations"] == list(SHAPE.tolerations)
    assert (spec["dnsPolicy"], spec["dnsConfig"]) == ("None", SHAPE.dns_config)
    assert SHAPE.host_aliases[0] in spec["hostAliases"]
    assert (spec["runtimeClassName"], spec["schedulerName"]) == ("runc", "other-scheduler")
    template = make()["spec"]["template"]["metadata"]
    assert template["annotations"] == {"sidecar.istio.io/inject": "false"}
    assert template["labels"]["team"] == "ci"


def test_what_the_values_leave_open_is_left_open() -> None:
    spec = pod_of(probe(JobShape(namespace="gitlab", image=ALPINE, helper_image=ALPINE)))
    assert not {"serviceAccountName", "dnsPolicy", "hostAliases", "imagePullSecrets", "nodeSelector"} & set(spec)


def test_a_label_that_only_a_jobs_variables_make_valid_is_left_out() -> None:
    assert "branch" not in probe()["spec"]["template"]["metadata"]["labels"]


# --- what differs ---------------------------------------------------------------------------------------------------


def test_a_pod_with_docker_has_the_security_contexts_of_a_job() -> None:
    shape = replace(
        SHAPE,
        pod_security={"fsGroup": 2},
        security={"service": {"privileged": False, "runAsUser": 1}, "build": {"allowPrivilegeEscalation": True}},
    )
    spec = pod_of(dind(shape))
    assert spec["securityContext"] == {"fsGroup": 2}
    daemon, client = (container["securityContext"] for container in spec["containers"])
    assert daemon == {"privileged": False, "runAsUser": 1, "capabilities": {"drop": ["NET_RAW"]}}
    assert client == {"privileged": True, "allowPrivilegeEscalation": True, "capabilities": {"drop": ["NET_RAW"]}}


def test_services_of_the_values_run_beside_docker_but_no_second_daemon() -> None:
    database = Service(
        container="db", image="r.example/postgres:16", command=("-c", "fsync=off"), environment={"A": "b"}
    )
    own = Service(container="docker", image="registry.example.com/library/docker:dind")
    of_a_job = Service(container="svc-0", image="r.example/$CI_PROJECT_NAME")
    spec = pod_of(dind(replace(SHAPE, services=(database, own, of_a_job))))
    assert [container["name"] for container in spec["containers"]] == ["docker", "build", "service-1"]
    beside = spec["containers"][2]
    assert (beside["image"], beside["args"]) == ("r.example/postgres:16", ["-c", "fsync=off"])
    assert beside["env"] == [{"name": "A", "value": "b"}]
    assert "command" not in beside
    assert beside["securityContext"] == {"privileged": True, "capabilities": {"drop": ["NET_RAW"]}}


@pytest.mark.parametrize(
    ("state", "causes"),
    [
        ({"running": {}}, []),
        ({"terminated": {"reason": "Error", "exitCode": 1}}, []),
        (
            {"waiting": {"reason": "CreateContainerConfigError", "message": "image will run as root"}},
            ["the service r.example/db does not start: CreateContainerConfigError: image will run as root"],
        ),
        (
            {"terminated": {"reason": "StartError", "message": "no such file"}},
            ["the service r.example/db does not start: StartError: no such file"],
        ),
    ],
)
def test_a_service_that_does_not_start_is_told_and_waited_for_by_nobody(state: Json, causes: list[str]) -> None:
    pod: Json = {
        "spec": {"containers": [{"name": "build"}, {"name": "service-1", "image": "r.example/db"}]},
        "status": {
            "containerStatuses": [{"name": "build", "state": {"running": {}}}, {"name": "service-1", "state": state}]
        },
    }
    assert list(not_started(pod)) == causes
    assert not waits_for(pod, START_REASONS)


def test_a_probe_pod_takes_the_user_that_openshift_assigns() -> None:
    assert pod_of(probe(user_assigned=True))["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    annotated = {"metadata": {"annotations": {"openshift.io/sa.scc.uid-range": "1000680000/10000"}}}
    assert read_namespace(annotated, {}, namespace="ci").assigns_users
    assert not read_namespace({"metadata": {}}, {}, namespace="ci").assigns_users


def test_a_probe_pod_passes_restricted_admission() -> None:
    """The rules of the restricted level, Pod Security Standards v1.28."""
    spec = pod_of(probe(other_images=["r.example/a:1"]))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65534
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(spec)
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_probe_pod_cleans_itself_up_even_if_we_die() -> None:
    job = probe()
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (0, 60)
    assert pod_of(job)["activeDeadlineSeconds"] == 90
    assert 90 < spec["activeDeadlineSeconds"] <= 120, "the Job's own deadline takes the pod's log away"
    assert pod_of(job)["restartPolicy"] == "Never"
    assert pod_of(job)["terminationGracePeriodSeconds"] == 1


@pytest.mark.parametrize(("make", "vantage"), [(probe, "pod"), (dind, "dind")])
def test_all_that_is_ours_is_labelled(make: Any, vantage: str) -> None:
    job = make()
    ours = {
        "app.kubernetes.io/managed-by": "gitlab-runner-preflight",
        "preflight.gitlab-runner/run": "ab12",
        "preflight.gitlab-runner/vantage": vantage,
    }
    assert job["metadata"]["labels"] == ours
    assert ours.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert job["metadata"]["name"].startswith(f"preflight-ab12-{vantage}-k8s-worker-1-")


def test_what_was_pulled_to_be_timed_is_not_pulled_again() -> None:
    holding = waiting_job(SHAPE, node="k8s-worker-1", run_id="ab12", image=ALPINE, greeting="hi", deadline=9, ttl=9)
    for spec in (pod_of(dind()), pod_of(holding)):
        assert {each["imagePullPolicy"] for each in spec["containers"]} == {"IfNotPresent"}


def test_images_that_need_no_timing_are_pulled_where_they_are_missing_alone() -> None:
    spec = pod_of(pulled_unless_present(probe(other_images=["r.example/a:1", "r.example/b:1"]), ["r.example/b:1"]))
    assert [each["imagePullPolicy"] for each in spec["containers"]] == ["Always", "Always", "IfNotPresent"]


def test_no_priority_class_and_images_are_always_pulled() -> None:
    spec = pod_of(probe(other_images=["r.example/a:1", "r.example/a:1", ALPINE]))
    assert "priorityClassName" not in spec
    assert [(each["name"], each["image"]) for each in spec["containers"]] == [
        ("build", ALPINE),
        ("image-1", "r.example/a:1"),
    ]
    assert {each["imagePullPolicy"] for each in spec["containers"]} == {"Always"}
    assert spec["containers"][0]["command"] == ["sh", "-c", "echo hi"]
    assert spec["containers"][1]["command"] == ["true"]


@pytest.mark.parametrize(
    ("selector", "kept"),
    [({"team": "ci"}, False), ({"team": "ci", "app": "web"}, True), ({"team": "web"}, True), ({}, True)],
)
def test_no_service_takes_a_probe_pod_for_its_own(selector: dict[str, str], kept: bool) -> None:
    labels = probe(pod_selectors_to_avoid=[selector])["spec"]["template"]["metadata"]["labels"]
    assert ("team" in labels) is kept
    assert labels["preflight.gitlab-runner/run"] == "ab12"


def test_names_are_short_and_no_two_nodes_share_one() -> None:
    nodes = ["worker." + "very-long-name-" * 12 + end for end in ("a", "b")] + ["Node_1", "node-1"]
    names = {job_name("ab12cd34", "dind", node) for node in nodes}
    assert len(names) == 4
    assert all(len(name) <= 57 and name == name.lower() and "--" not in name for name in names)


# --- pinning --------------------------------------------------------------------------------------------------------

DEMAND = {"key": "metadata.name", "operator": "In", "values": [NODE]}
LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}


def terms(affinity: Json | None) -> list[Json]:
    found: list[Json] = pinned(affinity, NODE)["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    return found


def required(*given: Json) -> Json:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(given)}}}


def test_without_affinity_a_pod_is_pinned_by_one_term() -> None:
    assert terms(None) == [{"matchFields": [DEMAND]}]


def test_every_term_is_pinned_for_they_are_ored() -> None:
    other = {"key": "metadata.name", "operator": "NotIn", "values": ["x"]}
    given = required({"matchExpressions": [LINUX]}, {"matchFields": [other]})
    assert terms(given) == [
        {"matchExpressions": [LINUX], "matchFields": [DEMAND]},
        {"matchFields": [other, DEMAND]},
    ]
    assert given == required({"matchExpressions": [LINUX]}, {"matchFields": [other]}), "the shape is left as it was"


def test_an_empty_term_selects_nothing_and_stays_so() -> None:
    assert terms(required({}, {"matchExpressions": [LINUX]})) == [
        {"matchExpressions": [LINUX], "matchFields": [DEMAND]}
    ]
    assert terms(required({})) == [{}]


def test_the_rest_of_the_affinity_stays() -> None:
    preferred = [{"weight": 1, "preference": {"matchExpressions": [LINUX]}}]
    given = {
        "podAntiAffinity": {"x": 1},
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred},
    }
    result = pinned(given, NODE)
    assert result["podAntiAffinity"] == {"x": 1}
    assert result["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == preferred


# --- sizes ----------------------------------------------------------------------------------------------------------


def limit_range(**limit: Any) -> Json:
    return {"spec": {"limits": [{"type": "Container", **limit}]}}


def inside(resources: Json, limit: Json) -> bool:
    """Whether LimitRanger would take these resources."""
    requests, limits = amounts(resources["requests"]), amounts(resources["limits"])
    return all(
        amounts(limit.get("min")).get(name, Decimal(0)) <= requests[name] <= limits[name]
        and limits[name] <= amounts(limit.get("max")).get(name, limits[name])
        and limits[name] <= requests[name] * amounts(limit.get("maxLimitRequestRatio")).get(name, Decimal("1e9"))
        for name in limits
    )


@pytest.mark.parametrize("make", [probe, dind])
@pytest.mark.parametrize(
    "limit",
    [
        {},
        {"max": {"memory": "64Mi"}},
        {"max": {"cpu": "50m", "memory": "20Mi"}},
        {"min": {"cpu": "500m", "memory": "512Mi"}},
        {"min": {"memory": "64Mi"}, "max": {"memory": "100Mi"}},
        {"maxLimitRequestRatio": {"cpu": "2", "memory": "1"}},
        {"max": {"memory": "64Mi"}, "maxLimitRequestRatio": {"memory": "3"}},
    ],
)
def test_our_own_sizes_fit_inside_the_limit_range(make: Any, limit: Json) -> None:
    for container in pod_of(make(limit_ranges=[limit_range(**limit)]))["containers"]:
        assert inside(container["resources"], limit), container["resources"]


@pytest.mark.parametrize("limit", [{"max": {"cpu": "300m", "memory": "100Mi"}}, {"min": {"cpu": "1", "memory": "1Gi"}}])
def test_our_own_sums_fit_inside_the_limit_range_of_pods(limit: Json) -> None:
    ranges = [{"spec": {"limits": [{"type": "Pod", **limit}]}}]
    for job in (probe(limit_ranges=ranges, other_images=["a:1", "b:1"]), dind(limit_ranges=ranges)):
        found = [each["resources"] for each in pod_of(job)["containers"]]
        for name in ("cpu", "memory"):
            asked = sum(quantity(each["requests"][name]) for each in found)
            most = sum(quantity(each["limits"][name]) for each in found)
            assert quantity(limit.get("min", {}).get(name, "0")) <= asked <= most
            assert most <= quantity(limit.get("max", {}).get(name, "1Ti"))
            assert all(quantity(each["requests"][name]) <= quantity(each["limits"][name]) for each in found)


def test_sizes_that_need_no_change_keep_their_spelling() -> None:
    assert pod_of(probe())["containers"][0]["resources"] == {
        "requests": {"cpu": "10m", "memory": "32Mi"},
        "limits": {"cpu": "500m", "memory": "128Mi"},
    }


# --- DinD -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("privileged", [True, False])
def test_dind_is_as_privileged_as_the_values_say(privileged: bool) -> None:
    containers = pod_of(dind(replace(SHAPE, privileged=privileged)))["containers"]
    assert [each["securityContext"]["privileged"] for each in containers] == [privileged, privileged]


def test_the_daemon_is_a_service_with_its_alias_and_comes_first() -> None:
    spec = pod_of(dind())
    daemon, client = spec["containers"]
    assert (daemon["name"], client["name"]) == ("docker", "build")
    assert daemon["args"][-1] == "--tls=false"
    assert "command" not in daemon, "the image's own entry point starts the daemon"
    assert spec["hostAliases"][0] == {
        "ip": "127.0.0.1",
        "hostnames": ["docker", "registry.example.com-library-docker"],
    }
    assert {"name": "DOCKER_HOST", "value": "tcp://docker:2375"} in client["env"]
    assert {"name": "DOCKER_TLS_CERTDIR", "value": ""} in daemon["env"]


def test_a_daemon_with_tls_shares_its_certificates_with_the_client() -> None:
    spec = pod_of(dind(docker_host="tcp://docker:2376", daemon_args=[]))
    assert spec["volumes"][1:] == [{"name": "certs", "emptyDir": {"medium": "Memory"}}]
    for container in spec["containers"]:
        assert {"name": "DOCKER_TLS_CERTDIR", "value": "/certs"} in container["env"]
        assert container["volumeMounts"][1:] == [{"name": "certs", "mountPath": "/certs/client"}]


@pytest.mark.parametrize(
    ("host", "given", "place", "verifies"),
    [
        ("tcp://docker:2375", None, "", False),
        ("tcp://docker:2375", "", "", False),
        ("tcp://docker:2376", None, "/certs", True),
        ("tcp://docker:2376", "/tls/", "/tls/", True),
        ("tcp://docker:2375", "/certs", "/certs", False),
        ("tcp://docker:2376", "", "", False),
    ],
)
def test_job_and_service_have_the_tls_directory_that_is_stated(
    host: str, given: str | None, place: str, *, verifies: bool
) -> None:
    spec = pod_of(dind(docker_host=host, tls_certdir=given))
    mount = f"{place.rstrip('/')}/client"
    for container in spec["containers"]:
        assert {"name": "DOCKER_TLS_CERTDIR", "value": place} in container["env"]
        assert [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "certs"] == (
            [mount] if place else []
        )
    told = {one["name"]: one["value"] for one in spec["containers"][1]["env"]}
    assert told.get("DOCKER_CERT_PATH") == (mount if verifies else None)
    assert [volume["name"] for volume in spec["volumes"][1:]] == (["certs"] if place else [])


def test_a_daemon_at_an_address_needs_no_alias() -> None:
    spec = pod_of(dind(docker_host="tcp://127.0.0.1:2375"))
    assert spec["containers"][0]["name"] == "svc-0"


# --- a real job's size ----------------------------------------------------------------------------------------------


def test_a_jobs_own_pod_is_as_the_runner_makes_it() -> None:
    pod = job_pod(SHAPE, services=["r.example/docker:dind"])
    spec = pod["spec"]
    assert [each["name"] for each in spec["containers"]] == ["build", "helper", "svc-0"]
    assert [each["name"] for each in spec["initContainers"]] == ["init-permissions"]
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert {each["imagePullPolicy"] for each in spec["containers"]} == {"IfNotPresent"}
    assert all(each["securityContext"]["privileged"] for each in [*spec["containers"], *spec["initContainers"]])
    assert spec["priorityClassName"] == "high"
    assert "affinity" not in spec, "a job is not pinned"


def test_what_a_job_asks_for_is_the_sum_of_its_containers() -> None:
    # 500m + 100m + 1; the service states no memory request, so it asks for its limit
    assert job_pod_requests(SHAPE, 1) == {"cpu": Decimal("1.6"), "memory": 2 * Decimal(2**30), "pods": Decimal(1)}
    assert job_pod_requests(SHAPE, 0) == {"cpu": Decimal("0.6"), "memory": Decimal(2**30), "pods": Decimal(1)}
    assert job_pod_limits(SHAPE, 2) == {"cpu": Decimal(4), "memory": 4 * Decimal(2**30)}
    bare = JobShape(namespace="gitlab", image=ALPINE, helper_image=ALPINE)
    assert job_pod_requests(bare, 1) == {"pods": Decimal(1)}


def test_a_limit_range_gives_defaults_to_what_states_nothing() -> None:
    ranges = [limit_range(default={"memory": "256Mi"}, defaultRequest={"memory": "128Mi"})]
    bare = JobShape(namespace="gitlab", image=ALPINE, helper_image=ALPINE)
    assert job_pod_requests(bare, 0, limit_ranges=ranges)["memory"] == 2 * 128 * 2**20
    requests, limits = effective(Resources(requests={"memory": "64Mi"}), ranges)
    assert (requests["memory"], limits["memory"]) == (quantity("64Mi"), quantity("256Mi"))
    requests, limits = effective(Resources(limits={"memory": "64Mi"}), ranges)
    assert (requests["memory"], limits["memory"]) == (quantity("64Mi"), quantity("64Mi"))


# --- quantities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"), ("1", "1"), ("250m", "0.25"), ("1.5", "1.5"), (".5", "0.5"), ("100u", "0.0001"), ("5n", "5e-9"),
        ("1k", "1000"), ("1M", "1e6"), ("2G", "2e9"), ("1T", "1e12"), ("1P", "1e15"), ("1E", "1e18"),
        ("1Ki", "1024"), ("1.5Gi", "1610612736"), ("1Ti", "1099511627776"), ("1Ei", "1152921504606846976"),
        ("12e6", "12000000"), ("1e3", "1000"), ("1E3", "1000"), ("1e-3", "0.001"), ("-1", "-1"), ("+2Gi", "2147483648"),
        ("7804040Ki", "7991336960"),
    ],
)  # fmt: skip
def test_quantities_are_read_as_kubernetes_reads_them(text: str, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "abc", "1 Gi", "1gi", "1KB", "--1", "1.2.3", "Gi", "1e", "NaN", "1e99999"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("resource", "amount", "words"),
    [
        ("memory", "1610612736", "1.5Gi"),
        ("requests.memory", "0", "0"),
        ("ephemeral-storage", "512", "512"),
        ("cpu", "0.25", "250m"),
        ("cpu", "2.0", "2"),
        ("pods", "110", "110"),
        ("memory", "1000", "1000"),
    ],
)
def test_amounts_are_spelled_as_a_person_would(resource: str, amount: str, words: str) -> None:
    assert spell(resource, Decimal(amount)) == words


@pytest.mark.parametrize("amount", ["0", "1", "0.25", "2147483648", "1.5", "100", "0.0001"])
def test_exact_spelling_loses_nothing_but_what_the_api_has_no_word_for(amount: str) -> None:
    assert quantity(exactly(Decimal(amount))) >= Decimal(amount)
    assert quantity(exactly(Decimal(amount))) - Decimal(amount) < Decimal("0.001")


def test_no_pod_of_the_suite_holds_a_service_accounts_token() -> None:
    for job in (probe(), dind()):
        assert pod_of(job)["automountServiceAccountToken"] is False
    assert "automountServiceAccountToken" not in job_pod(SHAPE)["spec"], "a job's pod is judged as the runner makes it"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["dockerd", "--host=unix:///var/run/docker.sock", "--host=tcp://127.0.0.1:2375"]),
        (
            ["--mtu=1450"],
            ["dockerd", "--host=unix:///var/run/docker.sock", "--host=tcp://127.0.0.1:2375", "--mtu=1450"],
        ),
        (
            ["--host=tcp://0.0.0.0:2375", "--tls=false"],
            ["dockerd", "--host=unix:///var/run/docker.sock", "--host=tcp://127.0.0.1:2375", "--tls=false"],
        ),
        (["dockerd", "-H", "tcp://[::]:2375"], ["dockerd", "-H", "tcp://127.0.0.1:2375"]),
        (["dockerd", "--host", "tcp://:2375"], ["dockerd", "--host", "tcp://127.0.0.1:2375"]),
    ],
)
def test_a_daemon_without_tls_listens_for_its_own_pod_alone(arguments: list[str], expected: list[str]) -> None:
    daemon = pod_of(dind(daemon_args=arguments))["containers"][0]
    assert daemon["args"] == expected


def test_a_daemon_ends_with_the_script_beside_it(tmp_path: Path) -> None:
    """Also when the suite was killed: the kubelet runs the probe, and the script leaves its mark however it ends."""
    daemon, client = pod_of(dind(script="exit 3"))["containers"]
    assert daemon["volumeMounts"][0] == client["volumeMounts"][0]
    place = daemon["volumeMounts"][0]["mountPath"]
    probe_command, script = daemon["livenessProbe"]["exec"]["command"][2], client["command"][2]

    def run(text: str) -> int:
        return subprocess.run(["sh", "-c", text.replace(place, str(tmp_path / "shared"))], check=False).returncode

    assert run(script) == 3, "without the volume there is nothing to leave a mark in"
    (tmp_path / "shared").mkdir()
    assert run(probe_command) == 0, "alive while the script runs"
    assert run(script) == 3, "the script's own exit status"
    assert run(probe_command) == 1
    probe = daemon["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"] <= 40


def test_a_pod_that_nobody_writes_to_ends() -> None:
    spec = pod_of(waiting_job(SHAPE, node="n", run_id="ab12", image=ALPINE, greeting="hi", deadline=300, ttl=60))
    command = spec["containers"][0]["command"][2].replace("timeout 60", "timeout 1")
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == b"hi\n"
        assert waiting.wait(timeout=20) != 0

"""The release's objects in the cluster, beside the manifest in its record."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from preflight.clients.kube_api import Api
from preflight.evidence import Unmeasured
from preflight.faults import ReleaseFault
from preflight.probes import release_edits
from preflight.probes.release import Record
from preflight.probes.release_edits import ReleaseEdits
from preflight.runner_config import runner_keys
from tests.probes.apiserver import Asked, Reply, scripted_api, status

Json = dict[str, Any]
KEYS = runner_keys("18.3.0")
NOW = 1_760_000_000.0
TOKEN = "made-up-token-in-the-release"
OTHER = "made-up-token-by-hand"

TEMPLATE = """\
[[runners]]
  environment = ["DB_PASSWORD=made-up-password-in-toml"]
  [runners.kubernetes]
    privileged = true # for Docker-in-Docker
    poll_timeout = 600
"""
ENTRYPOINT = "#!/bin/bash\nset -e\n# start\nexec gitlab-runner run\n"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def item(kind: str, version: str = "v1", **body: Any) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "gitlab-runner"}, **body}


def manifest() -> list[Json]:
    """The objects as a chart renders them."""
    container = {
        "name": "gitlab-runner",
        "image": "registry.example.com/gitlab-runner:alpine-v18.3.0",
        "env": [{"name": "CI_SERVER_URL", "value": "http://192.168.1.50/"}, {"name": "SESSION", "value": None}],
        "livenessProbe": {"exec": {"command": ["/bin/bash", "/configmaps/check-live"]}, "periodSeconds": 60},
        "ports": [{"name": "metrics", "containerPort": 9252}],
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
        "securityContext": {"privileged": False},
    }
    volumes = [
        {"name": "secrets", "projected": {"sources": [{"secret": {"name": "gitlab-runner"}}]}},
        {"name": "configmaps", "configMap": {"name": "gitlab-runner"}},
    ]
    template = {
        "metadata": {"labels": {"app": "gitlab-runner"}},
        "spec": {"containers": [container], "volumes": volumes},
    }
    rules = [{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "create"]}]
    return [
        item("ServiceAccount"),
        item("Secret", type="Opaque", data={"runner-registration-token": "", "runner-token": encoded(TOKEN)}),
        item("ConfigMap", data={"config.template.toml": TEMPLATE, "entrypoint": ENTRYPOINT}),
        item("Role", "rbac.authorization.k8s.io/v1", rules=rules),
        item("Deployment", "apps/v1", spec={"replicas": 3, "template": template}),
        item("PodMonitor", "monitoring.coreos.com/v1", spec={}),
    ]


def cluster() -> dict[str, Json]:
    """The same objects as the API server keeps them, by kind."""
    kept = {one["kind"]: copy.deepcopy(one) for one in manifest()}
    kept["Secret"]["data"].pop("runner-registration-token")
    spec = kept["Deployment"]["spec"]
    spec |= {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
    spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    spec["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2025-10-09T08:00:00Z"}
    pod = spec["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
    pod |= {"securityContext": {}, "terminationGracePeriodSeconds": 30}
    container = pod["containers"][0]
    container |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
    container["terminationMessagePolicy"] = "File"
    container["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    container["livenessProbe"] |= {"timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}
    container["ports"][0]["protocol"] = "TCP"
    container["env"][1].pop("value")
    pod["volumes"][0]["projected"]["defaultMode"] = 420
    pod["volumes"][1]["configMap"]["defaultMode"] = 420
    kept["Deployment"]["metadata"] |= {"annotations": {"deployment.kubernetes.io/revision": "2"}, "generation": 2}
    kept["Deployment"]["status"] = {"replicas": 3}
    return kept


def record(objects: list[Json]) -> Record:
    text = "".join(f"---\n# Source: x/templates/{one['kind']}.yaml\n{yaml.safe_dump(one)}" for one in objects)
    return Record(revision=2, status="deployed", body={"manifest": text})


@contextmanager
def served(folder: Path, kept: dict[str, Json], forbidden: str = "") -> Iterator[Api]:
    def answer(asked: Asked) -> Reply:
        resource = asked.path.split("/")[-2]
        if resource == forbidden:
            message = f'{resource} is forbidden: User "ops" cannot get resource "{resource}" in API group ""'
            return Reply(status(403, "Forbidden", message), 403)
        one = next((each for kind, each in kept.items() if f"{kind.lower()}s" == resource), None)
        return Reply(one) if one else Reply(status(404, "NotFound", "not found"), 404)

    with scripted_api(folder, answer) as (api, _):
        yield api


def compared(folder: Path, change: Callable[[dict[str, Json]], Any] = lambda _: None, **how: str) -> ReleaseEdits:
    kept = cluster()
    change(kept)
    with served(folder, kept, **how) as api:
        return release_edits.release_edits(api, record(manifest()), "gitlab-runner", "gitlab", KEYS, now=NOW)


def container(kept: dict[str, Json]) -> Json:
    found: Json = kept["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_what_the_api_server_and_controllers_add_is_no_edit(tmp_path: Path) -> None:
    whole = compared(tmp_path)
    assert whole.edits == ()
    assert whole.compared == (
        "ConfigMap/gitlab-runner",
        "Deployment/gitlab-runner",
        "Role/gitlab-runner",
        "Secret/gitlab-runner",
        "ServiceAccount/gitlab-runner",
    )
    assert release_edits.at_start(whole).fault is None
    assert release_edits.elsewhere(whole).fault is None


def scaled(kept: dict[str, Json]) -> None:
    kept["Deployment"]["spec"]["replicas"] = 1


def commented(kept: dict[str, Json]) -> None:
    data = kept["ConfigMap"]["data"]
    data["config.template.toml"] = TEMPLATE.replace(" # for Docker-in-Docker", "").replace("600", "600 # ten minutes")
    data["entrypoint"] = ENTRYPOINT.replace("# start\n", "\n# begin\n")


@pytest.mark.parametrize("change", [scaled, commented])
def test_a_scaled_deployment_and_another_spelling_are_no_edit(tmp_path: Path, change: Callable[..., None]) -> None:
    assert compared(tmp_path, change).edits == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda kept: kept["ConfigMap"]["data"].update({"config.template.toml": TEMPLATE.replace("600", "60")}),
            "config.template.toml: [runners.kubernetes] poll_timeout is 60, the release has 600",
        ),
        (
            lambda kept: kept["ConfigMap"]["data"].update({"config.template.toml": "[[runners"}),
            "ConfigMap gitlab-runner: config.template.toml",
        ),
        (
            lambda kept: kept["ConfigMap"]["data"].update({"entrypoint": f"{ENTRYPOINT}exit 0\n"}),
            "ConfigMap gitlab-runner: entrypoint differs",
        ),
        (
            lambda kept: kept["ConfigMap"]["data"].pop("entrypoint"),
            "ConfigMap gitlab-runner: entrypoint is nothing, the release has a text",
        ),
        (
            lambda kept: kept["Secret"]["data"].update({"runner-token": encoded(OTHER)}),
            "Secret gitlab-runner: runner-token differs",
        ),
        (
            lambda kept: kept["Secret"]["data"].update({"runner-token": encoded(f"{TOKEN}\n")}),
            "Secret gitlab-runner: runner-token differs",
        ),
        (
            lambda kept: kept["Secret"]["data"].update({"runner-registration-token": encoded(OTHER)}),
            "Secret gitlab-runner: runner-registration-token is a value, the release has nothing",
        ),
        (lambda kept: kept.pop("Secret"), "Secret gitlab-runner: the object is deleted, the release has it"),
    ],
)
def test_what_managers_read_at_their_start_is_a_fault(
    tmp_path: Path, change: Callable[[dict[str, Json]], Any], expected: str
) -> None:
    whole = compared(tmp_path, change)
    judged = release_edits.at_start(whole)
    assert judged.fault is ReleaseFault.EDITED
    assert expected in judged.cause
    assert release_edits.elsewhere(whole).fault is None
    for text in (judged.cause, judged.evidence.observed, repr(judged.edits)):
        assert OTHER not in text
        assert TOKEN not in text
        assert encoded(OTHER) not in text
        assert "made-up-password-in-toml" not in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda kept: container(kept).update(image="registry.example.com/gitlab-runner:latest"),
            "containers[gitlab-runner].image is registry.example.com/gitlab-runner:latest, the release has ",
        ),
        (
            lambda kept: container(kept)["env"].append({"name": "HTTPS_PROXY", "value": "http://u:made-up-pw@proxy"}),
            "containers[gitlab-runner].env[HTTPS_PROXY] is there, the release has nothing",
        ),
        (
            lambda kept: container(kept)["env"][0].update(value="http://elsewhere/"),
            "containers[gitlab-runner].env[CI_SERVER_URL].value differs",
        ),
        (
            lambda kept: container(kept)["resources"]["limits"].update(memory="2Gi"),
            "resources.limits.memory is 2Gi, the release has 1024Mi",
        ),
        (
            lambda kept: container(kept).update(securityContext={"privileged": True}),
            "securityContext.privileged is true, the release has false",
        ),
        (
            lambda kept: kept["Deployment"]["spec"]["template"]["spec"].update(hostNetwork=True),
            "hostNetwork is true, the release has nothing",
        ),
        (
            lambda kept: kept["Deployment"]["spec"]["template"]["spec"]["volumes"].pop(),
            "volumes[configmaps] is nothing, the release has it",
        ),
        (
            lambda kept: kept["Role"]["rules"][0].update(resources=["pods"]),
            "Role gitlab-runner: rules is less, the release has grants create secrets, get secrets",
        ),
        (
            lambda kept: kept["Role"]["rules"].append({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
            "Role gitlab-runner: rules is grants also * *, the release has less",
        ),
    ],
)
def test_other_objects_are_judged_apart(
    tmp_path: Path, change: Callable[[dict[str, Json]], Any], expected: str
) -> None:
    whole = compared(tmp_path, change)
    judged = release_edits.elsewhere(whole)
    assert judged.fault is ReleaseFault.OBJECT_EDITED
    assert expected in judged.cause
    assert "made-up-pw" not in judged.cause
    assert release_edits.at_start(whole).fault is None


def test_a_role_in_another_spelling_is_no_edit(tmp_path: Path) -> None:
    rules = [
        {"apiGroups": [""], "resources": [resource], "verbs": ["create", "get"]} for resource in ("secrets", "pods")
    ]
    assert compared(tmp_path, lambda kept: kept["Role"].update(rules=rules)).edits == ()


def test_who_wrote_an_object_last_is_shown(tmp_path: Path) -> None:
    fields = [
        {"manager": "helm", "operation": "Update", "time": "2025-10-01T08:00:00Z"},
        {"manager": "kubectl-edit", "operation": "Update", "time": "2025-10-09T08:53:20Z"},
        {"manager": "kube-controller-manager", "subresource": "status", "time": "2025-10-09T08:53:21Z"},
    ]

    def change(kept: dict[str, Json]) -> None:
        kept["ConfigMap"]["metadata"]["managedFields"] = fields
        kept["ConfigMap"]["data"]["entrypoint"] = "#!/bin/sh\n"

    shown = compared(tmp_path, change).evidence.observed
    assert "ConfigMap gitlab-runner: last written by kubectl-edit, 0 s ago" in shown


def test_what_may_not_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    whole = compared(tmp_path, forbidden="roles")
    assert whole.unread == ("Role/gitlab-runner",)
    assert "not compared, since it may not be read: Role/gitlab-runner" in whole.evidence.observed


@pytest.mark.parametrize("resource", ["secrets", "configmaps"])
def test_what_managers_start_from_is_not_taken_for_healthy_unread(tmp_path: Path, resource: str) -> None:
    with pytest.raises(Unmeasured, match=resource):
        compared(tmp_path, forbidden=resource)


def test_a_manifest_that_is_none_can_t_be_compared(tmp_path: Path) -> None:
    broken = Record(revision=2, status="deployed", body={"manifest": "---\n: ["})
    with served(tmp_path, cluster()) as api, pytest.raises(Unmeasured, match="manifest of revision 2"):
        release_edits.release_edits(api, broken, "gitlab-runner", "gitlab", KEYS, now=NOW)

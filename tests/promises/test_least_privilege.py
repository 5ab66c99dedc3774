"""Least privilege: `deploy/rbac.yaml` gives each effect level what the suite asks for, and nothing besides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.kubernetes.guide import add_namespace, pull_secret
from lab.lab import Lab
from lab.world import World
from tests import processes
from tests.promises.cluster_roles import (
    ACCOUNTS,
    LEVELS,
    NAMESPACE,
    PROJECT,
    Json,
    Right,
    asked,
    documents,
    granted,
    use,
    without,
)

RBAC = "rbac.authorization.k8s.io"
UNINSTALLED = "what an uninstall leaves is looked for with `--stage uninstalled` alone"
NAMED = "where the values name one for jobs"
RARELY: dict[Right, str] = {
    Right("get", "", "persistentvolumeclaims", NAMESPACE): NAMED,
    Right("get", "scheduling.k8s.io", "priorityclasses", ""): NAMED,
    Right("get", "node.k8s.io", "runtimeclasses", ""): NAMED,
    Right("get", "storage.k8s.io", "csidrivers", ""): NAMED,
    Right("get", "storage.k8s.io", "storageclasses", ""): "where a claim of the values is not bound",
    Right("list", "storage.k8s.io", "storageclasses", ""): "the same, where it leaves its class to the cluster",
    Right("create", "authorization.k8s.io", "subjectaccessreviews", ""): "with namespace_per_job",
    Right("list", "", "services", ""): "where the DNS Service has another name",
    Right("list", "discovery.k8s.io", "endpointslices", ""): "the same",
    Right("list", "", "persistentvolumeclaims", NAMESPACE): UNINSTALLED,
    Right("list", "", "serviceaccounts", NAMESPACE): UNINSTALLED,
    Right("list", RBAC, "roles", NAMESPACE): UNINSTALLED,
    Right("list", RBAC, "rolebindings", NAMESPACE): UNINSTALLED,
    Right("get", "apiregistration.k8s.io", "apiservices", ""): "where the metrics API answers 503",
    Right("get", "", "endpoints", "default"): "where EndpointSlices may not be read",
    Right("get", "", "endpoints", "kube-system"): "where EndpointSlices may not be read",
    Right("get", "", "nodes", ""): "where a pod has not ended in time",
    Right("get", "batch", "jobs", NAMESPACE): "where somebody took a pod away while it ran",
    Right("delete", "", "pods", NAMESPACE): "where somebody deleted a Job without its pods",
    Right("create", "", "pods/exec", NAMESPACE): "Kubernetes 1.35 and newer want it for a WebSocket too",
    Right("create", "", "pods/attach", NAMESPACE): "the same",
}
"""Rights that a healthy run never asks for, and when it would."""

UNGRANTED = Right("get", "", "nodes/proxy", "")
"""Asked where the DNS Service has another name, and not needed: it would give more than a reader should have."""

SPARED: dict[Right, str] = {
    Right("watch", "", "pods", NAMESPACE): "pods are listed again and again instead",
    Right("list", "", "services", NAMESPACE): "whether a Service selects the probe's pods is then not known",
    Right("list", "policy", "poddisruptionbudgets", NAMESPACE): "the same",
    Right("list", "discovery.k8s.io", "endpointslices", "default"): "Endpoints tell it too",
    Right("list", "discovery.k8s.io", "endpointslices", "kube-system"): "the same",
    Right("list", "batch", "jobs", NAMESPACE): "each Job is removed by its name; the last sweep says it can't look",
    Right("list", "", "configmaps", NAMESPACE): "what jobs have left is then counted without them",
    Right("get", "apps", "deployments", NAMESPACE): "it is then not compared with the release's manifest",
    Right("get", "rbac.authorization.k8s.io", "roles", NAMESPACE): "the same",
    Right("list", "", "pods", NAMESPACE): "the right to list all pods holds in every namespace",
}
"""Rights without which a healthy run comes to the same end, and why."""


def run(
    folder: Path,
    level: str,
    objects: Iterable[Json],
    *arguments: str,
    faults: Sequence[str] = (),
    change: Callable[[World], None] | None = None,
) -> Any:
    """The suite in a lab where the kubeconfig is a service account with these rights alone."""

    def changed(world: World) -> None:
        if change is not None:
            change(world)
        use(world, level, objects)

    with Lab(faults, patience=3, change=changed) as lab:
        ended = processes.run_checks(
            "--inventory", lab.inventory, "--report-dir", folder, "--effect", level, *arguments
        )
        rights = asked(lab, level)
    assert not re.search("stumbled|internal error", ended.stdout), ended.stdout
    return ended, json.loads((folder / "preflight.json").read_text()), rights


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_is_enough_and_not_too_much(tmp_path: Path, level: str) -> None:
    ended, _, rights = run(tmp_path / "reports", level, documents(), "--backup", str(tmp_path / "backup"))
    assert ended.returncode == 0, ended.stdout
    assert ("PARTIAL: " if level in {"read", "probe"} else "GO: ") in ended.stdout
    assert rights - granted(documents(), level) == set(), "asked, and not granted"
    assert granted(documents(), level) - rights - set(RARELY) == set(), "granted, and never asked"


TABLE = "[runners.kubernetes.dns_config]"
DRIVER = 'driver = "d.example"'


def naming(world: World) -> None:
    """Jobs name everything that can be named; of two claims that wait, one has a class."""
    volumes = [("pvc", "classy"), ("pvc", "plain"), ("config_map", "settings"), ("csi", "secrets")]
    tables = "".join(
        f'[[runners.kubernetes.volumes.{kind}]]\n          name = "{name}"\n          mount_path = "/{name}"\n'
        f"          {DRIVER if kind == 'csi' else ''}\n        "
        for kind, name in volumes
    )
    world.values_edits[f"        {TABLE}\n"] = f"        {tables}{TABLE}\n"
    classes = 'priority_class_name = "high"\n        runtime_class_name = "gvisor"\n        '
    world.values_edits['dns_policy = "none"'] = f'{classes}dns_policy = "none"'
    for name, spec in (("classy", {"storageClassName": "fast"}), ("plain", {})):
        world.cluster.add(
            {"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        )


def per_job(world: World) -> None:
    """Each job has a namespace of its own, and the cluster's DNS another name."""
    for kind, singular in (("services", "Service"), ("endpoints", "Endpoints")):
        usual = world.cluster.get(kind, "kube-system", "kube-dns")
        assert usual is not None
        kept = {key: value for key, value in usual.items() if key != "metadata"}
        world.cluster.add({"kind": singular, "metadata": {"name": "coredns", "namespace": "kube-system"}, **kept})
    for item in world.cluster.list("endpointslices", "kube-system"):
        if item["metadata"]["labels"]["kubernetes.io/service-name"] == "kube-dns":
            item["metadata"]["labels"]["kubernetes.io/service-name"] = "coredns"
    world.cluster.remove("services", "kube-system", "kube-dns")
    world.values_edits['dns_policy = "none"'] = 'namespace_per_job = true\n        dns_policy = "none"'


def test_what_is_rarely_asked_is_asked_when_its_time_comes(tmp_path: Path) -> None:
    _, _, uninstalled = run(
        tmp_path, "read", documents(), "--stage", "uninstalled", faults=["release-missing"]
    )  # the lab's release has no record then, and its objects are gone
    slices = [right for right in {**SPARED, **RARELY} if right.resource == "endpointslices"]
    ended, _, hindered = run(
        tmp_path,
        "read",
        without(documents(), *slices),
        *("-m", "cluster or environment or namespace"),
        faults=["metrics-unavailable"],
        change=naming,
    )
    assert "metrics-unavailable" in ended.stdout
    assert "PriorityClass high" in ended.stdout
    ended, _, apart = run(tmp_path, "read", documents(), "-m", "namespace or cluster", change=per_job)
    assert "kube-dns" not in ended.stdout, "a DNS Service of another name is as good"
    assert "in all namespaces, as namespace_per_job needs it: " in ended.stdout, "the chart's Role is not enough"
    assert not apart - granted(documents(), "read") - {UNGRANTED}
    hindered |= apart - {UNGRANTED}
    never = {"nodes", "jobs", "pods", "pods/exec", "pods/attach"}  # no lab's fault leads there: see tests/probes
    assert {right for right in RARELY if right.resource not in never} <= uninstalled | hindered
    assert uninstalled | hindered <= granted(documents(), "read")


def test_levels_build_on_each_other_and_no_rule_has_a_wildcard() -> None:
    rights = [granted(documents(), level) for level in LEVELS]
    assert rights[0] < rights[1] == rights[2] == rights[3]
    assert not [right for right in rights[3] if "*" in "".join(right)]
    changing = {(right.resource, right.verb) for right in rights[0] if right.verb not in {"get", "list"}}
    questions = {"localsubjectaccessreviews", "subjectaccessreviews"}
    assert changing == {(question, "create") for question in questions}, "of which nothing is kept"
    made = {right.resource for right in rights[3] if right.verb in {"create", "delete"}}
    assert made == {"jobs", "pods", "pods/exec", "pods/attach", *questions}
    assert not [right for right in rights[3] if right.verb in {"update", "patch", "deletecollection"}]


def test_the_levels_can_be_applied_by_their_label() -> None:
    for each in documents():
        level = each["metadata"]["labels"]["preflight.gitlab-runner/effect"]
        names = (f"gitlab-runner-preflight-{level}", ACCOUNTS)
        assert each["metadata"]["name"].startswith(names)
        if each["kind"].endswith("Binding"):
            assert each["roleRef"]["name"] == each["metadata"]["name"]
            assert [subject["name"].rpartition("-")[2] for subject in each["subjects"]] == [*LEVELS][
                LEVELS.index(level) :
            ], "a level and those after it"


IN_CODE = re.compile(r'"/(?:api/v1|apis/(?P<group>[a-z0-9.]+)/v\w+)(?:/namespaces/@(?=/))?/(?P<rest>[a-z][^"]*)')


def test_every_path_in_the_code_is_granted() -> None:
    """Also those on which no run of the tests comes along."""
    found = set()
    for module in sorted((PROJECT / "preflight").glob("*/*.py")):
        if module.stem == "discovery":
            continue  # `python -m preflight init`, which an operator runs once with rights of their own
        text = re.sub(r"\{[^{}\n]*\}", "@", module.read_text())
        for match in IN_CODE.finditer(text):
            if "/@/@" in match.group():
                continue  # the resource is a variable: one of its values stands elsewhere
            resource, _, rest = match["rest"].partition("/")
            sub = rest.split("/")[1] if rest.count("/") else ""
            found.add((match["group"] or "", f"{resource}/{sub}" if sub else resource))
    assert len(found) > 15, "the pattern no longer finds the paths"
    assert found <= {(right.group, right.resource) for right in {*granted(documents(), "write"), UNGRANTED}}


MISSING: dict[str, tuple[str, list[Right]]] = {
    "release": (
        "read",
        [
            Right("create", "authorization.k8s.io", "localsubjectaccessreviews", NAMESPACE),
            Right("get", "", "pods/log", NAMESPACE),
            Right("get", "", "secrets", NAMESPACE),
            Right("list", "", "resourcequotas", NAMESPACE),
            Right("list", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""),
            Right("get", "", "services", "default"),
            Right("list", "metrics.k8s.io", "nodes", ""),
        ],
    ),
    "namespace": (
        "read",
        [
            Right("get", "", "serviceaccounts", NAMESPACE),
            Right("get", "", "pods/proxy", NAMESPACE),
            Right("list", "", "secrets", NAMESPACE),
            Right("list", "", "limitranges", NAMESPACE),
            Right("list", "admissionregistration.k8s.io", "validatingwebhookconfigurations", ""),
            Right("get", "", "services", "kube-system"),
            Right("list", "", "events", NAMESPACE),
            Right("get", "", "namespaces", ""),
        ],
    ),
    "nodes": (
        "read",
        [
            Right("list", "", "nodes", ""),
            Right("list", "apps", "deployments", NAMESPACE),
            Right("get", "", "configmaps", NAMESPACE),
        ],
    ),
    "dry-run": ("probe", [Right("create", "", "pods", NAMESPACE)]),
    "make": ("probe", [Right("create", "batch", "jobs", NAMESPACE)]),
    "remove": ("probe", [Right("delete", "batch", "jobs", NAMESPACE)]),
    "exec": ("probe", [Right("get", "", "pods/exec", NAMESPACE), Right("list", "", "pods", "")]),
    "attach": ("probe", [Right("get", "", "pods/attach", NAMESPACE)]),
}
"""Batches of rights, such that no missing one hides another."""


@pytest.mark.parametrize("batch", MISSING)
def test_without_a_right_the_dependent_checks_are_unknown_and_name_it(tmp_path: Path, batch: str) -> None:
    level, taken = MISSING[batch]
    assert set(taken) <= granted(documents(), level)
    about = [] if level == "read" else ["-m", "namespace or paths or headroom"]
    ended, report, _ = run(tmp_path, level, without(documents(), *taken), *about)
    assert ended.returncode == 6, ended.stdout
    verdicts = {one["verdict"] for one in report["checks"]}
    assert "fail" not in verdicts, "a missing right is no fault of the environment"
    unknown = [one for one in report["checks"] if one["verdict"] == "unknown"]
    for right in taken:
        assert [one["id"] for one in unknown if names(one["remedy"], right)], f"{right} is named by no unknown check"
    assert all("resources: [" in one["remedy"] for one in unknown), "nothing else is unknown"
    assert sum(one["verdict"] == "pass" for one in report["checks"]) > 5, "and the rest is judged"


def names(remedy: str, right: Right) -> bool:
    """Whether a remedy is the rule that gives a right."""
    rule = re.search(r'apiGroups: \["(.*)"\]\n\s*resources: \["(.*)"\]\n\s*verbs: \[(.*)\]', remedy)
    return rule is not None and (rule[1], rule[2]) == (right.group, right.resource) and f'"{right.verb}"' in rule[3]


def test_what_a_healthy_run_can_spare_may_be_missing_altogether(tmp_path: Path) -> None:
    ended, _, _ = run(tmp_path, "probe", without(documents(), *RARELY, *SPARED), "-m", "cluster or environment")
    # With slices and Endpoints both unread, nobody can tell who answers for a Service.
    assert ended.returncode == 6, ended.stdout
    assert "2 unknown" in ended.stdout
    kept = [right for right in RARELY if right.resource != "endpoints"]
    ended, _, _ = run(tmp_path, "probe", without(documents(), *kept, *SPARED))
    assert ended.returncode == 0, ended.stdout


def test_no_right_is_untested() -> None:
    batched = [right for _, taken in MISSING.values() for right in taken]
    assert {*RARELY, *SPARED, *batched} == granted(documents(), "write")
    assert len(batched) + len(RARELY) + len(SPARED) == len({*RARELY, *SPARED, *batched})


JOBS = "ci"


def test_where_jobs_have_a_namespace_of_their_own_the_roles_for_jobs_move_there(tmp_path: Path) -> None:
    """As the file's head says: two roles with their bindings, and one name in the ClusterRole."""
    moved = []
    for each in documents():
        if each["metadata"]["name"].endswith("-jobs"):
            each["metadata"]["namespace"] = JOBS
        for rule in each.get("rules", ()):
            if rule["resources"] == ["namespaces"]:
                rule["resourceNames"] = [JOBS]
        moved.append(each)

    def apart(world: World) -> None:
        add_namespace(world.cluster, JOBS)
        world.cluster.add(pull_secret(JOBS, "private-registry", "private-registry.example.com", "ops", "secret-pw"))
        for kind in ("roles", "rolebindings"):
            access = world.cluster.get(kind, NAMESPACE, "gitlab-runner")
            assert access is not None
            kept = {key: value for key, value in access.items() if key != "metadata"}
            singular = {"roles": "Role", "rolebindings": "RoleBinding"}[kind]
            world.cluster.add({"kind": singular, "metadata": {"name": "gitlab-runner", "namespace": JOBS}, **kept})
        world.values_edits['namespace = "{{.Release.Namespace}}"'] = f'namespace = "{JOBS}"'

    ended, _, rights = run(tmp_path, "privileged", moved, change=apart)
    assert ended.returncode == 0, ended.stdout
    made = {right.namespace for right in rights if right.resource == "jobs"}
    assert made == {JOBS}
    assert {right.namespace for right in rights} == {"", NAMESPACE, JOBS, "kube-system", "default"}

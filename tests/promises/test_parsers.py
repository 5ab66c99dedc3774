"""Whatever stands in files, answers and logs: a fact or a clear error comes of it, never a traceback, never a hang.

Files are the shipped ones with pieces replaced; answers are recorded ones in which values are lost, null, empty or any
text, which is what a typed API can send. What our own errors say is clean and of bounded length.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import os
import string
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from lab.inventory import build
from lab.kubernetes.managers import deploy_managers
from preflight import jobsettings
from preflight import values as helm
from preflight.clients.kube_api import decode, is_api_object
from preflight.clients.kubeconfig import KubeconfigError, check_kubeconfig
from preflight.evidence import Evidence, Fact, Unmeasured, clean
from preflight.inventory import Inventory, InventoryError, load
from preflight.jobshape import JobShape, job_pod_requests
from preflight.probes import (
    chart_repository,
    cluster,
    dind,
    headroom,
    lint,
    manager_logs,
    managers,
    monitoring,
    pod_messages,
    release,
    shell_readers,
    shell_sections,
    upgrade,
    values_drift,
)
from preflight.probes.registry import parse_docker_config, parse_reference
from preflight.quantities import exactly, quantity, spell
from preflight.runner_config import runner_keys

PROJECT = Path(__file__).parents[2]
RECORDED = PROJECT / "tests" / "recordings"
IN_CI = bool(os.environ.get("PREFLIGHT_REQUIRE_SERVERS"))

bounded = settings(
    max_examples=100,
    deadline=None,  # two cores, many tests
    phases=[Phase.explicit, Phase.generate],  # the first example found tells enough; a smaller one takes minutes
    derandomize=IN_CI,  # what CI says does not change by itself
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NASTY = [
    "",
    " ",
    "\0",
    "\x1b[31m",
    "\u202e",
    "<script>alert(1)</script>",
    "'\"\\`$(x)",
    "{{",
    "9" * 5000,
    "-1",
    "1e999",
    "nan",
    "inf",
    "true",
    "null",
    "[]",
    "{}",
    "\ud800",
    "a" * 100_000,
    "2025-99-99T99:99:99Z",
    "-0001-01-01T00:00:00Z",
    "²",
    "٣",
    "1" * 400 + "Gi",
]
texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=40))
PIECES = [
    "",
    " ",
    "\t",
    "\n",
    ":",
    "- ",
    "&a ",
    "*a",
    "!!python/object:os.system x",
    "!x ",
    "{",
    "}",
    "[",
    "]",
    "|",
    ">",
    "'",
    '"',
    "#",
    "%",
    "---\n",
    "\0",
    "\ufeff",
    "<<: *a",
    "? ",
    "null",
    "~",
    ".nan",
    "-.inf",
    "0o17",
    "1_000",
    "2025-01-01",
    "9" * 5000,
    "=",
    "1:30",
    "\u202e",
    "[" * 2000,
    "true",
    "[[runners]]\n",
    "{{",
    "}}",
    "${X}",
    "file:/proc/self/mem",
    "file:/dev/null",
    "file:\0",
]


@st.composite
def edits(draw: st.DrawFn, text: str) -> str:
    """A text in which some lines' ends, or stretches anywhere, are replaced."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        line, piece = lines[place], draw(st.one_of(st.sampled_from(PIECES), st.text(string.printable, max_size=12)))
        match draw(st.sampled_from(["value", "cut", "insert", "indent", "drop", "double"])):
            case "value":
                lines[place] = f"{line.partition(':')[0]}: {piece}"
            case "cut":
                start, stop = sorted((draw(st.integers(0, len(line))), draw(st.integers(0, len(line)))))
                lines[place] = line[:start] + line[stop:]
            case "insert":
                at = draw(st.integers(0, len(line)))
                lines[place] = line[:at] + piece + line[at:]
            case "indent":
                lines[place] = "  " + line
            case "drop":
                lines[place] = ""
            case _:
                lines[place] = f"{line}\n{line}"
    return "\n".join(lines)


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from paths(value, (*path, key))


def _empty(held: Any) -> Any:
    return None if held is None else type(held)()


@st.composite
def altered(draw: st.DrawFn, document: Any) -> Any:
    """A JSON document in which some values are absent, null, empty, or another of their own type."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 4))):
        known = list(paths(document))
        if not known:
            return document
        *parents, last = draw(st.sampled_from(known))
        node = document
        for step in parents:
            node = node[step]
        held = node[last]
        ways: list[Callable[[], Any]] = [partial(_empty, held)]
        if parents and not isinstance(parents[-1], int) and not isinstance(last, int):
            ways += [lambda: None, lambda: ...]
        if isinstance(held, str):
            ways = [lambda: draw(texts), *ways]
        elif isinstance(held, int) and not isinstance(held, bool):
            ways = [lambda: draw(st.sampled_from([0, -1, 2**31, 2**63 - 1, -(2**63)])), *ways]
        chosen = draw(st.sampled_from(ways))()
        if chosen is ...:
            del node[last]
        else:
            node[last] = chosen
    return document


def answers(path: str) -> Any:
    """What the recorded API server answered to a request that ends so."""
    for file in sorted(RECORDED.glob("*.json")):
        for one in json.loads(file.read_text()):
            if (
                one["request"].startswith("GET")
                and one["request"].partition("?")[0].endswith(path)
                and one["status"] == 200
            ):
                return one["response"]
    raise LookupError(path)


# ---- files


@bounded
@given(edits((PROJECT / "inventory.yaml").read_text()))
def test_an_inventory_is_read_or_refused(inventory_file: Path, text: str) -> None:
    for old, new in {
        "# kubeconfig: ~/.kube/config": "kubeconfig: kubeconfig",
        "~/.ssh/id_ed25519": "id_ed25519",
        "~/.ssh/known_hosts": "known_hosts",
        "[gitlab-runner-values.yaml]": "[values.yaml]",
    }.items():
        text = text.replace(old, new)
    inventory_file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load(inventory_file), Inventory)
    except InventoryError as error:
        assert_clear(str(error))


@bounded
@given(
    edits((PROJECT / "gitlab-runner-values.yaml").read_text()),
    st.lists(
        st.one_of(texts, sets := st.from_regex(r"[a-c.\[\]0-9{},=\\]{1,14}=[a-c0-9{},\\]{0,5}", fullmatch=True)),
        max_size=3,
    ),
)
def test_values_are_read_linted_and_shaped_or_refused(inventory_file: Path, text: str, pairs: list[str]) -> None:
    file = inventory_file.parent / "values.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        values = helm.load([file], pairs, release="r", namespace="ns")
    except InventoryError as error:
        assert_clear(str(error))
        return
    expected = lint.Expected(
        chart="0.80.0", gitlab_url="http://192.168.1.50/", resolvers=("10.0.0.2",), privileged=True
    )
    found = lint.lint(values, expected)
    assert isinstance(found, Fact)
    assert isinstance(values_drift.read_drift(values.tree, {}, values.runner_keys, release="r", namespace="ns"), Fact)
    if values.problem is None:
        try:
            assert isinstance(jobsettings.job_shape(values), JobShape)
        except ValueError as error:
            assert_clear(str(error))


@bounded
@given(edits((PROJECT / "gitlab-runner-values.yaml").read_text().partition("config: |\n")[2]))
def test_the_toml_of_the_runners_is_read_or_a_problem(inventory_file: Path, text: str) -> None:
    file = inventory_file.parent / "values.yaml"
    file.write_text(json.dumps({"runners": {"config": text}}))
    values = helm.load([file], release="r", namespace="ns")
    expected = lint.Expected(
        chart="0.80.0", gitlab_url="http://192.168.1.50/", resolvers=("10.0.0.2",), privileged=True
    )
    assert isinstance(lint.lint(values, expected), Fact)
    if values.problem is None:
        if all(setting.path for setting in values.unread):  # else only Helm can tell what the whole text becomes
            tomllib.loads(values.rendered)
        try:
            assert isinstance(jobsettings.job_shape(values), JobShape)
        except ValueError as error:
            assert_clear(str(error))


KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: 'https://192.168.1.100:6443'}}]
users:
- name: u
  user:
    token: made-up-token
    client-key-data: bWFkZS11cA==
"""


@bounded
@given(edits(KUBECONFIG))
@example(KUBECONFIG.replace("users:", "users: " + "9" * 5000))
@example(KUBECONFIG.replace("https://192.168.1.100:6443", "https://["))
@example(KUBECONFIG.partition("  user:")[0] + "  user: x\n")
def test_a_kubeconfig_is_read_or_refused(inventory_file: Path, text: str) -> None:
    file = inventory_file.parent / "kubeconfig"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        check_kubeconfig(file, None)
    except KubeconfigError as error:
        assert_clear(str(error))


@bounded
@given(st.one_of(texts, edits('{"auths": {"registry.example.com": {"auth": "b3BzOnB3"}}}')))
def test_a_docker_config_is_read_or_refused(text: str) -> None:
    try:
        parse_docker_config(text, "registry.example.com")
    except ValueError as error:
        assert_clear(str(error))


@bounded
@given(texts)
def test_an_image_is_read_or_refused(text: str) -> None:
    try:
        parse_reference(text)
    except ValueError as error:
        assert_clear(clean(str(error)))


# ---- what scripts and logs print

OUTPUTS = PROJECT / "tests" / "probes" / "outputs"
NONCE = "p0123456789abcdef"
NODE_OUTPUT = (OUTPUTS / "node-debian12.txt").read_text()
DIND_OUTPUT = (OUTPUTS / "dind-docker-28.2.2-ready.txt").read_text()
READERS: dict[str, Callable[[shell_sections.Section], object]] = {
    "lookup": lambda one: shell_readers.read_lookup(one, frozenset()),
    "fetch": lambda one: shell_readers.read_fetch(one, "http://192.168.1.50/", where="here"),
    "tcp": lambda one: shell_readers.read_tcp(one, where="here"),
    "resolv_conf": shell_readers.read_resolv_conf,
    "clock": shell_readers.read_clock,
    "interface": shell_readers.read_interface,
    "docker_ready": lambda one: dind.read_docker_ready(one, where="here"),
    "docker_version": lambda one: dind.read_docker_info(one, one, where="here"),
    "docker_info": lambda one: dind.read_docker_info(one, one, where="here"),
    "docker_pull": lambda one: dind.read_docker_pull(one, where="here"),
    "docker_run": lambda one: dind.read_docker_run(one, where="here"),
}


@pytest.mark.parametrize("recorded", [NODE_OUTPUT, DIND_OUTPUT], ids=["node", "dind"])
@bounded
@given(st.data())
def test_probe_output_is_read_or_unmeasured(recorded: str, data: st.DataObject) -> None:
    for section in shell_sections.parse(data.draw(edits(recorded)), NONCE):
        if section.kind in READERS:
            try:
                READERS[section.kind](section)
            except Unmeasured as error:
                assert_clear(str(error))


@bounded
@given(texts, texts, st.integers(-5, 600))
@example("2025-99-99T99:99:99Z x", "", 0)
def test_words_are_classified(message: str, more: str, status: int) -> None:
    for said in (
        message,
        f"Error creating: pods {message} is forbidden: {more}",
        f"0/3 nodes are available: {message}",
        f"Failed to pull image {message}: {more}",
    ):
        for fault, cause in (
            pod_messages.classify_admission(status, said),
            pod_messages.classify_scheduling(said),
            pod_messages.classify_pull(said),
        ):
            assert fault
            assert isinstance(cause, str)
        pod_messages.classify_daemon(said, exit_status=status, privileged=True, port=2375, client_log=more)
    log = f"2025-09-14T08:12:44.1Z {message}\n{message} Checking for jobs... failed {more}\n2025-99-99T99:99:99Z x"
    assert manager_logs.read_log(log, pod="p", now=0.0).pod == "p"
    chart_repository.read_index(log, "0.80.0", repository="r")


# ---- what the API answers

SHAPE = JobShape(namespace="ns", image="i", helper_image="h")
NOW = datetime(2025, 9, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    """The guide's objects, as the lab's API shows them, by resource."""
    built = build()
    deploy_managers(built.cluster, built, (PROJECT / "gitlab-runner-values.yaml").read_text())
    resources = "nodes pods services endpoints namespaces deployments secrets".split()
    return {one: json.loads(json.dumps(built.cluster.list(one))) for one in resources}


def sent(data: st.DataObject, document: Any) -> Any:
    """What the API sends instead, as its client reads it; what is no object is refused before it is read."""
    found = decode(json.dumps(data.draw(altered(document))))
    return [one for one in found if is_api_object(one)] if isinstance(found, list) else found


@bounded
@given(data=st.data())
def test_nodes_and_pods_become_facts(world: dict[str, Any], data: st.DataObject) -> None:
    nodes = cluster.read_nodes(sent(data, world["nodes"]))
    for node in nodes:
        assert isinstance(headroom.why_not(node, SHAPE), str)
    evidence = Evidence(where="here", command="x")
    requests, jobs, aside = cluster.read_pod_requests(sent(data, world["pods"]), namespace="gitlab")
    used = cluster.PodRequests(target="x", by_node=requests, jobs=jobs, set_aside=aside, evidence=evidence)
    known = cluster.Nodes(target="x", nodes=nodes, evidence=evidence)
    assert isinstance(headroom.pack(known, used, job=job_pod_requests(SHAPE, 1), shape=SHAPE), Fact)
    for pod in sent(data, world["pods"]):
        pod_messages.classify_end(pod, container="gitlab-runner")
    monitoring.read_manager_pods(sent(data, world["pods"]))
    upgrade.read_jobs(sent(data, world["pods"]), own_job="1", own_host="runner-1", now=NOW.timestamp())


@bounded
@given(data=st.data())
def test_a_release_becomes_facts(world: dict[str, Any], data: st.DataObject) -> None:
    pods = [one for one in world["pods"] if one["metadata"]["name"].startswith("gitlab-runner")]
    deployment = sent(data, world["deployments"])
    found = managers.Objects(
        release="r", namespace="ns", deployment=deployment[0] if deployment else None, pods=tuple(sent(data, pods))
    )
    assert isinstance(managers.read_rollout(found), Fact)
    assert isinstance(managers.read_managers(found, now=NOW.timestamp(), restart_age=60.0), Fact)
    assert isinstance(manager_logs.read_logs((), found), Fact)
    records = release.read_records(sent(data, [one for one in world["secrets"] if "helm" in one["metadata"]["name"]]))
    history = release.History(name="r", namespace="ns", records=tuple(records))
    assert not records or isinstance(release.read_release(history, now=NOW.timestamp()), Fact)


@bounded
@given(data=st.data())
def test_a_helm_record_becomes_a_fact(world: dict[str, Any], data: st.DataObject) -> None:
    secret = next(one for one in world["secrets"] if "helm" in one["metadata"]["name"])
    body = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    text = json.dumps(data.draw(altered(body))).encode()
    packed = base64.b64encode(base64.b64encode(gzip.compress(text))).decode()
    records = release.read_records([{**secret, "data": {"release": packed}}])
    history = release.History(name="r", namespace="ns", records=tuple(records))
    assert isinstance(release.read_release(history, now=NOW.timestamp()), Fact)
    assert isinstance(
        values_drift.read_drift(records[0].values, {}, runner_keys("18.3"), release="r", namespace="ns"), Fact
    )
    assert history.shown or not records


@bounded
@given(data=st.data())
def test_namespaces_services_and_events_become_facts(world: dict[str, Any], data: st.DataObject) -> None:
    services, endpoints = sent(data, world["services"]), sent(data, world["endpoints"])
    for service in (*services, None):
        assert isinstance(cluster.read_service_endpoints(service, endpoints, namespace="n", name="x"), Fact)
    for namespace in sent(data, world["namespaces"]):
        assert isinstance(cluster.read_namespace(namespace, {"services": services}, namespace="n"), Fact)
    metrics = {"items": [{"metadata": {"name": "n"}, "usage": {"cpu": "1", "memory": "1Mi"}}]}
    assert isinstance(cluster.read_metrics(sent(data, metrics)), Fact)
    event: dict[str, Any] = {
        "metadata": {"name": "e"},
        "reason": "x",
        "message": "y",
        "lastTimestamp": "2025-09-14T08:12:44Z",
    }
    event |= {"type": "Warning", "involvedObject": {"kind": "Pod", "name": "gitlab-runner-1"}, "count": 3}
    monitoring.read_warnings(sent(data, [event]), ["gitlab-runner"], since=NOW, now=NOW)


@bounded
@given(texts)
@example("9" * 5000)
@example("1e9999")
def test_a_quantity_is_read_or_refused(text: str) -> None:
    try:
        number = quantity(text)
    except ValueError as error:
        assert_clear(clean(str(error)))
        return
    assert spell("memory", number)
    assert spell("cpu", number)
    assert exactly(number)


def assert_clear(said: str) -> None:
    """One or more printable lines of bounded length."""
    assert said.strip()
    assert len(said) < 100_000
    assert all(one.isprintable() for one in said.split("\n")), repr(said[:300])

"""What is known of registries before a pod of ours pulls from them, and the daemon's resolvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from preflight import jobsettings
from preflight.clients.connect import Routes
from preflight.evidence import Blocked, Unmeasured
from preflight.fact import TARGETS
from preflight.facts import dind as dind_facts
from preflight.facts import namespace as namespace_facts
from preflight.facts import pods as pod_facts
from preflight.facts.blocking import block_if_pulls_are_slow, block_if_registry_is_slow
from preflight.facts.dind import dind_shape
from preflight.facts.probe_plan import (
    beyond_the_first,
    hosts_without_address,
    one_of_each_registry_first,
    registry_step,
)
from preflight.facts.registry import node_registry
from preflight.facts.target_selectors import image_of_dind_pull
from preflight.faults import DindFault, DnsFault, PathFault, PodFault, RegistryFault
from preflight.inventory import OTHER_NODES, ClusterNode, Inventory
from preflight.jobshape import JobShape
from preflight.probes import dind as dind_probes
from preflight.probes import pods
from preflight.probes.cluster import NamespaceState, Node, Nodes
from preflight.probes.dind import DindRun
from preflight.probes.layer_rate import LayerRate
from preflight.probes.node_pulls import Pull
from preflight.probes.pod_runs import MootError
from preflight.probes.pods import Admission, DindPod, JobPod
from preflight.probes.registry import Manifest
from preflight.probes.shell_sections import Section
from preflight.probes.transcript import PodTranscript, Report, WorkerRoom
from preflight.run import Run
from preflight.values import values_of
from tests.conclusions import made
from tests.conclusions.made import RESOLVERS

MIRROR, PRIVATE = "registry.example.com", "private-registry.example.com"


def test_a_registry_is_nameless_only_if_no_resolver_has_its_address(inventory: Inventory) -> None:
    silent = made.lookups(RESOLVERS[0], DnsFault.TIMEOUT, "here", (MIRROR, PRIVATE))
    answering = made.lookups(RESOLVERS[1], None, "here", (MIRROR,))
    lacking = made.lookups(RESOLVERS[1], DnsFault.NXDOMAIN, "here", (PRIVATE,))
    assert hosts_without_address(inventory, [silent]) == {MIRROR, PRIVATE}
    assert hosts_without_address(inventory, [silent, answering, lacking]) == {PRIVATE}
    assert hosts_without_address(inventory, []) == frozenset(), "what was not asked is not known"


def test_one_image_of_each_registry_is_pulled_before_the_others(inventory: Inventory) -> None:
    images = [f"{MIRROR}/a:1", f"{MIRROR}/b:1", f"{PRIVATE}/c:1", f"{MIRROR}/d:1"]
    assert one_of_each_registry_first(inventory, images) == [images[0], images[2], images[1], images[3]]


def test_where_names_are_slow_one_image_of_each_registry_is_pulled_anew(inventory: Inventory) -> None:
    first = f"{MIRROR}/a:1"
    images = [first, first, f"{PRIVATE}/c:1", f"{MIRROR}/b:1", f"{MIRROR}/d:1"]
    assert beyond_the_first(inventory, images) == (f"{MIRROR}/b:1", f"{MIRROR}/d:1")


def test_a_daemon_does_not_wait_for_resolvers_that_are_known_to_be_silent(inventory: Inventory) -> None:
    shape = jobsettings.job_shape(values_of(inventory.runner))
    names = (MIRROR,)
    healthy = tuple(made.lookups(resolver, None, "here", names) for resolver in RESOLVERS[1:])
    silent = made.lookups(RESOLVERS[0], DnsFault.TIMEOUT, "here", names)
    assert servers(dind_shape(shape, (silent, *healthy))) == list(RESOLVERS[1:])
    assert servers(dind_shape(shape, healthy)) == servers(shape) == list(RESOLVERS)
    everyone = tuple(made.lookups(resolver, DnsFault.TIMEOUT, "here", names) for resolver in RESOLVERS)
    assert servers(dind_shape(shape, everyone)) == list(RESOLVERS), "something has to be left"


def test_a_daemon_has_a_head_start_where_it_neither_pulls_nor_takes_the_room_of_a_job(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inventory.dind != "none"
    run = Run(inventory=inventory, routes=Routes({}, only_mapped=True), id="made")
    shape = jobsettings.job_shape(values_of(inventory.runner))
    held = frozenset({inventory.dind.client_image, inventory.dind.daemon_image})

    noted: list[str] = []
    slow: set[str] = set()

    def launch(*_: object, moot: Callable[[], bool]) -> PodTranscript:
        for resolver in noted:
            run.note_silent("k8s-worker-1", resolver)
        run.slow_registries |= slow
        if moot():
            raise MootError("given up", job="made")
        return PodTranscript(
            pod=DindPod(target="k8s-worker-1", evidence=made.shown(), node="k8s-worker-1", job="made"), nonce="0" * 8
        )

    monkeypatch.setattr(dind_facts, "_launch", launch)

    def starts(
        images: frozenset[str] = held, fits: int = 1, quotas: tuple[Any, ...] = (), fault: PathFault | None = None
    ) -> bool:
        node = Node(name="k8s-worker-1", address="192.168.1.101", ready=True, images=images)
        return (
            dind_facts.dind_head_start(
                "k8s-worker-1",
                Nodes(target="nodes", evidence=made.shown(), nodes=(node,)),
                NamespaceState(target="gitlab", evidence=made.shown(), quotas=quotas),
                shape,
                inventory.dind,
                made.registry(MIRROR, fault),
                WorkerRoom(target="k8s-worker-1", evidence=made.shown(), node="k8s-worker-1", fits=fits),
                None,
                inventory,
                run,
            )
            is not None
        )

    assert starts()
    assert not starts(images=held - {inventory.dind.daemon_image}), "it would pull beside the job's pod"
    assert not starts(fits=0)
    assert not starts(quotas=({"metadata": {"name": "jobs"}},)), "the quota may be for one pod less"
    assert not starts(fault=PathFault.TIMEOUT)
    noted.append(RESOLVERS[0])
    assert not starts(), "it would wait for a resolver that does not answer there"
    assert starts(), "without that resolver from the beginning, it does not"
    slow.add(MIRROR)
    assert not starts(), "its script would wait for a registry that delivers slowly"
    assert starts(), "one that is written anew does not"
    noted += RESOLVERS
    assert starts(), "something has to be left, so nothing changes"
    run.note_cut_off("k8s-worker-1", MIRROR)
    assert not starts(), "the worker was seen not to reach what the daemon would pull from"


def test_a_pod_that_waits_for_commands_begins_with_the_jobs_where_the_image_is_there_and_room_is_free(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(inventory=inventory, routes=Routes({}, only_mapped=True), id="made")
    shape = jobsettings.job_shape(values_of(inventory.runner))
    held = frozenset({inventory.probe.image})
    ends: dict[str, Any] = {"problem": None}

    def streams_of(*_: object, moot: Callable[[], bool] = bool, **_options: object) -> str:
        if moot():
            raise MootError("given up", job="made")
        if ends["problem"] is not None:
            raise ends["problem"]
        return "measured"

    monkeypatch.setattr(namespace_facts, "_streams", streams_of)

    def starts(images: frozenset[str] = held, fits: int = 1, quotas: tuple[Any, ...] = ()) -> bool:
        node = Node(name="k8s-worker-1", address="192.168.1.101", ready=True, images=images)
        return (
            namespace_facts.streams_head_start(
                "k8s-worker-1",
                Nodes(target="nodes", evidence=made.shown(), nodes=(node,)),
                NamespaceState(target="gitlab", evidence=made.shown(), quotas=quotas),
                shape,
                WorkerRoom(target="k8s-worker-1", evidence=made.shown(), node="k8s-worker-1", fits=fits),
                None,
                inventory,
                run,
            )
            is not None
        )

    assert starts()
    assert not starts(images=frozenset()), "it would pull beside the job's pod"
    assert not starts(fits=0)
    assert not starts(quotas=({"metadata": {"name": "jobs"}},)), "the quota may be for one pod less"
    ends["problem"] = Unmeasured("it did not start", needs="another try")
    assert not starts(), "it is tried again once the job's pod has started"
    ends["problem"] = None
    run.moot = lambda name, targets: (name, targets) == ("streams_head_start", {"worker": "k8s-worker-1"})
    assert not starts(), "the job's pod did not start"


def test_a_pod_whose_node_waits_for_a_silent_resolver_with_each_pull_makes_room_for_one_that_pulls_less(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(inventory=inventory, routes=Routes({}, only_mapped=True), id="made")
    helm_values, worker = values_of(inventory.runner), "k8s-worker-1"
    run.planned |= {("pod_image", (("image", image), ("worker", worker))) for image in inventory.images}
    launched: list[tuple[str, int]] = []
    removed: list[str] = []

    def launch(_api: object, manifest: dict[str, Any], *, moot: Callable[[], bool], **_: object) -> JobPod:
        pulls = manifest["spec"]["template"]["spec"]["containers"]
        launched.append((manifest["metadata"]["name"], sum(pull["imagePullPolicy"] == "Always" for pull in pulls)))
        assert not moot()
        if len(launched) == 1:
            run.note_silent(worker, RESOLVERS[0])
            assert moot()
            raise MootError("given up", job=f"{launched[0][0]}-2")
        return JobPod(target=worker, evidence=made.shown(), node=worker, job=manifest["metadata"]["name"])

    monkeypatch.setattr(pods, "launch", launch)

    def follow() -> str:
        node = Node(name=worker, address="192.168.1.101", ready=True)
        transcript: PodTranscript = pod_facts.job_pod(
            worker,
            Admission(target="pod", evidence=made.shown()),
            (),
            Nodes(target="nodes", evidence=made.shown(), nodes=(node,)),
            NamespaceState(target="gitlab", evidence=made.shown()),
            jobsettings.job_shape(helm_values),
            helm_values,
            SimpleNamespace(api=None, remove=removed.append),
            inventory,
            run,
        )
        return transcript.pod.job

    followed = follow()
    (first, pulled_at_first), (second, pulled_then) = launched
    assert (followed, removed) == (second, [f"{first}-2", second])
    assert second.startswith(first)
    assert second != first, "the one that is being removed has that name"
    assert 0 < pulled_then < pulled_at_first
    follow()
    assert launched[2:] == [(first, pulled_then)], "what is known already is minded from the beginning"


def servers(shape: JobShape) -> list[str]:
    return list((shape.dns_config or {})["nameservers"])


def test_what_a_registry_lacks_is_not_the_daemons_fault(inventory: Inventory) -> None:
    assert inventory.dind != "none"
    image = inventory.dind.pull
    assert image_of_dind_pull(inventory, {}) == image
    unlisted = inventory.model_copy(update={"dind": inventory.dind.model_copy(update={"pull": f"{MIRROR}/other:1"})})
    assert image_of_dind_pull(unlisted, {}) is None
    section = Section(kind="docker_pull", args=(image,), exit=1, output="manifest unknown", took=1.0)
    report = Report(where="dind on k8s-worker-1", sections=(section,))
    lacking, held = (
        Manifest(target=image, image=image, fault=fault, evidence=made.shown())
        for fault in (RegistryFault.NOT_FOUND, None)
    )
    with pytest.raises(Blocked) as raised:
        dind_facts.dind_pull("k8s-worker-1", report, None, lacking, None, inventory.dind, inventory)
    assert (raised.value.fact, raised.value.targets) == ("manifest", {"image": image})
    pulled = dind_facts.dind_pull("k8s-worker-1", report, None, held, None, inventory.dind, inventory)
    assert (pulled.fault, pulled.unfinished) == (DindFault.PULL_FAILED, False)


def test_pulls_from_a_slow_registry_are_waited_for_a_tenth_as_long(inventory: Inventory) -> None:
    assert inventory.dind != "none"
    run = Run(inventory=inventory, routes=Routes({}, only_mapped=True), id="made")

    def limits() -> dict[str, float | None]:
        steps = dind_facts._dind_steps(inventory, inventory.dind, run)  # type: ignore[arg-type]
        return {step.args[0].partition("/")[0]: step.limit for step in steps if step.kind == "docker_pull"}

    assert limits() == {MIRROR: 300, PRIVATE: 25}
    run.slow_registries.update({MIRROR, PRIVATE})
    assert limits() == {MIRROR: 30, PRIVATE: 25}
    hasty = inventory.model_copy(update={"deadlines": inventory.deadlines.model_copy(update={"pull": 60})})
    assert Run(inventory=hasty, routes=run.routes, id="made").slow_pull == 6


def test_pulls_that_a_slow_registry_did_not_let_end_are_blocked_by_its_rate(inventory: Inventory) -> None:
    assert inventory.dind != "none"
    image, worker = inventory.dind.pull, "k8s-worker-1"
    slow, quick = (
        LayerRate(target=MIRROR, host=MIRROR, image=image, rate=98_000, fault=fault, evidence=made.shown())
        for fault in (RegistryFault.SLOW, None)
    )
    late = made.pull(image, worker, PodFault.PULL_TIMEOUT)
    refused = made.pull(image, worker, PodFault.PULL_REFUSED)
    elsewhere = made.pull(f"{PRIVATE}/a:1", worker, PodFault.PULL_TIMEOUT)
    of_node = Pull(target=worker, image=image, runtime="containerd", fault=PodFault.PULL_TIMEOUT, evidence=made.shown())

    def inner(exit_status: int, message: str) -> DindRun:
        section = Section(kind="docker_pull", args=(image,), exit=exit_status, output=message, took=30.0)
        return dind_probes.inner_pull(Report(where=f"dind on {worker}", sections=(section,)), worker, image)

    cut = inner(124, "latest: Pulling from library/alpine")
    gave_up = inner(1, f'Error response from daemon: Get "https://{MIRROR}/v2/": net/http: TLS handshake timeout')
    for pull in (late, of_node, cut, gave_up):
        with pytest.raises(Blocked) as raised:
            block_if_registry_is_slow(pull, slow, inventory)
        assert (raised.value.fact, raised.value.targets) == ("registry_rate", {"registry": "mirror"})
        assert raised.value.measured is pull
        block_if_registry_is_slow(pull, quick, inventory)
    cut_off = inner(
        1, f'Error response from daemon: Get "https://{MIRROR}/v2/": dial tcp 192.168.1.60:443: i/o timeout'
    )
    denied = inner(1, "Error response from daemon: denied: requested access to the resource is denied")
    unconnected = replace(late, cause="failed to do request: dial tcp 192.168.1.60:443: i/o timeout")
    for pull in (refused, elsewhere, denied, cut_off, unconnected):
        block_if_registry_is_slow(pull, slow, inventory)
    pod = JobPod(target=worker, node=worker, pulls=(late,), evidence=made.shown())
    with pytest.raises(Blocked):  # what is still to be pulled waits behind it
        block_if_pulls_are_slow(pod, (quick, slow), inventory)
    block_if_pulls_are_slow(replace(pod, pulls=(refused, elsewhere)), (slow,), inventory)


def test_what_a_worker_does_not_reach_is_known_to_all_measurements(inventory: Inventory) -> None:
    run = Run(inventory=inventory, routes=Routes({}, only_mapped=True), id="made")
    steps = {name: registry_step(inventory, name) for name in inventory.registries}
    ends = {"mirror": 124, "private": 0}
    sections = tuple(Section(kind=step.kind, args=step.args, exit=ends[name], took=5.0) for name, step in steps.items())
    report = Report(where="node k8s-worker-2", sections=sections)
    connections = {name: node_registry("k8s-worker-2", name, report, inventory, run) for name in inventory.registries}
    assert connections["mirror"].fault is PathFault.TIMEOUT
    assert connections["private"].fault is None
    assert run.cut_off == {"k8s-worker-2": frozenset({MIRROR})}


def enlarged(inventory: Inventory, probe_nodes: str = "auto") -> Inventory:
    """An inventory that names 996 workers of one kind, 3 of another, and a node of the control plane."""
    names = ["master", *(f"worker-{number}" for number in range(996)), "gpu-1", "gpu-2", "gpu-3"]
    nodes = {name: ClusterNode(address=f"10.9.{place // 250}.{place % 250}") for place, name in enumerate(names)}
    nodes["master"] = nodes["master"].model_copy(update={"role": "control-plane"})
    cluster, probe = (
        section.model_copy(update=update)
        for section, update in ((inventory.cluster, {"nodes": nodes}), (inventory.probe, {"nodes": probe_nodes}))
    )
    parts = {name: getattr(inventory, name) for name in Inventory.model_fields}
    return Inventory.model_construct(**parts | {"cluster": cluster, "probe": probe})


def test_of_a_thousand_nodes_a_few_of_each_kind_have_checks_of_their_own(inventory: Inventory) -> None:
    large = enlarged(inventory)
    assert list(large.workers) == ["worker-0", "worker-1", "worker-2", "gpu-1", "gpu-2"]
    assert TARGETS["node"](large) == ["master", *large.workers]
    assert TARGETS["pool"](large)[-1] == OTHER_NODES
    assert len(large.other_nodes) == 994
    assert len(enlarged(inventory, "sample: 9").workers) == 9
    for everyone in (enlarged(inventory, "all"), large.with_all_nodes()):
        assert (len(everyone.workers), everyone.other_nodes) == (999, {})
    assert (list(inventory.individual_nodes), inventory.other_nodes) == (list(inventory.cluster.nodes), {})

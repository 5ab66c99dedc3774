"""The rules, on facts written by hand: whole, partial and contradictory ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import pytest

from preflight.conclusions import CAUSES, Conclusion, Facts, Observation, draw
from preflight.conclusions.model import lineage
from preflight.evidence import Blocked, PreflightError
from preflight.facts.gitlab import gitlab_connection
from preflight.facts.paths import node_gitlab, pod_gitlab
from preflight.faults import (
    ClusterFault,
    DnsFault,
    Fault,
    GitLabFault,
    PacketFault,
    PathFault,
    PodFault,
    RegistryFault,
    SshFault,
)
from preflight.impact import Harm
from preflight.inventory import Inventory
from preflight.probes.cluster import Node, Nodes, ServiceEndpoints
from preflight.probes.dind import DindRun
from preflight.probes.latency import RoundTrips, Samples
from preflight.probes.layer_rate import LayerRate
from preflight.probes.nodes import NodeState
from preflight.probes.registry import Manifest, RegistryReply
from tests.conclusions import made
from tests.conclusions.hidden import unfounded
from tests.conclusions.made import RESOLVERS, UNKNOWN, WORKERS, observation, paths

OK, T, R, S = None, PathFault.TIMEOUT, PathFault.REFUSED, PathFault.SILENT
Outcome = Fault | PreflightError | None


def concluded(facts: Facts) -> list[Conclusion]:
    drawn, errors = draw(facts)
    assert not errors
    return list(drawn)


def names(facts: Facts) -> list[str]:
    return sorted(("" if conclusion.certain else "?") + conclusion.name for conclusion in concluded(facts))


@pytest.mark.parametrize(
    ("here", "nodes", "pods", "expected"),
    [
        (OK, (OK, OK, OK), (OK, OK, OK), []),
        (R, (R, R, R), (R, R, R), ["gitlab-port-closed"]),
        (T, (T, T, T), (T, T, T), ["gitlab-cut-off"]),
        (S, (S, S, S), (T, T, T), ["gitlab-silent"]),
        (T, (OK, OK, OK), (OK, OK, OK), ["gitlab-unreachable-from-here"]),
        (OK, (OK, T, OK), (OK, T, OK), ["node-path-blocked"]),
        (OK, (T, T, T), (T, T, T), ["nodes-path-blocked"]),
        (OK, (OK, OK, OK), (T, T, T), ["pods-path-blocked"]),
        (OK, (OK, OK, OK), (OK, T, OK), ["pods-of-one-node-blocked"]),
        (OK, (OK, T, OK), (R, T, OK), ["node-path-blocked", "pods-of-one-node-blocked"]),
        # what is not known is never taken for healthy, and what is known of a part is not said of the whole
        (UNKNOWN, (UNKNOWN,) * 3, (UNKNOWN,) * 3, []),
        (T, (UNKNOWN,) * 3, (UNKNOWN,) * 3, ["?gitlab-unreachable"]),
        (T, (T, T, UNKNOWN), (UNKNOWN,) * 3, ["?gitlab-unreachable"]),
        (UNKNOWN, (T, T, T), (T, T, T), ["?gitlab-unreachable"]),
        (OK, (T, T, UNKNOWN), (T, T, UNKNOWN), ["?gitlab-unreachable-from-workers"]),
        (OK, (UNKNOWN,) * 3, (T, T, T), ["?gitlab-unreachable-from-cluster"]),
        (OK, (UNKNOWN, OK, OK), (T, T, T), ["?gitlab-unreachable-from-pods"]),
        (OK, (OK, OK, OK), (T, T, UNKNOWN), ["?gitlab-unreachable-from-pods"]),
        (UNKNOWN, (OK, T, UNKNOWN), (UNKNOWN, T, UNKNOWN), ["node-path-blocked"]),
        # contradictory: the pods come through where their nodes do not
        (OK, (T, T, T), (OK, OK, OK), ["nodes-path-blocked"]),
        (T, (R, T, T), (T, T, T), ["?gitlab-unreachable"]),
        (OK, (GitLabFault.NOT_GITLAB, OK, OK), (OK, OK, OK), ["proxy-in-the-way"]),
    ],
)
def test_a_path_is_located(
    inventory: Inventory, here: Outcome, nodes: tuple[Outcome, ...], pods: tuple[Outcome, ...], expected: list[str]
) -> None:
    assert names(made.facts(inventory, *paths(here, nodes, pods))) == sorted(expected)


def test_every_failing_observation_of_gitlab_is_explained_and_nothing_healthy_is(inventory: Inventory) -> None:
    for here, nodes, pods in itertools.product(
        (OK, T, UNKNOWN), itertools.product((OK, T, UNKNOWN), repeat=3), ((OK,) * 3, (T, OK, T))
    ):
        facts = made.facts(inventory, *paths(here, nodes, pods))
        explained = {key for conclusion in concluded(facts) for key in conclusion.explains}
        for judged in facts.observations(gitlab_connection, node_gitlab, pod_gitlab):
            if judged.value is not None:
                assert (judged.key in explained) == (judged.fault is not None), (here, nodes, pods, judged)
            elif judged.unknown:
                assert judged.measured is not None or judged.key not in explained, "nothing was seen there"


def dns(
    inventory: Inventory,
    here: dict[str, Outcome],
    nodes: dict[tuple[str, str], Outcome] | Outcome = None,
    *,
    over_tcp: bool = False,
) -> Facts:
    """All resolvers, asked from here and from every node; what is not named answers."""
    observations: list[Observation] = []
    all_names = list(inventory.dns.names)
    for resolver in RESOLVERS:
        outcome = here.get(resolver)
        answers = (
            outcome
            if isinstance(outcome, PreflightError)
            else made.lookups(resolver, outcome, "here", all_names, over_tcp=over_tcp)
        )
        observations.append(observation("here_lookups", answers, resolver=resolver))
        for worker in WORKERS:
            inner = (
                nodes.get((resolver, worker)) if isinstance(nodes, Mapping) else nodes if outcome is not None else None
            )
            answers_to_worker = (
                inner
                if isinstance(inner, PreflightError)
                else made.lookups(resolver, inner, f"node {worker}", all_names, over_tcp=over_tcp)
            )
            observations.append(observation("node_answers", answers_to_worker, resolver=resolver, worker=worker))
    return made.facts(inventory, *observations)


def test_one_resolver_that_nobody_reaches_is_down(inventory: Inventory) -> None:
    (conclusion,) = concluded(dns(inventory, {"10.1.0.251": DnsFault.TIMEOUT}, DnsFault.TIMEOUT))
    assert (conclusion.name, conclusion.about, conclusion.certain) == ("resolver-down", ("10.1.0.251",), True)
    assert "1 of 3 resolvers" in conclusion.sentence


def test_a_resolver_that_is_silent_here_may_be_cut_off_as_long_as_no_node_was_asked(inventory: Inventory) -> None:
    (conclusion,) = concluded(dns(inventory, {"10.1.0.251": DnsFault.TIMEOUT}, UNKNOWN))
    assert (conclusion.name, conclusion.certain) == ("resolver-unreachable", False)
    assert "worker" in conclusion.settled_by


def test_a_resolver_that_nodes_reach_is_cut_off_from_here_only(inventory: Inventory) -> None:
    assert names(dns(inventory, {"10.0.0.2": DnsFault.TIMEOUT})) == ["resolver-unreachable-from-here"]


def test_a_resolver_that_one_node_does_not_reach_is_that_nodes_matter(inventory: Inventory) -> None:
    (conclusion,) = concluded(dns(inventory, {}, {("10.0.0.2", "k8s-worker-3"): DnsFault.TIMEOUT}))
    assert (conclusion.name, conclusion.about) == ("node-resolver-blocked", ("10.0.0.2", "k8s-worker-3"))
    assert any("cordon k8s-worker-3" in step for step in conclusion.remedy)


def test_udp_that_is_dropped_while_tcp_answers_is_told_from_a_dead_resolver(inventory: Inventory) -> None:
    facts = dns(inventory, {"10.1.0.252": DnsFault.TIMEOUT}, DnsFault.TIMEOUT, over_tcp=True)
    assert names(facts) == ["dns-udp-blocked"]


def test_resolvers_with_the_same_fault_share_a_conclusion(inventory: Inventory) -> None:
    facts = dns(inventory, dict.fromkeys(RESOLVERS, DnsFault.TIMEOUT), DnsFault.TIMEOUT)
    (conclusion,) = concluded(facts)
    assert (conclusion.name, conclusion.about) == ("resolver-down", RESOLVERS)
    assert not any("`nameservers`" in step for step in conclusion.remedy), "none would be left"


def test_two_resolvers_with_different_troubles_are_two_conclusions(inventory: Inventory) -> None:
    facts = dns(inventory, {"10.0.0.2": DnsFault.TIMEOUT, "10.1.0.251": DnsFault.REFUSED}, DnsFault.TIMEOUT)
    assert "resolver-down" in names(facts)
    assert "resolver-refuses" in names(facts)


def test_a_name_that_no_resolver_knows_is_missing_and_one_that_some_know_is_a_gap(inventory: Inventory) -> None:
    everywhere: dict[str, Outcome] = dict.fromkeys(RESOLVERS, DnsFault.NXDOMAIN)
    assert set(names(dns(inventory, everywhere, DnsFault.NXDOMAIN))) == {"name-missing"}
    assert set(names(dns(inventory, {"10.0.0.2": DnsFault.NXDOMAIN}, DnsFault.NXDOMAIN))) == {"resolver-lacks-name"}
    silent: dict[str, Outcome] = {"10.0.0.2": DnsFault.NXDOMAIN, "10.1.0.251": UNKNOWN, "10.1.0.252": UNKNOWN}
    assert set(names(dns(inventory, silent, UNKNOWN))) == {"?resolver-lacks-name"}


def test_a_resolver_that_refuses_one_name_and_answers_others_does_not_serve_that_name(inventory: Inventory) -> None:
    from dataclasses import replace

    all_names = list(inventory.dns.names)
    observations = []
    for resolver in RESOLVERS:
        healthy = made.lookups(resolver, None, "here", all_names)
        first, *others = healthy.answers
        answers = (replace(first, fault=DnsFault.REFUSED, addresses=frozenset()), *others)
        refusing = replace(healthy, answers=answers, fault=DnsFault.REFUSED, cause=f"{resolver} refused {first.name}")
        observations.append(observation("here_lookups", refusing, resolver=resolver))
    (conclusion,) = concluded(made.facts(inventory, *observations))
    assert (conclusion.name, conclusion.about) == ("name-missing", (all_names[0],))


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ((600.0, 600.0, 601.0), ["gitlab-clock-skew"]),
        ((0.0, 600.0, 0.0), ["node-clock-skew"]),
        ((600.0, 600.0, None), ["?clock-skew"]),
        ((None, 600.0, None), ["?clock-skew"]),
        ((600.0, -300.0, 40.0), ["?clock-skew"]),
        ((0.0, 0.0, 0.0), []),
    ],
)
def test_the_clock_that_is_wrong_is_named(
    inventory: Inventory, offsets: tuple[float | None, ...], expected: list[str]
) -> None:
    observations = [
        observation("node_clock", UNKNOWN, worker=worker)
        if offset is None
        else observation(
            "node_clock", made.clock(worker, offset, GitLabFault.CLOCK_SKEW if offset else None), worker=worker
        )
        for worker, offset in zip(WORKERS, offsets, strict=True)
    ]
    assert names(made.facts(inventory, *observations)) == expected


MIRROR = "registry.example.com"
ALPINE, DIND = f"{MIRROR}/library/alpine:latest", f"{MIRROR}/library/docker:dind"


def pulling(inventory: Inventory, here: Outcome, pods: tuple[Outcome, ...]) -> Facts:
    reply = here if isinstance(here, PreflightError) else made.registry(MIRROR, here)
    judged = reply.only(PathFault) if isinstance(reply, RegistryReply) else reply
    observations = [
        observation("registry_reply", reply, registry="mirror"),
        observation("registry_connection", judged, registry="mirror"),
    ]
    for worker, outcome in zip(WORKERS, pods, strict=True):
        pull = outcome if isinstance(outcome, PreflightError) else made.pull(ALPINE, worker, outcome)
        observations.append(observation("pod_pull", pull, worker=worker, image=ALPINE))
    return made.facts(inventory, *observations)


@pytest.mark.parametrize(
    ("here", "pods", "expected"),
    [
        (R, (PodFault.PULL_REFUSED,) * 3, ["registry-down"]),
        (T, (OK, OK, OK), ["registry-unreachable-from-here"]),
        (T, (UNKNOWN,) * 3, ["?registry-unreachable"]),
        (PathFault.TLS_UNTRUSTED, (UNKNOWN,) * 3, ["registry-certificate"]),
        (OK, (OK, PodFault.PULL_TIMEOUT, OK), ["node-registry-blocked"]),
        (OK, (PodFault.PULL_TIMEOUT,) * 3, ["nodes-registry-blocked"]),
        (OK, (UNKNOWN, PodFault.PULL_TIMEOUT, UNKNOWN), ["?pulls-fail"]),
        (UNKNOWN, (PodFault.PULL_TIMEOUT,) * 3, ["?pulls-fail"]),
        (OK, (PodFault.PULL_TLS,) * 3, ["node-distrusts-registry"]),
        (OK, (PodFault.PULL_UNAUTHORIZED,) * 3, ["pull-secret-not-in-job"]),
        (UNKNOWN, (PodFault.PULL_UNAUTHORIZED,) * 3, ["?pulls-fail"]),
        (OK, (PodFault.PULL_NOT_FOUND,) * 3, ["image-missing"]),
    ],
)
def test_a_pull_is_located(inventory: Inventory, here: Outcome, pods: tuple[Outcome, ...], expected: list[str]) -> None:
    assert names(pulling(inventory, here, pods)) == expected


def slowly(inventory: Inventory, *others: Observation, held: tuple[str, ...] = (ALPINE, DIND)) -> Conclusion:
    """What is concluded of a registry that delivers 98 kbit/s, where workers hold these images."""
    rate = LayerRate(
        target=MIRROR,
        host=MIRROR,
        image=ALPINE,
        rate=98_000,
        url=f"https://{MIRROR}/v2/library/alpine/blobs/sha256:a1",
        poll_timeout=180,
        fault=RegistryFault.SLOW,
        cause=f"{MIRROR} delivers 98 kbit/s",
        evidence=made.shown(),
    )
    sizes = {ALPINE: 2_000_000, DIND: 185_000_000}
    manifests = [
        observation("manifest", Manifest(target=image, image=image, size=size, evidence=made.shown()), image=image)
        for image, size in sizes.items()
    ]
    images = {worker: frozenset(held) for worker in WORKERS} | {WORKERS[0]: frozenset({ALPINE, DIND})}
    nodes = tuple(Node(name=name, address="192.0.2.1", ready=True, images=names) for name, names in images.items())
    observations = [
        observation("registry_rate", rate, registry="mirror"),
        observation("cluster_nodes", Nodes(target="nodes", nodes=nodes, evidence=made.shown())),
        *manifests,
        *others,
    ]
    (conclusion,) = concluded(made.facts(inventory, *observations))
    assert (conclusion.name, conclusion.about) == ("registry-slow", ("mirror",))
    return conclusion


def of_pull(image: str, fault: Fault | None, seconds: float | None = None) -> list[Observation]:
    """Pulls by pods on all workers; one that did not end is blocked by the rate."""
    observations = []
    for worker in WORKERS:
        pull = replace(made.pull(image, worker, fault), seconds=seconds, fresh=True)
        late = Blocked("registry_rate", {"registry": "mirror"}, "registry-slow", failed=True, measured=pull)
        observations.append(observation("pod_pull", pull if fault is None else late, worker=worker, image=image))
    return observations


def test_a_slow_registry_does_to_jobs_what_their_nodes_lack(inventory: Inventory) -> None:
    jobs = f"jobs that pull from {MIRROR}"
    inside = DindRun(target=ALPINE, node=WORKERS[0], image=ALPINE, seconds=170, evidence=made.shown())
    slow = observation("dind_pull", inside, worker=WORKERS[0])
    assert str(slowly(inventory, slow).impact) == f"slows {jobs}"
    lacking = slowly(inventory, slow, held=(ALPINE,))
    assert str(lacking.impact) == f"stops {jobs} on {WORKERS[1]}, {WORKERS[2]}"
    assert "would have to pull docker:dind (4 h 12 min), and the runner waits 180 s" in lacking.sentence
    assert str(slowly(inventory, slow, held=(DIND,)).impact) == f"slows {jobs}", "alpine takes 163 s"
    cut = (ALPINE, *(f"{MIRROR}/old:{number}" for number in range(50)))
    assert str(slowly(inventory, slow, held=cut).impact) == f"slows {jobs}", "the list may omit an image"
    late = of_pull(DIND, PodFault.PULL_TIMEOUT)
    assert str(slowly(inventory, *late, held=cut).impact) == f"stops {jobs}", "it would not be pulled anew"
    assert any("speed_download" in step for step in lacking.remedy)


def test_a_registry_that_is_slow_from_here_alone_harms_no_job(inventory: Inventory) -> None:
    unseen = slowly(inventory, held=(ALPINE,))
    assert unseen.impact.harm is Harm.NONE
    assert "no pull of the cluster shows whether its own way is faster" in unseen.sentence
    pulled = of_pull(DIND, None, seconds=15)
    assert slowly(inventory, *pulled, held=(ALPINE,)).impact.harm is Harm.NONE, "the cluster has a faster way"
    assert "the cluster pulls at 98.7 Mbit/s" in slowly(inventory, *pulled).sentence


def test_a_fault_of_the_registry_itself_is_no_matter_of_the_way(inventory: Inventory) -> None:
    facts = made.facts(
        inventory,
        observation("registry_reply", made.registry(MIRROR, RegistryFault.UNAUTHORIZED), registry="mirror"),
        observation("registry_access", made.registry(MIRROR, RegistryFault.UNAUTHORIZED), registry="mirror"),
    )
    assert names(facts) == ["registry-credentials-rejected"]


def test_a_worker_that_kubernetes_misses_and_ssh_does_not_reach_is_down(inventory: Inventory) -> None:
    from preflight.evidence import Unmeasured
    from preflight.faults import ClusterFault
    from preflight.probes.nodes import NodeState

    unreachable = Unmeasured("k8s-worker-2: timed out", fault=SshFault.TIMEOUT)
    state = NodeState(
        target="k8s-worker-2",
        node="k8s-worker-2",
        fault=ClusterFault.NODE_NOT_READY,
        cause="k8s-worker-2 is not ready: Kubelet stopped posting node status",
        evidence=made.shown(),
    )
    both = made.facts(
        inventory,
        observation("node_login", unreachable, worker="k8s-worker-2"),
        observation("node_readiness", state, node="k8s-worker-2"),
    )
    assert names(both) == ["worker-down"]
    for hidden in both:
        assert not unfounded(both, both.without([hidden.key]))
    assert names(made.facts(inventory, observation("node_login", unreachable, worker="k8s-worker-2"))) == [
        "ssh-unreachable"
    ]
    assert names(made.facts(inventory, observation("node_readiness", state, node="k8s-worker-2"))) == ["node-not-ready"]


def test_conclusions_are_ordered_by_how_much_they_explain(inventory: Inventory) -> None:
    observations = [
        *paths(OK, (T, T, T), (T, T, T)),
        observation("node_clock", made.clock(WORKERS[0], 9, GitLabFault.CLOCK_SKEW), worker=WORKERS[0]),
    ]
    sizes = [len(conclusion.explains) for conclusion in concluded(made.facts(inventory, *observations))]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 2


def test_every_cause_specialises_a_cause_that_there_is() -> None:
    for cause in CAUSES.values():
        assert set(cause.specialises) <= set(CAUSES), cause
        assert len(list(lineage(cause.name))) <= 5, "no cause generalises itself"


def test_a_rule_that_errors_costs_only_its_own_conclusions(inventory: Inventory) -> None:
    from preflight.conclusions import model, rules

    def broken(facts: Facts) -> list[Conclusion]:
        raise KeyError("no such thing")

    model.RULES.insert(0, broken)
    try:
        drawn, errors = rules.draw(made.facts(inventory, *paths(R, (R, R, R), (R, R, R))))
    finally:
        model.RULES.remove(broken)
    assert [conclusion.name for conclusion in drawn] == ["gitlab-port-closed"]
    assert "broken" in errors[0]


def test_a_quota_that_leaves_too_little_room_also_keeps_probes_away(inventory: Inventory) -> None:
    from preflight.evidence import Unmeasured
    from preflight.faults import ClusterFault
    from preflight.probes.headroom import Headroom

    room = Headroom(
        target="jobs",
        wanted=3,
        fits=1,
        capacity=1,
        by_node=(),
        requests={"pods": "1"},
        runs_out="pods of quota tight",
        quota_limit=1,
        fault=ClusterFault.TOO_FEW_FIT,
        cause="fits 1 of 3; pods of quota tight runs out first",
        evidence=made.shown(),
    )
    spared = Unmeasured("quota tight is nearly used", fault=PodFault.QUOTA)
    facts = made.facts(
        inventory,
        observation("headroom", room),
        *(observation("pod_start", spared, worker=worker) for worker in WORKERS),
    )
    (conclusion,) = concluded(facts)
    assert (conclusion.name, len(conclusion.explains)) == ("quota-too-small-for-jobs", 4)


@pytest.mark.parametrize("installer", ["kubeadm", "RKE2", "OpenShift", ""])
def test_nobody_is_told_to_run_another_clusters_installer(inventory: Inventory, installer: str) -> None:
    nodes = Nodes(target="cluster", nodes=(Node(name="a", installer=installer),), evidence=made.shown())
    missing = ServiceEndpoints(
        target="kube-system/kube-dns", fault=ClusterFault.SERVICE_MISSING, cause="none", evidence=made.shown()
    )
    gone = NodeState(target="b", node="b", fault=ClusterFault.NODE_MISSING, cause="none", evidence=made.shown())
    skewed = NodeState(target="a", node="a", fault=ClusterFault.VERSION_SKEW, cause="old", evidence=made.shown())
    facts = Facts(
        inventory,
        [
            observation("cluster_nodes", nodes),
            observation("kube_dns", missing),
            observation("node_presence", gone, node="b"),
            observation("node_version", skewed, node="a"),
        ],
    )
    steps = {conclusion.cause.name: " ".join(conclusion.remedy) for conclusion in concluded(facts)}
    assert set(steps) == {"cluster-dns-missing", "node-missing", "node-version-skew"}
    for text in steps.values():
        assert ("kubeadm" in text) == (installer == "kubeadm")
    assert installer in {"kubeadm", "", "OpenShift"} or all(installer in text for text in steps.values())


def test_registries_that_are_slow_alike_are_one_cause_with_the_time_that_packets_wait(inventory: Inventory) -> None:
    hosts = {name: registry.host for name, registry in inventory.registries.items()}
    observations = []
    for number, (name, host) in enumerate(hosts.items()):
        rate = LayerRate(
            target=host, host=host, rate=98_000 - number, fault=RegistryFault.SLOW, cause="slow", evidence=made.shown()
        )
        observations.append(observation("registry_rate", rate, registry=name))
    samples = tuple(
        Samples(destination=host, taken=6, lost=0, round_trip=0.55, quickest=0.5)
        for host in (*hosts.values(), "GitLab")
    )
    near = (replace(samples[-1], round_trip=0.001, quickest=0.001),)
    far = RoundTrips(
        target="node", samples=(*samples[:-1], *near), fault=PacketFault.FAR, cause="far", evidence=made.shown()
    )
    well = replace(far, fault=None, cause="")
    observations += [observation("node_distance", far if n else well, worker=each) for n, each in enumerate(WORKERS)]
    image = f"{hosts['mirror']}/library/alpine:1"  # of the other registry no pull tells
    described = Manifest(target=image, image=image, size=2_000_000, evidence=made.shown())
    pull = replace(made.pull(image, WORKERS[0], None), seconds=170, fresh=True)
    observations.append(observation("manifest", described, image=image))
    observations.append(observation("pod_pull", pull, worker=WORKERS[0], image=image))
    (conclusion,) = concluded(made.facts(inventory, *observations))
    assert (conclusion.name, set(conclusion.about)) == ("registry-slow", set(hosts))
    assert str(conclusion.impact) == f"slows jobs that pull from {hosts['private']} and {hosts['mirror']}"

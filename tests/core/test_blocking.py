"""What a measurement is blocked by, from facts made by hand."""

from __future__ import annotations

import pytest

from preflight.evidence import Blocked, Evidence, Unmeasured
from preflight.facts.blocking import block_if_no_resolver_knows
from preflight.facts.dind import dind_registry
from preflight.facts.references import Ref
from preflight.facts.release import manager_config
from preflight.faults import DindFault, DnsFault, Fault, PathFault, PodFault, StreamFault
from preflight.inventory import Inventory
from preflight.probes.dind import InnerRegistry
from preflight.probes.dns import Answer, Lookups
from preflight.probes.registry import RegistryReply
from preflight.probes.shell_sections import Section
from preflight.probes.transcript import PodStart, Report

SEEN = Evidence(where="here", command="curl", observed="")
MIRROR, CHARTS = "registry.example.com", "charts.gitlab.io"


def resolver(address: str, **faults: DnsFault | None) -> Lookups:
    """A resolver that was asked for the names `mirror` and `other`, and the fault of each."""
    names = {"mirror": MIRROR, "other": "other.example.com"}
    answers = tuple(Answer(name=names[name], fault=fault) for name, fault in faults.items())
    worst = next((answer.fault for answer in answers if answer.fault), None)
    cause = f"{address} is faulty" if worst else ""
    return Lookups(target=address, resolver=address, fault=worst, cause=cause, evidence=SEEN, answers=answers)


def reply(fault: Fault | None) -> RegistryReply:
    return RegistryReply(target=MIRROR, host=MIRROR, fault=fault, cause="so" if fault else "", evidence=SEEN)


SILENT = {"mirror": DnsFault.TIMEOUT, "other": DnsFault.TIMEOUT}
UNKNOWN = {"mirror": DnsFault.NXDOMAIN, "other": None}


@pytest.mark.parametrize(
    ("host", "answers"),
    [
        (MIRROR, [SILENT, SILENT]),
        (f"{MIRROR}:5000", [UNKNOWN, SILENT]),
        (CHARTS, [SILENT, SILENT]),
    ],
    ids=["all-silent", "unknown-or-silent", "not-asked-and-all-silent"],
)
def test_a_name_without_address_is_the_resolvers_fault_where_none_gives_one(
    host: str, answers: list[dict[str, DnsFault | None]]
) -> None:
    here = tuple(resolver(f"10.0.0.{number}", **faults) for number, faults in enumerate(answers, 2))
    with pytest.raises(Blocked) as raised:
        block_if_no_resolver_knows(reply(PathFault.UNRESOLVED), host, here)
    assert (raised.value.fact, raised.value.targets) == (Ref.HERE_LOOKUPS, {"resolver": "10.0.0.2"})
    assert raised.value.failed
    assert raised.value.measured is not None


@pytest.mark.parametrize(
    ("fault", "host", "answers"),
    [
        (PathFault.TIMEOUT, MIRROR, [SILENT]),
        (None, MIRROR, [SILENT]),
        (PathFault.UNRESOLVED, MIRROR, []),
        (PathFault.UNRESOLVED, MIRROR, [SILENT, {"mirror": None, "other": DnsFault.TIMEOUT}]),
        (PathFault.UNRESOLVED, MIRROR, [{"mirror": DnsFault.WRONG_ANSWER, "other": None}]),
        (PathFault.UNRESOLVED, CHARTS, [UNKNOWN]),
        (PathFault.UNRESOLVED, CHARTS, [{"mirror": DnsFault.NXDOMAIN, "other": DnsFault.NXDOMAIN}]),
        (PathFault.UNRESOLVED, CHARTS, [SILENT, {"other": DnsFault.NXDOMAIN}]),
    ],
)
def test_what_a_resolver_may_know_is_judged_by_itself(
    fault: Fault | None, host: str, answers: list[dict[str, DnsFault | None]]
) -> None:
    here = tuple(resolver(f"10.0.0.{number}", **faults) for number, faults in enumerate(answers, 2))
    block_if_no_resolver_knows(reply(fault), host, here)


def test_what_blocks_gives_the_reason_where_it_was_measured() -> None:
    faulty = resolver("10.0.0.2", mirror=DnsFault.TIMEOUT)
    blocked = Blocked.by(Ref.HERE_LOOKUPS, faulty, {"resolver": "10.0.0.2"}, otherwise="not asked", witness="pod")
    assert (blocked.reason, blocked.failed, blocked.witness) == ("timeout: 10.0.0.2 is faulty", True, "pod")
    unasked = Blocked.by(Ref.HERE_LOOKUPS, None, otherwise="not asked")
    assert (unasked.reason, unasked.failed, unasked.targets) == ("not asked", False, {})


ANSWERS: dict[str, DnsFault | None] = {"mirror": None}


@pytest.mark.parametrize(
    ("here", "node", "pod", "blocker"),
    [
        (SILENT, SILENT, SILENT, Ref.HERE_LOOKUPS),
        (ANSWERS, SILENT, SILENT, Ref.NODE_LOOKUPS),
        (ANSWERS, ANSWERS, SILENT, Ref.POD_LOOKUPS),
    ],
)
def test_a_daemon_that_waits_for_a_silent_resolver_says_nothing_of_a_registry(
    here: dict[str, DnsFault | None],
    node: dict[str, DnsFault | None],
    pod: dict[str, DnsFault | None],
    blocker: Ref,
    inventory: Inventory,
) -> None:
    assert inventory.dind != "none"
    host = inventory.registries["private"].host
    cut_off = Section(kind="docker_pull", args=(f"{host}/preflight/absent:none",), exit=124, took=25.0)
    report = Report(where="dind on w", sections=(cut_off,))
    healthy = resolver("10.0.0.3", mirror=None)

    def judged(asked: tuple[dict[str, DnsFault | None], ...]) -> InnerRegistry:
        of_each = [(resolver("10.0.0.2", **faults), healthy) for faults in asked]
        taken = (report, healthy, None, None, None, None, *of_each, inventory.dind, inventory)
        found = dind_registry("w", "private", *taken)
        assert isinstance(found, InnerRegistry)
        return found

    with pytest.raises(Blocked) as raised:
        judged((here, node, pod))
    assert raised.value.fact == blocker
    assert raised.value.measured is not None
    assert judged((ANSWERS,) * 3).fault is DindFault.REGISTRY_UNREACHABLE


def test_a_manager_that_its_kubelet_does_not_answer_for_is_not_judged_where_that_kubelet_starts_nothing() -> None:
    silent = Unmeasured("nothing came from the kubelet", needs="port 10250", fault=StreamFault.KUBELET_UNREACHABLE)

    def read(*starts: PodStart) -> object:
        return manager_config(silent, (), (), starts)

    def start(fault: PodFault | None) -> PodStart:
        return PodStart(target="k8s-worker-1", node="k8s-worker-1", fault=fault, evidence=SEEN)

    with pytest.raises(Blocked) as raised:
        read(start(None), start(PodFault.LOST))
    assert (raised.value.fact, raised.value.targets) == (Ref.POD_START, {"worker": "k8s-worker-1"})
    with pytest.raises(Unmeasured, match="nothing came"):
        read(start(None))

"""Facts from a probe script's transcript, on sections and facts made by hand."""

from __future__ import annotations

import pytest

from preflight.evidence import Evidence, Unmeasured
from preflight.faults import ClusterFault, DnsFault, Fault, GitLabFault, PathFault
from preflight.jobshape import JobShape
from preflight.probes import shell_readers, transcript
from preflight.probes.dns import Answer, Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom, NodeRoom
from preflight.probes.shell_sections import Section

NONCE = "p0123456789abcdef"
NODE = "k8s-worker-1"
HERE = Evidence(where="here", command="true")


def answers(resolver: str, **addresses: str) -> Lookups:
    told = tuple(Answer(name=name, addresses=frozenset(found.split())) for name, found in addresses.items())
    return Lookups(target=resolver, resolver=resolver, answers=told, evidence=HERE)


def test_resolvers_agree_in_any_order_and_without_those_that_said_nothing() -> None:
    same = [answers("a", x="1.1.1.1 2.2.2.2"), answers("b", x="2.2.2.2 1.1.1.1"), answers("c", x="")]
    assert transcript.agreement(same).fault is None
    apart = transcript.agreement([answers("a", x="1.1.1.1", y="9.9.9.9"), answers("b", x="3.3.3.3", y="9.9.9.9")])
    assert apart.fault is DnsFault.DISAGREE
    assert apart.cause == "x is 1.1.1.1 for a, but 3.3.3.3 for b"


def test_resolvers_that_give_the_same_answer_are_named_together() -> None:
    lying = transcript.agreement([answers(name, x="1.1.1.1") for name in "ab"] + [answers("c", x="3.3.3.3")])
    assert lying.cause == "x is 1.1.1.1 for a and b, but 3.3.3.3 for c"


def conf(*lines: str) -> transcript.Report:
    section = Section(kind="resolv_conf", exit=0, output="\n".join(lines))
    return transcript.Report(where=f"pod on {NODE}", sections=(section,))


NONE = JobShape(
    namespace="gitlab",
    image="a",
    helper_image="h",
    dns_policy="None",
    dns_config={"nameservers": ["10.0.0.2"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}]},
)


@pytest.mark.parametrize("status", [1, 124, None])
def test_a_resolv_conf_that_was_not_read_is_no_empty_one(status: int | None) -> None:
    section = Section(kind="resolv_conf", exit=status, output="cat: /etc/resolv.conf: Permission denied")
    with pytest.raises(Unmeasured, match="could not be read: cat: "):
        transcript.resolv_conf(transcript.Report(where="pod", sections=(section,)), NONE, NODE)


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        (["nameserver 10.0.0.2", "search x", "options ndots:2"], ""),
        (["nameserver 172.21.0.10", "search x", "options ndots:2"], "asks 172.21.0.10; the values say 10.0.0.2"),
        (["nameserver 10.0.0.2", "options ndots:2"], "lacks x"),
        (["nameserver 10.0.0.2", "search x"], "lacks ndots:2"),
        ([], "asks no resolver"),
    ],
)
def test_a_resolv_conf_is_held_against_the_values(lines: list[str], wrong: str) -> None:
    found = transcript.resolv_conf(conf(*lines), NONE, NODE)
    assert wrong in found.cause
    assert (found.fault is DnsFault.NOT_APPLIED) is bool(wrong)


def test_without_a_policy_the_clusters_own_settings_are_right() -> None:
    shape = JobShape(namespace="gitlab", image="a", helper_image="h")
    assert transcript.resolv_conf(conf("nameserver 172.21.0.10", "search y"), shape, NODE).fault is None


@pytest.mark.parametrize(
    ("servers", "fault"),
    [
        (["172.21.0.10", "192.0.2.1", "192.0.2.2"], None),  # the third of the values does not fit in
        (["172.21.0.10", "192.0.2.1"], DnsFault.NOT_APPLIED),
        (["172.21.0.10"], DnsFault.NOT_APPLIED),
    ],
)
def test_resolvers_beside_the_clusters_own_are_there_as_far_as_three(
    servers: list[str], fault: DnsFault | None
) -> None:
    given = {"nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}
    shape = JobShape(namespace="gitlab", image="a", helper_image="h", dns_config=given)
    lines = [f"nameserver {server}" for server in servers]
    assert transcript.resolv_conf(conf(*lines), shape, NODE).fault is fault


@pytest.mark.parametrize(
    ("ahead", "fault"), [(0.0, None), (4.0, None), (93.0, GitLabFault.CLOCK_SKEW), (-93.0, GitLabFault.CLOCK_SKEW)]
)
def test_clocks_are_compared_through_ours(ahead: float, fault: Fault | None) -> None:
    reply = GitLabReply(target="g", url="http://g/", clock_offset=600.0, evidence=HERE)
    section = Section(kind="clock", exit=0, output=f"{int(1_790_000_000 + 600 + ahead)}")
    found = transcript.clock(NODE, section, middle=1_790_000_000.5, reply=reply, allowed=5, where="here")
    assert found.fault is fault
    assert found.offset == pytest.approx(ahead, abs=0.6)
    if fault:
        assert ("93 s ahead of" if ahead > 0 else "93 s behind") in found.cause


def test_a_worker_without_room_says_what_is_short() -> None:
    rooms = tuple(
        NodeRoom(node=name, fits=fits, free={"memory": free}, limited_by="memory", eligible=True, why_not="")
        for name, fits, free in (("a", 2, "3Gi"), ("b", 0, "100Mi"))
    )
    headroom = Headroom(
        target="jobs", wanted=2, fits=2, capacity=2, by_node=rooms, requests={"memory": "1Gi"}, evidence=HERE
    )
    assert transcript.worker_room("a", headroom).fault is None
    short = transcript.worker_room("b", headroom)
    assert short.fault is ClusterFault.TOO_FEW_FIT
    assert "1Gi memory, and 100Mi is free" in short.cause


def section(kind: str, args: tuple[str, ...], output: str, status: int = 0) -> Section:
    return Section(kind=kind, args=args, output=output, exit=status, took=0.1)


def report(*sections: Section) -> transcript.Report:
    return transcript.Report(where=f"pod on {NODE}", sections=sections)


NAME, OWN = "registry.example.com", "192.168.1.60"
CONF = shell_readers.ResolvConf(searches=("svc.cluster.local", "apps.example.com"), options=("ndots:5",))


@pytest.mark.parametrize(
    ("output", "status", "fault"),
    [
        (f"{OWN}    {NAME}", 0, None),
        (f"192.168.1.80 STREAM {NAME}.apps.example.com\n192.168.1.80 DGRAM", 0, DnsFault.SEARCH_LIST),
        (f"192.168.1.80    {NAME}.apps.example.com", 0, DnsFault.SEARCH_LIST),
        (f"{OWN}    {NAME}.apps.example.com", 0, None),  # a search domain that leads to the same machine does no harm
        (f"192.168.1.80    {NAME}", 0, None),  # the record itself changes between two questions
        (f"192.168.1.80    {NAME}.elsewhere.example.com", 0, None),  # an alias
        ("", 2, DnsFault.NO_ANSWER),
    ],
)
def test_a_search_domain_is_told_by_the_full_name(output: str, status: int, fault: DnsFault | None) -> None:
    told = report(section("resolve", (NAME,), output, status))
    found = transcript.found_names(told, NODE, {NAME: {OWN}}, CONF)
    assert found.fault is fault
    assert ("ndots:5" in found.cause) is (fault is not None)


PAGE = "http://192.168.1.50/users/sign_in"
BEGUN = "HTTP/1.1 200 OK\nContent-Length: 25422\nX-Gitlab-Meta: {}\n\n"


@pytest.mark.parametrize(
    ("tool", "exit_status", "output", "fault"),
    [
        ("curl", 0, f"{BEGUN}<html>", None),
        ("curl", 23, f"{BEGUN}<html>", None),  # more than is read: what came first is enough
        ("curl", 28, BEGUN, PathFault.SILENT),  # the header had room in a small packet
        ("curl", 28, "", PathFault.SILENT),
        ("wget", 143, "", PathFault.SILENT),  # busybox's says nothing at all
        ("wget", 0, f"{BEGUN}<html>", None),
        ("curl", 7, "", None),  # that nobody listens is told by the short answer
    ],
)
def test_a_page_that_begins_and_does_not_end_needs_packets_that_are_lost(
    tool: str, exit_status: int, output: str, fault: PathFault | None
) -> None:
    stderr = "curl: (7) Failed to connect" if exit_status == 7 else ""
    section = Section(kind="fetch", args=(PAGE,), exit=exit_status, took=5.0, output=output, stderr=stderr, tool=tool)
    found = transcript.whole_page(transcript.Report(where="node k8s-worker-1", sections=(section,)), PAGE)
    assert found.fault is fault
    assert bool(fault) == ("did not arrive complete within 5 s" in found.cause)

"""What several looks say together: pure, on sections and facts made by hand."""

from __future__ import annotations

import json

import pytest

from preflight.evidence import Evidence, Unmeasured
from preflight.faults import ClusterFault, DindFault, DnsFault, Fault, GitLabFault, PathFault, PodFault
from preflight.jobshape import JobShape
from preflight.probes import dind, shell_readers, transcript
from preflight.probes.dns import Answer, Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom, NodeRoom
from preflight.probes.pods import DindPod
from preflight.probes.shell_sections import Section

NONCE = "p0123456789abcdef"
NODE = "k8s-worker-1"
HERE = Evidence(where="here", command="true")
LISTENING = 'time="2026-11-22T13:34:03.71Z" level=info msg="API listen on [::]:2376"'


def script(*steps: tuple[str, str, int]) -> str:
    """A transcript of steps: kind, output, exit status."""
    lines = [f"{NONCE} hello"]
    for number, (kind, output, status) in enumerate(steps):
        lines += [f"{NONCE} begin {number} {kind}", f"{NONCE} output", output]
        lines += [f"{NONCE} exit {status}", f"{NONCE} end 1.0 3.0"]
    return "\n".join([*lines, f"{NONCE} goodbye"])


def dind_pod(log: str, *, fault: Fault | None = None, daemon_log: str = "") -> transcript.PodTranscript:
    pod = DindPod(
        target=NODE,
        node=NODE,
        name="preflight-x",
        log=log,
        fault=fault,
        cause="it is so" if fault else "",
        privileged=True,
        port=2375,
        daemon_log=daemon_log,
        evidence=HERE,
    )
    return transcript.PodTranscript(pod=pod, nonce=NONCE)


VERSION = json.dumps({"Client": {"Version": "20.10.24"}, "Server": {"Version": "20.10.24"}})
INFO = json.dumps({"ServerVersion": "20.10.24", "Driver": "overlay2"})
WELL = script(("docker_ready", "", 0), ("docker_version", VERSION, 0), ("docker_info", INFO, 0))
WAITED = script(
    ("docker_ready", "Cannot connect to the Docker daemon at tcp://docker:2375. Is the docker daemon running?", 1)
)


@pytest.mark.parametrize("daemon_log", ["", 'level=info msg="Loading containers: start."'])
def test_a_daemon_that_answers_its_client_is_well_whatever_its_log_says(daemon_log: str) -> None:
    daemon = dind.daemon(NODE, dind_pod(WELL, daemon_log=daemon_log))
    assert daemon.fault is None
    assert (daemon.version, daemon.storage_driver, daemon.seconds) == ("20.10.24", "overlay2", 2.0)


def test_a_daemon_on_another_port_is_a_mismatch() -> None:
    daemon = dind.daemon(NODE, dind_pod(WAITED, daemon_log=LISTENING))
    assert daemon.fault is DindFault.TLS_MISMATCH
    assert "2376" in daemon.cause
    assert NODE in daemon.cause


def test_a_daemon_that_does_not_listen_in_time_is_slow() -> None:
    daemon = dind.daemon(NODE, dind_pod(WAITED, daemon_log='level=info msg="Starting up"'))
    assert daemon.fault is DindFault.DAEMON_SLOW
    assert "Starting up" in daemon.cause
    assert dind.daemon(NODE, dind_pod(WAITED)).fault is DindFault.DAEMON_SLOW


def test_a_pod_that_ran_out_of_time_may_still_have_told_of_its_daemon() -> None:
    assert dind.daemon(NODE, dind_pod(WELL, fault=PodFault.DEADLINE)).fault is None
    assert dind.daemon(NODE, dind_pod("", fault=PodFault.DEADLINE)).fault is PodFault.DEADLINE
    assert dind.daemon(NODE, dind_pod(WELL, fault=DindFault.DAEMON_EXITED)).fault is DindFault.DAEMON_EXITED


def test_a_script_that_never_came_to_docker_is_unmeasured() -> None:
    with pytest.raises(Unmeasured, match="ended before it came to `docker info`"):
        dind.daemon(NODE, dind_pod(script(("resolv_conf", "", 0))))


def answers(resolver: str, **addresses: str) -> Lookups:
    told = tuple(Answer(name=name, addresses=frozenset(found.split())) for name, found in addresses.items())
    return Lookups(target=resolver, resolver=resolver, answers=told, evidence=HERE)


def test_resolvers_agree_in_any_order_and_without_those_that_said_nothing() -> None:
    same = [answers("a", x="1.1.1.1 2.2.2.2"), answers("b", x="2.2.2.2 1.1.1.1"), answers("c", x="")]
    assert transcript.agreement(same).fault is None
    apart = transcript.agreement([answers("a", x="1.1.1.1", y="9.9.9.9"), answers("b", x="3.3.3.3", y="9.9.9.9")])
    assert apart.fault is DnsFault.DISAGREE
    assert apart.cause == "x is 1.1.1.1 for a, but 3.3.3.3 for b"


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
        ([], "asks nobody"),
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


@pytest.mark.parametrize(
    ("pod", "inside", "fault"), [(1450, 1500, DindFault.MTU), (1500, 1500, None), (9001, 1500, None)]
)
def test_containers_must_not_send_more_than_their_pod_carries(pod: int, inside: int, fault: DindFault | None) -> None:
    told = report(
        section("interface", (), f"eth0\n{pod}\n"),
        section("docker_run", ("alpine", *dind.MTU), f"Unable to find image locally\n{inside}\n"),
    )
    found = dind.packet_sizes(told, NODE, "alpine")
    assert (found.fault, found.pod, found.inside) == (fault, pod, inside)
    assert (f"--mtu={pod}" in found.cause) is (fault is not None)


def test_a_container_that_tells_no_mtu_is_no_finding() -> None:
    failed = section("docker_run", ("alpine", *dind.MTU), "cat: can't open", 1)
    with pytest.raises(Unmeasured):
        dind.packet_sizes(report(section("interface", (), "eth0\n1450\n"), failed), NODE, "alpine")


HTTP = 'Get "https://b.example.com:5000/v2/": http: server gave HTTP response to HTTPS client'
X509 = 'Get "https://b.example.com:5000/v2/": tls: failed to verify certificate: x509: certificate signed by unknown'


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (HTTP, DindFault.INSECURE_REGISTRY),
        (X509, DindFault.REGISTRY_UNTRUSTED),
        (
            'Get "https://b.example.com:5000/v2/": dial tcp 192.168.1.66:5000: i/o timeout',
            DindFault.REGISTRY_UNREACHABLE,
        ),
        ('Get "https://b.example.com:5000/v2/": dial tcp: lookup b: no such host', DindFault.REGISTRY_UNREACHABLE),
        ("manifest for b.example.com:5000/preflight/absent:none not found: manifest unknown: manifest unknown", None),
        ('Head "https://b.example.com:5000/v2/preflight/absent/manifests/none": no basic auth credentials', None),
        ("pull access denied for b.example.com:5000/preflight/absent, repository does not exist", None),
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.", None),
    ],
)
def test_how_the_daemon_gets_on_with_a_registry(words: str, fault: DindFault | None) -> None:
    image = "b.example.com:5000/preflight/absent:none"
    told = report(section("docker_pull", (image,), f"Error response from daemon: {words}\n", 1))
    found = dind.inner_registry(told, NODE, "b.example.com:5000", image)
    assert found.fault is fault
    assert bool(found.cause) is (fault is not None)


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
    said = "curl: (7) Failed to connect" if exit_status == 7 else ""
    section = Section(kind="fetch", args=(PAGE,), exit=exit_status, took=5.0, output=output, said=said, tool=tool)
    found = transcript.whole_page(transcript.Report(where="node k8s-worker-1", sections=(section,)), PAGE)
    assert found.fault is fault
    assert bool(fault) == ("did not come whole within 5 s" in found.cause)

"""Docker-in-Docker: what Docker's client printed, on recorded outputs and on ones made by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.evidence import Evidence, Unmeasured
from preflight.faults import DindFault, Fault, PodFault
from preflight.probes import dind, shell, shell_readers, transcript
from preflight.probes.pods import DindPod
from preflight.probes.shell_sections import Section
from tests.probes.recorded_outputs import HERE, NONCE, of

NODE = "k8s-worker-1"
DOCKERS = ("20.10.24", "28.2.2")
IMAGE = "127.0.0.1:5000/library/alpine:latest"


@pytest.mark.parametrize("version", DOCKERS)
def test_docker_in_health(version: str) -> None:
    name = f"dind-docker-{version}-ready"
    ready = dind.read_docker_ready(of(name, shell.docker_ready(3)), where="dind on k8s-worker-1")
    assert ready.fault is None
    assert ready.seconds == pytest.approx(0.08)
    info = dind.read_docker_info(of(name, shell.docker_version()), of(name, shell.docker_info()), where=HERE)
    assert (info.fault, info.version, info.storage_driver) == (None, "20.10.24+dfsg1", "vfs")
    assert info.client.startswith(version)
    assert info.insecure_registries == ("127.0.0.0/8", "private.test")
    pull = dind.read_docker_pull(of(name, shell.docker_pull(IMAGE)), where=HERE)
    assert (pull.fault, pull.image) == (None, IMAGE)
    assert pull.seconds is not None
    greeting = dind.read_docker_run(of(name, shell.docker_run(IMAGE, ("echo", "hello-from-dind"))), where=HERE)
    assert greeting.fault is None
    assert greeting.output.endswith("hello-from-dind")
    inner = of(name, shell.docker_run(IMAGE, ("cat", "/etc/resolv.conf")))
    assert shell_readers.read_resolv_conf(inner).nameservers == ("10.0.0.2",)


def test_a_pull_is_fresh_when_layers_came() -> None:
    fresh = dind.read_docker_pull(of("dind-docker-20.10.24-ready", shell.docker_pull(IMAGE)), where=HERE)
    known = dind.read_docker_pull(of("dind-docker-28.2.2-ready", shell.docker_pull(IMAGE)), where=HERE)
    assert (fresh.fresh, known.fresh) == (True, False)


@pytest.mark.parametrize("version", DOCKERS)
def test_docker_says_why_it_failed(version: str) -> None:
    name = f"dind-docker-{version}-ready"
    absent = dind.read_docker_pull(of(name, shell.docker_pull("127.0.0.1:5000/library/alpine:absent")), where=HERE)
    assert absent.fault is DindFault.PULL_FAILED
    assert "manifest unknown" in absent.cause
    refused = dind.read_docker_pull(of(name, shell.docker_pull("127.0.0.1:5001/library/alpine:latest")), where=HERE)
    assert refused.fault is DindFault.PULL_FAILED
    assert "connection refused" in refused.cause
    nosuch = dind.read_docker_run(of(name, shell.docker_run(IMAGE, ("nosuch",))), where=HERE)
    assert (nosuch.fault, nosuch.exit) == (DindFault.RUN_FAILED, 127)
    assert "executable file not found" in nosuch.cause
    unpulled = dind.read_docker_run(of(name, shell.docker_run("127.0.0.1:5001/a:b", ("true",))), where=HERE)
    assert (unpulled.fault, unpulled.exit) == (DindFault.RUN_FAILED, 125)
    assert "connection refused" in unpulled.cause


@pytest.mark.parametrize(
    "words",
    [
        'Get "https://registry.example.com/v2/": x509: certificate signed by unknown authority',
        'Get "https://registry.example.com/v2/": http: server gave HTTP response to HTTPS client',
        'Get "https://registry.example.com/v2/": remote error: tls: handshake failure',
    ],
)
def test_a_registrys_tls_is_not_the_daemons(words: str) -> None:
    section = Section(kind="docker_pull", args=(IMAGE,), exit=1, output=f"Error response from daemon: {words}")
    pull = dind.read_docker_pull(section, where=HERE)
    assert pull.fault is DindFault.PULL_FAILED
    assert words in pull.cause


@pytest.mark.parametrize("version", DOCKERS)
@pytest.mark.parametrize(("how", "fault"), [("unreachable", DindFault.DAEMON_SLOW), ("tls", DindFault.TLS_MISMATCH)])
def test_a_daemon_that_is_not_ready(version: str, how: str, fault: DindFault) -> None:
    name = f"dind-docker-{version}-{how}"
    ready = dind.read_docker_ready(of(name, shell.docker_ready(3)), where="dind on k8s-worker-1")
    assert (ready.fault, ready.seconds) == (fault, None)
    with pytest.raises(Unmeasured, match="was not ready"):
        of(name, shell.docker_pull(IMAGE))
    assert of(name, shell.resolv_conf()).exit == 0  # one failure hides no other step


@pytest.mark.parametrize("output", ["", "Terminated", "Client: Docker Engine - Community\n Version: 28.2.2\n\nServer:"])
def test_a_daemon_that_hangs_is_told_to_be_silent(output: str) -> None:
    ready = dind.read_docker_ready(Section(kind="docker_ready", exit=1, took=60, output=output), where=HERE)
    assert ready.fault is DindFault.DAEMON_SLOW
    assert ready.cause == "after 60 s the Docker daemon was not ready: it did not answer `docker info`"


def test_docker_before_26_tells_its_errors_in_json_and_exits_0() -> None:
    told = (
        '{"ServerErrors":["Cannot connect to the Docker daemon at tcp://docker:2375. Is the docker daemon running?"]}'
    )
    version = Section(kind="docker_version", exit=1, output='{"Client":{"Version":"20.10.24"},"Server":null}')
    info = dind.read_docker_info(version, Section(kind="docker_info", exit=0, output=told), where=HERE)
    assert info.fault is DindFault.UNREACHABLE
    assert info.client == "20.10.24"


@given(st.text(), st.text())
def test_no_message_of_docker_breaks_a_reader(output: str, stderr: str) -> None:
    section = Section(kind="docker_run", args=("a", "1"), exit=1, output=output, stderr=stderr)
    dind.read_docker_ready(section, where=HERE)
    dind.read_docker_info(section, section, where=HERE)
    dind.read_docker_pull(section, where=HERE)
    dind.read_docker_run(section, where=HERE)


# ---- the daemon of a pod ---------------------------------------------------------------------------------------------

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
        evidence=Evidence(where="here", command="true"),
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
    with pytest.raises(Unmeasured, match="ended before `docker info`"):
        dind.daemon(NODE, dind_pod(script(("resolv_conf", "", 0))))


def section(kind: str, args: tuple[str, ...], output: str, status: int = 0) -> Section:
    return Section(kind=kind, args=args, output=output, exit=status, took=0.1)


def report(*sections: Section) -> transcript.Report:
    return transcript.Report(where=f"pod on {NODE}", sections=sections)


@pytest.mark.parametrize(
    ("pod", "inside", "fault"), [(1450, 1500, DindFault.MTU), (1500, 1500, None), (9001, 1500, None)]
)
def test_containers_must_not_send_more_than_their_pod_carries(pod: int, inside: int, fault: DindFault | None) -> None:
    told = report(
        section("interface", (), f"eth0\n{pod}\n"),
        section("docker_run", ("alpine", *dind.MTU_COMMAND), f"Unable to find image locally\n{inside}\n"),
    )
    found = dind.packet_sizes(told, NODE, "alpine")
    assert (found.fault, found.pod, found.inside) == (fault, pod, inside)
    assert (f"--mtu={pod}" in found.cause) is (fault is not None)


def test_a_container_that_tells_no_mtu_is_no_finding() -> None:
    failed = section("docker_run", ("alpine", *dind.MTU_COMMAND), "cat: can't open", 1)
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


@pytest.mark.parametrize(
    ("exit_status", "output", "ending"),
    [
        (
            124,
            "latest: Pulling from library/alpine\nbda5: Pulling fs layer",
            "no end within 300 s, last: bda5: Pulling fs layer",
        ),
        (124, "", "no end within 300 s"),
        (1, "manifest unknown", "manifest unknown"),
    ],
)
def test_a_pull_that_comes_to_no_end_is_said_to_be_slow(exit_status: int, output: str, ending: str) -> None:
    section = Section(kind="docker_pull", args=("r.example.com/a:1",), exit=exit_status, output=output, took=300.0)
    pull = dind.read_docker_pull(section, where="dind on k8s-worker-1")
    assert pull.cause == f"the Docker daemon could not pull r.example.com/a:1: {ending}"

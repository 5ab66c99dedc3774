"""The SSH servers of the lab behave as OpenSSH's, and run commands for real."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import paramiko
import pytest

from lab.lab import Lab
from lab.world import World

if TYPE_CHECKING:
    from tests.lab.conftest import Visit

WORKER = "192.168.1.101"


def test_a_script_on_standard_input_really_runs(healthy: Lab, visit: Visit) -> None:
    script = "n=0; while [ $n -lt 3 ]; do n=$((n + 1)); echo step $n; done; echo trouble >&2; exit 7"
    assert visit(healthy).ssh(WORKER, "sh -s", script) == (7, "step 1\nstep 2\nstep 3\n", "trouble\n")


def test_a_node_has_its_own_name_and_resolvers(healthy: Lab, visit: Visit) -> None:
    status, output, _ = visit(healthy).ssh("192.168.1.102", "hostname; cat /etc/resolv.conf")
    assert (status, output.splitlines()[:2]) == (0, ["k8s-worker-2", "nameserver 10.0.0.2"])


def test_a_command_that_reads_nothing_does_not_wait_for_the_end_of_its_input(healthy: Lab, visit: Visit) -> None:
    began = time.monotonic()
    assert visit(healthy).ssh(WORKER, "echo one")[:2] == (0, "one\n")
    assert time.monotonic() - began < 2


def test_the_banner_is_openssh_s(healthy: Lab, visit: Visit) -> None:
    with visit(healthy).dial(f"{WORKER}:22") as raw:
        assert raw.recv(100).startswith(b"SSH-2.0-OpenSSH_9")


def test_another_user_is_not_let_in(healthy: Lab, visit: Visit) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        visit(healthy).ssh(WORKER, "true", user="nobody")


def test_a_refused_key_a_replaced_host_key_a_closed_port_and_silence(visit: Visit) -> None:
    with Lab(["ssh-auth"]) as lab, pytest.raises(paramiko.AuthenticationException):
        visit(lab).ssh(WORKER, "true")
    with Lab(["ssh-host-key"]) as lab:
        visitor = visit(lab)
        with pytest.raises(paramiko.BadHostKeyException):
            visitor.ssh(WORKER, "true")
        assert visitor.ssh("192.168.1.102", "true")[0] == 0
    with Lab(["ssh-refused"]) as lab, pytest.raises(ConnectionRefusedError):
        visit(lab).ssh(WORKER, "true")
    with Lab(["ssh-silent"]) as lab, visit(lab).dial(f"{WORKER}:22", timeout=0.3) as raw, pytest.raises(TimeoutError):
        raw.recv(1)


def test_what_a_session_started_ends_with_it(visit: Visit) -> None:
    mark = "sleep 98.7654"
    with Lab() as lab:
        visitor = visit(lab)
        with visitor.dial(f"{WORKER}:22") as raw:
            transport = paramiko.Transport(raw)
            key = paramiko.Ed25519Key.from_private_key_file(str(visitor.folder / "id_ed25519"))
            transport.connect(username="root", pkey=key)
            channel = transport.open_session()
            channel.exec_command(f"{mark} & wait")
            channel.shutdown_write()
            assert within(lambda: mark in processes())
            transport.close()
        assert within(lambda: mark not in processes())


def test_what_a_session_started_ends_with_the_lab(visit: Visit) -> None:
    mark = "sleep 97.6543"
    lab = Lab()
    lab.start()
    visitor = visit(lab)
    with visitor.dial(f"{WORKER}:22") as raw:
        transport = paramiko.Transport(raw)
        key = paramiko.Ed25519Key.from_private_key_file(str(visitor.folder / "id_ed25519"))
        transport.connect(username="root", pkey=key)
        channel = transport.open_session()
        channel.exec_command(f"{mark} & wait")
        channel.shutdown_write()
        assert within(lambda: mark in processes())
        began = time.monotonic()
        lab.stop()
        assert time.monotonic() - began < 2
        transport.close()
    assert within(lambda: mark not in processes())


def processes() -> str:
    return subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, text=True, check=True).stdout


def within(condition: Callable[[], bool], seconds: float = 3.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.03)
    return False


def test_a_node_that_runs_docker_lets_its_daemon_be_dialled(visit: Visit) -> None:
    def docker_on_the_first(world: World) -> None:
        world.nodes["k8s-worker-1"].runtime = "docker://27.5.1"

    question = "POST /v1.47/images/create?fromImage=registry.example.com%2Flibrary%2Falpine&tag={} HTTP/1.1\r\n"
    rest = "Host: docker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with Lab(change=docker_on_the_first) as lab:
        visitor = visit(lab)
        _, right, _ = visitor.ssh(WORKER, "docker system dial-stdio", question.format("latest") + rest)
        _, refused, _ = visitor.ssh(WORKER, "docker system dial-stdio", question.format("nosuch") + rest)
    assert right.startswith("HTTP/1.1 200 OK")
    assert "Status: Downloaded newer image for registry.example.com/library/alpine:latest" in right
    assert refused.startswith("HTTP/1.1 404 Not Found")
    assert "manifest for registry.example.com/library/alpine:nosuch not found" in refused

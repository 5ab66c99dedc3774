"""What runs in the lab's pods and nodes: the real script under the real sh, on stand-ins that print as tools do."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from lab import gitlab, temporary, tools
from lab.shell import Ran, run, toolbox
from lab.world import Dockerd, GitLabMode, ResolverMode, Rule, Vantage, World, guide_world
from preflight.faults import DindFault, DnsFault, Fault, GitLabFault, PathFault
from preflight.probes import dind, shell, shell_readers, shell_sections
from preflight.probes.shell import Step
from preflight.probes.shell_sections import Section

OUTPUTS = Path(__file__).parents[1] / "probes" / "outputs"
NODE, POD = "node k8s-worker-1", "pod on k8s-worker-1"
REGISTRY = "registry.example.com"
RESOLVER = "10.0.0.2"
IMAGE = f"{REGISTRY}/library/alpine:latest"
GITLAB = "http://192.168.1.50/"


def pod(**changes: object) -> Vantage:
    plain = Vantage(
        "pod", node="k8s-worker-1", resolv_conf=f"nameserver {RESOLVER}\n", hostname="probe", address="172.24.1.9"
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def vantage(world: World, words: str) -> Vantage:
    return world.node_vantage("k8s-worker-1") if words.startswith("node") else pod()


def shown(world: World, where: Vantage, argv: Sequence[str], *, limit: float = 20, **env: str) -> Ran:
    """Run a command while the world's GitLab really listens on loopback."""

    async def main() -> Ran:
        runner = web.AppRunner(gitlab.application(world))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        world.listeners[(world.gitlab.address, 80)] = runner.addresses[0][:2]
        try:
            return await run(world, where, argv, env=env, limit=limit)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


def look(world: World, where: Vantage, steps: Sequence[Step], *, limit: float = 1, **env: str) -> tuple[Section, ...]:
    nonce = shell.new_nonce()
    argv = ["sh", "-c", shell.render(steps, limit=limit, nonce=nonce)]
    return shell_sections.parse(
        shown(world, where, argv, limit=shell.bound(steps, limit=limit), **env).output.decode(), nonce
    )


# ---- the script, by the world ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [NODE, POD])
def test_everything_is_well_in_a_good_world(words: str) -> None:
    world = guide_world()
    world.nodes["k8s-worker-1"].clock_offset = 90
    steps = [
        shell.resolv_conf(),
        shell.lookup(REGISTRY, RESOLVER),
        shell.lookup(REGISTRY),
        shell.fetch(GITLAB),
        shell.fetch(f"{GITLAB}api/v4/version"),
        shell.tcp("192.168.1.50", 80),
        shell.clock(),
        shell.interface(),
    ]
    sections = look(world, vantage(world, words), steps, limit=3)
    conf, named, unnamed, front, api, port, clock, interface = sections
    assert shell_readers.read_resolv_conf(conf).nameservers[0] == RESOLVER
    for section in (named, unnamed):
        answer = shell_readers.read_lookup(section, frozenset({"192.168.1.60"}))
        assert answer.fault is None
        assert answer.addresses == {"192.168.1.60"}
    reply = shell_readers.read_fetch(front, GITLAB, where=words)
    assert (reply.fault, reply.status, reply.is_gitlab) == (None, 302, True)
    assert reply.clock_offset == pytest.approx(-90, abs=2)
    assert shell_readers.read_fetch(api, api.args[0], where=words).status == 401
    assert shell_readers.read_tcp(port, where=words).fault is None
    assert shell_readers.read_clock(clock) == pytest.approx(time.time() + 90, abs=3)
    assert shell_readers.read_interface(interface).mtu == 1500


@pytest.mark.parametrize("words", [NODE, POD])
@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("down", DnsFault.UNREACHABLE),
        ("mute", DnsFault.TIMEOUT),
        ("nxdomain", DnsFault.NXDOMAIN),
        ("servfail", DnsFault.SERVFAIL),
        ("refused", DnsFault.REFUSED),
    ],
)
def test_a_sick_resolver_is_told_from_its_neighbours(words: str, mode: ResolverMode, fault: DnsFault) -> None:
    world = guide_world()
    world.resolvers["10.1.0.251"].mode = mode
    steps = [shell.lookup(REGISTRY, address) for address in world.resolvers]
    answers = [shell_readers.read_lookup(one, frozenset()) for one in look(world, vantage(world, words), steps)]
    assert [answer.fault for answer in answers] == [None, fault, None]


def test_a_name_without_an_address_and_one_that_is_not() -> None:
    world = guide_world()
    world.zones["empty.example.com"] = ()
    steps = [shell.lookup("empty.example.com", RESOLVER), shell.lookup("nope.example.com", RESOLVER)]
    for words in (NODE, POD):
        answers = [shell_readers.read_lookup(one, frozenset()) for one in look(world, vantage(world, words), steps)]
        assert [answer.fault for answer in answers] == [DnsFault.NO_ANSWER, DnsFault.NXDOMAIN]


@pytest.mark.parametrize("words", [NODE, POD])
@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("down", PathFault.REFUSED),
        ("vanished", PathFault.TIMEOUT),
        ("bad-gateway", GitLabFault.BAD_GATEWAY),
        ("unavailable", GitLabFault.UNAVAILABLE),
        ("nginx", GitLabFault.NOT_GITLAB),
        ("redirect", GitLabFault.REDIRECTED),
    ],
)
def test_gitlab_in_trouble(words: str, mode: GitLabMode, fault: Fault) -> None:
    world = guide_world()
    world.gitlab.mode = mode
    (section,) = look(world, vantage(world, words), [shell.fetch(GITLAB)])
    assert shell_readers.read_fetch(section, GITLAB, where=words).fault is fault


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        ("drop", PathFault.TIMEOUT),
        ("reject", PathFault.REFUSED),
        ("reset", PathFault.RESET),
        ("no-route", PathFault.UNREACHABLE),
    ],
)
def test_a_firewall_before_pods_leaves_their_node_alone(action: str, fault: PathFault) -> None:
    world = guide_world()
    world.firewall.append(Rule("pod on k8s-worker-1", "192.168.1.50", 80, action))  # type: ignore[arg-type]
    for words, expected in ((NODE, None), (POD, fault)):
        (section,) = look(world, vantage(world, words), [shell.fetch(GITLAB)])
        assert shell_readers.read_fetch(section, GITLAB, where=words).fault is expected, words


# ---- what the stand-ins print ----------------------------------------------------------------------------------------

_SERVERS = {
    "127.0.0.61": RESOLVER,
    "127.0.0.53": "10.1.0.251",
    "127.0.0.54": "10.1.0.252",
    "127.0.0.55": "192.168.1.50",
}


@pytest.mark.parametrize(
    "question", ["registry.example.com", "nope.example.com", "servfail.example.com", "silence", "nobody"]
)
@pytest.mark.parametrize(
    ("words", "machine", "command"),
    [
        (POD, "pod-busybox-1.36.1", "nslookup -type=a -timeout=1 -retry=1"),
        (NODE, "node-debian12", "nslookup -type=a -timeout=1 -retry=0"),
    ],
)
def test_nslookup_prints_what_the_real_one_printed(words: str, machine: str, command: str, question: str) -> None:
    world = guide_world()
    world.resolvers["10.1.0.251"].mode = "servfail"
    world.resolvers["10.1.0.252"].mode = "mute"
    place = {"servfail.example.com": "127.0.0.53", "silence": "127.0.0.54", "nobody": "127.0.0.55"}
    server = place.get(question, "127.0.0.61")
    name = question if "." in question else "registry.example.com"
    recorded = shell_sections.parse((OUTPUTS / f"{machine}.txt").read_text(), "p0123456789abcdef")
    real = shell_sections.find(recorded, shell.lookup(name, server), where="")
    ran = shown(world, vantage(world, words), ["sh", "-c", f"{command} {name} {_SERVERS[server]}"])
    said = re.sub(r"nslookup: write to '\S+':", "nslookup: read:", ran.output.decode().rstrip("\n"))
    said = said.replace("Non-authoritative answer:\n", "")  # the recorded dnsmasq has authority, the world's has not
    assert said == real.output.replace(server, _SERVERS[server])
    assert ran.exit == real.exit


def test_wget_prints_what_the_real_one_printed() -> None:
    world = guide_world()
    recorded = shell_sections.parse((OUTPUTS / "pod-busybox-1.36.1.txt").read_text(), "p0123456789abcdef")
    real = shell_sections.find(recorded, shell.fetch("http://127.0.0.1:8811/"), where="").stderr.splitlines()
    ran = shown(world, pod(), ["sh", "-c", f"wget -q -S -O /dev/null {GITLAB} 2>&1"])

    def frame(lines: Sequence[str]) -> list[str]:
        return [re.sub(r"^(  [^:]+:).*", r"\1", line) for line in lines]

    assert frame(ran.output.decode().rstrip("\n").splitlines()) == frame(real)


def test_docker_prints_what_the_real_one_printed() -> None:
    world = guide_world()
    world.daemon.ready_after = 0
    recorded = shell_sections.parse((OUTPUTS / "dind-docker-20.10.24-ready.txt").read_text(), "p0123456789abcdef")
    image = "127.0.0.1:5000/library/alpine:latest"
    real = shell_sections.find(recorded, shell.docker_pull(image), where="").output.replace(image, IMAGE)
    ran = shown(world, beside_daemon(world), ["docker", "pull", IMAGE], DOCKER_HOST="tcp://docker:2375")

    def frame(text: str) -> str:
        return re.sub(r"[0-9a-f]{64}|\b[0-9a-f]{12}\b", "…", text.rstrip())

    assert frame(ran.output.decode()) == frame(real)


# ---- Docker in Docker ------------------------------------------------------------------------------------------------


def beside_daemon(world: World, *, exited: bool = False) -> Vantage:
    daemon = Dockerd("k8s-worker-1", f"nameserver {RESOLVER}\n", world.daemon, exited=exited)
    return pod(host_aliases={"docker": "127.0.0.1"}, dockerd=daemon)


PLAN = (
    shell.docker_ready(2),
    shell.docker_version(),
    shell.docker_info(),
    shell.docker_pull(IMAGE),
    shell.docker_run(IMAGE, ("echo", "hello from dind")),
    shell.docker_run(IMAGE, ("cat", "/etc/resolv.conf")),
    shell.docker_lookup(IMAGE, REGISTRY),
    shell.resolv_conf(),
    shell.lookup(REGISTRY),
)


def test_docker_in_a_good_world() -> None:
    world = guide_world()
    sections = look(world, beside_daemon(world), PLAN, limit=5, DOCKER_HOST="tcp://docker:2375")
    ready, version, info, pull, greeting, conf, inner, own_conf, own = sections
    assert dind.read_docker_ready(ready, where=POD).fault is None
    told = dind.read_docker_info(version, info, where=POD)
    assert (told.fault, told.version, told.storage_driver) == (None, world.daemon.version, "overlay2")
    pulled = dind.read_docker_pull(pull, where=POD)
    assert (pulled.fault, pulled.fresh) == (None, True)
    assert dind.read_docker_run(greeting, where=POD).output == "hello from dind"
    assert shell_readers.read_resolv_conf(conf) == shell_readers.read_resolv_conf(own_conf)
    assert (
        shell_readers.read_lookup(inner, frozenset()).addresses == shell_readers.read_lookup(own, frozenset()).addresses
    )


def _slow(world: World) -> None:
    world.daemon.ready_after = 60


def _tls(world: World) -> None:
    world.daemon.tls = True


@pytest.mark.parametrize(
    ("change", "exited", "fault"),
    [
        (_slow, False, DindFault.DAEMON_SLOW),
        (lambda _: None, True, DindFault.DAEMON_SLOW),  # the client cannot tell; the container's state can
        (_tls, False, DindFault.TLS_MISMATCH),
    ],
)
def test_a_daemon_that_does_not_come(change: Callable[[World], None], exited: bool, fault: DindFault) -> None:
    world = guide_world()
    change(world)
    steps = [shell.docker_ready(1), shell.docker_pull(IMAGE), shell.resolv_conf()]
    ready, pull, conf = look(world, beside_daemon(world, exited=exited), steps, DOCKER_HOST="tcp://docker:2375")
    assert dind.read_docker_ready(ready, where=POD).fault is fault
    assert pull.skipped
    assert conf.exit == 0


def test_names_inside_may_fail_where_names_outside_do_not() -> None:
    world = guide_world()
    world.daemon.inner_nameservers = ("10.9.9.9",)
    steps = [PLAN[0], shell.docker_lookup(IMAGE, REGISTRY, limit=1), shell.lookup(REGISTRY)]
    sections = look(world, beside_daemon(world), steps, DOCKER_HOST="tcp://docker:2375")
    inner, own = (shell_readers.read_lookup(section, frozenset()) for section in sections[1:])
    assert (inner.fault, own.fault) == (DnsFault.TIMEOUT, None)


def test_an_image_that_is_not_there_is_not_pulled_inside_either() -> None:
    world = guide_world()
    steps = [shell.docker_ready(2), shell.docker_pull(f"{REGISTRY}/library/alpine:absent")]
    _, pull = look(world, beside_daemon(world), steps, DOCKER_HOST="tcp://docker:2375")
    fact = dind.read_docker_pull(pull, where=POD)
    assert fact.fault is DindFault.PULL_FAILED
    assert "manifest unknown" in fact.cause


# ---- running ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [NODE, POD])
def test_no_tool_of_this_machine_that_reaches_a_network_is_on_the_path(words: str) -> None:
    world = guide_world()
    where = vantage(world, words)
    installed = tools.names(world, where, {})
    path = Path(toolbox(installed))
    links = {file.name for file in path.iterdir() if file.is_symlink()}
    assert links.isdisjoint(
        "bash busybox curl dig docker getent host ip nc ncat nslookup openssl perl ping python3 ssh wget".split()
    )
    absent = [tool for tool in ("curl", "dig", "docker", "bash", "busybox") if tool not in installed]
    for tool in absent:
        assert shown(world, where, ["sh", "-c", f"{tool} x"]).exit == 127, tool


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        shown(guide_world(), pod(), ["no-such-program"])


def test_exit_status_input_output_and_environment_are_the_commands_own() -> None:
    async def main() -> tuple[Ran, list[bytes], list[bytes]]:
        out: list[bytes] = []
        err: list[bytes] = []
        world = guide_world()
        words = 'read -r line; echo "$line $GREETING $(hostname)"; echo oops >&2; exit 7'
        ran = await run(
            world,
            pod(),
            ["sh", "-c", words],
            env={"GREETING": "hello"},
            stdin=b"given\n",
            on_output=out.append,
            on_error=err.append,
            limit=10,
        )
        return ran, out, err

    ran, out, err = asyncio.run(main())
    assert ran == Ran(7, b"given hello probe\n", b"oops\n")
    assert (b"".join(out), b"".join(err)) == (ran.output, ran.errors)


def test_a_command_that_kills_itself_ends_as_a_shell_reports_it() -> None:
    assert shown(guide_world(), pod(), ["sh", "-c", "kill -TERM $$"]).exit == 143


def test_output_comes_while_the_command_runs() -> None:
    async def main() -> float:
        began = time.monotonic()
        heard = asyncio.Event()
        command = ["sh", "-c", "echo first; sleep 30"]
        running = asyncio.ensure_future(
            run(guide_world(), pod(), command, env={}, on_output=lambda _: heard.set(), limit=60)
        )
        await asyncio.wait_for(heard.wait(), 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return time.monotonic() - began

    assert asyncio.run(main()) < 10


@pytest.mark.parametrize("by", ["limit", "cancel"])
def test_nothing_it_started_outlives_it(by: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = [
        "sh",
        "-c",
        f"sleep 61 & echo $! > {pids}; sh -c 'echo $$ >> {pids}; nslookup a.example.com 10.9.9.9; sleep 62'",
    ]

    async def main() -> None:
        running = asyncio.ensure_future(run(guide_world(), pod(), command, env={}, limit=1 if by == "limit" else 60))
        if by == "limit":
            assert (await running).exit == 137
        else:
            await asyncio.sleep(0.5)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(main())
    for pid in map(int, pids.read_text().split()):
        assert _gone(pid), pid


def _gone(pid: int) -> bool:
    until = time.monotonic() + 3
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if "\nState:\tZ" in (_status(pid)):
            return True
        time.sleep(0.02)
    return False


def _status(pid: int) -> str:
    file = Path(f"/proc/{pid}/status")
    return "\n" + file.read_text() if file.exists() else ""


def test_a_background_child_does_not_keep_a_command_from_ending() -> None:
    began = time.monotonic()
    ran = shown(guide_world(), pod(), ["sh", "-c", "sleep 60 & echo done"])
    assert (ran.exit, ran.output) == (0, b"done\n")
    assert time.monotonic() - began < 10


def test_where_its_tools_asked_is_gone_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_memory", lambda *, programs: str(tmp_path))  # noqa: ARG005 - as it is called
    ran = shown(guide_world(), pod(), ["sh", "-c", "echo $ASK_FOLDER; hostname"])
    asked, name = ran.output.decode().split()
    assert name == "probe"
    assert Path(asked).parent == tmp_path
    assert not [left for left in tmp_path.iterdir() if not left.name.startswith("bin-")], "but for the tools themselves"


def test_names_that_are_asked_are_on_the_worlds_record() -> None:
    world = guide_world()
    look(world, pod(), [shell.lookup(REGISTRY, RESOLVER)])
    assert [(asked.path, asked.user) for asked in world.recorded(f"dns {RESOLVER}")] == [(REGISTRY, POD)]


def test_crictl_pulls_by_the_nodes_own_containerd_and_sudo_lets_it() -> None:
    world = guide_world()
    node = world.node_vantage("k8s-worker-1")
    good = shown(world, node, ["sudo", "-n", "crictl", "pull", IMAGE])
    assert (good.exit, good.output.startswith(b"Image is up to date for sha256:")) == (0, True)
    bad = shown(world, node, ["sudo", "-n", "crictl", "pull", f"{REGISTRY}/library/alpine:absent"])
    assert bad.exit == 1
    assert b"rpc error: code = NotFound desc = failed to pull and unpack image" in bad.output


@pytest.mark.parametrize("programs", [False, True])
def test_who_names_a_place_for_temporary_files_has_them_there(
    programs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    temporary._memory.cache_clear()
    made = Path(temporary.folder("ask-", programs=programs))
    temporary._memory.cache_clear()
    assert made.parent == tmp_path
    assert made.stat().st_mode & 0o077 == 0

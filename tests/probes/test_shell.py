"""The plan of steps, and the script that it becomes; test_shell_script.py runs it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from preflight.probes import shell
from tests.probes.recorded_outputs import of


def test_a_step_takes_one_printable_line() -> None:
    for bad in ("a\nb", "a\0b", "a\x1b[31m", "x" * 5000):
        with pytest.raises(ValueError, match="one printable line"):
            shell.fetch(bad)
    with pytest.raises(ValueError, match="letters and digits"):
        shell.render([], limit=1, nonce="a'; rm -rf /")


@pytest.mark.parametrize(
    "made",
    [
        lambda: shell.lookup("-f/etc/passwd"),
        lambda: shell.lookup("a", "-x"),
        lambda: shell.resolve("-s"),
        lambda: shell.tcp("-e/bin/sh", 80),
        lambda: shell.fetch("--output=/x"),
        lambda: shell.fetch("file:///etc/shadow"),
        lambda: shell.docker_pull("--all-tags"),
        lambda: shell.docker_run("--privileged", ("sh",)),
    ],
)
def test_no_step_hands_on_an_option_or_another_scheme(made: Callable[[], shell.Step]) -> None:
    with pytest.raises(ValueError, match=r"option|only http"):
        made()
    assert shell.docker_run("alpine", ("sh", "-c", "ls")).args[1:] == ("sh", "-c", "ls")


@pytest.mark.parametrize(
    ("resolver", "args"),
    [
        ("10.0.0.2", ("10.0.0.2",)),
        ("10.0.0.2:5353", ("10.0.0.2", "5353")),
        ("fd00::2", ("fd00::2",)),
        ("[fd00::2]:5353", ("fd00::2", "5353")),
        ("[fd00::2]", ("fd00::2",)),
    ],
)
def test_a_resolver_may_have_a_port(resolver: str, args: tuple[str, ...]) -> None:
    assert shell.lookup("a", resolver).args == ("a", *args)


def test_steps_run_six_at_a_time_and_dockers_one_by_one() -> None:
    steps = [
        *(shell.lookup(f"n{number}", "10.0.0.2") for number in range(8)),
        shell.docker_ready(60),
        shell.docker_info(),
    ]
    plan = shell.render(steps, limit=5, nonce=shell.new_nonce()).partition("main() {")[2]
    assert [line.count("|") for line in plan.splitlines() if "measure" in line] == [5, 1, 0, 0]
    assert shell.bound(steps, limit=5) == pytest.approx(3 + 7 + 7 + 7 + 67 + 7), (
        "a silent resolver is waited for once before them"
    )


def test_commands_can_be_pasted() -> None:
    assert shell.lookup("a", "10.0.0.2:5353").command == "nslookup -port=5353 a 10.0.0.2"
    assert shell.docker_run("r/a:b", ("echo", "hello world")).command == "docker run --rm r/a:b echo 'hello world'"
    assert (
        of("node-dig-gnuwget", shell.lookup("alias.example.com", "127.0.0.53")).command
        == "dig @127.0.0.53 alias.example.com"
    )
    assert of("pod-busybox-1.35", shell.fetch("http://nope.invalid/")).command == "wget -S -O - http://nope.invalid/"

"""What the script printed is cut into sections, whatever is around and in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.evidence import Unmeasured
from preflight.probes import shell, shell_sections
from tests.probes.recorded_outputs import HERE, MACHINES, NONCE, OUTPUTS, recorded


def test_every_recording_is_read_whole() -> None:
    assert len(MACHINES) >= 5
    for name in MACHINES:
        sections = recorded(name)
        assert len(sections) == 28, name
        assert all(section.exit is not None for section in sections), name


def test_noise_around_and_between_changes_nothing() -> None:
    whole = (OUTPUTS / "node-debian12.txt").read_text()
    noisy = "Welcome!\nLast login: today\n" + whole.replace("\n", "\r\n") + "logout\n"
    assert [(one.kind, one.args, one.exit) for one in shell_sections.parse(noisy, NONCE)] == [
        (one.kind, one.args, one.exit) for one in recorded("node-debian12")
    ]


def test_a_look_that_was_cut_off_keeps_what_it_has() -> None:
    whole = (OUTPUTS / "pod-busybox-1.36.1.txt").read_text()
    cut = whole[: whole.index("Name:\t")]
    *first, last = shell_sections.parse(cut, NONCE)
    assert [one.kind for one in first] == ["resolv_conf"]
    assert (last.kind, last.exit) == ("lookup", None)
    missing = shell.lookup("nope.example.com", "127.0.0.61")
    with pytest.raises(Unmeasured, match=r"ended before `nslookup nope\.example\.com"):
        shell_sections.find((*first, last), missing, where=HERE)


def test_the_wrong_nonce_opens_nothing() -> None:
    assert shell_sections.parse((OUTPUTS / "node-debian12.txt").read_text(), "pfedcba9876543210") == ()


@given(
    st.lists(
        st.sampled_from([*"begin end exit arg output stderr clock tool lacks skipped".split(), "x", "7", "\n", NONCE])
    )
)
def test_no_output_breaks_the_reader(words: list[str]) -> None:
    for section in shell_sections.parse(" ".join(words).replace("\n ", "\n"), NONCE):
        assert isinstance(section.exit, int | None)


MARK = "pabcdef01"


@pytest.mark.parametrize(
    ("output", "status", "expected"),
    [
        (
            f"WARNING: vfs\n\n{MARK} 1 0 10.00 10.25\n1450\n\n{MARK} 0 1 10.00 11.50\nServer: 10.0.0.2\n\nNXDOMAIN\n",
            0,
            [(1, 1.5, "Server: 10.0.0.2\n\nNXDOMAIN"), (0, 0.25, "1450")],
        ),
        (f"{MARK} 1 0 10.00 10.25\n1450\n", 124, [(124, 5.0, ""), (0, 0.25, "1450")]),
        ("docker: Error response from daemon", 125, [(125, 5.0, "docker: Error response from daemon")] * 2),
        (f"{MARK} 7 0 - -\nforged", 0, [(0, 5.0, "")] * 2),
    ],
    ids=["in any order", "cut off", "no container", "a number that is none of them"],
)
def test_each_command_of_one_container_has_a_section(
    output: str, status: int, expected: list[tuple[int, float, str]]
) -> None:
    step = shell.docker_runs(MARK, "r/a:b", [("nslookup", "a.example.com"), ("cat", "/a file")])
    lines = ["begin 1 docker_runs", *(f"arg {arg}" for arg in step.args), "output"]
    ours = "".join(f"{NONCE} {line}\n" for line in lines)
    printed = f"{ours}{output}\n{NONCE} exit {status}\n{NONCE} end 10.0 15.0\n"
    sections = shell_sections.parse(printed, NONCE)
    commands = [("docker_run", ("r/a:b", "nslookup", "a.example.com")), ("docker_run", ("r/a:b", "cat", "/a file"))]
    assert [(section.kind, section.args) for section in sections] == commands
    assert [(section.exit, section.took, section.output) for section in sections] == expected

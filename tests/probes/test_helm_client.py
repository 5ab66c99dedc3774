"""The helm client beside programs that behave badly; the real helm is in tests/system/test_helm.py."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from preflight.chartpackage import ChartPackage
from preflight.clients import helm as client
from preflight.clients.helm import Helm, find, template
from preflight.evidence import Unmeasured
from preflight.valuesource import Settings, split_pairs
from tests import tinychart

CHART = ChartPackage.from_archive(tinychart.archive(), source="test")


def program(folder: Path, script: str) -> Path:
    file = folder / "helm"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_helm_is_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find() is None
    program(tmp_path, "echo v3.99.1+gabcdef")
    assert find() == Helm(str(tmp_path / "helm"), "3.99.1")
    assert find("none") is None
    monkeypatch.chdir(tmp_path.parent)
    assert find(f"{tmp_path.name}/helm") == Helm(str(tmp_path / "helm"), "3.99.1")


def test_a_helm_that_is_given_and_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Unmeasured, match="there is no program"):
        find(str(tmp_path / "nothing"))


@pytest.mark.parametrize("script", ["echo hello", "exit 3", "echo v3.1.2; exit 1"])
def test_what_is_no_helm_is_told(tmp_path: Path, script: str) -> None:
    with pytest.raises(Unmeasured, match="does not report its version"):
        find(str(program(tmp_path, script)))


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    file = tmp_path / "helm"
    file.write_bytes(b"\x00\x01")
    file.chmod(0o755)
    with pytest.raises(Unmeasured, match="can't be run"):
        find(str(file))


def rendering_with(folder: Path, script: str, *, deadline: float = 5.0) -> None:
    template(Helm(str(program(folder, script)), "3.0.0"), CHART, release="a", namespace="b", deadline=deadline)


def test_a_helm_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unmeasured, match=r"within 0\.3 s"):
        rendering_with(tmp_path, f"sleep 60 & echo $! >{tmp_path}/child; wait", deadline=0.3)
    assert time.monotonic() - began < 5
    child = int((tmp_path / "child").read_text())
    for _ in range(50):
        if not _lives(child):
            return
        time.sleep(0.05)
    pytest.fail("the child is still there")


def _lives(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_helm_that_prints_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST_OUTPUT", 100_000)
    with pytest.raises(Unmeasured, match="more than 100000 bytes"):
        rendering_with(tmp_path, "while :; do echo 0123456789012345678901234567890123456789; done")


def test_what_helm_needs_lies_where_only_we_can_read_it(tmp_path: Path) -> None:
    script = f'stat -c %a "$TMPDIR" >{tmp_path}/mode; env >{tmp_path}/environment; echo "kind: A"'
    rendering_with(tmp_path, script)
    assert (tmp_path / "mode").read_text().strip() == "700"
    names = {line.partition("=")[0] for line in (tmp_path / "environment").read_text().splitlines()}
    assert "KUBECONFIG" in names
    assert not {name for name in names if "PROXY" in name.upper()}


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1", ["a=1"]),
        ("a=1,b=2", ["a=1", "b=2"]),
        (r"a=1\,2,b=3", [r"a=1\,2", "b=3"]),
        ("a={1,2},b=3", ["a={1,2}", "b=3"]),
        (r"a=\\,b=1", [r"a=\\", "b=1"]),
        ("a=1,", ["a=1"]),
    ],
)
def test_pairs_are_parted_as_helm_parts_them(text: str, pairs: list[str]) -> None:
    assert split_pairs(text) == pairs


@pytest.mark.parametrize(
    ("pair", "hidden"),
    [
        ("runnerToken=glrt-made-up", True),
        ("a.password=x", True),
        ("secrets[0].token=x", True),
        ("replicas=2", False),
        ("runnerToken=null", False),
        ("runnerToken=", False),
        ("token={a,b}", False),
    ],
)
def test_a_secrets_text_is_handed_over_in_a_file(tmp_path: Path, pair: str, *, hidden: bool) -> None:
    options = list(client._options(Settings(set=(pair,)), tmp_path))
    assert (options[0] == "--set-file") is hidden
    assert (pair in options) is not hidden

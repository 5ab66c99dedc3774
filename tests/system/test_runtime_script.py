"""The script that pulls an image on a node is right for every shell that nodes have."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from preflight.probes.node_pulls import crictl_script

IMAGE = "registry.example.com/library/alpine:latest"
SCRIPT = crictl_script(IMAGE, runtime="containerd", limit=5)


def test_it_is_portable() -> None:
    assert shutil.which("shellcheck"), "this test needs Debian's shellcheck"
    said = subprocess.run(
        ["shellcheck", "--shell=sh", "--severity=style", "-"], input=SCRIPT, capture_output=True, text=True, check=False
    )
    assert said.stdout == ""
    assert said.returncode == 0


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["busybox", "sh"]], ids=" ".join)
@pytest.mark.parametrize("user", [0, 1000])
def test_it_pulls_in_every_shell(shell: list[str], user: int, tmp_path: Path) -> None:
    program = shutil.which(shell[0])
    assert program, f"this test needs Debian's {shell[0]}"
    log = tmp_path / "log"
    tools = {
        "id": f"echo {user}",
        "sudo": f'echo "sudo $*" >> {log}; shift; [ "$1" = --preserve-env=CRICTL_AUTH ] && shift; exec "$@"',
        "crictl": f'echo "crictl $*" >> {log}; case "$*" in *--help*) echo CRICTL_AUTH ;; *inspecti*) exit 1 ;; esac',
    }
    for name, script in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CRICTL_AUTH": "made-up"}
    said = subprocess.run(
        [program, *shell[1:], "-s"], input=SCRIPT, env=environment, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "absent\n", "")
    lines = log.read_text().splitlines()
    assert lines[-1] == f"crictl pull {IMAGE}"
    assert any(line.startswith("sudo -n --preserve-env=CRICTL_AUTH ") for line in lines) is (user != 0)

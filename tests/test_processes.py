"""A fork is, for all that a test can see, a process that an interpreter's start has made (tests/processes.py)."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import processes

SCRIPT = {
    "seen": """
        import json, os, random, signal, sys, tempfile, threading, time
        names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD", "SIGPIPE")
        print(json.dumps({
            "argv": sys.argv[1:],
            "name": __name__,
            "cwd": os.getcwd(),
            "path": sys.path[:2],
            "environment": dict(os.environ),
            "given": sys.stdin.read(),
            "stdin": [sys.stdin.encoding, sys.stdin.errors],
            "stdout": [sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering, sys.stdout.isatty()],
            "stderr": [sys.stderr.encoding, sys.stderr.errors, sys.stderr.line_buffering, sys.stderr.isatty()],
            "own": sys.__stdout__ is sys.stdout,
            "signals": [repr(signal.getsignal(getattr(signal, name))) for name in names],
            "temporary": tempfile.gettempdir(),
            "zone": time.strftime("%Z"),
            "threads": threading.active_count(),
            "main": threading.current_thread() is threading.main_thread(),
            "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
            "open": sorted(os.listdir("/dev/fd"))[:4],
        }, sort_keys=True))
        print("é to errors", file=sys.stderr)
    """,
    "ends": """
        import atexit, os, sys, threading, time
        atexit.register(print, "at exit")
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        class Last:
            def __del__(self, write=os.write):
                write(1, b"finalized\\n")
        last = Last()
        sys.exit(int(sys.argv[1]))
    """,
    "waits": """
        import time
        print("ready", flush=True)
        time.sleep(60)
    """,
    "draws": "import random; print(random.random())",
    "fails": "raise ValueError('a made-up error')",
}


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    for name, text in SCRIPT.items():
        lines = text.strip("\n").split("\n")
        indent = len(lines[0]) - len(lines[0].lstrip())
        (tmp_path / f"made_up_{name}.py").write_text("\n".join(line[indent:] for line in lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("interpreter", [False, True])
def test_it_sees_what_it_was_given(modules: Path, interpreter: bool) -> None:
    import json

    (modules / "temporary").mkdir()
    env = {"PATH": "/usr/bin:/bin", "TZ": "UTC-5", "TMPDIR": str(modules / "temporary"), "PYTHONPATH": "/made/up"}
    ended = processes.run("made_up_seen", "a b", "ü", cwd=modules, env=env, input="given\nü\n", interpreter=interpreter)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    seen["environment"].pop("LC_CTYPE", None)  # an interpreter's own, where the locale is C
    assert seen == {
        "argv": ["a b", "ü"],
        "name": "__main__",
        "cwd": os.path.realpath(modules),
        "path": [os.path.realpath(modules), "/made/up"],
        "environment": env,
        "given": "given\nü\n",
        "stdin": ["utf-8", "surrogateescape"],
        "stdout": ["utf-8", "surrogateescape", False, False],
        "stderr": ["utf-8", "backslashreplace", True, False],
        "own": True,
        "signals": [
            "<built-in function default_int_handler>",
            "<Handlers.SIG_DFL: 0>",
            "<Handlers.SIG_DFL: 0>",
            "<Handlers.SIG_DFL: 0>",
            "<Handlers.SIG_IGN: 1>",
        ],
        "temporary": str(modules / "temporary"),
        "zone": "UTC",
        "threads": 1,
        "main": True,
        "leads": [True, True],
        "open": ["0", "1", "2", "3"],
    }
    assert ended.stderr == "é to errors\n"


@pytest.mark.parametrize("interpreter", [False, True])
def test_it_ends_as_an_interpreter_ends(modules: Path, interpreter: bool) -> None:
    ended = processes.run("made_up_ends", "7", cwd=modules, interpreter=interpreter)
    assert (ended.returncode, ended.stdout) == (7, "thread\nat exit\nfinalized\n")
    failed = processes.run("made_up_fails", cwd=modules, interpreter=interpreter)
    assert failed.returncode == 1
    assert failed.stderr.startswith("Traceback (most recent call last):\n")
    assert failed.stderr.endswith("ValueError: a made-up error\n")


@pytest.mark.parametrize("interpreter", [False, True])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals_reach_it(modules: Path, how: signal.Signals, interpreter: bool) -> None:
    ours, theirs = os.pipe()
    process = processes.start("made_up_waits", cwd=modules, stdout=theirs, interpreter=interpreter)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        assert pipe.readline() == "ready\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        process.send_signal(how)
        assert process.wait(10) == -how
        assert (process.poll(), process.returncode) == (-how, -how)
        process.send_signal(how)  # to nobody


def test_one_that_takes_too_long_is_killed(modules: Path) -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run("made_up_waits", cwd=modules, timeout=0.5)
    assert time.monotonic() - began < 10


def test_it_may_have_a_terminal(modules: Path) -> None:
    import json

    ours, theirs = pty.openpty()
    process = processes.start("made_up_seen", cwd=modules, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while select.select([ours], [], [], 10)[0]:
        try:
            written += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert process.wait(10) == 0
    seen = json.loads(written.splitlines()[0])
    assert seen["stdout"][2:] == [True, True]
    assert seen["stderr"][2:] == [True, True]


def test_two_draw_two_numbers(modules: Path) -> None:
    first, second = (processes.run("made_up_draws", cwd=modules).stdout for _ in range(2))
    assert first != second


def test_a_fork_has_imported_what_a_run_needs_and_nothing_of_the_tests(modules: Path) -> None:
    (modules / "made_up_modules.py").write_text("import sys\nprint(*sys.modules, sep='\\n')\n")
    env = processes.environment(PYTHONPATH=str(modules))
    here = set(processes.run("made_up_modules", env=env).stdout.split())
    assert {"kubernetes.client", "paramiko", "asyncssh", "lab.lab", "preflight.facts", "preflight.clients.ssh"} <= here
    assert not [name for name in here if name.split(".")[0] in {"conftest", "checks", "tests", "xdist", "hypothesis"}]
    none = processes.environment(PYTHONPATH="")
    elsewhere = set(processes.run("made_up_modules", cwd=modules, env=none).stdout.split())
    assert "kubernetes.client" in elsewhere
    assert not [name for name in elsewhere if name.split(".")[0] in {"lab", "preflight"}], "an installed package"
    of_this_one = {"PYTHONPATH": f"{processes.PROJECT}{os.pathsep}{modules}"}
    assert "preflight.facts" in processes.run("made_up_modules", cwd=modules, env=of_this_one).stdout.split()
    (modules / "preflight").mkdir()
    of_that_one = {"PYTHONPATH": f"{modules}{os.pathsep}{processes.PROJECT}"}
    assert "preflight" not in processes.run("made_up_modules", cwd=modules, env=of_that_one).stdout.split()


def test_they_end_with_who_started_them(tmp_path: Path) -> None:
    text = (
        "import os, sys\nfrom tests import processes\n"
        "process = processes.start('timeit', '-n1', '-r1', 'import time; time.sleep(60)')\n"
        "print(process.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", text], cwd=processes.PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(int(ended.stdout), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("it lives on")

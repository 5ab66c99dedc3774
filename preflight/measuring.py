"""Measuring during a pytest run: begun after collection, ended after the reports are written."""

from __future__ import annotations

import gc
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from preflight import check_items, options, progress_line, saved
from preflight.clients.connect import Routes
from preflight.fact import Effect
from preflight.facts import probe_plan
from preflight.inputs import INVENTORY, SAVED_RUN
from preflight.inventory import PER_JUMP, Inventory
from preflight.replay import Replay
from preflight.run import Run, Stage
from preflight.shutdown import SignalHandlers
from preflight.survey import SURVEY, Survey

_SIGNALS = pytest.StashKey[SignalHandlers]()
_NEW_OBJECTS = 50_000  # beyond those that are gone, before the next search; Python's default is 700
_BESIDE = 3  # pods with Docker-in-Docker, and pods that wait for commands, at the same time beside the others
_PATIENCE = 10.0  # seconds that a measurement gets to take back what it wrote, when a run did not end well


def begin(config: pytest.Config, checks: Iterable[pytest.Item]) -> None:
    """Begin to measure what these checks need, and nothing else; in a replay, take it from the saved run."""
    survey = _make_survey(config, _make_run(config))
    config.stash[SURVEY] = survey
    for check in checks:
        if check_items.effect_above_ceiling(check) is None:
            for name, targets in check_items.measurements(check):
                survey.begin(name, dict(targets))
    _collect_seldom(config)
    signals = config.stash[_SIGNALS] = SignalHandlers(survey.run.shutdown)
    config.add_cleanup(signals.restore)
    signals.install()
    if SAVED_RUN in config.stash:
        return
    from preflight.clients import preload  # noqa: PLC0415 - only a run that measures needs them

    preload.load()
    _show_progress(config, survey)
    try:
        survey.start()
    except RuntimeError as error:
        pytest.exit(f"{error}; nothing was measured", returncode=pytest.ExitCode.INTERNAL_ERROR)


def _collect_seldom(config: pytest.Config) -> None:
    """Look for circles of garbage less often: a run is short, and what it measures stays to its end anyway.

    Nor does the process's end go through all of it, where pytest and Python look for garbage: it stays frozen until
    another run begins in the same process.
    """
    gc.unfreeze()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS, *before[1:])

    def restore() -> None:
        gc.set_threshold(*before)
        gc.freeze()

    config.add_cleanup(restore)


def _make_run(config: pytest.Config) -> Run:
    inventory = config.stash[INVENTORY]
    return Run(
        inventory=inventory,
        routes=Routes.of(inventory.connect),
        id=secrets.token_hex(4),
        all_nodes=config.getoption("all_nodes"),
        stage=Stage(config.getoption("stage")),
        own_job=os.environ.get("CI_JOB_ID", ""),
        own_host=os.environ.get("HOSTNAME") or socket.gethostname(),
        backup=options.backup_folder(config),
    )


def _logins_at_once(inventory: Inventory) -> int:
    """How many nodes are logged in to at the same time; a jump host takes fewer (`ssh.AuthGate`)."""
    access = inventory.access.ssh
    return _LOGINS if access == "none" or access.jump is None else PER_JUMP


_LOGINS = 16


def _make_survey(config: pytest.Config, run: Run) -> Survey:
    if SAVED_RUN not in config.stash:
        pods = run.inventory.limits.probe_pods_at_once
        at_once = {
            "pods": pods,
            "daemons": min(pods, _BESIDE),
            "streams": min(pods, _BESIDE),
            "logins": _logins_at_once(run.inventory),
        }
        ceiling = Effect(config.getoption("effect"))
        return Survey(run, workers=max(1, config.getoption("workers")), at_once=at_once, ceiling=ceiling)
    file = Path(config.getoption("replay"))
    try:
        return Replay(run, config.stash[SAVED_RUN], file)
    except saved.SavedError as error:
        raise pytest.UsageError(f"--replay: {file}: {error}") from None


def _show_progress(config: pytest.Config, survey: Survey) -> None:
    """On a terminal, a progress line says what a check waits for; anywhere else nothing is written."""
    if config.get_verbosity() < 0 or not progress_line.wanted(os.environ):
        return
    terminal = progress_line.terminal()  # before pytest captures: later the descriptor is a file of pytest's
    if terminal is not None:
        line = progress_line.ProgressLine(survey, terminal)
        survey.on_wait, survey.on_waited = line.show, line.erase
        config.add_cleanup(line.close)


def interrupted(config: pytest.Config) -> bool:
    """Whether a signal has asked for the run's end; its exception may have been lost in a finalizer."""
    signals = config.stash.get(_SIGNALS, None)
    return signals is not None and signals.received


def stop(config: pytest.Config) -> None:
    """Begin nothing any more; from now on, a signal only makes the run's end faster."""
    config.stash[_SIGNALS].ending = True
    config.stash[SURVEY].run.shutdown.set()


def notes(config: pytest.Config) -> list[str]:
    """Which workers got pods where not all did that could, a sentence each."""
    return probe_plan.sampling_notes(config.stash[SURVEY].run)


def close(config: pytest.Config, exit_status: int) -> Iterator[str]:
    """Clean up; yields what went wrong, a sentence each."""
    survey = config.stash[SURVEY]
    patience = 0.0 if exit_status == 0 else min(_PATIENCE, survey.run.inventory.deadlines.clean)
    yield from survey.close(patience=patience)


def removal(config: pytest.Config, *, complete: bool, seconds: float) -> str:
    """What was removed at the run's end, in one sentence; empty for a replay, which makes nothing.

    Args:
        config: of the run.
        complete: whether nothing is left.
        seconds: how long the removal took.
    """
    if SAVED_RUN in config.stash:
        return ""
    made = config.stash[SURVEY].run.shutdown.counted()
    if not made:
        return "nothing was made in the cluster" if complete else "what was made could not be removed"
    if not complete:
        return f"of {made}, not everything could be removed in {seconds:.1f} s: see above"
    return f"{made} removed, nothing is left ({seconds:.1f} s)"

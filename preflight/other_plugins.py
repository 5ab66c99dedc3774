"""pytest plugins that may be installed beside this one, and that would run checks in another way than this suite needs.

Each fact is measured once, in parallel, in this process; a check only judges what was measured. To spread checks over
processes, to run them again or to stop them by a clock can therefore change nothing but the verdict. Such options are
switched off, wherever they come from (command line, PYTEST_ADDOPTS, pytest.ini), and a note names them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from preflight import options


@dataclass(frozen=True)
class _Distortion:
    """What a plugin's options would do to checks.

    Attributes:
        plugin: its name on PyPI.
        off: its options, by destination, with the value that leaves checks alone.
        harmless: further values that do.
        reason: why it is switched off, as the end of a sentence.
    """

    plugin: str
    off: Mapping[str, Any]
    reason: str
    harmless: tuple[Any, ...] = field(default=(None, False, 0, "no", []))


_IN_PARALLEL = "the suite measures in parallel by itself (--workers), once, in one process"
_ONCE = "a check judges what was measured once, and would only judge it again"
_DISTORTIONS = (
    _Distortion(
        "pytest-xdist",
        {"numprocesses": None, "dist": "no", "tx": [], "distload": False, "looponfail": False},
        _IN_PARALLEL,
    ),
    _Distortion("pytest-forked", {"forked": False}, _IN_PARALLEL),
    _Distortion("pytest-rerunfailures", {"reruns": 0, "force_reruns": 0}, _ONCE),
    _Distortion("pytest-retry", {"retries": 0}, _ONCE),
    _Distortion("flaky", {"force_flaky": False}, _ONCE),
    _Distortion("pytest-repeat", {"count": 1}, _ONCE, harmless=(1,)),
)

_NEEDED = {"skipping": "a check that has nothing to judge is reported as a skipped test"}
"""Plugins of pytest's own without which checks can't be judged, and why."""

_NOTES = pytest.StashKey[list[str]]()


def switch_off(config: pytest.Config) -> None:
    """Switch off the options of other plugins that distort checks, if this run may hold any.

    To be called before such a plugin acts on them, as pytest-xdist does in ``pytest_cmdline_main``.

    Raises:
        pytest.UsageError: a plugin of pytest's own that checks need is blocked.
    """
    notes = config.stash.setdefault(_NOTES, [])
    if not _may_run_checks(config):
        return
    for name, reason in _NEEDED.items():
        if not config.pluginmanager.hasplugin(name):
            raise pytest.UsageError(f"-p no:{name}: leave it out, since {reason}")
    for distortion in _DISTORTIONS:
        given = {name: getattr(config.option, name) for name in distortion.off if hasattr(config.option, name)}
        if all(value in distortion.harmless for value in given.values()):
            continue
        for name in given:
            setattr(config.option, name, distortion.off[name])
        notes.append(f"{distortion.plugin} is switched off: {distortion.reason}")


def _may_run_checks(config: pytest.Config) -> bool:
    """Whether an environment, or a path to checks, is given; this project's own tests may run in any way."""
    if any(getattr(config.option, name, None) for name in ("inventory", "lab", "replay")):
        return True
    clone = options.clone(config)
    if clone is None:  # the plugin is installed, and these may be anybody's tests
        return False
    checks = clone / "checks"
    paths = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    return any(path == checks or checks in path.parents or path in checks.parents for path in paths)


def notes(config: pytest.Config) -> list[str]:
    """What was switched off, a sentence each."""
    return config.stash.get(_NOTES, [])


def lift_time_limits(config: pytest.Config, checks: Iterable[pytest.Item]) -> list[str]:
    """Except checks from pytest-timeout; returns notes for the operator.

    A check may wait for the longest measurement, which the inventory's deadlines bound. A limit of pytest-timeout would
    make it unknown, and its method ``thread`` ends the process before anything is removed from the cluster.
    """
    if not config.pluginmanager.hasplugin("timeout"):
        return []
    for check in checks:
        check.add_marker(pytest.mark.timeout(0))
    limit = getattr(config.option, "timeout", None) or config.getini("timeout") or os.environ.get("PYTEST_TIMEOUT")
    return ["pytest-timeout does not apply to checks: the inventory's `deadlines` bound them"] if limit else []

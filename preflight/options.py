"""The command line's options, and the folders that some of them name."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from preflight import language, shipped
from preflight.fact import Effect
from preflight.run import Stage
from preflight.verdicts import EXIT_STATUSES, NO_VERDICT

_PROJECT = pytest.StashKey[Path]()
_EFFECT_GIVEN = pytest.StashKey[bool]()


def add(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    statuses = ", ".join(f"{status} {verdict}" for status, verdict, _ in EXIT_STATUSES if verdict != NO_VERDICT)
    title = f"preflight of GitLab Runner on Kubernetes (exit status {statuses}: docs/verdicts.md)"
    before = language.use(language.of_arguments(sys.argv[1:], os.environ))
    group = parser.getgroup("preflight", language.translated(title))
    _add_all(_Translating(group))
    language.use(before)


class _Translating:
    """A group of options whose helps are in the language that is asked for."""

    def __init__(self, group: pytest.OptionGroup) -> None:
        self._group = group

    def addoption(self, name: str, *, help: str, **settings: Any) -> None:  # noqa: A002 - pytest's own name
        self._group.addoption(name, help=language.translated(help), **settings)


def _add_all(group: _Translating) -> None:
    group.addoption(
        "--lang",
        choices=language.LANGUAGES,
        help="language of terminal, page and Markdown: en or zh (default: PREFLIGHT_LANG, else that of the locale)",
    )
    group.addoption("--inventory", metavar="FILE", help="the environment to check (see inventory.yaml)")
    group.addoption(
        "--report-dir",
        metavar="DIR",
        help="where the reports go (default: reports/ beside conftest.py, "
        "where those of a run of a part are called preflight-partial.*)",
    )
    group.addoption(
        "--effect",
        choices=[str(effect) for effect in Effect],
        help=f"the most that a check may do to the environment (default: {Effect.PRIVILEGED}; {Effect.READ} for a "
        "--symptom that no check explains)",
    )
    group.addoption(
        "--all-nodes", action="store_true", help="measure every node by itself, and probe every eligible one"
    )
    group.addoption(
        "--stage",
        choices=[str(stage) for stage in Stage],
        default=str(Stage.AUTO),
        help="stage of the release's life: before `install` or `upgrade`, or after it was `uninstalled` "
        "(default: %(default)s, which judges whatever is installed)",
    )
    group.addoption(
        "--require-idle", action="store_true", help="running jobs are a failure instead of advice (before an upgrade)"
    )
    group.addoption(
        "--backup",
        metavar="DIR",
        help="write the release's values and its whole record into DIR, readable by its owner alone: they hold the "
        "token",
    )
    group.addoption(
        "--replay",
        metavar="FILE",
        help="judge the facts of an earlier run's preflight.json again; nothing is contacted",
    )
    group.addoption(
        "--symptom",
        metavar="TEXT",
        help="an error from a job's log, or - for a whole log on standard input: run only the checks that explain it",
    )
    group.addoption(
        "--job",
        metavar="URL",
        help="as --symptom with the whole log of this GitLab job, read with the inventory's gitlab.api_token",
    )
    group.addoption(
        "--baseline",
        metavar="FILE",
        help="an earlier run's preflight.json: report what is new, fixed and unchanged since",
    )
    group.addoption(
        "--allow-degraded",
        action="store_true",
        help="exit with 0 where jobs run worse and nothing stops them (DEGRADED)",
    )
    group.addoption(
        "--summary",
        choices=["text", "json"],
        default="text",
        help="json: one line of JSON on standard output when the run is over, and everything else on standard error",
    )
    group.addoption(
        "--workers", type=int, default=16, metavar="N", help="measurements at the same time (default: %(default)s)"
    )


def complete(config: pytest.Config) -> None:
    """Set the defaults that depend on whether an option was given."""
    config.stash[_EFFECT_GIVEN] = config.option.effect is not None
    if config.option.effect is None:
        config.option.effect = str(Effect.PRIVILEGED)


def effect_was_given(config: pytest.Config) -> bool:
    """Whether `--effect` was given."""
    return config.stash[_EFFECT_GIVEN]


def project_folder(config: pytest.Config) -> Path:
    """The folder of the conftest that loads the plugin: rootdir moves with a pytest.ini beside the inventory."""
    return clone(config) or config.rootpath


def clone(config: pytest.Config) -> Path | None:
    """The folder of a conftest.py that loads the plugin; None where only the installed package does."""
    if _PROJECT in config.stash:  # looked up for each item, and there are dozens of plugins
        return config.stash[_PROJECT]
    for plugin in config.pluginmanager.get_plugins():
        file = getattr(plugin, "__file__", None)
        if file and Path(file).name == "conftest.py" and "preflight.plugin" in getattr(plugin, "pytest_plugins", ()):
            return config.stash.setdefault(_PROJECT, Path(file).resolve().parent)
    return None


def checks_folder(config: pytest.Config) -> Path:
    """The folder of the guide's checks: the clone's, or that of the installed package."""
    folder = clone(config)
    return folder / "checks" if folder is not None else shipped.CHECKS


def report_folder(config: pytest.Config) -> Path:
    """Where the reports go: `--report-dir`, else ``reports/`` of the project."""
    chosen = config.getoption("report_dir")
    default = project_folder(config) / "reports"
    # A replay must not overwrite the measurements that it judges.
    return Path(chosen).resolve() if chosen else default / "replay" if config.getoption("replay") else default


def backup_folder(config: pytest.Config) -> Path | None:
    """Where `--backup` writes to; None without that option."""
    chosen = config.getoption("backup")
    return Path(chosen).expanduser().resolve() if chosen else None


def backup_warning(config: pytest.Config) -> str:
    """That others may write where `--backup` puts the release's secrets, a sentence; "" if nobody else may."""
    folder = backup_folder(config)
    if folder is None:
        return ""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    mode, owner = existing.stat().st_mode, existing.stat().st_uid
    made = existing != folder  # for its owner alone
    by_others = mode & (stat.S_IWGRP | stat.S_IWOTH) and not (made and mode & stat.S_ISVTX)
    if not by_others and owner in {os.geteuid(), 0}:
        return ""
    who = f"mode {stat.S_IMODE(mode):04o}" if by_others else f"owner {owner}"
    return f"--backup {folder}: others may write to {existing} ({who}), and so replace or remove the backup"

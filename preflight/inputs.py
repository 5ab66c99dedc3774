"""What a run reads before tests are collected: inventory or saved run, symptom, baseline.

Nothing is contacted, except GitLab for the log that `--job` names.

Whatever can't be used ends the run as a `pytest.UsageError` (exit status 4) that names the option or the file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from preflight import options, saved, symptoms
from preflight.evidence import Unmeasured, clean
from preflight.fact import Effect
from preflight.inventory import Inventory, InventoryError, load
from preflight.redaction import remember_within

INVENTORY = pytest.StashKey[Inventory]()
"""The environment of the run, from `--inventory` or from the run that `--replay` names."""
SAVED_RUN = pytest.StashKey[Mapping[str, Any]]()
"""The JSON report of the run that `--replay` names."""
EARLIER_RUN = pytest.StashKey[Mapping[str, Any]]()
"""The JSON report of the run that `--baseline` names."""
SYMPTOMS = pytest.StashKey[tuple[symptoms.Found, ...]]()
"""The known symptoms in the text of `--symptom`."""
NEAREST = pytest.StashKey[tuple[tuple[symptoms.Symptom, symptoms.Sample], ...]]()
"""The known symptoms that a text resembles which shows none of them."""
READING_ONLY = pytest.StashKey[bool]()
"""Set where the run makes nothing because nobody knows which checks explain the text of `--symptom`."""

CREDENTIALS = pytest.StashKey[str]()
"""Which credentials for the API server were found, where the inventory names none."""

_LONG_ENOUGH = 8  # characters of a variable's value that is taken for a secret; fewer may be any word


def read(config: pytest.Config) -> None:
    """Read everything that the command line names."""
    options.complete(config)
    _read_symptom(config)
    _read_baseline(config)
    if config.getoption("replay"):
        _read_saved_run(config)
    elif config.getoption("inventory"):
        _read_inventory(config)
    _read_job_log(config)


def _read_inventory(config: pytest.Config) -> None:
    """Load inventory and values; the error lists every problem."""
    from preflight.clients import kubeconfig  # noqa: PLC0415 - only a run with an inventory needs it
    from preflight.values import values_of  # noqa: PLC0415

    # Any program may print the variables of this process.
    remember_within({name: value for name, value in os.environ.items() if len(value) >= _LONG_ENOUGH})
    try:
        inventory = load(Path(config.getoption("inventory")))
        values_of(inventory.runner)
        credentials = kubeconfig.check_kubeconfig(inventory.cluster.kubeconfig, inventory.cluster.context)
    except (InventoryError, kubeconfig.KubeconfigError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[INVENTORY] = inventory.with_all_nodes() if config.getoption("all_nodes") else inventory
    if inventory.cluster.kubeconfig is None:
        config.stash[CREDENTIALS] = credentials.description
    backup = options.backup_folder(config)
    if backup is not None and options.report_folder(config) in {backup, *backup.parents}:
        raise pytest.UsageError(
            f"--backup {backup}: lies in the reports' folder; a backup holds secrets, reports do not"
        )


def sampling_note(config: pytest.Config) -> str:
    """Which workers stand for all, where the inventory names too many nodes for checks of their own; else ""."""
    inventory = config.stash[INVENTORY]
    if not inventory.other_nodes:
        return ""
    named = sum(1 for node in inventory.cluster.nodes.values() if node.role == "worker")
    sample = ", ".join(inventory.workers)
    return (
        f"{len(inventory.workers)} of {named} workers stand for all, one of each kind of name first: {sample}; the "
        f"other nodes are judged together from what the API lists (each by itself: --all-nodes, or `probe.nodes: all`)"
    )


def _read_saved_run(config: pytest.Config) -> None:
    """Take environment, stage and effects from a saved run instead of an inventory."""
    if config.getoption("inventory"):
        raise pytest.UsageError("--replay judges a saved run, which holds its inventory; leave --inventory (--lab) out")
    file = Path(config.getoption("replay"))
    try:
        document = saved.read(file)
        inventory = saved.inventory_from(document, file)
    except saved.SavedError as error:
        raise pytest.UsageError(f"--replay: {error}") from None
    config.stash[INVENTORY], config.stash[SAVED_RUN] = inventory, document
    config.option.inventory = document["inventory"]
    config.option.effect, config.option.stage = document["effect"], document["stage"]
    config.option.require_idle = document["require_idle"]


def _read_symptom(config: pytest.Config) -> None:
    """Find the known symptoms in the text of `--symptom`."""
    text = config.getoption("symptom")
    if text is None:
        return
    if text == "-":
        text = _standard_input(config)
    if not text.strip():
        raise pytest.UsageError("--symptom: expected an error of a job's log, found no text")
    _keep_symptoms(config, text[-symptoms.LARGEST :])


def _keep_symptoms(config: pytest.Config, text: str) -> None:
    """Find the symptoms; a text that no check explains makes no pods, unless `--effect` says that it may."""
    readings = config.stash[SYMPTOMS] = symptoms.find(text)
    if not readings:
        config.stash[NEAREST] = symptoms.nearest(text)
    if not any(symptom.checks for symptom in readings) and not options.effect_was_given(config):
        config.option.effect = str(Effect.READ)
        config.stash[READING_ONLY] = True


def _read_job_log(config: pytest.Config) -> None:
    """Find the known symptoms in the log of the job that `--job` names."""
    url = config.getoption("job")
    if url is None or config.option.collectonly:
        return
    if config.getoption("symptom") is not None:
        raise pytest.UsageError("--job: reads a log as --symptom does; give one of the two")
    inventory = config.stash.get(INVENTORY, None)
    if inventory is None or SAVED_RUN in config.stash:
        raise pytest.UsageError("--job: needs an --inventory, which says how to reach GitLab")
    token = inventory.gitlab.api_token
    if token is None or not token.text:
        raise pytest.UsageError("--job: needs gitlab.api_token in the inventory, as ${NAME} or file:path")
    from preflight.clients.connect import Routes  # noqa: PLC0415 - only a run with --job contacts GitLab here
    from preflight.clients.gitlab_api import GitLabApi, GitLabError  # noqa: PLC0415
    from preflight.probes.joblog import job_log  # noqa: PLC0415

    routes, ca_file = Routes.of(inventory.connect), inventory.gitlab.ca_file
    api = GitLabApi(
        url=inventory.gitlab.url, token=token.text, routes=routes, ca_file=ca_file, deadline=inventory.deadlines.http
    )
    try:
        log = job_log(url, api)
    except (ValueError, GitLabError, Unmeasured) as error:
        raise pytest.UsageError(f"--job: {clean(str(error))}") from None
    _keep_symptoms(config, log)


def _standard_input(config: pytest.Config) -> str:
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)  # pytest keeps standard input from tests
    try:
        if sys.stdin is None or sys.stdin.closed:
            raise pytest.UsageError("--symptom -: expected a job's log on standard input, found it closed")
        return symptoms.from_stream(sys.stdin.buffer)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--symptom -: {error}") from None
    finally:
        if capture is not None:
            capture.resume_global_capture()
            capture.suspend_global_capture()


def _read_baseline(config: pytest.Config) -> None:
    """Read the report of `--baseline` before this run's replaces it."""
    chosen = config.getoption("baseline")
    if chosen is None:
        return
    try:
        config.stash[EARLIER_RUN] = saved.read_comparable(Path(chosen))
    except saved.SavedError as error:
        raise pytest.UsageError(f"--baseline: {error}") from None

"""What is left of the template when a manager registers, and what refuses a file that was decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from preflight.runner_config.decoder import ConfigFinding, Decoded, Outcome, Steps, nearest_names
from preflight.runner_config.keys import RunnerKeys
from preflight.runner_config.names import go_pattern
from preflight.runner_config.rules import KUBERNETES, Broken, Runner, rule

# ---- the template: what is left of it when a manager registers (commands/register.go) --------------------------------

# Keys of the file's top are the chart's: by key, what sets it in the values.
OF_THE_CHART: Mapping[str, str] = {
    "concurrent": "concurrent",
    "check_interval": "checkInterval",
    "log_level": "logLevel",
    "log_format": "logFormat",
    "listen_address": "metrics.enabled and metrics.port",
    "shutdown_timeout": "shutdown_timeout",
    "sentry_dsn": "sentryDsn",
    "connection_max_age": "connectionMaxAge",
    "session_server": "sessionServer",
    "user": "podSecurityContext.runAsUser",
}
# Tables that registering drops where the executor is kubernetes (askExecutorOptions).
_DROPPED = ("docker", "machine", "ssh", "parallels", "virtualbox", "custom", "referees")


def of_the_template(document: Mapping[str, Any], decoded: Decoded, keys: RunnerKeys) -> Iterator[ConfigFinding]:
    """What the template holds beside the one entry that is taken of it (MergeTo)."""
    entries = decoded.values.get("runners", ())
    refused = any(
        finding.path[:1] == ("runners",) and finding.outcome is Outcome.REFUSED for finding in decoded.findings
    )
    if len(entries) != 1 and not refused:
        message = f"the template holds exactly one [[runners]], and there are {len(entries)}: no manager registers"
        yield ConfigFinding(outcome=Outcome.REFUSED, rule="one-runner", path=("runners",), message=message)
    for name in document:
        key = keys.root.key(name)
        if key is None or key.path == ("runners",):
            continue
        instead = OF_THE_CHART.get(key.path[0])
        message = "of the template [[runners]] alone is taken"
        message += f": set {instead} in the chart's values" if instead else ""
        yield ConfigFinding(outcome=Outcome.IGNORED, rule="not-of-the-template", path=(name,), message=message)


def overruled(values: Mapping[str, Any], keys: RunnerKeys, environment: Mapping[str, str]) -> Iterator[ConfigFinding]:
    """Keys that a variable sets otherwise: what is set before the template is merged stays (mergo.Merge)."""
    for variable, wanted in environment.items():
        path = keys.environment.get(variable)
        if not path or not wanted or path[0] != "runners" or not values.get("runners"):
            continue
        value: Any = values["runners"][0]
        for step in path[1:]:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value in (None, "", 0, [], {}) or _spelt(value) == wanted:
            continue
        message = f"the variable {variable} of the managers is set, and wins when they register"
        yield ConfigFinding(
            outcome=Outcome.NO_EFFECT, rule="overruled", path=("runners", 0, *path[1:]), message=message
        )


def _spelt(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@rule("dropped", Outcome.NO_EFFECT, "commands/register.go askExecutorOptions, MergeTo", role="template")
def _dropped(runner: Runner) -> Iterator[Broken]:
    """Registering drops a token, and the tables of other executors."""
    if runner.values.get("token"):
        yield runner.at("token"), "registering drops a token of the template: it belongs to runnerToken, or to a Secret"
    for name in _DROPPED:
        if name in runner.values:
            yield runner.at(name), "registering with the executor kubernetes drops this table"


# ---- loading (common/config.go LoadConfig, Validate) ----------------------------------------------------------------

_LABEL_KEY = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{2,64}")
_LABEL_VALUE = re.compile(r"[a-zA-Z0-9._-]{1,256}")
_MOST_LABELS = 32
_CRON_FIELDS = 5


def labels_of_all(values: Mapping[str, Any]) -> Iterator[ConfigFinding]:
    """Labels of the runner's own, in the file's top (since 18.5)."""
    for where, message in _wrong_labels(values.get("labels", {}), ("labels",)):
        yield ConfigFinding(outcome=Outcome.REFUSED, rule="labels", path=where, message=message)


def _wrong_labels(labels: Mapping[str, str], path: Steps) -> Iterator[tuple[Steps, str]]:
    for name, value in labels.items():
        if not _LABEL_KEY.fullmatch(name):
            yield (*path, name), "a label's name is 3 to 65 letters, digits, dots, hyphens and underscores"
        elif not _LABEL_VALUE.fullmatch(value):
            yield (*path, name), "a label's value is 1 to 256 letters, digits, dots, hyphens and underscores"


@rule("labels", Outcome.REFUSED, "common/labels.go validatePatterns, validateCount; since 18.5")
def _runner_labels(runner: Runner) -> Iterator[Broken]:
    """The runner refuses labels of other names and values than GitLab takes, and more than 32."""
    own = runner.values.get("labels", {})
    yield from _wrong_labels(own, runner.at("labels"))
    if len(own) > _MOST_LABELS:
        yield runner.at("labels"), f"there are {len(own)} labels, and the runner takes {_MOST_LABELS}"


@rule("periods", Outcome.REFUSED, "common/config/runner/monitoring Compile, common/config.go CompilePeriods")
def _periods(runner: Runner) -> Iterator[Broken]:
    """Periods are cron expressions, and a pattern of projects is a regular expression."""
    for number, entry in enumerate(runner.values.get("monitoring", {}).get("job_queuing_durations", ())):
        place = ("monitoring", "job_queuing_durations", number)
        if not go_pattern(entry.get("jobs_running_for_project", "")):
            yield runner.at(*place, "jobs_running_for_project"), "it is no regular expression of Go"
        for period in entry.get("periods", ()):
            if not _cron(period):
                yield runner.at(*place, "periods"), "a period is a cron expression of five fields or more"
    for number, entry in enumerate(runner.values.get("machine", {}).get("autoscaling", ())):
        if not all(map(_cron, entry.get("Periods", ()))):
            yield (
                runner.at("machine", "autoscaling", number, "Periods"),
                "a period is a cron expression of five fields or more",
            )


def _cron(period: str) -> bool:
    return period.startswith("@") or len(period.split()) >= _CRON_FIELDS


@rule("feature-flag", Outcome.IGNORED, "helpers/featureflags")
def _feature_flags(runner: Runner) -> Iterator[Broken]:
    """Nothing reads a feature flag that the version does not have."""
    keys = runner.keys
    for name in runner.values.get("feature_flags", {}):
        if name in keys.flags:
            continue
        path = runner.at("feature_flags", name)
        if span := keys.other_versions_of_flag(name):
            yield path, f"runner {keys.version} has no such feature flag: it is there {span}", Outcome.OTHER_VERSION
        elif near := nearest_names(name, keys.flags):
            yield path, f"there is no such feature flag; did you mean {near[0]}?"
        elif keys.known:
            yield path, "there is no such feature flag, and nothing reads it"
        else:
            yield path, f"not known here: the tables end with {keys.version}", Outcome.UNKNOWN


@rule("environment", Outcome.NO_EFFECT, "common/config.go GetVariables, ParseVariable")
def _environment(runner: Runner) -> Iterator[Broken]:
    """An entry of environment without = is passed over."""
    for number, entry in enumerate(runner.values.get("environment", ())):
        if "=" not in entry:
            yield runner.at("environment", number), "it is passed over: an entry reads NAME=value"


@rule("below-a-header", Outcome.NO_EFFECT, "a key below the header of free names is one of them")
def _below_a_header(runner: Runner) -> Iterator[Broken]:
    """A setting below the header of labels and the like is taken for one of their names."""
    table = runner.keys.find(KUBERNETES)
    for name, key in table.below.items() if table else ():
        if key.kind.shape != "map":
            continue
        for free in runner.get(name) or {}:
            home = table.below.get(free) if table and "_" in free else None  # a bare word may well be a label
            if home is not None:
                message = f"it stands below [runners.kubernetes.{name}] and is taken for one of its names: "
                yield (
                    runner.here(name, free),
                    f"{message}move it up to [runners.kubernetes], above the first header [runners.kubernetes.NAME]",
                )

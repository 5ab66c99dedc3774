"""The runner's configuration, read as the runner reads it.

`runner_keys` says what a version reads, `parse` reads a text as TOML, `judge` says what the runner makes of the
document and what comes of it for its jobs (`decode` the first of these alone), and `differences` how two documents
differ in meaning.
"""

from preflight.runner_config.comparison import ConfigDifference, differences, equal, meaning
from preflight.runner_config.decoder import ConfigFinding, Decoded, Outcome, decode, spoken
from preflight.runner_config.durations import Duration
from preflight.runner_config.judging import RULES, judge
from preflight.runner_config.keys import Key, RunnerKeys, runner_keys, versions
from preflight.runner_config.names import matches_image
from preflight.runner_config.registering import OF_THE_CHART
from preflight.runner_config.rules import Role, Rule
from preflight.runner_config.rules import Runner as RunnerEntry
from preflight.runner_config.text import NotTomlError, parse

__all__ = [
    "OF_THE_CHART",
    "RULES",
    "ConfigDifference",
    "ConfigFinding",
    "Decoded",
    "Duration",
    "Key",
    "NotTomlError",
    "Outcome",
    "Role",
    "Rule",
    "RunnerEntry",
    "RunnerKeys",
    "decode",
    "differences",
    "equal",
    "judge",
    "matches_image",
    "meaning",
    "parse",
    "runner_keys",
    "spoken",
    "versions",
]

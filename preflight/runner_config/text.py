r"""The text of a configuration as TOML, in the version of the language that the runner's release reads.

Up to 18.8 the runner reads TOML 1.0, from 18.9 on 1.1 (BurntSushi/toml 1.6): inline tables over several lines and with
a comma at their end, ``\e`` and ``\x``, times without seconds.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

import tomli  # TOML 1.1, which the standard library does not read

from preflight.documents import load_toml
from preflight.runner_config.keys import RunnerKeys

_NEWER = "18.9"
_AT = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")
# Python's readers keep to the letter that a table is not defined twice; the runner's merges some that are.
_LAX = re.compile(r"^Cannot (?:declare|mutate|redefine)|^Invalid date or datetime|^it nests deeper")


class NotTomlError(ValueError):
    """The text is no TOML.

    Attributes:
        reason: why.
        line: where, from 1; None at its end.
        certain: whether the runner refuses it as well. It takes some texts in which a table is defined twice.
    """

    def __init__(self, reason: str, line: int | None, *, certain: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.certain = certain


def parse(text: str, keys: RunnerKeys) -> dict[str, Any]:
    """The document in a text.

    Raises:
        NotTomlError: there is none.
    """
    loads = tomli.loads if keys.newer_than(_NEWER) else tomllib.loads
    try:
        return load_toml(text.removeprefix("\N{BYTE ORDER MARK}"), loads=loads)
    except ValueError as error:  # both have a class of their own, which is one; so is what int() says of a long number
        message = str(error).splitlines()[0]
        at = _AT.search(message)
        reason = message[: at.start()] if at else message
        line = int(at["line"]) if at and at["line"] else None
        raise NotTomlError(reason, line, certain=not _LAX.match(reason)) from None

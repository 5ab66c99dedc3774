"""The suite's own words pass through its redaction unchanged: a mask in a command breaks what the command makes."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.conclusions import CAUSES
from preflight.conclusions.single_fact import ROWS
from preflight.evidence import clean
from preflight.guide import paragraph
from preflight.redaction import MASK, redact

PROJECT = Path(__file__).parents[2]
assert CAUSES  # its import declares the rows


@functools.cache
def texts() -> tuple[str, ...]:
    """Every text of the suite's own that a run may print, each once."""
    return tuple(dict.fromkeys(_texts()))


def _texts() -> Iterator[str]:
    """Every remedy of a row and of a check, and every sentence or command that the conclusions and probes hold."""
    for row in ROWS:
        yield from row.remedy
    for file in sorted((PROJECT / "checks").glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if text and "Remedy" in text:
                yield from paragraph(text).remedies.values()
    for folder in ("conclusions", "probes", "clients", "facts", "symptoms"):
        for file in sorted((PROJECT / "preflight" / folder).glob("*.py")):
            for part in ast.walk(ast.parse(file.read_text())):
                if isinstance(part, ast.JoinedStr):
                    yield "".join(str(piece.value) if isinstance(piece, ast.Constant) else "x" for piece in part.values)
                elif isinstance(part, ast.Constant) and isinstance(part.value, str) and "`" in part.value:
                    yield part.value


@pytest.mark.parametrize("kind", ["whole", "within a report"])
def test_no_remedy_and_no_command_of_the_suite_is_redacted(kind: str) -> None:
    changed = [text for text in texts() if clean(text) != text.replace("\r\n", "\n")]
    assert len(texts()) > 1000
    assert not changed, changed
    if kind == "within a report":
        whole = "\n".join(texts())
        assert MASK not in redact(whole)


@pytest.mark.parametrize(
    "command",
    [
        "kubectl create secret generic x --from-literal=runner-token=TOKEN --from-literal=runner-registration-token=",
        "kubectl create secret docker-registry x --docker-username=USER --docker-password=PASSWORD`",
        'kubectl config set-credentials preflight --token="$(kubectl -n gitlab create token x --duration 2h)"',
    ],
)
def test_placeholders_stay(command: str) -> None:
    assert redact(command) == command


@pytest.mark.parametrize(
    "command",
    [
        "--from-literal=runner-token=TOKENOFMINE",
        "--docker-password=PASSWORD1",
        "--docker-password=PASSWORD-of-mine",
        "runner-token=TOKEN.x8sdf",
        "password=USER/secret",
    ],
)
def test_what_only_begins_like_a_placeholder_is_masked(command: str) -> None:
    assert MASK in redact(command)
    assert not re.search(r"OFMINE|of-mine|8sdf|/secret", redact(command))

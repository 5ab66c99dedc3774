"""Lines in a terminal's colours, and the diagnosis of a check as pytest shows it.

pytest's own writer decides about colours (a terminal, ``NO_COLOR``, ``--color``).
"""

from __future__ import annotations

import io
import os
from typing import Any, TextIO

from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter

from preflight.diagnosis import Diagnosis
from preflight.language import t, translated
from preflight.layout import Line, Style, labelled, wrapped

_MARKUP: dict[Style, dict[str, bool]] = {
    Style.PLAIN: {},
    Style.LABEL: {"light": True},
    Style.CAUSE: {"bold": True, "red": True},
    Style.EVIDENCE: {"yellow": True},
    Style.COMMAND: {"cyan": True},
}
LABEL = 10
"""Columns of a label, such as ``evidence``."""

STYLES = {"cause": Style.CAUSE, "evidence": Style.EVIDENCE}
"""How the values of labels are shown."""


def write(writer: TerminalWriter, line: Line) -> None:
    """Write a line in its colours."""
    for piece, style in line:
        writer.write(piece, **_MARKUP[style])
    writer.line("")


class OutlivingStream:
    """A stream whose reader may leave (``| head``): what is written then goes nowhere, and the run to its end.

    pytest itself would end at once with exit status 1, which is read as NO GO, without reports.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write to whoever still reads, and hold nothing back: pytest's own flush, once it is over, would fail."""
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._discard()
        self.flush()
        return len(text)

    def flush(self) -> None:
        """Write what is held back, to whoever still reads."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._discard()
            self._stream.flush()  # what could not be written is still held back

    def _discard(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class DiagnosisRepr(TerminalRepr):
    """A check's diagnosis in the place of pytest's traceback, which shows nothing but the assert of a fault.

    Attributes:
        reprcrash: where pytest's short summary and JUnit take the reason from.
    """

    def __init__(self, diagnosis: Diagnosis, location: tuple[str, int | None, str]) -> None:
        self._diagnosis = diagnosis
        path, line, _ = location
        self.reprcrash = ReprFileLocation(path, (line or 0) + 1, diagnosis.headline)

    def __str__(self) -> str:
        return self._diagnosis.text()

    def toterminal(self, tw: TerminalWriter) -> None:
        """Write it with its labels; on a terminal, wrapped where that ends."""
        # pytest-html and JUnit write into memory, and what they show is as wide as a page.
        whole: Any = isinstance(getattr(tw, "_file", None), io.StringIO)
        for label, value in self._diagnosis.rows():
            shown = value if whole or label == "evidence" else translated(value)
            lines = shown.splitlines() if whole else wrapped(shown, tw.fullwidth - LABEL)
            named = label if whole else t(label)
            for line in labelled(named, lines, STYLES.get(label, Style.PLAIN), indent=0, label_width=LABEL):
                write(tw, line)

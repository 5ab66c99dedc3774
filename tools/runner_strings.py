"""List the error strings of a checkout of GitLab Runner, and which symptom knows each.

``python tools/runner_strings.py CHECKOUT [--ref v18.3.1] [--all]``: a git directory or work tree of the runner's
public sources. Each string is known to a symptom of the catalogue, or has its reason in `runner_strings.yaml` why none
does, or is UNKNOWN; then the exit status is 1. Nothing of the checkout is kept.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from preflight.symptoms import Kind, find

FOLDERS = ("executors/kubernetes", "network", "helpers", "commands/helpers")
"""What a job's log can show words of."""

REASONS = Path(__file__).with_suffix(".yaml")
_CALL = re.compile(
    r"\b(?:Errorf|New|Error|Errorln|Warn|Warnf|Warning|Warningf|Warningln|Fatal|Fatalf|Fatalln|Panicln|NewBuildError)"
    r"\(\s*(?:[\w.]{1,80},\s*)?(?P<text>\"(?:[^\"\\\n]|\\.){1,2000}\"|`[^`]{1,2000}`)"
)
_VERBS = (
    (re.compile(r"%\[?\d*\]?[+#]?q"), '"x"'),
    (re.compile(r"%[.\d]*[df]"), "1"),
    (re.compile(r"%[#+]?[svwTx]"), "x"),
)


@dataclass(frozen=True, slots=True)
class ErrorString:
    """A string that the runner's sources give to an error or a warning.

    Attributes:
        file: where, in the checkout.
        text: as it stands there, without quotes.
    """

    file: str
    text: str

    @property
    def sample(self) -> str:
        """How it may read in a log."""
        sample = self.text
        for verb, value in _VERBS:
            sample = verb.sub(value, sample)
        return sample.replace("%%", "%")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why no symptom has to know some strings.

    Attributes:
        why: the reason, in a sentence.
        files: files whose strings it is about.
        texts: strings that it is about.
    """

    why: str
    files: re.Pattern[str] | None
    texts: re.Pattern[str] | None

    def covers(self, string: ErrorString) -> bool:
        """Whether it is about this string."""
        return (self.files is None or self.files.search(string.file) is not None) and (
            self.texts is None or self.texts.search(string.text) is not None
        )


def reasons() -> tuple[Reason, ...]:
    """The reasons that are written down."""
    return tuple(
        Reason(
            entry["why"],
            re.compile(entry["files"]) if "files" in entry else None,
            re.compile(entry["texts"]) if "texts" in entry else None,
        )
        for entry in yaml.safe_load(REASONS.read_text(encoding="utf-8"))
    )


def strings_of(source: str, file: str) -> Iterator[ErrorString]:
    """The error strings of one file of Go."""
    for call in _CALL.finditer(source):
        quoted = call["text"]
        text = quoted[1:-1] if quoted.startswith("`") else ast.literal_eval(quoted)
        if text.strip():
            yield ErrorString(file, text)


def known_by(string: ErrorString) -> str:
    """The id of the symptom that knows it; "" if none does."""
    found = find(string.sample)
    if not found:
        return ""
    leading = found[0].symptom
    return f"{leading.id} (fallback)" if leading.kind is Kind.FALLBACK else leading.id


def main(arguments: list[str] | None = None) -> int:
    """List them; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="a git directory, or a work tree, of the runner's sources")
    parser.add_argument("--ref", default="HEAD", help="a tag or commit")
    parser.add_argument("--all", action="store_true", help="list known strings and those with a reason as well")
    chosen = parser.parse_args(arguments)
    every = dict.fromkeys(
        string for file, source in _files(chosen.checkout, chosen.ref) for string in strings_of(source, file)
    )
    listed, unknown, covered, told = reasons(), 0, 0, sys.stdout.write
    for string in every:
        symptom = known_by(string)
        reason = "" if symptom else next((reason.why for reason in listed if reason.covers(string)), "")
        unknown += not symptom and not reason
        covered += bool(reason)
        if chosen.all or not (symptom or reason):
            told(f"{string.file}\t{string.text!r}\t{symptom or (f'none: {reason}' if reason else 'UNKNOWN')}\n")
    told(f"{len(every)} strings: {len(every) - covered - unknown} known, {covered} with a reason, {unknown} unknown\n")
    return 1 if unknown else 0


def _files(checkout: Path, ref: str) -> Iterator[tuple[str, str]]:
    """Each file of Go in question, without tests and stand-ins."""
    names = _git(checkout, "ls-tree", "-r", "--name-only", ref, "--", *FOLDERS).splitlines()
    for name in names:
        if name.endswith(".go") and not re.search(r"_test\.go$|mock|testdata|/test/|\.pb\.go$|stub_", name):
            yield name, _git(checkout, "show", f"{ref}:{name}")


def _git(checkout: Path, *arguments: str) -> str:
    ended = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True)
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())

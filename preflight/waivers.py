"""Waivers of the inventory: failures that are known and accepted until a day."""

from __future__ import annotations

import ast
import datetime
import difflib
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from preflight import options, renamed
from preflight.check_items import check_id, target
from preflight.fact import CATALOGUE, TARGETS
from preflight.inputs import INVENTORY, SAVED_RUN
from preflight.inventory import Inventory, Waiver
from preflight.yamlfile import YamlFileError, format_path, read_yaml

_WAIVER = pytest.StashKey[Waiver]()
_EXPIRED = pytest.StashKey[Waiver]()

_FEW = 10  # names that an error lists
_CONTEXT = frozenset({"inventory", "run", "request"})  # arguments of checks that are neither facts nor targets


def apply(config: pytest.Config, checks: Collection[pytest.Item]) -> list[str]:
    """Give the checks whose failure is waived their waiver; returns notes for the operator, a sentence each.

    A waiver accepts a failed assert alone: it hides nothing that could not be judged, and a check that passes although
    it is waived is a failure, so that waivers do not outlive their reason. One that names a check by its old id holds
    for the check that is called otherwise now. With pytest's ``--runxfail``, none holds.

    Args:
        config: of the run.
        checks: all that were collected, before any is deselected.

    Raises:
        pytest.UsageError: a waiver names a check, or a target of it, that does not exist, whatever is selected.
    """
    inventory = config.stash.get(INVENTORY, None)
    if inventory is None or not inventory.waivers:
        return []
    file = Path(config.getoption("inventory"))
    known = _Known(config, checks, inventory)
    notes, problems = [], []
    for place, waiver in enumerate(inventory.waivers):
        name = waiver.check if known.has(waiver.check) else renamed.check(waiver.check)
        problem = known.problem(name, waiver)
        if problem is not None:
            key, words = problem
            problems.append(f"{_where(file, ('waivers', place, key))}: {words}")
            continue
        if name != waiver.check:
            notes.append(f"waiver for {waiver.check}: this check is now called {name}; change it in {file}")
        expired = waiver.until < datetime.datetime.now(tz=datetime.UTC).date()
        if expired:
            notes.append(
                f"waiver for {_title(name, waiver)}: {_end(waiver)}, so a failure counts; remove it from {file}"
            )
        for check in checks:
            if check_id(check) == name and waiver.target in {None, target(check)} and not config.option.runxfail:
                check.stash[_EXPIRED if expired else _WAIVER] = waiver
    if problems and SAVED_RUN not in config.stash:
        raise pytest.UsageError("\n".join(problems))
    return list(dict.fromkeys([*notes, *problems]))


def waiver_of(check: pytest.Item) -> Waiver | None:
    """The waiver that holds for a check's failure."""
    return check.stash.get(_WAIVER, None)


def expired_waiver_of(check: pytest.Item) -> str:
    """That a check's waiver does not hold any more, with its date and reason; "" if there is none."""
    waiver = check.stash.get(_EXPIRED, None)
    return "" if waiver is None else f"its waiver {_end(waiver)}"


def _end(waiver: Waiver) -> str:
    return f"ended on {waiver.until} ({waiver.reason})"


def _title(name: str, waiver: Waiver) -> str:
    return name if waiver.target is None else f"{name}[{waiver.target}]"


def _where(file: Path, path: tuple[str | int, ...]) -> str:
    """Where a key of the inventory stands; without a line where the file is not at hand, as in a replay."""
    try:
        _, positions = read_yaml(file)
    except YamlFileError:
        return f"{file}: {format_path(path)}"
    return f"{file}:{positions.line(path)}: {format_path(path)}"


class _Known:
    """The checks and targets that there are, whatever part of them was collected."""

    def __init__(self, config: pytest.Config, checks: Iterable[pytest.Item], inventory: Inventory) -> None:
        self._folder, self._inventory = options.checks_folder(config), inventory
        self._collected: dict[str, set[str]] = {}
        for check in checks:
            self._collected.setdefault(check_id(check), set()).add(target(check))
        self._all: Mapping[str, Sequence[str] | None] | None = None

    @property
    def _written(self) -> Mapping[str, Sequence[str] | None]:
        """Every check's arguments by its id; read from the files only where what was collected does not tell."""
        if self._all is None:
            self._all = _checks_below(self._folder)
        return self._all

    def has(self, name: str) -> bool:
        return name in self._collected or name in self._written

    def problem(self, name: str, waiver: Waiver) -> tuple[str, str] | None:
        """What is wrong with a waiver, if anything: the key under it, and the words."""
        if not self.has(name):
            hint = _nearest(name.partition("[")[0], {*self._collected, *self._written})
            words = "the id of a check" + (", without its target, which goes under `target`" if "[" in name else "")
            return "check", f"found {waiver.check!r}, expected {words}{hint}"
        if waiver.target is None or waiver.target in self._collected.get(name, ()):
            return None
        targets = self._targets(name)
        if targets is None or waiver.target in targets:
            return None
        expected = (
            f"a target of {name}{_nearest(waiver.target, targets, most=3)}"
            if targets
            else f"none: {name} has no targets"
        )
        return "target", f"found {waiver.target!r}, expected {expected}"

    def _targets(self, name: str) -> set[str] | None:
        """The targets of a check by the inventory; None where only pytest knows them."""
        arguments = self._written.get(name)
        if arguments is None or not set(arguments) <= CATALOGUE.keys() | TARGETS.keys() | _CONTEXT:
            return None
        kinds = {kind for argument in arguments if argument in CATALOGUE for kind in CATALOGUE[argument].targets}
        wanted = [TARGETS[kind](self._inventory) for kind in TARGETS if kind in kinds or kind in arguments]
        return {"-".join(chosen) for chosen in itertools.product(*wanted)} if wanted else set()


def _checks_below(folder: Path) -> dict[str, Sequence[str] | None]:
    """The arguments of every check in a folder's files; None for one with parameters of its own."""
    checks: dict[str, Sequence[str] | None] = {}
    for file in sorted(folder.rglob("test_*.py")):
        with suppress(SyntaxError, ValueError, OSError):  # pytest reports a file that it can't import
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                    parametrized = any("parametrize" in ast.unparse(mark) for mark in node.decorator_list)
                    arguments = [argument.arg for argument in node.args.args if argument.arg != "self"]
                    checks[node.name] = None if parametrized else arguments
    return checks


def _nearest(text: str, known: Collection[str], *, most: int = 1) -> str:
    near = difflib.get_close_matches(text, known, n=most)
    if near:
        return f"; did you mean {' or '.join(map(repr, sorted(near)))}?"
    return f": {', '.join(sorted(known))}" if len(known) <= _FEW else ""

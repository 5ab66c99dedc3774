"""What is expected, where it stands in a file: `tests/lab_*.yaml` of the lab's faults, and other tests' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# Every test worker reads them, and libyaml is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FOLDER = Path(__file__).parent
_VERDICTS = _FOLDER / "lab_verdicts.yaml"
_EXIT_STATUSES = {"GO": 0, "DEGRADED": 1, "NO GO": 1, "INCONCLUSIVE": 6}


def read(name: str) -> Any:
    """What is in a file, by its path in tests/."""
    return yaml.load((_FOLDER / name).read_text(encoding="utf-8"), Loader=_LOADER)


def of_faults() -> dict[str, dict[str, Any]]:
    """The expectation of each fault: its row of lab_faults.yaml, and the exit status that follows from its answer.

    A row that stands in lab_verdicts.yaml too, with its answer and impact, is read together with that.
    """
    verdicts: dict[str, dict[str, Any]] = read(_VERDICTS.name) if _VERDICTS.exists() else {}
    rows = {name: {**row, **verdicts.pop(name, {})} for name, row in read("lab_faults.yaml").items()}
    assert not verdicts, f"lab_verdicts.yaml has rows of faults that lab_faults.yaml has not: {sorted(verdicts)}"
    for name, row in rows.items():
        assert row.get("answer") in _EXIT_STATUSES, f"{name}: `answer:` is one of {', '.join(_EXIT_STATUSES)}"
        assert row.setdefault("exit", _EXIT_STATUSES[row["answer"]]) == _EXIT_STATUSES[row["answer"]], name
    return rows

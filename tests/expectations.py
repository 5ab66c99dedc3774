"""What is expected, where it stands in a file: `tests/lab_*.yaml` of the lab's faults, and other tests' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# Every test worker reads them, and libyaml is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FOLDER = Path(__file__).parent
_EXIT_STATUSES = {"GO": 0, "DEGRADED": 1, "NO GO": 1, "INCONCLUSIVE": 6}


def read(name: str) -> Any:
    """What is in a file, by its path in tests/."""
    return yaml.load((_FOLDER / name).read_text(encoding="utf-8"), Loader=_LOADER)


def of_faults() -> dict[str, dict[str, Any]]:
    """The expectation of each fault: its row of lab_faults.yaml, and the exit status that follows from its answer."""
    rows: dict[str, dict[str, Any]] = read("lab_faults.yaml")
    for name, row in rows.items():
        assert row.get("answer") in _EXIT_STATUSES, f"{name}: `answer:` is one of {', '.join(_EXIT_STATUSES)}"
        row["exit"] = _EXIT_STATUSES[row["answer"]]
    return rows

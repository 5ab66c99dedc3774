"""What is expected, where it stands in a file: `tests/lab_*.yaml` of the lab's faults, and other tests' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# Every test worker reads them, and libyaml is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(name: str) -> Any:
    """What is in a file, by its path in tests/."""
    return yaml.load((Path(__file__).parent / name).read_text(encoding="utf-8"), Loader=_LOADER)

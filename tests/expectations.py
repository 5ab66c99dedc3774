"""What is expected of the lab's faults: the files `tests/lab_*.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# Every test worker reads them, and libyaml is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(name: str) -> dict[str, Any]:
    """The rows of a file, by fault."""
    content: dict[str, Any] = yaml.load((Path(__file__).parent / name).read_text(), Loader=_LOADER)
    return content

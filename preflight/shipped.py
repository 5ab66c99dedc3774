"""What comes with the suite besides its code: the guide's checks and the example inventory.

In a clone they stand beside this package; in an installed wheel they are inside it.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CLONE = _PACKAGE.parent


def path(name: str) -> Path:
    """A file or folder of the clone's top level, such as ``checks`` or ``inventory.yaml``."""
    beside = _CLONE / name
    return beside if (_CLONE / "conftest.py").is_file() and beside.exists() else _PACKAGE / name


CHECKS = path("checks")


def version() -> str:
    """This suite's version, or that it runs from a clone that is not installed."""
    try:
        return metadata.version("gitlab-runner-preflight")
    except metadata.PackageNotFoundError:
        return "not installed"

"""Programs of this machine that tests need beside Python: without one a test is skipped, and says which it is."""

from __future__ import annotations

import os
import shutil

import pytest

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Where servers are, too, for whoever is not root."""


def require(*names: str) -> None:
    """Skip the test that runs unless all of these programs are installed; in CI, that fails it (tests/conftest.py)."""
    missing = [name for name in names if shutil.which(name, path=PATH) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")

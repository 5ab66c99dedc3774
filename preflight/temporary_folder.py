"""A pytest plugin that is loaded before all others (``-p``), and refuses to run without a folder for temporary files.

Pytest itself ends in a traceback there, and exit status 1, which would be read as NO GO.
"""

from __future__ import annotations

import tempfile

import pytest

try:
    tempfile.gettempdir()
except FileNotFoundError as error:
    raise pytest.UsageError(
        f"there is no folder for temporary files ({error.strerror}): set TMPDIR to one that can be written to, such as "
        "a mounted emptyDir; nothing was contacted"
    ) from None

"""Folders for the small files that the lab makes and removes by the thousand: in memory where this machine has that."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile

_MEMORY = "/dev/shm"  # noqa: S108 - a folder in it has a name of its own, and is ours alone
_ROOM = 16 * 1024 * 1024  # bytes


def folder(prefix: str, *, programs: bool = False) -> str:
    """A new folder that only this user may read.

    Args:
        prefix: how its name begins.
        programs: whether scripts in it are to be started.
    """
    return tempfile.mkdtemp(prefix=prefix, dir=_memory(programs=programs))


@functools.cache
def _memory(*, programs: bool) -> str | None:
    """The file system in memory, unless TMPDIR names a place; None if it can't be used.

    On ext4 without a journal a file takes ten times as long to make where many were removed in the last seconds: it was
    a fifth of the time of all tests.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    runs_none = os.statvfs(_MEMORY).f_flag & getattr(os, "ST_NOEXEC", 0)
    return _MEMORY if shutil.disk_usage(_MEMORY).free > _ROOM and not (programs and runs_none) else None

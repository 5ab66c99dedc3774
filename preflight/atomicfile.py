"""Write files that appear whole or not at all, and in their own place."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write(place: Path, pieces: Iterable[str]) -> None:
    """Write a text: beside its place first, so that what stands there stays until the whole of it is written."""
    file = empty_in(place.parent)
    try:
        with file.open("w", encoding="utf-8") as stream:
            stream.writelines(pieces)
        move(file, place)
    finally:
        file.unlink(missing_ok=True)


def write_bytes(place: Path, content: bytes) -> None:
    """Write bytes, as `write` writes a text."""
    file = empty_in(place.parent)
    try:
        file.write_bytes(content)
        move(file, place)
    finally:
        file.unlink(missing_ok=True)


def empty_in(folder: Path) -> Path:
    """A new file of a name that nobody knows, so that nothing is written through what stands in a report's place."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".preflight-")
    os.close(descriptor)
    return Path(name)


def move(file: Path, place: Path) -> None:
    """Put a file that is written to its end in its place; a symbolic link there is replaced, and not followed."""
    if file == Path(os.devnull):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    file.chmod(0o644)
    file.replace(place)

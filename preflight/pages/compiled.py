"""Compiled templates in ``__pycache__``, as Python keeps its modules: compiling them takes longer than rendering."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import sys
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from preflight import atomicfile


class CompiledTemplates(jinja2.BytecodeCache):
    """Written once a template, and read while neither its text, nor Jinja, nor what it was compiled for changes.

    Where Python writes no bytecode either, or the folder can't be written to, templates are compiled each time.
    """

    def __init__(self, templates: Path, environment: jinja2.Environment) -> None:
        """Begin with nothing read.

        Args:
            templates: their folder.
            environment: what they are compiled for; the code depends on these of its settings.
        """
        settings = (environment.autoescape, environment.trim_blocks, environment.lstrip_blocks, environment.undefined)
        self._folder = Path(importlib.util.cache_from_source(str(templates / "template"))).parent
        digest = hashlib.sha256(repr((jinja2.__version__, settings)).encode()).hexdigest()[:12]
        self._suffix = f".{sys.implementation.cache_tag}.{digest}"

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """The template's name, which is a file's."""
        del filename
        return name

    def load_bytecode(self, bucket: Bucket) -> None:
        """Read what was compiled; what can't be read is compiled anew."""
        try:
            bucket.bytecode_from_string(self._file(bucket).read_bytes())
        except Exception:  # noqa: BLE001 - whatever unpickling raises of a file that is broken
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write what was compiled."""
        if sys.dont_write_bytecode:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            content = io.BytesIO()
            bucket.write_bytecode(content)
            atomicfile.write_bytes(self._file(bucket), content.getvalue())

    def _file(self, bucket: Bucket) -> Path:
        return self._folder / f"{bucket.key}{self._suffix}"

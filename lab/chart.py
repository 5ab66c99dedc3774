"""The chart that the lab's repository serves: small, written for the lab, with the keys of the runner's own.

It makes the objects that the lab's cluster shows (`lab.kubernetes.managers`), under the names and labels that the
runner's chart gives them.
"""

from __future__ import annotations

import functools
import gzip
import io
import tarfile
from pathlib import Path

_FOLDER = Path(__file__).parent / "chart"
_ABOUT = "apiVersion: v2\nname: gitlab-runner\nversion: {version}\nappVersion: {app_version}\n"


@functools.cache
def package(version: str, app_version: str) -> bytes:
    """The chart's package; the same bytes each time."""
    files = {"Chart.yaml": _ABOUT.format(version=version, app_version=app_version).encode()}
    for path in sorted(_FOLDER.rglob("*")):
        if path.is_file():
            files[path.relative_to(_FOLDER).as_posix()] = path.read_bytes()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"gitlab-runner/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)

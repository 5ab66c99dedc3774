"""What a registry stores for an image: index, manifests, configuration and layer, each under its digest."""

from __future__ import annotations

import functools
import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.world import canonical, digest

if TYPE_CHECKING:
    from lab.world import Image

_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass(frozen=True)
class Document:
    """A manifest or blob of a registry, with its media type.

    Attributes:
        media_type: of the content.
        content: of a layer, no more than its beginning.
        length: of a layer, as its manifest has it; 0: as long as the content.
    """

    media_type: str
    content: bytes
    length: int = 0

    @property
    def digest(self) -> str:
        """Its digest, which is its address."""
        return digest(self.content)


@dataclass(frozen=True)
class Stored:
    """An image as stored: what its tag points to, and all manifests and blobs by digest."""

    top: Document
    manifests: dict[str, Document]
    blobs: dict[str, Document]
    configs: dict[str, str]  # platform → digest of its configuration, which is the image's id on a node


def stored(repository: str, image: Image) -> Stored:
    """An image's documents; the same image always gives the same digests."""
    return _stored(
        repository, image.kind, image.platforms, image.index, image.created, image.size, image.entrypoint, image.command
    )


@functools.lru_cache(maxsize=256)
def _stored(
    repository: str,
    kind: str,
    platforms: tuple[str, ...],
    index: bool,  # noqa: FBT001 - a key of the cache
    created: str,
    size: int,
    entrypoint: tuple[str, ...],
    command: tuple[str, ...],
) -> Stored:
    manifests: dict[str, Document] = {}
    blobs: dict[str, Document] = {}
    configs: dict[str, str] = {}
    entries: list[dict[str, Any]] = []
    for platform in platforms:
        tree = f"{repository}\n{kind}\n{platform}\n".encode()
        layer = Document(_LAYER, gzip.compress(tree, mtime=0), length=size)
        config = Document(_CONFIG, _config(platform, digest(tree), created, entrypoint, command))
        manifest = Document(
            _MANIFEST,
            canonical(
                {
                    "schemaVersion": 2,
                    "mediaType": _MANIFEST,
                    "config": {"mediaType": _CONFIG, "size": len(config.content), "digest": config.digest},
                    "layers": [{"mediaType": _LAYER, "size": size, "digest": layer.digest}],
                }
            ),
        )
        manifests[manifest.digest] = manifest
        blobs |= {layer.digest: layer, config.digest: config}
        configs[platform] = config.digest
        entries.append(
            {
                "mediaType": _MANIFEST,
                "size": len(manifest.content),
                "digest": manifest.digest,
                "platform": _platform(platform),
            }
        )
        top = manifest
    if index or len(platforms) > 1:
        top = Document(_LIST, canonical({"schemaVersion": 2, "mediaType": _LIST, "manifests": entries}))
        manifests[top.digest] = top
    return Stored(top, manifests, blobs, configs)


def _platform(name: str) -> dict[str, str]:
    system, architecture, *variant = name.split("/")
    return {"architecture": architecture, "os": system, **({"variant": variant[0]} if variant else {})}


def _config(platform: str, diff: str, created: str, entrypoint: tuple[str, ...], command: tuple[str, ...]) -> bytes:
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config: dict[str, Any] = {"Env": [path], "WorkingDir": "/"}
    if entrypoint:
        config["Entrypoint"] = list(entrypoint)
    if command:
        config["Cmd"] = list(command)
    value = {
        **_platform(platform),
        "config": config,
        "created": created,
        "history": [{"created": created, "created_by": "ADD rootfs.tar.gz / # buildkit"}],
        "rootfs": {"type": "layers", "diff_ids": [diff]},
    }
    return json.dumps(value, separators=(",", ":")).encode()

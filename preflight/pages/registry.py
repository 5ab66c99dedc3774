"""The matrix of image and node: what is in the registry, and how long its pull takes where."""

from __future__ import annotations

from collections.abc import Iterable

from preflight.conclusions.observations import Facts, Observation
from preflight.facts.dind import dind_pull
from preflight.facts.registry import manifest, node_pull, pod_pull
from preflight.pages.cells import Cell, duration, of_look, seen
from preflight.pages.matrix import Head, Matrix
from preflight.probes.dind import DindRun
from preflight.probes.node_pulls import Pull
from preflight.probes.pods import ImagePull
from preflight.probes.registry import Manifest

_MEBI = 2**20
_FEW = 10  # below so many MiB a digit more tells something


def matrix(facts: Facts) -> Matrix:
    """Images as rows, in the ways in which they are pulled; the registry's word and the workers as columns."""
    workers = list(facts.inventory.workers)
    rows = [(head, cells) for head, cells in _rows(facts, workers) if any(cell != Cell() for cell in cells)]
    return Matrix(
        caption="What is in the registry, and what its pull takes on each node",
        corner="image",
        rows=tuple(head for head, _ in rows),
        columns=(Head("manifest", "from here"), *(Head(worker, group="pulled on") for worker in workers)),
        cells=tuple(cells for _, cells in rows),
        bands=True,
    )


def _rows(facts: Facts, workers: list[str]) -> Iterable[tuple[Head, tuple[Cell, ...]]]:
    for image in facts.inventory.images:
        pulls = [of_pull(facts.get(pod_pull, worker=one, image=image)) for one in workers]
        yield _head(image, "for a job's pod"), (_of_manifest(facts.get(manifest, image=image)), *pulls)
    pulls = [of_pull(facts.get(node_pull, worker=one)) for one in workers]
    yield _head(facts.inventory.probe.image, "by the node's own runtime, over SSH"), (Cell(), *pulls)
    if facts.inventory.dind != "none":
        pulls = [_inner(facts.get(dind_pull, worker=one)) for one in workers]
        yield _head(facts.inventory.dind.pull, "inside Docker-in-Docker"), (Cell(), *pulls)


def _head(image: str, way: str) -> Head:
    host, _, rest = image.rpartition("/")
    return Head(rest, host, way)


def _of_manifest(observation: Observation | None) -> Cell:
    found = seen(observation, Manifest)
    return of_look(observation, note=_size(found.size) if found is not None and found.size else "")


def _size(count: int) -> str:
    return f"{count / _MEBI:.1f} MiB" if count < _FEW * _MEBI else f"{count // _MEBI} MiB"


def of_pull(observation: Observation | None) -> Cell:
    """A pull, with its time, and whether the node had the image before (then the time tells nothing)."""
    found: ImagePull | Pull | None = seen(observation, ImagePull) or seen(observation, Pull)
    told = [] if found is None else [duration(found.seconds), "had it" if found.fresh is False else ""]
    return of_look(observation, note=", ".join(part for part in told if part))


def _inner(observation: Observation | None) -> Cell:
    found = seen(observation, DindRun)
    return of_look(observation, note=duration(found.evidence.took) if found is not None else "")

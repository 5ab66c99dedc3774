"""The matrix of image and node: what is in the registry, and how long its pull takes on each node."""

from __future__ import annotations

from collections.abc import Iterable

from preflight.conclusions.observations import Facts, Observation
from preflight.facts.dind import dind_pull
from preflight.facts.registry import helper_pull, manifest, node_pull, pod_pull, service_pull
from preflight.pages.cells import NONE, Cell, cell_of, duration, value_of
from preflight.pages.matrix import Head, Matrix
from preflight.pages.texts import Text
from preflight.probes.dind import DindRun
from preflight.probes.node_pulls import Pull
from preflight.probes.pods import ImagePull
from preflight.probes.registry import Manifest

_MEBI = 2**20
_FEW = 10  # below so many MiB one more digit is shown


def matrix(facts: Facts) -> Matrix:
    """Images as rows, once for each way in which they are pulled; manifest and workers as columns."""
    workers = list(facts.inventory.workers)
    rows = [(head, cells) for head, cells in _rows(facts, workers) if any(cell.state.looked_at for cell in cells)]
    return Matrix(
        caption=Text("What is in the registry, and how long its pull takes on each node"),
        corner=Text("image"),
        rows=tuple(head for head, _ in rows),
        columns=(
            Head(Text("manifest"), Text("from here")),
            *(Head(worker, group=Text("pulled on")) for worker in workers),
        ),
        cells=tuple(cells for _, cells in rows),
        bands=True,
    )


def _rows(facts: Facts, workers: list[str]) -> Iterable[tuple[Head, tuple[Cell, ...]]]:
    way = Text("for a job's pod")
    for image in facts.inventory.images:
        pulls = [of_pull(facts.get(pod_pull, worker=worker, image=image)) for worker in workers]
        yield _head(image, way), (_of_manifest(facts.get(manifest, image=image)), *pulls)
    for spec, name in ((helper_pull, Text("helper image")), (service_pull, Text("image of a service"))):
        observations = [facts.get(spec, worker=worker) for worker in workers]
        pulled = next((pull for each in observations if (pull := value_of(each, ImagePull)) is not None), None)
        if pulled is None or pulled.image:  # the values may name no image besides
            head = _head(pulled.image, way) if pulled is not None else Head(name, group=way)
            yield head, (NONE, *map(of_pull, observations))
    pulls = [of_pull(facts.get(node_pull, worker=worker)) for worker in workers]
    yield _head(facts.inventory.probe.image, Text("by the node's own runtime, over SSH")), (NONE, *pulls)
    if facts.inventory.dind != "none":
        pulls = [_inner(facts.get(dind_pull, worker=worker)) for worker in workers]
        yield _head(facts.inventory.dind.pull, Text("inside Docker-in-Docker")), (NONE, *pulls)


def _head(image: str, way: str) -> Head:
    host, _, rest = image.rpartition("/")
    return Head(rest, host, way)


def _of_manifest(observation: Observation | None) -> Cell:
    described = value_of(observation, Manifest)
    return cell_of(observation, note=_size(described.size) if described is not None and described.size else "")


def _size(count: int) -> str:
    return f"{count / _MEBI:.1f} MiB" if count < _FEW * _MEBI else f"{count // _MEBI} MiB"


def of_pull(observation: Observation | None) -> Cell:
    """A pull, with its time, and whether the node had the image before (then the time means nothing)."""
    pull: ImagePull | Pull | None = value_of(observation, ImagePull) or value_of(observation, Pull)
    notes = [] if pull is None else [duration(pull.seconds), Text("cached") if pull.fresh is False else ""]
    return cell_of(observation, note=", ".join(note for note in notes if note))


def _inner(observation: Observation | None) -> Cell:
    pull = value_of(observation, DindRun)
    return cell_of(observation, note=duration(pull.evidence.took) if pull is not None else "")

"""Whether the values allow jobs the images that they use (``allowed_images``, ``allowed_services``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preflight.evidence import Evidence, Fact
from preflight.faults import ValuesFault
from preflight.jobshape import JobShape
from preflight.runner_config import matches_image


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedImages(Fact):
    """The images that jobs use, and those that the values allow.

    Attributes:
        refused: images that jobs use, and that no pattern allows.
    """

    refused: tuple[str, ...] = ()


def judge(shape: JobShape, *, images: Iterable[str], jobs: Iterable[str], services: Iterable[str]) -> AllowedImages:
    """Judge as the runner does before it makes a pod; the values' own image is always allowed.

    Args:
        shape: of a job's pod.
        images: that jobs use, for themselves or as a service.
        jobs: that jobs use for themselves.
        services: that jobs use as a service.
    """
    refused: dict[str, str] = {}
    for image in jobs:
        if not _allowed(image, shape.allowed_images, shape):
            refused[image] = "allowed_images"
    for image in services:
        if not _allowed(image, shape.allowed_services, shape):
            refused[image] = "allowed_services"
    for image in images:
        if not _allowed(image, shape.allowed_images, shape) and not _allowed(image, shape.allowed_services, shape):
            refused.setdefault(image, "allowed_images")
    causes = [f"{image} is not among {key}" for image, key in refused.items()]
    return AllowedImages(
        target="the images of jobs",
        refused=tuple(refused),
        fault=ValuesFault.NOT_ALLOWED if refused else None,
        cause="; ".join(causes),
        evidence=Evidence(
            where="here",
            command="helm get values",
            observed=f"allowed_images: {', '.join(shape.allowed_images) or 'all'}\n"
            f"allowed_services: {', '.join(shape.allowed_services) or 'all'}",
        ),
    )


def _allowed(image: str, patterns: Sequence[str], shape: JobShape) -> bool:
    return not patterns or image == shape.image or matches_image(image, patterns)

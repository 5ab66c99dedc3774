"""The guide's alternatives for more jobs at once, and for larger or smaller ones (guide 7.1, 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from preflight.jobshape import JobShape, Resources

OPTIONS: Mapping[str, tuple[int, int]] = {"5x10": (5, 10), "3x15": (3, 15), "4x12": (4, 12)}
"""Managers and jobs of each, by the name that stands in a test's brackets (guide 7.1)."""

_LARGE = Resources(requests={"cpu": "1", "memory": "1Gi"}, limits={"cpu": "4", "memory": "4Gi"})
_SMALL = Resources(requests={"cpu": "250m", "memory": "256Mi"}, limits={"cpu": "1", "memory": "1Gi"})

SCENARIOS: Mapping[str, Resources] = {"large": _LARGE, "small": _SMALL}
"""Resources of a job's build container and its service in each of the guide's two scenarios (guide 7.2)."""


def resized(shape: JobShape, scenario: str) -> JobShape:
    """The shape of a job's pod with the resources of a scenario; its helper stays as the values say."""
    return replace(shape, build=SCENARIOS[scenario], service=SCENARIOS[scenario])

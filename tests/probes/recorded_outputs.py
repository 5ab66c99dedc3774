"""What the probe script printed under real shells with real tools (outputs/README.md), cut into sections."""

from __future__ import annotations

from pathlib import Path

from preflight.probes import shell_sections
from preflight.probes.shell import Step
from preflight.probes.shell_sections import Section

NONCE = "p0123456789abcdef"
OUTPUTS = Path(__file__).parent / "outputs"
HERE = "node k8s-worker-1"
MACHINES = sorted(file.stem for file in OUTPUTS.glob("[np]o*.txt"))


def recorded(name: str) -> tuple[Section, ...]:
    """The sections of a recorded output."""
    return shell_sections.parse((OUTPUTS / f"{name}.txt").read_text(), NONCE)


def of(name: str, step: Step) -> Section:
    """The section of one step in a recorded output."""
    return shell_sections.find(recorded(name), step, where=HERE)

"""Whether the runner waits for a pod as long as its pulls take (``poll_timeout``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from preflight.evidence import Evidence, Fact
from preflight.faults import ValuesFault
from preflight.probes.pods import ImagePull


@dataclass(frozen=True, slots=True, kw_only=True)
class PollTimeout(Fact):
    """How long a pull took on the slowest node, beside how long the runner waits for a pod.

    Attributes:
        seconds: of the slowest fresh pull; None if no node pulled the image anew.
        allowed: ``poll_timeout``, seconds.
    """

    seconds: float | None = None
    allowed: int


def judge(image: str, pulls: Iterable[ImagePull], *, allowed: int, place: str) -> PollTimeout:
    """Judge ``poll_timeout`` by the fresh pulls of an image; one that was there already took no time that counts."""
    timed = [(pull.seconds, pull.node) for pull in pulls if pull.fresh and pull.seconds is not None]
    seconds, node = max(timed, default=(None, ""))
    late = seconds is not None and seconds >= allowed
    lines = [f"{node}: {taken:.1f} s" for taken, node in timed] or ["no node pulled it anew"]
    return PollTimeout(
        target=image,
        seconds=seconds,
        allowed=allowed,
        fault=ValuesFault.POLL_TIMEOUT if late else None,
        cause=f"the pull on {node} took {seconds:.0f} s, and {place} lets the runner wait {allowed} s" if late else "",
        evidence=Evidence(
            where=f"pod on {node}" if node else "here",
            command="kubectl get events --field-selector reason=Pulled",
            observed="\n".join(lines),
        ),
    )

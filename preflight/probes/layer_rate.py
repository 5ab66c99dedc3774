"""How fast a registry delivers the layers of its images, measured from here by the beginning of one (2.4)."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Unpack

from preflight.clients.http import Arrival, NoReply
from preflight.evidence import Evidence, Fact, NotApplicable
from preflight.faults import RegistryFault
from preflight.probes.registry import (
    Access,
    Conversation,
    Manifest,
    Part,
    Refused,
    beginning_of,
    blob_path,
    parse_reference,
)

PART = 256 * 1024  # bytes of a layer that are requested
_WITHIN = 10.0  # seconds for the request; a slow server needs some until its first byte
_ENOUGH = 5.0  # seconds after the first byte, in which the part may come
_CLEAR = 3.0  # seconds after which a rate is not measured any longer that is far below the limit
_FAR_BELOW = 0.5  # of the limit
_LEAST = 16 * 1024  # bytes after the first piece of a whole body: fewer may come in one go, whatever the rate
_BRIEF = 1.0  # seconds; a body that is there sooner came too soon to be called slow
_STEADY = 8  # pieces from which on the longest pause among them may be that of a lost packet


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRate(Fact):
    """How fast a registry delivers a layer, from here.

    Attributes:
        host: the registry's.
        image: of whose largest layer the beginning was read.
        rate: bits per second; None if it came too fast, or was too small, to tell more than that it is not slow.
        url: of that layer.
        poll_timeout: seconds that the runner waits for a job's pod, pulls included; 0 if that is not known.
    """

    host: str
    image: str = ""
    rate: float | None = None
    url: str = ""
    poll_timeout: int = 0

    @property
    def is_slow(self) -> bool:
        """Whether it is slower than the inventory accepts."""
        return self.fault is RegistryFault.SLOW

    def seconds_for(self, size: int) -> float:
        """How long so many bytes take; 0 if the rate is not known."""
        return size * 8 / self.rate if self.rate else 0.0


class Pace(NamedTuple):
    """Bits per second, or None where that can't be told; and whether that is the most that it can be."""

    rate: float | None
    at_most: bool = False


def measure(manifest: Manifest, *, limit: float, **access: Unpack[Access]) -> LayerRate:
    """Read the beginning of an image's largest layer as a runtime would, for five seconds at most.

    Args:
        manifest: of an image, with the digest of its largest layer.
        limit: bits per second from which on a registry is not slow.
        access: how the registry is reached.

    Raises:
        NotApplicable: the registry does not hand the layer out to this machine; the pulls of the cluster decide.
    """
    reference = parse_reference(manifest.image)
    registry = Conversation(reference.host, **access)
    reading = _Reading(limit)
    part = Part(PART, _WITHIN, reading.is_enough)
    what = f"the rate of {reference.host} was not measured"
    path = blob_path(reference, manifest.layer)
    command = registry.curl(path, "-L", "-r", f"0-{PART - 1}", "-o", "/dev/null", "-w", "%{speed_download}")
    try:
        reply = beginning_of(registry, reference, manifest.layer, part=part)
    except (NoReply, Refused) as problem:
        reason = f"{what}, because a layer of {reference} was not delivered: {problem.cause}"
        raise NotApplicable(reason) from problem
    pace = pace_of(reply.arrivals, took=reply.took, stopped=reading.stopped)
    slow = pace.rate is not None and pace.rate < limit
    at_most = "at most " if pace.at_most else ""
    shown = f"{at_most}{describe_rate(pace.rate)}" if pace.rate is not None else "too few, or too fast, to tell a rate"
    seconds = reply.took - reply.arrivals[0].at if reply.arrivals else reply.took
    return LayerRate(
        target=reference.host,
        host=reference.host,
        image=str(reference),
        rate=pace.rate,
        url=f"{registry.root}{path}",
        fault=RegistryFault.SLOW if slow else None,
        cause=f"{reference.host} delivers {shown}" if slow else "",
        evidence=Evidence(
            where="here",
            command=command,
            observed=f"HTTP {reply.status}: {len(reply.body)} bytes of a layer within {seconds:.1f} s: {shown}",
            took=registry.took,
        ),
    )


class _Reading:
    """Whether enough of a layer has come to tell its rate.

    Attributes:
        stopped: whether that was so before its end.
    """

    def __init__(self, limit: float) -> None:
        self._far_below = _FAR_BELOW * limit
        self.stopped = False

    def is_enough(self, arrivals: Sequence[Arrival]) -> bool:
        seconds = arrivals[-1].at - arrivals[0].at
        clear = seconds >= _CLEAR and len(arrivals) >= _STEADY and _rate(arrivals) < self._far_below
        self.stopped = seconds >= _ENOUGH or clear
        return self.stopped


def pace_of(arrivals: Sequence[Arrival], *, took: float, stopped: bool) -> Pace:
    """The rate at which the pieces of a body came, from the first to the last.

    What is before the first is how long the server, and the way to it, take to answer.

    Args:
        arrivals: of its pieces.
        took: seconds until the end of reading, which may be later than the last piece.
        stopped: whether reading was stopped since enough had come; otherwise the body, or the time for it, had an end.
    """
    if not arrivals:
        return Pace(None)
    first, last = arrivals[0], arrivals[-1]
    if stopped:
        return Pace(_rate(arrivals))
    if took - first.at > _ENOUGH:  # the next piece was waited for
        return Pace(last.received * 8 / (took - first.at), at_most=True)
    if last.received - first.received < _LEAST or last.at - first.at < _BRIEF:
        return Pace(None)
    return Pace(_rate(arrivals))


def _rate(arrivals: Sequence[Arrival]) -> float:
    """Bits per second; of many pieces, the longest pause counts as the others: one packet sent again is no finding."""
    seconds = arrivals[-1].at - arrivals[0].at
    if len(arrivals) >= _STEADY:
        pauses = [later.at - earlier.at for earlier, later in pairwise(arrivals)]
        seconds -= max(pauses) - statistics.median(pauses)
    return (arrivals[-1].received - arrivals[0].received) * 8 / max(seconds, 1e-3)


def with_largest(rate: LayerRate, manifests: Iterable[Manifest], *, poll_timeout: int) -> LayerRate:
    """A rate that is too slow, with what it means for the largest image of that registry.

    Args:
        rate: of the registry.
        manifests: of the images that are known.
        poll_timeout: seconds that the runner waits for a job's pod; 0 if that is not known.
    """
    own = [manifest for manifest in manifests if parse_reference(manifest.image).host == rate.host and manifest.size]
    known = replace(rate, poll_timeout=poll_timeout)
    if not own or not rate.is_slow:
        return known
    largest = max(own, key=lambda manifest: manifest.size)
    name = largest.image.rpartition("/")[2]
    takes = describe_seconds(rate.seconds_for(largest.size))
    return replace(known, cause=f"{rate.cause}: {name} ({describe_size(largest.size)}) takes {takes}")


def describe_rate(rate: float) -> str:
    """Bits per second as a person writes them: ``98 kbit/s``, ``2.4 Mbit/s``."""
    return f"{rate / 1e3:.0f} kbit/s" if rate < 1e6 else f"{rate / 1e6:.1f} Mbit/s"  # noqa: PLR2004 - a million


def describe_size(count: int) -> str:
    """Bytes as a person writes them: ``3.8 MB``, ``185 MB``."""
    return f"{count / 1e6:.1f} MB" if count < 1e7 else f"{count / 1e6:.0f} MB"  # noqa: PLR2004 - one digit is enough


def describe_seconds(seconds: float) -> str:
    """A time as a person writes it, in two units at most: ``42 s``, ``12 min``, ``4 h 12 min``, ``3 days 5 h``."""
    minutes = round(seconds / 60)
    if minutes < 2:  # noqa: PLR2004 - of seconds, there are few enough to be read
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} days {hours} h" if days > 1 else f"{24 + hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"

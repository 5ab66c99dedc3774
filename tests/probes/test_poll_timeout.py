"""The runner's `poll_timeout` beside the pulls that were measured."""

from __future__ import annotations

from preflight.evidence import Evidence
from preflight.faults import ValuesFault
from preflight.probes.pods import ImagePull
from preflight.probes.poll_timeout import judge


def pull(node: str, seconds: float | None, *, fresh: bool | None = True) -> ImagePull:
    evidence = Evidence(where=f"pod on {node}", command="kubectl get events")
    return ImagePull(target="i", image="i", node=node, seconds=seconds, fresh=fresh, evidence=evidence)


def test_the_slowest_fresh_pull_decides_on_poll_timeout() -> None:
    pulls = [pull("a", 30), pull("b", 200), pull("c", 900, fresh=False), pull("d", None)]
    slow = judge("i", pulls, allowed=180, place="poll_timeout")
    assert slow.fault is ValuesFault.POLL_TIMEOUT
    assert "on b took 200 s" in slow.cause
    assert judge("i", pulls, allowed=600, place="poll_timeout").fault is None
    assert judge("i", [], allowed=1, place="poll_timeout").seconds is None

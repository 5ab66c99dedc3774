"""A release's records can't fill the memory: whoever may write a Secret in the namespace may write one of them."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
from typing import Any

import pytest

from preflight.faults import ReleaseFault
from preflight.probes import release

MEBIBYTE = 2**20


def packed(content: bytes) -> str:
    return base64.b64encode(base64.b64encode(gzip.compress(content, mtime=0))).decode()


def body(revision: int, status: str) -> bytes:
    chart = {"metadata": {"name": "gitlab-runner", "version": "0.80.0"}}
    return json.dumps({"name": "r", "version": revision, "info": {"status": status}, "chart": chart}).encode()


def secret(revision: int, status: str, data: str | None = None) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"sh.helm.release.v1.r.v{revision}",
            "labels": {"name": "r", "owner": "helm", "status": status, "version": str(revision)},
        },
        "data": {"release": packed(body(revision, status)) if data is None else data},
    }


def judged(*items: dict[str, Any]) -> release.Release:
    records = tuple(release.read_records(items))
    return release.read_release(release.History(name="r", namespace="n", records=records), now=0.0)


def test_only_what_is_judged_and_what_runs_is_decoded() -> None:
    states = ["superseded"] * 5 + ["deployed"] + ["failed"] * 4
    records = release.read_records([secret(number, state) for number, state in enumerate(states, start=1)])
    assert [record.revision for record in records if record.body] == [6, 10]
    assert [record.status for record in records] == states
    history = release.History(name="r", namespace="n", records=tuple(records))
    assert history.deployed is not None
    assert history.deployed.revision == 6
    assert judged(*[secret(number, state) for number, state in enumerate(states, start=1)]).fault is ReleaseFault.FAILED


def test_without_a_deployed_one_the_last_superseded_is_decoded() -> None:
    states = ["superseded", "superseded", "failed"]
    records = release.read_records([secret(number, state) for number, state in enumerate(states, start=1)])
    assert [record.revision for record in records if record.body] == [2, 3]


def test_a_record_that_unpacks_to_sixty_megabytes_is_a_fact_and_costs_little() -> None:
    bomb = packed(b"[" + b"[]," * (20 * MEBIBYTE) + b"[]]")
    assert len(bomb) < MEBIBYTE
    tracemalloc.start()
    try:
        found = judged(secret(1, "superseded", bomb), secret(2, "superseded", bomb), secret(3, "deployed", bomb))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.fault is ReleaseFault.UNREADABLE
    assert "secret/sh.helm.release.v1.r.v3 can't be read: it unpacks to more than 8 MiB" in found.cause
    assert most < 40 * MEBIBYTE


def test_one_that_is_not_packed_is_bounded_too() -> None:
    plain = base64.b64encode(base64.b64encode(b'{"a":"' + b"x" * (9 * MEBIBYTE) + b'"}')).decode()
    assert "larger than 8 MiB" in judged(secret(1, "deployed", plain)).cause


MALFORMED = {
    "no base64": "%%%",
    "no gzip": base64.b64encode(base64.b64encode(b"\x1f\x8b\x08 no")).decode(),
    "no JSON": packed(b"{"),
    "no UTF-8": packed(b'{"a": "\xff"}'),
    "no object": packed(b"[]"),
    "cut": packed(body(2, "deployed"))[:-8],
    "deep": packed(b"[" * 5_000 + b"]" * 5_000),
    "nothing": "",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_every_malformed_record_is_a_fact(kind: str) -> None:
    newest = judged(secret(1, "superseded"), secret(2, "deployed", MALFORMED[kind]))
    assert newest.fault is ReleaseFault.UNREADABLE
    assert "sh.helm.release.v1.r.v2 can't be read: it is" in newest.cause
    running = judged(secret(1, "deployed", MALFORMED[kind]), secret(2, "failed"))
    assert running.fault is ReleaseFault.FAILED
    assert "sh.helm.release.v1.r.v1 can't be read: it is" in running.cause


@pytest.mark.parametrize("part", ["info", "chart", "config", "version", "manifest"])
@pytest.mark.parametrize("value", [None, [], "x", 1, {"status": []}, {"metadata": []}, {"last_deployed": {}}, 1e999])
def test_parts_of_another_kind_are_read_as_absent(part: str, value: object) -> None:
    document = {**json.loads(body(1, "deployed")), part: value}
    found = judged(secret(1, "deployed", packed(json.dumps(document).encode())))
    assert found.revision == 1
    assert isinstance(found.chart, str)

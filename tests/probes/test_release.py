"""Helm's records: decoded as Helm packs them, and judged."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
from typing import Any

import pytest

from preflight.faults import ReleaseFault
from preflight.probes import release
from preflight.redaction import redact

NOW = datetime.datetime(2025, 9, 20, 12, 0, tzinfo=datetime.UTC).timestamp()


def body(revision: int, status: str, *, minutes: float = 60, description: str = "") -> dict[str, Any]:
    began = datetime.datetime.fromtimestamp(NOW - minutes * 60, tz=datetime.UTC)
    return {
        "name": "gitlab-runner",
        "version": revision,
        "info": {"status": status, "last_deployed": began.isoformat(), "description": description},
        "chart": {"metadata": {"name": "gitlab-runner", "version": "0.80.0", "appVersion": "18.3.0"}},
        "config": {"runnerToken": "made-up-token-of-releases", "replicas": 3},
    }


def packed(document: object, *, gzipped: bool = True, wrapped: bool = True) -> str:
    data = json.dumps(document).encode()
    data = base64.b64encode(gzip.compress(data, mtime=0) if gzipped else data)
    return (base64.b64encode(data) if wrapped else data).decode()


def secret(revision: int, status: str, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"sh.helm.release.v1.gitlab-runner.v{revision}",
            "labels": {"name": "gitlab-runner", "owner": "helm", "status": status, "version": str(revision)},
        },
        "data": {"release": packed(body(revision, status, **more))},
    }


def judged(*items: dict[str, Any]) -> release.Release:
    records = tuple(release.read_records(items))
    found = release.History(name="gitlab-runner", namespace="gitlab", records=records)
    return release.read_release(found, now=NOW)


@pytest.mark.parametrize("gzipped", [True, False], ids=["gzip", "plain"])
def test_a_record_is_decoded_as_helm_packs_it(*, gzipped: bool) -> None:
    assert release.decode(packed({"version": 1}, gzipped=gzipped)) == {"version": 1}


def test_a_configmap_has_one_wrapping_less() -> None:
    assert release.decode(packed({"version": 1}, wrapped=False), wrapped=False) == {"version": 1}


@pytest.mark.parametrize(
    "text",
    ["", "%%%", base64.b64encode(b"%%%").decode(), packed([1]), packed("x"), packed({"a": 1})[:-8], "AAAA"],
)
def test_what_helm_did_not_write_is_no_record(text: str) -> None:
    with pytest.raises(release.NotARecordError):
        release.decode(text)


def test_a_record_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "_LARGEST", 1000)
    with pytest.raises(release.NotARecordError, match="larger"):
        release.decode(packed({"a": "x" * 5000}))


def test_the_newest_revision_counts_by_number() -> None:
    found = judged(secret(10, "deployed"), secret(9, "superseded"), secret(2, "superseded"))
    assert (found.revision, found.status, found.fault) == (10, "deployed", None)
    assert (found.chart, found.app_version) == ("0.80.0", "18.3.0")


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "pending-rollback", "uninstalling"])
def test_what_is_pending_is_told_with_its_age(status: str) -> None:
    found = judged(secret(1, "deployed"), secret(2, status, minutes=14))
    assert found.fault is ReleaseFault.PENDING
    assert f"revision 2 of gitlab-runner is {status} since 14 min" in found.cause
    assert "revision 1 is the one deployed" in found.cause


def test_what_failed_is_told_in_helms_words() -> None:
    found = judged(secret(1, "failed", description="timed out waiting for the condition"))
    assert found.fault is ReleaseFault.FAILED
    assert found.cause.endswith("timed out waiting for the condition")


def test_a_record_that_cannot_be_read_is_a_finding_of_its_own() -> None:
    item = secret(3, "deployed")
    item["data"]["release"] = "bm90aGluZw=="
    found = judged(secret(2, "superseded"), item)
    assert found.fault is ReleaseFault.UNREADABLE
    assert "secret/sh.helm.release.v1.gitlab-runner.v3" in found.cause


def test_a_release_that_was_uninstalled_with_its_history_kept_is_not_there() -> None:
    records = tuple(release.read_records([secret(1, "superseded"), secret(2, "uninstalled")]))
    assert release.History(name="r", namespace="n", records=records).newest is None


def test_the_token_in_a_record_is_remembered_and_in_no_fact() -> None:
    found = judged(secret(1, "deployed"))
    assert "made-up-token-of-releases" not in redact("made-up-token-of-releases")
    assert "made-up-token-of-releases" not in f"{found} {found.evidence.observed}"


def test_another_chart_than_expected_is_named() -> None:
    found = release.with_chart(judged(secret(1, "deployed")), "0.81.0")
    assert found.fault is ReleaseFault.WRONG_CHART
    assert "0.80.0" in found.cause
    assert "0.81.0" in found.cause


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (100, "100 s"), (150, "2 min"), (7200, "2 h"), (6 * 86400, "6 days")]
)
def test_a_time_span_is_told_in_its_largest_unit(seconds: float, words: str) -> None:
    assert release.describe_duration(seconds) == words

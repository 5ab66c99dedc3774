"""The Code Quality report, as GitLab reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from preflight.outputs import code_quality
from tests.outputs.conftest import Run

SEVERITIES = {"info", "minor", "major", "critical", "blocker"}


def test_each_issue_has_what_gitlab_reads(run: Run) -> None:
    issues = json.loads((run.folder / "quality.json").read_text())
    assert issues[0]["check_name"] == "gitlab-port-closed"
    assert issues[0]["severity"] == "blocker"
    for issue in issues:
        assert set(issue) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in SEVERITIES
        assert issue["description"]
        assert not issue["location"]["path"].startswith(("/", "./", ".."))
        assert issue["location"]["lines"]["begin"] >= 1
    fingerprints = [issue["fingerprint"] for issue in issues]
    assert len(set(fingerprints)) == len(fingerprints)
    assert [issue["severity"] for issue in issues].count("info") == [
        check["verdict"] for check in run.document["checks"]
    ].count("advice")


def test_a_fingerprint_is_of_what_fails_and_not_of_what_was_measured(document: dict[str, Any]) -> None:
    before = code_quality.issues(document, project=Path())
    for cause in document["conclusions"]:
        cause["cause"] += ", 3 s later"
    after = code_quality.issues(document, project=Path())
    assert [issue["fingerprint"] for issue in before] == [issue["fingerprint"] for issue in after]
    assert before[0]["description"] != after[0]["description"]


def test_the_file_is_the_one_to_change(document: dict[str, Any]) -> None:
    document["inventory"] = "/builds/ops/env/prod.yaml"
    document["environment"]["runner"]["values"] = [{"file": "/builds/ops/env/base.yaml"}, {"file": "/else/where.yaml"}]
    document["conclusions"] = document["conclusions"][:1]
    (check,) = document["checks"][:1]
    document["unexplained"] = [check["id"] + (f"[{check['target']}]" if check["target"] else "")]
    document["checks"] = [{**check, "section": "3.3.1", "verdict": "fail", "impact": {"harm": "slows"}}]
    issues = code_quality.issues(document, project=Path("/builds/ops"))
    assert [issue["location"]["path"] for issue in issues] == ["env/prod.yaml", "where.yaml"]
    assert issues[1]["severity"] == "critical"

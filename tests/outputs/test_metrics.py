"""Metrics, and that the alerts and the dashboard in deploy/ ask for those that there are."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from preflight.outputs import metrics
from tests.outputs.conftest import Run, Serve
from tests.probes.apiserver import Reply

DEPLOY = Path(__file__).parents[2] / "deploy"


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    families = text_string_to_metric_families(text)
    listed = {family.name: [(sample.labels, sample.value) for sample in family.samples] for family in families}
    return {name.removeprefix(metrics.PREFIX): values for name, values in listed.items()}


def test_a_run_is_told_in_metrics(run: Run) -> None:
    written = samples((run.folder / "preflight.prom").read_text())
    assert {labels["release"] for values in written.values() for labels, _ in values} == {"gitlab/gitlab-runner"}
    assert {labels["answer"] for labels, value in written["verdict"] if value} == {"NO GO"}
    assert sum(value for _, value in written["verdict"]) == 1
    assert [value for _, value in written["exit_status"]] == [1.0]
    assert {(labels["cause"], labels["harm"]) for labels, _ in written["root_cause"]} == {
        ("gitlab-port-closed", "stops")
    }
    counts = {(labels["section"], labels["verdict"]): value for labels, value in written["checks"]}
    assert counts["2.1", "fail"] == 1.0
    assert counts["2.4", "fail"] == 0.0, "a zero ends an alert"
    assert sum(counts.values()) == len(run.document["checks"])
    assert written["partial"][0][1] == 1.0
    assert written["checks_not_looked_at"][0][1] > 30
    assert written["jobs_that_fit"][0][1] == sum(value for _, value in written["node_jobs_that_fit"])
    certificates = {labels["certificate"]: value for labels, value in written["certificate_days_left"]}
    assert any(name.startswith("https://192.168.1.100") for name in certificates)
    assert 0 < written["duration_seconds"][0][1] < 180
    assert {labels["fact"] for labels, _ in written["measurement_seconds"]} >= {"gitlab_connection", "cluster_nodes"}


def test_a_part_in_which_nothing_fails_is_no_go_and_no_failure(document: dict[str, Any]) -> None:
    document["decision"] |= {"answer": "GO", "partial": True}
    for partial, word in ((True, "PARTIAL"), (False, "GO")):
        document["decision"]["partial"] = partial
        collected = {
            sample.labels["answer"]: sample.value
            for family in metrics.registry(document).collect()
            for sample in family.samples
            if sample.name == f"{metrics.PREFIX}verdict"
        }
        assert [name for name, value in collected.items() if value] == [word]


def test_they_are_pushed_whole_with_the_account_of_the_url(run: Run) -> None:
    (pushed,) = [asked for asked in run.asked if asked.path.startswith("/metrics")]
    release = base64.urlsafe_b64encode(b"gitlab/gitlab-runner").decode()
    assert (pushed.method, pushed.path) == ("PUT", f"/metrics/job/{metrics.JOB}/release@base64/{release}")
    assert pushed.headers["authorization"] == f"Basic {base64.b64encode(b'ops:made-up-word').decode()}"
    assert set(samples(pushed.body)) == set(samples((run.folder / "preflight.prom").read_text()))
    assert "--pushgateway" not in run.ended.stdout, "nothing is said of what went well"


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply("text format parsing error", 400), "it answered 400 Bad Request: text format parsing error"),
        (Reply("", 307, headers={"Location": "http://127.0.0.1:1/"}), "it answered 307"),
    ],
)
def test_a_push_that_is_not_taken_says_why(document: dict[str, Any], serve: Serve, reply: Reply, problem: str) -> None:
    server = serve(lambda _: reply)
    with pytest.raises(OSError, match=problem):
        metrics.push(document, server.url, deadline=3)
    assert len(server.asked) == 1, "no redirect is followed"


def test_a_metrics_file_appears_whole_or_not_at_all(document: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "preflight.prom"
    file.write_text("earlier")
    with pytest.raises(KeyError):
        metrics.write({**document, "decision": {}}, file)
    assert file.read_text() == "earlier"
    metrics.write(document, file)
    assert [path.name for path in tmp_path.iterdir()] == ["preflight.prom"]


# ---- what asks for them ---------------------------------------------------------------------------------------------


def alerts() -> dict[str, str]:
    groups = yaml.safe_load((DEPLOY / "alerts.rules.yaml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def panels() -> dict[str, str]:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    asked = {
        panel["title"]: " and ".join(target["expr"] for target in panel["targets"]) for panel in dashboard["panels"]
    }
    return asked | {variable["name"]: variable["query"]["query"] for variable in dashboard["templating"]["list"][1:]}


QUERIES = {**alerts(), **panels()}


@pytest.mark.parametrize("name", QUERIES)
def test_alerts_and_panels_ask_for_metrics_and_labels_that_there_are(name: str, run: Run) -> None:
    written = samples((run.folder / "preflight.prom").read_text())
    query = QUERIES[name]
    asked = re.findall(rf"{metrics.PREFIX}(\w+)(?:\{{(.*?)\}})?", query)
    assert asked, query
    for metric, selector in asked:
        assert metric in written, f"{metric} is no metric of ours"
        for label, quoted in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            values = {labels[label] for labels, _ in written[metric]}
            assert quoted.startswith("$") or quoted in values, f"{metric} has no {label} {quoted!r}"
    for label in re.findall(r"by \((\w+)\)", query):
        assert label in written[asked[0][0]][0][0]
    assert query.count("(") == query.count(")")


def test_the_operators_rules_are_the_plain_ones() -> None:
    rule = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == yaml.safe_load((DEPLOY / "alerts.rules.yaml").read_text())
    for group in rule["spec"]["groups"]:
        for alert in group["rules"]:
            assert {"alert", "expr", "labels", "annotations"} <= set(alert)
            assert alert["labels"]["severity"] in {"warning", "critical"}


def test_the_dashboard_is_one() -> None:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])

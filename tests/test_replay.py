"""A run's facts, saved and judged again; and where the conclusions are shown."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.test_lab_faults import run


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of a run with two faults and a vantage that can't be used."""
    folder = tmp_path_factory.mktemp("broken")
    faults = ("dns-one-silent", "registry-auth", "ssh-host-key")
    ended, _ = run(folder, "--lab", *(word for name in faults for word in ("--lab-fault", name)))
    (folder / "terminal.txt").write_text(ended.stdout)
    return folder


def test_a_replay_comes_to_the_same_verdicts_and_conclusions(broken: Path, tmp_path: Path) -> None:
    ended, again = run(tmp_path, "--replay", str(broken / "preflight.json"))
    first = json.loads((broken / "preflight.json").read_text())
    assert again["checks"] == first["checks"], ended.stdout
    assert again["conclusions"] == first["conclusions"]
    assert len(again["conclusions"]) >= 3
    assert ended.returncode == first["exit"] == again["exit"] == 1
    by_name = {json.dumps([fact["name"], fact["targets"]]): fact for fact in first["facts"]}
    for fact in again["facts"]:
        assert fact == by_name[json.dumps([fact["name"], fact["targets"]])]


def test_a_replay_of_some_checks_leaves_the_rest_alone(broken: Path, tmp_path: Path) -> None:
    _, again = run(tmp_path, "--replay", str(broken / "preflight.json"), "-m", "dns")
    assert {entry["section"].rpartition(".")[0] for entry in again["checks"]} == {"2.4"}
    causes = {entry["name"] for entry in again["conclusions"] if entry["root_cause"]}
    assert causes == {"resolver-unreachable", "ssh-host-key"}, (
        "one node could not be queried, so it is no more than likely"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json at all", "found no JSON"),
        ("[]", "expected a preflight.json"),
        (
            '{"schema": 1, "checks": []}',
            "found schema 1, expected 4 or 5: run the checks again with this version, or replay",
        ),
        (
            '{"schema": 4, "checks": [], "inventory": "i", "effect": "read", "stage": "auto", "require_idle": false, '
            '"environment": {"gitlab": 3}}',
            "environment.",
        ),
    ],
)
def test_a_file_that_can_not_be_judged_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(text)
    ended, report = run(tmp_path / "reports", "--replay", str(file))
    assert ended.returncode == 4
    assert not report
    assert message in ended.stderr, ended.stderr
    assert str(file) in ended.stderr


def test_a_fact_that_can_not_be_read_is_named(broken: Path, tmp_path: Path) -> None:
    document = json.loads((broken / "preflight.json").read_text())
    fact = next(entry for entry in document["facts"] if entry["name"] == "here_lookups" and entry.get("fault"))
    fact["value"]["fault_kind"] = "NoSuchFault"
    file = tmp_path / "preflight.json"
    file.write_text(json.dumps(document))
    ended, _ = run(tmp_path / "reports", "--replay", str(file))
    assert ended.returncode == 4
    assert "here_lookups" in ended.stdout + ended.stderr
    assert "NoSuchFault" in ended.stdout + ended.stderr


def test_a_forged_report_is_no_go(broken: Path, tmp_path: Path) -> None:
    """What counts is what was measured, and not what a report says of itself."""
    document = json.loads((broken / "preflight.json").read_text())
    for entry in document["checks"]:
        entry.update(verdict="pass", fault="")
    document |= {"facts": [], "conclusions": [], "exit": 0, "verdict": "GO"}
    file = tmp_path / "preflight.json"
    file.write_text(json.dumps(document))
    ended, again = run(tmp_path / "reports", "--replay", str(file))
    assert ended.returncode == again["exit"] == 6
    assert not again["verdict"].startswith("GO")


def test_nothing_is_replayed_beside_an_inventory(broken: Path, tmp_path: Path) -> None:
    ended, _ = run(tmp_path, "--lab", "--replay", str(broken / "preflight.json"))
    assert ended.returncode == 4
    assert "leave --inventory" in ended.stderr


def test_conclusions_are_in_terminal_and_junit(broken: Path) -> None:
    report = json.loads((broken / "preflight.json").read_text())
    causes = [cause for cause in report["conclusions"] if cause["root_cause"]]
    text = (broken / "terminal.txt").read_text()
    suite = ElementTree.parse(broken / "preflight.xml").getroot().find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    output = suite.findtext("system-out") or ""
    properties = {entry.get("name") for entry in suite.findall("properties/property")}
    assert properties >= {cause["name"] for cause in causes}
    for cause in causes:
        for place in (text, output):
            assert f"{cause['name']} (" in place
            assert cause["remedy"][0].split("`")[0].strip() in place
    counted = int(suite.get("tests", "0"))
    assert counted == len(cases) == len(report["checks"]), "conclusions are neither a pass nor a failure"
    named = {
        f"{check['section']} {check['title']}" + f" [{check['target']}]" * bool(check["target"])
        for check in report["checks"]
    }
    assert {case.get("name") for case in cases} == named, "titles are the guide's sentences"
    assert len(named) == len(cases)
    for outcome, attribute in (("failure", "failures"), ("skipped", "skipped"), ("error", "errors")):
        assert len([case for case in cases if case.find(outcome) is not None]) == int(suite.get(attribute, "0"))
    assert f"{len(causes)} root causes" in text.splitlines()[-1] or f"{len(causes)} root causes" in report["verdict"]

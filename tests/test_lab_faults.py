"""The whole suite against the lab: healthy, and broken in each way; the expectations stand in lab_faults.yaml."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import preflight.facts
from lab import faults
from preflight import saved
from preflight.clients.connect import Routes
from preflight.conclusions.observations import facts_of
from preflight.fact import Effect
from preflight.impact import Harm, Impact
from preflight.replay import Replay
from preflight.run import Run
from tests import expectations, processes, programs, screens
from tests.conclusions.hidden import unfounded
from tests.effects import further_facts, sufficient, sufficient_for_both
from tests.translated import untranslated

PROJECT = Path(__file__).parents[1]
assert preflight.facts  # its import makes the kinds of facts known
PATIENT = ("--lab-patience", "3")
"""Many labs run side by side here, on few cores."""
EXPECTED = expectations.of_faults()
EFFECTS = sufficient(EXPECTED)
PAIRS: dict[str, dict[str, Any]] = expectations.read("lab_pairs.yaml")


def run(
    folder: Path, *arguments: str, check: str = "checks/"
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the suite as an operator does; returns what it printed and its JSON report."""
    env = processes.environment(COLUMNS=str(screens.WIDTH))
    ended = processes.run_checks("--report-dir", folder, *PATIENT, *arguments, target=check, env=env)
    report = folder / "preflight.json"
    return ended, json.loads(report.read_text()) if report.exists() else {}


def named(report: dict[str, Any], verdict: str) -> set[str]:
    """The checks of that verdict, with their targets."""
    return {
        f"{one['id']}[{one['target']}]" if one["target"] else one["id"]
        for one in report["checks"]
        if one["verdict"] == verdict
    }


def matching(patterns: list[str], names: set[str]) -> set[str]:
    """The names that a pattern stands for; brackets are letters here."""
    format_path = [pattern.replace("[", "[[]", 1) for pattern in patterns]
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in format_path)}


def test_every_fault_is_expected_to_do_something() -> None:
    rows = [line.split(":")[0] for line in (PROJECT / "tests" / "lab_faults.yaml").read_text().splitlines()]
    names = [row for row in rows if row and not row.startswith(("#", " "))]
    assert len(names) == len(set(names)), "each fault has one row"
    assert set(EXPECTED) == set(faults.known())


def test_faults_of_pods_and_one_of_each_kind_besides_are_proven_by_whole_runs() -> None:
    whole = {name for name, effect in EFFECTS.items() if effect is None}
    assert {"dind-slow", "psa-baseline", "gitlab-refused", "values-toml-broken"} <= whole
    assert EFFECTS["gitlab-timeout"] is Effect.READ
    assert Effect.STATIC in EFFECTS.values()
    assert 40 < len(whole) < len(EFFECTS) / 2
    for name in EXPECTED.keys() - whole:
        further = further_facts(EXPECTED[name])
        assert any(further <= further_facts(EXPECTED[other]) for other in whole), name


@pytest.mark.parametrize("effect", ["static", "read", "probe"])
def test_a_healthy_lab_passes_at_each_effect_and_a_part_is_not_go(effect: str, tmp_path: Path) -> None:
    ended, report = run(tmp_path, "--lab", "--effect", effect)
    assert ended.returncode == 0, ended.stdout
    assert re.match(rf"PARTIAL: \d+ of \d+ checks judged \(effect {effect}\): ", report["verdict"]), report["verdict"]
    assert report["decision"]["not_looked_at"]
    assert {one["verdict"] for one in report["checks"]} <= {"pass", "advice", "not applicable"}


_NO_TLS = "gitlab.url is http://192.168.1.50/: without TLS there is no certificate"
NOT_OF_THE_GUIDE = {
    "test_gitlab_certificate_is_valid_for_days": _NO_TLS,
    "test_gitlab_certificate_has_been_renewed": _NO_TLS,
    "test_kubeconfig_certificate_is_valid_for_weeks": "the kubeconfig logs in with no certificate",
    "test_quiet_streams_stay_open_on_each_worker": "no limits.quiet_stream in the inventory: no stream was held open "
    "to see whether it is cut",
    "test_job_pods_on_each_worker_reach_what_jobs_need": "the inventory names no destination",
}
"""Checks that the guide's own environment has nothing for, and why."""


ADVICE = {"test_machines_lie_in_the_vpc"}  # the guide's own GitLab lies outside of the guide's own VPC


def test_a_healthy_lab_is_go(tmp_path: Path) -> None:
    ended, report = run(tmp_path / "reports", "--lab", "--backup", str(tmp_path / "backup"))
    assert ended.returncode == 0, ended.stdout
    assert report["verdict"].startswith("GO: ")
    passed = named(report, "pass")
    assert len(passed) >= 60
    assert len({name.split("[")[0] for name in passed}) >= 30
    assert named(report, "advice") == ADVICE
    left_out = [one for one in report["checks"] if one["verdict"] not in {"pass", "advice"}]
    expected = {"needs effects up to write; this run allows privileged", *NOT_OF_THE_GUIDE.values()}
    if shutil.which("helm") is None:
        expected.add("there is no helm on the PATH: the values are read as far as they can be without Helm")
    assert {one["reason"] for one in left_out} == expected, left_out


def test_a_healthy_lab_is_go_to_the_last_check_where_writing_is_allowed(tmp_path: Path) -> None:
    ended, report = run(tmp_path / "reports", "--lab", "--effect", "write", "--backup", str(tmp_path / "backup"))
    assert ended.returncode == 0, ended.stdout
    left_out = {one["id"] for one in report["checks"] if one["verdict"] not in {"pass", "advice"}}
    without_helm = {"test_chart_renders_with_the_values"} if shutil.which("helm") is None else set()
    assert left_out == without_helm | set(NOT_OF_THE_GUIDE), "nothing else is left out in the lab"


def concluded(report: dict[str, Any]) -> set[str]:
    """The root causes that the report names, with what they speak of."""
    return {
        f"{one['name']}[{', '.join(one['about'])}]" if one["about"] else one["name"]
        for one in report["conclusions"]
        if one["root_cause"]
    }


def judge(
    expected: dict[str, Any],
    ended: subprocess.CompletedProcess[str],
    report: dict[str, Any],
    record: Callable[[str, object], None],
) -> None:
    """Compare verdicts and conclusions with what an operator expects; nothing else may be red."""
    everything = {f"{one['id']}[{one['target']}]" if one["target"] else one["id"] for one in report["checks"]}
    wanted: dict[str, set[str]] = {}
    for verdict in ("fail", "unknown"):
        patterns = expected.get(verdict, [])
        wanted[verdict] = matching(patterns, everything)
        assert not patterns or wanted[verdict], f"no check is called {patterns}"
    red = {verdict: named(report, verdict) for verdict in wanted}
    causes, right = concluded(report), set(expected["concludes"])
    extra = sum(len(red[verdict] - wanted[verdict]) for verdict in wanted)
    missed = sum(len(wanted[verdict] - red[verdict]) for verdict in wanted)
    record("matrix", {"right": causes == right, "extra": extra, "missed": missed})
    assert red == wanted, ended.stdout
    assert causes == right, ended.stdout
    assert not expected.get("advice") or named(report, "advice") == {*ADVICE, *expected["advice"]}
    assert not report["unexplained"], ended.stdout
    assert not re.search("stumbled|internal error", ended.stdout), ended.stdout
    for one in report["checks"]:
        if one["verdict"] in {"fail", "unknown"}:
            assert one["cause"]
            assert one["remedy"]
            assert one["where"]
        if one["verdict"] == "blocked":
            assert one["blocked_by"], one
    for one in report["conclusions"]:
        assert one["remedy"], one
        assert one["confidence"] == "certain" or one["settled_by"], one
        assert not re.search(r"(?<!%)\{\w+\}", " ".join(one["remedy"])), "a name is left unfilled"  # %{…} is curl's


def follows_the_fate_of_jobs(report: dict[str, Any], expected: dict[str, Any]) -> None:
    """The verdict is what the fault does to jobs, and the root cause says that."""
    decision = report["decision"]
    assert decision["answer"] == expected["answer"], report["verdict"]
    below = report["effect"] in {"static", "read", "probe"} and report["stage"] != "uninstalled"  # which only reads
    assert decision["partial"] == below, report["verdict"]
    impacts = [
        str(Impact(**{**one["impact"], "harm": Harm(one["impact"]["harm"])}))
        for one in report["conclusions"]
        if one["root_cause"]
    ]
    assert bool(impacts) == ("impact" in expected), impacts
    assert not impacts or impacts[0].startswith(expected["impact"]), impacts


def hide_some(report: dict[str, Any], *, seed: str) -> None:
    """With any part of this run's facts hidden, nothing is concluded that the whole does not bear out."""
    file = Path("preflight.json")
    run_again = Run(inventory=saved.inventory_from(report, file), routes=Routes({}, only_mapped=True), id="replayed")
    whole, chance = facts_of(Replay(run_again, report, file)), random.Random(seed)
    keys = [one.key for one in whole]
    for share in (0.1, 0.3, 0.5, 0.8, 0.95):
        assert not unfounded(whole, whole.without(key for key in keys if chance.random() < share))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_fault_turns_the_right_checks_red_and_nothing_else(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    expected, effect = EXPECTED[name], EFFECTS[name]
    programs.require(*expected.get("programs", []))
    options = [*expected.get("options", []), *(["--effect", effect] if effect else [])]
    ended, report = run(tmp_path, "--lab", "--lab-fault", name, *options)
    judge(expected, ended, report, record_property)
    hide_some(report, seed=name)
    assert ended.returncode == expected["exit"] == report["exit"]
    follows_the_fate_of_jobs(report, expected)
    printed = ended.stdout.replace(str(tmp_path), "reports")  # no screen makes that shorter
    assert not screens.beyond_one_screen(printed, causes=len(expected["concludes"])), printed
    assert not list(screens.contradictions(report))
    assert not untranslated(report)
    said = ended.stdout + "".join(ElementTree.parse(tmp_path / "preflight.xml").getroot().itertext())
    said += "".join(check["remedy"] for check in report["checks"])  # of advice, -v shows it
    for words in expected["says"]:
        assert words in said or re.search(words, said), (words, said)


@pytest.mark.parametrize("pair", PAIRS)
def test_two_faults_are_two_conclusions(
    pair: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    one, other = pair.split(" + ")
    singles = [EXPECTED[one], EXPECTED[other]]
    both = {
        key: [*dict.fromkeys(entry for single in singles for entry in single.get(key, []))]
        for key in ("fail", "unknown", "concludes", "options")
    }
    expected = {**both, **PAIRS[pair]}
    effect = sufficient_for_both(*singles, expected)
    options = [*expected["options"], *(["--effect", effect] if effect else [])]
    ended, report = run(tmp_path, "--lab", "--lab-fault", one, "--lab-fault", other, *options)
    judge(expected, ended, report, record_property)
    printed = ended.stdout.replace(str(tmp_path), "reports")
    assert not screens.beyond_one_screen(printed, causes=len(expected["concludes"])), printed
    assert not list(screens.contradictions(report))

"""A run of pytest: verdicts, exit status, reports and usage errors, on small guides of their own."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests import processes

PROJECT = Path(__file__).parents[2]

FACTS = '''
import threading, time
from tests import processes
from preflight.evidence import Blocked, Evidence, Fact, NotApplicable, Unmeasured
from preflight.faults import PathFault, SshFault
from preflight.fact import fact


def seen(target="x", fault=None, where="here"):
    return Fact(
        target=target, fault=fault, cause="192.168.1.50:80 refused the connection" if fault else "",
        evidence=Evidence(where=where, command="curl -v http://192.168.1.50/", observed="curl: (7) refused", took=0.1),
    )


@fact()
def well():
    """The well fact."""
    return seen()


@fact()
def ill():
    """The ill fact."""
    return seen(fault=PathFault.REFUSED)


@fact()
def after_ill(ill):
    """What needs the ill one."""
    return ill


@fact()
def unseen(worker):
    """The unseen fact."""
    if worker == "k8s-worker-2":
        raise Unmeasured("it refused our key", needs="the public key in authorized_keys", fault=SshFault.AUTHENTICATION)
    return seen(worker, where=f"node {worker}")


@fact()
def pooled(pool):
    """The pooled fact."""
    raise AssertionError("must not be measured without a pool")


@fact()
def after_unseen(worker, unseen):
    """What needs the unseen one."""
    return unseen


@fact()
def absent():
    """The absent fact."""
    raise NotApplicable("ssh is none in the inventory")


@fact(effect="write")
def written():
    """The written fact."""
    raise AssertionError("must not be measured")


@fact(deadline="run")
def slow(run):
    """The slow fact."""
    open("began", "w").close()
    run.shutdown.wait(30)
    return seen()


@fact(effect="probe")
def probed():
    """The probed fact."""
    return seen()


@fact()
def thing():
    """Something to clean up."""
    yield seen()
    open("cleaned", "w").write("reports: " + str(any(__import__("pathlib").Path("reports").glob("*.json"))))
'''

CHECK = '''
def test_{name}({fact}):
    """2.1.{number} The {fact} thing is right.

    Why: so.
    Remedy (refused): start it.
    Remedy: mend it.
    """
    assert not {fact}.fault
'''


@pytest.fixture
def guide(tmp_path: Path, inventory_file: Path) -> Path:
    """A project with facts of its own; `check` adds checks to it."""
    project = tmp_path / "project"
    (project / "checks").mkdir(parents=True)
    (project / "myfacts.py").write_text(FACTS)
    (project / "conftest.py").write_text('pytest_plugins = ("preflight.plugin", "lab.plugin", "myfacts")\n')
    (project / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -ra -p no:cacheprovider\n")
    for file in inventory_file.parent.iterdir():
        if file.is_file():
            (project / file.name).write_bytes(file.read_bytes())
    return project


def check(project: Path, *facts: str, module: str = "test_02_1_gitlab", extra: str = "") -> None:
    body = "".join(
        CHECK.format(name=f"{fact}_is_right", fact=fact, number=place) for place, fact in enumerate(facts, 1)
    )
    (project / "checks" / f"{module}.py").write_text("import pytest\n" + body + extra)


def run(
    project: Path, *arguments: str, inventory: str | None = "inventory.yaml", feed: str | None = None
) -> subprocess.CompletedProcess[str]:
    named = ["--inventory", inventory] if inventory else []
    return processes.run(
        *("pytest", "checks", *processes.WITHOUT_PLUGINS, *named, *arguments),
        cwd=project,
        env=environment(project),
        input=feed,
        timeout=60,
    )


def environment(project: Path) -> dict[str, str]:
    return processes.environment(PYTHONPATH=f"{processes.PROJECT}{os.pathsep}{project}", COLUMNS="160")


def verdicts(project: Path) -> dict[str, dict[str, Any]]:
    document = json.loads((project / "reports" / "preflight.json").read_text())
    return {entry["id"] + (f"[{entry['target']}]" if entry["target"] else ""): entry for entry in document["checks"]}


def test_a_pass_is_go(guide: Path) -> None:
    check(guide, "well")
    ended = run(guide)
    assert ended.returncode == 0, ended.stdout
    assert "GO: 1 passed (effects up to privileged)" in ended.stdout


def test_a_failure_shows_cause_where_evidence_remedy_and_section_everywhere(guide: Path) -> None:
    check(guide, "ill")
    ended = run(guide)
    assert ended.returncode == 1
    texts = [
        "2.1.1 The ill thing is right",
        "refused: 192.168.1.50:80 refused the connection",
        "$ curl -v http://192.168.1.50/",
        "curl: (7) refused",
        "start it.",
        "guide 2.1 (docs/checks.md#section-2-1)",
    ]
    xml = ElementTree.parse(guide / "reports" / "preflight.xml").getroot()
    failure = xml.find(".//failure")
    assert failure is not None
    assert failure.text is not None
    page = html.unescape(re.sub("<[^>]+>", "", (guide / "reports" / "preflight.html").read_text()))
    for text in texts:
        assert text in ended.stdout
        assert text in failure.text
        assert text in page or text.startswith("guide"), "the page needs no other file"
    assert failure.get("message") == "refused: 192.168.1.50:80 refused the connection"
    properties = {item.get("name"): item.get("value") for item in xml.iter("property")}
    assert properties["verdict"] == "fail"
    assert properties["fault"] == "refused"
    assert properties["remedy"] == "start it."
    assert verdicts(guide)["test_ill_is_right"]["cause"] == "192.168.1.50:80 refused the connection"
    assert "NO GO: 1 failed" in ended.stdout
    assert not re.search("assert not|AssertionError|PathFault", ended.stdout), "a judged check prints no Python"
    assert (
        ended.stdout.rstrip().splitlines()[-1]
        == f"reports: {guide / 'reports' / 'preflight'}.html, .xml, .json; nothing was made in the cluster"
    )


def test_pytests_tracebacks_are_there_for_who_asks_for_them(guide: Path) -> None:
    check(guide, "ill")
    ended = run(guide, "--tb=short")
    assert "assert not ill.fault" in ended.stdout
    assert "cause     refused: 192.168.1.50:80 refused the connection" in ended.stdout


def test_what_a_fault_blocks_is_named_and_not_a_failure(guide: Path) -> None:
    check(guide, "ill", "after_ill")
    ended = run(guide)
    assert ended.returncode == 1
    blocked = verdicts(guide)["test_after_ill_is_right"]
    assert blocked["verdict"] == "blocked"
    assert blocked["blocked_by"] == ["test_ill_is_right"]
    assert "blocked by 2.1.1 The ill thing is right: refused" in blocked["reason"]
    assert "1 failed, 1 blocked" in ended.stdout


def test_without_a_target_nothing_is_measured_and_the_report_is_whole(guide: Path) -> None:
    check(guide, "well", "pooled")
    ended = run(guide)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    left_out = verdicts(guide)["test_pooled_is_right"]
    assert left_out["verdict"] == "not applicable"
    assert left_out["reason"] == "the inventory names no pool"
    facts = json.loads((guide / "reports" / "preflight.json").read_text())["facts"]
    assert [entry["name"] for entry in facts] == ["well"]


def test_blocked_by_what_nobody_selected_is_not_go(guide: Path) -> None:
    check(guide, "ill", "after_ill")
    ended = run(guide, "-k", "after_ill", "--report-dir", "reports")
    assert ended.returncode == 6
    assert "no selected check reports it" in verdicts(guide)["test_after_ill_is_right"]["reason"]
    assert "PARTIAL: 1 of 2 checks judged (-k after_ill): INCONCLUSIVE: 1 blocked" in ended.stdout


def test_an_unknown_is_an_error_with_exit_six_and_says_what_would_allow_it(guide: Path) -> None:
    check(guide, "unseen", "after_unseen")
    ended = run(guide)
    assert ended.returncode == 6
    judged = verdicts(guide)
    assert judged["test_unseen_is_right[k8s-worker-1]"]["verdict"] == "pass"
    unknown = judged["test_unseen_is_right[k8s-worker-2]"]
    assert (unknown["verdict"], unknown["fault"]) == ("unknown", "authentication")
    assert judged["test_after_unseen_is_right[k8s-worker-2]"]["blocked_by"] == ["test_unseen_is_right[k8s-worker-2]"]
    assert "the public key in authorized_keys" in ended.stdout
    (summary,) = [line for line in ended.stdout.splitlines() if line.startswith("ERROR checks/")]
    assert unknown["cause"][:40] in summary, "the short summary gives the reason, as it does of failures"
    assert "INCONCLUSIVE: 1 unknown, 1 blocked, 4 passed" in ended.stdout


def test_a_failure_outranks_an_unknown(guide: Path) -> None:
    check(guide, "ill", "unseen")
    assert run(guide).returncode == 1


def test_not_applicable_has_a_reason_and_is_go(guide: Path) -> None:
    check(guide, "absent", "well")
    ended = run(guide)
    assert ended.returncode == 0
    assert verdicts(guide)["test_absent_is_right"]["reason"] == "ssh is none in the inventory"


def test_what_would_do_too_much_is_not_measured(guide: Path) -> None:
    check(guide, "written", "well")
    ended = run(guide)
    assert ended.returncode == 0, ended.stdout
    assert "needs effects up to write; this run allows privileged" in ended.stdout
    assert verdicts(guide)["test_written_is_right"]["verdict"] == "not applicable"


def test_advice_is_reported_and_blocks_nothing(guide: Path) -> None:
    check(guide, "well")
    path = guide / "checks" / "test_05_dind.py"
    path.write_text("import pytest\n@pytest.mark.advice" + CHECK.format(name="ill_advice", fact="ill", number=9))
    ended = run(guide)
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("2.1.9")]
    assert line == "2.1.9 refused: 192.168.1.50:80 refused the connection", "it takes one line"
    ended = run(guide, "-v")
    assert ended.returncode == 0, ended.stdout
    assert verdicts(guide)["test_ill_advice"]["verdict"] == "advice"
    assert "remedy: start it." in ended.stdout


def waive(project: Path, check_id: str, until: str) -> None:
    with (project / "inventory.yaml").open("a") as file:
        file.write(f"\nwaivers:\n  - {{check: {check_id}, reason: known to ops, until: {until}}}\n")


def test_a_waiver_holds_until_its_date(guide: Path) -> None:
    check(guide, "ill")
    waive(guide, "test_ill_is_right", "2999-01-01")
    ended = run(guide)
    assert ended.returncode == 0, ended.stdout
    assert verdicts(guide)["test_ill_is_right"]["verdict"] == "waived"
    assert "known to ops" in ended.stdout


def test_a_waiver_of_an_old_id_holds_for_the_new_one_and_is_reported(guide: Path) -> None:
    ask(guide, registry_authenticates="ill")
    waive(guide, "test_registry_lets_us_in", "2999-01-01")
    ended = run(guide)
    assert ended.returncode == 0, ended.stdout
    assert verdicts(guide)["test_registry_authenticates"]["verdict"] == "waived"
    assert (
        "note: waiver for test_registry_lets_us_in: this check is now called test_registry_authenticates; "
        "change it in inventory.yaml"
    ) in ended.stdout
    assert "no selected check has this id" not in ended.stdout


@pytest.mark.parametrize("selected", [[], ["-k", "ill"], ["checks/test_02_1_gitlab.py::test_ill_is_right"]])
def test_a_misspelt_waiver_is_refused_with_the_nearest_name_whatever_is_selected(
    guide: Path, selected: list[str]
) -> None:
    check(guide, "well", "ill", "unseen")
    check(guide, "well", module="test_02_4_dns")
    with (guide / "inventory.yaml").open("a") as file:
        file.write(
            "\nwaivers:\n"
            "  - {check: test_wel_is_right, reason: r, until: 2999-01-01}\n"
            "  - {check: 'test_unseen_is_right[k8s-worker-1]', reason: r, until: 2020-01-01}\n"
            "  - {check: test_unseen_is_right, target: k8s-worker-l, reason: r, until: 2999-01-01}\n"
            "  - {check: test_unseen_is_right, target: elsewhere, reason: r, until: 2999-01-01}\n"
            "  - {check: test_ill_is_right, target: here, reason: r, until: 2999-01-01}\n"
        )
    lines = (guide / "inventory.yaml").read_text().splitlines()
    first = lines.index("waivers:") + 2
    ended = run(guide, *selected)
    assert ended.returncode == 4, ended.stdout
    assert ended.stderr.removeprefix("ERROR: ").strip().splitlines() == [
        f"inventory.yaml:{first}: waivers[0].check: found 'test_wel_is_right', expected the id of a check; "
        "did you mean 'test_well_is_right'?",
        f"inventory.yaml:{first + 1}: waivers[1].check: found 'test_unseen_is_right[k8s-worker-1]', expected the id of "
        "a check, without its target, which goes under `target`; did you mean 'test_unseen_is_right'?",
        f"inventory.yaml:{first + 2}: waivers[2].target: found 'k8s-worker-l', expected a target of "
        "test_unseen_is_right; did you mean 'k8s-worker-1' or 'k8s-worker-2' or 'k8s-worker-3'?",
        f"inventory.yaml:{first + 3}: waivers[3].target: found 'elsewhere', expected a target of "
        "test_unseen_is_right: k8s-worker-1, k8s-worker-2, k8s-worker-3",
        f"inventory.yaml:{first + 4}: waivers[4].target: found 'here', expected none: test_ill_is_right has no targets",
    ]
    assert not list((guide / "reports").glob("preflight.json"))


def test_a_waiver_of_one_target_holds_for_it_alone_also_where_another_is_selected(guide: Path) -> None:
    check(
        guide, "unseen", extra=CHECK.format(name="each", fact="worker, ill", number=9).replace("worker, ill.", "ill.")
    )
    with (guide / "inventory.yaml").open("a") as file:
        file.write("\nwaivers: [{check: test_each, target: k8s-worker-2, reason: r, until: 2999-01-01}]\n")
    ended = run(guide, "checks/test_02_1_gitlab.py::test_each[k8s-worker-1]")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    ended = run(guide, "checks/test_02_1_gitlab.py::test_each[k8s-worker-2]")
    assert verdicts(guide)["test_each[k8s-worker-2]"]["verdict"] == "waived"


def test_what_a_waiver_hides_is_shown(guide: Path) -> None:
    check(guide, "ill")
    waive(guide, "test_ill_is_right", "2999-01-01")
    words = "waived until 2999-01-01: known to ops; it hides refused: 192.168.1.50:80 refused the connection"
    assert words in run(guide).stdout
    assert verdicts(guide)["test_ill_is_right"]["reason"] == words


def test_a_waiver_past_its_date_is_a_failure_and_says_so(guide: Path) -> None:
    check(guide, "ill", "well")
    waive(guide, "test_ill_is_right", "2020-01-01")
    ended = run(guide)
    assert ended.returncode == 1
    assert (
        "note: waiver for test_ill_is_right: ended on 2020-01-01 (known to ops), so a failure counts; "
        "remove it from inventory.yaml"
    ) in ended.stdout
    assert verdicts(guide)["test_ill_is_right"]["reason"] == "its waiver ended on 2020-01-01 (known to ops)"
    assert verdicts(guide)["test_well_is_right"]["reason"] == ""


def test_no_waiver_holds_with_runxfail(guide: Path) -> None:
    check(guide, "ill")
    waive(guide, "test_ill_is_right", "2999-01-01")
    assert run(guide, "--runxfail").returncode == 1


def test_a_waiver_that_is_not_needed_any_more_is_a_failure(guide: Path) -> None:
    check(guide, "well")
    waive(guide, "test_well_is_right", "2999-01-01")
    ended = run(guide)
    assert ended.returncode == 1
    assert "remove the waiver from the inventory" in ended.stdout


def test_a_waiver_never_hides_an_unknown(guide: Path) -> None:
    check(guide, "unseen")
    waive(guide, "test_unseen_is_right", "2999-01-01")
    run(guide)
    assert verdicts(guide)["test_unseen_is_right[k8s-worker-2]"]["verdict"] == "unknown"


def test_an_internal_error_in_a_check_is_unknown(guide: Path) -> None:
    check(
        guide,
        "well",
        extra='''
def test_clumsy(well):
    """2.1.9 The clumsy check.

    Why: so.
    Remedy: mend it.
    """
    assert well.nothing
''',
    )
    assert run(guide).returncode == 6
    assert verdicts(guide)["test_clumsy"]["verdict"] == "unknown"


def test_without_an_environment_nothing_runs(guide: Path) -> None:
    check(guide, "well")
    ended = run(guide, inventory=None)
    assert ended.returncode == 4
    assert "pytest checks/ --inventory prod.yaml" in ended.stderr
    assert "pytest checks/ --lab" in ended.stderr
    assert not (guide / "reports").exists()


def test_two_environments_are_one_too_many(guide: Path) -> None:
    check(guide, "well")
    ended = run(guide, "--lab")
    assert ended.returncode == 4
    assert "--inventory" in ended.stderr
    assert "--lab" in ended.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("user: root", "usr: root", "did you mean 'user'?"),
        ("namespace: gitlab", "namespace: ../kube-system", "runner.namespace: found '../kube-system'"),
        ("kubeconfig: kubeconfig", "kubeconfig: kubeconfig\n  context: nosuch", "nosuch"),
    ],
)
def test_a_bad_inventory_is_exit_four_and_leaves_no_report(guide: Path, old: str, new: str, message: str) -> None:
    check(guide, "well")
    file = guide / "inventory.yaml"
    file.write_text(file.read_text().replace(old, new))
    ended = run(guide)
    assert ended.returncode == 4, ended.stdout
    assert message in ended.stderr
    assert not (guide / "reports").exists()


def test_broken_values_are_exit_four(guide: Path) -> None:
    check(guide, "well")
    file = guide / "values.yaml"
    file.write_text(file.read_text().replace("runners:", "runners: ["))
    ended = run(guide)
    assert ended.returncode == 4
    assert "not YAML" in ended.stderr


def test_a_check_without_its_paragraph_is_refused(guide: Path) -> None:
    (guide / "checks" / "test_02_1_gitlab.py").write_text("def test_x(well):\n    'No number.'\n")
    ended = run(guide)
    assert ended.returncode == 4
    assert "test_x: expected a number and a title" in ended.stderr
    assert not (guide / "reports" / "preflight.json").exists(), "nothing was measured"


def test_modules_run_in_the_guides_order(guide: Path) -> None:
    for module in ("test_02_4_registry", "test_02_4_dns", "test_02_4_paths", "test_02_1_gitlab"):
        (guide / "checks" / f"{module}.py").write_text(CHECK.format(name=module, fact="well", number=1))
    ended = run(guide, "-v")
    order = [line.split("::")[1].split()[0] for line in ended.stdout.splitlines() if "PASSED" in line]
    assert order == ["test_test_02_1_gitlab", "test_test_02_4_paths", "test_test_02_4_dns", "test_test_02_4_registry"]


def test_collecting_touches_nothing_and_needs_no_environment(guide: Path) -> None:
    check(guide, "slow", "thing")
    began = time.monotonic()
    ended = run(guide, "--collect-only", "-q")
    assert ended.returncode == 0
    assert time.monotonic() - began < 10, "a hang, not a speed: the benchmark measures that"
    assert not (guide / "began").exists()
    assert not (guide / "reports").exists() or not list((guide / "reports").glob("*.json"))


def test_reports_go_where_they_are_asked_to(guide: Path, tmp_path: Path) -> None:
    check(guide, "well")
    assert run(guide, "--report-dir", str(tmp_path / "elsewhere")).returncode == 0
    assert {file.name for file in (tmp_path / "elsewhere").iterdir()} == {
        "preflight.html",
        "preflight.json",
        "preflight.xml",
    }
    assert not (guide / "reports").exists()


def test_an_inventory_beside_its_own_pytest_ini_moves_no_reports(guide: Path, tmp_path: Path) -> None:
    check(guide, "well")
    other = tmp_path / "other"
    other.mkdir()
    (other / "pytest.ini").write_text("[pytest]\n")
    for file in guide.iterdir():
        if file.is_file() and file.name not in {"pytest.ini", "conftest.py"}:
            (other / file.name).write_bytes(file.read_bytes())
    assert run(guide, inventory=str(other / "inventory.yaml")).returncode == 0
    assert (guide / "reports" / "preflight.json").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_reports_first_and_then_cleans_up(guide: Path, how: signal.Signals) -> None:
    check(guide, "well", "thing", "slow")
    with (guide / "output").open("w") as output:
        process = processes.start(
            *("pytest", "checks", "--inventory", "inventory.yaml"),
            cwd=guide,
            env=environment(guide),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    end = time.monotonic() + 30
    while not (guide / "began").exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(how)
    status = process.wait(30)
    printed = (guide / "output").read_text()
    assert status == 2, printed
    assert (guide / "cleaned").read_text() == "reports: True"
    document = json.loads((guide / "reports" / "preflight-partial.json").read_text())
    assert [entry["verdict"] for entry in document["checks"]] == ["pass", "pass"]
    assert sorted(file.name for file in (guide / "reports").iterdir()) == [
        f"preflight-partial.{kind}" for kind in ("html", "json", "xml")
    ]
    assert "PARTIAL: 2 of 3 checks judged (interrupted): 2 passed" in printed


# ---- a part of the guide, and no run at all


def contents(project: Path) -> dict[str, bytes]:
    folder = project / "reports"
    return {file.name: file.read_bytes() for file in folder.iterdir()} if folder.exists() else {}


BROKEN = "def pytest_runtest_logreport(report):\n    raise RuntimeError('a plugin is broken')\n"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--collect-only",), 0),
        (("-k", "nothing_is_called_so"), 5),
        (("--no-such-option",), 4),
        (("--effect", "huge"), 4),
        (("checks/test_there_is_none.py",), 4),
        (("-p", "broken"), 3),
    ],
)
def test_what_judges_nothing_writes_no_report_and_touches_none(
    guide: Path, arguments: tuple[str, ...], status: int
) -> None:
    check(guide, "well")
    (guide / "broken.py").write_text(BROKEN)
    ended = run(guide, *arguments)
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert contents(guide) == {}
    (guide / "reports").mkdir(exist_ok=True)
    for kind in ("html", "json", "xml"):
        (guide / "reports" / f"preflight.{kind}").write_text("a whole run's")
    before = contents(guide)
    assert run(guide, *arguments).returncode == status
    assert contents(guide) == before


def test_a_check_that_can_not_be_collected_writes_no_report(guide: Path) -> None:
    check(guide, "well")
    (guide / "checks" / "test_02_2_token.py").write_text("import no_such_module\n")
    ended = run(guide)
    assert ended.returncode == 2, ended.stdout
    assert contents(guide) == {}


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("-k", "thing"), "1 of 3 checks judged (-k thing): 1 passed", 0),
        (("-m", "gitlab", "-k", "not ill"), "2 of 3 checks judged (-k not ill, -m gitlab): 2 passed", 0),
        (("--deselect", "checks/test_02_1_gitlab.py::test_ill_is_right"), "(--deselect): 2 passed", 0),
        (("-x",), "1 of 3 checks judged (stopped after 1 failed): NO GO: 1 failed", 1),
        (("--maxfail=1", "-k", "ill or well"), "1 of 3 checks judged", 1),
    ],
)
def test_a_run_of_a_part_says_so_everywhere_and_has_reports_of_its_own(
    guide: Path, arguments: tuple[str, ...], words: str, status: int
) -> None:
    check(guide, "ill", "well", "thing")
    assert run(guide).returncode == 1
    whole = contents(guide)
    assert sorted(whole) == ["preflight.html", "preflight.json", "preflight.xml"]
    ended = run(guide, *arguments)
    assert ended.returncode == status, ended.stdout
    assert words in ended.stdout
    assert f"PARTIAL: {words.split(' of', maxsplit=1)[0]}" in ended.stdout or words.startswith("(")
    assert "not looked at" in ended.stdout
    assert "checks not looked at, by section: 2.1 (" in ended.stdout
    written = contents(guide)
    assert {name: written[name] for name in whole} == whole, "the reports of the whole run are as they were"
    page, xml = written["preflight-partial.html"].decode(), written["preflight-partial.xml"].decode()
    document = json.loads(written["preflight-partial.json"])
    assert document["verdict"].startswith("PARTIAL: ")
    assert document["decision"]["partial"] is True
    assert document["decision"]["not_looked_at"]
    assert "</i> PARTIAL</strong>" in html.unescape(page)
    assert "this is a run of a part: " in page
    assert f'name="verdict" value="{document["verdict"]}"' in xml
    assert 'name="not looked at" value="2.1 GitLab server: ' in xml


def test_a_part_of_one_name_is_a_part_and_a_chosen_folder_keeps_the_names(guide: Path) -> None:
    check(guide, "ill", "well")
    check(guide, "absent", module="test_02_2_token")
    ended = processes.run(
        *("pytest", "checks/test_02_1_gitlab.py::test_well_is_right", *processes.WITHOUT_PLUGINS),
        *("--inventory", "inventory.yaml", "--report-dir", "chosen"),
        cwd=guide,
        env=environment(guide),
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout
    assert "PARTIAL: 1 of 3 checks judged (checks/test_02_1_gitlab.py::test_well_is_right): 1 passed" in ended.stdout
    assert "checks not looked at, by section: 2.1 (1), 2.2 (1)" in ended.stdout
    assert {file.name for file in (guide / "chosen").iterdir()} == {
        f"preflight.{kind}" for kind in ("html", "json", "xml")
    }
    assert contents(guide) == {}


def test_reports_that_an_option_names_are_left_to_it(guide: Path) -> None:
    check(guide, "well", "thing")
    assert run(guide, "-k", "thing", "--junitxml=own.xml", "--html=own.html").returncode == 0
    assert (guide / "own.xml").exists()
    assert (guide / "own.html").exists()
    assert set(contents(guide)) == {"preflight-partial.json", "preflight-partial.html"}
    named = run(guide, "--html=reports/preflight.html")
    assert named.returncode == 0
    assert "pytest-html" in (guide / "reports" / "preflight.html").read_text(), "what is asked for by name is written"


def test_quiet_is_a_line_a_cause_and_the_verdict(guide: Path) -> None:
    check(guide, "ill", "well", "absent")
    ended = run(guide, "-q")
    lines = [line for line in ended.stdout.splitlines() if line.strip()]
    assert lines[1:-1] == [
        "2.1.1 test_ill_is_right: stops all jobs: refused: 192.168.1.50:80 refused the connection",
        "NO GO: 1 failed, 1 not applicable, 1 passed (effects up to privileged)",
    ], ended.stdout
    assert "Traceback" in run(guide, "-q", "--tb=native").stdout, "what is asked for is printed"


def test_a_summary_for_scripts_is_one_line_of_json(guide: Path) -> None:
    check(guide, "ill", "well")
    ended = run(guide, "--summary", "json")
    (line,) = ended.stdout.splitlines()
    summary = json.loads(line)
    assert (summary["answer"], summary["status"], summary["partial"]) == ("NO GO", ended.returncode, False)
    assert summary["verdict"] == "NO GO: 1 failed, 1 passed (effects up to privileged)"
    assert summary["counts"] == {"failed": 1, "passed": 1}
    assert summary["unexplained"] == ["test_ill_is_right"]
    assert json.loads(Path(summary["report"]).read_text())["decision"]["answer"] == "NO GO"
    assert "test session starts" in ended.stderr
    part = run(guide, "--summary", "json", "-k", "well")
    assert json.loads(part.stdout)["not_looked_at"] == ["2.1 GitLab server: 1 check"]


# ---- --symptom and --baseline


def ask(project: Path, **checks: str) -> None:
    """Checks of known names, each judging one of the facts above."""
    body = "".join(
        CHECK.format(name=name, fact=fact, number=place) for place, (name, fact) in enumerate(checks.items(), 1)
    )
    (project / "checks" / "test_02_1_gitlab.py").write_text(body)


def report(project: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((project / "reports" / "preflight.json").read_text())
    return document


SYMPTOM = "dial tcp 192.168.1.50:80: i/o timeout"


def test_a_symptom_selects_the_checks_that_tell_its_meanings_apart_and_is_answered(guide: Path) -> None:
    ask(guide, gitlab_port_answers="ill", gitlab_is_gitlab="well", runner_token_is_given="slow")
    ended = run(guide, "--symptom", SYMPTOM, "--report-dir", "reports")
    assert ended.returncode == 1, ended.stdout
    assert "1 deselected" in ended.stdout
    assert not (guide / "began").exists(), "what was not selected is not measured"
    header, _, rest = ended.stdout.partition("collected ")
    assert f"symptom: gitlab-not-reached (line 1): {SYMPTOM}" in header
    assert "it can mean: the workers have no way to GitLab" in header
    answer = rest.partition(" symptom =")[2].partition(" verdict =")[0]
    assert "confirmed  GitLab does not answer" in answer
    assert "test_gitlab_port_answers: refused: 192.168.1.50:80 refused the connection" in answer
    assert "ruled out  gitlabUrl is not GitLab's" in answer
    assert "open       the workers have no way to GitLab" in answer
    answered = report(guide)["symptom"]
    assert answered["selected"] == ["test_gitlab_port_answers", "test_gitlab_is_gitlab"]
    assert {meaning["state"] for meaning in answered["found"][0]["means"]} == {"confirmed", "ruled out", "open"}
    assert "It can mean that</th>" in (guide / "reports" / "preflight.html").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the weather is bad", "nothing that is known stands in the text; every"),
        ("ping: permission denied", "no check can tell; every"),
    ],
)
def test_a_text_that_no_check_explains_makes_nothing_unless_it_may(guide: Path, text: str, words: str) -> None:
    ask(guide, gitlab_port_answers="well", runner_token_is_given="probed")
    ended = run(guide, "--symptom", text)
    assert f"{words} check that only reads is run (--effect privileged: every check)" in ended.stdout
    assert "PARTIAL: 1 of 2 checks judged (--symptom, effect read)" in ended.stdout
    ended = run(guide, "--symptom", text, "--effect", "probe")
    assert f"{words} check is run" in ended.stdout
    assert "1 of 2 checks judged" not in ended.stdout
    assert "(effects up to probe)" in ended.stdout


def test_a_text_without_a_known_symptom_names_the_nearest(guide: Path) -> None:
    ask(guide, gitlab_port_answers="well")
    ended = run(guide, "--symptom", "the docker daemon is perhaps not running at the address")
    assert "    nearest: " in ended.stdout
    assert report(guide)["symptom"]["found"] == []


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_a_whole_log_is_read_from_standard_input(guide: Path, capture: str) -> None:
    ask(guide, gitlab_port_answers="ill", runner_token_is_given="well")
    token = "glcbt-made-up-0123456789"
    log = f"\x1b[0Ksection_start:1:a\r\x1b[0Kuser:{token}@host\n" * 3 + f"\x1b[31;1m{token} {SYMPTOM}\x1b[0m\n"
    ended = run(guide, "--symptom", "-", f"--capture={capture}", feed=log)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "symptom: gitlab-not-reached (line 4)" in ended.stdout
    assert "1 deselected" in ended.stdout
    everything = ended.stdout + "".join(file.read_text() for file in (guide / "reports").iterdir())
    assert token not in everything


def test_no_text_is_a_usage_error(guide: Path) -> None:
    ask(guide, gitlab_port_answers="well")
    for ended in (run(guide, "--symptom", "  "), run(guide, "--symptom", "-", feed="")):
        assert ended.returncode == 4
        assert "expected an error of a job's log, found no text" in ended.stderr
    assert not (guide / "reports").exists()


def test_a_blocker_that_was_not_selected_is_reported(guide: Path) -> None:
    ask(guide, gitlab_port_answers="after_ill", runner_token_is_given="ill")
    ended = run(guide, "--symptom", SYMPTOM)
    assert ended.returncode == 6, ended.stdout
    assert "blocked by The ill fact (no selected check reports it): refused" in ended.stdout
    assert "what is open is blocked by what was not selected: run without --symptom" in ended.stdout


def test_a_baseline_reports_new_fixed_and_unchanged_and_what_was_not_judged(guide: Path) -> None:
    ask(guide, one="ill", two="ill", three="well", four="ill")
    assert run(guide).returncode == 1
    assert report(guide)["baseline"] is None
    ask(guide, one="ill", two="well", three="ill", four="ill")
    # The report that is about to be replaced is a baseline too.
    ended = run(guide, "-k", "not four", "--baseline", "reports/preflight.json", "--report-dir", "reports")
    assert ended.returncode == 1
    compared = report(guide)["baseline"]
    names = {
        kind: [change["name"] for change in compared[kind]] for kind in ("new", "fixed", "unchanged", "not_judged")
    }
    assert names == {
        "new": ["test_three"],
        "fixed": ["test_two"],
        "unchanged": ["test_one"],
        "not_judged": ["test_four"],
    }
    assert "since reports/preflight.json" in ended.stdout
    assert "test_three: fail, refused (before: pass)" in ended.stdout
    assert "Since reports/preflight.json of " in (guide / "reports" / "preflight.html").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read"),
        ("no json", "found no JSON"),
        ("[]", "expected a preflight.json"),
        ('{"schema": 1, "checks": []}', "found schema 1, expected 2 or 3 or 4 or 5: run the checks again"),
    ],
)
def test_what_is_no_baseline_is_a_usage_error(guide: Path, text: str | None, message: str) -> None:
    check(guide, "well")
    if text is not None:
        (guide / "old.json").write_text(text)
    ended = run(guide, "--baseline", "old.json")
    assert ended.returncode == 4
    assert f"--baseline: old.json{':' if text else ''}" in ended.stderr
    assert message in ended.stderr
    assert not (guide / "reports").exists()


def test_a_saved_run_answers_a_symptom_and_is_compared_with_a_baseline(guide: Path) -> None:
    ask(guide, gitlab_port_answers="ill", gitlab_is_gitlab="well", runner_token_is_given="well")
    assert run(guide).returncode == 1
    saved = "reports/preflight.json"
    ended = run(guide, "--replay", saved, "--symptom", SYMPTOM, "--baseline", saved, inventory=None)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "confirmed  GitLab does not answer" in ended.stdout
    assert "unchanged                 test_gitlab_port_answers: fail, refused" in ended.stdout


def test_an_interrupt_where_there_is_no_line_can_be_reported() -> None:
    import traceback

    from preflight import plugin

    nowhere = compile("raise KeyboardInterrupt", "<nowhere>", "exec").replace(co_linetable=b"")
    try:
        exec(nowhere)
    except KeyboardInterrupt as error:
        struck = error
    assert any(line is None for _, line in traceback.walk_tb(struck.__traceback__)), "this Python knows every line"
    loop = plugin.pytest_runtestloop()
    next(loop)
    with pytest.raises(KeyboardInterrupt) as raised:
        loop.throw(struck)
    assert all(line is not None for _, line in traceback.walk_tb(raised.value.__traceback__))
    assert raised.value.__suppress_context__


def with_plugin(text: str, inventory_file: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the checks that read files only, beside a plugin that makes misbehaviour."""
    (tmp_path / "misbehaviour.py").write_text(text)
    arguments = ["--inventory", str(inventory_file), "--effect", "static", "-p", "misbehaviour"]
    return processes.run_checks(
        *arguments,
        "--report-dir",
        tmp_path / "reports",
        env=processes.environment(PYTHONPATH=f"{tmp_path}:{processes.PROJECT}"),
        timeout=120,
    )


def test_a_report_that_fails_in_python_itself_is_made_again(inventory_file: Path, tmp_path: Path) -> None:
    ended = with_plugin(
        "import pytest\n"
        "struck = []\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_makereport(item, call):\n"
        "    if call.when == 'call' and not struck:\n"
        "        struck.append(item)\n"
        "        raise SystemError('AST constructor recursion depth mismatch (before=129, after=26)')\n",
        inventory_file,
        tmp_path,
    )
    assert "INTERNALERROR" not in ended.stdout
    report = json.loads((tmp_path / "reports" / "preflight.json").read_text())
    assert {entry["verdict"] for entry in report["checks"]} >= {"pass", "not applicable"}, ended.stdout


def test_an_interrupt_that_struck_in_a_finalizer_is_not_lost(inventory_file: Path, tmp_path: Path) -> None:
    ended = with_plugin(
        "import gc, os, signal, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background has it ignored
        "class Finalized:\n"
        "    def __init__(self):\n"
        "        self.itself = self\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        sum(range(100))\n"
        "def pytest_runtest_logreport(report):\n"
        "    if report.when == 'call' and not hasattr(gc, 'struck'):\n"
        "        gc.struck = True\n"
        "        Finalized()\n"
        "        gc.collect()\n",
        inventory_file,
        tmp_path,
    )
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "PARTIAL: 1 of" in ended.stdout
    assert "(interrupted, effect static)" in ended.stdout

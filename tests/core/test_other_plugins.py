"""A run of pytest beside other plugins: each check is judged once, here, and by the suite."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from preflight.asserts import to_be_tried
from tests import processes
from tests.core.test_plugin import CHECK, check, environment, guide, verdicts

__all__ = ["guide"]  # a fixture


def run(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the checks with every plugin that is installed."""
    words = ("pytest", "checks", "--inventory", "inventory.yaml", *arguments)
    return processes.run(*words, cwd=project, env={**environment(project), **variables}, timeout=60)


def plugin(project: Path, code: str) -> None:
    """Give the checks a conftest of somebody else."""
    (project / "checks" / "conftest.py").write_text(f"import pytest\n{code}")


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["-n", "2"], {}),
        (["-d", "--tx", "2*popen"], {}),
        (["--looponfail"], {}),
        ([], {"PYTEST_ADDOPTS": "-n 2 --dist loadfile"}),
    ],
)
def test_checks_run_in_one_process_and_are_measured_once(
    guide: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    check(guide, "well", "ill", "thing")
    ended = run(guide, *arguments, **variables)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "INTERNALERROR" not in ended.stdout
    assert ended.stdout.count("note: pytest-xdist is switched off: the suite measures in parallel by itself") == 1
    assert "NO GO: 1 failed, 2 passed" in ended.stdout
    assert (guide / "cleaned").is_file(), "in the process that measured"


def test_processes_without_an_environment_are_refused_in_one_sentence(guide: Path) -> None:
    check(guide, "well")
    ended = processes.run("pytest", "checks", "-n", "2", cwd=guide, env=environment(guide), timeout=60)
    assert ended.returncode == 4
    assert ended.stderr.startswith("ERROR: Say which environment to check:")
    assert "INTERNALERROR" not in ended.stdout


def test_a_time_limit_of_pytest_ends_no_check(guide: Path) -> None:
    check(guide, "well", "ill")
    ended = run(guide, "--timeout", "0.00001", "--timeout-method", "signal")
    assert "note: pytest-timeout does not apply to checks: the inventory's `deadlines` bound them" in ended.stdout
    assert "NO GO: 1 failed, 1 passed" in ended.stdout, ended.stdout


def test_whoever_shuffles_them_checks_run_in_the_guides_order(guide: Path) -> None:
    check(guide, "thing", module="test_02_4_dns")
    check(guide, "well", "absent", module="test_02_1_gitlab")
    plugin(
        guide,
        "@pytest.hookimpl(tryfirst=True)\ndef pytest_collection_modifyitems(items):\n    items.reverse()\n",
    )
    assert run(guide).returncode == 0
    assert list(verdicts(guide)) == ["test_well_is_right", "test_absent_is_right", "test_thing_is_right"]


def test_what_checks_need_of_pytest_can_not_be_blocked(guide: Path) -> None:
    check(guide, "well")
    ended = run(guide, "-p", "no:skipping")
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr.strip().startswith("ERROR: -p no:skipping: leave it out")


def test_without_pytests_report_in_xml_the_others_are_written(guide: Path) -> None:
    check(guide, "well")
    assert run(guide, "-p", "no:junitxml").returncode == 0
    assert {file.name for file in (guide / "reports").iterdir()} == {"preflight.html", "preflight.json"}


SWALLOWING = {
    "a report that is turned": """
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        report.outcome, report.longrepr = "passed", None
""",
    "an error that is swallowed around the call": """
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    outcome = yield
    outcome.force_result(None)
""",
    "an error that is swallowed in the call": """
@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    try:
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames})
    except AssertionError:
        pass
    return True
""",
    "a mark that expects failures": """
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xfail(strict=False))
""",
    "a report that is changed when it is shown": """
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    report.outcome = "passed"
""",
    "a report that is changed while it is shown": """
def pytest_runtest_logreport(report):
    report.outcome = "passed"
""",
    "an exit status that is replaced": """
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    session.exitstatus = 0
""",
    "a second run": """
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
""",
}
"""What a plugin or conftest may do to a failure, innocently or not."""


@pytest.mark.parametrize("how", SWALLOWING)
def test_nothing_turns_a_failure_into_a_go(guide: Path, how: str) -> None:
    check(guide, "ill", "well")
    plugin(guide, SWALLOWING[how])
    ended = run(guide)
    assert ended.returncode == 1, ended.stdout
    assert "NO GO: 1 failed, 1 passed" in ended.stdout
    judged = verdicts(guide)
    assert (judged["test_ill_is_right"]["verdict"], judged["test_well_is_right"]["verdict"]) == ("fail", "pass")
    if how not in {"an exit status that is replaced", "a second run"}:
        note = "note: a mark, plugin or conftest changed the outcome of test_ill_is_right (failed, shown as "
        assert note in " ".join(ended.stdout.split())
    assert ended.stdout.count("FAILED checks/test_02_1_gitlab.py::test_ill_is_right") == 1


UNRUN = {
    "a skip": """
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.skip("not today"))
""",
    "a fixture that skips": """
@pytest.fixture(autouse=True)
def impatient():
    pytest.skip("not today")
""",
    "a call that is left out": """
@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    return True
""",
    "a protocol that is left out": """
def pytest_runtest_protocol(item, nextitem):
    return True
""",
}


@pytest.mark.parametrize("how", UNRUN)
def test_what_was_not_judged_is_no_go(guide: Path, how: str) -> None:
    check(guide, "ill", "well")
    plugin(guide, UNRUN[how])
    ended = run(guide)
    assert ended.returncode == 6, ended.stdout
    if how == "a protocol that is left out":
        assert "note: 2 selected checks were not judged, such as test_ill_is_right: " in ended.stdout
    else:
        assert "INCONCLUSIVE: 2 unknown" in ended.stdout
        assert "a plugin or conftest" in verdicts(guide)["test_well_is_right"]["reason"]


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan"])
def test_checks_that_pytest_does_not_run_are_no_go(guide: Path, option: str) -> None:
    check(guide, "well")
    assert run(guide, option).returncode == 6


def test_a_checks_own_skip_is_its_own(guide: Path) -> None:
    own = CHECK.format(name="marked", fact="ill", number=2).replace("\ndef", "\n@pytest.mark.skip('mine')\ndef")
    raising = CHECK.format(name="raising", fact="ill", number=3).replace("assert not", "pytest.skip('mine') or not")
    check(guide, "well", extra=own + raising)
    ended = run(guide)
    assert ended.returncode == 0, ended.stdout
    assert "GO: 2 not applicable, 1 passed" in ended.stdout


@pytest.mark.parametrize("arguments", [["--assert=plain"], ["-p", "no:assertion"]])
def test_without_asserts_nothing_is_judged(guide: Path, arguments: list[str]) -> None:
    check(guide, "ill")
    ended = processes.run(
        *("pytest", "checks", "--inventory", "inventory.yaml", *arguments),
        cwd=guide,
        env={**environment(guide), "PYTHONOPTIMIZE": "1"},
        interpreter=True,
    )
    assert ended.returncode == 4, ended.stdout
    assert ended.stderr.startswith("ERROR: a false assert does not fail in test_02_1_gitlab.py, so every check would")
    assert not (guide / "reports" / "preflight.json").exists()
    assert run(guide, *arguments).returncode == 1, "where Python keeps them, they need no rewriting"


def test_without_docstrings_nothing_is_judged(guide: Path) -> None:
    check(guide, "ill")
    ended = processes.run(
        *("pytest", "checks", "--inventory", "inventory.yaml"),
        cwd=guide,
        env={**environment(guide), "PYTHONOPTIMIZE": "2"},
        interpreter=True,
    )
    assert ended.returncode == 4, ended.stdout
    assert ended.stderr.startswith("ERROR: Python strips docstrings")


def test_asserts_that_a_conftest_strips_are_found(guide: Path) -> None:
    check(guide, "ill")
    stripping = """
import ast, builtins
class Stripped(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
def pytest_pycollect_makemodule(module_path, parent):
    class Module(pytest.Module):
        def _getobj(self):
            module = type(ast)(self.path.stem)
            tree = ast.fix_missing_locations(Stripped().visit(ast.parse(self.path.read_text())))
            exec(compile(tree, str(self.path), "exec"), vars(module))
            return module
    return Module.from_parent(parent, path=module_path)
"""
    plugin(guide, stripping)
    ended = run(guide)
    assert ended.returncode == 4, ended.stdout
    assert "a false assert does not fail" in ended.stderr


def test_each_module_of_checks_has_one_whose_assert_can_be_tried() -> None:
    modules = sorted((processes.PROJECT / "checks").glob("test_*.py"))
    assert [file.name for file in modules if not list(to_be_tried(file))] == []


@pytest.mark.parametrize("when", ["survey", "cleaning"])
def test_where_no_thread_can_start_the_run_is_cleaned_and_no_verdict_is_drawn_from_it(guide: Path, when: str) -> None:
    check(guide, "thing")
    plugin(
        guide,
        f"""
import threading
start = threading.Thread.start
def limited(self):
    if self.name.startswith({when!r}):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = limited
""",
    )
    ended = run(guide)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert ended.returncode == (3 if when == "survey" else 0), ended.stdout + ended.stderr
    assert (guide / "cleaned").exists() == (when == "cleaning")
    if when == "survey":
        assert "no thread can start: a higher limit of processes" in ended.stdout + ended.stderr


def test_an_error_while_cleaning_up_is_no_verdict(guide: Path) -> None:
    check(guide, "well")
    plugin(
        guide,
        """
from preflight import survey
def broken(self, **_):
    raise ValueError("broken")
survey.Survey.close = broken
""",
    )
    ended = run(guide)
    assert ended.returncode == 3
    assert "preflight: internal error while cleaning up: ValueError: broken" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr

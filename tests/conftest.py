"""Fixtures of all tests."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from preflight import redaction
from preflight.inventory import Inventory, load
from tests import programs

os.environ["PREFLIGHT_LANG"] = "en"  # whatever the locale of this machine is
PROJECT = Path(__file__).parents[1]
# What CI says does not change by itself, and no example is a matter of time on a busy machine.
settings.register_profile("steady", deadline=None, derandomize=bool(os.environ.get("PREFLIGHT_REQUIRE_SERVERS")))
settings.load_profile("steady")
collect_ignore = [] if os.environ.get("PREFLIGHT_E2E") else ["e2e"]  # against a real cluster: `tox -e e2e`


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[object]) -> None:
    """Let one process compile the tests of a fresh checkout: workers begin together, each would compile them all."""
    if len(specs) > 1 and not (PROJECT / "tests" / "core" / "__pycache__").exists():
        collecting = [sys.executable, "-m", "pytest", *config.args, "--collect-only", "-qq", "-p", "no:xdist"]
        subprocess.run(collecting, cwd=config.invocation_params.dir, stdout=subprocess.DEVNULL, check=False)


@pytest.fixture
def inventory_file(tmp_path: Path) -> Path:
    """The shipped inventory, with files of its own instead of the operator's."""
    (tmp_path / "values.yaml").write_text((PROJECT / "gitlab-runner-values.yaml").read_text())
    (tmp_path / "kubeconfig").write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://192.168.1.100:6443'}}]\n"
        "users: [{name: u, user: {token: made-up-token}}]\n"
    )
    for name in ("id_ed25519", "known_hosts"):
        (tmp_path / name).write_text("")
    text = (PROJECT / "inventory.yaml").read_text()
    for old, new in {
        "# kubeconfig: ~/.kube/config": "kubeconfig: kubeconfig",
        "~/.ssh/id_ed25519": "id_ed25519",
        "~/.ssh/known_hosts": "known_hosts",
        "[gitlab-runner-values.yaml]": "[values.yaml]",
    }.items():
        assert old in text, f"the shipped inventory no longer says {old}"
        text = text.replace(old, new)
    text += "\nconnect: {'*': refuse} # nothing in a test leaves this machine\n"
    file = tmp_path / "inventory.yaml"
    file.write_text(text)
    return file


@pytest.fixture
def inventory(inventory_file: Path) -> Inventory:
    """The shipped inventory, read."""
    return load(inventory_file)


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    """A test's made-up secrets are no other test's: their words may be innocent there."""
    kept = {name: copy.deepcopy(getattr(redaction, name)) for name in ("_known", "_beginnings", "_ends", "_short")}
    generation = redaction.generation()
    yield
    if redaction.generation() != generation:
        for name, before in kept.items():
            registered = getattr(redaction, name)
            registered.clear()
            (registered.extend if isinstance(registered, list) else registered.update)(before)
        redaction._generation += 1


SERVERS = {
    "test_dns_dnsmasq": ("dnsmasq", "dig", "nslookup", "busybox"),
    "test_docker_dockerd": ("dockerd", "docker", "docker-registry", "dnsmasq", "busybox", "ip", "unshare", "nsenter"),
    "test_probe_script_bare_root": ("busybox", "dash", "bash", "unshare", "chroot", "ldd"),
    "test_compare_rendering": ("helm",),
    "test_helm": ("helm",),
    "test_lint_with_helm": ("helm",),
    "test_hostile_input": ("chromium",),
    "test_page_chromium": ("chromium",),
    "test_chart_registry": ("docker-registry",),
    "test_registry_distribution": ("docker-registry",),
    "test_runtime_script": ("shellcheck", "busybox", "dash"),
    "test_ssh_openssh": ("sshd", "ssh-keygen", "ssh-agent", "bash", "dash", "fish", "unshare"),
    "test_topology": ("dnsmasq", "sshd", "ssh-keygen", "ip", "iptables", "setpriv", "unshare", "curl", "nslookup"),
}
"""What the modules of tests/system need from Debian's packages."""
ROOT = {"test_docker_dockerd", "test_probe_script_bare_root", "test_topology"}
"""The modules that need root, on Linux: they make namespaces."""
REQUIRED = bool(os.environ.get("PREFLIGHT_REQUIRE_SERVERS"))
"""Set in CI: there, a program that is missing fails the tests that need it."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test of a module whose programs are not installed; single tests ask for theirs themselves."""
    programs.require(*SERVERS.get(item.path.stem, ()))
    if item.path.stem in ROOT and os.geteuid() != 0:
        pytest.skip("needs root, to make namespaces")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped: what is not there, is missing."""
    report = yield
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI requires it: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how the suite did against the lab's faults, one at a time and in pairs (tests/test_lab_faults.py)."""
    rows: list[tuple[str, Any]] = [
        (report.nodeid.partition("[")[2].rstrip("]"), dict(report.user_properties)["matrix"])
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call" and "matrix" in dict(report.user_properties)
    ]
    if not rows:
        return
    terminalreporter.write_sep("-", "faults of the lab")
    for kind, chosen in (
        ("one fault", [row for row in rows if " + " not in row[0]]),
        ("two faults", [row for row in rows if " + " in row[0]]),
    ):
        right = sum(bool(told["right"]) for _, told in chosen)
        extra, missed = (sum(int(told[key]) for _, told in chosen) for key in ("extra", "missed"))
        terminalreporter.write_line(
            f"{kind:<12}{len(chosen):>4}   right causes {right} of {len(chosen)}   extra red {extra}   missed {missed}"
        )
    for name, told in rows:
        if not told["right"] or told["extra"] or told["missed"]:
            terminalreporter.write_line(f"  {name}: {told}")

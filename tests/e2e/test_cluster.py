"""The suite and its promises against a real cluster: `tox -e e2e` (docs/e2e.md)."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from pydantic import BaseModel

from preflight.inventory import Inventory
from preflight.inventory_forms import Secret
from preflight.probes.credentials import read_secret
from tests.e2e.conftest import Ended, Environment

JUDGED = {"pass", "advice", "waived", "not applicable"}


@pytest.fixture(scope="module")
def healthy(environment: Environment) -> Ended:
    before = environment.others()
    ended = environment.end(*environment.begin("healthy", "--effect", environment.effect), watching=True)
    assert environment.others() >= before, "somebody else's Job is gone"
    return ended


def test_a_healthy_run_ends_go_or_for_listed_reasons(healthy: Ended, reasons: dict[str, str]) -> None:
    red = {one["id"] for one in healthy.json["checks"] if one["verdict"] in {"fail", "unknown"}}
    told = "\n".join(line for line in healthy.output.splitlines() if re.match(r"(cause|remedy|check) ", line))
    assert red <= set(reasons), f"not in $PREFLIGHT_E2E_REASONS: {sorted(red - set(reasons))}\n{told}"
    assert set(reasons) <= red, f"these pass: take them out of $PREFLIGHT_E2E_REASONS: {sorted(set(reasons) - red)}"
    blocked = [one["id"] for one in healthy.json["checks"] if one["verdict"] not in JUDGED | {"fail", "unknown"}]
    assert not blocked or red, f"blocked, and nothing tells why: {blocked}"
    assert healthy.status == (0 if not red else healthy.json["exit"])
    assert healthy.status in {0, 1, 6}


def test_the_suite_never_stumbles(healthy: Ended) -> None:
    assert not re.search("stumbled|internal error", healthy.output), healthy.output
    assert "INTERNALERROR" not in healthy.output


def test_the_reports_are_written_and_agree(healthy: Ended) -> None:
    assert {"preflight.html", "preflight.xml", "preflight.json"} <= set(healthy.reports)
    assert healthy.json["exit"] == healthy.status
    suite = ElementTree.fromstring(healthy.reports["preflight.xml"]).find("testsuite")
    assert suite is not None
    assert int(suite.attrib["tests"]) == len(healthy.json["checks"])
    assert healthy.reports["preflight.html"].count("http-equiv") == 1, "the page's own policy"
    assert healthy.json["verdict"].split(":")[0] in healthy.reports["preflight.html"]


def test_nothing_is_left_after_a_run(environment: Environment, healthy: Ended) -> None:
    if environment.effect in {"probe", "privileged", "write"}:
        assert healthy.seen, "the run made no pod at all"
    assert environment.ours() == frozenset()


def test_reading_makes_nothing(environment: Environment) -> None:
    ended = environment.end(*environment.begin("reading", "--effect", "read"), watching=True)
    assert ended.seen == frozenset()
    assert ended.status in {0, 1, 6}, ended.output


def secrets_of(environment: Environment) -> Iterator[str]:
    """Every secret that the inventory leads to, and those of its values, kubeconfig and SSH key."""
    inventory = environment.inventory
    for secret in _references(inventory):
        if secret.cluster_key:
            text = read_secret(environment.api, *secret.cluster_key)
            yield from _passwords(text) if secret.cluster_key[2] == ".dockerconfigjson" else [text]
        elif secret.text:
            yield secret.text
    for file in inventory.runner.files:
        tree = yaml.safe_load(file.read_text()) or {}
        yield from (str(tree[key]) for key in ("runnerToken", "runnerRegistrationToken") if tree.get(key))
    kubeconfig = inventory.cluster.kubeconfig
    for entry in yaml.safe_load(kubeconfig.read_text())["users"] if kubeconfig is not None else ():
        user = entry.get("user") or {}
        yield from (str(user[key]) for key in ("token", "password", "client-key-data") if user.get(key))
    if inventory.access.ssh != "none" and inventory.access.ssh.key is not None:
        yield from [line for line in inventory.access.ssh.key.read_text().splitlines() if len(line) > 40][:2]


def _references(node: Any) -> Iterator[Secret]:
    if isinstance(node, Secret):
        yield node
    elif isinstance(node, BaseModel):
        for name in type(node).model_fields:
            yield from _references(getattr(node, name))
    elif isinstance(node, dict):
        for one in node.values():
            yield from _references(one)


def _passwords(text: str) -> Iterator[str]:
    for account in (json.loads(text).get("auths") or {}).values():
        yield from (str(account[key]) for key in ("password", "auth") if account.get(key))


def test_no_secret_is_in_the_output_or_the_reports(environment: Environment, healthy: Ended) -> None:
    secrets = [one.strip() for one in secrets_of(environment) if len(one.strip()) > 4]
    assert secrets, "the environment has none to leak"
    everything = healthy.output + "".join(healthy.reports.values())
    leaked = [number for number, one in enumerate(secrets) if one in everything]
    assert not leaked, f"secrets number {leaked} of {len(secrets)} (in the order of secrets_of)"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_reports_and_nothing_else(environment: Environment, how: signal.Signals) -> None:
    if environment.effect in {"static", "read"}:
        return  # nothing is made
    process, folder = environment.begin(how.name.lower(), "--effect", environment.effect)
    environment.wait_for_pods(process, folder)
    process.send_signal(how)
    ended = environment.end(process, folder)
    left = environment.ours()
    assert ended.status == 2, ended.output
    assert left == frozenset(), "when the process ends, nothing is there"
    assert ended.json["exit"] == 2
    assert {"preflight.html", "preflight.xml"} <= set(ended.reports)


def test_the_cluster_cleans_up_after_a_killed_run(
    environment: Environment, record_property: Callable[[str, object], None]
) -> None:
    if environment.effect in {"static", "read"}:
        return  # nothing is made
    process, folder = environment.begin("killed", "--effect", environment.effect)
    environment.wait_for_pods(process, folder)
    process.kill()
    process.wait(10)
    began = time.monotonic()
    left, lifetimes = environment.ours(), environment.lifetimes()
    assert left
    longest = max(deadline + ttl for deadline, ttl in lifetimes)
    while (left := environment.ours()) and time.monotonic() - began < longest + 60:
        time.sleep(2)
    record_property("gone after seconds", round(time.monotonic() - began))
    assert left == frozenset(), f"still there after {longest} s, which is what the Jobs allow themselves"


def test_the_inventory_that_is_written_from_the_cluster_is_taken(environment: Environment, tmp_path: Path) -> None:
    """`python -m preflight init`, where Helm keeps a record of the release."""
    from preflight.__main__ import main
    from preflight.inventory import load

    inventory: Inventory = environment.inventory
    named, output = inventory.cluster.kubeconfig, tmp_path / "found.yaml"
    ways = [f"--connect={source}={to}" for source, to in inventory.connect.items() if source != "*"]
    status = main(
        [
            *("init", "--namespace", inventory.runner.namespace, "-o", str(output), *ways),
            *([f"--kubeconfig={named}"] if named is not None else []),
        ]
    )
    if status == 0:
        assert set(load(output).workers) >= set(inventory.workers)
    else:
        assert not output.exists(), "nothing half done"

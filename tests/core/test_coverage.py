"""How much of the guide a run has judged."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import preflight.facts
from preflight import coverage, guide
from preflight.fact import CATALOGUE, Effect
from preflight.inventory import Inventory
from preflight.run import Stage

PROJECT = Path(__file__).parents[2]
assert preflight.facts  # its import makes the facts known
CHECKS = coverage.declared(PROJECT / "checks")


def measured(inventory: Inventory, judged: Counter[str], *, ceiling: Effect = Effect.PRIVILEGED) -> coverage.Coverage:
    return coverage.measure(
        CHECKS, inventory, stage=Stage.AUTO, ceiling=ceiling, collected=Counter(), judged=judged, reasons=["-k x"]
    )


def everything(inventory: Inventory, up_to: Effect) -> Counter[str]:
    return Counter(
        {
            check.id: check.count(inventory)
            for check in CHECKS
            if check.belongs_to(Stage.AUTO) and check.effect.rank <= up_to.rank
        }
    )


def test_every_check_of_the_guide_is_declared_in_its_order() -> None:
    assert {check.module for check in CHECKS} == set(guide.MODULES)
    modules = [check.module for check in CHECKS]
    assert list(dict.fromkeys(modules)) == list(guide.MODULES)
    assert all(check.facts for check in CHECKS)
    uninstalled = [check for check in CHECKS if check.belongs_to(Stage.UNINSTALLED)]
    assert {check.module for check in uninstalled} == {"test_10_uninstall"}
    assert not any(check.belongs_to(Stage.AUTO) for check in uninstalled)


def test_a_run_of_everything_is_whole_and_needs_no_reason(inventory: Inventory) -> None:
    whole = measured(inventory, everything(inventory, Effect.PRIVILEGED))
    assert whole.whole
    assert whole.reasons == ()
    assert whole.judged == whole.expected > 150


@pytest.mark.parametrize("without", ["test_gitlab_port_answers", "test_node_is_ready"])
def test_one_test_less_is_a_part(inventory: Inventory, without: str) -> None:
    judged = everything(inventory, Effect.PRIVILEGED)
    judged[without] -= 1
    part = measured(inventory, judged)
    assert [(left.check, left.count) for left in part.left_out] == [(without, 1)]
    assert part.sentence == f"{part.expected - 1} of {part.expected} checks judged (-k x)"
    assert list(part.by_section()) == [part.left_out[0].section]


def test_an_effect_below_what_the_inventory_needs_is_a_part(inventory: Inventory) -> None:
    part = measured(inventory, everything(inventory, Effect.PROBE), ceiling=Effect.PROBE)
    assert {left.section for left in part.left_out} >= {"5 Docker-in-Docker"}
    assert part.reasons == ("-k x", "effect probe")
    without_docker = inventory.model_copy(update={"dind": "none"})
    assert measured(without_docker, everything(without_docker, Effect.PROBE), ceiling=Effect.PROBE).whole


def test_privileged_pods_are_for_docker_in_docker_alone() -> None:
    for check in CHECKS:
        if check.effect is Effect.PRIVILEGED:
            assert any("dind" in name for name in check.facts), check.id
            assert all(name in CATALOGUE for name in check.facts)


def test_writing_makes_no_run_more_whole(inventory: Inventory) -> None:
    judged = everything(inventory, Effect.PRIVILEGED)
    assert not measured(inventory, judged, ceiling=Effect.WRITE).whole, "who allows it has it looked at"
    assert measured(inventory, everything(inventory, Effect.WRITE), ceiling=Effect.WRITE).whole

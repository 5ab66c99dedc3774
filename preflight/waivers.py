"""Waivers of the inventory: failures that are known and accepted until a day."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence

import pytest

from preflight import renamed
from preflight.check_items import check_id, target
from preflight.inputs import INVENTORY
from preflight.inventory import Waiver


def apply(config: pytest.Config, checks: Collection[pytest.Item]) -> list[str]:
    """Mark the checks whose failure is waived; returns notes for the operator, a sentence each.

    A waiver is a strict xfail of a failed assert alone: it hides nothing that could not be judged, and a check that
    passes although it is waived is a failure, so that waivers do not outlive their reason. One that names a check by
    its old id holds for the check that is called otherwise now.
    """
    inventory = config.stash.get(INVENTORY, None)
    waivers: Sequence[Waiver] = inventory.waivers if inventory is not None else ()
    notes = []
    ids = {check_id(check) for check in checks}
    everything_collected = not config.getoption("keyword") and not config.getoption("markexpr")
    for waiver in waivers:
        waived = waiver.check if waiver.check in ids else renamed.check(waiver.check)
        if waived != waiver.check:
            file = config.getoption("inventory")
            notes.append(f"waiver for {waiver.check}: this check is now called {waived}; change it in {file}")
        if everything_collected and waived not in ids:
            notes.append(f"waiver for {waiver.check!r}: no selected check has this id")
        if waiver.until < datetime.datetime.now(tz=datetime.UTC).date():
            continue  # past its date, the failure counts
        for check in checks:
            if check_id(check) == waived and waiver.target in {None, target(check)}:
                reason = f"waived until {waiver.until}: {waiver.reason}"
                check.add_marker(pytest.mark.xfail(raises=AssertionError, strict=True, reason=reason))
    return list(dict.fromkeys(notes))

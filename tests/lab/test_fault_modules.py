"""Each fault stands in the module of its section, and the order in which faults are switched on does not matter."""

from __future__ import annotations

from pathlib import Path

from lab import faults, inventory
from preflight import guide


def test_modules_are_the_sections_of_the_guide_in_its_order() -> None:
    markers = [guide.marker(module) for module in guide.MODULES]
    assert [*faults.MODULES] == [marker for marker in markers if marker in faults.MODULES]


def test_every_module_is_loaded() -> None:
    files = {path.stem for path in Path(faults.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(faults.MODULES)
    assert files == {fault.section for fault in faults.known().values()}


def test_all_in_reverse_order_make_a_world() -> None:
    inventory.build(reversed(faults.known()))

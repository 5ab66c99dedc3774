"""Whatever refers to docs/sources.md finds its entry there, and each entry names a public source."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path

from preflight.conclusions import CAUSES

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "sources.md").read_text(encoding="utf-8")
ENTRIES = dict(
    re.findall(r'^<a id="([^"]+)"></a>\n### [^\n]+\n\n(.*?)(?=^<a id=|^## |\Z)', PAGE, re.MULTILINE | re.DOTALL)
)


@functools.cache
def referring() -> dict[str, str]:
    """The texts of the project that may refer to it, by their paths."""
    return {
        str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8")
        for folder in ("preflight", "lab", "checks", "docs", "tests")
        for path in sorted((PROJECT / folder).rglob("*"))
        if path.suffix in {".py", ".md", ".yaml", ".yml", ".sh"} and path != Path(__file__)
    }


def test_anchors_are_unique() -> None:
    anchors = re.findall(r'<a id="([^"]+)"', PAGE)
    assert [anchor for anchor, number in Counter(anchors).items() if number > 1] == []
    assert set(anchors) == set(ENTRIES), "each anchor stands above a heading"


def test_each_entry_names_its_source() -> None:
    assert [anchor for anchor, text in ENTRIES.items() if not re.search(r"^Source: ", text, re.MULTILINE)] == []


def test_every_cause_has_a_source() -> None:
    assert {cause.name: cause.source for cause in CAUSES.values() if cause.source not in ENTRIES} == {}


def test_every_reference_to_a_source_leads_to_an_entry() -> None:
    broken = {
        f"{path}: {anchor}"
        for path, text in referring().items()
        for anchor in re.findall(r"sources\.md#([\w-]+)", text)
        if anchor not in ENTRIES
    }
    local = {anchor for anchor in re.findall(r"\]\(#([\w-]+)\)", PAGE) if anchor not in ENTRIES}
    assert broken | local == set()


def test_every_short_link_of_the_page_is_defined_and_used() -> None:
    text = PAGE.replace("\n", " ")
    defined = set(re.findall(r"^\[([\w-]+)\]: https://", PAGE, re.MULTILINE))
    used = set(re.findall(r"\]\[([\w-]+)\]", text))
    assert used == defined


FOREIGN = re.compile(r"failures \d|reference §|reference \d|(DESIGN|STYLE) §")


def test_nothing_refers_to_what_is_not_in_the_repository() -> None:
    strange = {f"{path}: {match[0]}" for path, text in referring().items() for match in FOREIGN.finditer(text)}
    assert strange == set()

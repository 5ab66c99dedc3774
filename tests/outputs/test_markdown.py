"""The note for a merge request."""

from __future__ import annotations

from typing import Any

import pytest

from preflight.outputs import markdown
from tests.outputs.conftest import Run


def test_the_note_has_verdict_cause_remedy_and_what_was_not_looked_at(run: Run) -> None:
    note = (run.folder / "note.md").read_text()
    assert note.startswith("## Preflight of `gitlab/gitlab-runner`: NO GO\n")
    assert "NO GO: 1 root cause" in note
    assert "1. **`gitlab-port-closed`** (stops all jobs): nothing listens on 192.168.1.50:80" in note
    assert "   - fix: on 192.168.1.50: `gitlab-ctl status`, then `gitlab-ctl start`" in note
    assert "   - explains " in note
    assert "### Not looked at" in note
    assert "### Since" not in note, "there is no baseline"


def test_what_changed_is_listed(document: dict[str, Any]) -> None:
    change = {"name": "test_x[a]", "before": "fail, refused", "now": "pass", "formerly": ""}
    nothing: dict[str, list[Any]] = {kind: [] for kind in ("new", "fixed", "changed", "unchanged", "not_judged")}
    compared = {"file": "old.json", "written": "2026-01-01", "other_environment": "", **nothing, "conclusions": nothing}
    document["baseline"] = {**compared, "fixed": [change] * 22}
    note = markdown.note(document)
    assert "### Since `old.json` (2026-01-01)" in note
    assert "- checks fixed: `test_x[a]`: pass (before: fail, refused)" in note
    assert "- and 2 more" in note
    document["baseline"] = compared
    assert "- nothing\n" in markdown.note(document)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run `kubectl get pods` now", "run `kubectl get pods` now"),
        ("an odd ` and <b>@all</b> #1", r"an odd \` and \<b\>\@all\</b\> \#1"),
        ("/close\n/label ~x", r"/close /label \~x"),
        ("[x](http://e) *b* _i_ | c", r"\[x\](http://e) \*b\* \_i\_ \| c"),
        ("a `b@all", r"a \`b\@all"),
    ],
)
def test_texts_from_outside_are_no_markup(text: str, shown: str) -> None:
    assert markdown.prose(text) == shown


def test_code_is_code_whatever_stands_in_it() -> None:
    assert markdown.code("a ``b`` c") == "``` a ``b`` c ```"
    assert markdown.code("") == ""


def test_no_text_from_outside_begins_a_line(document: dict[str, Any]) -> None:
    hostile = "/close\n/assign @me\n# head"
    for cause in document["conclusions"]:
        cause |= {"cause": hostile, "remedy": [hostile]}
        cause["proofs"] = [{**proof, "observed": hostile, "where": hostile} for proof in cause["proofs"]]
    document["unexplained"] = [document["checks"][0]["id"]]
    document["checks"][0] |= {"cause": hostile, "title": hostile}
    for line in markdown.note(document).splitlines():
        assert line.lstrip(" ").startswith(("#", "-", "1.", "PARTIAL")) or not line
        assert "/assign @" not in line.replace("`", "") or "`" in line

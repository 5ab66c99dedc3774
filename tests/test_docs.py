"""What is generated is what it is generated from, and what the README says can be done."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
assert SPEC is not None
assert SPEC.loader is not None
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)


@pytest.mark.parametrize("name", generate.PAGES)
def test_generated_pages_are_up_to_date(name: str) -> None:
    expected = generate.PAGES[name]().rstrip() + "\n"
    assert (PROJECT / "docs" / name).read_text() == expected, "run: python docs/generate.py"


WITH_PATHS = ("CONTRIBUTING.md", "docs/architecture.md", "docs/writing-a-check.md")


@pytest.mark.parametrize("page", WITH_PATHS)
def test_files_that_are_named_for_contributors_exist(page: str) -> None:
    named = re.findall(r"`((?:preflight|checks|lab|tests|tools|docs)/[\w./*-]+)`", (PROJECT / page).read_text())
    assert named
    for path in named:
        pattern = re.sub(r"\b[A-Z]+\b|(?<=_)[A-Z]+(?=[_.])", "*", path).rstrip("/")  # SUBJECT and NN stand for any
        assert any(PROJECT.glob(pattern)), path


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((PROJECT / page).parent / target).exists(), target


def test_the_readmes_inventory_is_one(tmp_path: Path) -> None:
    from preflight.inventory import load

    text = (PROJECT / "README.md").read_text()
    example = re.findall(r"```yaml\n(gitlab:.*?)```", text, re.DOTALL)[0]
    for name in ("kubeconfig", "id_ed25519", "known_hosts"):
        (tmp_path / name).write_text("")
    (tmp_path / "gitlab-runner-values.yaml").write_text((PROJECT / "gitlab-runner-values.yaml").read_text())
    example = example.replace("~/.ssh/id_ed25519}", "id_ed25519, known_hosts: known_hosts}")
    example = example.replace("cluster:", "cluster:\n  kubeconfig: kubeconfig")
    file = tmp_path / "prod.yaml"
    file.write_text(example)
    assert load(file).workers


def test_ci_calls_the_readmes_test_command() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert "\npip install tox && tox -p all\n" in readme
    assert (PROJECT / ".ci" / "run").read_text().rstrip().endswith("\npip install tox && tox -p all")


COVERED = [(section, row) for section, rows in generate.coverage()["sections"].items() for row in rows]


def test_each_row_of_the_guide_is_covered_or_says_why_not() -> None:
    for _, row in COVERED:
        assert len([kind for kind in generate.KINDS if row.get(kind)]) == 1, row
        assert row.get("checks") or row.get("why"), row
        assert set(row) <= {*generate.KINDS, "checks", "why"}, row


def test_the_guides_sections_stand_in_its_order() -> None:
    numbers = [[int(part) for part in re.findall(r"\d+", section.split()[0])[:2]] for section, _ in COVERED]
    assert numbers == sorted(numbers)
    assert {number[0] for number in numbers} == {*range(1, 13), 14}, "13 is a list of links"


def test_each_check_that_covers_the_guide_exists() -> None:
    named = {name for _, row in COVERED for name in row.get("checks", ())}
    pending = set(generate.coverage()["pending"] or ())
    assert named - set(generate.check_numbers()) == pending

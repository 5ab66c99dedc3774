"""Templates are compiled once, and again where anything that their code depends on is another."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import pytest

from preflight.pages.compiled import CompiledTemplates


def rendered(templates: Path, **options: object) -> tuple[str, int]:
    """What a fresh environment renders of a.j2, and how many templates it compiled for that."""
    compiled = 0

    class Environment(jinja2.Environment):
        def compile(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
            nonlocal compiled
            compiled += 1
            return super().compile(*arguments, **named)  # type: ignore[call-overload]

    environment = Environment(
        loader=jinja2.FileSystemLoader(templates),
        **options,  # type: ignore[arg-type]
    )
    environment.bytecode_cache = CompiledTemplates(templates, environment)
    return environment.get_template("a.j2").render(name="x"), compiled


def test_a_template_is_compiled_once_for_its_text_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    template = tmp_path / "a.j2"
    template.write_text("{% if name %}\n{{ name }}\n{% endif %}\n")
    assert [rendered(tmp_path) for _ in range(2)] == [("\nx\n", 1), ("\nx\n", 0)]
    assert [rendered(tmp_path, trim_blocks=True) for _ in range(2)] == [("x\n", 1), ("x\n", 0)], "other options"
    template.write_text("hello {{ name }}")
    assert [rendered(tmp_path) for _ in range(2)] == [("hello x", 1), ("hello x", 0)], "another text"
    for file in (tmp_path / "__pycache__").iterdir():
        file.write_bytes(file.read_bytes()[:20] + b"broken")
    assert [rendered(tmp_path) for _ in range(2)] == [("hello x", 1), ("hello x", 0)], "a broken file"


@pytest.mark.parametrize("why", ["no bytecode is written", "the folder is a file"])
def test_where_nothing_can_be_kept_templates_are_compiled_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    (tmp_path / "a.j2").write_text("hello {{ name }}")
    monkeypatch.setattr(sys, "dont_write_bytecode", why == "no bytecode is written")
    if why == "the folder is a file":
        (tmp_path / "__pycache__").write_text("")
    assert [rendered(tmp_path) for _ in range(2)] == [("hello x", 1)] * 2

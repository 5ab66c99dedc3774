"""A YAML file is read with the line of each key; whatever is wrong with it is reported with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight.yamlfile import YamlFileError, read_yaml

TEXT = """\
runners:
  tags: [a, b]
  config: |
    [[runners]]
  tags: [c]
"""


def test_keys_and_items_have_lines_and_duplicates_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(TEXT)
    document, positions = read_yaml(file, allow_duplicates=True)
    assert document["runners"]["tags"] == ["c"]
    assert positions.line(("runners", "config")) == 3
    assert positions.line(("runners", "config", "absent")) == 3, "the nearest key around it"
    assert positions.duplicates == [(("runners", "tags"), 5)]
    assert positions.blocks == {("runners", "config")}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (TEXT.encode(), "values.yaml:5: runners.tags: found twice, expected once"),
        (b"a: 1\nb: \xff\n", "values.yaml:2: found a byte that is not UTF-8, expected UTF-8 text"),
        (b"a: 1\nb: [\n", "values.yaml:3: not YAML: "),
        (None, "values.yaml: can't be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_reported_with_its_place(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "values.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(YamlFileError) as caught:
        read_yaml(file)
    (reported,) = caught.value.problems
    assert problem in reported
    assert caught.value.file == file

"""A small text can't become a large document: aliases are counted as if they were written out, and depth is bounded."""

from __future__ import annotations

import base64
import gzip
import json
import tomllib
from pathlib import Path

import pytest
import yaml

from preflight.__main__ import main
from preflight.clients.kubeconfig import KubeconfigError, check_kubeconfig
from preflight.documents import DEEPEST, load_json, load_toml
from preflight.inventory import InventoryError, load
from preflight.probes.release import NotARecordError, decode
from preflight.values import load as load_values
from preflight.yamltext import compose_documents, compose_yaml, line_and_words, load_yaml
from tests.promises.regexes import seconds

LAUGHS = "\n".join(
    ["a0: &a0 x", *(f"a{index}: &a{index} [{', '.join([f'*a{index - 1}'] * 9)}]" for index in range(1, 8))]
)
"""Nine to the power of seven nodes in about 400 bytes."""
MERGES = "\n".join(
    ["a0: &a0 {x: y}", *(f"a{index}: &a{index} {{<<: [{', '.join([f'*a{index - 1}'] * 9)}]}}" for index in range(1, 8))]
)
ITSELF = "a: &a\n  b: [*a]"
CHAIN = "\n".join(["a0: &a0 x", *(f"a{index}: &a{index} [*a{index - 1}]" for index in range(1, 500))])
DEEP = "a: " + "[" * 150 + "]" * 150
HOSTILE = {"laughs": LAUGHS, "merges": MERGES, "itself": ITSELF, "chain": CHAIN, "deep": DEEP}
SOON = 5.0  # seconds of the processor; without a bound it is minutes, and gigabytes


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("read", [load_yaml, compose_yaml, compose_documents])
def test_a_document_that_is_too_large_is_an_error_with_its_line(read: object, name: str) -> None:
    assert callable(read)

    def refused(text: str) -> None:
        with pytest.raises(yaml.YAMLError) as caught:
            read(text)
        line, words = line_and_words(caught.value)
        assert line is not None
        assert line <= text.count("\n") + 1
        assert words

    assert seconds(refused, HOSTILE[name]) < SOON


def test_ordinary_aliases_are_read() -> None:
    text = "a: &a {b: 1, c: [1, 2]}\nd: [*a, *a]\ne: {<<: *a, f: *a}"
    assert load_yaml(text)["e"] == {"b": 1, "c": [1, 2], "f": {"b": 1, "c": [1, 2]}}


@pytest.mark.parametrize("name", HOSTILE)
def test_inventory_values_and_kubeconfig_are_refused_with_file_and_line(inventory_file: Path, name: str) -> None:
    hostile = HOSTILE[name]
    folder = inventory_file.parent

    def refused(_: str) -> None:
        whole = inventory_file.read_text()
        inventory_file.write_text(hostile)
        with pytest.raises(InventoryError, match=r"inventory\.yaml:\d+: "):
            load(inventory_file)
        inventory_file.write_text(whole)
        (folder / "kubeconfig").write_text(hostile)
        with pytest.raises(KubeconfigError, match="kubeconfig"):
            check_kubeconfig(folder / "kubeconfig", None)
        (folder / "values.yaml").write_text(hostile)
        with pytest.raises(InventoryError, match=r"values\.yaml:\d+: "):
            load_values([folder / "values.yaml"], [], release="r", namespace="n")

    assert seconds(refused, "") < SOON


WRAPPERS = {
    "argo": "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: x}\nspec:\n  source:\n    chart: "
    "gitlab-runner\n    helm:\n      values: |\n",
    "flux": "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: x}\nspec:\n  chart: {spec: "
    "{chart: gitlab-runner}}\n  values:\n",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_other_tools_wrap_is_refused(
    wrapper: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(WRAPPERS[wrapper] + "".join(f"        {line}\n" for line in HOSTILE[name].splitlines()))
    assert seconds(lambda _: main(["lint", str(file), "--helm", "none"]), "") < SOON
    said = "".join(capsys.readouterr())
    assert "app.yaml" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("text", ["[" * 150 + "]" * 150, "[" * 200_000, '{"a":' * 150 + "1" + "}" * 150])
def test_json_that_nests_too_deep_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nests deeper than|Expecting value"):
        load_json("\n\n" + text)
    with pytest.raises(NotARecordError):
        decode(base64.b64encode(base64.b64encode(gzip.compress(text.encode()))).decode())


def test_the_line_of_depth_is_named() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        load_json('{\n"a":\n' + "[" * 150 + "]" * 150 + "}")
    assert caught.value.lineno == 3


@pytest.mark.parametrize(
    "text", ["a = 1\nb = " + "[" * 150 + "]" * 150, "a = 1\n[" + ".".join("b" * 150) + "]", "a = 1\nb=" + "[" * 200_000]
)
def test_toml_that_nests_too_deep_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match=r"nests deeper than 100 levels \(at line 2, |at end of document"):
        load_toml(text)


def test_what_is_as_deep_as_anything_is_read() -> None:
    assert load_json("[" * DEEPEST + "]" * DEEPEST)
    assert load_toml("a = " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))

"""Values as people write them are judged by what Helm and the runner make of them, and by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from preflight.jobsettings import job_shape
from preflight.jobshape import JobShape
from preflight.probes import lint
from preflight.releasenames import names_of
from preflight.values import Values, load, merge
from tests import expectations

CASES: list[dict[str, Any]] = expectations.read("probes/everyday_values.yaml")
BASE = {"gitlabUrl": "http://gitlab.example.com/", "rbac": {"create": True}, "metrics": {"enabled": True}}
HEADER = "[[runners]]\n[runners.kubernetes]\n"


def values_of(case: dict[str, Any], folder: Path) -> Values:
    tree: dict[str, Any] = dict(BASE)
    config = case.get("toml") or (HEADER + case["config"] + "\n" if "config" in case else None)
    if config is not None:
        tree["runners"] = {"config": config}
    given = case.get("values", {})
    tree = merge(tree, given)
    if "config" in (given.get("runners") or {}):
        tree["runners"]["config"] = given["runners"]["config"]
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(tree))
    return load([file], release="gitlab-runner", namespace="gitlab", chart=case.get("chart", "0.80.1"))


def plain(value: Any) -> Any:
    """Tuples as lists, as YAML has them."""
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("case", CASES, ids=[str(case["name"]) for case in CASES])
def test_values_come_to_what_helm_and_the_runner_make_of_them(case: dict[str, Any], tmp_path: Path) -> None:
    values = values_of(case, tmp_path)
    expected = lint.Expected(
        chart=values.chart, gitlab_url="http://gitlab.example.com/", resolvers=("10.0.0.2",), privileged=False
    )
    found = lint.lint(values, expected)
    assert sorted({str(finding.fault) for finding in found.findings}) == sorted(case.get("faults", [])), found.findings
    assert [".".join(setting.path) for setting in values.unread] == case.get("unread", [])
    shape = job_shape(values) if "shape" in case else None
    for name, wanted in case.get("shape", {}).items():
        assert isinstance(shape, JobShape)
        assert plain(getattr(shape, name)) == wanted, name
    names = names_of(values)
    for name, wanted in case.get("names", {}).items():
        assert getattr(names, name) == wanted, name


def test_no_case_stands_twice() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) > 140

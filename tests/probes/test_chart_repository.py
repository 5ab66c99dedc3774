"""The chart repository, read from its index and over HTTP."""

from __future__ import annotations

import pytest
import yaml

from preflight.faults import ReleaseFault
from preflight.probes import chart_repository

REPOSITORY = "https://charts.example.com"
INDEX = yaml.safe_dump(
    {
        "apiVersion": "v1",
        "entries": {
            "gitlab": [{"version": "9.3.0", "appVersion": "v18.3.0"}],
            "gitlab-runner": [
                {"version": "0.81.0-rc1", "appVersion": "18.4.0"},
                {"version": "0.80.0", "appVersion": "18.3.0"},
                {"version": "0.9.0", "appVersion": "12.3.0"},
            ],
        },
    }
)


def read(version: str, text: str = INDEX) -> chart_repository.ChartVersion:
    return chart_repository.read_index(text, version, repository=REPOSITORY)


def test_a_version_that_is_there_comes_with_its_runner() -> None:
    found = read("0.80.0")
    assert found.fault is None
    assert (found.app_version, found.newest) == ("18.3.0", "0.80.0"), "a release candidate is not the newest"


def test_a_v_in_front_is_no_difference() -> None:
    assert read("v0.80.0").app_version == "18.3.0"


def test_a_version_that_is_not_there_is_told_beside_the_newest_by_number_not_by_letter() -> None:
    found = read("0.82.0", INDEX.replace("0.81.0-rc1", "0.10.0"))
    assert found.fault is ReleaseFault.CHART_MISSING
    assert "newest of its 3 versions is 0.80.0" in found.cause


def test_a_repository_without_the_chart_says_so() -> None:
    found = read("0.80.0", "apiVersion: v1\nentries: {gitlab: []}\n")
    assert found.fault is ReleaseFault.CHART_MISSING
    assert "no chart gitlab-runner at all" in found.cause


@pytest.mark.parametrize("text", ["<html>sign in</html>", "", "[1, 2]", "entries: 3", "a: [", "\x00"])
def test_what_is_no_index_is_no_repository(text: str) -> None:
    assert read("0.80.0", text).fault is ReleaseFault.NOT_A_REPOSITORY


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("alpine-v18.3.0", "18.3.0"),
        ("v18.3.0", "18.3.0"),
        ("18.3.0", "18.3.0"),
        ("ubuntu-v18.3.1-fips", "18.3.1"),
        ("latest", ""),
        ("alpine3.21", ""),
        ("", ""),
    ],
)
def test_the_runners_version_stands_in_the_tag(tag: str, version: str) -> None:
    assert chart_repository.runner_of(tag) == version


@pytest.mark.parametrize(
    ("tag", "fault"),
    [("alpine-v18.3.0", None), ("", None), ("latest", None), ("alpine-v18.4.0", ReleaseFault.APP_VERSION)],
)
def test_chart_and_image_are_of_one_version(tag: str, fault: ReleaseFault | None) -> None:
    assert chart_repository.with_image(read("0.80.0"), tag).fault is fault


def test_versions_compare_by_number() -> None:
    assert (
        chart_repository.numbers("0.9.0") < chart_repository.numbers("0.10.0") < chart_repository.numbers("v1.0.0-rc1")
    )
    assert chart_repository.numbers("latest") == (0, 0, 0)

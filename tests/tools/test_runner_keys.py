"""The table of the runner's keys is made from its sources: tried on sources that are made up."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.runner_keys import UnknownTypeError, main

COMMON = """
package common

import (
	"time"

	"gitlab.com/gitlab-org/gitlab-runner/common/other"
	"gitlab.com/gitlab-org/gitlab-runner/helpers/docker"
	api "k8s.io/api/core/v1"
)

const (
	PullPolicyAlways       = "always"
	PullPolicyNever        = "never"
	PullPolicyIfNotPresent = "if-not-present"
	ColourRed  Colour      = "red"
	ColourBlue Colour      = "blue"
)

type Colour string
type StringOrArray []string
type Retries map[string]int

func (p *StringOrArray) UnmarshalTOML(data any) error { return nil }

type Config struct {
	Concurrent int             `toml:"concurrent"`
	LogLevel   *string         `toml:"log_level" description:"Define it (one of: loud, quiet)"`
	Runners    []*RunnerConfig `toml:"runners"`
	Loaded     bool            `toml:"-"`
}

type RunnerConfig struct {
	Name string `toml:"name" env:"RUNNER_NAME"`
	Credentials
	Settings
}

type Credentials struct {
	Token string `toml:"token"`
	Name  string `toml:"name"`
}

type Settings struct {
	Executor   *Executor      `toml:"executor" namespace:"exec"`
	Kept       other.Kept     `toml:"kept"`
	Docker     *docker.Config `toml:"docker"`
	NoTag      int
	unexported string
}

type Executor struct {
	PullPolicy StringOrArray    `toml:"pull_policy"`
	Colour     Colour           `toml:"colour"`
	Timeout    *time.Duration   `toml:"timeout,omitzero"`
	Interval   *int64           `toml:"poll_interval,omitempty"`
	Weight     int32            `toml:"weight" env:"@WEIGHT"`
	Adds       []api.Capability `toml:"adds"`
	Ratios     []float64        `toml:"ratios"`
	Labels     map[string]string
	Retries    Retries          `toml:"retries"`
	Free       map[string]any   `toml:"free"`
NEW}
"""
FILES = {
    "common/config.go": COMMON,
    "common/config_test.go": "package common\n\ntype Config struct{ Test string }\n",
    "common/other/kept.go": """
package other

import "time"

type Kept struct {
	Until time.Time `toml:"until"`
}
""",
    "helpers/docker/docker.go": 'package docker\n\ntype Config struct {\n\tHost string `toml:"host"`\n}\n',
    "helpers/featureflags/flags.go": """
package featureflags

const Fast string = "FF_FAST"

var flags = []FeatureFlag{
	{
		Name:         Fast,
		DefaultValue: true,
		Deprecated:   false,
	},
}
""",
    "cache/s3/adapter.go": 'package s3\n\nfunc init() { cache.Factories().Register("s3", New) }\n',
    "shells/bash.go": 'package shells\n\nfunc init() { common.RegisterShell(&BashShell{Shell: "sh"}) }\n',
    "shells/powershell.go": "package shells\n",
}
KEYS: dict[str, Any] = {
    "concurrent": "integer",
    "log_level": {"type": "optional text", "words": ["loud", "quiet"]},
    "runners": "tables",
    "runners.NoTag": "integer",
    "runners.docker": "table",
    "runners.docker.host": "text",
    "runners.executor": "table",
    "runners.executor.Labels": "map of text",
    "runners.executor.adds": "list of text",
    "runners.executor.colour": {"type": "text", "words": ["red", "blue"]},
    "runners.executor.free": "map of anything",
    "runners.executor.poll_interval": {"type": "optional integer", "unit": "seconds"},
    "runners.executor.pull_policy": {"type": "text or list of text", "words": ["always", "if-not-present", "never"]},
    "runners.executor.ratios": "list of number",
    "runners.executor.retries": "map of integer",
    "runners.executor.timeout": "duration",  # the zero of a pointer with omitzero is lost when it is saved
    "runners.executor.weight": {"type": "integer32", "env": "EXEC_WEIGHT"},
    "runners.kept": "table",
    "runners.kept.until": "time",
    "runners.name": {"type": "text", "env": "RUNNER_NAME"},
    "runners.token": "text",
}
Checkout = Callable[..., Path]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Make a repository with a tag for each version, whose executor has further fields."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def make(**fields: str) -> Path:
        git("init", "--quiet")
        for tag, further in fields.items():
            for name, content in FILES.items():
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content.replace("NEW", further))
            git("add", "--all")
            git("commit", "--quiet", "--allow-empty", "--message", tag)
            git("tag", tag.replace("_", "."))
        return tmp_path

    return make


def written(checkout: Path, *arguments: str) -> dict[str, Any]:
    table = checkout / "keys.yaml"
    assert main(["write", str(checkout), "--table", str(table), *arguments]) == 0
    content: dict[str, Any] = yaml.safe_load(table.read_text())
    return content


def test_every_key_of_the_structs(checkout: Checkout) -> None:
    content = written(checkout(v17_0_0=""))
    assert content["keys"] == KEYS
    assert content["feature_flags"] == {"FF_FAST": {"default": True}}


def test_versions_with_and_without_a_key(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    later = '\tSoon bool `toml:"soon"`\n'
    content = written(checkout(v16_9_0="", v17_0_0="", v17_1_0="", v17_1_1=later, v17_10_0="", v17_11_0_rc1="x"))
    assert content["versions"] == ["17.0", "17.1", "17.10"]
    assert content["keys"]["runners.executor.soon"] == {"type": "boolean", "since": "17.1", "until": "17.10"}
    assert "17.1 (v17.1.1): 22 keys, missing 0, unreal 0" in capsys.readouterr().out


def test_a_key_that_changes_its_type(checkout: Checkout) -> None:
    content = written(checkout(v17_0_0='\tSoon bool `toml:"soon"`\n', v17_1_0='\tSoon *bool `toml:"soon"`\n'))
    assert content["keys"]["runners.executor.soon"] == [
        {"type": "boolean", "until": "17.1"},
        {"type": "optional boolean", "since": "17.1"},
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("  runners.token: text\n", ""), "missing 1, unreal 0, otherwise 0"),
        (
            ("runners.token: text\n", "runners.token: text\n  runners.made_up: text\n"),
            "missing 0, unreal 1, otherwise 0",
        ),
        (("runners.token: text\n", "runners.token: integer\n"), "missing 0, unreal 0, otherwise 1"),
        (("default: true", "default: false"), "feature flags, which differ"),
    ],
)
def test_a_table_that_does_not_agree_fails_the_check(
    checkout: Checkout, capsys: pytest.CaptureFixture[str], change: tuple[str, str], told: str
) -> None:
    sources = checkout(v17_0_0="")
    written(sources)
    table = sources / "keys.yaml"
    assert main(["check", str(sources), "--table", str(table)]) == 0
    table.write_text(table.read_text().replace(*change))
    assert main(["check", str(sources), "--table", str(table)]) == 1
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ('\tOdd sync.Mutex `toml:"odd"`\n', "type of another module"),
        (
            '\tOdd Selfish `toml:"odd"`\n}\ntype Selfish struct{}\nfunc (s *Selfish) UnmarshalText(t []byte) error {\n',
            "decodes itself",
        ),
        ('\tOdd func() `toml:"odd"`\n', "func"),
    ],
)
def test_a_type_that_is_not_known_is_an_error(checkout: Checkout, field: str, told: str) -> None:
    sources = checkout(v17_0_0=field)
    with pytest.raises(UnknownTypeError, match=told):
        written(sources)

"""Type declarations of Go are read without Go."""

from __future__ import annotations

import pytest

from tools.go_types import GoSyntaxError, Map, Named, Other, Pointer, Slice, Struct, read_package

SOURCE = """
// Package made is up.
package made

import (
	"time"

	api "example.com/api/v1"
	"example.com/thing/v2"
)

/* type Commented struct { Out string } */

type (
	Word  string
	Words []Word
	Other = thing.Other
)

const (
	WordOne Word = "one"
	WordTwo      = Word("two")
	plain        = "plain"
	number       = 3
	glued        = "a" +
		"b"
)

type Settings struct {
	Base
	*thing.Shared `toml:"shared"`

	A, B   int64             `toml:"a,omitempty" json:"b"` // of both
	When   *time.Duration    `toml:"when" description:"such as \\"5m\\", or {braces} and a ) bracket"`
	Names  []string
	Lists  map[string][]api.Kind `toml:"-"`
	Free   map[string]interface{}
	Call   func(a int, b ...string) (string, error)
	Pipe   <-chan struct{}
	Inner  struct{ X bool }
	Maker  interface{ Make() error }
	hidden sync
}

type Generic[T any] struct{ Value T }

func (w *Words) UnmarshalTOML(data any) error {
	type local struct{ Not string }
	if x := "}"; x == `{` { return nil }
	return nil
}

func (Settings) Do(f func() struct{ A int }) map[string]int { return nil }

func plainOne() {}

var after = Settings{A: 1}

type Last bool
"""


def test_declarations() -> None:
    package = read_package([SOURCE])
    assert sorted(package.types) == ["Generic", "Last", "Other", "Settings", "Word", "Words"]
    assert package.types["Word"].type == Named("string")
    assert package.types["Words"].type == Slice(Named("Word"))
    assert package.types["Other"].alias
    assert package.types["Other"].imports["thing"] == "example.com/thing/v2"
    assert package.types["Other"].imports["api"] == "example.com/api/v1"
    assert package.methods["Words"] == {"UnmarshalTOML"}
    assert package.methods["Settings"] == {"Do"}
    assert package.constants == {"WordOne": ("Word", "one"), "WordTwo": ("Word", "two"), "plain": ("", "plain")}


def test_fields() -> None:
    struct = read_package([SOURCE]).types["Settings"].type
    assert isinstance(struct, Struct)
    fields = {field.name: field for field in struct.fields}
    assert list(fields) == [
        "Base", "Shared", "A", "B", "When", "Names", "Lists", "Free", "Call", "Pipe", "Inner", "Maker", "hidden",
    ]  # fmt: skip
    assert fields["Base"].embedded
    assert fields["Shared"].type == Pointer(Named("Shared", "thing"))
    assert fields["Shared"].tags == {"toml": "shared"}
    assert fields["A"].tags == fields["B"].tags == {"toml": "a,omitempty", "json": "b"}
    assert fields["When"].type == Pointer(Named("Duration", "time"))
    assert fields["When"].tags["description"] == 'such as "5m", or {braces} and a ) bracket'
    assert fields["Lists"].type == Map(Named("string"), Slice(Named("Kind", "api")))
    assert fields["Free"].type == Map(Named("string"), Named("any"))
    assert isinstance(fields["Call"].type, Other)
    assert isinstance(fields["Inner"].type, Struct)
    assert not fields["hidden"].exported


def test_what_is_not_understood_is_said() -> None:
    with pytest.raises(GoSyntaxError, match="embedded"):
        read_package(["package x\ntype A struct {\n\t*[]string\n}\n"])

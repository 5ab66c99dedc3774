"""Write the table of what a runner reads in its TOML, from the sources of the runner itself.

    python -m tools.runner_keys write CHECKOUT [--from 17.0]
    python -m tools.runner_keys check CHECKOUT [--from 17.0]

CHECKOUT is a clone of gitlab-runner with its tags, bare or not. For each minor version the newest of its tags is read:
the struct that ``config.toml`` is decoded into, and all that it holds. Facts alone are taken: a key's name, its type,
the words it allows, its unit, the variable that sets it at registering, the first version with it and the first
without. ``check`` compares the table in the package with the structs, key by key, and says what differs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from tools.go_types import ANYTHING, Declaration, Field, Map, Named, Package, Pointer, Slice, Struct, Type, read_package

TABLE = Path(__file__).parent.parent / "preflight" / "runner_config" / "keys.yaml"
MODULE = "gitlab.com/gitlab-org/gitlab-runner"
ROOT = "common"  # the package with the struct that is decoded
ROOT_STRUCT = "Config"

Keys = dict[str, dict[str, Any]]  # by dotted path; each: type, and what else is known

_BASIC = {
    "string": "text",
    "bool": "boolean",
    "int": "integer",
    "int64": "integer",
    "int32": "integer32",
    "float64": "number",
    "any": "anything",
}
# Types of other modules, by the path of their package. Each that is met and not listed is an error.
_FOREIGN = {
    ("time", "Duration"): "duration",
    ("time", "Time"): "time",
    ("k8s.io/api/core/v1", "Capability"): "text",
    ("k8s.io/api/core/v1", "ProcMountType"): "text",
}
# Types that decode themselves. Each that is met and not listed is an error.
_DECODERS = {"StringOrArray": "text or list of text", "KubernetesNFS": "own table"}
# Words of keys whose Go type does not name them: constants of the root package.
_WORDS_BY_CONSTANT = dict.fromkeys(
    ("pull_policy", "allowed_pull_policies"), ("PullPolicyAlways", "PullPolicyIfNotPresent", "PullPolicyNever")
)
# With the option omitzero the runner saves no zero of these: what was zero is not set once it has registered.
_ZERO_IS_LOST = ("optional integer", "optional duration", "optional number")
_UNITS = (
    (re.compile(r"\bkilobytes\b", re.IGNORECASE), "kilobytes"),
    (re.compile(r"\bmilliseconds\b", re.IGNORECASE), "milliseconds"),
    (re.compile(r"\bin bytes\b", re.IGNORECASE), "bytes"),
)
_IN_SECONDS = re.compile(r"(?:_seconds|_timeout|_interval|IdleTime)$")
_ONE_OF = re.compile(r"\(one of: ([\w, -]+)\)")
_FLAG = re.compile(
    r"\{\s*Name:\s*(?P<name>\w+|\"[^\"]+\"),\s*DefaultValue:\s*(?P<default>true|false),"
    r"\s*Deprecated:\s*(?P<deprecated>true|false)"
)
_CACHE = re.compile(r'cache\.Factories\(\)\.Register\("(\w+)"')
_SHELL = re.compile(r'RegisterShell\((?:WrapShell\()?&\w+\{Shell: (?P<name>\w+|"\w+")')
_TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


class UnknownTypeError(ValueError):
    """A key has a type that this tool does not know how the runner decodes."""


@dataclass(frozen=True)
class Sources:
    """The runner's sources at one tag."""

    checkout: Path
    tag: str
    _packages: dict[str, Package] = field(default_factory=dict, compare=False)

    def package(self, folder: str) -> Package:
        """What a folder's files declare, tests left out."""
        if folder not in self._packages:
            names = _git(self.checkout, "ls-tree", "--name-only", f"{self.tag}:{folder}").split()
            wanted = [name for name in names if name.endswith(".go") and not name.endswith("_test.go")]
            self._packages[folder] = read_package(self.text(f"{folder}/{name}") for name in wanted)
        return self._packages[folder]

    @cached_property
    def cache_types(self) -> list[str]:
        """The kinds of storage for which there is an adapter."""
        folders = _git(self.checkout, "ls-tree", "--name-only", f"{self.tag}:cache").split()
        adapters = [f"cache/{name}/adapter.go" for name in folders if "." not in name and name != "test"]
        present = _git(self.checkout, "ls-tree", "-r", "--name-only", self.tag, "--", *adapters).split()
        return sorted(name for path in present for name in _CACHE.findall(self.text(path)))

    @cached_property
    def shells(self) -> list[str]:
        """The shells that are registered: another one is not found."""
        constants = self.package("shells").constants
        sources = (self.text("shells/bash.go"), self.text("shells/powershell.go"))
        names = [match["name"] for source in sources for match in _SHELL.finditer(source)]
        return sorted(constants[name][1] if name in constants else name.strip('"') for name in names)

    def text(self, path: str) -> str:
        """A file's text."""
        return _git(self.checkout, "show", f"{self.tag}:{path}")

    @cached_property
    def flags(self) -> dict[str, bool]:
        """The feature flags and what each is without being set."""
        package = self.package("helpers/featureflags")
        names = {name: text for name, (_, text) in package.constants.items()}
        listed = _FLAG.finditer(self.text("helpers/featureflags/flags.go"))
        return {
            names.get(match["name"], match["name"].strip('"')): match["default"] == "true"
            for match in listed
            if match["name"] != '"FF_TEST_FEATURE"'
        }


@dataclass(frozen=True, slots=True)
class _Place:
    """A type as it stands in a package, with the path of keys to it."""

    folder: str
    imports: Mapping[str, str]
    path: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()


class Reader:
    """Collects the keys of the struct that the runner decodes its TOML into."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.keys: Keys = {}

    def read(self) -> Keys:
        """Every key.

        Raises:
            UnknownTypeError: how one is decoded is not known here.
        """
        root = self._sources.package(ROOT).types[ROOT_STRUCT]
        struct, place = root.type, _Place(ROOT, root.imports)
        if not isinstance(struct, Struct):
            msg = f"{ROOT_STRUCT} is no struct"
            raise UnknownTypeError(msg)
        self._struct(struct, place)
        return self.keys

    def _struct(self, struct: Struct, place: _Place) -> None:
        for name, declared, home in self._visible(struct, place):
            tags = declared.tags
            own = tuple(part for part in (tags.get("namespace", ""),) if part)
            inner = _Place(home.folder, home.imports, (*place.path, name), (*place.namespaces, *own))
            self._key(inner, declared)

    def _visible(self, struct: Struct, place: _Place) -> list[tuple[str, Field, _Place]]:
        """The fields that the decoder sees: embedded structs are flattened, and an outer name hides an inner one."""
        level = [(struct, place)]
        seen: dict[str, tuple[str, Field, _Place]] = {}
        while level:
            below: list[tuple[Struct, _Place]] = []
            here: dict[str, list[tuple[Field, _Place]]] = {}
            for current, home in level:
                for declared in current.fields:
                    tag = declared.tags.get("toml", "")
                    name = tag.split(",")[0]
                    if tag == "-" or not (declared.exported or declared.embedded):
                        continue
                    embedded = self._embedded(declared, home) if declared.embedded and not name else None
                    if embedded is not None:
                        below.append(embedded)
                    else:
                        here.setdefault(name or declared.name, []).append((declared, home))
            for name, candidates in here.items():
                tagged = [one for one in candidates if one[0].tags.get("toml", "").split(",")[0]]
                chosen = tagged or candidates
                if name not in seen and len(chosen) == 1:
                    seen[name] = (name, *chosen[0])
            level = below
        return list(seen.values())

    def _embedded(self, declared: Field, place: _Place) -> tuple[Struct, _Place] | None:
        base = declared.type.to if isinstance(declared.type, Pointer) else declared.type
        declaration, home = self._declaration(base, place)
        if declaration is None or not isinstance(declaration.type, Struct):
            return None
        return declaration.type, home

    def _key(self, place: _Place, declared: Field) -> None:
        path = ".".join(place.path)
        kind, struct = self._kind(declared.type, place)
        if "omitzero" in declared.tags.get("toml", "") and kind in _ZERO_IS_LOST:
            kind = kind.removeprefix("optional ")
        known: dict[str, Any] = {"type": kind}
        if words := self._words(declared, place):
            known["words"] = words
        if unit := _unit(kind, place.path[-1], declared.tags.get("description", "")):
            known["unit"] = unit
        if variable := declared.tags.get("env", ""):
            prefix = "_".join(place.namespaces).upper()
            known["env"] = f"{prefix}_{variable[1:]}" if variable.startswith("@") else variable
        self.keys[path] = known
        if struct is not None:
            inner = _Place(struct[1].folder, struct[1].imports, place.path, place.namespaces)
            self._struct(struct[0], inner)

    def _kind(self, declared: Type, place: _Place) -> tuple[str, tuple[Struct, _Place] | None]:
        """The word for a type, and the struct whose fields are the keys below."""
        match declared:
            case Pointer(to):
                kind, struct = self._kind(to, place)
                return (kind if struct or kind.startswith("optional ") else f"optional {kind}"), struct
            case Slice(of):
                kind, struct = self._kind(of, place)
                lists = {"table": "tables", "own table": "own tables"}
                return lists.get(kind, f"list of {kind.removeprefix('optional ')}"), struct
            case Map(key, value):
                if self._kind(key, place)[0] != "text":
                    msg = f"{'.'.join(place.path)}: a map whose keys are no text"
                    raise UnknownTypeError(msg)
                kind, struct = self._kind(value, place)
                if struct:
                    msg = f"{'.'.join(place.path)}: a map of tables"
                    raise UnknownTypeError(msg)
                return f"map of {kind}", None
            case Struct():
                return "table", (declared, place)
            case Named():
                return self._named(declared, place)
        msg = f"{'.'.join(place.path)}: {declared}"
        raise UnknownTypeError(msg)

    def _named(self, declared: Named, place: _Place) -> tuple[str, tuple[Struct, _Place] | None]:
        if not declared.package and declared.name in _BASIC:
            return _BASIC[declared.name], None
        if declared == ANYTHING:
            return "anything", None
        foreign = _FOREIGN.get((place.imports.get(declared.package, ""), declared.name))
        if foreign:
            return foreign, None
        declaration, home = self._declaration(declared, place)
        if declaration is None:
            msg = f"{'.'.join(place.path)}: {declared.package}.{declared.name} is a type of another module"
            raise UnknownTypeError(msg)
        methods = self._sources.package(home.folder).methods.get(declaration.name, set())
        if methods & {"UnmarshalTOML", "UnmarshalText"}:
            if declaration.name not in _DECODERS:
                msg = f"{'.'.join(place.path)}: {declaration.name} decodes itself"
                raise UnknownTypeError(msg)
            kind = _DECODERS[declaration.name]
            return kind, (declaration.type, home) if isinstance(declaration.type, Struct) else None
        return self._kind(declaration.type, home)

    def _declaration(self, declared: Type, place: _Place) -> tuple[Declaration | None, _Place]:
        """The declaration of a named type of the runner's own packages, and where it stands."""
        if not isinstance(declared, Named):
            return None, place
        folder = place.folder
        if declared.package:
            module, _, folder = place.imports.get(declared.package, "").partition(f"{MODULE}/")
            if module or not folder:
                return None, place
        declaration = self._sources.package(folder).types.get(declared.name)
        if declaration is None:
            return None, place
        return declaration, _Place(folder, declaration.imports, place.path, place.namespaces)

    def _words(self, declared: Field, place: _Place) -> list[str]:
        """The words that a key allows, where the sources name them."""
        if place.path == ("runners", "cache", "Type"):
            return self._sources.cache_types
        if place.path == ("runners", "shell"):
            return self._sources.shells
        if names := _WORDS_BY_CONSTANT.get(place.path[-1]):
            return [self._sources.package(ROOT).constants[name][1] for name in names]
        if listed := re.findall(r"enum=([^,]*)", declared.tags.get("jsonschema", "")):
            return [word for word in listed if word]
        if matched := _ONE_OF.search(declared.tags.get("description", "")):
            return matched[1].replace(",", " ").split()
        declaration, home = self._declaration(declared.type, place)
        if declaration is None or self._kind(declared.type, place)[0] != "text":
            return []
        constants = self._sources.package(home.folder).constants
        return [text for of, text in constants.values() if of == declaration.name and text]


def _unit(kind: str, name: str, description: str) -> str:
    if "integer" not in kind:
        return ""
    found = next((unit for pattern, unit in _UNITS if pattern.search(description)), "")
    return found or ("seconds" if _IN_SECONDS.search(name) else "")


# ---- versions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """What one minor version of the runner reads."""

    keys: Keys
    flags: dict[str, bool]


def newest_tags(checkout: Path, first: str) -> dict[str, str]:
    """The newest tag of each minor version from ``first`` on, the oldest version first."""
    tags: dict[tuple[int, int], int] = {}
    for tag in _git(checkout, "tag").split():
        if matched := _TAG.fullmatch(tag):
            major, minor, patch = map(int, matched.groups())
            tags[major, minor] = max(patch, tags.get((major, minor), 0))
    start = tuple(map(int, first.split(".")))
    return {
        f"{major}.{minor}": f"v{major}.{minor}.{patch}"
        for (major, minor), patch in sorted(tags.items())
        if (major, minor) >= start
    }


def read_versions(checkout: Path, first: str) -> dict[str, Version]:
    """Each minor version and what it reads."""
    return {version: _read(checkout, tag) for version, tag in newest_tags(checkout, first).items()}


@cache
def _read(checkout: Path, tag: str) -> Version:
    sources = Sources(checkout, tag)
    return Version(Reader(sources).read(), sources.flags)


def table(versions: Mapping[str, Version]) -> dict[str, Any]:
    """The table of several versions: every key with the versions that read it."""
    return {
        "versions": list(versions),
        "keys": _spans({version: one.keys for version, one in versions.items()}),
        "feature_flags": _spans(
            {
                version: {name: {"default": default} for name, default in one.flags.items()}
                for version, one in versions.items()
            }
        ),
    }


def _spans(by_version: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """By name, each description in turn, with ``since`` and ``until`` where it is not of all versions."""
    order = list(by_version)
    names = sorted(set().union(*by_version.values()), key=lambda name: name.split("."))
    spans: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for name in names:
        current: dict[str, Any] | None = None
        for version in order:
            known = by_version[version].get(name)
            if known == current:
                continue
            if current is not None:
                spans[name][-1]["until"] = version
            if known is not None:
                spans[name].append({**known, **({} if version == order[0] else {"since": version})})
            current = known
    return spans


def written(content: Mapping[str, Any]) -> str:
    """The table as text, a key a line."""
    lines = [
        "# What gitlab-runner reads in its TOML, by version; written by tools/runner_keys.py from its sources.",
        "# optional: not set differs from zero, false and empty. tables: [[…]]. own tables: names match exactly.",
        "# env: the variable that wins over the key when a manager registers. until: the first version without it.",
        f"versions: [{', '.join(_quoted(version) for version in content['versions'])}]",
    ]
    for part in ("keys", "feature_flags"):
        lines.append(f"{part}:")
        for name, spans in content[part].items():
            lines.append(
                f"  {name}: {_inline(spans[0]) if len(spans) == 1 else '[' + ', '.join(map(_flow, spans)) + ']'}"
            )
    return "\n".join(lines) + "\n"


def _inline(span: dict[str, Any]) -> str:
    return _scalar(span["type"]) if list(span) == ["type"] else _flow(span)


def _flow(span: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in span.items()) + "}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_quoted(word) if word in {"none", "never", "null"} else word for word in value) + "]"
    return _quoted(value) if re.match(r"\d", value) else value


def _quoted(text: str) -> str:
    return f'"{text}"'


def by_version(content: Mapping[str, Any], version: str) -> tuple[Keys, dict[str, bool]]:
    """What a table says of one version, as the structs would."""
    order = content["versions"]
    at = order.index(version)

    def of(part: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, entry in content[part].items():
            spans = entry if isinstance(entry, list) else [entry if isinstance(entry, dict) else {"type": entry}]
            for span in spans:
                since = order.index(span["since"]) if "since" in span else 0
                until = order.index(span["until"]) if "until" in span else len(order)
                if since <= at < until:
                    yield name, {key: value for key, value in span.items() if key not in {"since", "until"}}

    return dict(of("keys")), {name: span["default"] for name, span in of("feature_flags")}


# ---- the command ----------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Write the table, or check it; the exit status is 1 where it does not agree with the structs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["write", "check"])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--from", dest="first", default="17.0", help="the oldest minor version (default: 17.0)")
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    versions = read_versions(options.checkout, options.first)
    if options.action == "write":
        options.table.write_text(written(table(versions)), encoding="utf-8")
    return _check(yaml.safe_load(options.table.read_text(encoding="utf-8")), versions, options.checkout, options.first)


def _check(content: Mapping[str, Any], versions: Mapping[str, Version], checkout: Path, first: str) -> int:
    differ = list(versions) != content["versions"]
    for version, tag in newest_tags(checkout, first).items():
        if version not in content["versions"]:
            _say(f"{version} ({tag}): not in the table")
            continue
        keys, flags = by_version(content, version)
        real = versions[version]
        missing = sorted(real.keys.keys() - keys.keys())
        unreal = sorted(keys.keys() - real.keys.keys())
        other = sorted(path for path in keys.keys() & real.keys.keys() if keys[path] != real.keys[path])
        anything = sum(known["type"] == "anything" for known in keys.values())
        _say(
            f"{version} ({tag}): {len(real.keys)} keys, missing {len(missing)}, unreal {len(unreal)}, "
            f"otherwise {len(other)}, of any type {anything}; {len(real.flags)} feature flags"
            f"{'' if flags == real.flags else ', which differ'}"
        )
        for path in (*missing, *unreal, *other):
            _say(f"  {path}")
        differ = differ or bool(missing or unreal or other) or flags != real.flags
    return int(differ)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _git(checkout: Path, *arguments: str) -> str:
    completed = subprocess.run(
        ["git", "-C", str(checkout), *arguments], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    return completed.stdout


if __name__ == "__main__":
    sys.exit(main())

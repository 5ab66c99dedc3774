"""Patches of a pod's spec, applied as the runner does (``pod_spec``: docs/sources.md#pod-spec-patches).

A JSON patch is a list of operations, a merge patch replaces what it names and a strategic one also merges the API's
lists by the keys of their entries. Each is YAML, of the pod's spec alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonpatch
import yaml
from jsonpointer import JsonPointerException

from preflight.yamltext import load_yaml

Json = dict[str, Any]

KINDS = ("strategic", "merge", "json")

_KEYS: Mapping[str, str] = {  # lists of a PodSpec whose entries are merged, each with the key that tells them apart
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_RETAINED_ALONE = ("volumes",)  # entries whose source is replaced, and not joined with the other
_DIRECTIVE, _ORDER, _DELETED, _RETAINED = "$patch", "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys"


class PatchError(Exception):
    """The patch can't be applied, and every job fails with that; the message is a clause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One entry of ``pod_spec``.

    Attributes:
        number: its place in the list, from 1.
        name: as the values name it; may be empty.
        kind: one of `KINDS`.
        text: YAML; None where it is a file of the managers.
    """

    number: int
    name: str = ""
    kind: str = "strategic"
    text: str | None = ""

    def __str__(self) -> str:
        return f"pod_spec entry {self.number}" + (f" ({self.name})" if self.name else "")


def apply(spec: Mapping[str, Any], patches: Iterable[Patch]) -> Json:
    """The spec after all patches that are known here, in their order; the given one stays as it is.

    Raises:
        PatchError: one of them can't be applied.
    """
    patched: Any = copy.deepcopy(dict(spec))
    for patch in patches:
        if patch.text is None:
            continue
        try:
            patched = _applied(patched, patch.kind, load_yaml(patch.text))
        except yaml.YAMLError as error:
            problem = str(getattr(error, "problem", "") or "it can't be read")
            raise PatchError(f"{patch}: its text is no YAML: {problem}") from error
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, ValueError, KeyError) as error:
            detail = str(error).replace("\n", " ")
            raise PatchError(f"{patch}: its {patch.kind} patch can't be applied: {detail}") from error
    return dict(patched)


def _applied(spec: Any, kind: str, content: Any) -> Any:
    if kind == "json":
        if not isinstance(content, list):
            msg = "expected a list of operations"
            raise TypeError(msg)
        return jsonpatch.JsonPatch(json.loads(json.dumps(content))).apply(spec)
    if kind not in KINDS:
        msg = f"the runner knows {', '.join(KINDS)}"
        raise ValueError(msg)
    if not isinstance(content, Mapping):
        msg = "expected a mapping, of the pod's spec"
        raise TypeError(msg)
    return _merged(spec, content) if kind == "merge" else _strategic(spec, content, "")


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396: null removes, mappings merge, all else replaces."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _strategic(target: Any, patch: Mapping[str, Any], place: str) -> Any:
    """The API's own merge of mappings, with its directives."""
    if patch.get(_DIRECTIVE) == "delete":
        return {}
    replaces = patch.get(_DIRECTIVE) == "replace"
    merged: Json = dict(target) if isinstance(target, Mapping) and not replaces else {}
    if place in _RETAINED_ALONE and (retained := patch.get(_RETAINED)) is not None:
        merged = {key: value for key, value in merged.items() if key in retained}
    for key, value in patch.items():
        if key in {_DIRECTIVE, _RETAINED} or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETED):
            name = key.removeprefix(_DELETED)
            merged[name] = [entry for entry in merged.get(name, ()) if entry not in value]
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = _strategic(merged.get(key), value, key)
        elif isinstance(value, list) and key in _KEYS:
            merged[key] = _joined(merged.get(key) or [], value, key)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _joined(target: Sequence[Json], patch: Sequence[Any], name: str) -> list[Json]:
    """A list of the API whose entries are merged by their key; where new ones come is of no account here."""
    key = _KEYS[name]
    if any(isinstance(entry, Mapping) and entry.get(_DIRECTIVE) == "replace" for entry in patch):
        return [dict(entry) for entry in patch if _DIRECTIVE not in entry]
    joined = [dict(entry) for entry in target]
    added: list[Json] = []
    for entry in patch:
        if not isinstance(entry, Mapping):
            msg = f"{name} is a list of mappings"
            raise TypeError(msg)
        if key not in entry:
            msg = f"map: {dict(entry)} does not contain declared merge key: {key}"
            raise ValueError(msg)
        place = next((number for number, known in enumerate(joined) if known.get(key) == entry[key]), None)
        if entry.get(_DIRECTIVE) == "delete":
            joined = [known for known in joined if known.get(key) != entry[key]]
        elif place is None:
            added.append(_strategic({}, entry, name))
        else:
            joined[place] = _strategic(joined[place], entry, name)
    return [*joined, *added]

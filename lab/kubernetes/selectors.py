"""Label and field selectors, of the API's query strings and of objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lab.kubernetes.refusals import bad_request

if TYPE_CHECKING:
    from lab.cluster.resources import Resource

Labels = Mapping[str, str]
Matcher = Callable[[Mapping[str, Any]], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^=!\s]+)\s*(?P<operator>!=|==|=)\s*(?P<value>[^=!\s]*)$")
_SPLIT = re.compile(r",(?![^(]*\))")  # a comma inside parentheses belongs to a set

# The fields that each kind can be selected by, beside metadata.name and metadata.namespace.
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "jobs": ("status.successful",),
}
_FALSE_WHEN_ABSENT = {"spec.unschedulable", "spec.hostNetwork"}


def matches_labels(labels: Labels, selector: Mapping[str, Any] | None) -> bool:
    """Whether labels satisfy an object's selector (``matchLabels`` and ``matchExpressions``)."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(
        _holds(labels, item["key"], item["operator"], item.get("values") or [])
        for item in selector.get("matchExpressions") or []
    )


def label_matcher(text: str) -> Matcher:
    """A predicate for objects, from a query's ``labelSelector``."""
    tests = [_label_requirement(part.strip()) for part in _SPLIT.split(text) if part.strip()]

    def matches(item: Mapping[str, Any]) -> bool:
        labels: Labels = item["metadata"].get("labels") or {}
        return all(_holds(labels, *test) for test in tests)

    return matches


def field_matcher(resource: Resource, text: str, *, label_selector: str = "") -> Matcher:
    """A predicate for objects, from a query's ``fieldSelector``; unsupported fields are refused."""
    supported = ("metadata.name", "metadata.namespace", *_FIELDS.get(resource.plural, ()))
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        match = _EQUAL.match(part.strip())
        if match is None:
            reason = f'invalid selector: "{text}"; can\'t understand "{part}"'
            message = f'Unable to find "{_api_path(resource)}" that match field selector: {reason}'
            raise bad_request(message)
        if match["key"] not in supported:
            selection = f'that match label selector "{label_selector}", field selector "{text}"'
            reason = f"field label not supported: {match['key']}"
            message = f'Unable to find "{_api_path(resource)}" {selection}: {reason}'
            raise bad_request(message)
        tests.append((match["key"], match["operator"] != "!=", match["value"]))
    return lambda item: all((_field(item, key) == value) is wanted for key, wanted, value in tests)


def _api_path(resource: Resource) -> str:
    return f"{resource.group}/{resource.version}, Resource={resource.plural}"


def _field(item: Mapping[str, Any], path: str) -> str:
    if path == "source":  # of an event: the component that reported it
        path = "source.component"
    value: Any = item
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return "false" if path in _FALSE_WHEN_ABSENT else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _label_requirement(part: str) -> tuple[str, str, list[str]]:
    if match := _SET.match(part):
        operator = "In" if match["operator"] == "in" else "NotIn"
        return match["key"], operator, [value.strip() for value in match["values"].split(",")]
    if match := _EQUAL.match(part):
        return match["key"], "NotIn" if match["operator"] == "!=" else "In", [match["value"]]
    if re.fullmatch(r"!?\s*[\w./-]+", part):
        return (part[1:].strip(), "DoesNotExist", []) if part.startswith("!") else (part, "Exists", [])
    message = f"unable to parse requirement: found '{part}', expected: identifier after operator"
    raise bad_request(message)


def _holds(labels: Labels, key: str, operator: str, values: list[str]) -> bool:
    if operator == "In":
        return labels.get(key) in values if key in labels else False
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator in ("Gt", "Lt") and key in labels:  # nodes only
        return int(labels[key]) > int(values[0]) if operator == "Gt" else int(labels[key]) < int(values[0])
    return False


def holds(labels: Labels, requirement: Mapping[str, Any]) -> bool:
    """Whether labels (or fields by name) satisfy one requirement of a node selector term."""
    return _holds(labels, requirement["key"], requirement["operator"], requirement.get("values") or [])

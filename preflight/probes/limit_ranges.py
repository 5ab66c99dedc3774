"""Which LimitRange refuses a job's pod: the API server's messages do not name it (docs/sources.md#limit-range).

A container without a limit of its own gets the LimitRange's default one, and is refused where it requests more than
that; a LimitRange with a maximum alone has that for its default as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from preflight.faults import PodFault
from preflight.probes.pods import Admission
from preflight.quantities import quantity

Json = dict[str, Any]

_DEFAULT = re.compile(r"must be less than or equal to (?P<resource>[\w./-]+) limit of (?P<amount>\w+)")
_BOUND = re.compile(r"(?P<bound>maximum|minimum) (?P<resource>[\w./-]+) usage per (?P<kind>\w+) is (?P<amount>[\w.]+)")
_KEYS = {"maximum": "max", "minimum": "min"}


def named(admission: Admission, limit_ranges: Sequence[Json]) -> Admission:
    """The admission, with the LimitRange that refuses the pod by name and with its bounds, if one does."""
    if admission.fault not in {PodFault.REFUSED_BY_API, PodFault.LIMIT_RANGE}:
        return admission
    sentences = list(dict.fromkeys(_sentences(admission.cause, limit_ranges)))
    if not sentences:
        return admission
    return replace(admission, fault=PodFault.LIMIT_RANGE, cause=f"{'; '.join(sentences)}: {admission.cause}")


def _sentences(message: str, limit_ranges: Sequence[Json]) -> Iterator[str]:
    for match in _DEFAULT.finditer(message):
        resource, amount = match["resource"], match["amount"]
        for name, limit in _limits(limit_ranges, "Container"):
            if _same(limit, "default", resource, amount):
                most = (limit.get("max") or {}).get(resource)
                bound = f" (its max is {most})" if most else ""
                yield (
                    f"LimitRange {name} gives containers without a {resource} limit one of {amount}{bound}, "
                    "which is less than they request"
                )
    for match in _BOUND.finditer(message):
        key = _KEYS[match["bound"]]
        for name, limit in _limits(limit_ranges, match["kind"]):
            if _same(limit, key, match["resource"], match["amount"]):
                yield f"LimitRange {name} has a {key} of {match['amount']} {match['resource']} a {match['kind']}"


def _limits(limit_ranges: Sequence[Json], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for item in limit_ranges:
        for limit in (item.get("spec") or {}).get("limits") or ():
            if limit.get("type") == kind:
                yield str(item["metadata"]["name"]), limit


def _same(limit: Mapping[str, Any], key: str, resource: str, amount: str) -> bool:
    value = (limit.get(key) or {}).get(resource)
    try:
        return value is not None and quantity(str(value)) == quantity(amount)
    except ValueError:
        return False

"""Read and write resource quantities as Kubernetes does: ``500m``, ``1.5Gi``, ``2e3``.

The canonical form follows apimachinery's resource.Quantity: an integer with the largest suffix that needs no fraction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
}
_SHAPE = re.compile(r"^(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$")
_SMALLEST_BINARY = 1024  # below it the canonical form is decimal


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount of a resource, and whether it was written with binary suffixes."""

    value: Decimal
    binary: bool = False

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.value + other.value, self.binary if self.value else other.binary)

    def __str__(self) -> str:
        if self.value == 0:
            return "0"
        if self.binary and abs(self.value) >= _SMALLEST_BINARY:
            return next(
                f"{(self.value / size).to_integral_value():f}{suffix}"
                for suffix, size in [*reversed(_BINARY.items()), ("", 1)]
                if self.value % size == 0 or size == 1
            )
        return next(
            f"{(self.value / size).to_integral_value():f}{suffix}"
            for suffix, size in reversed(_DECIMAL.items())
            if self.value % size == 0 or suffix == "n"
        )


@lru_cache(maxsize=4096)
def quantity(text: str) -> Quantity:
    """The quantity that a text stands for.

    Raises:
        ValueError: the text is no quantity; the message is Kubernetes' own.
    """
    match = _SHAPE.match(text)
    if match is None:
        reason = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        raise ValueError(reason)
    number, suffix = Decimal(match["number"]), match["suffix"] or ""
    if suffix in _BINARY:
        return Quantity(number * _BINARY[suffix], binary=True)
    if suffix in _DECIMAL:
        return Quantity(number * _DECIMAL[suffix])
    return Quantity(number.scaleb(int(suffix[1:])))


def amounts(resources: Mapping[str, object] | None) -> dict[str, Quantity]:
    """A resource list (``{"cpu": "500m", …}``) as quantities by name."""
    return {name: quantity(str(amount)) for name, amount in (resources or {}).items()}


def total(lists: list[dict[str, Quantity]]) -> dict[str, Quantity]:
    """The sum of several resource lists, name by name."""
    totals: dict[str, Quantity] = {}
    for amounts_by_name in lists:
        for name, amount in amounts_by_name.items():
            totals[name] = totals[name] + amount if name in totals else amount
    return totals

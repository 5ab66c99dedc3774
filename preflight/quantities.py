"""Kubernetes quantities, such as ``250m``, ``1.5Gi`` or ``12e6``, as exact numbers.

The grammar is that of apimachinery's ``resource.Quantity``: a decimal number, then a binary suffix (Ki … Ei), a decimal
one (n u m k M G T P E), or an exponent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache

Amounts = dict[str, Decimal]

_SUFFIXES: dict[str, Decimal] = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?\d{1,2}))?"
)
_DIGITS = 40  # more than any amount has
_IN_BYTES = ("memory", "storage", "hugepages-")


@lru_cache(maxsize=4096)
def quantity(text: str | float) -> Decimal:
    """The number that a quantity stands for, in bytes, cores or pieces.

    Raises:
        ValueError: it is not a quantity.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    if not match or len(match["number"]) > _DIGITS:
        msg = f"{text!r} is not a Kubernetes quantity such as 500m, 2 or 1.5Gi"
        raise ValueError(msg)
    number = Decimal(match["number"])
    if match["exponent"]:
        return number.scaleb(int(match["exponent"]))
    return number * _SUFFIXES[match["suffix"] or ""]


def amounts(quantities: Mapping[str, str | float] | None) -> Amounts:
    """All readable quantities of a requests, limits, allocatable or hard mapping; unreadable ones are left out."""
    readable: Amounts = {}
    for name, text in (quantities or {}).items():
        try:
            readable[name] = quantity(text)
        except ValueError:
            continue
    return readable


def total(parts: Iterable[Mapping[str, Decimal]]) -> Amounts:
    """The sum by resource name."""
    result: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            result[name] = result.get(name, Decimal(0)) + amount
    return result


def largest(parts: Iterable[Mapping[str, Decimal]]) -> Amounts:
    """The maximum by resource name."""
    result: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            result[name] = max(amount, result.get(name, amount))
    return result


def spell(resource: str, amount: Decimal) -> str:
    """An amount as a person would write it for that resource: ``1.5Gi`` of memory, ``250m`` of CPU, 3 pods."""
    if any(word in resource for word in _IN_BYTES):
        for suffix in ("Ti", "Gi", "Mi", "Ki"):
            if abs(amount) >= _SUFFIXES[suffix]:
                return f"{_plain(round(amount / _SUFFIXES[suffix], 1))}{suffix}"
        return _plain(round(amount))
    if amount != amount.to_integral_value():
        return f"{_plain(round(amount * 1000))}m"
    return _plain(amount)


def exactly(amount: Decimal) -> str:
    """An amount that the API accepts and that loses nothing: whole numbers plain, the rest in thousandths."""
    if amount == amount.to_integral_value():
        return _plain(amount)
    thousandths = (amount * 1000).to_integral_value(rounding="ROUND_CEILING")
    return f"{_plain(thousandths)}m"


def _plain(number: Decimal | int) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

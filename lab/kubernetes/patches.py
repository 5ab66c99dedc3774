"""Changing an object by a patch. Strategic merge patches replace lists; real ones merge some of them by key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.cluster.state import copied
from lab.kubernetes.refusals import bad_request

if TYPE_CHECKING:
    from lab.cluster.state import Raw


def patched(item: Raw, body: bytes, content_type: str) -> Raw:
    """The object after a patch; the given one is left unchanged."""
    try:
        patch = json.loads(body)
    except ValueError as error:
        message = f"error decoding patch: {error}"
        raise bad_request(message) from error
    if content_type == "application/json-patch+json":
        return _operated(item, patch)
    merged = _merged(item, patch)
    merged.pop("kind", None)
    merged.pop("apiVersion", None)
    return dict(merged)


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copied(patch)
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _operated(item: Raw, operations: list[Raw]) -> Raw:
    patched_item: Raw = copied(item)
    for operation in operations:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        target: Any = patched_item
        try:
            for part in path:
                target = target[int(part)] if isinstance(target, list) else target[part]
            _operate(target, last, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            message = f"the server rejected our request due to an error in our request: {error}"
            raise bad_request(message) from error
    return patched_item


def _operate(target: Any, last: str, operation: Raw) -> None:
    if isinstance(target, list):
        index = len(target) if last == "-" else int(last)
        if operation["op"] == "add":
            target.insert(index, operation["value"])
        elif operation["op"] == "remove":
            del target[index]
        else:
            target[index] = operation["value"]
    elif operation["op"] == "remove":
        del target[last]
    else:
        target[last] = operation["value"]

"""What a manager makes of ``runners.config``: the text as Helm renders it, and the config.toml that it saves.

A manager merges the template into its registration and writes the file anew: keys in tables, one or many as a list,
durations in the runner's own spelling, comments gone.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab import chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EXPRESSION = re.compile(r"\{\{-?\s*(?P<name>\$?\.[\w.]+)\s*(?P<quoted>\|\s*quote)?\s*-?\}\}")
_LISTS = frozenset({"pull_policy", "allowed_pull_policies"})  # text or list in the template, always a list when saved
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_DURATIONS = frozenset({"cleanup_resources_timeout", "availability_check_timeout", "retry_backoff"})
_LONGEST = 20  # seconds for helm


def rendered(tree: Mapping[str, Any], *, release: str, namespace: str, version: str, app_version: str) -> str:
    """``runners.config`` of these values as Helm renders it; what is beyond this reader, helm does, if it is there."""
    runners = tree.get("runners")
    text = str(runners.get("config") or "") if isinstance(runners, dict) else ""
    known = {".Release.Namespace": namespace, ".Release.Name": release, ".Chart.AppVersion": app_version}

    def value(match: re.Match[str]) -> str:
        name = match["name"].lstrip("$")
        value = known.get(name)
        if value is None and name.startswith(".Values."):
            value = _at(tree, name.removeprefix(".Values.").split("."))
        return match[0] if value is None else json.dumps(value) if match["quoted"] else value

    text = _EXPRESSION.sub(value, text)
    if "{{" not in text or (helm := shutil.which("helm")) is None:
        return text
    return _by_helm(helm, tree, release, namespace, chart.package(version, app_version)) or text


def _at(tree: Any, steps: list[str]) -> str | None:
    for step in steps:
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree if isinstance(tree, str) else None


def _by_helm(helm: str, tree: Mapping[str, Any], release: str, namespace: str, package: bytes) -> str:
    with tempfile.TemporaryDirectory(prefix="lab-helm-") as name:
        folder = Path(name)
        (folder / "chart.tgz").write_bytes(package)
        (folder / "values.yaml").write_text(yaml.safe_dump(dict(tree)), encoding="utf-8")
        ended = subprocess.run(
            [helm, "template", release, "chart.tgz", "--namespace", namespace, "--values", "values.yaml"],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": name, "KUBECONFIG": str(folder / "none")},
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=False,
        )
    documents = yaml.safe_load_all(ended.stdout) if ended.returncode == 0 else ()
    maps = [document for document in documents if isinstance(document, dict) and document.get("kind") == "ConfigMap"]
    return str(maps[0]["data"].get("config.template.toml", "")) if maps else ""


def saved(template: str, registration: Mapping[str, Any]) -> str:
    """The ``[[runners]]`` that a manager saves: what it registered with, and the template's settings."""
    try:
        entries = tomllib.loads(template).get("runners") or [{}]
    except tomllib.TOMLDecodeError:
        return template  # no manager gets as far as this
    return "\n".join(_written({"runners": [{**registration, **entries[0]}]})) + "\n"


def _written(table: Mapping[str, Any], around: tuple[str, ...] = ()) -> Iterator[str]:
    """A table as the runner's encoder writes it: its own keys first, then the tables in it, each level indented."""
    indent = "  " * len(around)
    for name, value in table.items():
        if not _is_table(value):
            yield f"{indent}{_key(name)} = {_value(name, value)}"
    for name, value in table.items():
        path = (*around, _key(name))
        for inner in value if isinstance(value, list) and _is_table(value) else [value] if _is_table(value) else []:
            header = f"[[{'.'.join(path)}]]" if isinstance(value, list) else f"[{'.'.join(path)}]"
            yield ""
            yield f"{indent}{header}"
            yield from _written(inner, path)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else json.dumps(name)


def _value(name: str, value: Any) -> str:
    if name in _LISTS and isinstance(value, str):
        value = [value]
    if name in _DURATIONS and isinstance(value, str):
        value = _duration(value)
    if isinstance(value, list):
        return f"[{', '.join(_value('', entry) for entry in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def _duration(text: str) -> str:
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return text
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    parts = [(total // 3600, "h"), (total // 60 % 60, "m"), (total % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return "".join(f"{number}{unit}" for number, unit in parts)

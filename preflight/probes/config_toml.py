"""The configuration that a manager runs with: its ``config.toml``, read in the pod, beside the template of the release.

At its start a manager merges ``runners.config`` into the file that it then runs with
(docs/sources.md#manager-config). The file holds the runner's token, so its text never becomes a fact.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preflight.clients.exec import exec_in_pod
from preflight.clients.kube_api import Api, classify_kubelet_path
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.documents import load_toml
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ManagerFault
from preflight.probes.managers import Objects
from preflight.probes.values_drift import Difference, remember_secrets, toml_differences
from preflight.runner_config import RunnerKeys
from preflight.shell_command import pipe, program

_HOME = "/home/gitlab-runner/.gitlab-runner/config.toml"
_ROOT_HOME = "/etc/gitlab-runner/config.toml"  # where podSecurityContext.runAsUser is 0
_MOUNTED = "/configmaps/config.toml"  # the chart's ConfigMap, which the kubelet keeps up to date
_GLOBALS = ("concurrent", "check_interval", "shutdown_timeout", "log_level", "listen_address")
_SHOWN = 4
_EXECUTOR = ("runners", 0, "kubernetes")  # what the template alone decides


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerConfig(Fact):
    """What the managers run with.

    Attributes:
        pods: the managers whose file was read.
        differences: by pod, what differs from the release's values, or from the ConfigMap as it is now.
        started: by pod, when it was started, in the API's format.
    """

    pods: tuple[str, ...] = ()
    differences: dict[str, tuple[Difference, ...]]
    started: dict[str, str] = field(default_factory=dict)


def manager_config(
    api: Api, objects: Objects, template: Mapping[str, Any], keys: RunnerKeys, *, deadline: float
) -> ManagerConfig:
    """Read the ``config.toml`` of every manager and compare it with the template.

    Args:
        api: the cluster's API.
        objects: the release's objects.
        template: the TOML of ``runners.config``, parsed.
        keys: what this version of the runner reads.
        deadline: seconds for each manager.

    Raises:
        Unmeasured: commands may not be run in the pods, or cannot be.
    """
    path = _ROOT_HOME if _user(objects) == 0 else _HOME
    texts: dict[str, str] = {}
    mounted: dict[str, str] = {}
    for pod in objects.pods:
        name = pod["metadata"]["name"]
        try:
            running = exec_in_pod(api, objects.namespace, name, objects.container, ["cat", path], deadline=deadline)
            current = exec_in_pod(api, objects.namespace, name, objects.container, ["cat", _MOUNTED], deadline=deadline)
        except ApiError as error:
            raise unmeasured(classify_kubelet_path(api, error)) from error
        if not current.exit:
            mounted[name] = current.stdout
        if running.exit:
            # The error alone is reported, not the file's content: it holds the token.
            last_lines = running.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise Unmeasured(
                f"{name}: {path} could not be read: {last_lines[0]}", needs=f"`{program('cat', path)}` in the manager"
            )
        texts[name] = running.stdout
    return read_config(texts, template, keys, objects, path=path, mounted=mounted)


def _user(objects: Objects) -> int | None:
    spec = (objects.deployment or {})["spec"]["template"]["spec"]
    user = (spec.get("securityContext") or {}).get("runAsUser")
    return None if user is None else int(user)


def _exec(objects: Objects, pod: str) -> tuple[str, ...]:
    return ("kubectl", "-n", objects.namespace, "exec", pod, "-c", objects.container, "--")


def read_config(
    texts: Mapping[str, str],
    template: Mapping[str, Any],
    keys: RunnerKeys,
    objects: Objects,
    *,
    path: str = _HOME,
    mounted: Mapping[str, str] | None = None,
) -> ManagerConfig:
    """The fact from the text of each manager's file, and of its mounted ConfigMap, by pod."""
    differing: dict[str, tuple[Difference, ...]] = {}
    outdated: dict[str, tuple[Difference, ...]] = {}
    for name, text in texts.items():
        try:
            config = load_toml(text)
        except tomllib.TOMLDecodeError as error:
            raise Unmeasured(f"{name}: {path} is not TOML: {error}", needs="a manager that has registered") from error
        remember_secrets(config)
        if differences := toml_differences(config, template, keys, within=_EXECUTOR):
            differing[name] = differences
        if changed := _changed_since(config, (mounted or {}).get(name, "")):
            outdated[name] = changed
    started = {item["metadata"]["name"]: str(item.get("status", {}).get("startTime", "")) for item in objects.pods}
    if outdated and not differing:
        return _not_restarted(outdated, started, objects, path=path)
    first = next(iter(differing), "")
    summary = "; ".join(_describe(item) for item in differing.get(first, ())[:_SHOWN])
    return ManagerConfig(
        target=objects.name,
        pods=tuple(texts),
        differences=differing,
        started=started,
        fault=ManagerFault.OLD_CONFIG if differing else None,
        cause=f"{len(differing)} of {len(texts)} managers run with another configuration; {first}: {summary}"
        if differing
        else "",
        evidence=Evidence(
            where=f"pod {first or next(iter(texts), '')}",
            command=program(
                *_exec(objects, f"deploy/{objects.name}"), "sh", "-c", str(program("grep", "-v", "token", path))
            ),
            observed="\n".join(f"{name}: {_describe(item)}" for name, items in differing.items() for item in items)
            or _dns(next(iter(texts.values()), "")),
        ),
    )


def _changed_since(config: Mapping[str, Any], mounted: str) -> tuple[Difference, ...]:
    """The global settings that the ConfigMap has by now, and the manager, which copied it at its start, has not."""
    try:
        now = load_toml(mounted)
    except tomllib.TOMLDecodeError:
        return ()  # reported by the checks of the values
    return tuple(
        Difference(key=key, deployed=str(config.get(key, "not set")), wanted=str(now[key]))
        for key in _GLOBALS
        if key in now and now[key] != config.get(key)
    )


def _not_restarted(
    outdated: Mapping[str, tuple[Difference, ...]], started: Mapping[str, str], objects: Objects, *, path: str
) -> ManagerConfig:
    first = next(iter(outdated))
    summary = "; ".join(
        f"{item.key} is {item.deployed}, the ConfigMap says {item.wanted}" for item in outdated[first][:_SHOWN]
    )
    since = f" since {started[first]}" if started.get(first) else ""
    return ManagerConfig(
        target=objects.name,
        pods=tuple(started),
        differences=dict(outdated),
        started=dict(started),
        fault=ManagerFault.NOT_RESTARTED,
        cause=f"{len(outdated)} of {len(started)} managers run{since} with what their ConfigMap said then; "
        f"{first}: {summary}",
        evidence=Evidence(
            where=f"pod {first}",
            command=program(
                *_exec(objects, first),
                "sh",
                "-c",
                pipe(program("grep", "-v", "token", path), program("diff", "-", _MOUNTED)),
            ),
            observed="\n".join(
                f"{name}: {item.key} {item.deployed} → {item.wanted}"
                for name, items in outdated.items()
                for item in items
            ),
        ),
    )


def _describe(difference: Difference) -> str:
    return f"{difference.key} is {difference.deployed}, the release's values say {difference.wanted}"


def _dns(text: str) -> str:
    """The lines about DNS, for an operator who compares them."""
    return "\n".join(
        line.strip() for line in text.splitlines() if line.strip().startswith(("dns_", "nameservers", "searches"))
    )

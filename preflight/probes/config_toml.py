"""The configuration that a manager runs with: its ``config.toml``, read in the pod, beside the template of the release.

At its start a manager merges ``runners.config`` into the file that it then runs with (reference §1.5, §2.1). The file
holds the runner's token, so its text never becomes a fact.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preflight.clients.exec import exec_in_pod
from preflight.clients.kube_api import Api, classify_kubelet_path
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ManagerFault
from preflight.probes.managers import Objects
from preflight.probes.values_drift import Difference, remember_secrets, toml_differences
from preflight.runner_config import RunnerKeys

_HOME = "/home/gitlab-runner/.gitlab-runner/config.toml"
_ROOTS = "/etc/gitlab-runner/config.toml"  # where podSecurityContext.runAsUser is 0
_MOUNTED = "/configmaps/config.toml"  # the chart's ConfigMap, which the kubelet keeps up to date
_GLOBALS = ("concurrent", "check_interval", "shutdown_timeout", "log_level", "listen_address")
_TOLD = 4
_EXECUTOR = ("runners", 0, "kubernetes")  # what the template alone decides


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerConfig(Fact):
    """What the managers run with.

    Attributes:
        pods: the managers that were looked into.
        differences: by pod, what is not as the release's values say, or as the ConfigMap says by now.
        started: by pod, when it was started, as the API tells times.
    """

    pods: tuple[str, ...] = ()
    differences: dict[str, tuple[Difference, ...]]
    started: dict[str, str] = field(default_factory=dict)


def manager_config(
    api: Api, found: Objects, template: Mapping[str, Any], keys: RunnerKeys, *, deadline: float
) -> ManagerConfig:
    """Read the ``config.toml`` of every manager and compare it with the template.

    Args:
        api: the cluster's API.
        found: the release's objects.
        template: the TOML of ``runners.config``, parsed.
        keys: what this version of the runner reads.
        deadline: seconds for each manager.

    Raises:
        Unmeasured: commands may not be run in the pods, or cannot be.
    """
    path = _ROOTS if _user(found) == 0 else _HOME
    texts: dict[str, str] = {}
    mounted: dict[str, str] = {}
    for pod in found.pods:
        name = pod["metadata"]["name"]
        try:
            ran = exec_in_pod(api, found.namespace, name, found.container, ["cat", path], deadline=deadline)
            now = exec_in_pod(api, found.namespace, name, found.container, ["cat", _MOUNTED], deadline=deadline)
        except ApiError as error:
            raise unmeasured(classify_kubelet_path(api, error)) from error
        if not now.exit:
            mounted[name] = now.stdout
        if ran.exit:
            # What stands on the streams is told without the file's content: it holds the token.
            said = ran.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise Unmeasured(f"{name}: {path} could not be read: {said[0]}", needs=f"`cat {path}` in the manager")
        texts[name] = ran.stdout
    return read_config(texts, template, keys, found, path=path, mounted=mounted)


def _user(found: Objects) -> int | None:
    spec = (found.deployment or {})["spec"]["template"]["spec"]
    user = (spec.get("securityContext") or {}).get("runAsUser")
    return None if user is None else int(user)


def read_config(
    texts: Mapping[str, str],
    template: Mapping[str, Any],
    keys: RunnerKeys,
    found: Objects,
    *,
    path: str = _HOME,
    mounted: Mapping[str, str] | None = None,
) -> ManagerConfig:
    """The fact from the text of each manager's file, and of its mounted ConfigMap, by pod."""
    wrong: dict[str, tuple[Difference, ...]] = {}
    late: dict[str, tuple[Difference, ...]] = {}
    for name, text in texts.items():
        try:
            config = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Unmeasured(f"{name}: {path} is not TOML: {error}", needs="a manager that has registered") from error
        remember_secrets(config)
        if differences := toml_differences(config, template, keys, within=_EXECUTOR):
            wrong[name] = differences
        if changed := _changed_since(config, (mounted or {}).get(name, "")):
            late[name] = changed
    started = {one["metadata"]["name"]: str(one.get("status", {}).get("startTime", "")) for one in found.pods}
    if late and not wrong:
        return _not_restarted(late, started, found, path=path)
    first = next(iter(wrong), "")
    told = "; ".join(_spoken(one) for one in wrong.get(first, ())[:_TOLD])
    return ManagerConfig(
        target=found.name,
        pods=tuple(texts),
        differences=wrong,
        started=started,
        fault=ManagerFault.OLD_CONFIG if wrong else None,
        cause=f"{len(wrong)} of {len(texts)} managers run with another configuration; {first}: {told}" if wrong else "",
        evidence=Evidence(
            where=f"pod {first or next(iter(texts), '')}",
            command=f"kubectl -n {found.namespace} exec deploy/{found.name} -c {found.container} -- "
            f"sh -c 'grep -v token {path}'",
            observed="\n".join(f"{name}: {_spoken(one)}" for name, every in wrong.items() for one in every)
            or _dns(next(iter(texts.values()), "")),
        ),
    )


def _changed_since(config: Mapping[str, Any], mounted: str) -> tuple[Difference, ...]:
    """The global settings that the ConfigMap has by now, and the manager, which copied it at its start, has not."""
    try:
        now = tomllib.loads(mounted)
    except tomllib.TOMLDecodeError:
        return ()  # told of by the checks of the values
    return tuple(
        Difference(key=key, deployed=str(config.get(key, "not set")), wanted=str(now[key]))
        for key in _GLOBALS
        if key in now and now[key] != config.get(key)
    )


def _not_restarted(
    late: Mapping[str, tuple[Difference, ...]], started: Mapping[str, str], found: Objects, *, path: str
) -> ManagerConfig:
    first = next(iter(late))
    told = "; ".join(f"{one.key} is {one.deployed}, the ConfigMap says {one.wanted}" for one in late[first][:_TOLD])
    since = f" since {started[first]}" if started.get(first) else ""
    return ManagerConfig(
        target=found.name,
        pods=tuple(started),
        differences=dict(late),
        started=dict(started),
        fault=ManagerFault.NOT_RESTARTED,
        cause=f"{len(late)} of {len(started)} managers run{since} with what their ConfigMap said then; {first}: {told}",
        evidence=Evidence(
            where=f"pod {first}",
            command=f"kubectl -n {found.namespace} exec {first} -c {found.container} -- "
            f"sh -c 'grep -v token {path} | diff - {_MOUNTED}'",
            observed="\n".join(
                f"{name}: {one.key} {one.deployed} → {one.wanted}" for name, every in late.items() for one in every
            ),
        ),
    )


def _spoken(one: Difference) -> str:
    return f"{one.key} is {one.deployed}, the release's values say {one.wanted}"


def _dns(text: str) -> str:
    """The lines on DNS, which are what a person looks for there."""
    return "\n".join(
        line.strip() for line in text.splitlines() if line.strip().startswith(("dns_", "nameservers", "searches"))
    )

"""What the runner's values set for its jobs: the shape of their pods, and how many there are at once.

`job_shape` reads what the runner of that version decodes (docs/sources.md#runner-keys). What it ignores or refuses is
not judged here, and has no part in the shape.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from preflight import executor
from preflight.jobpod import patched
from preflight.jobshape import PATCH_FLAG, POD_FLAGS, JobShape, Resources
from preflight.runner_config import RunnerEntry
from preflight.values import CHART_CONCURRENT, Values

POLL_TIMEOUT = 180  # seconds, the runner's default (docs/sources.md#runner-keys)
_NO_NAMESPACE = "default"  # where the runner puts a job whose namespace is not set

DNS_POLICIES = {  # the runner's spelling → the API's (docs/sources.md#dns-policy)
    "none": "None",
    "default": "Default",
    "cluster-first": "ClusterFirst",
    "cluster-first-with-host-net": "ClusterFirstWithHostNet",
}
_PULL_POLICIES = {"always": "Always", "never": "Never", "if-not-present": "IfNotPresent"}


def job_shape(values: Values, platform: str = "linux/amd64") -> JobShape:
    """The shape that the runner gives to a job's pod with these values.

    Args:
        values: of the release.
        platform: of the managers' nodes.

    Raises:
        ValueError: the TOML of ``runners.config`` can't be used.
    """
    if values.problem is not None:
        msg = f"{values.problem.origin}: runners.config: {values.problem.message}"
        raise ValueError(msg)
    runner = values.runner_entry
    table = _registered(values, runner.get("kubernetes", {}))
    dns_policy = table.get("dns_policy")
    of_account = table.get("use_service_account_image_pull_secrets", False)
    per_job = bool(table.get("namespace_per_job"))
    pull_secrets = tuple(table.get("image_pull_secrets", ()))
    entry = RunnerEntry(runner, values.runner_keys)
    flags = frozenset(flag for flag in POD_FLAGS if entry.flag(flag))
    shape = JobShape(
        namespace=values.namespace if per_job else table.get("namespace") or _NO_NAMESPACE,
        namespace_per_job=per_job,
        image=executor.expanded(table.get("image", ""), runner=values.runner),
        helper_image=executor.helper_image(
            table, runner=values.runner, shell=runner.get("shell", ""), platform=platform
        ),
        service_account=table.get("service_account") or None,
        pull_secrets=() if of_account else pull_secrets,
        configured_pull_secrets=pull_secrets,
        use_service_account_pull_secrets=of_account,
        node_selector=dict(table.get("node_selector", {})),
        tolerations=tuple(_toleration(key, effect) for key, effect in table.get("node_tolerations", {}).items()),
        affinity=_camel(table.get("affinity")) or None,
        # A spelling that the runner does not know falls back to the cluster's own (docs/sources.md#dns-policy).
        dns_policy=DNS_POLICIES.get(dns_policy, "ClusterFirst") if dns_policy else None,
        dns_config=_dns_config(table.get("dns_config")),
        host_aliases=tuple(
            {"ip": alias.get("ip", ""), "hostnames": list(alias.get("hostnames", ()))}
            for alias in table.get("host_aliases", ())
        ),
        labels=dict(table.get("pod_labels", {})),
        annotations=dict(table.get("pod_annotations", {})),
        runtime_class=table.get("runtime_class_name") or None,
        scheduler=table.get("scheduler_name") or None,
        priority_class=table.get("priority_class_name") or None,
        privileged=is_privileged(table, "build"),
        service_privileged=is_privileged(table, "service"),
        security={kind: executor.container_security(table, kind) for kind in executor.KINDS},
        pod_security=executor.pod_security(table),
        services=executor.services(table),
        volumes=executor.volumes(table),
        mounts=executor.mounts(table),
        builds_dir=runner.get("builds_dir") or "/builds",
        lifecycle=executor.lifecycle(table),
        automount_token=table.get("automount_service_account_token"),
        termination_grace=table.get("pod_termination_grace_period_seconds"),
        host_users=table.get("host_users"),
        build=_resources(table, ""),
        helper=_resources(table, "helper_"),
        service=_resources(table, "service_"),
        pod=_resources(table, "pod_"),
        flags=flags,
        patches=executor.patches(table) if PATCH_FLAG in flags else (),
        allowed_images=tuple(table.get("allowed_images", ())),
        allowed_services=tuple(table.get("allowed_services", ())),
        pull_policy=executor.pull_policies(table, _PULL_POLICIES),
        poll_timeout=table.get("poll_timeout") or POLL_TIMEOUT,
        concurrent=_concurrent(values, runner),
        replicas=_replicas(values),
    )
    return patched(shape)


def is_privileged(table: Mapping[str, Any], kind: str) -> bool:
    """Whether a kind of container (build, helper, service) is privileged: its own setting wins over that of all."""
    own = table.get(f"{kind}_container_security_context", {}).get("privileged")
    return bool(table.get("privileged", False) if own is None else own)


_NAMESPACE_SET = re.compile(r"namespace\s*=")  # as the chart's own test of runners.config (_env_vars.tpl)


def _registered(values: Values, table: Mapping[str, Any]) -> dict[str, Any]:
    """The executor's table as a manager registers it: what its variables set is there before the template is merged."""
    variables = dict(values.environment)
    if values.rendering is None and not _NAMESPACE_SET.search(values.text):
        variables = {"KUBERNETES_NAMESPACE": values.namespace, **variables}
    registered = dict(table)
    for variable, text in variables.items():
        path = values.runner_keys.environment.get(variable, ())
        if len(path) != len(("runners", "kubernetes", "KEY")) or path[1] != "kubernetes" or not text:
            continue
        key = values.runner_keys.find(path)
        shape = key.kind.shape if key else "anything"
        if shape == "text":
            registered[path[-1]] = text
        elif shape == "boolean" and text.lower() in {"1", "t", "true"}:
            registered[path[-1]] = True
        elif shape == "integer" and text.isdigit() and int(text):
            registered[path[-1]] = int(text)
        elif shape in {"list", "text or list"}:
            registered[path[-1]] = text.split(",")
    return registered


def _replicas(values: Values) -> int:
    """The number of managers; with an autoscaler, the one that it begins with."""
    rendered = values.rendering.replicas if values.rendering is not None else None
    return _whole(values.get("replicas"), 1) if rendered is None else rendered


def replicas_of(values: Mapping[str, Any]) -> int | None:
    """The number of managers that a release's values configure; None where they leave it to an autoscaler (``hpa``)."""
    return None if values.get("hpa") else _whole(values.get("replicas"), 1)


def _toleration(key: str, effect: str) -> dict[str, str]:
    name, separator, value = key.partition("=")
    operator = {"operator": "Equal", "value": value} if separator else {"operator": "Exists"}
    return {"key": name, **operator, **({"effect": effect} if effect else {})}


def _camel(node: Any) -> Any:
    """The runner's snake_case tables in the API's camelCase, without empty ones; labels keep their spelling."""
    if isinstance(node, Mapping):
        return {
            re.sub(r"_([a-z])", lambda letter: letter[1].upper(), key): (
                dict(value) if key == "match_labels" else _camel(value)
            )
            for key, value in node.items()
            if value != {}
        }
    return [_camel(item) for item in node] if isinstance(node, list) else node


def _dns_config(table: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if table is None:
        return None
    config = {
        "nameservers": list(table.get("nameservers", ())),
        "searches": list(table.get("searches", ())),
        "options": [dict(option) for option in table.get("options", ())],
    }
    return {key: value for key, value in config.items() if value}


def _resources(table: Mapping[str, Any], prefix: str) -> Resources:
    def amounts(kind: str) -> dict[str, str]:
        names = {"cpu": "cpu", "memory": "memory", "ephemeral_storage": "ephemeral-storage"}
        configured = {name: table.get(f"{prefix}{key}_{kind}") for key, name in names.items()}
        return {name: amount for name, amount in configured.items() if amount}

    return Resources(requests=amounts("request"), limits=amounts("limit"))


def _whole(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


def _concurrent(values: Values, runner: Mapping[str, Any]) -> int:
    """Jobs that one manager runs at most: ``concurrent``, or the runner's own lower ``limit``."""
    concurrent = _whole(values.get("concurrent"), CHART_CONCURRENT)
    if values.rendering is not None:
        with suppress(tomllib.TOMLDecodeError):
            concurrent = _whole(tomllib.loads(values.rendering.config or "").get("concurrent"), concurrent)
    limit = _whole(runner.get("limit"), 0)
    return min(concurrent, limit) if limit > 0 else concurrent

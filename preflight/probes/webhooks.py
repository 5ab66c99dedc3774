"""Which admission webhooks see a job's pod, and what becomes of it where their server does not answer.

A webhook with ``failurePolicy: Fail`` (the default) that sees pods of the jobs' namespace refuses every job while its
server is down or slow. ``matchConditions`` are expressions that only the API server evaluates: such a webhook is
reported with a note. https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact
from preflight.faults import RightsFault
from preflight.shell_command import program

Json = dict[str, Any]

_GROUP = "/apis/admissionregistration.k8s.io/v1"
KINDS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks(Fact):
    """The webhooks that see a job's pod.

    Attributes:
        closed: those that refuse it where they do not answer, as ``configuration/webhook``.
        open: those that let it pass then.
    """

    closed: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


def webhooks(api: Api, *, namespace: str, namespace_labels: Mapping[str, str], labels: Mapping[str, str]) -> Webhooks:
    """List all webhooks, and find out which of them see a pod with these labels in this namespace.

    Raises:
        Unmeasured: they may not be listed, or the API could not be asked.
    """
    began = time.monotonic()
    configurations: list[Json] = []
    try:
        for kind in KINDS:
            configurations += api.items(f"{_GROUP}/{kind}")
    except ApiError as error:
        raise unmeasured(error) from error
    known = {"kubernetes.io/metadata.name": namespace, **namespace_labels}
    return read_webhooks(
        configurations, namespace=namespace, namespace_labels=known, labels=labels, took=time.monotonic() - began
    )


def read_webhooks(
    configurations: Sequence[Json],
    *,
    namespace: str,
    namespace_labels: Mapping[str, str],
    labels: Mapping[str, str],
    took: float = 0.0,
) -> Webhooks:
    """The fact from the items of both lists."""
    closed: list[str] = []
    open_: list[str] = []
    lines: list[str] = []
    for name, hook in _seeing(configurations, namespace_labels, labels):
        fails = hook.get("failurePolicy", "Fail") == "Fail"
        (closed if fails else open_).append(name)
        conditions = ", where its matchConditions hold" if hook.get("matchConditions") else ""
        patience = hook.get("timeoutSeconds", 10)
        lines.append(f"{name}: failurePolicy {'Fail' if fails else 'Ignore'}, timeout {patience} s{conditions}")
    cause = ""
    if closed:
        cause = f"while the server of {', '.join(closed)} does not answer, no job's pod is made in {namespace}"
    return Webhooks(
        target=namespace,
        closed=tuple(closed),
        open=tuple(open_),
        fault=RightsFault.WEBHOOK_FAILS_CLOSED if closed else None,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=program("kubectl", "get", ",".join(KINDS)),
            observed="\n".join(lines) or "no webhook sees a job's pod",
            took=took,
        ),
    )


def _seeing(
    configurations: Sequence[Json], namespace_labels: Mapping[str, str], labels: Mapping[str, str]
) -> Iterator[tuple[str, Json]]:
    for configuration in configurations:
        for hook in configuration.get("webhooks") or ():
            if (
                any(_is_for_pods(rule) for rule in hook.get("rules") or ())
                and selects(hook.get("namespaceSelector") or {}, namespace_labels)
                and selects(hook.get("objectSelector") or {}, labels)
            ):
                yield f"{configuration['metadata']['name']}/{hook.get('name', '')}", hook


def _is_for_pods(rule: Json) -> bool:
    return (
        bool({"CREATE", "*"} & set(rule.get("operations") or ()))
        and bool({"", "*"} & set(rule.get("apiGroups") or ()))
        and bool({"v1", "*"} & set(rule.get("apiVersions") or ()))
        and bool({"pods", "*", "*/*"} & set(rule.get("resources") or ()))
        and rule.get("scope", "*") in {"*", "Namespaced"}
    )


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether a label selector of the API selects these labels; an empty one selects all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for requirement in selector.get("matchExpressions") or ():
        key, values = requirement.get("key", ""), requirement.get("values") or ()
        holds = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not holds.get(requirement.get("operator", ""), False):
            return False
    return True

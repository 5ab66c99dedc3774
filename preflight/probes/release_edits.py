"""The objects of a release as they stand in the cluster, beside the manifest in Helm's record: what was edited by hand.

Compared by meaning: TOML by what the runner reads of it, scripts without comments and blank lines, Roles by what they
grant, and other objects without what the API server fills in. Secrets are compared by their digests, so that no value
of theirs is kept, and none is shown.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import DecimalException
from typing import Any

from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact, Unmeasured, clean
from preflight.faults import ReleaseFault
from preflight.probes.release import Record, describe_duration
from preflight.probes.values_drift import differences as values_differences
from preflight.quantities import quantity
from preflight.redaction import names_a_secret, remember_within
from preflight.rendering import TEMPLATE_KEY, NotAManifestError, Rendering, name_of, read
from preflight.runner_config import RunnerKeys
from preflight.shell_command import pipe, program

Json = Mapping[str, Any]

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_PATHS: Mapping[str, str] = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Role": f"{_RBAC}/namespaces/{{}}/roles",
    "RoleBinding": f"{_RBAC}/namespaces/{{}}/rolebindings",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
}
"""The kinds that are compared, in the order in which they are reported."""

ACCESS_KINDS = frozenset({"Role", "RoleBinding", "ServiceAccount"})
"""Kinds whose contents are the runner's rights."""

_NOT_FOUND = 404
_SHOWN_AT_MOST = 6  # edits that the cause names
_LONGEST = 60  # characters of a value that are shown
_ABSENT = "nothing"
_MOST_OBJECTS = 60  # that are asked for; the chart makes about ten
_RUNS_ON = frozenset({TEMPLATE_KEY, "entrypoint", "config.toml", "runner-token", "runner-registration-token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One key that is not as the release has it.

    Attributes:
        kind: the object's.
        name: the object's.
        key: in the object; of TOML also the setting in it.
        present: what the cluster has; `released`: what the manifest has. Both are empty where they are not shown.
        at_start: whether managers read it when they start.
    """

    kind: str
    name: str
    key: str
    present: str = ""
    released: str = ""
    at_start: bool = False

    def __str__(self) -> str:
        where = f"{self.kind} {self.name}: {self.key}"
        if self.present == self.released:
            return f"{where} differs from what the release has"
        return f"{where} is {self.present}, the release has {self.released}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEdits(Fact):
    """What of a release's objects was edited by hand.

    Attributes:
        revision: the release's, whose manifest was compared.
        edits: every key that differs.
        compared: the objects, as ``kind/name``.
        unread: those that may not be read.
    """

    revision: int = 0
    edits: tuple[Edit, ...] = ()
    compared: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def release_edits(
    api: Api, record: Record, release: str, namespace: str, keys: RunnerKeys, *, now: float
) -> ReleaseEdits:
    """Compare the cluster with the manifest in a record of the release.

    Raises:
        Unmeasured: the manifest can't be read, the API could not be asked, or what managers read at their start may
            not be read.
    """
    began = time.monotonic()
    try:
        manifest = read(str(record.body.get("manifest") or ""), release=release, namespace=namespace)
    except NotAManifestError as error:
        raise Unmeasured(f"the manifest of revision {record.revision} of {release} can't be read: {error}") from error
    edits: list[Edit] = []
    compared: list[str] = []
    unread: list[str] = []
    writers: list[str] = []
    refusal: ApiError | None = None
    known = [item for item in manifest.objects if item.get("kind") in _PATHS]
    for item in sorted(known, key=lambda each: list(_PATHS).index(each["kind"]))[:_MOST_OBJECTS]:
        kind, name = str(item["kind"]), name_of(item)
        path = f"{_PATHS[kind].replace('{}', path_segment(manifest.namespace_of(item)))}/{path_segment(name)}"
        try:
            present: Json | None = api.get(path)
        except ApiError as error:
            if error.rule and not _read_at_start(item, manifest):
                unread.append(f"{kind}/{name}")
                refusal = error
                continue
            if error.status != _NOT_FOUND:
                raise unmeasured(error) from error
            present = None
        compared.append(f"{kind}/{name}")
        changes = edits_of(item, present, keys, at_start=_read_at_start(item, manifest))
        edits += changes
        if changes and present is not None and (writer := _last_writer(present, now)):
            writers.append(f"{kind} {name}: {writer}")
    if refusal is not None and not compared:
        raise unmeasured(refusal)
    observed = [*map(str, edits), *writers]
    observed += [f"not compared, since it may not be read: {name}" for name in unread]
    command = pipe(
        program("helm", "get", "manifest", release, "-n", namespace, "--revision", record.revision),
        program("kubectl", "diff", "-n", namespace, "-f", "-"),
    )
    return ReleaseEdits(
        target=release,
        revision=record.revision,
        edits=tuple(edits),
        compared=tuple(compared),
        unread=tuple(unread),
        evidence=Evidence(
            where="here",
            command=command,
            observed="\n".join(observed) or f"no difference in {', '.join(compared) or 'an empty manifest'}",
            took=time.monotonic() - began,
        ),
    )


def at_start(measured: ReleaseEdits) -> ReleaseEdits:
    """The same, faulty where managers read something at their next start that the release does not have."""
    return _judged(measured, [edit for edit in measured.edits if edit.at_start], ReleaseFault.EDITED)


def elsewhere(measured: ReleaseEdits) -> ReleaseEdits:
    """The same, faulty where another object of the release is not as the release has it."""
    return _judged(measured, [edit for edit in measured.edits if not edit.at_start], ReleaseFault.OBJECT_EDITED)


def _judged(measured: ReleaseEdits, edits: Sequence[Edit], fault: ReleaseFault) -> ReleaseEdits:
    if not edits:
        return replace(measured, edits=(), fault=None, cause="")
    more = f" and {len(edits) - _SHOWN_AT_MOST} more" if len(edits) > _SHOWN_AT_MOST else ""
    cause = f"edited after revision {measured.revision}: " + "; ".join(map(str, edits[:_SHOWN_AT_MOST])) + more
    return replace(measured, edits=tuple(edits), fault=fault, cause=cause)


def _read_at_start(item: Json, manifest: Rendering) -> bool:
    """Whether the managers' pod takes an object when it starts."""
    if item["kind"] not in {"ConfigMap", "Secret"}:
        return False
    used = {(reference.kind, reference.name) for reference in manifest.references}
    return (item["kind"], name_of(item)) in used or bool(_RUNS_ON & set(_mapping(item.get("data"))))


def _last_writer(present: Json, now: float) -> str:
    """Who wrote the object last, by the API server's own account; "" where it does not say."""
    written = [
        field
        for field in _mapping(present.get("metadata")).get("managedFields") or ()
        if isinstance(field, Mapping) and not field.get("subresource") and field.get("time")
    ]
    if not written:
        return ""
    last = max(written, key=lambda field: str(field["time"]))
    try:
        age = now - datetime.fromisoformat(str(last["time"])).timestamp()
    except ValueError:
        return ""
    return f"last written by {last.get('manager') or 'somebody'}, {describe_duration(max(age, 0.0))} ago"


# ---- comparing ------------------------------------------------------------------------------------------------------


def edits_of(released: Json, present: Json | None, keys: RunnerKeys, *, at_start: bool) -> tuple[Edit, ...]:
    """Every key of an object that is not as the manifest has it.

    Args:
        released: the object in the manifest.
        present: the object in the cluster; None if it is gone.
        keys: what this version of the runner reads in its TOML.
        at_start: whether managers read the object when they start.
    """
    kind, name = str(released["kind"]), name_of(released)
    if present is None:
        # That the managers' Deployment or account is gone is another check's to say.
        if kind not in {"ConfigMap", "Secret"}:
            return ()
        return (Edit(kind=kind, name=name, key="the object", present="deleted", released="it", at_start=at_start),)
    differences = {
        "ConfigMap": lambda: _of_texts(_texts(released), _texts(present), keys),
        "Secret": lambda: _of_digests(_digests(released), _digests(present)),
        "Role": lambda: _of_grants(_grants(released), _grants(present)),
    }.get(kind, lambda: _of_object(released, present, kind))()
    return tuple(
        Edit(kind=kind, name=name, key=key, present=shown, released=wanted, at_start=at_start)
        for key, shown, wanted in differences
    )


_Found = Iterator[tuple[str, str, str]]
"""Key, what is present, and what the release has."""


def _of_texts(released: Mapping[str, str], present: Mapping[str, str], keys: RunnerKeys) -> _Found:
    remember_within(dict(present))
    for key in dict.fromkeys([*released, *present]):
        before, now = released.get(key), present.get(key)
        if before is None or now is None:
            yield key, _ABSENT if now is None else "a text", _ABSENT if before is None else "a text"
        elif key.endswith(".toml"):
            prefix = "runners.config: "
            for change in values_differences({"runners": {"config": now}}, {"runners": {"config": before}}, keys):
                setting = change.key.removeprefix(prefix) if change.key.startswith(prefix) else ""
                # What is no TOML is a text, of which nothing is shown.
                yield (f"{key}: {setting}", change.deployed, change.wanted) if setting else (key, "", "")
        elif _statements(before) != _statements(now):
            yield key, "", ""


def _statements(text: str) -> list[str]:
    """The lines of a script that do something, or say with what it is run."""
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line and (line.startswith("#!") or not line.lstrip().startswith("#"))]


def _of_digests(released: Mapping[str, str], present: Mapping[str, str]) -> _Found:
    for key in dict.fromkeys([*released, *present]):
        if key not in present:
            yield key, _ABSENT, "a value"
        elif key not in released:
            yield key, "a value", _ABSENT
        elif present[key] != released[key]:
            yield key, "", ""


def _of_grants(released: frozenset[str], present: frozenset[str]) -> _Found:
    lost, won = sorted(released - present), sorted(present - released)
    if lost or won:
        yield "rules", _listed("grants also ", won) or "less", _listed("grants ", lost) or "less"


def _listed(verb: str, grants: Sequence[str], most: int = 4) -> str:
    more = f" and {len(grants) - most} more" if len(grants) > most else ""
    return f"{verb}{', '.join(grants[:most])}{more}" if grants else ""


def _grants(role: Json) -> frozenset[str]:
    """What a Role grants: each verb on each resource."""
    granted = set()
    for rule in role.get("rules") or ():
        names = ",".join(sorted(map(str, rule.get("resourceNames") or ())))
        for group in rule.get("apiGroups") or ("",):
            for resource in rule.get("resources") or ():
                full = f"{resource}.{group}" if group and group != "*" else str(resource)
                granted |= {f"{verb} {full}{f' {names}' if names else ''}" for verb in rule.get("verbs") or ()}
    return frozenset(granted)


def _texts(item: Json) -> dict[str, str]:
    data = _mapping(item.get("data"))
    return {str(key): "" if text is None else str(text) for key, text in data.items()}


def _digests(item: Json) -> dict[str, str]:
    """The digests of a Secret's values, by key; an empty value is as good as none."""
    values: dict[str, bytes] = {}
    for key, text in _mapping(item.get("data")).items():
        try:
            values[str(key)] = base64.b64decode("".join(str(text or "").split()), validate=True)
        except binascii.Error:
            values[str(key)] = str(text).encode()
    values |= {str(key): str(text).encode() for key, text in _mapping(item.get("stringData")).items()}
    return {key: hashlib.sha256(value).hexdigest() for key, value in values.items() if value}


# ---- other objects --------------------------------------------------------------------------------------------------

_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "defaultMode": (420,),
    "dnsPolicy": ("ClusterFirst",),
    "expirationSeconds": (3600,),
    "failureThreshold": (3,),
    "imagePullPolicy": ("Always", "IfNotPresent"),
    "path": ("/",),
    "periodSeconds": (10,),
    "progressDeadlineSeconds": (600,),
    "protocol": ("TCP",),
    "restartPolicy": ("Always",),
    "revisionHistoryLimit": (10,),
    "rollingUpdate": ({"maxUnavailable": "25%", "maxSurge": "25%"},),
    "schedulerName": ("default-scheduler",),
    "scheme": ("HTTP",),
    "strategy": ({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},),
    "successThreshold": (1,),
    "terminationGracePeriodSeconds": (30,),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "timeoutSeconds": (1,),
    "type": ("RollingUpdate",),
}
"""What the API server fills in where a manifest is silent (docs/sources.md#hand-edits)."""

_ADDED_BY_OTHERS = frozenset({"annotations", "apiVersion", "creationTimestamp", "serviceAccount"})
"""Keys that the API server, controllers and ``kubectl rollout restart`` add; what the manifest has of them counts."""

_AMOUNTS = frozenset({"limits", "requests", "sizeLimit"})
_IDENTITIES = ("mountPath", "name", "containerPort")
"""Keys by which entries of a list are known."""


def _of_object(released: Json, present: Json, kind: str) -> _Found:
    strict = kind in {"Deployment", "RoleBinding"}
    for part in sorted({*released, *present} - {"apiVersion", "kind", "metadata", "status"}):
        if part in released or strict:
            yield from _of_nodes(released.get(part), present.get(part), (part,), strict=strict)


def _of_nodes(released: Any, present: Any, path: tuple[str, ...], *, strict: bool) -> _Found:
    if path == ("spec", "replicas"):
        return  # that somebody scaled the managers is another check's to say
    if released is None and (not strict or _filled_in(path[-1], present)):
        return
    if _nothing(released) and _nothing(present):
        return
    if isinstance(released, Mapping) and isinstance(present, Mapping):
        for key in dict.fromkeys([*released, *present]):
            yield from _of_nodes(released.get(key), present.get(key), (*path, str(key)), strict=strict)
    elif isinstance(released, list) and isinstance(present, list) and (pairs := _pairs(released, present)):
        for identity, before, now in pairs:
            if (before is None or now is None) and (strict or now is None):
                yield (
                    f"{_spelt(path)}[{identity}]",
                    _ABSENT if now is None else "there",
                    (_ABSENT if before is None else "it"),
                )
            elif before is not None:
                yield from _of_nodes(before, now, (*path[:-1], f"{path[-1]}[{identity}]"), strict=strict)
    elif not _same(released, present, path):
        yield _spelt(path), _shown(path, present), _shown(path, released)


def _pairs(released: list[Any], present: list[Any]) -> list[tuple[str, Any, Any]]:
    """The entries of two lists of tables, each with its like; none where they are of another kind, or not alike."""
    if not all(isinstance(entry, Mapping) for entry in (*released, *present)):
        return []
    for identity in _IDENTITIES:
        before, now = ({str(entry.get(identity)): entry for entry in entries} for entries in (released, present))
        if len(before) == len(released) and len(now) == len(present) and "None" not in {*before, *now}:
            return [(key, before.get(key), now.get(key)) for key in dict.fromkeys([*before, *now])]
    if len(released) != len(present):
        return []
    return [(str(number), *entries) for number, entries in enumerate(zip(released, present, strict=True))]


def _filled_in(key: str, value: Any) -> bool:
    return _nothing(value) or key in _ADDED_BY_OTHERS or value in _DEFAULTS.get(key, ())


def _nothing(value: Any) -> bool:
    return value is None or value is False or value in ("", 0, [], {})


def _same(released: Any, present: Any, path: Sequence[str]) -> bool:
    """Whether two values are the same; of amounts the API server keeps another spelling, such as 1 for 1000m."""
    if released == present and isinstance(released, bool) is isinstance(present, bool):
        return True
    if not _AMOUNTS & set(path):
        return False
    try:
        return quantity(released) == quantity(present)
    except (ValueError, DecimalException):
        return False


def _spelt(path: Iterable[str]) -> str:
    return ".".join(path).replace("spec.template.spec.", "")


def _shown(path: Sequence[str], value: Any) -> str:
    if value is None:
        return _ABSENT
    if any(step.startswith("env[") or names_a_secret(step) for step in path):
        return "a value"  # a variable may be a secret under any name
    text = value if isinstance(value, str) and "\n" not in value else json.dumps(value, ensure_ascii=False, default=str)
    text = clean(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

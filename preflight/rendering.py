"""What Helm makes of a chart and its values: the objects, and what the runner's managers get by them.

`read` takes the text that ``helm template`` prints, or the manifest in a release's record, so that what is to come and
what is installed are asked in the same words.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

from preflight.documents import load_json, load_toml
from preflight.redaction import remember_within
from preflight.yamltext import line_and_words, load_yaml

Json = Mapping[str, Any]

VALUES_KIND = "PreflightValues"
"""The kind of the document by which the merged values come back: no cluster ever sees it."""
MOST_OBJECTS = 2_000
TEMPLATE_KEY = "config.template.toml"
_SEPARATOR = re.compile(r"(?:^|\s{0,100}\n)---[ \t]*(?=\n|$)")  # Helm's own way to tell documents apart
_SOURCE = re.compile(r"^# Source: (?P<path>\S+)", re.MULTILINE)
_TEMPLATE_ARGUMENT = re.compile(r"--template-config[= ]\s*\"?(?P<path>[^\s\"\\]+)")
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


class NotAManifestError(ValueError):
    """What was rendered can't be read as Kubernetes objects; the message says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An environment variable of the managers' container.

    Attributes:
        value: its text; None where it comes from elsewhere.
        source: ``configMapKeyRef``, ``secretKeyRef``, ``fieldRef`` and so on, with what it refers to; or None.
    """

    name: str
    value: str | None = field(default=None, repr=False)
    source: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A Secret, ConfigMap or claim that the managers' pod needs by name.

    Attributes:
        kind: ``Secret``, ``ConfigMap`` or ``PersistentVolumeClaim``.
        keys: those that are needed in it; empty where all of them are taken as they come.
        optional: whether the pod starts without it.
        used_as: ``volume NAME``, ``env NAME``, ``envFrom`` or ``imagePullSecrets``.
    """

    kind: str
    name: str
    keys: tuple[str, ...] = ()
    optional: bool = False
    used_as: str = ""


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """The objects of a release.

    Attributes:
        objects: as they are given to the cluster, in Helm's order.
        sources: the template that each of them comes from, or "".
        values: the values as the templates see them, the chart's defaults included; None where they are not known.
        rendered_by: such as ``helm 3.17.3``; empty for the manifest of a release.
        chart: name and version; `app_version`: the runner's version that the chart is made for.
        warnings: what Helm said besides.
        took: seconds.
    """

    objects: tuple[Json, ...] = field(repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)
    values: Json | None = field(default=None, repr=False)
    rendered_by: str = ""
    chart: str = ""
    app_version: str = ""
    release: str
    namespace: str
    warnings: tuple[str, ...] = ()
    took: float = 0.0

    def of_kind(self, *kinds: str) -> tuple[Json, ...]:
        """The objects of these kinds."""
        return tuple(item for item in self.objects if item.get("kind") in kinds)

    def named(self, kind: str, name: str) -> Json | None:
        """The object of a kind and a name, or None."""
        return next((item for item in self.of_kind(kind) if name_of(item) == name), None)

    def namespace_of(self, rendered: Json) -> str:
        """Where an object stands: its own namespace, or else the release's."""
        return str(_metadata(rendered).get("namespace") or self.namespace)

    # ---- the managers ----

    @cached_property
    def workload(self) -> Json | None:
        """The managers' Deployment: of several, the one whose container registers the runner."""
        listed = self.of_kind(*_WORKLOADS)
        return next(
            (workload for workload in listed if "/configmaps" in json.dumps(workload, default=str)),
            listed[0] if listed else None,
        )

    @property
    def pod(self) -> Json:
        """The managers' pod, as its template has it; empty without a workload."""
        return _table(_table(self.workload or {}, "spec"), "template")

    @property
    def pod_spec(self) -> Json:
        """What the managers' pod is made of."""
        return _table(self.pod, "spec")

    @property
    def container(self) -> Json:
        """The managers' container: the first, which is the chart's own."""
        return next(iter(_tables(self.pod_spec, "containers")), {})

    @property
    def replicas(self) -> int | None:
        """How many managers there will be; None where an autoscaler says so."""
        count = _table(self.workload or {}, "spec").get("replicas")
        if count is None and not self.of_kind("HorizontalPodAutoscaler") and self.workload is not None:
            return 1
        return count if isinstance(count, int) else None

    @property
    def labels(self) -> Mapping[str, str]:
        """Of the managers' pods."""
        return _labels(self.pod)

    @property
    def selector(self) -> Mapping[str, str]:
        """The labels by which the Deployment knows its pods."""
        labels = _table(_table(_table(self.workload or {}, "spec"), "selector"), "matchLabels")
        return {str(key): str(value) for key, value in labels.items()}

    @property
    def environment(self) -> tuple[Variable, ...]:
        """The managers' variables, the last of one name, which is the one that holds."""
        variables: dict[str, Variable] = {}
        for entry in _tables(self.container, "env"):
            name, source = str(entry.get("name", "")), entry.get("valueFrom")
            value = None if source else str(entry.get("value") if entry.get("value") is not None else "")
            variables.pop(name, None)
            variables[name] = Variable(name=name, value=value, source=source if isinstance(source, Mapping) else None)
        return tuple(variables.values())

    def variable(self, name: str) -> str | None:
        """The text of a variable of the managers; None where it is not set, or comes from elsewhere."""
        return next((variable.value for variable in self.environment if variable.name == name), None)

    @property
    def ports(self) -> Mapping[str, int]:
        """The container's ports by name."""
        return {
            str(port.get("name", port.get("containerPort"))): int(port["containerPort"])
            for port in _tables(self.container, "ports")
            if isinstance(port.get("containerPort"), int)
        }

    @property
    def service_account(self) -> str:
        """The managers' service account."""
        return str(self.pod_spec.get("serviceAccountName") or self.pod_spec.get("serviceAccount") or "default")

    @property
    def image(self) -> str:
        """The managers' image."""
        return str(self.container.get("image") or "")

    # ---- rights ----

    @property
    def rules(self) -> tuple[tuple[str, Json], ...]:
        """The rules that the release gives to the managers' service account, each with the namespace it holds for.

        The namespace is ``*`` for a ClusterRole that is bound in the whole cluster.
        """
        return tuple(self._rules())

    def _rules(self) -> Iterator[tuple[str, Json]]:
        for binding in self.of_kind("RoleBinding", "ClusterRoleBinding"):
            where = "*" if binding["kind"] == "ClusterRoleBinding" else self.namespace_of(binding)
            accounts = [
                subject
                for subject in _tables(binding, "subjects")
                if subject.get("kind") == "ServiceAccount" and subject.get("name") == self.service_account
            ]
            reference = _table(binding, "roleRef")
            role = self.named(str(reference.get("kind", "")), str(reference.get("name", ""))) if accounts else None
            for rule in _tables(role or {}, "rules"):
                yield where, rule

    # ---- the runner's configuration ----

    @cached_property
    def scripts(self) -> Mapping[str, str]:
        """The managers' files by name: those of the ConfigMap that holds the template or the entry point."""
        listed = self.of_kind("ConfigMap")
        mounted = {reference.name for reference in self.references if reference.kind == "ConfigMap"}
        chosen = [
            config_map
            for config_map in listed
            if {TEMPLATE_KEY, "entrypoint", "config.toml"} & set(_table(config_map, "data"))
        ]
        chosen.sort(key=lambda config_map: name_of(config_map) not in mounted)
        return {str(key): str(text) for key, text in _table(chosen[0], "data").items()} if chosen else {}

    @property
    def template_path(self) -> str:
        """The template's path in the managers' pods, as they register with it; empty if they take none."""
        match = _TEMPLATE_ARGUMENT.search(self.scripts.get("register-the-runner", ""))
        return match["path"] if match else ""

    @property
    def template(self) -> str | None:
        """The rendered ``runners.config``; None where the release has none, such as with ``runners.configPath``."""
        return self.scripts.get(TEMPLATE_KEY)

    @property
    def config(self) -> str | None:
        """The rendered config.toml: the global settings that managers start from."""
        return self.scripts.get("config.toml")

    def template_tables(self) -> Json:
        """The rendered ``runners.config`` as TOML; empty without one.

        Raises:
            tomllib.TOMLDecodeError: it is none, and no manager will register.
        """
        return load_toml(self.template or "")

    # ---- what it needs ----

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """What the managers' pod needs by name; several uses of one object stand apart."""
        return tuple(
            dict.fromkeys([*_volumes(self.pod_spec), *_variables(self.pod_spec), *_pull_secrets(self.pod_spec)])
        )

    def made(self, reference: Reference) -> bool:
        """Whether the release brings what is referred to."""
        return self.named(reference.kind, reference.name) is not None


# ---- reading --------------------------------------------------------------------------------------------------------


def read(
    text: str,
    *,
    release: str,
    namespace: str,
    rendered_by: str = "",
    chart: str = "",
    app_version: str = "",
    warnings: Sequence[str] = (),
    took: float = 0.0,
) -> Rendering:
    """The objects in what ``helm template`` prints or a release's record holds; secrets in them are remembered.

    Raises:
        NotAManifestError: a document is no YAML, or none of Kubernetes'.
    """
    objects: list[Json] = []
    sources: list[str] = []
    values: Json | None = None
    for number, document in enumerate(_SEPARATOR.split(text)):
        if number > MOST_OBJECTS:
            raise NotAManifestError(f"there are more than {MOST_OBJECTS} objects")
        source = _SOURCE.search(document)
        try:
            loaded = load_yaml(document)
        except yaml.YAMLError as error:
            line, words = line_and_words(error)
            place = source["path"] if source else f"object {number}"
            raise NotAManifestError(f"{place}: not YAML at its line {line or 1}: {words}") from None
        if loaded is None:
            continue
        if not isinstance(loaded, Mapping) or not isinstance(loaded.get("kind"), str):
            raise NotAManifestError(f"{source['path'] if source else f'object {number}'}: no object of Kubernetes")
        if loaded["kind"] == VALUES_KIND:
            values = _carried(str(loaded.get("values", "")))
            continue
        for item in loaded.get("items", ()) if loaded["kind"] == "List" else (loaded,):
            if isinstance(item, Mapping):
                objects.append(item)
                sources.append(source["path"] if source else "")
                _remember(item)
    if values is not None:
        remember_within(values)
    return Rendering(
        objects=tuple(objects),
        sources=tuple(sources),
        values=values,
        rendered_by=rendered_by,
        chart=chart,
        app_version=app_version,
        release=release,
        namespace=namespace,
        warnings=tuple(warnings),
        took=took,
    )


def _carried(text: str) -> Json | None:
    try:
        content = load_json(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return content if isinstance(content, Mapping) else None


def _remember(rendered: Json) -> None:
    if rendered["kind"] != "Secret":
        remember_within(_table(rendered, "spec"))
        for text in _table(rendered, "data").values():
            if isinstance(text, str):
                remember_within(text)
        return
    remember_within(_table(rendered, "stringData"))
    for name, text in _table(rendered, "data").items():
        try:
            remember_within(base64.b64decode(str(text), validate=True).decode("utf-8", "replace"), str(name))
        except binascii.Error:
            continue


def name_of(rendered: Json) -> str:
    """An object's name."""
    return str(_metadata(rendered).get("name", ""))


def _metadata(rendered: Json) -> Json:
    return _table(rendered, "metadata")


def _labels(rendered: Json) -> dict[str, str]:
    return {str(key): str(value) for key, value in _table(_metadata(rendered), "labels").items()}


def _table(node: Json, key: str) -> Json:
    content = node.get(key)
    return content if isinstance(content, Mapping) else {}


def _tables(node: Json, key: str) -> tuple[Json, ...]:
    content = node.get(key)
    return tuple(item for item in content if isinstance(item, Mapping)) if isinstance(content, list) else ()


def _keys(source: Json) -> tuple[str, ...]:
    return tuple(str(item["key"]) for item in _tables(source, "items") if "key" in item)


_BY_VOLUME = (  # the volume's key, the name's key in it, and the kind
    ("secret", "secretName", "Secret"),
    ("configMap", "name", "ConfigMap"),
    ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
)


def _volumes(spec: Json) -> Iterator[Reference]:
    for volume in _tables(spec, "volumes"):
        used_as = f"volume {volume.get('name', '')}"
        for key, name, kind in _BY_VOLUME:
            if isinstance(source := volume.get(key), Mapping) and source.get(name):
                yield _reference(kind, str(source[name]), source, used_as)
        for source in _tables(_table(volume, "projected"), "sources"):
            for key, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
                if isinstance(inner := source.get(key), Mapping) and inner.get("name"):
                    yield _reference(kind, str(inner["name"]), inner, used_as)


def _reference(kind: str, name: str, source: Json, used_as: str) -> Reference:
    return Reference(kind=kind, name=name, keys=_keys(source), optional=bool(source.get("optional")), used_as=used_as)


def _variables(spec: Json) -> Iterator[Reference]:
    for container in (*_tables(spec, "initContainers"), *_tables(spec, "containers")):
        for variable in _tables(container, "env"):
            for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                source = _table(_table(variable, "valueFrom"), key)
                if source.get("name"):
                    yield Reference(
                        kind=kind,
                        name=str(source["name"]),
                        keys=(str(source.get("key", "")),),
                        optional=bool(source.get("optional")),
                        used_as=f"env {variable.get('name', '')}",
                    )
        for origin in _tables(container, "envFrom"):
            for key, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
                source = _table(origin, key)
                if source.get("name"):
                    yield _reference(kind, str(source["name"]), source, "envFrom")


def _pull_secrets(spec: Json) -> Iterator[Reference]:
    for entry in _tables(spec, "imagePullSecrets"):
        if entry.get("name"):
            # A pod starts without its pull secret, as far as its images can be had without.
            yield Reference(kind="Secret", name=str(entry["name"]), optional=True, used_as="imagePullSecrets")

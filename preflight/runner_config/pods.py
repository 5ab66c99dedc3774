"""What the API refuses of a job's pod, and what does not get into it (executors/kubernetes preparePodConfig)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from preflight.runner_config.decoder import Outcome, Steps, nearest_names
from preflight.runner_config.names import dns_label, dns_subdomain, label_value, qualified_name
from preflight.runner_config.rules import Broken, Runner, no_quantity, rule
from preflight.yamltext import load_yaml

_DNS_POLICIES = ("none", "default", "cluster-first", "cluster-first-with-host-net")
_MOST_NAMESERVERS = 3
_MOST_SEARCHES = 32
_ONLY = "the API refuses every job's pod"


@rule("dns-policy", Outcome.NO_EFFECT, "common/config.go KubernetesDNSPolicy.Get")
def _dns_policy(runner: Runner) -> Iterator[Broken]:
    """A policy that the runner does not know is passed over: jobs get the cluster's own resolver."""
    policy = runner.get("dns_policy")
    if policy and policy not in _DNS_POLICIES:
        near = nearest_names(policy, _DNS_POLICIES)
        meant = f'did you mean "{near[0]}"?' if near else f"it knows {', '.join(_DNS_POLICIES)}"
        yield (
            runner.here("dns_policy"),
            f'the runner does not know "{policy}", and jobs get the cluster\'s default; {meant}',
        )


@rule("no-nameservers", Outcome.ALL_JOBS_FAIL, "the API: a pod of the policy None names a resolver", absence=True)
def _no_nameservers(runner: Runner) -> Iterator[Broken]:
    """A pod without the cluster's resolver needs another one."""
    if runner.get("dns_policy") == "none" and not runner.get("dns_config", "nameservers"):
        yield runner.here("dns_policy"), f'it is "none", and dns_config has no nameservers: {_ONLY}'


@rule("dns-config", Outcome.ALL_JOBS_FAIL, "the API: validation of a pod's dnsConfig")
def _dns_config(runner: Runner) -> Iterator[Broken]:
    """Three nameservers at most, each an address; search domains are DNS names; an option has a name."""
    servers = runner.get("dns_config", "nameservers") or []
    if len(servers) > _MOST_NAMESERVERS:
        yield runner.here("dns_config", "nameservers"), f"there are {len(servers)}, of {_MOST_NAMESERVERS}: {_ONLY}"
    for server in servers:
        if not _address(server):
            yield runner.here("dns_config", "nameservers"), f'"{server}" is no address: {_ONLY}'
    searches = runner.get("dns_config", "searches") or []
    if len(searches) > _MOST_SEARCHES:
        yield runner.here("dns_config", "searches"), f"there are {len(searches)}, of {_MOST_SEARCHES}: {_ONLY}"
    for domain in searches:
        if domain != "." and not dns_subdomain(domain.removesuffix(".")):
            yield runner.here("dns_config", "searches"), f'"{domain}" is no domain: {_ONLY}'
    for number, option in enumerate(runner.get("dns_config", "options") or ()):
        if not option.get("name"):
            yield runner.here("dns_config", "options", number), f"it has no name: {_ONLY}"


@rule("host-aliases", Outcome.ALL_JOBS_FAIL, "the API: validation of a pod's hostAliases")
def _host_aliases(runner: Runner) -> Iterator[Broken]:
    """An alias has an address and names."""
    for number, alias in enumerate(runner.get("host_aliases") or ()):
        if not _address(alias.get("ip", "")):
            yield runner.here("host_aliases", number), f"ip is no address: {_ONLY}"
        for name in alias.get("hostnames", ()):
            if not dns_subdomain(name):
                yield runner.here("host_aliases", number, "hostnames"), f'"{name}" is no DNS name: {_ONLY}'


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@rule("toleration", Outcome.ALL_JOBS_FAIL, "executors/kubernetes getPodTolerations; the API: validateTolerations")
def _tolerations(runner: Runner) -> Iterator[Broken]:
    """A toleration reads "key=value" = "Effect": the runner splits nothing else."""
    for written, effect in (runner.get("node_tolerations") or {}).items():
        key, equals, value = written.partition("=")
        path = runner.here("node_tolerations", written)
        where = next((end for end in _EFFECTS if written.endswith(f":{end}")), None)
        if where and not effect:
            message = f'it tolerates nothing, and {_ONLY}: write "{written.removesuffix(f":{where}")}" = "{where}"'
            yield path, message
        elif key and not qualified_name(key):
            yield path, f'"{key}" is no key of a taint: {_ONLY}'
        elif equals and not key:
            yield path, f"it has no key: {_ONLY}"
        elif equals and not label_value(value):
            yield path, f'"{value}" is no value of a taint: {_ONLY}'
        elif effect and effect not in _EFFECTS:
            yield path, f'"{effect}" is none of {", ".join(_EFFECTS)}: {_ONLY}'


_SYSTEMS = ("linux", "windows", "freebsd")
_WINDOWS_BUILD = "node.kubernetes.io/windows-build"
_WINDOWS_BUILDS = (
    *("10.0.17763", "10.0.20348", "10.0.26100"),  # servers
    *("10.0.19043", "10.0.19044", "10.0.19045", "10.0.22000", "10.0.22621", "10.0.22631"),
)


@rule("labels-of-kubernetes", Outcome.ALL_JOBS_FAIL, "executors/kubernetes prepareHelperImage, buildLabels; the API")
def _kubernetes_labels(runner: Runner) -> Iterator[Broken]:
    """Selectors, labels and annotations have names that the API takes; the system is one with a helper image."""
    for name in ("node_selector", "pod_labels", "pod_annotations"):
        for key, value in (runner.get(name) or {}).items():
            if not qualified_name(key):
                yield runner.here(name, key), f"it is no key of a label or annotation: {_ONLY}"
            elif name == "node_selector" and not label_value(value):
                yield runner.here(name, key), f'"{value}" is no value of a label: {_ONLY}'
    selector = runner.get("node_selector") or {}
    system, build = selector.get("kubernetes.io/os"), selector.get(_WINDOWS_BUILD, "")
    if system == "windows" and ".".join(build.replace(" ", ".").split(".")[:3]) not in _WINDOWS_BUILDS:
        known = ", ".join(_WINDOWS_BUILDS[:3])
        message = f'for Windows the runner wants "{_WINDOWS_BUILD}" of a build that it has a helper image for ({known})'
        yield runner.here("node_selector", _WINDOWS_BUILD if build else "kubernetes.io/os"), message
    if system and system not in _SYSTEMS:
        yield runner.here("node_selector", "kubernetes.io/os"), f'there is no helper image for "{system}"'


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_COMPARING = ("Gt", "Lt")
_HEAVIEST = 100


@rule("affinity", Outcome.ALL_JOBS_FAIL, "the API: validation of a pod's affinity")
def _affinity(runner: Runner) -> Iterator[Broken]:
    """Operators, weights and topology keys are those of the API."""
    for name in ("node_affinity", "pod_affinity", "pod_anti_affinity"):
        of_nodes = name == "node_affinity"
        yield from _terms(runner.get("affinity", name) or {}, runner.here("affinity", name), of_nodes=of_nodes)
    required = runner.get("affinity", "node_affinity", "required_during_scheduling_ignored_during_execution")
    if required is not None and not required.get("node_selector_terms"):
        path = runner.here("affinity", "node_affinity", "required_during_scheduling_ignored_during_execution")
        yield path, f"it has no node_selector_terms: {_ONLY}"


def _terms(node: Any, path: Steps, *, of_nodes: bool) -> Iterator[Broken]:
    inner = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for step, value in inner:
        here = (*path, step)
        if isinstance(step, int) or step == "pod_affinity_term":
            yield from _term(value, here, of_nodes=of_nodes)
        yield from _terms(value, here, of_nodes=of_nodes)


def _term(entry: Any, path: Steps, *, of_nodes: bool) -> Iterator[Broken]:
    if not isinstance(entry, Mapping):
        return
    parent = next((step for step in reversed(path) if isinstance(step, str)), "")
    if parent in {"match_expressions", "match_fields"}:
        yield from _expression(entry, path, of_nodes=of_nodes)
    if parent.startswith("preferred") and not 1 <= entry.get("weight", 0) <= _HEAVIEST:
        yield (*path, "weight"), f"a weight is 1 to {_HEAVIEST}: {_ONLY}"
    if not of_nodes and (parent.startswith("required") or parent == "pod_affinity_term"):
        key = entry.get("topology_key", "")
        if not qualified_name(key):
            yield (*path, "topology_key"), f"it is {'not set' if not key else 'no key of a label'}: {_ONLY}"


def _expression(entry: Mapping[str, Any], path: Steps, *, of_nodes: bool) -> Iterator[Broken]:
    operator, values = entry.get("operator", ""), entry.get("values", [])
    known = (*_OPERATORS, *_COMPARING) if of_nodes else _OPERATORS
    if operator not in known:
        yield (*path, "operator"), f'"{operator}" is none of {", ".join(known)}: {_ONLY}'
    elif operator in {"In", "NotIn"} and not values:
        yield (*path, "values"), f"with {operator} there is a value: {_ONLY}"
    elif operator in {"Exists", "DoesNotExist"} and values:
        yield (*path, "values"), f"with {operator} there is none: {_ONLY}"
    elif operator in _COMPARING and not (len(values) == 1 and re.fullmatch(r"-?\d+", values[0])):
        yield (*path, "values"), f"with {operator} there is one whole number: {_ONLY}"
    if not qualified_name(entry.get("key", "")):
        yield (*path, "key"), f"it is no key of a label: {_ONLY}"


_VOLUMES = ("host_path", "secret", "pvc", "config_map", "empty_dir", "csi", "nfs")
_OWN_VOLUMES = ("scripts", "logs")  # and "repo", where no volume is mounted at the builds directory
_PROPAGATIONS = ("None", "HostToContainer", "Bidirectional")
_MEDIA = re.compile(r"(?:|Memory|HugePages(?:-.+)?)")


@rule("volumes", Outcome.ALL_JOBS_FAIL, "executors/kubernetes getVolumesForConfig; the API: validation of volumes")
def _volumes(runner: Runner) -> Iterator[Broken]:
    """A volume has a name and a path of its own, and what its kind needs."""
    names: dict[str, str] = {}
    paths: dict[str, str] = {}
    for kind in _VOLUMES:
        for number, volume in enumerate(runner.get("volumes", kind) or ()):
            place = ("volumes", kind, number)
            yield from _volume(runner, kind, volume, place)
            name, path = volume.get("name", ""), volume.get("mount_path", "")
            label = f"{kind} {name}"
            if name in _OWN_VOLUMES:
                yield runner.here(*place, "name"), f"the runner has a volume {name} of its own: {_ONLY}"
            elif name in names and not (kind == "pvc" and names[name] == "pvc"):
                yield runner.here(*place, "name"), f"{names[name]} has this name too: {_ONLY}"
            if path and path in paths:
                yield runner.here(*place, "mount_path"), f"{paths[path]} is mounted there too: {_ONLY}"
            names.setdefault(name, kind)
            paths.setdefault(path, label)


def _volume(runner: Runner, kind: str, volume: Mapping[str, Any], place: tuple[str | int, ...]) -> Iterator[Broken]:
    name, path = volume.get("name", ""), volume.get("mount_path", "")
    if not dns_label(name) and not (kind == "pvc" and "$" in name):
        yield runner.here(*place, "name"), f'"{name}" is no DNS label: {_ONLY}' if name else f"it has no name: {_ONLY}"
    if not path or ":" in path:
        yield runner.here(*place, "mount_path"), f"{'it is not set' if not path else 'it holds a colon'}: {_ONLY}"
    sub_path = volume.get("sub_path", "")
    if sub_path.startswith("/") or ".." in sub_path.split("/"):
        yield runner.here(*place, "sub_path"), f"it stays within the volume: {_ONLY}"
    propagation = volume.get("mount_propagation")
    if propagation and propagation not in _PROPAGATIONS:
        message = f'"{propagation}" is none of {", ".join(_PROPAGATIONS)}: {_ONLY}'
        yield runner.here(*place, "mount_propagation"), message
    elif propagation == "Bidirectional" and not runner.get("privileged"):
        yield runner.here(*place, "mount_propagation"), f"Bidirectional needs privileged containers: {_ONLY}"
    if kind == "csi" and not volume.get("driver"):
        yield runner.here(*place, "driver"), f"it is not set: {_ONLY}"
    if kind == "empty_dir":
        if not _MEDIA.fullmatch(volume.get("medium", "")):
            yield runner.here(*place, "medium"), f"it is Memory, or HugePages, or not set: {_ONLY}"
        if no_quantity(volume.get("size_limit", "").strip(" ")):
            message = "it is no quantity such as 1Gi, and passed over: the volume has no limit"
            yield runner.here(*place, "size_limit"), message, Outcome.NO_EFFECT


_CONTEXTS = ("build", "helper", "init_permissions", "service")
_PROC_MOUNTS = ("default", "unmasked")
_PROFILES = ("RuntimeDefault", "Localhost", "Unconfined")


@rule("security-context", Outcome.ALL_JOBS_FAIL, "common/config.go GetContainerSecurityContext; the API and kubelet")
def _security(runner: Runner) -> Iterator[Broken]:
    """What a container may do agrees with itself: else the API, or the kubelet, refuses it."""
    pod = runner.get("pod_security_context") or {}
    yield from _profiles(runner, "pod_security_context", pod)
    for name in ("fs_group", "run_as_user", "run_as_group"):
        if (pod.get(name) or 0) < 0:
            yield runner.here("pod_security_context", name), f"it is below zero: {_ONLY}"
    contradictions: dict[tuple[Steps, str], list[str]] = {}
    for kind in _CONTEXTS:
        table = f"{kind}_container_security_context"
        context = runner.get(table) or {}
        yield from _profiles(runner, table, context)
        for contradiction in _context(runner, table, context, pod):
            contradictions.setdefault(contradiction, []).append(kind)
    for (path, message), kinds in contradictions.items():  # a setting for all containers is one finding
        without = kinds == ["service"] and not runner.get("services")
        outcome = Outcome.SOME_JOBS_FAIL if without else Outcome.ALL_JOBS_FAIL
        yield path, message, outcome


@rule("users-differ", Outcome.SOME_JOBS_FAIL, "docs/configuration/configuring_runner_operator.md; git's safe.directory")
def _users(runner: Runner) -> Iterator[Broken]:
    """The helper clones and unpacks as its own user: git refuses the build's, who may not write there either."""
    pod = runner.get("pod_security_context") or {}
    tables = {kind: f"{kind}_container_security_context" for kind in ("build", "helper")}
    build, helper = ((runner.get(table) or {}).get("run_as_user", pod.get("run_as_user")) for table in tables.values())
    if build is None or helper is None or build == helper or 0 in {build, helper} or _trusts_any_owner(runner):
        return
    kind = "build" if "run_as_user" in (runner.get(tables["build"]) or {}) else "helper"
    message = (
        f"the build runs as {build} and the helper, which clones, as {helper}: git in a script refuses the clone "
        "(dubious ownership), and what one of them wrote the other cannot change"
    )
    yield runner.here(tables[kind], "run_as_user"), message


def _trusts_any_owner(runner: Runner) -> bool:
    scripts = [
        runner.values.get(name) for name in ("pre_get_sources_script", "post_get_sources_script", "pre_build_script")
    ]
    return any("safe.directory" in str(text) for text in [*scripts, *(runner.values.get("environment") or ())])


_DOCKER = "/var/lib/docker"


@rule("docker-folder-shared", Outcome.SOME_JOBS_FAIL, "dockerd locks the folder of its data")
def _docker_folder(runner: Runner) -> Iterator[Broken]:
    """Each daemon in a job has its folder for itself: a volume that outlives the pod is another job's too."""
    for kind in ("host_path", "pvc", "nfs"):
        for number, volume in enumerate(runner.get("volumes", kind) or ()):
            place = ("volumes", kind, number)
            alone = volume.get("sub_path_expr") or "$" in f"{volume.get('name', '')}{volume.get('sub_path', '')}"
            if (volume.get("mount_path") or "").rstrip("/") == _DOCKER and not alone:
                message = (
                    "the daemons of two jobs share it, and the second one does not start: mount an empty_dir there"
                )
                yield runner.here(*place, "mount_path"), message


def _context(
    runner: Runner, table: str, context: Mapping[str, Any], pod: Mapping[str, Any]
) -> Iterator[tuple[Steps, str]]:
    def effective(name: str) -> tuple[Any, Steps]:
        return (context[name], runner.here(table, name)) if name in context else (runner.get(name), runner.here(name))

    escalation, where = effective("allow_privilege_escalation")
    if escalation is False and effective("privileged")[0]:
        yield where, f"it is false, and the container is privileged: {_ONLY}"
    added = context.get("capabilities", {}).get("add") or runner.get("cap_add") or []
    if escalation is False and "CAP_SYS_ADMIN" in added:
        yield where, f"it is false, and CAP_SYS_ADMIN is added: {_ONLY}"
    user = context.get("run_as_user", pod.get("run_as_user"))
    if user == 0 and context.get("run_as_non_root", pod.get("run_as_non_root")):
        owner = table if "run_as_non_root" in context else "pod_security_context"
        yield runner.here(owner, "run_as_non_root"), "it is true, and run_as_user is 0: no container is started"
    for name in ("run_as_user", "run_as_group"):
        if (context.get(name) or 0) < 0:
            yield runner.here(table, name), f"it is below zero: {_ONLY}"


def _profiles(runner: Runner, table: str, context: Mapping[str, Any]) -> Iterator[Broken]:
    """Settings that the runner passes over, with a line in its log."""
    mount = context.get("proc_mount", "").strip()
    if mount and mount.lower() not in _PROC_MOUNTS:
        yield runner.here(table, "proc_mount"), "it is passed over: it is Default or Unmasked", Outcome.NO_EFFECT
    for name in ("seccomp_profile", "app_armor_profile"):  # since 18.11
        profile = context.get(name) or {}
        kind = profile.get("type")
        if kind and kind not in _PROFILES:
            message = f'it is passed over: "{kind}" is none of {", ".join(_PROFILES)}'
            yield runner.here(table, name, "type"), message, Outcome.NO_EFFECT
        elif kind == "Localhost" and not profile.get("localhost_profile"):
            yield runner.here(table, name), "it is passed over: localhost_profile is not set", Outcome.NO_EFFECT


_HANDLERS = ("exec", "http_get", "tcp_socket")
_LAST_PORT = 65535


@rule("lifecycle", Outcome.ALL_JOBS_FAIL, "the API: validation of a container's lifecycle")
def _lifecycle(runner: Runner) -> Iterator[Broken]:
    """A hook has one handler, with a command or a port."""
    for hook in ("post_start", "pre_stop"):
        handlers = runner.get("container_lifecycle", hook)
        if handlers is None:
            continue
        path = runner.here("container_lifecycle", hook)
        named = [name for name in _HANDLERS if name in handlers]
        if len(named) != 1:
            yield path, f"it has {len(named)} of {', '.join(_HANDLERS)}, and takes one: {_ONLY}"
        for name in named:
            handler = handlers[name]
            if name == "exec" and not handler.get("command"):
                yield (*path, name), f"it has no command: {_ONLY}"
            if name != "exec" and not 1 <= handler.get("port", 0) <= _LAST_PORT:
                yield (*path, name, "port"), f"it is 1 to {_LAST_PORT}: {_ONLY}"
            if handler.get("scheme", "") not in {"", "HTTP", "HTTPS"}:
                yield (*path, name, "scheme"), f"it is HTTP or HTTPS: {_ONLY}"


_PATCHES = ("strategic", "merge", "json")
_PATCHING = "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION"


@rule("pod-spec", Outcome.ALL_JOBS_FAIL, "executors/kubernetes applyPodSpecMerge; common/config.go PodSpecPatch")
def _pod_spec(runner: Runner) -> Iterator[Broken]:
    """Patches of the pod are used under their feature flag, and are YAML of the form that their type takes."""
    patches = runner.get("pod_spec") or ()
    if patches and not runner.flag(_PATCHING):
        message = f"it is not used without feature_flags.{_PATCHING} = true"
        yield runner.here("pod_spec"), message, Outcome.NO_EFFECT
        return
    for number, patch in enumerate(patches):
        place = ("pod_spec", number)
        kind = patch.get("patch_type") or "strategic"
        if kind not in _PATCHES:
            near = nearest_names(kind, _PATCHES)
            message = f'unsupported patch type "{kind}": the runner knows {", ".join(_PATCHES)}'
            yield runner.here(*place, "patch_type"), message + (f'; did you mean "{near[0]}"?' if near else "")
        if patch.get("patch") and patch.get("patch_path"):
            yield runner.here(*place, "patch_path"), "patch is set as well: the runner takes one of them"
        elif patch.get("patch") and (problem := _no_patch(patch["patch"], kind)):
            yield runner.here(*place, "patch"), problem


def _no_patch(text: str, kind: str) -> str:
    try:
        content = load_yaml(text)
    except yaml.YAMLError:
        return "it is no YAML"
    if kind == "json" and not isinstance(content, list):
        return "a JSON patch is a list of operations"
    if kind in {"merge", "strategic"} and not isinstance(content, Mapping):
        return f"a {kind} patch is a mapping, of the pod's spec"
    if kind == "json" and not all(map(_operation, content)):
        return _OPERATION
    return ""


_OPERATION = "an operation has op (add, remove, replace, move, copy, test) and path"


def _operation(step: Any) -> bool:
    if not isinstance(step, Mapping):
        return False
    known = step.get("op") in {"add", "remove", "replace", "move", "copy", "test"}
    return known and isinstance(step.get("path"), str)

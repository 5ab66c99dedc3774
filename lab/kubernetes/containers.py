"""What a kubelet gives a container: its command, environment, resolv.conf, and login for pulls."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lab.cluster.state import ClusterState, Raw
    from lab.world import Image

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_NAMESERVERS = 3
_CLUSTER_NDOTS = "ndots:5"
_DAEMON_COMMANDS = ("dockerd", "dockerd-entrypoint.sh")
Login = tuple[str, str]


class Unready(Exception):
    """A container cannot be created; the kubelet tries again (CreateContainerConfigError)."""


def identity(pod: Raw) -> str:
    """A pod's name in the kubelet's messages: ``name_namespace(uid)``."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"


def command(container: Raw, image: Image, env: Mapping[str, str]) -> list[str]:
    """The argv to execute: the container's command and arguments, or the image's own.

    An image's entry point is a script that ends by running its arguments, so the arguments alone are run here.
    """
    own_command = [expand(word, env) for word in container.get("command") or []]
    arguments = [expand(word, env) for word in container.get("args") or []]
    if own_command:
        return own_command + arguments
    return arguments or list(image.command)


def is_daemon(container: Raw, image: Image | None) -> bool:
    """Whether a container is a Docker daemon: its image is one, and its command is not another."""
    own_command = container.get("command") or []
    return (
        image is not None
        and image.kind == "dockerd"
        and (not own_command or own_command[0].rpartition("/")[2] in _DAEMON_COMMANDS)
    )


def expand(text: str, env: Mapping[str, str]) -> str:
    """A command's word with ``$(NAME)`` replaced where NAME is set, and ``$$`` by ``$``, as Kubernetes does it.

    https://github.com/kubernetes/kubernetes/blob/v1.28.15/third_party/forked/golang/expansion/expand.go
    """
    parts: list[str] = []
    position = 0
    while position < len(text):
        dollar = text.find("$", position)
        if dollar < 0 or dollar + 1 == len(text):
            break
        parts.append(text[position:dollar])
        following = text[dollar + 1]
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif following == "(" and (end := text.find(")", dollar)) > 0:
            name = text[dollar + 2 : end]
            parts.append(env.get(name, f"$({name})"))
            position = end + 1
        else:
            parts.append("$" + following)
            position = dollar + 2
    return "".join(parts) + text[position:]


def environment(cluster: ClusterState, pod: Raw, container: Raw) -> dict[str, str]:
    """A container's environment variables: the image's, those of services, and its own.

    Raises:
        Unready: the source of a variable is missing.
    """
    namespace = pod["metadata"]["namespace"]
    variables = {"PATH": _PATH, "HOSTNAME": pod["metadata"]["name"][:63], "HOME": "/"}
    variables |= _service_variables(cluster, namespace, everything=pod["spec"].get("enableServiceLinks", True))
    for source in container.get("envFrom") or []:
        for plural, kind in (("secrets", "secretRef"), ("configmaps", "configMapRef")):
            reference = source.get(kind)
            if reference:
                values = _values(cluster, plural, namespace, reference)
                variables |= {source.get("prefix", "") + key: value for key, value in values.items()}
    for variable in container.get("env") or []:
        origin = variable.get("valueFrom")
        if origin is None:
            variables[variable["name"]] = expand(str(variable.get("value", "")), variables)
            continue
        value = _from(cluster, pod, container, origin)
        if value is not None:
            variables[variable["name"]] = value
    return variables


def check_user(pod: Raw, container: Raw) -> None:
    """Refuse to start as root what must not run as root; the lab's images run as root.

    Raises:
        Unready: the container would run as root.
    """
    whole, own = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}
    if not own.get("runAsNonRoot", whole.get("runAsNonRoot")):
        return
    where = f'(pod: "{identity(pod)}", container: {container["name"]})'
    user = own.get("runAsUser", whole.get("runAsUser"))
    if user is None:
        why = f"container has runAsNonRoot and image will run as root {where}"
        raise Unready(why)
    if user == 0:
        why = f"container's runAsUser breaks non-root policy {where}"
        raise Unready(why)


def host_aliases(pod: Raw) -> dict[str, str]:
    """The entries that the kubelet writes into /etc/hosts: name → address."""
    aliases = {pod["metadata"]["name"]: pod["status"].get("podIP", "")}
    for alias in pod["spec"].get("hostAliases") or []:
        aliases |= dict.fromkeys(alias.get("hostnames") or [], alias["ip"])
    return aliases


def resolv_conf(cluster: ClusterState, pod: Raw, node_resolv_conf: str) -> str:
    """A pod's /etc/resolv.conf: by its policy, extended by its dnsConfig; searches first, as kubelets write it."""
    spec = pod["spec"]
    policy = spec["dnsPolicy"]
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    servers, searches, options = _parse(node_resolv_conf)
    if policy == "None":
        servers, searches, options = [], [], []
    elif policy.startswith("ClusterFirst"):
        domain = cluster.cluster_domain
        own = [f"{pod['metadata']['namespace']}.svc.{domain}", f"svc.{domain}", domain]
        dns = cluster.service_address(f"kube-dns.kube-system.svc.{domain}") or "172.21.0.10"
        servers, searches, options = [dns], own + searches, [_CLUSTER_NDOTS]
    config = spec.get("dnsConfig") or {}
    servers = _unique([*servers, *(config.get("nameservers") or [])])[:_MAX_NAMESERVERS]
    searches = _unique([*searches, *(config.get("searches") or [])])
    for option in config.get("options") or []:
        option_text = option["name"] + (f":{option['value']}" if option.get("value") is not None else "")
        options = [other for other in options if other.partition(":")[0] != option["name"]] + [option_text]
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in servers]
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(line + "\n" for line in lines)


def pull_logins(cluster: ClusterState, pod: Raw) -> tuple[dict[str, list[Login]], list[str]]:
    """The logins of a pod's pull secrets by registry host, and the names of missing secrets."""
    logins: dict[str, list[Login]] = {}
    absent: list[str] = []
    for reference in pod["spec"].get("imagePullSecrets") or []:
        secret = cluster.get("secrets", pod["metadata"]["namespace"], reference["name"])
        if secret is None:
            absent.append(reference["name"])
            continue
        for host, entry in _docker_config(secret).items():
            user, _, password = base64.b64decode(entry.get("auth", "")).decode(errors="replace").partition(":")
            login = (user, password) if entry.get("auth") else (entry.get("username", ""), entry.get("password", ""))
            logins.setdefault(host.removeprefix("https://").split("/", 1)[0], []).append(login)
    return logins, absent


def missing_volume(cluster: ClusterState, pod: Raw) -> tuple[str, str] | None:
    """The first volume that cannot be mounted, and the reason; None if all can."""
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or []:
        sources = [
            ("secrets", "secret", (volume.get("secret") or {}), "secretName"),
            ("configmaps", "configmap", (volume.get("configMap") or {}), "name"),
        ]
        for part in (volume.get("projected") or {}).get("sources") or []:
            sources.append(("secrets", "secret", part.get("secret") or {}, "name"))
            sources.append(("configmaps", "configmap", part.get("configMap") or {}, "name"))
        for plural, kind, source, key in sources:
            name = source.get(key)
            if name and not source.get("optional") and cluster.get(plural, namespace, name) is None:
                return volume["name"], f'{kind} "{name}" not found'
    return None


def _docker_config(secret: Raw) -> dict[str, dict[str, str]]:
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            auths: dict[str, dict[str, str]] = json.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths", {})
            return auths
        plain: dict[str, dict[str, str]] = json.loads(base64.b64decode(data.get(".dockercfg", "e30=")))
    except (ValueError, AttributeError):
        return {}  # the kubelet ignores it silently, and pulls without
    return plain


def _parse(text: str) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver":
            servers += rest[:1]
        elif word in ("search", "domain"):
            searches = rest
        elif word == "options":
            options = rest
    return servers, searches, options


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _service_variables(cluster: ClusterState, namespace: str, *, everything: bool) -> dict[str, str]:
    variables: dict[str, str] = {}
    services = cluster.list("services", namespace) if everything else []
    kubernetes = cluster.get("services", "default", "kubernetes")
    for service in [*([kubernetes] if kubernetes else []), *services]:
        address, ports = service["spec"].get("clusterIP", "None"), service["spec"].get("ports") or []
        if address == "None" or not ports:
            continue
        prefix = service["metadata"]["name"].upper().replace("-", "_")
        variables[f"{prefix}_SERVICE_HOST"] = address
        variables[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        protocol = ports[0].get("protocol", "TCP").lower()
        variables[f"{prefix}_PORT"] = f"{protocol}://{address}:{ports[0]['port']}"
        for port in ports:
            if port.get("name"):
                variables[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
            kind = port.get("protocol", "TCP")
            start = f"{prefix}_PORT_{port['port']}_{kind}"
            variables[start] = f"{kind.lower()}://{address}:{port['port']}"
            variables |= {f"{start}_PROTO": kind.lower(), f"{start}_PORT": str(port["port"]), f"{start}_ADDR": address}
    return variables


def _values(cluster: ClusterState, plural: str, namespace: str, reference: Raw) -> dict[str, str]:
    item = cluster.get(plural, namespace, reference["name"])
    if item is None:
        if reference.get("optional"):
            return {}
        why = f'{_KIND_NAMES[plural]} "{reference["name"]}" not found'
        raise Unready(why)
    data: dict[str, str] = item.get("data") or {}
    if plural == "secrets":
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
    return dict(data)


_KIND_NAMES = {"secrets": "secret", "configmaps": "configmap"}


def _from(cluster: ClusterState, pod: Raw, container: Raw, origin: Raw) -> str | None:
    namespace = pod["metadata"]["namespace"]
    for plural, kind in (("secrets", "secretKeyRef"), ("configmaps", "configMapKeyRef")):
        reference = origin.get(kind)
        if reference:
            values = _values(cluster, plural, namespace, reference)
            if reference["key"] in values:
                return values[reference["key"]]
            if reference.get("optional"):
                return None
            kind_name = "Secret" if plural == "secrets" else "ConfigMap"
            why = f"couldn't find key {reference['key']} in {kind_name} {namespace}/{reference['name']}"
            raise Unready(why)
    if "fieldRef" in origin:
        return _field(pod, origin["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in origin:
        part, _, kind = origin["resourceFieldRef"]["resource"].partition(".")
        return str(((container.get("resources") or {}).get(part) or {}).get(kind, "0"))
    return None


def _field(pod: Raw, path: str) -> str:
    value: Any = pod
    head, _, quoted = path.partition("['")
    for key in head.split("."):
        value = (value or {}).get(key)
    if quoted:
        value = (value or {}).get(quoted.rstrip("']"))
    return "" if value is None else str(value)

"""``python -m preflight init``: a first inventory from a live cluster, its runner's release and its values.

What the cluster shows is written down; what it does not show is marked with ``# could not be found: …, fill in``, and
is written as the likeliest guess or commented out, so that pytest accepts the file as it is. No secret is written: the
runner's token becomes a reference, and whatever else in the values looks like a secret is removed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from preflight import jobsettings
from preflight import values as helm
from preflight.clients.connect import Routes, is_address, join_address
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError
from preflight.clients.kubeconfig import KubeconfigError
from preflight.evidence import Unmeasured
from preflight.inventory import InventoryError, load
from preflight.inventory_forms import checked_connect
from preflight.jobshape import JobShape
from preflight.language import translated
from preflight.probes import discovery
from preflight.probes.discovery import Cluster, DiscoveryError, Release
from preflight.redaction import MASK, redact, remember
from preflight.releasenames import names_in
from preflight.runner_config.names import is_web_url
from preflight.shell_command import program
from preflight.yamltext import load_yaml

HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_API_PORT = 6443  # as kubeadm has it
_GITLAB = "https://charts.gitlab.io"
_TOKENS = ("runnerToken", "runnerRegistrationToken")
_NAMED_LIKE_A_SECRET = re.compile(r"(?i)token|passw|secret|key|credential|auth|dsn")
_LONG_ENOUGH = 8  # characters of the shortest value that is taken for a secret, and not for a word such as "true"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("prod.yaml"),
        metavar="FILE",
        help="the inventory (default: prod.yaml)",
    )
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="default: $KUBECONFIG, else ~/.kube/config, else a pod's service account",
    )
    parser.add_argument("--context", metavar="NAME", help="context in it (default: its current one)")
    parser.add_argument("--namespace", metavar="NAME", help="namespace of the release (default: all are searched)")
    parser.add_argument(
        "--release", metavar="NAME", help="name of the release (default: that of the chart gitlab-runner)"
    )
    parser.add_argument(
        "--connect",
        action="append",
        default=[],
        metavar="HOST:PORT=HOST:PORT",
        help="connect to another address, as curl's --connect-to, or '*=refuse': to none that is not mapped; "
        "is written into the inventory (repeatable)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite the files if they exist")


def run(options: argparse.Namespace) -> int:
    """Read the cluster, and write the inventory and the values beside it; returns the exit status."""
    output: Path = options.output
    beside = output.with_name(f"{output.stem}-values.yaml")
    existing = [file for file in (output, beside) if file.exists() and not options.force]
    if existing:
        return _complain(f"{', '.join(map(str, existing))}: exists already; --force overwrites, -o names another file")
    try:
        discovered = discover(options)
    except (KubeconfigError, DiscoveryError, ValueError) as error:
        return _complain(str(error))
    except Unmeasured as error:
        return _complain(f"{error.reason}" + (f"; needed:\n{error.needs}" if error.needs else ""))
    except ApiError as error:
        rule = f"; needed:\n{error.rule}" if error.rule else ""
        return _complain(f"the request to the API server failed: {error.message}{rule}")
    draft = Draft(discovered, beside.name)
    try:
        beside.write_text(discovered.values_text, encoding="utf-8")
        output.write_text(draft.text(), encoding="utf-8")
        load(output)
    except OSError as error:
        return _complain(f"{error.filename}: can't be written: {error.strerror}")
    except InventoryError as error:
        return _complain(f"{output} was written and needs to be completed by hand:\n{error}")
    sys.stdout.write(translated(f"written: {output}, {beside}") + "\n")
    for gap in draft.gaps:
        sys.stdout.write(translated(f"  could not be found: {gap}") + "\n")
    command = program("pytest", "checks/", "--inventory", output, "--effect", "read")
    sys.stdout.write(translated(f"next: {command}") + "\n")
    return 0


def _complain(message: str) -> int:
    sys.stderr.write(translated(f"preflight init: {redact(message)}") + "\n")
    return 1


# ---- discovery ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """Everything that an inventory is written from.

    Attributes:
        token: a reference to the runner's token, if the values held it and the chart keeps it.
        values_text: the values as YAML, without secrets; `hidden` are the lines where one stood.
        pull_secrets: ``namespace/name`` by the host that it has an account for.
        services: image, alias and command of the services that jobs get.
    """

    kubeconfig: Path | None
    context: str
    server: str
    connect: Mapping[str, str]
    cluster: Cluster
    release: Release
    token: str | None
    values_text: str
    hidden: tuple[int, ...]
    tree: Mapping[str, Any] = field(repr=False)
    table: Mapping[str, Any] = field(repr=False)
    shape: JobShape | None
    pull_secrets: Mapping[str, str]


def discover(options: argparse.Namespace) -> Discovery:
    """Read the cluster.

    Raises:
        KubeconfigError: the kubeconfig can't be used.
        DiscoveryError: the cluster holds too little for an inventory.
        ApiError: a request to the API failed.
        ValueError: `--connect` is malformed.
    """
    connect = _connect(options.connect)
    path = _kubeconfig(options.kubeconfig)
    api = Api(
        path if options.kubeconfig or path.is_file() else None,
        options.context,
        routes=Routes.of(connect),
        deadline=20,
    )
    try:
        release = discovery.release(api, options.release, options.namespace)
        cluster = discovery.cluster(api)
        tree, text = without_secrets(release.values)
        has_token = any(str(release.values.get(key) or "").strip() for key in _TOKENS)
        names = names_in(release.values, release=release.name, namespace=release.namespace)
        token = discovery.key_of_token(api, names.namespace, names.workload) if has_token else None
        values = _read(tree, release)
        shape = None if values.problem or values.unread_within() else jobsettings.job_shape(values)
        secrets = dict(_pull_secrets(api, shape)) if shape else {}
    finally:
        api.close()
    return Discovery(
        kubeconfig=None if api.config.in_cluster else path,
        context=api.config.context,
        server=api.server,
        connect=connect,
        cluster=cluster,
        release=release,
        token=token,
        values_text=text,
        hidden=tuple(number for number, line in enumerate(text.splitlines(), start=1) if MASK in line),
        tree=tree,
        table=values.kubernetes if not values.problem else {},
        shape=shape,
        pull_secrets=secrets,
    )


def _pull_secrets(api: Api, shape: JobShape) -> Iterator[tuple[str, str]]:
    for name in shape.pull_secrets:
        for host in discovery.hosts_of_pull_secret(api, shape.namespace, name):
            yield host, f"{shape.namespace}/{name}"


def _connect(texts: Sequence[str]) -> dict[str, str]:
    """The options `--connect`, as the inventory has them."""
    mapping: dict[str, str] = {}
    for text in texts:
        source, _, target = text.partition("=")
        try:
            mapping |= checked_connect({source: target})
        except ValueError:
            msg = (
                f"--connect: found {text!r}, expected HOST:PORT=HOST:PORT, such as 10.0.0.5:6443=127.0.0.1:16443, "
                "or '*=refuse'"
            )
            raise ValueError(msg) from None
    return mapping


def _kubeconfig(option: Path | None) -> Path:
    """The kubeconfig file; an inventory can name only one."""
    if option is not None:
        return option.expanduser().resolve()
    files = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if len(files) > 1:
        raise KubeconfigError(os.pathsep.join(files), "KUBECONFIG names several files; choose one with --kubeconfig")
    return Path(files[0] if files else "~/.kube/config").expanduser().resolve()


def _read(tree: Mapping[str, Any], release: Release) -> helm.Values:
    """The values, read as the suite reads a values file."""
    import tempfile  # noqa: PLC0415 - this command alone

    with tempfile.TemporaryDirectory(prefix="preflight-") as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(yaml.safe_dump(dict(tree)), encoding="utf-8")
        return helm.load([file], release=release.name, namespace=release.namespace, chart=release.chart)


# ---- values without secrets -----------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as people do."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)


def without_secrets(values: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A release's values without the runner's token, and as YAML in which whatever looks like a secret is masked."""
    for secret in _secrets(values):
        remember(secret)
    kept = {key: value for key, value in values.items() if key not in _TOKENS}
    text = yaml.dump(kept, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    redacted = redact(text)
    try:
        tree = load_yaml(redacted) or {}
    except yaml.YAMLError:  # a secret of several lines took some of YAML's own characters with it
        tree, redacted = {}, "".join(f"# {line}\n" for line in redacted.splitlines())
    return tree, redacted


def _secrets(node: Any, name: str = "") -> Iterator[str]:
    """Values whose name is that of a secret: of a key, of ``{name: …, value: …}``, or of ``NAME=value``."""
    if isinstance(node, Mapping):
        if isinstance(node.get("name"), str) and isinstance(node.get("value"), str):
            yield from _secrets(node["value"], node["name"])
        for key, value in node.items():
            yield from _secrets(value, str(key))
    elif isinstance(node, list):
        for item in node:
            yield from _secrets(item, name)
    elif isinstance(node, str):
        if "\n" in node:  # TOML, or a script: each assignment in it
            for line in node.splitlines():
                yield from _assigned(line)
        elif "=" in node:
            yield from _assigned(node)
        elif _NAMED_LIKE_A_SECRET.search(name) and len(node.strip()) >= _LONG_ENOUGH and name != "secret":
            yield node.strip()


_ASSIGNMENT = re.compile(r"""(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]++)\s{0,20}=\s{0,20}["']?([^"',\s\]]+)""")


def _assigned(line: str) -> Iterator[str]:
    for assignment in _ASSIGNMENT.finditer(line):
        if _NAMED_LIKE_A_SECRET.search(assignment[1]) and len(assignment[2]) >= _LONG_ENOUGH:
            yield assignment[2]


# ---- writing --------------------------------------------------------------------------------------------------------


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()


def host_of(url: str) -> str:
    """The host of a web address; "" where a text is none, as what stands in a release may be."""
    return urlsplit(url).hostname or "" if is_web_url(url) else ""


def full(image: str) -> str:
    """An image reference with its host, as a container runtime completes it."""
    host = image.partition("/")[0]
    if "/" not in image:
        image = f"{HUB}/library/{image}"
    elif "." not in host and ":" not in host and host != "localhost":
        image = f"{HUB}/{image}"
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


class Draft:
    """The text of an inventory.

    Attributes:
        gaps: what could not be found, a phrase each; complete after `text`.
    """

    def __init__(self, discovered: Discovery, values_file: str) -> None:
        self.discovered, self.values_file = discovered, values_file
        self.gaps: list[str] = []
        self.images = tuple(dict.fromkeys(full(image) for image in self._used() if image and "{{" not in image))

    def text(self) -> str:
        """The inventory, section by section in its own order."""
        self.gaps = []
        parts = (
            self._gitlab(),
            self._cluster(),
            self._dns(),
            self._registries(),
            self._runner(),
            self._probe(),
            self._dind(),
            self._access(),
            self._connect(),
        )
        head = (
            "# Written by `python -m preflight init`; every key is explained in docs/inventory.md.\n"
            "# Lines that say `could not be found` need to be completed by hand.\n"
        )
        return head + "".join("\n" + "\n".join(part) + "\n" for part in parts if part)

    def _gap(self, what: str) -> str:
        self.gaps.append(what)
        return f"# could not be found: {what}, fill in"

    # -- sections --

    def _gitlab(self) -> list[str]:
        url = str(self.discovered.tree.get("gitlabUrl") or "")
        lines = ["gitlab:"]
        if host_of(url):
            lines.append(f"  url: {flow(url)}")
        else:
            lines.append(
                f"  url: https://gitlab.com/ {self._gap('gitlabUrl in the values; this is the default of the chart')}"
            )
        version = ".".join(self.discovered.release.app.split(".")[:2]) or "18.3"
        lines.append(f"  version: {flow(version)} {self._gap('the version of GitLab; this is that of the runner')}")
        lines.append(f"  # api_token: ${{GITLAB_API_TOKEN}} {self._gap('an API token with scope read_api')}")
        return lines

    def _cluster(self) -> list[str]:
        discovered, cluster = self.discovered, self.discovered.cluster
        lines, server, note = ["cluster:"], discovered.server, ""
        if discovered.kubeconfig is not None:
            lines += [f"  kubeconfig: {flow(str(discovered.kubeconfig))}", f"  context: {flow(discovered.context)}"]
        else:  # a pod knows the API server by its Service alone
            leaders = [address for address, role in cluster.nodes.values() if role != "worker"]
            server = f"https://{join_address(leaders[0], _API_PORT)}" if leaders else server
            note = " " + self._gap("the API server's address outside of the cluster")
        lines += [f"  api_server: {flow(server)}{note}", f"  version: {flow(str(cluster.version))}", "  nodes:"]
        for name, (address, role) in cluster.nodes.items():
            node = {"address": address} | ({"role": role} if role != "worker" else {})
            lines.append(f"    {flow(name)}: {flow(node)}")
        lines.append(f"  platform: {flow(cluster.platform)}")
        for key, networks, what in (
            ("pod_cidr", cluster.pod_cidr, "the pod network"),
            ("service_cidr", cluster.service_cidr, "the service network"),
            ("vpc_cidr", (), "the network of the VPC"),
        ):
            written = networks[0] if len(networks) == 1 else flow(list(networks))
            lines.append(f"  {key}: {written}" if networks else f"  # {key}: {self._gap(what)}")
        return lines

    def _dns(self) -> list[str]:
        table = self.discovered.table.get("dns_config")
        servers = [str(server) for server in (table.get("nameservers") or ())] if isinstance(table, Mapping) else []
        resolvers = [server for server in servers or self.discovered.cluster.resolvers if is_address(server)]
        note = ""
        if not resolvers:
            resolvers = [self.discovered.cluster.dns_address or "127.0.0.1"]
            note = " " + self._gap("resolvers in the values or in CoreDNS's configuration; this is the cluster's own")
        lines = ["dns:", f"  resolvers: {flow(resolvers)}{note}", "  names: # `[]` accepts any address"]
        return lines + [f"    {flow(name)}: []" for name in self._names()]

    def _names(self) -> list[str]:
        urls = [str(self.discovered.tree.get("gitlabUrl") or ""), self._clone_url()]
        hosts = [host_of(url) for url in urls]
        hosts += [_HUB_HOST if host == HUB else host.partition(":")[0] for host in self._hosts()]
        return [host for host in dict.fromkeys(hosts) if host and not is_address(host)] or [_HUB_HOST]

    def _clone_url(self) -> str:
        runners = self.discovered.tree.get("runners")
        config = str(runners.get("config") or "") if isinstance(runners, Mapping) else ""
        setting = re.search(r'^\s*clone_url\s*=\s*"([^"]+)"', config, re.MULTILINE)
        return setting[1] if setting else ""

    def _registries(self) -> list[str]:
        lines = ["registries: # by a name of your choice; images are pulled for real"]
        for host in self._hosts():
            images = [image.partition("/")[2] for image in self.images if image.partition("/")[0] == host]
            lines += [f"  {_key(host)}:", f"    host: {flow(host)}", f"    images: {flow(images)}"]
            if host in self.discovered.pull_secrets:
                lines.append(f"    credentials: secret:{self.discovered.pull_secrets[host]}/.dockerconfigjson")
        return lines if len(lines) > 1 else [f"registries: {{}} {self._gap('a registry that the values name')}"]

    def _runner(self) -> list[str]:
        release = self.discovered.release
        lines = ["runner:", f"  release: {flow(release.name)}", f"  namespace: {flow(release.namespace)}"]
        if release.chart:
            lines.append(f"  chart: {flow(release.chart)}")
        lines.append(
            f"  repository: {_GITLAB} {self._gap('where the chart came from; this is the repository of GitLab')}"
        )
        hidden = ""
        if self.discovered.hidden:
            masked = ", ".join(map(str, self.discovered.hidden))
            hidden = " " + self._gap(f"a place for the secrets of the values, which are {MASK} now, in lines {masked}")
        lines.append(f"  values: [{flow(self.values_file)}]{hidden}")
        runners = self.discovered.tree.get("runners")
        if self.discovered.token:
            lines.append(
                f"  token: {self.discovered.token} # from the chart's Secret; the values file has it no longer"
            )
        elif not (isinstance(runners, Mapping) and runners.get("secret")):
            lines.append(f"  # token: ${{RUNNER_TOKEN}} {self._gap('the token of the runner')}")
        lines.append(f"  # tags: [kubernetes] {self._gap('the tags that the runner has in GitLab')}")
        return lines

    def _probe(self) -> list[str]:
        image = full(self.discovered.shape.image) if self.discovered.shape and self.discovered.shape.image else ""
        if image and "{{" not in image:
            return ["probe:", f"  image: {flow(image)} # the image that jobs get by default"]
        guess = self.images[0] if self.images else f"{HUB}/library/alpine:latest"
        return ["probe:", f"  image: {flow(guess)} {self._gap('the default image of jobs in runners.config')}"]

    def _dind(self) -> list[str]:
        shape = self.discovered.shape
        if shape is None or not shape.privileged_services:
            why = "runners.config can't be read" if shape is None else "jobs are not privileged"
            return [f"dind: none # {why}"]
        daemon, client = self._docker_images()
        job = full(shape.image) if shape.image and "{{" not in shape.image else ""
        if not daemon or not job:
            what = "the images that jobs use for Docker in Docker; the values make jobs privileged"
            return [
                f"dind: none {self._gap(what)}",
                "# dind:",
                "#   client_image: registry.example.com/library/docker:latest",
                "#   daemon_image: registry.example.com/library/docker:dind",
                "#   pull: registry.example.com/library/alpine:latest # pulled and run inside",
            ]
        lines = ["dind:", f"  client_image: {flow(client or daemon)}", f"  daemon_image: {flow(daemon)}"]
        for service in self._services():
            arguments = service.get("command")
            if full(str(service.get("name"))) == daemon and isinstance(arguments, list):
                lines.append(f"  daemon_args: {flow([str(argument) for argument in arguments])}")
        return [*lines, f"  pull: {flow(job)} # pulled and run inside"]

    def _access(self) -> list[str]:
        return ["access:", f"  ssh: none {self._gap('a way to log in to the workers, {user, key, known_hosts}')}"]

    def _connect(self) -> list[str]:
        if not self.discovered.connect:
            return []
        return ["connect:", *(f"  {flow(source)}: {flow(to)}" for source, to in self.discovered.connect.items())]

    # -- images --

    def _used(self) -> Iterator[str]:
        """Images of a job's pod: its own, the helper's, its services', Docker's."""
        shape = self.discovered.shape
        if shape is not None:
            yield shape.image
            yield shape.helper_image
        for service in self._services():
            yield str(service.get("name") or "")
        if shape is not None and shape.privileged_services:
            yield from self._docker_images()

    def _services(self) -> list[Mapping[str, Any]]:
        services = self.discovered.table.get("services")
        return [service for service in services if isinstance(service, Mapping)] if isinstance(services, list) else []

    def _docker_images(self) -> tuple[str, str]:
        """Docker's daemon and client: the services' and the job's own, else what the nodes have already."""
        shape = self.discovered.shape
        named = [full(str(service.get("name") or "")) for service in self._services() if service.get("name")]
        own = [full(shape.image)] if shape and shape.image else []
        known = [image for image in [*named, *own, *self.discovered.cluster.images] if _DOCKER.search(image)]
        daemons = [image for image in known if "dind" in image.rpartition(":")[2]]
        clients = [image for image in known if "dind" not in image.rpartition(":")[2]]
        return (daemons[0] if daemons else ""), (clients[0] if clients else "")

    def _hosts(self) -> list[str]:
        return list(dict.fromkeys([*(image.partition("/")[0] for image in self.images), *self.discovered.pull_secrets]))


_DOCKER = re.compile(r"/docker:[^/]*$")


def _key(host: str) -> str:
    """A host as a name of the inventory."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", host)

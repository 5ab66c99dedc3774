"""The state of the simulated environment: plain data, the guide's environment in good health.

A fault is a change to this data (`lab.faults`), made before or while the servers run; the servers read it at every
request. Nothing here is sent as it is. Times are in seconds, sizes in bytes.

- World
    - nodes        Node by name; how its sshd behaves
    - gitlab       GitLabState
    - resolvers    Resolver by address; zones are shared, a resolver may differ
    - registries   Registry by host; its images, accounts and token server
    - charts       ChartRepository
    - release      ReleaseState: the runner's Helm release and its managers
    - firewall     Rules: which vantage point cannot reach which address
    - daemon       how a Docker daemon in a pod behaves
    - cluster      ClusterState: the Kubernetes API's objects (lab.cluster)
    - metrics      MetricsState: the metrics of the runner's managers
    - listeners    the loopback address on which the server of an address listens
    - requests     the requests that the servers received
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lab.cluster.state import ClusterState

Action = Literal["drop", "reject", "reset", "no-route"]
GitLabMode = Literal["up", "down", "vanished", "bad-gateway", "unavailable", "nginx", "redirect"]
ResolverMode = Literal["up", "down", "mute", "nxdomain", "servfail", "refused"]
RegistryMode = Literal["up", "down", "vanished", "unavailable"]
Certificate = Literal["valid", "self-signed", "expired", "other-name", "none"]
SshMode = Literal["up", "down", "vanished", "mute"]
Realm = Literal["up", "down", "vanished"]
ManagerHealth = Literal["up", "out-of-memory", "refused", "half-rolled-out", "rolling-out", "recovered"]
Misbehaviour = Literal["", "silent", "drip", "cut", "brief", "429", "500", "503", "410", "truncated"]
"""How a server misbehaves (`lab.misbehaviour`); an empty text only puts the relay in place, to be set later."""

GITLAB_ADDRESS = "192.168.1.50"
API_ADDRESS = "192.168.1.100"
API_PORT = 6443
RESOLVERS = ("10.0.0.2", "10.1.0.251", "10.1.0.252")
KUBE_DNS = "172.21.0.10"
MIRROR = "registry.example.com"
PRIVATE = "private-registry.example.com"
TOKEN_SERVER = "auth.example.com"
MIRROR_ADDRESS = "192.168.1.60"
PRIVATE_ADDRESS = "192.168.1.61"
TOKEN_SERVER_ADDRESS = "192.168.1.62"
RUNNER_TOKEN = "glrt-t1_Zq7mUfX2cVnL8sRkWd4y"
CHARTS = "charts.gitlab.io"
CHARTS_ADDRESS = "192.168.1.63"
CHART_VERSION = "0.80.0"
RUNNER_VERSION = "18.3.0"
STORAGE, STORAGE_ADDRESS = "storage.example.com", "192.168.1.65"
CACHE = "minio.example.com"
CACHE_ADDRESS, CACHE_PORT = "192.168.1.64", 9000


@dataclass
class SshState:
    """How a node's sshd behaves."""

    mode: SshMode = "up"
    accepts_key: bool = True
    key_replaced: bool = False  # its host key is not the one in known_hosts
    user: str = "root"


@dataclass
class Node:
    """A machine of the cluster; its Kubernetes object is in `World.cluster`."""

    name: str
    address: str
    role: str = ""
    runtime: str = "containerd://1.6.20"
    clock_offset: float = 0.0
    mtu: int = 1500
    ssh: SshState = field(default_factory=SshState)
    resolv_conf: str = ""  # set by `guide_world`
    pulled: set[str] = field(default_factory=set)  # image references in its content store
    disk_free: int = 60 * 2**30  # of one disk for everything
    kubelet_certificate_days: float = 250.5  # until the certificate ends with which its kubelet logs in
    kubelet_serving_days: float = 250.5  # until the one ends that its kubelet shows on port 10250
    sshd_of: str = ""  # the node whose sshd answers for it too: one of many that are alike (`enlarge`)

    @property
    def pod_network(self) -> str:
        """The /24 of its pods: 172.24.0.0 and on for the guide's own nodes, further ones behind them."""
        _, _, third, last = map(int, self.address.split("."))
        number = last % 100 if third == 1 else 3 + 250 * (third - 2) + last
        return f"172.{24 + number // 256}.{number % 256}.0/24"


@dataclass
class ManagerState:
    """A runner process that GitLab knows by its system id; with the chart, one pod."""

    system_id: str
    version: str = "18.3.0"
    revision: str = "a1b2c3d4"
    address: str = ""
    contacted_ago: float | None = 12.0  # seconds since it last polled; None: it never has


@dataclass
class RunnerState:
    """A runner in GitLab, as its Admin area shows it."""

    id: int
    token: str
    description: str = ""
    tags: tuple[str, ...] = ()
    run_untagged: bool = True
    paused: bool = False
    token_expires: float | None = None  # seconds since 1970
    managers: list[ManagerState] = field(default_factory=list)


@dataclass
class CiVariable:
    """A CI/CD variable of a project or a group."""

    key: str
    value: str
    protected: bool = True
    masked: bool = False
    hidden: bool = False


@dataclass
class CiJob:
    """A job of a pipeline; times are seconds since 1970."""

    id: int
    name: str
    stage: str
    definition: dict[str, Any]
    status: str = "created"
    started: float | None = None
    ended: float | None = None
    reason: str = ""
    log: str = ""


@dataclass
class CiPipeline:
    """A pipeline of a project."""

    id: int
    ref: str
    jobs: list[CiJob] = field(default_factory=list)
    created: float = field(default_factory=time.time)

    @property
    def status(self) -> str:
        """The pipeline's status as GitLab derives it from its jobs; manual jobs do not count."""
        states = {job.status for job in self.jobs if job.status != "manual"}
        return next((status for status in ("running", "pending", "failed", "canceled") if status in states), "success")


@dataclass
class CiProject:
    """A project in GitLab, as the operator's token sees it."""

    id: int
    path: str
    configuration: str | None = None  # its .gitlab-ci.yml; None: there is none
    branches: dict[str, bool] = field(default_factory=lambda: {"main": True})  # whether each is protected
    variables: list[CiVariable] = field(default_factory=list)
    role: Literal["guest", "reporter", "developer", "maintainer", "owner"] = "owner"  # of the token's user
    archived: bool = False
    runner_takes: bool = True  # whether a runner takes its jobs
    runs_in: str = "gitlab"  # the namespace that this runner puts jobs in
    pipelines: dict[int, CiPipeline] = field(default_factory=dict)
    next_pipeline: int = 1041


@dataclass
class GitLabState:
    """The GitLab server on its virtual machine."""

    address: str = GITLAB_ADDRESS
    port: int = 80
    mode: GitLabMode = "up"
    version: str = "18.3.2-jh"
    revision: str = "b4f1e0a7d62"
    clock_offset: float = 0.0
    tokens: set[str] = field(default_factory=lambda: {"glpat-made-up-for-tests-00"})
    redirect_to: str = "https://gitlab.example.com/"
    body_limit: int | None = None  # bytes that its nginx takes; None: any number
    runners: list[RunnerState] = field(default_factory=list)  # set by `guide_world`
    projects: list[CiProject] = field(default_factory=list)  # set by `guide_world`
    groups: dict[str, list[CiVariable]] = field(default_factory=lambda: {"ops": []})  # variables by group


@dataclass
class Resolver:
    """A name server. It answers from `World.zones`, unless its mode or `overrides` differ."""

    address: str
    mode: ResolverMode = "up"
    overrides: dict[str, tuple[str, ...]] = field(default_factory=dict)
    over_udp: bool = True
    over_tcp: bool = True
    refuses_ipv6: bool = False  # it answers REFUSED to AAAA
    delay: float = 0.0  # seconds until it answers


@dataclass
class Image:
    """A tag in a registry. `kind` is what a container of it runs: a shell, a Docker daemon, or nothing."""

    kind: Literal["sh", "dockerd", "scratch"] = "sh"
    platforms: tuple[str, ...] = ("linux/amd64", "linux/arm64/v8")
    index: bool = True
    created: str = "2025-07-15T11:31:40Z"
    size: int = 3_797_000
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("/bin/sh",)


@dataclass
class Registry:
    """An image registry: token authentication as Docker's registry has it, or plain Basic."""

    host: str
    address: str
    port: int = 443
    mode: RegistryMode = "up"
    certificate: Certificate = "valid"
    certificate_days: float | None = None  # until it ends; None: years
    auth: Literal["none", "basic", "bearer"] = "none"
    realm: Realm = "up"
    realm_host: str = TOKEN_SERVER
    blob_host: str = ""  # where it redirects for blobs; empty: it serves them itself
    blob_mode: Literal["down", "vanished"] = "down"  # a working one is not simulated
    anonymous: bool = True  # the token server issues pull tokens without a login
    accounts: dict[str, str] = field(default_factory=dict)  # user → password
    pushers: set[str] | None = None  # the users that may push; None: all that have an account
    deletes: bool = True  # whether it lets images be deleted
    uploads: set[str] = field(default_factory=set)  # started and neither ended nor cancelled
    rate: float | None = None  # bits per second at which it delivers layers, to each who asks; None: at once
    rate_limited: bool = False
    retry_after: int = 21600
    images: dict[str, dict[str, Image]] = field(default_factory=dict)  # repository → tag → image


@dataclass
class ChartRepository:
    """The web server that charts are installed from.

    Attributes:
        versions: runner's version by version of the chart, the newest first.
        without_package: versions that the index lists, and whose package is not there.
    """

    host: str = CHARTS
    address: str = CHARTS_ADDRESS
    port: int = 443
    mode: RegistryMode = "up"
    versions: dict[str, str] = field(
        default_factory=lambda: {
            "0.81.0": "18.4.0",
            "0.80.1": "18.3.1",
            "0.80.0": "18.3.0",
            "0.79.1": "18.2.1",
            "0.79.0": "18.2.0",
            "0.78.0": "18.1.0",
        }
    )
    without_package: frozenset[str] = frozenset()


@dataclass
class ReleaseState:
    """The runner's Helm release and its managers.

    Attributes:
        installed: whether there is a release.
        status: Helm's status of the last revision; `description` is Helm's note on it.
        age: seconds since the last revision began.
        chart: version of the chart that was installed.
        changed: dotted keys that were set by hand at the last upgrade.
        unapplied: edits of the values file (`World.values_edits`) that came after the last upgrade.
        health: state of the manager pods.
        old_config: the managers have not been restarted since the resolvers were changed.
        before: dotted keys of the values with which the managers started; they have not been restarted since.
        scaled: replicas to which somebody has scaled the Deployment by hand.
        leftovers: whether an uninstallation left objects behind.
        edited: what somebody changed in the release's objects by hand since: by resource and keys, a value, or the
            text that was replaced and the one that stands there now.
    """

    installed: bool = True
    status: str = "deployed"
    description: str = "Upgrade complete"
    age: float = 6 * 86_400.0
    chart: str = CHART_VERSION
    app_version: str = RUNNER_VERSION
    changed: dict[str, Any] = field(default_factory=dict)
    unapplied: set[str] = field(default_factory=set)
    health: ManagerHealth = "up"
    old_config: bool = False
    before: dict[str, Any] = field(default_factory=dict)
    scaled: int | None = None
    leftovers: bool = False
    edited: dict[tuple[str, ...], Any] = field(default_factory=dict)


@dataclass
class MetricsState:
    """The metrics of the runner's managers.

    Attributes:
        on: whether the managers serve metrics.
        rejected: whether GitLab refuses the managers' polls.
        lost: polls of each manager that were lost in an outage that is over.
        since: when the counters began (seconds of the wall clock).
    """

    on: bool = True
    rejected: bool = False
    lost: int = 0
    since: float = field(default_factory=lambda: time.time() - 6 * 86_400, repr=False)


@dataclass(frozen=True)
class Rule:
    """A firewall rule: `source` matches a vantage point's text (``node *``), `host` an address; None is every port."""

    source: str
    host: str
    port: int | None = None
    action: Action = "drop"

    def matches(self, source: str, host: str, port: int) -> bool:
        """Whether the rule applies to this connection."""
        return fnmatchcase(source, self.source) and fnmatchcase(host, self.host) and self.port in (None, port)


@dataclass
class Link:
    """What the way from a vantage to a host does to packets: `source` and `host` match as in a `Rule`.

    Attributes:
        delay: seconds of a round trip.
        loss: the part of first packets and queries that is lost, evenly.
    """

    source: str
    host: str = "*"
    delay: float = 0.0
    loss: float = 0.0
    _due: float = field(default=0.5, repr=False)

    def loses(self) -> bool:
        """Whether the next packet is lost."""
        self._due += self.loss
        if self._due < 1:
            return False
        self._due -= 1
        return True


@dataclass
class DaemonSettings:
    """How every Docker daemon started in a pod behaves."""

    ready_after: float = 0.2
    last_words: str | None = None  # if set, a privileged daemon logs this and exits with 1
    tls: bool = False  # it speaks TLS on the port where plain HTTP is expected
    storage_driver: str = "overlay2"
    version: str = "28.3.3"
    inner_nameservers: tuple[str, ...] | None = None  # of containers inside; None: as the pod's own
    mtu: int = 1500  # of its bridge and of the containers on it, without --mtu
    listens_on: str = ""  # the address of its TCP port; empty: all of them


@dataclass
class Dockerd:
    """One running (or ended) Docker daemon, as seen by a `docker` client in the same pod."""

    node: str
    resolv_conf: str
    settings: DaemonSettings
    port: int = 2375
    started: float = field(default_factory=time.monotonic)
    exited: bool = False
    insecure_registries: tuple[str, ...] = ()
    images: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether its API answers yet."""
        return not self.exited and time.monotonic() - self.started >= self.settings.ready_after

    @property
    def inner_resolv_conf(self) -> str:
        """The resolv.conf of a container that this daemon runs."""
        if self.settings.inner_nameservers is None:
            return self.resolv_conf
        return "".join(f"nameserver {address}\n" for address in self.settings.inner_nameservers)


@dataclass(frozen=True)
class Vantage:
    """A vantage point: where a connection starts; `str()` gives the text that firewall rules match."""

    kind: Literal["here", "node", "pod"]
    node: str = ""
    resolv_conf: str = ""
    host_aliases: dict[str, str] = field(default_factory=dict, hash=False)  # name → address, as in /etc/hosts
    dockerd: Dockerd | None = field(default=None, hash=False)
    hostname: str = ""
    address: str = ""
    files: dict[str, str] = field(default_factory=dict, hash=False)  # path → content, as cat shows it
    mtu: int = 0  # of eth0; 0: that of the network between nodes or pods

    def __str__(self) -> str:
        return {"here": "here", "node": f"node {self.node}", "pod": f"pod on {self.node}"}[self.kind]


HERE = Vantage("here")


@dataclass(frozen=True)
class Request:
    """A request that a server received.

    `server` is ``kubernetes``, ``gitlab``, ``registry HOST``, ``token HOST``, ``dns ADDRESS``, ``ssh NODE`` or (for a
    request of a node's runtime) ``pull HOST``.
    """

    server: str
    method: str
    path: str
    user: str = ""
    body: str = ""
    at: float = field(default_factory=time.monotonic)


@dataclass
class World:
    """The whole environment. Lists and dicts may be changed while the servers run, from their thread."""

    nodes: dict[str, Node] = field(default_factory=dict)
    gitlab: GitLabState = field(default_factory=GitLabState)
    zones: dict[str, tuple[str, ...]] = field(default_factory=dict)  # name → addresses
    resolvers: dict[str, Resolver] = field(default_factory=dict)
    registries: dict[str, Registry] = field(default_factory=dict)
    charts: ChartRepository = field(default_factory=ChartRepository)
    release: ReleaseState = field(default_factory=ReleaseState)
    firewall: list[Rule] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    resent: dict[str, int] = field(default_factory=dict)  # vantage → first packets of connections sent again
    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    pod_mtu: int = 1500  # of the network between pods: routed, without encapsulation
    narrow: set[str] = field(default_factory=set)  # vantage points that packets of full size do not reach
    latency: float = 0.0  # added to every answer of every server
    listeners: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    api_mode: Literal["up", "down", "vanished"] = "up"
    api_clock_offset: float = 0.0  # of the API server's Date
    api_certificate_days: float | None = None  # until the API server's certificate ends; None: years
    api_upgrades: bool = True  # whether the proxy in front of the API server forwards WebSocket upgrades
    misbehaviour: dict[str, Misbehaviour] = field(default_factory=dict)  # server → how it misbehaves (lab.misbehaviour)
    stream_idle_timeout: float | None = None  # seconds after which that proxy cuts a stream on which nothing is sent
    cache_mode: Literal["up", "down", "vanished"] = "up"  # the object storage of the jobs' cache
    inventory_edits: dict[str, object] = field(default_factory=dict)  # dotted key of the inventory → value
    kubeconfig_verifies: bool = True  # whether the operator's kubeconfig verifies the API server's certificate
    kubeconfig_token: str = "made-up-token-of-the-operator"  # what the operator's kubeconfig holds
    configured_token: str = RUNNER_TOKEN  # what the operator's values file holds
    values_edits: dict[str, str] = field(default_factory=dict)  # a piece of the values file → its replacement
    sent: list[tuple[str, bytes]] | None = None  # if a list: every byte that the servers send (server, bytes)
    problems: list[str] = field(default_factory=list)  # tracebacks of exceptions inside the servers: bugs of the lab
    cluster: ClusterState = field(init=False, repr=False)  # set by `lab.kubernetes.populate`
    metrics: MetricsState = field(default_factory=MetricsState)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def record(self, server: str, method: str, path: str, *, user: str = "", body: str = "") -> None:
        """Record a request; thread-safe."""
        with self._lock:
            self.requests.append(Request(server, method, path, user, body))

    def recorded(self, server: str = "*", method: str = "*", path: str = "*") -> list[Request]:
        """The recorded requests that match these patterns (as shell globs), oldest first."""
        with self._lock:
            requests = list(self.requests)
        return [
            request
            for request in requests
            if fnmatchcase(request.server, server)
            and fnmatchcase(request.method, method)
            and fnmatchcase(request.path, path)
        ]

    def tap(self, server: str, data: bytes) -> None:
        """Keep what a server is about to send, if `sent` is a list."""
        if self.sent is not None:
            self.sent.append((server, bytes(data)))

    async def pause(self) -> None:
        """Wait for the simulated latency."""
        if self.latency:
            await asyncio.sleep(self.latency)

    async def cross(self, vantage: Vantage, host: str, *, resends: bool) -> bool:
        """Wait as long as a round trip takes, and a second more for a packet that has to be sent again.

        Returns False if a packet was lost that nobody sends again.
        """
        source = str(vantage)
        for link in self.links:
            if not (fnmatchcase(source, link.source) and fnmatchcase(host, link.host)):
                continue
            await asyncio.sleep(link.delay)
            if not link.loses():
                continue
            if not resends:
                return False
            self.resent[source] = self.resent.get(source, 0) + 1
            await asyncio.sleep(1)
        return True

    def node_vantage(self, name: str) -> Vantage:
        """A shell on the node itself."""
        node = self.nodes[name]
        return Vantage("node", node=name, resolv_conf=node.resolv_conf, hostname=name, address=node.address)

    @property
    def workers(self) -> list[Node]:
        """The nodes that are not of the control plane."""
        return [node for node in self.nodes.values() if node.role != "control-plane"]

    def hold_images(self, *images: str) -> None:
        """Put images onto all workers, as jobs of before left them."""
        for node in self.workers:
            node.pulled.update(images)
            listed = [{"names": [image], "sizeBytes": 60_000_000} for image in sorted(node.pulled)]
            if self.cluster.get("nodes", "", node.name) is not None:
                self.cluster.node(node.name)["status"]["images"] = listed

    def forget_images(self, *names: str) -> None:
        """Take from these nodes, or from all, the images that they hold from jobs of before."""
        for name in names or tuple(self.nodes):
            self.nodes[name].pulled.clear()
            self.cluster.node(name)["status"]["images"] = []

    def image(self, reference: str) -> Image | None:
        """The image of a full reference (``registry.example.com/library/alpine:latest``), without checking access."""
        host, _, rest = reference.partition("/")
        repository, _, tag = rest.partition(":")
        registry = self.registries.get(host)
        return registry.images.get(repository, {}).get(tag or "latest") if registry else None


def digest(content: bytes) -> str:
    """The digest of content, which is its address in a registry."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def canonical(value: object) -> bytes:
    """A manifest's bytes, as registries' clients write them: indented by three, without a final newline."""
    return json.dumps(value, indent=3).encode()


def _alpine() -> Image:
    return Image()


def _docker(tag: str) -> Image:
    if tag.endswith("dind"):
        return Image(kind="dockerd", size=139_500_000, entrypoint=("dockerd-entrypoint.sh",), command=())
    return Image(size=71_900_000, entrypoint=("docker-entrypoint.sh",), command=("sh",))


def _runners(world: World) -> list[RunnerState]:
    """The guide's runner with a manager on each worker, and a paused one of another team."""
    identifiers = ("r_8KdWq2XzPm4V", "r_tY6bNc9LhR3s", "r_Fj5gVx7QwZ1e")
    managers = [
        ManagerState(system_id, address=node.address, contacted_ago=2.0 + number)
        for number, (system_id, node) in enumerate(zip(identifiers, world.workers, strict=True))
    ]
    tags = ("kubernetes", "docker", "x86_64")
    other = RunnerState(3, "glrt-t1_hC5wJd8NsKx1PzQv6TmG", "build-host-windows", ("windows",), paused=True)
    return [other, RunnerState(7, RUNNER_TOKEN, "k8s-runner", tags, managers=managers)][::-1]


_LEFT_BY_JOBS = tuple(f"{MIRROR}/library/docker:{tag}" for tag in ("latest", "dind"))
"""The images that workers hold from jobs of before."""


def guide_world() -> World:
    """The guide's environment in good health, without its cluster's objects (`lab.kubernetes` adds those)."""
    world = World()
    resolv_conf = "".join(f"nameserver {address}\n" for address in RESOLVERS) + "options timeout:2 attempts:3 rotate\n"
    world.nodes["k8s-master"] = Node("k8s-master", API_ADDRESS, role="control-plane", resolv_conf=resolv_conf)
    for number in (1, 2, 3):
        name = f"k8s-worker-{number}"
        world.nodes[name] = Node(name, f"192.168.1.{100 + number}", resolv_conf=resolv_conf, pulled=set(_LEFT_BY_JOBS))
    world.gitlab.runners = _runners(world)
    for address in RESOLVERS:
        world.resolvers[address] = Resolver(address)
    world.zones = {
        MIRROR: (MIRROR_ADDRESS,),
        PRIVATE: (PRIVATE_ADDRESS,),
        TOKEN_SERVER: (TOKEN_SERVER_ADDRESS,),
        CHARTS: (CHARTS_ADDRESS,),
        CACHE: (CACHE_ADDRESS,),
        STORAGE: (STORAGE_ADDRESS,),
        "gitlab.example.com": (GITLAB_ADDRESS,),
        **{node.name: (node.address,) for node in world.nodes.values()},
    }
    helper = "gitlab-org/gitlab-runner/gitlab-runner-helper"
    world.registries[MIRROR] = Registry(
        MIRROR,
        MIRROR_ADDRESS,
        auth="bearer",
        images={
            "library/alpine": {"latest": _alpine(), "3.22": _alpine()},
            "library/docker": {tag: _docker(tag) for tag in ("latest", "28", "dind", "28-dind")},
            "library/busybox": {"latest": Image(size=2_200_000)},
            helper: {tag: Image(size=33_600_000) for tag in ("x86_64-v18.3.0", "alpine-latest-x86_64-v18.3.0")},
            "gitlab-org/gitlab-runner": {
                tag: Image(size=98_000_000, entrypoint=("/usr/bin/dumb-init", "/entrypoint"), command=("run",))
                for tag in ("v18.3.0", "alpine-v18.3.0")
            },
        },
    )
    world.registries[PRIVATE] = Registry(
        PRIVATE,
        PRIVATE_ADDRESS,
        auth="basic",
        anonymous=False,
        accounts={"ops": "secret-pw"},
        images={"my-namespace/alpine": {"latest": _alpine()}},
    )
    world.gitlab.projects = [_pipelines(), CiProject(12, "shop/web", configuration=_DEPLOYS)]
    return world


def enlarge(world: World, workers: int) -> None:
    """Give a world further workers, all alike, until it has so many; before `lab.kubernetes.populate`.

    Their addresses are 192.168.2.1 and on, 250 in each /24. One sshd, that of the last worker before them, answers for
    all: a thousand listeners would be most of what such a world costs.

    Raises:
        ValueError: it has more already, or addresses of pods do not suffice for so many.
    """
    present = len(world.workers)
    if not present <= workers <= MOST_WORKERS:
        message = f"{workers} workers: expected {present} to {MOST_WORKERS}"
        raise ValueError(message)
    model = world.workers[-1]
    for number in range(present + 1, workers + 1):
        name, place = f"k8s-worker-{number}", number - present - 1
        address = f"192.168.{2 + place // 250}.{1 + place % 250}"
        world.nodes[name] = Node(name, address, resolv_conf=model.resolv_conf, sshd_of=model.name)
        world.zones[name] = (address,)


MOST_WORKERS = 1000  # a /24 of 172.24.0.0/14 each, for its pods


def _pipelines() -> CiProject:
    """The smoke test's project, with its CI configuration and the guide's variables."""
    text = resources.files("preflight").joinpath("pipeline.gitlab-ci.yml").read_text(encoding="utf-8")
    variables = [CiVariable("ACR_USERNAME", "ops"), CiVariable("ACR_PASSWORD", "secret-pw", masked=True)]
    return CiProject(31, "ops/runner-preflight", configuration=text, variables=variables)


_DEPLOYS = """\
stages: [build, deploy]
build:
  stage: build
  script: [make]
deploy-production:
  stage: deploy
  environment: production
  script: [make deploy]
"""

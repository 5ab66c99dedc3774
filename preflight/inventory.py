"""The inventory: one YAML file that says what the environment is and what is expected of it (docs/inventory.md).

`load` reads it once into frozen models. Every error names file, line, key path, what was found, what is expected and
the nearest known key, and all errors are reported at once; nothing has been contacted by then. Secrets never stand in
the file: a key that takes one takes a reference (`Secret`).
"""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from preflight.evidence import one_line
from preflight.inventory_forms import (
    Address,
    Chart,
    Connect,
    Endpoint,
    File,
    Helm,
    Host,
    Image,
    KubernetesName,
    Name,
    Network,
    Networks,
    Repository,
    Seconds,
    Secret,
    SetFile,
    Text,
    Url,
    chart_version,
)
from preflight.redaction import redact
from preflight.yamlfile import KeyPath, YamlFileError, YamlPositions, format_path, read_yaml

_ABSENT = " can't be read: No such file or directory"


class InventoryError(Exception):
    """The inventory can't be used; the message lists every problem, a line each."""

    def __init__(self, file: Path, problems: list[str]) -> None:
        self.file, self.problems = file, [one_line(problem) for problem in problems]
        count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
        if len(problems) > 1 and all(problem.endswith(_ABSENT) for problem in self.problems):
            named = [_absent_file(problem) for problem in self.problems]  # a fresh copy, and no mistake
            places = f"{', '.join(named[:-1])} and {named[-1]}"
            text = f"inventory {file}: {len(named)} files that it names do not exist: {places}; nothing was contacted"
            super().__init__(text)
            return
        super().__init__("\n  ".join([f"inventory {file}: {count}; nothing was contacted", *self.problems]))


def _absent_file(problem: str) -> str:
    """``/home/ops/.ssh/id (access.ssh.key, line 87)`` of the problem that names it."""
    place, _, rest = problem.removesuffix(_ABSENT).partition(": found ")
    file_and_line, _, key = place.rpartition(": ")
    return f"{rest.partition(', ')[2]} ({key}, line {file_and_line.rpartition(':')[2]})"


class Section(BaseModel):
    """Base of the inventory's sections: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)


# ---- the sections ---------------------------------------------------------------------------------------------------


class GitLab(Section):
    """The GitLab server (guide 1.2, 2.1)."""

    url: Url = Field(description="GitLab's address, as `gitlabUrl` in the values file.")
    external_url: Url | None = Field(
        default=None,
        description="GitLab's own `external_url`, if that is another server than `url`: jobs clone from "
        "there, unless `clone_url` in `runners.config` says otherwise.",
    )
    version: Text = Field(description="Expected version; major and minor are compared.")
    api_token: Secret | None = Field(
        default=None,
        description="Reference to an API token (scope `read_api`); without it, checks that need it do not apply. "
        "To list all runners it must be an administrator's or auditor's, or `runner.id` be given.",
    )
    ca_file: File | None = Field(default=None, description="PEM file of the CA that signed GitLab's certificate.")


INDIVIDUAL = 50  # nodes that may be named with checks of their own for each
SAMPLE = 5  # workers that stand for all, where there are more
PER_JUMP = 5  # nodes that are logged in to at once through one jump host
OTHER_NODES = "other nodes"
"""The target of checks that judge all other named nodes together; no pool can have this name, for its space."""


def kind_of_name(name: str) -> str:
    """A node's name without its numbers: machines of one kind are named alike."""
    return re.sub(r"\d+", "#", name)


class ClusterNode(Section):
    """A node that the cluster must have."""

    address: Address = Field(description="The node's internal address.")
    role: Literal["worker", "control-plane"] = Field(
        default="worker", description="`worker` nodes run jobs; measurements are taken there over SSH and from pods."
    )


class NodePool(Section):
    """Nodes that come and go under names of their own, known by their labels."""

    selector: dict[str, Text] = Field(min_length=1, description="Labels that every node of the pool has.")
    at_least: int = Field(default=1, ge=1, description="How many of them there must be.")


class Cluster(Section):
    """The Kubernetes cluster (guide 1.2, 2.3)."""

    kubeconfig: File | None = Field(
        default=None,
        description="Kubeconfig file; default: the files of `$KUBECONFIG`, else `~/.kube/config`, as kubectl does, or "
        "inside a pod its service account.",
    )
    context: Text | None = Field(default=None, description="Context in it; default: its current one.")
    api_server: Url = Field(description="The API server's address, as `kubectl cluster-info` prints it.")
    version: Text = Field(description='Expected Kubernetes version, such as "1.28".')
    nodes: dict[KubernetesName, ClusterNode] = Field(
        min_length=1, description="Nodes by name; probe pods and SSH go to the workers among them."
    )
    pools: dict[Name, NodePool] = Field(
        default={},
        description="Nodes by label, where autoscaling changes their names; judged over all that the API lists.",
    )
    platform: Text = Field(default="linux/amd64", description="Platform that the images must offer.")
    pod_cidr: Networks | None = Field(default=None, description="Pod network; a list of two with dual stack.")
    service_cidr: Networks | None = Field(default=None, description="Service network; a list of two with dual stack.")
    vpc_cidr: Network | None = Field(default=None, description="Network of the VPC.")

    @property
    def pod_networks(self) -> tuple[str, ...]:
        """The networks that pods have their addresses from: one for each family."""
        return _several(self.pod_cidr)

    @property
    def service_networks(self) -> tuple[str, ...]:
        """The networks that Services have their addresses from."""
        return _several(self.service_cidr)


def _several(networks: str | list[str] | None) -> tuple[str, ...]:
    return () if networks is None else (networks,) if isinstance(networks, str) else tuple(networks)


class Dns(Section):
    """Resolvers, and the names that jobs need (guide 1.2, 2.4)."""

    resolvers: list[Address] = Field(min_length=1, description="All resolvers that the values configure for jobs.")
    names: dict[Name, list[Address]] = Field(
        min_length=1, description="Names to resolve, each with the addresses it must have; `[]` accepts any."
    )


class Login(Section):
    """A user name and a password."""

    username: Text = Field(description="User name.")
    password: Secret = Field(description="Reference to the password.")


class Registry(Section):
    """An image registry and the images that jobs take from it (guide 1.3)."""

    host: Host = Field(description="Host, with a port unless it is the scheme's own.")
    scheme: Literal["https", "http"] = Field(default="https", description="`http` for a registry without TLS.")
    images: list[Image] = Field(
        default=[], description="Repositories with tag that jobs use; each is pulled by a pod on every probed node."
    )
    credentials: Login | Secret | None = Field(
        default=None,
        description="`{username, password}`, or a reference to a docker config (`secret:…/.dockerconfigjson`).",
    )
    token_realm: Url | None = Field(
        default=None,
        description="The token server that may get the credentials (`https://auth.example.com/token`), if the registry "
        "names one of another origin than its own; no other gets them then.",
    )
    ca_file: File | None = Field(default=None, description="PEM file of the CA that signed the registry's certificate.")
    push: list[Image] = Field(
        default=[],
        description="Repositories that jobs push to (guide 11); an upload to each is started and cancelled, with "
        "`--effect write` only.",
    )


class ValuesFile(Section):
    """A values file, or a place inside of a file that another tool reads."""

    file: File = Field(
        description="The file: plain values, an umbrella chart's, an Argo CD Application, a helmfile, …."
    )
    at: str = Field(
        default="",
        description="Where in the file the values stand, such as `gitlab-runner` or `spec.values`; default: the whole "
        "file, or the one place that holds the runner's values.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_path(cls, given: object) -> object:
        """A path stands for a file without a place."""
        return {"file": given} if isinstance(given, str | Path) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "format": "path"}, handler(schema)]}


class Runner(Section):
    """The runner's Helm release (guide 3)."""

    release: KubernetesName = Field(default="gitlab-runner", description="Release name.")
    namespace: KubernetesName = Field(default="gitlab", description="Namespace of the release.")
    chart: Chart = Field(
        default="0.80.0",
        description="Chart version; or the chart itself: a package (`./gitlab-runner-0.80.1.tgz`), a folder "
        "(`./chart`), or `oci://HOST/PATH/gitlab-runner:VERSION`.",
    )
    repository: Repository = Field(
        default="https://charts.gitlab.io",
        description="Chart repository that releases are installed from (a URL, or `oci://HOST/PATH`), or `none` where "
        "charts come another way.",
    )
    repository_credentials: Login | Secret | None = Field(
        default=None,
        description="`{username, password}` for the chart repository, or a reference to a docker config "
        "(`secret:…/.dockerconfigjson`) for an OCI registry.",
    )
    repository_ca_file: File | None = Field(
        default=None, description="PEM file of the CA that signed the chart repository's certificate."
    )
    helm: Helm = Field(
        default="",
        description="Path of the `helm` that renders the chart, or `none` to go without; default: the one on the PATH.",
    )
    managed_by: Literal["helm", "argocd", "flux"] = Field(
        default="helm",
        description="What installs the release; with `argocd` or `flux`, Helm is not expected to have a record of it.",
    )
    values: list[ValuesFile] = Field(
        min_length=1,
        description="Values files, merged in this order as `helm -f` does: paths, or `{file, at}` where the values "
        "stand inside of a file that another tool reads.",
    )
    set: list[Text] = Field(default=[], description="`key=value` pairs, as `helm --set` takes them.")
    set_string: list[Text] = Field(default=[], description="The same, as `helm --set-string` takes them.")
    set_json: list[Text] = Field(default=[], description="`key=JSON` pairs, as `helm --set-json` takes them.")
    set_file: list[SetFile] = Field(default=[], description="`key=path` pairs, as `helm --set-file` takes them.")
    token: Secret | None = Field(
        default=None,
        description="Reference to the runner's token, where it is given at the installation only "
        "(`--set runnerToken=…`) and the values hold none.",
    )
    id: int | None = Field(
        default=None,
        gt=0,
        description="The runner's number in GitLab (`/admin/runners/ID`); default: the one that has the token, which "
        "takes the API token of an administrator or auditor.",
    )
    tags: list[Text] | None = Field(
        default=None, description="Tags that the runner must have in GitLab (guide 2.2); default: not checked."
    )
    run_untagged: bool | None = Field(
        default=None, description="Whether the runner takes jobs without tags (guide 2.2); default: not checked."
    )

    @property
    def files(self) -> list[Path]:
        """The values files."""
        return [entry.file for entry in self.values]

    @property
    def chart_version(self) -> str:
        """The chart's version, as far as `chart` names it."""
        return chart_version(self.chart)


class Probe(Section):
    """What the suite's own pods run, and on which nodes."""

    image: Image = Field(description="Image with a POSIX shell, from a registry that the nodes reach.")
    nodes: Annotated[str, Field(pattern=r"^(auto|all|sample: ?[1-9][0-9]*)$")] = Field(
        default="auto",
        description="`auto` (all workers up to 10, else 5, one of each kind at least), `all`, or `sample: N`. Where "
        "more than 50 nodes are named, only those workers are measured one by one, over SSH too, and all other nodes "
        "judged together, unless `all`.",
    )
    pull_secrets: list[Name] | None = Field(
        default=None, description="Pull secrets of the suite's pods; default: those that the values give to jobs."
    )


class Dind(Section):
    """Docker-in-Docker as the jobs use it (guide 5)."""

    client_image: Image = Field(description="Image of the job, with the docker client.")
    daemon_image: Image = Field(description="Image of the service, with the docker daemon.")
    daemon_args: list[str] = Field(default=["--tls=false"], description="The service's command.")
    docker_host: Text = Field(default="tcp://docker:2375", description="`DOCKER_HOST` of the job.")
    tls_certdir: Annotated[str, Field(pattern=r"^(/.*)?$")] | None = Field(
        default=None,
        description="`DOCKER_TLS_CERTDIR` of job and service; default: `/certs` with port 2376 of `docker_host`, "
        "else empty.",
    )
    pull: Image = Field(description="Image that is pulled and run inside.")
    ready_within: Seconds = Field(default=60, description="Seconds that the daemon may take (guide 5.1).")
    nodes: int = Field(default=3, ge=1, description="At most this many nodes get a DinD pod.")


class Ssh(Section):
    """SSH login to the workers (guide 2.4)."""

    user: Text = Field(description="Login name.")
    port: int = Field(default=22, gt=0, lt=65536, description="Port.")
    key: File | None = Field(
        default=None, description="Private key file; default: the agent's keys, with `agent: true`."
    )
    passphrase: Secret | None = Field(default=None, description="Reference to the key's passphrase.")
    known_hosts: File = Field(
        default=Path("~/.ssh/known_hosts"), description="Known hosts; always verified.", validate_default=True
    )
    agent: bool = Field(default=False, description="Offer the SSH agent's keys.")
    jump: Text | None = Field(default=None, description="Jump host, `user@host:port`.")


class Variable(Section):
    """Requirements on a CI/CD variable (guide 6.4, 11.4)."""

    protected: bool = Field(default=True, description="Whether it must reach jobs of protected branches only.")
    masked: bool = Field(default=False, description="Whether it must be masked in job logs.")


class Pipeline(Section):
    """A GitLab project of its own for the suite's pipelines (guide 4.3, 11); started with `--effect write` only."""

    project: Text = Field(description="Path of the project, such as `ops/runner-preflight`, or its number in quotes.")
    ref: Text = Field(
        default="main", description="Branch; its `.gitlab-ci.yml` is `preflight/pipeline.gitlab-ci.yml`, and no more."
    )
    token: Secret | None = Field(
        default=None,
        description="Reference to an API token with scope `api` of a Maintainer (an Owner removes the pipeline again); "
        "default: `gitlab.api_token`.",
    )
    image: Image | None = Field(
        default=None,
        description="Repository with host that the build job pushes to, as `PREFLIGHT_REPOSITORY` of that job; "
        "without it, nothing is built.",
    )
    variables: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Variable] = Field(
        default={}, description="CI/CD variables that the project's jobs need."
    )
    username: Text = Field(default="ACR_USERNAME", description="Variable with the registry's user name (guide 11.4).")
    password: Text = Field(default="ACR_PASSWORD", description="Variable with the registry's password.")


class Access(Section):
    """Ways to the vantages. `none` switches one off for good: its checks are then not applicable."""

    ssh: Ssh | Literal["none"] = Field(default="none", description="SSH to the workers, or `none`.")


class Deadlines(Section):
    """Seconds that each kind of step may take."""

    connect: Seconds = Field(default=5, description="A TCP connection.")
    http: Seconds = Field(default=15, description="One HTTP exchange, as a whole.")
    dns: Seconds = Field(default=3, description="One query to one resolver.")
    api: Seconds = Field(default=20, description="One request to the Kubernetes API.")
    ssh: Seconds = Field(default=15, description="An SSH login.")
    step: Seconds = Field(default=5, description="One step of the probe script on a node or in a pod.")
    polls: Seconds = Field(default=20, description="A manager's next poll for a job, where earlier ones have failed.")
    script: Seconds = Field(default=60, description="The probe script on a node or in a pod, as a whole.")
    pull: Seconds = Field(default=300, description="An image pull on a node's runtime.")
    pod: Seconds = Field(default=300, description="A probe pod, from its creation to its end, pulls included.")
    dind: Seconds = Field(default=420, description="A DinD pod, from its creation to its end.")
    pipeline: Seconds = Field(default=900, description="A pipeline of the suite's own, from its start to its end.")
    clean: Seconds = Field(default=60, description="Removing what the run made.")
    run: Seconds = Field(default=1500, description="The whole run.")


class Limits(Section):
    """Thresholds of what is still accepted."""

    clock_skew: Seconds = Field(default=5, description="Seconds between GitLab's clock and another.")
    version_skew: int = Field(default=3, ge=0, description="Minor versions a kubelet may be behind the API server.")
    token_days_left: int = Field(default=7, ge=0, description="Days that the runner's token must still be valid.")
    certificate_days_left: int = Field(
        default=7,
        ge=0,
        description="Days that certificates (GitLab, registries, API server, kubelets) must still be valid.",
    )
    certificate_renewal_days: int = Field(
        default=30, ge=0, description="Days before its end in which a certificate is reported as due for renewal."
    )
    packet_loss: float = Field(
        default=2, gt=0, le=100, description="Percent of packets from which on losses are a finding."
    )
    packet_loss_that_stops_jobs: float = Field(
        default=40,
        gt=0,
        le=100,
        description="Percent of round trips from which on jobs that transfer much are taken to fail.",
    )
    round_trip: Seconds = Field(
        default=0.2, description="Seconds that a round trip to GitLab, a registry or a resolver may take."
    )
    upload_size: float = Field(
        default=10,
        gt=0,
        le=100_000,
        description="Megabytes that GitLab, and a proxy in front of it, must take in one upload of a job.",
    )
    registry_rate: float = Field(
        default=1,
        ge=0,
        description="Mbit/s at which a registry must deliver layers, from here; `0` accepts any rate. At 1, an image "
        "of 22 MB takes the 180 s for which the runner waits for a pod by default.",
    )
    restart_age: Seconds = Field(default=3600, description="Seconds for which what befell a manager is reported.")
    job_age: Seconds = Field(
        default=86_400, description="Seconds that the longest job takes; a job's objects that are older are leftovers."
    )
    quiet_stream: Seconds | None = Field(
        default=None,
        description="Seconds for which an exec stream on which nothing is sent must stay open; it makes the run that "
        "much longer, and by default it is not tried.",
    )
    probe_pods_at_once: int = Field(
        default=5,
        ge=1,
        description="Probe pods at the same time; beside them, up to three each of those with Docker-in-Docker and of "
        "those that wait for commands.",
    )


_BESIDE_A_QUIET_STREAM = 30  # seconds in which a pod has to start, and to end


class Waiver(Section):
    """A failure that is known and accepted for a time."""

    check: Text = Field(description="The check's id: its function's name.")
    target: Text | None = Field(default=None, description="Only for this target, as in the test's brackets.")
    reason: Text = Field(description="Why it is accepted, and who knows.")
    until: date = Field(description="The last day on which it holds; afterwards it is a failure.")


class Inventory(Section):
    """The environment: targets, expectations, ways of access, deadlines, waivers."""

    gitlab: GitLab
    cluster: Cluster
    dns: Dns
    registries: dict[Name, Registry] = Field(default={}, description="Registries by a name of your choice.")
    destinations: list[Endpoint] = Field(
        default=[],
        description="Hosts with ports that jobs need besides GitLab, the registries and the resolvers, such as a "
        "package index, a proxy or GitLab's SSH port; a job's pod on every probed node connects to each.",
    )
    runner: Runner
    probe: Probe
    dind: Dind | Literal["none"] = Field(description="Docker-in-Docker, or `none`.")
    pipeline: Pipeline | Literal["none"] = Field(
        default="none", description="The project of the suite's own pipelines, or `none`."
    )
    access: Access = Access()
    deadlines: Deadlines = Deadlines()
    limits: Limits = Limits()
    connect: Connect = Field(
        default={},
        description='Where to connect instead, as `curl --connect-to`: `"192.168.1.50:80": "127.0.0.1:8080"`; '
        '`"*": refuse` forbids every address that is not mapped.',
    )
    waivers: list[Waiver] = Field(default=[], description="Accepted failures.")

    @field_validator("limits")
    @classmethod
    def _leaves_a_pod_time(cls, limits: Limits, info: ValidationInfo) -> Limits:
        """Refuse a quiet stream that outlasts the pod in which it is held open."""
        deadlines = info.data.get("deadlines")
        if limits.quiet_stream is not None and deadlines is not None:
            least = limits.quiet_stream + _BESIDE_A_QUIET_STREAM
            if deadlines.pod < least:
                msg = (
                    f"found quiet_stream: {limits.quiet_stream:g} beside deadlines.pod: {deadlines.pod:g}, expected a "
                    f"deadlines.pod of at least {least:g}, so that the pod starts and ends besides"
                )
                raise ValueError(msg)
        return limits

    @functools.cached_property
    def individual_nodes(self) -> dict[str, ClusterNode]:
        """The named nodes that have checks of their own: all, or of more than `INDIVIDUAL` a few and a sample.

        Every kind of name (``gpu-#`` beside ``worker-#``) is in the sample.
        """
        named = self.cluster.nodes
        if len(named) <= INDIVIDUAL or self.probe.nodes == "all":
            return named
        wanted = int(self.probe.nodes.partition(":")[2] or SAMPLE)
        kinds: dict[str, list[str]] = {}
        for name, node in named.items():
            if node.role == "worker":
                kinds.setdefault(kind_of_name(name), []).append(name)
        masters = [name for name, node in named.items() if node.role != "worker"][:SAMPLE]
        rounds = filter(None, itertools.chain.from_iterable(itertools.zip_longest(*kinds.values())))
        workers = list(itertools.islice(rounds, max(wanted, min(len(kinds), INDIVIDUAL))))
        chosen = {*masters, *workers}
        return {name: node for name, node in named.items() if name in chosen}

    def with_all_nodes(self) -> Inventory:
        """The same environment, where every node is measured one by one, however many are named (`--all-nodes`)."""
        probe = self.probe.model_copy(update={"nodes": "all"})
        return self.model_construct(**{name: getattr(self, name) for name in Inventory.model_fields} | {"probe": probe})

    @property
    def other_nodes(self) -> dict[str, ClusterNode]:
        """The named nodes that are judged together (`OTHER_NODES`), because they are too many."""
        individual = self.individual_nodes
        return {name: node for name, node in self.cluster.nodes.items() if name not in individual}

    @functools.cached_property
    def workers(self) -> dict[str, ClusterNode]:
        """The nodes that run jobs and are measured one by one, by name."""
        return {name: node for name, node in self.individual_nodes.items() if node.role == "worker"}

    @property
    def images(self) -> tuple[str, ...]:
        """All images that jobs need, as full references: the probe's, the registries', DinD's; each once."""
        listed = [f"{registry.host}/{image}" for registry in self.registries.values() for image in registry.images]
        dind = [] if self.dind == "none" else [self.dind.client_image, self.dind.daemon_image]
        return tuple(dict.fromkeys([self.probe.image, *listed, *dind]))

    @property
    def repositories(self) -> tuple[str, ...]:
        """All repositories that jobs push to, with their hosts; each once."""
        listed = [f"{registry.host}/{name}" for registry in self.registries.values() for name in registry.push]
        built = [] if self.pipeline == "none" or not self.pipeline.image else [self.pipeline.image]
        return tuple(dict.fromkeys([*listed, *built]))

    def registry_of(self, image: str) -> Registry:
        """The registry that a full image reference points to: a listed one, or one known by its host alone."""
        host = image.split("/", 1)[0]
        listed = [registry for registry in self.registries.values() if registry.host == host]
        return listed[0] if listed else Registry.model_construct(host=host)


# ---- reading --------------------------------------------------------------------------------------------------------


def _known_keys(path: KeyPath) -> list[str]:
    """The keys that the model knows at a path, for the nearest one to a misspelt key."""
    annotation: Any = Inventory
    for part in path:
        section = next(_sections(annotation), None)
        if section is not None and str(part) in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
    section = next(_sections(annotation), None)
    return list(section.model_fields) if section else []


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections inside an annotation such as ``dict[Name, Registry]`` or ``Ssh | Literal['none']``."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__") and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections(argument)


_EXPECTED = {
    "missing": "the key is missing",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "path_type": "expected a path",
    "too_short": "expected at least one",
    "string_too_short": "expected text",
    "date_from_datetime_parsing": "expected a date, such as 2026-12-31",
    "date_type": "expected a date, such as 2026-12-31",
    "greater_than": "expected more than 0",
}


def _problems(file: Path, error: ValidationError, positions: YamlPositions) -> list[str]:
    problems: dict[str, None] = {}
    for detail in error.errors(include_url=False):
        # Members of a union add their own names to the path; only what stands in the file is reported.
        path: KeyPath = ()
        for index, part in enumerate(detail["loc"], start=1):
            absent = detail["type"] in {"missing", "extra_forbidden"} and index == len(detail["loc"])
            if absent or (*path, part) in positions.lines:
                path = (*path, part)
        if detail["type"] == "literal_error" and isinstance(detail["input"], dict):
            continue  # the other member of "section or none" has its own, more specific errors
        where = f"{file}:{positions.line(path)}: {format_path(path)}"
        if detail["type"] == "extra_forbidden":
            key = str(path[-1])
            known_keys = _known_keys(path[:-1])
            near = difflib.get_close_matches(key, known_keys, n=1)
            known = ", ".join(known_keys)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {known}" if known else ""
            problems[f"{where}: unknown key{hint}"] = None
            continue
        expected = _EXPECTED.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        given = "" if detail["type"] == "missing" or "found" in expected else f"found {_excerpt(detail['input'])}, "
        problems[f"{where}: {given}{expected}"] = None
    return list(problems)


def _excerpt(value: object) -> str:
    """A value as an error quotes it: short, and without secrets."""
    if isinstance(value, dict):
        return "keys with values" if value else "{}"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    text = repr(value) if not isinstance(value, Secret) else "a secret"
    text = redact(re.sub(r"(?<=//)\S{0,500}@", "…@", text))  # what stands before an @ may be a password
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004 - a line's worth


def load(file: Path) -> Inventory:
    """Read and validate an inventory; `InventoryError` lists all problems."""
    try:
        document, positions = read_yaml(file)
    except YamlFileError as error:
        raise InventoryError(error.file, error.problems) from None
    if not isinstance(document, Mapping):
        raise InventoryError(file, [f"{file}:1: found {_excerpt(document)}, expected keys with values"])
    try:
        return Inventory.model_validate(document, context={"folder": file.resolve().parent})
    except ValidationError as error:
        raise InventoryError(file, _problems(file, error, positions)) from None

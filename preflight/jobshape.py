"""The shape of a job's pod, and the suite's own manifests that are built after it.

`JobShape` holds what the values file says about a job's pod, in the spelling of the Kubernetes API. The pods are built
the way runner 18.3 builds a job's pod (docs/sources.md#job-pod), so what happens to a probe pod will happen to a job's.

A probe pod differs from a job's in these ways only:

- a restricted security context (uid 65534, RuntimeDefault seccomp, no capabilities, no privilege), but for DinD;
- small requests and limits of its own, inside the namespace's LimitRange;
- its own name, labels, deadline and a termination grace period of seconds;
- pinned to its node by a required node affinity;
- no priority class, and no label that a Service or PodDisruptionBudget selects;
- it has no token of its service account: no probe asks the API;
- images are pulled with Always, and no helper, init container, hook or volume is there, but for what a Docker daemon
  and its client share;
- of the patches in ``pod_spec`` only what decides on its place, names, account and pull secrets;
- a Docker daemon without TLS listens on 127.0.0.1 alone, and ends with the script beside it.
"""

from __future__ import annotations

import copy
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from urllib.parse import urlsplit

from preflight.podpatch import Patch
from preflight.quantities import Amounts, amounts, exactly, total

Json = dict[str, Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "gitlab-runner-preflight"
RUN = "preflight.gitlab-runner/run"
VANTAGE = "preflight.gitlab-runner/vantage"
BUILD = "build"  # the container that runs the script, named as in a job's pod
PULLED = "image-"  # how the containers begin that are there for their images alone
BESIDE = "service-"  # begins the names of the values' services in the suite's own pods


WINDOWS = "windows"
_SYSTEM = "kubernetes.io/os"  # a node's label


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """A container's requests and limits, in Kubernetes quantities by resource name.

    The runner sets none by default (docs/sources.md#job-pod), so both are empty where the values set none.
    """

    requests: dict[str, str] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that every job gets from the values (``[[runners.kubernetes.services]]``).

    Attributes:
        container: the name of its container.
        aliases: host names that jobs reach it by, beside those made of the image's name.
        entrypoint, command: what is run; empty leaves it to the image.
    """

    container: str
    image: str
    aliases: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict, repr=False)  # may hold a password


DEADLINE_FLAG = "FF_USE_POD_ACTIVE_DEADLINE_SECONDS"
LEGACY_FLAG = "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY"
DUMB_INIT_FLAG = "FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR"
UMASK_FLAG = "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR"
PATCH_FLAG = "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION"
ENTRYPOINT_FLAG = "FF_KUBERNETES_HONOR_ENTRYPOINT"
REACHABLE_FLAG = "FF_WAIT_FOR_POD_TO_BE_REACHABLE"
EVENTS_FLAG = "FF_PRINT_POD_EVENTS"
POD_FLAGS = (
    *(DEADLINE_FLAG, LEGACY_FLAG, DUMB_INIT_FLAG, UMASK_FLAG, PATCH_FLAG),
    *(ENTRYPOINT_FLAG, REACHABLE_FLAG, EVENTS_FLAG),
)
"""Feature flags of the runner that change what is in a job's pod, or which rights it takes to run it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobShape:
    """What the values configure for all pods of jobs; docs/sources.md#runner-keys lists the keys.

    Attributes:
        service_account: None means the namespace's ``default``.
        pull_secrets: names of Secrets, in the values' order.
        use_service_account_pull_secrets: whether the service account's own pull secrets are used as well.
        tolerations: in the API's form, as are `affinity`, `dns_config` and `host_aliases`.
        dns_policy: in the API's spelling (``None``, ``ClusterFirst``, …); None leaves it to the cluster.
        privileged: of the build container; `service_privileged`: of the services', where that differs.
        security: what the values set in the security context of a kind of container (``build``, ``helper``,
            ``init_permissions``, ``service``), in the API's form; `pod_security`: in that of the pod.
        configured_pull_secrets: those that the values name, used or not: the runner waits for each of them.
        services: that every job gets from the values.
        volumes, mounts: of the values, the mounts in every container.
        builds_dir: where the runner mounts a volume of its own, unless one of the values' is mounted there.
        lifecycle: hooks of the build, helper and service containers.
        flags: the `POD_FLAGS` that are on.
        patches: of the pod's spec, by ``pod_spec``; empty without `PATCH_FLAG`.
        patch_problem: why they can't be applied, so that every job fails; empty if they can.
        before_patches: the shape without what the patches change in it; None without patches.
        namespace_per_job: each job has a new namespace of its own, and `namespace` is only the release's.
        allowed_images, allowed_services: patterns of images that jobs may name; empty allows all.
        pull_policy: in the API's spelling, tried in turn by the runner; empty leaves it to the cluster.
        poll_timeout: seconds that the runner waits for a pod to run.
        concurrent: jobs at once in one manager; `replicas`: managers.
    """

    namespace: str
    image: str
    helper_image: str
    service_account: str | None = None
    pull_secrets: tuple[str, ...] = ()
    use_service_account_pull_secrets: bool = False
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Json, ...] = ()
    affinity: Json | None = None
    dns_policy: str | None = None
    dns_config: Json | None = None
    host_aliases: tuple[Json, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    runtime_class: str | None = None
    scheduler: str | None = None
    priority_class: str | None = None
    privileged: bool = False
    service_privileged: bool | None = None
    build: Resources = field(default_factory=Resources)
    helper: Resources = field(default_factory=Resources)
    service: Resources = field(default_factory=Resources)
    security: Mapping[str, Json] = field(default_factory=dict)
    pod_security: Json | None = None
    configured_pull_secrets: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    volumes: tuple[Json, ...] = ()
    mounts: tuple[Json, ...] = ()
    builds_dir: str = "/builds"
    lifecycle: Json | None = None
    automount_token: bool | None = None
    termination_grace: int | None = None
    host_users: bool | None = None
    pod: Resources = field(default_factory=Resources)
    flags: frozenset[str] = frozenset({DEADLINE_FLAG})
    patches: tuple[Patch, ...] = ()
    patch_problem: str = ""
    before_patches: JobShape | None = field(default=None, repr=False)
    namespace_per_job: bool = False
    allowed_images: tuple[str, ...] = ()
    allowed_services: tuple[str, ...] = ()
    pull_policy: tuple[str, ...] = ()
    poll_timeout: int = 180
    concurrent: int = 10
    replicas: int = 1

    @property
    def privileged_services(self) -> bool:
        """Whether the services' containers are privileged, as Docker-in-Docker's daemon has to be."""
        return self.privileged if self.service_privileged is None else self.service_privileged

    @property
    def privileged_anywhere(self) -> bool:
        """Whether a container of the pod is privileged."""
        contexts = self.security.values()
        return self.privileged or self.privileged_services or any(each.get("privileged") for each in contexts)

    @property
    def system(self) -> str:
        """The operating system of the nodes that the values ask for."""
        required = ((self.affinity or {}).get("nodeAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        named = [
            value
            for term in (required or {}).get("nodeSelectorTerms") or ()
            for expression in term.get("matchExpressions") or ()
            if expression.get("key") == _SYSTEM and expression.get("operator") == "In"
            for value in expression.get("values") or ()
        ]
        return WINDOWS if WINDOWS in {self.node_selector.get(_SYSTEM), *named} else "linux"

    @property
    def service_images(self) -> tuple[str, ...]:
        """The images of the values' services, as far as they are known before a job starts."""
        return tuple(dict.fromkeys(service.image for service in self.services if "$" not in service.image))


# --- resources of the suite's own containers: enough for a shell script, little enough for a full node --------------

_SCRIPT = Resources(requests={"cpu": "10m", "memory": "32Mi"}, limits={"cpu": "500m", "memory": "128Mi"})
_PULLED = Resources(requests={"cpu": "5m", "memory": "8Mi"}, limits={"cpu": "100m", "memory": "64Mi"})
_CLIENT = Resources(requests={"cpu": "10m", "memory": "32Mi"}, limits={"cpu": "500m", "memory": "256Mi"})
_DAEMON = Resources(requests={"cpu": "100m", "memory": "128Mi"}, limits={"cpu": "1", "memory": "1Gi"})

NOBODY = 65534
_RESTRICTED_POD: Json = {
    "runAsNonRoot": True,
    "runAsUser": NOBODY,
    "runAsGroup": NOBODY,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_RESTRICTED_CONTAINER: Json = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "capabilities": {"drop": ["ALL"]},
}
_CHOSEN_HERE = ("runAsUser", "runAsGroup")
_SLACK = 15  # seconds that the Job outlives its pod's deadline: its own deadline deletes the pod, and the log with it
_WAITS = 60  # seconds for which a pod waits for what is written to it
_GRACE = 1  # seconds: a shell as process 1 ignores SIGTERM, and nothing of the suite's needs an orderly end


def probe_job(  # noqa: PLR0913 - a manifest has that many parts
    shape: JobShape,
    *,
    node: str,
    run_id: str,
    image: str,
    script: str,
    deadline: int,
    ttl: int,
    other_images: Sequence[str] = (),
    limit_ranges: Sequence[Json] = (),
    pod_selectors_to_avoid: Sequence[Mapping[str, str]] = (),
    user_assigned: bool = False,
) -> Json:
    """The Job whose one pod, on one node, runs a script and pulls all images with the job's own pull secrets.

    Args:
        shape: of a job's pod, by the values.
        node: the node that it is pinned to.
        run_id: of this run, in a label and in the name.
        image: runs the script, in the container ``build``.
        script: for ``sh -c``.
        deadline: seconds after which Kubernetes itself ends the pod, and soon after it the Job.
        ttl: seconds after its end at which Kubernetes itself removes the Job.
        other_images: pulled, each in a container of its own that runs ``true``.
        limit_ranges: the namespace's LimitRange objects.
        pod_selectors_to_avoid: label selectors of Services and PodDisruptionBudgets.
        user_assigned: whether the cluster gives pods their user (OpenShift), and refuses one that is chosen here.
    """
    containers = [_container(BUILD, image, ["sh", "-c", script], _SCRIPT)]
    containers += [
        _container(f"{PULLED}{number}", other, ["true"], _PULLED)
        for number, other in enumerate(dict.fromkeys(other_images), start=1)
        if other != image
    ]
    for container in containers:
        container["securityContext"] = copy.deepcopy(_RESTRICTED_CONTAINER)
    _fit(containers, limit_ranges)
    spec = pod_spec(shape, node, containers, deadline)
    spec["securityContext"] = _restricted(user_assigned=user_assigned)
    return _job(shape, spec, run_id, "pod", node, deadline, ttl, pod_selectors_to_avoid)


def pulled_unless_present(job: Json, images: Collection[str]) -> Json:
    """The Job of `probe_job`, which does not pull these images anew where the node has them already."""
    for container in job["spec"]["template"]["spec"]["containers"]:
        if container["image"] in images:
            container.update(_UNLESS_PRESENT)
    return job


def _restricted(*, user_assigned: bool) -> Json:
    return {
        key: copy.deepcopy(value)
        for key, value in _RESTRICTED_POD.items()
        if not user_assigned or key not in _CHOSEN_HERE
    }


def waiting_job(
    shape: JobShape,
    *,
    node: str,
    run_id: str,
    image: str,
    greeting: str,
    deadline: int,
    ttl: int,
    limit_ranges: Sequence[Json] = (),
    pod_selectors_to_avoid: Sequence[Mapping[str, str]] = (),
    user_assigned: bool = False,
) -> Json:
    """The Job whose one pod, on one node, prints a greeting and then runs what is written to its standard input.

    That is how the runner's build container waits for a job's script. The arguments are those of `probe_job`.
    """
    # Whoever waits for the pod writes to it at once; without anybody it ends, where there is a timeout(1).
    waits = f"if timeout {_WAITS} true 2>/dev/null; then timeout {_WAITS} sh; else sh; fi; exit $?"
    container = _container(BUILD, image, ["sh", "-c", f"echo {greeting}; {waits}"], _SCRIPT)
    container |= {"stdin": True, "securityContext": copy.deepcopy(_RESTRICTED_CONTAINER), **_UNLESS_PRESENT}
    _fit([container], limit_ranges)
    spec = pod_spec(shape, node, [container], deadline)
    spec["securityContext"] = _restricted(user_assigned=user_assigned)
    return _job(shape, spec, run_id, "exec", node, deadline, ttl, pod_selectors_to_avoid)


def dind_job(  # noqa: PLR0913 - a manifest has that many parts
    shape: JobShape,
    *,
    node: str,
    run_id: str,
    client_image: str,
    daemon_image: str,
    daemon_args: Sequence[str],
    docker_host: str,
    tls_certdir: str | None = None,
    script: str,
    deadline: int,
    ttl: int,
    limit_ranges: Sequence[Json] = (),
    pod_selectors_to_avoid: Sequence[Mapping[str, str]] = (),
) -> Json:
    """The Job whose one pod runs a Docker daemon as a CI service and a script beside it, privileged as the values say.

    The services that the values give to every job run there too.

    The daemon answers to the host name in `docker_host`, by a host alias to 127.0.0.1, as the runner arranges it. Port
    2376 means TLS with certificates in a shared volume, as GitLab documents it; any other port means none. With a
    `tls_certdir` that says otherwise, the image's entry point starts a daemon that this client can't speak with.

    A daemon without TLS gives root on the node to whoever reaches it, so it listens on 127.0.0.1 alone. It ends soon
    after the script does: also when the suite was killed, and nobody removes its Job.
    """
    alias, tls = urlsplit(docker_host).hostname or "", urlsplit(docker_host).port == _TLS_PORT
    if tls_certdir is None:
        tls_certdir = "/certs" if tls else ""
    certificates = f"{tls_certdir.rstrip('/')}/client" if tls_certdir else ""
    environment = [{"name": "DOCKER_HOST", "value": docker_host}, {"name": "DOCKER_TLS_CERTDIR", "value": tls_certdir}]
    client = _container(BUILD, client_image, ["sh", "-c", f"{_MARK_THE_END}\n{script}"], _CLIENT)
    checks = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": certificates} if tls and certificates else {}
    client["env"] = [*environment, *({"name": name, "value": value} for name, value in checks.items())]
    daemon = _container(alias if _LABEL.fullmatch(alias) else "svc-0", daemon_image, [], _DAEMON)
    daemon["args"] = list(daemon_args) if certificates else _for_its_pod_alone(daemon_args)
    daemon["livenessProbe"] = copy.deepcopy(_UNTIL_THE_END)
    daemon["env"] = list(environment)
    for container, kind in ((client, "build"), (daemon, "service")):
        # The pod of `probe_job` has pulled them, and measured how long that takes.
        container |= {"securityContext": as_values_say(shape, kind), **_UNLESS_PRESENT}
        container["volumeMounts"] = [{"name": _OBSERVATION, "mountPath": f"/{_OBSERVATION}"}]
        if certificates:
            container["volumeMounts"].append({"name": "certs", "mountPath": certificates})
    others = [service for service in shape.services if service.image in shape.service_images]
    services = [
        _beside(shape, service, number)
        for number, service in enumerate((each for each in others if each.image != daemon_image), start=1)
    ]
    # The daemon first: the kubelet pulls and starts in this order, and the script measures how long the daemon takes.
    _fit([daemon, client, *services], limit_ranges)
    spec = pod_spec(shape, node, [daemon, client, *services], deadline)
    if shape.pod_security:
        spec["securityContext"] = copy.deepcopy(shape.pod_security)
    spec["volumes"] = [{"name": _OBSERVATION, "emptyDir": {}}]
    if certificates:
        spec["volumes"].append({"name": "certs", "emptyDir": {"medium": "Memory"}})
    names = [name for name in (alias, daemon_image.rpartition(":")[0].replace("/", "-")) if HOST_NAME.fullmatch(name)]
    if names:
        spec["hostAliases"] = [{"ip": "127.0.0.1", "hostnames": names}, *spec.get("hostAliases", ())]
    return _job(shape, spec, run_id, "dind", node, deadline, ttl, pod_selectors_to_avoid)


def _beside(shape: JobShape, service: Service, number: int) -> Json:
    """A service of the values beside the script, as in a job but for its size; the name tells it from the daemon."""
    container = _container(f"{BESIDE}{number}", service.image, list(service.entrypoint), _CLIENT)
    optional = {
        "args": list(service.command),
        "env": [{"name": name, "value": value} for name, value in service.environment.items()],
    }
    container |= {key: value for key, value in optional.items() if value}
    return container | {"securityContext": as_values_say(shape, "service")}


_MOST_OF_OWN = {"cpu": Decimal("0.5"), "memory": Decimal(512 * 2**20)}  # with room for what LimitRanges add


def may_be_own(requests: Amounts) -> bool:
    """Whether a pod asks for as little as a pod of the suite does at most, and for nothing but CPU and memory."""
    return all(amount <= _MOST_OF_OWN.get(resource, 0) for resource, amount in requests.items())


def job_pod_requests(shape: JobShape, services: int, *, limit_ranges: Sequence[Json] = ()) -> Amounts:
    """The sum of the requests of one job's pod: build, helper, the values' and the job's own services, and one pod.

    A container with a limit and no request requests its limit, as in Kubernetes; the namespace's LimitRange gives
    defaults to one with neither.
    """
    summed = total(effective(each, limit_ranges)[0] for each in _sized(shape, services))
    return {**summed, **effective(shape.pod, ())[0], "pods": Decimal(1)}  # what the pod itself asks for wins


def job_pod_limits(shape: JobShape, services: int, *, limit_ranges: Sequence[Json] = ()) -> Amounts:
    """The sum of the limits of one job's pod, as a quota on limits counts it."""
    return total(effective(each, limit_ranges)[1] for each in _sized(shape, services)) | amounts(shape.pod.limits)


def _sized(shape: JobShape, services: int) -> list[Resources]:
    return [shape.build, shape.helper, *[shape.service] * (len(shape.services) + services)]


def effective(resources: Resources, limit_ranges: Sequence[Json]) -> tuple[Amounts, Amounts]:
    """A container's requests and limits after Kubernetes' and the LimitRanges' defaults."""
    requests, limits = amounts(resources.requests), amounts(resources.limits)
    for limit in _limits(limit_ranges, "Container"):
        for name, amount in amounts(limit.get("default")).items():
            if name not in limits:
                limits[name] = amount
                if name not in requests:
                    requests[name] = amounts(limit.get("defaultRequest")).get(name, amount)
        for name, amount in amounts(limit.get("defaultRequest")).items():
            requests.setdefault(name, min(amount, limits.get(name, amount)))
    for name, amount in limits.items():
        requests.setdefault(name, amount)
    return requests, limits


_OBSERVATION = "preflight-observation"
_END = f"/{_OBSERVATION}/ended"
_MARK_THE_END = f"trap '[ ! -d {_END.rpartition('/')[0]} ] || : >{_END}' EXIT"
_UNTIL_THE_END: Json = {
    # Slow answers of a busy node must not end a daemon that is still observed.
    "exec": {"command": ["sh", "-c", f"[ ! -e {_END} ]"]},
    "periodSeconds": 10,
    "timeoutSeconds": 10,
    "failureThreshold": 3,
}
_SOCKET, _TCP = "--host=unix:///var/run/docker.sock", "--host=tcp://127.0.0.1:2375"
_EVERYWHERE = re.compile(r"tcp://(?:0\.0\.0\.0|\[::\])?:")


def _for_its_pod_alone(arguments: Sequence[str]) -> list[str]:
    """A daemon's arguments such that it listens for its own pod alone (docs/sources.md#dind-hosts).

    The image's entry point adds tcp://0.0.0.0:2375 unless the first word is dockerd itself.
    """
    local = [_EVERYWHERE.sub("tcp://127.0.0.1:", argument) for argument in arguments]
    if local and not local[0].startswith("-"):
        return local
    return ["dockerd", _SOCKET, _TCP, *(argument for argument in local if argument not in {_SOCKET, _TCP})]


# --- the parts ------------------------------------------------------------------------------------------------------

_TLS_PORT = 2376
_UNLESS_PRESENT = {"imagePullPolicy": "IfNotPresent"}
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def _container(name: str, image: str, command: list[str], resources: Resources) -> Json:
    container: Json = {
        "name": name,
        "image": image,
        "imagePullPolicy": "Always",
        "resources": {"requests": dict(resources.requests), "limits": dict(resources.limits)},
    }
    if command:
        container["command"] = command
    return container


def as_values_say(shape: JobShape, kind: str) -> Json:
    """The security context of a kind of container: the runner drops NET_RAW, and the rest is the values' affair."""
    privileged = shape.privileged_services if kind == "service" else shape.privileged
    context = {"privileged": privileged, "capabilities": {"drop": ["NET_RAW"]}}
    return context | copy.deepcopy(dict(shape.security.get(kind, {})))


def pod_spec(shape: JobShape, node: str | None, containers: list[Json], deadline: int) -> Json:
    """What the suite's pods and a job's have alike: where they run, their names, account and pull secrets.

    Args:
        shape: of a job's pod.
        node: the node that it is pinned to, if it is.
        containers: its containers.
        deadline: seconds after which Kubernetes ends it.
    """
    spec: Json = {
        "restartPolicy": "Never",
        # As in a job's pod; it also puts both under the same quotas, which recognise Terminating pods by it.
        "activeDeadlineSeconds": deadline,
        "terminationGracePeriodSeconds": _GRACE,
        "automountServiceAccountToken": False,
        "containers": containers,
    }
    optional = {
        "serviceAccountName": shape.service_account,
        "nodeSelector": dict(shape.node_selector),
        "tolerations": [dict(each) for each in shape.tolerations],
        "affinity": pinned(shape.affinity, node) if node else copy.deepcopy(shape.affinity),
        "dnsPolicy": shape.dns_policy,
        "dnsConfig": copy.deepcopy(shape.dns_config),
        "hostAliases": [dict(each) for each in shape.host_aliases],
        "imagePullSecrets": [{"name": name} for name in shape.pull_secrets],
        "runtimeClassName": shape.runtime_class,
        "schedulerName": shape.scheduler,
    }
    return spec | {key: value for key, value in optional.items() if value}


def pinned(affinity: Json | None, node: str) -> Json:
    """The affinity with one more requirement: this node, as the DaemonSet controller writes it.

    Node selector terms are ORed, so the requirement is added to each. An empty term selects nothing, and would select
    the node if the requirement were added to it; so it is dropped, unless that would leave no term at all.
    """
    affinity = copy.deepcopy(affinity or {})
    requirement = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = affinity.setdefault("nodeAffinity", {}).setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or []
    selecting = [term for term in terms if term.get("matchExpressions") or term.get("matchFields")]
    if terms and not selecting:
        return affinity
    required["nodeSelectorTerms"] = [
        {**term, "matchFields": [*(term.get("matchFields") or []), requirement]} for term in selecting or [{}]
    ]
    return affinity


def _job(
    shape: JobShape,
    spec: Json,
    run_id: str,
    vantage: str,
    node: str,
    deadline: int,
    ttl: int,
    avoid: Sequence[Mapping[str, str]],
) -> Json:
    ours = {MANAGED_BY: OURS, RUN: run_id, VANTAGE: vantage}
    labels = valid_labels(shape.labels) | ours
    for selector in avoid:
        if selector and selector.items() <= labels.items():
            for key in selector.keys() - ours.keys():
                labels.pop(key, None)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(run_id, vantage, node), "namespace": shape.namespace, "labels": ours},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline + _SLACK,
            "ttlSecondsAfterFinished": ttl,
            "template": {"metadata": {"labels": labels, "annotations": dict(shape.annotations)}, "spec": spec},
        },
    }


def job_name(run_id: str, vantage: str, node: str) -> str:
    """A Job's name that a person recognises and that no two nodes share, short enough for its pods' names."""
    slug = re.sub(r"[^a-z0-9]+", "-", node.lower())[:20].strip("-")
    return f"preflight-{run_id}-{vantage}-{slug}-{zlib.crc32(node.encode()) & 0xFFFFFF:06x}"


def valid_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without those that only a real job's variables would make valid."""
    return {key: value for key, value in labels.items() if _LABEL_VALUE.fullmatch(value)}


def _limits(limit_ranges: Sequence[Json], kind: str) -> list[Json]:
    return [
        limit
        for each in limit_ranges
        for limit in each.get("spec", {}).get("limits") or ()
        if limit.get("type") == kind
    ]


def _fit(containers: Sequence[Json], limit_ranges: Sequence[Json]) -> None:
    """Bring the containers' own requests and limits inside the namespace's LimitRanges."""
    for container in containers:
        requests, limits = (amounts(container["resources"][kind]) for kind in ("requests", "limits"))
        for limit in _limits(limit_ranges, "Container"):
            most, least = amounts(limit.get("max")), amounts(limit.get("min"))
            ratio = amounts(limit.get("maxLimitRequestRatio"))
            for name in limits:
                limits[name] = min(limits[name], most.get(name, limits[name]))
                requests[name] = max(min(requests[name], limits[name]), least.get(name, Decimal(0)))
                limits[name] = max(limits[name], requests[name])
                if name in ratio and limits[name] > requests[name] * ratio[name]:
                    requests[name] = limits[name] / ratio[name]
        _state(container, requests, limits)
    for limit in _limits(limit_ranges, "Pod"):
        _fit_together(containers, amounts(limit.get("max")), amounts(limit.get("min")))


def _fit_together(containers: Sequence[Json], most: Amounts, least: Amounts) -> None:
    """Bring the containers' sums inside a LimitRange's bounds on pods."""
    parts = [tuple(amounts(each["resources"][kind]) for kind in ("requests", "limits")) for each in containers]
    for name in ("cpu", "memory"):
        share = most.get(name, Decimal("Infinity")) / len(containers)
        if sum(limits[name] for _, limits in parts) > most.get(name, Decimal("Infinity")):
            for requests, limits in parts:
                limits[name] = min(limits[name], share)
                requests[name] = min(requests[name], limits[name])
        short = least.get(name, Decimal(0)) - sum(requests[name] for requests, _ in parts)
        if short > 0:
            requests, limits = parts[0]
            requests[name] += short
            limits[name] = max(limits[name], requests[name])
    for container, (requests, limits) in zip(containers, parts, strict=True):
        _state(container, requests, limits)


def _state(container: Json, requests: Amounts, limits: Amounts) -> None:
    """Write the amounts into the container; one that has not changed keeps its spelling."""
    resolution = {"cpu": Decimal("0.001")}
    for kind, wanted in (("requests", requests), ("limits", limits)):
        before = container["resources"][kind]
        known = amounts(before)
        container["resources"][kind] = {
            name: before[name]
            if known.get(name) == amount
            else exactly(amount.quantize(resolution.get(name, Decimal(1)), ROUND_FLOOR))
            for name, amount in wanted.items()
        }

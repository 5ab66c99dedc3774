"""The kubelets: the life of a pod from its binding to a node until it ends or is deleted.

Images are pulled through the world's network, containers run their command for real, a Docker daemon is simulated.
Every step is reported in the pod's status and in events, in the kubelet's order and words (v1.28).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from lab.cluster import timestamps
from lab.cluster.podlogs import Log
from lab.kubernetes import containers, daemon
from lab.kubernetes.refusals import Refusal, bad_request, internal
from lab.world import Vantage

if TYPE_CHECKING:
    from lab.cluster.state import ClusterState, Raw
    from lab.tools.call import CommandResult, Run
    from lab.world import Dockerd, Image, World

_RUNS_AT_MOST = 24 * 3600.0  # seconds; a pod's own deadline is shorter
_SETTLES = 0.005  # seconds between the end of the last container and the pod's final phase, as of the status manager
_PULL_FAILS_AGAIN = 0.1  # seconds from ErrImagePull to ImagePullBackOff
_MOUNTS_AGAIN = 1.0  # seconds between attempts to mount or to create
_RESTARTS_AFTER = 10.0  # seconds before a container that ended is started again
_LONGEST_MESSAGE, _MESSAGE_LINES = 2048, 80  # of a termination message taken from the log
_NAME = re.compile(r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$")
_START_ERROR = 128
_KILLED = 137
_FINAL = ("Succeeded", "Failed")
_NO_LOG = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}
_CREATING, _INITIALIZING = "ContainerCreating", "PodInitializing"


class PullResult(Protocol):
    """The result of a pull."""

    @property
    def ok(self) -> bool:
        """Whether the image is on the node."""

    @property
    def error(self) -> str:
        """The runtime's error if it is not."""

    @property
    def digest(self) -> str:
        """The digest that the tag points to."""

    @property
    def seconds(self) -> float:
        """How long it took."""


class Pull(Protocol):
    """Pulls an image as a node's runtime does (`lab.pulls.pull`)."""

    def __call__(  # noqa: D102 - see the class
        self,
        world: World,
        node: str,
        image: str,
        auths: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        runtime: Literal["containerd", "docker"] = "containerd",
    ) -> Awaitable[PullResult]: ...


class Kubelets:
    """All kubelets of the cluster, and their containers' logs."""

    def __init__(self, world: World, *, run: Run, pull: Pull) -> None:
        self.world, self.run, self.pull = world, run, pull
        self.cluster: ClusterState = world.cluster
        self._lifecycles: dict[str, _PodLifecycle] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._logs: dict[tuple[str, str], Log] = {}
        self._inputs: dict[tuple[str, str], asyncio.WriteTransport] = {}  # open standard input of containers
        self._pulling: dict[str, asyncio.Lock] = {}
        self.first_pods: dict[str, str] = {}  # node → uid of its first pod that pulls
        self._addresses: dict[str, int] = {}

    def start_pod(self, pod: Raw) -> None:
        """Start a pod that was bound to a node, once, if the node's kubelet runs."""
        identity = pod["metadata"]["uid"]
        fresh = pod["status"].get("phase") == "Pending" and "startTime" not in pod["status"]
        if identity in self._tasks or not fresh or not self.cluster.kubelet_runs(pod["spec"]["nodeName"]):
            return
        lifecycle = self._lifecycles[identity] = _PodLifecycle(self, pod)
        task = self._tasks[identity] = asyncio.create_task(lifecycle.run(), name=f"pod {pod['metadata']['name']}")
        task.add_done_callback(partial(record_exception, self.world))

    async def stop_pod(self, pod: Raw) -> None:
        """Stop the containers of a pod that is to be deleted."""
        identity = pod["metadata"]["uid"]
        task = self._tasks.pop(identity, None)
        lifecycle = self._lifecycles.pop(identity, None)
        if task is None or lifecycle is None:
            return
        lifecycle.announce_stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        lifecycle.mark_stopped()

    def drop_logs(self, pod: Raw) -> None:
        """Drop the logs of a deleted pod."""
        for key in [key for key in self._logs if key[0] == pod["metadata"]["uid"]]:
            self._logs.pop(key).end()
            self._inputs.pop(key, None)

    async def close(self) -> None:
        """Stop everything, without changing the cluster's objects."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for log in self._logs.values():
            log.end()

    async def wait_for_connection(self, pod: Raw) -> None:
        """Wait for a connection from the API server to a pod's kubelet.

        Raises:
            Refusal: it timed out.
        """
        node = pod["spec"].get("nodeName", "")
        if node in self.cluster.dropped_kubelets:
            await asyncio.sleep(self.cluster.dial_timeout)
            message = f"error dialing backend: dial tcp {self.world.nodes[node].address}:10250: i/o timeout"
            raise Refusal(500, "", message)

    def log(self, pod: Raw, container: str) -> Log | None:
        """A container's log, as its kubelet returns it; None if the pod has no node yet.

        Raises:
            Refusal: there is no such container, it has not started, or the kubelet is out of reach.
        """
        name = self._container_name(pod, container)
        node = pod["spec"].get("nodeName")
        if not node:
            return None
        metadata = pod["metadata"]
        statuses = pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
        state = next(
            (status["state"] for status in statuses if status["name"] == name), {"waiting": {"reason": _CREATING}}
        )
        if not self.cluster.kubelet_runs(node):
            host = self.world.nodes[node].address if node in self.world.nodes else node
            url = f"https://{host}:10250/containerLogs/{metadata['namespace']}/{metadata['name']}/{name}"
            message = f'Get "{url}": dial tcp {host}:10250: i/o timeout'
            raise internal(message)
        past_log = self.cluster.written.get((metadata["uid"], name))
        if past_log is not None:
            return past_log
        if "waiting" in state and (metadata["uid"], name) not in self._logs:
            reason = state["waiting"]["reason"]
            message = _NO_LOG.get(reason, reason)
            message = f'container "{name}" in pod "{metadata["name"]}" is waiting to start: {message}'
            raise bad_request(message)
        return self._logs.get((metadata["uid"], name)) or Log(ended=True)

    def resolve_container(self, pod: Raw, container: str) -> str:
        """The name of the requested container, whose kubelet the API server reaches.

        Raises:
            Refusal: there is no such container, or the kubelet is out of reach.
        """
        name = self._container_name(pod, container)
        node = pod["spec"].get("nodeName", "")
        if not node:
            message = f"pod {pod['metadata']['name']} does not have a host assigned"
            raise bad_request(message)
        if not self.cluster.kubelet_runs(node):
            host = self.world.nodes[node].address if node in self.world.nodes else node
            message = f"error dialing backend: dial tcp {host}:10250: connect: connection refused"
            raise Refusal(500, "", message)
        return name

    async def execute(
        self,
        pod: Raw,
        container: str,
        argv: Sequence[str],
        *,
        on_output: Callable[[bytes], None],
        on_error: Callable[[bytes], None],
        limit: float,
    ) -> CommandResult:
        """Run a command in a running container.

        Raises:
            FileNotFoundError: the container has no such program.
        """
        chosen = next(candidate for candidate in pod["spec"]["containers"] if candidate["name"] == container)
        lifecycle = self._lifecycles.get(pod["metadata"]["uid"])
        node = pod["spec"]["nodeName"]
        metadata = pod["metadata"]
        vantage = Vantage(
            "pod",
            node=node,
            resolv_conf=containers.resolv_conf(self.cluster, pod, self.world.nodes[node].resolv_conf),
            host_aliases=containers.host_aliases(pod),
            dockerd=lifecycle.dockerd if lifecycle is not None else None,
            hostname=metadata["name"],
            address=pod["status"].get("podIP", ""),
            files=self.cluster.files.get((metadata["namespace"], metadata["name"], container), {}),
        )
        env = containers.environment(self.cluster, pod, chosen)
        return await self.run(self.world, vantage, argv, env=env, on_output=on_output, on_error=on_error, limit=limit)

    def register_stdin(self, pod: Raw, container: str, pipe: asyncio.WriteTransport) -> None:
        """Keep a container's open standard input."""
        self._inputs[pod["metadata"]["uid"], container] = pipe

    def write_stdin(self, pod: Raw, container: str, data: bytes) -> None:
        """Write to a container's standard input, if it has one."""
        pipe = self._inputs.get((pod["metadata"]["uid"], container))
        if pipe is not None and not pipe.is_closing():
            pipe.write(data)

    def detach_stdin(self, pod: Raw, container: str) -> None:
        """End an attach session: the standard input of a container with ``stdinOnce`` is closed."""
        chosen: Raw = next((candidate for candidate in pod["spec"]["containers"] if candidate["name"] == container), {})
        pipe = self._inputs.get((pod["metadata"]["uid"], container))
        if pipe is not None and chosen.get("stdinOnce"):
            pipe.close()

    def open_log(self, pod: Raw, container: str) -> Log:
        """Create the log of a starting container."""
        log = self._logs[pod["metadata"]["uid"], container] = Log()
        return log

    def address(self, node: str) -> str:
        """The next free pod address of a node, like ``172.24.1.23``."""
        machine = self.world.nodes.get(node)
        first, second, third, _ = (machine.pod_network if machine is not None else "172.24.250.0/24").split(".")
        self._addresses[node] = self._addresses.get(node, 19) + 1
        return f"{first}.{second}.{third}.{self._addresses[node] % 250 + 2}"

    def pulling(self, node: str) -> asyncio.Lock:
        """A node's lock for pulls: kubelets pull one image at a time (serializeImagePulls)."""
        return self._pulling.setdefault(node, asyncio.Lock())

    @staticmethod
    def _container_name(pod: Raw, container: str) -> str:
        name = pod["metadata"]["name"]
        names = [entry["name"] for entry in pod["spec"]["containers"]]
        init_names = [entry["name"] for entry in pod["spec"].get("initContainers") or []]
        if not container:
            if len(names) == 1 and not init_names:
                return str(names[0])
            choices = f"choose one of: [{' '.join(names)}]"
            if init_names:
                choices += f" or one of the init containers: [{' '.join(init_names)}]"
            message = f"a container name must be specified for pod {name}, {choices}"
            raise bad_request(message)
        if container not in names + init_names:
            message = f"container {container} is not valid for pod {name}"
            raise bad_request(message)
        return container


class _PodLifecycle:
    """One pod on its node, from ContainerCreating to its final phase."""

    def __init__(self, kubelets: Kubelets, pod: Raw) -> None:
        self.kubelets, self.pod = kubelets, pod
        self.world, self.cluster = kubelets.world, kubelets.cluster
        self.node: str = pod["spec"]["nodeName"]
        self.states: dict[str, Raw] = {}  # container → its entry of containerStatuses
        self.init_states: dict[str, Raw] = {}  # init container → its entry
        self.address = ""
        self.resolv_conf = ""
        self.dockerd: Dockerd | None = None
        self.tried: set[str] = set()  # containers whose image has been pulled, or attempted to
        self.start_attempted: dict[str, asyncio.Event] = {}  # container → set once it runs or failed to start

    # ---- lifecycle

    async def run(self) -> None:
        """Go through the pod's whole lifecycle."""
        spec = self.pod["spec"]
        deadline = spec.get("activeDeadlineSeconds")
        try:
            async with asyncio.timeout(deadline):
                await self._run_containers()
        except TimeoutError:
            self._event(
                "DeadlineExceeded", "Pod was active on the node longer than the specified deadline", kind="Normal"
            )
            self._kill(_KILLED)
            status = self.pod["status"]
            status |= {"phase": "Failed", "reason": "DeadlineExceeded"}
            status["message"] = "Pod was active on the node longer than the specified deadline"
            self._publish_status(final=True)

    async def _run_containers(self) -> None:
        spec = self.pod["spec"]
        initial = _INITIALIZING if spec.get("initContainers") else _CREATING
        self.states = {container["name"]: _waiting(container, initial) for container in spec["containers"]}
        self.init_states = {
            container["name"]: _waiting(container, initial) for container in spec.get("initContainers") or []
        }
        host = self.cluster.node(self.node)["status"]["addresses"][0]["address"]
        self.pod["status"] |= {"hostIP": host, "startTime": timestamps.now()}
        self._publish_status()
        await self._mount()
        self.address = host if spec.get("hostNetwork") else self.kubelets.address(self.node)
        self.resolv_conf = containers.resolv_conf(self.cluster, self.pod, self.world.nodes[self.node].resolv_conf)
        self.pod["status"] |= {"podIP": self.address, "podIPs": [{"ip": self.address}]}
        self.dockerd = self._dockerd()
        for container in spec.get("initContainers") or []:
            if not await self._initialize(container):
                self._publish_status(final=True)
                return
        if self.init_states:
            for status in self.states.values():
                status["state"] = {"waiting": {"reason": _INITIALIZING}}
        async with asyncio.TaskGroup() as group:
            for container in spec["containers"]:
                await self._start(group, container)
            self._publish_status()
        self._publish_status()
        await asyncio.sleep(_SETTLES)
        self._publish_status(final=True)

    async def _mount(self) -> None:
        while (missing := containers.missing_volume(self.cluster, self.pod)) is not None:
            volume, why = missing
            self._event("FailedMount", f'MountVolume.SetUp failed for volume "{volume}" : {why}', kind="Warning")
            await asyncio.sleep(_MOUNTS_AGAIN)

    async def _initialize(self, container: Raw) -> bool:
        """Run an init container; returns whether it succeeded."""
        async with asyncio.TaskGroup() as group:
            await self._start(group, container)
        state = self.init_states[container["name"]]["state"].get("terminated") or {}
        return bool(state.get("exitCode") == 0)

    async def _start(self, group: asyncio.TaskGroup, container: Raw) -> None:
        """Try to start a container; if that fails, keep trying in a task of its own."""
        attempted = self.start_attempted[container["name"]] = asyncio.Event()
        if await self._create(container):
            group.create_task(self._supervise(container))
            await attempted.wait()
            self._publish_status()
        else:
            group.create_task(self._retry_start(container))

    async def _retry_start(self, container: Raw) -> None:
        delay = self.cluster.pull_backoff
        status = self._status(container)
        while True:
            reason = status["state"]["waiting"]["reason"]
            if reason in ("ErrImagePull", "ErrImageNeverPull"):
                await asyncio.sleep(_PULL_FAILS_AGAIN)
                message = f'Back-off pulling image "{container["image"]}"'
                self._event("BackOff", message, container)
                self._event("Failed", "Error: ImagePullBackOff", container, kind="Warning")
                status["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
                self._publish_status()
                await asyncio.sleep(delay)
                delay = min(delay * 2, 300.0)
            else:
                await asyncio.sleep(_MOUNTS_AGAIN)
            if await self._create(container):
                break
        self._publish_status()
        await self._supervise(container)

    async def _create(self, container: Raw) -> bool:
        """Pull a container's image and create the container; returns whether that succeeded."""
        if not await self._pull(container):
            self._publish_status()
            return False
        try:
            containers.check_user(self.pod, container)
            containers.environment(self.cluster, self.pod, container)
        except containers.Unready as why:
            self._event("Failed", f"Error: {why}", container, kind="Warning")
            self._set_waiting(container, "CreateContainerConfigError", str(why))
            self._publish_status()
            return False
        status = self._status(container)
        seed = f"{self.pod['metadata']['uid']}{container['name']}{status['restartCount']}"
        status["containerID"] = f"{self._runtime}://{hashlib.sha256(seed.encode()).hexdigest()}"
        status["state"] = {"running": {"startedAt": timestamps.now()}}
        status |= {"ready": True, "started": True}
        self._event("Created", f"Created container {container['name']}", container)
        return True

    async def _supervise(self, container: Raw) -> None:
        """Run a created container, and restart it according to the pod's restart policy."""
        policy = self.pod["spec"].get("restartPolicy", "Always")
        long_running = container["name"] in self.states
        while True:
            code = await self._run(container)
            self._publish_status()
            if policy == "Never" or (code == 0 and (policy != "Always" or not long_running)):
                return
            status = self._status(container)
            status["lastState"] = status["state"]
            name = container["name"]
            message = (
                f"back-off {_RESTARTS_AFTER:g}s restarting failed container={name} pod={containers.identity(self.pod)}"
            )
            self._event(
                "BackOff",
                f"Back-off restarting failed container {name} in pod {containers.identity(self.pod)}",
                container,
                kind="Warning",
            )
            status["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
            self._publish_status()
            await asyncio.sleep(_RESTARTS_AFTER)
            status["restartCount"] += 1
            if not await self._create(container):
                await self._retry_start(container)
                return
            self._publish_status()

    async def _run(self, container: Raw) -> int:
        status = self._status(container)
        started = status["state"]["running"]["startedAt"]
        log = self.kubelets.open_log(self.pod, container["name"])
        env = containers.environment(self.cluster, self.pod, container)
        image = self._image(container)
        try:
            if containers.is_daemon(container, image) and self.dockerd is not None:
                self._started(container)
                privileged = bool((container.get("securityContext") or {}).get("privileged"))
                code = await daemon.live(self.dockerd, lambda text: log.write(text.encode()), privileged=privileged)
            else:
                code = await self._execute(container, image, env, log)
        except FileNotFoundError as missing:
            code = self._not_started(container, str(missing.filename or missing))
        finally:
            log.end()
        if "terminated" not in status["state"]:
            terminated: Raw = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
            message = _termination_message(container, log) if code else ""
            terminated |= {"message": message} if message else {}
            terminated |= {"startedAt": started, "finishedAt": timestamps.now(), "containerID": status["containerID"]}
            status["state"] = {"terminated": terminated}
        status |= {"ready": False, "started": False}
        return code

    async def _execute(self, container: Raw, image: Image | None, env: Mapping[str, str], log: Log) -> int:
        argv = containers.command(container, image, env) if image else list(container.get("command") or [])
        if not argv or (image is not None and image.kind == "scratch"):
            raise FileNotFoundError(argv[0] if argv else "sh")
        run: Callable[..., Awaitable[CommandResult]] = self.kubelets.run
        if container.get("stdin"):
            run = partial(run, on_start=partial(self.kubelets.register_stdin, self.pod, container["name"]))
        task = asyncio.ensure_future(
            run(self.world, self._vantage(), argv, env=env, on_output=log.write, limit=_RUNS_AT_MOST)
        )
        try:
            await asyncio.sleep(0)  # a missing program is noticed before "Started" is reported
            if not task.done() or task.exception() is None:
                self._started(container)
            return (await task).exit
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _started(self, container: Raw) -> None:
        self._event("Started", f"Started container {container['name']}", container)
        self.start_attempted[container["name"]].set()

    def _not_started(self, container: Raw, program: str) -> int:
        reason = (
            "executable file not found in $PATH" if "/" not in program else f"stat {program}: no such file or directory"
        )
        message = (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
            f'failed: unable to start container process: exec: "{program}": {reason}: unknown'
        )
        self._event("Failed", f"Error: {message}", container, kind="Warning")
        self.start_attempted[container["name"]].set()
        status = self._status(container)
        terminated: Raw = {"exitCode": _START_ERROR, "reason": "StartError", "message": message}
        terminated |= {
            "startedAt": "1970-01-01T00:00:00Z",
            "finishedAt": timestamps.now(),
            "containerID": status["containerID"],
        }
        status["state"] = {"terminated": terminated}
        return _START_ERROR

    # ---- images

    @property
    def _runtime(self) -> str:
        return self.world.nodes[self.node].runtime.partition(":")[0]

    def _image(self, container: Raw) -> Image | None:
        return self.world.image(container["image"])

    async def _pull(self, container: Raw) -> bool:
        """Get a container's image according to its pull policy; returns whether it is present."""
        image = container["image"]
        error = _image_name_error(image)
        if error:
            self._event("InspectFailed", error, container, kind="Warning")
            self._event("Failed", "Error: InvalidImageName", container, kind="Warning")
            self._set_waiting(container, "InvalidImageName", error)
            return False
        policy = container.get("imagePullPolicy", "Always")
        store = self.world.nodes[self.node].pulled
        if policy != "Always" and image in store:
            self._event("Pulled", f'Container image "{image}" already present on machine', container)
            self._name_image(container, "")
            return True
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            self._event("ErrImageNeverPull", message, container, kind="Warning")
            self._event("Failed", "Error: ErrImageNeverPull", container, kind="Warning")
            self._set_waiting(container, "ErrImageNeverPull", message)
            return False
        return await self._fetch(container, image)

    async def _fetch(self, container: Raw, image: str) -> bool:
        logins, missing = containers.pull_logins(self.cluster, self.pod)
        identity = self.pod["metadata"]["uid"]
        is_first = self.kubelets.first_pods.setdefault(self.node, identity) == identity
        if self.cluster.secrets_seen_late and is_first and container["name"] not in self.tried:
            self.tried.add(container["name"])
            logins, missing = {}, [secret["name"] for secret in self.pod["spec"].get("imagePullSecrets") or []]
        if missing:
            names = ", ".join(missing)
            message = (
                f"Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."
            )
            self._event("FailedToRetrieveImagePullSecret", message, kind="Warning")
        self._event("Pulling", f'Pulling image "{image}"', container)
        started = asyncio.get_running_loop().time()
        async with self.kubelets.pulling(self.node):
            runtime: Literal["containerd", "docker"] = "docker" if self._runtime == "docker" else "containerd"
            pulled = await self.kubelets.pull(self.world, self.node, image, logins, runtime)
        elapsed = asyncio.get_running_loop().time() - started
        if not pulled.ok:
            self._event("Failed", f'Failed to pull image "{image}": {pulled.error}', container, kind="Warning")
            self._event("Failed", "Error: ErrImagePull", container, kind="Warning")
            self._set_waiting(container, "ErrImagePull", pulled.error)
            return False
        took = f"{_duration(pulled.seconds)} ({_duration(max(elapsed, pulled.seconds))} including waiting)"
        self._event("Pulled", f'Successfully pulled image "{image}" in {took}', container)
        self._name_image(container, pulled.digest)
        return True

    def _name_image(self, container: Raw, digest: str) -> None:
        """Add the image to the container's status, and to the node's list of images."""
        image = container["image"]
        repository = image.partition("@")[0]
        if ":" in repository.rpartition("/")[2]:
            repository = repository.rpartition(":")[0]
        digest = digest or f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
        self._status(container)["imageID"] = f"{repository}@{digest}"
        node = self.cluster.node(self.node)
        images = node["status"].setdefault("images", [])
        if not any(image in entry["names"] for entry in images):
            known_image = self._image(container)
            images.append(
                {"names": [f"{repository}@{digest}", image], "sizeBytes": known_image.size if known_image else 0}
            )

    # ---- the containers' environment

    def _vantage(self) -> Vantage:
        return Vantage(
            "pod",
            node=self.node,
            resolv_conf=self.resolv_conf,
            host_aliases=containers.host_aliases(self.pod),
            dockerd=self.dockerd,
            hostname=self.pod["metadata"]["name"],
            address=self.address,
        )

    def _dockerd(self) -> Dockerd | None:
        for container in self.pod["spec"]["containers"]:
            if containers.is_daemon(container, self._image(container)):
                try:
                    env = containers.environment(self.cluster, self.pod, container)
                except containers.Unready:
                    env = {}
                arguments = [*(container.get("command") or [])[1:], *(container.get("args") or [])]
                return daemon.prepare(self.world, self.node, self.resolv_conf, arguments, env)
        return None

    # ---- status and events

    def announce_stop(self) -> None:
        """Report that the containers are being stopped."""
        for container in self.pod["spec"]["containers"]:
            if "running" in self.states.get(container["name"], {}).get("state", {}):
                self._event("Killing", f"Stopping container {container['name']}", container)

    def mark_stopped(self) -> None:
        """Mark the containers as killed."""
        self._kill(_KILLED)
        if self.cluster.get("pods", self.pod["metadata"]["namespace"], self.pod["metadata"]["name"]) is self.pod:
            self._publish_status(final=True)

    def _kill(self, code: int) -> None:
        for status in [*self.init_states.values(), *self.states.values()]:
            running = status["state"].get("running")
            if running:
                end = {
                    "exitCode": code,
                    "reason": "Error",
                    "startedAt": running["startedAt"],
                    "finishedAt": timestamps.now(),
                }
                status["state"] = {"terminated": end | {"containerID": status.get("containerID", "")}}
                status |= {"ready": False, "started": False}

    def _status(self, container: Raw) -> Raw:
        name = container["name"]
        return self.states[name] if name in self.states else self.init_states[name]

    def _set_waiting(self, container: Raw, reason: str, message: str) -> None:
        self._status(container)["state"] = {"waiting": {"reason": reason, "message": message}}

    def _event(self, reason: str, message: str, container: Raw | None = None, *, kind: str = "Normal") -> None:
        self.cluster.event(
            self.pod,
            "Pod",
            reason,
            message,
            warning=kind == "Warning",
            component="kubelet",
            host=self.node,
            container=container["name"] if container else "",
        )

    def _publish_status(self, *, final: bool = False) -> None:
        """Write the containers' states into the pod's status; `final`: the phase may become a final one."""
        status = self.pod["status"]
        phase = self._phase()
        if status.get("phase") not in _FINAL:
            status["phase"] = phase if final or phase not in _FINAL else status["phase"]
        status = self.pod["status"] = _with_conditions(
            status, phase, list(self.states.values()), list(self.init_states.values())
        )
        if self.init_states:
            status["initContainerStatuses"] = [_entry(state) for state in self.init_states.values()]
        status["containerStatuses"] = [_entry(state) for state in self.states.values()]
        quality = status.pop("qosClass", "BestEffort")
        status["qosClass"] = quality  # last, as in a real status
        self.cluster.touch("pods", self.pod)

    def _phase(self) -> str:
        states = [status["state"] for status in self.states.values()]
        failed_early = any(
            (status["state"].get("terminated") or {}).get("exitCode") for status in self.init_states.values()
        )
        never_restarts = self.pod["spec"].get("restartPolicy") == "Never"
        if failed_early and never_restarts:
            return "Failed"
        waiting = [
            status for status in self.states.values() if "waiting" in status["state"] and not status["lastState"]
        ]
        if waiting:
            return "Pending"
        if any("running" in state for state in states) or not all("terminated" in state for state in states):
            return "Running"
        if self.pod["spec"].get("restartPolicy") == "Always":
            return "Running"
        return "Failed" if any(state["terminated"]["exitCode"] for state in states) else "Succeeded"


def record_exception(world: World, task: asyncio.Task[None]) -> None:
    """Record the exception of a task: a bug of the lab must not go unnoticed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        world.problems.append("".join(traceback.format_exception(error)))


def _entry(status: Raw) -> Raw:
    """A container's status as published: without an id while there is no container."""
    return {key: value for key, value in status.items() if key != "containerID" or value}


def _waiting(container: Raw, reason: str) -> Raw:
    return {
        "name": container["name"],
        "state": {"waiting": {"reason": reason}},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": container["image"],
        "imageID": "",
        "containerID": "",
        "started": False,
    }


def _with_conditions(status: Raw, phase: str, states: list[Raw], first: list[Raw]) -> Raw:
    """A pod's status with the conditions that follow from its containers, its keys in the API's order."""
    final_reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
    unready = [state["name"] for state in states if not state["ready"]]
    ready: Raw = {"status": "False" if unready else "True"}
    if final_reason:
        ready["reason"] = final_reason
    elif unready:
        ready |= {"reason": "ContainersNotReady", "message": f"containers with unready status: [{' '.join(unready)}]"}
    waiting = [state["name"] for state in first if (state["state"].get("terminated") or {}).get("exitCode") != 0]
    initialized: Raw = {"status": "False" if waiting else "True"}
    if waiting:
        message = f"containers with incomplete status: [{' '.join(waiting)}]"
        initialized |= {"reason": "ContainersNotInitialized", "message": message}
    elif phase == "Succeeded":
        initialized["reason"] = "PodCompleted"
    previous = {condition["type"]: condition for condition in status.get("conditions", [])}
    new_conditions = {"Initialized": initialized, "Ready": ready, "ContainersReady": dict(ready)}
    conditions = [_condition(kind, condition, previous.get(kind)) for kind, condition in new_conditions.items()]
    status = status | {
        "conditions": conditions + [condition for kind, condition in previous.items() if kind not in new_conditions]
    }
    order = ("phase", "conditions", "message", "reason", "hostIP", "podIP", "podIPs", "startTime")
    ordered = {key: status[key] for key in order if key in status}
    return ordered | {key: value for key, value in status.items() if key not in ordered}


def _condition(kind: str, new: Raw, previous: Raw | None) -> Raw:
    unchanged = previous is not None and previous["status"] == new["status"]
    since = previous["lastTransitionTime"] if unchanged and previous is not None else timestamps.now()
    return {"type": kind, "status": new["status"], "lastProbeTime": None, "lastTransitionTime": since} | {
        key: new[key] for key in ("reason", "message") if key in new
    }


def _image_name_error(image: str) -> str:
    """The kubelet's error for an invalid image name; empty for a valid one."""
    name = image.partition("@")[0]
    host, slash, rest = name.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        rest = name
    repository, _, tag = rest.partition(":")
    if _NAME.match(repository) and re.fullmatch(r"[\w][\w.-]{0,127}|", tag):
        return ""
    reason = "invalid reference format"
    if repository != repository.lower() and _NAME.match(repository.lower()):
        reason += ": repository name must be lowercase"
    return f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {reason}'


def _duration(seconds: float) -> str:
    """A duration as Go prints it, rounded to milliseconds as kubelets do."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds / 1000, 60)
    return (
        f"{int(minutes)}m{rest:.3f}".rstrip("0").rstrip(".") + "s"
        if minutes
        else f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    )


def _termination_message(container: Raw, log: Log) -> str:
    if container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return ""
    return log.text(tail=_MESSAGE_LINES)[-_LONGEST_MESSAGE:].decode(errors="replace")

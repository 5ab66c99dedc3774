"""The runner's release in the cluster: Helm's record, the chart's objects, and the manager pods with their logs.

`deploy_managers` creates what ``helm install`` of chart 0.80.0 creates from the operator's values, in the state that
`World.release` describes. No kubelet manages these pods: they have been running for days.
"""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lab import yamltext
from lab.cluster import timestamps
from lab.cluster.podlogs import Log
from lab.kubernetes import configuration
from lab.kubernetes.guide import CONTROL_PLANE, NAMESPACE, pod, runner_rules
from lab.world import CHART_VERSION, RUNNER_VERSION, ReleaseState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lab.cluster.state import ClusterState, Raw
    from lab.world import World

RELEASE = "gitlab-runner"
PORT = 9252
_TEMPLATE, _NEXT_TEMPLATE = "6b8d5c7f9d", "7c5d9f64bb"  # hashes of the Deployment's two last pod templates
_DAYS = ReleaseState.age / 86_400  # since the last installation
_ROLLING = ("half-rolled-out", "rolling-out")  # one manager has the newest template
_OUTAGE_ENDED = 14 * 60.0  # seconds since GitLab answers again, where managers have recovered from an outage
_LABELS = {"app": RELEASE, "chart": f"gitlab-runner-{CHART_VERSION}", "heritage": "Helm", "release": RELEASE}
_HOME = "/home/gitlab-runner/.gitlab-runner"
_SELECTOR = {"app": RELEASE}


def deploy_managers(cluster: ClusterState, world: World, values: str = "") -> None:
    """Put the release into the cluster, with these values (YAML); without a release, its leftovers, if any."""
    state = world.release
    if cluster.get("namespaces", "", NAMESPACE) is None:
        return
    if not state.installed:
        if state.leftovers:
            _leave_behind(cluster)
        else:
            _forget_access(cluster)
        return
    tree: dict[str, Any] = yamltext.load(values) or {}
    for key, value in state.changed.items():
        _set(tree, key, value)
    wanted = int(tree.get("replicas", 1)) if state.scaled is None else state.scaled
    image = _image(tree)
    token = base64.b64encode(str(tree.get("runnerToken", "")).encode()).decode()
    objects = {
        "configmaps": _config_map(tree),
        "secrets": _object("Secret", RELEASE, data={"runner-registration-token": "", "runner-token": token})
        | {"type": "Opaque"},
        "deployments": _deployment(state, image, wanted, tree),
    }
    for record in _records(state, tree, _manifest(objects.values())):
        cluster.add(record)
    _label_access(cluster)
    for resource, item in objects.items():
        _edit(item, {tuple(keys): value for (plural, *keys), value in state.edited.items() if plural == resource})
        cluster.add(item)
    _deploy_pods(cluster, world, image, wanted, tree)


def _deploy_pods(cluster: ClusterState, world: World, image: str, wanted: int, tree: Mapping[str, Any]) -> None:
    state = world.release
    # The chart's liveness probe asks GitLab: managers that it does not answer are restarted again and again.
    unanswered = world.gitlab.mode not in {"up", "redirect"}
    homes = [
        item["metadata"]["name"]
        for item in cluster.list("nodes")
        if CONTROL_PLANE not in item["metadata"]["labels"] and cluster.kubelet_runs(item["metadata"]["name"])
    ]
    homes.sort(key=lambda name: (len(name), name))  # the guide's own first, in a large cluster too
    for number in range(wanted if homes else 0):
        fresh = state.health in _ROLLING and number == wanted - 1
        home = homes[number % len(homes)]
        item = _manager(cluster, home, number, image, template=_NEXT_TEMPLATE if fresh else _TEMPLATE)
        match state.health:
            case "out-of-memory":
                _crash_loop(item, 137, "OOMKilled", restarts=7)
            case "refused":
                _crash_loop(item, 1, "Error", restarts=4)
            case "half-rolled-out" if fresh:
                _fail_image_pull(item)
            case "rolling-out" if fresh:
                _begin(item)
            case "recovered":
                _restart(item, ago=_OUTAGE_ENDED)
            case _ if unanswered:
                _restart(item, ago=40, times=2)
            case _:
                pass
        stored = cluster.add(item)
        began = copy.deepcopy(dict(tree))
        for key, value in state.before.items():
            _set(began, key, value)
        files = {f"{_HOME}/config.toml": _config_toml(began, number, old=state.old_config)}
        files["/configmaps/config.toml"] = _globals(tree)  # the kubelet updates a mounted ConfigMap
        cluster.files[NAMESPACE, stored["metadata"]["name"], RELEASE] = files
        if not fresh:
            refused = state.health == "refused"
            log = _manager_log(image, tree, number, refused=refused, days=0.005 if refused else _DAYS)
            if state.health == "recovered":
                _complain(log, ago=_OUTAGE_ENDED + 40)
            elif unanswered and state.health == "up":
                _complain(log, ago=9)
            cluster.written[stored["metadata"]["uid"], RELEASE] = log


def _rendered(tree: Mapping[str, Any]) -> str:
    """``runners.config`` as Helm renders it."""
    return configuration.rendered(
        tree, release=RELEASE, namespace=NAMESPACE, version=CHART_VERSION, app_version=RUNNER_VERSION
    )


def _config_map(tree: Mapping[str, Any]) -> Raw:
    scripts = {"config.template.toml": _rendered(tree), "config.toml": _globals(tree), "entrypoint": _ENTRYPOINT}
    return _object("ConfigMap", RELEASE, data=scripts)


_ENTRYPOINT = "#!/bin/bash\nset -e\ncp /configmaps/config.toml /home/gitlab-runner/.gitlab-runner/\n"
_FILLED_IN = ("revisionHistoryLimit", "strategy", "progressDeadlineSeconds", "restartPolicy", "dnsPolicy", "protocol")


def _manifest(objects: Iterable[Raw]) -> str:
    """Objects as Helm's record has them, without what the API server adds; the managers' Role among them."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": RELEASE}}
    documents = [
        role | {"rules": runner_rules()},
        *({key: value for key, value in _bare(item).items() if key != "status"} for item in objects),
    ]
    return "".join(
        f"---\n# Source: gitlab-runner/templates/{item['kind'].lower()}.yaml\n{json.dumps(item)}\n"
        for item in documents
    )


def _bare(node: Any) -> Any:
    if isinstance(node, list):
        return [_bare(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    hidden = {*_FILLED_IN, "serviceAccount", "creationTimestamp", "generation"}
    return {key: _bare(value) for key, value in node.items() if key not in hidden}


def _edit(item: Raw, edits: Mapping[tuple[str, ...], Any]) -> None:
    """Change an object as somebody did by hand."""
    for (*parents, last), value in edits.items():
        place = item
        for key in parents:
            place = place[key]
        place[last] = place[last].replace(*value) if isinstance(value, tuple) else value


# ---- Helm's records


def _records(state: ReleaseState, tree: Mapping[str, Any], manifest: str) -> Iterator[Raw]:
    """Helm's Secrets: the first installation, and the last upgrade."""
    deployed = state.status == "deployed"
    first = "superseded" if deployed else "deployed"
    yield _record(1, first, "Install complete", AGE_OF_FIRST, tree, state, manifest)
    yield _record(2, state.status, state.description, state.age, tree, state, manifest)


AGE_OF_FIRST = 30 * 86_400.0  # seconds


def _record(
    revision: int,
    status: str,
    description: str,
    age: float,
    tree: Mapping[str, Any],
    state: ReleaseState,
    manifest: str,
) -> Raw:
    began = datetime.now(UTC) - timedelta(seconds=age)
    metadata = {
        "name": "gitlab-runner",
        "version": state.chart,
        "description": "GitLab Runner",
        "keywords": ["git", "ci", "deploy"],
        "sources": ["https://gitlab.com/gitlab-org/charts/gitlab-runner"],
        "maintainers": [{"name": "GitLab Inc.", "email": "support@gitlab.com"}],
        "icon": "https://gitlab.com/uploads/-/system/project/avatar/250833/runner_logo.png",
        "apiVersion": "v1",
        "appVersion": state.app_version,
    }
    body = {
        "name": RELEASE,
        "info": {
            "first_deployed": (datetime.now(UTC) - timedelta(seconds=AGE_OF_FIRST)).isoformat(),
            "last_deployed": began.isoformat(),
            "deleted": "",
            "description": description,
            "status": status,
            "notes": "Your GitLab Runner should now be registered against the GitLab instance reachable at:\n",
        },
        "chart": {"metadata": metadata, "lock": None, "templates": [], "values": {}, "schema": None, "files": []},
        "config": tree,
        "manifest": manifest,
        "version": revision,
        "namespace": NAMESPACE,
    }
    packed = base64.b64encode(gzip.compress(json.dumps(body, ensure_ascii=False).encode()))
    name = f"sh.helm.release.v1.{RELEASE}.v{revision}"
    item = _object("Secret", name, data={"release": base64.b64encode(packed).decode()})
    stamp = str(int(began.timestamp()))
    item["metadata"]["labels"] = {
        "modifiedAt": stamp,
        "name": RELEASE,
        "owner": "helm",
        "status": status,
        "version": str(revision),
    }
    return item | {"type": "helm.sh/release.v1"}


# ---- the chart's objects


def _label_access(cluster: ClusterState) -> None:
    """Label the service account and its role as the chart's."""
    for resource in ("serviceaccounts", "roles", "rolebindings"):
        item = cluster.get(resource, NAMESPACE, RELEASE)
        if item is not None:
            item["metadata"]["labels"] = dict(_LABELS)
            cluster.touch(resource, item)


def _forget_access(cluster: ClusterState) -> None:
    for resource in ("serviceaccounts", "roles", "rolebindings"):
        cluster.remove(resource, NAMESPACE, RELEASE)


def _leave_behind(cluster: ClusterState) -> None:
    """Objects left when Deployment and records are deleted by hand: access, a volume claim, a job's pod."""
    _label_access(cluster)
    claim = _object("PersistentVolumeClaim", "runner-cache", spec={"accessModes": ["ReadWriteMany"]})
    cluster.add(claim | {"status": {"phase": "Bound"}})
    workers = [item["metadata"]["name"] for item in cluster.list("nodes") if item["metadata"]["name"].endswith("-3")]
    for name in workers:
        cluster.add(job_pod(name))


def job_pod(node: str, *, job: int = 4711, project: int = 12, minutes: float = 9) -> Raw:
    """The pod of a job that has been running for a while, named and labelled as by runner 18.3."""
    name = f"runner-zaxruzyo8-project-{project}-concurrent-0-"
    suffix = hashlib.sha256(f"{node}{job}".encode()).hexdigest()[:8]
    item = pod(NAMESPACE, name + suffix, node=node)
    item["metadata"] |= {
        "creationTimestamp": timestamps.ago(seconds=minutes * 60),
        "labels": {
            "pod": name + suffix,
            "job.runner.gitlab.com/pod": name + suffix,
            "project.runner.gitlab.com/id": str(project),
            "manager.runner.gitlab.com/name": RELEASE,
        },
        "annotations": {"job.runner.gitlab.com/id": str(job), "project.runner.gitlab.com/id": str(project)},
    }
    item["spec"]["containers"] = [
        {"name": part, "image": "registry.example.com/library/alpine:latest", "resources": {}}
        for part in ("build", "helper")
    ]
    item["spec"]["restartPolicy"] = "Never"
    return item


def _deployment(state: ReleaseState, image: str, wanted: int, tree: Mapping[str, Any]) -> Raw:
    up = 0 if state.health in {"out-of-memory", "refused"} else wanted
    half = state.health in _ROLLING
    item = _object("Deployment", RELEASE)
    item["metadata"] |= {"generation": 3, "labels": dict(_LABELS)}
    item["metadata"]["annotations"] = {
        "deployment.kubernetes.io/revision": "2",
        "meta.helm.sh/release-name": RELEASE,
        "meta.helm.sh/release-namespace": NAMESPACE,
    }
    item["spec"] = {
        "replicas": wanted,
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": dict(_SELECTOR)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "template": {
            "metadata": {"labels": dict(_LABELS)},
            "spec": {
                "containers": [_container(image, tree)],
                "serviceAccountName": RELEASE,
                "serviceAccount": RELEASE,
                "securityContext": {"runAsUser": 100, "fsGroup": 65533},
                "terminationGracePeriodSeconds": 3600,
                "restartPolicy": "Always",
                "dnsPolicy": "ClusterFirst",
            },
        },
        "progressDeadlineSeconds": 600,
    }
    current = f'ReplicaSet "{RELEASE}-{_NEXT_TEMPLATE if half else _TEMPLATE}"'
    progress = (
        ("False", "ProgressDeadlineExceeded", f"{current} has timed out progressing.")
        if state.health == "half-rolled-out"
        else ("True", "ReplicaSetUpdated", f"{current} is progressing.")
        if half
        else ("True", "NewReplicaSetAvailable", f"{current} has successfully progressed.")
    )
    minimum = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    if not up:
        minimum = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    item["status"] = {
        "observedGeneration": 3,
        "replicas": wanted,
        "updatedReplicas": 1 if half else wanted,
        **({"readyReplicas": up - half, "availableReplicas": up - half} if up else {}),
        **({"unavailableReplicas": wanted - up + half} if up < wanted or half else {}),
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "message": message}
            | {"lastUpdateTime": timestamps.ago(days=_DAYS), "lastTransitionTime": timestamps.ago(days=_DAYS)}
            for kind, (status, reason, message) in {"Available": minimum, "Progressing": progress}.items()
        ],
    }
    return item


def _container(image: str, tree: Mapping[str, Any]) -> Raw:
    return {
        "name": RELEASE,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/bin/dumb-init", "--", "/bin/bash", "/configmaps/entrypoint"],
        "env": [
            {"name": "CI_SERVER_URL", "value": str(tree.get("gitlabUrl", ""))},
            {"name": "RUNNER_EXECUTOR", "value": "kubernetes"},
        ],
        "ports": [{"name": "metrics", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {},
    }


# ---- the pods


def _manager(cluster: ClusterState, node: str, number: int, image: str, *, template: str) -> Raw:
    suffix = hashlib.sha256(f"{template}{number}".encode()).hexdigest()[:5]
    item = pod(NAMESPACE, f"{RELEASE}-{template}-{suffix}", node=node, image=image, owner="ReplicaSet")
    started = timestamps.ago(days=_DAYS)
    item["metadata"] |= {
        "creationTimestamp": started,
        "generateName": f"{RELEASE}-{template}-",
        "labels": _LABELS | {"pod-template-hash": template},
    }
    item["spec"]["containers"][0] |= {"name": RELEASE, "ports": [{"containerPort": PORT, "protocol": "TCP"}]}
    item["spec"] |= {"serviceAccountName": RELEASE, "serviceAccount": RELEASE, "terminationGracePeriodSeconds": 3600}
    item["status"]["startTime"] = started
    item["status"]["containerStatuses"][0] |= {"name": RELEASE, "state": {"running": {"startedAt": started}}}
    host = cluster.node(node)
    taken = sum(1 for other in cluster.each("pods") if other["spec"].get("nodeName") == node)
    own = f"{host['spec']['podCIDR'].rsplit('.', 1)[0]}.{taken + 102}"
    item["status"] |= {"hostIP": host["status"]["addresses"][0]["address"], "podIP": own, "podIPs": [{"ip": own}]}
    return item


def _crash_loop(item: Raw, code: int, reason: str, *, restarts: int) -> None:
    """Put the container into CrashLoopBackOff."""
    name = item["metadata"]["name"]
    status = item["status"]["containerStatuses"][0]
    end = {"exitCode": code, "reason": reason, "startedAt": timestamps.ago(seconds=210)}
    end |= {"finishedAt": timestamps.ago(seconds=48), "containerID": status["containerID"]}
    message = f"back-off 2m40s restarting failed container={RELEASE} pod={name}_{NAMESPACE}({_uid(name)})"
    status |= {"ready": False, "started": False, "restartCount": restarts, "lastState": {"terminated": end}}
    status["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    _unready(item)


def _begin(item: Raw) -> None:
    """Let the pod have begun a moment ago: it runs, and its readiness probe has not been tried yet."""
    began = timestamps.ago(seconds=9)
    item["metadata"]["creationTimestamp"] = item["status"]["startTime"] = began
    status = item["status"]["containerStatuses"][0]
    status |= {"ready": False, "started": True, "state": {"running": {"startedAt": began}}}
    _unready(item)


def _restart(item: Raw, *, ago: float, times: int = 1) -> None:
    """Restart the container so many seconds ago, because its liveness probe failed; it has been ready since.

    The first time it had run since its beginning, later for 90 s: the probe begins after 60 s and fails three times.
    """
    status = item["status"]["containerStatuses"][0]
    began = status["state"]["running"]["startedAt"] if times == 1 else timestamps.ago(seconds=ago + 90)
    end = {"exitCode": 143, "reason": "Error", "startedAt": began}
    end |= {"finishedAt": timestamps.ago(seconds=ago), "containerID": status["containerID"]}
    status |= {"restartCount": times, "lastState": {"terminated": end}}
    status["state"] = {"running": {"startedAt": timestamps.ago(seconds=ago - 1)}}


def _fail_image_pull(item: Raw) -> None:
    """Put the container of a pod that is 20 minutes old into ImagePullBackOff."""
    item["metadata"]["creationTimestamp"] = item["status"]["startTime"] = timestamps.ago(seconds=1200)
    status = item["status"]["containerStatuses"][0]
    status |= {"ready": False, "started": False, "restartCount": 0, "imageID": ""}
    status["image"] = status["image"].replace("v18.3.0", "v18.3.9")
    item["spec"]["containers"][0]["image"] = status["image"]
    message = f'Back-off pulling image "{status["image"]}"'
    status["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
    status.pop("containerID", None)
    item["status"]["phase"] = "Pending"
    _unready(item)


def _unready(item: Raw) -> None:
    for condition in item["status"]["conditions"]:
        if condition["type"] in {"Ready", "ContainersReady"}:
            message = f"containers with unready status: [{RELEASE}]"
            condition |= {"status": "False", "reason": "ContainersNotReady", "message": message}


# ---- their logs, in the log format "runner": padded, with ANSI colours


def _manager_log(image: str, tree: Mapping[str, Any], number: int, *, refused: bool, days: float) -> Log:
    version = image.rpartition("-v")[2] if "-v" in image else image.rpartition(":")[2].lstrip("v")
    identity = hashlib.sha256(f"system{number}".encode()).hexdigest()[:12]
    runner = "runner\x1b[0;m=" + str(tree.get("runnerToken", "")).removeprefix("glrt-")[:9]
    max_builds = f"max_builds\x1b[0;m={tree.get('concurrent', 10)}"
    lines = [
        "Registration attempt 1 of 30",
        _info("Runtime platform", "arch=amd64", "os=linux", "pid=17", "revision=9ba718cd", f"version={version}"),
        "\x1b[0;33mWARNING: Running in user-mode.                     \x1b[0;m ",
        _info("Created missing unique system ID", f"system_id=r_{identity}"),
        _info('Merging configuration from template file "/configmaps/config.template.toml" '),
    ]
    if refused:
        lines += [
            _info("Verifying runner... is not valid", "correlation_id=01K3DZ7W5QKX7N8M2Y4R6T9B1C", plain=runner),
            "\x1b[31;1mPANIC: Failed to verify the runner.               \x1b[0;m ",
            "Registration attempt 2 of 30",
            _info("Verifying runner... is not valid", "correlation_id=01K3DZ8B2FJH6V9D0S3A5P7E4G", plain=runner),
            "\x1b[31;1mPANIC: Failed to verify the runner.               \x1b[0;m ",
        ]
    else:
        lines += [
            _info("Verifying runner... is valid", "correlation_id=01K3DZ7W5QKX7N8M2Y4R6T9B1C", plain=runner),
            _info(
                "Runner registered successfully. Feel free to start it, but if it's running already the config "
                "should be automatically reloaded!"
            ),
            _info(f'Configuration (with the authentication token) was saved in "{_HOME}/config.toml" '),
            _info("Runtime platform", "arch=amd64", "os=linux", "pid=7", "revision=9ba718cd", f"version={version}"),
            _info(f"Starting multi-runner from {_HOME}/config.toml...", "builds=0", plain="max_builds\x1b[0;m=0"),
            _info("Configuration loaded", "builds=0", plain=max_builds),
            _info("Metrics server listening", "address=:9252", "builds=0", plain=max_builds),
            _info(
                "[session_server].listen_address not defined, session endpoints disabled", "builds=0", plain=max_builds
            ),
            _info("Initializing executor providers", "builds=0", plain=max_builds),
            _info("Checking for jobs...\x1b[0;m received", "job=4698", "repo_url=http://192.168.1.50/apps/shop.git"),
        ]
    began = datetime.now(UTC) - timedelta(days=days)
    log = Log(ended=refused)
    for index, line in enumerate(lines):
        log.lines.append((began + timedelta(seconds=0.7 * index), line.encode() + b"\n"))
    return log


def _complain(log: Log, *, ago: float) -> None:
    """Log three polls that failed, so many seconds ago; those that succeed since leave no line."""
    line = _info(
        "\x1b[0;33mWARNING: Checking for jobs... failed", "status=couldn't execute POST against http://192.168.1.50/"
    )
    for index in range(3):
        moment = datetime.now(UTC) - timedelta(seconds=ago - 3 * index)
        log.lines.append((moment, line.encode() + b"\n"))


def _info(message: str, *pairs: str, plain: str = "") -> str:
    coloured = [pair.replace("=", "\x1b[0;m=", 1) for pair in pairs]
    return f"{message:<52}\x1b[0;m  " + " ".join([*coloured, *([plain] if plain else [])])


def _config_toml(tree: Mapping[str, Any], number: int, *, old: bool) -> str:
    """The config.toml that ``register`` writes from the template and the chart's globals."""
    text = _rendered(tree)
    if old:
        text = text.replace('["10.0.0.2", "10.1.0.251", "10.1.0.252"]', '["10.0.0.2"]')
    registration = {
        "name": f"{RELEASE}-{number}",
        "url": str(tree.get("gitlabUrl", "")),
        "id": 12,
        "token": str(tree.get("runnerToken", "")),
        "token_obtained_at": datetime(2025, 9, 14, 8, 12, 44, tzinfo=UTC),
        "token_expires_at": datetime(1, 1, 1, tzinfo=UTC),
        "executor": "kubernetes",
    }
    return f"{_globals(tree)}{configuration.saved(text, registration)}"


# ---- parts


def _image(tree: Mapping[str, Any]) -> str:
    image = tree.get("image")
    image = image if isinstance(image, dict) else {}  # a text, which Helm refuses
    registry = image.get("registry", "registry.gitlab.com")
    return (
        f"{registry}/{image.get('image', 'gitlab-org/gitlab-runner')}:{image.get('tag', f'alpine-v{RUNNER_VERSION}')}"
    )


def _globals(tree: Mapping[str, Any]) -> str:
    listen = f'listen_address = ":{PORT}"\n' if (tree.get("metrics") or {}).get("enabled") else ""
    concurrent = tree.get("concurrent", 10)
    return f'shutdown_timeout = 0\nconcurrent = {concurrent}\ncheck_interval = 3\nlog_level = "info"\n{listen}'


def _object(kind: str, name: str, **body: Any) -> Raw:
    metadata = {"name": name, "namespace": NAMESPACE, "creationTimestamp": timestamps.ago(days=_DAYS)}
    labels = {} if name.startswith("sh.helm") else {"labels": dict(_LABELS)}
    return {"kind": kind, "metadata": metadata | labels, **body}


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        tree = tree.setdefault(part, {})
    tree[last] = value


def _uid(seed: str) -> str:
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"

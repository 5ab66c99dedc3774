"""What a pod's status and its events say: how far its containers are, and the same in a line for a person. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from preflight.jobshape import BESIDE, BUILD, PULLED
from preflight.probes.pod_messages import PULL_REASONS, START_ENDS, START_REASONS, state_of

Json = dict[str, Any]

_LISTED_AT_MOST = 50  # images that a kubelet lists (nodeStatusMaxImages)


# --- whether it is worth waiting any longer -------------------------------------------------------------------------


def all_settled(pod: Json) -> bool:
    """Whether every container of ours has ended or can't begin; those that others inject run as long as they like."""
    if _has_ended(pod):
        return True
    ours = [name for name in _container_names(pod) if name == BUILD or name.startswith(PULLED)]
    return all(is_settled(state_of(pod, name)) for name in ours)


def runs_or_settled(pod: Json) -> bool:
    """Whether the container ``build`` runs, or nothing comes of it any more."""
    return "running" in state_of(pod, BUILD) or all_settled(pod)


def client_or_daemon_settled(pod: Json) -> bool:
    """Whether the client has ended, or waits in vain because its daemon has ended or can't begin."""
    if _has_ended(pod):
        return True
    aliases = {name for alias in pod["spec"].get("hostAliases") or () for name in alias.get("hostnames") or ()}
    daemons = [name for name in _container_names(pod) if name in aliases or name.startswith("svc-")]
    return any(is_settled(state_of(pod, name)) for name in (BUILD, *daemons))


def _has_ended(pod: Json) -> bool:
    """Whether the pod is over, or an init container's image can't be pulled."""
    status = pod.get("status", {})
    waiting = [(item.get("state") or {}).get("waiting", {}) for item in status.get("initContainerStatuses") or ()]
    return status.get("phase") in {"Succeeded", "Failed"} or any(w.get("reason") in PULL_REASONS for w in waiting)


def _container_names(pod: Json) -> list[str]:
    return [str(container["name"]) for container in pod.get("spec", {}).get("containers") or ()]


def is_settled(state: Json) -> bool:
    """Whether a container has ended, or its image can't be pulled."""
    return "terminated" in state or state.get("waiting", {}).get("reason") in PULL_REASONS


def has_started(state: Json) -> bool:
    """Whether a container runs or has run."""
    return bool({"running", "terminated"} & set(state))


def waits_for(pod: Json, reasons: Collection[str]) -> bool:
    """Whether a container of the pod waits for one of these reasons; services of the values are judged at the end."""
    return any(
        (item.get("state") or {}).get("waiting", {}).get("reason") in reasons
        for item in pod.get("status", {}).get("containerStatuses") or ()
        if not str(item.get("name", "")).startswith(BESIDE)
    )


def not_started(pod: Json) -> Iterator[str]:
    """Why services of the values did not start, a sentence each."""
    images = {each.get("name"): each.get("image") for each in pod.get("spec", {}).get("containers") or ()}
    for item in pod.get("status", {}).get("containerStatuses") or ():
        name, state = str(item.get("name", "")), item.get("state") or {}
        waiting, ended = state.get("waiting", {}), state.get("terminated", {})
        stopped = waiting if waiting.get("reason") in START_REASONS else ended
        if name.startswith(BESIDE) and stopped.get("reason") in START_REASONS | START_ENDS:
            yield f"the service {images.get(name)} does not start: {stopped['reason']}: {stopped.get('message', '')}"


def unscheduled(pod: Json) -> str:
    """The scheduler's message while it finds no node; empty otherwise."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "no node was found")
    return ""


# --- in a line ------------------------------------------------------------------------------------------------------


def describe_state(state: Json) -> str:
    """A container's state as a person would say it."""
    if terminated := state.get("terminated"):
        return f"exited {terminated.get('exitCode')}"
    if waiting := state.get("waiting"):
        return f"waiting: {waiting.get('reason')}"
    return "running" if "running" in state else ""


def summarize(pod: Json) -> str:
    """Phase, containers and the scheduler's message in one line."""
    parts = [str(pod.get("status", {}).get("phase", ""))]
    parts += [f"{name} {describe_state(state_of(pod, name)) or 'not created'}" for name in _container_names(pod)]
    return ", ".join(filter(None, [*parts, unscheduled(pod)]))


def event_line(event: Json) -> str:
    """An event as ``kubectl get events`` prints it."""
    subject = event.get("involvedObject", {})
    kind, name = str(subject.get("kind", "")).lower(), subject.get("name", "")
    return f"{event.get('type')}  {event.get('reason')}  {kind}/{name}  {event.get('message')}"


# --- images ---------------------------------------------------------------------------------------------------------


def image_in(event: Json) -> str:
    """The image that a kubelet's event is about."""
    match = re.search(r'"([^"]*)"', str(event.get("message", "")))
    return match[1] if match else "the image"


def is_fresh(image: str, images: Collection[str]) -> bool | None:
    """Whether a node that lists `images` does not have the image; None if its list may have been cut."""
    full = image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"
    host = full.partition("/")[0]
    if "/" not in full:
        full = f"docker.io/library/{full}"
    elif "." not in host and ":" not in host and host != "localhost":
        full = f"docker.io/{full}"
    if {image, full} & set(images):
        return False
    return None if len(images) >= _LISTED_AT_MOST else True

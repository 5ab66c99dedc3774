"""2.4 Who reaches GitLab: each worker, and a job's pod on each; and the host that jobs clone from."""

from __future__ import annotations

from urllib.parse import urlsplit

from preflight.evidence import NotApplicable
from preflight.fact import fact
from preflight.facts.blocking import (
    block_if_no_resolver_knows,
    block_if_packets_are_lost,
    block_if_same_fault,
    block_if_search_list_misleads,
    gitlab_fact,
    require_read,
)
from preflight.facts.probe_plan import (
    clone_url_of,
)
from preflight.facts.references import Ref
from preflight.inventory import Inventory
from preflight.probes import transcript
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.latency import GITLAB, RoundTrips
from preflight.probes.transcript import FoundNames, Report
from preflight.values import Values


@fact(
    optional=("gitlab_reply", "node_reply", "pod_gitlab", "here_lookups", "pod_names"),
    fan_in={"here_lookups": "resolver"},
)
def pod_clone(
    worker: str,
    pod_report: Report,
    gitlab_reply: GitLabReply | None,
    node_reply: GitLabReply | None,
    pod_gitlab: GitLabReply | None,
    here_lookups: tuple[Lookups, ...],
    pod_names: FoundNames | None,
    helm_values: Values,
    inventory: Inventory,
) -> GitLabReply:
    """GitLab's clone host, from a job's pod on a worker."""
    require_read(helm_values, "runners.clone_url")
    url = clone_url_of(helm_values, inventory)
    if url is None:
        reason = "jobs clone from gitlabUrl itself: neither external_url nor clone_url names another host"
        raise NotApplicable(reason)
    reply = transcript.gitlab_reply(pod_report, url)
    block_if_same_fault(reply, gitlab_reply, gitlab_fact(gitlab_reply), {})
    block_if_same_fault(reply, node_reply, Ref.NODE_GITLAB, {"worker": worker})
    block_if_same_fault(reply, pod_gitlab, Ref.POD_GITLAB, {"worker": worker})
    block_if_no_resolver_knows(reply, urlsplit(url).netloc, here_lookups)
    block_if_search_list_misleads(reply, pod_names)
    return reply


@fact(optional=("gitlab_reply", "node_reply", "pod_losses"))
def pod_gitlab(
    worker: str,
    pod_report: Report,
    gitlab_reply: GitLabReply | None,
    node_reply: GitLabReply | None,
    pod_losses: RoundTrips | None,
    inventory: Inventory,
) -> GitLabReply:
    """GitLab's answer to a job's pod on a worker."""
    reply = transcript.gitlab_reply(pod_report, inventory.gitlab.url)
    block_if_same_fault(reply, gitlab_reply, gitlab_fact(gitlab_reply), {})
    block_if_packets_are_lost(reply, pod_losses, Ref.POD_LOSSES, worker, GITLAB)
    block_if_same_fault(reply, node_reply, Ref.NODE_GITLAB, {"worker": worker})
    return reply


@fact(reported_by=("node_gitlab",))
def node_reply(node_report: Report, inventory: Inventory) -> GitLabReply:
    """GitLab's answer to a worker, faulty or not."""
    return transcript.gitlab_reply(node_report, inventory.gitlab.url)


@fact(tolerates=("node_reply",), optional=("gitlab_reply", "node_losses"))
def node_gitlab(
    worker: str, node_reply: GitLabReply, gitlab_reply: GitLabReply | None, node_losses: RoundTrips | None
) -> GitLabReply:
    """GitLab's answer to a worker."""
    block_if_same_fault(node_reply, gitlab_reply, gitlab_fact(gitlab_reply), {})
    block_if_packets_are_lost(node_reply, node_losses, Ref.NODE_LOSSES, worker, GITLAB)
    return node_reply

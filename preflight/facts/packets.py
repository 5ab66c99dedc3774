"""2.4 Packets of full size: a whole page of GitLab's, requested by each worker and by a job's pod on each."""

from __future__ import annotations

from preflight.fact import fact
from preflight.facts.blocking import (
    block_if_packets_are_lost,
    block_if_same_fault,
)
from preflight.facts.probe_plan import (
    page_of,
)
from preflight.facts.references import Ref
from preflight.inventory import Inventory
from preflight.probes import transcript
from preflight.probes.gitlab import GitLabReply
from preflight.probes.latency import GITLAB, RoundTrips
from preflight.probes.transcript import Report


@fact(after=("pod_gitlab",), optional=("node_page", "pod_losses"))
def pod_page(
    worker: str,
    pod_report: Report,
    node_page: GitLabReply | None,
    pod_losses: RoundTrips | None,
    inventory: Inventory,
) -> GitLabReply:
    """A whole page of GitLab's, received by a job's pod on a worker."""
    page = transcript.whole_page(pod_report, page_of(inventory))
    block_if_packets_are_lost(page, pod_losses, Ref.POD_LOSSES, worker, GITLAB)
    block_if_same_fault(page, node_page, Ref.NODE_PAGE, {"worker": worker})
    return page


@fact(after=("node_gitlab",), optional=("node_losses",))
def node_page(worker: str, node_report: Report, node_losses: RoundTrips | None, inventory: Inventory) -> GitLabReply:
    """A whole page of GitLab's, received by a worker."""
    page = transcript.whole_page(node_report, page_of(inventory))
    block_if_packets_are_lost(page, node_losses, Ref.NODE_LOSSES, worker, GITLAB)
    return page

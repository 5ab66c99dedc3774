"""2.4 Packets of full size: a whole page of GitLab's, to each worker and to a job's pod on each."""

from __future__ import annotations

from preflight.fact import fact
from preflight.facts.blocking import (
    block_if_same_fault,
)
from preflight.facts.probe_plan import (
    page_of,
)
from preflight.facts.references import Ref
from preflight.inventory import Inventory
from preflight.probes import transcript
from preflight.probes.gitlab import GitLabReply
from preflight.probes.transcript import Report


@fact(after=("pod_gitlab",), optional=("node_page",))
def pod_page(worker: str, pod_report: Report, node_page: GitLabReply | None, inventory: Inventory) -> GitLabReply:
    """A whole page of GitLab's, as it comes to a job's pod on a worker."""
    found = transcript.whole_page(pod_report, page_of(inventory))
    block_if_same_fault(found, node_page, Ref.NODE_PAGE, {"worker": worker})
    return found


@fact(after=("node_gitlab",))
def node_page(node_report: Report, inventory: Inventory) -> GitLabReply:
    """A whole page of GitLab's, as it comes to a worker."""
    return transcript.whole_page(node_report, page_of(inventory))

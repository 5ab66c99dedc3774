"""What a refused, failed or broken request to the Kubernetes API means: a fault, and the right that is missing."""

from __future__ import annotations

import re

from preflight.clients.connect import fault_of
from preflight.evidence import Evidence, PreflightError, Unmeasured
from preflight.faults import ApiFault, Fault, PathFault, StreamFault


class ApiError(PreflightError):
    """The API server's refusal, or the reason why it could not be asked.

    Attributes:
        fault: an `ApiFault` for a response, a `PathFault` if there was none, a `StreamFault` for exec and attach.
        status: the HTTP status, or None.
        reason: the Status object's reason, such as ``Forbidden``.
        message: the server's own message.
        command: a kubectl command that shows the same.
        rule: for a missing right, the RBAC rule that grants it, as YAML with a comment on where it belongs.
        took: seconds.
    """

    def __init__(
        self,
        fault: ApiFault | PathFault | StreamFault,
        *,
        status: int | None,
        reason: str,
        message: str,
        command: str,
        rule: str = "",
        took: float = 0.0,
    ) -> None:
        self.fault, self.status, self.reason, self.command = fault, status, reason, command
        self.message, self.rule, self.took = message, rule, took
        super().__init__(f"{status} {reason}: {message}" if status else message)

    @property
    def evidence(self) -> Evidence:
        """The request that failed and what came back."""
        return Evidence(where="here", command=self.command, observed=str(self), took=self.took)


def unmeasured(error: ApiError) -> Unmeasured:
    """The same error as a reason why something could not be measured."""
    if error.rule:
        return Unmeasured(
            f"the API server refused: {error.message}", needs=error.rule, fault=error.fault, evidence=error.evidence
        )
    return Unmeasured(
        f"the API server could not be asked: {error.message}",
        needs=_NEEDS.get(error.fault, ""),
        fault=error.fault,
        evidence=error.evidence,
    )


_NEEDS: dict[Fault, str] = {
    ApiFault.UNAUTHORIZED: "credentials in the kubeconfig that the API server accepts (cluster.kubeconfig, context)",
    ApiFault.CONTEXT: "a kubeconfig and context that can be used (cluster.kubeconfig, context)",
    ApiFault.TOO_MANY_REQUESTS: "an API server that is less busy, or a longer deadline",
}


# --- responses ------------------------------------------------------------------------------------------------------

_STATUS_FAULTS: dict[int, ApiFault] = {
    401: ApiFault.UNAUTHORIZED,
    403: ApiFault.FORBIDDEN,
    404: ApiFault.NOT_FOUND,
    409: ApiFault.CONFLICT,
    422: ApiFault.INVALID,
    429: ApiFault.TOO_MANY_REQUESTS,
    503: ApiFault.UNAVAILABLE,
}
_SERVER_ERROR = 500


def classify_status(status: int) -> ApiFault:
    """The fault of an HTTP status that is not the one asked for."""
    return _STATUS_FAULTS.get(status, ApiFault.SERVER_ERROR if status >= _SERVER_ERROR else ApiFault.INVALID)


def classify_upgrade(status: int, reason: str, message: str) -> ApiFault | StreamFault:
    """The fault of a refused WebSocket upgrade: how far the request got towards the container.

    The API server refuses in Status objects, which have a reason; a refusal without one came from a proxy or load
    balancer in front of it. The kubelet's own messages are passed on as they are.
    """
    if "error dialing backend" in message or _NO_KUBELET.search(message):
        return StreamFault.KUBELET_UNREACHABLE
    if _NO_CONTAINER.search(message):
        return StreamFault.NOT_STARTED
    if (not reason or "pgrade request required" in message) and status not in {401, 403}:
        return StreamFault.NO_UPGRADE
    return classify_status(status)


_NO_CONTAINER = re.compile(r"^container (not found \(|\S+ not found in pod )")
_NO_KUBELET = re.compile(r"dial tcp \S+:\d+: |No agent available|proxy error from ")


# --- no response, or half of one ------------------------------------------------------------------------------------


class ResponseTooLong(OSError):
    """The response is longer than any page of a list can be."""


class ResponseTooSlow(OSError):
    """The end of the response did not come in time, although bytes kept dripping in."""


def classify_exception(error: BaseException) -> PathFault | ApiFault:
    """The fault of a request that failed; a response that began and did not end is not the network path's fault.

    Raises:
        BaseException: `error` itself, when it says nothing about the network: then the mistake is ours.
    """
    from urllib3.exceptions import IncompleteRead, InvalidChunkLength

    parts = (error, *error.args)
    if any(isinstance(part, (IncompleteRead, InvalidChunkLength, ResponseTooLong)) for part in parts):
        return ApiFault.GARBLED
    return PathFault.SILENT if isinstance(error, ResponseTooSlow) else fault_of(error)

"""What a run makes in the cluster, and its removal: always its own objects, by the run's label, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from preflight.evidence import PreflightError
from preflight.probes import pods
from preflight.probes.kubernetes import Api


class LeftBehind(PreflightError):
    """Something of ours could not be removed in time; the cluster does it when its time to live is over."""


@dataclass(frozen=True)
class OwnObjects:
    """Jobs and pods of one run.

    Attributes:
        api: the client.
        namespace: where they are.
        run_id: their label `preflight.gitlab-runner/run`.
        deadline: seconds that their removal may take.
    """

    api: Api
    namespace: str
    run_id: str
    deadline: float

    def sweep(self) -> None:
        """Remove all of them.

        Raises:
            LeftBehind: some are still there.
        """
        left = pods.sweep(self.api, self.namespace, self.run_id, deadline=self.deadline)
        if left:
            message = (
                f"still in namespace {self.namespace}: {', '.join(left)}; kubectl -n {self.namespace} get jobs,pods"
            )
            raise LeftBehind(message)

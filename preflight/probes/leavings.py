"""What a run makes in the cluster, and its removal: always its own objects, by the run's label, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from preflight.evidence import PreflightError
from preflight.probes import pods
from preflight.probes.kubernetes import Api
from preflight.stopping import Stopping


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
        stopping: of the run; its end comes before the removal, so that nothing is made after it.
    """

    api: Api
    namespace: str
    run_id: str
    deadline: float
    stopping: Stopping

    def sweep(self) -> None:
        """Remove all of them.

        Raises:
            LeftBehind: some are still there.
        """
        settled = self.stopping.settled(within=self.deadline / 2)
        hurry = self.stopping.hurry
        left = pods.sweep(self.api, self.namespace, self.run_id, deadline=self.deadline, hurry=hurry)
        if not settled and self.stopping.settled(within=0.0):  # what was being made came in between
            left = pods.sweep(self.api, self.namespace, self.run_id, deadline=self.deadline, hurry=hurry)
        if left:
            message = (
                f"still in namespace {self.namespace}: {', '.join(left)}; kubectl -n {self.namespace} get jobs,pods"
            )
            raise LeftBehind(message)

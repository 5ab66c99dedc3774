"""What all measurements of one run share: the environment, where to connect, what the run is allowed to do."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preflight.clients.connect import Routes
from preflight.evidence import FactName, Key, clean
from preflight.inventory import Inventory
from preflight.shutdown import Shutdown

_SLOW_PULL = 30.0  # seconds


class Stage(enum.StrEnum):
    """Where in the release's life a run stands; it decides what is expected to be installed."""

    AUTO = "auto"  # whatever is installed is judged
    INSTALL = "install"  # before `helm install`: nothing is installed yet
    UPGRADE = "upgrade"  # before `helm upgrade`: a release is installed, and may differ from the one to come
    UNINSTALLED = "uninstalled"  # after `helm uninstall`: nothing is left


@dataclass(frozen=True, slots=True)
class Probed:
    """The workers that get a pod.

    Attributes:
        workers: their names.
        measured: how many are measured one by one and could get one.
        eligible: how many could, with those that are judged together.
        unlike: one node of each kind of which no node gets one.
    """

    workers: tuple[str, ...]
    measured: int
    eligible: int
    unlike: tuple[str, ...] = ()


@dataclass
class Run:
    """What all measurements of one run share.

    Attributes:
        inventory: the environment.
        routes: where to connect instead of the inventory's addresses.
        id: label of everything that this run makes in the cluster.
        all_nodes: probe every eligible node, however many there are.
        planned: every measurement that the selected checks need, directly or not; scripts and pods measure no others.
        stage: where in the release's life the run stands.
        own_job: GitLab's id of the CI job that this run is a part of, or "".
        own_host: the name of the machine or pod that this run is on.
        backup: folder to write the release's backup to; None for no backup.
        shutdown: set when the run is over or ends early; long waits poll it, and nothing is created once it is set.
        status: what each measurement is waiting for, by its name.
        probed: the workers that get a pod, by the most that may and their jobs' shape (its `id`).
        cut_off: hosts that a worker was seen not to reach, by the worker's name: nothing waits long for them there.
        silent_resolvers: those that answered a worker, or a pod on it, nothing at all, by the worker's name.
        slow_registries: the hosts of those that deliver so slowly that nothing waits long for their images.
        moot: whether all that takes a measurement is blocked already, so that its result changes nothing any more; set
            by the survey.
    """

    inventory: Inventory
    routes: Routes
    id: str
    all_nodes: bool = False
    stage: Stage = Stage.AUTO
    own_job: str = ""
    own_host: str = ""
    backup: Path | None = None
    planned: set[Key] = field(default_factory=set)
    shutdown: Shutdown = field(default_factory=Shutdown)
    status: dict[str, str] = field(default_factory=dict)
    cut_off: dict[str, frozenset[str]] = field(default_factory=dict)
    silent_resolvers: dict[str, frozenset[str]] = field(default_factory=dict)
    slow_registries: set[str] = field(default_factory=set)
    probed: dict[tuple[int | None, int], Probed] = field(default_factory=dict, repr=False)
    moot: Callable[[str, Mapping[str, str]], bool] = field(default=lambda _name, _targets: False, repr=False)
    _index: set[tuple[str, frozenset[tuple[str, str]]]] = field(default_factory=set, init=False, repr=False)
    _indexed: int = field(default=-1, init=False, repr=False)

    def plans(self, name: FactName, **targets: str) -> bool:
        """Whether some measurement of this fact, for these targets, is planned."""
        if self._indexed != len(self.planned):
            self._index = {
                (fact, frozenset(chosen))
                for fact, planned in self.planned
                for size in range(len(planned) + 1)
                for chosen in itertools.combinations(planned, size)
            }
            self._indexed = len(self.planned)
        return (name, frozenset(targets.items())) in self._index

    def note_cut_off(self, worker: str, host: str) -> None:
        """Note that a worker does not reach a host."""
        self.cut_off[worker] = self.cut_off.get(worker, frozenset()) | {host}

    def note_silent(self, worker: str, resolver: str) -> None:
        """Note that a resolver does not answer a worker, or a pod on it."""
        self.silent_resolvers[worker] = self.silent_resolvers.get(worker, frozenset()) | {resolver}

    @property
    def slow_pull(self) -> float:
        """Seconds that a pull from a slow registry is waited for: a tenth of what others may take, at most 30."""
        return min(_SLOW_PULL, self.inventory.deadlines.pull / 10)

    def pull_limit(self, host: str) -> float:
        """Seconds that a pull from this registry may take."""
        return self.slow_pull if host in self.slow_registries else self.inventory.deadlines.pull

    def say(self, who: str, text: str) -> None:
        """Note what a measurement is waiting for, for the live line and for its own deadline's message."""
        self.status[who] = clean(text, longest=200)

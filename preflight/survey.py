"""Measure every needed fact once, early and in the background; hand each result to the checks that take it.

Facts are declared with preflight/fact.py. A check takes a fact by the pytest fixture of its name, which only joins. The
`Survey` starts a measurement when everything that it depends on has been measured, so that no worker thread ever waits
for another, and a single thread is enough.
"""

from __future__ import annotations

import inspect
import os
import queue
import threading
import time
import traceback
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from preflight.evidence import Blocked, Fact, Key, NotApplicable, PreflightError, Unmeasured, clean, key_of
from preflight.fact import CATALOGUE, TARGETS, Effect, FactSpec, Targets
from preflight.run import Run
from preflight.shutdown import POLL

GRACE = 2.0  # seconds beyond its own deadline after which a measurement is given up
EXPEDITED = 4.0  # seconds that cleaning may still take once it is expedited
_POLL = 0.1
_SOON = 0.01
_ROOM = "a higher limit of processes (`ulimit -u`, or the container's pids) or of memory"
_LEFT_TO_THE_CLUSTER = "the cluster itself removes what is left when its time to live is over"


def fixtures() -> types.ModuleType:
    """A pytest fixture of each fact, which hands its result to checks; to be registered as a plugin."""
    plugin = types.ModuleType("preflight.fixtures")
    for name, spec in CATALOGUE.items():
        setattr(plugin, name, _fixture(spec))
    return plugin


def _fixture(spec: FactSpec[Any]) -> Any:
    def join(request: pytest.FixtureRequest, **chosen: str) -> Any:
        return request.config.stash[SURVEY].join(spec.name, chosen)

    # pytest parametrises by the fixture's signature, so it must show the inherited targets too.
    kinds = [inspect.Parameter(kind, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in ("request", *spec.targets)]
    join.__signature__ = inspect.Signature(kinds)  # type: ignore[attr-defined]
    join.__name__, join.__doc__ = spec.name, spec.function.__doc__
    return pytest.fixture(join)


class Measurement:
    """One fact of one set of targets: waiting, running or done."""

    __slots__ = (
        "done",
        "ended",
        "error",
        "followers",
        "generator",
        "needs",
        "spec",
        "started",
        "targets",
        "took",
        "users",
        "value",
        "waiting",
    )

    def __init__(self, spec: FactSpec[Any], targets: Targets) -> None:
        self.spec, self.targets = spec, dict(targets)
        self.needs: dict[str, Measurement | tuple[Measurement, ...] | None] = {}
        self.followers: list[Measurement] = []
        self.waiting = 0
        self.users = 0  # followers that are not measured yet
        self.done = threading.Event()
        self.value: Any = None
        self.error: PreflightError | None = None
        self.generator: Iterator[Any] | None = None
        self.started: float | None = None
        self.ended = False  # whether its function returned, which that of an abandoned measurement may never do
        self.took = 0.0

    def __str__(self) -> str:
        return f"{self.spec.name}[{'-'.join(self.targets.values())}]" if self.targets else self.spec.name

    @property
    def writing(self) -> bool:
        """Whether it is still running and writes something that it removes itself."""
        return self.started is not None and not self.ended and self.spec.own_effect is Effect.WRITE

    @property
    def faulty(self) -> bool:
        """Whether it was measured and something is wrong."""
        return isinstance(self.value, Fact) and self.value.fault is not None


class Survey:
    """Runs measurements on daemon threads; `begin` what is needed, `start`, `join` each, `close` once.

    Args:
        run: shared by all measurements.
        workers: number of threads.
        at_once: most measurements of a group at the same time.
        ceiling: the strongest effect that an optional need may have.

    Attributes:
        on_wait: called a few times a second while a check waits in `join`.
        on_waited: called when it no longer waits, whatever the result.
    """

    def __init__(
        self,
        run: Run,
        *,
        workers: int = 16,
        at_once: Mapping[str, int] | None = None,
        ceiling: Effect = Effect.WRITE,
    ) -> None:
        self.run, self._workers, self._at_once, self._ceiling = run, workers, dict(at_once or {}), ceiling
        self.measurements: dict[Key, Measurement] = {}
        self._ready: queue.SimpleQueue[Measurement | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._running: dict[str, int] = {}
        self._held: dict[str, deque[Measurement]] = {}
        self._threads: list[threading.Thread] = []
        self._deadline = float("inf")
        self._process = os.getpid()
        self._opened: list[Measurement] = []
        self._problems: list[str] = []
        self._ending: set[Measurement] = set()
        self._secret: list[Measurement] = []
        self._unfinished: list[Measurement] = []
        self.on_wait: Callable[[], None] = _nothing
        self.on_waited: Callable[[], None] = _nothing
        run.moot = self._is_moot

    # ---- before the first check

    def begin(self, name: str, targets: Targets) -> Measurement:
        """Plan a measurement and all that it needs; each is planned once."""
        spec = CATALOGUE[name]
        chosen = {kind: targets[kind] for kind in spec.targets}
        key = key_of(name, chosen)
        if key in self.measurements:
            return self.measurements[key]
        planned = Measurement(spec, chosen)
        for need in spec.needs:
            if need in spec.optional and CATALOGUE[need].effect.rank > self._ceiling.rank:
                planned.needs[need] = () if need in spec.fan_in else None
            elif need in spec.fan_in:
                kind = spec.fan_in[need]
                all_targets = TARGETS[kind](self.run.inventory)
                planned.needs[need] = tuple(self.begin(need, {**chosen, kind: target}) for target in all_targets)
            elif need in spec.for_target:
                kind, select = spec.for_target[need]
                target = select(self.run.inventory, chosen)
                planned.needs[need] = None if target is None else self.begin(need, {**chosen, kind: target})
            else:
                planned.needs[need] = self.begin(need, chosen)
        self.measurements[key] = planned
        self.run.planned.add(key)
        return planned

    def start(self) -> None:
        """Begin to measure everything that is planned, on as many threads as can start.

        Raises:
            RuntimeError: not even one can.
        """
        self._deadline = time.monotonic() + self.run.inventory.deadlines.run
        for _ in range(min(self._workers, max(1, len(self.measurements)))):
            if not self._add_worker():
                break
        if not self._threads:
            raise RuntimeError(f"no thread can start: {_ROOM}")
        with self._lock:
            self._secret = [planned for planned in self.measurements.values() if planned.spec.secret]
            self._unfinished = list(self.measurements.values())
            for planned in self.measurements.values():
                for need in _flat(planned.needs.values()):
                    planned.waiting += 1
                    need.users += 1
                    need.followers.append(planned)
            for planned in list(self.measurements.values()):
                if planned.waiting == 0:
                    self._admit(planned)

    # ---- while checks run

    def join(self, name: str, targets: Targets) -> Any:
        """The result of a measurement.

        Raises:
            Unmeasured: it could not be measured.
            Blocked: what it needs is faulty or unmeasured.
            NotApplicable: there is nothing to measure.
        """
        if os.getpid() != self._process:  # its threads are not there
            raise Unmeasured("a plugin runs checks in another process than the one that measures", needs="its removal")
        spec = CATALOGUE[name]
        wanted = self.measurements[key_of(name, {kind: targets[kind] for kind in spec.targets})]
        try:
            for awaited in (*self._secret, wanted):
                while not awaited.done.wait(_POLL):
                    self._give_up_overdue()
                    self.on_wait()
        finally:
            self.on_waited()
        if wanted.error is not None:
            raise wanted.error
        return wanted.value

    def running(self) -> list[Measurement]:
        """What is being measured now, in the order in which it began."""
        with self._lock:
            begun = [
                measurement
                for measurement in self.measurements.values()
                if measurement.started is not None and not measurement.done.is_set()
            ]
        return sorted(begun, key=lambda measurement: measurement.started or 0.0)

    # ---- at the end

    def close(self, *, patience: float) -> list[str]:
        """Stop measuring and tear down in reverse; returns a sentence for each thing that went wrong. Never hangs.

        Args:
            patience: seconds to wait for measurements that write something (`Effect.WRITE`) to remove it.
        """
        self.run.shutdown.set()
        for _ in self._threads:
            self._ready.put(None)
        with self._lock:
            opened = list(reversed(self._opened))
        problems = self._problems
        # On a thread of its own, since a clean-up that hangs must not delay the end of the run.
        cleaner = threading.Thread(target=self._clean, args=(opened, patience, problems), name="cleaning", daemon=True)
        try:
            cleaner.start()
        except RuntimeError:  # no thread can start, for a limit of processes or of memory
            self._clean(opened, patience, problems)
            return list(dict.fromkeys(problems))
        limit = patience + GRACE + self.run.inventory.deadlines.clean * max(1, len(opened))
        end = time.monotonic() + limit
        while cleaner.is_alive() and time.monotonic() < end:
            cleaner.join(POLL)
            if self.run.shutdown.expedite.is_set():
                end = min(end, time.monotonic() + EXPEDITED)
                cleaner.join(max(0.0, end - time.monotonic()))
        if cleaner.is_alive():
            problems.append(f"cleaning up was abandoned: {_LEFT_TO_THE_CLUSTER}")
        return list(dict.fromkeys(problems))

    def _clean(self, opened: list[Measurement], patience: float, problems: list[str]) -> None:
        end = time.monotonic() + patience
        for measurement in list(self.measurements.values()):
            while measurement.writing and time.monotonic() < end and not self.run.shutdown.expedite.is_set():
                time.sleep(POLL)
        for measurement in opened:
            problems.extend(_tear_down(measurement))
        while self._ending:  # what a worker began to clean up; who waits for this thread, does so for a time
            time.sleep(_SOON)

    # ---- on the workers

    def _add_worker(self) -> bool:
        """Add a thread, if one can start."""
        thread = threading.Thread(target=self._work, name=f"survey-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._threads.append(thread)
        return True

    def _work(self) -> None:
        while (planned := self._ready.get()) is not None:
            if planned.done.is_set():
                self._end_use(planned)
            elif not self.run.shutdown.is_set():
                self._measure(planned)

    def _admit(self, planned: Measurement) -> None:
        """Queue a measurement whose needs are done, unless they forbid it or its group is full."""
        if planned.error is None:
            planned.error = _obstacle(planned)
        if planned.error is not None:
            self._finish(planned)
            return
        group = planned.spec.group
        if group is not None and self._running.get(group, 0) >= self._at_once.get(group, self._workers):
            self._held.setdefault(group, deque()).append(planned)
            return
        if group is not None:
            self._running[group] = self._running.get(group, 0) + 1
        self._ready.put(planned)

    def _measure(self, planned: Measurement) -> None:
        planned.started = time.monotonic()
        arguments = _arguments(planned, self.run)
        value: Any = None
        error: PreflightError | None = None
        try:
            result = planned.spec.function(**arguments)
            if inspect.isgenerator(result):
                value = next(result)
                planned.generator = result
                with self._lock:
                    self._opened.append(planned)
            else:
                value = result
        except PreflightError as known:
            error = known
        except Exception as unexpected:  # noqa: BLE001 - a crash of ours makes one fact unknown, and the rest goes on
            error = _crash(planned, unexpected)
        planned.ended = True
        with self._lock:
            if planned.done.is_set():  # abandoned in the meantime
                return
            planned.value, planned.error = value, error
            if not self._in_use(planned):
                self._release(planned)
            self._finish(planned)

    @staticmethod
    def _in_use(planned: Measurement) -> bool:
        """Whether what was measured stays open for others that take it, and keeps its place in the group."""
        return planned.spec.group is not None and planned.generator is not None and planned.users > 0

    def _end_use(self, planned: Measurement) -> None:
        """Clean up what nothing takes any more, and give its place to another; at the end, `close` cleans."""
        with self._lock:
            if self.run.shutdown.is_set():
                return
            self._opened.remove(planned)
            self._ending.add(planned)
        self._problems.extend(_tear_down(planned))
        with self._lock:
            self._ending.discard(planned)
            self._release(planned)

    def _release(self, planned: Measurement) -> None:
        group = planned.spec.group
        if group is None:
            return
        self._running[group] -= 1
        if self._held.get(group):
            following = self._held[group].popleft()
            self._running[group] += 1
            self._ready.put(following)

    def _finish(self, planned: Measurement) -> None:
        if planned.started is not None:
            planned.took = time.monotonic() - planned.started
        planned.done.set()
        for need in _flat(planned.needs.values()):
            need.users -= 1
            if need.users == 0 and need.spec.group is not None and need.generator is not None:
                self._ready.put(need)  # cleaning takes time, and this thread holds the lock
        for follower in planned.followers:
            follower.waiting -= 1
            if follower.waiting == 0 and not follower.done.is_set():
                self._admit(follower)

    def _is_moot(self, name: str, targets: Targets) -> bool:
        """Whether all that takes a measurement is blocked by something else already."""
        with self._lock:
            followers = self.measurements[key_of(name, targets)].followers
            return bool(followers) and all(
                follower.done.is_set() or _obstacle(follower) is not None for follower in followers
            )

    def _give_up_overdue(self) -> None:
        now = time.monotonic()
        run_over = now > self._deadline
        with self._lock:
            self._unfinished = [measurement for measurement in self._unfinished if not measurement.done.is_set()]
            for measurement in self._unfinished:
                if measurement.done.is_set():  # with another that it needs, just now
                    continue
                limit = measurement.spec.limit(self.run.inventory)
                if run_over:
                    reason = f"the run's deadline of {self.run.inventory.deadlines.run:g} s is over"
                    key = "deadlines.run"
                elif measurement.started is not None and now - measurement.started > limit + GRACE:
                    reason, key = f"no end after {limit:g} s", f"deadlines.{measurement.spec.deadline}"
                else:
                    continue
                last = self.run.status.get(str(measurement))
                measurement.error = Unmeasured(
                    f"{measurement.spec.title}: {reason}" + (f"; last seen: {last}" if last else ""),
                    needs=f"a larger `{key}` in the inventory, or the removal of what delays it",
                )
                if measurement.started is not None:
                    self._release(measurement)
                    self._add_worker()  # its thread may never return
                self._finish(measurement)
        if run_over:
            self.run.shutdown.set()  # no thread starts work that nothing waits for


def _nothing() -> None:
    pass


def _tear_down(opened: Measurement) -> list[str]:
    """Resume a generator after its ``yield``."""
    generator, opened.generator = opened.generator, None
    try:
        if generator is not None:
            next(generator, None)
    except Exception as error:  # noqa: BLE001 - a failed clean-up never hides an earlier result
        return [f"cleaning up after {opened}: {clean(str(error) or type(error).__name__)}"]
    return []


def _flat(needs: Any) -> Iterator[Measurement]:
    for need in needs:
        if isinstance(need, tuple):
            yield from need
        elif need is not None:
            yield need


def _obstacle(planned: Measurement) -> PreflightError | None:
    """Why a measurement can't be made, from what it needs; where there is nothing to measure, nothing blocks it."""
    obstacles: list[PreflightError] = []
    for name, need in planned.needs.items():
        if name in planned.spec.optional:
            continue
        members = tuple(_flat([need]))
        errors = [error for member in members if (error := _obstacle_in(planned, name, member)) is not None]
        # Of a family, one usable member is enough.
        if errors and len(errors) == len(members):
            obstacles.append(errors[0])
    return next((error for error in obstacles if isinstance(error, NotApplicable)), next(iter(obstacles), None))


def _obstacle_in(planned: Measurement, name: str, need: Measurement) -> PreflightError | None:
    if isinstance(need.error, Blocked):
        return need.error.propagated()
    if isinstance(need.error, NotApplicable):
        return need.error
    if isinstance(need.error, Unmeasured):
        if planned.spec.name in need.spec.reported_by:
            return need.error
        return Blocked(name, need.targets, need.error.reason, failed=False)
    if need.error is not None:
        return Blocked(name, need.targets, str(need.error), failed=False)
    if need.faulty and name not in planned.spec.tolerates | planned.spec.optional:
        return Blocked(name, need.targets, f"{need.value.fault}: {need.value.cause}", failed=True)
    return None


def _arguments(planned: Measurement, run: Run) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for name in planned.spec.parameters:
        if name in planned.needs:
            need = planned.needs[name]
            if isinstance(need, tuple):
                arguments[name] = tuple(member.value for member in need if _obstacle_in(planned, name, member) is None)
            else:
                arguments[name] = None if need is None or need.error is not None else need.value
        elif name in planned.targets:
            arguments[name] = planned.targets[name]
        else:
            arguments[name] = {"inventory": run.inventory, "run": run}[name]
    return arguments


def _crash(planned: Measurement, error: Exception) -> Unmeasured:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
    if isinstance(error, MemoryError) or "can't start new thread" in str(error):
        return Unmeasured(f"{planned.spec.title}: {error or 'no memory is left'}", needs=_ROOM)
    return Unmeasured(
        f"{planned.spec.title}: internal error in {place}: {type(error).__name__}: {error}",
        needs="a report of this line to the suite's authors",
    )


SURVEY = pytest.StashKey[Survey]()
"""Where a pytest run keeps its survey."""

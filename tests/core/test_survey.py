"""The survey measures each wanted fact once, in time, and says why what it could not measure was not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from preflight import survey as engine
from preflight.clients.connect import Routes
from preflight.evidence import Blocked, Evidence, Fact, NotApplicable, Unmeasured, key_of
from preflight.fact import CATALOGUE, Effect, fact
from preflight.facts.references import Ref
from preflight.faults import PathFault
from preflight.inventory import ClusterNode, Inventory
from preflight.run import Run
from preflight.survey import Survey

HERE = Evidence(where="here", command="true")


def a_fact(target: str = "x", fault: PathFault | None = None) -> Fact:
    return Fact(target=target, fault=fault, cause="it is so" if fault else "", evidence=HERE)


@pytest.fixture(autouse=True)
def catalogue() -> Iterator[None]:
    """Each test defines facts of its own."""
    before = CATALOGUE.copy()
    CATALOGUE.clear()
    yield
    CATALOGUE.clear()
    CATALOGUE.update(before)


@pytest.fixture
def surveyed(inventory: Inventory) -> Iterator[Callable[..., Survey]]:
    """Begin the named facts for a worker, start, and close at the end."""
    made: list[Survey] = []

    def begin(*names: str, workers: int = 4, at_once: dict[str, int] | None = None) -> Survey:
        survey = Survey(Run(inventory=inventory, routes=Routes(), id="r"), workers=workers, at_once=at_once)
        made.append(survey)
        for name in names:
            for worker in inventory.workers:
                survey.begin(name, {"worker": worker})
        survey.start()
        return survey

    yield begin
    for survey in made:
        survey.close(patience=1)


def test_a_fact_is_measured_once_however_many_ask(surveyed: Callable[..., Survey]) -> None:
    counted: list[int] = []

    @fact()
    def shared() -> Fact:
        """A shared fact."""
        counted.append(1)
        return a_fact()

    @fact()
    def per_worker(worker: str, shared: Fact) -> Fact:
        """One a worker."""
        return a_fact(worker)

    survey = surveyed("per_worker")
    names = {survey.join("per_worker", {"worker": worker}).target for worker in survey.run.inventory.workers}
    assert names == set(survey.run.inventory.workers)
    assert counted == [1]


def test_one_thread_comes_to_an_end(surveyed: Callable[..., Survey]) -> None:
    @fact()
    def first(worker: str) -> Fact:
        """First."""
        return a_fact(worker)

    @fact(fan_in={"first": "worker"})
    def second(first: tuple[Fact, ...]) -> Fact:
        """Second."""
        return a_fact(str(len(first)))

    @fact()
    def third(second: Fact) -> Fact:
        """Third."""
        return second

    assert surveyed("third", workers=1).join("third", {}).target == "3"


def test_facts_overlap(surveyed: Callable[..., Survey]) -> None:
    together = threading.Barrier(3)

    @fact()
    def meeting(worker: str) -> Fact:
        """All three must be under way at once to get through."""
        together.wait(5)
        return a_fact(worker)

    survey = surveyed("meeting")
    for worker in survey.run.inventory.workers:
        assert survey.join("meeting", {"worker": worker})


def test_a_group_is_bounded(surveyed: Callable[..., Survey]) -> None:
    busy, most = [0], [0]
    lock = threading.Lock()

    @fact(group="pods")
    def pod(worker: str) -> Fact:
        """A pod."""
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.05)
        with lock:
            busy[0] -= 1
        return a_fact(worker)

    survey = surveyed("pod", at_once={"pods": 2})
    for worker in survey.run.inventory.workers:
        survey.join("pod", {"worker": worker})
    assert most == [2]


def test_a_faulty_need_blocks_and_is_named(surveyed: Callable[..., Survey]) -> None:
    @fact()
    def ground(worker: str) -> Fact:
        """The ground."""
        return a_fact(worker, PathFault.REFUSED)

    @fact()
    def house(ground: Fact) -> Fact:
        """The house."""
        return ground

    @fact(tolerates=("ground",))
    def ruin(ground: Fact) -> Fact:
        """The ruin."""
        return ground

    survey = surveyed("house", "ruin")
    with pytest.raises(Blocked) as caught:
        survey.join("house", {"worker": "k8s-worker-1"})
    assert (caught.value.fact, caught.value.targets, caught.value.failed) == (
        "ground",
        {"worker": "k8s-worker-1"},
        True,
    )
    assert "refused: it is so" in caught.value.reason
    assert survey.join("ruin", {"worker": "k8s-worker-1"}).fault is PathFault.REFUSED


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(Unmeasured("no key"), Blocked), (NotApplicable("switched off"), NotApplicable), (ValueError("ours"), Blocked)],
)
def test_what_stands_in_the_way_is_passed_on(
    surveyed: Callable[..., Survey], raised: Exception, expected: type[Exception]
) -> None:
    @fact()
    def ground() -> Fact:
        """The ground."""
        raise raised

    @fact()
    def house(ground: Fact) -> Fact:
        """The house."""
        return ground

    @fact()
    def street(house: Fact) -> Fact:
        """The street."""
        return house

    with pytest.raises(expected) as caught:
        surveyed("street").join("street", {})
    if isinstance(caught.value, Blocked):
        assert caught.value.fact == "ground", "the root is named, not the link"


def test_what_a_blocked_fact_saw_stays_its_own(surveyed: Callable[..., Survey]) -> None:
    @fact()
    def house() -> Fact:
        """The house."""
        raise Blocked("ground", {}, "broken", failed=True, measured=a_fact("house", PathFault.REFUSED))

    @fact()
    def street(house: Fact) -> Fact:
        """The street."""
        return house

    survey = surveyed("street")
    for name, is_own in (("house", True), ("street", False)):
        with pytest.raises(Blocked) as caught:
            survey.join(name, {})
        assert (caught.value.measured is not None) is is_own
        assert caught.value.witness


def test_a_crash_of_ours_is_unmeasured_and_says_where(surveyed: Callable[..., Survey]) -> None:
    @fact()
    def clumsy() -> Fact:
        """The clumsy fact."""
        raise ZeroDivisionError

    with pytest.raises(Unmeasured, match=r"internal error in test_survey\.py:\d+: ZeroDivisionError"):
        surveyed("clumsy").join("clumsy", {})


def test_of_a_family_one_usable_member_is_enough(surveyed: Callable[..., Survey]) -> None:
    @fact()
    def resolver_like(worker: str) -> Fact:
        """One a worker, and only the second is well."""
        if worker == "k8s-worker-1":
            raise Unmeasured("unseen")
        return a_fact(worker, PathFault.TIMEOUT if worker == "k8s-worker-3" else None)

    @fact(fan_in={"resolver_like": "worker"})
    def agreement(resolver_like: tuple[Fact, ...]) -> Fact:
        """All that are well."""
        return a_fact(",".join(lookups.target for lookups in resolver_like))

    assert surveyed("agreement").join("agreement", {}).target == "k8s-worker-2"


@pytest.mark.parametrize(
    ("first_fault", "second_fault", "moot"),
    [
        (None, None, False),
        (PathFault.TIMEOUT, None, False),
        (PathFault.TIMEOUT, PathFault.REFUSED, True),
    ],
)
def test_a_measurement_is_moot_once_all_that_takes_it_is_blocked(
    first_fault: PathFault | None, second_fault: PathFault | None, moot: bool, surveyed: Callable[..., Survey]
) -> None:
    judged, asked = threading.Event(), threading.Event()

    @fact()
    def begun_early() -> Fact:
        """What is measured while others still find out whether anything comes of it."""
        assert judged.wait(20)
        return a_fact("moot" if survey.run.moot("begun_early", {}) else "of use")

    @fact()
    def first() -> Fact:
        """What may block one taker."""
        return a_fact(fault=first_fault)

    @fact()
    def second() -> Fact:
        """What may block the other."""
        return a_fact(fault=second_fault)

    @fact()
    def unfinished() -> Fact:
        """What says nothing yet."""
        asked.wait(20)
        return a_fact()

    @fact(after=("first", "unfinished"))
    def one_taker(begun_early: Fact) -> Fact:
        """One that takes it."""
        return begun_early

    @fact(after=("second", "unfinished"))
    def other_taker(begun_early: Fact) -> Fact:
        """The other one."""
        return begun_early

    survey = surveyed("one_taker", "other_taker")
    survey.join("first", {})
    survey.join("second", {})
    judged.set()
    try:
        assert survey.join("begun_early", {}).target == ("moot" if moot else "of use")
    finally:
        asked.set()


def test_a_measurement_that_hangs_is_given_up(surveyed: Callable[..., Survey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GRACE", 0.1)
    release = threading.Event()

    @fact(deadline="dns")
    def hung() -> Fact:
        """The hung fact."""
        release.wait(20)
        return a_fact()

    @fact()
    def after(hung: Fact) -> Fact:
        """What waits for it."""
        return hung

    survey = surveyed("after", "hung", workers=1)
    survey.run.say("hung", "Pulling image")
    with pytest.raises(Unmeasured, match=r"no end after .* s; last seen: Pulling image") as caught:
        survey.join("hung", {})
    assert "deadlines.dns" in caught.value.needs
    with pytest.raises(Blocked):
        survey.join("after", {})
    release.set()


def test_generators_are_torn_down_in_reverse(surveyed: Callable[..., Survey]) -> None:
    events: list[str] = []

    @fact()
    def connection() -> Iterator[Fact]:
        """A connection."""
        yield a_fact()
        events.append("connection closed")

    @fact()
    def pod(connection: Fact) -> Iterator[Fact]:
        """A pod on it."""
        yield connection
        events.append("pod removed")

    survey = surveyed("pod")
    survey.join("pod", {})
    assert survey.close(patience=1) == []
    assert events == ["pod removed", "connection closed"]


def test_cleaning_up_goes_on_after_an_error(surveyed: Callable[..., Survey]) -> None:
    events: list[str] = []

    @fact()
    def first() -> Iterator[Fact]:
        """First."""
        yield a_fact()
        events.append("first closed")

    @fact()
    def second(first: Fact) -> Iterator[Fact]:
        """Second."""
        yield first
        raise OSError("gone")

    survey = surveyed("second")
    survey.join("second", {})
    assert survey.close(patience=1) == ["cleaning up after second: gone"]
    assert events == ["first closed"]


def test_cleaning_that_hangs_holds_up_no_end_that_is_hurried(
    surveyed: Callable[..., Survey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "EXPEDITED", 0.3)
    release = threading.Event()

    @fact()
    def stubborn() -> Iterator[Fact]:
        """Something that can't be removed."""
        yield a_fact()
        release.wait(30)

    survey = surveyed("stubborn")
    survey.join("stubborn", {})
    threading.Timer(0.2, survey.run.shutdown.expedite.set).start()
    began = time.monotonic()
    (problem,) = survey.close(patience=10)
    assert time.monotonic() - began < 10
    assert "the cluster itself removes what is left" in problem
    release.set()


def test_the_end_waits_for_what_takes_back_itself_what_it_wrote(surveyed: Callable[..., Survey]) -> None:
    events: list[str] = []
    begun = threading.Event()

    @fact(effect="write")
    def upload() -> Fact:
        """An upload that is cancelled."""
        begun.set()
        time.sleep(0.5)
        events.append("cancelled")
        return a_fact()

    survey = surveyed("upload")
    begun.wait(10)
    survey.close(patience=20)
    assert events == ["cancelled"]


def test_a_parameter_that_is_nothing_is_refused() -> None:
    @fact()
    def odd(mystery: str) -> Fact:
        """Odd."""
        return a_fact(mystery)

    with pytest.raises(TypeError, match="fact odd: mystery is neither a fact nor a kind of target"):
        engine.fixtures()


def test_a_fact_has_the_strongest_effect_and_all_targets_of_what_it_needs() -> None:
    @fact()
    def one() -> Fact:
        """One."""
        return a_fact()

    @fact(effect="privileged")
    def two(one: Fact) -> Fact:
        """Two."""
        return one

    @fact()
    def three(two: Fact, worker: str) -> Fact:
        """Three."""
        return two

    assert CATALOGUE["three"].needs == ("two",)
    assert CATALOGUE["three"].effect == "privileged"
    assert CATALOGUE["three"].targets == ("worker",)


class NoThread(threading.Thread):
    """A thread as it is where a limit of processes or of memory is reached."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_cleaning_works_where_no_thread_can_start(
    surveyed: Callable[..., Survey], monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []

    @fact()
    def pod(worker: str) -> Iterator[Fact]:
        yield a_fact(worker)
        removed.append(worker)

    survey = surveyed("pod")
    for worker in survey.run.inventory.workers:
        survey.join("pod", {"worker": worker})
    monkeypatch.setattr(threading, "Thread", NoThread)
    assert survey.close(patience=0) == []
    assert sorted(removed) == sorted(survey.run.inventory.workers)


def test_as_many_threads_measure_as_can_start(surveyed: Callable[..., Survey], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []

    class Limited(threading.Thread):
        def start(self) -> None:
            if started:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    @fact()
    def pod(worker: str) -> Fact:
        threading.Thread().start()
        return a_fact(worker)

    @fact()
    def page(worker: str) -> Fact:
        return a_fact(worker)

    monkeypatch.setattr(threading, "Thread", Limited)
    survey = surveyed("pod", "page")
    worker = next(iter(survey.run.inventory.workers))
    assert survey.join("page", {"worker": worker}) == a_fact(worker)
    with pytest.raises(Unmeasured, match="can't start new thread") as caught:
        survey.join("pod", {"worker": worker})
    assert "ulimit -u" in caught.value.needs
    assert len(started) == 1


def test_without_any_thread_nothing_is_measured(
    surveyed: Callable[..., Survey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "Thread", NoThread)
    with pytest.raises(RuntimeError, match="no thread can start"):
        surveyed()


def test_an_optional_need_above_the_ceiling_is_not_measured(inventory: Inventory) -> None:
    measured: list[str] = []

    @fact(effect="probe")
    def strong() -> Fact:
        """Strong."""
        measured.append("strong")
        return a_fact()

    @fact(effect="static", optional=("strong",))
    def weak(strong: Fact | None) -> Fact:
        """Weak."""
        return a_fact("with" if strong is not None else "without")

    assert CATALOGUE["weak"].effect is Effect.STATIC
    for ceiling, target in ((Effect.READ, "without"), (Effect.PROBE, "with")):
        survey = Survey(Run(inventory=inventory, routes=Routes(), id="r"), ceiling=ceiling)
        survey.begin("weak", {})
        survey.start()
        assert survey.join("weak", {}).target == target
        survey.close(patience=1)
    assert measured == ["strong"]


def test_what_is_taken_by_others_is_cleaned_up_with_the_last_and_keeps_its_place_till_then(
    inventory: Inventory,
) -> None:
    opened, most, ended = 0, 0, list[str]()
    lock = threading.Lock()

    @fact(group="logins")
    def login(worker: str) -> Iterator[Fact]:
        """Log in."""
        nonlocal opened, most
        with lock:
            opened += 1
            most = max(most, opened)
        yield a_fact(worker)
        with lock:
            opened -= 1
        ended.append(worker)

    @fact()
    def report(login: Fact) -> Fact:
        """Run a script."""
        assert login.target not in ended
        return a_fact(login.target)

    @fact()
    def page(report: Fact, login: Fact) -> Fact:
        """Ask for a page."""
        assert login.target not in ended
        return a_fact(report.target, PathFault.REFUSED)

    nodes = {f"worker-{number}": ClusterNode(address="10.9.0.1") for number in range(1000)}
    cluster, probe = inventory.cluster.model_copy(update={"nodes": nodes}), inventory.probe
    parts = {name: getattr(inventory, name) for name in Inventory.model_fields} | {"cluster": cluster, "probe": probe}
    large = Inventory.model_construct(**parts).with_all_nodes()
    survey = Survey(Run(inventory=large, routes=Routes(), id="r"), workers=16, at_once={"logins": 5})
    for worker in large.workers:
        survey.begin("page", {"worker": worker})
    survey.start()
    pages = [survey.join("page", {"worker": worker}).target for worker in large.workers]
    assert survey.close(patience=1) == []
    assert (pages, sorted(ended)) == (list(nodes), sorted(nodes))
    assert (opened, most) == (0, 5)


def test_what_is_planned_is_known_by_any_part_of_its_targets(inventory: Inventory) -> None:
    run = Run(inventory=inventory, routes=Routes(), id="r")
    assert not run.plans(Ref.POD_IMAGE)
    run.planned |= {
        key_of("pod_image", {"worker": f"worker-{worker}", "image": f"image-{image}"})
        for worker in range(1000)
        for image in range(5)
    }
    assert all(run.plans(Ref.POD_IMAGE, worker=f"worker-{worker}", image="image-4") for worker in range(1000))
    assert run.plans(Ref.POD_IMAGE, image="image-4")
    assert run.plans(Ref.POD_IMAGE)
    assert not run.plans(Ref.POD_IMAGE, worker="worker-1", image="image-5")
    assert not run.plans(Ref.POD_PULL, worker="worker-1")

"""The picture of the environment: who reaches what, as lines between vantages and services."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preflight.conclusions.observations import Facts
from preflight.facts.dns import here_lookups, node_lookups, pod_lookups
from preflight.pages import paths
from preflight.pages.cells import NONE, Cell, State, cell_of, worst
from preflight.pages.dns import of_answer
from preflight.pages.matrix import Head
from preflight.pages.texts import Text

_MOST = 6  # workers that are drawn, the worst first
_MOST_SERVICES = 8  # on one side
_WIDTH, _BOX = 960, 190
_LEFT, _MIDDLE, _RIGHT = 0, (_WIDTH - 220) // 2, _WIDTH - _BOX
_MIDDLE_BOX = 220
_TOP, _LINE, _GAP = 8, 24, 14  # the first box; a vantage's height; between boxes
_SERVICE = 44  # a service's height


@dataclass(frozen=True, slots=True)
class Box:
    """A box with its titles.

    Attributes:
        x: its left edge; `y`, `width` and `height` likewise, in units of the picture.
        text: its title.
        beside: a smaller line below it.
        state: the worst of its lines.
        rows: the vantages within it, each with the place of its text.
    """

    x: int
    y: int
    width: int
    height: int
    text: str
    beside: str = ""
    state: State = State.NOT_MEASURED
    rows: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A line between a vantage and a service.

    Attributes:
        start: its left end, as x and y; `end` its right one.
        state: what was measured.
        says: from where to what, and what was measured there.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    state: State
    says: Text

    @property
    def path(self) -> str:
        """The line as the ``d`` of an SVG path."""
        (x1, y1), (x2, y2) = self.start, self.end
        middle = (x1 + x2) // 2
        return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes and lines, the worst lines last, so that they lie above the others.

    Attributes:
        width: of the picture; `height` likewise.
        boxes: vantages in the middle, services left and right of them.
        lines: what was measured or could be.
        left_out: how many workers are not drawn; they are no worse than those that are.
    """

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    left_out: int = 0

    def of(self, state: State) -> tuple[Line, ...]:
        """The lines of this state."""
        return tuple(line for line in self.lines if line.state is state)


@dataclass(frozen=True, slots=True)
class _Service:
    head: Head
    right: bool
    ask: Callable[[Facts, str, str], Cell]


def picture(facts: Facts) -> Picture | None:
    """The picture of what was measured; None if nothing was."""
    services = list(_services(facts))
    workers = _workers(facts, services)
    shown = workers[:_MOST]
    vantages = [("", [("here", "")]), *((worker, [(kind, worker) for kind in paths.KINDS]) for worker in shown)]
    cells = {
        (kind, worker, place): service.ask(facts, kind, worker)
        for _, group in vantages
        for kind, worker in group
        for place, service in enumerate(services)
    }
    if not any(cell.state.looked_at for cell in cells.values()):
        return None
    used = [
        place
        for place, service in enumerate(services)
        if any(cell.state is not State.NOT_APPLICABLE for (*_, of), cell in cells.items() if of == place)
    ]
    return _drawn(vantages, {place: services[place] for place in used}, cells, left_out=len(workers) - len(shown))


def _services(facts: Facts) -> Sequence[_Service]:
    services = [_Service(head, right=_is_registry(head), ask=ask) for head, ask in paths.services(facts)]
    resolvers = [
        _Service(Head(Text("resolver"), resolver), right=True, ask=_resolver(resolver))
        for resolver in facts.inventory.dns.resolvers
    ]
    sides = [[service for service in (*services, *resolvers) if service.right is right] for right in (False, True)]
    return [service for side in sides for service in side[:_MOST_SERVICES]]


def _is_registry(head: Head) -> bool:
    return isinstance(head.text, Text) and head.text.english.startswith("registry")


def _resolver(resolver: str) -> Callable[[Facts, str, str], Cell]:
    def ask(facts: Facts, kind: str, worker: str) -> Cell:
        spec = {"here": here_lookups, "node": node_lookups, "pod": pod_lookups}.get(kind)
        if spec is None:
            return NONE
        targets = {"resolver": resolver, **({"worker": worker} if worker else {})}
        observation = facts.get(spec, **targets)
        if observation is None or observation.measured is None:
            return cell_of(observation)
        answers = [of_answer(observation, name) for name in facts.inventory.dns.names]
        return worst(answers) if answers else cell_of(observation)

    return ask


def _workers(facts: Facts, services: Sequence[_Service]) -> list[str]:
    """All workers in their order; where there are too many to draw, the worst first."""
    workers = list(facts.inventory.workers)
    if len(workers) <= _MOST:
        return workers

    def badness(worker: str) -> tuple[int, ...]:
        states = [service.ask(facts, kind, worker).state for kind in paths.KINDS for service in services]
        return tuple(states.count(state) for state in (State.FAULT, State.UNKNOWN, State.BLOCKED, State.OK))

    return sorted(workers, key=badness, reverse=True)


def _drawn(
    vantages: Sequence[tuple[str, Sequence[tuple[str, str]]]],
    services: dict[int, _Service],
    cells: dict[tuple[str, str, int], Cell],
    *,
    left_out: int,
) -> Picture:
    boxes, ports, names, y = [], dict[tuple[str, str], int](), dict[tuple[str, str], Text](), _TOP
    for worker, group in vantages:
        rows = [
            vantage
            for vantage in group
            if not worker or any(cells[*vantage, place].state is not State.NOT_APPLICABLE for place in services)
        ]
        begin = y + (_LINE if worker else 0)
        for number, (kind, _) in enumerate(rows):
            ports[kind, worker] = begin + number * _LINE + _LINE // 2
            names[kind, worker] = Text(paths.KINDS[kind], worker=worker) if worker else Text("here")
        if rows:
            height = begin - y + len(rows) * _LINE
            state = worst(cells[*vantage, place] for vantage in rows for place in services).state
            words = {"here": Text("this machine"), "node": Text("node"), "pod": Text("pod"), "dind": Text("dind")}
            titles = tuple((words[kind], ports[kind, worker] + 4) for kind, _ in rows)
            boxes.append(Box(_MIDDLE, y, _MIDDLE_BOX, height, worker, state=state, rows=titles))
            y += height + _GAP
    height = y
    lines = []
    for right in (False, True):
        side = {place: service for place, service in services.items() if service.right is right}
        step = max(_SERVICE + _GAP, (height - _GAP) // max(1, len(side)))
        height = max(height, _TOP + step * len(side))
        for number, (place, service) in enumerate(side.items()):
            top = _TOP + number * step + (step - _SERVICE) // 2
            of_service = {vantage: cells[*vantage, place] for vantage in ports}
            state = worst(of_service.values()).state
            x = _RIGHT if right else _LEFT
            boxes.append(Box(x, top, _BOX, _SERVICE, service.head.text, service.head.beside, state))
            for vantage, cell in of_service.items():
                if cell.state is not State.NOT_APPLICABLE:
                    far, near = (top + _SERVICE // 2), ports[vantage]
                    ends = ((_MIDDLE + _MIDDLE_BOX, near), (_RIGHT, far)) if right else ((_BOX, far), (_MIDDLE, near))
                    lines.append(Line(*ends, cell.state, _says(names[vantage], service.head, cell)))
    lines.sort(key=lambda line: line.state.rank)
    return Picture(_WIDTH, height, tuple(boxes), tuple(lines), left_out)


def _says(vantage: Text, service: Head, cell: Cell) -> Text:
    word = cell.word or cell.state.word
    return Text("{vantage} to {service}: {word}", vantage=vantage, service=_name(service), word=word)


def _name(head: Head) -> str:
    return Text("{service} {address}", service=head.text, address=head.beside) if head.beside else head.text

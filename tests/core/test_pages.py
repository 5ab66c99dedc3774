"""What the HTML page draws of facts that are written by hand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from preflight.conclusions import Cause, Conclusion, Explanation, Facts, Finding, Observation, Proof
from preflight.coverage import Coverage, Part
from preflight.decision import Answer as RunAnswer
from preflight.decision import Decision
from preflight.diagnosis import Diagnosis
from preflight.evidence import Blocked, Evidence, Fact, NotApplicable, PreflightError, Unmeasured
from preflight.facts.headroom import headroom as headroom_fact
from preflight.faults import ClusterFault, DnsFault, PathFault, PodFault
from preflight.impact import stops
from preflight.inventory import Inventory
from preflight.pages import cards, dns, headroom, matrix, paths, registry, top
from preflight.pages.cells import Cell, State, cell_of, duration, together
from preflight.pages.matrix import Head, Matrix, folded, table
from preflight.probes.cluster import Node, Nodes
from preflight.probes.dns import Answer, Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom, NodeRoom
from preflight.probes.pods import ImagePull
from preflight.verdicts import Outcome, Verdict

HOSTILE = "<script>alert(1)</script>\"'&"
ALPINE = "registry.example.com/library/alpine:latest"


def evidence(where: str = "here", took: float = 0.0) -> Evidence:
    return Evidence(where=where, command="true", took=took)


def reply(fault: PathFault | None = None, took: float = 0.012, cause: str = "") -> GitLabReply:
    return GitLabReply(target="gitlab", fault=fault, cause=cause, evidence=evidence(), url="http://x/", took=took)


def pull(node: str, fault: PodFault | None = None, image: str = ALPINE, *, fresh: bool = True) -> ImagePull:
    return ImagePull(
        target=image,
        fault=fault,
        cause="",
        evidence=evidence(),
        image=image,
        node=node,
        seconds=None if fault else 1.25,
        fresh=fresh,
    )


def observation(
    name: str, value: Fact | None = None, error: PreflightError | None = None, **targets: str
) -> Observation:
    return Observation(name, targets, value, error)


def cell(shown: Matrix, row: str, column: str) -> Cell:
    """The one cell of a matrix whose row and column have these heads, written ``group/text`` where groups differ."""

    def place(heads: tuple[Head, ...], wanted: str) -> int:
        (at,) = [n for n, head in enumerate(heads) if wanted in {head.text, f"{head.group}/{head.text}"}]
        return at

    return shown.cells[place(shown.rows, row)][place(shown.columns, column)]


# ---- cells ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (None, State.NOT_MEASURED),
        (observation("x", reply()), State.OK),
        (observation("x", reply(PathFault.REFUSED)), State.FAULT),
        (observation("x", error=Unmeasured("no SSH")), State.UNKNOWN),
        (observation("x"), State.UNKNOWN),
        (observation("x", error=Blocked("y", {}, "broken", failed=True)), State.BLOCKED),
        (
            observation("x", error=Blocked("y", {}, "broken", failed=True, measured=reply(PathFault.TIMEOUT))),
            State.FAULT,
        ),
        (observation("x", error=NotApplicable("none")), State.NOT_MEASURED),
    ],
)
def test_a_look_has_the_state_of_what_came_of_it(given: Observation | None, state: State) -> None:
    assert cell_of(given).state is state


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0, ""), (0.012, "12 ms"), (0.4, "0.4 s"), (9.96, "10.0 s"), (24.2, "24 s")]
)
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_many_cells_together_show_the_worst_and_count_all() -> None:
    combined = together([Cell(State.OK)] * 3 + [Cell(State.UNKNOWN), Cell(State.FAULT, "timeout")])
    assert (combined.state, combined.word) == (State.FAULT, "1 fault, 1 unknown, 3 ok")
    assert together([Cell(), Cell()]) == Cell()


# ---- matrices -------------------------------------------------------------------------------------------------------


def test_the_path_matrix_tells_vantages_apart(inventory: Inventory) -> None:
    facts = Facts(
        inventory,
        [
            observation("gitlab_reply", reply()),
            observation("node_gitlab", reply(PathFault.TIMEOUT, 16), worker="k8s-worker-1"),
            observation("node_gitlab", error=Unmeasured("no SSH"), worker="k8s-worker-2"),
            observation("pod_gitlab", error=Blocked("pod_start", {}, "no pod", failed=True), worker="k8s-worker-1"),
        ],
    )
    drawn = paths.matrix(facts)
    assert cell(drawn, "here", "GitLab") == Cell(State.OK, note="12 ms")
    assert cell(drawn, "node k8s-worker-1", "GitLab") == Cell(State.FAULT, "timeout", "16 s")
    assert cell(drawn, "node k8s-worker-2", "GitLab").state is State.UNKNOWN
    assert cell(drawn, "pod on k8s-worker-1", "GitLab").state is State.BLOCKED
    assert [head.text for head in drawn.columns] == ["GitLab"], "nothing else was measured"
    assert "node k8s-worker-3" not in {head.text for head in drawn.rows}


def test_a_registry_that_refuses_an_image_is_reached(inventory: Inventory) -> None:
    other = next(image for image in inventory.images if image.startswith("registry.example.com/") and image != ALPINE)

    def registry(first: PodFault | None, second: PodFault | None) -> Cell:
        observations = [
            observation("pod_pull", pull("k8s-worker-1", first), worker="k8s-worker-1", image=ALPINE),
            observation("pod_pull", pull("k8s-worker-1", second, other), worker="k8s-worker-1", image=other),
        ]
        return cell(paths.matrix(Facts(inventory, observations)), "pod on k8s-worker-1", "registry mirror")

    assert registry(None, PodFault.PULL_NOT_FOUND).state is State.OK
    assert registry(None, PodFault.PULL_TIMEOUT).word == "pull-timeout"


def lookups(**answers: DnsFault | None) -> Lookups:
    given = tuple(
        Answer(name=f"{name.replace('_', '-')}.example.com", fault=fault, took=0.002) for name, fault in answers.items()
    )
    return Lookups(target="r", evidence=evidence(), resolver="10.0.0.2", answers=given)


def test_the_name_matrix_tells_names_of_one_resolver_apart(inventory: Inventory) -> None:
    seen = lookups(registry=None)
    drawn = dns.matrix(
        Facts(
            inventory,
            [
                observation(
                    "here_lookups", lookups(registry=None, private_registry=DnsFault.NXDOMAIN), resolver="10.0.0.2"
                ),
                observation("node_lookups", seen, worker="k8s-worker-1", resolver="10.0.0.2"),
            ],
        )
    )
    resolver = "resolver 10.0.0.2"
    assert cell(drawn, f"{resolver}/registry.example.com", "here") == Cell(State.OK, note="2 ms")
    assert cell(drawn, f"{resolver}/private-registry.example.com", "here").word == "nxdomain"
    missing = cell(drawn, f"{resolver}/private-registry.example.com", "node/k8s-worker-1")
    assert missing.state is State.UNKNOWN, "a name without an answer is not healthy"
    assert cell(drawn, "resolver 10.1.0.251/registry.example.com", "here").state is State.NOT_MEASURED


def test_the_image_matrix_shows_times_and_what_they_are_worth(inventory: Inventory) -> None:
    facts = Facts(
        inventory,
        [
            observation("pod_pull", pull("k8s-worker-1"), worker="k8s-worker-1", image=ALPINE),
            observation("pod_pull", pull("k8s-worker-2", fresh=False), worker="k8s-worker-2", image=ALPINE),
            observation("pod_pull", pull("k8s-worker-3", PodFault.PULL_TLS), worker="k8s-worker-3", image=ALPINE),
        ],
    )
    (line,) = registry.matrix(facts).cells
    assert [(drawn.state, drawn.word, drawn.note) for drawn in line[1:]] == [
        (State.OK, "", "1.2 s"),
        (State.OK, "", "1.2 s, cached"),
        (State.FAULT, "pull-tls", ""),
    ]


def wide(count: int, faulty: int, unknown: int = 0) -> Matrix:
    states = [State.FAULT] * faulty + [State.UNKNOWN] * unknown + [State.OK] * (count - faulty - unknown)
    return Matrix(
        caption="many",
        corner="from",
        rows=tuple(Head(f"node-{number}") for number in reversed(range(count))),
        columns=(Head("GitLab"), Head("clone")),
        cells=tuple((Cell(state), Cell()) for state in reversed(states)),
    )


def test_a_large_matrix_shows_the_worst_and_counts_the_rest() -> None:
    cut = folded(wide(200, faulty=5))
    assert len(cut.rows) == matrix.MOST + 1
    assert {head.text for head in cut.rows[:5]} == {f"node-{number}" for number in range(5)}
    assert (cut.rows[-1].text, cut.rows[-1].beside) == ("and 188 more", "all right")
    assert cut.cells[-1][0].word == "188 ok"
    assert folded(wide(14, faulty=1)) == wide(14, faulty=1), "what fits stays in its order"


def test_what_is_cut_is_never_called_right_where_it_is_not_known() -> None:
    cut = folded(wide(200, faulty=12, unknown=1))
    assert cut.rows[-1].beside == ""
    assert cut.cells[-1][0].state is State.UNKNOWN
    assert cut.cells[-1][0].word == "1 unknown, 187 ok"


def test_lines_that_nobody_looked_at_are_not_listed_among_many() -> None:
    cells = ((Cell(State.OK),), *(((Cell(),),) * 40))
    heads = tuple(Head(f"node-{number}") for number in range(41))
    cut = folded(Matrix(caption="c", corner="f", rows=heads, columns=(Head("GitLab"),), cells=cells))
    assert [(head.text, head.beside) for head in cut.rows] == [("node-0", ""), ("and 40 more", "not measured")]


def test_a_table_of_200_nodes_stays_small_both_ways() -> None:
    assert table(wide(200, 3)).count("<tr") < 20
    assert table(matrix.turned(wide(200, 3))).count('scope="col"') < 20


def test_a_table_can_be_heard_and_read_without_colours() -> None:
    shown = table(
        Matrix(
            caption="c",
            corner="from",
            rows=(Head("here"),),
            columns=(Head("a"), Head("b"), Head("d"), Head("e"), Head("f")),
            cells=(tuple(Cell(state) for state in State),),
        )
    )
    assert "<caption>c</caption>" in shown
    assert '<th scope="row">' in shown
    assert shown.count('scope="col"') == 6
    for state in State:
        assert state.word in shown
        assert state.sign in shown


# ---- headroom -------------------------------------------------------------------------------------------------------


def packed(inventory: Inventory, fits: int = 3, wanted: int = 6, count: int = 1) -> Facts:
    rooms = tuple(
        NodeRoom(node=f"node-{n}", fits=fits, free={"cpu": "4", "memory": "8Gi"}, limited_by="cpu", eligible=True)
        for n in range(count)
    )
    barred = NodeRoom(
        node="master", fits=0, free={}, limited_by="", eligible=False, why_not="taint <x> is not tolerated"
    )
    measured = Headroom(
        target="jobs",
        fault=ClusterFault.TOO_FEW_FIT if fits < wanted else None,
        evidence=evidence(),
        wanted=wanted,
        fits=min(fits, wanted),
        capacity=fits,
        by_node=(*rooms, barred),
        requests={"cpu": "1100m", "memory": "1Gi"},
        runs_out="cpu on node-0",
    )
    nodes = tuple(Node(name=f"node-{n}", allocatable={"cpu": "8", "memory": "16Gi"}) for n in range(count))
    return Facts(
        inventory,
        [
            observation("headroom", measured),
            observation("cluster_nodes", Nodes(target="nodes", evidence=evidence(), nodes=nodes)),
        ],
    )


def test_headroom_shows_what_is_requested_what_fits_and_what_runs_out(inventory: Inventory) -> None:
    shown = headroom.section(packed(inventory))
    assert "3 of 6 concurrent jobs fit" in shown
    assert "cpu: 4 of 8 requested, 3 more of 1100m fit <b>runs out first</b>" in shown
    assert "taint &lt;x&gt; is not tolerated" in shown
    assert shown.count('class="pf-bar-job"') == 3 * 2 + 1  # two resources, and the key


def test_headroom_of_200_nodes_shows_the_fullest(inventory: Inventory) -> None:
    shown = headroom.section(packed(inventory, count=200))
    assert "and 189 more nodes: 564 jobs fit there; 1 take no jobs" in shown
    assert shown.count("<tr>") == 1 + matrix.MOST + 1


def test_headroom_that_is_not_known_says_why(inventory: Inventory) -> None:
    facts = Facts(inventory, [observation("headroom", error=Unmeasured("no right to list nodes"))])
    assert "unknown" in headroom.section(facts)
    assert "no right to list nodes" in headroom.section(facts)


WHOLE = Coverage(4, 4)
PART = Coverage(4, 9, (Part("test_e", "2.2 Runner token", "2.2.1 The token is given", 5),), ("-k paths",))

# ---- the whole ------------------------------------------------------------------------------------------------------


def outcome(check: str, verdict: Verdict, *, target: str = "", text: str = "cause") -> Outcome:
    diagnosis = None
    if verdict in {Verdict.FAIL, Verdict.UNKNOWN, Verdict.ADVICE}:
        diagnosis = Diagnosis(
            check=check,
            fault="timeout",
            cause=text,
            where=text,
            evidence=None,
            remedy=text,
            section="",
            impact=stops(),
        )
    return Outcome(
        check=check, number="2.4.2", title=check, target=target, verdict=verdict, reason=text, diagnosis=diagnosis
    )


def conclusion(text: str = "the firewall drops", *, certain: bool = False) -> Conclusion:
    return Conclusion(
        cause=Cause("node-path-blocked", "2.4", "failures"),
        sentence=text,
        certain=certain,
        impact=stops(),
        explains=(),
        settled_by="" if certain else text,
        proofs=(Proof(statement=text, where=text, command=text, observed=text), Proof(statement="the others connect")),
        remedy=(f"run `kubectl get {text.replace('`', '')}`", text),
    )


def page(
    inventory: Inventory, text: str = "words", answer: RunAnswer = RunAnswer.NO_GO, coverage: Coverage = WHOLE
) -> str:
    judged = [
        outcome("test_a", Verdict.FAIL, text=text),
        outcome("test_b", Verdict.BLOCKED, text=text),
        outcome("test_c", Verdict.FAIL, text=text, target=text),
        outcome("test_d", Verdict.ADVICE, text=text),
    ]
    explanation = Explanation((Finding(conclusion(text), tuple(judged[:2])),), (judged[2],))
    facts = Facts(
        inventory,
        [
            observation("gitlab_reply", reply(PathFault.REFUSED, cause=text)),
            observation("node_gitlab", error=Unmeasured(text), worker="k8s-worker-1"),
        ],
    )
    return "".join(top(judged, explanation, facts, Decision(answer, coverage=coverage)))


def test_nothing_from_outside_becomes_html(inventory: Inventory) -> None:
    shown = page(inventory, HOSTILE)
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    # Outside of the style sheet, every attribute is quoted by us: a quote from outside is never bare.
    assert not re.search(r"alert\(1\)</script>", shown)
    assert '"\'&"' not in shown


def test_a_card_says_everything_that_an_operator_needs(inventory: Inventory) -> None:
    shown = page(inventory, "worker 2 is cut off")
    for part in (
        "worker 2 is cut off",
        '<b class="pf-likely">likely</b>: to be certain, worker 2 is cut off',
        "<code>kubectl get worker 2 is cut off</code>",
        "<ol><li>",
        "Explains 1 failed, 1 blocked",
        "guide 2.4",
        "the others connect",
        "Not explained by a root cause",
        "Advice and waived",
    ):
        assert part in shown, part


def test_a_card_names_each_check_once_and_the_red_ones_first() -> None:
    blocked = [outcome("test_b", Verdict.BLOCKED, target=f"w{number}") for number in range(1, 7)]
    shown = cards.card(Finding(conclusion(), (*blocked, outcome("test_a", Verdict.FAIL))), 1)
    lines = re.findall(r"<li>(<b>.*?)</li>", shown)
    assert lines == ["<b>fail</b> 2.4.2 test_a", "<b>blocked</b> 2.4.2 test_b [w1, w2, w3, w4 and 2 more]"]


@pytest.mark.parametrize(
    ("answer", "coverage", "words", "style"),
    [
        (RunAnswer.GO, WHOLE, "GO", "pf-go"),
        (RunAnswer.DEGRADED, WHOLE, "DEGRADED", "pf-degraded"),
        (RunAnswer.NO_GO, WHOLE, "NO GO", "pf-nogo"),
        (RunAnswer.INCONCLUSIVE, WHOLE, "INCONCLUSIVE", "pf-inconclusive"),
        (RunAnswer.INTERRUPTED, WHOLE, "INTERRUPTED", "pf-stopped"),
        (RunAnswer.GO, PART, "PARTIAL", "pf-partial"),
        (RunAnswer.NO_GO, PART, "PARTIAL", "pf-nogo"),
        (RunAnswer.INTERRUPTED, PART, "PARTIAL", "pf-stopped"),
    ],
)
def test_the_banner_says_the_verdict_in_words(
    inventory: Inventory, answer: RunAnswer, coverage: Coverage, words: str, style: str
) -> None:
    shown = page(inventory, answer=answer, coverage=coverage)
    assert re.search(rf'{style}" role="status"><strong><i [^>]*>[^<]+</i> {words}</strong>', shown)


def test_a_chart_with_an_internal_error_costs_nothing_else(inventory: Inventory) -> None:
    broken = Observation("cluster_nodes", {}, Nodes(target="n", evidence=evidence(), nodes=None))  # type: ignore[arg-type]
    head = next(iter(packed(inventory).observations(headroom_fact)))
    shown = "".join(
        top(
            [],
            Explanation(),
            Facts(inventory, [observation("gitlab_reply", reply()), head, broken]),
            Decision(RunAnswer.NO_GO),
        )
    )
    assert "could not be drawn" in shown
    assert "Which service is reached from where" in shown


def test_the_page_loads_nothing_and_runs_nothing(inventory: Inventory) -> None:
    shown = page(inventory)
    for way in ("http://", "https://", "url(", "@import", "<script", " src=", "<link"):
        assert way not in shown.replace("http://x/", ""), way


def test_the_style_ships_with_the_package() -> None:
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "preflight" in wheel["packages"]  # hatchling takes every file of a package
    assert not {"exclude", "include", "only-include"} & set(wheel)

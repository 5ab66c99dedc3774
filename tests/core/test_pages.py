"""What the HTML page shows: of facts that are written by hand, and of whole reports."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from preflight import baseline, history, language, pages, saved
from preflight.__main__ import main
from preflight.conclusions import Facts, Observation
from preflight.evidence import Blocked, Evidence, Fact, NotApplicable, PreflightError, Unmeasured
from preflight.facts.headroom import headroom as headroom_fact
from preflight.faults import ClusterFault, DnsFault, PathFault, PodFault
from preflight.inventory import Inventory
from preflight.pages import dns, headroom, matrix, paths, picture, registry, results, views, workers
from preflight.pages.cells import NONE, Cell, State, cell_of, duration, together
from preflight.pages.matrix import Head, Matrix, folded
from preflight.probes.cluster import Node, Nodes
from preflight.probes.dns import Answer, Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.probes.headroom import Headroom, NodeRoom
from preflight.probes.pods import ImagePull

Capture = pytest.CaptureFixture[str]

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
        (observation("x", error=NotApplicable("none")), State.NOT_APPLICABLE),
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
    assert combined.state is State.FAULT
    assert combined.counts == ((1, State.FAULT), (1, State.UNKNOWN), (3, State.OK))
    assert together([Cell(), NONE]) == Cell()


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
    assert cell(drawn, "node k8s-worker-3", "GitLab").state is State.NOT_MEASURED, "not looked at, and shown as that"
    assert "Docker-in-Docker on k8s-worker-3" not in {head.text for head in drawn.rows}, "nothing to look at there"


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


def test_what_a_jobs_pod_needs_beside_its_image_is_shown(inventory: Inventory) -> None:
    helper = "registry.gitlab.com/gitlab-org/gitlab-runner-helper:v1"
    facts = Facts(
        inventory,
        [
            observation("helper_pull", pull("w", PodFault.PULL_TIMEOUT, helper), worker="k8s-worker-1"),
            observation("pod_start", reply(PathFault.TIMEOUT), worker="k8s-worker-2"),
            observation("dind_daemon", error=NotApplicable("no DinD"), worker="k8s-worker-2"),
        ],
    )
    assert cell(registry.matrix(facts), "gitlab-runner-helper:v1", "pulled on/k8s-worker-1").word == "pull-timeout"
    steps = workers.matrix(facts)
    assert cell(steps, "a job's pod/starts", "k8s-worker-2").state is State.FAULT
    assert cell(steps, "a job's pod/starts", "k8s-worker-1").state is State.NOT_MEASURED
    assert cell(steps, "Docker-in-Docker/daemon", "k8s-worker-2").state is State.NOT_APPLICABLE
    assert not steps.calm


def wide(count: int, faulty: int, unknown: int = 0) -> Matrix:
    states = [State.FAULT] * faulty + [State.UNKNOWN] * unknown + [State.OK] * (count - faulty - unknown)
    return Matrix(
        caption="many",
        corner="from",
        rows=tuple(Head(f"node-{number}") for number in reversed(range(count))),
        columns=(Head("GitLab"), Head("clone")),
        cells=tuple((Cell(state), NONE) for state in reversed(states)),
    )


def test_a_large_matrix_shows_the_worst_and_counts_the_rest() -> None:
    cut = folded(wide(200, faulty=5))
    assert len(cut.rows) == matrix.MOST + 1
    assert {head.text for head in cut.rows[:5]} == {f"node-{number}" for number in range(5)}
    assert (cut.rows[-1].text, cut.rows[-1].beside) == ("and 188 more", "all healthy")
    assert cut.cells[-1][0].counts == ((188, State.OK),)
    assert folded(wide(14, faulty=1)) == wide(14, faulty=1), "what fits stays in its order"


def test_what_is_cut_is_never_called_right_where_it_is_not_known() -> None:
    cut = folded(wide(200, faulty=12, unknown=1))
    assert cut.rows[-1].beside == ""
    assert cut.cells[-1][0].state is State.UNKNOWN
    assert cut.cells[-1][0].counts == ((1, State.UNKNOWN), (187, State.OK))


def test_lines_that_nobody_looked_at_are_not_listed_among_many() -> None:
    cells = ((Cell(State.OK),), *(((Cell(),),) * 40))
    heads = tuple(Head(f"node-{number}") for number in range(41))
    cut = folded(Matrix(caption="c", corner="f", rows=heads, columns=(Head("GitLab"),), cells=cells))
    assert [(head.text, head.beside) for head in cut.rows] == [("node-0", ""), ("and 40 more", "not looked at")]


def test_a_matrix_of_200_nodes_stays_small_both_ways() -> None:
    assert len(matrix.cut(wide(200, 3)).rows) < 20
    assert len(matrix.cut(matrix.turned(wide(200, 3))).columns) < 20


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


def rooms(facts: Facts) -> headroom.Rooms:
    drawn = headroom.rooms(facts)
    assert drawn is not None
    return drawn


def test_headroom_shows_what_is_requested_what_fits_and_what_runs_out(inventory: Inventory) -> None:
    drawn = rooms(packed(inventory))
    assert drawn.cell.state is State.FAULT
    first, barred = drawn.rooms
    assert [(bar.resource, bar.used, bar.whole, bar.job, len(bar.blocks), bar.scarce) for bar in first.bars] == [
        ("cpu", "4", "8", "1100m", 3, True),
        ("memory", "8Gi", "16Gi", "1Gi", 3, False),
    ]
    assert barred.why_not == "taint <x> is not tolerated"


def test_headroom_of_200_nodes_shows_the_fullest(inventory: Inventory) -> None:
    drawn = rooms(packed(inventory, count=200))
    assert (len(drawn.rooms), drawn.more) == (matrix.MOST, (189, 564, 1))


def test_headroom_that_is_not_known_says_why(inventory: Inventory) -> None:
    drawn = rooms(Facts(inventory, [observation("headroom", error=Unmeasured("no right to list nodes"))]))
    assert (drawn.cell.state, drawn.cell.detail) == (State.UNKNOWN, "no right to list nodes")


# ---- the picture ----------------------------------------------------------------------------------------------------


def test_each_line_of_the_picture_has_the_state_of_what_was_measured(inventory: Inventory) -> None:
    drawn = picture.picture(
        Facts(
            inventory,
            [
                observation("gitlab_reply", reply()),
                observation("node_gitlab", reply(PathFault.TIMEOUT), worker="k8s-worker-2"),
                observation("pod_gitlab", error=Unmeasured("no pod"), worker="k8s-worker-1"),
            ],
        )
    )
    assert drawn is not None
    said = {state: [str(line.says) for line in drawn.of(state)] for state in State}
    assert said[State.OK] == ["here to GitLab 192.168.1.50: ok"]
    assert said[State.FAULT] == ["node k8s-worker-2 to GitLab 192.168.1.50: timeout"]
    assert said[State.UNKNOWN] == ["pod on k8s-worker-1 to GitLab 192.168.1.50: unknown"]
    assert "node k8s-worker-1 to GitLab 192.168.1.50: not looked at" in said[State.NOT_MEASURED]
    assert not said[State.NOT_APPLICABLE], "what is not there has no line"
    assert drawn.lines[-1].state is State.FAULT, "above all others"


# ---- the whole, from a report's JSON --------------------------------------------------------------------------------


def check(name: str, verdict: str = "pass", text: str = "", **more: Any) -> dict[str, Any]:
    """A check as a report has it, with this text wherever one may stand."""
    return {
        "id": name,
        "section": "2.4.2",
        "area": "2.4 Paths",
        "title": f"{name} {text}",
        "verdict": verdict,
        **dict.fromkeys(("reason", "cause", "where", "remedy", "why"), text),
        "evidence": {"where": text, "command": text, "observed": text, "took": 0.1},
        **more,
    }


def conclusion(text: str = "the firewall drops", **more: Any) -> dict[str, Any]:
    return {
        "name": "node-path-blocked",
        "section": "2.4",
        "about": ["k8s-worker-2"],
        "cause": text,
        "impact": {"harm": "stops", "jobs": text},
        "confidence": "likely",
        "settled_by": text,
        "root_cause": True,
        "explains": ["test_a", "test_b"],
        "remedy": [f"run `kubectl get {text.replace('`', '')}`", text],
        "proofs": [
            {"statement": text, "where": text, "command": text, "observed": text},
            {"statement": "the others connect", "healthy": True},
        ],
        **more,
    }


def fact(given: Observation) -> dict[str, Any]:
    """A fact as a report has it."""
    return {
        "name": given.name,
        "targets": dict(given.targets),
        "took": 0.0,
        **saved.plain_measurement(given.value, given.error),
    }


def document(inventory: Inventory, text: str = "words", **more: Any) -> dict[str, Any]:
    """A report with something in each part of it."""
    return {
        "schema": saved.SCHEMA,
        "run": "ab12",
        "written": "2026-11-28T12:00:00+00:00",
        "effect": "probe",
        "by": {"host": text, "user": text},
        "notes": [text],
        "inventory": text,
        "took": 14.2,
        "environment": saved.plain(inventory.model_dump(mode="json")),
        "verdict": "NO GO: 1 root cause, 2 failed",
        "decision": {"answer": "NO GO", "counts": {"failed": 2}},
        "facts": [
            fact(observation("gitlab_reply", reply(PathFault.REFUSED, cause=text))),
            fact(observation("node_gitlab", error=Unmeasured(text), worker="k8s-worker-1")),
            *map(fact, packed(inventory)),
        ],
        "checks": [
            check("test_a", "fail", text, targets={"worker": "k8s-worker-2"}),
            check("test_b", "blocked", text),
            check("test_c", "fail", text, target=text),
            check("test_d", "advice", text),
            check("test_e", "unknown", text),
            check("test_f", "not applicable", text),
            check("test_g", "pass", text),
        ],
        "conclusions": [conclusion(text)],
        "unexplained": [f"test_c[{text}]", "test_e"],
        **more,
    }


def text_of(page: str) -> str:
    """What a person reads, in one line."""
    body = re.sub(r"(?s)<(style|script|title)>.*?</\1>", "", page.partition("<body>")[2])
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", body)).split())


class Parsed(HTMLParser):
    """The tags of a page, and the attributes of all."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def test_nothing_from_outside_becomes_html(inventory: Inventory) -> None:
    plain, hostile = (
        Parsed(
            pages.render(
                document(
                    inventory,
                    text,
                    history=[{"written": text, "answer": text, "causes": [text]}],
                    symptom={"found": [{"id": text, "means": [{"says": text, "state": "open", "reasons": [text]}]}]},
                    baseline={"file": text, "written": text, "new": [{"name": text, "now": text, "before": ""}]},
                    job={"id": text, "url": "https://gitlab.example.com/-/jobs/1?" + text},
                )
            )
        )
        for text in ("words", HOSTILE)
    )
    assert hostile.tags == plain.tags, "no text makes or ends a tag"
    assert [(tag, name) for tag, name, _ in hostile.attributes] == [(tag, name) for tag, name, _ in plain.attributes]
    assert f"https://gitlab.example.com/-/jobs/1?{HOSTILE}" in hostile.values("href")


def test_only_a_link_to_a_web_page_is_one(inventory: Inventory) -> None:
    page = Parsed(pages.render(document(inventory, job={"id": "1", "url": "javascript:alert(1)"})))
    assert all(link.startswith("#") for link in page.values("href"))


def test_every_link_on_the_page_leads_somewhere_and_every_name_is_there_once(inventory: Inventory) -> None:
    many = [check("test_m", "blocked", target=f"{number}", targets={"worker": "k8s-worker-1"}) for number in range(60)]
    cause = conclusion(explains=["test_m[59]", "test_a", "test_absent"])
    checks = [*document(inventory)["checks"], *many]
    page = Parsed(pages.render(document(inventory, checks=checks, conclusions=[cause])))
    names = page.values("id")
    assert len(names) == len(set(names))
    assert {link[1:] for link in page.values("href")} <= set(names)
    labels = [name for value in page.values("aria-labelledby") for name in value.split()]
    assert set(labels) <= set(names)
    assert len(many) > sum(name.startswith("test_m") for name in names), "what many came to alike is one row"


def test_the_page_says_what_is_broken_what_was_not_checked_and_what_changed(inventory: Inventory) -> None:
    earlier = [
        {"run": "1", "written": "2026-11-21T12:00:00+00:00", "answer": "DEGRADED", "causes": ["resolver-down"]},
        {"run": "2", "written": "2026-11-22T12:00:00+00:00", "answer": "GO", "partial": True},
    ]
    left_out = [{"id": "test_x", "section": "2.2 Runner token", "title": "2.2.1 The token is given", "count": 5}]
    decision = {
        "answer": "NO GO",
        "partial": True,
        "counts": {"failed": 2},
        "reasons": ["-k paths"],
        "not_looked_at": left_out,
    }
    shown = text_of(
        pages.render(
            document(
                inventory,
                "worker 2 is cut off",
                decision=decision,
                verdict="PARTIAL: 4 of 9 checks judged (-k paths): NO GO: 2 failed",
                history=earlier,
                baseline={
                    "file": "old.json",
                    "written": "2026-11-21T12:00:00+00:00",
                    "new": [{"name": "test_a", "before": "pass", "now": "fail"}],
                },
                began="2026-11-28T13:00:00+01:00",
                versions={"suite": "0.1.0", "python": "3.11", "pytest": "9"},
            )
        )
    )
    for part in (
        "✗ PARTIAL 4 of 9 checks judged (-k paths): NO GO: 2 failed",
        "3 jobs fit at once; 6 are configured",
        "Time2026-11-28 13:00:00 +01:00",
        "Duration14 s",
        "GitLabnot measured (expected 18.3.2-jh) at http://192.168.1.50/",
        "Selection-k paths; effects up to probe",
        "1 worker 2 is cut off stops worker 2 is cut off · likely · explains 1 fail, 1 blocked First: run kubectl get",
        "To be certain: worker 2 is cut off",
        "Not explained by a root cause",
        "Since old.json of 2026-11-21 12:00:00 UTC",
        "Failures: new 1 test_a: fail (before: pass)",
        "this run✗ NO GO a part2 new node-path-blocked (k8s-worker-2)",
        "Not selected 5 this is a run of a part: -k paths 2.2 Runner token 52.2.1 The token is given (5)",
        "Could not be measured 1",
        "Blocked 1",
        "Not applicable 1",
        "cpu: 4 of 8 requested, 3 more of 1100m fit runs out first",
        "Faulty: here to GitLab 192.168.1.50: refused;",
    ):
        assert part in shown, f"{part}: {shown}"
    assert "gone resolver-down" not in shown, "a part may only not have looked"


def test_every_failure_is_seen_at_a_glance_and_what_was_not_looked_at_is_told_from_what_is_not_there() -> None:
    checks = [
        check("test_a", "pass", targets={"worker": "w1"}),
        check("test_a", "fail", target="w2", targets={"worker": "w2"}),
        check("test_b", "not applicable", area="3 Values file"),
        check("test_c", "advice", area="3 Values file"),
        check("test_d", "unknown", area="own"),
    ]
    given = {"schema": saved.SCHEMA, "written": "", "verdict": "", "decision": {"answer": "GO"}, "checks": checks}
    sections = results.sections(pages.Report.model_validate(given), ("w1", "w2"))
    drawn = results.overview(sections, ("w1", "w2"), left_out={"2.1 GitLab server", "2.4 Paths"})
    shown = {str(head.text): cells for head, cells in zip(drawn.rows, drawn.cells, strict=True)}
    states = {title: [cell.state.style for cell in cells] for title, cells in shown.items()}
    assert states == {
        "2.1 GitLab server": ["none", "none", "none"],
        "3 Values file": ["ok", "na", "na"],
        "2.4 Paths": ["none", "ok", "fault"],
        "own": ["unknown", "na", "na"],
    }
    assert [(cell.word, cell.link) for cell in shown["2.4 Paths"][2:]] == [("1 of 1 failed", "test_a-w2")]
    assert shown["3 Values file"][0].word == "advice"


def test_the_page_of_500_nodes_that_fail_alike_stays_below_its_size(inventory: Inventory) -> None:
    text = "nothing came back within 5 s, " * 10
    checks = [
        check(f"test_{number}_{letter}", verdict, text, target=f"worker-{node}", fault="timeout")
        for number, (letter, verdict) in enumerate(
            [("a", "fail"), ("b", "unknown"), ("c", "blocked"), ("d", "pass")] * 3
        )
        for node in range(500)
    ]
    failing = [f"{entry['id']}[{entry['target']}]" for entry in checks if entry["verdict"] == "fail"]
    changes = [{"name": name, "before": "pass", "now": text} for name in failing]
    report = document(inventory, checks=checks, unexplained=failing, baseline={"new": changes})
    assert len(pages.render(report)) < 250_000


@pytest.mark.parametrize(
    ("answer", "partial", "style"),
    [
        ("GO", False, "go"),
        ("DEGRADED", False, "degraded"),
        ("NO GO", False, "nogo"),
        ("INCONCLUSIVE", False, "inconclusive"),
        ("INTERRUPTED", False, "stopped"),
        ("GO", True, "partial"),
        ("NO GO", True, "nogo"),
        ("INTERRUPTED", True, "stopped"),
    ],
)
def test_the_banner_has_the_style_of_the_verdict(answer: str, partial: bool, style: str) -> None:
    given = {"schema": saved.SCHEMA, "written": "", "checks": [], "verdict": "WORD: rest"}
    report = pages.Report.model_validate({**given, "decision": {"answer": answer, "partial": partial}})
    assert (views.banner(report).style, views.banner(report).head) == (style, "WORD")


def test_a_picture_with_an_internal_error_costs_nothing_else(inventory: Inventory) -> None:
    broken = Observation("cluster_nodes", {}, Nodes(target="n", evidence=evidence(), nodes=None))  # type: ignore[arg-type]
    head = next(iter(packed(inventory).observations(headroom_fact)))
    facts = [fact(one) for one in (observation("gitlab_reply", reply()), head, broken)]
    shown = text_of(pages.render(document(inventory, facts=facts)))
    assert "A picture could not be drawn: " in shown
    assert "Which service is reached from where" in shown


def test_facts_of_another_form_cost_the_pictures_alone(inventory: Inventory) -> None:
    older = document(inventory, schema=3)
    del older["by"]
    shown = text_of(pages.render(older))
    assert "Pictures could not be drawn: facts of schema 3, this version draws those of 4, 5." in shown
    assert "stops words" in shown


def test_the_page_loads_nothing_and_allows_nothing_but_its_own_script_and_style(inventory: Inventory) -> None:
    shown = pages.render(document(inventory))
    page = Parsed(shown)
    assert not {"src", "style", "onclick"} & {name for _, name, _ in page.attributes}
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    (policy,) = [value for value in page.values("content") if "default-src" in value]
    for tag in ("style", "script"):
        (inner,) = re.findall(rf"(?s)<{tag}>(.*?)</{tag}>", shown)
        assert base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'; ")


def test_templates_and_styles_ship_with_the_package() -> None:
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "preflight" in wheel["packages"]  # hatchling takes every file of a package
    assert not {"exclude", "include", "only-include"} & set(wheel)


# ---- `preflight report` ---------------------------------------------------------------------------------------------


def test_a_page_is_rendered_again_from_its_json_alone(inventory: Inventory, tmp_path: Path) -> None:
    file = tmp_path / "preflight.json"
    file.write_text(json.dumps(document(inventory)))
    assert main(["report", str(file)]) == 0
    assert (tmp_path / "preflight.html").read_text() == pages.render(document(inventory))
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "linked.html").symlink_to(precious)
    assert main(["report", str(file), "-o", str(tmp_path / "linked.html")]) == 0
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (None, "can't be read: No such file or directory"),
        ("{", "expected a preflight.json, found no JSON"),
        ("[]", "expected a preflight.json with `facts` and `checks`"),
        ({"schema": 9}, "found schema 9, expected 2 or 3 or 4"),
        (
            {"checks": [{"id": "x", "section": "1", "title": "t", "verdict": "so so"}]},
            "checks.0.verdict: found 'so so'",
        ),
        ({"decision": "GO"}, "decision: found 'GO'; input should be"),
        ({"took": "long"}, "took: found 'long'; input should be a valid number"),
    ],
)
def test_a_file_that_is_no_report_is_refused(
    inventory: Inventory, tmp_path: Path, change: dict[str, Any] | str | None, error: str, capsys: Capture
) -> None:
    file = tmp_path / "odd.json"
    if change is not None:
        file.write_text(change if isinstance(change, str) else json.dumps({**document(inventory), **change}))
    assert main(["report", str(file)]) == 4
    assert f"error: {file}: " in capsys.readouterr().err.replace(f"{file} can't", f"{file}: can't").replace(
        error, error
    )
    assert not (tmp_path / "odd.html").exists()


def test_the_schema_of_a_report_takes_one(inventory: Inventory, capsys: Capture) -> None:
    assert main(["schema", "report"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.validate(document(inventory), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document(inventory), "checks": [{"id": "x"}]}, schema)


# ---- earlier runs ---------------------------------------------------------------------------------------------------


def test_the_last_runs_are_those_of_the_same_environment_however_many_files_lie_there(
    inventory: Inventory, tmp_path: Path
) -> None:
    def written(name: str, **more: Any) -> None:
        (tmp_path / name).write_text(json.dumps({**document(inventory, "\x1b[31mred"), **more}))

    carried = [{"run": f"r{day}", "written": f"2026-11-{day:02}", "answer": "GO"} for day in range(1, 13)]
    written("preflight.json", run="last", history=carried)
    written("other.json", run="other", environment={"gitlab": {"url": "http://elsewhere/"}})
    written("now.json", run="now")
    (tmp_path / "notes.json").write_text("[1]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "linked.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.json")
    environment = baseline.environment_of(inventory.model_dump(mode="json"))
    runs = history.earlier_runs(tmp_path, environment=environment, run="now")
    assert [entry["run"] for entry in runs] == [*(f"r{day}" for day in range(4, 13)), "last"]
    assert runs[-1]["causes"] == ["node-path-blocked (k8s-worker-2)"]
    assert "\x1b" not in json.dumps(runs)


def test_the_page_is_in_the_language_that_is_spoken(inventory: Inventory) -> None:
    run = document(inventory)
    english = pages.render(run)
    end = language.speaking("zh")
    try:
        chinese = pages.render(run)
    finally:
        end()
    assert '<html lang="en">' in english
    assert '<html lang="zh-CN">' in chinese
    headings = [re.findall(r"<h2[^>]*>([^<]*)</h2>", page) for page in (english, chinese)]
    assert len(headings[0]) == len(headings[1])
    assert not set(headings[0]) & set(headings[1])

"""The HTML page in a real browser: narrow and wide, light and dark, printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.conclusions import Explanation, Facts, Finding
from preflight.decision import Answer, Decision
from preflight.inventory import Inventory
from preflight.pages import top
from preflight.verdicts import Verdict
from tests import processes
from tests.core.test_pages import HOSTILE, conclusion, observation, outcome, packed, reply
from tests.system.chromium import Page, browser

PROJECT = Path(__file__).parents[2]
NARROW, WIDE = 400, 1600


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def lab_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run against a broken lab."""
    folder = tmp_path_factory.mktemp("reports")
    faults = ("dns-one-silent", "registry-tag-missing", "headroom-short")
    broken = (part for fault in faults for part in ("--lab-fault", fault))
    ended = processes.run_checks("--lab", "-q", *broken, "--report-dir", folder)
    assert ended.returncode == 1, ended.stdout
    return folder / "preflight.html"


@pytest.fixture
def hostile_page(inventory: Inventory, tmp_path: Path) -> Path:
    """Our part of a page, of 200 nodes, with texts that are long and hostile."""
    text = HOSTILE + "x" * 300 + " `" + "y" * 200 + "`"
    judged = [
        outcome("test_a", Verdict.FAIL, text=text, target="t" * 200),
        outcome("test_b", Verdict.UNKNOWN, text=text),
    ]
    told = Explanation((Finding(conclusion(text), tuple(judged[:1])),), (judged[1],))
    names = [f"{'long-' * 20}{number}" for number in range(200)]
    worker = inventory.workers["k8s-worker-1"]
    cluster = inventory.cluster.model_copy(update={"nodes": dict.fromkeys(names, worker)})
    large = inventory.model_copy(update={"cluster": cluster})
    observations = [observation("node_gitlab", reply(), worker=name) for name in names]
    body = "".join(top(judged, told, Facts(large, [*observations, *packed(large, count=200)]), Decision(Answer.NO_GO)))
    file = tmp_path / "page.html"
    file.write_text(f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>t</title><body>{body}</body></html>")
    return file


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("which", ["lab_page", "hostile_page"])
def test_the_page_fits_complains_of_nothing_and_loads_nothing(
    tab: Page, which: str, width: int, request: pytest.FixtureRequest
) -> None:
    file = request.getfixturevalue(which)
    tab.show(file, width=width)
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.body.scrollWidth") <= width
    assert tab.evaluate("document.querySelectorAll('.pf-matrix').length") > 0
    assert tab.complaints == []
    assert tab.requested == [file.as_uri()]


def test_the_verdict_comes_first_and_the_results_last(tab: Page, lab_page: Path) -> None:
    tab.show(lab_page, width=WIDE)
    order = ("#title", ".pf-banner", ".pf-findings", ".pf-matrix", ".pf-rooms", "#environment", "#results-table")
    tops = [tab.evaluate(f"document.querySelector('{one}').getBoundingClientRect().top") for one in order]
    assert tops == sorted(tops)
    assert tab.evaluate("document.querySelectorAll('#results-table .collapsible').length") > 200


# Every visible text beside the nearest background behind it (WCAG 2.2, 1.4.3: 4.5 : 1).
FAINT = """(() => {
  const channels = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = one => {
    for (let e = one; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !one.getClientRects().length || one.closest('button[disabled], .pf-heard, footer')) continue;
    const [a, b] = [light(channels(getComputedStyle(one).color)), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.add(`${one.tagName}.${one.className}: ${ratio.toFixed(1)}`);
  }
  return [...found];
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["lab_page", "hostile_page"])
def test_every_text_can_be_read(tab: Page, which: str, scheme: str, request: pytest.FixtureRequest) -> None:
    tab.show(request.getfixturevalue(which), width=WIDE, scheme=scheme)
    assert tab.evaluate(FAINT) == []
    dark = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(13, 17, 23)"
    assert dark == (scheme == "dark")


def test_printed_nothing_is_cut_off(tab: Page, hostile_page: Path) -> None:
    tab.show(hostile_page, width=800, scheme="dark", media="print")
    cut = "[...document.querySelectorAll('.pf-proof pre, .pf-scroll')].filter(e => e.scrollHeight > e.clientHeight + 1)"
    assert tab.evaluate(f"{cut}.length") == 0
    assert tab.evaluate(FAINT) == []
    assert tab.evaluate("getComputedStyle(document.querySelector('.pf-card')).breakInside") == "avoid"

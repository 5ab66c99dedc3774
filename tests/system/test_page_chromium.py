"""The HTML page in a real browser: narrow and wide, light and dark, printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight import pages, saved
from preflight.inventory import Inventory
from tests import processes
from tests.core.test_pages import HOSTILE, check, conclusion, document, fact, observation, packed, reply
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
    """A page of 200 nodes, with texts that are long and hostile."""
    text = HOSTILE + "x" * 300 + " `" + "y" * 200 + "`"
    names = [f"{'long-' * 20}{number}" for number in range(200)]
    worker = inventory.workers["k8s-worker-1"]
    cluster = inventory.cluster.model_copy(update={"nodes": dict.fromkeys(names, worker)})
    large = inventory.model_copy(update={"cluster": cluster})
    observations = [observation("node_gitlab", reply(), worker=name) for name in names]
    report = document(
        large,
        text,
        facts=[*map(fact, observations), *map(fact, packed(large, count=200))],
        conclusions=[conclusion(text)],
        checks=[
            check("test_a", "fail", text, target="t" * 200),
            check("test_b", "unknown", text),
            *(check("test_c", target=name, targets={"worker": name}) for name in names),
        ],
        history=[{"run": text, "written": text, "answer": "GO", "causes": [text]}],
        schema=saved.SCHEMA,
    )
    file = tmp_path / "page.html"
    file.write_text(pages.render(report))
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
    assert tab.evaluate("document.querySelectorAll('.matrix').length") > 0
    assert tab.complaints == []
    assert tab.requested == [file.as_uri()]


def test_results_are_searched_filtered_sorted_and_linked_to(tab: Page, lab_page: Path) -> None:
    assert lab_page.stat().st_size < 250_000
    tab.show(lab_page, width=WIDE)
    order = (".banner", ".strip", "#causes", "#not-checked", "#picture", "#headroom", "#results")
    tops = [tab.evaluate(f"document.querySelector('{name}').getBoundingClientRect().top") for name in order]
    assert tops == sorted(tops)
    shown = "[...document.querySelectorAll('.rows tbody tr')].filter(row => row.checkVisibility()).length"
    closed = tab.evaluate(shown)
    fill = "(name, value) => { const one = document.forms.filters.elements[name]; one.value = value; "
    fill += "one.dispatchEvent(new Event('input', {bubbles: true})) }"
    tab.evaluate(f"({fill})('worker', 'k8s-worker-2')")
    of_worker = tab.evaluate(shown)
    assert 20 < of_worker < 100
    tab.evaluate(f"({fill})('verdict', 'blocked')")
    assert 0 < tab.evaluate(shown) < of_worker
    tab.evaluate(f"({fill})('text', 'no such words')")
    assert tab.evaluate(shown) == 0
    assert tab.evaluate("document.querySelector('#filters output').textContent").startswith("0 of ")
    tab.evaluate("document.forms.filters.reset()")
    tab.evaluate("new Promise(done => setTimeout(done))")
    assert tab.evaluate(shown) in {closed, 0}
    tab.evaluate(f"({fill})('text', '')")
    assert tab.evaluate(shown) == closed, "as it was: all closed but failures"
    tab.evaluate("location.hash = '#test_gitlab_port_answers'")
    tab.evaluate("dispatchEvent(new Event('hashchange'))")
    assert tab.evaluate("document.getElementById('test_gitlab_port_answers').checkVisibility()")
    head = "document.querySelector('details.area[open] th[data-sort=took]')"
    tab.evaluate(f"{head}.querySelector('button').click()")
    assert tab.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending"


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
    if (!own || !one.getClientRects().length || one.closest('.heard, svg')) continue;
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
    cut = "[...document.querySelectorAll('.proof pre, .scroll')].filter(e => e.scrollHeight > e.clientHeight + 1)"
    assert tab.evaluate(f"{cut}.length") == 0
    assert tab.evaluate(FAINT) == []
    assert tab.evaluate("getComputedStyle(document.querySelector('.proof')).breakInside") == "avoid"

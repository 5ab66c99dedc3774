"""The page as a whole: its views, in the order in which it is read, and the templates that they go into."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preflight import language
from preflight.conclusions import Facts
from preflight.evidence import clean
from preflight.pages import dns, headroom, matrix, paths, picture, registry, results, texts, views, workers
from preflight.pages.cells import State
from preflight.pages.document import Report, parse
from preflight.pages.texts import Text
from preflight.saved import SavedError

if TYPE_CHECKING:
    import jinja2

_MOST = 30  # findings, or changes, of one kind that are listed

_MATRICES: Mapping[Text, tuple[Callable[[Facts], matrix.Matrix], ...]] = {
    Text("Workers"): (workers.matrix,),
    Text("Paths"): (paths.matrix,),
    Text("Names"): (dns.matrix, dns.inner),
    Text("Images"): (registry.matrix,),
}


def render(document: dict[str, Any]) -> str:
    """The page of a report's JSON; a SavedError says what is wrong with it."""
    return page(parse(document))


def page(report: Report) -> str:
    """The page of a report."""
    style, script = _file("style.css"), _file("script.js")
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            language=language.tag(),
            policy=_policy(style, script),
            style=style,
            script=script,
            **_views(report),
        )
    )


def _views(report: Report) -> dict[str, Any]:
    problems: list[Text] = []
    try:
        facts: Facts | None = report.measured()
    except SavedError as error:
        facts = None
        problems.append(Text("Pictures could not be drawn: {error}.", error=clean(str(error))))

    def drawn(draw: Callable[[Facts], Any]) -> Any:
        """What can be drawn of the facts; None where nothing can, and the rest of the page is still there."""
        try:
            return draw(facts) if facts is not None else None
        except Exception as error:  # noqa: BLE001 - an internal error in a picture must not cost the page
            message = clean(f"{type(error).__name__}: {error}")
            problems.append(Text("A picture could not be drawn: {error}.", error=message))
            return None

    judged_workers = _workers(report)
    sections = results.sections(report, judged_workers)
    matrices = {title: [drawn(draw) for draw in drawings] for title, drawings in _MATRICES.items()}
    shown = {
        title: [matrix.cut(table) for table in all_of_it if table is not None and table.looked_at]
        for title, all_of_it in matrices.items()
    }
    return {
        "report": report,
        "banner": views.banner(report),
        "strip": views.strip(report, facts),
        "rooms": drawn(headroom.rooms),
        "causes": views.causes(report, results.anchors(sections)),
        "unexplained": views.unexplained(report),
        "accepted": views.accepted(report),
        "trend": views.trend(report),
        "not_checked": views.not_checked(report),
        "picture": drawn(picture.picture),
        "overview": matrix.cut_across(
            results.overview(sections, judged_workers, {part.section for part in report.decision.not_looked_at})
        ),
        "matrices": {title: all_of_it for title, all_of_it in shown.items() if all_of_it},
        "sections": sections,
        "workers": judged_workers,
        "problems": problems,
        "most": _MOST,
    }


def _workers(report: Report) -> tuple[str, ...]:
    """The workers, as far as checks are about them, in the inventory's order."""
    cluster = report.environment.get("cluster")
    nodes = cluster.get("nodes") if isinstance(cluster, Mapping) else None
    declared = list(nodes) if isinstance(nodes, Mapping) else []
    judged = {check.targets.get("worker") for check in report.checks}
    return tuple(str(worker) for worker in declared if worker in judged)


@cache
def _templates() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - start-up stays quick

    from preflight.pages.compiled import CompiledTemplates  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("preflight.pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.bytecode_cache = CompiledTemplates(Path(__file__).parent / "templates", environment)
    environment.globals |= {
        "t": texts.t,
        "State": State,
        "kinds_of_change": views.changes,
        "moment": views.moment,
    }
    environment.filters |= {"translated": texts.translated, "code": texts.code}
    return environment


@cache
def _file(name: str) -> str:
    """A file that the page contains."""
    return resources.files("preflight.pages").joinpath("templates", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """What a browser lets the page do: its own style and its own script, and nothing else."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

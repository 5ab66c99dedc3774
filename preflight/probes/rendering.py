"""A chart rendered by Helm with an inventory's values, as a fact: the objects, or why Helm refuses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from preflight.chartpackage import ChartPackage
from preflight.clients import helm
from preflight.evidence import Evidence, Fact
from preflight.faults import ReleaseFault
from preflight.rendering import Rendering
from preflight.valuesource import Part, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRendering(Fact):
    """What Helm makes of the chart.

    Attributes:
        rendered_by: such as ``helm 3.17.3``.
        chart: its version; `app_version`: that of the runner that it brings.
        objects: kind and name of each object.
        rendering: the objects themselves; None with a fault, and when read back from a saved run.
    """

    rendered_by: str = ""
    chart: str = ""
    app_version: str = ""
    objects: tuple[str, ...] = ()
    rendering: Rendering | None = field(default=None, repr=False, metadata={"live": True})


def render(
    program: helm.Helm,
    chart: ChartPackage,
    *,
    release: str,
    namespace: str,
    parts: Sequence[Part],
    settings: Settings,
    kubernetes: str = "",
    api_versions: Sequence[str] = (),
    deadline: float,
) -> ChartRendering:
    """Render the chart.

    Raises:
        Unmeasured: helm could not be run, or did not end in time.
    """
    files = "".join(f" -f {part.file.name}" for part in parts)
    command = f"helm template {release} {chart.source} -n {namespace}{files}"
    began = time.monotonic()
    target = f"{chart.name} {chart.version}"
    try:
        rendering = helm.template(
            program,
            chart,
            release=release,
            namespace=namespace,
            values=[helm.ValuesFile(part.file.name, part.text) for part in parts],
            settings=settings,
            kubernetes=kubernetes,
            api_versions=api_versions,
            deadline=deadline,
        )
    except helm.RenderError as error:
        return ChartRendering(
            target=target,
            rendered_by=str(program),
            chart=chart.version,
            app_version=chart.app_version,
            fault=ReleaseFault.NOT_RENDERED,
            cause=f"{program} refuses {target} with these values: {place(error, parts)}",
            evidence=Evidence(where="here", command=command, observed=error.detail, took=time.monotonic() - began),
        )
    objects = tuple(
        f"{rendered.get('kind')}/{(rendered.get('metadata') or {}).get('name', '')}" for rendered in rendering.objects
    )
    return ChartRendering(
        target=target,
        rendered_by=str(program),
        chart=chart.version,
        app_version=chart.app_version,
        objects=objects,
        rendering=rendering,
        evidence=Evidence(
            where="here", command=command, observed="\n".join((*objects, *rendering.warnings)), took=rendering.took
        ),
    )


def place(error: helm.RenderError, parts: Sequence[Part]) -> str:
    """Where Helm met what it refuses, in the operator's own files where that is known, and its words."""
    if not error.values_path:
        return str(error)
    steps = tuple(error.values_path.split("."))
    where = f" ({error.template}:{error.line})" if error.template and error.line else ""
    while steps:  # a key that is not there is a matter of the one around it
        for part in reversed(parts):
            if steps in part.marks.lines:
                first = part.marks.line(steps)
                line = first + error.text_line if error.text_line and steps in part.marks.blocks else first
                return f"{part.file.name}:{line}: {error.values_path}: {error.message}{where}"
        steps = steps[:-1]
    return f"{error.values_path}: {error}"

"""The guide's sections in their order, and what a check's docstring says.

A check's docstring is its data::

    2.1.4 The service at GitLab's URL is GitLab.

    Why: …
    Remedy (not-gitlab): …
    Remedy: …

The first line is the number (the guide's section, then an ordinal) and a title that is true when healthy; `Why` is the
reason; a remedy in brackets is for that fault (several may be named, with commas), the one without for everything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from preflight import faults

MODULES: Mapping[str, str] = {
    "test_01_environment": "1 Environment: inventory, values file and cluster agree",
    "test_02_1_gitlab": "2.1 GitLab server",
    "test_02_2_token": "2.2 Runner token",
    "test_02_3_cluster": "2.3 Kubernetes cluster",
    "test_02_4_paths": "2.4 Paths from the workers and from pods",
    "test_02_4_dns": "2.4 Name resolution",
    "test_02_4_registry": "2.4 Registries and image pulls",
    "test_02_4_packets": "2.4 Packets of full size",
    "test_02_4_certificates": "2.4 Certificates near their end",
    "test_02_4_latency": "2.4 Packet loss and round trips",
    "test_03_namespace": "3.2 Namespace and rights",
    "test_03_values": "3 Values file",
    "test_03_release": "3 Helm release",
    "test_04_runners": "4 Runners in GitLab",
    "test_04_pipeline": "4.3 Smoke pipeline",
    "test_05_dind": "5 Docker-in-Docker",
    "test_06_headroom": "6.5, 7 Headroom",
    "test_08_monitoring": "8 Monitoring",
    "test_09_upgrade": "9 Upgrade",
    "test_10_uninstall": "10 Uninstall",
    "test_11_build": "11 Build and push",
}
"""The modules of checks in the guide's order, and the title of each."""

_FIRST = re.compile(r"(?P<number>\d{1,3}(?:\.\d{1,3}){0,5})\s{1,40}(?P<title>.{1,400}?)\.?$", re.DOTALL)
_PART = re.compile(r"^(?P<key>Why|Remedy(?:\s*\((?P<faults>[^)]*)\))?):\s*", re.MULTILINE)


def marker(module: str) -> str:
    """The marker of a module's checks, such as ``dns`` for ``test_02_4_dns``."""
    return module.rsplit("_", 1)[-1]


def markers() -> Iterator[str]:
    """The lines that register the suite's markers with pytest: one for each module, and those of single checks."""
    for module, title in MODULES.items():
        yield f"{marker(module)}: guide {title}"
    yield "advice(unless=OPTION): a failure is reported, but blocks no rollout; with that option, it does"
    yield "stage(NAME): runs with --stage NAME only"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """What a check's docstring says.

    Attributes:
        number: the guide's section and an ordinal, such as ``2.4.3``.
        title: affirmative sentence, true when healthy.
        why: why it matters.
        remedies: how to fix it, by fault; under None for everything else.
    """

    number: str
    title: str
    why: str
    remedies: Mapping[str | None, str]

    @property
    def section(self) -> str:
        """The guide's section: the number without its ordinal."""
        return self.number.rsplit(".", 1)[0]

    @property
    def order(self) -> tuple[int, ...]:
        """The number as a sort key."""
        return tuple(int(part) for part in self.number.split("."))

    @property
    def link(self) -> str:
        """Where the section is explained, relative to the project."""
        return f"docs/checks.md#section-{self.section.replace('.', '-')}"

    def remedy(self, fault: str | None) -> str:
        """How to fix this fault: its own remedy, or the one for everything else."""
        return self.remedies.get(fault) or self.remedies.get(None, "")


@cache
def paragraph(docstring: str) -> Paragraph:
    """Read a check's docstring; a ValueError says what is missing."""
    text = "\n".join(line.strip() for line in docstring.strip().splitlines())
    parts = list(_PART.finditer(text))
    head = text[: parts[0].start()] if parts else text
    first = _FIRST.match(_folded(head))
    if first is None:
        msg = f"expected a number and a title, such as '2.1.1 GitLab answers.', found {head.strip()[:60]!r}"
        raise ValueError(msg)
    why, remedies = "", dict[str | None, str]()
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        body = _folded(text[part.end() : following.start() if following else None])
        if part["key"] == "Why":
            why = body
        else:
            for key in (part["faults"] or "").split(",") if part["faults"] else [None]:
                remedies[key.strip() if key else None] = body
    if not why or None not in remedies:
        msg = f"{first['number']}: expected a 'Why:' and a 'Remedy:' without a fault"
        raise ValueError(msg)
    return Paragraph(first["number"], first["title"], why, remedies)


def known_faults() -> frozenset[str]:
    """Every fault that a remedy may name in brackets."""
    return frozenset(
        fault.value
        for kind in vars(faults).values()
        if isinstance(kind, type) and issubclass(kind, faults.Fault)
        for fault in kind
    )


def _folded(text: str) -> str:
    return " ".join(text.split())

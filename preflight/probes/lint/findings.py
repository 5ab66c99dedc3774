"""What a check of the values finds, and for which environment they are checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from preflight.charts import Keys
from preflight.evidence import Evidence, Fact
from preflight.faults import ValuesFault
from preflight.shell_command import ShellCommand, pipe, program, sequence
from preflight.values import Origin, Values

Reader = Literal["chart", "runner"]

_NAMED = 3  # findings that a cause names; the evidence holds all


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing in the values that will not work as it reads.

    Attributes:
        fault: its kind.
        reader: who will not read it so: the chart (keys of the YAML), or the runner (keys of the TOML).
        path: the key.
        place: such as ``gitlab-runner-values.yaml:12``.
        message: what is wrong, as a sentence that never holds a value that may be secret.
    """

    fault: ValuesFault
    reader: Reader
    path: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.path}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadFinding:
    """A setting of ``runners.config`` that can't be read here.

    Attributes:
        path: its names with dots; empty if any setting may come of it.
        cause: where, and why.
        needs: what would allow it.
        bare: whether it may become another type than text.
    """

    path: str
    cause: str
    needs: str
    bare: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint(Fact):
    """What a check of the values found.

    Attributes:
        findings: in the order of the file.
        chart: the version whose keys were taken.
        unread: settings that could not be read, and so not be judged.
        refused: why Helm refuses the values, or "".
        elsewhere: what gives values, too, and can't be read from here.
    """

    findings: tuple[Finding, ...] = ()
    chart: str = ""
    unread: tuple[UnreadFinding, ...] = ()
    refused: str = ""
    elsewhere: tuple[str, ...] = ()

    def gap(self, *tables: str, bare: bool = False) -> UnreadFinding | None:
        """The first unread setting that is, is around or is below one of these; without any, of all settings.

        Args:
            tables: dotted names, such as ``runners.cache``.
            bare: leave out what stands in quotes, and can become nothing else than text.
        """
        wanted = [table.split(".") for table in tables]
        for setting in self.unread:
            path = setting.path.lower().split(".") if setting.path else []
            related = not path or any(path[: len(steps)] == steps[: len(path)] for steps in wanted)
            if (related or not tables) and (setting.bare or not bare):
                return setting
        return None

    def about(self, *faults: ValuesFault, reader: Reader | None = None) -> Lint:
        """The same check, with the findings of these kinds alone; the first of them is the fault."""
        chosen = tuple(each for each in self.findings if each.fault in faults and reader in {None, each.reader})
        return Lint(
            target=self.target,
            findings=chosen,
            chart=self.chart,
            unread=self.unread,
            refused=self.refused,
            fault=chosen[0].fault if chosen else None,
            cause="; ".join(map(str, chosen[:_NAMED]))
            + (f"; and {len(chosen) - _NAMED} more" if chosen[_NAMED:] else ""),
            evidence=Evidence(
                where=self.evidence.where,
                command=_command(chosen) or self.evidence.command,
                observed="\n".join(map(str, chosen)) or self.evidence.observed,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the inventory says of the environment that the values are for.

    Attributes:
        chart: the chart's version.
        gitlab_url: GitLab's address.
        resolvers: the resolvers that jobs are given.
        privileged: whether jobs use Docker-in-Docker.
        keys: of the chart's package, where it is at hand; else the shipped tables are taken.
    """

    chart: str
    gitlab_url: str
    resolvers: tuple[str, ...]
    privileged: bool
    keys: Keys | None = None


def chart_finding(
    values: Values, fault: ValuesFault, path: str, message: str, *, origin: Origin | None = None
) -> Finding:
    """A finding about a key of the YAML, at its own place unless an origin is given."""
    place = str(origin or values.origin(path))
    return Finding(fault=fault, reader="chart", path=path, place=place, message=message)


def position(finding: Finding) -> tuple[str, int]:
    """File and line of a finding, to sort by; line 0 where it stands in no file."""
    file, _, line = finding.place.rpartition(":")
    return file, int(line) if line.isdigit() else 0


def _command(findings: tuple[Finding, ...]) -> ShellCommand:
    """A command that shows the lines of the findings; a secret in them stays where it is."""
    lines: dict[str, list[int]] = {}
    for finding in findings:
        file, line = position(finding)
        if file and line and line not in lines.setdefault(file, []):
            lines[file].append(line)
    return sequence(
        *(
            pipe(program("cat", "-n", file), program("sed", "-n", ";".join(f"{line}p" for line in numbers)))
            for file, numbers in lines.items()
        )
    )

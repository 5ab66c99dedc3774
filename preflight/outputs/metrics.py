"""Metrics of a run for Prometheus: a file for node_exporter's textfile collector, or a push to a Pushgateway.

The names are the contract of `deploy/alerts.rules.yaml` and `deploy/grafana-dashboard.json`, and listed in
docs/reports.md.
All are gauges of the last run, with the label ``release``.
"""

from __future__ import annotations

import base64
import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from preflight.clients.connect import Routes
from preflight.clients.http import NoReply, exchange
from preflight.decision import Answer
from preflight.evidence import Unmeasured, one_line
from preflight.outputs.document import PARTIAL, Document, answer, release, root_causes, section
from preflight.redaction import remember
from preflight.saved import rows
from preflight.verdicts import Verdict

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PREFIX = "gitlab_runner_preflight_"
JOB = "gitlab_runner_preflight"
"""The ``job`` of what is pushed."""
DEADLINE = 10.0
"""Seconds that a push may take."""

_Sample = tuple[Mapping[str, str], float]


def write(document: Document, file: Path) -> None:
    """Write the metrics as one file that appears whole or not at all.

    Raises:
        OSError: it can't be written.
    """
    from prometheus_client import write_to_textfile  # noqa: PLC0415 - only this output needs it

    write_to_textfile(str(file), registry(document))


def push(document: Document, url: str, *, ca_file: Path | None = None, deadline: float = DEADLINE) -> None:
    """Replace the metrics of this release in a Pushgateway.

    Args:
        document: the JSON report.
        url: of the Pushgateway; ``user:password@`` in it becomes basic authentication.
        ca_file: PEM of a further CA to trust.
        deadline: seconds for the whole exchange.

    Raises:
        OSError: it did not take them; the message says why, and does not hold the URL.
    """
    from prometheus_client import push_to_gateway  # noqa: PLC0415 - only this output needs it

    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    login: dict[str, str] = {}
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login["Authorization"] = f"Basic {remember(base64.b64encode(account.encode()).decode())}"

    def handler(
        url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        """What prometheus_client sends by, in one bounded exchange: its own way takes proxies and follows redirects."""

        def send() -> None:
            try:
                reply = exchange(
                    url,
                    method=method,
                    headers={**dict(headers), **login},
                    body=data,
                    routes=Routes(),
                    ca_file=ca_file,
                    deadline=timeout or deadline,
                )
            except (NoReply, Unmeasured) as error:
                raise OSError(str(error)) from None
            if reply.status // 100 != 2:  # noqa: PLR2004 - 2xx
                detail = one_line(reply.text, longest=200)
                raise OSError(f"it answered {reply.status} {reply.reason}" + (f": {detail}" if detail else ""))

        return send

    push_to_gateway(
        parts._replace(netloc=host).geturl(),
        job=JOB,
        registry=registry(document),
        grouping_key={"release": release(document)},
        timeout=deadline,
        handler=handler,
    )


def registry(document: Document) -> CollectorRegistry:
    """The metrics of a run."""
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415 - only this output needs it

    collected = CollectorRegistry()
    for name, meaning, samples in _metrics(document):
        listed = list(samples)
        labels = list(listed[0][0]) if listed else []
        gauge = Gauge(PREFIX + name, meaning, ["release", *labels], registry=collected)
        for values, number in listed:
            gauge.labels(release=release(document), **values).set(number)
    return collected


def _metrics(document: Document) -> Iterator[tuple[str, str, Iterable[_Sample]]]:
    decision = document["decision"]
    yield "last_run_timestamp_seconds", "When the run was over, in seconds since 1970.", [({}, _seconds(document))]
    yield "duration_seconds", "How long the run took.", [({}, float(document.get("took") or 0))]
    yield "exit_status", "The run's exit status (docs/verdicts.md).", [({}, float(document["exit"]))]
    yield (
        "verdict",
        "1 for the verdict that the run came to, 0 for the others.",
        [({"answer": word}, float(answer(document) == word)) for word in (*map(str, Answer), PARTIAL)],
    )
    yield "partial", "1 if only a part of the guide was looked at.", [({}, float(decision["partial"]))]
    left_out = sum(part["count"] for part in decision["not_looked_at"])
    yield "checks_not_looked_at", "Checks that a whole run looks at, and this one did not.", [({}, float(left_out))]
    yield "checks", "Checks by section of the guide and verdict.", _checks(document)
    yield "root_causes", "How many root causes there are.", [({}, float(len(root_causes(document))))]
    yield "root_cause", "1 for each root cause, by its id and by what it does to jobs.", _root_causes(document)
    yield "measurement_seconds", "How long the slowest measurement of each fact took.", _measurements(document)
    room = next(iter(_values(document, "headroom")), None)
    if room is not None:
        yield "jobs_wanted", "Jobs that the values let run at the same time.", [({}, float(room["wanted"]))]
        yield "jobs_that_fit", "Jobs that fit onto the cluster now.", [({}, float(room["capacity"]))]
        nodes = [
            ({"node": str(node["node"])}, float(node["fits"])) for node in rows(room["by_node"]) if node["eligible"]
        ]
        if nodes:
            yield "node_jobs_that_fit", "Jobs that fit onto a node now.", nodes
    certificates = _certificates(document)
    if certificates:
        yield (
            "certificate_expiry_timestamp_seconds",
            "When a certificate ends, in seconds since 1970.",
            [(labels, float(term["ends"])) for labels, term in certificates],
        )
        yield (
            "certificate_days_left",
            "Days that a certificate was still valid at the run.",
            [(labels, float(term["days_left"])) for labels, term in certificates],
        )


def _seconds(document: Document) -> float:
    return datetime.datetime.fromisoformat(document["written"]).timestamp()


def _checks(document: Document) -> Iterator[_Sample]:
    """Each section with each verdict, zeros too, so that an alert ends when a failure does."""
    counts = Counter((section(check), str(check["verdict"])) for check in document["checks"])
    for number in dict.fromkeys(map(section, document["checks"])):
        for verdict in Verdict:
            yield {"section": number, "verdict": str(verdict)}, float(counts[number, str(verdict)])


def _root_causes(document: Document) -> list[_Sample]:
    """One sample a root cause; of several with one id, the first, which harms jobs the most."""
    samples: dict[str, _Sample] = {}
    for conclusion in root_causes(document):
        labels = {"cause": str(conclusion["name"]), "harm": str(conclusion["impact"]["harm"])}
        samples.setdefault(labels["cause"], (labels, 1.0))
    return [*samples.values()]


def _measurements(document: Document) -> list[_Sample]:
    slowest: dict[str, float] = {}
    for fact in document["facts"]:
        slowest[fact["name"]] = max(slowest.get(fact["name"], 0.0), float(fact["took"]))
    return [({"fact": name}, seconds) for name, seconds in slowest.items()]


def _values(document: Document, *names: str) -> Iterator[Mapping[str, Any]]:
    for fact in document["facts"]:
        if fact["name"] in names and "value" in fact:
            yield fact["value"]


_TERMS = ("gitlab_certificate_term", "api_certificate_term", "kubeconfig_certificate", "registry_certificate_term")


def _certificates(document: Document) -> list[tuple[dict[str, str], Mapping[str, Any]]]:
    """Each certificate once, by whose it is."""
    by_target = {str(term["target"]): term for term in _values(document, *_TERMS) if term.get("ends") is not None}
    return [({"certificate": target}, term) for target, term in by_target.items()]

"""What tuned values ask of the cluster, beside what it has: labels that select nodes, and a cache (guide 7.3, 7.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from preflight.clients.connect import split_address
from preflight.evidence import Evidence, Fact
from preflight.faults import TuningFault
from preflight.probes.cluster import Nodes
from preflight.probes.headroom import matches_term

Json = dict[str, Any]

_S3, _GCS, _AZURE = "s3.amazonaws.com", "storage.googleapis.com", "blob.core.windows.net"
_HTTP, _HTTPS = 80, 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement(Fact):
    """The nodes that the values select by their labels.

    Attributes:
        asked: what is asked for, a sentence each; empty if any node will do.
        nodes: the nodes that have the labels, whatever else keeps pods off them.
        unmet: preferences that no node meets.
    """

    asked: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()


class Endpoint(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


def placement(who: str, selector: Mapping[str, str], affinity: Json | None, nodes: Nodes) -> Placement:
    """Which nodes have the labels that a selector and a node affinity ask for.

    Args:
        who: whose pods: ``managers`` or ``jobs``.
        selector: labels that a node must have.
        affinity: in the API's form.
        nodes: all nodes.
    """
    node_affinity = (affinity or {}).get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = list(required.get("nodeSelectorTerms") or ())
    preferred = [one.get("preference") or {} for one in _preferred(node_affinity)]
    asked = [f"{key}={value}" for key, value in selector.items()]
    asked += [" or ".join(_words(term) for term in terms)] if terms else []
    fitting = [
        node.name
        for node in nodes.nodes
        if all(node.labels.get(key) == value for key, value in selector.items())
        and (not terms or any(matches_term(term, node) for term in terms))
    ]
    unmet = [_words(term) for term in preferred if not any(matches_term(term, node) for node in nodes.nodes)]
    fault: TuningFault | None = None
    cause = ""
    if not fitting:
        fault = TuningFault.NO_NODE_MATCHES
        cause = f"the values put {who} on nodes with {' and '.join(asked)}, and no node has that"
    labels = sorted(set(selector) | {key for term in [*terms, *preferred] for key in _keys(term)})
    command = "kubectl get nodes" + (f" -L {','.join(labels)}" if labels else " --show-labels")
    shown = {
        node.name: " ".join(f"{key}={node.labels[key]}" for key in labels if key in node.labels) for node in nodes.nodes
    }
    lines = [f"{name}  {words or 'none of them'}" for name, words in shown.items()]
    return Placement(
        target=who,
        asked=tuple(asked),
        nodes=tuple(fitting),
        unmet=tuple(unmet),
        fault=fault,
        cause=cause,
        evidence=Evidence(
            where="here",
            command=command,
            observed="\n".join(lines) if labels else f"{who} may run on any node",
            took=nodes.evidence.took,
        ),
    )


def preferences(every: Iterable[Placement]) -> Placement:
    """Whether some node meets each preference of these pods: the scheduler ignores one that none meets."""
    placements = tuple(every)
    unmet = tuple(f"{one.target} prefer {words}" for one in placements for words in one.unmet)
    telling = next((one for one in placements if one.unmet), placements[0])
    return Placement(
        target=", ".join(one.target for one in placements),
        unmet=unmet,
        fault=TuningFault.PREFERENCE_UNMET if unmet else None,
        cause=f"{'; '.join(unmet)}; no node has that" if unmet else "",
        evidence=telling.evidence,
    )


def _preferred(node_affinity: Mapping[str, Any]) -> list[Json]:
    return list(node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ())


def _keys(term: Json) -> list[str]:
    return [str(one.get("key")) for one in term.get("matchExpressions") or ()]


def _words(term: Json) -> str:
    """A node selector term as an operator would say it: ``workload in (ci)``."""
    pieces = []
    for one in [*(term.get("matchExpressions") or ()), *(term.get("matchFields") or ())]:
        operator = {"In": "in", "NotIn": "not in", "Gt": ">", "Lt": "<"}.get(str(one.get("operator")))
        values = ", ".join(map(str, one.get("values") or ()))
        pieces.append(f"{one.get('key')} {operator} ({values})" if operator else f"{one.get('operator')} {one['key']}")
    return " and ".join(pieces) or "nothing"


def cache_endpoint(config: Mapping[str, Any]) -> Endpoint | None:
    """Where ``[runners.cache]`` of a parsed ``runners.config`` keeps its archives; None without a cache.

    Raises:
        ValueError: its address is none.
    """
    runners = config.get("runners")
    first = runners[0] if isinstance(runners, list) and runners else {}
    cache = first.get("cache") if isinstance(first, Mapping) else None
    if not isinstance(cache, Mapping):
        return None

    def table(name: str) -> Mapping[str, Any]:
        found = cache.get(name)
        return found if isinstance(found, Mapping) else {}

    match str(cache.get("Type", "")):
        case "s3":
            port = _HTTP if table("s3").get("Insecure") else _HTTPS
            return Endpoint(*split_address(str(table("s3").get("ServerAddress") or _S3), port))
        case "gcs":
            return Endpoint(_GCS, _HTTPS)
        case "azure":
            domain = str(table("azure").get("StorageDomain") or _AZURE)
            return Endpoint(f"{table('azure').get('AccountName', '')}.{domain}".lstrip("."), _HTTPS)
        case _:
            return None

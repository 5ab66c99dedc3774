"""What the values require of the cluster, beside what it has: labels that select nodes, and a cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from preflight.clients.connect import split_address
from preflight.evidence import Evidence, Fact
from preflight.faults import TuningFault
from preflight.probes.cluster import Nodes
from preflight.probes.headroom import matches_term
from preflight.shell_command import program

Json = dict[str, Any]

_S3, _GCS, _AZURE = "s3.amazonaws.com", "storage.googleapis.com", "blob.core.windows.net"
_HTTP, _HTTPS = 80, 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement(Fact):
    """The nodes that the values select by their labels.

    Attributes:
        requirements: what a node must have, a phrase each; empty if any node will do.
        nodes: the nodes that have the labels, whatever else keeps pods off them; not saved, as they are among the
            cluster's nodes.
        unmet: preferences that no node meets.
    """

    requirements: tuple[str, ...] = ()
    nodes: tuple[str, ...] = field(default=(), metadata={"live": True})
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
    preferred = [item.get("preference") or {} for item in _preferred(node_affinity)]
    requirements = [f"{key}={value}" for key, value in selector.items()]
    requirements += [" or ".join(_describe(term) for term in terms)] if terms else []
    fitting = [
        node.name
        for node in nodes.nodes
        if all(node.labels.get(key) == value for key, value in selector.items())
        and (not terms or any(matches_term(term, node) for term in terms))
    ]
    unmet = [_describe(term) for term in preferred if not any(matches_term(term, node) for node in nodes.nodes)]
    fault: TuningFault | None = None
    cause = ""
    if not fitting:
        fault = TuningFault.NO_NODE_MATCHES
        cause = f"the values put {who} on nodes with {' and '.join(requirements)}, and no node has that"
    labels = sorted(set(selector) | {key for term in [*terms, *preferred] for key in _keys(term)})
    command = program("kubectl", "get", "nodes", *(["-L", ",".join(labels)] if labels else ["--show-labels"]))
    labels_by_node = {
        node.name: " ".join(f"{key}={node.labels[key]}" for key in labels if key in node.labels) for node in nodes.nodes
    }
    lines = [f"{name}  {text or 'none of them'}" for name, text in labels_by_node.items()]
    return Placement(
        target=who,
        requirements=tuple(requirements),
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


def preferences(of_pods: Iterable[Placement]) -> Placement:
    """Whether some node meets each preference of these pods: the scheduler ignores one that none meets."""
    placements = tuple(of_pods)
    unmet = tuple(f"{item.target} prefer {preference}" for item in placements for preference in item.unmet)
    unmet_placement = next((item for item in placements if item.unmet), placements[0])
    return Placement(
        target=", ".join(item.target for item in placements),
        unmet=unmet,
        fault=TuningFault.PREFERENCE_UNMET if unmet else None,
        cause=f"{'; '.join(unmet)}; no node has that" if unmet else "",
        evidence=unmet_placement.evidence,
    )


def _preferred(node_affinity: Mapping[str, Any]) -> list[Json]:
    return list(node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ())


def _keys(term: Json) -> list[str]:
    return [str(expression.get("key")) for expression in term.get("matchExpressions") or ()]


def _describe(term: Json) -> str:
    """A node selector term as kubectl prints it: ``workload in (ci)``."""
    pieces = []
    for expression in [*(term.get("matchExpressions") or ()), *(term.get("matchFields") or ())]:
        operator = {"In": "in", "NotIn": "not in", "Gt": ">", "Lt": "<"}.get(str(expression.get("operator")))
        values = ", ".join(map(str, expression.get("values") or ()))
        pieces.append(
            f"{expression.get('key')} {operator} ({values})"
            if operator
            else f"{expression.get('operator')} {expression['key']}"
        )
    return " and ".join(pieces) or "nothing"


def cache_endpoint(config: Mapping[str, Any]) -> Endpoint | None:
    """Where ``[runners.cache]`` of a parsed ``runners.config`` keeps its archives; None without a cache.

    Raises:
        ValueError: its address is not one.
    """
    runners = config.get("runners")
    first = runners[0] if isinstance(runners, list) and runners else {}
    cache = first.get("cache") if isinstance(first, Mapping) else None
    if not isinstance(cache, Mapping):
        return None

    def table(name: str) -> Mapping[str, Any]:
        section = cache.get(name)
        return section if isinstance(section, Mapping) else {}

    match str(cache.get("Type", "")):
        case "s3":
            port = _HTTP if table("s3").get("Insecure") else _HTTPS
            return Endpoint(*split_address(str(table("s3").get("ServerAddress") or _S3), port))
        case "gcs":
            return Endpoint(_GCS, _HTTPS)
        case "azure":
            domain = str(table("azure").get("StorageDomain") or _AZURE)
            host = f"{table('azure').get('AccountName', '')}.{domain}".lstrip(".")
            return Endpoint(*split_address(host, _HTTPS))
        case _:
            return None

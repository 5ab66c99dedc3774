"""Which probe is pointed at which target, under which name: the facts that checks take, a module a section.

The first sentence of a fact's docstring names it where it blocks others. Facts that only look at a part of another
one (`Fact.only`) let each check judge one thing, and the earlier one block the later.

Importing this package registers every fact; the plugin makes pytest fixtures of them. The types of facts stand here
too, for the checks' annotations.
"""

from preflight.facts import (
    cluster,
    dind,
    environment,
    gitlab,
    headroom,
    names,
    nodes,
    pods,
    registries,
    runners,
    tokens,
    values,
)
from preflight.probes.cluster import ApiServer, Metrics, Nodes, ServiceEndpoints
from preflight.probes.dns import Lookups
from preflight.probes.environment import NetworkAgreement, Proxies
from preflight.probes.gitlab import GitLabReply, GitLabVersion
from preflight.probes.headroom import Headroom
from preflight.probes.lint import Lint, Patience
from preflight.probes.nodes import NodeState
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.pods import ImagePull
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.runner_token import RunnerToken, TokenReply
from preflight.probes.runners import Managers, OwnRunner, RunnerRecord
from preflight.probes.runtime import Pull
from preflight.probes.secrets import SecretKeys
from preflight.probes.transcript import (
    Agreement,
    Clock,
    Daemon,
    DindRun,
    NodeLogin,
    PodStart,
    ResolvConf,
    WorkerRoom,
)

__all__ = [
    "Agreement",
    "ApiServer",
    "Clock",
    "Daemon",
    "DindRun",
    "GitLabReply",
    "GitLabVersion",
    "Headroom",
    "ImagePull",
    "Lint",
    "Lookups",
    "Managers",
    "Manifest",
    "Metrics",
    "NetworkAgreement",
    "NodeLogin",
    "NodeState",
    "Nodes",
    "OwnRunner",
    "Patience",
    "PodAdmission",
    "PodStart",
    "Proxies",
    "Pull",
    "RegistryReply",
    "ResolvConf",
    "RunnerRecord",
    "RunnerToken",
    "SecretKeys",
    "ServiceEndpoints",
    "TokenReply",
    "WorkerRoom",
    "cluster",
    "dind",
    "environment",
    "gitlab",
    "headroom",
    "names",
    "nodes",
    "pods",
    "registries",
    "runners",
    "tokens",
    "values",
]

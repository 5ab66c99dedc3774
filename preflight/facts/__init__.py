"""Which probe is pointed at which target, under which name: the facts that checks take, a module a section.

The first sentence of a fact's docstring names it where it blocks others. Facts that only look at a part of another
one (`Fact.only`) let each check judge one thing, and the earlier one block the later.

Importing this package registers every fact; the plugin makes pytest fixtures of them. The types of facts stand here
too, for the checks' annotations.
"""

from preflight.facts import (
    build,
    cluster,
    dind,
    environment,
    gitlab,
    headroom,
    monitoring,
    names,
    namespace,
    nodes,
    pipeline,
    pods,
    registries,
    release,
    runners,
    tokens,
    tuning,
    uninstall,
    upgrade,
    values,
)
from preflight.probes.charts import ChartVersion
from preflight.probes.cluster import ApiServer, Metrics, NamespaceState, Nodes, ServiceEndpoints
from preflight.probes.configs import ManagerConfig
from preflight.probes.dns import Lookups
from preflight.probes.drift import Drift
from preflight.probes.environment import NetworkAgreement, Proxies
from preflight.probes.gitlab import GitLabReply, GitLabVersion
from preflight.probes.headroom import Headroom
from preflight.probes.lint import Lint, Patience
from preflight.probes.managers import ManagerLogs, Managers, Rollout
from preflight.probes.monitoring import ManagerMetrics, Warnings
from preflight.probes.nodes import NodeState, PoolState
from preflight.probes.passage import Passage
from preflight.probes.pipeline import Configuration, Job, JobRunner, Pipeline, Project
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.pods import ImagePull
from preflight.probes.pull_logins import PullLogin
from preflight.probes.push import PushPermission
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.releases import Release
from preflight.probes.remains import Remains
from preflight.probes.rights import Rights
from preflight.probes.runner_token import RunnerToken, TokenReply
from preflight.probes.runners import Managers as RunnerManagers
from preflight.probes.runners import OwnRunner, RunnerRecord
from preflight.probes.runtime import Pull
from preflight.probes.secrets import SecretKeys
from preflight.probes.shell import Connection
from preflight.probes.transcript import (
    Agreement,
    Clock,
    Daemon,
    DindRun,
    FoundNames,
    InnerRegistry,
    NodeLogin,
    PacketSizes,
    PodStart,
    ResolvConf,
    WorkerRoom,
)
from preflight.probes.tuning import Placement
from preflight.probes.upgrades import Backup, RunningJobs, TargetVersion
from preflight.probes.variables import RefProtection, VariableState
from preflight.probes.webhooks import Webhooks

__all__ = [
    "Agreement",
    "ApiServer",
    "Backup",
    "ChartVersion",
    "Clock",
    "Configuration",
    "Connection",
    "Daemon",
    "DindRun",
    "Drift",
    "FoundNames",
    "GitLabReply",
    "GitLabVersion",
    "Headroom",
    "ImagePull",
    "InnerRegistry",
    "Job",
    "JobRunner",
    "Lint",
    "Lookups",
    "ManagerConfig",
    "ManagerLogs",
    "ManagerMetrics",
    "Managers",
    "Manifest",
    "Metrics",
    "NamespaceState",
    "NetworkAgreement",
    "NodeLogin",
    "NodeState",
    "Nodes",
    "OwnRunner",
    "PacketSizes",
    "Passage",
    "Patience",
    "Pipeline",
    "Placement",
    "PodAdmission",
    "PodStart",
    "PoolState",
    "Project",
    "Proxies",
    "Pull",
    "PullLogin",
    "PushPermission",
    "RefProtection",
    "RegistryReply",
    "Release",
    "Remains",
    "ResolvConf",
    "Rights",
    "Rollout",
    "RunnerManagers",
    "RunnerRecord",
    "RunnerToken",
    "RunningJobs",
    "SecretKeys",
    "ServiceEndpoints",
    "TargetVersion",
    "TokenReply",
    "VariableState",
    "Warnings",
    "Webhooks",
    "WorkerRoom",
    "build",
    "cluster",
    "dind",
    "environment",
    "gitlab",
    "headroom",
    "monitoring",
    "names",
    "namespace",
    "nodes",
    "pipeline",
    "pods",
    "registries",
    "release",
    "runners",
    "tokens",
    "tuning",
    "uninstall",
    "upgrade",
    "values",
]

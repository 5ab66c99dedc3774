"""The facts that checks take, a module a section: which probe measures which target, under which name.

The first sentence of a fact's docstring is its title in messages. Facts that judge a part of another one (`view`) let
each check judge one thing, and the earlier check block the later.

Importing this package declares every fact, and raises `FactError` if one refers to a fact that does not exist; the
plugin makes pytest fixtures of them. The facts' types are exported here too, for the checks' annotations.
"""

from preflight.fact import check_references
from preflight.facts import (
    build,
    certificates,
    cluster,
    dind,
    dns,
    environment,
    gitlab,
    headroom,
    latency,
    monitoring,
    namespace,
    nodes,
    packets,
    paths,
    pipeline,
    pods,
    registry,
    release,
    rendering,
    runners,
    token,
    uninstall,
    upgrade,
    values,
)
from preflight.probes.allowed_images import AllowedImages
from preflight.probes.certificates import CertificateTerm
from preflight.probes.chart_repository import ChartVersion
from preflight.probes.chart_source import FetchedChart
from preflight.probes.ci_variables import RefProtection, VariableState
from preflight.probes.cluster import ApiClock, ApiServer, Metrics, NamespaceState, Nodes, ServiceEndpoints
from preflight.probes.config_toml import ManagerConfig
from preflight.probes.dind import Daemon, DindRun, InnerRegistry, PacketSizes
from preflight.probes.dns import Lookups
from preflight.probes.encryption import Encryption
from preflight.probes.environment import NetworkAgreement, OwnNames, Proxies
from preflight.probes.gitlab import GitLabReply, GitLabVersion, Uploads
from preflight.probes.headroom import Headroom
from preflight.probes.job_leftovers import JobLeftovers
from preflight.probes.job_references import JobReferences
from preflight.probes.latency import RoundTrips
from preflight.probes.layer_rate import LayerRate
from preflight.probes.leftovers import Leftovers
from preflight.probes.lint import Lint
from preflight.probes.manager_logs import ManagerHistory, ManagerLogs
from preflight.probes.managers import ManagerPods, Rollout
from preflight.probes.monitoring import ManagerActivity, ManagerMetrics, Warnings
from preflight.probes.node_disk import NodeDisk
from preflight.probes.node_pulls import Pull
from preflight.probes.nodes import NodeState, PoolState
from preflight.probes.pipeline import Configuration, Job, JobRunner, Pipeline, Project
from preflight.probes.placement import Placement
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.pods import ImagePull, PodPatches
from preflight.probes.poll_timeout import PollTimeout
from preflight.probes.pull_logins import PullLogin
from preflight.probes.push import PushPermission
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.release import Release
from preflight.probes.release_edits import ReleaseEdits
from preflight.probes.rendering import ChartRendering
from preflight.probes.rights import Rights
from preflight.probes.runners import OwnRunner, RegisteredManagers, RunnerRecord
from preflight.probes.secret_keys import SecretKeys
from preflight.probes.shell_readers import Connection
from preflight.probes.streams import StreamCheck
from preflight.probes.token import RunnerToken, TokenReply
from preflight.probes.transcript import Agreement, Clock, FoundNames, NodeLogin, PodStart, ResolvConf, WorkerRoom
from preflight.probes.upgrade import Backup, RunningJobs, TargetVersion
from preflight.probes.values_drift import Drift
from preflight.probes.webhooks import Webhooks

__all__ = [
    "Agreement",
    "AllowedImages",
    "ApiClock",
    "ApiServer",
    "Backup",
    "CertificateTerm",
    "ChartRendering",
    "ChartVersion",
    "Clock",
    "Configuration",
    "Connection",
    "Daemon",
    "DindRun",
    "Drift",
    "Encryption",
    "FetchedChart",
    "FoundNames",
    "GitLabReply",
    "GitLabVersion",
    "Headroom",
    "ImagePull",
    "InnerRegistry",
    "Job",
    "JobLeftovers",
    "JobReferences",
    "JobRunner",
    "LayerRate",
    "Leftovers",
    "Lint",
    "Lookups",
    "ManagerActivity",
    "ManagerConfig",
    "ManagerHistory",
    "ManagerLogs",
    "ManagerMetrics",
    "ManagerPods",
    "Manifest",
    "Metrics",
    "NamespaceState",
    "NetworkAgreement",
    "NodeDisk",
    "NodeLogin",
    "NodeState",
    "Nodes",
    "OwnNames",
    "OwnRunner",
    "PacketSizes",
    "Pipeline",
    "Placement",
    "PodAdmission",
    "PodPatches",
    "PodStart",
    "PollTimeout",
    "PoolState",
    "Project",
    "Proxies",
    "Pull",
    "PullLogin",
    "PushPermission",
    "RefProtection",
    "RegisteredManagers",
    "RegistryReply",
    "Release",
    "ReleaseEdits",
    "ResolvConf",
    "Rights",
    "Rollout",
    "RoundTrips",
    "RunnerRecord",
    "RunnerToken",
    "RunningJobs",
    "SecretKeys",
    "ServiceEndpoints",
    "StreamCheck",
    "TargetVersion",
    "TokenReply",
    "Uploads",
    "VariableState",
    "Warnings",
    "Webhooks",
    "WorkerRoom",
    "build",
    "certificates",
    "cluster",
    "dind",
    "dns",
    "environment",
    "gitlab",
    "headroom",
    "latency",
    "monitoring",
    "namespace",
    "nodes",
    "packets",
    "paths",
    "pipeline",
    "pods",
    "registry",
    "release",
    "rendering",
    "runners",
    "token",
    "uninstall",
    "upgrade",
    "values",
]

check_references()

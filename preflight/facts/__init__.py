"""Which probe is pointed at which target, under which name: the facts that checks take, a module a section.

The first sentence of a fact's docstring names it where it blocks others. Facts that only look at a part of another
one (`Fact.only`) let each check judge one thing, and the earlier one block the later.

Importing this package registers every fact; the plugin makes pytest fixtures of them. The types of facts stand here
too, for the checks' annotations.
"""

from preflight.facts import build, cluster, dind, gitlab, headroom, names, nodes, pipeline, pods, registries, tuning
from preflight.probes.cluster import ApiServer, Metrics, Nodes, ServiceEndpoints
from preflight.probes.dns import Lookups
from preflight.probes.gitlab import GitLabReply, GitLabVersion
from preflight.probes.headroom import Headroom
from preflight.probes.nodes import NodeState
from preflight.probes.pipeline import Configuration, Job, JobRunner, Pipeline, Project
from preflight.probes.pods import Admission as PodAdmission
from preflight.probes.pods import ImagePull
from preflight.probes.push import PushPermission
from preflight.probes.registry import Manifest, RegistryReply
from preflight.probes.runtime import Pull
from preflight.probes.shell import Connection
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
from preflight.probes.tuning import Placement
from preflight.probes.variables import RefProtection, VariableState

__all__ = [
    "Agreement",
    "ApiServer",
    "Clock",
    "Configuration",
    "Connection",
    "Daemon",
    "DindRun",
    "GitLabReply",
    "GitLabVersion",
    "Headroom",
    "ImagePull",
    "Job",
    "JobRunner",
    "Lookups",
    "Manifest",
    "Metrics",
    "NodeLogin",
    "NodeState",
    "Nodes",
    "Pipeline",
    "Placement",
    "PodAdmission",
    "PodStart",
    "Project",
    "Pull",
    "PushPermission",
    "RefProtection",
    "RegistryReply",
    "ResolvConf",
    "ServiceEndpoints",
    "VariableState",
    "WorkerRoom",
    "build",
    "cluster",
    "dind",
    "gitlab",
    "headroom",
    "names",
    "nodes",
    "pipeline",
    "pods",
    "registries",
    "tuning",
]

"""The facts that block others by a rule, or that a script or pod measures only where they are planned.

A member's value is the fact's name; one that names no fact is an error when `preflight.facts` is imported.
"""

from __future__ import annotations

from enum import auto

from preflight.evidence import FactName


class Ref(FactName):
    """A fact's name as a value that mypy checks."""

    API_ANSWER = auto()
    CHART_RENDERING = auto()
    CHART_VERSION = auto()
    DIND_LOOKUPS = auto()
    DIND_PULL = auto()
    GITLAB_CONNECTION = auto()
    GITLAB_IDENTITY = auto()
    GITLAB_LOCATION = auto()
    GITLAB_REPLY = auto()
    GITLAB_SERVICE = auto()
    GITLAB_VERSION = auto()
    HEADROOM = auto()
    HELPER_IMAGE = auto()
    HELPER_PULL = auto()
    HERE_LOOKUPS = auto()
    JOB_PREREQUISITES = auto()
    MANAGER_LOGS = auto()
    MANAGER_READINESS = auto()
    MANAGER_ROLLOUT = auto()
    MANIFEST = auto()
    NAMESPACE_STATE = auto()
    NODE_ANSWERS = auto()
    NODE_GITLAB = auto()
    NODE_LOOKUPS = auto()
    NODE_PAGE = auto()
    NODE_PRESENCE = auto()
    NODE_PRESSURE = auto()
    NODE_PULL = auto()
    NODE_READINESS = auto()
    NODE_REGISTRY = auto()
    NODE_REPLY = auto()
    POD_ADMISSION = auto()
    POD_CACHE = auto()
    POD_CLONE = auto()
    POD_EXEC = auto()
    POD_GITLAB = auto()
    POD_IMAGE = auto()
    POD_LOGS = auto()
    POD_LOOKUPS = auto()
    POD_NAMES = auto()
    POD_PAGE = auto()
    POD_PULL = auto()
    POD_QUIET_STREAM = auto()
    POD_RESOLV_CONF = auto()
    POD_START = auto()
    POOL_HEALTH = auto()
    POOL_PRESENCE = auto()
    PULL_LOGIN = auto()
    REGISTRY_ACCESS = auto()
    REGISTRY_CONNECTION = auto()
    RELEASE_CHART = auto()
    RELEASE_RECORD = auto()
    SERVICE_PULL = auto()
    TOKEN_EXPIRY = auto()
    TOKEN_WHITESPACE = auto()
    VALUES_DNS_POLICY = auto()
    VALUES_RESOLVERS = auto()
    VALUES_TOML = auto()
    VARIABLE_PRESENCE = auto()
    WORKER_HEADROOM = auto()
    WORKER_PLACEMENT = auto()

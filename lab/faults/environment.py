"""Contradictions between inventory, values and cluster (guide 1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault

if TYPE_CHECKING:
    from lab.world import World


@fault("networks-overlap", "The inventory gives the VPC a network that holds the cluster's pods and services.")
def _(world: World) -> None:
    world.inventory_edits["cluster.vpc_cidr"] = "172.16.0.0/12"


@fault("node-in-pod-network", "The inventory gives the pods a network that holds the nodes.")
def _(world: World) -> None:
    world.inventory_edits["cluster.pod_cidr"] = "192.168.0.0/16"


@fault("pod-network-differs", "The inventory names another pod network than the one that the cluster uses.")
def _(world: World) -> None:
    world.inventory_edits["cluster.pod_cidr"] = "172.25.0.0/16"


@fault("service-network-differs", "The inventory names another service network than the one that the cluster uses.")
def _(world: World) -> None:
    world.inventory_edits["cluster.service_cidr"] = "172.22.0.0/16"


@fault("proxy-for-jobs", "The values give jobs a proxy, and no exception for GitLab or for Docker beside them.")
def _(world: World) -> None:
    job = '[[runners]]\n      environment = ["http_proxy=http://proxy.example.com:3128", "no_proxy=.example.com"]'
    world.values_edits["[[runners]]"] = job


@fault("proxy-intercepts", "The values give the managers a proxy for HTTPS, and no exception for the API server.")
def _(world: World) -> None:
    proxy = "  - name: HTTPS_PROXY\n    value: http://proxy.example.com:3128\n"
    exception = "  - name: NO_PROXY\n    value: .example.com,192.168.1.50\n"
    world.values_edits["runners:\n"] = f"envVars:\n{proxy}{exception}\nrunners:\n"

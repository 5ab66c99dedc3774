"""1 Environment: inventory, values file and cluster describe the same thing, and nothing in it contradicts itself."""

import pytest

from preflight.facts import NetworkAgreement, Proxies


def test_networks_are_disjoint(networks: NetworkAgreement) -> None:
    """1.2.1 Pod network, service network and VPC share no addresses.

    Why: an address that is in two networks is reached in one of them, and it depends on the machine in which.
    Remedy: correct the CIDRs in the inventory; if the cluster was really built so, it needs another pod or service
        network, which means to build it anew.
    """
    assert not networks.fault


def test_machine_addresses_are_outside_the_cluster_networks(machine_addresses: NetworkAgreement) -> None:
    """1.2.2 Nodes, API server and GitLab have no address of the pod or service network.

    Why: what a pod sends to such an address never leaves the cluster.
    Remedy: correct the address or the CIDR in the inventory; a machine that really has it needs another one.
    """
    assert not machine_addresses.fault


def test_pods_have_addresses_of_the_pod_network(pod_network: NetworkAgreement) -> None:
    """1.2.3 The cluster's pods have addresses of the inventory's pod network.

    Why: firewalls and security groups that let jobs through were written for this network.
    Remedy: set `cluster.pod_cidr` to what the cluster uses, and go through the security groups with it.
    """
    assert not pod_network.fault


def test_services_have_addresses_of_the_service_network(service_network: NetworkAgreement) -> None:
    """1.2.4 The cluster's Services have addresses of the inventory's service network.

    Why: proxies' exceptions and routes were written for this network.
    Remedy: set `cluster.service_cidr` to what the cluster uses (`--service-cluster-ip-range` of kube-apiserver).
    """
    assert not service_network.fault


def test_the_api_server_is_on_the_control_plane(control_plane_address: NetworkAgreement) -> None:
    """1.2.5 The API server's address is a control-plane node's, or a balancer's before several of them.

    Why: an address from an older cluster, or of a worker with a forwarder, answers until that machine goes.
    Remedy: correct `cluster.api_server` in the inventory and the kubeconfig.
    """
    assert not control_plane_address.fault


@pytest.mark.advice
def test_machines_lie_in_the_vpc(vpc: NetworkAgreement) -> None:
    """1.2.6 Nodes and GitLab lie in the VPC that the inventory names.

    Why: what is outside is reached by a route or a peering of which this description knows nothing, and security
        groups that name the VPC do not cover it. The guide itself has GitLab, 192.168.1.50, outside of its VPC,
        10.0.0.0/16, so this blocks no rollout: the paths themselves are proven below.
    Remedy: write the VPC's real CIDR (or its secondary one) into `cluster.vpc_cidr`, or leave it out.
    """
    assert not vpc.fault


def test_no_proxy_intercepts_what_managers_and_jobs_need(values_proxies: Proxies) -> None:
    """1.2.7 No proxy that the values set stands between managers or jobs and GitLab, the API server or Docker.

    Why: a proxy knows no cluster addresses and no `docker` of a job's pod; it answers 403, 502 or not at all.
    Remedy: add GitLab's host, the service network and `docker` to NO_PROXY, beside where the proxy is set.
    """
    assert not values_proxies.fault


@pytest.mark.advice
def test_no_proxy_intercepts_internal_addresses_here(here_proxies: Proxies) -> None:
    """1.2.8 No proxy variable here would lead kubectl, helm or curl to a proxy for what is internal.

    Why: the suite asks directly; the guide's commands, run in the same shell, would meet the proxy.
    Remedy: add the API server's and GitLab's hosts to NO_PROXY.
    """
    assert not here_proxies.fault

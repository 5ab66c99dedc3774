"""1 Environment: inventory, values file and cluster describe the same thing, and nothing in it contradicts itself."""

import pytest

from preflight.facts import NetworkAgreement, OwnNames, Proxies


def test_networks_are_disjoint(networks: NetworkAgreement) -> None:
    """1.2.1 Pod network, service network and VPC share no addresses.

    Why: an address in two networks is reached in only one of them, and which one depends on the machine.
    Remedy: correct the CIDRs in the inventory; if the cluster was really built like this, it needs another pod or
        service network, which means rebuilding it.
    """
    assert not networks.fault


def test_machine_addresses_are_outside_the_cluster_networks(machine_addresses: NetworkAgreement) -> None:
    """1.2.2 Nodes, API server and GitLab have no address in the pod or service network.

    Why: packets from a pod to such an address never leave the cluster.
    Remedy: correct the address or the CIDR in the inventory; a machine that really has this address needs another one.
    """
    assert not machine_addresses.fault


def test_pods_have_addresses_of_the_pod_network(pod_network: NetworkAgreement) -> None:
    """1.2.3 The cluster's pods have addresses in the inventory's pod network.

    Why: firewall rules and security groups for jobs were written for this network.
    Remedy: set `cluster.pod_cidr` to what the cluster uses, and review the security groups.
    """
    assert not pod_network.fault


def test_services_have_addresses_of_the_service_network(service_network: NetworkAgreement) -> None:
    """1.2.4 The cluster's Services have addresses in the inventory's service network.

    Why: proxy exceptions and routes were written for this network.
    Remedy: set `cluster.service_cidr` to what the cluster uses (`--service-cluster-ip-range` of kube-apiserver).
    """
    assert not service_network.fault


def test_the_api_server_is_on_the_control_plane(control_plane_address: NetworkAgreement) -> None:
    """1.2.5 The API server's address is that of a control-plane node, or of a load balancer before several of them.

    Why: an address of an older cluster, or of a worker that forwards, works only until that machine is removed.
    Remedy: correct `cluster.api_server` in the inventory and the kubeconfig.
    """
    assert not control_plane_address.fault


@pytest.mark.advice
def test_machines_lie_in_the_vpc(vpc: NetworkAgreement) -> None:
    """1.2.6 Nodes and GitLab are in the VPC that the inventory names.

    Why: an address outside the VPC is reached by a route or a peering that the inventory does not describe, and
        security groups that name the VPC do not cover it. The guide itself has GitLab, 192.168.1.50, outside its VPC,
        10.0.0.0/16, so this blocks no rollout: the paths themselves are checked in 2.4.
    Remedy: set `cluster.vpc_cidr` to the VPC's real CIDR (or its secondary one), or omit it.
    """
    assert not vpc.fault


def test_no_proxy_intercepts_what_managers_and_jobs_need(values_proxies: Proxies) -> None:
    """1.2.7 No proxy set in the values is used between managers or jobs and GitLab, the API server or Docker.

    Why: a proxy can't reach cluster addresses or the host `docker` in a job's pod; it answers 403, 502 or not at all.
    Remedy: add GitLab's host, the service network and `docker` to NO_PROXY, next to where the proxy is set.
    """
    assert not values_proxies.fault


@pytest.mark.advice
def test_no_proxy_intercepts_internal_addresses_here(here_proxies: Proxies) -> None:
    """1.2.8 No proxy variable here makes kubectl, helm or curl use a proxy for internal addresses.

    Why: the suite connects directly; the guide's commands, run in the same shell, would use the proxy.
    Remedy: add the API server's and GitLab's hosts to NO_PROXY.
    """
    assert not here_proxies.fault


@pytest.mark.advice
def test_this_machine_resolves_names_without_delay(own_names: OwnNames) -> None:
    """1.2.9 This machine itself resolves the names that it needs without delay.

    Why: a dead resolver before a living one in /etc/resolv.conf delays each name by seconds, so that helm, kubectl and
        this suite are slow from here, while jobs use the resolvers of the values.
    Remedy: remove the resolver that does not answer from /etc/resolv.conf here, or move it behind the others.
    """
    assert not own_names.fault

"""2.4 Name resolution: every resolver answers every name that jobs need, wherever it is asked."""

from preflight.facts import Agreement, FoundNames, Lookups, ResolvConf


def test_each_resolver_answers_from_here(here_lookups: Lookups) -> None:
    """2.4.7 Each resolver answers every name, asked from here.

    Why: it tells whether the resolver itself is well, before asking who reaches it.
    Remedy (timeout): start the resolver, or open UDP and TCP 53 to it; until then take it out of `nameservers`.
    Remedy (unreachable): start the DNS service on the resolver's host, or mend the route to it.
    Remedy (nxdomain): add the name to the zone that this resolver serves, or forward the zone to who knows it.
    Remedy (servfail): look at the resolver's own upstream and at DNSSEC: `dig +cd` tells the latter.
    Remedy (dns-refused): allow this network to ask the resolver (`allow-query`, the VPC's DNS settings).
    Remedy (no-answer): give the name an A record.
    Remedy (wrong-answer): correct the record, or the addresses under `dns.names`.
    Remedy: let `dig @RESOLVER NAME` answer with the expected address.
    """
    assert not here_lookups.fault


def test_each_resolver_answers_each_worker(node_lookups: Lookups) -> None:
    """2.4.8 Each resolver answers every name, asked from each worker.

    Why: the kubelet resolves the registries' names on the node, with the node's network.
    Remedy (timeout): open UDP and TCP 53 from this worker to the resolver; if it is silent everywhere, start it, or
        take it out of `nameservers`.
    Remedy (unreachable): mend the worker's route to the resolver, or start the DNS service there.
    Remedy (nxdomain): add the name to the zone that this resolver serves, or forward the zone to who knows it.
    Remedy (servfail): look at the resolver's own upstream and at DNSSEC.
    Remedy (dns-refused): allow the workers' network to ask the resolver.
    Remedy (no-answer): give the name an A record.
    Remedy (wrong-answer): correct the record, or the addresses under `dns.names`.
    Remedy: let `nslookup NAME RESOLVER` answer on the worker.
    """
    assert not node_lookups.fault


def test_each_resolver_answers_job_pods_on_each_worker(pod_lookups: Lookups) -> None:
    """2.4.9 Each resolver answers every name, asked from a job's pod on each worker.

    Why: with `dns_policy = "none"` a job asks these resolvers from the pod network, and nobody else.
    Remedy (timeout): open UDP and TCP 53 from the pod network to the resolver (security group of the resolvers,
        NetworkPolicy, masquerading); if it is silent everywhere, start it, or take it out of `nameservers`.
    Remedy (unreachable): mend the pod network's route to the resolver.
    Remedy (nxdomain): add the name to the zone that this resolver serves, or forward the zone to who knows it.
    Remedy (servfail): look at the resolver's own upstream and at DNSSEC.
    Remedy (dns-refused): allow the pod network to ask the resolver.
    Remedy (no-answer): give the name an A record.
    Remedy (wrong-answer): correct the record, or the addresses under `dns.names`.
    Remedy: let `nslookup NAME RESOLVER` answer in a pod on this worker.
    """
    assert not pod_lookups.fault


def test_all_resolvers_agree(resolver_agreement: Agreement) -> None:
    """2.4.10 All resolvers give the same addresses.

    Why: a job asks whichever resolver answers first, so a disagreement fails jobs at random.
    Remedy: make the resolvers serve the same zone: compare their serials, and reload the one that lags.
    """
    assert not resolver_agreement.fault


def test_job_pods_have_the_dns_settings_of_the_values(pod_resolv_conf: ResolvConf) -> None:
    """2.4.11 A job's pod has the resolvers that the values file asks for.

    Why: the runner ignores a `dns_policy` in Kubernetes' spelling and nameservers outside of `dns_config`, without a
    word, and jobs then ask the cluster's DNS.
    Remedy: write `dns_policy = "none"` in lower case and the servers under `[runners.kubernetes.dns_config]`, upgrade
        the release and restart the managers.
    """
    assert not pod_resolv_conf.fault


def test_job_pods_resolve_names_as_the_resolvers_do(pod_names: FoundNames) -> None:
    """2.4.12 A program in a job's pod on each worker finds each name itself, and nothing of a search domain.

    Why: with fewer dots than `ndots` a name is tried with every domain of the search list first; one of them that has a
    wildcard record answers for all names, and jobs talk to another machine.
    Remedy (search-list): lower `ndots` in `dns_config.options` of `runners.config` (1 or 2), take the domain that the
        cause names out of `searches`, or remove its wildcard record.
    Remedy (no-answer): compare the pod's resolv.conf with the resolvers that do answer; with alpine images try
        `helper_image_flavor = "ubuntu"`, whose resolver library asks one server after the other.
    Remedy: let `getent hosts NAME` in a pod on this worker show the address that `nslookup NAME` does.
    """
    assert not pod_names.fault

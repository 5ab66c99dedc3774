"""2.4 Name resolution: every resolver resolves every name that jobs need, from every vantage."""

from preflight.facts import Agreement, FoundNames, Lookups, ResolvConf


def test_each_resolver_answers_from_here(here_lookups: Lookups) -> None:
    """2.4.7 Each resolver resolves every name when queried from here.

    Why: it shows whether the resolver itself is healthy, before the paths to it are checked.
    Remedy (timeout): start the resolver, or open UDP and TCP 53 to it; until then remove it from `nameservers`.
    Remedy (unreachable): start the DNS service on the resolver's host, or fix the route to it.
    Remedy (nxdomain): add the name to the zone that this resolver serves, or forward the zone to a resolver that has
        it.
    Remedy (servfail): check the resolver's own upstream and DNSSEC: `dig +cd` rules the latter in or out.
    Remedy (dns-refused): allow this network to query the resolver (`allow-query`, the VPC's DNS settings).
    Remedy (no-answer): add an A record for the name.
    Remedy (wrong-answer): correct the record, or the addresses under `dns.names`.
    Remedy: make `dig @RESOLVER NAME` answer with the expected address.
    """
    assert not here_lookups.fault


def test_each_resolver_answers_each_worker(node_lookups: Lookups) -> None:
    """2.4.8 Each resolver resolves every name when queried from each worker.

    Why: the container runtime resolves the registries' names on the node, with the node's network.
    Remedy (timeout): open UDP and TCP 53 from this worker to the resolver; if it answers nowhere, start it, or remove
        it from `nameservers`.
    Remedy (unreachable): fix the worker's route to the resolver, or start the DNS service there.
    Remedy (nxdomain): add the name to the zone that this resolver serves, or forward the zone to a resolver that has
        it.
    Remedy (servfail): check the resolver's own upstream and DNSSEC.
    Remedy (dns-refused): allow the workers' network to query the resolver.
    Remedy (no-answer): add an A record for the name.
    Remedy (wrong-answer): correct the record, or the addresses under `dns.names`.
    Remedy: make `nslookup NAME RESOLVER` answer on the worker.
    """
    assert not node_lookups.fault


def test_each_resolver_answers_job_pods_on_each_worker(pod_lookups: Lookups) -> None:
    """2.4.9 Each resolver resolves every name when queried from a job's pod on each worker.

    Why: with `dns_policy = "none"` a job queries only these resolvers, from the pod network.
    Remedy (timeout): open UDP and TCP 53 from the pod network to the resolver (security group of the resolvers,
        NetworkPolicy, masquerading); if it answers nowhere, start it, or remove it from `nameservers`.
    Remedy (unreachable): fix the pod network's route to the resolver.
    Remedy (nxdomain): add the name to the zone that this resolver serves, or forward the zone to a resolver that has
        it.
    Remedy (servfail): check the resolver's own upstream and DNSSEC.
    Remedy (dns-refused): allow the pod network to query the resolver.
    Remedy (no-answer): add an A record for the name.
    Remedy (wrong-answer): correct the record, or the addresses under `dns.names`.
    Remedy: make `nslookup NAME RESOLVER` answer in a pod on this worker.
    """
    assert not pod_lookups.fault


def test_all_resolvers_agree(resolver_agreement: Agreement) -> None:
    """2.4.10 All resolvers return the same addresses.

    Why: a job uses whichever resolver answers first, so where they disagree, jobs fail at random.
    Remedy: make the resolvers serve the same zone: compare their serials, and reload the one that is behind.
    """
    assert not resolver_agreement.fault


def test_job_pods_have_the_dns_settings_of_the_values(pod_resolv_conf: ResolvConf) -> None:
    """2.4.11 A job's pod uses the resolvers of the values file.

    Why: the runner silently ignores a `dns_policy` in Kubernetes' spelling and nameservers outside `dns_config`, and
        jobs then query the cluster's DNS.
    Remedy: write `dns_policy = "none"` in lower case and the servers under `[runners.kubernetes.dns_config]`, upgrade
        the release and restart the managers.
    """
    assert not pod_resolv_conf.fault


def test_job_pods_resolve_names_as_the_resolvers_do(pod_names: FoundNames) -> None:
    """2.4.12 Programs in a job's pod on each worker resolve each name itself, not one of a search domain.

    Why: a name with fewer dots than `ndots` is tried with every domain of the search list first; if one of them has a
        wildcard record, it answers for all names, and jobs connect to another machine.
    Remedy (search-list): lower `ndots` in `dns_config.options` of `runners.config` (1 or 2), remove the domain that the
        cause names from `searches`, or remove its wildcard record.
    Remedy (no-answer): compare the pod's resolv.conf with the resolvers that do answer; with alpine images try
        `helper_image_flavor = "ubuntu"`, whose resolver library queries one server after the other.
    Remedy: make `getent hosts NAME` in a pod on this worker show the address that `nslookup NAME` shows.
    """
    assert not pod_names.fault

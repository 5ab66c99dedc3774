"""2.4 Packet loss and round trips: between here, workers and jobs' pods and GitLab, registries and resolvers."""

from preflight.facts import Lookups, RoundTrips


def test_no_packets_are_lost_from_here(here_losses: RoundTrips) -> None:
    """2.4.35 No packets are lost between here and GitLab, the registries and the resolvers.

    Why: what is lost here makes this suite slow, and its measurements from here uncertain; jobs take other ways.
    Remedy (packets-lost): `mtr -rwzc 100 HOST` shows at which hop; a cable, a duplex mismatch, a full line, a wireless
        network or a VPN are usual.
    Remedy: make `ping -c 100 HOST` lose nothing, or correct `limits.packet_loss`.
    """
    assert not here_losses.fault


def test_no_packets_are_lost_from_each_worker(node_losses: RoundTrips) -> None:
    """2.4.36 No packets are lost between each worker and GitLab, the registries and the resolvers.

    Why: each one that is lost makes a job wait for a second or more; pulls, clones and names take many times as long,
        and fail now and then.
    Remedy (packets-lost): `mtr -rwzc 100 HOST` on the worker shows at which hop; `ip -s link` and `ethtool -S` show
        errors and drops of its interface; a security group's limit of connections drops too.
    Remedy: make `ping -c 100 HOST` on the worker lose nothing, or correct `limits.packet_loss`.
    """
    assert not node_losses.fault


def test_no_packets_are_lost_from_job_pods_on_each_worker(pod_losses: RoundTrips) -> None:
    """2.4.37 No packets are lost between a job's pod on each worker and GitLab, the registries and the resolvers.

    Why: a full table of connections on the node (`nf_conntrack`) or an overlay network can lose what the node's own
        connections do not.
    Remedy (packets-lost): on the worker, `conntrack -S` and `dmesg | grep conntrack` show a full table (raise
        `net.netfilter.nf_conntrack_max`), `ip -s link` what the network plugin's interfaces drop.
    Remedy: make `ping -c 100 HOST` in a pod there lose nothing, or correct `limits.packet_loss`.
    """
    assert not pod_losses.fault


def test_round_trips_from_here_are_short(here_distance: RoundTrips) -> None:
    """2.4.38 Round trips between here and GitLab, the registries and the resolvers are short.

    Why: every measurement from here takes several; jobs take other ways.
    Remedy (long-round-trip): run the suite from a machine that is nearer, or raise `limits.round_trip`.
    Remedy: make `ping -c 10 HOST` show less than `limits.round_trip`.
    """
    assert not here_distance.fault


def test_round_trips_from_each_worker_are_short(node_distance: RoundTrips) -> None:
    """2.4.39 Round trips between each worker and GitLab, the registries and the resolvers are short.

    Why: a clone, a pull or an upload takes dozens of them one after the other, and a name one for each resolver.
    Remedy (long-round-trip): `mtr -rwzc 20 HOST` on the worker shows which hop adds it: a VPN, another region, a full
        line; a registry's mirror and resolvers near the cluster spare jobs the way.
    Remedy: make `ping -c 10 HOST` on the worker show less than `limits.round_trip`, or correct that.
    """
    assert not node_distance.fault


def test_round_trips_from_job_pods_on_each_worker_are_short(pod_distance: RoundTrips) -> None:
    """2.4.40 Round trips between a job's pod on each worker and GitLab, the registries and the resolvers are short.

    Why: an egress gateway or a proxy that only pods pass adds to each of them.
    Remedy (long-round-trip): compare `ping -c 10 HOST` on the worker and in a pod there; an egress gateway of the
        network plugin, or a service mesh's proxy, stands between them.
    Remedy: make `ping -c 10 HOST` in a pod there show less than `limits.round_trip`, or correct that.
    """
    assert not pod_distance.fault


def test_each_resolver_answers_soon(resolver_pace: Lookups) -> None:
    """2.4.41 Each resolver answers without delay.

    Why: a job waits for the resolvers in their order, for each name and each registry anew: seconds add up to minutes.
    Remedy: make `dig @RESOLVER NAME` answer within a second: look at the resolver's load and its forwarders.
    """
    assert not resolver_pace.fault

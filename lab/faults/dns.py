"""What can be wrong with the resolvers, and with pods' DNS settings (guide 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.kubernetes.guide import cluster_dns_only
from lab.world import MIRROR, PRIVATE, Rule

if TYPE_CHECKING:
    from lab.world import World


@fault("dns-one-silent", "10.1.0.251 receives questions and never answers.")
def _(world: World) -> None:
    world.resolvers["10.1.0.251"].mode = "mute"


@fault("dns-all-silent", "No resolver answers any question.")
def _(world: World) -> None:
    for resolver in world.resolvers.values():
        resolver.mode = "mute"


@fault("dns-one-late", "10.0.0.2, which is asked first, takes more than a second for each answer.")
def _(world: World) -> None:
    world.resolvers["10.0.0.2"].delay = 1.3
    world.inventory_edits["deadlines.dns"] = 5


@fault("dns-one-node-blocked", "A firewall drops what k8s-worker-2 and its pods send to 10.0.0.2.")
def _(world: World) -> None:
    world.firewall += [Rule("node k8s-worker-2", "10.0.0.2"), Rule("pod on k8s-worker-2", "10.0.0.2")]


@fault("dns-nxdomain", "Every resolver answers NXDOMAIN for private-registry.example.com.")
def _(world: World) -> None:
    del world.zones[PRIVATE]


@fault("dns-servfail", "10.1.0.252 answers SERVFAIL to everything: it cannot reach its own forwarders.")
def _(world: World) -> None:
    world.resolvers["10.1.0.252"].mode = "servfail"


@fault("dns-refused", "10.1.0.252 refuses to answer: its access list lacks the cluster's networks.")
def _(world: World) -> None:
    world.resolvers["10.1.0.252"].mode = "refused"


@fault("dns-disagree", "10.1.0.252 gives an old address for registry.example.com, the others the right one.")
def _(world: World) -> None:
    world.resolvers["10.1.0.252"].overrides[MIRROR] = ("192.168.1.160",)


@fault(
    "dns-most-lie",
    "10.0.0.2 and 10.1.0.251 give private-registry.example.com an address where no machine is.",
)
def _(world: World) -> None:
    for address in ("10.0.0.2", "10.1.0.251"):
        world.resolvers[address].overrides[PRIVATE] = ("192.168.1.161",)


@fault("dns-policy-not-applied", "A webhook gives every pod the cluster's DNS, whatever dns_policy the values ask for.")
def _(world: World) -> None:
    world.cluster.mutating.append(cluster_dns_only)
    world.cluster.add(
        {
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "node-local-dns-admission-controller"},
            "webhooks": [
                {
                    "name": "node-local-dns-admission-controller.kube-system.svc",
                    "clientConfig": {
                        "service": {
                            "namespace": "kube-system",
                            "name": "node-local-dns-admission-controller",
                            "path": "/inject",
                            "port": 443,
                        }
                    },
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["pods"],
                            "scope": "Namespaced",
                        }
                    ],
                    "failurePolicy": "Ignore",
                    "matchPolicy": "Equivalent",
                    "sideEffects": "None",
                    "timeoutSeconds": 5,
                    "admissionReviewVersions": ["v1"],
                    "reinvocationPolicy": "Never",
                }
            ],
        }
    )


@fault("dns-udp-blocked", "A firewall in front of 10.1.0.251 and 10.1.0.252 drops UDP; over TCP both answer.")
def _(world: World) -> None:
    for address in ("10.1.0.251", "10.1.0.252"):
        world.resolvers[address].over_udp = False


@fault(
    "dns-aaaa-refused",
    "Every resolver refuses queries for IPv6 addresses and answers those for IPv4, which is harmless.",
)
def _(world: World) -> None:
    for resolver in world.resolvers.values():
        resolver.refuses_ipv6 = True


@fault("dns-search-list", "The values' search list has a domain with a wildcard record, and is tried before the name.")
def _(world: World) -> None:
    world.zones["*.apps.example.com"] = ("192.168.1.80",)
    world.values_edits['"cluster.local"]'] = '"cluster.local", "apps.example.com"]'
    world.values_edits['value = "2"'] = 'value = "5"'

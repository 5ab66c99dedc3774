"""Whether the connections that carry secrets and charts are encrypted, and their servers verified.

It is read from kubeconfig and inventory alone: nothing is contacted (docs/sources.md#encryption).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from preflight.clients.kubeconfig import Kubeconfig
from preflight.evidence import Evidence, Fact
from preflight.faults import EncryptionFault
from preflight.inventory import Registry
from preflight.shell_command import ShellCommand, program


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption(Fact):
    """How a connection is protected.

    Attributes:
        carries: what travels on it that others must not read or change.
    """

    carries: str = ""


def of_api_server(kubeconfig: Kubeconfig) -> Encryption:
    """The connection to the API server, as the kubeconfig has it."""
    fault, cause = None, ""
    if urlsplit(kubeconfig.server).scheme != "https":
        fault = EncryptionFault.NOT_ENCRYPTED
        cause = f"the kubeconfig reaches {kubeconfig.server} without TLS: anyone on the path can read its token"
    elif not kubeconfig.verified:
        fault = EncryptionFault.NOT_VERIFIED
        cause = (
            f"cluster {kubeconfig.cluster} of the kubeconfig sets insecure-skip-tls-verify: whoever answers as "
            f"{kubeconfig.server} gets its token"
        )
    command = program("kubectl", "config", "view", "--minify", "--context", kubeconfig.context)
    observed = f"server: {kubeconfig.server}\ninsecure-skip-tls-verify: {str(not kubeconfig.verified).lower()}"
    return _encryption(
        kubeconfig.server, fault, cause, carries="the credentials of the kubeconfig", command=command, observed=observed
    )


def of_registry(registry: Registry) -> Encryption:
    """The connection on which a registry's account is sent to it, as the inventory has it."""
    plain = registry.scheme == "http" and registry.credentials is not None
    cause = f"the account of {registry.host} is sent to it without TLS: anyone on the path can read its password"
    return _encryption(
        registry.host,
        EncryptionFault.NOT_ENCRYPTED if plain else None,
        cause if plain else "",
        carries="" if registry.credentials is None else "the registry's account",
        command=program("grep", "-n", "-A", 3, registry.host, "inventory.yaml"),
        observed=f"scheme: {registry.scheme}, {'no' if registry.credentials is None else 'with'} credentials",
    )


def of_chart_repository(url: str) -> Encryption:
    """The connection by which charts are fetched, as the inventory has it."""
    plain = urlsplit(url).scheme == "http"
    cause = f"charts come from {url} without TLS: anyone on the path can decide what is installed"
    return _encryption(
        url,
        EncryptionFault.NOT_ENCRYPTED if plain else None,
        cause if plain else "",
        carries="what is installed with the rights of the release",
        command=program("grep", "-n", "repository:", "inventory.yaml"),
        observed=f"repository: {url}",
    )


def _encryption(
    target: str, fault: EncryptionFault | None, cause: str, *, carries: str, command: ShellCommand, observed: str
) -> Encryption:
    evidence = Evidence(where="here", command=command, observed=observed)
    return Encryption(target=target, fault=fault, cause=cause, carries=carries, evidence=evidence)

"""How long the certificates are still valid that TLS has shown: GitLab's, a registry's, the API server's, our own.

A certificate that has ended fails its connection and is a fault of that (`PathFault.TLS_EXPIRED`); here is the time
before (docs/sources.md#certificate-names).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from preflight.clients.certificates import Certificate
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import CertificateFault
from preflight.inventory import Limits
from preflight.shell_command import ShellCommand, pipe, program, syntax

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateTerm(Fact):
    """Until when a certificate is valid.

    Attributes:
        subject: whose certificate it is.
        ends: seconds since 1970.
        days_left: days from the measurement until then.
    """

    subject: str
    ends: float
    days_left: float


def term(
    target: str,
    certificate: Certificate | None,
    *,
    whose: str,
    limits: Limits,
    command: ShellCommand,
    where: str = "here",
    now: float | None = None,
) -> CertificateTerm:
    """Judge the time that a certificate has left.

    Args:
        target: the server's address, or the file that holds the certificate.
        certificate: the one of its chain that ends first.
        whose: begins the sentence, such as ``the certificate of registry.example.com``.
        limits: the inventory's thresholds.
        command: shows the same.
        where: the vantage.
        now: seconds since 1970.

    Raises:
        Unmeasured: the certificate could not be read.
    """
    if certificate is None:
        raise Unmeasured(f"{whose} can't be read", needs="a certificate in X.509, as TLS requires it")
    days = (certificate.ends - (time.time() if now is None else now)) / _DAY
    end = f"{datetime.fromtimestamp(certificate.ends, UTC):%Y-%m-%d %H:%M} UTC"
    fault = None
    if days < limits.certificate_days_left:
        fault = CertificateFault.ENDS_SOON
    elif days < limits.certificate_renewal_days:
        fault = CertificateFault.RENEWAL_DUE
    left = f"{abs(days) * 24:.0f} hours" if abs(days) < 2 else f"{int(abs(days))} days"  # noqa: PLR2004 - days are too coarse
    cause = f"{whose} {f'ends in {left}' if days >= 0 else f'ended {left} ago'}, on {end}" if fault else ""
    observed = f"subject={certificate.subject}\nnotAfter={end}"
    evidence = Evidence(where=where, command=command, observed=observed)
    return CertificateTerm(
        target=target,
        subject=certificate.subject,
        ends=certificate.ends,
        days_left=round(days, 1),
        fault=fault,
        cause=cause,
        evidence=evidence,
    )


def shown_by(host: str, port: int, *, server_name: str = "") -> ShellCommand:
    """A command that shows the certificate of a server."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return pipe(
        program("openssl", "s_client", "-connect", place, "-servername", server_name or host, syntax("</dev/null")),
        program("openssl", "x509", "-noout", "-subject", "-enddate"),
    )


def of_file(path: str) -> ShellCommand:
    """A command that shows the certificate in a file, and not its key."""
    return program("openssl", "x509", "-noout", "-subject", "-enddate", "-in", path)


def of_kubeconfig(context: str) -> ShellCommand:
    """A command that shows the client certificate in a context of the kubeconfig, and not its key."""
    data = "jsonpath={.users[0].user.client-certificate-data}"
    return pipe(
        program("kubectl", "config", "view", "--raw", "--minify", "--context", context, "-o", data),
        program("base64", "-d"),
        program("openssl", "x509", "-noout", "-subject", "-enddate"),
    )

"""Until when the certificates of a TLS connection are valid: what the handshake has shown, and nothing more is asked.

Any certificate of the chain ends the connections to a server when it ends, so the first that ends counts
(docs/sources.md#certificate-names). Python hands out the chain from 3.13 on; before, the server's own certificate.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate as ParsedCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The certificate of a chain that ends first.

    Attributes:
        subject: whose it is, as RFC 4514 writes it (``CN=gitlab.example.com``).
        ends: seconds since 1970.
        names: for which the server's own certificate holds: DNS names and addresses.
    """

    subject: str
    ends: float
    names: tuple[str, ...] = ()


OnTls = Callable[[str, int, Certificate], None]
"""What is called with host, port and certificate when a handshake has succeeded."""


def of_connection(connection: object) -> Certificate | None:
    """The certificate that ends first of those that the peer has shown; None without TLS, or if none can be read."""
    from cryptography.x509 import load_der_x509_certificate

    if not isinstance(connection, ssl.SSLSocket):
        return None
    try:
        shown = [connection.getpeercert(binary_form=True)]
        verified = connection.context.verify_mode is not ssl.CERT_NONE
        if verified and hasattr(connection, "get_verified_chain"):
            shown = list(connection.get_verified_chain())
        chain = [load_der_x509_certificate(encoded) for encoded in shown if encoded]
        first = first_to_end(chain)
        return replace(first, names=_names(chain[0])) if first is not None else None
    except (OSError, ValueError):
        return None


def _names(certificate: ParsedCertificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return (*extension.value.get_values_for_type(x509.DNSName), *map(str, addresses))


def of_pem(text: bytes) -> Certificate | None:
    """The certificate that ends first of those in a PEM file; None if none can be read."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return first_to_end(load_pem_x509_certificates(text))
    except ValueError:
        return None


def first_to_end(chain: Iterable[ParsedCertificate]) -> Certificate | None:
    """The certificate of a chain that ends first."""
    read = (
        Certificate(subject=each.subject.rfc4514_string(), ends=each.not_valid_after_utc.timestamp()) for each in chain
    )
    return min(read, key=lambda certificate: certificate.ends, default=None)

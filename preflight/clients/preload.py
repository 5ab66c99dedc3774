"""Import the client libraries once, in one thread, before many threads measure.

Probes import them late, so that `--collect-only` stays under a second. Imported by several threads at once, a package
may be seen before its parts are set on it ("module 'dns' has no attribute 'query'").
"""

from __future__ import annotations

import importlib

_MODULES = (
    "requests",
    "urllib3.connection",
    "dns.exception",
    "dns.flags",
    "dns.message",
    "dns.query",
    "dns.rcode",
    "kubernetes.client.api_client",
    "kubernetes.client.exceptions",
    "kubernetes.config",
    "paramiko",
    "cryptography.x509",
)


def load() -> None:
    """Import all of them; a broken library is reported by the probe that needs it."""
    for name in _MODULES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue

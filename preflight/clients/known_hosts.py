"""The known_hosts file, read as OpenSSH reads it: which keys a host may show (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Trusted:
    """What known_hosts holds about a host: its keys by kind, keys revoked, whether an authority vouches for it."""

    keys: tuple[tuple[str, bytes], ...] = ()
    revoked: frozenset[bytes] = frozenset()
    authority: bool = False


def host_name(address: str, port: int) -> str:
    """A host as known_hosts writes it: the bare address at port 22, else ``[address]:port``."""
    bare = address.strip("[]").lower()
    return bare if port == SSH_PORT else f"[{bare}]:{port}"


def trusted_keys(text: str, names: set[str]) -> Trusted:
    """What the text of a known_hosts file holds about a host that has these names.

    The format is sshd(8)'s, SSH_KNOWN_HOSTS FILE FORMAT. Lines that can't be read are skipped, as OpenSSH does.
    """
    keys: list[tuple[str, bytes]] = []
    revoked: set[bytes] = set()
    authority = False
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        try:
            patterns, kind, encoded = fields[:3]
            blob = base64.b64decode(encoded, validate=True)
        except ValueError:  # binascii.Error is one
            continue
        if not any(_matches(patterns, name) for name in names):
            continue
        if marker == "@revoked":
            revoked.add(blob)
        elif marker == "@cert-authority":
            authority = True
        elif not marker:
            keys.append((kind, blob))
    return Trusted(tuple(keys), frozenset(revoked), authority)


def _matches(patterns: str, name: str) -> bool:
    """Whether a line's first field means this host: hashed, or patterns with ``*``, ``?`` and ``!``."""
    if patterns.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in patterns[3:].split("|"))
        except ValueError:  # binascii.Error is one
            return False
        return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
    matches = False
    for pattern in patterns.lower().split(","):
        body = pattern.removeprefix("!")
        expression = re.escape(body).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(expression, name):
            if body != pattern:
                return False
            matches = True
    return matches


def fingerprint(blob: bytes) -> str:
    """A public key's fingerprint as ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

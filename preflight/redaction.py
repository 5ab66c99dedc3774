"""Take secrets out of text: by value (every secret that was read) and by shape (tokens, passwords in URLs, …).

Redaction happens once, when evidence is made, so that no report, log or assertion message can leak what it never held.
The shapes follow the token prefixes of GitLab (reference/peers.md, gap 6).
"""

from __future__ import annotations

import base64
import re
import threading
from urllib.parse import quote

MASK = "[redacted]"
_SHORTEST = 4  # a shorter "secret" would blot out ordinary words

_known: set[str] = set()
_lock = threading.Lock()

_TOKEN_PREFIXES = (
    "glpat glptt gldt glrt glrtr glcbt glft glimt glagent gloas glsoat glffct glwt gltok"  # reference/peers.md gap 6
).split()

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"\b(?:[a-z0-9]+-)?(?:{'|'.join(_TOKEN_PREFIXES)})-[0-9A-Za-z_\-.]{{8,}}"), MASK),
    (re.compile(r"\bGR1348941[0-9A-Za-z_\-]{8,}"), MASK),
    (re.compile(r"_gitlab_session=[0-9A-Fa-f]+"), f"_gitlab_session={MASK}"),
    (re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]{0,30}://)[^\s/@:]*:[^\s/@]+@"), rf"\g<scheme>{MASK}@"),
    (re.compile(r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token)\s+)[^\s\"',]+"), rf"\g<1>{MASK}"),
    (
        re.compile(r"(?i)\b((?:private-token|job-token|runner-token|x-registry-auth)[\"']?\s*[:=]\s*[\"']?)[^\s\"',]+"),
        rf"\g<1>{MASK}",
    ),
    (re.compile(r"(?i)(\"(?:auth|password|identitytoken|registrytoken|secret)\"\s*:\s*\")[^\"]*"), rf"\g<1>{MASK}"),
    (re.compile(r"\beyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]*"), MASK),  # JSON web token
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        MASK,
    ),
    (
        re.compile(r"(?i)\b((?:client-key-data|runnerToken|password|passwd|secretkey)\s*[:=]\s*)[\"']?[^\s\"',]+"),
        rf"\g<1>{MASK}",
    ),
)


def remember(secret: str) -> str:
    """Register a secret that was just read, in every form in which it may come back; return it unchanged."""
    with _lock:
        for form in (secret, secret.strip(), quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
            if len(form) >= _SHORTEST:
                _known.add(form)
    return secret


def redact(text: str) -> str:
    """The text without any known secret and without anything shaped like one."""
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for secret in known:
        if secret in text:
            text = text.replace(secret, MASK)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text

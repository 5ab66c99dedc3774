"""Take secrets out of text: by value (every secret that was read) and by shape (tokens, passwords in URLs, …).

Redaction happens once, when evidence is made, so that no report, log or assertion message can leak what it never held.
The shapes follow the token prefixes of GitLab (docs/sources.md#token-kinds).
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
_SHORTEST = 4  # a shorter "secret" would blot out ordinary words
_LONG = 16  # characters of a line that is a secret by itself
_CORE = 8  # characters of base64 that are no ordinary word
_GRAM = 8  # characters by which a secret is found
_PIECE = 12  # characters of a secret that was cut, from its beginning or before its end, that are no ordinary words

_known: set[str] = set()
_beginnings: dict[str, list[str]] = {}
_ends: dict[str, list[str]] = {}
_short: list[str] = []
_lock = threading.Lock()

_TOKEN_PREFIXES = "glpat glptt gldt glrt glrtr glcbt glft glimt glagent gloas glsoat glffct glwt gltok".split()

_NAMES = re.compile(
    r"(token|passw(or)?d|passphrase|(secret|access|account|private|api)key|clientsecret|credentials|dsn|keydata"
    r"|authconfig)$|^auth$"
)
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>(?![$%{<]).{4,})", re.DOTALL)
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_\-]*)[\"']?\s*[:=]\s*[\"']?(?P<value>(?![$%{<\[])[^\s\"',]{4,})")
_USERINFO = re.compile(r"[a-z][a-z0-9+.\-]{0,30}://[^\s/@:]*:(?P<password>[^\s/@]+)@")

_NAMED = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_\-]{0,80})(?P<sign>\\?[\"']?(?:=|:\s*(?=\\?[\"']))\\?[\"']?)"
    r"(?P<value>(?![$%{<\[*])[^\s\"',;&\\]{4,})"
)

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"\b(?:[a-z0-9]+-)?(?:{'|'.join(_TOKEN_PREFIXES)})-[0-9A-Za-z_\-.]{{8,}}"), MASK),
    (re.compile(r"\bGR1348941[0-9A-Za-z_\-]{8,}"), MASK),
    (re.compile(r"_gitlab_session=[0-9A-Fa-f]+"), f"_gitlab_session={MASK}"),
    (re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]{0,30}://)[^\s/@:]*:[^\s/@]+@"), rf"\g<scheme>{MASK}@"),
    (re.compile(r"(https?://)[^\s/@:]{16,}@"), rf"\g<1>{MASK}@"),  # a token for a user
    (re.compile(r"(?i)(--[a-z\-]*(?:password|passphrase|token|secret)\s+)(?![-$<{%])[^\s\"',]+"), rf"\g<1>{MASK}"),
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
    """Register a secret that was just read, in every form in which it may come back; return it unchanged.

    Of a secret of several lines, such as a key, each line counts.
    """
    whole = secret.strip()
    forms = {secret, whole}
    for text in (whole, *(line.strip() for line in whole.splitlines() if len(line.strip()) >= _LONG)):
        forms |= _encodings(text)
    with _lock:
        for form in forms - _known:
            if len(form) >= _SHORTEST:
                _known.add(form)
            if len(form) >= _GRAM:
                _beginnings.setdefault(form[:_GRAM], []).append(form)
                _ends.setdefault(form[-_GRAM:], []).append(form)
            elif len(form) >= _SHORTEST:
                _short.append(form)
    return secret


def remember_within(tree: Any, name: str = "") -> None:
    """Register what has a secret's name in a tree of settings, and the passwords in its URLs and variables.

    Args:
        tree: mappings and lists of values.
        name: the key that the tree stands under.
    """
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            remember_within(value, str(key))
        if isinstance(tree.get("name"), str) and isinstance(tree.get("value"), str):  # an environment variable
            remember_within(tree["value"], tree["name"])
    elif isinstance(tree, list | tuple):
        for value in tree:
            remember_within(value, name)
    elif isinstance(tree, str) and tree.strip():
        if names_a_secret(name):
            remember(tree)
        whole = _VARIABLE.fullmatch(tree.strip())
        for assignment in [whole] if whole else _ASSIGNED.finditer(tree):
            if names_a_secret(assignment["name"]):
                remember(assignment["value"])
        for userinfo in _USERINFO.finditer(tree):
            remember(userinfo["password"])


def names_a_secret(name: str) -> bool:
    """Whether a key or a variable of this name holds a secret, whatever the secret's shape."""
    return bool(_NAMES.search(re.sub(r"[_\-]", "", name).lower()))


def _encodings(text: str) -> set[str]:
    """A text as software writes it: plain, in JSON, URLs, HTML and code, in base64 and base16."""
    code = repr(text)[1:-1]
    forms = {text, code, code.replace('"', '\\"'), html.escape(text)}
    forms |= {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    urls = {quote(text, safe=safe, errors="replace") for safe in ("", "/", "/:", "!'()*")}
    urls.add(quote_plus(text, errors="replace"))
    forms |= urls | {re.sub(r"%[0-9A-F]{2}", lambda escape: escape[0].lower(), form) for form in urls}
    data = text.encode("utf-8", "surrogatepass")
    return forms | {data.hex(), data.hex().upper()} | _in_base64(data)


def _in_base64(data: bytes) -> set[str]:
    """What base64 of it shows, and what it shows of it inside of something longer, which begins at any alignment."""
    whole = base64.b64encode(data).decode()
    forms = {whole, whole.rstrip("=")}
    for lead in range(3):
        text = base64.b64encode(b"\0" * lead + data).decode().rstrip("=")
        # The first and the last character may hold bits of what stands beside.
        core = text[(0, 2, 3)[lead] : len(text) - (1 if (lead + len(data)) % 3 else 0)]
        if len(core) >= _CORE:
            forms.add(core)
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}


def redact(text: str) -> str:
    """The text without any known secret, or a piece of one that was cut, and without anything shaped like one.

    The suite's own placeholders stay: a command in a remedy would make a broken secret of the mask.
    """
    return "".join(part if index % 2 else _redacted(part) for index, part in enumerate(_PLACEHOLDERS.split(text)))


_PLACEHOLDERS = re.compile(r"(?<==)(TOKEN|PASSWORD|USER|…)(?![\w.+/=@-])")
"""What remedies have in the place of a secret that a person has to fill in."""


def _redacted(text: str) -> str:
    text = _without_known(text)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return _NAMED.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    return f"{match['name']}{match['sign']}{MASK}" if names_a_secret(match["name"]) else match[0]


def _without_known(text: str) -> str:
    spans = [
        span
        for index in range(len(text) - _GRAM + 1)
        if ((gram := text[index : index + _GRAM]) in _beginnings or gram in _ends)
        and (span := _known_span(text, index))
    ]
    pieces, end = [], 0
    for start, stop in _joined(spans):
        pieces += [text[end:start], MASK]
        end = stop
    text = "".join([*pieces, text[end:]])
    for secret in tuple(_short):
        text = text.replace(secret, MASK)
    return text


def _known_span(text: str, index: int) -> tuple[int, int] | None:
    """The span of a known secret that begins at an index, whole or cut; or of one whose end does, behind a cut."""
    gram = text[index : index + _GRAM]
    longest = 0
    for form in tuple(_beginnings.get(gram, ())):
        common = len(form) if text.startswith(form, index) else _common(form, text[index : index + len(form)])
        if common == len(form) or common >= _PIECE:
            longest = max(longest, common)
    if longest:
        return index, index + longest
    stop = index + _GRAM
    for form in tuple(_ends.get(gram, ())):
        common = _common(form[::-1], text[max(0, stop - len(form)) : stop][::-1])
        cut = text[: stop - common].rstrip()
        longest = max(longest, common if common >= _PIECE and (not cut or cut.endswith(("…", MASK))) else 0)
    return (stop - longest, stop) if longest else None


def _common(first: str, second: str) -> int:
    """The length of the longest common beginning of two texts."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, those that touch merged."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged

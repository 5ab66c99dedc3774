"""Take secrets out of text: by value (every secret that was read) and by shape (`preflight.secret_shapes`).

Redaction happens once, when evidence is made, so that no report, log or assertion message can leak what it never held.
A known secret is found however it is written: in JSON, URLs, HTML, base64 or base16, quoted for a shell, wrapped over
lines, with invisible characters in it, or cut. So texts are compared without white space, quotes and backslashes.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from preflight import secret_shapes
from preflight.secret_shapes import Span, names_a_secret

__all__ = ["MASK", "REPEATED", "generation", "names_a_secret", "redact", "redact_part", "remember", "remember_within"]

MASK = "[redacted]"
_SHORTEST = 4  # a shorter "secret" would blot out ordinary words
_LONG = 16  # characters of a line that is a secret by itself
_CORE = 8  # characters of base64 that are no ordinary word
_GRAM = 8  # characters by which a secret is found
_PIECE = 12  # characters of a secret that was cut, from its beginning or before its end, that are no ordinary words
_DEEPEST = 3  # times that base64 is decoded
REPEATED = 1000
"""Characters of a text that is likely to come again, as names, addresses and sentences do: nine of ten."""

_known: set[str] = set()
_beginnings: dict[str, list[str]] = {}
_ends: dict[str, list[str]] = {}
_short: list[str] = []
_lock = threading.Lock()
_generation = 0  # of what is known; counted up when all forms of a secret are in place

_NOISE = re.compile(rf"(?:[\s'\"\x60>|#]|\\+[nrt]?|{secret_shapes.INVISIBLE.pattern})+")
"""What may stand within a secret that was wrapped, quoted or escaped."""

_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]{0,200})=(?P<value>(?![$%{<]).{4,})", re.DOTALL)


def remember(secret: str) -> str:
    """Register a secret that was just read, in every form in which it may come back; return it unchanged.

    Of a secret of several lines, such as a key, each line counts.
    """
    whole = secret.strip()
    forms = {secret, whole}
    for text in (whole, *(line.strip() for line in whole.splitlines() if len(line.strip()) >= _LONG)):
        forms |= _encodings(text)
    global _generation  # noqa: PLW0603 - as what is known is the process's
    with _lock:
        for form in forms - _known:
            if len(form) >= _SHORTEST:
                _known.add(form)
            plain = _NOISE.sub("", form)
            if len(plain) >= _GRAM:
                _add(_beginnings.setdefault(plain[:_GRAM], []), plain)
                _add(_ends.setdefault(plain[-_GRAM:], []), plain)
            elif len(form) >= _SHORTEST:
                _short.append(form)
        _generation += 1
    return secret


def _add(forms: list[str], form: str) -> None:
    if form not in forms:
        forms.append(form)


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
        if variable := _VARIABLE.fullmatch(tree.strip()):
            if names_a_secret(variable["name"]):
                remember(variable["value"])
        else:
            for start, stop in secret_shapes.named(tree):
                remember(tree[start:stop])
        for start, stop in secret_shapes.in_urls(tree):
            password = secret_shapes.password_of(tree[start:stop])
            remember(password)
            remember(unquote(password))


def _encodings(text: str) -> set[str]:
    """A text as software writes it: plain, in JSON, URLs, HTML and code, in base64 and base16."""
    code = repr(text)[1:-1]
    forms = {text, code, code.replace('"', '\\"'), html.escape(text)}
    forms |= {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    forms |= {form.translate(_OF_GO) for form in tuple(forms)}
    urls = {quote(text, safe=safe, errors="replace") for safe in ("", "/", "/:", "!'()*")}
    urls.add(quote_plus(text, errors="replace"))
    forms |= urls | {re.sub(r"%[0-9A-F]{2}", lambda escape: escape[0].lower(), form) for form in urls}
    data = text.encode("utf-8", "surrogatepass")
    return forms | {data.hex(), data.hex().upper()} | _in_base64(data)


_OF_GO = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&"})
"""How Go's encoder of JSON writes what HTML would take for its own."""


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

    Takes time linear in the text's length; placeholders (`preflight.secret_shapes.is_placeholder`) stay.
    """
    return redact_part(text, 0, len(text))


def redact_part(text: str, start: int, stop: int) -> str:
    """A part of a text, redacted with regard to what stands beside it."""
    pieces, end = [], start
    for begin, finish in _joined(_spans(text)):
        if finish <= start or begin >= stop:
            continue
        pieces += [text[end:begin], MASK]
        end = finish
    return "".join([*pieces, text[end:stop]])


def generation() -> int:
    """A number that grows with each secret that becomes known: what was redacted under another one is redacted anew."""
    return _generation


def _spans(text: str, depth: int = 0) -> list[Span]:
    """The spans of all secrets in a text."""
    shaped = _shaped_spans_of_repeated(text) if len(text) <= REPEATED else _shaped_spans(text)
    return [*shaped, *_encoded_spans(text, depth), *_known_spans(text)]


@functools.lru_cache(maxsize=4096)
def _shaped_spans_of_repeated(text: str) -> Sequence[Span]:
    return tuple(_shaped_spans(text))


def _shaped_spans(text: str) -> list[Span]:
    visible, places = _without(secret_shapes.INVISIBLE, text)
    spans = [*secret_shapes.shaped(visible), *secret_shapes.named(visible), *secret_shapes.in_urls(visible)]
    return _placed([*spans, *secret_shapes.bodies(visible)], places)


def _encoded_spans(text: str, depth: int) -> list[Span]:
    if depth >= _DEEPEST:
        return []
    visible, places = _without(secret_shapes.INVISIBLE, text)
    runs = secret_shapes.encoded_runs(visible)
    return _placed([run for run in runs if _is_encoded_secret(visible[slice(*run)], depth)], places)


def _is_encoded_secret(run: str, depth: int) -> bool:
    """Whether a run of characters is base64 of a secret, or of a text that holds one."""
    return any(
        secret_shapes.is_account(decoded) or _spans(decoded, depth + 1) for decoded in secret_shapes.decodings(run)
    )


def _without(pattern: re.Pattern[str], text: str) -> tuple[str, Sequence[int]]:
    """The text without what a pattern matches, and where each character of it, and its end, stands in the original."""
    if pattern.search(text) is None:
        return text, range(len(text) + 1)
    pieces: list[str] = []
    places = array("Q")
    end = 0
    for match in pattern.finditer(text):
        pieces.append(text[end : match.start()])
        places.extend(range(end, match.start()))
        end = match.end()
    pieces.append(text[end:])
    places.extend(range(end, len(text) + 1))
    return "".join(pieces), places


def _placed(spans: Iterable[Span], places: Sequence[int]) -> list[Span]:
    """The spans in the original text: each ends behind its last character."""
    return [(places[start], places[stop - 1] + 1) for start, stop in spans if stop > start]


def _known_spans(text: str) -> list[Span]:
    spans: list[Span] = []
    if _beginnings:
        plain, places = _without(_NOISE, text)
        in_plain: list[Span] = []
        index, last = 0, len(plain) - _GRAM
        while index <= last:
            gram = plain[index : index + _GRAM]
            if (gram in _beginnings or gram in _ends) and (span := _known_span(plain, index)):
                in_plain.append(span)
                index = max(index + 1, span[1])
            else:
                index += 1
        spans = _placed(in_plain, places)
    for secret in tuple(_short):
        at = text.find(secret)
        while at >= 0:
            spans.append((at, at + len(secret)))
            at = text.find(secret, at + len(secret))
    return spans


def _known_span(text: str, index: int) -> Span | None:
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
        cut = text[max(0, stop - common - len(MASK)) : stop - common]
        longest = max(longest, common if common >= _PIECE and (not cut or cut.endswith(("…", MASK))) else 0)
    return (stop - longest, stop) if longest else None


def _common(first: str, second: str) -> int:
    """The length of the longest common beginning of two texts."""
    least, most = 0, min(len(first), len(second))
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if first[least:middle] == second[least:middle] else (least, middle - 1)
    return least


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, those that touch merged."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged

"""Names that Kubernetes' API takes, and patterns that Go's regular expressions take."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LONGEST_SUBDOMAIN = 253
_LONGEST_URL = 2000
# Of Perl's syntax Go has no looking around and no references; of its own it has what Python does not read.
_NOT_GO = re.compile(r"\(\?<?[=!]|\(\?P=|\\[1-9]")
_NOT_PYTHON = re.compile(r"\[\[:|\\[pPQzC]|\\x\{|\(\?[a-zA-Z-]*U|\(\?<[A-Za-z]")

_PIECE = re.compile(r"/\*\*/|\*\*/|/\*\*$|\*\*|\*|\?|\[[^\]]{0,400}\]|\\.|.", re.DOTALL)
_WILDCARDS = {
    "/**/": "/(?:.*/)?",
    "**/": "(?:.*/)?",
    "/**": "(?:/.*)?",
    "**": ".*",
    "*": "[^/]*",
    "?": "[^/]",
    "{": "(?:",
    "}": ")",
    ",": "|",  # no image holds a comma
}


def dns_label(name: str) -> bool:
    """Whether it is a DNS label (RFC 1123): of a volume, a container."""
    return _LABEL.fullmatch(name) is not None


def dns_subdomain(name: str) -> bool:
    """Whether it is a DNS name (RFC 1123): of an object, a host."""
    return len(name) <= _LONGEST_SUBDOMAIN and _SUBDOMAIN.fullmatch(name) is not None


def qualified_name(name: str) -> bool:
    """Whether it is a key of labels, annotations and taints: ``[prefix/]name``."""
    prefix, slash, plain = name.rpartition("/")
    return _NAME.fullmatch(plain) is not None and (dns_subdomain(prefix) if slash else True)


def label_value(value: str) -> bool:
    """Whether it is a value of a label or taint."""
    return not value or _NAME.fullmatch(value) is not None


def is_web_url(text: str) -> bool:
    """Whether it is a URL of a web server on one line, which a program can be given as it is."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # brackets, or an invalid port
        return False
    host = parts.hostname or ""
    readable = text.isprintable() and not any(sign.isspace() for sign in text) and len(text) <= _LONGEST_URL
    return readable and parts.scheme in {"http", "https"} and host[:1] not in {"", "-"} and port != 0


def go_pattern(pattern: str) -> bool:
    """Whether Go compiles a regular expression; where that is not known here, it does."""
    if _NOT_GO.search(pattern):
        return False
    if _NOT_PYTHON.search(pattern):
        return True
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def glob(pattern: str) -> re.Pattern[str]:
    """A pattern of images: ``*`` within one step of a path, ``**`` over several, ``{a,b}``, ``[a-z]`` and ``?``.

    Raises:
        ValueError: it is none.
    """
    braces = "}" in pattern
    translated = ""
    for piece in _PIECE.findall(pattern):
        if piece in _WILDCARDS and (braces or piece not in "{},"):
            translated += _WILDCARDS[piece]
        elif len(piece) > 1 and piece.startswith("["):
            translated += piece.replace("[!", "[^", 1)
        else:
            translated += re.escape(piece.removeprefix("\\") or "\\")
    try:
        return re.compile(translated, re.DOTALL)
    except re.error as error:
        msg = f"{pattern!r} is no pattern"
        raise ValueError(msg) from error


def matches_image(image: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns takes in an image; one that is none is passed over, as the runner does."""
    for pattern in patterns:
        try:
            if glob(pattern).fullmatch(image):
                return True
        except ValueError:
            continue
    return False

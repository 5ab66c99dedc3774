"""What looks like a secret, whoever knows it or not: by its shape, by the name before it, or by what base64 hides.

Each finder returns spans of a text. All take time linear in its length, since anybody's text comes here: a pattern
begins with what it is known by, has bounded repeats, and an unbounded one at its end only, where nothing can fail.
Names that may stand anywhere before a sign are looked up behind it, in a bounded part of the text.
The shapes of tokens follow docs/sources.md#token-kinds and docs/sources.md#secret-shapes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from itertools import pairwise

Span = tuple[int, int]

INVISIBLE = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that a reader can't see: of format, fillers, variation selectors and tags, which may stand in a secret."""

# ---- tokens and keys that their own text gives away -----------------------------------------------------------------

TOKEN_PREFIXES = "glpat glptt gldt glrt glrtr glcbt glft glimt glagent gloas glsoat glffct glwt gltok".split()

_SPACE = r"[ \t]{0,8}"
_BASE64_LINE = r"[A-Za-z0-9+/_\-.]"
_END_OF_LINE = r"(?:[ \t]{0,8}\\{0,2}\r?\n|(?:\\{1,4}r)?\\{1,4}n)[ \t>|]{0,40}"

SHAPES: tuple[re.Pattern[str], ...] = tuple(
    re.compile(text)
    for text in (
        rf"(?:{'|'.join(TOKEN_PREFIXES)})-[0-9A-Za-z_\-.]{{8,}}",
        r"GR1348941[0-9A-Za-z_\-]{8,}",
        r"gh[a-z]_[0-9A-Za-z]{16,}",
        r"github_pat_[0-9A-Za-z_]{16,}",
        r"(?:xox[a-z]|xapp)-[0-9A-Za-z\-]{8,}",
        r"hv[sbr]\.[0-9A-Za-z_\-]{12,}",
        r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{12,}",
        r"(?:AKID|LTAI)[0-9A-Za-z]{10,}",
        r"AIza[0-9A-Za-z_\-]{30,}",
        r"ya29\.[0-9A-Za-z_\-]{16,}",
        r"(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16,}",
        r"sk-(?:proj|ant|svcacct)-[0-9A-Za-z_\-]{16,}",
        r"npm_[0-9A-Za-z]{30,}",
        r"pypi-AgE[0-9A-Za-z_\-]{16,}",
        r"dckr_[a-z]{3}_[0-9A-Za-z_\-]{16,}",
        r"dop_v1_[0-9a-f]{32,}",
        r"AGE-SECRET-KEY-[0-9A-Z]{8,}",
        r"\$(?:2[abxy]?|apr1|argon2(?:id|i|d)|[1567y]|sha1|pbkdf2(?:-sha\d{1,3})?)\$[0-9A-Za-z./$=,+*\-]{16,}",
        r"\{S?SHA(?:256|512)?\}[0-9A-Za-z+/=]{20,}",
        # base64 of a JSON object: a JSON web token, or a Docker configuration
        rf"eyJ[A-Za-z0-9_\-+/]{{10}}{_BASE64_LINE}*+=*+(?:{_END_OF_LINE}{_BASE64_LINE}{{24}}{_BASE64_LINE}*+=*+)*+"
        rf"(?:{_END_OF_LINE}(?=[A-Za-z]{{0,24}}[0-9_.\-]){_BASE64_LINE}{{1,24}}+=*+(?![^\s\"']))?",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[^-]++|-(?!----END [A-Z0-9 ]{0,40}PRIVATE KEY))*+(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
    )
)
"""Of which a whole match is a secret."""

_SCHEMES = r"(?:basic|bearer|digest|negotiate|ntlm|token|aws|aws4-hmac-sha256|bot|apikey|key)"
_NO_REFERENCE = r"(?![$%{<\[*])"

SHAPES_WITHIN: tuple[re.Pattern[str], ...] = tuple(
    re.compile(text, re.IGNORECASE)
    for text in (
        rf"authorization[\"']?{_SPACE}[:=]{_SPACE}[\"']?{_SCHEMES}[ \t]{{1,8}}{_NO_REFERENCE}"
        r"(?P<secret>[^\s\"']{4,})",
        rf"cookie2?[\"']?{_SPACE}[:=]{_SPACE}[\"']?{_NO_REFERENCE}(?P<secret>(?=[^\s=]{{1,200}}=)[^\r\n\"']{{4,}})",
        r"(?:_gitlab_session|_session_id|jsessionid|phpsessid|sessionid|remember_user_token|connect\.sid)="
        rf"{_NO_REFERENCE}(?P<secret>[^\s\"';,]{{4,}})",
        r"x-(?:amz|goog|oss|cos|obs|ms)-(?:signature|credential|security-token|token)(?:=|%3d)"
        rf"{_NO_REFERENCE}(?P<secret>[^\s\"'&;<>,\\]{{4,}})",
        r"(?:awsaccesskeyid|ossaccesskeyid|q-signature|q-ak|signature)(?:=|%3d)"
        rf"{_NO_REFERENCE}(?P<secret>[^\s\"'&;<>,\\]{{4,}})",
        rf"(?:[?&;]|\\u0026|%26|&amp;)(?:sig|sign|token)(?:=|%3d){_NO_REFERENCE}(?P<secret>[^\s\"'&;<>,\\]{{4,}})",
        r"login[ \t]{1,8}\S{1,80}[ \t]{1,8}password[ \t]{1,8}(?P<secret>\S{1,})",  # netrc
        r"(?:https?|oci|ftps?|wss?)%3a%2f%2f(?P<secret>[^\s\"'&@]{1,200}?)%40",
        r"%3a%2f%2f[^\s\"'&@%]{0,80}%3a(?P<secret>[^\s\"'&@]{1,200}?)%40",
        r":(?P<secret>[^\s@:\"',/]{1,256})@(?:tcp|unix)\(",  # a data source's name as Go writes it
        rf"\"secret\\{{0,3}}\"{_SPACE}:{_SPACE}\\{{0,3}}\"{_NO_REFERENCE}(?P<secret>[^\"\\]{{1,}})",
    )
)
"""Of which the group ``secret`` is one."""

_BARE = re.compile(
    rf"(?:(?:bearer|basic)[ \t]{{1,8}}|authorization[\"']?{_SPACE}[:=]{_SPACE}[\"']?)(?!\w{{1,40}}=[\"'])"
    r"(?P<secret>[A-Za-z0-9._~+/\-]{8,}=*)",
    re.IGNORECASE,
)
_END_OF_KEY = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_LEAST_LINE = 16  # characters of a line of a key, but for its last one
_OF_KEY = re.compile(r"[A-Za-z0-9+/]{1,80}={0,2}")


def shaped(text: str) -> Iterator[Span]:
    """The spans of what is a secret by its own shape."""
    for shape in SHAPES:
        yield from (match.span() for match in shape.finditer(text))
    for shape in SHAPES_WITHIN:
        for match in shape.finditer(text):
            if not is_placeholder(match["secret"]):
                yield match.span("secret")
    for match in _BARE.finditer(text):
        if _mixed(match["secret"].rstrip(".")):
            yield match.span("secret")
    yield from _cut_keys(text)


def _cut_keys(text: str) -> Iterator[Span]:
    """The lines of a private key before its end, whose head is not there."""
    for match in _END_OF_KEY.finditer(text):
        start = match.start()
        while True:
            line_end = len(text[max(0, start - 200) : start].rstrip(" \t\r\n>|")) + max(0, start - 200)
            line_start = max(text.rfind("\n", max(0, line_end - 200), line_end) + 1, line_end - 200, 0)
            line = text[line_start:line_end].strip(" \t>|")
            least = 1 if start == match.start() else _LEAST_LINE  # the last line may be short
            if line_end <= 0 or len(line) < least or not _OF_KEY.fullmatch(line):
                break
            start = line_start
        if start < match.start():
            yield start, match.end()


# ---- what stands after a name ---------------------------------------------------------------------------------------

_NAMES = re.compile(
    r"(token|passw(or)?d|passphrase|(secret|access|account|private|api)key|clientsecret|credentials|dsn|keydata"
    r"|authconfig|dockerconfigjson|dockercfg|tls\.key)\Z|^auth\Z"
)
_LONGEST_NAME = 200


def names_a_secret(name: str) -> bool:
    """Whether a key or a variable of this name holds a secret, whatever the secret's shape."""
    return bool(_NAMES.search(re.sub(r"[_\-]", "", name[-_LONGEST_NAME:]).lower()))


_NAME = (
    r"(?:token|passw(?:or)?d|passphrase|pwd"
    r"|(?:secret|access|account|private|api|signing|encryption|master|sas)[_\- ]?key"
    r"|(?:client|app)[_\-]?secret|credentials|dsn|key[_\-]?data|auth[_\-]?config"
    r"|dockerconfigjson|dockercfg|tls\.key|(?<![A-Za-z0-9_\-])auth|(?<![A-Za-z0-9])pass|x-registry-auth|密码|口令|令牌|密钥)[_\-]?\d{0,3}"
)
_PARTS_OF_NAMES = ("token", "pass", "pwd", "key", "secret", "cred", "dsn", "auth", "dockerc")
"""One of which each name of ASCII above holds; most texts hold none, and to search them for names takes much longer."""
_ASSIGNED = re.compile(
    rf"(?P<name>{_NAME})(?P<closed>\\{{0,3}}[\"'\x60]?){_SPACE}(?P<sign>=>|:=|[=:\uff1a]){_SPACE}"
    r"(?:!{1,2}[a-z]{0,10}[ \t]{1,8})?(?:[|>][+\-]?[ \t]{0,8}\r?\n[ \t]{0,40})?"
    rf"(?P<open>\\{{0,3}}[\"']?){_NO_REFERENCE}(?P<value>[^\s\"'\x60])",
    re.IGNORECASE,
)
_OPTION = re.compile(
    rf"(?P<name>{_NAME}|creds|secret)(?P<sign>[\"']?(?:[ \t]|\\\r?\n){{1,20}})(?P<open>[\"']?){_NO_REFERENCE}"
    r"(?P<value>[^\s\"'\-])",
    re.IGNORECASE,
)
_UNQUOTED = re.compile(r"[^\s\"'`\\]*")
_UP_TO = {
    '"': re.compile(r'[^"\n\\]*(?:\\.[^"\n\\]*)*'),
    "'": re.compile(r"[^'\n]*"),
}
_UP_TO_ESCAPED = re.compile(r"[^\"'`\n\\]*")
_REFERENCE = re.compile(r"secret:[a-z0-9.\-]{1,253}/|(?:~|\.{0,2})/[\w.\-]{1,80}/[\w./\-]*\Z|[a-z]{2,8}://")
_PUNCTUATION = ".,;:!?)]}>"
_WORDS = frozenset(
    "absent accepted added allowed and are can cannot changed denied disabled does empty enabled error exists "
    "expected expired failed false for forbidden found from given has have hidden ignored into invalid malformed "
    "masked missing must needed never none not null only optional present protected read refused rejected removed "
    "required revoked shown that the then there this true unauthorized unchanged undefined unknown unmasked "
    "unprotected unset unused valid value was what when which will with without wrong yes your".split()
)
"""What a sentence says of a secret: no value of one."""

_PLACEHOLDER_WORDS = frozenset(
    "A ACCOUNT ADDRESS API AUTH CHANGE CI CREDENTIALS DIR EXAMPLE FILE GITLAB GROUP HERE HOST ID IMAGE JOB KEY LOGIN "
    "ME MIRROR MY NAME NAMESPACE NEW NODE OLD PASS PASSPHRASE PASSWORD PATH PLACEHOLDER POD PORT PROJECT REGISTRY "
    "RELEASE REPLACE RUNNER SECRET SSH THE TOKEN URL USER USERNAME VALUE YOUR".split()
)


def is_placeholder(value: str) -> bool:
    """Whether it only stands for a secret, as in ``TOKEN``, ``USER:PASSWORD``, ``YOUR_TOKEN_HERE`` or ``$TOKEN``."""
    if not value.strip(".…xX*") or value.startswith(("$", "{{", "<", "…")):
        return True
    return value.isupper() and all(word in _PLACEHOLDER_WORDS for word in re.split(r"[_\-:]", value[:_LONGEST_NAME]))


def named(text: str) -> Iterator[Span]:
    """The spans of values that stand after the name of a secret: ``key=value``, ``key: value``, ``--key value``."""
    if _may_name(text):
        yield from _after_names(text)
    yield from _of_commands(text)


def _may_name(text: str) -> bool:
    """Whether a part of a name is in a text; in a text of ASCII alone, what is searched for has one other case."""
    lower = text.lower()
    return not text.isascii() or any(part in lower for part in _PARTS_OF_NAMES)


def _after_names(text: str) -> Iterator[Span]:
    end = _End()
    searched = 0
    for match in _ASSIGNED.finditer(text):
        start = match.start("value")
        if start < searched:
            continue
        stop = end.of_value(text, start, match["open"], after_equals=match["sign"] in {"=", ":="})
        if stop > start and _is_assigned(text, match, start, stop):
            yield start, stop
            searched = stop
    end = _End()
    for match in _OPTION.finditer(text):
        if _FLAG.search(text, max(0, match.start() - 60), match.start()):
            start = match.start("value")
            stop = end.of_value(text, start, match["open"], after_equals=False)
            value = text[start : min(stop, start + _JUDGED)]
            if not is_placeholder(value) and not _REFERENCE.match(value) and value.lower() not in _WORDS:
                yield start, stop


_FLAG = re.compile(r"(?:\A|[\s\"'`(\[])--?[A-Za-z0-9_\-]{0,40}\Z")
_JUDGED = 1000  # characters of a value by which it is judged


class _End:
    """Where values end; a run of characters is gone through once, however many values begin in it."""

    def __init__(self) -> None:
        self._start = self._stop = 0

    def of_value(self, text: str, start: int, opened: str, *, after_equals: bool) -> int:
        """The end of a value that begins there, behind this quote or none."""
        if opened[-1:] in _UP_TO:
            inner = (_UP_TO_ESCAPED if opened.startswith("\\") else _UP_TO[opened[-1]]).match(text, start)
            return inner.end() if inner else start
        if not self._start <= start < self._stop:
            whole = _UNQUOTED.match(text, start)
            self._start, self._stop = start, whole.end() if whole else start
        stop = self._stop
        if after_equals:
            within = _SEPARATOR.search(text, start + 1, min(stop, start + _LONGEST_AUTHORITY))
            stop = within.start() if within else stop
        while stop > start and text[stop - 1] in _PUNCTUATION:
            stop -= 1
        return stop


def _is_assigned(text: str, match: re.Match[str], start: int, stop: int) -> bool:
    """Whether this value is one, and not the next word of a sentence, or the name of where it is kept."""
    value, name = text[start : min(stop, start + _JUDGED)], match["name"].lower()
    if is_placeholder(value) or (_REFERENCE.match(value) and name != "dsn"):
        return False
    if match["open"]:
        return True
    if name == "auth":
        return len(value) >= _LEAST_ENCODED and _mixed(value)
    if match["sign"] in {"=", ":=", "=>"} or match["closed"]:
        return stop - start >= _LEAST and value.lower() not in {"true", "false", "none", "null"}
    if name == "pass" or stop - start < _LEAST or value.lower() in _WORDS:
        return False
    if _mixed(value) or (value.count("-") > 1 and len(value) >= _LONG_WORDS):
        return True
    before = text[max(0, match.start() - _LONGEST_KEY) : match.start()].rpartition("\n")[2]
    is_header = before.endswith("-") and before[-2:-1].isalnum()
    return is_header or (_ALONE.match(text, stop) is not None and not _PROSE.search(before))


_ALONE = re.compile(r"[ \t\r\"',;}]{0,8}(?:\n|\Z)")
_PROSE = re.compile(r"[\w.)][:;,]? {1,8}\S")
_SEPARATOR = re.compile(r"[;&,]")
_LONGEST_KEY = 100
_LEAST = 4  # characters of a value
_LEAST_ENCODED = 8
_LONG_WORDS = 12  # characters of words joined by dashes that are hardly prose


def _mixed(word: str) -> bool:
    """Whether a word holds what words of a sentence do not: a digit, a sign, or a capital after a small letter."""
    bare = word.strip("-")
    return any(not (character.isalpha() or character == "-") for character in bare) or any(
        before.islower() and after.isupper() for before, after in pairwise(bare[:_LONGEST_NAME])
    )


# ---- commands -------------------------------------------------------------------------------------------------------

_COMMAND = re.compile(
    r"(?<![A-Za-z0-9])(?P<which>login|sshpass|mysql(?:dump|admin)?|redis-cli|ldapsearch|htpasswd|curl|wget|crictl|skopeo"
    r"|podman|buildah|nerdctl|crane|oras)(?![A-Za-z0-9])"
)
_PASSWORD_OPTION = re.compile(rf"(?<!\S)-[pwa](?:[ \t=]{{1,8}})?(?P<open>[\"']?){_NO_REFERENCE}(?P<value>[^\s\"'\-])")
_USER_OPTION = re.compile(
    r"(?<!\S)(?:-[A-Za-z]{0,6}[uU]|--(?:proxy-)?user|--(?:src-|dest-)?creds)(?:[ \t=]{1,8})?(?P<open>[\"']?)"
    r"[^\s:\"'$]{1,100}:(?P<value>[^\s\"'$\[])"
)
_TAKES_PASSWORD = frozenset({"login", "sshpass", "mysql", "mysqldump", "mysqladmin", "redis-cli", "ldapsearch"})


def _of_commands(text: str) -> Iterator[Span]:
    """The passwords in options of commands that take them: ``docker login -p …``, ``curl -u user:…``."""
    end = 0
    for command in _COMMAND.finditer(text):
        if command.start() < end:  # on a line that was searched
            continue
        line_end = text.find("\n", command.end())
        end = line_end if line_end >= 0 else len(text)
        while 0 < end < len(text) and text[end - 1] == "\\":  # a line that goes on
            line_end = text.find("\n", end + 1)
            end = line_end if line_end >= 0 else len(text)
        options = [_USER_OPTION]
        if any(word["which"] in _TAKES_PASSWORD for word in _COMMAND.finditer(text, command.start(), end)):
            options.append(_PASSWORD_OPTION)
        for option in options:
            values_end = _End()
            for match in option.finditer(text, command.end(), end):
                start = match.start("value")
                stop = values_end.of_value(text, start, match["open"], after_equals=False)
                value = text[start : min(stop, start + _JUDGED)]
                if not is_placeholder(value) and not _PORT.fullmatch(value):
                    yield start, stop


# ---- URLs -----------------------------------------------------------------------------------------------------------

_LONGEST_AUTHORITY = 4096
_END_OF_URL = re.compile(r"[\s\"'<>`\\]")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_WEB = re.compile(r"(?:https?|ftps?|wss?|oci):\Z", re.IGNORECASE)


def in_urls(text: str) -> Iterator[Span]:
    """The spans of user and password in URLs; without a password, of the user of a web address: it may be a token."""
    at, end = -1, 0
    while (at := text.find("//", at + 1)) >= 0:
        start = at + 2
        if start >= end:  # else the same URL goes on, such as in a query of another
            stop = _END_OF_URL.search(text, start, start + _LONGEST_AUTHORITY)
            end = stop.start() if stop else min(len(text), start + _LONGEST_AUTHORITY)
        if text.find("@", start, end) < 0:
            at = max(at, end - 2)
            continue
        userinfo = _userinfo(text, start, end)
        if userinfo and not is_placeholder(password_of(userinfo)) and not userinfo.endswith("…"):
            if re.search(r":|%3A", userinfo, re.IGNORECASE) or _WEB.search(text[max(0, at - 8) : at]):
                yield start, start + len(userinfo)
            at = start + len(userinfo)


def password_of(userinfo: str) -> str:
    """The password of ``user:password`` as it stands in a URL; without one, the user."""
    return re.split(r":|%3A", userinfo, maxsplit=1, flags=re.IGNORECASE)[-1]


def _userinfo(text: str, start: int, end: int) -> str:
    """User and password of the URL whose authority begins there; "" without any."""
    whole = text[start:end]
    authority = re.split(r"[/?#]", whole, maxsplit=1)[0]
    if "@" in authority:
        return authority.rpartition("@")[0]
    before, colon, port = authority.rpartition(":")
    if not colon or not before or _PORT.fullmatch(port) or before.startswith("[") or not port:
        return ""
    return whole.rpartition("@")[0]  # a password that holds a slash


# ---- base64 ---------------------------------------------------------------------------------------------------------

_RUN = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")
_CERTIFICATE = re.compile(r"-----BEGIN (?:[A-Z0-9 ]{0,40}CERTIFICATE(?: REQUEST)?|[A-Z0-9 ]{0,40}PUBLIC KEY)-----")
_END_OF_CERTIFICATE = "-----END "
_HEX = re.compile(r"(?:[0-9a-f]+|[0-9A-F]+|[0-9]+)")
_PUBLIC = ("AAAAC3NzaC1", "AAAAB3NzaC1", "AAAAE2VjZHNh", "AAAAG", "LS0tLS1CRUdJTiBDRVJU")
_DIGEST = re.compile(r"(?i:sha(?:1|256|384|512)[-:])\Z")
_BLOCK_LINE = 24  # characters of a line of a body that goes over several
_LONG = 48  # characters of base64 that is no path and no fingerprint
_DEEPEST = 3
_LARGEST_DECODED = 200_000
_MOST_CHANGES = 0.35  # of neighbours that are of another kind: small, capital, digit, sign


def encoded_runs(text: str) -> Iterator[Span]:
    """The runs of characters that may be base64, in order."""
    return (match.span() for match in _RUN.finditer(text))


def decodings(run: str) -> Iterator[str]:
    """What a run may be base64 of, wherever in it that begins, as far as it is text."""
    if len(run) > _LARGEST_DECODED:
        return
    body = run.rstrip("=")
    if body.isalpha() and (body.islower() or body.istitle()):  # a word
        return
    for lead in range(4 if len(body) >= _BLOCK_LINE else 1):
        usable = body[lead:]
        usable = usable[: len(usable) // 4 * 4] if len(usable) % 4 == 1 else usable
        if len(usable) < _LEAST_ENCODED:
            return
        data = base64.b64decode(usable + "=" * (-len(usable) % 4))
        if not data.translate(None, _TEXT_BYTES):
            yield data.decode("utf-8", "replace")


_TEXT_BYTES = bytes([9, 10, 13, *range(32, 127), *range(128, 256)])
_ACCOUNT = re.compile(r"[\x21-\x39\x3b-\x7e]{1,64}:[\x21-\x7e]{1,}")


def is_account(decoded: str) -> bool:
    """Whether it is ``user:password``, as ``auth`` of a Docker configuration holds it."""
    return _ACCOUNT.fullmatch(decoded.strip()) is not None


def bodies(text: str) -> Iterator[Span]:
    """The spans of long runs of base64, such as of a key without its head; certificates and digests are none."""
    public = _certificates(text)
    before: Span | None = None  # the line before, if it may be one of a body
    for start, stop in encoded_runs(text):
        if any(begin <= start < end for begin, end in _near(public, start)):
            before = None
            continue
        run = text[start:stop]
        if run.startswith(_PUBLIC) or _DIGEST.search(text, max(0, start - 8), start) or _HEX.fullmatch(run.rstrip("=")):
            before = None
            continue
        random = len(run) >= _BLOCK_LINE and _looks_random(run)
        goes_on = before is not None and not text[before[1] : start].strip(" \t\r\n>|\\nr\"'")
        if goes_on and before is not None and (random or _ends_a_line(text, stop)):
            yield (before[0], stop)
            before = (start, stop) if random else None
            continue
        if random and len(run) >= _LONG:
            yield start, stop
        before = (start, stop) if random and _is_whole_line(text, start, stop) else None


def _certificates(text: str) -> list[Span]:
    spans, end = [], 0
    for match in _CERTIFICATE.finditer(text):
        if match.start() < end:
            continue
        stop = text.find(_END_OF_CERTIFICATE, match.end())
        end = stop if stop >= 0 else len(text)
        spans.append((match.start(), end))
    return spans


def _near(spans: list[Span], at: int) -> list[Span]:
    """Of spans in order, those that have not ended before a place; the others are dropped."""
    while spans and spans[0][1] <= at:
        spans.pop(0)
    return spans[:1]


def _is_whole_line(text: str, start: int, stop: int) -> bool:
    return not text[max(0, start - 1) : start].strip(" \t\r\n>|\"'n:") and _ends_a_line(text, stop)


def _ends_a_line(text: str, stop: int) -> bool:
    after = text[stop : stop + 2]
    return not after[:1].strip() or after[:1] in "\"'" or after.startswith("\\")


def _kind(character: str) -> int:
    return 0 if character.islower() else 1 if character.isupper() else 2 if character.isdigit() else 3


def _looks_random(run: str) -> bool:
    part = run[:200]
    kinds = [_kind(character) for character in part]
    if not {0, 1, 2} <= set(kinds) or part.count("/") > len(part) / 10:
        return False
    return sum(1 for a, b in pairwise(kinds) if a != b) > len(part) * _MOST_CHANGES

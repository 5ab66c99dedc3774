"""The runner's token: where it is configured, of which kind it is, and whether GitLab accepts it.

The token itself is in no fact: `ConfiguredToken` carries it from where it was read to where it is sent. A valid one is
sent to GitLab only together with the system id of a manager that GitLab knows already, because any other system id
makes GitLab keep a manager that does not exist (docs/sources.md#runner-verify). ``POST /jobs/request`` and
``DELETE /runners`` are never called: one takes a job away, the other deletes the runner.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from preflight.clients.connect import Routes
from preflight.clients.gitlab_reply import judge_reply
from preflight.clients.http import NoReply, Reply, curl, exchange
from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.evidence import Evidence, Fact
from preflight.faults import ApiFault, Fault, GitLabFault, TokenFault
from preflight.redaction import redact, remember
from preflight.shell_command import ShellCommand, pipe, program, variable

TOKEN_KEY, REGISTRATION_KEY = (
    "runner-token",
    "runner-registration-token",
)  # of the chart's Secret (docs/sources.md#runner-secret)
_OK, _FORBIDDEN, _UNPROCESSABLE, _TOO_MANY = 200, 403, 422, 429

_PREFIX = "glrt-"
_FORM = re.compile(
    r"glrt-(t[123]_)?[0-9A-Za-z_-]{20,300}(\.[0-9a-z]{2})?(\.[0-9a-z]{9})?"
)  # docs/sources.md#token-kinds
_ROUTABLE = re.compile(
    r"(?P<head>glrt-(?:t[123]_)?(?P<payload>[0-9A-Za-z_-]{27,300})\.[0-9a-z]{2}\.(?P<length>[0-9a-z]{2}))(?P<crc>[0-9a-z]{7})"
)
_CUSTOM_PREFIX = re.compile(r"[0-9A-Za-z_.]{1,100}-glrt-")
_KINDS: tuple[tuple[str, TokenFault, str], ...] = (
    ("GR1348941", TokenFault.REGISTRATION, "a registration token, which GitLab has deprecated and refuses by default"),
    ("glpat-", TokenFault.PERSONAL, "a user's personal, group or project access token"),
    ("glcbt-", TokenFault.JOB, "the token of one CI job, which ends with it"),
    ("glrtr-", TokenFault.UNRECOGNISED, "the token of a runner that was made with a registration token"),
    ("gldt-", TokenFault.OTHER_KIND, "a deploy token"),
    ("glptt-", TokenFault.OTHER_KIND, "a pipeline trigger's token"),
    ("glft-", TokenFault.OTHER_KIND, "a feed token"),
    ("glimt-", TokenFault.OTHER_KIND, "an incoming mail's token"),
    ("glagent-", TokenFault.OTHER_KIND, "the token of GitLab's agent for Kubernetes"),
    ("gloas-", TokenFault.OTHER_KIND, "an OAuth application's secret"),
    ("glsoat-", TokenFault.OTHER_KIND, "a SCIM token"),
    ("glffct-", TokenFault.OTHER_KIND, "a feature flags client's token"),
)
"""GitLab's other tokens by their prefix (docs/sources.md#token-kinds)."""

_PLACEHOLDERS = re.compile(
    r"YOUR[_-]|REPLACE|CHANGE[_-]?ME|TOKEN[_-]?HERE|EXAMPLE|PLACEHOLDER|x{6,}|\.{3}|…|<[^>]{0,200}>|\$[{(]|\{\{|\*{3,}|^TODO$",
    re.IGNORECASE,
)
"""What examples have in place of a token; each is too long to occur in a random one."""

_EXAMPLES = frozenset({"e94f375bd70b9d1f39d9564ddac118a0ecdfd52a9a8aaff524952a333ab03e26"})
"""SHA-256 of tokens that manuals print as examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredToken:
    """The token that a runner of these values would be configured.

    Attributes:
        source: where it is configured, such as ``runnerToken in values.yaml:15``.
        command: a command that shows it.
        text: the token as it is written there, or "".
        registration: whether it is configured as a registration token.
        absent: why there is none, where that is known better than "it is empty".
    """

    source: str
    command: ShellCommand
    text: str = field(repr=False, default="")
    registration: bool = False
    absent: str = ""

    @property
    def token(self) -> str:
        """The token without surrounding whitespace."""
        return self.text.strip()

    @property
    def outline(self) -> str:
        """The token's length and prefix, which give nothing away."""
        if not self.token:
            return "empty"
        known = next(
            (prefix for prefix in (_PREFIX, *(kind[0] for kind in _KINDS)) if self.token.startswith(prefix)), ""
        )
        begins = f", beginning with {known}" if known else ""
        blanks = len(re.findall(r"\s", self.text))
        return f"{len(self.text)} characters{begins}" + (
            f", {blanks} of them a blank or an end of line" if blanks else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerToken(Fact):
    """The runner's token, judged without sending it anywhere.

    Attributes:
        source: where it is configured.
    """

    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReply(Fact):
    """What GitLab's runner API answers to a token.

    Attributes:
        status: of the answer; None without one.
        runner: the number of the runner that has the token, where GitLab accepts it.
    """

    status: int | None = None
    runner: int | None = None


# ---- where it is configured -----------------------------------------------------------------------------------------


def _secret_command(namespace: str, name: str, key: str) -> ShellCommand:
    get = program("kubectl", "-n", namespace, "get", "secret", name, "-o", f"jsonpath={{.data.{key}}}")
    return pipe(get, program("base64", "-d"))


def from_secret(api: Api, namespace: str, name: str) -> ConfiguredToken:
    """The token in the Secret that ``runners.secret`` names; one that is not there is a token that is missing.

    Raises:
        Unmeasured: the Secret may not be read, or the API server does not answer.
    """
    source = f"Secret {name} in namespace {namespace}"
    command = _secret_command(namespace, name, TOKEN_KEY)
    try:
        data = api.get(f"/api/v1/namespaces/{path_segment(namespace)}/secrets/{path_segment(name)}").get("data") or {}
    except ApiError as error:
        if error.fault is ApiFault.NOT_FOUND:
            absent = f"runners.secret names the {source}, and there is none"
            return ConfiguredToken(source=source, command=command, absent=absent)
        raise unmeasured(error) from error
    texts = {key: _decoded(str(data.get(key) or "")) for key in (TOKEN_KEY, REGISTRATION_KEY)}
    key = TOKEN_KEY if texts[TOKEN_KEY].strip() or not texts[REGISTRATION_KEY].strip() else REGISTRATION_KEY
    absent = "" if texts[key].strip() else f"the {source} has nothing under {TOKEN_KEY}"
    return ConfiguredToken(
        source=f"{key} of the {source}",
        command=_secret_command(namespace, name, key),
        text=texts[key],
        registration=key == REGISTRATION_KEY,
        absent=absent,
    )


def _decoded(data: str) -> str:
    try:
        text = base64.b64decode(data, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return ""
    return remember(text) if text.strip() else text


# ---- what it is -----------------------------------------------------------------------------------------------------


def presence(configured: ConfiguredToken) -> RunnerToken:
    """Whether there is a token, and not an example's placeholder (guide 2.2, 3.3)."""
    if not configured.token:
        return _token(configured, TokenFault.MISSING, configured.absent or f"{configured.source} is empty")
    if hashlib.sha256(configured.token.encode()).hexdigest() in _EXAMPLES:
        return _token(
            configured, TokenFault.PLACEHOLDER, f"{configured.source} is a token that is printed as an example"
        )
    if _PLACEHOLDERS.search(configured.token):
        return _token(configured, TokenFault.PLACEHOLDER, f"{configured.source} still holds a placeholder")
    return _token(configured)


def whitespace(configured: ConfiguredToken) -> RunnerToken:
    """Whether blanks or ends of lines are in the token: they are sent in an HTTP header as they are."""
    match = re.search(r"\s", configured.text)
    if match is None:
        return _token(configured)
    names = {"\n": "an end of line", "\r": "a carriage return", "\t": "a tab", " ": "a blank"}
    what = names.get(match[0], "a blank")
    ends = len(configured.text) - len(configured.text.rstrip())
    if match.start() == 0:
        cause = f"{configured.source} has {what} before the token"
    elif match.start() >= len(configured.text) - ends:
        cause = f"{configured.source} has {what} behind the token"
    else:
        cause = f"{configured.source} has {what} inside the token"
    return _token(configured, TokenFault.WHITESPACE, cause)


def kind(configured: ConfiguredToken) -> RunnerToken:
    """Whether it is a runner's own authentication token, configured as one (docs/sources.md#token-kinds)."""
    token = configured.token
    if token.startswith(_PREFIX):
        return _token(configured)
    for prefix, fault, description in _KINDS:
        if token.startswith(prefix):
            return _token(
                configured, fault, f"{configured.source} is {description}, not a runner's authentication token (glrt-)"
            )
    if configured.registration:
        cause = f"{configured.source} is a registration token, which GitLab has deprecated and refuses by default"
        return _token(configured, TokenFault.REGISTRATION, cause)
    if _CUSTOM_PREFIX.match(token):
        cause = f"{configured.source} has your GitLab's own prefix: the runner recognises its tokens by glrt- alone"
        return _token(configured, TokenFault.UNRECOGNISED, cause)
    cause = f"{configured.source} does not begin with glrt-, as a runner's authentication token does"
    return _token(configured, TokenFault.UNRECOGNISED, cause)


def place(configured: ConfiguredToken) -> RunnerToken:
    """Whether it is configured where a runner's own token belongs; the runner takes it from the old key as well."""
    if configured.registration and configured.token.startswith(_PREFIX):
        cause = f"{configured.source} holds a runner's own token, which belongs to runnerToken"
        return _token(configured, TokenFault.MISPLACED, cause)
    return _token(configured)


def form(configured: ConfiguredToken) -> RunnerToken:
    """Whether GitLab is known to make tokens of this form; of a routable one, whether length and checksum are right.

    Its end holds the length of its payload (2 characters, base 36) and the CRC-32 of all that precedes (7 characters).
    """
    token = configured.token
    if routable := _ROUTABLE.fullmatch(token):
        length, checksum = int(routable["length"], 36), int(routable["crc"], 36)
        if length != len(routable["payload"]) or checksum != zlib.crc32(routable["head"].encode()):
            cause = f"{configured.source} does not match its own checksum: it was cut or mistyped"
            return _token(configured, TokenFault.CHECKSUM, cause)
        return _token(configured)
    if _FORM.fullmatch(token):
        return _token(configured)
    cause = f"{configured.source} begins as a runner's token, but has no form that GitLab 18 is known to make"
    return _token(configured, TokenFault.FORM, f"{cause} ({configured.outline})")


def _token(configured: ConfiguredToken, fault: TokenFault | None = None, cause: str = "") -> RunnerToken:
    evidence = Evidence(where="here", command=configured.command, observed=configured.absent or configured.outline)
    return RunnerToken(target=configured.source, fault=fault, cause=cause, evidence=evidence, source=configured.source)


def short_forms(configured: ConfiguredToken) -> tuple[str, ...]:
    """What GitLab's short form of this token may begin with: the token behind its prefix, with and without its type."""
    body = configured.token.removeprefix(_PREFIX)
    return tuple(dict.fromkeys([re.sub(r"^t[123]_", "", body), body]))


# ---- what GitLab answers --------------------------------------------------------------------------------------------


def verify_url(url: str) -> str:
    """The endpoint with which runners verify their token; a relative URL root is kept."""
    return f"{url.rstrip('/')}/api/v4/runners/verify"


def runner_api(url: str, *, routes: Routes, ca_file: Path | None, deadline: float) -> TokenReply:
    """Whether the runner API of the GitLab at `url` answers: a token that no runner has is refused with 403.

    The token is random, so GitLab keeps nothing (docs/sources.md#runner-verify).
    """
    random_token = _PREFIX + secrets.token_urlsafe(15)
    command = _command(url, "token=glrt-of-no-runner", "r_preflight000", ca_file=ca_file, deadline=deadline)
    try:
        reply = _verify(url, random_token, "r_preflight000", routes=routes, ca_file=ca_file, deadline=deadline)
    except NoReply as no:
        evidence = Evidence(where="here", command=command, observed=no.cause, took=no.took)
        return TokenReply(target=url, fault=no.fault, cause=no.cause, evidence=evidence)
    fault, cause = (None, "") if _refused(reply) else _unexpected(reply)
    evidence = Evidence(where="here", command=command, observed=reply.shown, took=reply.took)
    return TokenReply(target=url, fault=fault, cause=cause, evidence=evidence, status=reply.status)


def acceptance(
    url: str, configured: ConfiguredToken, system_id: str, *, routes: Routes, ca_file: Path | None, deadline: float
) -> TokenReply:
    """Whether GitLab accepts the token, sent in the name of a manager that it knows already.

    Args:
        url: of the GitLab.
        configured: the token.
        system_id: of a manager of this very token's runner; any other would leave a manager behind.
        routes: where to connect instead.
        ca_file: PEM of a further CA to trust.
        deadline: seconds.
    """
    command = _command(url, variable("RUNNER_TOKEN", "token="), system_id, ca_file=ca_file, deadline=deadline)
    try:
        reply = _verify(url, remember(configured.token), system_id, routes=routes, ca_file=ca_file, deadline=deadline)
    except NoReply as no:
        evidence = Evidence(where="here", command=command, observed=no.cause, took=no.took)
        return TokenReply(target=configured.source, fault=no.fault, cause=no.cause, evidence=evidence)
    document = reply.json()
    fields = document if isinstance(document, dict) else {}
    fault: Fault | None
    if reply.status == _OK and isinstance(fields.get("id"), int):
        fault, cause = None, ""
    elif _refused(reply):
        fault, cause = TokenFault.REVOKED, f"GitLab refuses the token ({configured.source}): {fields.get('message')}"
    elif reply.status == _UNPROCESSABLE and fields:
        fault, cause = TokenFault.REVOKED, f"GitLab can't use the runner of this token: {fields.get('message')}"
    else:
        fault, cause = _unexpected(reply)
    # The answer repeats the token, which is redacted because it was remembered.
    evidence = Evidence(where="here", command=command, observed=redact(reply.shown), took=reply.took)
    identifier = fields.get("id") if fault is None else None
    return TokenReply(
        target=configured.source, fault=fault, cause=cause, evidence=evidence, status=reply.status, runner=identifier
    )


def _verify(url: str, token: str, system_id: str, *, routes: Routes, ca_file: Path | None, deadline: float) -> Reply:
    content: Mapping[str, str] = {"token": token, "system_id": system_id}
    return exchange(verify_url(url), routes=routes, ca_file=ca_file, deadline=deadline, method="POST", content=content)


def _command(url: str, token: str, system_id: str, *, ca_file: Path | None, deadline: float) -> ShellCommand:
    fields = ["--data-urlencode", token, "--data-urlencode", f"system_id={system_id}"]
    return curl(verify_url(url), *fields, ca_file=ca_file, deadline=deadline)


def _refused(reply: Reply) -> bool:
    """Whether GitLab itself says that no runner has the token."""
    document = reply.json()
    return (
        reply.status == _FORBIDDEN and isinstance(document, dict) and str(document.get("message", "")).startswith("403")
    )


def _unexpected(reply: Reply) -> tuple[Fault, str]:
    """The fault and cause of an answer that GitLab's runner API does not give."""
    if reply.status == _TOO_MANY:
        after = f"; retry after {reply.headers['retry-after']} s" if "retry-after" in reply.headers else ""
        return TokenFault.RATE_LIMITED, f"{reply.url} answered 429: too many requests{after}"
    if reply.status == _FORBIDDEN:
        cause = f"{reply.url} answered 403, but not as GitLab does: something in between refuses the POST"
        return GitLabFault.HTTP_STATUS, cause
    fault, cause = judge_reply(reply.status, reply.headers, reply.body, reply.url)
    if fault in (None, GitLabFault.NOT_GITLAB, GitLabFault.HTTP_STATUS):
        return (
            GitLabFault.HTTP_STATUS,
            f"{reply.url} answered {reply.status}, where GitLab's runner API answers 403 or 200",
        )
    return fault, cause


# ---- how long it is valid -------------------------------------------------------------------------------------------


def expiry(
    token: RunnerToken, ends: datetime | None, *, days_left: int, evidence: Evidence, now: datetime | None = None
) -> RunnerToken:
    """Whether the token is valid, and will be for some days: the chart registers each new pod with this same token."""
    now = now or datetime.now(tz=UTC)
    judged = replace(token, fault=None, cause="", evidence=evidence)
    if ends is None or ends > now + timedelta(days=days_left):
        return judged
    stamp = f"{ends.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if ends <= now:
        return replace(judged, fault=TokenFault.EXPIRED, cause=f"the token ({token.source}) expired at {stamp}")
    cause = f"the token ({token.source}) expires at {stamp}, in less than {days_left} days"
    return replace(judged, fault=TokenFault.EXPIRING, cause=cause)

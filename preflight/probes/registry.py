"""Whether an image registry answers, whether the account may read from it, and whether it has an image for a platform.

A registry is asked as containerd asks it: a request, a 401 that names the token server, a token from there, the request
again (docs/sources.md#registry-protocol). A token proves nothing by itself (it may grant less than was requested), so
the operation is always tried.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, NotRequired, TypedDict, Unpack
from urllib.parse import urlencode, urljoin, urlsplit

from preflight.clients.certificates import Certificate
from preflight.clients.connect import Routes, join_address
from preflight.clients.http import Arrival, NoReply, Reply, curl, exchange, origin_of, place_of
from preflight.documents import load_json
from preflight.evidence import Evidence, Fact
from preflight.faults import PathFault, RegistryFault
from preflight.redaction import remember
from preflight.shell_command import ShellCommand, program, variable

Challenge = Literal["none", "basic", "bearer"]

_HUB, _HUB_API = "docker.io", "registry-1.docker.io"  # the name in references, and where it answers
_HUB_NAMES = frozenset({_HUB, _HUB_API, "index.docker.io"})
_MOST_REDIRECTS = 3
_LONGEST = 4 * 1024 * 1024  # bytes of a manifest or configuration; the distribution spec's limit for manifests
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPT_MANIFESTS = ", ".join(_INDEXES + _MANIFESTS)  # without all of these, old registries answer in schema 1
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 200, 401, 403, 404, 429, 500
_DELIVERED = frozenset({_OK, 206})  # with a Range, or by a server that knows none
_MOVED = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Credentials:
    """A registry's user name and password."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        remember(self.password)
        remember(self.basic)

    @property
    def basic(self) -> str:
        """Both as HTTP's Basic scheme sends them."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryReply(Fact):
    """What answers at a registry's address.

    Attributes:
        challenge: the authentication that it requires.
        realm: its token server, which may be another host; empty unless the challenge is ``bearer``.
        certificate: of the registry and of its token server, the one that ends first; None without TLS.
        certified: the address that has shown it.
    """

    host: str
    challenge: Challenge = "none"
    realm: str = ""
    certificate: Certificate | None = None
    certified: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Fact):
    """An image as its registry describes it.

    Attributes:
        image: the full reference.
        digest: of what the tag points to.
        platforms: all that are offered, as ``os/architecture`` or ``os/architecture/variant``.
        size: bytes to be pulled for the platform, compressed; 0 if unknown.
        layer: the digest of its largest layer in that registry; empty if it has none there.
    """

    image: str
    digest: str = ""
    platforms: tuple[str, ...] = ()
    size: int = 0
    layer: str = ""


class Reference(NamedTuple):
    """A full image reference in its parts; `ref` is a tag or a digest."""

    host: str
    repository: str
    ref: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}{'@' if ':' in self.ref else ':'}{self.ref}"


def parse_reference(image: str) -> Reference:
    """The parts of an image reference as Docker reads it: without a host Docker Hub's, without a tag ``latest``.

    Raises:
        ValueError: when it is none.
    """
    name, _, digest = image.strip().partition("@")
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = _HUB, name
    repository, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = rest, "latest"
    if first in _HUB_NAMES:
        first = _HUB
        repository = repository if "/" in repository else f"library/{repository}"
    part = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
    if not re.fullmatch(rf"{part}(?:/{part})*", repository) or not re.fullmatch(r"\w[\w.-]{0,127}", tag, re.ASCII):
        raise ValueError(f"{image!r} is no image reference")
    if digest and not re.fullmatch(r"[a-z0-9]{1,40}(?:[.+_-][a-z0-9]{1,40}){0,4}:[0-9a-fA-F]{32,}", digest):
        raise ValueError(f"{image!r} has a digest that is none")
    return Reference(first, repository, digest or tag)


def parse_docker_config(text: str, host: str) -> Credentials | None:
    """The credentials for `host` in the text of a ``.dockerconfigjson`` (or an old ``.dockercfg``), if it has any.

    Keys match as the kubelet matches them: with or without scheme and path, ``*`` within one label; the longest wins.

    Raises:
        ValueError: when the text is no Docker configuration, or the entry can't be read; it quotes no secret.
    """
    try:
        config = load_json(text)
    except (ValueError, RecursionError):
        raise ValueError("the Docker configuration is not JSON") from None
    entries = config.get("auths", config) if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise ValueError('the Docker configuration has no "auths"')  # noqa: TRY004 - wrong content, not a wrong call
    fitting = [key for key in entries if _matches(key, host)]
    if not fitting:
        return None
    key = max(fitting, key=len)
    entry = entries[key]
    if not isinstance(entry, dict):
        raise ValueError(f"the entry for {key} in the Docker configuration is no mapping")  # noqa: TRY004
    username, password = entry.get("username"), entry.get("password")
    if entry.get("auth"):
        try:
            username, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise ValueError(f'"auth" of {key} in the Docker configuration is not base64 of user:password')
    if not username or not password:
        return None
    return Credentials(str(username), str(password).rstrip("\0"))


def _matches(key: str, host: str) -> bool:
    place = re.sub(r"^https?://", "", key.strip()).partition("/")[0].lower()
    host = host.partition("/")[0].lower()
    if place in _HUB_NAMES or host in _HUB_NAMES:
        return place in _HUB_NAMES and host in _HUB_NAMES
    globs, labels = place.split("."), host.split(".")
    return len(globs) == len(labels) and all(map(fnmatch.fnmatchcase, labels, globs))


class Refused(Exception):
    """The answer is no, with a fault and its cause. Never leaves the probes of registries."""

    def __init__(self, fault: RegistryFault | PathFault, cause: str) -> None:
        self.fault, self.cause = fault, cause
        super().__init__(cause)


class _Challenge(NamedTuple):
    """The login that a 401 requires."""

    kind: Challenge
    realm: str = ""
    service: str = ""
    scope: str = ""


class Access(TypedDict):
    """How a registry is reached and logged in to.

    Attributes:
        scheme: https (the default) or http.
        credentials: None for anonymous access.
        ca_file: of the CA that signed the registry's certificate; None for the system's.
        routes: other ways to addresses.
        deadline: seconds for each request.
        token_realm: the token server that may get the account besides the registry; "" (the default) for none.
    """

    scheme: NotRequired[str]
    credentials: Credentials | None
    ca_file: Path | None
    routes: Routes
    deadline: float
    token_realm: NotRequired[str]


class Part(NamedTuple):
    """The beginning of a blob.

    Attributes:
        most: bytes of it.
        within: seconds for the request.
        enough: whether what has come is enough.
    """

    most: int
    within: float
    enough: Callable[[Sequence[Arrival]], bool]


class Conversation:
    """Requests to one registry under one deadline and one login, with a record of all answers.

    The login belongs to the registry's origin and to the token server that the registry itself names; `token_realm`
    admits one token server alone. A challenge of any other origin is answered with nothing.
    """

    def __init__(
        self,
        host: str,
        *,
        scheme: str = "https",
        credentials: Credentials | None,
        ca_file: Path | None,
        routes: Routes,
        deadline: float,
        token_realm: str = "",
    ) -> None:
        self.host, self.scheme, self.credentials = host, scheme, credentials
        self._token_realm = token_realm
        self._ca_file, self._routes, self._deadline = ca_file, routes, deadline
        self._began = time.monotonic()
        self._authorization = ""
        self.record: list[str] = []
        self.certificate: Certificate | None = None
        self.certified = ""
        self.root = f"{scheme}://{_HUB_API if host in _HUB_NAMES else host}"

    @property
    def took(self) -> float:
        """Seconds since the conversation began."""
        return time.monotonic() - self._began

    def get(
        self, url: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", part: Part | None = None
    ) -> Reply:
        """Send a request within what is left of the deadline, and record its answer."""
        left = max(0.05, self._deadline - self.took)
        try:
            reply = exchange(
                url,
                routes=self._routes,
                ca_file=self._ca_file,
                deadline=min(left, part.within) if part else left,
                headers=headers,
                longest=part.most if part else _LONGEST,
                method=method,
                enough=part.enough if part else None,
            )
        except NoReply as no:
            self.record.append(f"{method} {url.partition('?')[0]}\n{no.cause}")
            raise
        shown = f"HTTP {reply.status}, {len(reply.body)} bytes" if part and reply.status in _DELIVERED else reply.shown
        self.record.append(f"{method} {url.partition('?')[0]}\n{shown}")
        if reply.certificate is not None and (
            self.certificate is None or reply.certificate.ends < self.certificate.ends
        ):
            self.certificate, self.certified = reply.certificate, join_address(*place_of(url))
        return reply

    def ask(self, path: str, *, accept: str = "*/*", method: str = "GET", part: Part | None = None) -> Reply:
        """Request a path of the registry, with the login if there is one, redirects followed; blobs may lie elsewhere.

        Raises:
            NoReply: from the registry itself.
            Refused: from a host that it redirects to.
        """
        url = urljoin(self.root, path)
        for _ in range(_MOST_REDIRECTS + 1):
            headers = {"Accept": accept}
            if part is not None:
                headers["Range"] = f"bytes=0-{part.most - 1}"
            if self._authorization and origin_of(url) == origin_of(self.root):
                headers["Authorization"] = self._authorization
            try:
                reply = self.get(url, headers, method=method, part=part)
            except NoReply as no:
                if origin_of(url) == origin_of(self.root):
                    raise
                cause = f"{self.host} keeps this elsewhere, and there {no.cause} ({no.fault})"
                raise Refused(RegistryFault.BLOB_HOST, cause) from no
            if method != "GET" or reply.status not in _MOVED or "location" not in reply.headers:
                self._require_own_challenge(reply)
                return reply  # only a GET follows a redirect
            url = urljoin(url, reply.headers["location"])
        raise Refused(RegistryFault.HTTP_STATUS, f"{self.host} redirected more than {_MOST_REDIRECTS} times")

    def _require_own_challenge(self, reply: Reply) -> None:
        """Refuse the challenge of another origin: the account is not for it, and never goes there."""
        if reply.status == _UNAUTHORIZED and origin_of(reply.url) != origin_of(self.root):
            place = urlsplit(reply.url).netloc
            cause = f"{self.host} keeps this at {place}, which asks for a login; the registry's was not sent there"
            raise Refused(RegistryFault.BLOB_HOST, cause)

    def answer(
        self, path: str, *, scope: str = "", accept: str = "*/*", method: str = "GET", part: Part | None = None
    ) -> tuple[Reply, _Challenge]:
        """Request a path, or a part of it, logging in when challenged; the last answer, and the challenge."""
        reply = self.ask(path, accept=accept, method=method, part=part)
        if reply.status != _UNAUTHORIZED:
            return reply, _Challenge("none")
        challenge = _parse_challenge(reply.headers.get("www-authenticate", ""))
        if self.log_in(challenge, scope):
            reply = self.ask(path, accept=accept, method=method, part=part)
        return reply, challenge

    def log_in(self, challenge: _Challenge, scope: str = "") -> bool:
        """Log in as the challenge requires; False where there is nothing to log in with."""
        if challenge.kind == "bearer":
            self._authorization = f"Bearer {self._token(challenge, scope)}"
        elif challenge.kind == "basic" and self.credentials is not None:
            self._authorization = f"Basic {self.credentials.basic}"
        else:
            return False
        return True

    def _token(self, challenge: _Challenge, scope: str) -> str:
        """A token from the token server that the registry names."""
        realm = urljoin(self.root, challenge.realm)
        place = urlsplit(realm).netloc
        query = {"service": challenge.service} if challenge.service else {}
        if scope:
            query["scope"] = scope  # our own: the challenge's may carry no actions (docs/sources.md#registry-swr)
        headers = {}
        if origin_of(realm) != origin_of(self.root):
            self.record.append(f"tokens of {self.root} come from another origin: {realm.partition('?')[0]}")
        if self.credentials is not None:
            self._require_realm(realm)
            query["account"] = self.credentials.username
            headers["Authorization"] = f"Basic {self.credentials.basic}"
        try:
            reply = self.get(f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", headers)
        except NoReply as no:
            raise Refused(
                RegistryFault.TOKEN_REALM, f"{self.host} gives its tokens at {place}, and {no.cause} ({no.fault})"
            ) from no
        document = reply.json()
        if reply.status == _OK and isinstance(document, dict):
            token = document.get("token") or document.get("access_token")
            if isinstance(token, str) and token:
                self.record[-1] = f"GET {realm}\nHTTP 200, with a token"
                return remember(token)
        if reply.status in {_UNAUTHORIZED, _FORBIDDEN}:
            raise Refused(RegistryFault.UNAUTHORIZED, self._unauthorized(f"the token server {place}", reply))
        if reply.status == _TOO_MANY:
            raise Refused(RegistryFault.RATE_LIMITED, _rate_limited(place, reply))
        answer = f"answered {reply.status}" if reply.status != _OK else "answered without a token"
        raise Refused(RegistryFault.TOKEN_REALM, f"{self.host} gives its tokens at {place}, which {answer}")

    def _require_realm(self, realm: str) -> None:
        """Refuse to send the password to a token server that it is not for."""
        place = realm.partition("?")[0]
        if self.scheme == "https" and urlsplit(realm).scheme != "https":
            cause = f"{self.host} wants its password sent unencrypted, to {place}; it was not sent"
        elif self._token_realm and origin_of(realm) not in {origin_of(self._token_realm), origin_of(self.root)}:
            cause = (
                f"{self.host} wants its password sent to {place}, and the inventory's token_realm is "
                f"{self._token_realm}; it was not sent"
            )
        else:
            return
        raise Refused(RegistryFault.TOKEN_REALM, cause)

    def _unauthorized(self, place: str, reply: Reply) -> str:
        if self.credentials is None:
            return f"{place} asks for credentials, and the inventory names none{error_suffix(reply)}"
        return f"{place} does not accept the credentials of {self.credentials.username}{error_suffix(reply)}"

    def judge(self, reply: Reply) -> None:
        """Raise what an answer other than 200 or 206 means, whatever was requested."""
        if reply.status == _TOO_MANY:
            raise Refused(RegistryFault.RATE_LIMITED, _rate_limited(self.host, reply))
        if reply.status == _UNAUTHORIZED:
            raise Refused(RegistryFault.UNAUTHORIZED, self._unauthorized(self.host, reply))
        if reply.status == _FORBIDDEN:
            raise Refused(RegistryFault.DENIED, f"{self.host} denies access{error_suffix(reply)}")
        if reply.status not in _DELIVERED:
            raise Refused(RegistryFault.HTTP_STATUS, f"{self.host} answered {reply.status}{error_suffix(reply)}")

    def curl(self, path: str, *options: str, log_in: bool = True) -> ShellCommand:
        """The command that asks for `path` by hand: with the account, unless it is not to `log_in` or has none."""
        account = self.credentials.username if self.credentials and log_in else ""
        login = ["-u", variable("REGISTRY_PASSWORD", f"{account}:")] if account else []
        return curl(f"{self.root}{path}", *login, *options, ca_file=self._ca_file, deadline=self._deadline)

    def evidence(self, command: ShellCommand) -> Evidence:
        """The answers so far, beside a command that does the same."""
        return Evidence(where="here", command=command, observed="\n\n".join(self.record), took=self.took)


def _rate_limited(place: str, reply: Reply) -> str:
    after = reply.headers.get("retry-after")
    limit = reply.headers.get("ratelimit-limit")
    cause = f"{place} answers 429: too many requests from here"
    cause += f", at most {limit}" if limit else ""
    cause += f"; retry after {after} s (Retry-After)" if after else ""
    return cause + error_suffix(reply)


def error_suffix(reply: Reply) -> str:
    """The registry's own error, to end a sentence with, such as ``: DENIED Authenticate Error``; empty without one."""
    document = reply.json()
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    message = " ".join(str(first[key]) for key in ("code", "message") if first.get(key))
    if not message and isinstance(document, dict):  # token servers: {"details": …} or {"error": …}
        message = next((str(document[key]) for key in ("details", "message", "error") if document.get(key)), "")
    return f": {message[:300]}" if message else ""


def _parse_challenge(header: str) -> _Challenge:
    """What a WWW-Authenticate header requires; where it offers both, Bearer, as container runtimes choose."""
    pairs = dict(re.findall(r'(\w{1,100})="((?:[^"\\]|\\.)*)"', header))
    lowered = {name.lower(): value for name, value in pairs.items()}
    if re.search(r"\bbearer\b", header, re.IGNORECASE) and lowered.get("realm"):
        return _Challenge("bearer", lowered["realm"], lowered.get("service", ""), lowered.get("scope", ""))
    return _Challenge("basic") if re.search(r"\bbasic\b", header, re.IGNORECASE) else _Challenge("none")


def ping(host: str, **access: Unpack[Access]) -> RegistryReply:
    """What answers at a registry's ``/v2/`` from here, and whether it accepts the credentials, if any are given."""
    registry = Conversation(host, **access)
    challenge = _Challenge("none")
    fault: RegistryFault | PathFault | None = None
    cause = ""
    try:
        first = registry.ask("/v2/")
        if first.status == _UNAUTHORIZED:
            challenge = _parse_challenge(first.headers.get("www-authenticate", ""))
        _require_registry(host, first, challenge)
        if first.status == _UNAUTHORIZED:
            last = registry.ask("/v2/") if registry.log_in(challenge) else first
            # An anonymous token may open repositories and yet not /v2/ itself: that is judged where images are read.
            if registry.credentials is not None or challenge.kind != "bearer":
                registry.judge(last)
    except NoReply as no:
        fault, cause = no.fault, no.cause
    except Refused as refused:
        fault, cause = refused.fault, refused.cause
    return RegistryReply(
        target=host,
        fault=fault,
        cause=cause,
        evidence=registry.evidence(registry.curl("/v2/", log_in=challenge.kind == "basic")),
        host=host,
        challenge=challenge.kind,
        realm=challenge.realm,
        certificate=registry.certificate,
        certified=registry.certified,
    )


def _require_registry(host: str, reply: Reply, challenge: _Challenge) -> None:
    """Raise unless ``/v2/`` was answered as the distribution spec says."""
    if reply.status == _TOO_MANY:
        raise Refused(RegistryFault.RATE_LIMITED, _rate_limited(host, reply))
    if reply.status >= _SERVER_ERROR:
        raise Refused(RegistryFault.HTTP_STATUS, f"{host} answered {reply.status} to /v2/{error_suffix(reply)}")
    declares_itself = "docker-distribution-api-version" in reply.headers
    page = reply.body.lstrip()[:1] == b"<"
    if reply.status == _OK and (declares_itself or (not page and (not reply.body.strip() or reply.json() is not None))):
        return
    challenges = challenge.kind == "bearer" or (challenge.kind == "basic" and not page)
    if reply.status == _UNAUTHORIZED and (declares_itself or challenges):
        return
    if reply.status == _FORBIDDEN and (declares_itself or reply.json() is not None):
        raise Refused(RegistryFault.DENIED, f"{host} denies access to /v2/{error_suffix(reply)}")
    server = f" by {reply.headers['server']}" if reply.headers.get("server") else ""
    raise Refused(
        RegistryFault.NOT_A_REGISTRY, f"{host} answered {reply.status}{server} to /v2/, as no image registry does"
    )


def manifest(
    image: str,
    *,
    platforms: Sequence[str] = ("linux/amd64",),
    **access: Unpack[Access],
) -> Manifest:
    """What `image` points to, for which platforms it is, and whether its data can be fetched, without pulling it.

    The configuration blob of the first platform is read, too: it proves that blobs can be fetched where they are kept.

    Args:
        image: the reference.
        platforms: of the nodes that may run it, each of which it must offer.
        access: how its registry is reached.

    Raises:
        ValueError: when `image` is no reference.
        Unmeasured: when ``connect:`` refuses an address.
    """
    reference = parse_reference(image)
    registry = Conversation(reference.host, **access)
    digest, offered, size, layer = "", tuple[str, ...](), 0, ""
    fault: RegistryFault | PathFault | None = None
    cause = ""
    try:
        top = _manifest(registry, reference, reference.ref)
        digest = top.digest
        offered = tuple(top.offers) or (_platform_of_config(registry, reference, top),)
        missing = [platform for platform in platforms if not _choose(offered, platform)]
        chosen = next(filter(None, (_choose(offered, platform) for platform in platforms)), "")
        leaf = _manifest(registry, reference, top.offers[chosen]) if chosen in top.offers else top
        if chosen and leaf is not top:
            _platform_of_config(registry, reference, leaf)
        size, layer = leaf.size, leaf.layer
        if missing:
            fault = RegistryFault.WRONG_PLATFORM
            cause = f"{reference} is for {', '.join(offered)}, not for {', '.join(missing)}"
    except NoReply as no:
        fault, cause = no.fault, no.cause
    except Refused as refused:
        fault, cause = refused.fault, refused.cause
    insecure = ["--insecure"] if registry.scheme == "http" else []
    return Manifest(
        target=image,
        fault=fault,
        cause=cause,
        evidence=registry.evidence(program("docker", "manifest", "inspect", *insecure, reference)),
        image=str(reference),
        digest=digest,
        platforms=offered,
        size=size,
        layer=layer,
    )


class _Described(NamedTuple):
    """A manifest's content: `offers` is digests by platform (an index), or empty; `config` and `layer` are of blobs."""

    digest: str
    offers: dict[str, str]
    config: str
    size: int
    layer: str


def _manifest(registry: Conversation, reference: Reference, ref: str) -> _Described:
    path = f"/v2/{reference.repository}/manifests/{ref}"
    reply = _read(registry, reference, path, accept=ACCEPT_MANIFESTS, what=ref)
    document = reply.json()
    if not isinstance(document, dict):
        raise Refused(
            RegistryFault.NOT_A_REGISTRY, f"{registry.host} answered the manifest of {reference} with something else"
        )
    try:
        offers = {
            _format_platform(entry["platform"]): str(entry["digest"])
            for entry in document.get("manifests", ())
            if entry.get("platform", {}).get("os") not in (None, "unknown")  # attestations are "unknown/unknown"
        }
        config = str(document["config"]["digest"]) if "config" in document else ""
        blobs = [*document.get("layers", ()), *([document["config"]] if config else [])]
        size = sum(int(blob["size"]) for blob in blobs)
        own_layers = [blob for blob in document.get("layers", ()) if not blob.get("urls")]  # others lie elsewhere
        layer = max(own_layers, key=lambda blob: int(blob["size"]), default={"digest": ""})["digest"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(
            RegistryFault.HTTP_STATUS, f"the manifest of {reference} at {registry.host} is malformed: {error!r}"
        ) from error
    return _Described(reply.headers.get("docker-content-digest", ""), offers, config, size, str(layer))


def blob_path(reference: Reference, digest: str) -> str:
    """Where a registry has a blob of a repository."""
    return f"/v2/{reference.repository}/blobs/{digest}"


def beginning_of(registry: Conversation, reference: Reference, digest: str, *, part: Part) -> Reply:
    """The registry's answer with the beginning of a layer.

    Raises:
        Refused: the registry, or the host that it keeps the layer at, does not hand it out.
        NoReply: it does not answer.
    """
    return _read(registry, reference, blob_path(reference, digest), accept="*/*", what=digest, part=part)


def _read(
    registry: Conversation, reference: Reference, path: str, *, accept: str, what: str, part: Part | None = None
) -> Reply:
    """An answer 200 of the repository, or what stands in its way."""
    scope = f"repository:{reference.repository}:pull"
    reply, challenge = registry.answer(path, scope=scope, accept=accept, part=part)
    if reply.status == _NOT_FOUND:
        raise Refused(
            RegistryFault.NOT_FOUND,
            f"{reference.host} has no {reference.repository}{_joined(what)}{error_suffix(reply)}",
        )
    if reply.status == _UNAUTHORIZED and challenge.kind == "bearer" and registry.credentials is not None:
        raise Refused(
            RegistryFault.DENIED,  # the token server accepts the account, but its token is not for this repository
            f"{registry.credentials.username} may not pull {reference.repository} from {reference.host}"
            f"{error_suffix(reply)}",
        )
    registry.judge(reply)
    return reply


def _joined(ref: str) -> str:
    return f"@{ref}" if ":" in ref else f":{ref}"


def _platform_of_config(registry: Conversation, reference: Reference, described: _Described) -> str:
    if not described.config:
        return "unknown"
    path = blob_path(reference, described.config)
    document = _read(registry, reference, path, accept="*/*", what=described.config).json()
    return _format_platform(document) if isinstance(document, dict) and document.get("os") else "unknown"


def _format_platform(platform: Mapping[str, object]) -> str:
    parts = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
    return "/".join(str(part) for part in parts if part)


def _choose(offered: tuple[str, ...], wanted: str) -> str:
    """The offered platform that a node of the wanted one takes; empty if none does."""
    if wanted in offered:
        return wanted
    system, _, architecture = wanted.partition("/")
    architecture, _, variant = architecture.partition("/")
    same = [platform for platform in offered if platform.split("/")[:2] == [system, architecture]]
    if not variant or architecture == "arm64":  # arm64 and arm64/v8 are the same
        return same[0] if same else ""
    return next((platform for platform in same if platform.count("/") == 1), "")

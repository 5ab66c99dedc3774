"""The Kubernetes API, asked in raw JSON: bounded, retried where that is safe, and with errors that name their remedy.

The official client carries the requests: its configuration, credentials, connection pool and ApiClient. Its models are
left out, because they cost seconds and hundreds of megabytes at 10,000 pods. Whatever goes wrong on the way is an
`ApiError`; whether that is a finding (the API server itself is measured) or a hindrance (`unmeasured`) is for the
caller to say.
"""

from __future__ import annotations

import json
import queue
import re
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, unquote, urlsplit

from preflight.clients.certificates import Certificate
from preflight.clients.connect import (
    USER_AGENT,
    Cutoff,
    Routes,
    detail_of,
    join_address,
    pool_classes,
    sentence,
    split_address,
)
from preflight.clients.kube_errors import (
    ApiError,
    ResponseTooLong,
    ResponseTooSlow,
    classify_exception,
    classify_status,
    classify_upgrade,
)
from preflight.clients.kubeconfig import (
    Kubeconfig,
    KubeconfigError,
    check_kubeconfig,
    client_settings,
)
from preflight.clients.kubectl import kubectl, missing_rule, query_string
from preflight.faults import ApiFault, PathFault, StreamFault
from preflight.redaction import remember

if TYPE_CHECKING:
    import urllib3
    import websocket
    from kubernetes.client import ApiClient

Json = dict[str, Any]
_Serialized = tuple[str, str, dict[str, str], Any, Any]

PAGE = 500  # objects that a list request asks for at once, as kubectl does
TRIES = 3  # times that a request is sent when the server is busy or the connection is cut
PAUSE = 0.25  # seconds before the second try, doubled for each further one
PATIENCE = 10.0  # seconds that a Retry-After may ask for at most
LARGEST = 128 * 2**20  # bytes of one response
LARGEST_EVENT = 8 * 2**20  # bytes of one event of a watch; etcd keeps no object of more than 1.5 MiB
MOST_ITEMS = 200_000  # of one list; Kubernetes itself is not made for more than 150,000 pods
LIST_DEADLINES = 15  # deadlines of one page that a list may take as a whole
CONNECTIONS = 16  # kept open for the threads of one run
RESTARTS = 3  # times that a list whose continue token expired is begun again

_BUSY = {429, 500, 502, 503, 504}  # statuses that a second try may not meet
_WORTH_ANOTHER_TRY = {PathFault.RESET, PathFault.REFUSED, ApiFault.GARBLED}
_LEAST = 0.05  # seconds that any try gets
_OK, _BAD, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _GONE, _ERROR = 200, 400, 403, 404, 409, 410, 500
_WITHOUT_RIGHT = re.compile(r'User "(?P<user>[^"]*)" cannot \S+ (?:resource|path) ')

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_SEGMENT = re.compile(r"[a-z0-9](?:[a-z0-9.:-]{0,251}[a-z0-9])?")  # a colon: ``http:POD:PORT`` of a proxied request


def path_segment(name: str) -> str:
    """A name made safe for a path; half a character, which JSON can spell, has no place in one."""
    return quote(name, safe="", errors="replace")


def pods_path(namespace: str, name: str = "") -> str:
    """Where the API has the pods of a namespace, or one of them."""
    path = f"/api/v1/namespaces/{path_segment(namespace)}/pods"
    return f"{path}/{path_segment(name)}" if name else path


def jobs_path(namespace: str, name: str = "") -> str:
    """Where the API has the Jobs of a namespace, or one of them."""
    path = f"/apis/batch/v1/namespaces/{path_segment(namespace)}/jobs"
    return f"{path}/{path_segment(name)}" if name else path


def decode(body: bytes | str) -> Any:
    """A response's JSON, where a null is left out, as Go's clients read it.

    Raises:
        ValueError: it is not JSON, or is nested too deeply to be a response.
    """
    try:
        return json.loads(body, object_pairs_hook=_hook(body))
    except RecursionError:
        raise ValueError("nested too deeply") from None


class _Page:
    """One response to a list request, whose items are decoded one by one: a thousand nodes are many megabytes.

    Attributes:
        rest: what stands beside the items; whole once these have been read.
    """

    def __init__(self, body: bytes) -> None:
        self.rest: Json = {}
        for null, without in _USUAL_NULLS:
            body = body.replace(null, without)
        self._text = body.decode()
        self._decoder = json.JSONDecoder(object_pairs_hook=_hook(body))

    def items(self) -> Iterator[Any]:
        """The items, in order; None in place of what is no list.

        Raises:
            ValueError: it is not a JSON object, or an item is nested too deeply to be a response.
        """
        try:
            at = self._behind("{", 0)
            while self._text[at : at + 1] != "}":
                key, at = self._decoder.raw_decode(self._text, at)
                at = self._behind(":", at)
                if key == "items" and self._text[at : at + 1] == "[":
                    at = yield from self._elements(at)
                else:
                    value, at = self._decoder.raw_decode(self._text, at)
                    if key == "items" and value:
                        yield None
                    elif isinstance(key, str):
                        self.rest[key] = value
                at = self._next("}", at)
            if _blanks_end(self._text, at + 1) != len(self._text):
                raise ValueError  # something follows
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def _elements(self, at: int) -> Generator[Any, None, int]:
        at = self._behind("[", at)
        while self._text[at : at + 1] != "]":
            item, at = self._decoder.raw_decode(self._text, at)
            yield item
            at = self._next("]", at)
        return at + 1

    def _next(self, closing: str, at: int) -> int:
        """Where the next member begins, or where the closing bracket is."""
        at = _blanks_end(self._text, at)
        return at if self._text[at : at + 1] == closing else self._behind(",", at)

    def _behind(self, sign: str, at: int) -> int:
        """Behind this sign and the blanks around it; a ValueError if another stands there."""
        at = _blanks_end(self._text, at)
        if self._text[at : at + 1] != sign:
            raise ValueError
        return _blanks_end(self._text, at + 1)


_USUAL_NULLS = (
    (b',"lastProbeTime":null,', b","),
    (b'{"creationTimestamp":null,', b"{"),
    (b'{"creationTimestamp":null}', b"{}"),
)
"""The nulls that every pod and every template has, as API servers write them: taken out of a page's text at once.

In a string none of them can stand: there each quote has a backslash before it.
"""

_BLANKS = re.compile(r"[ \t\n\r]*")


def _blanks_end(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _hook(body: bytes | str) -> Callable[[list[tuple[str, Any]]], Json] | None:
    """What leaves nulls out; to build each object by a function of ours takes three times as long as without."""
    return _without_nulls if (b"null" in body if isinstance(body, bytes) else "null" in body) else None


def _without_nulls(pairs: list[tuple[str, Any]]) -> Json:
    return {key: value for key, value in pairs if value is not None}


def is_api_object(item: Any) -> bool:
    """Whether an item of a list has the form that every object of the API has; it gets a name, if it has none."""
    parts = [item.get(key, {}) for key in ("metadata", "spec", "status")] if isinstance(item, dict) else []
    if not parts or not all(isinstance(part, dict) for part in parts):
        return False
    return isinstance(item.setdefault("metadata", {}).setdefault("name", ""), str)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, Any]
    body: Json | None = None
    metadata_only: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no name before it is sent: ``..`` would lead to another path.

        Raises:
            ApiError: as the API server says that there is no object of this name.
        """
        odd = next((part for part in self.path.strip("/").split("/") if not _SEGMENT.fullmatch(part)), None)
        if odd is not None:
            raise ApiError(
                ApiFault.NOT_FOUND,
                status=_NOT_FOUND,
                reason="NotFound",
                message=f"{unquote(odd)!r} is no name that Kubernetes accepts (RFC 1123); nothing was asked",
                command=self.command(None),
            )

    def command(self, context: str | None) -> str:
        return kubectl(self.method, self.path, self.query, context=context)


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    headers: Mapping[str, str]
    body: bytes
    took: float


def _next_token(page: _Page) -> str:
    """What the next page is asked for with, as far as the page has been read: API servers write it before the items."""
    metadata = page.rest.get("metadata")
    return str(metadata.get("continue") or "") if isinstance(metadata, dict) else ""


class _Ahead:
    """Requests a list's next page while this one is decoded: the server takes as long to make it.

    All pages of a list come by one thread: each new one would have memory of its own, which it keeps at its end.
    """

    def __init__(self, send: Callable[[_Request], _Response]) -> None:
        self._send = send
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[_Response | Exception] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._begun: _Request | None = None

    def begin(self, request: _Request) -> None:
        """Send a request, unless no thread can start, or another is under way."""
        if self._begun is not None or (self._thread is None and not self._start()):
            return
        self._begun = request
        self._requests.put(request)

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name="next-page", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self._responses.put(self._send(request))
            except Exception as error:  # noqa: BLE001 - raised where the page is wanted
                self._responses.put(error)

    def response(self, request: _Request) -> _Response:
        """The response, as soon as it is there; raises what the request does."""
        begun, self._begun = self._begun, None
        response = None if begun is None else self._responses.get()
        if response is None or begun != request:  # nothing was begun, or another page than is wanted
            return self._send(request)
        if isinstance(response, Exception):
            raise response
        return response

    def close(self) -> None:
        """End the thread, once its request is over."""
        self._requests.put(None)


@dataclass(frozen=True, slots=True)
class _Connection:
    """The official client, made ready for one cluster, and the TLS that it shares with WebSockets."""

    client: ApiClient
    tls: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A server's clock beside ours.

    Attributes:
        offset: seconds by which it is ahead of ours.
        error: seconds by which that may be wrong.
    """

    offset: float
    error: float


class Api:
    """One cluster's API, for any number of threads: urllib3's pool gives each request a connection of its own.

    Args:
        kubeconfig: None for ``$KUBECONFIG``, ``~/.kube/config`` or the pod's own service account.
        context: None for the file's current one.
        routes: where addresses are really to be dialled; certificates and names stay the original's.
        deadline: seconds for one request and its retries, unless a call says otherwise.

    Attributes:
        certificate: the API server's, once it has been reached over TLS.
        own_certificate: what the kubeconfig logs in with, once it has been used; None if that is a token.
        clock_reading: how the API server's clock was read the most exactly; None before the first response with a Date.

    Raises:
        KubeconfigError: the kubeconfig can't be used.
    """

    def __init__(self, kubeconfig: Path | None, context: str | None, *, routes: Routes, deadline: float) -> None:
        self.config = _untunnelled(check_kubeconfig(kubeconfig, context), routes)
        self.deadline = deadline
        self._context, self._routes = context, routes
        self._lock = threading.Lock()
        self._opened: _Connection | None = None
        self.certificate: Certificate | None = None
        self.own_certificate: Certificate | None = None
        self.clock_reading: ClockReading | None = None

    @property
    def server(self) -> str:
        """The API server's URL as the kubeconfig has it, or, where that is a tunnel's end, as `routes` leads to it."""
        return self.config.server

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened:
            opened.client.close()  # type: ignore[no-untyped-call]

    def get(self, path: str, *, deadline: float | None = None, **query: str | int | None) -> Json:
        """The object, or one page of the list, at `path`.

        Raises:
            ApiError: as for every request: it was refused, or there was no usable response.
        """
        return self._json(_Request("GET", path, query), deadline=deadline)

    def text(self, path: str, *, deadline: float | None = None, **query: str | int | None) -> str:
        """The plain text at `path`, such as a log or ``/readyz?verbose``."""
        return self._send(_Request("GET", path, query), deadline=deadline).body.decode(errors="replace")

    def clock(self) -> float:
        """The API server's own time, in seconds since 1970, which dates all objects; ours, if it sends no Date."""
        date = self._send(_Request("GET", "/version", {})).headers.get("Date", "")
        with suppress(ValueError, TypeError):
            return parsedate_to_datetime(date).timestamp()
        return time.time()

    def items(
        self,
        path: str,
        *,
        metadata_only: bool = False,
        cached: bool = False,
        deadline: float | None = None,
        **query: str | int | None,
    ) -> Iterator[Json]:
        """Every object of a list, page after page; the deadline is each page's.

        Which lists are asked for how, and why, is in docs/architecture.md (Lists of the API).

        Args:
            path: the list's.
            metadata_only: a server that can leaves out all but their metadata, such as the values of Secrets.
            cached: what the API server has in its memory will do. It answers without asking etcd, and in one page,
                whatever its size; one that has no such memory answers page after page.
            deadline: seconds for a page.
            query: parameters.
        """
        ahead = _Ahead(lambda request: self._send(request, deadline=deadline))
        try:
            yield from self._items(
                lambda token: _Request(
                    "GET",
                    path,
                    {"limit": PAGE, **query, **({"resourceVersion": "0"} if cached and not token else {})}
                    | {"continue": token or None},
                    metadata_only=metadata_only,
                ),
                ahead,
                within=LIST_DEADLINES * (self.deadline if deadline is None else deadline),
            )
        finally:
            ahead.close()

    def lists(self, paths: Sequence[str]) -> list[list[Json] | ApiError]:
        """Several lists, requested at the same time; what a request raises stands in its list's place."""
        results: dict[str, list[Json] | ApiError] = {}

        def take(path: str) -> None:
            try:
                results[path] = list(self.items(path))
            except ApiError as error:
                results[path] = error

        threads = [threading.Thread(target=take, args=(path,), daemon=True) for path in paths]
        for thread in threads:
            with suppress(RuntimeError):  # none can start: that list comes below
                thread.start()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        for path in paths:
            if path not in results:
                take(path)
        return [results[path] for path in paths]

    def _items(self, page_at: Callable[[str], _Request], ahead: _Ahead, *, within: float) -> Iterator[Json]:
        seen: set[str] = set()
        token, restarts, count, pages, broken = "", 0, 0, 0, False
        end, whole = time.monotonic() + within, page_at("")
        while True:
            request = page_at(token)
            try:
                response = ahead.response(request)
            except ApiError as error:
                if error.status != _GONE or restarts >= RESTARTS:
                    raise
                restarts += 1  # the token outlived etcd's history: begin again, and yield nothing twice
                token = ""
                continue
            try:
                page = _Page(response.body)
                for number, item in enumerate(page.items()):
                    if not is_api_object(item):
                        raise self._garbled(whole, f"{whole.path} lists something that is no object")
                    if number == 1 and (following := _next_token(page)):  # who wants only the first item has it by now
                        ahead.begin(page_at(following))
                    uid = item.get("metadata", {}).get("uid", "")
                    if (restarts or broken) and uid and uid in seen:
                        continue
                    seen.add(uid)
                    count += 1
                    yield item
            except ValueError:
                if broken:
                    raise self._not_json(request, response) from None
                broken = True  # cut, or no JSON: the page is requested once more
                continue
            broken = False
            token = _next_token(page)
            if not token:
                return
            pages += 1
            if count > MOST_ITEMS or pages > MOST_ITEMS // PAGE or time.monotonic() > end:
                message = f"{whole.path} lists {count} objects on {pages} pages, and does not end"
                raise self._garbled(whole, message)

    def create(
        self, path: str, body: Json, *, dry_run: bool = False, deadline: float | None = None
    ) -> tuple[Json, tuple[str, ...]]:
        """The object as the server keeps (or, in a dry run, would keep) it, and its warnings.

        A create whose response got lost is sent again; an object that is there by then is ours: names carry a run id.
        """
        request = _Request("POST", path, {"dryRun": "All"} if dry_run else {}, body)
        response = self._send(request, deadline=deadline)
        return self._parse(request, response), tuple(_warnings(response.headers))

    def delete(
        self,
        path: str,
        *,
        uid: str = "",
        propagation: str = "Background",
        grace: int | None = None,
        deadline: float | None = None,
    ) -> None:
        """Delete one object; one that is gone already is no error, nor one that another of its name has replaced.

        Args:
            path: of the object.
            uid: of the object that is meant; "" for whichever has the name.
            propagation: what becomes of those that it owns.
            grace: seconds that a pod gets to end gracefully, instead of its own; 0 does not wait for its kubelet.
            deadline: seconds for the request.
        """
        body: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        body |= {} if grace is None else {"gracePeriodSeconds": grace}
        body |= {"preconditions": {"uid": uid}} if uid else {}
        try:
            self._send(_Request("DELETE", path, {}, body), deadline=deadline)
        except ApiError as error:
            replaced = bool(uid) and error.status == _CONFLICT
            if error.status != _NOT_FOUND and not replaced:
                raise

    def watch(self, path: str, *, timeout: float, **query: str | int | None) -> Iterator[Json]:
        """The events at `path`, as ``{"type": …, "object": …}``, for `timeout` seconds (rounded up) at most.

        A connection that is cut ends the watch early and silently; list again, then watch on.

        Raises:
            ApiError: the watch was refused; status 410 if its resourceVersion is too old.
        """
        import urllib3

        seconds = max(1, -int(-timeout // 1))
        request = _Request("GET", path, {"watch": 1, "timeoutSeconds": seconds, **query})
        began = time.monotonic()
        try:
            response = self._call(request, connect=max(min(timeout, self.deadline), _LEAST), read=seconds + 2.0)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreached(request, classify_exception(error), error, began) from error
        try:
            if response.status != _OK:
                self._refuse(request, _Response(response.status, response.headers, response.read(2**20), 0.0))
            rest = bytearray()
            while chunk := response.read1(2**16):  # what is there, and not as much as that: it may drip
                rest += chunk
                if b"\n" in chunk:
                    *lines, last = bytes(rest).split(b"\n")
                    rest = bytearray(last)
                    for line in filter(None, lines):
                        yield self._event(request, line)
                if time.monotonic() - began > seconds + 1 or len(rest) > LARGEST_EVENT:
                    return
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return  # cut in the middle, or half a line: whoever follows lists again
        finally:
            response.close()

    def _event(self, request: _Request, line: bytes) -> Json:
        """The event in a line of a watch; a ValueError if it holds none, and an `ApiError` if it tells of one."""
        event = decode(line)
        content = event.get("object") if isinstance(event, dict) else None
        if not isinstance(content, dict):
            raise ValueError("no event")  # noqa: TRY004 - wrong content, not a wrong call
        if event.get("type") == "ERROR":
            status = content
            self._refuse(request, _Response(int(status.get("code", 500)), {}, json.dumps(status).encode(), 0.0))
        if not is_api_object(content):
            raise ValueError("no object")
        return dict(event)

    def websocket(
        self, path: str, *, protocols: Sequence[str], deadline: float, **query: str | Sequence[str] | None
    ) -> websocket.WebSocket:
        """A WebSocket at `path`, over a connection of its own that the caller closes; never tried twice.

        The official client's own WebSocket ignores our routes and knows no deadline for the upgrade.

        Args:
            path: a subresource that upgrades, such as a pod's ``exec``.
            protocols: subprotocols, of which the server chooses one.
            deadline: seconds until the server has agreed.
            query: a value that is a list is sent as a parameter each, as ``command`` is.

        Raises:
            ApiError: the server was not reached, refused, or (`StreamFault.NO_UPGRADE`) did not switch protocols.
        """
        import websocket
        from urllib3.exceptions import HTTPError

        began = time.monotonic()
        request = _Request("GET", path, query)
        opened = self._open()
        _, _, headers, _, _ = self._serialize(opened, _Request("GET", path, {}))
        server = urlsplit(self.server)
        address = (
            f"{'ws' if server.scheme == 'http' else 'wss'}://{server.netloc}{server.path}{path}{query_string(query)}"
        )
        upgraded = websocket.WebSocket(enable_multithread=False)
        try:
            connected = self._connect(opened, deadline)
            left = max(began + deadline - time.monotonic(), _LEAST)
            connected.settimeout(left)
            with Cutoff(left) as cutoff:
                cutoff.guard(connected)
                upgraded.connect(  # type: ignore[no-untyped-call]
                    address,
                    socket=connected,
                    header=headers,
                    subprotocols=list(protocols),
                    suppress_origin=True,
                    redirect_limit=0,
                )
        except websocket.WebSocketBadStatusException as error:
            body = error.resp_body or b""
            content = body if isinstance(body, bytes) else str(body).encode()
            response = _Response(error.status_code, error.resp_headers or {}, content, time.monotonic() - began)
            self._refuse(request, response, upgrade=True)
        except websocket.WebSocketTimeoutException as error:
            raise self._unreached(request, PathFault.SILENT, error, began) from error
        except websocket.WebSocketConnectionClosedException as error:
            late = time.monotonic() >= began + deadline
            raise self._unreached(request, PathFault.SILENT if late else PathFault.RESET, error, began) from error
        except websocket.WebSocketException as error:
            raise ApiError(
                StreamFault.NO_UPGRADE,
                status=None,
                reason="",
                message=f"the response to the upgrade is no WebSocket handshake: {error}",
                command=request.command(self._context),
                took=time.monotonic() - began,
            ) from error
        except (HTTPError, OSError) as error:
            raise self._unreached(request, classify_exception(error), error, began) from error
        return upgraded

    # -- one request --

    def _json(self, request: _Request, *, deadline: float | None) -> Json:
        """A response as JSON; one that was cut, or is not JSON, is requested once more."""
        response = self._send(request, deadline=deadline)
        try:
            return self._parse(request, response)
        except ApiError as error:
            if error.fault is not ApiFault.GARBLED:
                raise
            return self._parse(request, self._send(request, deadline=deadline))

    def _parse(self, request: _Request, response: _Response) -> Json:
        try:
            parsed = decode(response.body)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise self._not_json(request, response)
        return parsed

    def _not_json(self, request: _Request, response: _Response) -> ApiError:
        start = response.body[:200].decode(errors="replace")
        message = f"{request.path} answered {len(response.body)} bytes that are not a JSON object: {start}"
        return self._garbled(request, message, status=response.status, took=response.took)

    def _send(self, request: _Request, *, deadline: float | None = None) -> _Response:
        """One request, sent again while that may help and time is left."""
        import urllib3

        began = time.monotonic()
        end = began + (self.deadline if deadline is None else deadline)
        lost = False  # whether an earlier try may have reached the server although its response did not reach us
        for attempt in range(1, TRIES + 1):
            left = max(end - time.monotonic(), _LEAST)
            pause = PAUSE * 2 ** (attempt - 1)
            try:
                received = self._call(request, connect=left, read=left)
                response = _Response(received.status, received.headers, _body(received, end), time.monotonic() - began)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                fault = classify_exception(error)
                lost = lost or fault is not PathFault.REFUSED
                if fault not in _WORTH_ANOTHER_TRY or attempt == TRIES or time.monotonic() + pause >= end:
                    raise self._unreached(request, fault, error, began) from error
                time.sleep(pause)
                continue
            if response.status < _BAD:
                return response
            if lost and request.method == "POST" and response.status == _CONFLICT and request.body is not None:
                name = request.body.get("metadata", {}).get("name", "")
                created = _Request("GET", f"{request.path}/{name}", {})
                return self._send(created, deadline=max(end - time.monotonic(), 1))
            retry_after = _retry_after(response.headers)
            pause = max(pause, retry_after)
            if (
                response.status not in _BUSY
                or attempt == TRIES
                or retry_after > PATIENCE
                or time.monotonic() + pause >= end
                or (response.status == _ERROR and request.method == "POST")  # a webhook that fails fails again
            ):
                self._refuse(request, response)
            time.sleep(pause)
        raise AssertionError  # the last try either returned or raised

    def _call(self, request: _Request, *, connect: float, read: float) -> urllib3.BaseHTTPResponse:
        """The response's head, whatever its status; the body is still to be read."""
        from kubernetes.client import ApiException

        opened = self._open()
        serialized = self._serialize(opened, request)
        began, clock = time.monotonic(), time.time()
        try:
            response: urllib3.BaseHTTPResponse
            response = opened.client.call_api(*serialized, _request_timeout=(connect, read)).response
        except ApiException as error:  # the client raises it in place of urllib3's error of TLS
            raise error.__context__ or error from None
        self._read_clock(response.headers.get("Date", ""), clock=clock, took=time.monotonic() - began)
        return response

    def _read_clock(self, date: str, *, clock: float, took: float) -> None:
        """Keep the server's clock beside ours, as its quickest response has it."""
        with suppress(ValueError, TypeError, OverflowError):
            stamp = parsedate_to_datetime(date).timestamp() + 0.5  # Date is cut to whole seconds
            reading = ClockReading(offset=round(stamp - clock - took / 2, 1), error=round(0.5 + took / 2, 1))
            if self.clock_reading is None or reading.error < self.clock_reading.error:
                self.clock_reading = reading

    def _serialize(self, opened: _Connection, request: _Request) -> _Serialized:
        """Method, URL, headers, body and form fields, as the official client sends them."""
        headers = {"Accept": f"{_METADATA}, application/json" if request.metadata_only else "application/json, */*"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            serialized = self._serialized(opened, request, headers)
        except KubeconfigError as error:
            command = request.command(self._context)
            raise ApiError(ApiFault.CONTEXT, status=None, reason="", message=str(error), command=command) from error
        authorization = str(serialized[2].get("Authorization") or "")
        remember(authorization.partition(" ")[2] or authorization)
        return serialized

    def _serialized(self, opened: _Connection, request: _Request, headers: Mapping[str, str]) -> _Serialized:
        with self._lock:  # a credential program may be run here
            serialized: _Serialized = opened.client.param_serialize(
                request.method,
                request.path,
                query_params=[(name, value) for name, value in request.query.items() if value is not None],
                header_params=headers,
                body=request.body,
                auth_settings=["BearerToken"],
                _host=self.server,
            )
        return serialized

    def _open(self) -> _Connection:
        with self._lock:  # a credential program may be run here
            self._opened = self._opened or self._connection()
            return self._opened

    def _connection(self) -> _Connection:
        """The official client with connections that go where `routes` leads, and without retries of its own."""
        from kubernetes.client import ApiClient

        try:
            configuration, tls, self.own_certificate = client_settings(self.config, deadline=self.deadline)
        except KubeconfigError as error:
            command = _Request("GET", "/version", {}).command(self._context)
            raise ApiError(ApiFault.CONTEXT, status=None, reason="", message=str(error), command=command) from error
        configuration.retries = False  # nor does it follow redirects then
        configuration.connection_pool_maxsize = CONNECTIONS
        client = ApiClient(configuration)
        client.user_agent = USER_AGENT
        client.rest_client.pool_manager.pool_classes_by_scheme = pool_classes(self._routes, on_tls=self._keep)
        client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = tls
        return _Connection(client, tls)

    def _keep(self, _host: str, _port: int, certificate: Certificate) -> None:
        self.certificate = certificate

    def _connect(self, opened: _Connection, deadline: float) -> Any:
        """A connected socket to the API server, with TLS where it has that, through the kubeconfig's own proxy."""
        configuration = opened.client.configuration
        server = urlsplit(self.server)
        connection_class = pool_classes(self._routes)[server.scheme].ConnectionCls
        secure: Json = {}
        if server.scheme == "https":
            secure = {"ssl_context": opened.tls, "server_hostname": configuration.tls_server_name or None}
        port = server.port or (443 if server.scheme == "https" else 80)
        if configuration.proxy:
            proxy = urlsplit(str(configuration.proxy))
            connection = connection_class(str(proxy.hostname), proxy.port or 80, timeout=deadline, **secure)
            connection.set_tunnel(str(server.hostname), port, scheme=proxy.scheme)
        else:
            connection = connection_class(str(server.hostname), port, timeout=deadline, **secure)
        connection.connect()
        return getattr(connection, "sock")  # noqa: B009 - urllib3's protocol of a connection does not name it

    # -- errors --

    def _garbled(self, request: _Request, message: str, *, status: int = 200, took: float = 0.0) -> ApiError:
        command = request.command(self._context)
        return ApiError(ApiFault.GARBLED, status=status, reason="", message=message, command=command, took=took)

    def _unreached(
        self, request: _Request, fault: PathFault | ApiFault, error: BaseException, began: float
    ) -> ApiError:
        server = urlsplit(self.server)
        took = time.monotonic() - began
        host, port = str(server.hostname), server.port or (443 if server.scheme == "https" else 80)
        if isinstance(fault, PathFault):
            message = sentence(fault, host, port, deadline=round(took, 1), detail=detail_of(error))
        else:
            message = f"{join_address(host, port)} cut its response short"
        command = request.command(self._context)
        return ApiError(fault, status=None, reason="", message=message, command=command, took=took)

    def _refuse(self, request: _Request, response: _Response, *, upgrade: bool = False) -> NoReturn:
        """Raise what a status means that is not the one asked for."""
        text = response.body.decode(errors="replace").strip()
        reason, message = "", text
        with suppress(ValueError, AttributeError):
            status = decode(text)
            reason, message = str(status.get("reason") or ""), str(status.get("message") or text)
        fault = classify_upgrade(response.status, reason, message) if upgrade else classify_status(response.status)
        rule = ""
        if response.status == _FORBIDDEN and (match := _WITHOUT_RIGHT.search(message)):
            rule = missing_rule(request.method, request.path, request.query, user=match["user"])
        raise ApiError(
            fault,
            status=response.status,
            reason=reason,
            message=message or f"HTTP {response.status} without a message",
            command=request.command(self._context),
            rule=rule,
            took=response.took,
        )


def _untunnelled(config: Kubeconfig, routes: Routes) -> Kubeconfig:
    """The same kubeconfig by the API server's own address, where it names the near end of a tunnel to it.

    That is so where the certificate must be that of another host (``tls-server-name``) whose port `routes` leads to the
    very address that the kubeconfig names. So messages speak of the API server, and not of the tunnel.
    """
    parts = urlsplit(config.server)
    near_end = join_address(str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80))
    for address, target in routes.mapping.items():
        if target == near_end and split_address(address)[0] == config.tls_server_name.lower():
            return replace(config, server=parts._replace(netloc=address).geturl())
    return config


def classify_kubelet_path(api: Api, error: ApiError) -> ApiError:
    """The same error, attributed to the kubelet where the API server itself is well and waits for what it passed on.

    A firewall that drops port 10250 shows itself so: the API server waits longer than we do.
    """
    if error.fault is not PathFault.SILENT:
        dialed = error.status is not None and not error.rule and "dial tcp" in error.message
        fault = StreamFault.KUBELET_UNREACHABLE if dialed else error.fault
        message = error.message
    else:
        try:
            api.get("/version", deadline=_SOON)
        except ApiError:
            return error
        fault = StreamFault.KUBELET_UNREACHABLE
        message = f"the API server answers, but nothing came from the node's kubelet (port 10250) in {error.took:.0f} s"
    if fault is error.fault:
        return error
    return ApiError(
        fault, status=error.status, reason=error.reason, message=message, command=error.command, took=error.took
    )


_SOON = 5.0  # seconds for a response of the API server's own


def _body(response: urllib3.BaseHTTPResponse, end: float) -> bytes:
    """The whole body, unless it comes too slowly or is too long."""
    parts: list[bytes] = []
    size = 0
    try:
        while chunk := response.read1(2**18):  # what is there, and not as much as that: it may drip
            size += len(chunk)
            parts.append(chunk)
            if size > LARGEST or time.monotonic() > end:
                break
        else:
            return b"".join(parts)
    except BaseException:
        response.close()  # or its rest would be read as the next request's response
        raise
    response.close()
    raise ResponseTooLong if size > LARGEST else ResponseTooSlow


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0


def _warnings(headers: Mapping[str, str]) -> Iterator[str]:
    """The texts of ``Warning: 299 - "…"`` headers (RFC 7234 §5.5), in which admission says what it would refuse."""
    lines = headers.getlist("Warning") if hasattr(headers, "getlist") else [headers.get("Warning", "")]
    for line in lines:
        for text in re.findall(r'\b299 \S+ "((?:[^"\\]|\\.)*)"', line or ""):
            yield re.sub(r"\\(.)", r"\1", text)

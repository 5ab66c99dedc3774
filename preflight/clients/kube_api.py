"""The Kubernetes API, asked in raw JSON: bounded, retried where that is safe, and with errors that name their remedy.

The client's models cost seconds and hundreds of megabytes at 10,000 pods, so only its configuration (kubeconfig,
certificates, exec plugins) and its connection pool are used. Whatever goes wrong on the way is an `ApiError`; whether
that is a finding (the API server itself is measured) or a hindrance (`unmeasured`) is for the caller to say.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import os
import re
import shlex
import shutil
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from preflight.clients.connect import Routes, detail_of, fault_of, join_address, pool_classes, sentence
from preflight.evidence import Evidence, PreflightError, Unmeasured, one_line
from preflight.faults import ApiFault, Fault, PathFault, StreamFault
from preflight.redaction import remember, remember_within
from preflight.yamltext import line_and_words, load_yaml

if TYPE_CHECKING:
    import urllib3
    import websocket

Json = dict[str, Any]

PAGE = 500  # objects a list request asks for at once, as kubectl does
TRIES = 3  # times that a request is sent when the server is busy or the connection is cut
PAUSE = 0.25  # seconds before the second try, doubled for each further one
PATIENCE = 10.0  # seconds that a Retry-After may ask for at most
LARGEST = 128 * 2**20  # bytes of one answer
CONNECTIONS = 16  # kept open for the threads of one run
RESTARTS = 3  # times that a list whose continue token expired is begun again
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

FAULTS: dict[int, ApiFault] = {
    401: ApiFault.UNAUTHORIZED,
    403: ApiFault.FORBIDDEN,
    404: ApiFault.NOT_FOUND,
    409: ApiFault.CONFLICT,
    422: ApiFault.INVALID,
    429: ApiFault.TOO_MANY_REQUESTS,
    503: ApiFault.UNAVAILABLE,
}
_BUSY = {429, 500, 502, 503, 504}  # what a second try may mend
_WORTH_ANOTHER_TRY = {PathFault.RESET, PathFault.REFUSED, ApiFault.GARBLED}


class KubeconfigError(Exception):
    """The kubeconfig can't be used as it stands; nothing was contacted.

    Args:
        path: the file, as it was looked for.
        problem: what is wrong with it, with the names that it does hold.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, one_line(problem)
        super().__init__(f"{path}: {self.problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """What a kubeconfig says about one context, read without the client library.

    Attributes:
        verified: False if the file itself switches TLS verification off.
        slow: whether credentials come from a program that has to be run first.
    """

    path: str
    context: str
    cluster: str
    server: str
    verified: bool = True
    slow: bool = False


class ApiError(PreflightError):
    """The API server's refusal, or the reason why it could not be asked.

    Attributes:
        fault: an `ApiFault` for an answer, a `PathFault` if there was none, a `StreamFault` for exec and attach.
        status: the HTTP status, or None.
        reason: the Status object's reason, such as ``Forbidden``.
        message: the server's own words.
        command: a kubectl command that meets the same.
        rule: for a missing right, the rule that would give it, as YAML with a comment on where it belongs.
        took: seconds.
    """

    def __init__(
        self,
        fault: ApiFault | PathFault | StreamFault,
        *,
        status: int | None,
        reason: str,
        message: str,
        command: str,
        rule: str = "",
        took: float = 0.0,
    ) -> None:
        self.fault, self.status, self.reason, self.command = fault, status, reason, command
        self.message, self.rule, self.took = message, rule, took
        super().__init__(f"{status} {reason}: {message}" if status else message)

    @property
    def evidence(self) -> Evidence:
        """The request that failed and what came back."""
        said = f"{self.status} {self.reason}: {self.message}" if self.status else self.message
        return Evidence(where="here", command=self.command, observed=said, took=self.took)


def unmeasured(error: ApiError) -> Unmeasured:
    """The same error as a reason why something could not be looked at."""
    if error.rule:
        return Unmeasured(
            f"the API server refused: {error.message}", needs=error.rule, fault=error.fault, evidence=error.evidence
        )
    return Unmeasured(
        f"the API server could not be asked: {error.message}",
        needs=_NEEDS.get(error.fault, ""),
        fault=error.fault,
        evidence=error.evidence,
    )


def classify_kubelet_path(api: Api, error: ApiError) -> ApiError:
    """The same error, told as the kubelet's where the API server itself is well and waits for what it handed on.

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


_SOON = 5.0  # seconds for an answer of the API server's own

_NEEDS: dict[Fault, str] = {
    ApiFault.UNAUTHORIZED: "credentials in the kubeconfig that the API server accepts (cluster.kubeconfig, context)",
    ApiFault.CONTEXT: "a kubeconfig and context that can be used (cluster.kubeconfig, context)",
    ApiFault.TOO_MANY_REQUESTS: "an API server that is less busy, or a longer deadline",
}


# --- kubeconfig -----------------------------------------------------------------------------------------------------


def check_kubeconfig(path: Path | None, context: str | None) -> Kubeconfig:
    """Read the kubeconfig far enough to know that it can be used, without importing a client or contacting anything.

    Without a path, ``$KUBECONFIG`` or ``~/.kube/config`` is meant; in a pod that has neither, its service account.

    Raises:
        KubeconfigError: it is absent, unreadable, no kubeconfig, or lacks the context.
    """
    paths = _paths(path)
    if path is None and not any(each.is_file() for each in paths) and _in_cluster():
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return Kubeconfig(path=str(_IN_CLUSTER), context="in-cluster", cluster="in-cluster", server=server)
    where = os.pathsep.join(map(str, paths))
    merged = _merged(paths, where)
    name = str(context or merged.get("current-context") or "")
    if not name:
        raise KubeconfigError(where, f"names no context and has no current one; it knows {_names(merged, 'contexts')}")
    entry, base = _named(merged, "contexts", name, where)
    chosen = _part(entry, "context", where)
    entry, cluster_base = _named(merged, "clusters", str(chosen.get("cluster")), where)
    cluster = _part(entry, "cluster", where)
    server = str(cluster.get("server") or "")
    try:
        parts = urlsplit(server)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port that is none
        usable = False
    if not usable:
        server = re.sub(r"(?<=//)\S*@", "…@", server)  # what stands before an @ may be a password
        raise KubeconfigError(where, f"cluster {chosen.get('cluster')!r} has no server URL (found {server!r})")
    user: Json = {}
    if chosen.get("user"):
        entry, base = _named(merged, "users", str(chosen["user"]), where)
        user = _part(entry, "user", where)
        _remember(user, base)
    _check_files(where, cluster, cluster_base, ("certificate-authority",))
    _check_files(where, user, base, ("client-certificate", "client-key", "tokenFile"))
    return Kubeconfig(
        path=where,
        context=name,
        cluster=str(chosen.get("cluster")),
        server=server.rstrip("/"),
        verified=not cluster.get("insecure-skip-tls-verify", False),
        slow=bool(_command(where, user)),
    )


def _paths(path: Path | None) -> list[Path]:
    if path is not None:
        return [path.expanduser()]
    listed = [Path(part).expanduser() for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path("~/.kube/config").expanduser()]


def _in_cluster() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and _IN_CLUSTER.is_file()


def _merged(paths: list[Path], where: str) -> Json:
    """All files as one, the first mention of a name winning, as kubectl merges them; with each entry its folder."""
    merged: Json = {"contexts": {}, "clusters": {}, "users": {}}
    found = [path for path in paths if path.exists()] if len(paths) > 1 else paths
    if not found:
        raise KubeconfigError(where, "none of these files exists")
    for path in found:
        loaded = _loaded(path)
        merged["current-context"] = merged.get("current-context") or loaded.get("current-context")
        for kind in ("contexts", "clusters", "users"):
            entries = loaded.get(kind) or []
            if not isinstance(entries, list):
                raise KubeconfigError(str(path), f"{kind} is not a list")
            for entry in entries:
                if isinstance(entry, dict) and "name" in entry:
                    merged[kind].setdefault(str(entry["name"]), (entry, path.parent))
    return merged


def _loaded(path: Path) -> Json:
    """One file's content."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise KubeconfigError(str(path), f"is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise KubeconfigError(str(path), f"can't be read: {error.strerror or error}") from None
    try:
        loaded = load_yaml(text)
    except yaml.YAMLError as error:
        line, words = line_and_words(error)
        raise KubeconfigError(str(path), f"is not YAML: {words}{f' (line {line})' if line else ''}") from None
    if not isinstance(loaded, dict) or not {"contexts", "clusters", "users"} & set(loaded):
        raise KubeconfigError(str(path), "is not a kubeconfig: it has no contexts, clusters and users")
    return loaded


def _names(merged: Json, kind: str) -> str:
    return ", ".join(sorted(merged[kind])) or f"no {kind}"


def _named(merged: Json, kind: str, name: str, where: str) -> tuple[Json, Path]:
    entry = merged[kind].get(name)
    if entry is None:
        near = difflib.get_close_matches(name, merged[kind], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise KubeconfigError(where, f"has no {kind[:-1]} {name!r}; it knows {_names(merged, kind)}{hint}")
    found: tuple[Json, Path] = entry
    return found


def _part(entry: Json, key: str, where: str) -> Json:
    """What an entry holds under its kind's name."""
    found = entry.get(key) or {}
    if not isinstance(found, dict):
        raise KubeconfigError(
            where, f"{key} {entry.get('name')!r}: found {type(found).__name__}, expected keys and values"
        )
    return found


def _check_files(where: str, section: Json, base: Path, keys: tuple[str, ...]) -> None:
    for key in keys:
        data = section.get(f"{key}-data")
        if data:
            try:
                base64.b64decode(str(data), validate=False)
            except (binascii.Error, ValueError):
                raise KubeconfigError(where, f"{key}-data is not base64") from None
            continue
        if named := section.get(key):
            file = base / Path(str(named)).expanduser()
            try:
                file.open("rb").close()
            except OSError as error:
                raise KubeconfigError(where, f"{key} names {file}: {error.strerror}") from None


def _remember(user: Json, base: Path) -> None:
    """Register what a user shows to the API server, from the kubeconfig and the files that it names."""
    remember_within(user)
    with suppress(ValueError, TypeError):
        remember(base64.b64decode(user.get("client-key-data") or "").decode())
    for key in ("client-key", "tokenFile"):
        with suppress(OSError, ValueError, TypeError):
            remember((base / Path(user[key]).expanduser()).read_text(encoding="utf-8") if user.get(key) else "")


def _command(where: str, user: Json) -> str:
    """The credential program of a user, if there is one, proven to exist."""
    plugin = user.get("exec")
    if not isinstance(plugin, dict):
        return "auth-provider" if user.get("auth-provider") else ""
    command = str(plugin.get("command", ""))
    if not shutil.which(command):
        raise KubeconfigError(where, f"its credentials come from the program {command!r}, which is not installed")
    return command


# --- the API --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    took: float


def decode(body: bytes | str) -> Any:
    """An answer's JSON, where a null is as good as nothing, as for Go's clients.

    Raises:
        ValueError: it is not JSON, or is nested too deeply to be an answer.
    """
    try:
        return json.loads(body, object_pairs_hook=_present)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _present(pairs: list[tuple[str, Any]]) -> Json:
    return {key: value for key, value in pairs if value is not None}


def _is_object(item: Any) -> bool:
    """Whether an item of a list has the form that every object of the API has; it gets a name, if it has none."""
    parts = [item.get(key, {}) for key in ("metadata", "spec", "status")] if isinstance(item, dict) else []
    if not parts or not all(isinstance(part, dict) for part in parts):
        return False
    return isinstance(item.setdefault("metadata", {}).setdefault("name", ""), str)


class Api:
    """One cluster's API, for any number of threads: urllib3's pool gives each request a connection of its own.

    Args:
        kubeconfig: None for ``$KUBECONFIG``, ``~/.kube/config`` or the pod's own service account.
        context: None for the file's current one.
        routes: where addresses are really to be dialled; certificates and names stay the original's.
        deadline: seconds for one request and its retries, unless a call says otherwise.

    Raises:
        KubeconfigError: the kubeconfig can't be used.
    """

    def __init__(self, kubeconfig: Path | None, context: str | None, *, routes: Routes, deadline: float) -> None:
        self.config = check_kubeconfig(kubeconfig, context)
        self.deadline = deadline
        self._path, self._context, self._routes = kubeconfig, context, routes
        self._lock = threading.Lock()
        self._opened: tuple[Any, urllib3.PoolManager] | None = None

    @property
    def server(self) -> str:
        """The API server's URL as the kubeconfig has it."""
        return self.config.server

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened:
            opened[1].clear()

    def get(self, path: str, *, deadline: float | None = None, **query: str | int | None) -> Json:
        """The object, or one page of the list, at `path`."""
        return self._json("GET", path, query, deadline=deadline)

    def text(self, path: str, *, deadline: float | None = None, **query: str | int | None) -> str:
        """What `path` says in plain text: a log, ``/readyz?verbose``."""
        return self._request("GET", path, query, deadline=deadline).body.decode(errors="replace")

    def clock(self) -> float:
        """The API server's own time, in seconds since 1970: what objects are dated by. Ours, if it does not tell it."""
        told = self._request("GET", "/version", {}).headers.get("Date", "")
        with suppress(ValueError, TypeError):
            return parsedate_to_datetime(told).timestamp()
        return time.time()

    def items(self, path: str, *, deadline: float | None = None, **query: str | int | None) -> Iterator[Json]:
        """Every object of a list, page after page; the deadline is each page's."""
        seen: set[str] = set()
        token, restarts = "", 0
        while True:
            try:
                page = self._json("GET", path, {"limit": PAGE, **query, "continue": token or None}, deadline=deadline)
            except ApiError as error:
                if error.status != _GONE or restarts >= RESTARTS:
                    raise
                restarts += 1  # the token outlived etcd's history: begin again, telling nothing twice
                token = ""
                continue
            for item in page.get("items") or ():
                if not _is_object(item):
                    raise self._garbled(f"{path} lists something that is no object", "GET", path, query)
                uid = item.get("metadata", {}).get("uid", "")
                if restarts and uid in seen:
                    continue
                seen.add(uid)
                yield item
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return

    def create(
        self, path: str, body: Json, *, dry_run: bool = False, deadline: float | None = None
    ) -> tuple[Json, tuple[str, ...]]:
        """The object as the server keeps (or, in a dry run, would keep) it, and its warnings.

        A create whose answer got lost is sent again; an object that is there by then is ours: names carry a run id.
        """
        query: Json = {"dryRun": "All"} if dry_run else {}
        answer = self._request("POST", path, query, body=body, deadline=deadline)
        warnings = tuple(_warnings(answer.headers))
        return self._parse(answer, "POST", path, query), warnings

    def delete(
        self, path: str, *, propagation: str = "Background", grace: int | None = None, deadline: float | None = None
    ) -> None:
        """Delete one object; one that is gone already is as good.

        Args:
            path: of the object.
            propagation: what becomes of those that it owns.
            grace: seconds that a pod gets to end in good order, instead of its own; 0 does not wait for its kubelet.
            deadline: seconds for the request.
        """
        body: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        body |= {} if grace is None else {"gracePeriodSeconds": grace}
        with _ignoring(404):
            self._request("DELETE", path, {}, body=body, deadline=deadline)

    def watch(self, path: str, *, timeout: float, **query: str | int | None) -> Iterator[Json]:
        """What happens at `path`, as ``{"type": …, "object": …}``, for `timeout` seconds (rounded up) at most.

        A connection that is cut ends the watch early and silently; list again, then watch on.

        Raises:
            ApiError: the watch was refused; status 410 if its resourceVersion is too old.
        """
        import urllib3

        seconds = max(1, -int(-timeout // 1))
        query = {"watch": 1, "timeoutSeconds": seconds, **query}
        began = time.monotonic()
        connect = max(min(timeout, self.deadline), _LEAST)
        try:
            response = self._send("GET", path, query, None, connect=connect, read=seconds + 2.0)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreached(_fault_of(error), error, "GET", path, query, began) from error
        try:
            if response.status != _OK:
                self._refuse(_Answer(response.status, response.headers, response.read(2**20), 0.0), "GET", path, query)
            rest = b""
            for chunk in response.stream(2**16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    event: Json = json.loads(line)
                    if event.get("type") == "ERROR":
                        status = event.get("object", {})
                        said = json.dumps(status).encode()
                        self._refuse(_Answer(int(status.get("code", 500)), {}, said, 0.0), "GET", path, query)
                    yield event
                if time.monotonic() - began > seconds + 1:
                    return
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return  # cut in the middle, or half a line: whoever follows lists again
        finally:
            response.close()

    # -- one request --

    def _json(self, method: str, path: str, query: Mapping[str, Any], *, deadline: float | None) -> Json:
        """An answer as JSON; one that was cut, or is none, is asked for once more."""
        answer = self._request(method, path, query, deadline=deadline)
        try:
            return self._parse(answer, method, path, query)
        except ApiError as error:
            if error.fault is not ApiFault.GARBLED:
                raise
            return self._parse(self._request(method, path, query, deadline=deadline), method, path, query)

    def _parse(self, answer: _Answer, method: str, path: str, query: Mapping[str, Any]) -> Json:
        try:
            parsed = decode(answer.body)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            said = answer.body[:200].decode(errors="replace")
            said = f"{path} answered {len(answer.body)} bytes that are not a JSON object: {said}"
            raise self._garbled(said, method, path, query, status=answer.status, took=answer.took)
        return parsed

    def _garbled(
        self, said: str, method: str, path: str, query: Mapping[str, Any], *, status: int = 200, took: float = 0.0
    ) -> ApiError:
        command = kubectl(method, path, query, context=self._context)
        return ApiError(ApiFault.GARBLED, status=status, reason="", message=said, command=command, took=took)

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        *,
        body: Json | None = None,
        deadline: float | None = None,
    ) -> _Answer:
        """One request, sent again while that may help and time is left."""
        import urllib3

        began = time.monotonic()
        end = began + (self.deadline if deadline is None else deadline)
        lost = False  # whether an earlier try may have reached the server without our hearing of it
        for attempt in range(1, TRIES + 1):
            left = max(end - time.monotonic(), _LEAST)
            pause = PAUSE * 2 ** (attempt - 1)
            try:
                response = self._send(method, path, query, body, connect=left, read=left)
                answer = _Answer(response.status, response.headers, _body(response, end), time.monotonic() - began)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                fault = _fault_of(error)
                lost = lost or fault is not PathFault.REFUSED
                if fault not in _WORTH_ANOTHER_TRY or attempt == TRIES or time.monotonic() + pause >= end:
                    raise self._unreached(fault, error, method, path, query, began) from error
                time.sleep(pause)
                continue
            if answer.status < _BAD:
                return answer
            if lost and method == "POST" and answer.status == _CONFLICT and body is not None:
                name = body.get("metadata", {}).get("name", "")
                return self._request("GET", f"{path}/{name}", {}, deadline=max(end - time.monotonic(), 1))
            asked = _retry_after(answer.headers)
            pause = max(pause, asked)
            if (
                answer.status not in _BUSY
                or attempt == TRIES
                or asked > PATIENCE
                or time.monotonic() + pause >= end
                or (answer.status == _ERROR and method == "POST")  # a webhook that fails: asking again brings the same
            ):
                self._refuse(answer, method, path, query)
            time.sleep(pause)
        raise AssertionError  # the last try either returned or raised

    def _send(
        self, method: str, path: str, query: Mapping[str, Any], body: Json | None, *, connect: float, read: float
    ) -> urllib3.BaseHTTPResponse:
        import urllib3

        headers = {"Accept": "application/json, */*", **self._authorized()}
        pool = self._pool()
        payload = None
        if body is not None:
            payload, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        return pool.request(
            method,
            f"{self.server}{path}{_query(query)}",
            body=payload,
            headers=headers,
            timeout=urllib3.Timeout(connect=connect, read=read),
            preload_content=False,
            retries=False,
            redirect=False,
        )

    def _pool(self) -> urllib3.PoolManager:
        with self._lock:  # a credential program may be run here
            self._opened = self._opened or self._open()
            return self._opened[1]

    def _authorized(self) -> dict[str, str]:
        """The headers that say who asks."""
        with self._lock:
            self._opened = self._opened or self._open()
            auth = self._opened[0].auth_settings().get("BearerToken")
        headers = {"User-Agent": "gitlab-runner-preflight"}
        if auth and auth["value"]:
            remember(str(auth["value"]).partition(" ")[2] or str(auth["value"]))
            headers["Authorization"] = str(auth["value"])
        return headers

    def websocket(
        self, path: str, *, protocols: Sequence[str], deadline: float, **query: str | Sequence[str] | None
    ) -> websocket.WebSocket:
        """A WebSocket at `path`, over a connection of its own that the caller closes; never tried twice.

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
        headers = self._authorized()
        address = f"{'ws' if self.server.startswith('http:') else 'wss'}://{urlsplit(self.server).netloc}"
        address += f"{urlsplit(self.server).path}{path}{_query(query)}"
        opened = websocket.WebSocket(enable_multithread=False)
        try:
            line = self._line(deadline)
            line.settimeout(max(began + deadline - time.monotonic(), _LEAST))
            opened.connect(  # type: ignore[no-untyped-call]
                address,
                socket=line,
                header=headers,
                subprotocols=list(protocols),
                suppress_origin=True,
                redirect_limit=0,
            )
        except websocket.WebSocketBadStatusException as error:
            body = error.resp_body or b""
            said = body if isinstance(body, bytes) else str(body).encode()
            answer = _Answer(error.status_code, error.resp_headers or {}, said, time.monotonic() - began)
            self._refuse(answer, "GET", path, query, upgrade=True)
        except websocket.WebSocketTimeoutException as error:
            raise self._unreached(PathFault.SILENT, error, "GET", path, query, began) from error
        except websocket.WebSocketConnectionClosedException as error:
            raise self._unreached(PathFault.RESET, error, "GET", path, query, began) from error
        except websocket.WebSocketException as error:
            raise ApiError(
                StreamFault.NO_UPGRADE,
                status=None,
                reason="",
                message=f"the answer to the upgrade is no WebSocket handshake: {error}",
                command=kubectl("GET", path, query, context=self._context),
                took=time.monotonic() - began,
            ) from error
        except (HTTPError, OSError) as error:
            raise self._unreached(_fault_of(error), error, "GET", path, query, began) from error
        return opened

    def _line(self, deadline: float) -> Any:
        """A connected socket to the API server, with TLS where it has that, through the kubeconfig's own proxy."""
        with self._lock:
            self._opened = self._opened or self._open()
            configuration = self._opened[0]
        where = urlsplit(self.server)
        kind = pool_classes(self._routes)[where.scheme].ConnectionCls
        secure: Json = {}
        if where.scheme == "https":
            secure = {"ssl_context": _tls(configuration), "server_hostname": configuration.tls_server_name or None}
        port = where.port or (443 if where.scheme == "https" else 80)
        if configuration.proxy:
            proxy = urlsplit(str(configuration.proxy))
            connection = kind(str(proxy.hostname), proxy.port or 80, timeout=deadline, **secure)
            connection.set_tunnel(str(where.hostname), port, scheme=proxy.scheme)
        else:
            connection = kind(str(where.hostname), port, timeout=deadline, **secure)
        connection.connect()
        return getattr(connection, "sock")  # noqa: B009 - urllib3's protocol of a connection does not name it

    def _open(self) -> tuple[Any, urllib3.PoolManager]:
        """The client's configuration, and connections that go where `routes` leads."""
        import urllib3

        configuration = self._configure()
        try:
            tls = _tls(configuration)
        except (OSError, ValueError) as error:
            problem = f"its certificates can't be used: {error}"
            raise self._unusable(problem) from error
        kept: Json = {"ssl_context": tls, "maxsize": CONNECTIONS}
        if configuration.tls_server_name:
            kept["server_hostname"] = configuration.tls_server_name
        pool = urllib3.ProxyManager(configuration.proxy, **kept) if configuration.proxy else urllib3.PoolManager(**kept)
        pool.pool_classes_by_scheme = pool_classes(self._routes)
        return configuration, pool

    def _configure(self) -> Any:
        """The client's configuration from the kubeconfig, in the time that a request has."""
        # The client imports requests' parts before requests itself; while another thread imports requests, each would
        # wait for the other, and Python breaks that tie by handing out a module that is only half there.
        import requests  # noqa: F401
        from kubernetes.client import Configuration
        from kubernetes.config import load_incluster_config, load_kube_config

        configuration = Configuration()
        configuration.proxy = None  # the environment's proxy is not for internal targets; the kubeconfig's own is
        configuration.no_proxy = None
        problem: list[str] = []

        def load() -> None:
            try:
                if self.config.context == "in-cluster" and self.config.path == str(_IN_CLUSTER):
                    load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
                else:
                    load_kube_config(  # type: ignore[no-untyped-call]
                        config_file=self.config.path,
                        context=self.config.context,
                        client_configuration=configuration,
                        persist_config=False,
                    )
            except Exception as error:  # noqa: BLE001 - the loader raises whatever its parts do
                problem.append(f"{type(error).__name__}: {error}")

        if self.config.slow:
            # A credential program has no time limit of its own, and may wait for a browser.
            worker = threading.Thread(target=load, name="kubeconfig", daemon=True)
            worker.start()
            worker.join(self.deadline)
            if worker.is_alive():
                problem.append(f"its credential program gave nothing within {self.deadline:g} s")
        else:
            load()
        if problem:
            raise self._unusable(problem[0])
        return configuration

    def _unusable(self, problem: str) -> ApiError:
        return ApiError(
            ApiFault.CONTEXT,
            status=None,
            reason="",
            message=f"{self.config.path}: {problem}",
            command=kubectl("GET", "/version", {}, context=self._context),
        )

    # -- errors --

    def _unreached(
        self,
        fault: PathFault | ApiFault,
        error: BaseException,
        method: str,
        path: str,
        query: Mapping[str, Any],
        began: float,
    ) -> ApiError:
        where = urlsplit(self.server)
        took = time.monotonic() - began
        host, port = str(where.hostname), where.port or (443 if where.scheme == "https" else 80)
        if isinstance(fault, PathFault):
            message = sentence(fault, host, port, deadline=round(took, 1), detail=detail_of(error))
        else:
            message = f"{join_address(host, port)} cut its answer short"
        return ApiError(
            fault,
            status=None,
            reason="",
            message=message,
            command=kubectl(method, path, query, context=self._context),
            took=took,
        )

    def _refuse(
        self, answer: _Answer, method: str, path: str, query: Mapping[str, Any], *, upgrade: bool = False
    ) -> NoReturn:
        """Raise what a status means that is not the one asked for."""
        text = answer.body.decode(errors="replace").strip()
        reason, message = "", text
        with suppress(ValueError, AttributeError):
            status = json.loads(text)
            reason, message = str(status.get("reason") or ""), str(status.get("message") or text)
        fault: ApiFault | StreamFault
        fault = FAULTS.get(answer.status, ApiFault.SERVER_ERROR if answer.status >= _ERROR else ApiFault.INVALID)
        if upgrade:
            fault = _stream_fault(answer.status, reason, message) or fault
        rule = ""
        if answer.status == _FORBIDDEN and (who := _WITHOUT_RIGHT.search(message)):
            rule = missing_rule(method, path, query, user=who["user"])
        raise ApiError(
            fault,
            status=answer.status,
            reason=reason,
            message=message or f"HTTP {answer.status} without a word",
            command=kubectl(method, path, query, context=self._context),
            rule=rule,
            took=answer.took,
        )


_LEAST = 0.05  # seconds that any try gets
_OK, _BAD, _FORBIDDEN, _CONFLICT, _GONE, _ERROR = 200, 400, 403, 409, 410, 500
_WITHOUT_RIGHT = re.compile(r'User "(?P<user>[^"]*)" cannot \S+ (?:resource|path) ')


def _stream_fault(status: int, reason: str, message: str) -> StreamFault | None:
    """What a refused upgrade says about the way to a container; None if the API server itself had the last word."""
    if "error dialing backend" in message or _NO_KUBELET.search(message):
        return StreamFault.KUBELET_UNREACHABLE
    if _NO_CONTAINER.search(message):
        return StreamFault.NOT_STARTED
    # The API server refuses in Status objects; anything else came from a proxy or balancer in front of it.
    if not reason or "pgrade request required" in message:
        return None if status in {401, 403} else StreamFault.NO_UPGRADE
    return None


_NO_CONTAINER = re.compile(r"^container (not found \(|\S+ not found in pod )")  # the kubelet's, passed on as it is
_NO_KUBELET = re.compile(r"dial tcp \S+:\d+: |No agent available|proxy error from ")


def _tls(configuration: Any) -> ssl.SSLContext:
    """What the kubeconfig trusts and shows, judged as kubectl does: only Python 3.13 insists on RFC 5280's letter."""
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


class _ignoring:  # noqa: N801 - reads as a word in `with`
    """Swallow an ApiError of one status."""

    def __init__(self, status: int) -> None:
        self.status = status

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        return isinstance(error, ApiError) and error.status == self.status


def _fault_of(error: BaseException) -> PathFault | ApiFault:
    """What a failed request met; an answer that began and did not end is no path's fault."""
    from urllib3.exceptions import IncompleteRead, InvalidChunkLength

    parts = (error, *error.args)
    if any(isinstance(part, (IncompleteRead, InvalidChunkLength, _TooLongError)) for part in parts):
        return ApiFault.GARBLED
    return PathFault.SILENT if isinstance(error, _TooSlowError) else fault_of(error)


class _TooLongError(OSError):
    """The answer is longer than any list page can be."""


class _TooSlowError(OSError):
    """The answer's end did not come in time, although bytes kept dripping in."""


def _body(response: urllib3.BaseHTTPResponse, end: float) -> bytes:
    """The whole body, unless it comes too slowly or is too long."""
    parts: list[bytes] = []
    size = 0
    try:
        for chunk in response.stream(2**18):
            size += len(chunk)
            parts.append(chunk)
            if size > LARGEST or time.monotonic() > end:
                break
        else:
            return b"".join(parts)
    except BaseException:
        response.close()  # or its rest would be the next request's answer
        raise
    response.close()
    raise _TooLongError if size > LARGEST else _TooSlowError


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


def _query(query: Mapping[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"?{urlencode(given, doseq=True)}" if given else ""


# --- what a person would type ---------------------------------------------------------------------------------------

_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/.))?/(?P<resource>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+)(?:/.*)?)?)?"
)
_STREAMS = {
    "exec",
    "attach",
}  # by WebSocket, which is a GET; kubectl before 1.31, and servers since 1.35, ask for create
_VERBS = {"POST": "create", "DELETE": "delete", "PUT": "update", "PATCH": "patch"}


def kubectl(method: str, path: str, query: Mapping[str, Any], *, context: str | None = None) -> str:
    """The kubectl command that sends the same request, as near as one can."""
    words = ["kubectl", *(["--context", context] if context else [])]
    match = _PATH.fullmatch(path)
    given = {name: value for name, value in query.items() if value is not None}
    if method == "POST" and match:
        where = ["-n", match["namespace"]] if match["namespace"] else []
        return shlex.join([*words, "create", *(["--dry-run=server"] if "dryRun" in given else []), *where, "-f", "-"])
    if match and match["sub"] in _STREAMS:
        container = ["-c", str(given["container"])] if "container" in given else []
        where = ["-n", match["namespace"]] if match["namespace"] else []
        run = ["--", *given["command"]] if "command" in given else ["-i"] if "stdin" in given else []
        return shlex.join([*words, *where, match["sub"], str(match["name"]), *container, *run])
    if not match or (match["sub"] and match["sub"] != "log"):
        return shlex.join([*words, "get", "--raw", f"{path}{_query(given)}"])
    if match["namespace"]:
        words += ["-n", match["namespace"]]
    kind = f"{match['resource']}.{match['group']}" if match["group"] else match["resource"]
    if match["sub"] == "log":
        container = ["-c", str(given["container"])] if "container" in given else []
        return shlex.join([*words, "logs", str(match["name"]), *container])
    words += ["delete" if method == "DELETE" else "get", kind, *([match["name"]] if match["name"] else [])]
    if not match["name"] and not match["namespace"] and match["resource"] in {"pods", "events", "jobs"}:
        words.append("-A")
    if "labelSelector" in given:
        words += ["-l", str(given["labelSelector"])]
    if "fieldSelector" in given:
        words.append(f"--field-selector={given['fieldSelector']}")
    if "watch" in given:
        words.append("-w")
    return shlex.join(words)


def missing_rule(method: str, path: str, query: Mapping[str, Any], *, user: str = "") -> str:
    """The RBAC rule that allows a request, as YAML, with a comment on the role and the subject that need it."""
    match = _PATH.fullmatch(path)
    to = f", bound to {user}" if user else ""
    if not match:
        return f'# in a ClusterRole{to}\n- nonResourceURLs: ["{path}"]\n  verbs: ["get"]'
    resource = match["resource"] + (f"/{match['sub']}" if match["sub"] else "")
    verb = _VERBS.get(method) or ("watch" if "watch" in query else "get" if match["name"] else "list")
    verbs = '"create", "get"' if match["sub"] in _STREAMS else f'"{verb}"'
    where = f"a Role in namespace {match['namespace']}" if match["namespace"] else "a ClusterRole"
    return f'# in {where}{to}\n- apiGroups: ["{match["group"] or ""}"]\n  resources: ["{resource}"]\n  verbs: [{verbs}]'


def path_segment(name: str) -> str:
    """A name made safe for a path."""
    return quote(name, safe="")

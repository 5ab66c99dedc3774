"""The Kubernetes API over HTTP: authentication, routing, authorization, and answers in the API's format."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.cluster import timestamps
from lab.cluster.resources import (
    BY_PATH,
    METRICS,
    NAMESPACES,
    REVIEWS,
    SERVICE_ACCOUNTS,
    Resource,
)
from lab.kubernetes import discovery, exporters, refusals, reviews, streaming, usage
from lab.kubernetes.admission import Admission
from lab.kubernetes.authorization import (
    ANONYMOUS,
    Attempt,
    allows,
    authenticate,
    service_account_user,
)
from lab.kubernetes.defaults import fill_in, without_empty
from lab.kubernetes.patches import patched
from lab.kubernetes.refusals import Refusal
from lab.kubernetes.selectors import field_matcher, label_matcher
from lab.kubernetes.validation import quantities, validate

if TYPE_CHECKING:
    from lab.cluster.state import Change, ClusterState, Raw, User
    from lab.kubernetes.control import ControlPlane, Propagation
    from lab.world import World

_WATCHES = 1800.0  # seconds that a watch without timeoutSeconds lasts
_HEADERS = {
    "Cache-Control": "no-cache, private",
    "X-Kubernetes-Pf-Flowschema-Uid": "0e8c4a6c-6f4c-4f3e-9c76-3a1d4f0b5b11",
    "X-Kubernetes-Pf-Prioritylevel-Uid": "5d1d9b52-7c40-4a2b-8b1b-0f6c2f7e9a40",
}
_RETURNED_WHEN_DELETED = {"pods", "services", "serviceaccounts", "resourcequotas"}
_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)
_KEPT_METADATA = ("labels", "annotations", "ownerReferences", "finalizers")
_NOT_FOUND = "404 page not found\n"
_PROBES = ("healthz", "livez", "readyz")


@dataclass(slots=True, kw_only=True)
class ApiCall:
    """One request for a resource, with its path parsed as the API server does it."""

    request: web.Request
    user: User
    verb: str
    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    body: bytes = b""
    warnings: list[str] = field(default_factory=list)

    @property
    def query(self) -> Any:
        """The query's parameters."""
        return self.request.query

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be stored."""
        return bool(self.query.get("dryRun"))

    def number(self, parameter: str) -> int | None:
        """A parameter of the query that is a whole number; None if it is not given."""
        text = self.query.get(parameter, "")
        if not text:
            return None
        if not text.lstrip("-").isdigit():
            message = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise refusals.bad_request(message)
        return int(text)

    def json(self) -> Raw:
        """The body as an object; empty if there is none."""
        if not self.body.strip():
            return {}
        try:
            document = json.loads(self.body)
        except ValueError as error:
            message = f"couldn't get version/kind; json parse error: {error}"
            raise refusals.bad_request(message) from error
        if not isinstance(document, dict):
            message = "couldn't get version/kind; json parse error: not an object"
            raise refusals.bad_request(message)
        return document


class ApiServer:
    """The handler of all requests; `application` is to be served with TLS at the API server's address."""

    def __init__(self, world: World, control: ControlPlane) -> None:
        self.world, self.control = world, control
        self.cluster: ClusterState = world.cluster
        self._closing = asyncio.Event()
        self._subresources: dict[tuple[str, str, str], Callable[[ApiCall], Awaitable[web.StreamResponse]]] = {
            ("pods", "log", "get"): self._log,
            ("pods", "proxy/metrics", "get"): self._proxy,
            ("pods", "exec", "get"): self._stream,
            ("pods", "attach", "get"): self._stream,
            ("serviceaccounts", "token", "create"): self._token,
        }

    def application(self) -> web.Application:
        """An application whose one route takes every path."""
        app = web.Application(client_max_size=4 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._answer)
        app.on_response_prepare.append(_add_headers)
        app.on_response_prepare.append(self._add_date)
        return app

    async def _add_date(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(time.time() + self.world.api_clock_offset, usegmt=True)

    def close(self) -> None:
        """End the watches and log streams."""
        self._closing.set()

    # ---- routing

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        user, authentication_error = ANONYMOUS, None
        try:
            user = authenticate(self.cluster, request.headers.get("Authorization", ""))
        except Refusal as refusal:
            authentication_error = refusal
        text = body.decode(errors="replace")
        self.world.record(
            "kubernetes", request.method, request.path_qs, user="" if authentication_error else user.name, body=text
        )
        await self.world.pause()
        warnings: list[str] = []
        try:
            if authentication_error is not None:
                raise authentication_error
            return await self._route(request, user, body, warnings)
        except Refusal as refusal:
            await asyncio.sleep(refusal.waited)
            return _json(refusal.status(), refusal.code, warnings)

    async def _route(self, request: web.Request, user: User, body: bytes, warnings: list[str]) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        call = _parse_path(request, user, parts)
        if call is None:
            return self._serve_path(request, user, parts)
        call.body, call.warnings = body, warnings
        self._authorize(call)
        key = (call.group, call.version, call.plural)
        if key in METRICS:
            return self._metrics(call, METRICS[key])
        if key in REVIEWS:
            return self._review(call, REVIEWS[key])
        resource = BY_PATH.get(key)
        if resource is None or (call.namespace and not resource.namespaced and call.namespace != call.name):
            return _text(_NOT_FOUND, 404)
        if not call.subresource or call.subresource == "status":
            return await self._resource(call, resource)
        handler = self._subresources.get((call.plural, call.subresource, call.verb))
        return await handler(call) if handler is not None else self._no_subresource(call, resource)

    def _review(self, call: ApiCall, resource: Resource) -> web.Response:
        if call.verb != "create":
            raise refusals.method_not_allowed()
        return _json(reviews.review(self.cluster, call.user, resource, call.json()), 201, [])

    def _authorize(self, call: ApiCall) -> None:
        attempt = Attempt(
            verb=call.verb,
            group=call.group,
            resource=call.plural,
            subresource=call.subresource.partition("/")[0],
            namespace=call.namespace,
            name=call.name,
        )
        if allows(self.cluster, call.user, attempt) is None:
            stored = BY_PATH.get((call.group, call.version, call.plural))
            resource = stored or Resource(call.plural, call.plural, call.group, call.version)
            raise refusals.denied(
                call.user.name,
                call.verb,
                resource,
                namespace=call.namespace,
                name=call.name,
                subresource=call.subresource,
            )

    async def _resource(self, call: ApiCall, resource: Resource) -> web.StreamResponse:
        if call.verb == "watch":
            return await self._watch(call, resource)
        answers: dict[str, Callable[[ApiCall, Resource], web.Response]] = {
            "list": self._list,
            "get": lambda call, resource: _json(_with_kind(resource, self._find_object(call, resource)), 200, []),
            "create": self._create,
            "update": self._update,
            "patch": self._update,
            "delete": self._delete,
            "deletecollection": self._delete_many,
        }
        return answers[call.verb](call, resource)

    def _find_object(self, call: ApiCall, resource: Resource) -> Raw:
        item = self.cluster.get(resource.plural, call.namespace if resource.namespaced else "", call.name)
        if item is None:
            raise refusals.not_found(resource, call.name)
        return item

    # ---- reading

    def _matcher(self, call: ApiCall, resource: Resource) -> Callable[[Raw], bool]:
        labels, fields = call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
        by_label = label_matcher(labels) if labels else None
        by_field = field_matcher(resource, fields, label_selector=labels) if fields else None
        namespace = call.namespace if resource.namespaced else ""
        name = call.name if call.verb == "watch" else ""

        def matches(item: Raw) -> bool:
            metadata = item["metadata"]
            return (
                (not namespace or metadata["namespace"] == namespace)
                and (not name or metadata["name"] == name)
                and (by_label is None or by_label(item))
                and (by_field is None or by_field(item))
            )

        return matches

    def _list(self, call: ApiCall, resource: Resource) -> web.Response:
        matches = self._matcher(call, resource)
        items = self.cluster.list(resource.plural, call.namespace or None if resource.namespaced else None)
        # From its watch cache, a server answers with all there is (Kubernetes' "API concepts", Resource versions).
        limit = 0 if call.query.get("resourceVersion") == "0" else call.number("limit") or 0
        metadata: Raw = {"resourceVersion": str(self.cluster.revision)}
        continue_token = call.query.get("continue", "")
        if continue_token:
            version, start = _read_token(continue_token)
            if version < self.cluster.compacted:
                raise refusals.expired(_STALE_TOKEN, continue_token=_token(self.cluster.revision, start))
            metadata["resourceVersion"] = str(version)
            items = [item for item in items if _list_key(item) > start]
        chosen = [item for item in items if matches(item)]
        if limit and len(chosen) > limit:
            remaining = len(chosen) - limit
            chosen = chosen[:limit]
            metadata["continue"] = _token(int(metadata["resourceVersion"]), _list_key(chosen[-1]))
            if not call.query.get("labelSelector") and not call.query.get("fieldSelector"):
                metadata["remainingItemCount"] = remaining
        kind = {"kind": f"{resource.kind}List", "apiVersion": resource.group_version}
        return _json({**kind, "metadata": metadata, "items": chosen}, 200, [])

    async def _watch(self, call: ApiCall, resource: Resource) -> web.StreamResponse:
        matches = self._matcher(call, resource)
        since = call.query.get("resourceVersion", "")
        duration = call.number("timeoutSeconds") or _WATCHES
        response = await _stream(call.request, "application/json")
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        unsubscribe = self.cluster.subscribe(lambda _change: loop.call_soon_threadsafe(changed.set))
        try:
            last_version = int(since) if since.isdigit() and since != "0" else self.cluster.revision
            if since in ("", "0"):
                for item in filter(matches, self.cluster.list(resource.plural)):
                    await response.write(_event_line("ADDED", _with_kind(resource, item)))
            end = loop.time() + duration
            while not self._closing.is_set():
                changed.clear()
                changes = self.cluster.since(last_version)
                if changes is None:
                    message = f"too old resource version: {last_version} ({self.cluster.compacted})"
                    await response.write(_event_line("ERROR", refusals.expired(message).status()))
                    break
                for change in changes:
                    last_version = change.version
                    if change.resource == resource.plural and (line := _watch_event(resource, change, matches)):
                        await response.write(line)
                remaining = end - loop.time()
                if remaining <= 0:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wait_for_change(changed), remaining)
            if call.query.get("allowWatchBookmarks") in ("true", "1"):
                bookmark = {"metadata": {"resourceVersion": str(last_version), "creationTimestamp": None}}
                await response.write(_event_line("BOOKMARK", _with_kind(resource, bookmark)))
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client has closed the watch
        finally:
            unsubscribe()
        return response

    async def _wait_for_change(self, changed: asyncio.Event) -> None:
        """Wait for a change, or for the server to close."""
        waiters = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._closing.wait())]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()

    async def _log(self, call: ApiCall) -> web.StreamResponse:
        resource = BY_PATH["", "v1", "pods"]
        pod = self._find_object(call, resource)
        query = call.query
        await self.control.kubelets.wait_for_connection(pod)
        log = self.control.kubelets.log(pod, query.get("container", ""))
        if log is None:
            return web.Response(status=204)
        if query.get("previous") in ("true", "1"):
            name = query.get("container") or pod["spec"]["containers"][0]["name"]
            message = f'previous terminated container "{name}" in pod "{call.name}" not found'
            raise refusals.bad_request(message)
        tail = call.number("tailLines")
        timestamps = query.get("timestamps") in ("true", "1")
        if query.get("follow") in ("true", "1"):
            return await self._follow(call, log.follow(tail=tail, timestamps=timestamps))
        limit, since = call.number("limitBytes"), call.number("sinceSeconds")
        text = log.text(tail=tail, limit=limit, since=since, timestamps=timestamps)
        return web.Response(body=text, headers={"Content-Type": "text/plain"})

    async def _follow(self, call: ApiCall, lines: AsyncIterator[bytes]) -> web.StreamResponse:
        response = await _stream(call.request, "text/plain")
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(lines, None))
                await asyncio.wait((following, closing), return_when=asyncio.FIRST_COMPLETED)
                line = following.result() if following.done() else None
                if line is None:
                    following.cancel()
                    break
                await response.write(line)
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client has closed the stream
        finally:
            closing.cancel()
        return response

    # ---- writing

    def _create(self, call: ApiCall, resource: Resource) -> web.Response:
        item = self._parse_created(call, resource)
        quantities(resource, item)
        fill_in(resource.plural, item)
        admission = Admission(self.cluster, resource, item, call.warnings)
        admission.admit()
        metadata = item["metadata"]
        namespace = metadata.get("namespace", "")
        if self.cluster.get(resource.plural, namespace, metadata["name"]) is not None:
            raise refusals.already_exists(resource, metadata["name"])
        if call.dry_run:
            return _json(_with_kind(resource, item), 201, call.warnings)
        stored = self.cluster.add({"kind": resource.kind, **item})
        if resource is NAMESPACES:
            for kind, name in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
                self.cluster.add({"kind": kind, "metadata": {"name": name, "namespace": metadata["name"]}})
        return _json(_with_kind(resource, stored), 201, call.warnings)

    def _parse_created(self, call: ApiCall, resource: Resource) -> Raw:
        """The object of a create request, with the metadata that the server adds."""
        document = call.json()
        if document.get("kind", resource.kind) != resource.kind or not document:
            kind = document.get("kind", "")
            message = f'{kind} in version "{document.get("apiVersion", "")}" cannot be handled as a {resource.kind}: '
            message += f'no kind "{kind}" is registered for version "{resource.group_version}"'
            raise refusals.bad_request(message)
        given_metadata = document.get("metadata") or {}
        metadata: Raw = {"name": given_metadata["name"]} if given_metadata.get("name") else {}
        if given_metadata.get("generateName"):
            metadata["generateName"] = given_metadata["generateName"]
        if resource.namespaced:
            if given_metadata.get("namespace", call.namespace) != call.namespace:
                message = "the namespace of the provided object does not match the namespace sent on the request"
                raise refusals.bad_request(message)
            metadata["namespace"] = call.namespace
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamps.now()}
        metadata |= {key: given_metadata[key] for key in _KEPT_METADATA if given_metadata.get(key)}
        rest = {key: value for key, value in document.items() if key not in ("kind", "apiVersion", "metadata")}
        return {"metadata": metadata, **without_empty(rest)}

    def _update(self, call: ApiCall, resource: Resource) -> web.Response:
        item = self._find_object(call, resource)
        document = call.json() if call.request.content_type != "application/json-patch+json" else {}
        if call.verb == "patch":
            updated = patched(item, call.body, call.request.content_type)
        else:
            updated = {key: value for key, value in document.items() if key not in ("kind", "apiVersion")}
        version = (updated.get("metadata") or {}).get("resourceVersion")
        if version not in (None, "", item["metadata"]["resourceVersion"]):
            reason = "the object has been modified; please apply your changes to the latest version and try again"
            raise refusals.conflict(resource, call.name, reason)
        immutable = ("name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generateName")
        updated["metadata"] = {
            **(updated.get("metadata") or {}),
            **{key: item["metadata"][key] for key in immutable if key in item["metadata"]},
        }
        if resource.plural not in ("pods", "jobs"):
            validate(resource, updated)
        if call.dry_run:
            return _json(_with_kind(resource, updated), 200, call.warnings)
        if updated != item:
            item.clear()  # in place: others hold references to the object
            item.update(updated)
            self.cluster.touch(resource.plural, item)
        return _json(_with_kind(resource, item), 200, call.warnings)

    def _delete(self, call: ApiCall, resource: Resource) -> web.Response:
        item = self._find_object(call, resource)
        propagation, grace = self._deletion_options(call, resource, item)
        if call.dry_run:
            return _json(_with_kind(resource, item), 200, call.warnings)
        deleted = self.control.delete(resource.plural, item, propagation=propagation, grace=grace)
        if resource is NAMESPACES:
            item["status"] = {"phase": "Terminating"}
            return _json(_with_kind(resource, item), 200, call.warnings)
        if not deleted or resource.plural in _RETURNED_WHEN_DELETED:
            return _json(_with_kind(resource, item), 200, call.warnings)
        details = {"name": call.name} | ({"group": resource.group} if resource.group else {})
        details |= {"kind": resource.plural, "uid": item["metadata"]["uid"]}
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return _json(status, 200, call.warnings)

    def _delete_many(self, call: ApiCall, resource: Resource) -> web.Response:
        matches = self._matcher(call, resource)
        chosen = [item for item in self.cluster.list(resource.plural, call.namespace or None) if matches(item)]
        for item in chosen:
            propagation, grace = self._deletion_options(call, resource, item)
            if not call.dry_run:
                self.control.delete(resource.plural, item, propagation=propagation, grace=grace)
        metadata = {"resourceVersion": str(self.cluster.revision)}
        kind = {"kind": f"{resource.kind}List", "apiVersion": resource.group_version}
        return _json({**kind, "metadata": metadata, "items": chosen}, 200, call.warnings)

    def _deletion_options(self, call: ApiCall, resource: Resource, item: Raw) -> tuple[Propagation | None, int | None]:
        options = call.json()
        precondition = (options.get("preconditions") or {}).get("uid")
        if precondition not in (None, item["metadata"]["uid"]):
            actual = item["metadata"]["uid"]
            reason = f"Precondition failed: UID in precondition: {precondition}, UID in object meta: {actual}"
            raise refusals.conflict(resource, item["metadata"]["name"], reason)
        propagation = options.get("propagationPolicy") or call.query.get("propagationPolicy")
        if propagation is None and "orphanDependents" in {**call.query, **options}:
            orphan = str(options.get("orphanDependents", call.query.get("orphanDependents"))).lower() == "true"
            propagation = "Orphan" if orphan else "Background"
        if propagation is None and resource.plural == "jobs" and _ORPHANS not in call.warnings:
            call.warnings.append(_ORPHANS)
        if propagation not in (None, "Background", "Foreground", "Orphan"):
            message = (
                f'Unsupported value: "{propagation}": supported values: "Foreground", "Background", "Orphan", "nil"'
            )
            cause = refusals.Cause("propagationPolicy", message, "FieldValueNotSupported")
            raise refusals.invalid(Resource("deleteoptions", "DeleteOptions", "meta.k8s.io"), "", [cause])
        return propagation, options.get("gracePeriodSeconds", call.number("gracePeriodSeconds"))

    async def _proxy(self, call: ApiCall) -> web.StreamResponse:
        """``GET …/pods/SCHEME:NAME:PORT/proxy/metrics``: the pod's own answer, or why it was not reached."""
        name_parts = call.name.split(":")
        name, port = name_parts[-2 if len(name_parts) > 1 else 0], name_parts[-1] if len(name_parts) > 1 else "80"
        call.name = name
        pod = self._find_object(call, BY_PATH["", "v1", "pods"])
        text = exporters.page(self.world.metrics, pod, int(port) if port.isdigit() else 0)
        if text is None:
            address = f"{pod['status'].get('podIP', '')}:{port}"
            message = f"error trying to reach service: dial tcp {address}: connect: connection refused"
            raise Refusal(503, "ServiceUnavailable", message)
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _stream(self, call: ApiCall) -> web.StreamResponse:
        pod = self._find_object(call, BY_PATH["", "v1", "pods"])
        serve = streaming.execute if call.subresource == "exec" else streaming.attach
        return await serve(call.request, self.control.kubelets, pod)

    async def _token(self, call: ApiCall) -> web.StreamResponse:
        self._find_object(call, SERVICE_ACCOUNTS)
        spec = call.json().get("spec") or {}
        seconds = int(spec.get("expirationSeconds") or 3600)
        head, claims, signature = secrets.token_urlsafe(24), secrets.token_urlsafe(120), secrets.token_urlsafe(64)
        token = f"eyJ{head}.eyJ{claims}.{signature}"
        self.cluster.tokens[token] = service_account_user(call.namespace, call.name)
        metadata = {"name": call.name, "namespace": call.namespace, "creationTimestamp": timestamps.now()}
        body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": metadata}
        body["spec"] = {"audiences": ["https://kubernetes.default.svc.cluster.local"], "expirationSeconds": seconds}
        body["status"] = {"token": token, "expirationTimestamp": timestamps.later(seconds)}
        return _json(body, 201, [])

    def _no_subresource(self, call: ApiCall, resource: Resource) -> web.Response:
        self._find_object(call, resource)
        if call.subresource in ("exec", "attach", "portforward") and call.plural == "pods":
            message = "Upgrade request required"
            raise refusals.bad_request(message)
        return _text(_NOT_FOUND, 404)

    # ---- what is not stored

    def _metrics(self, call: ApiCall, resource: Resource) -> web.Response:
        if self.cluster.metrics == "absent":
            return _text(_NOT_FOUND, 404)
        if self.cluster.metrics == "unavailable":
            return _text("service unavailable\n", 503)
        items = (
            usage.of_nodes(self.cluster) if resource.plural == "nodes" else usage.of_pods(self.cluster, call.namespace)
        )
        if not call.name:
            matches = self._matcher(call, resource)
            kind = {"kind": f"{resource.kind}List", "apiVersion": resource.group_version}
            return _json({**kind, "metadata": {}, "items": [item for item in items if matches(item)]}, 200, [])
        item = next((item for item in items if item["metadata"]["name"] == call.name), None)
        if item is None:
            raise refusals.not_found(resource, call.name)
        return _json(_with_kind(resource, item), 200, [])

    def _serve_path(self, request: web.Request, user: User, parts: list[str]) -> web.Response:
        """Paths that are no resource: versions, health, discovery."""
        verb = request.method.lower()
        path = "/" + "/".join(parts)
        if allows(self.cluster, user, Attempt(verb=verb, path=path)) is None:
            raise refusals.denied_path(user.name, verb, path)
        if parts == ["version"]:
            return _json(self.cluster.version, 200, [])
        if parts and parts[0] in _PROBES:
            return self._health(request, parts)
        document = discovery.document(self.cluster, parts)
        return _json(document, 200, []) if document is not None else _text(_NOT_FOUND, 404)

    def _health(self, request: web.Request, parts: list[str]) -> web.Response:
        probe = parts[0]
        checks = [name for name in discovery.CHECKS if len(parts) == 1 or name == "/".join(parts[1:])]
        if not checks:
            return _text(_NOT_FOUND, 404)
        failing = [name for name in checks if name in self.cluster.failing_checks]
        lines = [f"[-]{name} failed: reason withheld\n" if name in failing else f"[+]{name} ok\n" for name in checks]
        if failing:
            return _text("".join(lines) + f"{probe} check failed\n", 500)
        return _text("".join(lines) + f"{probe} check passed\n" if "verbose" in request.query else "ok", 200)


_STALE_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


def _parse_path(request: web.Request, user: User, parts: list[str]) -> ApiCall | None:
    """Parse a path of the API; None if it is no resource's."""
    if parts[:2] == ["api", "v1"] and len(parts) > 2:  # noqa: PLR2004 - the prefix
        group, version, rest = "", "v1", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:  # noqa: PLR2004 - the prefix
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):  # noqa: PLR2004 - as above
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = rest[0], rest[1] if len(rest) > 1 else "", "/".join(rest[2:])
    if plural == "namespaces":
        namespace = name
    watching = request.query.get("watch") in ("true", "1") and not name
    verb = {
        "GET": "watch" if watching else "get" if name else "list",
        "POST": "create",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete" if name else "deletecollection",
    }.get(request.method, "")
    if not verb:
        raise refusals.method_not_allowed()
    return ApiCall(
        request=request,
        user=user,
        verb=verb,
        group=group,
        version=version,
        plural=plural,
        namespace=namespace,
        name=name,
        subresource=subresource,
    )


def _with_kind(resource: Resource, item: Raw) -> Raw:
    """An object with its kind, as in an answer of its own."""
    return {"kind": resource.kind, "apiVersion": resource.group_version, **item}


def _watch_event(resource: Resource, change: Change, matches: Callable[[Raw], bool]) -> bytes:
    """A change as an event of a watch with a selector; empty if the selector matches neither state."""
    matches_now = change.type != "DELETED" and matches(change.item)
    matched_before = (
        matches(change.before) if change.before is not None else change.type != "ADDED" and matches(change.item)
    )
    if change.type == "ADDED":
        matched_before = False
    if not matches_now and not matched_before:
        return b""
    kind = "MODIFIED" if matches_now and matched_before else "ADDED" if matches_now else "DELETED"
    return _event_line(kind, _with_kind(resource, change.item))


def _event_line(kind: str, item: Raw) -> bytes:
    return json.dumps({"type": kind, "object": item}, separators=(",", ":")).encode() + b"\n"


def _list_key(item: Raw) -> str:
    return f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def _token(version: int, start: str) -> str:
    coded = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start + "\0"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(coded.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        document = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(document["rv"]), str(document["start"]).removesuffix("\0")
    except (ValueError, KeyError, TypeError) as error:
        message = "continue key is not valid: encoded continue token is invalid"
        raise refusals.bad_request(message) from error


def _json(body: Raw, status: int, warnings: list[str]) -> web.Response:
    response = web.Response(
        body=json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n",
        status=status,
        headers={"Content-Type": "application/json"},
    )
    for warning in warnings:
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response


def _text(text: str, status: int) -> web.Response:
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=text.encode(), status=status, headers=headers)


async def _stream(request: web.Request, content_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Headers as of the API server: no product, and an audit id in every answer."""
    response.headers.popall("Server", None)
    response.headers["Audit-Id"] = str(uuid.uuid4())
    response.headers.update(_HEADERS)
    if response.status == 204:  # noqa: PLR2004 - No Content
        response.headers.popall("Content-Type", None)

"""The Kubernetes API over HTTP: who asks, what for, whether they may, and then the answer in the API's own form."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
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
class Asked:
    """One request for a resource, taken apart as the API server does it."""

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
        """Whether nothing is to be kept."""
        return bool(self.query.get("dryRun"))

    def number(self, parameter: str) -> int | None:
        """A parameter of the query that is a whole number; None if it is not given."""
        text = self.query.get(parameter, "")
        if not text:
            return None
        if not text.lstrip("-").isdigit():
            said = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise refusals.bad_request(said)
        return int(text)

    def json(self) -> Raw:
        """The body as an object; empty if there is none."""
        if not self.body.strip():
            return {}
        try:
            found = json.loads(self.body)
        except ValueError as wrong:
            said = f"couldn't get version/kind; json parse error: {wrong}"
            raise refusals.bad_request(said) from wrong
        if not isinstance(found, dict):
            said = "couldn't get version/kind; json parse error: not an object"
            raise refusals.bad_request(said)
        return found


class ApiServer:
    """The handler of all requests; `application` is to be served with TLS at the API server's address."""

    def __init__(self, world: World, control: ControlPlane) -> None:
        self.world, self.control = world, control
        self.cluster: ClusterState = world.cluster
        self._closing = asyncio.Event()
        self._subresources: dict[tuple[str, str, str], Callable[[Asked], Awaitable[web.StreamResponse]]] = {
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
        app.on_response_prepare.append(_as_the_real_one)
        return app

    def close(self) -> None:
        """End the watches and log streams."""
        self._closing.set()

    # ---- every request

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        user, refused = ANONYMOUS, None
        try:
            user = authenticate(self.cluster, request.headers.get("Authorization", ""))
        except Refusal as refusal:
            refused = refusal
        text = body.decode(errors="replace")
        self.world.record("kubernetes", request.method, request.path_qs, user="" if refused else user.name, body=text)
        await self.world.pause()
        warnings: list[str] = []
        try:
            if refused is not None:
                raise refused
            return await self._route(request, user, body, warnings)
        except Refusal as refusal:
            await asyncio.sleep(refusal.waited)
            return _json(refusal.status(), refusal.code, warnings)

    async def _route(self, request: web.Request, user: User, body: bytes, warnings: list[str]) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        asked = _take_apart(request, user, parts)
        if asked is None:
            return self._path(request, user, parts)
        asked.body, asked.warnings = body, warnings
        self._authorize(asked)
        key = (asked.group, asked.version, asked.plural)
        if key in METRICS:
            return self._metrics(asked, METRICS[key])
        if key in REVIEWS:
            return self._review(asked, REVIEWS[key])
        resource = BY_PATH.get(key)
        if resource is None or (asked.namespace and not resource.namespaced and asked.namespace != asked.name):
            return _text(_NOT_FOUND, 404)
        if not asked.subresource or asked.subresource == "status":
            return await self._resource(asked, resource)
        handler = self._subresources.get((asked.plural, asked.subresource, asked.verb))
        return await handler(asked) if handler is not None else self._no_subresource(asked, resource)

    def _review(self, asked: Asked, resource: Resource) -> web.Response:
        if asked.verb != "create":
            raise refusals.method_not_allowed()
        return _json(reviews.review(self.cluster, asked.user, resource, asked.json()), 201, [])

    def _authorize(self, asked: Asked) -> None:
        attempt = Attempt(
            verb=asked.verb,
            group=asked.group,
            resource=asked.plural,
            subresource=asked.subresource.partition("/")[0],
            namespace=asked.namespace,
            name=asked.name,
        )
        if allows(self.cluster, asked.user, attempt) is None:
            known = BY_PATH.get((asked.group, asked.version, asked.plural))
            resource = known or Resource(asked.plural, asked.plural, asked.group, asked.version)
            raise refusals.denied(
                asked.user.name,
                asked.verb,
                resource,
                namespace=asked.namespace,
                name=asked.name,
                subresource=asked.subresource,
            )

    async def _resource(self, asked: Asked, resource: Resource) -> web.StreamResponse:
        if asked.verb == "watch":
            return await self._watch(asked, resource)
        answers: dict[str, Callable[[Asked, Resource], web.Response]] = {
            "list": self._list,
            "get": lambda asked, resource: _json(_shown(resource, self._found(asked, resource)), 200, []),
            "create": self._create,
            "update": self._change,
            "patch": self._change,
            "delete": self._delete,
            "deletecollection": self._delete_many,
        }
        return answers[asked.verb](asked, resource)

    def _found(self, asked: Asked, resource: Resource) -> Raw:
        item = self.cluster.get(resource.plural, asked.namespace if resource.namespaced else "", asked.name)
        if item is None:
            raise refusals.not_found(resource, asked.name)
        return item

    # ---- reading

    def _matcher(self, asked: Asked, resource: Resource) -> Callable[[Raw], bool]:
        labels, fields = asked.query.get("labelSelector", ""), asked.query.get("fieldSelector", "")
        by_label = label_matcher(labels) if labels else None
        by_field = field_matcher(resource, fields, label_selector=labels) if fields else None
        namespace = asked.namespace if resource.namespaced else ""
        name = asked.name if asked.verb == "watch" else ""

        def matches(item: Raw) -> bool:
            metadata = item["metadata"]
            return (
                (not namespace or metadata["namespace"] == namespace)
                and (not name or metadata["name"] == name)
                and (by_label is None or by_label(item))
                and (by_field is None or by_field(item))
            )

        return matches

    def _list(self, asked: Asked, resource: Resource) -> web.Response:
        matches = self._matcher(asked, resource)
        items = self.cluster.list(resource.plural, asked.namespace or None if resource.namespaced else None)
        limit = asked.number("limit") or 0
        metadata: Raw = {"resourceVersion": str(self.cluster.revision)}
        token = asked.query.get("continue", "")
        if token:
            version, start = _read_token(token)
            if version < self.cluster.compacted:
                raise refusals.expired(_STALE_TOKEN, continue_token=_token(self.cluster.revision, start))
            metadata["resourceVersion"] = str(version)
            items = [item for item in items if _path_of(item) > start]
        chosen = [item for item in items if matches(item)]
        if limit and len(chosen) > limit:
            rest = len(chosen) - limit
            chosen = chosen[:limit]
            metadata["continue"] = _token(int(metadata["resourceVersion"]), _path_of(chosen[-1]))
            if not asked.query.get("labelSelector") and not asked.query.get("fieldSelector"):
                metadata["remainingItemCount"] = rest
        kind = {"kind": f"{resource.kind}List", "apiVersion": resource.group_version}
        return _json({**kind, "metadata": metadata, "items": chosen}, 200, [])

    async def _watch(self, asked: Asked, resource: Resource) -> web.StreamResponse:
        matches = self._matcher(asked, resource)
        since = asked.query.get("resourceVersion", "")
        lasts = asked.number("timeoutSeconds") or _WATCHES
        response = await _stream(asked.request, "application/json")
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        unsubscribe = self.cluster.subscribe(lambda _change: loop.call_soon_threadsafe(woken.set))
        try:
            seen = int(since) if since.isdigit() and since != "0" else self.cluster.revision
            if since in ("", "0"):
                for item in filter(matches, self.cluster.list(resource.plural)):
                    await response.write(_line("ADDED", _shown(resource, item)))
            ends = loop.time() + lasts
            while not self._closing.is_set():
                woken.clear()
                changes = self.cluster.since(seen)
                if changes is None:
                    oldest = f"too old resource version: {seen} ({self.cluster.compacted})"
                    await response.write(_line("ERROR", refusals.expired(oldest).status()))
                    break
                for change in changes:
                    seen = change.version
                    if change.resource == resource.plural and (line := _told(resource, change, matches)):
                        await response.write(line)
                left = ends - loop.time()
                if left <= 0:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken(woken), left)
            if asked.query.get("allowWatchBookmarks") in ("true", "1"):
                mark = {"metadata": {"resourceVersion": str(seen), "creationTimestamp": None}}
                await response.write(_line("BOOKMARK", _shown(resource, mark)))
            await response.write_eof()
        except ConnectionResetError:
            pass  # the watcher has gone
        finally:
            unsubscribe()
        return response

    async def _woken(self, woken: asyncio.Event) -> None:
        """Wait for a change, or for the end of the server."""
        waits = [asyncio.ensure_future(woken.wait()), asyncio.ensure_future(self._closing.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _log(self, asked: Asked) -> web.StreamResponse:
        resource = BY_PATH["", "v1", "pods"]
        pod = self._found(asked, resource)
        query = asked.query
        await self.control.kubelets.dialed(pod)
        log = self.control.kubelets.log(pod, query.get("container", ""))
        if log is None:
            return web.Response(status=204)
        if query.get("previous") in ("true", "1"):
            name = query.get("container") or pod["spec"]["containers"][0]["name"]
            said = f'previous terminated container "{name}" in pod "{asked.name}" not found'
            raise refusals.bad_request(said)
        tail = asked.number("tailLines")
        timestamps = query.get("timestamps") in ("true", "1")
        if query.get("follow") in ("true", "1"):
            return await self._follow(asked, log.follow(tail=tail, timestamps=timestamps))
        limit, since = asked.number("limitBytes"), asked.number("sinceSeconds")
        text = log.text(tail=tail, limit=limit, since=since, timestamps=timestamps)
        return web.Response(body=text, headers={"Content-Type": "text/plain"})

    async def _follow(self, asked: Asked, lines: AsyncIterator[bytes]) -> web.StreamResponse:
        response = await _stream(asked.request, "text/plain")
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
            pass  # the reader has gone
        finally:
            closing.cancel()
        return response

    # ---- writing

    def _create(self, asked: Asked, resource: Resource) -> web.Response:
        item = self._sent(asked, resource)
        quantities(resource, item)
        fill_in(resource.plural, item)
        admission = Admission(self.cluster, resource, item, asked.warnings)
        admission.admit()
        metadata = item["metadata"]
        namespace = metadata.get("namespace", "")
        if self.cluster.get(resource.plural, namespace, metadata["name"]) is not None:
            raise refusals.already_exists(resource, metadata["name"])
        if asked.dry_run:
            return _json(_shown(resource, item), 201, asked.warnings)
        stored = self.cluster.add({"kind": resource.kind, **item})
        if resource is NAMESPACES:
            for kind, name in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
                self.cluster.add({"kind": kind, "metadata": {"name": name, "namespace": metadata["name"]}})
        return _json(_shown(resource, stored), 201, asked.warnings)

    def _sent(self, asked: Asked, resource: Resource) -> Raw:
        """The object of a create request, with the metadata that the server gives it."""
        sent = asked.json()
        if sent.get("kind", resource.kind) != resource.kind or not sent:
            kind = sent.get("kind", "")
            said = f'{kind} in version "{sent.get("apiVersion", "")}" cannot be handled as a {resource.kind}: '
            said += f'no kind "{kind}" is registered for version "{resource.group_version}"'
            raise refusals.bad_request(said)
        given = sent.get("metadata") or {}
        metadata: Raw = {"name": given["name"]} if given.get("name") else {}
        if given.get("generateName"):
            metadata["generateName"] = given["generateName"]
        if resource.namespaced:
            if given.get("namespace", asked.namespace) != asked.namespace:
                said = "the namespace of the provided object does not match the namespace sent on the request"
                raise refusals.bad_request(said)
            metadata["namespace"] = asked.namespace
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamps.now()}
        metadata |= {key: given[key] for key in _KEPT_METADATA if given.get(key)}
        rest = {key: value for key, value in sent.items() if key not in ("kind", "apiVersion", "metadata")}
        return {"metadata": metadata, **without_empty(rest)}

    def _change(self, asked: Asked, resource: Resource) -> web.Response:
        item = self._found(asked, resource)
        sent = asked.json() if asked.request.content_type != "application/json-patch+json" else {}
        if asked.verb == "patch":
            changed = patched(item, asked.body, asked.request.content_type)
        else:
            changed = {key: value for key, value in sent.items() if key not in ("kind", "apiVersion")}
        version = (changed.get("metadata") or {}).get("resourceVersion")
        if version not in (None, "", item["metadata"]["resourceVersion"]):
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise refusals.conflict(resource, asked.name, why)
        fixed = ("name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generateName")
        changed["metadata"] = {
            **(changed.get("metadata") or {}),
            **{key: item["metadata"][key] for key in fixed if key in item["metadata"]},
        }
        if resource.plural not in ("pods", "jobs"):
            validate(resource, changed)
        if asked.dry_run:
            return _json(_shown(resource, changed), 200, asked.warnings)
        if changed != item:
            item.clear()  # the object stays the same one for whoever holds it
            item.update(changed)
            self.cluster.touch(resource.plural, item)
        return _json(_shown(resource, item), 200, asked.warnings)

    def _delete(self, asked: Asked, resource: Resource) -> web.Response:
        item = self._found(asked, resource)
        propagation, grace = self._how_to_delete(asked, resource, item)
        if asked.dry_run:
            return _json(_shown(resource, item), 200, asked.warnings)
        gone = self.control.delete(resource.plural, item, propagation=propagation, grace=grace)
        if resource is NAMESPACES:
            item["status"] = {"phase": "Terminating"}
            return _json(_shown(resource, item), 200, asked.warnings)
        if not gone or resource.plural in _RETURNED_WHEN_DELETED:
            return _json(_shown(resource, item), 200, asked.warnings)
        details = {"name": asked.name} | ({"group": resource.group} if resource.group else {})
        details |= {"kind": resource.plural, "uid": item["metadata"]["uid"]}
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return _json(status, 200, asked.warnings)

    def _delete_many(self, asked: Asked, resource: Resource) -> web.Response:
        matches = self._matcher(asked, resource)
        chosen = [item for item in self.cluster.list(resource.plural, asked.namespace or None) if matches(item)]
        for item in chosen:
            propagation, grace = self._how_to_delete(asked, resource, item)
            if not asked.dry_run:
                self.control.delete(resource.plural, item, propagation=propagation, grace=grace)
        metadata = {"resourceVersion": str(self.cluster.revision)}
        kind = {"kind": f"{resource.kind}List", "apiVersion": resource.group_version}
        return _json({**kind, "metadata": metadata, "items": chosen}, 200, asked.warnings)

    def _how_to_delete(self, asked: Asked, resource: Resource, item: Raw) -> tuple[Propagation | None, int | None]:
        options = asked.json()
        precondition = (options.get("preconditions") or {}).get("uid")
        if precondition not in (None, item["metadata"]["uid"]):
            real = item["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {precondition}, UID in object meta: {real}"
            raise refusals.conflict(resource, item["metadata"]["name"], why)
        propagation = options.get("propagationPolicy") or asked.query.get("propagationPolicy")
        if propagation is None and "orphanDependents" in {**asked.query, **options}:
            orphan = str(options.get("orphanDependents", asked.query.get("orphanDependents"))).lower() == "true"
            propagation = "Orphan" if orphan else "Background"
        if propagation is None and resource.plural == "jobs" and _ORPHANS not in asked.warnings:
            asked.warnings.append(_ORPHANS)
        if propagation not in (None, "Background", "Foreground", "Orphan"):
            said = f'Unsupported value: "{propagation}": supported values: "Foreground", "Background", "Orphan", "nil"'
            cause = refusals.Cause("propagationPolicy", said, "FieldValueNotSupported")
            raise refusals.invalid(Resource("deleteoptions", "DeleteOptions", "meta.k8s.io"), "", [cause])
        return propagation, options.get("gracePeriodSeconds", asked.number("gracePeriodSeconds"))

    async def _proxy(self, asked: Asked) -> web.StreamResponse:
        """``GET …/pods/SCHEME:NAME:PORT/proxy/metrics``: what the pod itself answers, or why it was not reached."""
        words = asked.name.split(":")
        name, port = words[-2 if len(words) > 1 else 0], words[-1] if len(words) > 1 else "80"
        asked.name = name
        pod = self._found(asked, BY_PATH["", "v1", "pods"])
        text = exporters.page(self.world.metrics, pod, int(port) if port.isdigit() else 0)
        if text is None:
            address = f"{pod['status'].get('podIP', '')}:{port}"
            said = f"error trying to reach service: dial tcp {address}: connect: connection refused"
            raise Refusal(503, "ServiceUnavailable", said)
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _stream(self, asked: Asked) -> web.StreamResponse:
        pod = self._found(asked, BY_PATH["", "v1", "pods"])
        serve = streaming.execute if asked.subresource == "exec" else streaming.attach
        return await serve(asked.request, self.control.kubelets, pod)

    async def _token(self, asked: Asked) -> web.StreamResponse:
        self._found(asked, SERVICE_ACCOUNTS)
        asked_for = asked.json().get("spec") or {}
        seconds = int(asked_for.get("expirationSeconds") or 3600)
        head, claims, signature = secrets.token_urlsafe(24), secrets.token_urlsafe(120), secrets.token_urlsafe(64)
        token = f"eyJ{head}.eyJ{claims}.{signature}"
        self.cluster.tokens[token] = service_account_user(asked.namespace, asked.name)
        metadata = {"name": asked.name, "namespace": asked.namespace, "creationTimestamp": timestamps.now()}
        body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": metadata}
        body["spec"] = {"audiences": ["https://kubernetes.default.svc.cluster.local"], "expirationSeconds": seconds}
        body["status"] = {"token": token, "expirationTimestamp": timestamps.later(seconds)}
        return _json(body, 201, [])

    def _no_subresource(self, asked: Asked, resource: Resource) -> web.Response:
        self._found(asked, resource)
        if asked.subresource in ("exec", "attach", "portforward") and asked.plural == "pods":
            said = "Upgrade request required"
            raise refusals.bad_request(said)
        return _text(_NOT_FOUND, 404)

    # ---- what is no stored resource

    def _metrics(self, asked: Asked, resource: Resource) -> web.Response:
        if self.cluster.metrics == "absent":
            return _text(_NOT_FOUND, 404)
        if self.cluster.metrics == "unavailable":
            return _text("service unavailable\n", 503)
        items = (
            usage.of_nodes(self.cluster) if resource.plural == "nodes" else usage.of_pods(self.cluster, asked.namespace)
        )
        if not asked.name:
            matches = self._matcher(asked, resource)
            kind = {"kind": f"{resource.kind}List", "apiVersion": resource.group_version}
            return _json({**kind, "metadata": {}, "items": [item for item in items if matches(item)]}, 200, [])
        found = next((item for item in items if item["metadata"]["name"] == asked.name), None)
        if found is None:
            raise refusals.not_found(resource, asked.name)
        return _json(_shown(resource, found), 200, [])

    def _path(self, request: web.Request, user: User, parts: list[str]) -> web.Response:
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


def _take_apart(request: web.Request, user: User, parts: list[str]) -> Asked | None:
    """What a path of the API means; None if it is no resource's."""
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
    return Asked(
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


def _shown(resource: Resource, item: Raw) -> Raw:
    """An object as it is answered alone, with its kind."""
    return {"kind": resource.kind, "apiVersion": resource.group_version, **item}


def _told(resource: Resource, change: Change, matches: Callable[[Raw], bool]) -> bytes:
    """A change as a watch with a selector tells it; empty if it does not concern it."""
    now = change.type != "DELETED" and matches(change.item)
    before = matches(change.before) if change.before is not None else change.type != "ADDED" and matches(change.item)
    if change.type == "ADDED":
        before = False
    if not now and not before:
        return b""
    kind = "MODIFIED" if now and before else "ADDED" if now else "DELETED"
    return _line(kind, _shown(resource, change.item))


def _line(kind: str, item: Raw) -> bytes:
    return json.dumps({"type": kind, "object": item}, separators=(",", ":")).encode() + b"\n"


def _path_of(item: Raw) -> str:
    return f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def _token(version: int, start: str) -> str:
    coded = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start + "\0"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(coded.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(found["rv"]), str(found["start"]).removesuffix("\0")
    except (ValueError, KeyError, TypeError) as wrong:
        said = "continue key is not valid: encoded continue token is invalid"
        raise refusals.bad_request(said) from wrong


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


async def _as_the_real_one(_request: web.Request, response: web.StreamResponse) -> None:
    """The API server names no product, and gives every answer an audit id."""
    response.headers.popall("Server", None)
    response.headers["Audit-Id"] = str(uuid.uuid4())
    response.headers.update(_HEADERS)
    if response.status == 204:  # noqa: PLR2004 - No Content
        response.headers.popall("Content-Type", None)

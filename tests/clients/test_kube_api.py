"""The API is asked in bounded time, and whatever goes wrong is named."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from urllib3.exceptions import InsecureRequestWarning

from preflight.clients import kube_api
from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api, path_segment
from preflight.clients.kube_errors import ApiError, unmeasured
from preflight.faults import ApiFault, Fault, PathFault
from tests.probes.apiserver import Answer, Asked, Reply, Scripted, kubeconfig, recorded, status

Opened = Callable[..., tuple[Api, Scripted]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """A server that answers as told, and an Api on it; both are closed at the end."""
    running: list[Any] = []

    def open_(answer: Answer, *, deadline: float = 3.0) -> tuple[Api, Scripted]:
        server = Scripted(answer).__enter__()
        api = Api(kubeconfig(tmp_path, server.url), None, routes=Routes(), deadline=deadline)
        running.extend([api, server])
        return api, server

    yield open_
    for each in running:
        each.close() if isinstance(each, Api) else each.__exit__()


def in_turn(*replies: Reply) -> Answer:
    """One after another; the last one again and again."""
    waiting = list(replies)
    return lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]


NODES = "/api/v1/nodes"


# --- answers --------------------------------------------------------------------------------------------------------


def test_an_object_comes_back_as_raw_json_and_the_token_is_sent(opened: Opened) -> None:
    api, server = opened(in_turn(Reply({"gitVersion": "v1.28.15"})))
    assert api.get("/version") == {"gitVersion": "v1.28.15"}
    assert server.asked[0].headers["authorization"] == "Bearer made-up-api-token"


def test_a_list_is_read_page_after_page(opened: Opened) -> None:
    def answer(asked: Asked) -> Reply:
        first = int(asked.query.get("continue") or 0)
        token = str(first + 2) if first < 4 else ""
        names = [{"metadata": {"name": f"n{first + more}", "uid": str(first + more)}} for more in (0, 1)]
        return Reply({"metadata": {"continue": token}, "items": names})

    api, server = opened(answer)
    assert [each["metadata"]["name"] for each in api.items(NODES)] == ["n0", "n1", "n2", "n3", "n4", "n5"]
    assert {each.query["limit"] for each in server.asked} == {"500"}
    assert len(server.asked) == 3


def test_the_next_page_is_made_while_this_one_is_read_unless_only_the_first_item_is_wanted(opened: Opened) -> None:
    asked_for_more = threading.Event()

    def answer(asked: Asked) -> Reply:
        if "continue" in asked.query:
            asked_for_more.set()
            return Reply({"items": [{"metadata": {"name": "c"}}]})
        return Reply({"metadata": {"continue": "more"}, "items": [{"metadata": {"name": name}} for name in "ab"]})

    api, server = opened(answer)
    assert next(api.items(NODES))["metadata"]["name"] == "a"
    assert len(server.asked) == 1
    items = api.items(NODES)
    assert [next(items)["metadata"]["name"] for _ in range(2)] == ["a", "b"]
    assert asked_for_more.wait(10), "the page is not at its end"
    assert [each["metadata"]["name"] for each in items] == ["c"]
    assert len(server.asked) == 3


def test_several_lists_are_requested_at_the_same_time(opened: Opened) -> None:
    together = threading.Barrier(3, timeout=20)

    def answer(asked: Asked) -> Reply:
        together.wait()
        name = asked.path.rpartition("/")[2]
        return (
            Reply(status(403, "Forbidden", "no"), 403)
            if name == "b"
            else Reply({"items": [{"metadata": {"name": name}}]})
        )

    api, _ = opened(answer)
    first, second, third = api.lists([f"/api/v1/{name}" for name in "abc"])
    assert (first, third) == ([{"metadata": {"name": "a"}}], [{"metadata": {"name": "c"}}])
    assert isinstance(second, ApiError)


def test_a_cached_list_is_asked_for_by_its_first_request_alone(opened: Opened) -> None:
    """With a token, a server refuses any version."""
    listed = {"metadata": {"continue": "more"}, "items": []}, {"items": [{"metadata": {"name": "n"}}]}
    api, server = opened(in_turn(*map(Reply, listed)))
    assert [each["metadata"]["name"] for each in api.items(NODES, cached=True)] == ["n"]
    assert [each.query.get("resourceVersion") for each in server.asked] == ["0", None]


@pytest.mark.parametrize(
    "body",
    [
        '{"items":[{"metadata":{"name":"a","uid":"a","labels":null}},{"metadata":{"name":"b"}}],"metadata":{}}',
        '\n{ "kind" : "List", "items" : [\n {"metadata": {"name": "a"}} ,\t{"metadata": {"name": "b"}} ] }\r\n',
        '{"metadata":{"continue":""},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}',
    ],
)
def test_the_items_of_a_page_are_read_one_by_one(opened: Opened, body: str) -> None:
    api, server = opened(in_turn(Reply(body)))
    listed = list(api.items(NODES))
    assert [each["metadata"]["name"] for each in listed] == ["a", "b"]
    assert "labels" not in listed[0]["metadata"], "null is as good as left out"
    assert len(server.asked) == 1


def test_the_nulls_of_every_pod_are_taken_out_and_texts_that_show_them_stay(opened: Opened) -> None:
    shown = '{"creationTimestamp":null,"lastProbeTime":null,"x":null}'
    conditions = '[{"type":"Ready","lastProbeTime":null,"status":"True"},{"type":"x","lastProbeTime":null,"a":1}]'
    item = f"""{{"metadata":{{"name":"a","annotations":{{"k":{json.dumps(shown)}}}}},
        "spec":{{"template":{{"metadata":{{"creationTimestamp":null,"labels":{{}}}}}},"other":{{"creationTimestamp":null}}}},
        "status":{{"conditions":{conditions}}}}}"""
    api, _ = opened(in_turn(Reply(f'{{"items":[{item}]}}')))
    (pod,) = api.items(NODES)
    assert pod == {
        "metadata": {"name": "a", "annotations": {"k": shown}},
        "spec": {"template": {"metadata": {"labels": {}}}, "other": {}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "x", "a": 1}]},
    }


ONE, TWO = ('{"metadata":{"name":"one","uid":"1"}}', '{"metadata":{"name":"two","uid":"2"}}')


@pytest.mark.parametrize(
    "broken",
    [
        f'{{"items":[{ONE},{TWO[:20]}',
        f'{{"items":[{ONE},{TWO}]',
        f'{{"items":[{ONE} {TWO}]}}',
        f'{{"items":[{ONE},{TWO}]}}}}',
        f'{{"items":[{ONE},{"[" * 100_000}]}}',
        f"[{ONE}]",
        "<html>",
        "",
    ],
)
def test_a_page_that_is_cut_is_requested_once_more_and_tells_nothing_twice(opened: Opened, broken: str) -> None:
    whole = f'{{"items":[{ONE},{TWO}]}}'
    api, server = opened(in_turn(Reply(broken), Reply(whole)))
    assert [each["metadata"]["name"] for each in api.items(NODES)] == ["one", "two"]
    api, server = opened(in_turn(Reply(broken)))
    with pytest.raises(ApiError, match="bytes that are not a JSON object") as refused:
        list(api.items(NODES))
    assert (refused.value.fault, len(server.asked)) == (ApiFault.GARBLED, 2)


def test_a_list_whose_token_expired_is_begun_again_and_tells_nothing_twice(opened: Opened) -> None:
    gone = Reply(status(410, "Expired", "The provided continue parameter is too old"), 410)
    one, two = ({"metadata": {"name": name, "uid": name}} for name in ("one", "two"))
    api, _ = opened(
        in_turn(
            Reply({"metadata": {"continue": "old"}, "items": [one]}),
            gone,
            Reply({"metadata": {}, "items": [one, two]}),
        )
    )
    assert [each["metadata"]["name"] for each in api.items(NODES)] == ["one", "two"]


def test_a_list_that_expires_again_and_again_comes_to_an_end(opened: Opened) -> None:
    expired = Reply(status(410, "Expired", "too old"), 410)
    api, server = opened(in_turn(expired))
    with pytest.raises(ApiError, match="too old"):
        list(api.items(NODES))
    assert len(server.asked) == kube_api.RESTARTS + 1


def test_a_dry_run_says_so_and_brings_the_warnings(opened: Opened) -> None:
    headers = recorded("admission_psa_warn")[0]["response_headers"]
    api, server = opened(in_turn(Reply({"kind": "Pod"}, 201, headers)))
    made, warnings = api.create("/api/v1/namespaces/gitlab/pods", {"metadata": {"name": "x"}}, dry_run=True)
    assert made == {"kind": "Pod"}
    assert warnings == (
        (
            'would violate PodSecurity "baseline:latest": privileged '
            '(container "svc-0" must not set securityContext.privileged=true)'
        ),
    )
    assert server.asked[0].query == {"dryRun": "All"}


def test_deleting_asks_for_background_propagation_and_what_is_gone_is_as_good(opened: Opened) -> None:
    api, server = opened(in_turn(Reply(status(404, "NotFound", "jobs.batch not found"), 404)))
    api.delete("/apis/batch/v1/namespaces/gitlab/jobs/x")
    assert server.asked[0].body["propagationPolicy"] == "Background"


def test_a_redirect_is_not_followed_so_that_the_token_goes_nowhere_else(opened: Opened) -> None:
    with Scripted(in_turn(Reply({"ok": 1}))) as elsewhere:
        api, _ = opened(in_turn(Reply("moved", 302, {"Location": f"{elsewhere.url}/version"})))
        with pytest.raises(ApiError, match="not a JSON object"):
            api.get("/version")
        assert elsewhere.asked == []


def test_threads_share_one_api(opened: Opened) -> None:
    api, _ = opened(lambda asked: Reply({"path": asked.path}, delay=0.05))
    said: dict[str, str] = {}

    def ask(path: str) -> None:
        said[path] = api.get(path)["path"]

    threads = [threading.Thread(target=ask, args=(f"/api/v1/nodes/n{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert said == {f"/api/v1/nodes/n{number}": f"/api/v1/nodes/n{number}" for number in range(8)}


# --- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(opened: Opened, code: int) -> None:
    api, server = opened(in_turn(Reply(status(code, "", "busy"), code), Reply({"ok": 1})))
    assert api.get(NODES) == {"ok": 1}
    assert len(server.asked) == 2


def test_retry_after_is_heeded(opened: Opened) -> None:
    busy = Reply(status(429, "TooManyRequests", "slow down"), 429, {"Retry-After": "1"})
    api, _ = opened(in_turn(busy, Reply({"ok": 1})))
    began = time.monotonic()
    api.get(NODES)
    assert time.monotonic() - began >= 1


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply(status(429, "TooManyRequests", "slow down"), 429, {"Retry-After": "60"})))
    began = time.monotonic()
    with pytest.raises(ApiError) as caught:
        api.get(NODES)
    assert caught.value.fault is ApiFault.TOO_MANY_REQUESTS
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(status(401, "Unauthorized", "Unauthorized"), 401), ApiFault.UNAUTHORIZED),
        (Reply(status(404, "NotFound", 'nodes "x" not found'), 404), ApiFault.NOT_FOUND),
        (Reply(status(409, "AlreadyExists", "exists"), 409), ApiFault.CONFLICT),
        (Reply(status(422, "Invalid", "invalid"), 422), ApiFault.INVALID),
        (Reply(status(429, "TooManyRequests", "no"), 429), ApiFault.TOO_MANY_REQUESTS),
        (Reply("service unavailable\n", 503), ApiFault.UNAVAILABLE),
        (Reply("nginx", 502), ApiFault.SERVER_ERROR),
        (Reply("<html>Welcome to nginx!</html>"), ApiFault.GARBLED),
        (Reply({"items": ["x" * 1000]}, cut=100), ApiFault.GARBLED),
        (Reply(drop=True), PathFault.RESET),
        (Reply(["a list"]), ApiFault.GARBLED),
    ],
)
def test_an_answer_that_is_none_is_named_and_the_tries_are_bounded(opened: Opened, reply: Reply, fault: Fault) -> None:
    api, server = opened(in_turn(reply))
    with pytest.raises(ApiError) as caught:
        api.get(NODES)
    assert caught.value.fault is fault
    assert caught.value.command == "kubectl get nodes"
    assert len(server.asked) <= kube_api.TRIES * 2


def test_half_an_answer_is_asked_for_again(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply({"items": ["x" * 1000]}, cut=100), Reply({"ok": 1})))
    assert api.get(NODES) == {"ok": 1}


def test_json_that_ends_too_early_is_asked_for_again(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply('{"items": ['), Reply({"ok": 1})))
    assert api.get(NODES) == {"ok": 1}


def test_a_create_whose_answer_was_lost_finds_its_object(opened: Opened) -> None:
    job = {"metadata": {"name": "mine"}}
    exists = Reply(status(409, "AlreadyExists", 'jobs.batch "mine" already exists'), 409)
    api, server = opened(in_turn(Reply(drop=True), exists, Reply({**job, "status": {}})))
    made, _ = api.create("/apis/batch/v1/namespaces/gitlab/jobs", job)
    assert made == {**job, "status": {}}
    assert server.asked[-1].path.endswith("/jobs/mine")


def test_a_create_that_meets_somebody_elses_object_is_a_conflict(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply(status(409, "AlreadyExists", "exists"), 409)))
    with pytest.raises(ApiError) as caught:
        api.create("/apis/batch/v1/namespaces/gitlab/jobs", {"metadata": {"name": "mine"}})
    assert caught.value.fault is ApiFault.CONFLICT


def test_a_server_that_says_nothing_costs_the_deadline_and_no_more(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply({}, delay=3)), deadline=0.4)
    began = time.monotonic()
    with pytest.raises(ApiError) as caught:
        api.get(NODES)
    assert caught.value.fault is PathFault.SILENT
    assert time.monotonic() - began < 1.5


def test_a_server_that_drips_costs_the_deadline_and_no_more(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply(stream=[(0.1, b" ")] * 60)), deadline=0.5)
    began = time.monotonic()
    with pytest.raises(ApiError) as caught:
        api.get(NODES)
    assert caught.value.fault is PathFault.SILENT
    assert time.monotonic() - began < 2


def test_a_closed_port_is_refused(tmp_path: Path) -> None:
    with Scripted(in_turn(Reply({}))) as server:
        url = server.url
    api = Api(kubeconfig(tmp_path, url), None, routes=Routes(), deadline=2)
    with pytest.raises(ApiError) as caught:
        api.get("/version")
    assert caught.value.fault is PathFault.REFUSED
    assert url.removeprefix("http://") in caught.value.message


def test_an_address_that_is_not_mapped_is_not_contacted(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "https://192.168.1.100:6443")
    api = Api(file, None, routes=Routes({}, only_mapped=True), deadline=2)
    with pytest.raises(ApiError) as caught:
        api.get("/version")
    assert caught.value.fault is PathFault.NOT_MAPPED


@pytest.mark.parametrize(
    "name", ["..", ".", "", "a/b", "a/../../secrets", "A", "a_b", "-a", "a\nb", "a?x=1", "a%2e", "a\ud800", "a" * 254]
)
def test_what_is_no_name_is_not_asked_for(opened: Opened, name: str) -> None:
    api, server = opened(in_turn(Reply({"items": []})))
    for path in (f"/api/v1/namespaces/{path_segment(name)}/pods", f"/api/v1/namespaces/{name}/pods"):
        with pytest.raises(ApiError, match="is no name that Kubernetes accepts") as caught:
            api.get(path)
        assert (caught.value.fault, caught.value.status) == (ApiFault.NOT_FOUND, 404)
        if "/" in name:
            break  # unquoted, these may be names one after another
    assert server.asked == []


# --- rights ---------------------------------------------------------------------------------------------------------


def refusal(asked: str) -> Json:
    return next(
        each["response"]
        for each in recorded("rbac")
        if each["request"] == asked and each["status"] == 403 and "weak" in each["as"]
    )


Json = dict[str, Any]


def test_a_missing_right_comes_with_the_rule_that_gives_it(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply(refusal("GET /api/v1/nodes"), 403)))
    with pytest.raises(ApiError) as caught:
        list(api.items(NODES))
    why = unmeasured(caught.value)
    assert why.fault is ApiFault.FORBIDDEN
    assert why.needs == (
        "# in a ClusterRole, bound to system:serviceaccount:gitlab:weak\n"
        '- apiGroups: [""]\n  resources: ["nodes"]\n  verbs: ["list"]'
    )
    assert why.evidence
    assert why.evidence.command == "kubectl get nodes"


def test_admission_that_refuses_is_no_missing_right(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply(recorded("admission_psa_baseline")[0]["response"], 403)))
    with pytest.raises(ApiError) as caught:
        api.create("/api/v1/namespaces/gitlab/pods", {"metadata": {"name": "dind"}})
    assert caught.value.rule == ""


# --- watching -------------------------------------------------------------------------------------------------------


def test_a_watch_tells_a_pods_life(opened: Opened) -> None:
    lines = next(each["response_lines"] for each in recorded("pod_life") if "response_lines" in each)
    api, server = opened(in_turn(Reply(stream=[(0.01, line) for line in lines])))
    told = list(api.watch("/api/v1/namespaces/gitlab/pods", timeout=1.2, resourceVersion="340"))
    assert [event["type"] for event in told] == ["ADDED", *["MODIFIED"] * 6, "DELETED"]
    assert server.asked[0].query == {"watch": "1", "timeoutSeconds": "2", "resourceVersion": "340"}


def test_a_watch_that_is_cut_tells_what_it_knew(opened: Opened) -> None:
    event = {"type": "ADDED", "object": {"metadata": {"name": "x"}}}
    api, _ = opened(in_turn(Reply(stream=[(0, event), (0, b'{"type": "MODI')], cut=0)))
    assert list(api.watch("/api/v1/pods", timeout=1)) == [event]


def test_a_watch_that_is_cut_before_it_begins_is_an_error_that_can_be_outlived(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply(drop=True)))
    with pytest.raises(ApiError) as caught:
        list(api.watch("/api/v1/pods", timeout=1))
    assert caught.value.fault is PathFault.RESET
    assert caught.value.status is None


def test_a_watch_that_is_too_old_says_so(opened: Opened) -> None:
    gone = {"type": "ERROR", "object": status(410, "Expired", "too old resource version: 1 (2)")}
    api, _ = opened(in_turn(Reply(stream=[(0, gone)])))
    with pytest.raises(ApiError) as caught:
        list(api.watch("/api/v1/pods", timeout=1))
    assert caught.value.status == 410


def test_a_watch_that_hangs_is_left_in_time(opened: Opened) -> None:
    api, _ = opened(in_turn(Reply(stream=[(60, b"")])))
    began = time.monotonic()
    assert list(api.watch("/api/v1/pods", timeout=1)) == []
    assert time.monotonic() - began < 30


# --- TLS and routes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "trusted", "fault"),
    [
        ("192.168.1.100", True, None),
        ("192.168.1.99", True, PathFault.TLS_WRONG_NAME),
        ("192.168.1.100", False, PathFault.TLS_UNTRUSTED),
    ],
)
def test_tls_is_verified_for_the_original_address_whereever_it_is_dialled(
    tmp_path: Path, name: str, trusted: bool, fault: Fault | None
) -> None:
    authority = trustme.CA()
    data = base64.b64encode((authority if trusted else trustme.CA()).cert_pem.bytes()).decode()
    file = kubeconfig(tmp_path, "https://192.168.1.100:6443", **{"certificate-authority-data": data})
    with Scripted(in_turn(Reply({"ok": 1})), authority.issue_cert(name)) as server:
        routes = Routes({"192.168.1.100:6443": f"127.0.0.1:{server.port}"}, only_mapped=True)
        api = Api(file, None, routes=routes, deadline=3)
        if fault is None:
            assert api.get("/version") == {"ok": 1}
            assert server.asked[0].headers["host"] == "192.168.1.100:6443"
        else:
            with pytest.raises(ApiError) as caught:
                api.get("/version")
            assert caught.value.fault is fault
            assert "192.168.1.100:6443" in caught.value.message
        api.close()


@pytest.mark.parametrize("led", [True, False])
def test_a_tunnel_is_followed_and_messages_name_the_server_behind_it(tmp_path: Path, led: bool) -> None:
    authority = trustme.CA()
    more = {"certificate-authority-data": base64.b64encode(authority.cert_pem.bytes()).decode()}
    with Scripted(in_turn(Reply({"ok": 1})), authority.issue_cert("192.168.1.100")) as server:
        near_end = f"127.0.0.1:{server.port}"
        file = kubeconfig(tmp_path, f"https://{near_end}", **more, **{"tls-server-name": "192.168.1.100"})
        other = {"192.168.1.50:80": near_end}
        routes = Routes({**other, "192.168.1.100:6443": near_end}, only_mapped=True) if led else Routes(other)
        api = Api(file, None, routes=routes, deadline=3)
        assert api.get("/version") == {"ok": 1}
        assert api.server == ("https://192.168.1.100:6443" if led else f"https://{near_end}")
        assert api.config.tls_server_name == "192.168.1.100"
        api.close()


def test_a_kubeconfig_that_switches_verification_off_is_followed(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "https://192.168.1.100:6443", **{"insecure-skip-tls-verify": True})
    with Scripted(in_turn(Reply({"ok": 1})), trustme.CA().issue_cert("another.example")) as server:
        api = Api(file, None, routes=Routes({"192.168.1.100:6443": f"127.0.0.1:{server.port}"}), deadline=3)
        with pytest.warns(InsecureRequestWarning):
            assert api.get("/version") == {"ok": 1}
        api.close()


def test_the_environments_proxy_is_not_used(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    api, _ = opened(in_turn(Reply({"ok": 1})))
    assert api.get("/version") == {"ok": 1}


def test_no_token_is_in_any_message(opened: Opened) -> None:
    said = "authorization: Bearer made-up-api-token was refused"
    api, _ = opened(in_turn(Reply(status(400, "BadRequest", said), 400)))
    with pytest.raises(ApiError) as caught:
        api.get("/version")
    assert "made-up-api-token" not in unmeasured(caught.value).reason
    assert "made-up-api-token" not in caught.value.evidence.observed

"""The registries of the lab answer as Docker's own registry does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
from typing import TYPE_CHECKING

import pytest

from lab.lab import Lab

if TYPE_CHECKING:
    from tests.lab.conftest import Visit, Visitor

MIRROR, PRIVATE, REALM = "registry.example.com:443", "private-registry.example.com:443", "auth.example.com:443"
OPS = {"Authorization": "Basic " + base64.b64encode(b"ops:secret-pw").decode()}
ALPINE = "/v2/library/alpine/manifests/latest"


def token(visitor: Visitor, scope: str = "repository:library/alpine:pull") -> dict[str, str]:
    answer = visitor.http(REALM, f"/token?service=registry.example.com&scope={scope}")
    return {"Authorization": "Bearer " + json.loads(answer.body)["token"]}


def test_the_mirror_sends_to_its_token_server(healthy: Lab, visit: Visit) -> None:
    answer = visit(healthy).http(MIRROR, "/v2/")
    assert answer.status == 401
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    expected = 'Bearer realm="https://auth.example.com/token",service="registry.example.com"'
    assert answer.headers["Www-Authenticate"] == expected
    assert json.loads(answer.body)["errors"][0]["code"] == "UNAUTHORIZED"


def test_an_anonymous_token_reads_the_repository_it_names_and_no_other(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    issued = token(visitor)
    answer = visitor.http(MIRROR, ALPINE, headers=issued)
    assert answer.status == 200
    assert answer.headers["Docker-Content-Digest"] == "sha256:" + hashlib.sha256(answer.body.encode()).hexdigest()
    other = visitor.http(MIRROR, "/v2/library/docker/manifests/dind", headers=issued)
    assert (other.status, json.loads(other.body)["errors"][0]["code"]) == (401, "DENIED")
    assert 'error="insufficient_scope"' in other.headers["Www-Authenticate"]


def test_an_index_leads_to_a_manifest_a_configuration_and_a_layer(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    issued = token(visitor)
    index = json.loads(visitor.http(MIRROR, ALPINE, headers=issued).body)
    amd64 = next(item for item in index["manifests"] if item["platform"] == {"architecture": "amd64", "os": "linux"})
    manifest = visitor.http(MIRROR, f"/v2/library/alpine/manifests/{amd64['digest']}", headers=issued)
    assert len(manifest.body) == amd64["size"]
    config = json.loads(manifest.body)["config"]
    blob = visitor.http(MIRROR, f"/v2/library/alpine/blobs/{config['digest']}", headers=issued)
    assert (json.loads(blob.body)["architecture"], len(blob.body)) == ("amd64", config["size"])


def test_head_says_what_get_says_without_the_content(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    issued = token(visitor)
    whole, head = (visitor.http(MIRROR, ALPINE, method=method, headers=issued) for method in ("GET", "HEAD"))
    for name in ("Docker-Content-Digest", "Content-Length", "Content-Type", "Etag"):
        assert head.headers[name] == whole.headers[name]
    assert head.body == ""


def test_the_private_registry_asks_for_a_password(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    path = "/v2/my-namespace/alpine/manifests/latest"
    refused = visitor.http(PRIVATE, path)
    assert (refused.status, refused.headers["Www-Authenticate"]) == (401, 'Basic realm="Registry Realm"')
    wrong_login = {"Authorization": "Basic " + base64.b64encode(b"ops:wrong").decode()}
    assert visitor.http(PRIVATE, path, headers=wrong_login).status == 401
    assert visitor.http(PRIVATE, path, headers=OPS).status == 200


def test_what_is_not_there_has_the_registrys_own_error(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    answer = visitor.http(MIRROR, "/v2/library/alpine/manifests/nosuch", headers=token(visitor))
    wanted = {"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": {"Tag": "nosuch"}}
    assert (answer.status, json.loads(answer.body)["errors"]) == (404, [wanted])


def test_a_used_up_limit_is_a_429_with_the_time_to_wait(visit: Visit) -> None:
    with Lab(["registry-rate-limited"]) as lab:
        visitor = visit(lab)
        answer = visitor.http(MIRROR, ALPINE, headers=token(visitor))
        head = visitor.http(MIRROR, ALPINE, method="HEAD", headers=token(visitor))
    assert (answer.status, head.status, int(answer.headers["Retry-After"]) > 0) == (429, 429, True)
    assert json.loads(answer.body)["errors"][0]["code"] == "TOOMANYREQUESTS"


def test_a_wrong_platform_shows_in_the_index(visit: Visit) -> None:
    with Lab(["registry-wrong-platform"]) as lab:
        answer = visit(lab).http(PRIVATE, "/v2/my-namespace/alpine/manifests/latest", headers=OPS)
    assert re.findall(r'"architecture": "(\w+)"', answer.body) == ["arm64"]


@pytest.mark.parametrize(
    ("certificate", "says"),
    [
        ("self-signed", "unable to get local issuer certificate|self.signed certificate"),
        ("expired", "certificate has expired"),
        ("other-name", "Hostname mismatch"),
        ("none", "WRONG_VERSION_NUMBER|wrong version number|record layer failure"),
    ],
)
def test_a_bad_certificate_is_bad_in_its_own_way(certificate: str, says: str, visit: Visit) -> None:
    def spoil(world: object) -> None:
        world.registries["private-registry.example.com"].certificate = certificate  # type: ignore[attr-defined]

    with Lab(change=spoil) as lab, pytest.raises(ssl.SSLError, match=says):
        visit(lab).http(PRIVATE, "/v2/")


def test_the_realm_may_be_down_while_the_registry_is_up(visit: Visit) -> None:
    with Lab(["registry-token-realm-down"]) as lab:
        visitor = visit(lab)
        assert visitor.http(MIRROR, "/v2/").status == 401
        with pytest.raises(ConnectionRefusedError):
            visitor.dial(REALM)


def test_a_client_that_does_not_speak_http_gets_no_page_of_a_program_nobody_runs(healthy: Lab, visit: Visit) -> None:
    with visit(healthy).dial("192.168.1.50:80") as raw:
        raw.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        reply = raw.recv(4096)
    assert reply.startswith(b"HTTP/1.")
    assert b"aiohttp" not in reply
    assert b"Python" not in reply


UPLOADS = "/v2/my-namespace/preflight/blobs/uploads/"


def test_an_upload_is_started_and_cancelled(visit: Visit) -> None:
    with Lab() as lab:
        visitor = visit(lab)
        assert visitor.http(PRIVATE, UPLOADS, method="POST").status == 401
        begun = visitor.http(PRIVATE, UPLOADS, method="POST", headers=OPS)
        assert (begun.status, begun.headers["Range"]) == (202, "0-0")
        assert begun.headers["Location"].startswith(UPLOADS + begun.headers["Docker-Upload-Uuid"])
        assert visitor.http(PRIVATE, begun.headers["Location"], method="DELETE", headers=OPS).status == 204
        cancelled = visitor.http(PRIVATE, begun.headers["Location"], method="DELETE", headers=OPS)
        assert (cancelled.status, json.loads(cancelled.body)["errors"][0]["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_who_may_only_pull_is_denied_the_upload(visit: Visit) -> None:
    with Lab(["push-denied"]) as lab:
        visitor = visit(lab)
        assert visitor.http(PRIVATE, "/v2/my-namespace/alpine/manifests/latest", headers=OPS).status == 200
        denied = visitor.http(PRIVATE, UPLOADS, method="POST", headers=OPS)
    assert (denied.status, json.loads(denied.body)["errors"][0]["code"]) == (403, "DENIED")


def test_the_mirrors_tokens_are_for_pulling_alone(healthy: Lab, visit: Visit) -> None:
    visitor = visit(healthy)
    denied = visitor.http(MIRROR, "/v2/library/alpine/blobs/uploads/", method="POST", headers=token(visitor))
    assert denied.status == 401
    assert (
        'scope="repository:library/alpine:pull,push",error="insufficient_scope"' in denied.headers["Www-Authenticate"]
    )


def test_a_manifest_is_deleted_by_its_digest_where_deletion_is_on(visit: Visit) -> None:
    path = "/v2/my-namespace/alpine/manifests/"
    with Lab() as lab:
        visitor = visit(lab)
        digest = visitor.http(PRIVATE, f"{path}latest", headers=OPS).headers["Docker-Content-Digest"]
        assert visitor.http(PRIVATE, f"{path}latest", method="DELETE", headers=OPS).status == 405
        assert visitor.http(PRIVATE, path + digest, method="DELETE", headers=OPS).status == 202
        assert visitor.http(PRIVATE, f"{path}latest", headers=OPS).status == 404

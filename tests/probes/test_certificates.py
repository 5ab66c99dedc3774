"""How long certificates are still valid, as TLS itself shows it."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path

import pytest
import trustme

from preflight.clients import certificates as chains
from preflight.clients.certificates import Certificate
from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from preflight.evidence import Evidence, NotApplicable, Unmeasured
from preflight.facts.certificates import (
    gitlab_certificate,
    gitlab_certificate_renewal,
    gitlab_certificate_term,
    kubeconfig_certificate,
)
from preflight.faults import CertificateFault, Fault
from preflight.inventory import Inventory, Limits
from preflight.probes import certificates
from preflight.probes.cluster import ApiServer, api_server
from preflight.probes.gitlab import request_sign_in_page
from preflight.probes.registry import ping
from preflight.shell_command import program
from tests.probes import apiserver
from tests.probes.apiserver import Scripted, kubeconfig
from tests.probes.servers import Said, web_server

NOW = datetime.datetime(2026, 6, 1, 12, 0, tzinfo=datetime.UTC).timestamp()
DAY = 86_400.0
LIMITS = Limits()
GITLAB = "gitlab.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


def with_gitlab(inventory: Inventory, scheme: str) -> Inventory:
    url = f"{scheme}://{GITLAB}/"
    return inventory.model_copy(update={"gitlab": inventory.gitlab.model_copy(update={"url": url})})


def in_days(days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


@pytest.mark.parametrize(
    ("days", "fault", "words"),
    [
        (0.25, CertificateFault.ENDS_SOON, "ends in 6 hours, on 2026-06-01 18:00 UTC"),
        (6.99, CertificateFault.ENDS_SOON, "ends in 6 days"),
        (7.0, CertificateFault.RENEWAL_DUE, "ends in 7 days, on 2026-06-08 12:00 UTC"),
        (29.9, CertificateFault.RENEWAL_DUE, "ends in 29 days"),
        (30.0, None, ""),
        (365.0, None, ""),
    ],
)
def test_the_time_left_decides(days: float, fault: Fault | None, words: str) -> None:
    certificate = Certificate(subject="CN=gitlab.example", ends=NOW + days * DAY)
    term = certificates.term(
        "https://gitlab.example", certificate, whose="the certificate", limits=LIMITS, command=program("x"), now=NOW
    )
    assert term.fault is fault
    assert words in term.cause
    assert bool(term.cause) is (fault is not None)
    assert term.days_left == pytest.approx(days, abs=0.05)


def test_the_thresholds_are_the_inventorys() -> None:
    certificate = Certificate(subject="CN=gitlab.example", ends=NOW + 40 * DAY)
    limits = Limits(certificate_days_left=45, certificate_renewal_days=90)
    term = certificates.term("x", certificate, whose="it", limits=limits, command=program("x"), now=NOW)
    assert term.fault is CertificateFault.ENDS_SOON


def test_a_certificate_that_can_not_be_read_is_not_measured() -> None:
    with pytest.raises(Unmeasured, match="the certificate of x can't be read"):
        certificates.term("x", None, whose="the certificate of x", limits=LIMITS, command=program("x"))


def test_gitlabs_certificate_is_read_from_the_connection_that_is_made_anyway(
    authority: trustme.CA, ca_file: Path, inventory: Inventory
) -> None:
    issued = authority.issue_cert(GITLAB, common_name=GITLAB, not_after=in_days(5))
    with web_server(lambda _: Said(), certificate=issued) as web:
        routes = Routes({f"{GITLAB}:443": web.address})
        reply = request_sign_in_page(f"https://{GITLAB}/", routes=routes, ca_file=ca_file, deadline=5)
    assert len(web.asked) == 2, "the front page and the API, and nothing for the certificate"
    assert reply.certificate is not None
    term = gitlab_certificate_term.function(gitlab_connection=reply, inventory=with_gitlab(inventory, "https"))
    assert term.fault is CertificateFault.ENDS_SOON
    assert f"CN={GITLAB}" in term.evidence.observed
    assert "ends in 4 days" in term.cause
    assert f"openssl s_client -connect {GITLAB}:443 -servername {GITLAB} </dev/null | openssl x509" in str(
        term.evidence.command
    )


def test_without_tls_there_is_no_certificate(inventory: Inventory) -> None:
    with web_server(lambda _: Said()) as web:
        routes = Routes({f"{GITLAB}:80": web.address})
        reply = request_sign_in_page(f"http://{GITLAB}/", routes=routes, ca_file=None, deadline=5)
    with pytest.raises(NotApplicable, match="without TLS"):
        gitlab_certificate_term.function(gitlab_connection=reply, inventory=with_gitlab(inventory, "http"))


def test_each_check_judges_one_threshold() -> None:
    for days, soon, due in ((3, True, False), (20, False, True), (60, False, False)):
        certificate = Certificate(subject="CN=x", ends=NOW + days * DAY)
        term = certificates.term("x", certificate, whose="it", limits=LIMITS, command=program("x"), now=NOW)
        assert bool(gitlab_certificate.function(gitlab_certificate_term=term).fault) is soon
        assert bool(gitlab_certificate_renewal.function(gitlab_certificate_term=term).fault) is due


def test_a_registrys_token_server_counts_too(authority: trustme.CA, ca_file: Path) -> None:
    realm, host = "auth.example", "registry.example"

    def token(_: object) -> Said:
        return Said(body=b'{"token": "made-up-token"}')

    challenge = {"WWW-Authenticate": f'Bearer realm="https://{realm}/token",service="x"'}
    with (
        web_server(token, certificate=authority.issue_cert(realm, not_after=in_days(3))) as tokens,
        web_server(
            lambda _: Said(401, challenge), certificate=authority.issue_cert(host, not_after=in_days(90))
        ) as web,
    ):
        routes = Routes({f"{host}:443": web.address, f"{realm}:443": tokens.address})
        reply = ping(host, credentials=None, ca_file=ca_file, routes=routes, deadline=5)
    assert reply.certificate is not None
    assert reply.certificate.ends < in_days(4).timestamp()
    assert reply.certified == f"{realm}:443"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("verified", [True, False])
def test_the_api_servers_certificate_and_our_own(verified: bool, authority: trustme.CA, tmp_path: Path) -> None:
    def answer(asked: apiserver.Asked) -> apiserver.Reply:
        return apiserver.Reply({"gitVersion": "v1.28.15"} if asked.path == "/version" else "[+]ping ok\n")

    own = authority.issue_cert("ops@example.com", common_name="ops", not_after=in_days(12))
    data = {
        "client-certificate-data": base64.b64encode(own.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": base64.b64encode(own.private_key_pem.bytes()).decode(),
    }
    options: dict[str, object] = {"insecure-skip-tls-verify": True}
    if verified:
        options = {"certificate-authority-data": base64.b64encode(authority.cert_pem.bytes()).decode()}
    issued = authority.issue_cert("127.0.0.1", common_name="kube-apiserver", not_after=in_days(2.5))
    with Scripted(answer, issued) as server:
        url = f"https://127.0.0.1:{server.port}"
        file = kubeconfig(tmp_path, url, **options)
        content = json.loads(file.read_text())
        content["users"][0]["user"] = data
        file.write_text(json.dumps(content))
        api = Api(file, None, routes=Routes(), deadline=5)
        measured = api_server(api, expected_url=url)
        api.close()
    assert measured.fault is None
    assert measured.certificate is not None
    assert measured.certificate.subject.startswith("CN=kube-apiserver")
    assert measured.own_certificate is not None
    assert measured.own_certificate.ends < in_days(13).timestamp()


def test_a_chain_ends_with_the_first_of_its_certificates(authority: trustme.CA) -> None:
    leaf = authority.issue_cert("a.example", common_name="leaf", not_after=in_days(50))
    other = authority.issue_cert("b.example", common_name="intermediate", not_after=in_days(10))
    pem = leaf.cert_chain_pems[0].bytes() + other.cert_chain_pems[0].bytes()
    first = chains.of_pem(pem)
    assert first is not None
    assert first.subject.startswith("CN=intermediate")
    assert chains.of_pem(b"no certificate") is None


def test_a_kubeconfig_with_a_token_has_no_certificate(inventory: Inventory) -> None:
    evidence = Evidence(where="here", command=program("kubectl", "version"))
    answer = ApiServer(target="x", server="https://192.168.1.100:6443", evidence=evidence)
    with pytest.raises(NotApplicable, match="no certificate"):
        kubeconfig_certificate.function(api_answer=answer, kubernetes=None, inventory=inventory)

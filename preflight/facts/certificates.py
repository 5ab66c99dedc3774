"""2.4 The time that certificates have left, from the handshakes that other measurements made."""

from __future__ import annotations

from urllib.parse import urlsplit

from preflight.clients import kube_api as api_client
from preflight.clients.connect import split_address
from preflight.clients.http import place_of
from preflight.evidence import NotApplicable
from preflight.fact import fact, view
from preflight.faults import CertificateFault
from preflight.inventory import Inventory
from preflight.probes import certificates, kubelet_certificates
from preflight.probes.certificates import CertificateTerm
from preflight.probes.cluster import ApiServer
from preflight.probes.gitlab import GitLabReply
from preflight.probes.kubelet_certificates import Shown
from preflight.probes.registry import RegistryReply
from preflight.probes.transcript import NodeLogin
from preflight.run import Run


@fact(reported_by=("gitlab_certificate",))
def gitlab_certificate_term(gitlab_connection: GitLabReply, inventory: Inventory) -> CertificateTerm:
    """The time that GitLab's certificate has left."""
    url = inventory.gitlab.url
    if urlsplit(url).scheme != "https":
        reason = f"gitlab.url is {url}: without TLS there is no certificate"
        raise NotApplicable(reason)
    return certificates.term(
        url,
        gitlab_connection.certificate,
        whose=f"the certificate of {url}",
        limits=inventory.limits,
        command=certificates.shown_by(*place_of(url)),
    )


gitlab_certificate = view(
    "gitlab_certificate",
    gitlab_certificate_term,
    lambda term: term.only(CertificateFault.ENDS_SOON),
    "GitLab's certificate.",
)
gitlab_certificate_renewal = view(
    "gitlab_certificate_renewal",
    gitlab_certificate_term,
    lambda term: term.only(CertificateFault.RENEWAL_DUE),
    "The renewal of GitLab's certificate.",
    after=("gitlab_certificate",),
)


@fact(reported_by=("api_certificate",))
def api_certificate_term(api_answer: ApiServer, inventory: Inventory) -> CertificateTerm:
    """The time that the API server's certificate has left."""
    if urlsplit(api_answer.server).scheme != "https":
        reason = f"the kubeconfig reaches {api_answer.server} without TLS: there is no certificate"
        raise NotApplicable(reason)
    return certificates.term(
        api_answer.server,
        api_answer.certificate,
        whose=f"the certificate of {api_answer.server}",
        limits=inventory.limits,
        command=certificates.shown_by(*place_of(api_answer.server)),
    )


api_certificate = view(
    "api_certificate",
    api_certificate_term,
    lambda term: term.only(CertificateFault.ENDS_SOON),
    "The API server's certificate.",
)
api_certificate_renewal = view(
    "api_certificate_renewal",
    api_certificate_term,
    lambda term: term.only(CertificateFault.RENEWAL_DUE),
    "The renewal of the API server's certificate.",
    after=("api_certificate",),
)


@fact()
def kubeconfig_certificate(api_answer: ApiServer, kubernetes: api_client.Api, inventory: Inventory) -> CertificateTerm:
    """The time that the kubeconfig's own certificate has left."""
    if api_answer.own_certificate is None:
        reason = "the kubeconfig logs in with no certificate"
        raise NotApplicable(reason)
    config = kubernetes.config
    return certificates.term(
        config.context,
        api_answer.own_certificate,
        whose=f"the client certificate in context {config.context} of {config.path}",
        limits=inventory.limits,
        command=certificates.of_kubeconfig(config.context),
    )


@fact(reported_by=("registry_certificate",))
def registry_certificate_term(
    registry: str, registry_connection: RegistryReply, inventory: Inventory
) -> CertificateTerm:
    """The time that the certificates of a registry and of its token server have left."""
    settings = inventory.registries[registry]
    if registry_connection.certificate is None and settings.scheme != "https":
        reason = f"{settings.host} is spoken to without TLS: there is no certificate"
        raise NotApplicable(reason)
    host, port = split_address(registry_connection.certified or settings.host, 443)
    owner = settings.host if host == settings.host.partition(":")[0] else f"{host}, the token server of {settings.host}"
    return certificates.term(
        settings.host,
        registry_connection.certificate,
        whose=f"the certificate of {owner}",
        limits=inventory.limits,
        command=certificates.shown_by(host, port),
    )


registry_certificate = view(
    "registry_certificate",
    registry_certificate_term,
    lambda term: term.only(CertificateFault.ENDS_SOON),
    "A registry's certificate.",
)
registry_certificate_renewal = view(
    "registry_certificate_renewal",
    registry_certificate_term,
    lambda term: term.only(CertificateFault.RENEWAL_DUE),
    "The renewal of a registry's certificate.",
    after=("registry_certificate",),
)


@fact(deadline="script", optional=("node_login",), reported_by=("kubelet_serving_certificate",))
def kubelet_certificates_shown(worker: str, node_login: NodeLogin | None, inventory: Inventory, run: Run) -> Shown:
    """The certificates of a worker's kubelet, over SSH, else from its port."""
    address = inventory.workers[worker].address
    if node_login is None:
        return kubelet_certificates.shown_by_port(address, routes=run.routes, deadline=inventory.deadlines.step)
    return kubelet_certificates.shown_by_worker(node_login.session, address, deadline=inventory.deadlines.script)


@fact(reported_by=("kubelet_certificate",))
def kubelet_certificate_term(worker: str, kubelet_certificates_shown: Shown, inventory: Inventory) -> CertificateTerm:
    """The time that the certificate has left with which a worker's kubelet logs in to the API server."""
    path = kubelet_certificates.CLIENT
    certificate = kubelet_certificates_shown.certificates.get(path)
    if certificate is None:
        reason = kubelet_certificates_shown.reasons.get(path, "nothing was printed")
        raise NotApplicable(f"{path} on {worker} can't be read: {reason}")
    return certificates.term(
        worker,
        certificate,
        whose=f"the certificate of the kubelet on {worker}",
        limits=inventory.limits,
        command=certificates.of_file(path),
        where=f"node {worker}",
    )


kubelet_certificate = view(
    "kubelet_certificate",
    kubelet_certificate_term,
    lambda term: term.only(CertificateFault.ENDS_SOON),
    "The certificate with which a worker's kubelet logs in.",
)
kubelet_certificate_renewal = view(
    "kubelet_certificate_renewal",
    kubelet_certificate_term,
    lambda term: term.only(CertificateFault.RENEWAL_DUE),
    "The renewal of the certificate with which a worker's kubelet logs in.",
    after=("kubelet_certificate",),
)


@fact()
def kubelet_serving_certificate(
    worker: str, kubelet_certificates_shown: Shown, inventory: Inventory
) -> CertificateTerm:
    """The time that the certificate has left which a worker's kubelet shows to the API server."""
    if kubelet_certificates_shown.serving is None:
        raise NotApplicable(f"the kubelet on {worker} shows no certificate on port {kubelet_certificates.PORT}")
    place, certificate = kubelet_certificates_shown.serving
    address = inventory.workers[worker].address
    by_port = place == str(kubelet_certificates.PORT)
    shown_by = certificates.shown_by(address, kubelet_certificates.PORT)
    return certificates.term(
        worker,
        certificate,
        whose=f"the certificate that the kubelet on {worker} shows on port {kubelet_certificates.PORT}",
        limits=inventory.limits,
        command=shown_by if by_port else certificates.of_file(place),
        where=f"node {worker}",
    )

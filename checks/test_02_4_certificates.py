"""2.4 Certificates: those of GitLab, the API server, the kubeconfig, registries and kubelets do not end soon."""

import pytest

from preflight.facts import CertificateTerm


def test_gitlab_certificate_is_valid_for_days(gitlab_certificate: CertificateTerm) -> None:
    """2.4.25 GitLab's certificate is valid for the next days.

    Why: when it ends, managers get no jobs and jobs clone nothing, all at the same moment.
    Remedy (certificate-ends-soon): renew it on GitLab's host (`gitlab-ctl renew-le-certs`, or new files in
        `/etc/gitlab/ssl`, then `gitlab-ctl hup nginx`), with the chain of its authority.
    Remedy: serve a certificate that stays valid, or correct `limits.certificate_days_left`.
    """
    assert not gitlab_certificate.fault


@pytest.mark.advice
def test_gitlab_certificate_has_been_renewed(gitlab_certificate_renewal: CertificateTerm) -> None:
    """2.4.26 GitLab's certificate is not due for renewal.

    Why: what renews certificates does so a month before they end; later, nobody does it unless somebody is told.
    Remedy (certificate-renewal-due): renew it, and see why that did not happen by itself (`gitlab-ctl renew-le-certs`).
    Remedy: renew the certificate, or correct `limits.certificate_renewal_days`.
    """
    assert not gitlab_certificate_renewal.fault


def test_api_server_certificate_is_valid_for_days(api_certificate: CertificateTerm) -> None:
    """2.4.27 The API server's certificate is valid for the next days.

    Why: kubeadm's certificates end after a year; then kubelets, managers and this suite are cut off together.
    Remedy (certificate-ends-soon): on each control-plane node `kubeadm certs renew all`, then restart kube-apiserver,
        kube-controller-manager, kube-scheduler and etcd; `kubeadm certs check-expiration` lists them all.
    Remedy: serve a certificate that stays valid, or correct `limits.certificate_days_left`.
    """
    assert not api_certificate.fault


@pytest.mark.advice
def test_api_server_certificate_has_been_renewed(api_certificate_renewal: CertificateTerm) -> None:
    """2.4.28 The API server's certificate is not due for renewal.

    Why: kubeadm renews certificates at every upgrade of the control plane, and at no other time.
    Remedy (certificate-renewal-due): upgrade the control plane, or run `kubeadm certs renew all` on it.
    Remedy: renew the certificate, or correct `limits.certificate_renewal_days`.
    """
    assert not api_certificate_renewal.fault


@pytest.mark.advice
def test_kubeconfig_certificate_is_valid_for_weeks(kubeconfig_certificate: CertificateTerm) -> None:
    """2.4.29 The client certificate of the kubeconfig is valid for the next weeks.

    Why: when it ends, this suite, `kubectl` and `helm` are refused with this kubeconfig; jobs do not use it.
    Remedy (certificate-ends-soon, certificate-renewal-due): write a new kubeconfig; for kubeadm's own:
        `kubeadm certs renew admin.conf` on the control plane, then copy `/etc/kubernetes/admin.conf`.
    Remedy: use a kubeconfig whose certificate stays valid, or one with a service account's token.
    """
    assert not kubeconfig_certificate.fault


def test_registry_certificate_is_valid_for_days(registry_certificate: CertificateTerm) -> None:
    """2.4.30 The certificates of each registry and of its token server are valid for the next days.

    Why: when one ends, no node pulls from there any more; jobs whose images are cached go on, all others fail.
    Remedy (certificate-ends-soon): renew it on the registry's host or its load balancer, with the chain of its
        authority.
    Remedy: serve a certificate that stays valid, or correct `limits.certificate_days_left`.
    """
    assert not registry_certificate.fault


@pytest.mark.advice
def test_registry_certificate_has_been_renewed(registry_certificate_renewal: CertificateTerm) -> None:
    """2.4.31 The certificates of each registry and of its token server are not due for renewal.

    Why: what renews certificates does so a month before they end; later, nobody does it unless somebody is told.
    Remedy (certificate-renewal-due): renew it, and see why that did not happen by itself.
    Remedy: renew the certificate, or correct `limits.certificate_renewal_days`.
    """
    assert not registry_certificate_renewal.fault


def test_kubelet_certificates_are_valid_for_days(kubelet_certificate: CertificateTerm) -> None:
    """2.4.32 The certificate with which each worker's kubelet logs in is valid for the next days.

    Why: when it ends, the API server refuses the kubelet: the node becomes NotReady and takes no more jobs.
    Remedy (certificate-ends-soon): kubelets renew theirs by themselves: `kubectl get csr` shows requests that nobody
        approved, `journalctl -u kubelet | grep -i certificate` on the worker why there is none; `systemctl restart
        kubelet` makes it try again.
    Remedy: give the kubelet a certificate that stays valid (`kubeadm join` again), or correct
        `limits.certificate_days_left`.
    """
    assert not kubelet_certificate.fault


@pytest.mark.advice
def test_kubelet_certificates_have_been_renewed(kubelet_certificate_renewal: CertificateTerm) -> None:
    """2.4.33 The certificate with which each worker's kubelet logs in is not due for renewal.

    Why: a kubelet renews it long before the last month; where it has not, it does not renew it at all.
    Remedy (certificate-renewal-due): see why it was not renewed: `kubectl get csr`, `rotateCertificates` in
        `/var/lib/kubelet/config.yaml`, `journalctl -u kubelet | grep -i certificate` on the worker.
    Remedy: renew the certificate, or correct `limits.certificate_renewal_days`.
    """
    assert not kubelet_certificate_renewal.fault


@pytest.mark.advice
def test_kubelet_ports_show_valid_certificates(kubelet_serving_certificate: CertificateTerm) -> None:
    """2.4.34 The certificate that each worker's kubelet shows on its port is valid for the next weeks.

    Why: an API server that verifies it (`--kubelet-certificate-authority`) reads no more logs and runs no more
        commands in pods there when it ends; kubeadm's does not verify it.
    Remedy (certificate-ends-soon, certificate-renewal-due): with `serverTLSBootstrap`, approve the pending request
        (`kubectl get csr`); a self-signed `kubelet.crt` is made anew when it is moved away and the kubelet restarted.
    Remedy: show a certificate that stays valid, or correct `limits.certificate_renewal_days`.
    """
    assert not kubelet_serving_certificate.fault

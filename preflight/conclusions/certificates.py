"""2.4 Certificates near their end; one that has ended is a fault of the connection to its server."""

from __future__ import annotations

from preflight.conclusions.impacts import reserve
from preflight.conclusions.model import cause
from preflight.conclusions.single_fact import single
from preflight.facts.certificates import api_certificate, gitlab_certificate, registry_certificate

single(
    cause("gitlab-certificate-ends", "2.4", "certificate-names"),
    reserve("jobs run until the certificate ends"),
    gitlab_certificate,
    remedy=(
        "on {gitlab_host}: `gitlab-ctl renew-le-certs`, or a new certificate with its chain in /etc/gitlab/ssl and "
        "`gitlab-ctl hup nginx`",
        "a new CA belongs into the Secret of `certsSecretName` too",
    ),
)
single(
    cause("api-certificate-ends", "2.4", "certificate-names"),
    reserve("jobs run until the certificate ends"),
    api_certificate,
    remedy=(
        "on each control-plane node: `kubeadm certs renew all`, then restart kube-apiserver, "
        "kube-controller-manager, kube-scheduler and etcd",
        "hand out the new /etc/kubernetes/admin.conf: its certificate ends at the same time",
    ),
)
single(
    cause("registry-certificate-ends", "2.4", "certificate-names"),
    reserve("jobs run until the certificate ends"),
    registry_certificate,
    remedy=(
        "renew it on that host, or on the load balancer in front of it, with its chain",
        "a new CA belongs into every node's runtime too, and into `ca_file` of the inventory",
    ),
)

"""2.4 Certificates near their end; one that has ended is a fault of the connection to its server."""

from __future__ import annotations

from collections.abc import Sequence

from preflight import impact
from preflight.conclusions.impacts import reserve, room
from preflight.conclusions.model import cause
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import single
from preflight.facts.certificates import (
    api_certificate,
    gitlab_certificate,
    kubelet_certificate,
    registry_certificate,
)
from preflight.impact import Impact
from preflight.probes.certificates import CertificateTerm

_UNTIL_IT_ENDS = "jobs run until the certificate ends"

single(
    cause("gitlab-certificate-ends", "2.4", "certificate-names"),
    reserve(_UNTIL_IT_ENDS),
    gitlab_certificate,
    remedy=(
        "on {gitlab_host}: `gitlab-ctl renew-le-certs`, or a new certificate with its chain in /etc/gitlab/ssl and "
        "`gitlab-ctl hup nginx`",
        "a new CA belongs into the Secret of `certsSecretName` too",
    ),
)
single(
    cause("api-certificate-ends", "2.4", "certificate-names"),
    reserve(_UNTIL_IT_ENDS),
    api_certificate,
    remedy=(
        "on each control-plane node: `kubeadm certs renew all`, then restart kube-apiserver, "
        "kube-controller-manager, kube-scheduler and etcd",
        "hand out the new /etc/kubernetes/admin.conf: its certificate ends at the same time",
    ),
)
single(
    cause("registry-certificate-ends", "2.4", "certificate-names"),
    reserve(_UNTIL_IT_ENDS),
    registry_certificate,
    remedy=(
        "renew it on that host, or on the load balancer in front of it, with its chain",
        "a new CA belongs into every node's runtime too, and into `ca_file` of the inventory",
    ),
)


def _kubelets(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """A kubelet whose certificate has ended takes no jobs; until then it does."""
    if any(isinstance(each.measured, CertificateTerm) and each.measured.days_left <= 0 for each in observations):
        return room(facts, observations)
    return impact.removes_reserve(_UNTIL_IT_ENDS)


single(
    cause("kubelet-certificate-ends", "2.4", "kubelet-certificates"),
    _kubelets,
    kubelet_certificate,
    remedy=(
        "`kubectl get csr`: approve what {nodes} asked for, `kubectl certificate approve NAME`",
        "on {nodes}: `systemctl restart kubelet`, then `journalctl -u kubelet | grep -i certificate` shows whether it "
        "was renewed",
        "one that has ended is not renewed any more: `kubeadm token create --print-join-command`, and join again",
    ),
)

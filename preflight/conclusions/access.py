"""What keeps the suite from measuring: the API server, SSH, and rights that its account lacks."""

from __future__ import annotations

from collections.abc import Iterator

from preflight.conclusions.model import Conclusion, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import names_of, proof_of, single
from preflight.conclusions.vantages import faults_of, has_fault, joined, tally, targets_of
from preflight.evidence import Unmeasured
from preflight.facts.cluster import api_answer, node_readiness
from preflight.facts.nodes import node_login, node_report
from preflight.faults import ApiFault, ClusterFault, PathFault, SshFault

API_UNREACHABLE = cause("api-unreachable", "2.3", "kubernetes-api")
API_CREDENTIALS = cause("api-credentials-rejected", "2.3", "kubernetes-api")
API_CERTIFICATE = cause("api-certificate", "2.3", "kubernetes-api")
API_UNHEALTHY = cause("api-unhealthy", "2.3", "api-health")
RIGHTS = cause("suite-lacks-rights", "2.3", "suite-rights")
SSH_REJECTED = cause("ssh-key-rejected", "2.4", "ssh")
SSH_HOST_KEY = cause("ssh-host-key", "2.4", "ssh")
SSH_UNREACHABLE = cause("ssh-unreachable", "2.4", "ssh")
SSH_UNUSABLE = cause("ssh-login-unusable", "2.4", "ssh")
WORKER_DOWN = cause("worker-down", "2.3", "node-conditions", specialises=("node-not-ready", "ssh-unreachable"))

_SSH_WAY = (SshFault.REFUSED, SshFault.TIMEOUT, SshFault.UNREACHABLE, SshFault.UNRESOLVED, SshFault.SILENT)

single(
    API_CREDENTIALS,
    api_answer,
    faults=(ApiFault.UNAUTHORIZED,),
    remedy=(
        "see which account the kubeconfig uses: `kubectl config view --minify`",
        "renew its token or client certificate, then try `kubectl auth whoami`",
    ),
)
single(
    API_CERTIFICATE,
    api_answer,
    faults=(PathFault.TLS_UNTRUSTED, PathFault.TLS_WRONG_NAME, PathFault.TLS_EXPIRED, PathFault.TLS_HANDSHAKE),
    remedy=(
        "compare `certificate-authority-data` and `server` of the kubeconfig with {api}",
        "expired: renew the control plane's certificates with the cluster's own installer "
        "(where that is kubeadm: `kubeadm certs renew all`)",
    ),
)
single(
    API_UNHEALTHY,
    api_answer,
    faults=(ClusterFault.API_UNHEALTHY, ApiFault.UNAVAILABLE, ApiFault.SERVER_ERROR, ApiFault.TOO_MANY_REQUESTS),
    remedy=(
        "`kubectl get --raw='/readyz?verbose'` names what is not ready",
        "on the control plane: `crictl ps -a | grep -E 'apiserver|etcd'`, then the logs of what restarts",
    ),
)
single(
    API_UNREACHABLE,
    api_answer,
    remedy=(
        "`curl -vk {api}/version` shows how far it gets",
        "on the control plane: `crictl ps -a | grep apiserver`, `journalctl -u kubelet -n 100`",
        "open the port of {api} to this machine, or map it to a tunnel with `connect:` in the inventory",
    ),
)


@rule
def missing_rights(facts: Facts) -> Iterator[Conclusion]:
    """Rights that the suite's own account lacks: one conclusion, with every rule to add."""
    denied = [
        observation
        for observation in facts
        if isinstance(observation.error, Unmeasured) and observation.error.fault is ApiFault.FORBIDDEN
    ]
    if not denied:
        return
    needs = dict.fromkeys(
        observation.error.needs
        for observation in denied
        if isinstance(observation.error, Unmeasured) and observation.error.needs
    )
    yield Conclusion(
        cause=RIGHTS,
        about=tuple(dict.fromkeys(observation.name for observation in denied)),
        sentence="the account of the kubeconfig lacks rights that these checks need: "
        + "; ".join(dict.fromkeys(str(observation.error) for observation in denied[:3])),
        certain=True,
        explains=keys(denied),
        proofs=tuple(proof_of(observation) for observation in denied[:2]),
        remedy=("`kubectl apply -f deploy/rbac.yaml` grants all of them; or add:", *needs),
    )


@rule
def ssh_to_workers(facts: Facts) -> Iterator[Conclusion]:
    """Why SSH logins to workers fail; a worker that is NotReady too is down, and not its sshd alone."""
    logins = [observation for observation in facts.observations(node_login) if isinstance(observation.fault, SshFault)]
    not_ready = {
        observation.targets["node"]
        for observation in facts.observations(node_readiness)
        if has_fault(ClusterFault.NODE_NOT_READY)(observation)
    }
    down = [login for login in logins if has_fault(*_SSH_WAY)(login) and login.targets["worker"] in not_ready]
    if down:
        yield _worker_down(facts, down)
    remaining = [login for login in logins if login not in down]
    for kind, faults, remedy in (
        (SSH_REJECTED, (SshFault.AUTHENTICATION, SshFault.NOT_TRIED, SshFault.KEY_UNREADABLE), _KEY),
        (SSH_HOST_KEY, (SshFault.HOST_KEY_UNKNOWN, SshFault.HOST_KEY_CHANGED), _HOST_KEY),
        (SSH_UNREACHABLE, _SSH_WAY, _WAY),
        (SSH_UNUSABLE, (SshFault.PROTOCOL, SshFault.NO_SHELL), _SHELL),
    ):
        failed = [observation for observation in remaining if has_fault(*faults)(observation)]
        if failed:
            names, size = names_of(facts, failed), len(facts.observations(node_login))
            workers = targets_of(failed, "worker")
            yield Conclusion(
                cause=kind,
                about=workers,
                sentence=f"SSH login to {tally(len(failed), size, 'worker')} fails, {joined(workers)}: "
                f"{faults_of(failed)}; "
                + "; ".join(list(dict.fromkeys(str(observation.error) for observation in failed))[:2]),
                certain=True,
                explains=(*keys(failed), *keys(facts.failing(node_report, where=has_fault(*faults)))),
                proofs=tuple(proof_of(observation) for observation in failed[:2]),
                remedy=tuple(step.format_map(names) for step in remedy),
            )


def _worker_down(facts: Facts, down: list[Observation]) -> Conclusion:
    workers = targets_of(down, "worker")
    ready = [
        observation for observation in facts.observations(node_readiness) if observation.targets["node"] in workers
    ]
    return Conclusion(
        cause=WORKER_DOWN,
        about=workers,
        sentence=f"{joined(workers)} {'is' if len(workers) == 1 else 'are'} down or cut off: NotReady in the cluster, "
        f"and SSH fails ({faults_of(down)})",
        certain=True,
        explains=(*keys(down), *keys(ready)),
        proofs=tuple(proof_of(observation) for observation in (*ready[:1], *down[:1])),
        remedy=(
            f"check its console, hypervisor or cloud: {joined(workers)}; start it, or repair its network",
            f"gone for good: `kubectl drain {workers[0]} --ignore-daemonsets`, `kubectl delete node {workers[0]}`, "
            "and remove it from the inventory",
        ),
    )


_KEY = (
    "`ssh -i KEY {ssh}@{address} true` must work with the key of `access.ssh`",
    "add its public half to `~{ssh}/.ssh/authorized_keys` on {nodes}, or correct `access.ssh.user` and `key`",
    "or set `ssh: none` under `access:`, and do without measurements from the workers",
)
_HOST_KEY = (
    "compare the fingerprint with the machine's own: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on {node}",
    "rebuilt on purpose: `ssh-keygen -R {address}`, then `ssh-keyscan {address} >> known_hosts` over a trusted network",
)
_WAY = (
    "`ssh -v {ssh}@{address}` shows how far it gets",
    "start sshd on {nodes}, open port 22 to this machine, or name a `jump` host in `access.ssh`",
)
_SHELL = ("`ssh {ssh}@{address} sh -s <<< 'echo ok'` must print ok", "give the user a POSIX shell")

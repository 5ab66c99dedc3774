"""What keeps the suite from measuring: the API server, SSH, and rights that its account lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preflight import impact
from preflight.conclusions import remedy_names
from preflight.conclusions.impacts import not_seen, reserve, room, server_answered, stops_all
from preflight.conclusions.model import Conclusion, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import names_of, proof_of, single, steps_of
from preflight.conclusions.vantages import faults_of, has_fault, joined, tally, targets_of
from preflight.evidence import Unmeasured
from preflight.facts.cluster import api_answer, api_encryption, node_readiness
from preflight.facts.nodes import node_login, node_report
from preflight.faults import ApiFault, ClusterFault, PathFault, SshFault
from preflight.impact import Impact
from preflight.shell_command import output_of, program

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

_RBAC_NAMESPACE = "gitlab"  # of the release, in deploy/rbac.yaml
_ACCOUNTS = "preflight-system"  # the namespace of the accounts there
_SSH_WAY = (SshFault.REFUSED, SshFault.TIMEOUT, SshFault.UNREACHABLE, SshFault.UNRESOLVED, SshFault.SILENT)


def _api_certificate(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """An expired certificate is refused by managers too; which CA is trusted is this machine's own matter."""
    if any(observation.fault is PathFault.TLS_EXPIRED for observation in observations):
        return impact.stops()
    return impact.unseen("managers trust the API server by a CA of their own")


def _api_unreachable(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """A server that refuses everyone stops all jobs; what only gets no answer may be a matter of this machine."""
    if all(server_answered(observation.fault) for observation in observations):
        return impact.stops()
    return impact.unseen("the API server was asked from this machine alone")


single(
    API_CREDENTIALS,
    not_seen("the cluster refuses this account, and nobody else's"),
    api_answer,
    faults=(ApiFault.UNAUTHORIZED,),
    remedy=(
        "renew token or client certificate of the kubeconfig's account (`kubectl config view --minify` shows which)",
        "then `kubectl auth whoami` must answer",
    ),
)
single(
    API_CERTIFICATE,
    _api_certificate,
    api_answer,
    faults=(PathFault.TLS_UNTRUSTED, PathFault.TLS_WRONG_NAME, PathFault.TLS_EXPIRED, PathFault.TLS_HANDSHAKE),
    remedy=(
        "compare `certificate-authority-data` and `server` of the kubeconfig with {api}",
        "expired: renew the control plane's certificates with the cluster's own installer "
        "(where that is kubeadm: `kubeadm certs renew all`)",
    ),
)
single(
    cause("api-unprotected", "2.3", "encryption"),
    reserve("anyone on the path can read the token, and answer in the API server's place"),
    api_encryption,
    remedy=(
        "`kubectl config view --minify` shows what the context says",
        "get the cluster's CA over a trusted channel: `/etc/kubernetes/pki/ca.crt` on the control plane",
        "write it as `certificate-authority` with an https `server`, and take out `insecure-skip-tls-verify`",
        "renew the kubeconfig's token: it may have been read",
    ),
)
single(
    API_UNHEALTHY,
    stops_all,
    api_answer,
    faults=(ClusterFault.API_UNHEALTHY, ApiFault.UNAVAILABLE, ApiFault.SERVER_ERROR, ApiFault.TOO_MANY_REQUESTS),
    remedy=(
        "`kubectl get --raw='/readyz?verbose'` names what is not ready",
        "on the control plane: `crictl ps -a | grep -E 'apiserver|etcd'`, then the logs of what restarts",
    ),
)
single(
    API_UNREACHABLE,
    _api_unreachable,
    api_answer,
    remedy=(
        "on the control plane: `crictl ps -a | grep apiserver`, `journalctl -u kubelet -n 100`",
        "open the port of {api} to this machine, or map it to a tunnel with `connect:` in the inventory",
        "`curl -vk {api}/version` shows how far it gets",
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
        impact=impact.unseen("these checks could not be judged"),
        explains=keys(denied),
        proofs=tuple(proof_of(observation) for observation in denied[:2]),
        remedy=(
            *(remedy_names.grants(str(observation.error) for observation in denied) or needs),
            *_own_account(facts),
        ),
    )


def _own_account(facts: Facts) -> tuple[str, ...]:
    """How to run with the account of deploy/rbac.yaml: its rights are that account's, and nobody else's."""
    namespace = facts.inventory.runner.namespace
    account = "gitlab-runner-preflight-privileged"
    token = program("kubectl", "-n", _ACCOUNTS, "create", "token", account, "--duration", "2h")
    names = {
        "namespace": namespace,
        "login": program("kubectl", "config", "set-credentials", "preflight", output_of(token, "--token=")),
    }
    return steps_of((_OWN_ACCOUNT if namespace == _RBAC_NAMESPACE else _OWN_ACCOUNT_ELSEWHERE,), names)


_APPLY = "or run with the account that has all rights: `kubectl apply -f deploy/rbac.yaml`"
_LOG_IN = ", then `{login}` and `kubectl config set-context --current --user=preflight`"
_OWN_ACCOUNT = _APPLY + _LOG_IN
_OWN_ACCOUNT_ELSEWHERE = f"{_APPLY} (with {{namespace}} in the place of {_RBAC_NAMESPACE}){_LOG_IN}"


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
                impact=impact.unseen("nothing was measured on " + joined(workers)),
                explains=(*keys(failed), *keys(facts.failing(node_report, where=has_fault(*faults)))),
                proofs=tuple(proof_of(observation) for observation in failed[:2]),
                remedy=steps_of(remedy, names),
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
        impact=room(facts, ready),
        explains=(*keys(down), *keys(ready)),
        proofs=tuple(proof_of(observation) for observation in (*ready[:1], *down[:1])),
        remedy=steps_of(
            (
                "check its console, hypervisor or cloud: {nodes}; start it, or repair its network",
                "gone for good: `kubectl drain {node} --ignore-daemonsets`, `kubectl delete node {node}`, and remove "
                "it from the inventory",
            ),
            names_of(facts, down),
        ),
    )


_KEY = (
    "add the public half of the key of `access.ssh` to `~{ssh}/.ssh/authorized_keys` on {nodes}, or correct "
    "`access.ssh.user` and `key`",
    "`{ssh_command}{address} true` must then succeed",
    "or set `ssh: none` under `access:`, and do without measurements from the workers",
)
_HOST_KEY = (
    "compare the fingerprint with the machine's own: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on {node}",
    "rebuilt on purpose: `ssh-keygen -R {address}`, then, over a trusted network, "
    "`ssh-keyscan {address} >> {known_hosts}`",
)
_WAY = (
    "start sshd on {nodes} (`systemctl enable --now sshd`), open its port to this machine, or name a `jump` host in "
    "`access.ssh`",
    "`{ssh_command}{address} -v true` shows how far it gets",
)
_SHELL = (
    "give {ssh} a POSIX shell on {nodes}: `usermod -s /bin/sh {ssh}`",
    "`{ssh_command}{address} sh -s <<< 'echo ok'` must print ok",
)

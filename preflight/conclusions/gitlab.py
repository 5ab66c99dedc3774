"""1, 2.1 GitLab itself, the networks around it, and the clocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preflight.conclusions.impacts import gitlab_for_jobs, no_harm, not_seen, reserve, stops_all
from preflight.conclusions.model import Conclusion, Proof, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import single
from preflight.conclusions.vantages import VantageGroup, joined, proofs, targets_of
from preflight.facts.cluster import api_clock
from preflight.facts.environment import (
    control_plane_address,
    here_proxies,
    machine_addresses,
    networks,
    pod_network,
    service_network,
    values_proxies,
    vpc,
)
from preflight.facts.gitlab import (
    gitlab_connection,
    gitlab_identity,
    gitlab_location,
    gitlab_service,
    gitlab_uploads,
    gitlab_version,
    node_clock,
)
from preflight.facts.pipeline import ci_project
from preflight.faults import GitLabFault, PathFault
from preflight.impact import Impact, removes_reserve, stops
from preflight.probes.transcript import Clock

single(
    cause("gitlab-name-unresolved", "2.1", "name-resolution"),
    gitlab_for_jobs,
    gitlab_connection,
    faults=(PathFault.UNRESOLVED,),
    likely="the same name, resolved from the workers and from pods",
    remedy=(
        "`dig {gitlab_host}` here, and `dig @RESOLVER {gitlab_host}` at {resolvers}",
        "add {gitlab_host} to the internal zone, or use an address in `gitlab.url`",
    ),
)
single(
    cause("gitlab-unmapped", "2.1", "suite-inventory"),
    not_seen("the inventory gives this machine no route to GitLab"),
    gitlab_connection,
    faults=(PathFault.NOT_MAPPED,),
    remedy=("add {gitlab} to `connect:` in the inventory, or remove `'*': refuse`",),
)
single(
    cause("gitlab-backend-down", "2.1", "gitlab-answers", specialises="gitlab-answers-differ"),
    gitlab_for_jobs,
    gitlab_service,
    faults=(GitLabFault.BAD_GATEWAY,),
    remedy=(
        "on {gitlab_host}: `gitlab-ctl status puma`, `gitlab-ctl tail puma`",
        "`gitlab-ctl restart puma`, and wait until `curl -sI {gitlab}users/sign_in` returns 200",
        "if it stops again: `free -h` and `df -h` on {gitlab_host}",
    ),
)
single(
    cause("gitlab-unavailable", "2.1", "gitlab-answers", specialises="gitlab-answers-differ"),
    gitlab_for_jobs,
    gitlab_service,
    remedy=(
        "on {gitlab_host}: `gitlab-ctl status`; maintenance mode, an upgrade or overload answers like this",
        "`gitlab-ctl tail nginx` and `gitlab-ctl tail puma` show which",
    ),
)
single(
    cause("gitlab-redirects", "2.1", "gitlab-redirect", specialises="gitlab-answers-differ"),
    gitlab_for_jobs,
    gitlab_location,
    remedy=(
        "write the URL that it redirects to into `gitlab.url` and into `gitlabUrl` in {values}",
        "or correct `external_url` in /etc/gitlab/gitlab.rb on {gitlab_host}, then `gitlab-ctl reconfigure`",
        "`{upgrade}`",
    ),
)
single(
    cause("not-gitlab", "2.1", "gitlab-answers", specialises="gitlab-answers-differ"),
    gitlab_for_jobs,
    gitlab_identity,
    remedy=(
        "`curl -sI {gitlab}` shows which server answers",
        "correct address and port of `gitlab.url`, or the virtual host of the web server in front of GitLab",
    ),
)
single(
    cause("gitlab-api-token-refused", "2.1", "gitlab-version"),
    not_seen("the inventory's API token is this machine's alone"),
    gitlab_version,
    ci_project,
    faults=(GitLabFault.TOKEN_REFUSED,),
    remedy=("create a new API token in GitLab (scope `read_api`), and store it where `gitlab.api_token` points to",),
)
single(
    cause("gitlab-wrong-version", "2.1", "version-skew"),
    no_harm("the inventory expects another version"),
    gitlab_version,
    faults=(GitLabFault.WRONG_VERSION,),
    remedy=(
        "if another one was meant: write it into `gitlab.version`, and see 9.1 for the matching runner",
        "otherwise upgrade GitLab to {gitlab_version} on {gitlab_host}",
    ),
)


def _larger_uploads(facts: Facts, _observations: Sequence[Observation]) -> Impact:
    """Jobs with larger artifacts than an upload may have."""
    return stops(f"jobs that upload {facts.inventory.limits.upload_size:g} MB or more")


single(
    cause("uploads-too-large", "2.1", "upload-size"),
    _larger_uploads,
    gitlab_uploads,
    remedy=(
        "`Server` in the answer shows who refuses: raise `client_max_body_size` of that nginx, or the ingress's "
        "`nginx.ingress.kubernetes.io/proxy-body-size`",
        "of GitLab's own: `nginx['client_max_body_size'] = '0'` in /etc/gitlab/gitlab.rb on {gitlab_host}, then "
        "`gitlab-ctl reconfigure`",
        "if jobs upload less: correct `limits.upload_size` in the inventory",
    ),
)


_NTP = (
    "`systemctl enable --now chronyd` (or systemd-timesyncd), `chronyc makestep`; then `timedatectl` must say that the "
    "clock is synchronised"
)

CLOCKS = cause("clock-skew", "2.1", "clock")
GITLAB_CLOCK = cause("gitlab-clock-skew", "2.1", "clock", specialises="clock-skew")
NODE_CLOCK = cause("node-clock-skew", "2.3", "clock", specialises="clock-skew")


def _apart(seconds: float) -> str:
    """How far a clock is from another one: ``420 s behind``."""
    return f"{abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"


@rule
def clocks(facts: Facts) -> Iterator[Conclusion]:
    """Whose clock is wrong: GitLab's if all workers differ from it alike, otherwise that of those that differ."""
    group = VantageGroup.of(facts.observations(node_clock), lambda observation: observation.faulty)
    if not group.failed:
        return
    offsets = [observation.measured.offset for observation in group.failed if isinstance(observation.measured, Clock)]
    alike = bool(offsets) and max(offsets) - min(offsets) <= facts.inventory.limits.clock_skew
    workers = targets_of(group.failed, "worker")
    host = facts.inventory.gitlab.url
    apart = ", ".join(f"{name} is {_apart(offset)}" for name, offset in zip(workers, offsets, strict=False))
    if group.reached:
        kind, whose = (
            NODE_CLOCK,
            f"the clock of {workers[0]} is {_apart(offsets[0])} GitLab's and the other workers'"
            if len(workers) == 1 and offsets
            else f"the clocks of {joined(workers)} differ from GitLab's and the other workers' ({apart})",
        )
        steps = tuple(f"on {name}: {_NTP}" for name in workers[:2])
    elif alike and group.all_failed and len(workers) > 1:
        kind, whose = (
            GITLAB_CLOCK,
            f"GitLab's clock is {_apart(-offsets[0])}: every worker differs from it by the same",
        )
        steps = (f"on the host of {host}: {_NTP}",)
    else:
        kind, whose = CLOCKS, f"the clocks of GitLab and {joined(workers)} differ ({apart})"
        steps = (f"on the host of {host} and on {joined(workers)}: {_NTP}",)
    certain = kind is not CLOCKS
    yield Conclusion(
        cause=kind,
        about=workers if kind is not GITLAB_CLOCK else (),
        sentence=whose,
        certain=certain,
        impact=removes_reserve("jobs run; certificates and signed requests fail where clocks differ by more"),
        settled_by="" if certain else "a third clock: a measurement from every worker",
        explains=keys(group.failed),
        proofs=proofs(
            *(Proof.of(observation.measured) for observation in group.failed[:2] if observation.measured),
            VantageGroup(reached=group.reached).proof("worker", "the same time as GitLab"),
        ),
        remedy=steps,
    )


single(
    cause("api-clock-skew", "2.3", "clock", specialises="clock-skew"),
    reserve("jobs run; certificates and tokens fail where clocks differ by more"),
    api_clock,
    remedy=(f"on each control-plane node behind {{api}}: {_NTP}",),
)
single(
    cause("networks-overlap", "1.2", "networks"),
    no_harm("the inventory's networks contradict each other; what is reached is measured"),
    networks,
    remedy=(
        "set `cluster.pod_cidr`, `service_cidr` and `vpc_cidr` to the cluster's real networks",
        "if they do overlap: choose another pod network before anything is installed: it can't be changed later",
    ),
)
single(
    cause("machine-in-cluster-network", "1.2", "networks"),
    no_harm("the inventory's networks contradict each other; what is reached is measured"),
    machine_addresses,
    remedy=(
        "correct the address or the network in the inventory; a real overlap needs another pod or service network",
    ),
)
single(
    cause("pod-network-differs", "1.2", "networks"),
    no_harm("the inventory names another network"),
    pod_network,
    remedy=(
        "write what `kubectl get nodes -o jsonpath='{{.items[*].spec.podCIDR}}'` shows into `cluster.pod_cidr`",
        "allow that network, and not the old one, in GitLab's security group",
    ),
)
single(
    cause("service-network-differs", "1.2", "networks"),
    no_harm("the inventory names another network"),
    service_network,
    remedy=("write the network of `kubectl get svc kubernetes` into `cluster.service_cidr`",),
)
single(
    cause("api-address-of-no-control-plane", "1.2", "guide"),
    no_harm("the inventory names another address"),
    control_plane_address,
    remedy=("correct `cluster.api_server`, or the addresses under `cluster.nodes`",),
)
single(
    cause("outside-vpc", "1.2", "guide"),
    no_harm("the inventory names another network"),
    vpc,
    remedy=("write the VPC's real CIDR (or its secondary one) into `cluster.vpc_cidr`, or leave it out",),
)
single(
    cause("proxy-intercepts-jobs", "1.2", "proxy"),
    stops_all,
    values_proxies,
    remedy=(
        "add the hosts and ports that it names to `no_proxy` and `NO_PROXY` in {values} (names and addresses: "
        "not every program understands networks)",
        "`{upgrade}`",
    ),
)
single(
    cause("proxy-intercepts-tools", "1.2", "proxy"),
    no_harm("it concerns the tools on this machine"),
    here_proxies,
    remedy=("add what it names to NO_PROXY of this machine or CI job before `helm` and `kubectl` are run",),
)

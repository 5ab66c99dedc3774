"""2.2, 4.2 The runner's token, and GitLab's records of the runner and its managers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preflight import impact
from preflight.conclusions.impacts import always, managers, no_harm, stops_all, unless_healthy
from preflight.conclusions.model import Conclusion, Proof, cause, keys, rule
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import names_of, single, steps_of
from preflight.conclusions.vantages import has_fault, proofs
from preflight.facts.monitoring import manager_polls
from preflight.facts.release import manager_logs
from preflight.facts.runners import manager_addresses, manager_count, manager_versions, runner_online
from preflight.facts.token import (
    own_runner,
    runner_activity,
    runner_api,
    runner_tags,
    runner_untagged,
    token_acceptance,
    token_expiry,
    token_form,
    token_kind,
    token_place,
    token_presence,
    token_whitespace,
    valid_runner,
)
from preflight.faults import GitLabFault, ManagerFault, MetricsFault, RunnerFault, TokenFault
from preflight.impact import Impact, slows
from preflight.probes.runners import RunnerRecord

_NEW = "in GitLab: Admin → CI/CD → Runners → New instance runner (GitLab shows the token once, it begins with glrt-)"
_KEEP = (
    "`kubectl create secret generic {release}-token -n {namespace} --from-literal=runner-token=TOKEN "
    '--from-literal=runner-registration-token="" --dry-run=client -o yaml | kubectl apply -f -`, and '
    "`runners.secret: {release}-token` in {values}"
)
_ROLL = "`{upgrade}`, then `kubectl rollout restart deployment -n {namespace}`: managers read the token at their start"


def _expiry(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """A token whose time is over stops managers; one whose time comes soon does not yet."""
    if all(observation.fault is TokenFault.EXPIRING for observation in observations):
        return impact.removes_reserve("jobs run until the token expires")
    return impact.stops()


def _tags(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Jobs that ask for a tag which the runner does not have are not taken."""
    record = next((observation.measured for observation in observations), None)
    has = record.tags if isinstance(record, RunnerRecord) else ()
    missing = [tag for tag in facts.inventory.runner.tags or () if tag not in has]
    return impact.stops(f"jobs with the tags {', '.join(missing)}" if missing else "jobs with tags")


def _untagged(_facts: Facts, observations: Sequence[Observation]) -> Impact:
    """A runner that takes jobs without tags takes more than expected; one that does not leaves them waiting."""
    record = next((observation.measured for observation in observations), None)
    if isinstance(record, RunnerRecord) and record.run_untagged:
        return impact.none("it takes jobs without tags besides")
    return impact.stops("jobs without tags")


single(
    cause("token-missing", "2.2", "token-kinds"),
    stops_all,
    token_presence,
    faults=(TokenFault.MISSING, TokenFault.PLACEHOLDER),
    remedy=(_NEW, _KEEP, _ROLL),
)
single(
    cause("token-whitespace", "2.2", "token-whitespace"),
    stops_all,
    token_whitespace,
    remedy=("write it again without an end of line: `printf %s TOKEN`, never `echo TOKEN`", _KEEP, _ROLL),
)
single(
    cause("token-wrong-kind", "2.2", "token-kinds"),
    stops_all,
    token_kind,
    remedy=(
        _NEW,
        _KEEP,
        _ROLL,
    ),
)
single(
    cause("token-misplaced", "2.2", "token-kinds"),
    no_harm("the runner takes it from there, too"),
    token_place,
    remedy=("move the token from `runnerRegistrationToken` to `runnerToken` in {values}: it stays the same", _ROLL),
)
single(
    cause("token-mistyped", "2.2", "token-kinds"),
    unless_healthy(token_acceptance, stops_all, "GitLab accepts it"),
    token_form,
    remedy=("copy the token again from where it is kept: it was truncated or mistyped", _ROLL),
)
single(
    cause("gitlab-rate-limits-runners", "2.2", "rate-limits"),
    always(slows("the start of jobs")),
    runner_api,
    token_acceptance,
    faults=(TokenFault.RATE_LIMITED,),
    remedy=(
        "wait as long as Retry-After says, then run the check again",
        "fewer `replicas`, or a higher limit: Admin → Settings → Network → Runner jobs API",
    ),
)
single(
    cause("runner-api-broken", "2.2", "runner-verify"),
    stops_all,
    runner_api,
    remedy=("on {gitlab_host}: `gitlab-ctl status`; `gitlab-ctl tail gitlab-rails` while the check runs again",),
)
_REVOKED = has_fault(TokenFault.REVOKED)
_REJECTED = has_fault(ManagerFault.TOKEN_REJECTED, MetricsFault.POLLS_REJECTED)
REVOKED = cause("token-revoked", "2.2", "token-kinds")


@rule
def revoked_token(facts: Facts) -> Iterator[Conclusion]:
    """A token that GitLab does not know: the managers that use it are rejected for the same reason."""
    rejected = facts.failing(own_runner, token_acceptance, valid_runner, where=_REVOKED)
    if not rejected:
        return
    managers = facts.failing(manager_logs, manager_polls, where=_REJECTED)
    names = names_of(facts, rejected)
    steps = (
        "in GitLab: see under Admin → CI/CD → Runners whether the runner was deleted, or its token reset",
        _NEW,
        _KEEP,
        _ROLL,
    )
    sentence = rejected[0].measured.cause if rejected[0].measured is not None else str(rejected[0].error)
    yield Conclusion(
        cause=REVOKED,
        sentence=sentence + ("; the managers are rejected with it" if managers else ""),
        certain=True,
        impact=impact.stops(),
        explains=keys((*rejected, *managers)),
        proofs=proofs(
            *(Proof.of(observation.measured) for observation in (*rejected[:1], *managers[:1]) if observation.measured)
        ),
        remedy=steps_of(steps, names),
    )


single(
    cause("token-of-another-runner", "2.2", "runner-list"),
    stops_all,
    own_runner,
    faults=(TokenFault.OTHER_RUNNER,),
    remedy=("correct `runner.id` in the inventory, or use the token of that runner", _ROLL),
)
single(
    cause("token-expired", "2.2", "runner-list"),
    _expiry,
    token_expiry,
    own_runner,
    valid_runner,
    token_acceptance,
    faults=(TokenFault.EXPIRED, TokenFault.EXPIRING),
    remedy=(
        "reset the runner's token in GitLab, or clear the expiry: Admin → Settings → CI/CD → Runners expiration",
        _KEEP,
        _ROLL,
    ),
)
single(
    cause("token-not-verified", "2.2", "runner-verify"),
    stops_all,
    token_acceptance,
    likely="GitLab's own log of the request: `gitlab-ctl tail gitlab-rails`",
    remedy=("repeat the runner's request: the command is in the evidence", _NEW),
)
single(
    cause("runner-paused", "2.2", "runner-list"),
    stops_all,
    runner_activity,
    faults=(RunnerFault.PAUSED,),
    remedy=("in GitLab: Admin → CI/CD → Runners → the runner → resume",),
)
single(
    cause("runner-wrong-tags", "2.2", "registration-options"),
    _tags,
    runner_tags,
    remedy=("in GitLab: edit the runner's tags, or correct `runner.tags` in the inventory; values cannot set them",),
)
single(
    cause("runner-untagged-jobs", "2.2", "registration-options"),
    _untagged,
    runner_untagged,
    remedy=("in GitLab: edit the runner, “Run untagged jobs”",),
)
single(
    cause("runner-offline", "4.2", "runner-liveness"),
    stops_all,
    runner_online,
    likely="the managers' own logs (4.1.2) and readiness",
    remedy=(
        "`kubectl logs -n {namespace} deployment/{release} --tail=100` shows what fails",
        "`kubectl rollout restart -n {namespace} deployment/{release}`",
    ),
)
single(
    cause("managers-missing-in-gitlab", "4.2", "system-id"),
    managers,
    manager_count,
    likely="each manager's own log",
    remedy=(
        "`kubectl get pods -n {namespace} -o wide` must show all replicas ready",
        "`kubectl logs -n {namespace} -l release={release} --prefix --tail=20`: what does the manager say that GitLab "
        "does not list?",
    ),
)
single(
    cause("manager-old-version", "4.2", "version-skew"),
    no_harm("jobs run with the version that runs"),
    manager_versions,
    remedy=("`kubectl rollout status -n {namespace} deployment/{release}`: an old manager still runs", "`{upgrade}`"),
)
single(
    cause("manager-from-elsewhere", "4.2", "system-id"),
    no_harm("somebody else may take jobs of this runner"),
    manager_addresses,
    remedy=("find out who else has the token: a manager connects from an address of no node; reset the token",),
)
single(
    cause("runner-api-unavailable", "2.2", "gitlab-answers"),
    stops_all,
    token_acceptance,
    faults=(GitLabFault.BAD_GATEWAY, GitLabFault.UNAVAILABLE),
    remedy=("on {gitlab_host}: `gitlab-ctl status`",),
)

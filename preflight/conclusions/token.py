"""2.2, 4.2 The runner's token, and GitLab's records of the runner and its managers."""

from __future__ import annotations

from collections.abc import Iterator

from preflight.conclusions.model import Conclusion, Proof, cause, keys, rule
from preflight.conclusions.observations import Facts
from preflight.conclusions.single_fact import names_of, single
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

_NEW = "in GitLab: Admin → CI/CD → Runners → New instance runner (GitLab shows the token once, it begins with glrt-)"
_KEEP = (
    "`kubectl create secret generic {release}-token -n {namespace} --from-literal=runner-token=TOKEN "
    "--from-literal=runner-registration-token=`, and `runners.secret: {release}-token` in {values}"
)
_ROLL = "`{upgrade}`, then `kubectl rollout restart deployment -n {namespace}`: managers read the token at their start"

single(
    cause("token-missing", "2.2", "token-kinds"),
    token_presence,
    faults=(TokenFault.MISSING, TokenFault.PLACEHOLDER),
    remedy=(_NEW, _KEEP, _ROLL),
)
single(
    cause("token-whitespace", "2.2", "token-whitespace"),
    token_whitespace,
    remedy=("write it again without an end of line: `printf %s TOKEN`, never `echo TOKEN`", _KEEP, _ROLL),
)
single(
    cause("token-wrong-kind", "2.2", "token-kinds"),
    token_kind,
    remedy=(
        _NEW,
        "set it as `runnerToken`, or in the Secret of `runners.secret`; a registration token can't be used",
        _ROLL,
    ),
)
single(
    cause("token-misplaced", "2.2", "token-kinds"),
    token_place,
    remedy=("move the token from `runnerRegistrationToken` to `runnerToken` in {values}: it stays the same", _ROLL),
)
single(
    cause("token-mistyped", "2.2", "token-kinds"),
    token_form,
    remedy=("copy the token again from where it is kept: it was truncated or mistyped", _ROLL),
)
single(
    cause("gitlab-rate-limits-runners", "2.2", "rate-limits"),
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
        explains=keys((*rejected, *managers)),
        proofs=proofs(
            *(Proof.of(observation.measured) for observation in (*rejected[:1], *managers[:1]) if observation.measured)
        ),
        remedy=tuple(step.format_map(names) for step in steps),
    )


single(
    cause("token-of-another-runner", "2.2", "runner-list"),
    own_runner,
    faults=(TokenFault.OTHER_RUNNER,),
    remedy=("correct `runner.id` in the inventory, or use the token of that runner", _ROLL),
)
single(
    cause("token-expired", "2.2", "runner-list"),
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
    token_acceptance,
    likely="GitLab's own log of the request: `gitlab-ctl tail gitlab-rails`",
    remedy=("repeat the runner's request: the command is in the evidence", _NEW),
)
single(
    cause("runner-paused", "2.2", "runner-list"),
    runner_activity,
    faults=(RunnerFault.PAUSED,),
    remedy=("in GitLab: Admin → CI/CD → Runners → the runner → resume",),
)
single(
    cause("runner-wrong-tags", "2.2", "registration-options"),
    runner_tags,
    remedy=("in GitLab: edit the runner's tags, or correct `runner.tags` in the inventory; values cannot set them",),
)
single(
    cause("runner-untagged-jobs", "2.2", "registration-options"),
    runner_untagged,
    remedy=("in GitLab: edit the runner, “Run untagged jobs”",),
)
single(
    cause("runner-offline", "4.2", "runner-liveness"),
    runner_online,
    likely="the managers' own logs (4.1.2) and readiness",
    remedy=(
        "`kubectl logs -n {namespace} deployment/{release} --tail=100` shows what fails",
        "`kubectl rollout restart -n {namespace} deployment/{release}`",
    ),
)
single(
    cause("managers-missing-in-gitlab", "4.2", "system-id"),
    manager_count,
    likely="each manager's own log",
    remedy=(
        "`kubectl get pods -n {namespace} -o wide` must show all replicas ready",
        "`kubectl logs -n {namespace} POD` of the manager that GitLab does not list",
    ),
)
single(
    cause("manager-old-version", "4.2", "version-skew"),
    manager_versions,
    remedy=("`kubectl rollout status -n {namespace} deployment/{release}`: an old manager still runs", "`{upgrade}`"),
)
single(
    cause("manager-from-elsewhere", "4.2", "system-id"),
    manager_addresses,
    remedy=("find out who else has the token: a manager connects from an address of no node; reset the token",),
)
single(
    cause("runner-api-unavailable", "2.2", "gitlab-answers"),
    token_acceptance,
    faults=(GitLabFault.BAD_GATEWAY, GitLabFault.UNAVAILABLE),
    remedy=("on {gitlab_host}: `gitlab-ctl status`",),
)

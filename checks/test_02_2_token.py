"""2.2 Runner token: it belongs to a runner, GitLab accepts it, and its runner takes the jobs that it is meant for."""

import pytest

from preflight.facts import OwnRunner, RunnerRecord, RunnerToken, TokenReply


def test_runner_token_is_given(token_presence: RunnerToken) -> None:
    """2.2.1 A runner token is configured, and it is no placeholder.

    Why: with the example's placeholder the chart installs without an error, and every manager then fails to register.
    Remedy (token-placeholder): put the token of the guide's 2.2 into `runnerToken` of the values file, or into the
        Secret that `runners.secret` names; GitLab shows it once, when the runner is created (Admin → CI/CD → Runners).
    Remedy (token-missing): set `runnerToken`, or let `runners.secret` name a Secret of the namespace with the keys
        `runner-token` and `runner-registration-token` (the latter may be empty). Where helm is given the token with
        `--set runnerToken=…`, set `runner.token` in the inventory to the same.
    Remedy: set the runner's token in the values.
    """
    assert not token_presence.fault


def test_runner_token_has_no_whitespace(token_whitespace: RunnerToken) -> None:
    """2.2.2 The runner token contains no whitespace, and none surrounds it.

    Why: it is sent in an HTTP header as it is; with a trailing newline, the runner reports an "invalid header field"
        and does not say that the token is the reason.
    Remedy (token-whitespace): write the token without whitespace; for a Secret use `printf %s TOKEN | base64`, since
        `echo` adds a newline.
    Remedy: write the token without anything before or after it.
    """
    assert not token_whitespace.fault


def test_runner_token_is_an_authentication_token(token_kind: RunnerToken) -> None:
    """2.2.3 The runner token is a runner authentication token.

    Why: the guide calls it a registration token, which is something else: GitLab has refused those by default since
        17.0, and the runner tells the two apart by the prefix `glrt-` alone.
    Remedy (token-registration): create the runner in GitLab (Admin → CI/CD → Runners → New instance runner) and use the
        `glrt-` token that it shows.
    Remedy (token-personal, token-job, token-other-kind): this token is for something else, and may allow more than a
        runner should: use the runner's `glrt-` token here, and revoke this one if the file was shared.
    Remedy (token-unrecognised): use the `glrt-` token of a runner created in GitLab: with any other, a manager that
        stops removes the runner for all managers (set `unregisterRunners: false` if you must keep such a token).
    Remedy: use the token that GitLab shows when a runner is created.
    """
    assert not token_kind.fault


@pytest.mark.advice
def test_runner_token_has_a_known_form(token_form: RunnerToken) -> None:
    """2.2.4 The runner token is complete.

    Why: a token that was truncated or mistyped when it was copied is refused like one that never existed.
    Remedy (token-checksum): copy the token again; GitLab shows it only once; if it is lost, reset it there.
    Remedy (token-form): compare the token with the one that GitLab showed; newer versions of GitLab may create tokens
        of a format that this version does not know.
    Remedy: copy the token again.
    """
    assert not token_form.fault


def test_runner_api_answers(runner_api: TokenReply) -> None:
    """2.2.5 GitLab's runner API answers.

    Why: registration and every request for jobs are POSTs to it; a proxy or firewall that passes pages may refuse
        those. An invalid token is sent, and GitLab's own 403 is the expected answer.
    Remedy (rate-limited): wait, or raise GitLab's limits for unauthenticated API requests: runners behind the same
        address share them.
    Remedy (http-status): look for a web application firewall or proxy that refuses POST to `/api/v4/runners/`.
    Remedy (bad-gateway, unavailable): GitLab is starting or overloaded: `gitlab-ctl status`, `gitlab-ctl tail puma`.
    Remedy: make `curl -d token=x http://GITLAB/api/v4/runners/verify` answer 403 Forbidden in JSON.
    """
    assert not runner_api.fault


def test_runner_token_belongs_to_a_runner(own_runner: OwnRunner) -> None:
    """2.2.6 A runner in GitLab has the token.

    Why: no manager can register with a token that was reset or whose runner was deleted. GitLab shows how each runner's
        token begins, so this is found without sending the token anywhere.
    Remedy (token-revoked): put the runner's current token into the values: reset it in GitLab (the runner's page, or
        `POST /runners/ID/reset_authentication_token`), or create a new runner.
    Remedy (token-other-runner): correct `runner.id` in the inventory, or the token in the values.
    Remedy: use the token of a runner that exists in GitLab.
    """
    assert not own_runner.fault


def test_runner_token_has_not_expired(token_expiry: RunnerToken) -> None:
    """2.2.7 The runner token does not expire within the next days.

    Why: each new manager pod registers with the token of the values, even after a running one has renewed its own.
    Remedy (token-expired, token-expiring): reset the token in GitLab and put the new one into the values; to prevent it
        from recurring, clear the expiry of runner tokens (Admin → Settings → CI/CD → Runners).
    Remedy: use a token that stays valid.
    """
    assert not token_expiry.fault


def test_gitlab_accepts_the_runner_token(token_acceptance: TokenReply) -> None:
    """2.2.8 GitLab accepts the runner token.

    Why: every manager verifies it when it registers. GitLab creates a manager's record whenever a valid token is
        verified, so it is verified as a manager that runs already, and not at all before the installation.
    Remedy (token-revoked): put the runner's current token into the values, and upgrade the release.
    Remedy (rate-limited): wait, or raise GitLab's limits for unauthenticated API requests.
    Remedy: make `gitlab-runner verify` in a manager's pod report that the runner is valid.
    """
    assert not token_acceptance.fault


def test_runner_is_not_paused(runner_activity: RunnerRecord) -> None:
    """2.2.9 The runner is not paused in GitLab.

    Why: a paused runner's managers are online and look healthy, but get no jobs.
    Remedy (runner-paused): resume the runner in GitLab (Admin → CI/CD → Runners → ▶).
    Remedy: make the runner active.
    """
    assert not runner_activity.fault


def test_runner_has_the_expected_tags(runner_tags: RunnerRecord) -> None:
    """2.2.10 The runner has the expected tags.

    Why: a job with a tag that no runner has stays pending forever. With a `glrt-` token, tags are set in GitLab alone:
        `runners.tags` in the values has no effect.
    Remedy (runner-wrong-tags): set the tags on the runner's page in GitLab, or correct `runner.tags` in the inventory.
    Remedy: give the runner the tags that jobs use.
    """
    assert not runner_tags.fault


def test_runner_takes_untagged_jobs_as_expected(runner_untagged: RunnerRecord) -> None:
    """2.2.11 The runner takes untagged jobs, or does not, as expected.

    Why: the guide ticks "Run untagged jobs"; without it, its own test pipelines stay pending unless they name a tag.
    Remedy (runner-untagged): tick or clear "Run untagged jobs" on the runner's page in GitLab, or correct
        `runner.run_untagged` in the inventory.
    Remedy: set it on the runner's page as expected.
    """
    assert not runner_untagged.fault


@pytest.mark.advice
def test_runner_token_is_in_its_own_key(token_place: RunnerToken) -> None:
    """2.2.12 The runner token is in `runnerToken`, not in the key of registration tokens.

    Why: the runner takes an authentication token from `runnerRegistrationToken` as well, but GitLab removes that key
        together with registration tokens.
    Remedy: move the token from `runnerRegistrationToken` to `runnerToken`; in a Secret, from
        `runner-registration-token` to `runner-token`.
    """
    assert not token_place.fault

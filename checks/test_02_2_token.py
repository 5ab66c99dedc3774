"""2.2 Runner token: it is a runner's own, GitLab accepts it, and its runner takes the jobs that it is meant for."""

import pytest

from preflight.facts import OwnRunner, RunnerRecord, RunnerToken, TokenReply


def test_runner_token_is_given(token_presence: RunnerToken) -> None:
    """2.2.1 A runner token is given, and no placeholder.

    Why: with the example's placeholder the chart installs well, and every manager then fails to register.
    Remedy (token-placeholder): put the token of 2.2 into `runnerToken` of the values file, or into the Secret that
        `runners.secret` names; GitLab shows it once, when the runner is created (Admin → CI/CD → Runners).
    Remedy (token-missing): set `runnerToken`, or let `runners.secret` name a Secret of the namespace with the keys
        `runner-token` and `runner-registration-token` (the latter may be empty). Where helm gets the token with
        `--set runnerToken=…`, give the suite the same with `runner.token` in the inventory.
    Remedy: give the runner's token in the values.
    """
    assert not token_presence.fault


def test_runner_token_has_no_whitespace(token_whitespace: RunnerToken) -> None:
    """2.2.2 The runner token has no blank or line end in or around it.

    Why: it goes into an HTTP header as it is; with a line's end behind it, the runner reports an "invalid header
    field" and nothing says that the token is meant.
    Remedy (token-whitespace): write the token without them; for a Secret use `printf %s TOKEN | base64`, since
        `echo` adds a line's end.
    Remedy: write the token without anything around it.
    """
    assert not token_whitespace.fault


def test_runner_token_is_an_authentication_token(token_kind: RunnerToken) -> None:
    """2.2.3 The runner token is a runner's authentication token.

    Why: the guide calls it a registration token, which is another thing: GitLab has refused those by default since
    17.0, and the runner decides by the prefix `glrt-` alone what it was given.
    Remedy (token-registration): create the runner in GitLab (Admin → CI/CD → Runners → New instance runner) and use
        the `glrt-` token that it shows.
    Remedy (token-personal, token-job, token-other-kind): this token is for something else, and may do more than a
        runner should: put the runner's `glrt-` token here, and revoke this one if the file was shared.
    Remedy (token-unrecognised): use a `glrt-` token of a runner created in GitLab: with any other, a manager that
        stops removes the whole runner for all (set `unregisterRunners: false` where you must keep it).
    Remedy (token-misplaced): move the token from `runnerRegistrationToken` to `runnerToken`.
    Remedy: use the token that GitLab shows when a runner is created.
    """
    assert not token_kind.fault


@pytest.mark.advice
def test_runner_token_has_a_known_form(token_form: RunnerToken) -> None:
    """2.2.4 The runner token is whole.

    Why: a token that was cut or mistyped when it was copied is refused like one that never was.
    Remedy (token-checksum): copy the token again; GitLab shows it only once, so otherwise reset it there.
    Remedy (token-form): compare the token with the one that GitLab showed; newer versions of GitLab may make tokens
        of a form that is not known here.
    Remedy: copy the token again.
    """
    assert not token_form.fault


def test_runner_api_answers(runner_api: TokenReply) -> None:
    """2.2.5 GitLab's runner API answers.

    Why: registration and every request for jobs are POSTs to it; a proxy or firewall that lets pages through may
    refuse those. A token of nobody's is sent, and GitLab's own 403 is the right answer.
    Remedy (rate-limited): wait, or raise GitLab's limits for unauthenticated API requests: runners behind one
        address share them.
    Remedy (http-status): look for a web application firewall or proxy that refuses POST to `/api/v4/runners/`.
    Remedy (bad-gateway, unavailable): GitLab is starting or overloaded: `gitlab-ctl status`, `gitlab-ctl tail puma`.
    Remedy: let `curl -d token=x http://GITLAB/api/v4/runners/verify` answer 403 Forbidden in JSON.
    """
    assert not runner_api.fault


def test_runner_token_belongs_to_a_runner(own_runner: OwnRunner) -> None:
    """2.2.6 A runner in GitLab has the token.

    Why: a token whose runner was deleted, or which was reset, lets no manager register. GitLab shows how each runner's
    token begins, so this is found without the token being sent anywhere.
    Remedy (token-revoked): put the runner's present token into the values: reset it in GitLab (the runner's page, or
        `POST /runners/ID/reset_authentication_token`), or create a new runner.
    Remedy (token-other-runner): correct `runner.id` in the inventory, or the token in the values.
    Remedy: give the values the token of a runner that is in GitLab.
    """
    assert not own_runner.fault


def test_runner_token_has_not_expired(token_expiry: RunnerToken) -> None:
    """2.2.7 The runner token is valid for days to come.

    Why: each new manager pod registers with the token of the values, also after a running one has renewed its own.
    Remedy (token-expired, token-expiring): reset the token in GitLab and put the new one into the values; to end
        this for good, clear the expiry of runner tokens (Admin → Settings → CI/CD → Runners).
    Remedy: give the values a token that stays valid.
    """
    assert not token_expiry.fault


def test_gitlab_accepts_the_runner_token(token_acceptance: TokenReply) -> None:
    """2.2.8 GitLab accepts the runner token.

    Why: it is what every manager asks when it registers. GitLab keeps a record of any manager that a valid token is
    verified for, so it is verified in the name of one that runs already, and before the installation not at all.
    Remedy (token-revoked): put the runner's present token into the values, and install again.
    Remedy (rate-limited): wait, or raise GitLab's limits for unauthenticated API requests.
    Remedy: let `gitlab-runner verify` in a manager's pod say that the runner is valid.
    """
    assert not token_acceptance.fault


def test_runner_is_not_paused(runner_activity: RunnerRecord) -> None:
    """2.2.9 The runner is not paused in GitLab.

    Why: a paused runner's managers are online and look well, and get no job.
    Remedy (runner-paused): resume the runner in GitLab (Admin → CI/CD → Runners → ▶).
    Remedy: let the runner get jobs.
    """
    assert not runner_activity.fault


def test_runner_has_the_expected_tags(runner_tags: RunnerRecord) -> None:
    """2.2.10 The runner has the expected tags.

    Why: a job that asks for a tag which no runner has stays pending for ever. With a `glrt-` token, tags are set in
    GitLab alone: `runners.tags` in the values has no effect.
    Remedy (runner-wrong-tags): set the tags on the runner's page in GitLab, or correct `runner.tags` in the inventory.
    Remedy: let the runner have the tags that jobs ask for.
    """
    assert not runner_tags.fault


def test_runner_takes_untagged_jobs_as_expected(runner_untagged: RunnerRecord) -> None:
    """2.2.11 The runner takes jobs without tags, or leaves them, as expected.

    Why: the guide ticks "Run untagged jobs"; without it its own test pipelines wait, unless they name a tag.
    Remedy (runner-untagged): tick or clear "Run untagged jobs" on the runner's page in GitLab, or correct
        `runner.run_untagged` in the inventory.
    Remedy: set on the runner's page what is expected.
    """
    assert not runner_untagged.fault

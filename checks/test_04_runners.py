"""4.2 Runners in GitLab: one runner, whose managers are online, as many as replicas, of the right version."""

import pytest

from preflight.facts import RegisteredManagers


def test_runner_is_online(runner_online: RegisteredManagers) -> None:
    """4.2.1 The runner is online in GitLab.

    Why: it is what the guide looks for in the Admin area. GitLab shows one runner with several managers, not three
    runners, and calls them online for two hours; here they must have been seen within the last one.
    Remedy (runner-offline): read the managers' logs (`kubectl -n NAMESPACE logs -l app=gitlab-runner`): they say
        whether they reach GitLab and whether it accepts their token.
    Remedy: let a manager pod run and reach GitLab.
    """
    assert not runner_online.fault


def test_every_replica_is_registered_in_gitlab(manager_count: RegisteredManagers) -> None:
    """4.2.2 GitLab knows a manager online for each replica.

    Why: each replica takes its own `concurrent` jobs; one that never registered takes none, though its pod is Ready.
    Remedy (runner-too-few): look at the pods that are missing (`kubectl -n NAMESPACE get pods -l app=gitlab-runner`)
        and at their logs: Ready only says that the process runs.
    Remedy: let every replica's manager register.
    """
    assert not manager_count.fault


@pytest.mark.advice
def test_managers_have_the_version_of_the_values(manager_versions: RegisteredManagers) -> None:
    """4.2.3 The managers run the version that the values name.

    Why: before an upgrade they run the former one, and that is right; afterwards it means that a rollout got stuck or
    that somebody else uses the token.
    Remedy (manager-version): finish the rollout (`kubectl -n NAMESPACE rollout status deployment/gitlab-runner`), or
        correct `image.tag`.
    Remedy: let all managers run the version of the values.
    """
    assert not manager_versions.fault


@pytest.mark.advice
def test_managers_come_from_the_cluster(manager_addresses: RegisteredManagers) -> None:
    """4.2.4 GitLab sees the managers at addresses of the cluster's nodes.

    Why: a manager elsewhere uses the same token, and takes jobs into an environment that nobody has looked at; behind
    a NAT gateway or a proxy, all of them show its address instead.
    Remedy (manager-address): find out whose address it is; if it is not your gateway, reset the runner's token in
        GitLab. Otherwise, let GitLab know its proxies (`nginx['real_ip_trusted_addresses']`).
    Remedy: let only this cluster's managers use the token.
    """
    assert not manager_addresses.fault

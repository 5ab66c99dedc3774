"""4.2 Runners in GitLab: one runner, whose managers are online, as many as replicas, of the right version."""

import pytest

from preflight.facts import RegisteredManagers


def test_runner_is_online(runner_online: RegisteredManagers) -> None:
    """4.2.1 The runner is online in GitLab.

    Why: the guide checks this in the Admin area. GitLab shows one runner with several managers, not three runners, and
        shows them as online for two hours; here they must have contacted GitLab within the last hour.
    Remedy (runner-offline): read the managers' logs (`kubectl -n NAMESPACE logs -l app=gitlab-runner`): they say
        whether they reach GitLab and whether it accepts their token.
    Remedy: get a manager's pod running, with a path to GitLab.
    """
    assert not runner_online.fault


def test_every_replica_is_registered_in_gitlab(manager_count: RegisteredManagers) -> None:
    """4.2.2 GitLab shows an online manager for each replica.

    Why: each replica runs its own `concurrent` jobs; one that never registered runs none, although its pod is Ready.
    Remedy (runner-too-few): check the pods of the missing managers (`kubectl -n NAMESPACE get pods -l
        app=gitlab-runner`) and their logs: Ready only says that the process runs.
    Remedy: get every replica's manager registered.
    """
    assert not manager_count.fault


@pytest.mark.advice
def test_managers_have_the_version_of_the_values(manager_versions: RegisteredManagers) -> None:
    """4.2.3 The managers run the version of the values.

    Why: before an upgrade they correctly run the previous one; afterwards, another version means that a rollout is
        stuck or that something else uses the token.
    Remedy (manager-version): finish the rollout (`kubectl -n NAMESPACE rollout status deployment/gitlab-runner`), or
        correct `image.tag`.
    Remedy: get all managers to the version of the values.
    """
    assert not manager_versions.fault


@pytest.mark.advice
def test_managers_come_from_the_cluster(manager_addresses: RegisteredManagers) -> None:
    """4.2.4 GitLab sees the managers connect from addresses of the cluster's nodes.

    Why: a manager elsewhere uses the same token, and runs jobs in an environment that was not checked; behind a NAT
        gateway or a proxy, all managers show its address instead.
    Remedy (manager-address): find out whose address it is; if it is not your gateway, reset the runner's token in
        GitLab. Otherwise, configure GitLab's trusted proxies (`nginx['real_ip_trusted_addresses']`).
    Remedy: use the token only for this cluster's managers.
    """
    assert not manager_addresses.fault

"""Ids that were renamed before 1.0: what an older inventory or report calls a check or a root cause, and its name now.

An inventory's waiver and a baseline may still have the old one; docs/renamed.md lists both tables. An id that is
renamed later gets a row here, so that nobody's file stops to work without a word.
"""

from __future__ import annotations

from collections.abc import Mapping

CHECKS: Mapping[str, str] = {
    "test_machines_are_outside_of_the_clusters_networks": "test_machine_addresses_are_outside_the_cluster_networks",
    "test_no_proxy_swallows_what_managers_and_jobs_need": "test_no_proxy_intercepts_what_managers_and_jobs_need",
    "test_no_proxy_swallows_internal_addresses_here": "test_no_proxy_intercepts_internal_addresses_here",
    "test_runner_token_is_a_runners_own": "test_runner_token_is_an_authentication_token",
    "test_the_nodes_of_each_pool_are_well": "test_the_nodes_of_each_pool_are_healthy",
    "test_job_pods_find_the_names_that_the_resolvers_give": "test_job_pods_resolve_names_as_the_resolvers_do",
    "test_each_worker_can_be_logged_in_to": "test_ssh_login_works_on_each_worker",
    "test_registry_lets_us_in": "test_registry_authenticates",
    "test_what_limits_the_namespace_is_known": "test_namespace_limits_are_readable",
    "test_the_runner_may_make_jobs": "test_the_runner_may_create_job_pods",
    "test_the_runner_may_watch_jobs": "test_the_runner_has_its_optional_rights",
    "test_no_webhook_can_hold_jobs_up": "test_no_webhook_can_block_job_pods",
    "test_commands_run_in_pods_on_each_worker": "test_exec_works_on_each_worker",
    "test_pods_can_be_attached_to_on_each_worker": "test_attach_works_on_each_worker",
    "test_logs_come_from_each_worker": "test_logs_are_readable_on_each_worker",
    "test_chart_and_image_are_of_one_runner_version": "test_chart_and_image_have_the_same_runner_version",
    "test_release_has_the_values_of_the_files": "test_release_values_match_the_files",
    "test_managers_run_with_the_deployed_configuration": "test_managers_run_the_deployed_configuration",
    "test_settings_do_not_contradict_each_other": "test_settings_are_consistent",
    "test_helm_leaves_nothing_out_of_the_config": "test_templates_render_the_whole_config",
    "test_the_managers_are_given_their_rights": "test_rbac_for_the_managers_is_enabled",
    "test_the_managers_image_fits_its_user": "test_manager_image_matches_its_user_id",
    "test_dns_policy_is_spelled_as_the_runner_reads_it": "test_dns_policy_is_valid_for_the_runner",
    "test_jobs_are_given_the_resolvers_of_the_inventory": "test_jobs_use_the_resolvers_of_the_inventory",
    "test_concurrent_lets_as_many_jobs_run_as_it_says": "test_concurrent_is_not_limited_by_other_settings",
    "test_the_helper_image_can_be_had": "test_the_helper_image_is_available",
    "test_the_runner_waits_longer_than_pulls_take": "test_poll_timeout_exceeds_the_pull_times",
    "test_the_ca_of_gitlab_has_its_name": "test_the_gitlab_ca_secret_has_the_expected_key",
    "test_metrics_are_on": "test_manager_metrics_are_enabled",
    "test_no_setting_of_the_managers_is_meant_for_jobs": "test_manager_placement_settings_are_not_meant_for_jobs",
    "test_managers_take_their_leave_in_gitlab": "test_managers_unregister_on_shutdown",
    "test_the_pipelines_project_can_be_used": "test_the_pipeline_project_is_usable",
    "test_the_pipelines_project_holds_the_suites_jobs_alone": "test_the_pipeline_project_contains_only_the_suites_jobs",
    "test_every_replica_is_a_manager_in_gitlab": "test_every_replica_is_registered_in_gitlab",
    "test_docker_daemon_gets_ready": "test_docker_daemon_becomes_ready",
    "test_containers_inside_send_no_larger_packets_than_their_pod": "test_container_mtu_inside_does_not_exceed_the_pod_mtu",  # noqa: E501 - an id as it was
    "test_a_node_has_the_labels_that_managers_ask_for": "test_a_node_has_the_labels_that_managers_require",
    "test_a_node_has_the_labels_that_jobs_ask_for": "test_a_node_has_the_labels_that_jobs_require",
    "test_the_cluster_warns_of_no_manager": "test_no_warning_events_concern_the_managers",
    "test_each_manager_gives_metrics": "test_each_manager_serves_metrics",
    "test_each_manager_is_of_its_image_s_version": "test_each_manager_runs_the_version_of_its_image",
    "test_gitlab_answers_the_managers_polls": "test_gitlab_accepts_the_managers_polls",
    "test_each_variable_is_protected_as_asked": "test_each_variable_is_protected_as_expected",
}
"""Ids of checks, from old to new."""

CAUSES: Mapping[str, str] = {
    "backup-unwritten": "backup-not-written",
    "gitlab-answers-otherwise": "gitlab-answers-differ",
    "job-account-missing": "job-service-account-missing",
    "job-with-other-resolvers": "job-resolvers-differ",
    "manager-other-version": "manager-version-differs",
    "manager-placement-misread": "manager-placement-misplaced",
    "manager-warned-of": "manager-warning-events",
    "managers-fewer-than-replicas": "managers-missing-in-gitlab",
    "one-nodes-pods-blocked": "pods-of-one-node-blocked",
    "other-nameservers": "nameservers-differ",
    "other-pod-network": "pod-network-differs",
    "other-service-network": "service-network-differs",
    "proxy-swallows-jobs": "proxy-intercepts-jobs",
    "proxy-swallows-tools": "proxy-intercepts-tools",
    "release-already-there": "release-already-installed",
    "release-other-chart": "release-chart-differs",
    "runner-account-missing": "runner-service-account-missing",
    "runner-rights-wanting": "runner-optional-rights-missing",
    "token-of-another-kind": "token-wrong-kind",
}
"""Names of root causes, from old to new."""


def check(name: str) -> str:
    """The present id of a check; with its target in brackets, if it has one there."""
    check_id, bracket, target = name.partition("[")
    return f"{CHECKS.get(check_id, check_id)}{bracket}{target}"


def cause(name: str) -> str:
    """The present name of a root cause."""
    return CAUSES.get(name, name)

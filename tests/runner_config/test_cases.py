"""What the runner makes of texts that people wrote, or might: each with all that is found, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from preflight.runner_config import Outcome, judge, parse, runner_keys

REFUSED, IGNORED, OTHER = Outcome.REFUSED, Outcome.IGNORED, Outcome.OTHER_VERSION
UNKNOWN, CHANCE, NOTHING = Outcome.UNKNOWN, Outcome.CHANCE, Outcome.NO_EFFECT
ALL, SOME = Outcome.ALL_JOBS_FAIL, Outcome.SOME_JOBS_FAIL

Found = list[tuple[Outcome, str, str]]  # what comes of it, the rule, the path
K = "runners.kubernetes"


def found(config: str, version: str, environment: Mapping[str, str] | None = None) -> Found:
    keys = runner_keys(version)
    judged = judge(parse(config, keys), keys, environment=environment)
    return [
        (finding.outcome, finding.rule, ".".join(step for step in finding.path if isinstance(step, str)))
        for finding in judged.findings
    ]


def kubernetes(*lines: str) -> str:
    return "\n".join(["[[runners]]", f"[{K}]", *lines])


def below(header: str, *lines: str) -> str:
    return kubernetes(f"[{K}.{header}]", *lines)


def several(header: str, *lines: str) -> str:
    return kubernetes(f"[[{K}.{header}]]", *lines)


def runner(*lines: str) -> str:
    return "\n".join(["[[runners]]", *lines])


REQUIRED = "required_during_scheduling_ignored_during_execution"
TERMS = f"affinity.node_affinity.{REQUIRED}.node_selector_terms"


def node_terms(*lines: str) -> str:
    return "\n".join([several(TERMS), f"[[{K}.{TERMS}.match_expressions]]", *lines])


FIELD: dict[str, tuple[str, Found]] = {
    "no resolver at all": (kubernetes('image = "alpine"'), []),
    "one bracket, claims": (
        below("volumes.pvc", 'name = "cache"', 'mount_path = "/cache"'),
        [(REFUSED, "type", f"{K}.volumes.pvc")],
    ),
    "one bracket, aliases": (below("host_aliases", 'ip = "10.0.0.1"'), [(REFUSED, "type", f"{K}.host_aliases")]),
    "one bracket, services": (below("services", 'name = "redis"'), [(REFUSED, "type", f"{K}.services")]),
    "one bracket, options": (
        below("dns_config.options", 'name = "ndots"'),
        [(REFUSED, "type", f"{K}.dns_config.options")],
    ),
    "one bracket, patches": (below("pod_spec", 'patch = "a: b"'), [(REFUSED, "type", f"{K}.pod_spec")]),
    "two brackets, resolvers": (several("dns_config", "searches = []"), [(REFUSED, "type", f"{K}.dns_config")]),
    "two brackets, security": (
        several("pod_security_context", "fs_group = 1000"),
        [(REFUSED, "type", f"{K}.pod_security_context")],
    ),
    "two brackets, cache": (runner("[[runners.cache]]", 'Type = "s3"'), [(REFUSED, "type", "runners.cache")]),
    "two brackets, executor": (runner(f"[[{K}]]", "privileged = true"), [(REFUSED, "type", K)]),
    "a list of numbers": (kubernetes("image_pull_secrets = [1]"), [(REFUSED, "type", f"{K}.image_pull_secrets")]),
    "one policy": (kubernetes('pull_policy = "if-not-present"'), []),
    "several policies": (kubernetes('pull_policy = ["always", "if-not-present"]'), []),
    "a duration": (kubernetes('cleanup_resources_timeout = "5m"'), []),
    "a duration without a unit": (
        kubernetes('cleanup_resources_timeout = "5"'),
        [(REFUSED, "type", f"{K}.cleanup_resources_timeout")],
    ),
    "a policy as the API spells it": (kubernetes('pull_policy = "Always"'), [(ALL, "pull-policy", f"{K}.pull_policy")]),
    "keys in another case": (
        runner(
            "[runners.cache]",
            'type = "s3"',
            "[runners.cache.s3]",
            'bucketName = "builds"',
            f"[{K}]",
            "Privileged = true",
        ),
        [],
    ),
    "affinity as the API spells it": (
        below("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"),
        [(IGNORED, "unknown-key", f"{K}.affinity.nodeAffinity")],
    ),
    "a toleration with its effect in the key": (
        below("node_tolerations", '"dedicated=ci:NoSchedule" = ""'),
        [(ALL, "toleration", f"{K}.node_tolerations.dedicated=ci:NoSchedule")],
    ),
    "a feature flag as text": (
        runner("[runners.feature_flags]", 'FF_USE_FASTZIP = "true"'),
        [(REFUSED, "type", "runners.feature_flags.FF_USE_FASTZIP")],
    ),
    "a feature flag that is none": (
        runner("[runners.feature_flags]", "FF_ALL_WILL_BE_WELL = true"),
        [(IGNORED, "feature-flag", "runners.feature_flags.FF_ALL_WILL_BE_WELL")],
    ),
    "a patch without its feature flag": (
        several("pod_spec", 'name = "host network"', 'patch = "hostNetwork: true"'),
        [(NOTHING, "pod-spec", f"{K}.pod_spec")],
    ),
    "a key of Google's storage": (
        runner("[runners.cache]", 'Type = "gcs"', "[runners.cache.gcs]", 'bucket_name = "builds"'),
        [
            (IGNORED, "unknown-key", "runners.cache.gcs.bucket_name"),
            (NOTHING, "cache", "runners.cache.gcs"),  # so there is no bucket
        ],
    ),
    "no escalation": (
        kubernetes("privileged = true", "allow_privilege_escalation = false"),
        [(ALL, "security-context", f"{K}.allow_privilege_escalation")],
    ),
    "the service account's Secrets": (
        kubernetes("use_service_account_image_pull_secrets = true", 'image_pull_secrets = ["registry"]'),
        [(NOTHING, "pull-secrets", f"{K}.image_pull_secrets")],
    ),
    "users of a later version": (
        kubernetes('allowed_users = ["1000"]'),
        [(OTHER, "other-version", f"{K}.allowed_users")],
    ),
    "a context of a later version": (kubernetes('context = "ci"'), [(OTHER, "other-version", f"{K}.context")]),
    "privileged services alone": (
        kubernetes("privileged = false", f"[{K}.service_container_security_context]", "privileged = true"),
        [],
    ),
}


@pytest.mark.parametrize(("config", "expected"), FIELD.values(), ids=FIELD)
def test_what_the_field_showed(config: str, expected: Found) -> None:
    assert found(config, "18.3.1") == expected


FURTHER: dict[str, tuple[str, Found]] = {
    # types
    "a number in quotes": (kubernetes('poll_timeout = "360"'), [(REFUSED, "type", f"{K}.poll_timeout")]),
    "a switch in quotes": (kubernetes('privileged = "true"'), [(REFUSED, "type", f"{K}.privileged")]),
    "a switch as a number": (kubernetes("privileged = 1"), [(REFUSED, "type", f"{K}.privileged")]),
    "text without quotes' worth": (kubernetes("cpu_limit = 2"), [(REFUSED, "type", f"{K}.cpu_limit")]),
    "a number with a fraction": (kubernetes("poll_interval = 2.5"), [(REFUSED, "type", f"{K}.poll_interval")]),
    "one text for a list": (
        kubernetes('image_pull_secrets = "registry"'),
        [(REFUSED, "type", f"{K}.image_pull_secrets")],
    ),
    "a list for one text": (kubernetes('service_account = ["ci"]'), [(REFUSED, "type", f"{K}.service_account")]),
    "a policy that is a number": (kubernetes("pull_policy = 1"), [(REFUSED, "type", f"{K}.pull_policy")]),
    "policies with a number": (kubernetes('pull_policy = ["always", 1]'), [(REFUSED, "type", f"{K}.pull_policy")]),
    "policies as tables": (several("pull_policy", 'name = "always"'), [(REFUSED, "type", f"{K}.pull_policy")]),
    "a table for a text": (below("image", 'name = "alpine"'), [(REFUSED, "type", f"{K}.image")]),
    "text for a table": (kubernetes('volumes = "none"'), [(REFUSED, "type", f"{K}.volumes")]),
    "text for a map is passed over": (kubernetes('node_selector = "ci"'), [(IGNORED, "type", f"{K}.node_selector")]),
    "two brackets for a map are passed over": (
        several("node_selector", 'pool = "ci"'),
        [(IGNORED, "type", f"{K}.node_selector")],
    ),
    "a label that is a switch": (below("pod_labels", "ci = true"), [(REFUSED, "type", f"{K}.pod_labels.ci")]),
    "a retry limit that is text": (
        below("retry_limits", '"refused" = "5"'),
        [(REFUSED, "type", f"{K}.retry_limits.refused")],
    ),
    "a weight beyond 32 bits": (
        several("affinity.pod_affinity.preferred_during_scheduling_ignored_during_execution", "weight = 3_000_000_000"),
        [
            (
                REFUSED,
                "type",
                f"{K}.affinity.pod_affinity.preferred_during_scheduling_ignored_during_execution.weight",
            )
        ],
    ),
    "a number beyond 64 bits, even of an unknown key": (
        kubernetes("no_such_key = 9223372036854775808"),
        [(REFUSED, "number", f"{K}.no_such_key"), (IGNORED, "unknown-key", f"{K}.no_such_key")],
    ),
    "nanoseconds": (kubernetes("cleanup_resources_timeout = 5000000000"), []),
    "a duration with a fraction": (
        kubernetes("cleanup_resources_timeout = 5.5"),
        [(REFUSED, "type", f"{K}.cleanup_resources_timeout")],
    ),
    "a duration in days": (
        kubernetes('cleanup_resources_timeout = "1d"'),
        [(REFUSED, "type", f"{K}.cleanup_resources_timeout")],
    ),
    "a time as text": (runner('token_expires_at = "2030-01-01T00:00:00Z"'), []),
    "a time that is a day as text": (
        runner('token_expires_at = "2030-01-01"'),
        [(REFUSED, "type", "runners.token_expires_at")],
    ),
    "whole seconds for buckets": (runner("[runners.autoscaler]", "instance_readiness_time_buckets = [1, 2.5]"), []),
    "settings of a plugin may be anything": (
        runner(
            "[runners.autoscaler.plugin_config]",
            'name = "ci"',
            "size = 3",
            "[runners.autoscaler.plugin_config.more]",
            "on = true",
        ),
        [],
    ),
    "entries that are no tables": (kubernetes('host_aliases = ["10.0.0.1"]'), [(REFUSED, "type", f"{K}.host_aliases")]),
    "inline tables": (kubernetes('services = [{name = "redis", alias = "cache"}]'), []),
    "the entry of the runner with one bracket": ("[runners]\n[runners.kubernetes]", [(REFUSED, "type", "runners")]),
    # keys
    "two spellings": (
        kubernetes("privileged = true", "Privileged = false"),
        [(CHANCE, "two-spellings", f"{K}.Privileged")],
    ),
    "a hyphen": (kubernetes('service-account = "ci"'), [(IGNORED, "unknown-key", f"{K}.service-account")]),
    "as the API spells it": (
        kubernetes("serviceAccountName = 'ci'"),
        [(IGNORED, "unknown-key", f"{K}.serviceAccountName")],
    ),
    "a letter too many": (kubernetes('namespaces = "ci"'), [(IGNORED, "unknown-key", f"{K}.namespaces")]),
    "resolvers on the wrong level": (
        kubernetes('nameservers = ["10.0.0.1"]'),
        [(IGNORED, "unknown-key", f"{K}.nameservers")],
    ),
    "the executor's key at the runner": (runner("privileged = true"), [(IGNORED, "unknown-key", "runners.privileged")]),
    "a key of docker": (kubernetes('network_mode = "host"'), [(IGNORED, "unknown-key", f"{K}.network_mode")]),
    "a key below the header of selectors": (
        below("node_selector", 'pool = "ci"', "poll_timeout = 360"),
        [(REFUSED, "type", f"{K}.node_selector.poll_timeout")],
    ),
    "a text below the header of labels": (
        below("pod_labels", 'team = "ci"', 'service_account = "ci"'),
        [(NOTHING, "below-a-header", f"{K}.pod_labels.service_account")],
    ),
    "a label that only looks like a key": (below("pod_labels", 'namespace = "ci"', 'image = "alpine"'), []),
    "a key below the header of resolvers": (
        below("dns_config", 'nameservers = ["10.0.0.1"]', "poll_timeout = 360"),
        [(IGNORED, "unknown-key", f"{K}.dns_config.poll_timeout")],
    ),
    "a key that is gone": (
        kubernetes("terminationGracePeriodSeconds = 5"),
        [(IGNORED, "unknown-key", f"{K}.terminationGracePeriodSeconds")],
    ),
    # the template
    "a key of the file's top": ("concurrent = 4\n" + kubernetes(), [(IGNORED, "not-of-the-template", "concurrent")]),
    "a wrong type at the top": (
        'concurrent = "4"\n' + kubernetes(),
        [(REFUSED, "type", "concurrent"), (IGNORED, "not-of-the-template", "concurrent")],
    ),
    "two runners": (kubernetes() + "\n" + kubernetes(), [(REFUSED, "one-runner", "runners")]),
    "no runner": ("", [(REFUSED, "one-runner", "runners")]),
    "a token": (runner('token = "made-up"'), [(NOTHING, "dropped", "runners.token")]),
    "tables of another executor": (
        runner("[runners.docker]", "privileged = true", f"[{K}]"),
        [(NOTHING, "dropped", "runners.docker")],
    ),
    "referees": (runner("[runners.referees.metrics]", "queries = []"), [(NOTHING, "dropped", "runners.referees")]),
    "a pattern with a look ahead": (
        runner(
            "[[runners.monitoring.job_queuing_durations]]",
            'periods = ["* * * * *"]',
            'jobs_running_for_project = "(?!x)"',
        ),
        [(REFUSED, "periods", "runners.monitoring.job_queuing_durations.jobs_running_for_project")],
    ),
    "a period that is none": (
        runner("[[runners.monitoring.job_queuing_durations]]", 'periods = ["* 8-17"]'),
        [(REFUSED, "periods", "runners.monitoring.job_queuing_durations.periods")],
    ),
    "an environment without =": (
        runner('environment = ["A=1", "B"]'),
        [(NOTHING, "environment", "runners.environment")],
    ),
    "a flag of a later version": (
        runner("[runners.feature_flags]", "FF_HASH_CACHE_KEYS = true"),
        [(OTHER, "feature-flag", "runners.feature_flags.FF_HASH_CACHE_KEYS")],
    ),
    "a flag that is gone": (
        runner("[runners.feature_flags]", "FF_RETRIEVE_POD_WARNING_EVENTS = true"),
        [(OTHER, "feature-flag", "runners.feature_flags.FF_RETRIEVE_POD_WARNING_EVENTS")],
    ),
    # jobs
    "a shell that is none": (runner('shell = "zsh"'), [(ALL, "shell", "runners.shell")]),
    "the shell that is gone": (runner('shell = "cmd"'), [(ALL, "shell", "runners.shell")]),
    "an allowed policy as the API spells it": (
        kubernetes('pull_policy = "always"', 'allowed_pull_policies = ["always", "IfNotPresent"]'),
        [(ALL, "pull-policy", f"{K}.allowed_pull_policies")],
    ),
    "a policy that is not allowed": (
        kubernetes('pull_policy = "if-not-present"', 'allowed_pull_policies = ["always"]'),
        [(ALL, "pull-policy-not-allowed", f"{K}.pull_policy")],
    ),
    "allowed policies without one of the runner's": (
        kubernetes('allowed_pull_policies = ["always"]'),
        [(ALL, "pull-policy-not-allowed", f"{K}.allowed_pull_policies")],
    ),
    "one of two policies is allowed": (
        kubernetes('pull_policy = ["if-not-present", "always"]', 'allowed_pull_policies = ["always"]'),
        [],
    ),
    "a quantity with a wrong unit": (kubernetes('memory_limit = "2GB"'), [(ALL, "quantity", f"{K}.memory_limit")]),
    "a quantity with a space": (
        kubernetes('helper_cpu_request = "100 m"'),
        [(ALL, "quantity", f"{K}.helper_cpu_request")],
    ),
    "a quantity below zero": (kubernetes('cpu_request = "-1"'), [(ALL, "quantity", f"{K}.cpu_request")]),
    "a wrong bound for overwriting": (
        kubernetes('memory_limit_overwrite_max_allowed = "16GB"'),
        [(SOME, "quantity", f"{K}.memory_limit_overwrite_max_allowed")],
    ),
    "more requested than allowed": (
        kubernetes('cpu_limit = "500m"', 'cpu_request = "1"'),
        [(ALL, "request-above-limit", f"{K}.cpu_request")],
    ),
    "more requested for services that are not there": (
        kubernetes('service_memory_limit = "64Mi"', 'service_memory_request = "1Gi"'),
        [(SOME, "request-above-limit", f"{K}.service_memory_request")],
    ),
    "an interval longer than the timeout": (
        kubernetes("poll_interval = 60", "poll_timeout = 30"),
        [(ALL, "polling", f"{K}.poll_interval")],
    ),
    "a certificate without its key": (
        kubernetes('host = "https://api"', 'cert_file = "/c"'),
        [(ALL, "api-access", f"{K}.cert_file")],
    ),
    "a CA without a host": (kubernetes('ca_file = "/ca"'), [(NOTHING, "api-access", f"{K}.ca_file")]),
    "a pattern that Go does not read": (
        kubernetes('namespace_overwrite_allowed = "^ci-(?!prod)"'),
        [(SOME, "overwrite-pattern", f"{K}.namespace_overwrite_allowed")],
    ),
    "users of build and helper that differ": (
        below(
            "build_container_security_context",
            "run_as_user = 1000",
            f"[{K}.helper_container_security_context]",
            "run_as_user = 1001",
        ),
        [(SOME, "users-differ", f"{K}.build_container_security_context.run_as_user")],
    ),
    "a user of the helper other than the pod's": (
        below(
            "pod_security_context",
            "run_as_user = 1000",
            f"[{K}.helper_container_security_context]",
            "run_as_user = 1001",
        ),
        [(SOME, "users-differ", f"{K}.helper_container_security_context.run_as_user")],
    ),
    "one user for all": (below("pod_security_context", "run_as_user = 1000"), []),
    "Docker's folder on the node": (
        several("volumes.host_path", 'name = "docker"', 'mount_path = "/var/lib/docker/"', 'host_path = "/data"'),
        [(SOME, "docker-folder-shared", f"{K}.volumes.host_path.mount_path")],
    ),
    "Docker's folder in each pod": (
        several("volumes.empty_dir", 'name = "docker"', 'mount_path = "/var/lib/docker"'),
        [],
    ),
    "a pattern of Go's own": (kubernetes('namespace_overwrite_allowed = "^ci-[[:alnum:]]+$"'), []),
    "a namespace beside a namespace per job": (
        kubernetes("namespace_per_job = true", 'namespace = "ci"'),
        [(NOTHING, "namespace-per-job", f"{K}.namespace")],
    ),
    "an alias that is no name": (
        several("services", 'name = "postgres:16"', 'alias = "data_base"'),
        [(ALL, "services", f"{K}.services.alias")],
    ),
    "the empty service that registering writes": (several("services", 'name = ""'), []),
    "a service without a name": (several("services", 'alias = "db"'), [(NOTHING, "services", f"{K}.services")]),
    "a service that is not allowed": (
        kubernetes(
            'allowed_services = ["registry.example.com/*"]',
            f"[[{K}.services]]",
            'name = "registry.example.com/a/redis:7"',
        ),
        [(ALL, "services", f"{K}.services.name")],
    ),
    "a service that is allowed": (
        kubernetes(
            'allowed_services = ["registry.example.com/**"]',
            f"[[{K}.services]]",
            'name = "registry.example.com/a/redis:7"',
        ),
        [],
    ),
    # the pod
    "a resolver's policy as the API spells it": (
        kubernetes('dns_policy = "ClusterFirst"'),
        [(NOTHING, "dns-policy", f"{K}.dns_policy")],
    ),
    "none, and no resolver": (kubernetes('dns_policy = "none"'), [(ALL, "no-nameservers", f"{K}.dns_policy")]),
    "none, and resolvers of another type": (
        kubernetes('dns_policy = "none"', f"[{K}.dns_config]", "nameservers = '10.0.0.1'"),
        [(REFUSED, "type", f"{K}.dns_config.nameservers")],
    ),
    "four resolvers": (
        below("dns_config", 'nameservers = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]'),
        [(ALL, "dns-config", f"{K}.dns_config.nameservers")],
    ),
    "a resolver by its name": (
        below("dns_config", 'nameservers = ["dns.example.com"]'),
        [(ALL, "dns-config", f"{K}.dns_config.nameservers")],
    ),
    "an alias of no address": (
        several("host_aliases", 'ip = "gitlab"', 'hostnames = ["gitlab.example.com"]'),
        [(ALL, "host-aliases", f"{K}.host_aliases")],
    ),
    "a toleration": (below("node_tolerations", '"dedicated=ci" = "NoSchedule"', '"spot" = ""'), []),
    "an effect that is none": (
        below("node_tolerations", '"dedicated=ci" = "NoScheduling"'),
        [(ALL, "toleration", f"{K}.node_tolerations.dedicated=ci")],
    ),
    "a selector's value with a space": (
        below("node_selector", '"kubernetes.io/arch" = "amd 64"'),
        [(ALL, "labels-of-kubernetes", f"{K}.node_selector.kubernetes.io/arch")],
    ),
    "a system without a helper": (
        below("node_selector", '"kubernetes.io/os" = "Linux"'),
        [(ALL, "labels-of-kubernetes", f"{K}.node_selector.kubernetes.io/os")],
    ),
    "Windows of no build": (
        below("node_selector", '"kubernetes.io/os" = "windows"'),
        [(ALL, "labels-of-kubernetes", f"{K}.node_selector.kubernetes.io/os")],
    ),
    "Windows of a build without helper image": (
        below("node_selector", '"kubernetes.io/os" = "windows"', '"node.kubernetes.io/windows-build" = "10.0.14393"'),
        [(ALL, "labels-of-kubernetes", f"{K}.node_selector.node.kubernetes.io/windows-build")],
    ),
    "Windows of a build": (
        below("node_selector", '"kubernetes.io/os" = "windows"', '"node.kubernetes.io/windows-build" = "10.0.20348"'),
        [],
    ),
    "affinity": (node_terms('key = "pool"', 'operator = "In"', 'values = ["ci"]'), []),
    "an operator that is none": (
        node_terms('key = "pool"', 'operator = "Equals"', 'values = ["ci"]'),
        [(ALL, "affinity", f"{K}.{TERMS}.match_expressions.operator")],
    ),
    "a term without a topology": (
        several(f"affinity.pod_anti_affinity.{REQUIRED}"),
        [(ALL, "affinity", f"{K}.affinity.pod_anti_affinity.{REQUIRED}.topology_key")],
    ),
    "a volume without a path": (
        several("volumes.empty_dir", 'name = "tmp"'),
        [(ALL, "volumes", f"{K}.volumes.empty_dir.mount_path")],
    ),
    "a volume with the runner's own name": (
        several("volumes.empty_dir", 'name = "scripts"', 'mount_path = "/s"'),
        [(ALL, "volumes", f"{K}.volumes.empty_dir.name")],
    ),
    "a limit that is none": (
        several("volumes.empty_dir", 'name = "tmp"', 'mount_path = "/tmp"', 'size_limit = "1GB"'),
        [(NOTHING, "volumes", f"{K}.volumes.empty_dir.size_limit")],
    ),
    "a propagation that is none": (
        several("volumes.host_path", 'name = "run"', 'mount_path = "/run"', 'mount_propagation = "Shared"'),
        [(ALL, "volumes", f"{K}.volumes.host_path.mount_propagation")],
    ),
    "no root, and root": (
        below("build_container_security_context", "run_as_user = 0", "run_as_non_root = true"),
        [(ALL, "security-context", f"{K}.build_container_security_context.run_as_non_root")],
    ),
    "a hook with two handlers": (
        kubernetes(
            f"[{K}.container_lifecycle.pre_stop.exec]",
            'command = ["sync"]',
            f"[{K}.container_lifecycle.pre_stop.http_get]",
            "port = 80",
        ),
        [(ALL, "lifecycle", f"{K}.container_lifecycle.pre_stop")],
    ),
    "a patch of no type": (
        runner(
            "feature_flags = {FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true}",
            f"[[{K}.pod_spec]]",
            'patch_type = "Strategic"',
            'patch = "hostNetwork: true"',
        ),
        [(ALL, "pod-spec", f"{K}.pod_spec.patch_type")],
    ),
    "a JSON patch that is a mapping": (
        runner(
            'environment = ["FF_USE_ADVANCED_POD_SPEC_CONFIGURATION=true"]',
            f"[[{K}.pod_spec]]",
            'patch_type = "json"',
            'patch = "hostNetwork: true"',
        ),
        [(ALL, "pod-spec", f"{K}.pod_spec.patch")],
    ),
    "a patch twice": (
        runner(
            "feature_flags = {FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true}",
            f"[[{K}.pod_spec]]",
            'patch_path = "/p"',
            'patch = "hostNetwork: true"',
        ),
        [(ALL, "pod-spec", f"{K}.pod_spec.patch_path")],
    ),
    # the cache
    "a cache of no type": (
        runner("[runners.cache]", 'Type = "S3"', "[runners.cache.s3]"),
        [(NOTHING, "cache", "runners.cache.Type")],
    ),
    "a cache without its table": (
        runner("[runners.cache]", 'Type = "azure"'),
        [(NOTHING, "cache", "runners.cache.Type")],
    ),
}


@pytest.mark.parametrize(("config", "expected"), FURTHER.values(), ids=FURTHER)
def test_more_of_the_same_kinds(config: str, expected: Found) -> None:
    assert found(config, "18.3.1") == expected


VERSIONS: dict[str, tuple[str, str, Found]] = {
    "read since then": ("18.4", kubernetes('allowed_users = ["1000"]'), []),
    "a patch release": ("v18.4.0", kubernetes('allowed_groups = ["1000"]'), []),
    "labels": ("18.5", runner('labels = {zone = "a", "a-1" = "b"}'), []),
    "labels of a name that GitLab refuses": (
        "18.5",
        runner('labels = {"a/b" = "c"}'),
        [(REFUSED, "labels", "runners.labels.a/b")],
    ),
    "labels before there were any": (
        "18.4",
        runner('labels = {zone = "a"}'),
        [(OTHER, "other-version", "runners.labels")],
    ),
    "a volume of NFS": (
        "19.0",
        several("volumes.nfs", 'name = "nfs"', 'mount_path = "/n"', 'server = "nas"', 'path = "/"'),
        [],
    ),
    "NFS reads its keys in one spelling alone": (
        "19.0",
        several("volumes.nfs", 'Name = "nfs"', 'mount_path = "/n"', 'server = "nas"', 'path = "/"'),
        [(IGNORED, "unknown-key", f"{K}.volumes.nfs.Name"), (REFUSED, "missing", f"{K}.volumes.nfs")],
    ),
    "NFS passes over what is of another type": (
        "19.0",
        several("volumes.nfs", 'name = "nfs"', 'mount_path = "/n"', 'server = "nas"', 'path = "/"', "read_only = 1"),
        [(IGNORED, "type", f"{K}.volumes.nfs.read_only")],
    ),
    "a cache of a later version": (
        "17.4",
        runner("[runners.cache]", 'Type = "s3v2"', "[runners.cache.s3]", 'BucketName = "b"'),
        [(NOTHING, "cache", "runners.cache.Type")],
    ),
    "beyond the tables": ("99.0", kubernetes('tomorrow = "x"'), [(UNKNOWN, "unknown-key", f"{K}.tomorrow")]),
    "beyond the tables, and misspelt": (
        "99.0",
        kubernetes("privilegd = true"),
        [(IGNORED, "unknown-key", f"{K}.privilegd")],
    ),
    "beyond the tables, a flag": (
        "99.0",
        runner("[runners.feature_flags]", "FF_TOMORROW = true"),
        [(UNKNOWN, "feature-flag", "runners.feature_flags.FF_TOMORROW")],
    ),
    "older than the tables": ("16.1", kubernetes('yesterday = "x"'), [(UNKNOWN, "unknown-key", f"{K}.yesterday")]),
}


@pytest.mark.parametrize(("version", "config", "expected"), VERSIONS.values(), ids=VERSIONS)
def test_each_version_reads_its_own_keys(version: str, config: str, expected: Found) -> None:
    assert found(config, version) == expected


def test_a_variable_of_the_managers_wins_over_the_template() -> None:
    config = kubernetes('namespace = "ci"', "privileged = true")
    told = found(config, "18.3.1", {"KUBERNETES_NAMESPACE": "other", "KUBERNETES_PRIVILEGED": "true", "HOME": "/"})
    assert told == [(NOTHING, "overruled", f"{K}.namespace")]


def test_a_managers_own_file_may_hold_what_the_template_may_not() -> None:
    keys = runner_keys("18.3.1")
    document = parse('concurrent = 4\n[[runners]]\ntoken = "made-up"\n[[runners]]\n', keys)
    assert not judge(document, keys, role="file").findings


def test_the_remedy_names_the_key_that_is_meant() -> None:
    keys = runner_keys("18.3.1")
    meant = {
        'nameservers = ["10.0.0.1"]': "[runners.kubernetes.dns_config] nameservers",
        "privilegd = true": "did you mean privileged?",
        'Pull-Policy = "always"': "did you mean pull_policy?",
    }
    for line, words in meant.items():
        (finding,) = judge(parse(kubernetes(line), keys), keys).findings
        assert words in finding.message
        assert finding.nearest


def test_a_slid_key_is_sent_back_to_its_table() -> None:
    keys = runner_keys("18.3.1")
    (finding,) = judge(parse(below("dns_config", "poll_timeout = 360"), keys), keys).findings
    assert "move it up to [runners.kubernetes], above the first header" in finding.message


def test_no_message_holds_a_secret() -> None:
    keys = runner_keys("18.3.1")
    secret = "glrt-madeupmadeupmadeup12"
    config = runner(
        f"[runners.cache.s3]\nSecretKey = ['{secret}']\n[{K}]\nbearer_token = ['{secret}']\n{secret} = '{secret}'"
    )
    messages = [finding.message for finding in judge(parse(config, keys), keys).findings]
    assert len(messages) == 3
    assert secret not in " ".join(messages)

"""`runners.config` is judged by what the runner of the release's version decodes, and what comes of it for jobs."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from preflight.faults import ValuesFault
from preflight.probes.lint import Expected, Lint, lint
from preflight.values import load

HEAD = """\
gitlabUrl: http://gitlab.example.com/
rbac: {create: true}
metrics: {enabled: true}
"""
K = "[runners.kubernetes"


def judged(folder: Path, toml: str, *, top: str = "", chart: str = "0.80.1", privileged: bool = False) -> Lint:
    file = folder / "values.yaml"
    file.write_text(f"{HEAD}{top}\nrunners:\n  config: |\n{textwrap.indent(toml, '    ')}\n")
    values = load([file], release="gitlab-runner", namespace="gitlab", chart=chart)
    expected = Expected(
        chart=chart, gitlab_url="http://gitlab.example.com/", resolvers=("10.0.0.2",), privileged=privileged
    )
    return lint(values, expected)


def runner(lines: str) -> str:
    return f"[[runners]]\n{lines}\n"


def kubernetes(lines: str) -> str:
    return runner(f"[runners.kubernetes]\n{lines}")


def findings(found: Lint) -> list[tuple[str, str]]:
    return [(str(finding.fault), finding.path) for finding in found.findings]


NOTHING_TO_FIND = {
    "no dns_policy": kubernetes('image = "alpine"'),
    "no dns_policy, and a resolver more": kubernetes('[runners.kubernetes.dns_config]\nnameservers = ["192.0.2.1"]'),
    "the cluster's resolver": kubernetes('dns_policy = "cluster-first"'),
    "an empty dns_policy": kubernetes('dns_policy = ""'),
    "one policy for a list": kubernetes('pull_policy = "if-not-present"'),
    "a list of policies": kubernetes('pull_policy = ["always", "never"]'),
    "one pull secret less than one": kubernetes("image_pull_secrets = []"),
    "a duration": kubernetes('cleanup_resources_timeout = "5m"'),
    "a duration in nanoseconds": kubernetes("cleanup_resources_timeout = 300000000000"),
    "a key in another case": kubernetes("Privileged = true\nPOLL_TIMEOUT = 600"),
    "the keys of the cache as older guides have them": runner(
        '[runners.cache]\ntype = "s3"\n[runners.cache.s3]\nbucketName = "b"\nserverAddress = "s3.example.com"'
    ),
    "affinity as the runner spells it": kubernetes(
        "[runners.kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution]\n"
        "[[runners.kubernetes.affinity.node_affinity.required_during_scheduling_ignored_during_execution"
        '.node_selector_terms]]\nmatch_expressions = [{key = "disk", operator = "In", values = ["ssd"]}]'
    ),
    "a toleration": kubernetes('[runners.kubernetes.node_tolerations]\n"k=v" = "NoSchedule"\nspot = ""'),
    "a feature flag": runner("[runners.feature_flags]\nFF_USE_FASTZIP = true"),
    "a patch under its flag": runner(
        "[runners.feature_flags]\nFF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true\n[runners.kubernetes]\n"
        '[[runners.kubernetes.pod_spec]]\nname = "x"\npatch = "hostname: x"'
    ),
    "volumes of two kinds": kubernetes(
        '[[runners.kubernetes.volumes.pvc]]\nname = "a"\nmount_path = "/a"\n'
        '[[runners.kubernetes.volumes.config_map]]\nname = "b"\nmount_path = "/b"'
    ),
    "an inline list of tables": kubernetes('host_aliases = [{ip = "192.0.2.1", hostnames = ["a.example"]}]'),
    "labels that look like words": kubernetes('[runners.kubernetes.pod_labels]\nimage = "x"\nteam = "ci"'),
    "number and name": runner('name = "x"\noutput_limit = 8192'),
    "a negative number that the runner takes": runner("request_concurrency = -1"),
    "a script over several lines": runner("pre_build_script = '''\n[no.table]\nno = key\n'''"),
    "a key that stands in the header": "[[runners]]\nkubernetes.privileged = true\n",
}


@pytest.mark.parametrize("name", NOTHING_TO_FIND)
def test_what_the_runner_reads_is_no_finding(tmp_path: Path, name: str) -> None:
    assert findings(judged(tmp_path, NOTHING_TO_FIND[name])) == []


REFUSED = {
    "one bracket": (kubernetes('[runners.kubernetes.volumes.pvc]\nname = "x"'), f"{K}.volumes] pvc", 10),
    "one bracket for aliases": (kubernetes('[runners.kubernetes.host_aliases]\nip = "::1"'), f"{K}] host_aliases", 10),
    "one bracket for services": (kubernetes('[runners.kubernetes.services]\nname = "x"'), f"{K}] services", 10),
    "one bracket for options": (
        kubernetes('[runners.kubernetes.dns_config.options]\nname = "ndots"'),
        f"{K}.dns_config] options",
        10,
    ),
    "one bracket for a patch": (kubernetes('[runners.kubernetes.pod_spec]\nname = "x"'), f"{K}] pod_spec", 10),
    "two brackets for one table": (
        kubernetes('[[runners.kubernetes.dns_config]]\nnameservers = ["::1"]'),
        f"{K}] dns_config",
        10,
    ),
    "two brackets for a context": (
        kubernetes("[[runners.kubernetes.pod_security_context]]\nrun_as_user = 1"),
        f"{K}] pod_security_context",
        10,
    ),
    "two brackets for the cache": (runner('[[runners.cache]]\nType = "s3"'), "[runners] cache", 9),
    "two brackets for the executor": ("[[runners]]\n[[runners.kubernetes]]\n", "[runners] kubernetes", 9),
    "numbers in a list of text": (kubernetes("image_pull_secrets = [1]"), f"{K}] image_pull_secrets", 10),
    "a number in the second policy": (kubernetes('pull_policy = ["always", 1]'), f"{K}] pull_policy", 10),
    "a duration without a unit": (
        kubernetes('cleanup_resources_timeout = "5"'),
        f"{K}] cleanup_resources_timeout",
        10,
    ),
    "a flag as text": (
        runner('[runners.feature_flags]\nFF_USE_FASTZIP = "true"'),
        "[runners.feature_flags] FF_USE_FASTZIP",
        10,
    ),
    "a number as text": (kubernetes('poll_timeout = "600"'), f"{K}] poll_timeout", 10),
    "text for true": (kubernetes('privileged = "true"'), f"{K}] privileged", 10),
    "a fraction for a whole number": (runner("limit = 1.5"), "[runners] limit", 9),
    "a number for text": (kubernetes("cpu_request = 1"), f"{K}] cpu_request", 10),
    "text for a list": (runner('environment = "A=b"'), "[runners] environment", 9),
    "one of two volumes": (
        kubernetes(
            '[[runners.kubernetes.volumes.pvc]]\nname = "a"\nmount_path = "/a"\n'
            '[[runners.kubernetes.volumes.pvc]]\nname = "b"\nmount_path = "/b"\nread_only = "no"'
        ),
        f"{K}.volumes.pvc] read_only",
        16,
    ),
    "labels that GitLab does not take": (runner('[runners.labels]\na = "b"'), "[runners.labels] a", 10),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_runner_refuses_keeps_managers_from_registering(tmp_path: Path, name: str) -> None:
    toml, path, line = REFUSED[name]
    found = judged(tmp_path, toml, chart="0.86.0")
    assert findings(found) == [("config-refused", path)]
    assert found.findings[0].place == f"values.yaml:{line - 1}"
    assert "no manager registers" in found.findings[0].message


FOUND = {
    "misspelt": (kubernetes("poll_timeot = 600"), "unknown-key", f"{K}] poll_timeot", "did you mean poll_timeout?"),
    "affinity as the API spells it": (
        kubernetes("[runners.kubernetes.affinity.nodeAffinity]\nx = 1"),
        "unknown-key",
        f"{K}.affinity] nodeAffinity",
        "did you mean node_affinity?",
    ),
    "a key of the bucket in another spelling": (
        runner('[runners.cache]\nType = "gcs"\n[runners.cache.gcs]\nBucketName = "b"\nbucket_name = "b"'),
        "unknown-key",
        "[runners.cache.gcs] bucket_name",
        "BucketName",
    ),
    "a flag that is none": (
        runner("[runners.feature_flags]\nFF_NOT_REAL = true"),
        "unknown-key",
        "[runners.feature_flags] FF_NOT_REAL",
        "no such feature flag",
    ),
    "a key of a later runner": (
        kubernetes('allowed_users = ["1000"]'),
        "other-version",
        f"{K}] allowed_users",
        "since 18.4",
    ),
    "a key below the wrong header": (
        kubernetes('[runners.kubernetes.dns_config]\nsearches = ["a.example"]\npoll_timeout = 600'),
        "wrong-table",
        f"{K}.dns_config] poll_timeout",
        "move it up to [runners.kubernetes]",
    ),
    "a list of names that is text": (
        kubernetes('pod_labels = "team=ci"'),
        "wrong-form",
        f"{K}] pod_labels",
        "a table of names",
    ),
    "two spellings of one key": (
        kubernetes("privileged = true\nPrivileged = false"),
        "twice",
        f"{K}] Privileged",
        "chance",
    ),
    "a policy that the runner does not know": (
        kubernetes('pull_policy = "Always"'),
        "jobs-fail",
        f"{K}] pull_policy",
        'did you mean "always"?; every job fails',
    ),
    "a toleration with its effect in the key": (
        kubernetes('[runners.kubernetes.node_tolerations]\n"k=v:NoSchedule" = ""'),
        "jobs-fail",
        f"{K}.node_tolerations] k=v:NoSchedule",
        'write "k=v" = "NoSchedule"',
    ),
    "no escalation, and privileged": (
        kubernetes("privileged = true\nallow_privilege_escalation = false"),
        "jobs-fail",
        f"{K}] allow_privilege_escalation",
        "the API refuses every job's pod",
    ),
    "a quantity that is none": (kubernetes('memory_request = "1 GB"'), "jobs-fail", f"{K}] memory_request", "1.5Gi"),
    "a volume without a path": (
        kubernetes('[[runners.kubernetes.volumes.empty_dir]]\nname = "a"'),
        "jobs-fail",
        f"{K}.volumes.empty_dir] mount_path",
        "it is not set",
    ),
    "a pattern that is none": (
        kubernetes('namespace_overwrite_allowed = "ci-("'),
        "some-jobs-fail",
        f"{K}] namespace_overwrite_allowed",
        "it is no regular expression",
    ),
    "a patch without its flag": (
        kubernetes('[[runners.kubernetes.pod_spec]]\nname = "x"\npatch = "hostname: x"'),
        "no-effect",
        f"{K}] pod_spec",
        "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION",
    ),
    "a cache without a bucket": (
        runner('[runners.cache]\nType = "s3"'),
        "no-effect",
        "[runners.cache] Type",
        "jobs have no cache",
    ),
    "pull secrets beside the service account's": (
        kubernetes('use_service_account_image_pull_secrets = true\nimage_pull_secrets = ["a"]'),
        "no-effect",
        f"{K}] image_pull_secrets",
        "not used",
    ),
    "a namespace beside one for each job": (
        kubernetes('namespace_per_job = true\nnamespace = "ci"'),
        "no-effect",
        f"{K}] namespace",
        "ci-job-ID",
    ),
    "a key of the chart": (runner("concurrent = 3"), "moved-key", "[runners] concurrent", "set concurrent"),
    "a token": (runner('token = "made-up"'), "contradiction", "[runners] token", "drops a token"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_does_not_do_what_it_says_is_found(tmp_path: Path, name: str) -> None:
    toml, fault, path, words = FOUND[name]
    found = judged(tmp_path, toml)
    assert findings(found) == [(fault, path)]
    assert words in found.findings[0].message
    assert "made-up" not in str(found.findings)


def test_the_runner_is_the_one_of_the_image(tmp_path: Path) -> None:
    toml = kubernetes('allowed_users = ["1000"]')
    assert findings(judged(tmp_path, toml, top="image: {tag: alpine-v18.4.0}")) == []
    assert [fault for fault, _ in findings(judged(tmp_path, toml, top="image: {tag: alpine-v17.4.0}"))] == [
        "other-version"
    ]
    assert findings(judged(tmp_path, toml, chart="0.86.0")) == []


@pytest.mark.parametrize(
    ("top", "chart"),
    [("image: {tag: alpine-latest}", "0.80.1"), ("image: {tag: alpine-v29.1.0}", "0.80.1"), ("", "1.90.0")],
)
def test_a_key_beyond_the_tables_is_advice(tmp_path: Path, top: str, chart: str) -> None:
    found = judged(tmp_path, kubernetes("brand_new_setting = true"), top=top, chart=chart)
    assert findings(found) == [("not-known", f"{K}] brand_new_setting")]
    assert "a later one may" in found.findings[0].message
    assert found.about(ValuesFault.UNKNOWN_KEY, ValuesFault.OTHER_VERSION).fault is None


def test_a_misspelt_key_beyond_the_tables_is_still_misspelt(tmp_path: Path) -> None:
    found = judged(tmp_path, kubernetes("poll_timeot = 1"), chart="1.90.0")
    assert findings(found) == [("unknown-key", f"{K}] poll_timeot")]


def test_a_key_of_a_newer_chart_is_advice(tmp_path: Path) -> None:
    found = judged(tmp_path, kubernetes(""), top="brandNew: 1", chart="1.90.0")
    assert findings(found) == [("not-known", "brandNew")]


@pytest.mark.parametrize(
    "top", ["envVars: [{name: KUBERNETES_NAMESPACE, value: other}]", "extraEnv: {KUBERNETES_NAMESPACE: other}"]
)
def test_a_variable_of_the_managers_that_wins_is_found(tmp_path: Path, top: str) -> None:
    found = judged(tmp_path, kubernetes('namespace = "ci"'), top=top)
    assert findings(found) == [("contradiction", f"{K}] namespace")]
    assert "KUBERNETES_NAMESPACE" in found.findings[0].message


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ("privileged = false\n[runners.kubernetes.service_container_security_context]\nprivileged = true", None),
        ("privileged = true\n[runners.kubernetes.build_container_security_context]\nprivileged = false", None),
        (
            "privileged = true\n[runners.kubernetes.service_container_security_context]\nprivileged = false",
            f"{K}.service_container_security_context] privileged",
        ),
        ("image = 'x'", f"{K}] privileged"),
    ],
)
def test_docker_in_docker_needs_a_privileged_service(tmp_path: Path, lines: str, path: str | None) -> None:
    found = judged(tmp_path, kubernetes(lines), privileged=True)
    assert findings(found) == ([("not-privileged", path)] if path else [])


def test_resolvers_that_are_not_the_inventorys_are_found_where_jobs_ask_no_others(tmp_path: Path) -> None:
    servers = '[runners.kubernetes.dns_config]\nnameservers = ["192.0.2.1"]'
    assert findings(judged(tmp_path, kubernetes(f'dns_policy = "none"\n{servers}'))) == [
        ("nameservers-differ", f"{K}.dns_config] nameservers")
    ]
    assert findings(judged(tmp_path, kubernetes(f'dns_policy = "cluster-first"\n{servers}'))) == []

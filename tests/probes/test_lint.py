"""The linter of values: what it names, where, and what it leaves alone."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from preflight import charts
from preflight.faults import ValuesFault
from preflight.probes.lint import Expected, Lint, lint
from preflight.probes.lint.toml_text import toml_lines
from preflight.values import load

PROJECT = Path(__file__).parents[2]
RESOLVERS = ("10.0.0.2", "10.1.0.251", "10.1.0.252")
HEAD = """\
gitlabUrl: http://192.168.1.50/
rbac: {create: true}
metrics: {enabled: true}
"""
TOML = """\
[[runners]]
  [runners.kubernetes]
    privileged = true
    dns_policy = "none"
    [runners.kubernetes.dns_config]
      nameservers = ["10.0.0.2", "10.1.0.251", "10.1.0.252"]
"""


def values_with(toml: str = TOML, top: str = HEAD) -> str:
    return f"{top}runners:\n  config: |\n{textwrap.indent(toml, '    ')}"


def judged(folder: Path, *texts: str, pairs: tuple[str, ...] = (), chart: str = "0.80.0") -> Lint:
    files = []
    for number, text in enumerate(texts):
        files.append(folder / ("values.yaml" if number == 0 else f"values-{number}.yaml"))
        files[-1].write_text(text)
    values = load(files, pairs, release="gitlab-runner", namespace="gitlab")
    expected = Expected(chart=chart, gitlab_url="http://192.168.1.50/", resolvers=RESOLVERS, privileged=True)
    return lint(values, expected)


def told(found: Lint) -> list[tuple[str, str, str]]:
    return [(one.fault.value, one.place, one.path) for one in found.findings]


def test_the_shipped_values_have_nothing_to_find(tmp_path: Path) -> None:
    assert told(judged(tmp_path, (PROJECT / "gitlab-runner-values.yaml").read_text())) == []


def test_the_smallest_right_values_have_nothing_to_find(tmp_path: Path) -> None:
    assert told(judged(tmp_path, values_with())) == []


# The guide's own snippets, pasted below each other as an operator would: chapters 3.3, 6.3, 6.5, 7.1-7.4 and 9.1.
GUIDES_SNIPPETS = """\
gitlabUrl: http://192.168.1.50/
runnerToken: "YOUR_RUNNER_TOKEN_HERE"
rbac:
  create: true
image:
  registry: registry.example.com
  image: gitlab-org/gitlab-runner
  tag: v18.4.0
replicas: 4
concurrent: 12
dns_policy: "none"
nameservers: ["10.0.0.2", "10.1.0.251", "10.1.0.252"]
nodeSelector:
  workload: ci
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      preference:
        matchExpressions:
        - key: workload
          operator: In
          values:
          - ci
metrics:
  enabled: true
  port: 9252
  portName: metrics
runners:
  cache:
    type: s3
    s3:
      ServerAddress: s3.amazonaws.com
      BucketName: gitlab-runner-cache
      BucketLocation: us-east-1
      Insecure: false
      AccessKey: "YOUR_ACCESS_KEY"
      SecretKey: "YOUR_SECRET_KEY"
  config: |
    [[runners]]
      [runners.kubernetes]
        privileged = true
        # 降低资源请求
        cpu_request = "250m"
        memory_request = "256Mi"

        service_cpu_request = "250m"
        service_memory_request = "256Mi"

        dns_policy = "none"
        nameservers = ["10.0.0.2", "10.1.0.251", "10.1.0.252"]
"""


def test_the_guides_own_traps_are_named_with_their_lines(tmp_path: Path) -> None:
    """Reference §8: 5 the image's flavour, 6 the cache, 7 the node selector, 9 the flat nameservers."""
    found = judged(tmp_path, GUIDES_SNIPPETS)
    assert told(found) == [
        ("image-flavour", "values.yaml:8", "image.tag"),
        ("flat-nameservers", "values.yaml:11", "dns_policy"),
        ("flat-nameservers", "values.yaml:12", "nameservers"),
        ("managers-only", "values.yaml:13", "nodeSelector"),
        ("managers-only", "values.yaml:15", "affinity"),
        ("moved-key", "values.yaml:31", "runners.cache.type"),
        ("moved-key", "values.yaml:32", "runners.cache.s3"),
        ("flat-nameservers", "values.yaml:51", "[runners.kubernetes] nameservers"),
    ]
    said = str(found.findings)
    assert "alpine-v18.4.0" in said
    assert "runAsUser 999" in said
    assert "[runners.cache.s3]" in said
    assert "[runners.kubernetes] node_selector" in said
    assert "[runners.kubernetes.dns_config]" in said
    assert "YOUR_SECRET_KEY" not in said


def test_a_snippet_pasted_twice_is_named(tmp_path: Path) -> None:
    pasted = values_with() + "runners:\n  config: |\n    [[runners]]\n      [runners.kubernetes]\n"
    found = judged(tmp_path, pasted).about(ValuesFault.TWICE)
    assert [(one.place, one.path) for one in found.findings] == [("values.yaml:12", "runners")]


@pytest.mark.parametrize(
    ("top", "fault", "line", "words"),
    [
        ("replica: 3\n", "unknown-key", 4, "did you mean replicas?"),
        ("rbac.create: true\n", "unknown-key", 4, "no such key"),
        ("imageTag: x\n", "unknown-key", 4, "no such key"),
        ("podlabels: {}\n", "unknown-key", 4, "did you mean podLabels?"),
        ("pollTimeout: 600\n", "unknown-key", 4, "[runners.kubernetes] poll_timeout in runners.config"),
        ("secretName: x\n", "unknown-key", 4, "it is runners.cache.secretName"),
        ("image: registry.example.com/runner:v1\n", "wrong-form", 4, "a table of its own keys"),
        ('unregisterRunners: "false"\n', "wrong-form", 4, "true or false here, and finds text"),
        ("replicas: many\n", "wrong-form", 4, "a whole number"),
        ("tolerations: {key: x}\n", "wrong-form", 4, "a list"),
        ("sessionServer: {enabled: true}\nreplicas: 3\n", "contradiction", 4, "3 managers and not one"),
        ("service: {enabled: true}\nmetrics: {enabled: false}\n", "contradiction", 4, "metrics.enabled"),
        ("hpa: {maxReplicas: 3}\nreplicas: 3\n", "contradiction", 5, "hpa"),
        ("unregisterRunners: false\n", "unregister", 4, "behind"),
        ("concurrent: 0\n", "concurrent", 4, "ends at once"),
        ("podSecurityContext: {runAsUser: 999, fsGroup: 999}\n", "image-flavour", 1, "runAsUser 100"),
    ],
)
def test_a_key_of_the_chart_is_judged(tmp_path: Path, top: str, fault: str, line: int, words: str) -> None:
    found = [one for one in judged(tmp_path, values_with(top=HEAD + top)).findings if one.fault == fault]
    assert len(found) == 1, found
    assert words in found[0].message
    if fault != "image-flavour":
        assert found[0].place == f"values.yaml:{line}"


@pytest.mark.parametrize(
    ("old", "new", "fault", "line", "words"),
    [
        ("privileged = true", "privileged = true\n    poll_timeot = 9", "unknown-key", 9, "did you mean poll_timeout?"),
        ("privileged = true", "privileged = true\n    cpuLimit = '1'", "unknown-key", 9, "did you mean cpu_limit?"),
        ("privileged = true", 'privileged = "true"', "config-refused", 8, "true or false here, and finds text"),
        ("[[runners]]", "[[runners]]\n  concurrent = 3", "moved-key", 7, "set concurrent in the chart's values"),
        ("[[runners]]", "concurrent = 3\n[[runners]]", "moved-key", 6, "set concurrent in the chart's values"),
        ("[[runners]]", "[[runners]]\n  limit = 3", "concurrent", 7, "at most 3 jobs"),
        ("[[runners]]", '[[runners]]\n  url = "http://other/"', "contradiction", 7, "gitlabUrl says otherwise"),
        ("[[runners]]", '[[runners]]\n  executor = "docker"', "contradiction", 7, "and wins"),
        ('"10.1.0.252"]', '"10.1.0.252"]\n      poll_timeout = 600', "wrong-table", 12, "[runners.kubernetes]"),
        (
            '"10.1.0.252"]',
            '"10.1.0.252"]\n    [runners.kubernetes.pod_labels]\n      cpu_limit = "1"',
            "wrong-table",
            13,
            "up",
        ),
        (
            '"10.1.0.252"]',
            '"10.1.0.252"]\n    [runners.kubernetes.pod_labels]\n      a = 1',
            "config-refused",
            13,
            "text",
        ),
        ('"none"', '"None"', "dns-policy-spelling", 9, 'did you mean "none"?'),
        ('"none"', '"ClusterFirstWithHostNet"', "dns-policy-spelling", 9, 'mean "cluster-first-with-host-net"'),
        ('"10.1.0.252"]', '"10.1.0.252", "10.1.0.253"]', "too-many-nameservers", 11, "there are 4"),
        ('"10.1.0.252"]', "]", "nameservers-differ", 11, "the inventory says 10.0.0.2, 10.1.0.251, 10.1.0.252"),
        ('["10.0.0.2", "10.1.0.251", "10.1.0.252"]', "[]", "no-nameservers", 9, "refuses every job"),
        ("privileged = true", "privileged = false", "not-privileged", 8, "Docker-in-Docker"),
        ("privileged = true", 'privileged = true\n    image = "{{ .Hostname }}"', "template", 9, "no value"),
        ("privileged = true", 'privileged = true\n    image = "{{ env }}"', "template", 9, 'function "env"'),
        ("privileged = true", 'privileged = true\n    image = "{{ .Values.nope }}"', "template", 9, "not set"),
    ],
)
def test_a_key_of_the_runner_is_judged(tmp_path: Path, old: str, new: str, fault: str, line: int, words: str) -> None:
    assert old in TOML
    found = judged(tmp_path, values_with(TOML.replace(old, new, 1)))
    assert [one.fault for one in found.findings] == [fault]
    assert found.findings[0].place == f"values.yaml:{line}"
    assert words in found.findings[0].message


@pytest.mark.parametrize(
    "line",
    [
        'image = "{{ .Release.Namespace }}"',
        'image = "{{ default .Release.Namespace .Values.runners.jobNamespace }}"',
        'image = {{ .Values.image.tag | default "x" | quote }}',
        "# {{/* a comment of Helm's */}}",
        """image = '{{ "{{" }} mine }}'""",
    ],
)
def test_expressions_that_helm_understands_are_left_alone(tmp_path: Path, line: str) -> None:
    found = judged(tmp_path, values_with(TOML.replace("privileged = true", f"privileged = true\n    {line}")))
    assert not found.about(ValuesFault.TEMPLATE).findings


def test_broken_toml_is_one_finding_and_the_chart_is_judged_all_the_same(tmp_path: Path) -> None:
    found = judged(tmp_path, values_with(TOML.replace('"none"', '"none'), top=f"{HEAD}replica: 3\n"))
    assert told(found) == [
        ("unknown-key", "values.yaml:4", "replica"),
        ("not-toml", "values.yaml:10", "runners.config"),
    ]
    assert "not TOML at its line 4" in found.findings[1].message


def test_a_later_file_and_a_pair_are_named_as_the_place(tmp_path: Path) -> None:
    found = judged(tmp_path, values_with(), "rbac:\n  create: false\n", pairs=("gitlabUrl=http://192.168.1.51/",))
    assert told(found) == [("gitlab-url", "--set", "gitlabUrl"), ("rbac-off", "values-1.yaml:2", "rbac.create")]


@pytest.mark.parametrize("url", ["http://192.168.1.50", "http://192.168.1.50:80/", "HTTP://192.168.1.50/"])
def test_spellings_of_one_url_are_the_same(tmp_path: Path, url: str) -> None:
    assert told(judged(tmp_path, values_with(top=HEAD.replace("http://192.168.1.50/", url)))) == []


def test_an_own_account_needs_no_rbac(tmp_path: Path) -> None:
    top = HEAD.replace("rbac: {create: true}", "serviceAccount: {name: ci}")
    assert told(judged(tmp_path, values_with(top=top))) == []


def test_no_finding_repeats_a_token(tmp_path: Path) -> None:
    token = "glrt-made-up-for-this-test"
    found = judged(tmp_path, values_with(top=f"{HEAD}runnerTokn: {token}\nrunners_token: {token}\n"))
    assert len(found.findings) == 2
    assert token not in str(found.findings) + found.about(ValuesFault.UNKNOWN_KEY).evidence.observed


@pytest.mark.parametrize("odd", ["[]", "[1, {a: b}]", "{a: {b: c}}", "7", "'http://['", "true", "null"])
@pytest.mark.parametrize(
    "key", ["gitlabUrl", "image", "rbac", "metrics", "podSecurityContext", "concurrent", "replicas", "envVars", "hpa"]
)
def test_odd_forms_are_findings_and_no_stumbling(tmp_path: Path, key: str, odd: str) -> None:
    lines = "".join(line for line in HEAD.splitlines(keepends=True) if not line.startswith(f"{key}:"))
    judged(tmp_path, values_with(top=f"{lines}{key}: {odd}\n"))


@pytest.mark.parametrize("odd", ["[]", "[1, 'a']", "{a = {b = 1}}", "7", "true", "1.5", "1979-05-27"])
@pytest.mark.parametrize("key", ["privileged", "dns_policy", "image", "namespace", "helper_image", "node_selector"])
def test_odd_forms_in_the_toml_are_findings_and_no_stumbling(tmp_path: Path, key: str, odd: str) -> None:
    lines = "".join(line for line in TOML.splitlines(keepends=True) if f"{key} =" not in line)
    toml = lines.replace("[runners.kubernetes]\n", f"[runners.kubernetes]\n    {key} = {odd}\n")
    judged(tmp_path, values_with(toml))


def test_tags_in_the_values_are_void(tmp_path: Path) -> None:
    found = judged(tmp_path, values_with() + "  tags: [kubernetes]\n").about(ValuesFault.NO_EFFECT)
    assert [(one.place, one.path) for one in found.findings] == [("values.yaml:12", "runners.tags")]


def test_a_token_beside_a_secret_is_named(tmp_path: Path) -> None:
    text = values_with(top=f"{HEAD}runnerToken: glrt-made-up-for-this-test\n") + "  secret: runner-token\n"
    assert told(judged(tmp_path, text)) == [("token-in-file", "values.yaml:4", "runnerToken")]


def test_a_cause_names_three_findings_and_the_evidence_all(tmp_path: Path) -> None:
    found = judged(tmp_path, values_with(top=HEAD + "aa: 1\nbb: 1\ncc: 1\ndd: 1\n")).about(ValuesFault.UNKNOWN_KEY)
    assert found.fault is ValuesFault.UNKNOWN_KEY
    assert found.cause.endswith("and 1 more")
    assert "values.yaml:7: dd" in found.evidence.observed
    assert found.evidence.command == "cat -n values.yaml | sed -n '4p;5p;6p;7p'"


def test_charts_of_several_versions_stand_side_by_side(tmp_path: Path) -> None:
    head = HEAD.replace("metrics: {enabled: true}", "metrics: {enabled: true, podMonitor: {enabled: true}}")
    text = values_with(top=head + "extraEnvFromRefs: []\n")
    assert [one[2] for one in told(judged(tmp_path, text))] == ["metrics.podMonitor", "extraEnvFromRefs"]
    assert [one[2] for one in told(judged(tmp_path, text, chart="0.84.1"))] == ["metrics.podMonitor"]
    assert told(judged(tmp_path, text, chart="0.86.0")) == []


def test_a_chart_without_a_table_takes_the_nearest_and_says_so() -> None:
    assert charts.versions()[0] == "0.77"
    assert [charts.keys(one).version for one in ("0.60.0", "0.78.0", "0.80.0", "1.2.0")] == [
        "0.77",
        "0.77",
        "0.80",
        "0.86",
    ]
    assert [charts.keys(one).covered for one in ("0.60.0", "0.80.3", "1.2.0")] == [False, True, False]
    assert charts.keys("0.80.0").runner == "18.3"


def test_every_leaf_of_a_table_is_a_known_word() -> None:
    words = {"text", "number", "switch", "list", "map", "any"}

    def leaves(tree: charts.Tree) -> set[str]:
        return {word for one in tree.values() for word in (leaves(one) if isinstance(one, dict) else {one})}

    for version in charts.versions():
        assert leaves(charts.keys(version).tree) <= words


def test_lines_of_toml_are_those_of_an_editor() -> None:
    text = textwrap.dedent(
        """\
        [[runners]]
          pre_build_script = '''
        [not.a.table]
        not = "a key"
        '''
          environment = [
            "A=1",
          ]
          [runners.kubernetes] # with a comment
            image = "a"
            [runners.kubernetes.node_tolerations]
              "a.b/c=d" = "NoSchedule"
        """
    )
    entry = ("runners", 0)
    assert toml_lines(text) == {
        ("runners",): 1,
        entry: 1,
        (*entry, "pre_build_script"): 2,
        (*entry, "environment"): 6,
        (*entry, "kubernetes"): 9,
        (*entry, "kubernetes", "image"): 10,
        (*entry, "kubernetes", "node_tolerations"): 11,
        (*entry, "kubernetes", "node_tolerations", "a.b/c=d"): 12,
    }


def test_each_entry_of_a_list_of_tables_has_lines_of_its_own() -> None:
    text = "[[a]]\n[a.b]\nx = 1\n[[a]]\n[[a.c]]\ny = 1\n[[a.c]]\ny = 2\n"
    lines = toml_lines(text)
    assert lines["a", 0, "b", "x"] == 3
    assert toml_lines("[[a]]\nx = 1\n[a.b.c.d]\ny = 1\n")["a", 0, "b", "c"] == 3, "of a table that has no header"
    assert (lines["a", 1, "c"], lines["a", 1, "c", 0, "y"], lines["a", 1, "c", 1, "y"]) == (5, 6, 8)

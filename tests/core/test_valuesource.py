"""The runner's values, wherever they stand in a file."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import yaml

from preflight.inventory import InventoryError
from preflight.valuesource import ValuesSource, Wrapper, read

PLAIN = """\
# the runner
gitlabUrl: http://gitlab.example.com/
concurrent: 4
runners:
  config: |
    [[runners]]
      name = "{{ .Release.Name }}"
"""


def source(folder: Path, text: str, at: str = "") -> ValuesSource:
    file = folder / "file.yaml"
    file.write_text(textwrap.dedent(text))
    return read(file, at)


def indented(spaces: int, text: str = PLAIN) -> str:
    return textwrap.indent(text, " " * spaces)


def line_of(folder: Path, words: str) -> int:
    lines = (folder / "file.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if words in line)


def agrees(folder: Path, found: ValuesSource) -> None:
    """The values are the plain ones, and their lines are those of the file around them."""
    assert len(found.parts) == 1
    part = found.parts[0]
    assert part.document == yaml.safe_load(PLAIN)
    assert yaml.safe_load(part.text) == part.document
    assert part.marks.line(("concurrent",)) == line_of(folder, "concurrent: 4")
    assert part.marks.line(("runners", "config")) == line_of(folder, "config: |")
    assert ("runners", "config") in part.marks.blocks


WRAPPED = {
    (Wrapper.UMBRELLA, "gitlab-runner"): f"postgres: {{size: 1}}\ngitlab-runner:\n{indented(2)}",
    (Wrapper.UMBRELLA, "ci"): f"ci:\n{indented(2)}\nother: {{replicas: 2}}\n",
    (Wrapper.UMBRELLA, "gitlab.gitlab-runner"): f"gitlab:\n  gitlab-runner:\n{indented(4)}",
    (Wrapper.ARGO, "spec.source.helm.values"): f"""\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: runner, namespace: argocd}}
spec:
  destination: {{namespace: ci}}
  source:
    repoURL: https://charts.gitlab.io
    chart: gitlab-runner
    targetRevision: 0.80.1
    helm:
      values: |
{indented(8)}""",
    (Wrapper.ARGO, "spec.source.helm.valuesObject"): f"""\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: runner}}
spec:
  source:
    chart: gitlab-runner
    helm:
      values: "concurrent: 99"
      valuesObject:
{indented(8)}""",
    (Wrapper.ARGO, "spec.sources[1].helm.values"): f"""\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: runner}}
spec:
  sources:
  - repoURL: https://git.example.com/values.git
    ref: values
  - chart: gitlab-runner
    helm:
      releaseName: other
      values: |
{indented(8)}""",
    (Wrapper.FLUX, "spec.values"): f"""\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: runner, namespace: ci}}
spec:
  chart: {{spec: {{chart: gitlab-runner, version: 0.80.1}}}}
  values:
{indented(4)}""",
    (Wrapper.HELMFILE, "releases[1].values"): f"""\
repositories:
- {{name: gitlab, url: https://charts.gitlab.io}}
releases:
- {{name: other, chart: gitlab/gitlab-agent}}
- name: runner
  namespace: ci
  chart: gitlab/gitlab-runner
  version: 0.80.1
  values:
  -
{indented(4)}""",
    (Wrapper.HELM_CHART, "spec.valuesContent"): f"""\
apiVersion: helm.cattle.io/v1
kind: HelmChart
metadata: {{name: runner, namespace: kube-system}}
spec:
  chart: gitlab-runner
  targetNamespace: ci
  valuesContent: |
{indented(4)}""",
    (Wrapper.FLEET, "helm.values"): f"""\
defaultNamespace: ci
helm:
  chart: gitlab-runner
  repo: https://charts.gitlab.io
  values:
{indented(4)}""",
    (Wrapper.KUSTOMIZE, "helmCharts[0].valuesInline"): f"""\
helmCharts:
- name: gitlab-runner
  version: 0.80.1
  valuesInline:
{indented(4)}""",
    (Wrapper.CONFIG_MAP, "data.values.yaml"): f"""\
apiVersion: v1
kind: ConfigMap
metadata: {{name: runner-values}}
data:
  values.yaml: |
{indented(4)}""",
}


def test_plain_values_are_the_whole_file(tmp_path: Path) -> None:
    found = source(tmp_path, PLAIN)
    assert (found.wrapper, found.at) == (Wrapper.PLAIN, "")
    assert found.parts[0].text == PLAIN
    agrees(tmp_path, found)


@pytest.mark.parametrize(
    ("kind", "text"), WRAPPED.items(), ids=lambda one: ":".join(one) if isinstance(one, tuple) else ""
)
def test_wrapped_values_are_found_with_their_lines(tmp_path: Path, kind: tuple[Wrapper, str], text: str) -> None:
    found = source(tmp_path, text)
    assert (found.wrapper, found.at) == kind
    agrees(tmp_path, found)
    agrees(tmp_path, source(tmp_path, text, kind[1]))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ((Wrapper.ARGO, "spec.source.helm.values"), ("runner", "ci", "gitlab-runner", "0.80.1", "https://charts.gitlab.io")),
        ((Wrapper.ARGO, "spec.sources[1].helm.values"), ("other", "", "gitlab-runner", "", "")),
        ((Wrapper.FLUX, "spec.values"), ("runner", "ci", "gitlab-runner", "0.80.1", "")),
        ((Wrapper.HELMFILE, "releases[1].values"), ("runner", "ci", "gitlab-runner", "0.80.1", "https://charts.gitlab.io")),
        ((Wrapper.HELM_CHART, "spec.valuesContent"), ("runner", "ci", "gitlab-runner", "", "")),
        ((Wrapper.FLEET, "helm.values"), ("", "ci", "gitlab-runner", "", "https://charts.gitlab.io")),
        ((Wrapper.KUSTOMIZE, "helmCharts[0].valuesInline"), ("gitlab-runner", "", "gitlab-runner", "0.80.1", "")),
    ],
)  # fmt: skip
def test_a_wrapper_tells_the_release_and_the_chart(
    tmp_path: Path, kind: tuple[Wrapper, str], told: tuple[str, ...]
) -> None:
    found = source(tmp_path, WRAPPED[kind])
    assert (found.release, found.namespace, found.chart, found.version, found.repository) == told


def test_a_small_file_without_any_key_of_its_own_is_plain(tmp_path: Path) -> None:
    found = source(tmp_path, "replicas: 3\nimage: {tag: alpine-v18.3.1}\n")
    assert (found.wrapper, found.parts[0].document["replicas"]) == (Wrapper.PLAIN, 3)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_plain(tmp_path: Path, text: str) -> None:
    found = source(tmp_path, text)
    assert (found.wrapper, found.parts[0].document) == (Wrapper.PLAIN, None)


def test_several_places_are_a_question_that_names_them(tmp_path: Path) -> None:
    text = f"fast:\n{indented(2)}\nslow:\n{indented(2).replace('4', '1')}"
    with pytest.raises(InventoryError) as refused:
        source(tmp_path, text)
    assert "in 2 places, expected at: fast, slow" in str(refused.value)
    assert source(tmp_path, text, "slow").parts[0].document["concurrent"] == 1


def test_documents_of_one_file_are_told_apart_by_their_names(tmp_path: Path) -> None:
    first, second = (
        WRAPPED[Wrapper.FLUX, "spec.values"].replace("name: runner", f"name: {name}") for name in ("a", "b")
    )
    text = f"{first}---\n{second.replace('concurrent: 4', 'concurrent: 9')}"
    with pytest.raises(InventoryError, match=r"at: HelmRelease/a:spec\.values, HelmRelease/b:spec\.values"):
        source(tmp_path, text)
    found = source(tmp_path, text, "HelmRelease/b:spec.values")
    assert (found.release, found.parts[0].document["concurrent"]) == ("b", 9)


def test_other_documents_of_the_file_do_not_matter(tmp_path: Path) -> None:
    other = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ci}\n---\n"
    found = source(tmp_path, other + WRAPPED[Wrapper.FLUX, "spec.values"])
    assert found.wrapper is Wrapper.FLUX
    agrees(tmp_path, found)


def test_a_place_may_be_named_that_looks_like_nothing(tmp_path: Path) -> None:
    found = source(tmp_path, "a:\n  b.c:\n  - x: {replicas: 2}\nd: {replicas: 3}\n", "a.b.c[0].x")
    assert (found.wrapper, found.parts[0].document) == (Wrapper.PLACE, {"replicas": 2})


@pytest.mark.parametrize("at", ["gitlab", "gitlab-runner.concurrent", "gitlab-runner[0]", "HelmRelease/a:spec.values"])
def test_a_place_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, at: str) -> None:
    with pytest.raises(InventoryError, match="found nothing, expected one table of values; there are gitlab-runner"):
        source(tmp_path, f"gitlab-runner:\n{indented(2)}", at)


def test_a_table_of_the_charts_name_is_meant_before_others(tmp_path: Path) -> None:
    text = f"gitlab-runner:\n{indented(2)}\nindexer: {{api: {{gitlabUrl: x}}}}\n"
    assert source(tmp_path, text).at == "gitlab-runner"


def test_an_umbrellas_globals_are_handed_down_and_its_switch_is_its_own(tmp_path: Path) -> None:
    text = """\
    global: {a: 1, deep: {b: 2}}
    gitlab-runner:
      install: true
      global: {a: 0, deep: {c: 3}}
      gitlabUrl: x
    """
    found = source(tmp_path, text)
    assert found.parts[0].document == {"gitlabUrl": "x", "global": {"a": 1, "deep": {"b": 2, "c": 3}}}
    assert yaml.safe_load(found.parts[0].text) == found.parts[0].document
    assert found.dropped == ("install",)


def test_a_text_with_an_umbrellas_values_is_looked_into(tmp_path: Path) -> None:
    text = f"""\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: platform}}
spec:
  source:
    repoURL: https://git.example.com/platform.git
    path: charts/platform
    helm:
      values: |
        redis: {{enabled: true}}
        gitlab-runner:
          enabled: true
{indented(10)}"""
    found = source(tmp_path, text)
    assert (found.wrapper, found.at) == (Wrapper.ARGO, "spec.source.helm.values.gitlab-runner")
    agrees(tmp_path, found)
    assert found.dropped == ("enabled",)
    inline = text.replace("values: |", "valuesObject:")
    agrees(tmp_path, source(tmp_path, inline))


def test_values_that_sops_encrypted_are_told_and_its_own_table_is_none_of_the_charts(tmp_path: Path) -> None:
    found = source(tmp_path, "gitlabUrl: x\nrunnerToken: ENC[data]\nsops:\n  mac: ENC[x]\n")
    assert found.dropped == ("sops",)
    assert "sops" not in found.parts[0].document
    assert found.unresolved == ("values that SOPS keeps encrypted: decrypt them with sops -d file.yaml",)


def test_scalars_keep_their_writing(tmp_path: Path) -> None:
    text = """\
    gitlab-runner:
      gitlabUrl: x
      extraEnv: {A: 1e3, B: "1e3", C: 0o17, D: 010, E: 12:30:45, F: yes, G: 'no', H: 2024-01-01, I: ~, J: "", K: 0x1F}
    """
    part = source(tmp_path, text).parts[0]
    assert part.text.partition("extraEnv:\n")[2].split("\n") == [
        *("  A: 1e3", '  B: "1e3"', "  C: 0o17", "  D: 010", "  E: 12:30:45", "  F: yes", "  G: 'no'"),
        *("  H: 2024-01-01", "  I: ~", '  J: ""', "  K: 0x1F", ""),
    ]


def test_anchors_and_merge_keys_survive(tmp_path: Path) -> None:
    text = """\
    shared: &shared {cpu: 1}
    gitlab-runner:
      gitlabUrl: x
      resources: {requests: *shared, limits: {<<: *shared, memory: 2}}
    """
    part = source(tmp_path, text).parts[0]
    assert yaml.safe_load(part.text)["resources"] == {"requests": {"cpu": 1}, "limits": {"cpu": 1, "memory": 2}}
    assert part.document["resources"]["limits"]["cpu"] == 1


def test_what_argo_sets_and_what_can_not_be_read_is_told(tmp_path: Path) -> None:
    text = """\
    apiVersion: argoproj.io/v1alpha1
    kind: Application
    metadata: {name: runner}
    spec:
      source:
        chart: gitlab-runner
        helm:
          valueFiles: [$values/runner.yaml]
          fileParameters: [{name: runners.config, path: runner.toml}]
          parameters:
          - {name: concurrent, value: "7"}
          - {name: podAnnotations.list, value: "a,b"}
          - {name: image.tag, value: "1.10", forceString: true}
    """
    found = source(tmp_path, text)
    assert found.set == ("concurrent=7", r"podAnnotations.list=a\,b")
    assert found.set_string == ("image.tag=1.10",)
    assert found.unresolved == ("value file $values/runner.yaml", "file parameter runners.config")
    assert found.parts == ()


def test_flux_values_of_the_same_file_come_first_and_others_are_named(tmp_path: Path) -> None:
    text = """\
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: base}
    data:
      values.yaml: |
        concurrent: 1
        gitlabUrl: x
    ---
    apiVersion: helm.toolkit.fluxcd.io/v2
    kind: HelmRelease
    metadata: {name: runner, namespace: ci}
    spec:
      chart: {spec: {chart: gitlab-runner}}
      valuesFrom:
      - {kind: ConfigMap, name: base}
      - {kind: Secret, name: token, valuesKey: token.yaml}
      - {kind: ConfigMap, name: base, targetPath: replicas}
      values: {concurrent: 2}
    """
    found = source(tmp_path, text)
    assert [part.document["concurrent"] for part in found.parts] == [1, 2]
    assert found.parts[0].marks.line(("gitlabUrl",)) == 7
    assert found.unresolved == ("Secret token, key token.yaml", "ConfigMap base, key values.yaml")


def test_a_helmfiles_own_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("concurrent: 1\ngitlabUrl: x\n")
    text = """\
    releases:
    - name: runner
      chart: gitlab/gitlab-runner
      values: [base.yaml, missing.yaml, more.yaml.gotmpl, {concurrent: 2}, {replicas: 3}]
      secrets: [secrets.yaml]
      set: [{name: image.tag, value: x}, {name: tolerations, values: [a, b]}]
    """
    found = source(tmp_path, text)
    assert [part.document for part in found.parts] == [
        {"concurrent": 1, "gitlabUrl": "x"},
        {"concurrent": 2},
        {"replicas": 3},
    ]
    assert found.parts[0].file == tmp_path / "base.yaml"
    assert found.set == ("image.tag=x", "tolerations={a,b}")
    assert found.unresolved == ("secrets file secrets.yaml", "value file missing.yaml", "value file more.yaml.gotmpl")


SET = WRAPPED[Wrapper.ARGO, "spec.source.helm.values"]
SET = "\n".join(
    ["apiVersion: argoproj.io/v1alpha1", "kind: ApplicationSet", "metadata: {name: runners}", "spec:", "  template:"]
    + [f"    {line}" for line in SET.splitlines()[3:]]
    + [""]
)


def test_an_application_set_without_expressions_is_read(tmp_path: Path) -> None:
    plain = SET.replace('name = "{{ .Release.Name }}"', 'name = "x"')
    found = source(tmp_path, plain)
    assert (found.wrapper, found.at) == (Wrapper.ARGO_SET, "spec.template.spec.source.helm.values")
    assert found.parts[0].document["concurrent"] == 4


def test_an_application_set_with_expressions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="fills in by itself"):
        source(tmp_path, SET)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [\n", "file.yaml:2: not YAML"),
        ("releases:\n- name: x\n{{ range .Values.x }}\n", "must be rendered first"),
        ("a: 1\n---\nb: 2\n", "found 2 documents"),
        (
            WRAPPED[Wrapper.HELM_CHART, "spec.valuesContent"].replace("concurrent: 4", "concurrent: : 4"),
            "file.yaml:10: spec",
        ),
    ],
)
def test_what_is_no_file_of_values_says_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InventoryError, match=words):
        source(tmp_path, text)


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="can't be read"):
        read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(InventoryError, match=r"latin\.yaml:2: found a byte"):
        read(tmp_path / "latin.yaml")


def test_a_secret_in_wrapped_values_is_in_no_repr(tmp_path: Path) -> None:
    found = source(tmp_path, "gitlab-runner: {gitlabUrl: x, runnerToken: glrt-made-up}\n")
    assert "made-up" not in repr(found)

"""The real helm, on a small chart of our own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from preflight.chartpackage import ChartPackage
from preflight.clients.helm import Helm, RenderError, ValuesFile, find, template
from preflight.rendering import Rendering
from preflight.valuesource import Settings
from tests import tinychart

TOKEN = "glrt-made-up-runner-token"


@pytest.fixture(scope="module")
def helm() -> Helm:
    found = find()
    assert found is not None
    return found


def chart(changed: dict[str, str] | None = None) -> ChartPackage:
    files = {**tinychart.FILES, **(changed or {})}
    return ChartPackage.from_archive(tinychart.archive(files), source="test")


def values(text: str, name: str = "values.yaml") -> ValuesFile:
    return ValuesFile(name, textwrap.dedent(text))


def rendered(helm: Helm, *texts: str, settings: Settings | None = None, **more: object) -> Rendering:
    files = [values(text, f"values-{number}.yaml") for number, text in enumerate(texts)]
    return template(helm, chart(), release="runner", namespace="ci", values=files, settings=settings, **more)  # type: ignore[arg-type]


def config(helm: Helm, toml: str, top: str = "") -> dict[str, object]:
    """The table [runners.kubernetes] of a configuration."""
    head = "[[runners]]\n[runners.kubernetes]\n"
    text = f"{top}\nrunners:\n  config: |\n{textwrap.indent(head + toml, '    ')}\n"
    table: dict[str, object] = rendered(helm, text).template_tables()["runners"][0]["kubernetes"]
    return table


def test_helm_tells_its_version(helm: Helm) -> None:
    assert str(helm).startswith(("helm 3.", "helm 4."))
    assert find(helm.path) == helm


def test_a_release_is_rendered_by_helm(helm: Helm) -> None:
    found = rendered(helm, f"gitlabUrl: http://gitlab.example.com/\nrunnerToken: {TOKEN}\n")
    assert found.rendered_by == str(helm)
    assert (found.chart, found.app_version) == ("gitlab-runner 0.80.1", "18.3.1")
    assert {(one["kind"], one["metadata"]["name"]) for one in found.objects} == {
        ("Secret", "runner-gitlab-runner"),
        ("ConfigMap", "runner-gitlab-runner"),
        ("ServiceAccount", "runner-gitlab-runner"),
        ("Deployment", "runner-gitlab-runner"),
    }
    assert found.image == "registry.example.com/ci/runner:alpine-v18.3.1"
    assert found.variable("CI_SERVER_URL") == "http://gitlab.example.com/"
    assert found.template_tables() == {"runners": [{"kubernetes": {"namespace": "ci", "image": "alpine"}}]}
    assert found.values is not None
    assert found.values["metrics"] == {"enabled": False, "port": 9252}, "the chart's defaults are in the merged values"
    assert found.took < 5


def test_a_folder_is_rendered_with_its_helmignore(helm: Helm, tmp_path: Path) -> None:
    files = {**tinychart.FILES, "templates/broken.yaml": "{{ nothing }}", ".helmignore": "templates/broken.yaml\n"}
    folder = ChartPackage.open(tinychart.folder(tmp_path / "chart", files))
    assert template(helm, folder, release="runner", namespace="ci").objects
    with pytest.raises(RenderError, match="nothing"):
        template(helm, chart(files), release="runner", namespace="ci")


@pytest.mark.parametrize(
    ("toml", "top", "makes"),
    [
        ("namespace = {{ .Release.Namespace | quote }}", "", {"namespace": "ci"}),
        ("{{- if .Values.priv }}\nprivileged = true\n{{- end }}", "priv: true", {"privileged": True}),
        ("{{- if .Values.priv }}\nprivileged = true\n{{- end }}", "priv: false", {}),
        ('image = "{{ .Values.nosuch | default "x" }}"', "", {"image": "x"}),
        ('helper_image = "helper:x86_64-v{{ .Chart.AppVersion }}"', "", {"helper_image": "helper:x86_64-v18.3.1"}),
        ("nameservers = {{ .Values.list | toJson }}", "list: [a, b]", {"nameservers": ["a", "b"]}),
        ('a = "{{ "{{" }} x }}"', "", {"a": "{{ x }}"}),
        ('image = "{{ .Values.img.repo }}:{{ .Values.img.tag }}"', "img: {repo: r, tag: '1'}", {"image": "r:1"}),
        ("{{- range $k, $v := .Values.s }}\n{{ $k }} = {{ $v | quote }}\n{{- end }}", "s: {a: 1}", {"a": "1"}),
        ("{{- with .Values.none }}\nx = 1\n{{- else }}\nx = 2\n{{- end }}", "", {"x": 2}),
        ('cpu = "{{ printf "%dm" (int .Values.cpu) }}"', "cpu: 250", {"cpu": "250m"}),
        ("memory = {{ .Values.big }}", "big: 10000000", {"memory": 1e07}),
        ("a = {{ ternary 1 2 .Values.flag }}", "flag: true", {"a": 1}),
        ('{{- $n := printf "%s-x" .Release.Name }}\nname = "{{ $n }}"', "", {"name": "runner-x"}),
        ('{{/* a comment with {{ braces */}}\nx = "{{`{{ raw }}`}}"', "", {"x": "{{ raw }}"}),
        ('x = "{{ include "tiny.fullname" . }}"', "", {"x": "runner-gitlab-runner"}),
        ('x = "{{ dig "a" "b" "none" .Values.AsMap }}"', "a: {b: deep}", {"x": "deep"}),
        ("x = {{ .Values.letter | toJson }}", "letter: y", {"x": True}),
        ("x = {{ .Values.t | toString | quote }}", "t: true", {"x": "true"}),
        ("{{ .Values.block | indent 2 | trim }}", "block: 'y = 3'", {"y": 3}),
        ('x = "{{ .Values.a.b }}-{{ .Capabilities.KubeVersion.Major }}"', "a: {b: c}", {"x": "c-1"}),
    ],
)  # fmt: skip
def test_what_templates_make_of_the_configuration(helm: Helm, toml: str, top: str, makes: dict[str, object]) -> None:
    assert config(helm, toml, top) == makes


def test_values_are_merged_by_helm(helm: Helm) -> None:
    found = rendered(
        helm,
        "image: {tag: a, image: b}\nextraEnv: {ONE: '1', TWO: '2'}\nprobes: {periodSeconds: 5}\n",
        "image: {tag: c}\nextraEnv: {ONE: null}\n",
        settings=Settings(
            set=("replicas=2,extraEnv.THREE=3", r"podLabels.a=x\,y"),
            set_string=("extraEnv.FOUR=4",),
            set_json=('tolerations=[{"key": "k", "operator": "Exists"}]',),
        ),
    )
    assert found.image == "registry.example.com/b:c"
    assert [(one.name, one.value) for one in found.environment] == [
        ("CI_SERVER_URL", ""),
        ("FOUR", "4"),
        ("ONE", ""),  # null takes a default of the chart's away, and not what an earlier file says
        ("THREE", "3"),
        ("TWO", "2"),
    ]
    assert found.replicas == 2
    assert found.labels["a"] == "x,y"
    assert found.pod_spec["tolerations"] == [{"key": "k", "operator": "Exists"}]


def test_a_file_that_is_set_is_read(helm: Helm, tmp_path: Path) -> None:
    (tmp_path / "runner.toml").write_text('[[runners]]\nname = "from a file"\n')
    found = rendered(helm, "", settings=Settings(set_file=(f"runners.config={tmp_path}/runner.toml",)))
    assert found.template_tables()["runners"][0]["name"] == "from a file"


def test_capabilities_are_the_clusters(helm: Helm) -> None:
    assert not rendered(helm, "").of_kind("ServiceMonitor")
    found = rendered(helm, "", kubernetes="1.28.15", api_versions=["monitoring.coreos.com/v1"])
    assert found.of_kind("ServiceMonitor")[0]["metadata"]["labels"] == {"kube": "v1.28.15"}


def test_a_secret_that_is_set_reaches_helm_and_no_command_line(helm: Helm, tmp_path: Path) -> None:
    spy = tmp_path / "helm"
    spy.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/seen\nexec {helm.path} "$@"\n')
    spy.chmod(0o755)
    settings = Settings(set=(f"replicas=2,runnerToken={TOKEN}",), set_string=(r"extraEnv.DB_PASSWORD=made\,up\\words",))
    found = rendered(Helm(str(spy), helm.version), "", settings=settings)
    secret = found.of_kind("Secret")[0]
    assert secret["data"]["runner-token"] == "Z2xydC1tYWRlLXVwLXJ1bm5lci10b2tlbg=="
    assert found.variable("DB_PASSWORD") == r"made,up\words"
    assert found.replicas == 2
    seen = (tmp_path / "seen").read_text()
    assert "replicas=2" in seen
    assert TOKEN not in seen
    assert "made" not in seen.replace("preflight", "")


def test_nothing_of_the_operators_helm_and_cluster_is_used(
    helm: Helm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugins" / "bad"
    plugin.mkdir(parents=True)
    (plugin / "plugin.yaml").write_text("name: [broken\n")
    (tmp_path / "kubeconfig").write_text("this is: [no kubeconfig\n")
    for name, value in {
        "HELM_PLUGINS": str(tmp_path / "plugins"),
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "HELM_NAMESPACE": "elsewhere",
        "HELM_KUBEAPISERVER": "https://192.168.1.100:6443",
        "HTTPS_PROXY": "http://192.168.1.9:3128",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = rendered(helm, "")
    assert found.namespace_of(found.of_kind("Deployment")[0]) == "ci"
    assert found.warnings == ()
    assert not list(tmp_path.glob("preflight-helm-*"))


def test_what_helm_warns_of_is_kept(helm: Helm) -> None:
    found = rendered(helm, "image: {tag: {made: up}}\n")
    assert found.warnings == ("destination for gitlab-runner.image.tag is a table. Ignoring non-table value",)


@pytest.mark.parametrize(
    ("text", "told", "place"),
    [
        (
            "runners:\n  config: |\n    [[runners]]\n      name = '{{ frob }}'\n",
            'function "frob" not defined',
            ("templates/configmap.yaml", 2, "runners.config"),
        ),
        (
            "runners:\n  config: |\n    [[runners]]\n\n      name = '{{ .Values.a.b.c }}'\n",
            "<.Values.a.b.c>: nil pointer evaluating interface {}.b",
            ("templates/configmap.yaml", 3, "runners.config"),
        ),
        (
            "runners:\n  config: |\n    {{ if .Values.a }}\n",
            "unexpected EOF",
            ("templates/configmap.yaml", 2, "runners.config"),
        ),
        ("image: gitlab/gitlab-runner:alpine\n", "can't evaluate field", ("templates/_helpers.tpl", 0, "image")),
        (
            "runners:\n  secret: '{{ .Values.x | frob }}'\n",
            'function "frob"',
            ("templates/_helpers.tpl", 1, "runners.secret"),
        ),
        ("gitlabUrl: x\n bad: [\n", "mapping values are not allowed", ("values-0.yaml:2", 0, "")),
        ("extraEnv: {'a: b: c': d}\n", "no YAML", ("templates/deployment.yaml", 0, "")),
        ("replicas: 'a: b: c'\n", "no YAML", ("templates/deployment.yaml", 0, "")),
    ],
)  # fmt: skip
def test_what_helm_refuses_is_told_in_helms_words_with_the_place(
    helm: Helm, text: str, told: str, place: tuple[str, int, str]
) -> None:
    with pytest.raises(RenderError) as refused:
        rendered(helm, text)
    error = refused.value
    assert told in error.message
    assert (f"{error.values_file}:{error.line}" if error.values_file else error.template) == place[0]
    assert error.text_line == place[1]
    assert error.values_path.startswith(place[2])
    assert error.values_file or error.line
    assert "[[runners]]" not in error.detail, "what a configuration holds is not repeated"
    assert "/tmp/" not in error.detail


def test_a_set_that_is_none_is_refused(helm: Helm) -> None:
    with pytest.raises(RenderError, match="has no value"):
        rendered(helm, "", settings=Settings(set=("replicas",)))


def test_what_a_chart_fails_with_is_its_own_sentence(helm: Helm) -> None:
    failing = chart({"templates/fail.yaml": '{{ fail "write this key" }}'})
    with pytest.raises(RenderError) as refused:
        template(helm, failing, release="runner", namespace="ci")
    assert refused.value.message == "write this key"
    assert (refused.value.template, refused.value.line) == ("templates/fail.yaml", 1)


def test_a_charts_schema_counts(helm: Helm) -> None:
    schema = '{"type": "object", "properties": {"replicas": {"type": "integer"}}}'
    strict = chart({"values.schema.json": schema})
    with pytest.raises(RenderError, match="replicas"):
        template(helm, strict, release="runner", namespace="ci", values=[values("replicas: many\n")])


def test_keys_named_by_the_package_are_those_that_helm_reads(helm: Helm) -> None:
    text = "fullnameOverride: other\nterminationGracePeriodSeconds: 5\nenvVars: [{name: X, value: z}]\n"
    found = rendered(helm, text)
    assert found.of_kind("Deployment")[0]["metadata"]["name"] == "other"
    assert found.pod_spec["terminationGracePeriodSeconds"] == 5
    assert found.variable("X") == "z"

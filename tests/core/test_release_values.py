"""The values of an inventory's runner: places in files, what is set besides, and what Helm makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preflight import rendering
from preflight.inventory import InventoryError
from preflight.jobsettings import job_shape
from preflight.releasenames import names_in, names_of
from preflight.rendering import Rendering
from preflight.values import Values, load, read_values, with_rendering
from preflight.valuesource import Settings, read

KUBERNETES = "[[runners]]\n  [runners.kubernetes]\n"


def values(folder: Path, config: str = "", more: str = "", settings: Settings | None = None) -> Values:
    text = more
    if config:
        text += f"runners:\n  config: {json.dumps(KUBERNETES + config)}\n"
    file = folder / "values.yaml"
    file.write_text(text or "{}")
    return read_values([read(file)], settings or Settings(), release="ci", namespace="runners")


def rendered(template: str | None, *, env: dict[str, str] | None = None, replicas: int = 2) -> Rendering:
    """What Helm prints for a release of these parts, written by hand."""
    data = {
        "register-the-runner": "register --template-config /configmaps/config.template.toml",
        "config.toml": "concurrent = 4\n",
    }
    if template is not None:
        data["config.template.toml"] = template
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    secret = {"secret": {"name": "own-token", "items": [{"key": "runner-token", "path": "runner-token"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "own-name", "namespace": "elsewhere"},
        "spec": {
            "replicas": replicas,
            "template": {
                "spec": {
                    "serviceAccountName": "own-account",
                    "containers": [
                        {
                            "name": "m",
                            "image": "r/runner:alpine-v18.2.1",
                            "env": variables,
                            "ports": [{"name": "metrics", "containerPort": 9999}],
                        }
                    ],
                    "volumes": [
                        {"name": "s", "projected": {"sources": [secret]}},
                        {"name": "c", "configMap": {"name": "own-name"}},
                    ],
                }
            },
        },
    }
    documents = [deployment, {"kind": "ConfigMap", "metadata": {"name": "own-name"}, "data": data}]
    text = "\n---\n".join(json.dumps(one) for one in documents)
    return rendering.read(text, release="ci", namespace="runners", rendered_by="helm 3", chart="gitlab-runner 0.80.1")


# ---- what is set beside the files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "path", "value"),
    [
        (Settings(set=("a.b=1",)), "a.b", 1),
        (Settings(set_string=("a.b=1",)), "a.b", "1"),
        (Settings(set_string=("a=true,b=x",)), "a", "true"),
        (Settings(set_json=('a={"b": [1, true]}',)), "a.b", [1, True]),
        (Settings(set_json=('a=[1,2],c="x"',)), "c", "x"),
        (Settings(set_json=('{"a": {"b": 2}}',)), "a.b", 2),
        (Settings(set=("list[1].name=z",)), "list", [{"name": "x"}, {"name": "z"}]),
        (Settings(set=("list[0].more=1",)), "list", [{"name": "x", "more": 1}, {"name": "y"}]),
        (Settings(set=("kept=null",)), "kept", None),
        (Settings(set=(r"a=x\,y",)), "a", "x,y"),
        (Settings(set=("a={p,q}",)), "a", ["p", "q"]),
        (Settings(set_json=("a=1",), set=("a=2",), set_string=("a=3",)), "a", "3"),
    ],
)
def test_what_is_set_is_set_as_helm_sets_it(settings: Settings, path: str, value: object, tmp_path: Path) -> None:
    found = values(tmp_path, more="list: [{name: x}, {name: y}]\nkept: 1\n", settings=settings)
    assert found.get(path) == value
    if value is not None and path != "list":
        assert str(found.origin(path)) == "--set"


def test_a_file_that_is_set_is_read(tmp_path: Path) -> None:
    (tmp_path / "toml").write_text(f'{KUBERNETES}    image = "from-a-file"\n')
    found = values(tmp_path, settings=Settings(set_file=(f"runners.config={tmp_path / 'toml'}",)))
    assert job_shape(found).image == "from-a-file"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(set_json=("a={",)), r"runner.set_json\[0\]: found 'a', "),
        (Settings(set_file=("a=/no/such/file",)), r"runner.set_file\[0\]: found 'a', No such file"),
        (Settings(set_string=("a",)), r"runner.set_string\[0\]: found no =, expected key=value"),
        (Settings(set=("a[99999999]=1",)), r"runner.set\[0\]: found 'a\[99999999\]', expected an index"),
    ],
)
def test_what_can_not_be_set_is_named_without_its_value(settings: Settings, words: str, tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=words):
        values(tmp_path, settings=settings)


# ---- without Helm ---------------------------------------------------------------------------------------------------


def test_an_expression_that_can_not_be_read_is_the_matter_of_its_own_setting_alone(tmp_path: Path) -> None:
    found = values(
        tmp_path,
        'image = "{{ include "a" . }}"\nprivileged = true\n'
        '[runners.kubernetes.dns_config]\nnameservers = {{ fromYaml "x" }}\n',
    )
    assert found.problem is None
    assert [(one.path, one.bare) for one in found.unread] == [
        (("runners", "kubernetes", "image"), False),
        (("runners", "kubernetes", "dns_config", "nameservers"), True),
    ]
    assert found.kubernetes == {"privileged": True, "dns_config": {}}
    assert found.unread_within("runners.kubernetes.dns_config") is not None
    assert found.unread_within("runners.kubernetes.privileged", "runners.cache") is None


def test_an_unknown_condition_leaves_its_keys_unread_and_no_other(tmp_path: Path) -> None:
    block = '{{ if lookup "v1" "Secret" "a" "b" }}\nprivileged = true\n{{ else }}\nimage = "x"\n{{ end }}\n'
    found = values(tmp_path, f"{block}poll_timeout = 5\n")
    assert {one.path[-1] for one in found.unread} == {"privileged", "image"}
    assert found.kubernetes == {"poll_timeout": 5}


def test_where_any_key_may_come_of_an_expression_nothing_is_read(tmp_path: Path) -> None:
    found = values(tmp_path, 'image = "x"\n{{ include "more" . }}\n')
    assert (found.problem, found.kubernetes.get("image")) == (None, "x")
    assert found.unread_within("runners.anything") is not None


def test_toml_that_is_broken_whatever_helm_says_is_a_problem(tmp_path: Path) -> None:
    found = values(tmp_path, "image = x\n")
    assert found.problem is not None
    assert not found.unread


@pytest.mark.parametrize("config", ["config: null", 'config: ""'])
def test_a_template_that_is_taken_away_leaves_the_namespace_of_the_release(config: str, tmp_path: Path) -> None:
    found = values(tmp_path, more=f"runners: {{{config}}}\n")
    assert (found.problem, found.config, job_shape(found).namespace) == (None, {}, "runners")


def test_the_charts_own_values_are_seen_by_expressions(tmp_path: Path) -> None:
    found = values(tmp_path, 'image = "{{ .Values.image.registry }}/x:{{ .Values.concurrent }}"\n')
    assert job_shape(found).image == "registry.gitlab.com/x:10"


# ---- with Helm ------------------------------------------------------------------------------------------------------


def test_the_rendered_text_is_what_is_judged(tmp_path: Path) -> None:
    written = values(tmp_path, 'image = {{ include "a" . }}\nprivileged = {{ .Values.p }}\n', "replicas: 7\n")
    found = with_rendering(written, rendered(f'{KUBERNETES}image = "a"\nprivileged = true\n'))
    shape = job_shape(found)
    assert (shape.image, shape.privileged, shape.replicas, shape.concurrent) == ("a", True, 2, 4)
    assert (found.unread, found.problem) == ((), None)
    assert found.environment == {}


def test_what_is_rendered_to_no_toml_is_told_with_the_line_that_it_was_rendered_from(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(
        "a: 1\nrunners:\n  config: |\n    [[runners]]\n      {{- if .Values.a }}\n      [runners.kubernetes]\n"
        "        image = {{ .Values.b }}\n      {{- end }}\n"
    )
    written = load([file], release="ci", namespace="runners")
    found = with_rendering(written, rendered("[[runners]]\n  [runners.kubernetes]\n    image = \n"))
    assert found.problem is not None
    assert str(found.problem.origin) == "values.yaml:7"


def test_a_variable_of_the_managers_wins_over_the_template(tmp_path: Path) -> None:
    env = {"CI_SERVER_URL": "x", "KUBERNETES_NAMESPACE": "other", "KUBERNETES_PRIVILEGED": "true"}
    found = with_rendering(values(tmp_path), rendered(f'{KUBERNETES}namespace = "mine"\n', env=env))
    assert (job_shape(found).namespace, job_shape(found).privileged) == ("other", True)
    assert "CI_SERVER_URL" not in found.environment


def test_a_template_that_is_a_file_of_the_managers_is_unread(tmp_path: Path) -> None:
    found = with_rendering(values(tmp_path, more="runners: {config: null, configPath: /etc/x.toml}\n"), rendered(None))
    unread = found.unread_within("runners.kubernetes.image")
    assert unread is not None
    assert "/etc/x.toml" in str(unread)
    assert unread.needs == "the template in `runners.config`"


def test_names_are_those_of_the_rendered_objects(tmp_path: Path) -> None:
    written = values(tmp_path, more="metrics: {enabled: true}\nrunners: {secret: x}\n")
    names = names_of(with_rendering(written, rendered(KUBERNETES)))
    assert (names.workload, names.namespace, names.service_account, names.account_made) == (
        "own-name",
        "elsewhere",
        "own-account",
        False,
    )
    assert (names.secret, names.secret_made, names.metrics_port) == ("own-token", False, 9999)


@pytest.mark.parametrize(
    ("tree", "release", "workload", "secret"),
    [
        ({}, "gitlab-runner", "gitlab-runner", "gitlab-runner"),
        ({}, "ci", "ci-gitlab-runner", "ci-gitlab-runner"),
        ({"nameOverride": "runner"}, "ci", "ci-runner", "ci-runner"),
        ({"nameOverride": "ci"}, "ci-big", "ci-big", "ci-big"),
        ({"fullnameOverride": "own"}, "ci", "own", "own"),
        ({"runners": {"secret": "{{ .Release.Name }}-token"}}, "ci", "ci-gitlab-runner", "ci-token"),
        ({"runners": {"secret": '{{ include "x" . }}'}}, "ci", "ci-gitlab-runner", None),
        ({"fullnameOverride": "x" * 62 + "--"}, "ci", "x" * 62, "x" * 62),
    ],
)
def test_names_without_helm_are_those_of_the_charts_templates(
    tree: dict[str, object], release: str, workload: str, secret: str | None
) -> None:
    names = names_in(tree, release=release, namespace="ci")
    assert (names.workload, names.secret) == (workload, secret)


def test_the_namespace_of_the_objects_may_be_another_than_the_releases() -> None:
    assert names_in({"namespace": "other"}, release="ci", namespace="ci").namespace == "other"


# ---- places inside of files -----------------------------------------------------------------------------------------


def test_values_that_a_file_holds_deeper_are_read_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "umbrella.yaml"
    file.write_text(
        "other: {a: 1}\ngitlab-runner:\n  gitlabUrl: http://x/\n  runners:\n    config: |\n      [[runners]]\n"
        "        [runners.kubernetes]\n          image = x\n"
    )
    found = read_values([read(file, "gitlab-runner")], Settings(), release="ci", namespace="runners")
    assert (found.get("gitlabUrl"), str(found.origin("gitlabUrl"))) == ("http://x/", "umbrella.yaml:3")
    assert found.problem is not None
    assert str(found.problem.origin) == "umbrella.yaml:8"

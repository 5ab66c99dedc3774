"""What a rendered release says of its managers."""

from __future__ import annotations

import base64
import json

import pytest

from preflight.redaction import redact
from preflight.rendering import NotAManifestError, Rendering, read

MANIFEST = """\
---
# Source: chart/templates/secrets.yaml
apiVersion: v1
kind: Secret
metadata: {name: runner}
data:
  runner-token: TOKEN
---
# Source: chart/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: runner, namespace: ci}
data:
  entrypoint: exec /entrypoint run
  config.toml: |
    concurrent = 4
    --- this is no separator
  config.template.toml: |
    [[runners]]
      [runners.kubernetes]
        image = "alpine"
  register-the-runner: |
    /entrypoint register \\
      --template-config /configmaps/config.template.toml \\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {entrypoint: no}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: runner}
spec:
  replicas: 3
  selector: {matchLabels: {app: runner}}
  template:
    metadata: {labels: {app: runner, tier: 2}}
    spec:
      serviceAccountName: runner-sa
      imagePullSecrets: [{name: pull}]
      containers:
      - name: runner
        image: registry.example.com/runner:alpine-v18.3.1
        command: [/bin/bash, /configmaps/entrypoint]
        env:
        - {name: A, value: first}
        - {name: B}
        - {name: A, value: last}
        - {name: C, valueFrom: {secretKeyRef: {name: extra, key: c, optional: true}}}
        envFrom: [{configMapRef: {name: shared}}]
        ports: [{name: metrics, containerPort: 9252}]
        livenessProbe: {periodSeconds: 60}
      volumes:
      - name: all
        projected:
          sources:
          - secret: {name: runner, items: [{key: runner-token, path: t}]}
          - configMap: {name: runner}
      - {name: certs, secret: {secretName: ca, optional: true}}
      - {name: cache, persistentVolumeClaim: {claimName: cache}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: runner, namespace: ci}
rules: [{apiGroups: [""], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: runner, namespace: jobs}
roleRef: {kind: Role, name: runner}
subjects: [{kind: ServiceAccount, name: runner-sa}]
""".replace("TOKEN", base64.b64encode(b"glrt-made-up-rendered-token").decode())


def rendered(text: str = MANIFEST) -> Rendering:
    return read(text, release="runner", namespace="gitlab")


def test_the_managers_are_those_of_the_deployment() -> None:
    found = rendered()
    assert found.replicas == 3
    assert found.service_account == "runner-sa"
    assert found.image == "registry.example.com/runner:alpine-v18.3.1"
    assert found.labels == {"app": "runner", "tier": "2"}
    assert found.selector == {"app": "runner"}
    assert found.ports == {"metrics": 9252}
    assert found.container["livenessProbe"] == {"periodSeconds": 60}
    assert found.sources[:2] == ("chart/templates/secrets.yaml", "chart/templates/configmap.yaml")


def test_the_last_of_two_variables_of_one_name_holds() -> None:
    found = rendered()
    assert [one.name for one in found.environment] == ["B", "A", "C"]
    assert (found.variable("A"), found.variable("B"), found.variable("C"), found.variable("D")) == (
        "last",
        "",
        None,
        None,
    )


def test_the_configuration_is_that_of_the_mounted_config_map() -> None:
    found = rendered(MANIFEST.replace("metadata: {name: other}", "metadata: {name: aaa}"))
    assert found.template_tables()["runners"][0]["kubernetes"]["image"] == "alpine"
    assert found.config is not None
    assert found.config.startswith("concurrent = 4")
    assert found.template_path == "/configmaps/config.template.toml"


def test_a_release_without_a_template_has_none() -> None:
    found = rendered("kind: ConfigMap\nmetadata: {name: a}\ndata: {config.toml: 'concurrent = 1'}\n")
    assert (found.template, found.template_path, found.template_tables()) == (None, "", {})


def test_what_the_pod_refers_to_is_listed_by_name() -> None:
    found = rendered()
    listed = {(one.kind, one.name): one for one in found.references}
    assert set(listed) == {
        ("Secret", "runner"),
        ("ConfigMap", "runner"),
        ("Secret", "ca"),
        ("PersistentVolumeClaim", "cache"),
        ("Secret", "extra"),
        ("ConfigMap", "shared"),
        ("Secret", "pull"),
    }
    assert listed["Secret", "runner"].keys == ("runner-token",)
    assert [name for (_, name), one in listed.items() if one.optional] == ["ca", "extra", "pull"]
    assert [name for (_, name), one in listed.items() if found.made(one)] == ["runner", "runner"]


def test_rights_count_where_they_are_bound() -> None:
    assert [(where, rule["verbs"]) for where, rule in rendered().rules] == [("jobs", ["*"])]
    assert rendered(MANIFEST.replace("name: runner-sa}]", "name: another}]")).rules == ()
    everywhere = MANIFEST.replace("kind: RoleBinding", "kind: ClusterRoleBinding")
    assert [where for where, _ in rendered(everywhere).rules] == ["*"]


def test_replicas_that_nobody_sets_are_one_and_an_autoscalers_are_unknown() -> None:
    without = MANIFEST.replace("  replicas: 3\n", "")
    assert rendered(without).replicas == 1
    scaled = without + "---\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\n"
    assert rendered(scaled).replicas is None


def test_secrets_of_a_rendered_release_are_never_shown_again() -> None:
    rendered()
    assert "rendered-token" not in redact("the token is glrt-made-up-rendered-token")
    read(
        'kind: ConfigMap\nmetadata: {name: a}\ndata: {"x.toml": "password = \\"made-up-words\\""}\n',
        release="a",
        namespace="b",
    )
    assert redact("say made-up-words") == "say [redacted]"


def test_no_secret_is_in_a_rendering_or_its_variables() -> None:
    found = rendered(MANIFEST.replace("value: last", "value: made-up-value"))
    assert "made-up" not in repr(found) + repr(found.environment)


def test_the_merged_values_come_back_apart_from_the_objects() -> None:
    values = base64.b64encode(json.dumps({"replicas": 2}).encode()).decode()
    found = rendered(f"kind: PreflightValues\nvalues: {values}\n---\nkind: Secret\nmetadata: {{name: a}}\n")
    assert found.values == {"replicas": 2}
    assert [one["kind"] for one in found.objects] == ["Secret"]
    assert rendered("kind: PreflightValues\nvalues: '%'\n").values is None


def test_lists_are_taken_apart() -> None:
    text = "kind: List\nitems: [{kind: Secret, metadata: {name: a}}, {kind: Secret, metadata: {name: b}}]\n"
    assert [one["metadata"]["name"] for one in rendered(text).objects] == ["a", "b"]


def test_an_empty_release_has_no_managers() -> None:
    found = rendered("")
    assert (found.workload, found.replicas, found.references, found.rules, found.image) == (None, None, (), (), "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [\n", "object 0: not YAML at its line 2"),
        ("# Source: x/templates/a.yaml\na: b: c\n", "x/templates/a.yaml: not YAML"),
        ("- 1\n", "no object of Kubernetes"),
        ("a: 1\n", "no object of Kubernetes"),
        ("---\nkind: A\n" * 2002, "more than 2000 objects"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, words: str) -> None:
    with pytest.raises(NotAManifestError, match=words):
        rendered(text)

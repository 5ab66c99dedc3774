"""A bad inventory is told clearly, all at once, and nothing is contacted."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from preflight.inventory import Inventory, InventoryError, load
from preflight.redaction import redact

PROJECT = Path(__file__).parents[2]


def problems(file: Path, old: str, new: str) -> list[str]:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(InventoryError) as caught:
        load(file)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_the_shipped_inventory_is_the_guides(inventory: Inventory) -> None:
    assert inventory.gitlab.url == "http://192.168.1.50/"
    assert list(inventory.workers) == ["k8s-worker-1", "k8s-worker-2", "k8s-worker-3"]
    assert inventory.dns.resolvers == ["10.0.0.2", "10.1.0.251", "10.1.0.252"]
    assert len(inventory.images) == 3, "the probe's image is one of the mirror's, and stands once"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("api_server: ", "api_servr: ", "cluster.api_servr: unknown key; did you mean 'api_server'?"),
        ("user: root", "usr: root", "access.ssh.usr: unknown key; did you mean 'user'?"),
        (
            "{address: 192.168.1.101}",
            "{adress: 192.168.1.101}",
            "cluster.nodes.k8s-worker-1.adress: unknown key; did you mean 'address'?",
        ),
        ("\naccess:", "\nacess:", "acess: unknown key; did you mean 'access'?"),
        ("\nregistries:", "\nzzz: 1\nregistries:", "zzz: unknown key; known keys: gitlab, cluster, dns"),
        ('"1.28"', "1.28", "cluster.version: found the number 1.28, expected text: put it in quotes"),
        ("[10.0.0.2,", "[ten,", "dns.resolvers[0]: found 'ten', expected an IP address"),
        ("[10.0.0.2, 10.1.0.251, 10.1.0.252]", "[]", "dns.resolvers: found an empty list, expected at least one"),
        ("ready_within: 60", "ready_within: soon", "dind.ready_within: found 'soon', expected a number"),
        ("ready_within: 60", "ready_within: -1", "dind.ready_within: found -1, expected more than 0"),
        (
            "pod_cidr: 172.24.0.0/16",
            "pod_cidr: 172.24.0.1/16",
            "cluster.pod_cidr: found '172.24.0.1/16', expected a network",
        ),
        (
            "pod_cidr: 172.24.0.0/16",
            "pod_cidr: [172.24.0.0/16, 172.25.0.0/16]",
            "cluster.pod_cidr: found 172.24.0.0/16 and 172.25.0.0/16, expected one network of IPv4 and one of IPv6",
        ),
        ("pod_cidr: 172.24.0.0/16", "pod_cidr: 4", "cluster.pod_cidr: found 4, expected a network, such as"),
        ("url: http://192.168.1.50/", "url: 192.168.1.50", "gitlab.url: found '192.168.1.50', expected a URL such as"),
        ("kubeconfig: kubeconfig", "kubeconfig: absent", "absent can't be read: No such file or directory"),
        ("key: id_ed25519", "key: absent", "absent can't be read: No such file or directory"),
        (
            "key: id_ed25519",
            "key: ${MADE_UP_UNSET_NAME}",
            "the environment variable MADE_UP_UNSET_NAME is not set; export",
        ),
        ("key: id_ed25519", "key: ${HOME:-}", "found ${HOME:-}, expected ${HOME}: a path has no form without a value"),
        (
            "\naccess:",
            "\nlimits: {quiet_stream: 290}\naccess:",
            "limits: found quiet_stream: 290 beside deadlines.pod: 300, expected a deadlines.pod of at least 320",
        ),
        ("[values.yaml]", "[absent.yaml]", "absent.yaml can't be read: No such file or directory"),
        ("[values.yaml]", "[]", "runner.values: found an empty list, expected at least one"),
        ("'*': refuse", "'*': allow", "'*' takes one word: refuse"),
        ("'*': refuse", "'192.168.1.50': '127.0.0.1:1'", "expected host:port, such as 192.168.1.50:80"),
        ("${GITLAB_API_TOKEN:-}", "${MADE_UP_UNSET_NAME}", "the environment variable MADE_UP_UNSET_NAME is not set"),
        ("${GITLAB_API_TOKEN:-}", "file:absent-token", "absent-token can't be read: No such file or directory"),
        ("  resolvers:", "  resolvers: [10.0.0.9]\n  resolvers:", "dns.resolvers: found twice, expected once"),
        ("gitlab: #", "gitlab: [ #", "not YAML"),
    ],
)
def test_each_problem_names_line_key_found_and_expected(
    inventory_file: Path, old: str, new: str, expected: str
) -> None:
    found = problems(inventory_file, old, new)
    told = next((problem for problem in found if expected in problem), None)
    assert told is not None, found
    if "not YAML" not in expected:
        number, path, _ = told.split(": ", 2)
        last_key = path.split("[")[0].rsplit(".", 1)[-1]
        named = inventory_file.read_text().splitlines()[int(number) - 1]
        assert last_key in named, (named, told)


def test_all_problems_are_told_at_once(inventory_file: Path) -> None:
    text = inventory_file.read_text().replace("user: root", "usr: root").replace('"1.28"', "1.28")
    inventory_file.write_text(text.replace("${GITLAB_API_TOKEN:-}", "nothing-secret-but-a-literal"))
    with pytest.raises(InventoryError) as caught:
        load(inventory_file)
    message = str(caught.value)
    assert "4 errors; nothing was contacted" in message
    for key in ("gitlab.api_token", "cluster.version", "access.ssh.user", "access.ssh.usr"):
        assert f": {key}: " in message


def test_a_literal_secret_is_refused_and_never_repeated(inventory_file: Path) -> None:
    found = problems(inventory_file, "${GITLAB_API_TOKEN:-}", "made-up-literal-token-0815")
    assert "a secret never stands in the inventory" in found[0]
    assert "0815" not in "".join(found)
    assert "0815" not in redact("said made-up-literal-token-0815")


def test_secrets_are_read_by_reference_and_not_shown(inventory_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_API_TOKEN", "made-up-token-4711")
    token = load(inventory_file).gitlab.api_token
    assert token is not None
    assert token.text == "made-up-token-4711"
    assert "4711" not in repr(load(inventory_file))
    assert redact("x made-up-token-4711 y") == "x [redacted] y"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "found None, expected keys with values"),
        (b"- a\n- b\n", "found a list of 2, expected keys with values"),
        (b"gitlab:\n  url: \xff\n", ":2: found a byte that is not UTF-8"),
        (b"a: &a [*a]\n", ":1: not YAML: an alias stands within"),
        (b"a: b: c\n", ":1: not YAML"),
    ],
)
def test_what_is_no_inventory_at_all(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    with pytest.raises(InventoryError) as caught:
        load(file)
    assert expected in str(caught.value)


def test_an_absent_inventory(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="can't be read: No such file or directory"):
        load(tmp_path / "absent.yaml")


def test_switching_a_vantage_off(inventory_file: Path) -> None:
    text = inventory_file.read_text()
    inventory_file.write_text(text[: text.index("dind: #")] + "dind: none\n" + text[text.index("\naccess:") :])
    assert load(inventory_file).dind == "none"
    text = inventory_file.read_text()
    inventory_file.write_text(text[: text.index("  ssh: #")] + "  ssh: none\n" + text[text.index("\nconnect:") :])
    assert load(inventory_file).access.ssh == "none"


def test_the_shipped_schema_is_the_models_and_takes_the_example() -> None:
    schema = json.loads((PROJECT / "preflight" / "inventory.schema.json").read_text())
    assert schema == Inventory.model_json_schema(), "run: python docs/generate.py"
    jsonschema.validate(yaml.safe_load((PROJECT / "inventory.yaml").read_text()), schema)
    broken = yaml.safe_load((PROJECT / "inventory.yaml").read_text())
    broken["gitlab"]["api_token"] = "a literal"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_a_pipelines_project_is_none_unless_it_is_given(inventory_file: Path) -> None:
    assert load(inventory_file).pipeline == "none"
    assert load(inventory_file).repositories == ()
    given = "{project: ops/p, image: private-registry.example.com/a/b, variables: {ACR_PASSWORD: {masked: true}}}"
    text = inventory_file.read_text().replace("pipeline: none\n", f"pipeline: {given}\n")
    inventory_file.write_text(text.replace("    images: []\n", "    images: []\n    push: [a/b, a/c]\n"))
    found = load(inventory_file)
    assert found.pipeline != "none"
    assert (found.pipeline.ref, found.pipeline.token) == ("main", None)
    assert found.pipeline.variables["ACR_PASSWORD"].protected
    assert found.repositories == ("private-registry.example.com/a/b", "private-registry.example.com/a/c")


def test_a_pipelines_token_is_no_literal(inventory_file: Path) -> None:
    text = inventory_file.read_text()
    inventory_file.write_text(
        text.replace("pipeline: none\n", "pipeline: {project: ops/p, token: glpat-made-up-00000}\n")
    )
    with pytest.raises(InventoryError) as caught:
        load(inventory_file)
    assert "pipeline.token: expected a reference" in str(caught.value)
    assert "glpat-made-up" not in str(caught.value)


def test_a_path_may_stand_in_a_variable_and_a_keys_text_may_not(
    inventory_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitLab gives a variable of type file as a path; a plain one would bring the key itself."""
    written = inventory_file.read_text().replace("key: id_ed25519", "key: ${SSH_KEY}")
    inventory_file.write_text(written.replace("kubeconfig: kubeconfig", "kubeconfig: ${PREFLIGHT_KUBECONFIG}"))
    monkeypatch.setenv("SSH_KEY", str(tmp_path / "id_ed25519"))
    monkeypatch.setenv("PREFLIGHT_KUBECONFIG", "kubeconfig")
    inventory = load(inventory_file)
    assert inventory.access.ssh != "none"
    assert (inventory.access.ssh.key, inventory.cluster.kubeconfig) == (
        tmp_path / "id_ed25519",
        tmp_path / "kubeconfig",
    )
    monkeypatch.setenv("SSH_KEY", "-----BEGIN MADE UP PRIVATE KEY-----\nbWFkZSB1cCBrZXkgdGV4dA\n")
    with pytest.raises(InventoryError, match=r"SSH_KEY holds a file's text, expected its path: give it") as caught:
        load(inventory_file)
    assert "bWFkZSB1cCBrZXkgdGV4dA" not in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_fresh_copy_names_the_files_that_it_misses_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_text("")
    monkeypatch.setenv("HOME", str(home))
    copy = tmp_path / "prod.yaml"
    copy.write_text((PROJECT / "inventory.yaml").read_text())
    with pytest.raises(InventoryError) as caught:
        load(copy)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        f"inventory {copy}: 2 files that it names do not exist: {tmp_path}/gitlab-runner-values.yaml"
    )
    assert f" and {home}/.ssh/id_ed25519 (access.ssh.key, line " in message
    assert message.endswith("); nothing was contacted")


def test_a_kubeconfig_need_not_be_named(inventory_file: Path) -> None:
    inventory_file.write_text(inventory_file.read_text().replace("kubeconfig: kubeconfig", "# as kubectl has it"))
    assert load(inventory_file).cluster.kubeconfig is None

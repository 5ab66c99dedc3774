"""A kubeconfig is read as kubectl reads it, and one that can not be used says why."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from preflight.clients import credential_program
from preflight.clients.connect import Routes
from preflight.clients.kube_api import Api
from preflight.clients.kube_errors import ApiError
from preflight.clients.kubeconfig import KubeconfigError, check_kubeconfig, client_settings
from preflight.faults import ApiFault
from preflight.redaction import redact

Json = dict[str, Any]


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "config"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


GOOD: Json = {
    "current-context": "prod",
    "contexts": [
        {"name": "prod", "context": {"cluster": "k", "user": "u"}},
        {"name": "test", "context": {"cluster": "k2", "user": "u"}},
    ],
    "clusters": [
        {"name": "k", "cluster": {"server": "https://192.168.1.100:6443/"}},
        {"name": "k2", "cluster": {"server": "https://10.0.0.9:6443", "insecure-skip-tls-verify": True}},
    ],
    "users": [{"name": "u", "user": {"token": "made-up"}}],
}


def test_a_good_kubeconfig_is_read_without_the_client(tmp_path: Path) -> None:
    found = check_kubeconfig(written(tmp_path, json.dumps(GOOD)), None)
    assert (found.context, found.cluster, found.server, found.verified) == (
        "prod",
        "k",
        "https://192.168.1.100:6443",
        True,
    )
    other = check_kubeconfig(tmp_path / "config", "test")
    assert (other.server, other.verified) == ("https://10.0.0.9:6443", False)


def changed(**parts: object) -> str:
    return json.dumps({**GOOD, **parts})


@pytest.mark.parametrize(
    ("text", "context", "problem"),
    [
        (changed(), "prdo", r"has no context 'prdo'; it knows prod, test; did you mean 'prod'\?"),
        (changed(**{"current-context": ""}), None, "names no context and has no current one; it knows prod, test"),
        (changed(clusters=[]), None, "has no cluster 'k'; it knows no clusters"),
        (changed(users=None), None, "has no user 'u'"),
        (changed(clusters=[{"name": "k", "cluster": {}}]), None, "cluster 'k' has no server URL"),
        (changed(clusters={"k": 1}), None, "clusters is not a list"),
        (
            changed(clusters=[{"name": "k", "cluster": {"server": "https://x", "certificate-authority": "ca.crt"}}]),
            None,
            r"certificate-authority names .*ca\.crt: No such file",
        ),
        (
            changed(clusters=[{"name": "k", "cluster": {"server": "https://x", "certificate-authority-data": "é"}}]),
            None,
            "certificate-authority-data is not base64",
        ),
        (
            changed(users=[{"name": "u", "user": {"exec": {"command": "no-such-credential-program"}}}]),
            None,
            "'no-such-credential-program', which is not installed",
        ),
        ("contexts: [", None, r"is not YAML: .*line \d"),
        ("just text", None, "is not a kubeconfig"),
        ("", None, "is not a kubeconfig"),
        (b"\xff\xfe", None, "is not UTF-8 text"),
    ],
)
def test_a_kubeconfig_that_can_not_be_used_says_why(
    tmp_path: Path, text: str | bytes, context: str | None, problem: str
) -> None:
    with pytest.raises(KubeconfigError, match=problem) as caught:
        check_kubeconfig(written(tmp_path, text), context)
    assert caught.value.path == str(tmp_path / "config")


def test_an_absent_kubeconfig_says_so(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="No such file"):
        check_kubeconfig(tmp_path / "nosuch", None)
    with pytest.raises(KubeconfigError, match="Is a directory"):
        check_kubeconfig(tmp_path, None)


def test_several_files_are_merged_as_kubectl_merges_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(json.dumps({"contexts": GOOD["contexts"], "current-context": "prod"}))
    second.write_text(json.dumps({**GOOD, "current-context": "test"}))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(first), str(second), str(tmp_path / "nosuch")]))
    assert check_kubeconfig(None, None).server == "https://192.168.1.100:6443"


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod with a service account, no kubeconfig and no home; the folder of its token."""
    mounted = tmp_path / "serviceaccount"
    mounted.mkdir()
    (mounted / "token").write_text("made-up-first-token")
    (mounted / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    monkeypatch.setattr("preflight.clients.kubeconfig._SERVICE_ACCOUNT", mounted)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "172.21.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("HOME", str(tmp_path / "nosuch"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return mounted


def test_a_pods_service_account_is_used_where_there_is_no_kubeconfig(
    pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = check_kubeconfig(None, None)
    assert (account.in_cluster, account.server, account.verified) == (True, "https://172.21.0.1:443", True)
    assert account.description == f"the pod's service account ({pod}/token), server https://172.21.0.1:443"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert check_kubeconfig(None, None).server == "https://[fd00::1]:443"
    monkeypatch.setenv("KUBECONFIG", str(written(tmp_path, json.dumps(GOOD))))
    assert (
        check_kubeconfig(None, None).description
        == f"{tmp_path}/config (context prod), server https://192.168.1.100:6443"
    )


def test_where_nothing_leads_to_the_cluster_it_says_what_was_looked_for(
    pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problem(context: str | None = None) -> str:
        with pytest.raises(KubeconfigError) as caught:
            check_kubeconfig(None, context)
        return str(caught.value)

    assert "the pod's service account has no context 'prod'; leave cluster.context out" in problem("prod")
    (pod / "token").unlink()
    assert f"{pod}/token can't be read: No such file or directory" in problem()
    assert "automountServiceAccountToken" in problem()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert "nosuch/.kube/config: no such file (kubectl's default), and this is no pod" in problem()
    monkeypatch.setenv("KUBECONFIG", "/nosuch/one")
    assert "/nosuch/one: no such file (named by $KUBECONFIG)" in problem()


@pytest.mark.parametrize("kind", ["service account", "tokenFile"])
def test_a_token_that_is_replaced_is_read_again(pod: Path, tmp_path: Path, kind: str) -> None:
    user = {"tokenFile": str(pod / "token")}
    path = None if kind == "service account" else written(tmp_path, changed(users=[{"name": "u", "user": user}]))
    configuration, _, _ = client_settings(check_kubeconfig(path, None), deadline=2)
    sent = [configuration.get_api_key_with_prefix("BearerToken")]
    (pod / "token").write_text("made-up-second-token\n")
    sent.append(configuration.get_api_key_with_prefix("BearerToken"))
    (pod / "token").unlink()
    sent.append(configuration.get_api_key_with_prefix("BearerToken"))
    assert sent == ["Bearer made-up-first-token", *["Bearer made-up-second-token"] * 2]
    assert "made-up-second-token" not in redact("x made-up-second-token x")


SECRET = "made-up-words-of-a-plugin"
CREDENTIAL = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": SECRET}}


@pytest.mark.parametrize("with_terminal", [False, True])
def test_a_credential_program_that_waits_for_ever_is_ended_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, with_terminal: bool
) -> None:
    monkeypatch.setattr(credential_program, "_has_terminal", lambda: with_terminal)
    processes = tmp_path / "processes"
    script = f"sleep 60 & echo $! $$ >{processes}.new; mv {processes}.new {processes}; wait"
    program = {"exec": {"apiVersion": CREDENTIAL["apiVersion"], "command": "sh", "args": ["-c", script]}}
    file = written(tmp_path, changed(users=[{"name": "u", "user": program}]))
    api = Api(file, None, routes=Routes(only_mapped=True), deadline=2)
    with pytest.raises(ApiError, match="gave nothing within") as caught:
        api.get("/version")
    assert caught.value.fault is ApiFault.CONTEXT
    assert [process for process in processes.read_text().split() if not ends(int(process))] == []


def ends(process: int) -> bool:
    """Whether a process is gone, or dead and not waited for yet, within a few seconds."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_credential_program_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    processes = tmp_path / "processes"
    script = f"sleep 60 & echo $! $$ >{processes}.new; mv {processes}.new {processes}; wait"
    program = {"exec": {"apiVersion": CREDENTIAL["apiVersion"], "command": "sh", "args": ["-c", script]}}
    file = written(tmp_path, changed(users=[{"name": "u", "user": program}]))
    ended = f"""
        import pathlib, threading, time
        from preflight.clients import kubeconfig
        checked = kubeconfig.check_kubeconfig(pathlib.Path({str(file)!r}), None)
        asking = dict(target=kubeconfig.client_configuration, args=[checked], kwargs=dict(deadline=60), daemon=True)
        threading.Thread(**asking).start()
        while not pathlib.Path({str(processes)!r}).exists():
            time.sleep(0.02)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(ended)], check=True, timeout=60)
    assert [process for process in processes.read_text().split() if not ends(int(process))] == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (f"echo {SECRET}; echo {SECRET} >&2; exit 3", ": process returned 3"),
        (f"echo {SECRET}", ": failed to decode process output"),
        (f"echo '[\"{SECRET}\"]'", ": malformed response"),
        (f"echo '{json.dumps({**CREDENTIAL, 'status': SECRET})}'", ""),
    ],
)
def test_a_credential_program_that_fails_is_named_and_its_words_are_not_shown(
    tmp_path: Path, script: str, reason: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    program = {"exec": {"apiVersion": CREDENTIAL["apiVersion"], "command": "sh", "args": ["-c", script]}}
    file = written(tmp_path, changed(users=[{"name": "u", "user": program}]))
    with pytest.raises(ApiError, match=f"its credential program gave no credentials{reason}") as caught:
        Api(file, None, routes=Routes(only_mapped=True), deadline=5).get("/version")
    assert caught.value.fault is ApiFault.CONTEXT
    assert SECRET not in "".join([str(caught.value), *capfd.readouterr(), caplog.text])


def test_a_credential_program_that_hangs_when_its_token_is_over_is_left(tmp_path: Path) -> None:
    over = {"token": SECRET, "expirationTimestamp": "2020-01-01T00:00:00Z"}
    first = json.dumps({**CREDENTIAL, "status": over})
    script = f"test -e {tmp_path}/again && exec sleep 3; touch {tmp_path}/again; echo '{first}'"
    program = {"exec": {"apiVersion": CREDENTIAL["apiVersion"], "command": "sh", "args": ["-c", script]}}
    api = Api(
        written(tmp_path, changed(users=[{"name": "u", "user": program}])),
        None,
        routes=Routes(only_mapped=True),
        deadline=1,
    )
    with pytest.raises(ApiError, match="gave nothing within"):
        api.get("/version")


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:9", "file:///etc/passwd", "http://[", "http://127.0.0.1:99999", "--x", ["a"], 7]
)
def test_a_proxy_that_is_none_is_refused(tmp_path: Path, proxy: object) -> None:
    cluster = {"server": "https://192.168.1.100:6443", "proxy-url": proxy}
    with pytest.raises(KubeconfigError, match=r"proxy-url: found .*, expected http://host:port"):
        check_kubeconfig(written(tmp_path, changed(clusters=[{"name": "k", "cluster": cluster}])), None)


def test_certificates_that_are_none_are_named(tmp_path: Path) -> None:
    data = base64.b64encode(b"no certificate").decode()
    cluster = {"server": "https://192.168.1.100:6443", "certificate-authority-data": data}
    file = written(tmp_path, changed(clusters=[{"name": "k", "cluster": cluster}]))
    api = Api(file, None, routes=Routes(only_mapped=True), deadline=2)
    with pytest.raises(ApiError, match="certificates can't be used") as caught:
        api.get("/version")
    assert caught.value.fault is ApiFault.CONTEXT


def test_no_temporary_file_of_a_client_key_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("ops")
    user = {
        "client-certificate-data": base64.b64encode(certificate.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": base64.b64encode(certificate.private_key_pem.bytes()).decode(),
    }
    data = base64.b64encode(authority.cert_pem.bytes()).decode()
    cluster = {"server": "https://192.168.1.100:6443", "certificate-authority-data": data}
    content = changed(clusters=[{"name": "k", "cluster": cluster}], users=[{"name": "u", "user": user}])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for _ in range(2):  # the client keeps a table of the files that it made
        _, tls, _ = client_settings(check_kubeconfig(written(tmp_path, content), None), deadline=2)
        assert tls.get_ca_certs()
        assert list(temporary.iterdir()) == []

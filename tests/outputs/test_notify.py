"""Messages to webhooks: their forms, what the servers say, and that nobody learns the URL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme

from preflight.outputs import metrics, notify
from tests import processes
from tests.outputs.conftest import PATH, Run, Serve
from tests.probes.apiserver import Reply, Scripted


def test_a_message_is_posted_and_its_refusal_changes_nothing(run: Run) -> None:
    """DingTalk refuses with status 200."""
    (posted,) = [asked for asked in run.asked if not asked.path.startswith("/metrics")]
    assert (posted.method, posted.path) == ("POST", f"/{PATH}")
    assert posted.headers["content-type"] == "application/json; charset=utf-8"
    message = posted.body
    assert message["msgtype"] == "markdown"
    assert message["markdown"]["title"] == "Preflight: NO GO"
    assert "1. gitlab-port-closed (stops all jobs): nothing listens on" in message["markdown"]["text"]
    assert run.ended.returncode == 1
    problem = "preflight: --notify: the message was not taken: it was refused: 310000 no sign; the verdict stands"
    assert problem in run.ended.stdout


def test_nobody_learns_the_url(run: Run) -> None:
    secret = PATH.rpartition("/")[2]
    printed = run.ended.stdout + run.ended.stderr
    files = [file.read_text() for file in run.folder.iterdir()]
    messages = [str(asked.body) for asked in run.asked]
    for text in (printed, *files, *messages):
        assert secret not in text
        assert "made-up-word" not in text


TEXTS = {
    "slack": lambda body: body["text"],
    "mattermost": lambda body: body["text"],
    "dingtalk": lambda body: body["markdown"]["text"],
    "feishu": lambda body: body["content"]["text"],
    "wecom": lambda body: body["markdown"]["content"],
}


@pytest.mark.parametrize("form", TEXTS)
def test_each_form_has_verdict_and_cause_and_mentions_nobody(form: str, document: dict[str, Any]) -> None:
    document["conclusions"][0]["cause"] = "it said <!channel> <at user_id=all> @all " + "x" * 9000
    body = notify.FORMATS[form](notify.context(document))
    text = TEXTS[form](body)
    assert document["verdict"][:20] in text
    assert "1. gitlab-port-closed (stops all jobs)" in text
    for mention in ("<!channel>", "<at ", "@all"):
        assert mention not in text or (form == "slack" and mention == "@all"), "Slack links `<…>` alone"
    assert len(text.encode()) <= 4096, "WeCom takes no more"


def test_the_json_form_has_everything(document: dict[str, Any]) -> None:
    body = notify.FORMATS["json"](notify.context(document))
    assert body["answer"] == "NO GO"
    assert body["causes"][0]["remedy"]
    assert json.loads(json.dumps(body)) == body


def test_a_template_makes_the_message(document: dict[str, Any], serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda _: Reply({"ok": True}))
    file = tmp_path / "message.j2"
    for text, kind, body in (
        ('{"title": {{ answer | tojson }}, "n": {{ causes | length }}}', "json", {"title": "NO GO", "n": 1}),
        ("{{ answer }} of {{ release }}", "plain", "NO GO of gitlab/gitlab-runner"),
    ):
        file.write_text(text)
        notify.send(document, server.url, form="json", template=notify.check_template(file), deadline=3)
        assert server.asked[-1].body == body
        assert kind in server.asked[-1].headers["content-type"]
    for text, problem in (
        ("{{ nosuch }}", "'nosuch' is undefined"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ 1 / 0 }}", "division by zero"),
    ):
        with pytest.raises(notify.MessageError, match=problem):
            notify.send(document, server.url, form="json", template=text, deadline=3)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply({"ok": True}), ""),
        (Reply("ok"), ""),
        (Reply({"errcode": 0, "errmsg": "ok"}), ""),
        (Reply({"StatusCode": 0, "code": 0, "msg": "success"}), ""),
        (Reply({"code": 19001, "msg": "param invalid"}), "it was refused: 19001 param invalid"),
        (Reply("no_team", 404), "it was answered with 404 Not Found"),
        (Reply("", 302, headers={"Location": "https://elsewhere.example/"}), "it was answered with 302"),
    ],
)
def test_what_a_server_says_decides_whether_it_was_taken(
    document: dict[str, Any], serve: Serve, reply: Reply, problem: str
) -> None:
    server = serve(lambda _: reply)
    if not problem:
        notify.send(document, f"{server.url}/hooks/x", form="slack", deadline=3)
    else:
        with pytest.raises(notify.MessageError, match=problem):
            notify.send(document, f"{server.url}/hooks/x", form="slack", deadline=3)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "changed", "due"),
    [
        (0, None, {"always"}),
        (1, None, {"always", "failure", "change"}),
        (1, "unchanged", {"always", "failure"}),
        (1, "not_judged", {"always", "failure"}),
        (0, "fixed", {"always", "change"}),
        (1, "new", {"always", "failure", "change"}),
    ],
)
def test_a_message_is_posted_on_its_occasion(
    document: dict[str, Any], status: int, changed: str | None, due: set[str]
) -> None:
    document["exit"] = status
    if changed is not None:
        nothing: dict[str, list[Any]] = {kind: [] for kind in ("new", "fixed", "changed", "unchanged", "not_judged")}
        document["baseline"] = {**nothing, "conclusions": {**nothing, changed: [{"name": "resolver-down"}]}}
    assert {occasion for occasion in notify.OCCASIONS if notify.is_due(document, occasion)} == due


def test_tls_is_verified_and_a_ca_of_ones_own_is_trusted(document: dict[str, Any], tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.cert_pem.bytes())
    with Scripted(lambda _: Reply("ok"), authority.issue_cert("127.0.0.1")) as server:
        url = f"https://127.0.0.1:{server.port}/hooks/x"
        notify.send(document, url, form="slack", ca_file=ca_file, deadline=3)
        metrics.push(document, url, ca_file=ca_file, deadline=3)
        asked = len(server.asked)
        with pytest.raises(notify.MessageError, match="certificate"):
            notify.send(document, url, form="slack", deadline=3)
        with pytest.raises(OSError, match="certificate"):
            metrics.push(document, url, deadline=3)
    assert asked == len(server.asked) == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--notify", "hooks.example.com/made-up-path"), "--notify: expected a URL such as https://hooks.example.com/"),
        (("--notify", "${MADE_UP_UNSET}"), "--notify: the environment variable MADE_UP_UNSET is not set"),
        (("--outputs-ca", "/dev/null"), "--outputs-ca /dev/null: expected a file with a CA's certificate as PEM"),
        (("--notify-template", "x.j2"), "--notify-template: needs --notify"),
        (("--notify", "http://x", "--notify-template", "/nosuch.j2"), "--notify-template: /nosuch.j2 can't be read"),
        (
            ("--metrics-file", "/nosuch/x.prom"),
            "--metrics-file /nosuch/x.prom: expected the name of a file in a folder",
        ),
    ],
)
def test_what_can_not_be_used_ends_the_run_before_it_begins(arguments: tuple[str, ...], problem: str) -> None:
    ended = processes.run_checks("--lab", *arguments)
    assert ended.returncode == 4
    assert problem in ended.stderr
    assert "made-up-path" not in ended.stderr + ended.stdout

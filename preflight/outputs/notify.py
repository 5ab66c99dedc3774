"""A message to a webhook when a run is over (`--notify URL`), in the form of a chat server or of a template of yours.

The URL is a secret: whoever has it can post. It is given by reference or as it is, and no message of ours repeats it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from preflight.clients.connect import Routes
from preflight.clients.http import NoReply, exchange
from preflight.evidence import Unmeasured, one_line
from preflight.language import t, translated
from preflight.outputs.document import Document, answer, changes, impact, name_of, release, root_causes
from preflight.redaction import redact

DEADLINE = 10.0
"""Seconds that a message may take."""

_MOST = 5  # root causes in a message; the report has all
_SHORTEST_SECRET = 16
_BYTES = 4000  # of a text: WeCom takes 4096

Context = dict[str, Any]


class MessageError(Exception):
    """The message can't be made or was not taken; says why, and never where it should have gone."""


def context(document: Document) -> Context:
    """What a template may use: texts and lists, without a secret."""
    decision = document["decision"]
    return {
        "release": release(document),
        "answer": answer(document),
        "partial": decision["partial"],
        "exit": document["exit"],
        "verdict": document["verdict"],
        "written": document["written"],
        "effect": document["effect"],
        "counts": dict(decision["counts"]),
        "causes": [
            {
                "name": name_of(cause),
                "impact": impact(cause),
                "cause": cause["cause"],
                "remedy": list(cause["remedy"]),
            }
            for cause in root_causes(document)
        ],
        "changes": {kind: [dict(change) for change in entries] for kind, entries in changes(document)},
        "job": os.environ.get("CI_JOB_URL", ""),
    }


# ---- the forms ------------------------------------------------------------------------------------------------------


def _text(values: Context, plain: Callable[[str], str] = str) -> str:
    """The message in lines: verdict, the worst root causes with the first step, what is new or fixed, where it ran."""
    lines = [
        t(
            "Preflight of {release}: {verdict}",
            release=plain(values["release"]),
            verdict=plain(translated(values["verdict"])),
        )
    ]
    for place, cause in enumerate(values["causes"][:_MOST], start=1):
        lines.append(
            t(
                "{place}. {name} ({impact}): {cause}",
                place=place,
                name=plain(cause["name"]),
                impact=plain(translated(cause["impact"])),
                cause=plain(translated(cause["cause"])),
            )
        )
        lines += ["   " + t("fix: {step}", step=plain(translated(step))) for step in cause["remedy"][:1]]
    further = len(values["causes"]) - _MOST
    lines += [t("and {count} more root causes", count=further)] if further > 0 else []
    for kind, entries in values["changes"].items():
        if kind.endswith(("new", "fixed")):
            names = ", ".join(plain(change["name"]) for change in entries[:_MOST])
            lines.append(t("{kind}: {names}", kind=translated(kind), names=names))
    lines += [values["job"]] if values["job"] else []
    return _cut("\n".join(redact(line) for line in lines))


def _cut(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= _BYTES else encoded[:_BYTES].decode(errors="ignore") + "…"


def _slack_plain(text: str) -> str:
    """A text in which Slack finds neither a link nor a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    """A text in which a chat's Markdown finds no mention."""
    return text.replace("@", "@\u200b").replace("<", "<\u200b")


def _markdown(values: Context) -> str:
    return _text(values, _quoted).replace("\n", "\n\n")


FORMATS: Mapping[str, Callable[[Context], Any]] = {
    "json": lambda values: values,
    "slack": lambda values: {"text": _text(values, _slack_plain)},
    "mattermost": lambda values: {"text": _markdown(values)},
    "dingtalk": lambda values: {
        "msgtype": "markdown",
        "markdown": {"title": f"Preflight: {values['answer']}", "text": _markdown(values)},
    },
    "feishu": lambda values: {"msg_type": "text", "content": {"text": _text(values, _quoted)}},
    "wecom": lambda values: {"msgtype": "markdown", "markdown": {"content": _text(values, _quoted)}},
}
"""The body of a message by the name of its form; each server's own (docs/sources.md#chat-webhooks)."""


OCCASIONS = ("always", "failure", "change")


def is_due(document: Document, occasion: str) -> bool:
    """Whether there is a message: always, where the exit status is not 0, or where something has changed.

    Changes are those since the baseline; a run without one counts as a change where its exit status is not 0.
    """
    failed = bool(document["exit"])
    if occasion == "change" and document.get("baseline") is not None:
        return any(entries for kind, entries in changes(document) if not kind.endswith("not judged"))
    return failed or occasion == "always"


def check_template(file: Path) -> str:
    """The text of a template.

    Raises:
        MessageError: it can't be read, or is no template.
    """
    from jinja2 import Environment, TemplateSyntaxError  # noqa: PLC0415 - only this output needs it

    try:
        text = file.read_text(encoding="utf-8")
        Environment(autoescape=False).parse(text)  # noqa: S701 - the result is JSON or plain text
    except OSError as error:
        raise MessageError(f"{file} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MessageError(f"{file} can't be read: not UTF-8 text") from None
    except TemplateSyntaxError as error:
        raise MessageError(f"{file}:{error.lineno}: is no Jinja template: {error.message}") from None
    return text


def rendered(template: str, values: Context) -> bytes:
    """The body that a template makes.

    Raises:
        MessageError: it uses what there is not.
    """
    from jinja2 import StrictUndefined  # noqa: PLC0415 - only this output needs it
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415

    environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        text = environment.from_string(template).render(values)
    except Exception as error:  # noqa: BLE001 - an expression may raise anything
        raise MessageError(f"the template can't be filled in: {one_line(str(error), longest=200)}") from None
    return redact(text).encode()


# ---- sending --------------------------------------------------------------------------------------------------------


def secret_parts(url: str) -> list[str]:
    """What of a webhook's URL lets one post: itself, and the long words in its path and query."""
    _, _, rest = url.partition("//")
    words = rest.partition("/")[2].replace("?", "/").replace("&", "/").replace("=", "/").split("/")
    return [url, *(word for word in words if len(word) >= _SHORTEST_SECRET)]


def send(
    document: Document,
    url: str,
    *,
    form: str,
    template: str | None = None,
    ca_file: Path | None = None,
    deadline: float = DEADLINE,
) -> None:
    """Post the message, once, without following a redirect.

    Args:
        document: the JSON report.
        url: the webhook.
        form: one of `FORMATS`.
        template: a template's text, in the form's place.
        ca_file: PEM of a further CA to trust.
        deadline: seconds for the whole exchange.

    Raises:
        MessageError: it was not taken.
    """
    values = context(document)
    body = rendered(template, values) if template is not None else json.dumps(FORMATS[form](values)).encode()
    kind = "application/json" if _is_json(body) else "text/plain"
    try:
        reply = exchange(
            url,
            method="POST",
            headers={"Content-Type": f"{kind}; charset=utf-8"},
            body=body,
            routes=Routes(),
            ca_file=ca_file,
            deadline=deadline,
        )
    except (NoReply, Unmeasured) as error:
        raise MessageError(redact(str(error))) from None
    if reply.status // 100 != 2:  # noqa: PLR2004 - 2xx
        raise MessageError(redact(f"it was answered with {reply.status} {reply.reason}"))
    problem = _refusal(reply.text)
    if problem:
        raise MessageError(redact(f"it was refused: {problem}"))


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _refusal(text: str) -> str:
    """What DingTalk, WeCom (``errcode``) and Feishu (``code``) say in a reply of status 200, if they took nothing."""
    try:
        reply = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(reply, dict):
        return ""
    code = reply.get("errcode", reply.get("code", 0))
    if isinstance(code, bool) or not isinstance(code, int) or code == 0:
        return ""
    return f"{code} {one_line(str(reply.get('errmsg', reply.get('msg', ''))), longest=200)}".strip()

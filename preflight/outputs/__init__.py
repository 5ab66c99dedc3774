"""What a run is made into besides its reports: metrics, a note, a Code Quality report, a message.

All are made from preflight.json as it was written, also with `--replay`, and none changes a verdict: what could not be
written or sent is a line.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from preflight.evidence import clean
from preflight.inventory_forms import Secret
from preflight.outputs import code_quality, markdown, metrics, notify
from preflight.outputs.document import Document
from preflight.redaction import redact, remember

_BEGAN = pytest.StashKey[float]()
_CHOSEN = pytest.StashKey["_Chosen"]()

_NONE = {"metrics_file": "--metrics-file", "markdown": "--markdown", "code_quality": "--code-quality"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """Where things are sent, and how; "" for nowhere."""

    pushgateway: str = ""
    webhook: str = ""
    form: str = "json"
    template: str | None = None
    ca_file: Path | None = None
    occasion: str = "always"


def add_options(parser: pytest.Parser) -> None:
    """Add the options of these outputs."""
    group = parser.getgroup("preflight outputs", "what a run is made into besides its reports (docs/reports.md)")
    group.addoption(
        "--metrics-file", metavar="FILE", help="metrics for node_exporter's textfile collector (preflight.prom)"
    )
    group.addoption(
        "--pushgateway", metavar="URL", help="push the metrics to a Prometheus Pushgateway; also ${NAME} or file:PATH"
    )
    group.addoption("--markdown", metavar="FILE", help="a note for a merge request, in GitLab's Markdown")
    group.addoption("--code-quality", metavar="FILE", help="a Code Quality report, as GitLab reads it")
    group.addoption(
        "--notify",
        metavar="URL",
        help="post a message to this webhook when the run is over; a secret: better ${NAME} or file:PATH",
    )
    group.addoption(
        "--notify-format",
        choices=[*notify.FORMATS],
        default="json",
        help="the form of the message (default: %(default)s)",
    )
    group.addoption(
        "--notify-on",
        choices=notify.OCCASIONS,
        default="always",
        help="post after each run, where the exit status is not 0, or where something has changed since --baseline "
        "(default: %(default)s)",
    )
    group.addoption("--notify-template", metavar="FILE", help="a Jinja template that makes the message instead")
    group.addoption(
        "--outputs-ca", metavar="FILE", help="PEM of a further CA that Pushgateway or webhook are signed by"
    )


def check(config: pytest.Config) -> None:
    """Read what the options name, before anything is contacted.

    Raises:
        pytest.UsageError: an option can't be used; names the option, and no secret.
    """
    config.stash[_BEGAN] = time.monotonic()
    if config.option.collectonly:
        return
    for attribute, option in _NONE.items():
        file = getattr(config.option, attribute)
        if file is not None and (not Path(file).parent.is_dir() or Path(file).is_dir()):
            raise pytest.UsageError(f"{option} {file}: expected the name of a file in a folder that exists")
    if config.getoption("replay") and config.getoption("pushgateway"):
        raise pytest.UsageError("--pushgateway: takes the metrics of a run, and a replay has measured nothing")
    if config.getoption("notify_template") and not config.getoption("notify"):
        raise pytest.UsageError("--notify-template: needs --notify, which says where the message goes")
    template = None
    if config.getoption("notify_template"):
        try:
            template = notify.check_template(Path(config.getoption("notify_template")))
        except notify.MessageError as error:
            raise pytest.UsageError(f"--notify-template: {error}") from None
    ca_file = Path(config.getoption("outputs_ca")) if config.getoption("outputs_ca") else None
    if ca_file is not None and not _is_ca(ca_file):
        raise pytest.UsageError(f"--outputs-ca {ca_file}: expected a file with a CA's certificate as PEM")
    config.stash[_CHOSEN] = _Chosen(
        ca_file=ca_file,
        pushgateway=_url(config, "pushgateway"),
        webhook=_url(config, "notify"),
        form=config.getoption("notify_format"),
        occasion=config.getoption("notify_on"),
        template=template,
    )


def _is_ca(file: Path) -> bool:
    try:
        ssl.create_default_context(cafile=str(file))
    except (OSError, ValueError):
        return False
    return True


def _url(config: pytest.Config, option: str) -> str:
    """The URL that an option gives, as it is or by reference; it is kept out of everything that is printed."""
    given = config.getoption(option)
    if given is None:
        return ""
    try:
        url = Secret.read(given, Path()).text if given.startswith(("${", "file:")) else given.strip()
    except ValueError as error:
        raise pytest.UsageError(f"--{option}: {error}") from None
    try:
        parts = urlsplit(url or "")
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not url or not usable:
        expected = "expected a URL such as https://hooks.example.com/…, or ${NAME} or file:PATH with one"
        raise pytest.UsageError(f"--{option}: {expected}")
    for secret in [*(notify.secret_parts(url) if option == "notify" else []), parts.password or ""]:
        if secret:
            remember(secret)
    return url


def write(config: pytest.Config, report: Path) -> Iterator[str]:
    """Write the files that were asked for; yields what went wrong, a sentence each.

    Args:
        config: of the run.
        report: its preflight.json.
    """
    writers: dict[str, Callable[[Document, Path], None]] = {
        "metrics_file": metrics.write,
        "markdown": lambda document, file: _write(file, markdown.note(document)),
        "code_quality": lambda document, file: _write(file, _code_quality(document)),
    }
    asked = {attribute: getattr(config.option, attribute) for attribute in writers}
    for attribute, file in asked.items():
        if file is None:
            continue
        try:
            writers[attribute](_read(config, report), Path(file))
        except Exception as error:  # noqa: BLE001 - no output of these may cost the verdict
            yield _sentence(_NONE[attribute], "could not be written", error)


def send(config: pytest.Config, report: Path) -> Iterator[str]:
    """Push the metrics and post the message, where that was asked for; yields what went wrong, a sentence each."""
    chosen = config.stash.get(_CHOSEN, _Chosen())
    senders: list[tuple[str, str, Callable[[Document], None]]] = []
    if chosen.pushgateway:
        senders.append(("--pushgateway", "the metrics were not taken", _push(chosen)))
    if chosen.webhook:
        senders.append(("--notify", "the message was not taken", _notify(chosen)))
    for option, problem, sender in senders:
        try:
            sender(_read(config, report))
        except Exception as error:  # noqa: BLE001 - no output of these may cost the verdict
            yield _sentence(option, problem, error)


def _push(chosen: _Chosen) -> Callable[[Document], None]:
    return lambda document: metrics.push(document, chosen.pushgateway, ca_file=chosen.ca_file)


def _notify(chosen: _Chosen) -> Callable[[Document], None]:
    def post(document: Document) -> None:
        if notify.is_due(document, chosen.occasion):
            notify.send(document, chosen.webhook, form=chosen.form, template=chosen.template, ca_file=chosen.ca_file)

    return post


def _sentence(option: str, problem: str, error: Exception) -> str:
    known = isinstance(error, OSError | notify.MessageError)
    reason = (getattr(error, "strerror", None) or str(error)) if known else f"{type(error).__name__}: {error}"
    return redact(f"{option}: {problem}: {clean(reason)}; the verdict stands")


def _read(config: pytest.Config, report: Path) -> Document:
    """The report as it was written.

    Raises:
        OSError: it could not be.
    """
    try:
        document: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise OSError(f"there is no {report.name} to make it from") from None
    document.setdefault("took", round(time.monotonic() - config.stash[_BEGAN], 1))
    return document


def _code_quality(document: Document) -> str:
    project = Path(os.environ.get("CI_PROJECT_DIR") or Path.cwd())
    return json.dumps(code_quality.issues(document, project=project), indent=1, ensure_ascii=False) + "\n"


def _write(file: Path, text: str) -> None:
    """Write a file that appears whole or not at all; a symbolic link in its place is replaced, and not followed."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("x", encoding="utf-8") as stream:
            stream.write(text)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)

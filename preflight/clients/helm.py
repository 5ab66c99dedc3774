"""The program ``helm``: found, asked for its version, and asked to render a chart. It never reaches for a cluster.

It runs with a home, caches and a configuration of its own, without plugins, kubeconfig and proxies, in a folder that
is removed afterwards; its time and its output are bounded. Values and what ``--set`` gives to a secret reach it in
files, so that no other process sees them on a command line.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from preflight import rendering
from preflight.chartpackage import ChartPackage
from preflight.evidence import Unmeasured, clean, one_line
from preflight.redaction import names_a_secret, remember
from preflight.rendering import VALUES_KIND, NotAManifestError, Rendering
from preflight.valuesource import Settings, split_pairs

NONE = "none"
"""What stands for helm where it is not to be used although it is there."""
LARGEST_OUTPUT = 64 * 2**20  # bytes of what helm prints; the runner's chart makes 20 thousand
DEADLINE = 20.0  # seconds; the runner's chart takes less than a tenth of one
_VERSION = re.compile(r"v(\d+\.\d+\.\d+\S*?)(?:\+|$|\s)")
_VALUES = f"""\
apiVersion: v1
kind: {VALUES_KIND}
metadata: {{name: preflight-values}}
values: {{{{ toJson .Values | b64enc | quote }}}}
"""
_VALUES_TEMPLATE = "templates/zz-preflight-values.yaml"


@dataclass(frozen=True, slots=True)
class Helm:
    """The program.

    Attributes:
        path: where it is.
        version: such as ``3.17.3``.
    """

    path: str
    version: str

    def __str__(self) -> str:
        return f"helm {self.version}"


@dataclass(frozen=True, slots=True)
class ValuesFile:
    """A values file: its text as it is to be read, and the name by which errors speak of it."""

    name: str
    text: str = field(repr=False)


class RenderError(Exception):
    """The chart does not render with these values; Helm's own words.

    Attributes:
        message: one sentence: what Helm met, innermost.
        detail: all that Helm said, without the texts that it quotes.
        template: the chart's file, such as ``templates/deployment.yaml``, or "".
        line: in that file, or in what it renders to if that is no YAML; 0 if Helm names none.
        text_line: the line within a text of the values that is a template itself, such as ``runners.config``; or 0.
        values_path: the key of the values that Helm was at, dotted; or "".
        values_file: the name of the values file that is no YAML, with `line` in it; or "".
    """

    def __init__(
        self,
        message: str,
        *,
        detail: str = "",
        template: str = "",
        line: int = 0,
        text_line: int = 0,
        values_path: str = "",
        values_file: str = "",
    ) -> None:
        self.message, self.detail = one_line(message, longest=600), clean(detail or message)
        self.template, self.line, self.text_line = template, line, text_line
        self.values_path, self.values_file = values_path, values_file
        place = values_file or template
        super().__init__(f"{place}:{line}: {self.message}" if place and line else self.message)


# ---- finding it -----------------------------------------------------------------------------------------------------


def find(given: str = "", *, deadline: float = DEADLINE) -> Helm | None:
    """The program, or None where there is none, or it is switched off.

    Args:
        given: its path; ``none`` switches it off; empty looks on the PATH.
        deadline: seconds to tell its version.

    Raises:
        Unmeasured: the program that is given is not there, or what is there is no helm.
    """
    if given == NONE:
        return None
    path = shutil.which(str(Path(given).expanduser()) if given else "helm")
    if path is None:
        if not given:
            return None
        raise Unmeasured(f"there is no program {given}", needs="the path of helm, or none to go without it")
    path = str(Path(path).absolute())  # it is run in another folder
    with _own_folder() as folder:
        ended = _run([path, "version", "--short"], folder, deadline=deadline)
    match = _VERSION.search(ended.output)
    if ended.status or match is None:
        raise Unmeasured(
            f"{path} does not report its version: {ended.errors or ended.output or f'exit status {ended.status}'}",
            needs="a helm of version 3 or newer, or none to go without it",
        )
    return Helm(path, match[1])


# ---- rendering ------------------------------------------------------------------------------------------------------


def template(
    helm: Helm,
    chart: ChartPackage,
    *,
    release: str,
    namespace: str,
    values: Sequence[ValuesFile] = (),
    settings: Settings | None = None,
    kubernetes: str = "",
    api_versions: Sequence[str] = (),
    deadline: float = DEADLINE,
) -> Rendering:
    """Render a chart as ``helm template`` does, with its values merged by Helm itself.

    Args:
        helm: the program.
        chart: the chart's package.
        release: the release's name.
        namespace: the release's namespace.
        values: the values files, in order.
        settings: what is set besides.
        kubernetes: the cluster's version, for ``Capabilities``; empty takes helm's own.
        api_versions: what the cluster serves, such as ``monitoring.coreos.com/v1``, besides Kubernetes' own.
        deadline: seconds.

    Raises:
        RenderError: Helm refuses the chart or the values.
        Unmeasured: helm could not be run, or did not end in time.
    """
    began = time.monotonic()
    with _own_folder() as folder:
        command = [helm.path, "template", release, str(_unpack(chart, folder / "chart")), "--namespace", namespace]
        names: dict[str, str] = {}
        for number, layer in enumerate(values):
            file = folder / f"values-{number}.yaml"  # a path with a comma would be two of them
            file.write_text(layer.text, encoding="utf-8")
            names[str(file)] = layer.name
            command += ["--values", str(file)]
        command += _options(settings or Settings(), folder)
        if kubernetes:
            command += ["--kube-version", kubernetes]
        command += [part for version in api_versions for part in ("--api-versions", version)]
        ended = _run(command, folder, deadline=deadline)
        errors = ended.errors.replace(f"{folder}/chart/", "")
        for path, name in names.items():
            errors = errors.replace(path, name)
    if ended.status:
        raise _render_error(errors, chart, tuple(names.values()))
    try:
        return rendering.read(
            ended.output,
            release=release,
            namespace=namespace,
            rendered_by=str(helm),
            chart=f"{chart.name} {chart.version}",
            app_version=chart.app_version,
            warnings=_warnings(errors),
            took=time.monotonic() - began,
        )
    except NotAManifestError as error:
        raise RenderError(str(error)) from error


def _unpack(chart: ChartPackage, folder: Path) -> Path:
    """The chart in a folder, with one more template, by which the merged values come back."""
    for name, content in {**chart.files, _VALUES_TEMPLATE: _VALUES.encode()}.items():
        if name == ".helmignore" and not chart.from_folder:
            continue  # Helm heeds it in folders, and not in packages
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def _options(settings: Settings, folder: Path) -> Iterator[str]:
    """The options of what is set. A secret is handed over in a file, as ``--set-file`` reads it."""
    hidden = 0
    for option, pairs in (
        ("--set-json", settings.set_json),
        ("--set", settings.set),
        ("--set-string", settings.set_string),
    ):
        for pair in pairs:
            for assignment in [pair] if option == "--set-json" else split_pairs(pair):
                key, sign, value = assignment.partition("=")
                if option != "--set-json" and sign and _is_secret(key, value):
                    path = folder / f"set-{hidden}"
                    hidden += 1
                    path.write_text(remember(re.sub(r"\\(.)", r"\1", value)), encoding="utf-8")
                    yield from ("--set-file", f"{key}={path}")
                else:
                    yield from (option, assignment)
    for pair in settings.set_file:
        yield from ("--set-file", pair)


def _is_secret(key: str, value: str) -> bool:
    """Whether a pair gives a secret as a text; a word that --set reads as something else stays where it is."""
    plain = not value.startswith("{") and value not in {"", "null", "true", "false"}
    return plain and not re.fullmatch(r"-?\d+", value) and names_a_secret(re.split(r"[.\[\]]+", key)[-1])


# ---- Helm's words ---------------------------------------------------------------------------------------------------

_QUOTED_TEXT = re.compile(r'(?P<before>cannot parse template|function execution for) "(?:\\.|[^"\\])*"')
_WITHIN_TEXT = re.compile(
    r"error calling tpl: .{0,1000}?(?:\bgotpl|parse error at \([^:()]{1,200}):(?P<line>\d{1,9})", re.DOTALL
)
_AT_TEMPLATE = re.compile(r"(?P<path>[\w.\-/]{1,200}/templates/[\w.\-/]{1,200}+):(?P<line>\d{1,9})(?::\d{1,9})?")
_TEXT = re.compile(r"at <tpl \$?\.Values\.(?P<path>[\w.]+)")
_AT_VALUE = re.compile(r"at <\$?\.Values\.(?P<path>[\w.]{1,300}+)[^>]{0,1000}+>")
_OF_RENDERED = re.compile(r"YAML parse error on (?P<path>\S+?): (?P<reason>.*)", re.DOTALL)
_YAML_LINE = re.compile(r"yaml: line (?P<line>\d+): ")
_INNERMOST = re.compile(
    r"(?:executing \"[^\"]{0,300}+\" at <(?P<at>[^>]{0,1000}+)>:|gotpl:\d{1,9}:(?:\d{1,9}:)?)\s*", re.DOTALL
)
_WARNING = re.compile(r"^(?:\S+\.go:\d+: |(?:time=\S+ )?level=\w+ msg=\"?)?(?:[Ww]arning: ?|WARNING: ?)?")


def _render_error(errors: str, chart: ChartPackage, files: tuple[str, ...]) -> RenderError:
    """What helm's last words mean."""
    message = errors[errors.rfind("Error: ") :].removeprefix("Error: ") if "Error: " in errors else errors
    message = " ".join(filter(None, map(str.strip, message.partition("Use --debug flag")[0].splitlines())))
    within = _WITHIN_TEXT.search(_QUOTED_TEXT.sub(r"\g<before> …", message))
    message = _QUOTED_TEXT.sub(r"\g<before> …", message)
    line = _YAML_LINE.search(message)
    if of_values := next((name for name in files if f"failed to parse {name}" in message), ""):
        reason = message[line.end() :] if line else message
        return RenderError(reason, detail=message, values_file=of_values, line=int(line["line"]) if line else 1)
    if rendered := _OF_RENDERED.search(message):
        reason = rendered["reason"] if line is None else message[line.end() :]
        return RenderError(
            f"what it renders to is no YAML: {reason}",
            detail=message,
            template=_inside(rendered["path"], chart),
            line=int(line["line"]) if line else 0,
        )
    places = list(_AT_TEMPLATE.finditer(message))
    ends = list(_INNERMOST.finditer(message))
    reason = message[ends[-1].end() :] if ends else re.sub(r"^execution error at \([^)]*\): ", "", message)
    paths = _AT_VALUE.findall(message)
    at = next((end["at"] for end in reversed(ends) if end["at"] and (within is None or end["at"].startswith("."))), "")
    return RenderError(
        f"<{at}>: {reason}" if at and at not in reason and ends[-1]["at"] else reason,
        detail=message,
        template=_inside(places[-1]["path"], chart) if places else "",
        line=int(places[-1]["line"]) if places else 0,
        text_line=int(within["line"]) if within else 0,
        values_path=_TEXT.findall(message)[-1] if within and _TEXT.search(message) else paths[-1] if paths else "",
    )


def _inside(path: str, chart: ChartPackage) -> str:
    return path.removeprefix(f"{chart.name}/")


def _warnings(errors: str) -> tuple[str, ...]:
    """What helm said beside its output, without the values that it prints."""
    lines = [_WARNING.sub("", line).partition("(")[0].rstrip().rstrip('"') for line in errors.splitlines()]
    return tuple(dict.fromkeys(one_line(line) for line in lines if line.strip()))


# ---- running it -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ended:
    status: int
    output: str = field(repr=False)
    errors: str = field(repr=False)


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="preflight-helm-") as folder:  # only ours to read: it may hold a token
        yield Path(folder)


def _environment(folder: Path) -> Mapping[str, str]:
    home = str(folder / "home")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
        "KUBECONFIG": f"{home}/no-kubeconfig",
        "HELM_CACHE_HOME": f"{home}/cache",
        "HELM_CONFIG_HOME": f"{home}/config",
        "HELM_DATA_HOME": f"{home}/data",
        "HELM_PLUGINS": f"{home}/plugins",
    }


def _run(command: Sequence[str], folder: Path, *, deadline: float) -> _Ended:
    """Run it to its end.

    Raises:
        Unmeasured: it can't be started, takes too long or prints too much.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(_environment(folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Unmeasured(
            f"{command[0]} can't be run: {error.strerror or error}", needs="a helm that runs here"
        ) from None
    with process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101
        output, errors = _Pipe(process.stdout, process), _Pipe(process.stderr, process)
        try:
            process.wait(deadline)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise Unmeasured(f"helm did not end within {deadline:g} s", needs="a chart that renders in time") from None
        finally:
            _kill(process)
            output.join()
            errors.join()
    if output.too_long or errors.too_long:
        raise Unmeasured(f"helm printed more than {LARGEST_OUTPUT} bytes", needs="a chart that renders to less")
    return _Ended(process.returncode, output.text, errors.text)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


class _Pipe:
    """Reads what a process prints, up to the bound; one that prints more is ended."""

    def __init__(self, pipe: IO[bytes], process: subprocess.Popen[bytes]) -> None:
        self._pipe, self._process = pipe, process
        self._read = bytearray()
        self.too_long = False
        self._reading = threading.Thread(target=self._drain, name="read helm's output", daemon=True)
        self._reading.start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the pipe is closed once the process is gone
            while piece := self._pipe.read(65_536):
                self._read += piece
                if len(self._read) > LARGEST_OUTPUT:
                    self.too_long = True
                    _kill(self._process)
                    return

    def join(self) -> None:
        """Wait for the rest of what was printed, which is a moment once the process has ended."""
        self._reading.join(5)

    @property
    def text(self) -> str:
        """What was printed."""
        return bytes(self._read).decode("utf-8", "replace")

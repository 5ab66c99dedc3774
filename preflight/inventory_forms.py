"""The forms of the inventory's single values: addresses, hosts, images, files, and references to secrets.

Each is a type for a key of `preflight.inventory`; a ValueError says what was expected.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from preflight.redaction import remember


class Secret:
    """A reference to a secret: ``${NAME}``, ``${NAME:-}`` (optional), ``file:path`` or ``secret:namespace/name/key``.

    Environment variables and files are read when the inventory is loaded; a Kubernetes secret is read by the facts
    that need it. The secret's text is in no repr.
    """

    __slots__ = ("reference", "text")

    def __init__(self, reference: str, text: str | None) -> None:
        self.reference, self.text = reference, text

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __bool__(self) -> bool:
        return self.text is None or bool(self.text)

    @property
    def cluster_key(self) -> tuple[str, str, str] | None:
        """Namespace, name and key of a ``secret:`` reference."""
        if not self.reference.startswith("secret:"):
            return None
        namespace, name, key = self.reference.removeprefix("secret:").split("/", 2)
        return namespace, name, key

    @classmethod
    def read(cls, reference: object, folder: Path) -> Secret:
        """Resolve the reference; a ValueError says what was expected and never quotes the value."""
        if not isinstance(reference, str):
            msg = "found no text, expected a reference: ${NAME}, ${NAME:-}, file:path or secret:namespace/name/key"
            raise ValueError(msg)  # noqa: TRY004 - pydantic turns ValueError into a problem of this key
        if match := re.fullmatch(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-)?\}", reference):
            name, optional = match.groups()
            text = os.environ.get(name) or ("" if optional else None)
            if text is None:
                msg = f"the environment variable {name} is not set; export it, or write ${{{name}:-}} to go without"
                raise ValueError(msg)
            return cls(reference, remember(text.strip()))
        if reference.startswith("file:"):
            path = folder / Path(reference.removeprefix("file:")).expanduser()
            try:
                return cls(reference, remember(path.read_text(encoding="utf-8").strip()))
            except (OSError, UnicodeDecodeError) as error:
                msg = f"{path} can't be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}"
                raise ValueError(msg) from None
        if re.fullmatch(r"secret:[a-z0-9.\-]+/[a-z0-9.\-]+/[A-Za-z0-9._\-]+", reference):
            return cls(reference, None)
        remember(reference)
        msg = (
            "expected a reference (${NAME}, ${NAME:-}, file:path or secret:namespace/name/key), "
            "found a literal: a secret never stands in the inventory"
        )
        raise ValueError(msg)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: object, info: core_schema.ValidationInfo) -> Secret:
            context = info.context or {}
            if context.get("saved"):
                return cls(str(value), None)
            return cls.read(value, context.get("folder", Path()))

        return core_schema.with_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(lambda secret: secret.reference)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": r"^(\$\{[A-Za-z_][A-Za-z0-9_]*(:-)?\}|file:.+|secret:[a-z0-9.-]+/[a-z0-9.-]+/.+)$",
        }


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        msg = "expected an IP address, such as 10.0.0.2"
        raise ValueError(msg) from None


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        msg = f"expected a network, such as 10.0.0.0/16 ({error})"
        raise ValueError(msg) from None


def _networks(value: object) -> str | list[str]:
    if isinstance(value, str):
        return _network(value)
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        msg = "expected a network, such as 10.0.0.0/16, or with dual stack a list of two"
        raise ValueError(msg)
    several = [_network(each) for each in value]
    if len({ipaddress.ip_network(network).version for network in several}) != len(several):
        msg = f"found {' and '.join(several)}, expected one network of IPv4 and one of IPv6"
        raise ValueError(msg)
    return several


def _url(text: str) -> str:
    msg = "expected a URL such as http://192.168.1.50/"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # brackets, or an invalid port; the message quotes what may be a password
        raise ValueError(msg) from None
    if not usable:
        raise ValueError(msg)
    if parts.username or parts.password:
        msg = "expected a URL without user and password"
        raise ValueError(msg)
    return text


_IMAGE = re.compile(r"[A-Za-z0-9][\w.:/@+\-]*", re.ASCII)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._\-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")


def _image(text: str) -> str:
    """What can be an image's name: no program that gets it takes it for an option."""
    if not _IMAGE.fullmatch(text):
        msg = "expected the name of an image, such as registry.example.com/library/alpine:3.22"
        raise ValueError(msg)
    return text


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        msg = "expected host or host:port, such as registry.example.com:5000"
        raise ValueError(msg)
    return text


def _endpoint(text: str) -> str:
    host, separator, port = text.rpartition(":")
    if not separator or not _HOST.fullmatch(host) or not port.isdigit() or not 0 < int(port) < 65536:  # noqa: PLR2004 - ports are 16 bits
        msg = "expected host:port, such as 192.168.1.50:80"
        raise ValueError(msg)
    return text


def checked_connect(mapping: dict[str, str]) -> dict[str, str]:
    """A mapping that is fit for ``connect:``; a ValueError says what of it is not."""
    for source, destination in mapping.items():
        if source == "*":
            if destination != "refuse":
                msg = "'*' takes one word: refuse"
                raise ValueError(msg)
        else:
            _endpoint(source)
            _endpoint(destination)
    return mapping


def _from_environment(path: Path) -> Path:
    """The path that ``${NAME}`` stands for: GitLab gives a variable of type file as the path of its file."""
    match = re.fullmatch(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-)?\}", str(path))
    if match is None:
        return path
    name, optional = match.groups()
    if optional:
        msg = f"found {path}, expected ${{{name}}}: a path has no form without a value; leave the key out"
        raise ValueError(msg)
    text = os.environ.get(name, "").strip()
    if not text:
        msg = f"the environment variable {name} is not set; export it with a path"
        raise ValueError(msg)
    if "\n" in text or "-----BEGIN" in text:
        remember(text)
        msg = f"the environment variable {name} holds a file's text, expected its path: give it the type file in GitLab"
        raise ValueError(msg)
    return Path(text)


def _file(path: Path, info: core_schema.ValidationInfo) -> Path:
    if (info.context or {}).get("saved"):
        return path
    path = _from_environment(path)
    full: Path = (info.context or {}).get("folder", Path()) / path.expanduser()
    try:
        with full.open("rb"):
            return full
    except OSError as error:
        msg = f"{full} can't be read: {error.strerror}"
        raise ValueError(msg) from None


def _text_only(value: object) -> object:
    if isinstance(value, float | int) and not isinstance(value, bool):
        msg = f"found the number {value}, expected text: put it in quotes, since YAML drops zeros at the end"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns ValueError into a problem of this key
    return value


_PACKAGE = re.compile(r"gitlab-runner-v?(\d+\.\d+\.\d+[\w.+-]*?)\.(?:tgz|tar\.gz)$")


def is_chart_path(chart: str) -> bool:
    """Whether a chart is a package or a folder of this machine, and not a version."""
    return chart.endswith((".tgz", ".tar.gz")) or chart.startswith((".", "/", "~"))


def chart_version(chart: str) -> str:
    """The version in ``0.80.1``, ``./gitlab-runner-0.80.1.tgz`` or ``oci://…:0.80.1``; empty where there is none."""
    if chart.startswith("oci://"):
        tag = chart.rpartition(":")[2]
        return "" if "/" in tag else tag.removeprefix("v")
    if is_chart_path(chart):
        version = _PACKAGE.search(chart)
        return version[1] if version else ""
    return chart


def _chart(text: str, info: core_schema.ValidationInfo) -> str:
    """A version, a reference, or a path, which becomes a full one."""
    if not is_chart_path(text) or (info.context or {}).get("saved"):
        return text
    path: Path = (info.context or {}).get("folder", Path()) / Path(text).expanduser()
    if not path.exists() or (path.is_dir() and not (path / "Chart.yaml").is_file()):
        msg = f"{path} is no chart: expected a package (gitlab-runner-VERSION.tgz) or a folder with a Chart.yaml"
        raise ValueError(msg)
    return str(path)


def _repository(text: str) -> str:
    if text == "none" or re.fullmatch(r"oci://[^/\s@]+(/[^\s@]+)?", text):
        return text
    return _url(text)


def _set_file(pair: str, info: core_schema.ValidationInfo) -> str:
    """A pair of key and path, which becomes a full one."""
    key, separator, path = pair.partition("=")
    if not separator or not key.strip():
        msg = "expected key=path"
        raise ValueError(msg)
    return f"{key}={_file(Path(path), info)}"


def _helm(text: str, info: core_schema.ValidationInfo) -> str:
    """``none``, a program's name, or a path, which becomes a full one."""
    if text == "none" or "/" not in text or (info.context or {}).get("saved"):
        return text
    path: Path = (info.context or {}).get("folder", Path()) / Path(text).expanduser()
    if not os.access(path, os.X_OK) or path.is_dir():
        msg = f"{path} is no program that can be run: expected the path of helm, or none"
        raise ValueError(msg)
    return str(path)


Address = Annotated[str, AfterValidator(_address), Field(json_schema_extra={"format": "ipv4 or ipv6"})]
Network = Annotated[str, AfterValidator(_network), Field(json_schema_extra={"format": "CIDR"})]
Networks = Annotated[str | list[str], BeforeValidator(_networks)]
Url = Annotated[str, AfterValidator(_url), Field(json_schema_extra={"format": "uri"})]
Text = Annotated[str, BeforeValidator(_text_only), Field(min_length=1)]
File = Annotated[Path, AfterValidator(_file)]
Image = Annotated[Text, AfterValidator(_image)]
Host = Annotated[Text, AfterValidator(_host)]
Endpoint = Annotated[Text, AfterValidator(_endpoint)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._\-]*[A-Za-z0-9])?$")]
KubernetesName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.\-]{0,251}[a-z0-9])?$")]
Seconds = Annotated[float, Field(gt=0)]
Chart = Annotated[Text, AfterValidator(_chart)]
Repository = Annotated[str, AfterValidator(_repository)]
SetFile = Annotated[Text, AfterValidator(_set_file)]
Helm = Annotated[str, AfterValidator(_helm)]
Connect = Annotated[dict[str, str], AfterValidator(checked_connect)]

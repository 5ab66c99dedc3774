"""A kubeconfig: found, read and merged as kubectl does it, checked, and handed to the official client."""

from __future__ import annotations

import base64
import binascii
import difflib
import logging
import os
import re
import shutil
import ssl
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from preflight.clients import credential_program
from preflight.clients.certificates import Certificate, of_pem
from preflight.evidence import one_line
from preflight.redaction import remember, remember_within
from preflight.yamltext import line_and_words, load_yaml

if TYPE_CHECKING:
    from kubernetes.client import Configuration

Json = dict[str, Any]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where the kubelet mounts token and CA
_IN_CLUSTER = "in-cluster"


class KubeconfigError(Exception):
    """The kubeconfig can't be used as it stands; nothing was contacted.

    Args:
        path: the file, as it was looked for.
        problem: what is wrong with it, with the names that it does hold.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, one_line(problem)
        super().__init__(f"{path}: {self.problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """What a kubeconfig says about one context, read without the client library.

    Attributes:
        path: the file, or several, joined as in ``$KUBECONFIG``.
        tls_server_name: the name that the server's certificate must have instead of the URL's; "" for the URL's.
        verified: False if the file itself switches TLS verification off.
        runs_program: whether credentials come from a program that has to be run first.
        token_file: the file that holds the bearer token, which is read again for each request; "" without one.
    """

    path: str
    context: str
    cluster: str
    server: str
    tls_server_name: str = ""
    verified: bool = True
    runs_program: bool = False
    token_file: str = ""

    @property
    def in_cluster(self) -> bool:
        """Whether it stands for a pod's own service account."""
        return self.context == _IN_CLUSTER and self.path == str(_SERVICE_ACCOUNT / "token")

    @property
    def description(self) -> str:
        """Which credentials these are, in an operator's words."""
        if self.in_cluster:
            return f"the pod's service account ({self.path}), server {self.server}"
        return f"{self.path} (context {self.context}), server {self.server}"


def check_kubeconfig(path: Path | None, context: str | None) -> Kubeconfig:
    """Read the kubeconfig far enough to know that it can be used, without importing a client or contacting anything.

    Without a path, the files of ``$KUBECONFIG`` or ``~/.kube/config`` are meant, as kubectl has it; in a pod that has
    none of them, its service account (docs/sources.md#in-cluster).

    Raises:
        KubeconfigError: it is absent, unreadable, no kubeconfig, or lacks the context.
    """
    paths = _paths(path)
    if path is None and not any(file.is_file() for file in paths):
        return _without_kubeconfig(paths, context)
    source = os.pathsep.join(map(str, paths))
    merged = _merge(paths, source)
    name = str(context or merged.get("current-context") or "")
    if not name:
        raise KubeconfigError(source, f"names no context and has no current one; it knows {_names(merged, 'contexts')}")
    entry, _ = _entry(merged, "contexts", name, source)
    selected = _section(entry, "context", source)
    cluster_name = str(selected.get("cluster"))
    entry, cluster_folder = _entry(merged, "clusters", cluster_name, source)
    cluster = _section(entry, "cluster", source)
    server = str(cluster.get("server") or "")
    if not _is_server_url(server):
        server = re.sub(r"(?<=//)\S{0,500}@", "…@", server)  # what stands before an @ may be a password
        raise KubeconfigError(source, f"cluster {selected.get('cluster')!r} has no server URL (found {server!r})")
    _check_proxy(source, cluster.get("proxy-url"))
    user: Json = {}
    user_folder = Path()
    if selected.get("user"):
        entry, user_folder = _entry(merged, "users", str(selected["user"]), source)
        user = _section(entry, "user", source)
        _remember_credentials(user, user_folder)
    _check_files(source, cluster, cluster_folder, ("certificate-authority",))
    _check_files(source, user, user_folder, ("client-certificate", "client-key", "tokenFile"))
    return Kubeconfig(
        path=source,
        context=name,
        cluster=cluster_name,
        server=server.rstrip("/"),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        verified=not cluster.get("insecure-skip-tls-verify", False),
        runs_program=bool(_credential_program(source, user)),
        token_file=str(user_folder / Path(str(user["tokenFile"])).expanduser()) if user.get("tokenFile") else "",
    )


def _paths(path: Path | None) -> list[Path]:
    if path is not None:
        return [path.expanduser()]
    listed = [Path(part).expanduser() for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path("~/.kube/config").expanduser()]


def _without_kubeconfig(paths: list[Path], context: str | None) -> Kubeconfig:
    """What a pod has instead of a kubeconfig; an error that says what was looked for, where there is nothing."""
    source = os.pathsep.join(map(str, paths))
    named = "named by $KUBECONFIG" if os.environ.get("KUBECONFIG") else "kubectl's default"
    host, token = os.environ.get("KUBERNETES_SERVICE_HOST"), _SERVICE_ACCOUNT / "token"
    if not host:
        raise KubeconfigError(
            source,
            f"no such file ({named}), and this is no pod, which would have a service account's token: name a file by "
            "cluster.kubeconfig in the inventory, or by $KUBECONFIG",
        )
    if context:
        problem = (
            f"no such file ({named}): the pod's service account has no context {context!r}; leave cluster.context out"
        )
        raise KubeconfigError(source, problem)
    try:
        remember(token.read_text(encoding="utf-8").strip())
        (_SERVICE_ACCOUNT / "ca.crt").open("rb").close()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        problem = f"no such file ({named}), and {getattr(error, 'filename', None) or token} can't be read: {reason}"
        raise KubeconfigError(
            source, f"{problem}; does the pod have a service account and automountServiceAccountToken: true?"
        ) from None
    port = os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Kubeconfig(path=str(token), context=_IN_CLUSTER, cluster=_IN_CLUSTER, server=server, token_file=str(token))


def _is_server_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port that is not a number
        return False


def _merge(paths: list[Path], source: str) -> Json:
    """All files as one, the first mention of a name winning, as kubectl merges them; with each entry its folder."""
    merged: Json = {"contexts": {}, "clusters": {}, "users": {}}
    existing = [path for path in paths if path.exists()] if len(paths) > 1 else paths
    if not existing:
        raise KubeconfigError(source, "none of these files exists")
    for path in existing:
        content = _load(path)
        merged["current-context"] = merged.get("current-context") or content.get("current-context")
        for kind in ("contexts", "clusters", "users"):
            entries = content.get(kind) or []
            if not isinstance(entries, list):
                raise KubeconfigError(str(path), f"{kind} is not a list")
            for entry in entries:
                if isinstance(entry, dict) and "name" in entry:
                    merged[kind].setdefault(str(entry["name"]), (entry, path.parent))
    return merged


def _load(path: Path) -> Json:
    """One file's content."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise KubeconfigError(str(path), f"is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise KubeconfigError(str(path), f"can't be read: {error.strerror or error}") from None
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        line, problem = line_and_words(error)
        raise KubeconfigError(str(path), f"is not YAML: {problem}{f' (line {line})' if line else ''}") from None
    if not isinstance(content, dict) or not {"contexts", "clusters", "users"} & set(content):
        raise KubeconfigError(str(path), "is not a kubeconfig: it has no contexts, clusters and users")
    return content


def _names(merged: Json, kind: str) -> str:
    return ", ".join(sorted(merged[kind])) or f"no {kind}"


def _entry(merged: Json, kind: str, name: str, source: str) -> tuple[Json, Path]:
    """The named context, cluster or user, and the folder that its relative paths start from."""
    entry: tuple[Json, Path] | None = merged[kind].get(name)
    if entry is None:
        near = difflib.get_close_matches(name, merged[kind], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise KubeconfigError(source, f"has no {kind[:-1]} {name!r}; it knows {_names(merged, kind)}{hint}")
    return entry


def _section(entry: Json, key: str, source: str) -> Json:
    """What an entry holds under its kind's name."""
    section = entry.get(key) or {}
    if not isinstance(section, dict):
        raise KubeconfigError(
            source, f"{key} {entry.get('name')!r}: found {type(section).__name__}, expected keys and values"
        )
    return section


def _check_files(source: str, section: Json, folder: Path, keys: tuple[str, ...]) -> None:
    for key in keys:
        data = section.get(f"{key}-data")
        if data:
            try:
                base64.b64decode(str(data), validate=False)
            except (binascii.Error, ValueError):
                raise KubeconfigError(source, f"{key}-data is not base64") from None
            continue
        if name := section.get(key):
            file = folder / Path(str(name)).expanduser()
            try:
                file.open("rb").close()
            except OSError as error:
                raise KubeconfigError(source, f"{key} names {file}: {error.strerror}") from None


def _check_proxy(source: str, proxy: object) -> None:
    """Refuse a ``proxy-url`` that is none, and one of SOCKS, for which the client has no program."""
    if proxy in (None, ""):
        return
    if isinstance(proxy, str) and _is_server_url(proxy):
        return
    shown = re.sub(r"(?<=//)\S{0,500}@", "…@", str(proxy))  # what stands before an @ may be a password
    raise KubeconfigError(source, f"proxy-url: found {shown[:200]!r}, expected http://host:port or https://host:port")


def _remember_credentials(user: Json, folder: Path) -> None:
    """Register a user's credentials for redaction, from the kubeconfig and the files that it names."""
    remember_within(user)
    with suppress(ValueError, TypeError):
        remember(base64.b64decode(user.get("client-key-data") or "").decode())
    for key in ("client-key", "tokenFile"):
        with suppress(OSError, ValueError, TypeError):
            remember((folder / Path(user[key]).expanduser()).read_text(encoding="utf-8") if user.get(key) else "")


def _credential_program(source: str, user: Json) -> str:
    """The credential program of a user, if there is one, proven to exist."""
    plugin = user.get("exec")
    if not isinstance(plugin, dict):
        return "auth-provider" if user.get("auth-provider") else ""
    command = str(plugin.get("command", ""))
    if not shutil.which(command):
        raise KubeconfigError(source, f"its credentials come from the program {command!r}, which is not installed")
    return command


# --- for the official client ----------------------------------------------------------------------------------------


def client_configuration(kubeconfig: Kubeconfig, *, deadline: float) -> Configuration:
    """The official client's configuration for a kubeconfig: server, certificates, credentials and proxy.

    The environment's proxy is left out, because it is not for internal targets; the kubeconfig's own is kept.

    Args:
        kubeconfig: one that was checked.
        deadline: seconds that a credential program may take, which may wait for a browser.

    Raises:
        KubeconfigError: the client can't use it, or its credential program gave nothing in time.
    """
    # The client imports requests' parts before requests itself; while another thread imports requests, each would
    # wait for the other, and Python breaks that tie by handing out a module that is only half there.
    import requests  # noqa: F401
    from kubernetes.client import Configuration
    from kubernetes.config import exec_provider, kube_config, load_kube_config

    credential_program.watch(exec_provider, kube_config)
    configuration = Configuration()
    configuration.proxy = None
    configuration.no_proxy = None

    def load() -> None:
        if kubeconfig.in_cluster:
            configuration.host = kubeconfig.server
            configuration.ssl_ca_cert = str(_SERVICE_ACCOUNT / "ca.crt")
        else:
            load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig.path,
                context=kubeconfig.context,
                client_configuration=configuration,
                persist_config=False,
            )

    _read_credentials(load, kubeconfig, deadline=deadline)
    settings: Any = configuration
    refresh = settings.refresh_api_key_hook
    if refresh is not None and kubeconfig.runs_program:  # it is asked at each request, and again when a token is over
        settings.refresh_api_key_hook = lambda asking: _read_credentials(
            lambda: refresh(asking), kubeconfig, deadline=deadline
        )
    if kubeconfig.token_file:
        token_file = _TokenFile(kubeconfig.token_file)
        token_file(configuration)  # the client asks for a token only where it has had one
        settings.refresh_api_key_hook = token_file
    return configuration


def _read_credentials(load: Callable[[], object], kubeconfig: Kubeconfig, *, deadline: float) -> None:
    """Let the client read credentials, where they come from a program for `deadline` seconds at most; it is ended then.

    Raises:
        KubeconfigError: it can't read them, or the program failed or gave nothing in time.
    """
    problems: list[str] = []

    def work() -> None:
        failures = _ClientsLog(problems) if kubeconfig.runs_program else nullcontext()
        try:
            with failures:
                load()
        except Exception as error:  # noqa: BLE001 - the loader raises whatever its parts do
            problems.append(f"{type(error).__name__}: {error}")

    if kubeconfig.runs_program:
        worker = threading.Thread(target=work, name="kubeconfig", daemon=True)
        try:
            worker.start()
            worker.join(deadline)
        except RuntimeError:  # no thread can start
            work()
        if worker.is_alive():
            problems.append(f"its credential program gave nothing within {deadline:g} s")
            credential_program.end(worker)
    else:
        work()
    if problems:
        raise KubeconfigError(kubeconfig.path, problems[0])


class _TokenFile:
    """Puts the token of a file into each request: the kubelet replaces it before it expires, within an hour or so.

    The client itself reads a kubeconfig's ``tokenFile`` once, and a service account's at most once a minute.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def __call__(self, configuration: Configuration) -> None:
        # While the file is being replaced the last token still holds.
        with suppress(OSError, UnicodeDecodeError):
            token = self._path.read_text(encoding="utf-8").strip()
            if token:
                configuration.api_key["BearerToken"] = f"Bearer {remember(token)}"


class _ClientsLog(logging.Filter):
    """Takes the client's words on a credential program that failed: it says them to the log alone, and goes on without.

    What the program itself printed may hold a credential: it is neither shown nor logged.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__()
        self._problems, self._silent = problems, logging.NullHandler()
        self._thread = threading.get_ident()  # another one may still wait for its program

    def __enter__(self) -> None:
        root = logging.getLogger()
        root.addHandler(self._silent)  # without any, the first message would install one that prints all
        root.addFilter(self)

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        root.removeFilter(self)
        root.removeHandler(self._silent)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is somebody else's message."""
        if record.module != "kube_config" or record.thread != self._thread:
            return True
        failure = _PROGRAM_FAILURE.match(record.getMessage())
        reason = f": {failure[1]}" if failure else ""
        self._problems.append(f"its credential program gave no credentials{reason}; run it by hand")
        return False


_PROGRAM_FAILURE = re.compile(r"exec: (process returned -?\d{1,5}|failed to decode process output|malformed response)")

_FILES = threading.Lock()  # the client keeps its temporary files in one table, for all threads


def client_settings(
    kubeconfig: Kubeconfig, *, deadline: float
) -> tuple[Configuration, ssl.SSLContext, Certificate | None]:
    """The official client's configuration, with TLS that has read its certificates and key, and the account's own.

    The client writes what the kubeconfig holds into temporary files, the key too; they are removed before this returns.

    Raises:
        KubeconfigError: as `client_configuration` and `tls_context`.
    """
    from kubernetes.config import kube_config

    with _FILES:
        try:
            configuration = client_configuration(kubeconfig, deadline=deadline)
            tls = tls_context(kubeconfig, configuration)
            own = of_pem(Path(configuration.cert_file).read_bytes()) if configuration.cert_file else None
        finally:
            # There is no public way before the interpreter's end, which a run that is killed never reaches.
            kube_config._cleanup_temp_files()  # type: ignore[no-untyped-call] # noqa: SLF001
    # The context has the certificates already; given twice, they would be read again for each connection.
    configuration.ssl_ca_cert = configuration.cert_file = configuration.key_file = None
    return configuration, tls, own


def tls_context(kubeconfig: Kubeconfig, configuration: Configuration) -> ssl.SSLContext:
    """What the kubeconfig trusts and presents, verified as kubectl does: only Python 3.13 insists on RFC 5280's letter.

    Raises:
        KubeconfigError: its certificates can't be used.
    """
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except (OSError, ValueError) as error:
        raise KubeconfigError(kubeconfig.path, f"its certificates can't be used: {error}") from error
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context

"""Until when a worker's kubelet can prove who it is, and who it speaks to (docs/sources.md#kubelet-certificates).

Read on the worker itself: of the files only subject and end are printed, since a kubelet's own keys are in them. Its
port is asked there too, and from here where nobody can log in to the worker.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from preflight.clients.certificates import Certificate, of_connection
from preflight.clients.connect import Routes, dial
from preflight.clients.ssh import Session
from preflight.evidence import NotApplicable
from preflight.shell_command import program

PORT = 10250
FOLDER = "/var/lib/kubelet/pki"
CLIENT = f"{FOLDER}/kubelet-client-current.pem"
_SERVING = (f"{FOLDER}/kubelet-server-current.pem", f"{FOLDER}/kubelet.crt")
_DATES = "openssl x509 -noout -subject -enddate"
_SECONDS = 3  # for the port to answer
_NOTHING = "nothing was printed"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a worker shows of its kubelet's certificates.

    Attributes:
        certificates: by file, and under ``10250`` the one that the port shows.
        reasons: why there is none, in the tool's own words.
    """

    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def serving(self) -> tuple[str, Certificate] | None:
        """The certificate that the kubelet's port shows, else the file from which it takes it; and which it is."""
        places = (str(PORT), *_SERVING)
        return next(((place, self.certificates[place]) for place in places if place in self.certificates), None)


def script(address: str) -> str:
    """What prints the certificates on a worker whose kubelet listens at `address`."""
    files = " ".join((CLIENT, *_SERVING))
    place = f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"
    handshake = f"{program('openssl', 's_client', '-connect', place)} </dev/null 2>/dev/null | {_DATES}"
    return (
        "if ! command -v openssl >/dev/null; then exit 127; fi\n"
        f'for file in {files}; do echo "$file"; {_DATES} -in "$file" 2>&1; done\n'
        f"echo {PORT}; if command -v timeout >/dev/null; then {program('timeout', _SECONDS, 'sh', '-c', handshake)}; "
        f"else {handshake}; fi 2>&1\n"
    )


def shown_by_worker(session: Session, address: str, *, deadline: float) -> Shown:
    """The certificates that a worker shows over SSH.

    Raises:
        NotApplicable: the worker has no openssl.
        Unmeasured: the connection broke.
    """
    ran = session.run("sh -s", stdin=script(address), deadline=deadline)
    if "notAfter=" not in ran.stdout and ran.exit == 127:  # noqa: PLR2004 - a shell's "not found"
        raise NotApplicable(f"{session.node} has no openssl, which would show its kubelet's certificates")
    return read_shown(ran.stdout)


_PLACES = frozenset({CLIENT, *_SERVING, str(PORT)})


def read_shown(text: str) -> Shown:
    """The certificates in what the script printed."""
    outputs: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() in _PLACES:
            lines = outputs.setdefault(line.strip(), [])
        elif line.strip():
            lines.append(line.strip())
    certificates: dict[str, Certificate] = {}
    reasons: dict[str, str] = {}
    for place, printed in outputs.items():
        certificate = _read("\n".join(printed))
        if certificate is None:
            reasons[place] = _reason(printed)
        else:
            certificates[place] = certificate
    return Shown(certificates, reasons)


def _reason(printed: list[str]) -> str:
    """Why openssl could not read a file, without its own file names and line numbers."""
    plain = re.search(r"No such file or directory|Permission denied", "\n".join(printed))
    return plain[0] if plain else printed[0] if printed else _NOTHING


def _read(text: str) -> Certificate | None:
    subject = re.search(r"^subject=\s*(.{1,500})$", text, re.MULTILINE)
    end = re.search(r"^notAfter=(.{10,40})$", text, re.MULTILINE)
    if end is None:
        return None
    try:
        ends = ssl.cert_time_to_seconds(end[1].strip())
    except ValueError:
        return None
    return Certificate(subject=subject[1].strip() if subject else "", ends=float(ends))


def shown_by_port(address: str, *, routes: Routes, deadline: float) -> Shown:
    """The certificate that a kubelet's port shows to this machine, whoever has signed it.

    Raises:
        NotApplicable: it is not reached from here.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with dial(address, PORT, routes=routes, deadline=min(deadline, _SECONDS)) as plain:
            plain.settimeout(min(deadline, _SECONDS))
            with context.wrap_socket(plain) as secured:
                certificate = of_connection(secured)
    except (OSError, socket.gaierror) as error:
        raise NotApplicable(
            f"the kubelet's port {address}:{PORT} is not reached from here ({error}), and nobody logs in to the worker"
        ) from error
    return Shown({str(PORT): certificate} if certificate else {}, {CLIENT: "nobody logs in to the worker"})

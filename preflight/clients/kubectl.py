"""A request to the Kubernetes API in an operator's terms: the kubectl command for it, and the RBAC rule it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from preflight.shell_command import ShellCommand, program

_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/.))?/(?P<resource>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+)(?:/.*)?)?)?"
)
# By WebSocket, which is a GET; kubectl before 1.31, and servers since 1.35, ask for create.
_STREAMS = {"exec", "attach"}
_VERBS = {"POST": "create", "DELETE": "delete", "PUT": "update", "PATCH": "patch"}


def kubectl(method: str, path: str, query: Mapping[str, Any], *, context: str | None = None) -> ShellCommand:
    """The kubectl command that sends the same request, as closely as there is one."""
    words = ["kubectl", *(["--context", context] if context else [])]
    match = _PATH.fullmatch(path)
    parameters = {name: value for name, value in query.items() if value is not None}
    if method == "POST" and match:
        namespace = ["-n", match["namespace"]] if match["namespace"] else []
        dry_run = ["--dry-run=server"] if "dryRun" in parameters else []
        return program(*[*words, "create", *dry_run, *namespace, "-f", "-"])
    if match and match["subresource"] in _STREAMS:
        namespace = ["-n", match["namespace"]] if match["namespace"] else []
        container = ["-c", str(parameters["container"])] if "container" in parameters else []
        run = ["--", *parameters["command"]] if "command" in parameters else ["-i"] if "stdin" in parameters else []
        return program(*[*words, *namespace, match["subresource"], str(match["name"]), *container, *run])
    if not match or (match["subresource"] and match["subresource"] != "log"):
        return program(*[*words, "get", "--raw", f"{path}{query_string(parameters)}"])
    if match["namespace"]:
        words += ["-n", match["namespace"]]
    if match["subresource"] == "log":
        container = ["-c", str(parameters["container"])] if "container" in parameters else []
        return program(*[*words, "logs", str(match["name"]), *container])
    resource = f"{match['resource']}.{match['group']}" if match["group"] else match["resource"]
    words += ["delete" if method == "DELETE" else "get", resource, *([match["name"]] if match["name"] else [])]
    if not match["name"] and not match["namespace"] and match["resource"] in {"pods", "events", "jobs"}:
        words.append("-A")
    if "labelSelector" in parameters:
        words += ["-l", str(parameters["labelSelector"])]
    if "fieldSelector" in parameters:
        words.append(f"--field-selector={parameters['fieldSelector']}")
    if "watch" in parameters:
        words.append("-w")
    return program(*words)


def missing_rule(method: str, path: str, query: Mapping[str, Any], *, user: str = "") -> str:
    """The RBAC rule that allows a request, as YAML, with a comment on the role and the subject that need it."""
    match = _PATH.fullmatch(path)
    subject = f", bound to {user}" if user else ""
    if not match:
        return f'# in a ClusterRole{subject}\n- nonResourceURLs: ["{path}"]\n  verbs: ["get"]'
    resource = match["resource"] + (f"/{match['subresource']}" if match["subresource"] else "")
    verb = _VERBS.get(method) or ("watch" if "watch" in query else "get" if match["name"] else "list")
    verbs = '"create", "get"' if match["subresource"] in _STREAMS else f'"{verb}"'
    role = f"a Role in namespace {match['namespace']}" if match["namespace"] else "a ClusterRole"
    group = match["group"] or ""
    return f'# in {role}{subject}\n- apiGroups: ["{group}"]\n  resources: ["{resource}"]\n  verbs: [{verbs}]'


def query_string(query: Mapping[str, Any]) -> str:
    """A URL's query with its ``?``, or nothing; a value that is a list becomes a parameter each, None is left out."""
    parameters = {name: value for name, value in query.items() if value is not None}
    return f"?{urlencode(parameters, doseq=True)}" if parameters else ""

"""`deploy/rbac.yaml` as data: what each effect level is granted, and the lab's cluster with these objects in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lab.kubernetes.authorization import service_account_user
from lab.lab import Lab
from lab.world import Request, World

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "deploy" / "rbac.yaml"
NAMESPACE = "gitlab"
ACCOUNTS = "preflight-system"
"""The namespace of the service accounts."""
LEVELS = ("read", "probe", "privileged", "write")

Json = dict[str, Any]


class Right(NamedTuple):
    """One verb on one resource; `namespace` is empty for what is cluster-wide."""

    verb: str
    group: str
    resource: str  # with its subresource: pods/log
    namespace: str


def documents() -> list[Json]:
    """Every object of the file."""
    return [each for each in yaml.safe_load_all(FILE.read_text()) if each]


def account(level: str) -> str:
    """The name of a level's service account."""
    return f"gitlab-runner-preflight-{level}"


def granted(objects: Iterable[Json], level: str) -> set[Right]:
    """What the bindings give a level's service account."""
    listed = list(objects)
    rules = {_key(each): each["rules"] for each in listed if each["kind"] in {"Role", "ClusterRole"}}
    found: set[Right] = set()
    for each in listed:
        if each["kind"] not in {"RoleBinding", "ClusterRoleBinding"}:
            continue
        if account(level) not in {subject["name"] for subject in each["subjects"]}:
            continue
        namespace = each["metadata"].get("namespace", "")
        for rule in rules[each["roleRef"]["kind"], namespace, each["roleRef"]["name"]]:
            found.update(
                Right(verb, group, resource, namespace)
                for verb in rule["verbs"]
                for group in rule["apiGroups"]
                for resource in rule["resources"]
            )
    return found


def _key(item: Json) -> tuple[str, str, str]:
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def without(objects: Iterable[Json], *taken: Right) -> list[Json]:
    """The same objects, with these rights in none of their rules."""
    return [{**each, "rules": list(_kept(each, taken))} if "rules" in each else each for each in objects]


def _kept(role: Json, taken: Iterable[Right]) -> Iterator[Json]:
    namespace = role["metadata"].get("namespace", "")
    gone = set(taken)
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs = [verb for verb in rule["verbs"] if Right(verb, group, resource, namespace) not in gone]
                if verbs:
                    yield {**rule, "apiGroups": [group], "resources": [resource], "verbs": verbs}


def use(world: World, level: str, objects: Iterable[Json]) -> None:
    """Let the operator's kubeconfig be that of a level's service account, with the rights of these objects alone."""
    for each in objects:
        world.cluster.add(each)
    world.kubeconfig_token = f"made-up-token-of-{account(level)}"
    world.cluster.tokens[world.kubeconfig_token] = service_account_user(ACCOUNTS, account(level))


EVERYBODYS = {"/version", "/readyz", "/apis"}
"""Paths that ``system:public-info-viewer`` and ``system:discovery`` give everybody who has logged in."""

_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/.))?/(?P<resource>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+)(?:/.*)?)?)?"
)
_VERBS = {"POST": "create", "DELETE": "delete", "PUT": "update", "PATCH": "patch"}


def asked(lab: Lab, level: str) -> set[Right]:
    """What a level's service account asked the lab's API for."""
    user = f"system:serviceaccount:{ACCOUNTS}:{account(level)}"
    return set(_rights(one for one in lab.requests if one.server == "kubernetes" and one.user == user))


def _rights(requests: Iterable[Request]) -> Iterator[Right]:
    for one in requests:
        path, _, query = one.path.partition("?")
        if path in EVERYBODYS:
            continue
        match = _PATH.fullmatch(path)
        assert match, f"{path} is no resource's path, and not for everybody"
        verb = _VERBS.get(one.method) or ("watch" if "watch=1" in query else "get" if match["name"] else "list")
        resource = match["resource"] + (f"/{match['sub']}" if match["sub"] else "")
        yield Right(verb, match["group"] or "", resource, match["namespace"] or "")

"""Names in remedies that only a measurement knows: the webhook, the label, the taint, the limit, the Secret.

Each function takes the observations of a row, and gives names for its remedy's steps; where the measurement does not
hold one, the step names what to look for. What comes from outside is quoted for a shell, or is of letters that need no
quotes: steps are pasted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from preflight.conclusions.observations import Facts, Observation
from preflight.evidence import Fact
from preflight.inventory import Login, Secret
from preflight.probes.dind import InnerRegistry
from preflight.probes.managers import ManagerPods
from preflight.probes.placement import Placement
from preflight.probes.pull_logins import PullLogin
from preflight.probes.secret_keys import SecretKeys

_CALLED = re.compile(r'webhook "(?P<hook>[^"]{1,253})"')
_SERVICE = re.compile(r"https://(?P<service>[a-z0-9-]{1,63})\.(?P<namespace>[a-z0-9-]{1,63})\.svc[.:/]")
# In the words of probes.headroom.obstacle.
_SELECTED = re.compile(r"selector wants (?P<label>[^\s=]{1,317}=[^\s,]{0,63})")
_TAINT = re.compile(r"taint (?P<key>[^\s=:]{1,317})(?:=(?P<value>[^\s:]{0,63}))?:(?P<effect>\w{1,32}) is not tolerated")
_DENIED = re.compile(
    r'User "(?P<user>[^"]{1,300})" cannot (?P<verb>\w{1,32}) resource "(?P<resource>[\w./-]{1,253})" in API group '
    r'"(?P<group>[\w.-]{0,253})"'
    r'(?: in the namespace "(?P<namespace>[\w-]{1,63})")?'
)
_ACCOUNT = "system:serviceaccount:"


def _measured(observations: Iterable[Observation]) -> list[Fact]:
    return [observation.measured for observation in observations if observation.measured is not None]


def webhook(_: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The webhook that refuses, and the Service that answers for it, from the API server's message."""
    message = " ".join(fact.cause for fact in _measured(observations))
    hook, service = _CALLED.search(message), _SERVICE.search(message)
    which = f"`{hook['hook']}`" if hook else "the webhook that the message names"
    kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
    find = f"kubectl get {kinds}"
    find += f" -o yaml | grep -B 30 {shlex.quote('name: ' + hook['hook'])}" if hook else ""
    if not service:
        return {"webhook": which, "webhook_server": f"change what {which} refuses, or its rules: `{find}`"}
    name, namespace = service["service"], service["namespace"]
    ask = f"`kubectl get endpoints {name} -n {namespace}`, `kubectl get pods -n {namespace}`"
    return {"webhook": which, "webhook_server": f"repair its server, Service {name} in namespace {namespace}: {ask}"}


def placement(facts: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The labels that are wanted, and the taints that are not tolerated."""
    labels: dict[str, None] = {}
    taints: dict[str, None] = {}
    tolerated: dict[str, None] = {}
    for fact in _measured(observations):
        if isinstance(fact, Placement):
            labels.update(dict.fromkeys(text for text in fact.requirements if "=" in text and len(text.split()) == 1))
        labels.update(dict.fromkeys(match["label"] for match in _SELECTED.finditer(fact.cause)))
        for match in _TAINT.finditer(fact.cause):
            taints[f"{match['key']}:{match['effect']}-"] = None
            value = f"={match['value']}" if match["value"] else ""
            tolerated[f'"{match["key"]}{value}" = "{match["effect"]}"'] = None
    nodes = [] if any(observation.targets for observation in observations) else list(facts.inventory.workers)
    return {
        "labels": " ".join(map(shlex.quote, labels)) or "KEY=VALUE",
        "taints": " ".join(map(shlex.quote, taints)) or "KEY-",
        "tolerations": ", ".join(f"`{entry}`" for entry in tolerated) or '`"KEY=VALUE" = "EFFECT"`',
        **({"node_list": " ".join(nodes)} if nodes else {}),
    }


def crash(facts: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """What to do about managers that end: more memory after OOMKilled, else their last lines."""
    runner = facts.inventory.runner
    ends = {
        pod.end.partition(",")[0]
        for fact in _measured(observations)
        if isinstance(fact, ManagerPods)
        for pod in fact.pods
    }
    logs = f"kubectl logs -n {runner.namespace} deployment/{runner.release} --previous --tail=50"
    if "OOMKilled" not in ends:
        return {"crash": f"`{logs}` shows its last lines: correct in {runner.files[0].name} what they name"}
    now = "{.spec.template.spec.containers[0].resources.limits.memory}"
    return {
        "crash": "the memory limit of the managers is too low: raise `resources.limits.memory` in "
        f"{runner.files[0].name} (now: `kubectl get deployment {runner.release} -n {runner.namespace} "
        f"-o jsonpath='{now}'`)"
    }


def secret(facts: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The Secret that the values name."""
    names = [fact.name for fact in _measured(observations) if isinstance(fact, SecretKeys) and fact.name]
    return {"secret": names[0] if names else f"{facts.inventory.runner.release}-secret"}


def pull_secret(facts: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The pull secret for a registry: one that the pod does not get, or the inventory's, or a name to give it."""
    registry = next((each.targets["registry"] for each in observations if "registry" in each.targets), "")
    logins = [fact for fact in _measured(observations) if isinstance(fact, PullLogin)]
    shadowed = [name for fact in logins for name in fact.shadowed]
    others = list(dict.fromkeys(name for fact in logins for name in fact.used))
    settings = facts.inventory.registries.get(registry)
    reference = settings.credentials if settings is not None else None
    reference = reference.password if isinstance(reference, Login) else reference
    configured = [reference.cluster_key[1]] if isinstance(reference, Secret) and reference.cluster_key else []
    name = [*shadowed, *configured, f"{registry or 'registry'}-pull"][0]
    listed = ", ".join(f'"{each}"' for each in dict.fromkeys([*others, name]))
    return {"pull_secret": name, "pull_secrets": listed}


def inner_host(_: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The registry that the Docker daemon of a job pulls from."""
    hosts = [fact.host for fact in _measured(observations) if isinstance(fact, InnerRegistry)]
    return {"inner_host": hosts[0] if hosts else "HOST"}


def leftovers(_: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The commands that delete what an uninstalled release has left; what GitLab has is deleted there."""
    commands = [
        fact.evidence.command.replace(" get ", " delete ", 1)
        for fact in _measured(observations)
        if fact.evidence.command.startswith("kubectl ")
    ]
    return {"deletes": ", ".join(f"`{command}`" for command in commands) or "in GitLab, the runner that it names"}


def service_account(_: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The service account that a job's pod names, from the API server's message."""
    message = " ".join(fact.cause for fact in _measured(observations))
    missing = re.search(r'serviceaccount "([\w.-]{1,253})" not found', message)
    return {"service_account": missing[1] if missing else "NAME"}


def image_source(_: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """Where an image can be had that a mirror lacks: from Docker's registry, where its path is one of there."""
    image = next((each.targets["image"] for each in observations if "image" in each.targets), "")
    path = image.partition("/")[2]
    return {"source": f"docker.io/{path}" if path.startswith("library/") else "SOURCE"}


def pool_labels(facts: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The labels of a pool, as a selector."""
    pool = next((each.targets["pool"] for each in observations if "pool" in each.targets), "")
    settings = facts.inventory.cluster.pools.get(pool)
    labels = settings.selector if settings is not None else {}
    return {"pool_selector": ",".join(f"{key}={value}" for key, value in labels.items()) or "SELECTOR"}


def grants(messages: Iterable[str]) -> tuple[str, ...]:
    """Commands that give the refused account the rights that it lacks, a step for each place; empty if none is known.

    Args:
        messages: the API server's refusals.
    """
    wanted: dict[tuple[str, str, str], dict[str, None]] = {}
    for match in (match for message in messages for match in _DENIED.finditer(message)):
        resource = f"{match['resource']}.{match['group']}" if match["group"] else match["resource"]
        if match["group"] and "/" in match["resource"]:
            kind, _, part = match["resource"].partition("/")
            resource = f"{kind}.{match['group']}/{part}"
        wanted.setdefault((match["user"], match["namespace"] or "", match["verb"]), {})[resource] = None
    steps = []
    for (user, namespace, verb), resources in wanted.items():
        account = user.removeprefix(_ACCOUNT)
        subject = f"--serviceaccount={account}" if user.startswith(_ACCOUNT) else f"--user={user}"
        kind, place = ("role", f" -n {namespace}") if namespace else ("clusterrole", "")
        name = f"preflight-{verb}-{next(iter(resources)).replace('/', '-').partition('.')[0]}"
        role = f"kubectl create {kind} {name}{place} --verb={verb} --resource={','.join(resources)}"
        binding = f"kubectl create {kind}binding {name}{place} --{kind}={name} {shlex.quote(subject)}"
        steps.append(f"`{role}`, `{binding}`")
    return tuple(steps)

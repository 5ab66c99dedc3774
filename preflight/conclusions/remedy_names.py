"""Names in remedies that only a measurement knows: the webhook, the label, the taint, the limit, the Secret.

Each function takes the observations of a row, and gives names for its remedy's steps; where the measurement does not
hold one, the step names what to look for. What has commands in it is made by `preflight.shell_command`, which quotes
what comes from outside; all other names `fill` quotes where a remedy puts them into a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from preflight.conclusions.observations import Facts, Observation
from preflight.evidence import Fact
from preflight.inventory import OTHER_NODES, Login
from preflight.inventory_forms import Secret
from preflight.probes.dind import InnerRegistry
from preflight.probes.managers import ManagerPods
from preflight.probes.placement import Placement
from preflight.probes.pull_logins import PullLogin
from preflight.probes.secret_keys import SecretKeys
from preflight.shell_command import ShellCommand, fill, fill_each, pipe, program, toml_pair, toml_texts, words

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
    called = hook["hook"] if hook else ""
    which = fill("`{hook}`", {"hook": called}) if called else "the webhook that the message names"
    kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
    find = program("kubectl", "get", kinds)
    if called:
        find = pipe(program("kubectl", "get", kinds, "-o", "yaml"), program("grep", "-B", 30, f"name: {called}"))
    if not service:
        rules = fill("change what {webhook} refuses, or its rules: `{find}`", {"webhook": which, "find": find})
        return {"webhook": which, "webhook_server": rules}
    repair = "repair its server, Service {service} in namespace {namespace}: `{endpoints}`, `{pods}`"
    namespace = ("-n", service["namespace"])
    commands = {
        "endpoints": program("kubectl", "get", "endpoints", service["service"], *namespace),
        "pods": program("kubectl", "get", "pods", *namespace),
    }
    return {"webhook": which, "webhook_server": fill(repair, {**service.groupdict(), **commands})}


def placement(facts: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The labels that are wanted, and the taints that are not tolerated."""
    labels: dict[str, None] = {}
    taints: dict[str, None] = {}
    tolerated: dict[tuple[str, str], None] = {}
    for fact in _measured(observations):
        if isinstance(fact, Placement):
            labels.update(dict.fromkeys(text for text in fact.requirements if "=" in text and len(text.split()) == 1))
        labels.update(dict.fromkeys(match["label"] for match in _SELECTED.finditer(fact.cause)))
        for match in _TAINT.finditer(fact.cause):
            taints[f"{match['key']}:{match['effect']}-"] = None
            value = f"={match['value']}" if match["value"] else ""
            tolerated[f"{match['key']}{value}", match["effect"]] = None
    nodes = [] if any(observation.targets for observation in observations) else list(facts.inventory.workers)
    pairs = tolerated or {("KEY=VALUE", "EFFECT"): None}
    return {
        "labels": words(labels or ["KEY=VALUE"]),
        "taints": words(taints or ["KEY-"]),
        "tolerations": fill_each("`{pair}`", ({"pair": toml_pair(key, effect)} for key, effect in pairs)),
        **({"node_list": words(nodes)} if nodes else {}),
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
    deployment, namespace = f"deployment/{runner.release}", ("-n", runner.namespace)
    names: dict[str, object] = {"values": runner.files[0].name}
    if "OOMKilled" not in ends:
        names["logs"] = program("kubectl", "logs", *namespace, deployment, "--previous", "--tail=50")
        return {"crash": fill("`{logs}` shows its last lines: correct in {values} what they name", names)}
    limit = "jsonpath={.spec.template.spec.containers[0].resources.limits.memory}"
    names["now"] = program("kubectl", "get", deployment, *namespace, "-o", limit)
    raise_it = "the memory limit of the managers is too low: raise `resources.limits.memory` in {values} (now: `{now}`)"
    return {"crash": fill(raise_it, names)}


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
    return {"pull_secret": name, "pull_secrets": toml_texts(dict.fromkeys([*others, name]))}


def inner_host(_: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The registry that the Docker daemon of a job pulls from."""
    hosts = [fact.host for fact in _measured(observations) if isinstance(fact, InnerRegistry)]
    return {"inner_host": hosts[0] if hosts else "HOST"}


def leftovers(_: Facts, observations: Sequence[Observation]) -> Mapping[str, str]:
    """The commands that delete what an uninstalled release has left; what GitLab has is deleted there."""
    commands = [_deleting(fact.evidence.command) for fact in _measured(observations)]
    deletes = fill_each("`{command}`", ({"command": command} for command in commands if command is not None))
    return {"deletes": deletes or "in GitLab, the runner that it names"}


def _deleting(command: str) -> ShellCommand | None:
    """The command that deletes what one of ``kubectl get`` has listed; None for any other."""
    try:
        arguments = shlex.split(command)
    except ValueError:  # cut
        return None
    if not arguments or arguments[0] != "kubectl":
        return None
    # A namespace may be called so too.
    verbs = [place for place, word in enumerate(arguments) if word == "get" and arguments[place - 1] != "-n"]
    return program(*arguments[: verbs[0]], "delete", *arguments[verbs[0] + 1 :]) if verbs else None


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
    """How a pool gets its nodes; named nodes that are judged together have no labels to be known by."""
    pool = next((each.targets["pool"] for each in observations if "pool" in each.targets), "")
    if pool == OTHER_NODES:
        return {
            "pool_step": fill(
                "`kubectl get nodes -o wide`: join the nodes that are missing, or correct `cluster.nodes`", {}
            )
        }
    settings = facts.inventory.cluster.pools.get(pool)
    labels = settings.selector if settings is not None else {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items()) or "SELECTOR"
    listing = program("kubectl", "get", "nodes", "-l", selector)
    return {"pool_step": fill("scale the pool up; `{listing}` must show its nodes", {"listing": listing})}


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
        kind, place = ("role", ("-n", namespace)) if namespace else ("clusterrole", ())
        name = f"preflight-{verb}-{next(iter(resources)).replace('/', '-').partition('.')[0]}"
        rights = (f"--verb={verb}", f"--resource={','.join(resources)}")
        role = program("kubectl", "create", kind, name, *place, *rights)
        binding = program("kubectl", "create", f"{kind}binding", name, *place, f"--{kind}={name}", subject)
        steps.append(fill("`{role}`, `{binding}`", {"role": role, "binding": binding}))
    return tuple(steps)

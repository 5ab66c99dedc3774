"""No secret in any output: planted wherever one is kept, and looked for in all that a run shows.

Each is made up, and carries its mark at both ends, so that half of one is found as well; in the middle stand characters
that end a token for whoever goes by its shape alone, and that URLs, JSON, HTML and shells write in forms of their own.
"""

from __future__ import annotations

import base64
import json
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncssh
import pytest
import trustme
import yaml

from lab.kubernetes.guide import NAMESPACE, OPERATOR_USER, pull_secret
from lab.kubernetes.managers import RELEASE
from lab.lab import Lab
from lab.world import MIRROR, PRIVATE, CiVariable, World
from preflight import values
from preflight.clients.kubeconfig import KubeconfigError, check_kubeconfig
from preflight.inventory import InventoryError, load
from tests.promises.operator_run import PATIENCE, run

MIDDLE = "/+&<w\"x\\y'>%41="


def secret(name: str, *, middle: str = MIDDLE, before: str = "") -> str:
    return f"{before}PLANTED-{name}{middle}{name}-DETNALP"


@dataclass
class Planted:
    """Every secret by the place where it stands; keys are looked for by each of their lines."""

    texts: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def put(self, place: str, *, middle: str = MIDDLE, before: str = "") -> str:
        name = place.replace("_", "")
        self.texts[place] = secret(name, middle=middle, before=before)
        return self.texts[place]

    def put_key(self, place: str, pem: str) -> str:
        self.keys[place] = pem
        return pem

    def found_in(self, text: str) -> set[str]:
        """The places whose secret the text shows, whole or in part, plain or encoded."""
        # A line's end inside of a secret, as terminals and evidence make them, hides it from no reader.
        joined = re.sub(r"\s+", "", text)
        words = self._words(joined)
        found = {place for place in self.texts if self._mark(place) & words}
        for place, whole in self.texts.items():
            if any(piece in joined for piece in encoded(whole)):
                found.add(place)
        for place, pem in self.keys.items():
            lines = [line for line in pem.splitlines() if len(line) >= 32 and not line.startswith("-")]
            pieces = [line[at : at + 24] for line in lines for at in (0, len(line) - 24)]
            pieces += [piece for one in pieces for piece in encoded(one)]
            if any(piece in joined for piece in pieces):
                found.add(place)
        return found

    @staticmethod
    def _mark(place: str) -> set[str]:
        name = place.replace("_", "")
        return {f"PLANTED-{name}", f"{name}-DETNALP"}

    @staticmethod
    def _words(joined: str) -> set[str]:
        return set(re.findall(r"PLANTED-[a-z]+", joined)) | set(re.findall(r"[a-z]+-DETNALP", joined))


def encoded(text: str) -> set[str]:
    """What base64 of any text that holds this one must show, at each of three alignments."""
    data = text.encode()
    pieces: set[str] = set()
    for lead in range(3):
        core = base64.b64encode(b"\0" * lead + data).decode()[4 if lead else 0 :]
        core = core[: len(core) // 4 * 4 - 4]
        pieces |= {core[:20], core[-20:], core[:20].translate(str.maketrans("+/", "-_"))}
    return {piece for piece in pieces if len(piece) >= 12} | {data.hex()[:40]}


@dataclass
class Site:
    """A lab with secrets in all places, and what the operator's shell holds."""

    lab: Lab
    planted: Planted
    environment: dict[str, str]


def plant(faults: Iterable[str], folder: Path) -> Site:
    """A lab with these faults and a secret in every place; it is not started yet."""
    planted = Planted()
    lab = Lab(
        faults,
        patience=1.0 if faults else PATIENCE,
        change=lambda world: change(world, planted, shaped=not tuple(faults)),
    )
    environment = {
        "HOME": str(folder),
        "GITLAB_API_TOKEN": planted.put("api_token"),
        "MIRROR_PASSWORD": planted.put("mirror_password"),
        "SSH_PASSPHRASE": planted.put("passphrase"),
        "CI_JOB_TOKEN": planted.put("job_token"),
        "AWS_SECRET_ACCESS_KEY": planted.put("variable"),
        "DOCKER_AUTH_CONFIG": json.dumps({"auths": {PRIVATE: {"auth": planted.put("auth_config")}}}),
        "HTTPS_PROXY": f"http://proxy:{planted.put('proxy', middle='-%2F%26-')}@proxy.example.com:3128",
        "NO_PROXY": "192.168.1.50,192.168.1.100,docker,localhost,127.0.0.1,.example.com,charts.gitlab.io",
    }
    return Site(lab, planted, environment)


def change(world: World, planted: Planted, *, shaped: bool) -> None:
    """Give the world's own parts their secrets.

    Args:
        world: the lab's.
        planted: told of them.
        shaped: whether the runner's token must look like one, for the environment to be in health.
    """
    if shaped:
        token = planted.put("runner_token", middle="0123456789", before="glrt-t1_")
    else:
        token = planted.put("runner_token", before="glrt-t1_")
    if world.configured_token == world.gitlab.runners[0].token or "\n" in world.configured_token:
        world.gitlab.runners[0].token = token
    world.configured_token = token + ("\n" if "\n" in world.configured_token else "")
    world.gitlab.tokens = {planted.texts["api_token"]}
    world.kubeconfig_token = planted.put("bearer")
    if world.cluster.tokens:
        world.cluster.tokens = {world.kubeconfig_token: OPERATOR_USER}
    password = planted.put("pull_password")
    registry = world.registries[PRIVATE]
    valid = "secret-pw" in registry.accounts.values()
    world.registries[MIRROR].accounts["reader"] = planted.texts["mirror_password"]
    registry.accounts = {"ops": password if valid else "a-newer-one", "ci": planted.put("variable_password")}
    for project in world.gitlab.projects:
        for variable in project.variables:
            if variable.key == "ACR_USERNAME":
                variable.value = "ci"
            if variable.key == "ACR_PASSWORD":
                variable.value = planted.texts["variable_password"]
        project.variables.append(CiVariable("DEPLOY_KEY", planted.put("deploy_key"), masked=True))
    world.cluster.remove("secrets", NAMESPACE, "private-registry")
    secret = pull_secret(NAMESPACE, "private-registry", PRIVATE, "ops", password)
    logins = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    logins["auths"][MIRROR] = {"username": "reader", "password": planted.texts["mirror_password"]}
    secret["data"][".dockerconfigjson"] = base64.b64encode(json.dumps(logins).encode()).decode()
    world.cluster.add(secret)
    proxy = planted.put("jobs_proxy", middle="-%2F%26-")
    job = f'environment = ["DB_PASSWORD={planted.put("job_variable", middle="-/+&-")}"'
    job += f', "https_proxy=http://proxy:{proxy}@proxy.example.com:3128"'
    job += "]" if "[[runners]]" in world.values_edits else ', "no_proxy=.example.com,192.168.1.50,docker"]'
    world.values_edits["[[runners]]"] = f"[[runners]]\n      {job}"
    cache = planted.put("cache_key", middle="/+&")
    world.values_edits['          BucketName = "'] = f'          SecretKey = "{cache}"\n          BucketName = "'
    for number, name in enumerate(("record", "drifted")):
        if world.release.changed:
            held = planted.put(name)
            world.release.changed |= {"envVars": [{"name": "A", "value": held}]} if number else {"a.password": held}
    world.gitlab.runners[0].description = f"k8s-runner {planted.texts['runner_token']} {planted.texts['api_token']}"


def furnish(site: Site) -> None:
    """Give the operator's files their secrets, and let the running world repeat what it was told."""
    folder, planted = site.lab.inventory.parent, site.planted
    document: dict[str, Any] = yaml.safe_load(site.lab.inventory.read_text())
    document["gitlab"]["api_token"] = "${GITLAB_API_TOKEN}"
    document["registries"]["mirror"]["credentials"] = {"username": "reader", "password": "${MIRROR_PASSWORD}"}
    document["access"]["ssh"]["passphrase"] = "${SSH_PASSPHRASE}"
    site.lab.inventory.write_text(yaml.safe_dump(document, sort_keys=False))
    key = asyncssh.import_private_key((folder / "id_ed25519").read_text())
    pem = key.export_private_key(
        "openssh", passphrase=planted.texts["passphrase"], rounds=1, ignore_few_rounds=True
    ).decode()
    (folder / "id_ed25519").write_text(planted.put_key("ssh_key", pem))
    client = trustme.CA().issue_cert("ops@example.com", common_name="ops")
    config = yaml.safe_load((folder / "kubeconfig").read_text())
    private = planted.put_key("client_key", client.private_key_pem.bytes().decode())
    config["users"][0]["user"] |= {
        "client-certificate-data": base64.b64encode(client.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": planted.put_key("client_key_data", base64.b64encode(private.encode()).decode()),
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    docker = folder / ".docker"
    docker.mkdir()
    auth = base64.b64encode(f"ops:{planted.put('docker_config')}".encode()).decode()
    (docker / "config.json").write_text(json.dumps({"auths": {PRIVATE: {"auth": auth}}}))
    site.environment["DOCKER_CONFIG"] = str(docker)
    log = f"url=http://ops:{planted.put('log_url', middle='-')}@192.168.1.50/"
    log += f" password={planted.put('log_password', middle='-')}"
    log += (
        f" glpat-{planted.put('log_token', middle='-')} Authorization: Bearer {planted.put('log_bearer', middle='-')}"
    )
    site.lab.change(lambda world: repeat(world, planted, log))


def repeat(world: World, planted: Planted, log: str) -> None:
    """Let the managers' logs, statuses and conditions show secrets in all the forms in which software writes them."""
    known = [planted.texts[place] for place in ("runner_token", "api_token", "pull_password", "bearer", "passphrase")]
    forms = [
        form
        for text in known
        for form in (text, quote(text, safe=""), json.dumps(text), base64.b64encode(text.encode()).decode())
    ]
    said = " ".join([log, *forms])
    managers = [written for (_, container), written in world.cluster.written.items() if container == RELEASE]
    for number, written in enumerate(managers):
        if written.ended:  # the first complaint is told
            words = f"Verifying runner... is not valid {' '.join([log, *forms][number :: len(managers)])}"
            written.lines.insert(0, (datetime.now(UTC), f"{words}\n".encode()))
        else:
            for form in [log, *forms, said]:
                written.lines.append((datetime.now(UTC), f"Checking for jobs... received {form}\n".encode()))
    for item in [*world.cluster.list("pods"), *world.cluster.list("nodes"), *world.cluster.list("deployments")]:
        for condition in item["status"].get("conditions") or ():
            condition["message"] = f"{condition.get('message', '')} {said}"
        for status in item["status"].get("containerStatuses") or ():
            for state in (status.get("state") or {}).values():
                if "message" in state:
                    state["message"] += f" {said}"


HEALTHY: tuple[str, ...] = ()
GITLAB = (
    "token-revoked manager-rejected release-drift variables-unmasked gitlab-version proxy-for-jobs push-denied "
    "registry-rate-limited values-unknown-key manager-old-config"
).split()
VANTAGES = "ssh-auth registry-auth dind-tls-mismatch polls-rejected release-failed dns-nxdomain token-expired".split()
REFUSALS = (
    "api-forbidden quota-exhausted token-whitespace registry-tls registry-token-realm-down gitlab-redirect".split()
)
SHUT = "api-unauthorized token-registration gitlab-502 variables-missing rollout-stuck".split()


@pytest.mark.parametrize(
    ("faults", "options"),
    [
        pytest.param(HEALTHY, ("--effect", "write"), id="healthy"),
        pytest.param(GITLAB, ("--effect", "write"), id="gitlab"),
        pytest.param(VANTAGES, (), id="vantages"),
        pytest.param(REFUSALS, (), id="refusals"),
        pytest.param(SHUT, ("--stage", "upgrade"), id="shut"),
    ],
)
def test_no_secret_is_printed_or_written(faults: tuple[str, ...], options: tuple[str, ...], tmp_path: Path) -> None:
    site = plant(faults, tmp_path)
    shown = ("-vv", "--showlocals", "--tb=long", "--log-level=DEBUG")
    with site.lab as lab:
        furnish(site)
        backup = tmp_path / "backup"
        ended = run(
            lab.inventory, tmp_path / "reports", *shown, "--backup", str(backup), *options, environment=site.environment
        )
        assert len(site.planted.texts) + len(site.planted.keys) >= 20
        outputs = {
            "terminal": ended.printed,
            **ended.reports,
            "names of the backup": "\n".join(map(str, backup.rglob("*"))),
        }
        assert len(outputs) == 5, ended.printed
        assert {name: found for name, text in outputs.items() if (found := site.planted.found_in(text))} == {}
        assert ended.status == (1 if faults else 0), ended.printed


def test_no_message_about_a_file_repeats_what_may_be_a_secret(inventory_file: Path, tmp_path: Path) -> None:
    word = "PLANTED.word-DETNALP"
    inventory = inventory_file.read_text()
    kubeconfig = (inventory_file.parent / "kubeconfig").read_text()
    token, url = "api_token: ${GITLAB_API_TOKEN:-}", "http://192.168.1.50/"
    for old, new in {
        token: [f"api_token: {word}", "api_token: 4711081547110815", f"api_token: *{word}", f"api_token: !{word} x"],
        url: [
            f"http://ops:{word}@gitlab/",
            f"http://ops:{word}/x@gitlab/",
            f"http://ops:{word}#x@gitlab",
            f"http://{word}@[",
        ],
        "# set: [concurrent=5]": [f"set: [{word}]", f"set: ['a[={word}']", f"set: ['a.b={word},']"],
        "# credentials: secret:gitlab/private-registry/.dockerconfigjson": [
            f"credentials: {{username: a, password: {word}}}"
        ],
    }.items():
        assert old in inventory
        for text in new:
            inventory_file.write_text(inventory.replace(old, text))
            said = refusal(inventory_file)
            assert not re.search(r"PLANTED|DETNALP|0815", said), said
    inventory_file.write_text(inventory)
    for text in (f"server: 'ftp://ops:{word}@x'", f"server: *{word}", f"client-certificate-data: {word}="):
        (inventory_file.parent / "kubeconfig").write_text(re.sub("server: '.*?'", text, kubeconfig))
        said = refusal(inventory_file)
        assert not re.search(r"PLANTED|DETNALP", said), said


def refusal(inventory_file: Path) -> str:
    """What an operator is told when the run is refused, and the whole exception, causes included."""
    try:
        inventory = load(inventory_file)
        runner = inventory.runner
        values.load(runner.files, runner.set, release=runner.release, namespace=runner.namespace)
        check_kubeconfig(inventory.cluster.kubeconfig, None)
    except (InventoryError, KubeconfigError) as error:
        return "".join(traceback.format_exception(error))
    return "accepted"

"""What is in deploy/ fits the code: options, paths, variables, users."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import processes

PROJECT = Path(__file__).parents[1]
DEPLOY = PROJECT / "deploy"
PAGE = PROJECT / "docs" / "deploy.md"
TO_COME: set[str] = set()
"""Options that the template names ahead of the suite: it passes them only where somebody asks for them."""


@cache
def options() -> set[str]:
    """Every option that pytest has in this project."""
    help_text = processes.run_checks("--help")
    assert help_text.returncode == 0
    return set(re.findall(r"^\s+(?:-\w, )?(--[a-z][a-z-]+)", help_text.stdout, re.MULTILINE))


def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "preflight.gitlab-ci.yml").read_text())
    return loaded


def lines() -> list[str]:
    """The Dockerfile's instructions, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_gate_names_options_that_there_are() -> None:
    jobs = [job for name, job in template().items() if name != "variables"]
    script = "\n".join(line for job in jobs for line in job.get("script", ()) if "pytest" in line)
    given = script + template()["variables"]["PREFLIGHT_GATE_OPTIONS"]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", given))
    assert {"--inventory", "--effect", "--report-dir", "--stage", "--require-idle"} <= named
    assert named - options() <= TO_COME
    for option in TO_COME - options():
        assert re.search(rf"if \[ -n .*\]; then\n.*{option}", script), f"{option} is passed although it is not known"


def test_the_gate_is_one() -> None:
    jobs = template()
    gate, upgrade = jobs["preflight"], jobs["upgrade"]
    assert gate["allow_failure"] is False
    assert upgrade["needs"] == ["preflight"]
    assert upgrade["when"] == "on_success"
    assert any("helm upgrade" in line for line in upgrade["script"])
    assert gate["variables"]["PREFLIGHT_STAGE"] == "upgrade"
    assert "|| true" not in str(jobs)
    kept = jobs[".preflight"]["artifacts"]
    assert kept["when"] == "always", "also when it fails"
    assert set(kept["reports"].values()) <= set(kept["paths"])
    assert set(kept["reports"]) == {"junit", "codequality"}
    assert "reports/preflight.html" in kept["paths"]
    for name in ("preflight", "verify"):
        assert jobs[name]["extends"] == ".preflight"
    own = {name for job in ("preflight", "verify") for name in jobs[job]["variables"]}
    text = (DEPLOY / "preflight.gitlab-ci.yml").read_text()
    top = text[: text.index("\nlint:")]
    for variable in re.findall(r"\$\{?(PREFLIGHT_\w+|HELM_\w+)", text):
        assert variable in {*jobs["variables"], *own} or re.search(rf"#.*{variable}", top), variable
    assert not own & set(jobs["variables"]), "a project's variable would take the place of the job's own, or that of it"
    assert own == set(jobs["verify"]["variables"]) == set(gate["variables"])


@pytest.mark.parametrize(("fault", "status"), [("", 0), ("kube-dns-missing", 1)])
def test_the_gates_script_runs(tmp_path: Path, fault: str, status: int) -> None:
    """The script as GitLab's runner gives it to `sh`, with the project in the image's place."""
    from lab.lab import Lab

    script = template()[".preflight"]["script"][0].replace("cd /opt/preflight", f"cd '{PROJECT}'")
    script = script.replace("exec pytest", f"exec '{sys.executable}' -m pytest -p no:cacheprovider")
    with Lab([fault] if fault else [], patience=3) as lab:
        environment = {
            "CI_PROJECT_DIR": str(tmp_path),
            "HOME": str(tmp_path / "home"),
            "PREFLIGHT_INVENTORY": "prod/inventory.yaml",
            "PREFLIGHT_KUBECONFIG": str(lab.inventory.parent / "kubeconfig"),
            "PREFLIGHT_EFFECT": "read",
            "PREFLIGHT_BASELINE": "",
            "PREFLIGHT_OPTIONS": "-m cluster",
            "PREFLIGHT_STAGE": "auto",
            "PREFLIGHT_JOB_OPTIONS": "",
            "SSH_KEY": str(tmp_path / "prod" / "id_ed25519"),
        }
        shutil.copytree(lab.inventory.parent, tmp_path / "prod")
        mine = tmp_path / "prod" / "inventory.yaml"
        text = mine.read_text()
        for old, new in (("  kubeconfig: kubeconfig\n", ""), ("key: id_ed25519", "key: ${SSH_KEY}")):
            assert old in text
            text = text.replace(old, new)
        mine.write_text(text.replace("cluster:\n", "cluster: # its kubeconfig is that of the job\n"))
        (tmp_path / "prod" / "kubeconfig").unlink()
        ended = subprocess.run(
            ["sh", "-eu", "-c", script],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert (tmp_path / "home" / ".kube" / "config").stat().st_mode & 0o077 == 0, "credentials are for their owner alone"
    for file in template()[".preflight"]["artifacts"]["paths"]:
        assert (tmp_path / file).stat().st_size > 0


KEYWORDS = set(
    "after_script allow_failure artifacts extends image interruptible needs resource_group rules script".split()
)
KEYWORDS |= {"stage", "timeout", "variables", "when"}


@pytest.mark.parametrize("file", ["deploy/preflight.gitlab-ci.yml", "preflight/pipeline.gitlab-ci.yml"])
def test_pipelines_have_the_form_that_gitlab_reads(file: str) -> None:
    """The structure alone; GitLab's own schema may not be in here, and was held against both by hand."""
    pipeline = yaml.safe_load((PROJECT / file).read_text())
    jobs = {name: job for name, job in pipeline.items() if name not in {"variables", "workflow", "stages"}}
    for name, job in jobs.items():
        assert set(job) <= KEYWORDS | {"services", "tags"}, name
        assert "script" in job or job["extends"] in jobs, name
        assert all(isinstance(line, str) for key in ("script", "after_script") for line in job.get(key, ())), name
        assert all(needed in jobs for needed in job.get("needs", ())), name
        assert all(isinstance(value, str) for value in job.get("variables", {}).values()), name
    assert all(isinstance(value, str) for value in pipeline.get("variables", {}).values()), "a number is none"


@pytest.mark.parametrize("asked", ["true", "false"])
def test_a_note_goes_to_the_branchs_merge_request(tmp_path: Path, asked: str) -> None:
    from tests.probes.apiserver import Reply, Scripted

    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "preflight.md").write_text("## Preflight: GO\n")
    with Scripted(lambda _: Reply({"id": 1}, 201)) as server:
        ended = subprocess.run(
            ["sh", "-eu", "-c", template()[".preflight"]["after_script"][0]],
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "CI_PROJECT_DIR": str(tmp_path),
                "CI_API_V4_URL": f"{server.url}/api/v4",
                "CI_PROJECT_ID": "7",
                "CI_OPEN_MERGE_REQUESTS": "ops/runner!12,ops/runner!13",
                "PREFLIGHT_NOTE": asked,
                "PREFLIGHT_NOTE_TOKEN": "made-up-note-token",
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    sent = [(each.method, each.path, each.headers["private-token"], each.body) for each in server.asked]
    path = "/api/v4/projects/7/merge_requests/12/notes"
    assert sent == ([("POST", path, "made-up-note-token", {"body": "## Preflight: GO\n"})] if asked == "true" else [])


@pytest.mark.parametrize("given", [True, False])
def test_the_upgrade_has_a_kubeconfig_for_itself_alone(tmp_path: Path, given: bool) -> None:
    script = "\n".join(template()["upgrade"]["script"])
    helm = tmp_path / "helm"
    helm.write_text('#!/bin/sh\necho "helm $*"\nstat -c %a "$KUBECONFIG"\ncat "$KUBECONFIG"\n')
    helm.chmod(0o755)
    (tmp_path / "file").write_text("made-up-kubeconfig\n")
    variables = {name: str(value) for name, value in template()["variables"].items()}
    variables |= {"HELM_VALUES": "a.yaml b.yaml", "HELM_OPTIONS": "--set x=1"}
    variables |= {"HELM_KUBECONFIG": str(tmp_path / "file")} if given else {}
    ended = subprocess.run(
        ["sh", "-eu", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if not given:
        assert ended.returncode == 1
        assert "HELM_KUBECONFIG is not set: a protected variable of type file" in ended.stderr
        return
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[1:3] == ["600", "made-up-kubeconfig"]
    assert lines[3].startswith("helm upgrade gitlab-runner gitlab/gitlab-runner --namespace gitlab --version 0.80.0 ")
    assert lines[3].endswith(" -f a.yaml -f b.yaml --wait --timeout 10m --set x=1")


def test_the_image_holds_what_it_needs_and_runs_as_nobody() -> None:
    dockerfile = lines()
    assert re.fullmatch(r"ARG BASE=\S+/python:3\.\d+\.\d+-\S+", dockerfile[0]), "pinned"
    assert re.fullmatch(r"ARG HELM=\S+:3\.\d+\.\d+", dockerfile[1]), "pinned"
    assert dockerfile[2:4] == ["FROM ${HELM} AS helm", "FROM ${BASE}"]
    assert "COPY --from=helm ${HELM_PATH} /usr/local/bin/helm" in dockerfile
    lowest = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    minor = re.search(r"python:3\.(\d+)", dockerfile[0])
    assert minor is not None
    assert int(minor[1]) >= int(lowest.rpartition(".")[2])
    sources = [
        word for line in dockerfile if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert {"preflight", "lab", "checks", "conftest.py", "pyproject.toml", "inventory.yaml"} <= set(sources)
    for source in sources:
        assert (PROJECT / source).exists(), source
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {f"!{source}" for source in sources} == {line for line in allowed if line.startswith("!")}
    users = [line.split()[1] for line in dockerfile if line.startswith("USER")]
    assert users
    assert users[-1].partition(":")[0] not in {"0", "root"}
    assert not any(line.startswith("ENTRYPOINT") for line in dockerfile), "GitLab CI brings a shell script"


def test_the_page_explains_each_file_and_names_commands_that_there_are() -> None:
    page = PAGE.read_text()
    for file in DEPLOY.iterdir():
        assert file.name == "Dockerfile.dockerignore" or f"deploy/{file.name}" in page, file.name
    for job in ("preflight", "upgrade", "verify"):
        assert f"`{job}`" in page
        assert job in template()
    help_text = processes.run("preflight", "init", "--help")
    assert help_text.returncode == 0
    for option in ("--kubeconfig", "--namespace", "--release", "--connect", "--force"):
        assert option in help_text.stdout
    gate = page[page.index("## The gate") :]
    text = (DEPLOY / "preflight.gitlab-ci.yml").read_text()
    for variable in re.findall(r"`((?:PREFLIGHT|HELM)_[A-Z_]+[A-Z])`", gate):
        assert variable in text


APART = "preflight.gitlab-runner/apart"


def rules(*, apart: bool) -> list[dict[str, Any]]:
    """The rules of the roles that are applied by default, or of those that are a decision each."""
    objects = [item for item in yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text()) if item]
    chosen = [item for item in objects if "rules" in item and (APART in item["metadata"]["labels"]) is apart]
    return [rule for item in chosen for rule in item["rules"]]


def test_what_reads_every_secret_or_runs_commands_stands_apart() -> None:
    for rule in rules(apart=False):
        assert not {"pods/exec", "pods/attach", "pods/proxy", "pods/portforward", "nodes/proxy"} & set(
            rule["resources"]
        )
        if "secrets" in rule["resources"]:
            assert rule["verbs"] == ["get"]
            assert rule["resourceNames"], "by name alone"
    kinds = {resource for rule in rules(apart=True) for resource in rule["resources"]}
    assert kinds == {"secrets", "pods/proxy", "pods/exec", "pods/attach"}


def test_the_header_says_what_a_stolen_token_can_do() -> None:
    text = (DEPLOY / "rbac.yaml").read_text()
    header = text[: text.index("apiVersion")]
    assert "WHAT A STOLEN TOKEN CAN DO" in header
    for level in ("read", "probe", "privileged", "write"):
        assert re.search(rf"^#   {level} +\S", header, re.MULTILINE)
    labels = re.findall(rf"{APART}: ([a-z-]+)", text)
    for part in set(labels):
        assert f"`{part}`" in header
        assert f"| `{part}` |" in PAGE.read_text()
    for phrase in ("EVERY Secret", "ROOT ON EVERY NODE", "a namespace of their own"):
        assert phrase in header


def test_only_protected_branches_see_credentials() -> None:
    jobs = template()
    for name in (".preflight", "upgrade", "verify"):
        rules_of_job = jobs[name]["rules"]
        assert rules_of_job, name
        assert all('$CI_COMMIT_REF_PROTECTED == "true"' in rule["if"] for rule in rules_of_job), name
        assert not any("||" in rule["if"] for rule in rules_of_job), name
    assert "rules" not in jobs["preflight"], "it has those of what it extends"
    open_to_all = [name for name, job in jobs.items() if name != "variables" and "PROTECTED == " not in str(job)]
    assert set(open_to_all) == {"lint", "preflight"}
    assert "KUBECONFIG" not in str(jobs["lint"])
    assert all("python -m preflight lint" in line or line.startswith("cd ") for line in jobs["lint"]["script"])
    assert "TOKEN" not in str(jobs["lint"])


def test_artifacts_are_for_developers_and_images_by_digest() -> None:
    jobs = template()
    assert jobs[".preflight"]["artifacts"]["access"] == "developer"
    for name in ("PREFLIGHT_IMAGE", "HELM_IMAGE"):
        assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", jobs["variables"][name])


def test_the_page_says_what_an_inventory_of_a_branch_could_do() -> None:
    page = PAGE.read_text()
    for word in (
        "protected branches alone",
        "An inventory from a branch",
        "`connect:`",
        "`access: developer`",
        "digest",
    ):
        assert word in page.replace("artifacts: access", "access")


# ---- inside of the cluster ------------------------------------------------------------------------------------------


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(re.sub(r"\{\{ (.*?) \}\}", "template", (DEPLOY / name).read_text()))
    return loaded


def jobs() -> dict[str, dict[str, Any]]:
    """What runs the suite inside of the cluster: the Job, and that of the CronJob."""
    return {"job": manifest("job.yaml")["spec"], "cronjob": manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]}


def pods() -> dict[str, dict[str, Any]]:
    return {
        **{name: job["template"]["spec"] for name, job in jobs().items()},
        "hook": manifest("helm-test.yaml")["spec"],
    }


@pytest.mark.parametrize("name", ["job", "cronjob", "hook"])
def test_runs_inside_of_the_cluster_are_restricted(name: str) -> None:
    """Pod Security `restricted`, and a root that nothing writes to; the lab's own admission holds them against it."""
    from lab.kubernetes.podsecurity import violations

    pod = pods()[name]
    assert violations(pod, "restricted") == ""
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]
    assert pod["terminationGracePeriodSeconds"] > 60, "deadlines.clean"
    mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]}
    writable = {mount["mountPath"] for mount in mounted.values() if not mount.get("readOnly")}
    assert writable <= {"/tmp", "/reports"}
    accounts = [
        item for item in yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text()) if item["kind"] == "ServiceAccount"
    ]
    assert pod["serviceAccountName"] in {account["metadata"]["name"] for account in accounts}
    assert {account["metadata"]["namespace"] for account in accounts} == {"preflight-system"}


def test_one_run_at_a_time_and_none_is_repeated() -> None:
    from preflight.probes.cluster import read_pod_requests

    cron = manifest("cronjob.yaml")["spec"]
    assert cron["concurrencyPolicy"] == "Forbid"
    assert {"successfulJobsHistoryLimit", "failedJobsHistoryLimit", "startingDeadlineSeconds"} <= set(cron)
    for job in jobs().values():
        assert job["backoffLimit"] == 0
        assert job["activeDeadlineSeconds"] > 1500, "deadlines.run"
        assert job["ttlSecondsAfterFinished"] >= 86_400
    pod = jobs()["job"]["template"]
    assert pod == jobs()["cronjob"]["template"], "the same run"
    labels = {**pod["metadata"]["labels"], **manifest("helm-test.yaml")["metadata"]["labels"]}
    assert not {"release", "app", "heritage"} & set(labels), "an uninstall would count them as the release's"
    assert not [key for key in labels if key.startswith("preflight.gitlab-runner/")], "a sweep would remove them"
    by_node, _, _ = read_pod_requests(
        [{"metadata": pod["metadata"] | {"name": "this-pod"}, "spec": pod["spec"] | {"nodeName": "k8s-worker-1"}}],
        namespace="gitlab",
        own_host="this-pod",
    )
    assert by_node == {}, "its requests take no room from jobs"


def test_the_kustomization_holds_what_the_runs_need() -> None:
    base, probe = manifest("kustomization.yaml"), manifest("probe/kustomization.yaml")
    assert {"rbac.yaml", "reports.yaml", "job.yaml", "cronjob.yaml"} == set(base["resources"])
    for file in base["resources"] + base["configMapGenerator"][0]["files"]:
        assert (DEPLOY / file).is_file()
    volumes = {volume["name"]: volume for volume in pods()["job"]["volumes"]}
    assert volumes["run"]["configMap"]["name"] == base["configMapGenerator"][0]["name"]
    assert volumes["reports"]["persistentVolumeClaim"]["claimName"] == manifest("reports.yaml")["metadata"]["name"]
    assert base["patches"][0]["target"]["labelSelector"] == APART
    for patch, job in zip(probe["patches"], (manifest("job.yaml"), manifest("cronjob.yaml")), strict=True):
        assert patch["target"] == {"kind": job["kind"], "name": job["metadata"]["name"]}
        account, effect = yaml.safe_load(patch["patch"])
        assert account["value"] == "gitlab-runner-preflight-probe"
        assert effect["value"] == {"name": "PREFLIGHT_EFFECT", "value": "probe"}
        place: Any = job
        for key in effect["path"].strip("/").split("/"):
            place = place[int(key)] if isinstance(place, list) else place[key]
        assert place == {"name": "PREFLIGHT_EFFECT", "value": "read"}


def test_reports_are_kept_and_compared_with_the_last(tmp_path: Path) -> None:
    """The script with a stand-in for `preflight`, which says what it was given and writes a report."""
    stand_in = tmp_path / "bin" / "preflight"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "$@"\nmkdir -p "$7" && echo {} >"$7/preflight.json"\nexit 6\n')
    stand_in.chmod(0o755)
    reports = tmp_path / "reports"
    for day in ("01", "02", "03"):
        (reports / f"202601{day}T051700Z-node").mkdir(parents=True)
    for day in ("01", "02"):
        (reports / f"202601{day}T051700Z-node" / "preflight.json").write_text("{}")
    environment = {"PREFLIGHT_REPORTS": str(reports), "PREFLIGHT_OPTIONS": "-m dns", "PREFLIGHT_KEEP": "3"}
    given = []
    for _ in range(2):
        ended = subprocess.run(
            ["sh", str(DEPLOY / "run-and-keep.sh")],
            env={"PATH": f"{stand_in.parent}:/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (6, "")
        given.append(ended.stdout.split())
    assert given[0][:6] == ["run", "--inventory", "/etc/preflight/inventory.yaml", "--effect", "read", "--report-dir"]
    first = given[0][6]
    assert given[0][7:] == ["--baseline", f"{reports}/20260102T051700Z-node/preflight.json", "-m", "dns"]
    assert given[1][8] == f"{first}/preflight.json"
    assert not (reports / "20260101T051700Z-node").exists(), "the oldest goes"
    assert len(list(reports.iterdir())) <= 3

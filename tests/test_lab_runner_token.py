"""The runner's token against a lab that outlives the run: what GitLab was asked, and that it keeps nothing of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.kubernetes.guide import pull_secret
from lab.lab import Lab
from lab.world import RUNNER_TOKEN, World
from tests.test_lab_run import run

SELECTED = ("-m", "token or runners or gitlab")


def judged(folder: Path) -> dict[str, dict[str, Any]]:
    """Each check's verdict and reason, by its id."""
    report = json.loads((folder / "preflight.json").read_text())
    return {one["id"]: one for one in report["checks"]}


def managers(lab: Lab) -> list[tuple[int, str]]:
    """Every manager that GitLab keeps, of every runner."""

    def listed(world: World) -> list[tuple[int, str]]:
        return [(runner.id, one.system_id) for runner in world.gitlab.runners for one in runner.managers]

    return lab.change(listed)


def sent(lab: Lab) -> list[dict[str, str]]:
    """What GitLab was sent otherwise than by GET; a verification is all that there may be."""
    written = [one for one in lab.requests if one.server == "gitlab" and one.method != "GET"]
    assert {(one.method, one.path) for one in written} <= {("POST", "/api/v4/runners/verify")}
    return [json.loads(one.body) for one in written]


def test_a_real_token_is_verified_in_the_name_of_a_known_manager_and_leaves_none_behind(tmp_path: Path) -> None:
    with Lab() as lab:
        before = managers(lab)
        ended = run(lab, tmp_path, *SELECTED)
        assert managers(lab) == before
        bodies = sent(lab)
    assert ended.returncode == 0, ended.stdout
    assert judged(tmp_path)["test_gitlab_accepts_the_runner_token"]["verdict"] == "pass"
    real = [one for one in bodies if one["token"] == RUNNER_TOKEN]
    assert [(7, one["system_id"]) in before for one in real] == [True]
    assert len(bodies) == 2, "and one token of nobody's"


def test_reading_alone_sends_nobody_s_token_only(tmp_path: Path) -> None:
    with Lab() as lab:
        ended = run(lab, tmp_path, "--effect", "read", *SELECTED)
        bodies = sent(lab)
    assert ended.returncode == 0, ended.stdout
    assert len(bodies) == 1
    assert bodies[0]["token"] != RUNNER_TOKEN
    found = judged(tmp_path)
    assert found["test_runner_token_belongs_to_a_runner"]["verdict"] == "pass"
    assert found["test_gitlab_accepts_the_runner_token"]["verdict"] == "not applicable"


def no_managers(world: World) -> None:
    world.gitlab.runners[0].managers.clear()


def no_api_token(world: World) -> None:
    world.inventory_edits["gitlab.api_token"] = None


@pytest.mark.parametrize(("change", "says"), [(no_managers, "no manager online"), (no_api_token, "gitlab.api_token")])
def test_without_a_known_manager_a_real_token_is_never_sent(
    change: Callable[[World], None], says: str, tmp_path: Path
) -> None:
    with Lab(change=change) as lab:
        before = managers(lab)
        ended = run(lab, tmp_path, *SELECTED)
        assert managers(lab) == before
        assert not any(one["token"] == RUNNER_TOKEN for one in sent(lab))
    assert ended.returncode == 0, ended.stdout
    found = judged(tmp_path)
    assert found["test_gitlab_accepts_the_runner_token"]["verdict"] == "not applicable"
    assert says in found["test_gitlab_accepts_the_runner_token"]["reason"]
    assert found["test_runner_is_online"]["verdict"] == "not applicable"
    assert found["test_runner_token_is_an_authentication_token"]["verdict"] == "pass"


def in_a_secret(world: World) -> None:
    """The values name a Secret, and hold no token."""
    world.values_edits[f'runnerToken: "{RUNNER_TOKEN}" # must be replaced\n'] = ""
    world.values_edits["runners:\n"] = "runners:\n  secret: runner-token\n"
    texts = {"runner-token": RUNNER_TOKEN, "runner-registration-token": ""}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    world.cluster.add(pull_secret("gitlab", "runner-token", "", "", "") | {"type": "Opaque", "data": data})


def test_a_token_in_a_secret_of_the_cluster_is_judged_as_well(tmp_path: Path) -> None:
    with Lab(change=in_a_secret) as lab:
        ended = run(lab, tmp_path, *SELECTED)
    assert ended.returncode == 0, ended.stdout
    assert {one["verdict"] for one in judged(tmp_path).values()} == {"pass"}
    everything = ended.stdout + "".join(file.read_text() for file in tmp_path.iterdir())
    assert RUNNER_TOKEN not in everything


def test_a_secret_is_not_looked_at_while_the_api_server_is_away(tmp_path: Path) -> None:
    def away(world: World) -> None:
        in_a_secret(world)
        world.api_mode = "down"

    with Lab(change=away) as lab:
        run(lab, tmp_path, "-m", "token or cluster")
    found = judged(tmp_path)
    assert found["test_runner_token_is_given"]["verdict"] == "blocked"
    assert found["test_runner_token_is_given"]["blocked_by"] == ["test_api_server_answers"]
    assert found["test_runner_api_answers"]["verdict"] == "pass"


def test_a_token_that_only_helm_is_given_comes_from_the_inventory(tmp_path: Path) -> None:
    def by_hand(world: World) -> None:
        world.configured_token = ""
        world.inventory_edits["runner.token"] = "file:runner-token"
        world.inventory_edits["runner.id"] = 7

    with Lab(change=by_hand) as lab:
        # The file is the operator's own; the inventory is read when the run begins.
        (lab.inventory.parent / "runner-token").write_text(f"{RUNNER_TOKEN}\n")
        ended = run(lab, tmp_path, *SELECTED)
    assert ended.returncode == 0, ended.stdout
    assert {one["verdict"] for one in judged(tmp_path).values()} == {"pass"}


def test_an_api_token_that_gitlab_refuses_is_told_once(tmp_path: Path) -> None:
    def refused(world: World) -> None:
        world.inventory_edits["gitlab.api_token"] = "file:former-token"

    with Lab(change=refused) as lab:
        (lab.inventory.parent / "former-token").write_text("glpat-made-up-and-revoked-00\n")
        ended = run(lab, tmp_path, *SELECTED)
    assert ended.returncode == 6, "jobs need no API token, and what it would show is not known"
    found = judged(tmp_path)
    assert [name for name, one in found.items() if one["verdict"] == "fail"] == ["test_gitlab_has_the_expected_version"]
    assert found["test_runner_token_belongs_to_a_runner"]["blocked_by"] == ["test_gitlab_has_the_expected_version"]

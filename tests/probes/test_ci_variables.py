"""CI/CD variables: present, masked and protected as asked, and their values nowhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from preflight.clients.connect import Routes
from preflight.clients.gitlab_api import GitLabApi
from preflight.evidence import Unmeasured
from preflight.faults import VariableFault
from preflight.probes import ci_variables as ci
from preflight.redaction import redact
from tests.probes.servers import Asked, Said, Web, web_server

PROJECT = "team/apps/shop"
SECRET = "made-up-registry-password"


def variable(key: str, **told: Any) -> dict[str, Any]:
    return {"key": key, "value": "ops", "protected": True, "masked": False, "environment_scope": "*", **told}


def read(listed: Mapping[str, object]) -> tuple[ci.Variables, Web]:
    """The variables of a GitLab that lists these, by project or group; a number is a status."""

    def answer(asked: Asked) -> Said:
        place = asked.path.partition("/api/v4/")[2].partition("/variables")[0]
        found = listed.get(place.replace("%2F", "/"), 404)
        if isinstance(found, int):
            return Said(found, {"Content-Type": "application/json"}, b'{"message": "made up"}')
        return Said(200, {"Content-Type": "application/json"}, json.dumps(found).encode())

    with web_server(answer) as web:
        api = GitLabApi(url=web.url, token="glpat-made-up-for-variables", routes=Routes(), ca_file=None, deadline=2)
        return ci.read(api, PROJECT, secret={"ACR_PASSWORD"}), web


def test_variables_of_the_project_and_its_groups_are_read_the_nearest_first() -> None:
    found, web = read(
        {
            f"projects/{PROJECT}": [variable("A", value="own")],
            "groups/team/apps": [variable("A", value="group"), variable("B", value="near")],
            "groups/team": [variable("B", value="far"), variable("C")],
        }
    )
    values = {key: one.value for key in "ABC" if (one := found.named(key))}
    assert values == {"A": "own", "B": "near", "C": "ops"}
    assert {one.method for one in web.asked} == {"GET"}


def test_no_value_is_in_a_fact_and_a_secret_one_is_redacted_from_then_on() -> None:
    found, _ = read({f"projects/{PROJECT}": [variable("ACR_PASSWORD", value=SECRET)]})
    assert SECRET not in repr(found) + found.evidence.observed
    assert SECRET not in redact(f"docker login -p {SECRET}")
    assert "ACR_PASSWORD of team/apps/shop: protected" in found.evidence.observed


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "team/apps/shop has no variable KEY"),
        ([variable("KEY", environment_scope="production")], "reaches jobs of environment production only"),
        ([variable("KEY", value="")], "KEY of team/apps/shop is empty"),
        ([variable("KEY")], ""),
        ([variable("KEY", value=None, hidden=True, masked=True)], ""),
    ],
)
def test_presence(told: list[dict[str, Any]], words: str) -> None:
    found = ci.presence(read({f"projects/{PROJECT}": told})[0], "KEY")
    assert found.fault is (VariableFault.MISSING if words else None)
    assert words in found.cause


def test_a_variable_that_a_closed_group_may_define_is_not_said_to_be_missing() -> None:
    found, _ = read({f"projects/{PROJECT}": [], "groups/team": 403})
    with pytest.raises(Unmeasured, match="the variables of a group could not be read: team"):
        ci.presence(found, "KEY")


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_masking_and_protection_are_wrong_only_where_they_are_asked_for_and_missing(asked: bool, given: bool) -> None:
    found, _ = read({f"projects/{PROJECT}": [variable("KEY", masked=given, protected=given)]})
    wrong = asked and not given
    assert ci.masking(found, "KEY", required=asked).fault is (VariableFault.UNMASKED if wrong else None)
    assert ci.protection(found, "KEY", required=asked).fault is (VariableFault.UNPROTECTED if wrong else None)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_who_may_not_see_variables_learns_which_token_would(status: int) -> None:
    with pytest.raises(Unmeasured) as caught:
        read({f"projects/{PROJECT}": status})
    assert "Maintainer of team/apps/shop" in caught.value.needs


@pytest.mark.parametrize(
    ("protected", "uses", "wrong"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_a_branch_must_be_protected_where_variables_are(protected: bool, uses: bool, wrong: bool) -> None:
    body = json.dumps({"name": "main", "protected": protected}).encode()
    found, _ = read({f"projects/{PROJECT}": [variable("ACR_PASSWORD", protected=uses)]})
    with web_server(lambda _: Said(200, {"Content-Type": "application/json"}, body)) as web:
        api = GitLabApi(url=web.url, token="glpat-made-up-for-variables", routes=Routes(), ca_file=None, deadline=2)
        state = ci.ref_protection(api, PROJECT, "feature/x", found)
    assert state.fault is (VariableFault.REF_UNPROTECTED if wrong else None)
    assert web.asked[0].path.endswith("/repository/branches/feature%2Fx")

"""Facts as JSON: named by their classes alone, of which no two have the same name."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight import facts, saved
from preflight.conclusions.model import Proof
from preflight.evidence import KINDS, Blocked, Evidence, Fact, NotApplicable, PreflightError, Unmeasured
from preflight.faults import DnsFault, PathFault, SshFault
from preflight.probes.cluster import Node, Nodes
from preflight.probes.dns import Answer, Lookups
from preflight.probes.gitlab import GitLabReply
from preflight.redaction import remember
from preflight.saved import SavedError, measurement_from, plain_measurement, read, read_comparable

HERE = Evidence(where="here", command="true", observed="nothing", took=0.5)


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    """Take back the classes that a test makes."""
    before = KINDS.copy()
    yield
    KINDS.clear()
    KINDS.update(before)


def through_json(value: Fact | None, error: PreflightError | None) -> tuple[Fact | None, PreflightError | None]:
    return measurement_from(json.loads(json.dumps({"name": "x", **plain_measurement(value, error)})))


def test_a_second_class_of_the_same_name_is_refused_where_it_is_made() -> None:
    with pytest.raises(TypeError, match=r"GitLabReply, in preflight\.probes\.gitlab and .*test_saved"):
        exec("class GitLabReply(Fact): ...", {"Fact": Fact, "__name__": __name__})
    assert KINDS["GitLabReply"] is GitLabReply


def test_a_class_that_dataclass_makes_anew_counts_once() -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class MadeAnew(Fact):
        extra: int = 0

    assert KINDS["MadeAnew"] is MadeAnew


def test_every_class_of_facts_that_checks_take_is_known() -> None:
    classes = {
        kind.__name__: kind for kind in vars(facts).values() if isinstance(kind, type) and issubclass(kind, Fact)
    }
    assert len(classes) > 50
    assert {name: KINDS.get(name) for name in classes} == classes


def test_a_fact_is_named_by_its_class_alone_and_read_back() -> None:
    lookups = Lookups(
        target="10.0.0.2",
        resolver="10.0.0.2",
        evidence=HERE,
        fault=DnsFault.TIMEOUT,
        cause="10.0.0.2 does not answer",
        answers=(Answer(name="gitlab.example", fault=DnsFault.TIMEOUT),),
    )
    document = plain_measurement(lookups, None)
    assert document["value"]["kind"] == "Lookups"
    assert "of" not in document["value"], "a module may be renamed without a loss"
    assert through_json(lookups, None) == (lookups, None)


def test_what_many_objects_have_in_common_is_written_once_and_read_back() -> None:
    usual = Node(
        name="w",
        ready=True,
        labels={"os": "linux", "zone": "a"},
        allocatable={"cpu": "16", "pods": "110"},
        taints=({"key": "k", "effect": "NoSchedule"},),
        kernel="6.1.0",
    )
    odd = {
        3: {"labels": {}, "ready": False, "ready_reason": "gone"},
        7: {"labels": {"os": "linux", "zone": "b", "gpu": "yes"}, "taints": ()},
        9: {"allocatable": {"cpu": "8", "pods": "110"}, "kernel": ""},
    }
    many = tuple(
        dataclasses.replace(usual, name=f"w{number}", **odd.get(number, {}))  # type: ignore[arg-type]
        for number in range(60)
    )
    listed = Nodes(target="cluster", nodes=many, evidence=HERE)
    assert through_json(listed, None) == (listed, None)
    written_nodes = plain_measurement(listed, None)["value"]["nodes"]
    assert [len(written_nodes["rows"][number]) for number in (0, 3, 7, 9)] == [1, 4, 3, 3]
    assert written_nodes["rows"][7]["labels"] == {"zone": "b", "gpu": "yes"}
    assert saved.rows(written_nodes)[3]["labels"] == {}
    few = plain_measurement(dataclasses.replace(listed, nodes=many[:50]), None)["value"]["nodes"]
    assert saved.rows(few) == few, "few are written in full"
    assert saved.rows(few) == saved.rows(written_nodes)[:50]


@pytest.mark.parametrize(
    "error",
    [
        NotApplicable("ssh is none"),
        Unmeasured("refused our key", needs="a key", fault=SshFault.AUTHENTICATION, evidence=HERE),
        Blocked("node_login", {"worker": "w1"}, "timeout", failed=True, witness="node w1"),
        Blocked(
            "gitlab_reply",
            {},
            "refused",
            failed=True,
            measured=Fact(target="x", fault=PathFault.REFUSED, evidence=HERE),
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_why_there_is_no_fact_is_read_back(error: PreflightError) -> None:
    value, again = through_json(None, error)
    assert value is None
    assert type(again) is type(error)
    assert vars(again) == vars(error)


def test_a_class_that_this_version_does_not_know_is_named() -> None:
    with pytest.raises(SavedError, match="fact x: ValueError: this version knows no fact of the kind 'Gone'"):
        measurement_from({"name": "x", "value": {"kind": "Gone"}})


def written(folder: Path, schema: object) -> Path:
    file = folder / "preflight.json"
    file.write_text(json.dumps({"schema": schema, "checks": []}))
    return file


@pytest.mark.parametrize("schema", [1, 2, 3, 6, None, "4", [4]])
def test_a_run_of_another_schema_is_not_judged_again_and_the_error_says_what_to_do(
    schema: object, tmp_path: Path
) -> None:
    with pytest.raises(SavedError) as refused:
        read(written(tmp_path, schema))
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'preflight.json'}: found schema {schema!r}, expected 4 or 5: ")
    assert message.endswith("run the checks again with this version, or replay the file with the version that wrote it")
    assert "\n" not in message


@pytest.mark.parametrize("schema", [2, 3, 4, 5])
def test_a_run_of_an_older_schema_can_be_compared_with(schema: int, tmp_path: Path) -> None:
    assert read_comparable(written(tmp_path, schema))["checks"] == []


@pytest.mark.parametrize("schema", [1, 6])
def test_a_run_of_a_schema_without_comparable_checks_is_refused(schema: int, tmp_path: Path) -> None:
    with pytest.raises(SavedError, match=f"found schema {schema}, expected 2 or 3 or 4 or 5"):
        read_comparable(written(tmp_path, schema))


WHOLE = {
    "schema": 4,
    "inventory": "prod.yaml",
    "environment": {},
    "effect": "read",
    "stage": "auto",
    "require_idle": False,
    "checks": [{"id": "test_a", "target": "", "verdict": "pass", "fault": ""}],
    "conclusions": [{"name": "dns-down", "about": ["a"], "explains": ["test_a"]}],
    "facts": [{"name": "here_lookups", "targets": {"resolver": "10.0.0.2"}, "took": 1}],
}


def test_a_report_of_the_known_form_is_read(tmp_path: Path) -> None:
    file = tmp_path / "preflight.json"
    file.write_text(json.dumps(WHOLE))
    assert read(file) == read_comparable(file) == WHOLE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "found no JSON: it nests deeper than 100 levels"),
        ('{"a":' * 500 + "1" + "}" * 500, "found no JSON: it nests deeper than 100 levels"),
        (json.dumps(WHOLE)[:-1] + ', "more": ' + "[" * 500 + "]" * 500 + "}", "it nests deeper than 100 levels"),
        (json.dumps({**WHOLE, "checks": ["x"]}), "checks.0: found 'x'; input should be"),
        (json.dumps({**WHOLE, "checks": [{"id": 5}]}), "checks.0.id: found 5; input should be a valid string"),
        (json.dumps({**WHOLE, "conclusions": [{}]}), "conclusions.0.name: field required"),
        (json.dumps({**WHOLE, "conclusions": 5}), "conclusions: found 5; input should be a valid list"),
        (json.dumps({**WHOLE, "schema": True}), "found schema True, expected"),
        ("9" * 5_000, "expected a preflight.json, found no JSON"),
        ('"\\ud800"', "expected a preflight.json with"),
    ],
)
def test_odd_json_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "preflight.json"
    file.write_text(text)
    for reading in (read, read_comparable):
        with pytest.raises(SavedError, match=re.escape(message)) as refused:
            reading(file)
        assert str(refused.value).startswith(f"{file}: ")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"effect": "all"}, "effect: found 'all'; input should be 'static', 'read', 'probe', 'privileged' or 'write'"),
        ({"inventory": ["x"]}, "inventory: found ['x']; input should be a valid string"),
        ({"facts": {"a": 1}}, "facts: found {'a': 1}; input should be a valid list"),
        ({"facts": [{"name": "here_lookups", "targets": [1]}]}, "facts.0.targets: found [1]; input should be a valid"),
        ({"environment": 5}, "environment: found 5; input should be a valid dictionary"),
    ],
)
def test_what_a_replay_relies_on_is_checked(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    file = tmp_path / "preflight.json"
    file.write_text(json.dumps({**WHOLE, **changed}))
    with pytest.raises(SavedError, match=re.escape(message)):
        read(file)


def test_a_secret_that_became_known_later_is_not_saved() -> None:
    secret = "Kq8-later-known-Zw3"
    blocked = Blocked("x", {}, f"the log shows {secret}", failed=True)
    unmeasured = Unmeasured(f"the log shows {secret}", needs=f"see {secret}")
    evidence = Evidence(where="here", command="kubectl logs x", observed=f"received {secret}")
    seen = Fact(target="x", fault=PathFault.REFUSED, cause=f"the log shows {secret}", evidence=evidence)
    assert secret in blocked.reason
    assert secret in seen.evidence.observed
    remember(secret)
    assert secret not in json.dumps([plain_measurement(None, blocked), plain_measurement(None, unmeasured)])
    proof = Proof.of(seen)
    assert (proof.statement, proof.observed) == ("the log shows [redacted]", "received [redacted]")

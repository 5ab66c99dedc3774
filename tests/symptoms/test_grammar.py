"""What is read by the form of errors: who says a line, of which system it speaks, and that none is named in vain."""

from __future__ import annotations

from itertools import product

import pytest

from preflight.symptoms import Stage, find, grammar, known
from preflight.symptoms.catalogue import Kind, system_names
from preflight.symptoms.grammar import Around, statement

PROGRAM, MANAGER, NODE, BUILDER = "program", "manager", "node", "builder"
SOURCES = Around(stage=Stage.GET_SOURCES)


@pytest.mark.parametrize(
    ("line", "around", "speaker", "system", "host"),
    [
        ("fatal: made up for 'https://g.example.com/p.git/'", SOURCES, "helper", "gitlab", "g.example.com"),
        ("fatal: made up for 'https://g.example.com/p.git/'", Around(), PROGRAM, "host", "g.example.com"),
        ("fatal: made up for 'https://github.com/g/p.git/'", SOURCES, "helper", "git", "github.com"),
        ('Error: Head "https://r.example.com/v2/x": made up', Around(), PROGRAM, "registry", "r.example.com"),
        ("error: made up: dial tcp 10.96.0.1:443: refused", Around(), PROGRAM, "kubernetes", "10.96.0.1:443"),
        ("error: made up: dial tcp 10.9.8.7:443: refused", Around(), PROGRAM, "host", "10.9.8.7:443"),
        ("error: connect to tcp://docker:2375: made up", Around(), PROGRAM, "docker", "docker:2375"),
        ("error: connection to postgres:5432 failed", Around(), PROGRAM, "service", "postgres"),
        ('error: Put "https://c.s3.example.com/?X-Amz-A=1": made up', Around(), PROGRAM, "store", "c.s3.example.com"),
        ("error: made up at https://npmjs.example.org/x", Around(), PROGRAM, "packages", "npmjs.example.org"),
        ("error: made up", Around(command="kubectl apply -f x"), PROGRAM, "kubernetes", ""),
        ("error: made up", Around(["Error: pushing image r.example.com/x"]), PROGRAM, "registry", ""),
        ("error: made up", Around(), PROGRAM, "", ""),
        ("error: made up in /home/gitlab-runner/builds/npm/x", Around(), PROGRAM, "", ""),
        ("error: made up of gitlab-org/x in .gitlab-ci.yml", Around(), PROGRAM, "", ""),
        ("error: the redis connection made up", Around(), PROGRAM, "service", "redis"),
        ("error: npm package redis made up", Around(), PROGRAM, "packages", ""),
        ("error: made up to the MySQL server on 'db1'", Around(), PROGRAM, "service", "db1"),
        ("error: made up at 'http://proxy.corp.example:3128'", Around(), PROGRAM, "proxy", ""),
        ("fatal: 'https://g.example.com/': made up: code 503 from proxy after x", SOURCES, "helper", "proxy", ""),
        ("error: GitLab-runner image made up", Around(), PROGRAM, "registry", ""),
        ("ERROR: Job failed (system failure): prepare environment: made up", Around(), MANAGER, "kubernetes", ""),
        ("Warning  FailedMount  1s  kubelet  made up failed", Around(), NODE, "", ""),
        ("#12 ERROR: failed to solve: made up", Around(), BUILDER, "", ""),
        ("error: made up", Around(["---> Running in 0a1b2c3d4e5f", "Step 2/9 : RUN x"]), BUILDER, "", ""),
        ("error: made up", Around(["$ ./test.sh", "Step 2/9 : RUN x"]), PROGRAM, "", ""),
    ],
)  # fmt: skip
def test_who_speaks_and_of_what(line: str, around: Around, speaker: str, system: str, host: str) -> None:
    said = statement(line, around)
    assert (said.speaker, said.system, said.host) == (speaker, system, host)


@pytest.mark.parametrize(
    ("line", "weight"),
    [
        ("ERROR: Job failed (system failure): made up", grammar.VERDICT),
        ("fatal: made up", grammar.MARKED),
        ("2026-01-01 12:00:00 ERROR made up", grammar.MARKED),
        ('time="x" level=error msg="made up"', grammar.MARKED),
        ("npm ERR! made up", grammar.MARKED),
        ("the connection was refused", grammar.WORDED),
        ("$ echo error: not found", grammar.NONE),
        ("--- PASS: TestConnectionRefused", grammar.NONE),
        ("[INFO] 0 errors: connection refused, as expected", grammar.NONE),
        ("ERROR: Job failed: command terminated with exit code 1", grammar.NONE),
        ("make: *** [Makefile:3: test] Error 2", grammar.NONE),
        ("a line of no matter", grammar.NONE),
    ],
)
def test_how_a_line_says_that_something_failed(line: str, weight: int) -> None:
    assert grammar.weight(line) == weight


def test_each_kind_means_something_of_whatever_system_whoever_says_it() -> None:
    kinds = [symptom for symptom in known() if symptom.kind is Kind.GRAMMAR]
    assert kinds
    for kind, system, speaker in product(kinds, system_names(), grammar.SPEAKERS):
        said = grammar.Statement(grammar.MARKED, speaker, system, "")
        always = [candidate for candidate in kind.candidates if candidate.only is None]
        fitting = [
            candidate
            for candidate in always
            if (not candidate.of or system in candidate.of) and (not candidate.by or speaker in candidate.by)
        ]
        assert fitting or kind.id in PARTIAL, f"{kind.id}: {system} {speaker}"
        for meaning in grammar.meant(kind, "made up", said, None):
            assert grammar.HOST not in meaning.says + meaning.remedy + meaning.look


PARTIAL = {"any-privilege-missing", "any-git-diverged"}
"""Kinds whose meanings without `only` are one for all."""


@pytest.mark.parametrize(
    ("text", "leads", "says"),
    [
        ("error: mirror.corp.example:8081 refused the connection of the fetcher", "any-refused", "nothing listens"),
        ("tool: the request to https://sonar.example.com/api got 403 Forbidden", "any-forbidden", "line names"),
        ("thing: error: the peer of https://x.example.com has an unknown issuer", "any-tls-untrusted", "x.example.com"),
    ],
)
def test_a_system_that_is_not_known_is_named_by_its_host_alone(text: str, leads: str, says: str) -> None:
    found = find(text)[0]
    assert found.symptom.id == leads
    assert says in found.candidates[0].says
    for system in ("GitLab", "the registry", "the API server", "Docker"):
        assert system not in found.candidates[0].says


def test_a_line_that_the_catalogue_knows_is_not_read_by_its_form() -> None:
    text = 'Failed to pull image "r/x:1": Head "https://r/v2/x/manifests/1": x509: certificate has expired'
    assert {found.symptom.kind for found in find(text)} & {Kind.GRAMMAR, Kind.UNCLASSIFIED} == set()


def test_what_is_of_no_kind_is_said_to_be_the_script_s_only_where_a_program_of_it_speaks() -> None:
    assert [found.symptom.id for found in find("Error: the frobnicator is sad")] == ["any-program-failed"]
    assert find("Error: the frobnicator of the registry is sad") == ()
    assert find("the frobnicator is sad") == ()


def test_uploads_after_a_failed_clone_do_not_make_it_the_script_s_failure() -> None:
    log = (
        "Getting source from Git repository\nfatal: repository 'https://gitlab.example.com/g/p.git/' not found\n"
        "Uploading artifacts for failed job\nERROR: No files to upload\nERROR: Job failed: exit code 1\n"
    )
    assert find(log)[0].symptom.id == "git-not-found"

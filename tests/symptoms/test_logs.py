"""Whole logs: their stages, what leads in them, and what they rule out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from preflight.symptoms import Reading, Stage, find, read

PREPARE = """\
Running with gitlab-runner 18.3.0 (9ba718cd)
Preparing the "kubernetes" executor
Using Kubernetes executor with image alpine:3.22 ...
Preparing environment
Waiting for pod ci/runner-x-project-1-concurrent-0 to be running, status is Pending
"""
SOURCES = """\
Running on runner-x-project-1-concurrent-0 via gitlab-runner-1...
Getting source from Git repository
Fetching changes with git depth set to 20...
"""
SCRIPT = """\
Executing "step_script" stage of the job script
$ ./build.sh
"""
ENDED = """\
Cleaning up project directory and file based variables
ERROR: Job failed: command terminated with exit code 1
"""
DENIED = (
    "Error: writing blob: initiating layer upload to /v2/g/p/blobs/uploads/: unauthorized: authentication required\n"
)


def reading(log: str) -> Reading:
    return read([log.encode()])


def ids(log: str) -> list[str]:
    return [found.symptom.id for found in reading(log).symptoms]


@pytest.mark.parametrize(
    ("log", "stage", "leads"),
    [
        (
            PREPARE + "ERROR: Job failed (system failure): prepare environment: image pull failed: made up\n",
            Stage.PREPARE,
            "image-not-pulled",
        ),
        (
            PREPARE
            + SOURCES
            + "fatal: unable to access 'https://g/p.git/': The requested URL returned error: 403\n"
            + ENDED,
            Stage.GET_SOURCES,
            "git-forbidden",
        ),
        (PREPARE + SOURCES + SCRIPT + DENIED + ENDED, Stage.STEP_SCRIPT, "registry-push-refused"),
        (
            PREPARE
            + SOURCES
            + SCRIPT
            + "Uploading artifacts for successful job\n"
            + 'ERROR: Uploading artifacts as "archive" to coordinator... too large archive id=1\nFATAL: too large\n'
            + ENDED,
            Stage.UPLOAD,
            "artifact-too-large",
        ),
        (
            PREPARE + SOURCES + SCRIPT + "Uploading artifacts for failed job\nmade up\n" + ENDED,
            Stage.STEP_SCRIPT,
            "script-failed",
        ),
    ],
)
def test_the_stage_that_failed_is_known_and_what_it_shows_leads(log: str, stage: Stage, leads: str) -> None:
    assert reading(log).stage is stage
    assert ids(log)[0] == leads


def test_the_first_decisive_error_leads_and_later_ones_are_its_echo() -> None:
    log = (
        PREPARE
        + 'WARNING: Event retrieved from the cluster: Failed to pull image "r.example.com/x:1": failed to do request: '
        + 'Head "https://r.example.com/v2/x/manifests/1": dial tcp 10.0.0.7:443: i/o timeout\n'
        + "ERROR: Job failed (system failure): prepare environment: waiting for pod running: "
        + "timed out waiting for pod to start\n"
    )
    found = reading(log).symptoms
    assert found[0].symptom.id == "pull-timed-out"
    assert [one.echo for one in found] == [False] + [True] * (len(found) - 1)
    assert "pod-not-started-in-time" in [one.symptom.id for one in found[1:]]


def test_what_was_tried_again_with_success_does_not_lead() -> None:
    retried = SOURCES + "fatal: unable to access 'https://g/p.git/': The requested URL returned error: 502\n"
    log = PREPARE + retried + "Retrying get sources...\n" + SCRIPT + DENIED + ENDED
    assert ids(log) == ["registry-push-refused", "git-server-error"]


def test_a_stage_that_was_passed_rules_meanings_out() -> None:
    line = "dial tcp 192.168.1.50:80: i/o timeout\n"
    before = find(line)[0]
    (within,) = [
        one for one in reading(PREPARE + SOURCES + SCRIPT + line + ENDED).symptoms if one.symptom == before.symptom
    ]
    gone = {candidate.says for candidate in before.candidates} - {candidate.says for candidate in within.candidates}
    assert gone == {"the host that jobs clone from is another one, and not reached"}


def test_a_pod_that_waits_is_no_fault_and_nothing_in_a_log_that_went_on() -> None:
    assert ids(PREPARE) == ["pod-pending"]
    assert ids(PREPARE + SOURCES + SCRIPT) == []


def test_what_only_warns_does_not_hide_an_error_of_the_script() -> None:
    empty = "WARNING: report.xml: no matching files"
    assert [found.symptom.id for found in find(f"Error: could not frobnicate\n{empty}")] == [
        "any-program-failed",
        "artifact-paths-empty",
    ]
    assert [found.symptom.id for found in find(f"{empty}\nJob succeeded")] == ["artifact-paths-empty"]


def test_a_script_s_own_fault_is_said_to_be_one() -> None:
    (found,) = reading(PREPARE + SOURCES + SCRIPT + "3 assertions failed\n" + ENDED).symptoms
    assert found.symptom.id == "script-failed"
    assert "the job's own fault" in found.candidates[0].says


NOISE = "--- PASS: TestTLS: x509: certificate signed by unknown authority\nconnection refused, as expected\n"


def test_what_an_earlier_command_of_the_script_printed_does_not_lead() -> None:
    log = PREPARE + SOURCES + SCRIPT + NOISE + "$ ./deploy.sh\nwrong option\n" + ENDED
    first, *echoes = reading(log).symptoms
    assert first.symptom.id == "script-failed"
    assert [echo.symptom.id for echo in echoes] == ["certificate-untrusted"]
    assert ids(PREPARE + SOURCES + SCRIPT + "$ go test\n" + NOISE + ENDED)[0] == "certificate-untrusted"
    again = PREPARE + SOURCES + SCRIPT + NOISE + "$ ./deploy.sh\n" + NOISE + ENDED
    (found,) = (found for found in reading(again).symptoms if found.symptom.id == "certificate-untrusted")
    assert (found.echo, found.count, found.place) == (False, 2, again[: again.rindex("--- PASS")].count("\n") + 1)


def test_what_a_service_printed_is_not_overcome_by_a_later_command() -> None:
    service = "[service:docker-docker] failed to start daemon: iptables failed: iptables -t nat -N DOCKER\n"
    build = "$ docker build .\nCannot connect to the Docker daemon at tcp://docker:2375\n"
    assert ids(PREPARE + SOURCES + SCRIPT + service + build + ENDED)[0] == "dind-iptables"


def stamped(log: str) -> str:
    """A log as the runner writes it since it stamps lines, with marks of sections, colours and Windows line ends."""
    marks = {
        "Preparing environment": "prepare_script",
        "Getting source from Git repository": "get_sources",
        'Executing "step_script" stage of the job script': "step_script",
    }
    lines = []
    for number, line in enumerate(log.splitlines()):
        mark = f"section_start:1714564800:{marks[line]}\r\x1b[0K\x1b[0K\x1b[36;1m" if line in marks else ""
        lines.append(f"2024-05-01T12:00:00.{number:06d}Z 00O {mark}{line}\x1b[0;m\r\n")
    return "".join(lines)


def test_the_runner_s_stamps_marks_and_colours_change_nothing() -> None:
    log = PREPARE + SOURCES + SCRIPT + DENIED + ENDED
    plain, dressed = reading(log), reading(stamped(log))
    assert dressed.stage is plain.stage
    assert [(one.symptom.id, one.place, one.line) for one in dressed.symptoms] == [
        (one.symptom.id, one.place, one.line) for one in plain.symptoms
    ]


def test_a_log_reads_the_same_in_whatever_parts_it_comes() -> None:
    log = stamped(PREPARE + SOURCES + SCRIPT + DENIED + ENDED).replace(
        "unauthorized", "unauth\r\n2024-05-01T12:00:00.5Z 00O+orized"
    )
    whole = read([log.encode()])
    assert "registry-push-refused" in [one.symptom.id for one in whole.symptoms]
    for size in (1, 7, 100):
        assert read(log.encode()[at : at + size] for at in range(0, len(log.encode()), size)) == whole


def test_a_script_that_prints_the_runner_s_words_does_not_turn_the_log_back() -> None:
    log = PREPARE + SOURCES + SCRIPT + "Getting source from Git repository\n" + DENIED + ENDED
    assert reading(log).stage is Stage.STEP_SCRIPT


def test_of_two_logs_in_one_text_the_last_counts() -> None:
    log = PREPARE + SOURCES + SCRIPT + DENIED + ENDED + PREPARE + SOURCES + SCRIPT + "Job succeeded\n"
    assert reading(log).symptoms == ()


REFUSED = (
    'prepare environment: setting up credentials: secrets is forbidden: User "system:serviceaccount:ci:default" '
    'cannot create resource "secrets" in API group "" in the namespace "ci"'
)
QUOTED = REFUSED.replace('"', '\\"')


@pytest.mark.parametrize(
    ("log", "leads"),
    [
        (f'{{"job":1,"level":"error","msg":"Job failed (system failure): {QUOTED}","time":"x"}}', "rights-missing"),
        (f'time="x" level=warning msg="Job failed (system failure): {QUOTED}" job=5', "rights-missing"),
        (f"Nov  8 12:00:00 host gitlab-runner[812]: ERROR: Job failed (system failure): {REFUSED}", "rights-missing"),
        ("Nov 28 12:00:00 host-1 gitlab-runner[812]: fatal: write error: made up", "git-failed"),
        ("runner_1  | fatal: write error: made up", "git-failed"),
        ("[pod/gitlab-runner-7d4-x/gitlab-runner] fatal: write error: made up", "git-failed"),
        (
            '{"level":"error","msg":"\\u003chtml\\u003e unable to upgrade connection: \\u003chtml\\u003e"}',
            "exec-stream-cut",
        ),
    ],
)
def test_a_manager_s_log_reads_the_same_in_each_form_that_it_is_shown_in(log: str, leads: str) -> None:
    beside = '{"level":"info","msg":"Checking for jobs... received"}\n'
    assert ids(f"{beside}{log}\n")[0] == leads


def test_a_healthy_pod_s_description_shows_nothing() -> None:
    described = """\
Name:             gitlab-runner-6d5f7c9b8-abcde
Status:           Running
Containers:
  gitlab-runner:
    State:          Running
    Ready:          True
    Restart Count:  0
    Liveness:   exec [/usr/bin/timeout 3 /bin/bash /configmaps/check-live] delay=60s timeout=3s period=10s #failure=3
Events:             <none>
"""
    assert ids(described) == []


def test_line_ends_as_json_has_them_part_a_text() -> None:
    text = r"error: cannot run ssh: No such file or directory\nfatal: unable to fork\nERROR: Job failed: exit code 1"
    assert ids(text)[0] == "git-submodule-by-ssh"


def test_translated_words_of_gitlab_are_known() -> None:
    assert ids("此作业已阻塞，因为该项目没有分配任何可用Runner。") == ["job-stuck"]
    assert ids("致命错误：无法访问 'https://g/p.git/'：The requested URL returned error: 403") == ["git-forbidden"]


@pytest.mark.parametrize(
    "line",
    [
        b"2024-05-01T12:00:00.%06dZ 00O \x1b[32mINFO\x1b[0m [main] org.example %d handled a request in 12 ms\r\n",
        b"%d error: failed to pull image %d: context canceled\n",
    ],
    ids=["plain", "full of symptoms"],
)
def test_fifty_megabytes_take_a_hundred_megabytes_at_most(line: bytes, tmp_path: Path) -> None:
    log, number = tmp_path / "log", 0
    with log.open("wb") as stream:
        while stream.tell() < 50_000_000:
            stream.write(b"".join(line % (at, at) for at in range(number, number + 10_000)))
            number += 10_000
    # A process's own peak: what getrusage tells holds its parent's, from before it became another program.
    code = (
        "import re, sys; from preflight import symptoms; symptoms.find('x');"
        "stream = open(sys.argv[1], 'rb');"
        "symptoms.read(iter(lambda: stream.read(1 << 20), b''));"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(log)], capture_output=True, text=True, check=True)
    assert int(ended.stdout) <= 100_000


def test_an_error_behind_long_lines_of_the_same_words_is_read() -> None:
    text = (
        f"{'data of a connection refused as data ' * 300}\n" * 60
        + "Error: the queue at 10.1.1.1:5672: connection refused\n"
    )
    (leading, *_) = find(text)
    assert (leading.symptom.id, leading.place) == ("any-refused", 61)

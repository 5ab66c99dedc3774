"""The grammar of errors: whether a line is one, who says it, and of which system and host it speaks.

What is known of wordings is in the catalogue. Errors are more alike than their wordings are, though: a program says
that something happened to it (a kind of a closed list, `general.yaml`), and names to whom it spoke. This is read here,
from the line, the command that was run and the lines around; what can't be named stays without a name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from preflight.symptoms.catalogue import Candidate, Symptom, system_names
from preflight.symptoms.stages import Stage

VERDICT, MARKED, WORDED, NONE = 3, 2, 1, 0
"""How a line says that something failed: the runner's last word; it begins as errors do; by its words; not at all."""

SPEAKERS = ("manager", "node", "builder", "helper", "program")
"""Who may say it: the runner's manager, a node's kubelet and runtime, what builds images, the runner's helper, and any
other program: the script's."""

LONGEST = 2_000
"""Characters of a line that are read by their form."""

HOST = "{host}"
"""What stands in a meaning for the host, or the system, that a line is about."""

SYSTEMS: Mapping[str, str] = {
    "proxy": r"proxyconnect|proxy ?authentication|\b407 proxy|ProxyError|tunnel connection failed|proxy tunnel"
    r"|CONNECT tunnel|(?:response|code \d{3}) from proxy|Proxy CONNECT aborted"
    r"|(?<![\w-])proxy(?!\.golang)[\w.-]{0,60}(?::| port )\d{2,5}\b|(?::|port )3128\b",
    "docker": r":237[56]\b|docker\.sock|docker daemon|dockerd\b|error during connect|docker_engine|buildkitd",
    "kubernetes": r":6443\b|/api/v1/|/apis/|(?<![/\w])kubectl|kubeconfig|kube-?apiserver"
    r"|\.eks\.amazonaws|\.azmk8s\.io|kubernetes (?:cluster )?unreachable|error from server"
    r'|connect to the server|User "system:'
    r"|(?:10\.\d{1,3}\.\d{1,3}|172\.\d{1,3}\.0)\.1:443\b"
    r'|\bthe \w{2,40} "[^"]{1,80}" is invalid|io\.k8s\.api|kubernetes objects'
    r"|KUBERNETES_SERVICE|kubernetes\.default|(?:INSTALLATION|UPGRADE) FAILED|server API group|\bhelm (?:up|in)",
    "store": r"x-amz|\bs3[\w.-]{0,40}\.amazonaws|\bs3[.:-]|s3://|minio|blob\.core|storage\.googleapis|gs://|cache\.zip"
    r"|NoSuchBucket|NoSuchKey|SignatureDoesNotMatch|object stor|\bbucket|context=cache"
    r"|(?:extract|checking|creat\w{1,4}|download\w{0,3}|upload\w{0,3}) cache|cache archive|storage client",
    "packages": r"npmjs|yarnpkg|\bnpm\b|\byarn\b|\bpnpm\b|pypi|pythonhosted|\bpip3?\b|poetry|maven|nexus|artifactory"
    r"|gradle|nuget|crates[.-]io|\bcargo\b|composer|packagist|rubygems|\bgem\b|bundler|proxy\.golang|sum\.golang|GOPROXY"
    r"|go: |alpinelinux|\bapk\b|\bapt(?:-get)?\b|debian\.org|ubuntu\.com|\bdnf\b|\byum\b|repomd|mirrorlist|helm repo"
    r"|index\.yaml|charts?\.|registry\.terraform|releases\.hashicorp|conda\b|repository '|\A[EW]: "
    r"|matching distribution",
    "registry": r"/v2/|docker\.io|registry|quay\.io|gcr\.io|ghcr\.io|\.ecr\.|azurecr|harbor|mcr\.microsoft|pkg\.dev"
    r"|manifest|pull(?:ing)? image|image pull|ErrImagePull|ImagePullBackOff|oauth token|docker (?:pull|push|login)"
    r"|(?:runner|helper|docker|container|base)[ -]image\b"
    r"|skopeo|\bcrane\b|push(?:ing)? image|jwt/auth|source metadata|requested access to the resource",
    "git": r"github\.com|githubusercontent|bitbucket\.|dev\.azure|visualstudio\.com|codeberg|googlesource",
    "gitlab": r"/api/v4/|(?<!docs\.)gitlab(?!-org/|-ci\.yml|-runner/)|coordinator|registering runner"
    r"|verifying runner|checking for jobs",
    "cloud": r"\baws\b|azure|gcloud|googleapis|\bsts\.|AADSTS|\beks\b|amazonaws|vault|botocore|boto3",
}
"""What a line, or a host in it, is about: the first of these that matches."""

_COMMANDS: Mapping[str, str] = {
    "registry": r"\b(?:docker|podman|buildah|nerdctl)\b.{0,60}\b(?:pull|push|login)\b|skopeo|crane |kaniko",
    "kubernetes": r"\bkubectl |\bhelm (?:upgrade|install|list|uninstall|rollback|status|get)|\bkustomize ",
    "packages": r"\bnpm |\byarn\b|\bpnpm |\bpip3? |\bapt(?:-get)? |\bapk |\bmvn|\bgradle|\bcargo "
    r"|\bgo (?:mod|get|build)"
    r"|\bbundle |\bgem |\bcomposer |\bdotnet |\bpoetry |\buv |\bdnf |\byum |\bhelm (?:repo|dep)",
    "docker": r"\bdocker(?:-compose)? ",
    "cloud": r"\baws |\baz |\bgcloud |\bterraform |\bvault |\btofu ",
}
"""What a command speaks to, where what it says does not tell."""

_BY: Mapping[str, str] = {
    "builder": r"\A#\d{1,4} |failed to solve|checking push permission|error pushing image|buildkit|kaniko"
    r"|buildah|error building|dockerfile|COPY failed|ADD failed"
    r"|creating build container|initializing source docker://|committing container"
    r"|executor failed running|\ASTEP \d|failed to compute cache key|building at STEP",
    "node": r"failed to pull (?:and unpack )?image|image pull failed|pulling image \""
    r"|\A\s{0,9}(?:Warning|Normal)\s{1,9}[A-Z]|event retrieved|FailedMount|FailedCreatePodSandBox"
    r"|FailedScheduling|kubelet|MountVolume|AttachVolume|rpc error: code = |containerd|\bcri-?o\b",
    "manager": r"job failed \(system failure\)|prepare environment:|setting up (?:credentials|build pod|secret)"
    r"|service run failed|failed to start the process|failed to process runner|\AFATAL: listen|\.dockerenv"
    r"|/var/lib/kubelet|[CD]:\\+builds|/(?:scripts|logs)-[^ /]{1,40}/|config\.toml"
    r"|executor=|checking for jobs|preparation failed|\APANIC|runner=\w"
    r"|registering runner|verifying runner|permission container|\((?:docker|exec|manager|volume)\.go:",
}

_LOGFMT = r"level=\w{4,7} "
"""The manager's log is in logfmt; so is what Docker, podman and other programs of a script print."""

_BUILDS = r"\b(?:docker|podman|nerdctl|buildah)\b.{0,60}\b(?:build|bud|bake|buildx)\b|kaniko|buildctl"
"""Commands that build images: what is printed after them is a builder's, though its line does not tell."""
_BUILD_STEP = (
    r"\AStep \d{1,3}/\d{1,3} : |\A-{1,3}> Running in [0-9a-f]|\A#\d{1,4} (?:\d|\[|sha256|CACHED)|\ASTEP \d{1,3}[/:]"
    r"|\AINFO\[\d{4}\] (?:RUN|Running|Args|COPY|Taking snapshot|Unpacking)"
)
"""Lines with which builders begin what they run: what stands next to them is printed within a build."""

_VERDICT = r"(?-i:\A(?:ERROR|FATAL|PANIC): {1,4}(?:Job|Preparation) failed|\A(?:FATAL|PANIC): )"
_MARK = (
    r"(?:error|fatal|failed|failure|panic|critical|exception|\berr!?|denied|unauthorized|forbidden)\]?"
    r"(?:\[[^\]]{0,80}\])?(?: \([^)]{1,60}\))?[:!\])]"
    r"|\A(?:curl: \(\d|wget: |remote: |erro\[|fata\[|FAILED |FAIL\b|● |✖|✗|E {3}|would reformat"
    r"|process terminated)|\A(?:> )?(?:[EF]: |failed|fail:|unable|cannot|can't|could not|couldn't"
    r"|error|fatal|unauthorized|denied|invalid|no such"
    r"|exception|panic)\b|level=(?:error|fatal|panic)|\"level\":\"(?:error|fatal|panic)|\bnpm (?:ERR!|error)"
    r"|\A[EF]\d{4} \d\d:|\[error\]|错误|失败"
)
_CASED_MARK = r"(?-i:\bERROR\b|\bFATAL\b|\bSEVERE\b|\bFAILED\b|\A[EF]\d{4} \d\d:)"
_WORD = (
    r"fail|error|unable|cannot|can't|could n.t|couldn't|refus|denied|invalid|not found|missing|unexpected|no such"
    r"|\bno (?:tty|askpass)\b|\bno \w{1,30} (?:available|found)"
    r"|exception|timed? ?-?out|timeout|deadline|reset|broken|unauthor|forbidden"
    r"|not (?:allowed|permitted|supported|exist)|does not|panic"
    r"|unavailable|bad gateway|fatal|abort|kill|expired|exceed|reject|lost|unknown|unreachable|warn|EOF|hung up"
    r"|no route|is required|busy|too (?:many|large|old|few|long)|no space|mismatch|corrupt|violat|\bfull\b"
    r"|crash|not ready|unhealthy|read-only|conflict|immutable|too open|no host\b|must be run"
    r"|incompatible|unsupported|upstream|requires (?:go|node|python|java|rustc|php|ruby|npm)\b|not set\b|unbound"
    r"|evict|drain|disconnect|closed"
    r"|[\"/ ](?:status|code|1\.[01]|2)\"?[: ] ?[45]\d\d\b"
    r"|already|locked|bad |not resolve|terminated|(?-i:E[A-Z]{4,12}\b)|错误|失败|拒绝|超时"
)
_NOISE = (
    r"\AI\d{4} \d\d:(?!.{0,200}ERROR)"
    r"|\A(?:\$|\+{1,4}|>(?! (?:could not|cannot|failed|error|unable|execution))"
    r"|#!|//|<!--|\*|- )\s|--- (?:PASS|SKIP)|(?-i:\bPASS(?:ED)?\b)|[✓✔]|\bok\b {1,8}\S"
    r"|level=(?:info|debug|trace)|\"level\":\"(?:info|debug)|\A\[?(?:INFO|DEBUG|TRACE)\b|\b(?:INFO|DEBUG) "
    r"|\b0 (?:errors?|failed|failures)\b|as expected|\becho\b|\Anpm (?:warn|notice)|deprecat|\ACheck https"
    r"|\ATry |if you (?:want|need)|for more information\Z|\A(?:Note|Tip):|\bretry(?:ing)? in\b|--\w{1,20}-?on-?error"
    r"|on_failure|allow_failure|mesg: ttyname|\A(?:stty|tput|debconf): |setting locale failed"
    r"|\A(?!error|fatal|fail|panic)\w{1,30}: \w{1,30}\Z"
)
_REPEATED = (
    r"waiting for process to exit: |failed to execute command\Z|returned (?:a )?non-zero|non-zero exit"
    r"|did not complete successfully: exit code|error: process completed with|error command failed with exit code"
    r"|remote end hung up unexpectedly\Z|(?:did not|not) complete successfully\Z"
)
"""Lines of builders and other programs that only repeat that what they ran has failed."""

_KILLED = r"exit(?:ed)? (?:with )?(?:code|status):? (?:13[2479]|143)\b"
"""The status of a process that a signal has ended: that is more than that it failed."""

_WAIT_ENDED = (
    r"timed out waiting for the condition(?: on [\w./-]{1,200})?\W{0,3}\Z|context deadline exceeded\W{0,3}\Z"
    r"|HTTP request (?:sent )?failed\W{0,3}\Z|failed to save outputs\W{0,3}\Z|exceeded its progress deadline"
)
"""Lines of whoever waited in vain: why it did not come stands in another line, if it stands anywhere."""

_WARNS = r"\A(?:warn(?:ing)?\b[:!\]]|\[warn(?:ing)?\]|npm warn\b)"
_WARNS_OF_THE_RUNNER = (
    r"event retrieved|coordinator|failed to pull image|failed to process runner|context=|runner=|retrying"
)
"""A program that warns goes on; the runner's own warnings tell what fails the job."""
_ON_A_NODE = (
    r"image pull failed|failed to pull image|pulling image|successfully assigned|(?:pulled|created|started) container"
    r"|containerd task|MountVolume|pod sandbox|init-permissions|container not found|in container|\[service:"
)
"""What is only said of a pod that has found a node."""

_PREPARING = (
    r"\A(?:ERROR|FATAL|WARNING): "
    r"(?:Preparation failed|Job failed(?: \(system failure\))?: (?:prepare environment|adding ))"
)
_NO_REASON = rf"{_REPEATED}|job failed: (?:exit code|command terminated|exit status|process exited)"
_ENDED = (
    rf"{_NO_REASON}|command terminated with exit code"
    r"|\Amake(?:\[\d{1,2}\])?: \*\*\*|script returned exit code"
    r"|exit(?:ed)? (?:with )?(?:code|status):? (?!13[2479]|143)\d{1,3}\W{0,3}\Z"
    r"|a complete log of this run|ELIFECYCLE"
)
"""Lines that only repeat that a command has failed."""

_REQUEST = (
    r"\b(?:get|head|post|put|patch|delete) \"?https?://"
    r"(?:[^/@\s\"']{1,200}@)?(?P<host>[\w-][\w.-]{0,200}(?::\d{1,5})?)"
)
_LOOKUP = r"lookup (?P<host>[\w.-]{1,200})(?: on |:|,|\Z)"
_HOSTS = (
    _LOOKUP,
    r"(?:resolve host(?:name)?|resolve name|resolving|ENOTFOUND|EAI_AGAIN|UnknownHostException|bad address|unknown host"
    r"|translate host name|address information for|dns lookup of)[: ]{0,3}['\"(]?(?P<host>[\w-][\w.-]{1,200})['\")]?",
    r"\b[a-z][a-z0-9+.-]{1,12}://(?:[^/@\s\"']{1,200}@)?(?P<host>[\w-][\w.-]{0,200}(?::\d{1,5})?)",
    r"dial (?:tcp|udp) (?:\[?[\w.:]{2,60}\]?->)?(?P<host>[\w.-]{1,200}:\d{1,5})",
    r"connect(?:ing|ed|ion)? to (?:the )?(?:server |host |database |[a-z]{4,12} at )?(?:at )?['\"]?"
    r"(?P<host>[\w-]{1,60}(?:\.[\w-]{1,60}){0,8})['\"]?(?: \([\d.]{7,15}\))?(?:,? port |:)\d{1,5}",
    r"host='(?P<host>[\w.-]{1,200})'",
    r"server (?:on|at) ['\"`](?P<host>[\w.-]{1,100})['\"`]",
    r"connect E[A-Z]{5,12} (?P<host>[\w.-]{1,200}:\d{1,5})",
    r"\bgit@(?P<host>[\w.-]{1,200})",
    r"(?:image|pull|push|reference|repository|for|of|to|from) \"?"
    r"(?P<host>(?:[\w-]{1,60}\.){1,6}[a-z]{2,12}(?::\d{1,5})?)/",
    r"\b(?P<host>(?:\d{1,3}\.){3}\d{1,3}:\d{1,5})\b",
    r"\b(?:host|server|endpoint|address)[ :='\"]{1,3}(?P<host>(?:[\w-]{1,60}\.){1,6}[a-z]{2,12}(?::\d{1,5})?)\b",
)
_LOOPBACK = r"(?:localhost|127\.0\.0\.1|\[?::1\]?)\)?(?:,? port |:)(?P<port>\d{2,5})\b"
_SERVICE = r"[a-z][a-z0-9_]{0,30}(?:-[a-z0-9_]{1,30}){0,4}(?::\d{1,5})?|localhost:\d{2,5}|127\.0\.0\.1:\d{4,5}"
_BY_SSH = r"\bssh: connect|port 22\b|UNREACHABLE!"
"""A line of ssh: whom it asks is a machine, and no service of the job."""
_DATABASE = (
    r"(?<![\w/.-])(?:redis|postgres(?:ql)?|psql|mysql|mariadb|mongo(?:db)?|rabbitmq|amqp|elasticsearch|memcached)\b"
)
"""Names of services that jobs have, in a line that names no host."""
_OF_THE_JOB = r"(?<![\w:/.])/(?:builds|home)/[^\s'\"]{1,300}"
"""Paths of the job: words in them name no system."""
_NOT_HOSTS = (
    r"localhost|(?:the|a|an|this|host|server|proxy|url|https?|git|gitlab|name|dns|tcp|error|timed|failed)(?::\d{1,5})?"
)
_DAEMON = r"(?:docker|dind)[\w-]{0,20}(?::\d{1,5})?\Z"
_HELPER = frozenset(
    {Stage.GET_SOURCES, Stage.RESTORE_CACHE, Stage.DOWNLOAD_ARTIFACTS, Stage.ARCHIVE_CACHE, Stage.UPLOAD}
)
_OF_STAGE: Mapping[Stage | None, str] = {
    Stage.GET_SOURCES: "gitlab",
    Stage.DOWNLOAD_ARTIFACTS: "gitlab",
    Stage.UPLOAD: "gitlab",
    Stage.RESTORE_CACHE: "store",
    Stage.ARCHIVE_CACHE: "store",
}


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around a line.

    Attributes:
        lines: those next to it, the nearest first.
        command: the command of the script that was run, as the runner shows it; "" if none.
        stage: the stage of the job; None where the text has no stages.
        begun: the lines right above that end with a colon: the message that the line goes on with; "" if none.
    """

    lines: Sequence[str] = ()
    command: str = ""
    stage: Stage | None = None
    begun: str = ""


NOTHING_AROUND = Around()


@dataclass(frozen=True, slots=True)
class Statement:
    """What a line says by its form.

    Attributes:
        weight: how it says that something failed: `VERDICT`, `MARKED`, `WORDED`, or `NONE` where it does not.
        speaker: who says it, of `SPEAKERS`.
        system: of which system, a key of `SYSTEMS`, ``service``, or ``host`` where only its host is known; "" if none.
        host: the host that it names, with its port; "" if it names none.
    """

    weight: int
    speaker: str = ""
    system: str = ""
    host: str = ""


def weight(line: str) -> int:
    """How a line says that something failed."""
    line = line[:LONGEST]
    if _search(_VERDICT, line):
        return NONE if _search(_NO_REASON, line) else VERDICT
    if _search(_ENDED, line):
        return NONE
    if _search(_NOISE, line) and not _search(_CASED_MARK, line):
        return NONE
    if _search(_MARK, line) or _search(_CASED_MARK, line):
        return MARKED
    return WORDED if _search(_WORD, line) else NONE


def is_of_preparing(line: str) -> bool:
    """Whether the runner says in a line that it could not begin the job: nothing of the script is meant then."""
    return _search(_PREPARING, line[:LONGEST])


def is_of_a_pod_on_a_node(line: str) -> bool:
    """Whether a line is about a pod that has found a node."""
    return _search(_ON_A_NODE, line[:LONGEST])


def repeats(line: str) -> bool:
    """Whether a line only repeats that what a program ran has failed: any line before it says more."""
    return _search(_REPEATED, line[:LONGEST]) and not _search(_KILLED, line[:LONGEST])


def waited_in_vain(line: str) -> bool:
    """Whether a line only says that what was waited for did not come: a line that says why leads before it."""
    return _search(_WAIT_ENDED, line[:LONGEST])


def only_warns(line: str) -> bool:
    """Whether a program of the script says in a line that it goes on all the same."""
    return _search(_WARNS, line[:LONGEST]) and not _search(_WARNS_OF_THE_RUNNER, line[:LONGEST])


def statement(line: str, around: Around) -> Statement:
    """What a line says by its form, with what stands around it."""
    line = line[:LONGEST]
    how = weight(line)
    if how == NONE:
        return Statement(NONE)
    speaker = _speaker(line, around)
    host = next(_hosts(line), "")
    system = _system(line, host) or _system_around(line, host, around, speaker)
    if system == "proxy":  # the host is the one behind it
        host = ""
    if not system and not host and (database := _compiled(_DATABASE).search(line)):
        system, host = "service", database[0]
    return Statement(how, speaker, system or ("host" if host else ""), host)


def meant(
    symptom: Symptom, line: str, said: Statement, stage: Stage | None, around: Around = NOTHING_AROUND
) -> tuple[Candidate, ...]:
    """What an entry of the grammar's kinds can mean on a line, with the host or system that the line is about."""
    possible = _beside(symptom.meant_by(line, stage), line, around)
    return _named(_fitting(possible, said.system, said.speaker), said.host or system_names()[said.system])


def spoken(symptom: Symptom, candidates: tuple[Candidate, ...], line: str, around: Around) -> tuple[Candidate, ...]:
    """Of what an entry of the catalogue can mean, that which fits who says the line, and of whom; all if none does."""
    if around.begun:  # who says it, and of whom, stands at the beginning of the message
        line = f"{around.begun} {line}"
        candidates = symptom.meant_by(line, around.stage)
    candidates = _beside(candidates, line, around)
    if not any(candidate.by or candidate.of or HOST in candidate.says for candidate in candidates):
        return candidates
    line = line[:LONGEST]
    speaker, host = _speaker(line, around), next(_hosts(line), "")
    system = _system(line, host) or _system_around(line, host, around, speaker) or ("host" if host else "")
    names = system_names()
    name = host or names[system or (symptom.area if symptom.area in names else "")]
    return _named(_fitting(candidates, system, speaker) or candidates, name)


def _beside(candidates: tuple[Candidate, ...], line: str, around: Around) -> tuple[Candidate, ...]:
    """What can be meant by what stands around a line: that which asks for it first."""
    if not any(candidate.near for candidate in candidates):
        return candidates
    text = "\n".join((line[:LONGEST], f"$ {around.command}", *(other[:LONGEST] for other in around.lines)))
    possible = [candidate for candidate in candidates if candidate.near is None or candidate.near.search(text)]
    return tuple(sorted(possible, key=lambda candidate: candidate.near is None))


def _fitting(candidates: tuple[Candidate, ...], system: str, speaker: str) -> tuple[Candidate, ...]:
    return tuple(
        candidate
        for candidate in candidates
        if (not candidate.of or system in candidate.of) and (not candidate.by or speaker in candidate.by)
    )


def _named(candidates: tuple[Candidate, ...], name: str) -> tuple[Candidate, ...]:
    return tuple(
        replace(
            candidate,
            says=candidate.says.replace(HOST, name),
            remedy=candidate.remedy.replace(HOST, name),
            look=candidate.look.replace(HOST, name),
        )
        for candidate in candidates
    )


def of_any_host(text: str) -> str:
    """A meaning as it reads without a line."""
    return text.replace(HOST, "HOST")


def _speaker(line: str, around: Around) -> str:
    for name, pattern in _BY.items():
        if _search(pattern, line):
            return name
    if around.stage in _HELPER:
        return "helper"
    if not around.command and around.stage in {None, Stage.PREPARE} and _search(_LOGFMT, line):
        return "manager"
    if _search(_BUILDS, around.command) or _is_within_a_build(around.lines):
        return "builder"
    return "manager" if around.stage is Stage.PREPARE else "program"


def _is_within_a_build(lines: Sequence[str]) -> bool:
    """Whether a builder's line stands next to a line, and no command of the script nearer."""
    for line in lines:
        if line.startswith("$ "):
            return False
        if _search(_BUILD_STEP, line):
            return True
    return False


def _hosts(line: str) -> Iterator[str]:
    """The hosts that a line names, that which was asked last first: a request may lead to another."""
    asked = [match["host"] for match in _compiled(_REQUEST).finditer(line)]
    if asked and not _search(_LOOKUP, line):
        yield asked[-1]
    for pattern in _HOSTS:
        for match in _compiled(pattern).finditer(line):
            host = match["host"].rstrip(".:")
            if host and not _compiled(_NOT_HOSTS).fullmatch(host):
                yield host
    if loopback := _compiled(_LOOPBACK).search(line):
        yield f"localhost:{loopback['port']}"


def _system(line: str, host: str) -> str:
    """The system that a line is about: by its host, else by its words; a proxy is not the host that it asks."""
    if _search(SYSTEMS["proxy"], line):
        return "proxy"
    if host:
        if _compiled(_DAEMON).match(host):
            return "docker"
        at = line.find(host)
        named = line[at : at + len(host) + 60].split(" ", maxsplit=1)[0]
        for name, pattern in SYSTEMS.items():
            if _search(pattern, named):
                return name
        if _compiled(_SERVICE).fullmatch(host) and not _search(_BY_SSH, line):
            return "service"
    said = _compiled(_OF_THE_JOB).sub("", line)
    return next((name for name, pattern in SYSTEMS.items() if _search(pattern, said)), "")


def _system_around(line: str, host: str, around: Around, speaker: str) -> str:
    """The system that a line is about which does not tell: by the command, the lines around it, and the stage."""
    for name, pattern in _COMMANDS.items():
        if _search(pattern, around.command):
            return name
    if around.stage in _OF_STAGE:
        return _OF_STAGE[around.stage]
    if host:
        return ""
    for other in around.lines:
        near = next(_hosts(other), "")
        system = _system(other, near) if weight(other) or other.startswith("$ ") else ""
        if system:
            return system
    return "kubernetes" if speaker == "manager" and "prepare environment" in line else ""


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when it is asked for first: a run without a log needs none."""
    return re.compile(pattern, re.IGNORECASE)


def _search(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None

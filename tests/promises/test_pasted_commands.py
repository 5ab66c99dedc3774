"""Commands that people are asked to paste run what they show and nothing else, whatever stands in outside text.

Two halves: no command is made in another way than by `preflight.shell_command`, which the syntax tree shows; and what
that module makes of hostile arguments, and what whole reports offer, is run by a shell whose tools are stubs.
"""

from __future__ import annotations

import ast
import itertools
import json
import random
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import pytest

from preflight import placeholders
from preflight.clients.kubectl import kubectl
from preflight.conclusions.single_fact import ROWS, upgrade_command
from preflight.evidence import Evidence, Unmeasured, clean
from preflight.guide import paragraph
from preflight.inventory import ValuesFile, load
from preflight.probes.shell import KINDS, command_line
from preflight.shell_command import (
    ShellCommand,
    both,
    fill,
    fill_each,
    output_of,
    pipe,
    program,
    sequence,
    syntax,
    toml_pair,
    toml_texts,
    variable,
    words,
)
from tests.processes import PROJECT

TOOLS = (
    "base64 cat cp crictl curl date df diff dig docker env getent git gitlab-ctl grep helm iptables ip "
    "journalctl kubeadm kubectl nc nslookup openssl ping printf python sed sh ssh ssh-keygen ssh-keyscan sudo "
    "systemctl wget"
).split()
EACH = 'for command in "$@"; do ( eval "$command" ) </dev/null; done'
HOSTILE = (
    "$(touch owned)",
    "`touch owned`",
    "; touch owned #",
    "& touch owned &",
    "| touch owned",
    "\ntouch owned\n",
    "' ; touch owned ; '",
    '" ; touch owned ; "',
    "\\'; touch owned; \\'",
    "\\`touch owned\\`",
    "x' `touch owned`\n$(touch owned) '; touch owned #\"",
    "${IFS}$(touch${IFS}owned)",
    "> owned",
    "\r\n touch owned",
    "!touch owned",
    "$'\\n' touch owned",
    "token=abcdefgh'; touch owned; '",
    "--password abcdefgh'; touch owned; '",
    "http://user:abcdefgh'@host/; touch owned; '",
    "-----BEGIN RSA PRIVATE KEY----- '; touch owned; '",
    "a" * 3000 + "'; touch owned; '" + "b" * 3000,
    "\u202e'; touch owned; '\x1b[2J",
)


def sandbox(folder: Path, commands: Sequence[str]) -> list[str]:
    """Let a shell run commands where every tool is a stub but for touch; the names of the files that it made.

    Each runs in a subshell, so that one that is not whole harms no other.
    """
    tools, place = folder / "tools", folder / "place"
    tools.mkdir(exist_ok=True)
    place.mkdir(exist_ok=True)
    for tool in TOOLS:
        if not (tools / tool).exists():
            (tools / tool).symlink_to(shutil.which("true") or "/bin/true")
    if not (tools / "touch").exists():
        (tools / "touch").symlink_to(shutil.which("touch") or "/bin/touch")
    for number in range(0, len(commands), 200):
        subprocess.run(
            ["/bin/bash", "-c", EACH, "-", *commands[number : number + 200]],
            cwd=place,
            env={"PATH": str(tools)},
            capture_output=True,
            check=False,
            timeout=60,
        )
    return sorted(path.name for path in place.iterdir() if path.name.startswith("owned"))


def offered(value: Any, key: str = "") -> Iterator[str]:
    """Every command that a report offers: as evidence, and between backquotes in remedies and needs."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from offered(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from offered(part, key)
    elif isinstance(value, str) and key == "command" and value:
        yield value
    elif isinstance(value, str) and key in {"remedy", "needs", "settled_by"}:
        yield from spans(value)


def spans(sentence: str) -> Iterator[str]:
    """The commands between backquotes in a sentence."""
    for text in sentence.split("`")[1::2]:
        if text.split(" ")[0] in TOOLS:
            yield text


def test_the_sandbox_sees_what_a_hostile_text_does(tmp_path: Path) -> None:
    assert sandbox(tmp_path, ["kubectl get pod x; touch owned-1", 'dig "$(touch owned-2)"', "kubectl get 'x"]) == [
        "owned-1",
        "owned-2",
    ]


def test_no_argument_ends_its_word(tmp_path: Path) -> None:
    commands: list[str] = []
    for text in HOSTILE:
        command = program("kubectl", "-n", text, "get", "pods")
        commands += [command, pipe(command, program("grep", text)), both(command, command), sequence(command, command)]
        commands += [program("ssh", "host", command), command.after("sudo", "-u", text)]
        commands += [program("curl", "-u", variable("PASSWORD", text), text), program("dig", syntax("…"), text)]
        commands += [kubectl("GET", f"/api/v1/namespaces/{text}/pods/{text}", {"labelSelector": text}, context=text)]
        commands += [f"kubectl get pods {words([text, text])}"]
        commands += [command_line(kind, (text,) * 3) for kind in KINDS]
        commands += spans(fill("see `kubectl -n {x} get pods -l a={x},b={x}` of {x}", {"x": text}))
        assert len(shlex.split(program("a", *[text.replace("\n", " ").replace("`", "")] * 2))) == 3
    commands += [Evidence(where="here", command=command).command for command in commands]
    commands += [span for text in HOSTILE for span in spans(Unmeasured("x", needs=f"`{program('dig', text)}`").needs)]
    assert [command for command in commands if "\n" in command] == []
    assert len(commands) > len(HOSTILE) * 20
    assert sandbox(tmp_path, commands) == []


OPTION = "--output=/home/me/.ssh/authorized_keys"


@pytest.mark.parametrize("text", [OPTION, "-oProxyCommand=x", "-K/etc/passwd", "--config", " -x", "\n-x", "\x1b-x"])
def test_no_argument_is_an_option(text: str) -> None:
    commands = [
        program("curl", "-sS", "-i", text),
        program("curl", "-sS", text, text).after("sudo", text),
        kubectl("GET", f"/api/v1/namespaces/{text}/pods/{text}", {}),
        ShellCommand(f"dig {words([text])}"),
        *spans(fill("see `dig {x}` and `kubectl -n {x} get pods`", {"x": text})),
        *(command_line(kind, (text,) * 3) for kind in KINDS),
    ]
    foreign = [word for command in commands for word in shlex.split(command) if text.strip("\n\x1b ") in word]
    foreign = [word for word in foreign if not word.startswith("-port=")]  # a value of an option of ours
    assert [word for word in foreign if word.lstrip().startswith("-")] == []
    assert text.strip("\n\x1b ") in program("ssh", "--", text), "behind -- nothing is an option"


def test_every_option_of_the_suite_s_own_commands_is_known() -> None:
    calls = [node for file in SOURCES for node in ast.walk(ast.parse(file.read_text("utf-8"))) if is_program(node)]
    own = [
        part.value
        for call in calls
        for argument in call.args
        for part in ast.walk(argument)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.startswith("-")
    ]
    assert len(own) > 100
    assert [word for word in own if word != "--" and program("x", word) == "x …"] == []


def is_program(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "program"


def test_a_sentence_within_a_sentence_is_quoted_once(tmp_path: Path) -> None:
    sentences: list[str] = []
    for text in HOSTILE:
        inner = fill("`dig {x}`, or {x}", {"x": text})
        each = fill_each("`kubectl get {x}`", [{"x": text}, {"x": "y"}])
        login = program("kubectl", "config", output_of(program("kubectl", "-n", text, "create", "token"), text))
        names = {"inner": inner, "each": each, "login": login, "pair": toml_pair(text, text)}
        outer = fill("do {inner}; {each}; `kubectl get {inner} {each}` `{login}` `dig {pair}`", {**names, "x": text})
        assert len(text) > 100 or inner in outer
        assert fill("`kubectl get {inner} {each}`", names).count("`") == 2
        sentences += [outer, fill("`dig {x} {x}` `dig {x}` `dig {pair} {x}`", {**names, "x": text})]
        sentences.append(fill("`{long}` and `{long}`, `dig {texts}`", {"long": login, "texts": toml_texts([text] * 9)}))
    assert all(sentence.count("`") % 2 == 0 and len(sentence) <= 2000 for sentence in sentences)
    assert all(clean(sentence).count("\n") == 0 for sentence in sentences)
    commands = [command for sentence in sentences for command in spans(clean(sentence))]
    assert len(commands) > len(HOSTILE) * 8
    assert sandbox(tmp_path, commands) == []


def test_texts_of_settings_are_those_that_toml_reads() -> None:
    for text in HOSTILE[:6]:
        shown = text.strip().replace("\n", " ")
        assert tomllib.loads(f"{toml_pair(text, text)}\nx = [{toml_texts([text, 'y'])}]") == {
            shown: shown,
            "x": [shown, "y"],
        }


def test_cleaning_a_command_again_changes_no_word() -> None:
    random.seed(16)
    pieces = ["'", '"', "`", "\\", " ", "\n", "$(x)", "token=", "--password", "http://a:b@", ";", "é", "A" * 9, "="]
    for _ in range(2000):
        texts = ["".join(random.choices(pieces, k=random.randint(1, 9))) for _ in range(3)]
        command = program("kubectl", *texts)
        assert clean(command) == command, texts
        if not re.search(r"[`\n]", "".join(texts)) and command.count("…") == 0:
            assert len(shlex.split(command)) == 4, command


def test_every_row_of_causes_quotes_names(tmp_path: Path, inventory_file: Path) -> None:
    inventory = load(inventory_file)

    class Names(dict[str, object]):
        def __missing__(self, name: str) -> object:
            return upgrade_command(inventory) if name == "upgrade" else self["*"]

    commands = {
        command
        for row, text in itertools.product(ROWS, HOSTILE[:6])
        for step in row.remedy
        for command in spans(fill(step, Names({"*": text})))
    }
    assert len(commands) > 300
    assert sandbox(tmp_path, sorted(commands)) == []


def test_placeholders_of_checks_are_filled_with_whole_words(tmp_path: Path, inventory_file: Path) -> None:
    inventory = load(inventory_file)
    commands: list[str] = []
    for text in HOSTILE:
        named = {
            "release": text,
            "namespace": text,
            "chart": text,
            "values": (ValuesFile.model_construct(file=Path(text.replace("/", "")), at=text),),
        }
        runner = inventory.runner.model_copy(update=named)
        hostile = inventory.model_copy(update={"runner": runner})
        for file in sorted((PROJECT / "checks").glob("test_*.py")):
            for node in ast.parse(file.read_text("utf-8")).body:
                doc = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
                if not doc or "Remedy" not in doc:
                    continue
                targets = {"node": text, "resolver": text}
                known = placeholders.filled(paragraph(doc), hostile, targets, job_namespace=text)
                commands += [command for remedy in known.remedies.values() for command in spans(remedy)]
    commands = sorted(dict.fromkeys(commands))
    assert len(commands) > 300
    assert sandbox(tmp_path, commands) == []


# ---- the only way ---------------------------------------------------------------------------------------------------

SOURCES = sorted((PROJECT / "preflight").rglob("*.py"))
SCRIPTS = {"probes/shell.py", "probes/node_pulls.py", "probes/shell_readers.py"}
"""Modules with scripts that the suite itself runs, which no one pastes; what they show is made by the builder too."""
WORDS_TOO = {"env", "ip"}  # tools with names that sentences begin with
COMMAND = re.compile(rf"(?:^|[;|&] |\$ )(?:{'|'.join(set(TOOLS) - WORDS_TOO)}) [^`]*\0")
NOT_MADE_FOR_PASTING = re.compile(r"^(helm (\0$|did not|printed)|crictl ended|docker\.io)")
FORMATTING = {"format", "format_map", "join", "replace"}


def text_of(node: ast.JoinedStr) -> str:
    """An f-string's text, with a NUL for each value."""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)


def complaints(source: str, name: str) -> Iterator[str]:
    """What makes a command otherwise than by the builder."""
    for node in ast.walk(ast.parse(source)):
        place = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.JoinedStr):
            text = text_of(node)
            if name not in SCRIPTS and COMMAND.search(text) and not NOT_MADE_FOR_PASTING.search(text):
                yield f"{place}: a command in an f-string"
            yield from (
                f"{place}: a value beside other text between backquotes"
                for span in text.split("`")[1::2]
                if "\0" in span and span != "\0"
            )
        elif isinstance(node, ast.keyword) and node.arg == "command":
            yield from (f"{place}: a command that is {made}" for made in made_by_hand(node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            first = node.args[0] if node.args else None
            if node.func.id in {"ShellCommand", "Syntax", "Sentence", "Setting"} and name != "shell_command.py":
                yield f"{place}: {node.func.id} is made by the builder alone"
            if node.func.id in {"syntax", "variable"} and not isinstance(first, ast.Constant):
                yield f"{place}: {node.func.id} takes constants alone"
            if node.func.id == "fill" and name.startswith("conclusions/") and isinstance(first, ast.JoinedStr):
                yield f"{place}: fill takes a template, not a text that holds values"
        elif isinstance(node, ast.Attribute) and node.attr == "format_map" and name.startswith("conclusions/"):
            yield f"{place}: fill puts names into a remedy"


def made_by_hand(value: ast.expr) -> Iterator[str]:
    """How an expression that is given as a command is made, where that is not the builder's way."""
    for node in [value, *(value.values if isinstance(value, ast.BoolOp) else ())]:
        branches: Iterable[ast.expr] = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
        for branch in branches:
            if isinstance(branch, ast.JoinedStr | ast.BinOp):
                yield "put together from text"
            elif isinstance(branch, ast.Call) and getattr(branch.func, "attr", "") in FORMATTING:
                yield "formatted"


def test_commands_are_made_by_the_builder_alone() -> None:
    found = [
        complaint
        for file in SOURCES
        for complaint in complaints(file.read_text("utf-8"), str(file.relative_to(PROJECT / "preflight")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        'f"kubectl -n {namespace} get pods"',
        'f"date; curl -sS {url}"',
        'f"see `kubectl -n {namespace} get pods`"',
        'Evidence(command="kubectl get " + name)',
        'Evidence(command=f"{command} -o wide")',
        'Evidence(command="kubectl get %s" % name)',
        'Evidence(command=" ".join(command))',
        'Evidence(command=known or f"{command} x")',
        "Evidence(command=ShellCommand(name))",
        "program('kubectl', syntax(name))",
        "program('kubectl', variable(name))",
        "tuple(step.format_map(names) for step in steps)",
        'fill(f"see {name}", names)',
    ],
)
def test_any_other_way_is_seen(source: str) -> None:
    assert list(complaints(source, "conclusions/x.py"))


def test_reports_offer_only_whole_commands() -> None:
    document = json.loads('{"evidence": {"command": "kubectl get x"}, "remedy": ["do `dig x`, then `y` and `dig z`"]}')
    assert list(offered(document)) == ["kubectl get x", "dig x", "dig z"]
    assert isinstance(program("x"), ShellCommand)

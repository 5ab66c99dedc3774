"""Commands that people are asked to paste, made of arguments and quoted: the only way by which this suite makes one.

    program("kubectl", "-n", namespace, "describe", "secret", name)
    pipe(program("curl", "-sS", url), program("grep", "-i", "^date"))
    program("curl", "--oauth2-bearer", variable("GITLAB_API_TOKEN"), url)

Every argument may come from outside: from the inventory, from values, or from an object of the cluster. None of them
can end its word: redaction and cutting happen before quoting, so that neither can take a quotation mark away
afterwards. Nor can one be an option: before ``--``, none but those that this suite itself uses may begin with a dash.
`fill` puts names into the template of a sentence that has commands between backquotes; such a `Sentence` may be a name
of another one, as a `ShellCommand` may, and a `Setting`, which is TOML.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from string import Formatter

from preflight.evidence import LONGEST, one_line, without_controls
from preflight.redaction import redact

_LONGEST_WORD = 1600
_SHORTEST_WORD = 20
_ROOM = LONGEST - 100  # characters of a command, so that what shows it has no need to cut it
_OPTIONS = frozenset(
    "- -A -B -c -connect -d -dates -enddate -f -G -i -in -J -k -L -l -M -m -n -noout -O -o -P -p -port -R -r "
    "-rwzc -S -s -servername -sI -skI -sS -subject -text -u -v -w -X --as --cacert --clusterrole --context "
    "--data-urlencode --dry-run --duration --effect --field-selector --from-file --insecure --inventory "
    "--max-time --minify --namespace --oauth2-bearer --previous --proto --raw --repo --resource --revision --rm "
    "--role --serviceaccount --short --show-labels --sort-by --tail --token --user --verb --version".split()
)
"""The options of commands that this suite shows; the tests hold it against the calls of `program`."""
_UNSAFE_LINE = re.compile(r"[`\n\t]")
_WORD = re.compile(r"""(?:'[^']*'|\$'(?:[^'\\]|\\.)*'|"[^"\\`$]*"|"\$\w+"|[\w@%+=:,./\[\]…<>-])+""")
_WORDS = re.compile(rf"{_WORD.pattern}(?: {_WORD.pattern})*")
_NAME = re.compile(r"\w+")
_LONGEST_NAME = 600  # characters of a name in a sentence
_TOML_ESCAPES = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "`$!"})  # which a shell would take for its own
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "`": "\\140", "!": "\\041", "\n": "\\n", "\t": "\\t"})


class ShellCommand(str):
    """A command whose arguments are quoted."""

    __slots__ = ()

    def after(self, *words: object) -> ShellCommand:
        """The same command behind a prefix, such as ``sudo -n``."""
        whole = f"{program(*words)} {self}"
        return ShellCommand(whole if len(whole) <= _ROOM else f"{program(*words)} {self.partition(' ')[0]} …")


class Sentence(str):
    """A sentence whose commands, between backquotes, are quoted."""

    __slots__ = ()


class Setting(str):
    """A piece of TOML whose texts are quoted, for TOML first, and so that they stay texts if a shell gets them."""

    __slots__ = ()


class Syntax(str):
    """A word that the shell is to interpret; only ever a constant of this suite."""

    __slots__ = ()


def syntax(constant: str) -> Syntax:
    """A word that stands unquoted: a redirection, or a placeholder such as ``…``. Only constants may be given."""
    return Syntax(constant)


def variable(name: str, prefix: str = "") -> Syntax:
    """The value of a shell variable as one word, behind a text that is quoted."""
    return Syntax(f'{quote(prefix) if prefix else ""}"${name}"')


def output_of(command: ShellCommand, prefix: str = "") -> Syntax:
    """What a command prints as one word, behind a text that is quoted."""
    _check(command)
    return Syntax(f'{quote(prefix) if prefix else ""}"$({command})"')


def program(*words: object) -> ShellCommand:
    """The command of these words: program and arguments, each quoted; an `ShellCommand` among them is one word too."""
    operands = words.index("--") if "--" in words else len(words)
    words = tuple(
        syntax("…") if 0 < place < operands and _is_foreign_option(word) else word for place, word in enumerate(words)
    )
    limit = _LONGEST_WORD
    command = _joined(words, limit)
    while len(command) > _ROOM and limit > _SHORTEST_WORD:
        limit //= 2
        command = _joined(words, limit)
    shown = redact(command)  # what only words together show to be a secret
    if len(command) > _ROOM or (shown != command and _words_of(shown) != len(words)):
        return ShellCommand(f"{quote(str(words[0]))} …")
    return ShellCommand(shown)


def _is_foreign_option(word: object) -> bool:
    """Whether a program would take a word for an option that this suite has no use for."""
    text = without_controls(str(word)).lstrip()
    return text.startswith("-") and text.partition("=")[0] not in _OPTIONS


def _joined(words: Iterable[object], limit: int) -> ShellCommand:
    shown: list[str] = []
    before = ""
    for word in words:
        if isinstance(word, Syntax):
            shown.append(str(word))
            before = ""
            continue
        text = _cut(without_controls(str(word).replace("\r\n", "\n")), limit)
        # An option may be what shows that the word behind it is a secret.
        pair = redact(f"{before} {text}") if before.startswith("-") else ""
        text = pair[len(before) + 1 :] if pair.startswith(f"{before} ") else redact(text)
        shown.append(quote(text))
        before = text
    return ShellCommand(" ".join(shown))


def _words_of(command: str) -> int:
    """The number of a command's words; 0 where quotation marks do not match."""
    return len(_WORD.findall(command)) if _WORDS.fullmatch(command) else 0


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit * 2 // 3]}…{text[-limit // 3 :]}"


def quote(text: str) -> str:
    """A text as one word of a shell on one line, without a backquote, since those mark commands in sentences."""
    return f"$'{text.translate(_ESCAPES)}'" if _UNSAFE_LINE.search(text) else shlex.quote(text)


def words(texts: Iterable[str]) -> ShellCommand:
    """Several words, as a part of a command."""
    shown = ("…" if _is_foreign_option(text) else quote(redact(one_line(text, longest=300))) for text in texts)
    return ShellCommand(" ".join(shown))


def pipe(*commands: ShellCommand) -> ShellCommand:
    """Each command's output is the next one's input."""
    return _connected(" | ", commands)


def both(*commands: ShellCommand) -> ShellCommand:
    """Each command runs if the one before succeeded."""
    return _connected(" && ", commands)


def sequence(*commands: ShellCommand) -> ShellCommand:
    """The commands one after the other."""
    return _connected("; ", commands)


def _connected(operator: str, commands: Iterable[ShellCommand]) -> ShellCommand:
    """The commands with an operator between them, as many as there is room for."""
    shown: list[str] = []
    for command in commands:
        _check(command)
        if len(operator.join([*shown, command])) > _ROOM:
            break
        shown.append(command)
    return ShellCommand(operator.join(shown))


def _check(command: object) -> None:
    if not isinstance(command, ShellCommand):
        raise TypeError(f"found {command!r}, expected a ShellCommand")


def toml_texts(texts: Iterable[object]) -> Setting:
    """Texts as TOML writes them, as the entries of a list."""
    return Setting(", ".join(_toml(text) for text in texts))


def toml_pair(key: object, value: object) -> Setting:
    """A key of any characters, and the text that is its value, as TOML writes them."""
    return Setting(f"{_toml(key)} = {_toml(value)}")


def _toml(text: object) -> str:
    shown = one_line(str(text), longest=_LONGEST_NAME)
    return json.dumps(shown, ensure_ascii=False).translate(_TOML_ESCAPES)


def fill(template: str, names: Mapping[str, object]) -> Sentence:
    """A sentence's template with names put in; those inside of backquotes, where commands stand, are quoted.

    A template has ``{name}`` for a name and ``{{`` for a brace, and nothing else of format strings: what an operator, a
    tenant or a server wrote is put in afterwards, as it is, and belongs into the names and never into a template.

    Args:
        template: only ever a constant of this suite.
        names: the values, which are never formatted themselves; longer ones are cut where there is no room for all.

    Raises:
        ValueError: a template has a conversion or a format specification, or a name that there is not.
    """
    limit = _LONGEST_NAME
    sentence = _filled(template, names, limit)
    while len(sentence) > _ROOM and limit > 0:
        limit = limit // 2 if limit > _SHORTEST_WORD else 0
        sentence = _filled(template, names, limit)
    return sentence


def fill_each(template: str, several: Iterable[Mapping[str, object]]) -> Sentence:
    """A template filled with each of several sets of names, with commas between, as many as there is room for."""
    shown: list[str] = []
    for names in several:
        sentence = fill(template, names)
        if len(", ".join([*shown, sentence])) > _ROOM:
            break
        shown.append(sentence)
    return Sentence(", ".join(shown))


def _filled(template: str, names: Mapping[str, object], limit: int) -> Sentence:
    parts = template.split("`")
    return Sentence(
        "`".join("".join(_pieces(part, names, limit, inside=bool(place % 2))) for place, part in enumerate(parts))
    )


def _pieces(template: str, names: Mapping[str, object], limit: int, *, inside: bool) -> Iterator[str]:
    for literal, name, specification, conversion in Formatter().parse(template):
        yield literal
        if name is None:
            continue
        if specification or conversion or not _NAME.fullmatch(name):
            raise ValueError(f"found {{{name[:40]}}} with more than a name, expected a name alone")
        try:
            value = names[name]
        except KeyError as error:
            raise ValueError(f"found {{{name[:40]}}} without a value, expected a name alone that has one") from error
        begins_a_word = inside and (not literal or literal[-1].isspace()) and isinstance(value, str)
        if begins_a_word and not isinstance(value, ShellCommand | Setting) and _is_foreign_option(value):
            yield "…"
        else:
            yield _value(value, limit, inside=inside)


def _value(value: object, limit: int, *, inside: bool) -> str:
    """A value as it stands in a sentence, cut to a length; with 0, what can't be cut is left out."""
    if isinstance(value, ShellCommand):
        return value if limit else ShellCommand(f"{value.partition(' ')[0]} …")
    if isinstance(value, Setting) or (isinstance(value, Sentence) and not inside):
        return value if limit else "…"
    text = _cut(one_line(str(value), longest=_LONGEST_NAME), limit or _SHORTEST_WORD)
    return quote(text) if inside else text.replace("`", "'")

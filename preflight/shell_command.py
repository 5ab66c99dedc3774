"""Commands that people are asked to paste, made of arguments and quoted: the only way by which this suite makes one.

    program("kubectl", "-n", namespace, "describe", "secret", name)
    pipe(program("curl", "-sS", url), program("grep", "-i", "^date"))
    program("curl", "--oauth2-bearer", variable("GITLAB_API_TOKEN"), url)

Every argument may come from outside: from the inventory, from values, or from an object of the cluster. None of them
can end its word: redaction and cutting happen before quoting, so that neither can take a quotation mark away
afterwards. `fill` puts names into the template of a sentence that has commands between backquotes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from string import Formatter

from preflight.evidence import LONGEST, one_line, without_controls
from preflight.redaction import redact

_LONGEST_WORD = 1600
_SHORTEST_WORD = 20
_ROOM = LONGEST - 100  # characters of a command, so that what shows it has no need to cut it
_UNSAFE_LINE = re.compile(r"[`\n\t]")
_WORD = re.compile(r"""(?:'[^']*'|\$'(?:[^'\\]|\\.)*'|"[^"\\`$]*"|"\$\w+"|[\w@%+=:,./\[\]…<>-])+""")
_WORDS = re.compile(rf"{_WORD.pattern}(?: {_WORD.pattern})*")
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "`": "\\140", "!": "\\041", "\n": "\\n", "\t": "\\t"})


class ShellCommand(str):
    """A command whose arguments are quoted."""

    __slots__ = ()

    def after(self, *words: object) -> ShellCommand:
        """The same command behind a prefix, such as ``sudo -n``."""
        whole = f"{program(*words)} {self}"
        return ShellCommand(whole if len(whole) <= _ROOM else f"{program(*words)} {self.partition(' ')[0]} …")


class Syntax(str):
    """A word that the shell is to interpret; only ever a constant of this suite."""

    __slots__ = ()


def syntax(constant: str) -> Syntax:
    """A word that stands unquoted: a redirection, or a placeholder such as ``…``. Only constants may be given."""
    return Syntax(constant)


def variable(name: str, prefix: str = "") -> Syntax:
    """The value of a shell variable as one word, behind a text that is quoted."""
    return Syntax(f'{quote(prefix) if prefix else ""}"${name}"')


def program(*words: object) -> ShellCommand:
    """The command of these words: program and arguments, each quoted; an `ShellCommand` among them is one word too."""
    limit = _LONGEST_WORD
    command = _joined(words, limit)
    while len(command) > _ROOM and limit > _SHORTEST_WORD:
        limit //= 2
        command = _joined(words, limit)
    shown = redact(command)  # what only words together show to be a secret
    if len(command) > _ROOM or (shown != command and _words_of(shown) != len(words)):
        return ShellCommand(f"{quote(str(words[0]))} …")
    return ShellCommand(shown)


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
    return ShellCommand(" ".join(quote(redact(one_line(text, longest=300))) for text in texts))


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
        if not isinstance(command, ShellCommand):
            raise TypeError(f"{command!r} is no ShellCommand")
        if len(operator.join([*shown, command])) > _ROOM:
            break
        shown.append(command)
    return ShellCommand(operator.join(shown))


def fill(template: str, names: Mapping[str, object]) -> str:
    """A sentence's template with names put in; those inside of backquotes, where commands stand, are quoted.

    A template has ``{name}`` for a name and ``{{`` for a brace, and nothing else of format strings: what an operator, a
    tenant or a server wrote is put in afterwards, as it is, and belongs into the names and never into a template.

    Args:
        template: only ever a constant of this suite.
        names: the values, which are never formatted themselves.

    Raises:
        ValueError: a template has a conversion or a format specification, or a name that there is not.
    """
    return "`".join(
        "".join(_pieces(part, names, inside=bool(place % 2))) for place, part in enumerate(template.split("`"))
    )


def _pieces(template: str, names: Mapping[str, object], *, inside: bool) -> Iterator[str]:
    for literal, name, specification, conversion in Formatter().parse(template):
        yield literal
        if name is None:
            continue
        if specification or conversion or name not in names:
            raise ValueError(f"found {{{name[:40]}}} with a specification or without a value, expected a name alone")
        yield _value(names[name], inside=inside)


def _value(value: object, *, inside: bool) -> str:
    if isinstance(value, ShellCommand):
        return value
    text = one_line(str(value), longest=600)
    return quote(text) if inside else text.replace("`", "'")

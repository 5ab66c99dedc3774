"""Read Go templates as Helm has them, far enough to know which values they read, and in which form.

`parse` gives a template's tree; `Reader` follows the values through it: through ``with`` and ``range``, variables,
``include`` with any context, ``index``, ``dig``, ``hasKey`` and dictionaries built on the way. Nothing is rendered
here: both branches of an ``if`` are read. The language: https://pkg.go.dev/text/template and Helm's function list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

KeyPath = tuple[str, ...]
ELEMENT = "*"
"""The step from a list or a table of free names to what stands in it."""
MOST_NODES = 200_000
"""Nodes that are visited in one chart: templates that include each other could go on for ever."""
_DEEPEST = 60  # templates that include each other


class NotATemplateError(ValueError):
    """A text that Helm can't parse as a template.

    Attributes:
        line: from 1.
        reason: what is wrong with it.
    """

    def __init__(self, line: int, reason: str) -> None:
        self.line, self.reason = line, reason
        super().__init__(f"line {line}: {reason}")


# ---- the tree -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal:
    """A text or a number; `kind` is ``text``, ``number``, ``switch`` or ``nil``."""

    value: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Chain:
    """Fields of the dot, of a variable or of a pipeline in brackets: ``.a.b``, ``$x.a``, ``(index . 0).a``."""

    base: str | Pipeline
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A function's name."""

    name: str


Operand = Literal | Chain | Function


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by ``|``; `names` are the variables that take the result."""

    commands: tuple[tuple[Operand, ...], ...] = ()
    names: tuple[str, ...] = ()
    line: int = 1


@dataclass(frozen=True, slots=True)
class Action:
    """``{{ pipeline }}``."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """``if``, ``with`` or ``range``."""

    kind: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """``{{ template "name" pipeline }}``."""

    name: str
    pipeline: Pipeline | None


Node = Action | Branch | Call


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text: what it does itself, and the templates that it defines."""

    body: tuple[Node, ...]
    defined: Mapping[str, tuple[Node, ...]]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    spaced: bool  # whether white space stands before it
    line: int


_LEXEME = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`|'(?:\\.|[^'\\\n])+')"""
    r"|(?P<number>[+-]?\.?\d[\w.]*(?:[eE][+-]\d+)?)"
    r"|(?P<assign>:=|=)|(?P<mark>[(),|])|(?P<variable>\$\w*)|(?P<field>\.[^\W\d]\w*)|(?P<dot>\.)|(?P<word>[^\W\d]\w*)"
)
_END = re.compile(r"\s-\}\}|\}\}|^-\}\}")
_COMMENT = re.compile(r"\{\{(?:-\s)?\s*/\*.*?\*/\s*(?:\s-)?\}\}", re.DOTALL)


def parse(text: str) -> Template:
    """The tree of a template.

    Raises:
        NotATemplateError: Helm would refuse it, too.
    """
    return _Parser(text).template()


def _actions(text: str) -> Iterable[list[_Token]]:
    """The tokens of each action."""
    position = counted = 0
    line = 1
    while (start := text.find("{{", position)) >= 0:
        if comment := _COMMENT.match(text, start):
            position = comment.end()
            continue
        line += text.count("\n", counted, start)
        position, counted = start + 2, start
        if text.startswith("-", position) and text[position + 1 : position + 2].isspace():
            position += 1
        tokens: list[_Token] = []
        while True:
            after_space = position
            while position < len(text) and text[position].isspace():
                position += 1
            ending = _END.match(text, max(after_space, position - 1)) or _END.match(text, position)
            if ending and ending.end() > position:
                position = ending.end()
                break
            lexeme = _LEXEME.match(text, position)
            if lexeme is None:
                raise NotATemplateError(
                    line, "an action that does not end" if position >= len(text) else "an unexpected character"
                )
            spaced = position > after_space or not tokens
            tokens.append(_Token(str(lexeme.lastgroup), lexeme[0], spaced, text.count("\n", 0, position) + 1))
            position = lexeme.end()
        yield tokens or [_Token("word", "", spaced=True, line=line)]


class _Parser:
    """Recursive descent over the actions of one text."""

    def __init__(self, text: str) -> None:
        self._actions = list(_actions(text))
        self._next = 0
        self._defined: dict[str, tuple[Node, ...]] = {}

    def template(self) -> Template:
        body, ending = self._nodes()
        if ending is not None:
            raise NotATemplateError(ending[0].line, f"an {ending[0].text} that ends nothing")
        return Template(body, self._defined)

    def _nodes(self) -> tuple[tuple[Node, ...], list[_Token] | None]:
        """Nodes up to an ``end`` or ``else``, which is handed back; or up to the text's end."""
        nodes: list[Node] = []
        while self._next < len(self._actions):
            tokens = self._actions[self._next]
            self._next += 1
            first = tokens[0]
            word = first.text if first.kind == "word" else ""
            if word in {"end", "else"}:
                return tuple(nodes), tokens
            if word in {"if", "with", "range"}:
                nodes.append(self._branch(word, tokens[1:], first.line))
            elif word in {"define", "block"}:
                body, ending = self._nodes()
                self._ended(ending, first.line)
                name = _text(tokens[1]) if len(tokens) > 1 else ""
                self._defined[name] = body
                if word == "block":
                    nodes.append(Call(name, _pipeline(tokens[2:], first.line)))
            elif word == "template":
                name = _text(tokens[1]) if len(tokens) > 1 else ""
                nodes.append(Call(name, _pipeline(tokens[2:], first.line) if tokens[2:] else None))
            elif word not in {"break", "continue"} and first.text:
                nodes.append(Action(_pipeline(tokens, first.line)))
        return tuple(nodes), None

    def _branch(self, kind: str, tokens: list[_Token], line: int) -> Branch:
        pipeline = _pipeline(tokens, line)
        body, ending = self._nodes()
        otherwise: tuple[Node, ...] = ()
        if ending is not None and ending[0].text == "else":
            if len(ending) > 1 and ending[1].text in {"if", "with", "range"}:
                # «else if» shares the end of the branch that it stands in.
                return Branch(kind, pipeline, body, (self._branch(ending[1].text, ending[2:], ending[1].line),))
            otherwise, ending = self._nodes()
        self._ended(ending, line)
        return Branch(kind, pipeline, body, otherwise)

    @staticmethod
    def _ended(ending: list[_Token] | None, line: int) -> None:
        if ending is None or ending[0].text != "end":
            raise NotATemplateError(line, "a block without its end")


def _text(token: _Token) -> str:
    text = token.text[1:-1]
    return text if token.text.startswith("`") else re.sub(r"\\(.)", r"\1", text)


def _pipeline(tokens: list[_Token], line: int) -> Pipeline:
    pipeline, rest = _read_pipeline(tokens, line)
    if rest:
        raise NotATemplateError(rest[0].line, f"an unexpected {rest[0].text}")
    return pipeline


def _read_pipeline(tokens: list[_Token], line: int) -> tuple[Pipeline, list[_Token]]:
    """A pipeline, and what stands behind it: a bracket that closes."""
    names: list[str] = []
    at = next((number for number, token in enumerate(tokens[:4]) if token.kind == "assign"), None)
    if at is not None and all(token.kind == "variable" or token.text == "," for token in tokens[:at]):
        names = [token.text for token in tokens[:at] if token.kind == "variable"]
        tokens = tokens[at + 1 :]
    commands: list[tuple[Operand, ...]] = []
    command: list[Operand] = []
    while tokens and tokens[0].text != ")":
        token, tokens = tokens[0], tokens[1:]
        if token.text == "|" and token.kind == "mark":
            commands.append(tuple(command))
            command = []
        elif token.kind == "mark" and token.text == "(":
            inner, tokens = _read_pipeline(tokens, token.line)
            if not tokens:
                raise NotATemplateError(token.line, "a bracket that does not close")
            fields, tokens = _fields(tokens[1:])
            command.append(Chain(inner, fields))
        elif token.kind == "field" and not token.spaced and command:
            raise NotATemplateError(token.line, f"an unexpected {token.text}")
        elif token.kind in {"field", "variable", "dot"}:
            fields, tokens = _fields(tokens)
            first = (token.text[1:],) if token.kind == "field" else ()
            command.append(Chain(token.text if token.kind == "variable" else ".", (*first, *fields)))
        else:
            command.append(_plain(token))
    commands.append(tuple(command))
    return Pipeline(tuple(commands), tuple(names), line), tokens


def _fields(tokens: list[_Token]) -> tuple[tuple[str, ...], list[_Token]]:
    fields: list[str] = []
    while tokens and tokens[0].kind == "field" and not tokens[0].spaced:
        fields.append(tokens[0].text[1:])
        tokens = tokens[1:]
    return tuple(fields), tokens


def _plain(token: _Token) -> Operand:
    if token.kind == "string":
        return Literal(_text(token))
    if token.kind == "number":
        return Literal(token.text, "number")
    if token.kind == "word":
        if token.text in {"true", "false"}:
            return Literal(token.text, "switch")
        return Literal("", "nil") if token.text == "nil" else Function(token.text)
    raise NotATemplateError(token.line, f"an unexpected {token.text}")


# ---- following values -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a value while templates run.

    Attributes:
        paths: where in ``.Values`` it may come from.
        root: whether it may be the whole context, with ``.Values``, ``.Release`` and so on.
        entries: what a dictionary holds that the template builds; a list's elements stand under ``*``.
        literal: a text or number that is written in the template.
    """

    paths: frozenset[KeyPath] = frozenset()
    root: bool = False
    entries: tuple[tuple[str, Value], ...] = ()
    literal: Literal | None = None

    def get(self, name: str) -> Value:
        """The field or element of a name."""
        values = [value for key, value in self.entries if key in {name, ELEMENT}]
        if self.root and name == "Values":
            values.append(Value(frozenset({()})))
        inner = union(values)
        return Value(inner.paths | {(*path, name) for path in self.paths}, inner.root, inner.entries, inner.literal)

    def inside(self) -> Value:
        """Whatever stands in it, under any name."""
        inner = union([value for _, value in self.entries])
        return Value(inner.paths | {(*path, ELEMENT) for path in self.paths}, inner.root, inner.entries, inner.literal)


NOTHING = Value()
ROOT = Value(root=True)


def union(values: Iterable[Value]) -> Value:
    """A value that may be any of these."""
    known = [value for value in values if value != NOTHING]
    if len(known) <= 1:
        return known[0] if known else NOTHING
    literals = {value.literal for value in known}
    return Value(
        frozenset(path for value in known for path in value.paths),
        any(value.root for value in known),
        tuple(dict.fromkeys(entry for value in known for entry in value.entries)),
        literals.pop() if len(literals) == 1 else None,
    )


WHOLE = frozenset(
    "toYaml toYamlPretty mustToYaml toJson mustToJson toRawJson mustToRawJson toPrettyJson mustToPrettyJson toToml "
    "omit values deepEqual".split()
)
"""Functions that take everything that stands in a value."""
_NUMERIC = frozenset("int int64 float64 add add1 add1f addf sub subf mul mulf div divf mod max min maxf minf".split())
_NUMERIC_TOO = frozenset("until untilStep round floor ceil toDecimal atoi".split())
_JUDGING = frozenset(
    "eq ne lt le gt ge not empty kindIs typeIs typeIsLike kindOf typeOf hasPrefix hasSuffix contains regexMatch "
    "mustRegexMatch has mustHas len fail any all semverCompare".split()
)
_SCALAR = frozenset(
    "quote squote trunc trim trimAll trimSuffix trimPrefix upper lower title replace b64enc b64dec print printf "
    "println indent nindent join splitList split toString cat abbrev substr repeat nospace urlquery "
    "regexReplaceAll regexReplaceAllLiteral regexFind snakecase kebabcase camelcase".split()
)
_HASHES = frozenset("sha1sum sha256sum sha512sum adler32sum".split())
_ELEMENTS = frozenset("first mustFirst last mustLast".split())


class Reader:
    """Which values a set of templates reads.

    Attributes:
        marks: the paths that are read, each with how: ``read``, and ``whole`` where everything below it counts,
            ``keys`` where it is walked with its names, ``list`` where it is walked, ``text``, ``number``, ``switch``
            by what is made of it, ``template`` where it is a template itself.
        libraries: the templates that can be included, by name.
    """

    def __init__(self, libraries: Mapping[str, tuple[Node, ...]] | None = None) -> None:
        self.marks: dict[KeyPath, set[str]] = {}
        self.libraries = dict(libraries or {})
        self._entered: set[tuple[str, Value]] = set()
        self._visited = 0
        self._muted = 0  # within a checksum: all of it counts, and nothing of it has a meaning
        self._depth = 0

    def read(self, template: Template, dot: Value = ROOT) -> None:
        """Follow one template, with what it is given as its dot."""
        self.libraries |= template.defined
        self._nodes(template.body, dot, {"$": dot})

    def _mark(self, value: Value, *how: str) -> None:
        if self._muted:
            return
        for path in value.paths:
            if path or "whole" in how:
                self.marks.setdefault(path, set()).update({"read", *how})
        if "whole" in how:
            for _, entry in value.entries:
                if entry.paths:
                    self._mark(entry, "whole")
            if value.root:  # a context that is printed whole has the values in it
                self.marks.setdefault((), set()).update({"read", "whole"})

    def _nodes(self, nodes: Iterable[Node], dot: Value, variables: dict[str, Value]) -> None:
        for node in nodes:
            self._visited += 1
            if self._visited > MOST_NODES:
                return
            if isinstance(node, Action):
                value = self._pipeline(node.pipeline, dot, variables)
                if not node.pipeline.names:
                    self._mark(value, "text")
            elif isinstance(node, Branch):
                self._branch(node, dot, variables)
            else:
                given = self._pipeline(node.pipeline, dot, variables) if node.pipeline else NOTHING
                self._include(node.name, given)

    def _branch(self, branch: Branch, dot: Value, variables: dict[str, Value]) -> None:
        inner = dict(variables)
        value = self._pipeline(branch.pipeline, dot, inner)
        within = dot
        if branch.kind == "with":
            within = value
        elif branch.kind == "range":
            within = value.inside()
            names = branch.pipeline.names
            self._mark(value, "keys" if len(names) > 1 else "list")
            if names:
                inner[names[-1]] = within
            if len(names) > 1:
                inner[names[0]] = NOTHING
        self._nodes(branch.body, within, inner)
        self._nodes(branch.otherwise, dot, dict(variables))
        own = branch.pipeline.names
        variables |= {  # what «=» gave to a variable of outside stays
            name: union([value, inner[name]]) for name, value in variables.items() if name not in own
        }

    def _include(self, name: str, dot: Value) -> None:
        body = self.libraries.get(name)
        if body is None or (name, dot) in self._entered or self._depth >= _DEEPEST:
            return
        self._entered.add((name, dot))
        self._depth += 1
        self._nodes(body, dot, {"$": dot})
        self._depth -= 1

    def _pipeline(self, pipeline: Pipeline, dot: Value, variables: dict[str, Value]) -> Value:
        value: Value | None = None
        hashed = any(
            isinstance(operand, Function) and operand.name in _HASHES
            for (operand, *_) in filter(None, pipeline.commands)
        )
        self._muted += hashed
        for command in pipeline.commands:
            value = self._command(command, dot, variables, value)
        self._muted -= hashed
        result = value or NOTHING
        for name in pipeline.names:
            variables[name] = union([variables[name], result]) if name in variables else result
        return result

    def _command(
        self, command: tuple[Operand, ...], dot: Value, variables: dict[str, Value], piped: Value | None
    ) -> Value:
        if not command:
            return piped or NOTHING
        first, *others = command
        if isinstance(first, Function):
            arguments = [self._operand(operand, dot, variables) for operand in others]
            return self._call(first.name, [*arguments, *([] if piped is None else [piped])])
        value = self._operand(first, dot, variables)
        for operand in others:  # a method's arguments, such as those of .Capabilities.APIVersions.Has
            self._operand(operand, dot, variables)
        return value

    def _operand(self, operand: Operand, dot: Value, variables: dict[str, Value]) -> Value:
        if isinstance(operand, Literal):
            return Value(literal=operand)
        if isinstance(operand, Function):
            return self._call(operand.name, [])
        if isinstance(operand.base, Pipeline):
            value = self._pipeline(operand.base, dot, dict(variables))
        else:
            value = dot if operand.base == "." else variables.get(operand.base, NOTHING)
        for name in operand.fields:
            value = value.get(name)
        self._mark(value)
        return value

    def _call(self, name: str, arguments: list[Value]) -> Value:
        special = getattr(self, f"_call_{name}", None)
        if special is not None and arguments:
            result: Value = special(arguments)
            return result
        everything = union(arguments)
        if name in WHOLE:
            self._mark(everything, "whole")
            return everything
        if name in _JUDGING:
            self._mark(everything)
            return NOTHING
        if name in _NUMERIC or name in _NUMERIC_TOO:
            self._mark(everything, "number")
            return NOTHING
        if name in _SCALAR:
            self._mark(everything, "text")
            return Value(everything.paths)
        if name in _ELEMENTS:
            self._mark(everything, "list")
            return everything.inside()
        self._mark(everything)
        return Value(everything.paths, everything.root, everything.entries)

    # ---- functions that look into what they are given ----

    def _call_include(self, arguments: list[Value]) -> Value:
        if arguments[0].literal is not None and len(arguments) > 1:
            self._include(arguments[0].literal.value, arguments[1])
        return NOTHING

    def _call_tpl(self, arguments: list[Value]) -> Value:
        self._mark(arguments[0], "template")
        return Value(arguments[0].paths)

    def _call_dict(self, arguments: list[Value]) -> Value:
        pairs = zip(arguments[::2], arguments[1::2], strict=False)
        return Value(entries=tuple((key.literal.value if key.literal else ELEMENT, value) for key, value in pairs))

    def _call_list(self, arguments: list[Value]) -> Value:
        return Value(entries=tuple((ELEMENT, value) for value in arguments))

    _call_tuple = _call_list

    def _call_set(self, arguments: list[Value]) -> Value:
        if len(arguments) == 3:  # noqa: PLR2004 - set DICT KEY VALUE
            return union([arguments[0], self._call_dict(arguments[1:])])
        return arguments[0]

    def _step(self, value: Value, key: Value) -> Value:
        if key.literal is None:
            self._mark(value, "keys")
            return value.inside()
        inner = value.inside() if key.literal.kind == "number" else value.get(key.literal.value)
        self._mark(inner)
        return inner

    def _call_index(self, arguments: list[Value]) -> Value:
        value, *keys = arguments
        for key in keys:
            value = self._step(value, key)
        return value

    def _call_get(self, arguments: list[Value]) -> Value:
        return self._call_index(arguments[:2])

    def _call_hasKey(self, arguments: list[Value]) -> Value:  # noqa: N802 - Helm's name
        self._call_index(arguments[:2])
        return NOTHING

    def _call_dig(self, arguments: list[Value]) -> Value:
        *keys, fallback, value = arguments if len(arguments) > 1 else [NOTHING, *arguments]
        return union([fallback, self._call_index([value, *keys])])

    def _call_pluck(self, arguments: list[Value]) -> Value:
        key, *tables = arguments
        return self._call_list([self._step(table, key) for table in tables])

    def _call_pick(self, arguments: list[Value]) -> Value:
        value, *keys = arguments
        picked = [(key.literal.value, self._step(value, key)) for key in keys if key.literal is not None]
        return Value(entries=tuple(picked))

    def _call_keys(self, arguments: list[Value]) -> Value:
        self._mark(union(arguments), "keys")
        return NOTHING

    def _call_default(self, arguments: list[Value]) -> Value:
        fallback, *values = arguments
        if fallback.literal is not None and fallback.literal.kind != "nil":
            self._mark(union(values), fallback.literal.kind)
        return union([fallback, *values])

    def _call_ternary(self, arguments: list[Value]) -> Value:
        self._mark(union(arguments[2:]), "switch")
        return union(arguments[:2])

    def _call_lookup(self, arguments: list[Value]) -> Value:
        self._mark(union(arguments), "text")
        return NOTHING

    def _call_required(self, arguments: list[Value]) -> Value:
        return union(arguments[1:])


def values_read(text: str, libraries: Mapping[str, tuple[Node, ...]] | None = None) -> frozenset[KeyPath]:
    """The paths below ``.Values`` that a template of the operator's own reads.

    Raises:
        NotATemplateError: Helm would refuse it.
    """
    reader = Reader(libraries)
    reader.read(parse(text))
    return frozenset(reader.marks)

"""A text with Helm's template expressions, as far as it can be read without Helm.

Lookups, comments, conditions and a few functions whose result is certain are evaluated. What any other expression
becomes only Helm can tell: it is listed as `Unread`, and a word stands for it, so that the rest can be read. Nothing
is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preflight.gotemplate import Chain, Literal, NotATemplateError, Operand, Pipeline, parse

PLACEHOLDER = "preflight-unread-{}"
"""What stands for an expression that only Helm can tell, with its number."""
_COMMENT_BEGINS = re.compile(r"\{\{(?:-(?=\s))?\s{0,99}/\*")
_COMMENT_ENDS = re.compile(r"\*/\s{0,99}(?:(?<=\s)-)?\}\}")
_STRING = re.compile(r'"(?:\\.|[^"\\\n]){0,2000}+"|`[^`]{0,20000}+`')
_BLOCKS = ("if", "with", "range", "define", "block")
_ROOTS = frozenset({"Values", "Release", "Chart", "Capabilities", "Files", "Template", "Subcharts"})
_KEY = re.compile(r"^\s*(?P<name>[\w.\"'-]+)\s*=")
_HEADER = re.compile(r"^\s*\[")
_EXACT = 1_000_000  # a number of YAML's is a float for Helm, and printed with an exponent from here on
_MOST_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What expressions look up; `values` are the merged ones, the chart's defaults included."""

    values: Mapping[str, Any] = field(repr=False)
    release: str = ""
    namespace: str = ""
    chart: str = ""
    app_version: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """An expression that only Helm can tell.

    Attributes:
        expression: as it is written.
        line: in the text, from 1.
        read_line: in what was read of it; several lines where a condition is unknown, up to `read_until`.
        bare: whether it stands outside of quotes, and may become another type than text.
        anything: whether keys and tables may come of it.
    """

    expression: str
    line: int
    read_line: int
    read_until: int
    bare: bool = True
    anything: bool = False


@dataclass(frozen=True, slots=True)
class ReadText:
    """What was read.

    Attributes:
        text: the text, with the placeholder for what is unread.
        lines: for each of its lines, the line of the original that it comes from, both from 1.
        unread: what only Helm can tell.
        error: why Helm refuses the text, or "".
    """

    text: str
    lines: tuple[int, ...] = ()
    unread: tuple[Unread, ...] = ()
    error: str = ""


class _Unknown(Exception):
    """The value of an expression is not known here."""


def read(text: str, scope: Scope) -> ReadText:
    """Evaluate what can be evaluated."""
    if "{{" not in text:
        return ReadText(text, tuple(range(1, text.count("\n") + 2)))
    try:
        writer = _Writer(scope)
        writer.write(_parsed(text), {})
        return writer.result()
    except NotATemplateError as error:
        refused = error
    except RecursionError:
        refused = NotATemplateError(1, "more levels than anybody writes")
    where = Unread(refused.reason, refused.line, 1, text.count("\n") + 1, anything=True)
    return ReadText(text, tuple(range(1, text.count("\n") + 2)), (where,), error=str(refused))


# ---- the parts of a text --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Piece:
    """Plain text, an expression, or a block with its branches (a condition each, None for ``else``)."""

    kind: str  # text, expression, block
    text: str
    line: int
    branches: list[tuple[str | None, list[_Piece]]] = field(default_factory=list)
    written: str = ""


def _pieces(text: str) -> Iterator[_Piece]:
    position, trim = 0, False
    while (start := text.find("{{", position)) >= 0:
        comment = _COMMENT_BEGINS.match(text, start)
        end = _end_of_comment(text, start, comment.end()) if comment else _end(text, start)
        action = text[start:end]
        before, after = action[2:3] == "-" and action[3:4].isspace(), action[-3:-2] == "-" and action[-4:-3].isspace()
        yield from _plain_piece(text, position, start, trim_left=trim, trim_right=before)
        if not comment:
            body = action[3 if before else 2 : -3 if after else -2].strip()
            yield _Piece("expression", body, text.count("\n", 0, start) + 1, written=action)
        position, trim = end, after
    yield from _plain_piece(text, position, len(text), trim_left=trim, trim_right=False)


def _end(text: str, start: int) -> int:
    """Where the action ends that begins there; braces in its strings do not end it."""
    position = start + 2
    while position < len(text):
        if text.startswith("}}", position):
            return position + 2
        string = _STRING.match(text, position) if text[position] in '"`' else None
        position = string.end() if string else position + 1
    raise NotATemplateError(text.count("\n", 0, start) + 1, "an action that does not end")


def _end_of_comment(text: str, start: int, inside: int) -> int:
    """Where the comment ends that begins there; as for Helm, its first ``*/`` closes the action, too."""
    closing = text.find("*/", inside)
    ending = _COMMENT_ENDS.match(text, closing) if closing >= 0 else None
    if ending is None:
        raise NotATemplateError(text.count("\n", 0, start) + 1, "a comment that does not end")
    return ending.end()


def _plain_piece(text: str, start: int, end: int, *, trim_left: bool, trim_right: bool) -> Iterator[_Piece]:
    plain = text[start:end]
    if trim_left:
        stripped = plain.lstrip()
        start += len(plain) - len(stripped)
        plain = stripped
    if trim_right:
        plain = plain.rstrip()
    if plain:
        yield _Piece("text", plain, text.count("\n", 0, start) + 1)


def _parsed(text: str) -> list[_Piece]:
    top: list[_Piece] = []
    here = top
    open_blocks: list[tuple[_Piece, list[_Piece]]] = []
    for piece in _pieces(text):
        word, _, rest = piece.text.partition(" ") if piece.kind == "expression" else ("", "", "")
        if word in _BLOCKS:
            block = _Piece("block", word, piece.line, written=piece.written)
            block.branches.append((rest.strip(), []))
            here.append(block)
            open_blocks.append((block, here))
            here = block.branches[-1][1]
        elif word == "else" and open_blocks:
            condition = rest.strip().partition(" ")[2] if rest.strip() else None
            open_blocks[-1][0].branches.append((condition, []))
            here = open_blocks[-1][0].branches[-1][1]
        elif word in {"end", "else"}:
            if not open_blocks or word == "else":
                raise NotATemplateError(piece.line, f"an {word} that ends nothing")
            here = open_blocks.pop()[1]
        else:
            if piece.kind == "expression":
                _pipeline(piece.text, piece.line)
            here.append(piece)
    if open_blocks:
        raise NotATemplateError(open_blocks[-1][0].line, "a block without its end")
    return top


def _pipeline(body: str, line: int) -> Pipeline | None:
    """The pipeline of an expression; None where it is another action, such as ``template``."""
    try:
        nodes = parse(f"{{{{ {body} }}}}").body
    except NotATemplateError as error:
        raise NotATemplateError(line, error.reason) from None
    return getattr(nodes[0], "pipeline", None) if nodes and type(nodes[0]).__name__ == "Action" else None


# ---- writing --------------------------------------------------------------------------------------------------------

Names = dict[str, Any]


class _Writer:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._text = ""
        self._lines: list[int] = [1]
        self._unread: list[Unread] = []
        self._steps = 0

    def result(self) -> ReadText:
        return ReadText(self._text, tuple(self._lines), tuple(self._unread))

    @property
    def _line(self) -> int:
        return self._text.count("\n") + 1

    def write(self, pieces: Sequence[_Piece], names: Names) -> None:
        for piece in pieces:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                self._unknown(piece, anything=True)
                return
            if piece.kind == "text":
                self._put(piece.text, piece.line)
            elif piece.kind == "block":
                self._block(piece, names)
            else:
                self._expression(piece, names)

    def _put(self, text: str, line: int, *, several: bool = True) -> None:
        """Add text whose first line comes from a line of the original, and each further one from the next."""
        if self._text.endswith("\n") or not self._text:
            self._lines[-1] = line
        for number, _ in enumerate(text.split("\n")[1:], start=1):
            self._lines.append(line + number if several else line)
        self._text += text

    def _expression(self, piece: _Piece, names: Names) -> None:
        pipeline = _pipeline(piece.text, piece.line)
        if pipeline is None:
            self._unknown(piece)
            return
        try:
            value = self._value(pipeline, names)
            if not pipeline.names:
                self._put(_printed(value), piece.line, several=False)
        except _Unknown:
            value = _Unknown
            if not pipeline.names:
                self._unknown(piece)
        for name in pipeline.names:
            names[name] = value

    def _unknown(self, piece: _Piece, *, anything: bool = False) -> None:
        before = self._text.rpartition("\n")[2]
        state = _state(self._text, before)
        if state == "comment":
            return
        anything = anything or (state == "bare" and not _KEY.match(before))
        if not anything:
            placeholder = PLACEHOLDER.format(len(self._unread))
            self._put(placeholder if state == "quoted" else f'"{placeholder}"', piece.line)
        self._unread.append(
            Unread(piece.written, piece.line, self._line, self._line, bare=state == "bare", anything=anything)
        )

    def _block(self, piece: _Piece, names: Names) -> None:
        write = {"if": self._if, "with": self._with, "range": self._range}.get(piece.text, self._unknown_block)
        try:
            write(piece, names)
        except _Unknown:
            self._unknown_block(piece, names)

    def _if(self, piece: _Piece, names: Names) -> None:
        for condition, body in piece.branches:
            if condition is None or _is_true(self._evaluated(condition, piece.line, names)):
                self.write(body, dict(names))
                return

    def _with(self, piece: _Piece, names: Names) -> None:
        for condition, body in piece.branches:
            value = None if condition is None else self._evaluated(condition, piece.line, names)
            if condition is None or _is_true(value):
                self.write(body, {**names, ".": value} if condition is not None else dict(names))
                return

    def _range(self, piece: _Piece, names: Names) -> None:
        condition, body = piece.branches[0]
        pipeline = _pipeline(condition or "", piece.line)
        if pipeline is None:
            raise _Unknown
        listed = self._value(pipeline, names)
        if isinstance(listed, Mapping):
            pairs: list[tuple[Any, Any]] = sorted(listed.items())
        elif isinstance(listed, list):
            pairs = list(enumerate(listed))
        elif not _is_true(listed):
            pairs = []
        else:
            raise _Unknown
        for key, value in pairs:
            taken = dict(zip(pipeline.names, (key, value) if len(pipeline.names) > 1 else (value,), strict=False))
            self.write(body, {**names, ".": value, **taken})
        if not pairs and len(piece.branches) > 1:
            self.write(piece.branches[1][1], dict(names))

    def _evaluated(self, condition: str, line: int, names: Names) -> Any:
        pipeline = _pipeline(condition, line)
        if pipeline is None:
            raise _Unknown
        value = self._value(pipeline, names)
        for name in pipeline.names:
            names[name] = value
        return value

    def _unknown_block(self, piece: _Piece, names: Names) -> None:
        """A block of which only Helm can tell whether, or how often, it is there: its keys are unread."""
        begin, kept = self._line, len(self._unread)
        known: set[str] = set()
        anything = piece.text not in {"if", "with"}
        for _, body in piece.branches:
            branch = _Writer(self._scope)
            branch.write(body, dict(names))
            lines = branch.result().text.splitlines()
            anything = (
                anything
                or any(_HEADER.match(line) for line in lines)
                or any(unread.anything for unread in branch.result().unread)
            )
            for line in lines:
                key = _KEY.match(line)
                if key and key["name"] not in known:
                    known.add(key["name"])
                    if not self._text.endswith("\n"):
                        self._put("\n", piece.line)
                    self._put(f'{key["name"]} = "{PLACEHOLDER.format(kept)}"\n', piece.line, several=False)
                elif line.strip() and not key and not line.lstrip().startswith("#"):
                    anything = True
        self._unread.append(Unread(piece.written, piece.line, begin, self._line, anything=anything))

    # ---- values ----

    def _value(self, pipeline: Pipeline, names: Names) -> Any:
        piped: list[Any] = []
        for command in pipeline.commands:
            piped = [self._command(command, piped, names)]
        return piped[0] if piped else ""

    def _command(self, command: Sequence[Operand], piped: list[Any], names: Names) -> Any:
        if not command:
            raise _Unknown
        first, *others = command
        if isinstance(first, Literal | Chain):
            if others or piped:
                raise _Unknown
            return self._operand(first, names)
        function = _FUNCTIONS.get(first.name)
        if function is None:
            raise _Unknown
        whole = first.name == "index"  # which takes one key, and not all that the chart has besides
        arguments = [*(self._operand(operand, names, whole=whole) for operand in others), *piped]
        try:
            return function(*arguments)
        except (TypeError, ValueError, AttributeError, IndexError, KeyError):
            raise _Unknown from None

    def _operand(self, operand: Operand, names: Names, *, whole: bool = False) -> Any:
        if isinstance(operand, Literal):
            return _literal(operand)
        if not isinstance(operand, Chain):
            return self._command([operand], [], names)
        base, fields = operand.base, list(operand.fields)
        if isinstance(base, Pipeline):
            node = self._value(base, names)
        elif base not in {".", "$"}:
            if base not in names or names[base] is _Unknown:
                raise _Unknown
            node = names[base]
        elif base == "." and "." in names:
            node = names["."]
        else:
            node, fields = self._root(fields, whole=whole)
        for name in fields:
            if node is None:
                return None
            if not isinstance(node, Mapping):
                raise _Unknown
            node = node.get(name)
        return node

    def _root(self, fields: list[str], *, whole: bool) -> tuple[Any, list[str]]:
        scope = self._scope
        known = {
            ("Release", "Name"): scope.release,
            ("Release", "Namespace"): scope.namespace,
            ("Release", "Service"): "Helm",
            ("Chart", "Name"): "gitlab-runner",
            ("Chart", "Version"): scope.chart,
            ("Chart", "AppVersion"): scope.app_version,
        }
        if fields[:1] == ["Values"] and (fields[1:] or whole):
            return scope.values, fields[1:]
        if fields and fields[0] not in _ROOTS:
            return None, []
        properties = known.get((fields[0], fields[1])) if len(fields) > 1 else None
        if not properties:
            raise _Unknown
        return properties, fields[2:]


def _state(text: str, line: str) -> str:
    """Where a text ends: within a ``comment``, ``quoted``, or ``bare``."""
    if text.count('"""') % 2 or text.count("'''") % 2:
        return "quoted"
    quote = ""
    escaped = False
    for character in line:
        if escaped:
            escaped = False
        elif quote:
            escaped = character == "\\" and quote == '"'
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "#":
            return "comment"
    return "quoted" if quote else "bare"


def _literal(literal: Literal) -> Any:
    if literal.kind == "number":
        return int(literal.value) if re.fullmatch(r"-?\d+", literal.value) else float(literal.value)
    return {"switch": literal.value == "true", "nil": None}.get(literal.kind, literal.value)


def _is_true(value: Any) -> bool:
    return value not in (None, False, 0, "") and not (isinstance(value, Mapping | list) and not value)


def _printed(value: Any) -> str:
    """A value as Go prints it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if isinstance(value, int) and abs(value) < _EXACT:
        return str(value)
    raise _Unknown


def _quoted(value: Any = None) -> str:
    return "" if value is None else json.dumps(_printed(value), ensure_ascii=False)


def _plain_json(value: Any) -> str:
    _require_exact(value)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    if re.search(r"[<>&\u2028\u2029]", text):  # which Go escapes
        raise ValueError
    return text


def _require_exact(value: Any) -> None:
    """Refuse numbers that Go may print otherwise."""
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        _require_exact(inner)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= _EXACT):
        raise ValueError


def _compared(check: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    def compare(left: Any, *right: Any) -> bool:
        if any(type(left) is not type(other) for other in right):
            raise ValueError
        return any(check(left, other) for other in right)

    return compare


def _any_of(*values: Any) -> Any:
    return next((value for value in values[:-1] if _is_true(value)), values[-1])


def _all_of(*values: Any) -> Any:
    return next((value for value in values[:-1] if not _is_true(value)), values[-1])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _index(node: Any, *keys: Any) -> Any:
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else node[key]
    return node


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "default": lambda fallback, value=None: value if _is_true(value) else fallback,
    "coalesce": lambda *values: next((value for value in values if _is_true(value)), None),
    "ternary": lambda yes, no, condition: {True: yes, False: no}[condition],
    "required": lambda _, value: value if value not in (None, "") else _text(None),
    "quote": _quoted,
    "squote": lambda value: f"'{_printed(value)}'",
    "toJson": _plain_json,
    "toString": _printed,
    "not": lambda value: not _is_true(value),
    "empty": lambda value: not _is_true(value),
    "and": _all_of,
    "or": _any_of,
    "eq": _compared(lambda left, right: left == right),
    "ne": lambda left, right: not _compared(lambda first, other: first == other)(left, right),
    "hasKey": lambda table, key: key in table,
    "index": _index,
    "upper": lambda value: _text(value).upper(),
    "lower": lambda value: _text(value).lower(),
    "trim": lambda value: _text(value).strip(),
    "trimSuffix": lambda suffix, value: _text(value).removesuffix(suffix),
    "trimPrefix": lambda prefix, value: _text(value).removeprefix(prefix),
    "replace": lambda old, new, value: _text(value).replace(old, new),
    "join": lambda separator, values: separator.join(map(_printed, values)),
    "list": lambda *values: list(values),
    "trunc": lambda length, value: _text(value)[:length] if length >= 0 else _text(value)[length:],
}

"""Type declarations of a Go package, read without a Go toolchain.

Only what a configuration needs is understood: structs with their tags, named types, aliases, constants of text, and
which methods a type has. Bodies of functions are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r]+ | //[^\n]* | /\*.*?\*/)
  | (?P<newline>\n)
  | (?P<text>`[^`]*` | "(?:\\.|[^"\\\n])*")
  | (?P<rune>'(?:\\.|[^'\\\n])+')
  | (?P<name>[^\W\d]\w*)
  | (?P<number>\d[\w.]*)
  | (?P<sign>\.\.\.|<-|:=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PAIRS = {"(": ")", "{": "}", "[": "]"}
_TAG = re.compile(r'([A-Za-z_]\w*):"((?:\\.|[^"\\])*)"')
_ESCAPE = re.compile(r"\\(.)")


class GoSyntaxError(ValueError):
    """A declaration that this reader does not understand."""


@dataclass(frozen=True, slots=True)
class Named:
    """A type by its name; `package` is the name that the file imports it by, empty for the file's own package."""

    name: str
    package: str = ""


@dataclass(frozen=True, slots=True)
class Pointer:
    """``*T``."""

    to: Type


@dataclass(frozen=True, slots=True)
class Slice:
    """``[]T`` or ``[N]T``."""

    of: Type


@dataclass(frozen=True, slots=True)
class Map:
    """``map[K]V``."""

    key: Type
    value: Type


@dataclass(frozen=True, slots=True)
class Other:
    """A type that no configuration holds: a function, a channel, an interface with methods."""

    kind: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct.

    Attributes:
        name: of the field; of its type where it is embedded.
        tags: by their key, such as ``toml``.
    """

    name: str
    type: Type
    tags: Mapping[str, str] = field(default_factory=dict)
    embedded: bool = False

    @property
    def exported(self) -> bool:
        """Whether another package may write it."""
        return self.name[:1].isupper()


@dataclass(frozen=True, slots=True)
class Struct:
    """``struct { … }``."""

    fields: tuple[Field, ...]


Type = Named | Pointer | Slice | Map | Struct | Other
ANYTHING = Named("any")


@dataclass(frozen=True, slots=True)
class Declaration:
    """A named type.

    Attributes:
        imports: paths by the names that its file imports them by.
        alias: whether it is another name for the same type, methods included.
    """

    name: str
    type: Type
    imports: Mapping[str, str]
    alias: bool = False


@dataclass(slots=True)
class Package:
    """What the files of a package declare.

    Attributes:
        constants: constants of text, each with the type it is declared with, or an empty one.
        methods: names of methods by their receiver's type.
    """

    types: dict[str, Declaration] = field(default_factory=dict)
    constants: dict[str, tuple[str, str]] = field(default_factory=dict)
    methods: dict[str, set[str]] = field(default_factory=dict)


def read_package(sources: Iterable[str]) -> Package:
    """The declarations of a package's files.

    Raises:
        GoSyntaxError: a type is declared in a way that is not understood.
    """
    package = Package()
    for source in sources:
        _File(source, package).read()
    return package


def unquoted(literal: str) -> str:
    """The text of a Go literal."""
    if literal.startswith("`"):
        return literal[1:-1]
    return _ESCAPE.sub(lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), literal[1:-1])


def struct_tags(literal: str) -> dict[str, str]:
    """The tags of a field by their key."""
    return {key: _ESCAPE.sub(r"\1", value) for key, value in _TAG.findall(unquoted(literal))}


class _File:
    """One file's tokens, and where the reading stands."""

    def __init__(self, source: str, package: Package) -> None:
        self._tokens = [
            (match.lastgroup or "", match[0]) for match in _TOKEN.finditer(source) if match.lastgroup != "space"
        ]
        self._at = 0
        self._package = package
        self._imports: dict[str, str] = {}

    def read(self) -> None:
        while self._at < len(self._tokens):
            kind, word = self._tokens[self._at]
            self._at += 1
            if kind == "name" and word in {"import", "type", "const"}:
                self._group(word)
            elif kind == "name" and word == "func":
                self._function()
            elif word in _PAIRS:
                self._at -= 1
                self._skip()

    # ---- tokens ----

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at][1] if at < len(self._tokens) else ""

    def _kind(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at][0] if at < len(self._tokens) else ""

    def _take(self, *expected: str) -> str:
        word = self._peek()
        if expected and word not in expected:
            around = " ".join(word for _, word in self._tokens[max(0, self._at - 8) : self._at + 8])
            msg = f"expected {' or '.join(expected)}, found {word!r} in: {around}"
            raise GoSyntaxError(msg)
        self._at += 1
        return word

    def _lines(self) -> None:
        while self._peek() in {"\n", ";"}:
            self._at += 1

    def _skip(self) -> None:
        """Pass a bracket, and all that it encloses."""
        closing = [_PAIRS[self._take()]]
        while closing and self._at < len(self._tokens):
            word = self._take()
            if word in _PAIRS:
                closing.append(_PAIRS[word])
            elif word == closing[-1]:
                closing.pop()

    def _line_end(self) -> None:
        """Pass the rest of a statement."""
        while self._at < len(self._tokens) and self._peek() not in {"\n", ";", ")"}:
            if self._peek() in _PAIRS:
                self._skip()
            else:
                self._at += 1

    # ---- declarations ----

    def _group(self, word: str) -> None:
        read = {"import": self._import, "type": self._type_declaration, "const": self._constant}[word]
        if self._peek() != "(":
            read()
            return
        self._take("(")
        self._lines()
        while self._peek() != ")":
            read()
            self._line_end()
            self._lines()
        self._take(")")

    def _import(self) -> None:
        name = self._take() if self._kind() in {"name", "sign"} else ""
        path = unquoted(self._take())
        default = path.rsplit("/", 1)[-1]
        if re.fullmatch(r"v\d+", default):
            default = path.rsplit("/", 2)[-2]
        self._imports[name or default] = path

    def _constant(self) -> None:
        names = [self._take()]
        while self._peek() == ",":
            self._take()
            names.append(self._take())
        declared = self._take() if self._kind() == "name" else ""
        if self._peek() == "=":
            self._take()
            value = 0
            if self._kind() == "name" and self._peek(1) == "(" and self._peek(3) == ")":  # a conversion: Kind("text")
                declared, value = self._peek(), 2
            if self._kind(value) == "text" and self._peek(value * 2 or 1) in {"\n", ";", ")"} and len(names) == 1:
                self._package.constants[names[0]] = (declared, unquoted(self._peek(value)))
        self._line_end()

    def _function(self) -> None:
        if self._peek() == "(":
            start = self._at
            self._skip()
            receiver = [word for kind, word in self._tokens[start : self._at] if kind == "name"]
            if receiver and self._kind() == "name":
                # with a name before the type, or the type alone
                self._package.methods.setdefault(receiver[1 if len(receiver) > 1 else 0], set()).add(self._take())
        while self._at < len(self._tokens) and self._peek() != "\n":
            if self._peek() in _PAIRS:
                self._skip()
            else:
                self._at += 1

    def _type_declaration(self) -> None:
        name = self._take()
        if self._peek() == "[" and self._kind(1) == "name" and self._peek(2) != "]":
            self._skip()  # parameters of a generic type
        alias = self._peek() == "="
        if alias:
            self._take()
        self._package.types[name] = Declaration(name, self._type(), self._imports, alias)

    # ---- types ----

    def _type(self) -> Type:
        word = self._take()
        match word:
            case "*":
                return Pointer(self._type())
            case "[":
                while self._peek() != "]":
                    self._at += 1
                self._take("]")
                return Slice(self._type())
            case "(":
                inner = self._type()
                self._take(")")
                return inner
            case "map":
                self._take("[")
                key = self._type()
                self._take("]")
                return Map(key, self._type())
            case "struct":
                return self._struct()
            case "interface":
                empty = self._peek(1) == "}"
                self._skip()
                return ANYTHING if empty else Other("interface")
            case "chan" | "<-" | "func":
                return self._channel_or_function(word)
        return self._named(word)

    def _channel_or_function(self, word: str) -> Other:
        if word == "func":
            self._skip()
            if self._peek() == "(":
                self._skip()
            elif self._kind() == "name" or self._peek() in {"*", "["}:
                self._type()
            return Other("func")
        while self._peek() in {"<-", "chan"}:
            self._take()
        self._type()
        return Other("chan")

    def _named(self, word: str) -> Named:
        name = Named(word)
        if self._peek() == ".":
            self._take()
            name = Named(self._take(), word)
        if self._peek() == "[" and self._peek(1) != "]":  # arguments of a generic type
            self._skip()
        return name

    def _struct(self) -> Struct:
        self._take("{")
        self._lines()
        fields: list[Field] = []
        while self._peek() != "}":
            fields += self._fields()
            self._lines()
        self._take("}")
        return Struct(tuple(fields))

    def _fields(self) -> list[Field]:
        """One line of a struct: ``A, B T`tags` ``, or an embedded ``T``, ``*T`` or ``pkg.T``."""
        embedded = self._peek() == "*" or self._peek(1) in {"\n", ";", "}", "."} or self._kind(1) == "text"
        names = [] if embedded else [self._take()]
        while not embedded and self._peek() == ",":
            self._take()
            self._lines()
            names.append(self._take())
        declared = self._type()
        tags = struct_tags(self._take()) if self._kind() == "text" else {}
        if embedded:
            base = declared.to if isinstance(declared, Pointer) else declared
            if not isinstance(base, Named):
                msg = f"an embedded field of no named type: {base}"
                raise GoSyntaxError(msg)
            return [Field(base.name, declared, tags, embedded=True)]
        return [Field(name, declared, tags) for name in names]

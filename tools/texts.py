"""The texts that operators may read, found in the sources: what `preflight/locale/` has to translate.

Sentences stand where they are made, as plain literals and f-strings. This reads them from the syntax trees: a literal
is a text; an f-string, or a sum of strings, is a template with its expressions as named parameters; a condition between
literals is a choice, written ``{does|do}``. `python -m tools.texts` brings the catalogues up to date: new texts are
entered without a translation, and those that stand nowhere any more are dropped.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from preflight import decision, guide, translation
from preflight.decision import Answer
from preflight.impact import Harm
from preflight.inventory import Inventory
from preflight.symptoms import catalogue as symptoms
from preflight.symptoms.answering import State
from preflight.symptoms.catalogue import Kind
from preflight.verdicts import Verdict

ROOT = Path(__file__).parent.parent
LOCALE = ROOT / "preflight" / "locale"

_AREAS: Mapping[str, tuple[str, ...]] = {
    "screen": (
        *("screen", "decision", "coverage", "impact", "verdicts", "results", "judging", "measuring", "survey"),
        *("baseline", "diagnosis", "evidence", "plugin", "progress_line", "replay", "selection", "terminal", "reports"),
        *("other_plugins", "guide", "conclusions/card", "conclusions/text", "conclusions/attribution", "symptoms/*.py"),
        *(
            "conclusions/vantages",
            "conclusions/observations",
            "conclusions/model",
            "waivers",
            "saved",
            "commands/explain",
            "commands/sweep",
        ),
        *("report_form", "check_items", "shutdown", "asserts", "documents", "excerpts", "run", "commands/symptom"),
        *("commands/list", "commands/images", "__main__", "commands/run", "shipped", "commands/schema", "placeholders"),
        "language",
    ),
    "page": ("pages/*",),
    "outputs": ("outputs/*", "commands/report"),
    "options": ("options", "inputs"),
    "conclusions": ("conclusions/*",),
    "inventory": (
        "inventory",
        "inventory_forms",
        "yamlfile",
        "yamltext",
        "clients/kubeconfig",
        "sizes",
        "commands/init",
    ),
    "facts": ("facts/*",),
    "values": (
        *("values", "valuesource", "rendering", "runner_config/*", "gotemplate", "templatetext", "chart*", "executor"),
        *(
            "jobpod",
            "jobsettings",
            "set_options",
            "jobshape",
            "podpatch",
            "commands/lint",
            "probes/lint/*",
            "quantities",
            "releasenames",
        ),
    ),
    "clients": ("clients/*",),
    "probes": ("probes/*", "*"),
}
"""Catalogues of the sources' texts, and the modules that each is of; the first that names a module has it."""

_LABELS = (
    *"check cause where evidence remedy section likely explains but and healthy why fix symptom symptoms line".split(),
    *"source general fault stage echo new fixed changed unchanged failed passed".split(),
    *("told by", "look at", "not judged", "root cause new", "root cause fixed", "root cause changed"),
    *("root cause unchanged", "root cause not judged"),
)
"""Words beside which lines stand, and of which lines are composed."""

_NO_TEXTS = (
    "secret_shapes",
    "redaction",
    "faults",
    "renamed",
    "probes/shell",
    "runner_config/keys",
    "symptoms/stages",
    "symptoms/catalogue",
    "symptoms/grammar",
    "translation",
)
"""Modules whose literals reach nobody: shapes of secrets, and shell scripts."""

_SILENT = frozenset(
    "compile match search fullmatch sub split startswith endswith removeprefix removesuffix partition rpartition index "
    "find count program syntax pipe field getattr hasattr setattr cause fact getoption addini get pop TypeVar "
    "cast strftime strptime debug StashKey environ FactError".split()
)
"""Functions whose literal arguments reach nobody."""

_WORDS = re.compile(r"(?<![\w./:$<-])[A-Za-z][a-z']+(?:-[a-z]+)*(?![\w/=_-])")
_SPAN = re.compile(r"`[^`]*`")
_MARKUP = re.compile(
    r"</?[a-z][a-z0-9]*[ >]|\\b|\\\.|\(\?:|\[\^|\{0,\d|\\S|\\\"|PATH=|apiGroups|gid://|\(first:"
    r"|^(?:kubectl|docker \w+ |env |sleep |repository:|\{\"|\^| ?echo )"
)
"""HTML, regular expressions, commands, and documents for programs."""
_IN_TEMPLATE = re.compile(r"""\bt\(\s*(?:"([^"\\]+)"|'([^'\\]+)')""")
_ENOUGH = 2  # words outside of commands that make a text without parameters
_NO_SENTENCE = re.compile(r"[\w./:#\[\]{}|=-]*")
"""Paths, references and names that are put together."""


@dataclass
class Texts:
    """The texts by area, each with where it stands."""

    by_area: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, area: str, text: str, place: str) -> None:
        """Enter a text; one that another area has already stays there."""
        for other, texts in self.by_area.items():
            if text in texts and other != area:
                return
        self.by_area.setdefault(area, {}).setdefault(text, []).append(place)


def every_text() -> Texts:
    """Whatever an operator may read, by area."""
    texts = Texts()
    for area, place, found in _found():
        for text in found:
            texts.add(area, text, place)
    return texts


def _found() -> Iterator[tuple[str, str, Iterable[str]]]:
    """The texts of each source: their area, and where they stand."""
    yield "words", "preflight", _of_words()
    for area, patterns in _AREAS.items():
        for file in _files(patterns):
            yield area, str(file.relative_to(ROOT)), of_source(file.read_text(encoding="utf-8"))
    for file in sorted((ROOT / "preflight").rglob("*.j2")):
        yield "page", str(file.relative_to(ROOT)), of_template(file.read_text(encoding="utf-8"))
    for name in guide.MODULES:
        file = ROOT / "checks" / f"{name}.py"
        yield "checks-" + name.split("_")[1], str(file.relative_to(ROOT)), _of_checks(file)
    yield "keys", "preflight/inventory.py", _of_keys(Inventory.model_json_schema())
    titles = symptoms.areas()
    for symptom in symptoms.known():
        meanings = (text for candidate in symptom.candidates for text in (candidate.says, candidate.remedy))
        yield f"symptoms-{symptom.area}", f"preflight/symptoms/{symptom.area}.yaml", meanings
    for area, title in titles.items():
        yield f"symptoms-{area}", f"preflight/symptoms/{area}.yaml", [title]
    yield "symptoms-general", "preflight/symptoms/general.yaml", filter(None, symptoms.system_names().values())


def _files(patterns: Iterable[str]) -> Iterator[Path]:
    taken: set[Path] = set()
    for pattern in patterns:
        for file in sorted((ROOT / "preflight").glob(pattern if pattern.endswith(".py") else f"{pattern}.py")):
            relative = file.relative_to(ROOT / "preflight").with_suffix("").as_posix()
            if relative not in _NO_TEXTS and file not in taken:
                taken.add(file)
                yield file


def _of_words() -> Iterator[str]:
    """What is composed of an enum's words."""
    for harm in Harm:
        yield f"{harm} {{jobs}}" if harm in {Harm.STOPS, Harm.SLOWS} else f"{harm}: {{jobs}}"
    yield from ("{n} check", "{n} checks", "{n} s", "{n} min", "{n} h", "{n} d", "{n} day", "{n} days", "{n} hours")
    for noun in ("worker", "pod", "resolver", "other resolver", "pull", "other workers' pull", "node"):
        yield from (noun, f"{{n}} of {{n_2}} {noun}s")
    yield from ("{n} of {n_2} name", "{n} of {n_2} names", "{n} of {n_2} names within {deadline} s")
    yield from (
        "(line {n})",
        "(line {n}, {n_2} times)",
        "known from {reference}",
        "unknown key",
        "1 error",
        "succeed",
        "{tally} answered in {took} ms",
        "effects up to {effect}",
    )
    yield "PARTIAL: {n} of {n_2} checks judged ({reasons}): {rest}"
    # pydantic's own, of values in the inventory
    yield from ("Input should be {expected}", "Input should be less than or equal to {le}")
    yield from ("Input should be greater than or equal to {ge}", "String should match pattern {pattern}")
    yield "revision {n} of {name} is {status} since {since}"
    yield from (
        "{n} Job",
        "{n} Jobs",
        "{n} pod",
        "{n} pods",
        "jobs",
        "pods",
        "workers",
        "here",
        "from here",
        "Docker-in-Docker jobs",
    )
    yield from (f"{{n}} {word}" for _, word in decision.WORDS)
    yield from (str(word) for word in (*Verdict, *State, *Answer, *Kind))
    yield from _LABELS


def _of_checks(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            paragraph = guide.paragraph(ast.get_docstring(node) or "")
            yield from dict.fromkeys([paragraph.title, paragraph.why, *paragraph.remedies.values()])


def _of_keys(schema: object) -> Iterator[str]:
    """What the inventory's model says of its keys, for docs/zh/inventory.md."""
    if isinstance(schema, Mapping):
        if isinstance(description := schema.get("description"), str):
            yield " ".join(description.split())
        for part in schema.values():
            yield from _of_keys(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _of_keys(part)


# ---- one module ------------------------------------------------------------------------------------------------------


def of_source(source: str) -> Iterator[str]:
    """The texts of a module, as templates, in their order, each once."""
    tree = ast.parse(source)
    collector = _Collector()
    collector.visit(tree)
    yield from dict.fromkeys(collector.texts)


def of_template(source: str) -> Iterator[str]:
    """The fixed texts of one of the page's templates: what is given to `t`."""
    for match in _IN_TEMPLATE.finditer(source):
        yield match[1] or match[2]


class _Collector(ast.NodeVisitor):
    """Texts of a syntax tree; docstrings are none, but those of facts are."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if any(isinstance(one, ast.Call) and getattr(one.func, "id", "") == "fact" for one in node.decorator_list):
            summary = (ast.get_docstring(node) or "").strip().split("\n", 1)[0].rstrip(".")
            self.texts.append(summary)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self._body(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._body(node)

    def visit_Module(self, node: ast.Module) -> None:
        self._body(node)

    def _body(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) -> None:
        for child in node.body:
            self.visit(child)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in {"t", "translated", "Text"} and node.args and isinstance(node.args[0], ast.Constant):
            self.texts += filter(None, [str(node.args[0].value)])
        if name == "view":
            summary = next((one.value for one in node.args[3:4] if isinstance(one, ast.Constant)), "")
            self.texts.append(str(summary).rstrip("."))
        if isinstance(node.func, ast.Attribute) and name != "split":
            self.visit(node.func.value)
        arguments = node.args[:3] + node.args[4:] if name == "view" else node.args
        for argument in arguments:
            if name not in _SILENT or not isinstance(argument, ast.Constant | ast.JoinedStr):
                self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg not in {"description", "examples", "command", "pattern"}:
                self.visit(keyword.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        del node

    def visit_Compare(self, node: ast.Compare) -> None:
        del node

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        if isinstance(node.slice, ast.JoinedStr):  # problems by their sentences
            self.visit(node.slice)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key in node.keys:
            if isinstance(key, ast.Call):  # a text of the page, and what it is of
                self.visit(key)
        for value in node.values:
            self.visit(value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._take(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._take(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if _is_text(node):
            self._take(node)
        else:
            self.generic_visit(node)

    def _take(self, node: ast.expr) -> None:
        template = _Template()
        template.read(node)
        text = template.text()
        if _says_something(text):
            self.texts.append(text)
            self.texts += [choice for choice in template.choices if _says_something(choice)]
        for inner in template.inner:
            self.visit(inner)


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _is_text(left) or _is_text(right)
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return _is_text(body) and _is_text(orelse)
    return False


def _says_something(text: str) -> bool:
    literal = translation.without_parameters(_SPAN.sub(" · ", text))
    if _MARKUP.search(text):
        return False
    words = _WORDS.findall(literal)
    if any(part.kind == "parameter" for part in translation.elements(text)):
        return bool(words) and not _NO_SENTENCE.fullmatch(text)
    return len(words) >= _ENOUGH and " " in literal.strip()


class _Template:
    """A text's literal parts, and its expressions as named parameters."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.inner: list[ast.expr] = []
        self.choices: list[str] = []
        self._names: dict[str, str] = {}

    def text(self) -> str:
        return "".join(self.parts)

    def read(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=str() as text):
                self.parts.append(text)
            case ast.JoinedStr(values=values):
                for value in values:
                    self.read(value)
            case ast.FormattedValue(value=ast.Constant(value=text)):
                self.parts.append(str(text))
            case ast.FormattedValue(value=value):
                self._parameter(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                self.read(left)
                self.read(right)
            case _:
                self._parameter(node)

    def _parameter(self, node: ast.expr) -> None:
        choices = _choices(node)
        if choices is not None:
            self.choices += choices
            self.parts.append("{" + "|".join(choices) + "}")
            return
        self.inner.append(node)
        source = ast.unparse(node)
        if source not in self._names:
            name = base = _name(node)
            number = 2
            while name in self._names.values():
                name, number = f"{base}_{number}", number + 1
            self._names[source] = name
        self.parts.append("{" + self._names[source] + "}")


def _choices(node: ast.expr) -> list[str] | None:
    """The literals between which a condition chooses; None where it is anything else."""
    match node:
        case ast.Constant(value=str() as text) if not re.search(r"[{}|]", text):
            return [text]
        case ast.IfExp(body=body, orelse=orelse):
            first, second = _choices(body), _choices(orelse)
            if first is not None and second is not None:
                return list(dict.fromkeys([*first, *second]))
    return None


def _name(node: ast.expr) -> str:
    """The simplest readable name of an expression."""
    match node:
        case ast.Name(id=name):
            return name.strip("_")
        case ast.Attribute(attr=name):
            return name.strip("_")
        case ast.Call(args=[only]) if not isinstance(only, ast.Constant | ast.GeneratorExp | ast.ListComp):
            return _name(only)
        case ast.Call(args=[ast.GeneratorExp(elt=element) | ast.ListComp(elt=element)]):
            return _name(element)
        case ast.Call(func=ast.Attribute(value=value), args=[]):
            return _name(value)
        case ast.Call(func=function):
            return _name(function)
        case ast.Subscript(value=value, slice=ast.Constant(value=str() as key)) if key.isidentifier():
            return key if isinstance(value, ast.Name) else _name(value)
        case ast.Subscript(value=value) | ast.Starred(value=value) | ast.Await(value=value):
            return _name(value)
        case ast.IfExp(body=body, orelse=orelse):
            return _name(orelse if isinstance(body, ast.Constant) else body)
        case ast.BinOp(left=left) | ast.BoolOp(values=[left, *_]):
            return _name(left)
        case ast.UnaryOp(operand=operand):
            return _name(operand)
    return "text"


# ---- catalogues ------------------------------------------------------------------------------------------------------


class _Quoted(str):
    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)


def dump(area: str, pairs: Mapping[str, str], *, language: str) -> str:
    """A catalogue as YAML."""
    entries = [{"en": _Quoted(english), language: _Quoted(chinese)} for english, chinese in pairs.items()]
    body = yaml.dump(entries, Dumper=_Dumper, allow_unicode=True, width=118, sort_keys=False)
    head = f"# {area}: entered by `python -m tools.texts`, translated by hand (docs/architecture.md#languages)."
    return f"{head}\n{body}"


def update(language: str) -> int:
    """Bring the catalogues of a language up to date; returns how many texts lack a translation."""
    folder = LOCALE / language
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[str, str] = {}
    for file in folder.glob("*.yaml"):
        known.update(
            {entry["en"]: entry["zh"] for entry in yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader) or ()}
        )
    found, missing = every_text().by_area, 0
    for file in folder.glob("*.yaml"):
        if file.stem not in found:
            file.unlink()
    for area, texts in found.items():
        pairs = {text: known.get(text, "") for text in texts}
        missing += sum(not chinese for chinese in pairs.values())
        (folder / f"{area}.yaml").write_text(dump(area, pairs, language=language), encoding="utf-8")
    return missing


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("language", nargs="?", default="zh")
    lacking = update(parser.parse_args().language)
    sys.stdout.write(f"{lacking} texts lack a translation\n")

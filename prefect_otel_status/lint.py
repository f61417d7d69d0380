"""Static checks of code that says statuses: it is read with `ast`, never imported or run.

Each finding has a stable code and says what to write instead. `# noqa` or
`# noqa: POS001` on its line suppresses it. Only calls that lead to this package
by the file's own imports are looked at: better silent than wrong.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import os
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import decode_source
from pathlib import Path
from typing import NamedTuple

from prefect_otel_status import templates
from prefect_otel_status.model import LEVELS

BUILT_TEMPLATE = "POS001"
UNKNOWN_STAGE = "POS002"
UNKNOWN_LEVEL = "POS003"
LONG_TEMPLATE = "POS004"
TIGHT_LOOP = "POS005"
UNFILLED_FIELD = "POS006"
NOT_PARSED = "POS007"

_PACKAGE = "prefect_otel_status"
_HOMES = {"status": "messages", "stage": "stages", "track": "tracking"}
_FUNCTIONS = {
    f"{_PACKAGE}.{place}": name
    for name, home in _HOMES.items()
    for place in (name, f"{home}.{name}")
}
_TEMPLATE_AT = {"status": 0, "track": 1}
_OPTIONS: dict[str, tuple[str, ...]] = {
    "status": ("event", "stage", "level", "progress"),
    "track": ("total",),
}
_ALWAYS_FILLED: dict[str, tuple[str, ...]] = {
    "status": (),
    "track": ("done", "total", "rate", "remaining"),
}

_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})
_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError"})
_FUNCTION_NODES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LEAVES_LOOP = (ast.Break, ast.Return, ast.Raise)
_NOQA = re.compile(
    r"#\s*noqa(?:\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)|(?!\s*:)\b)", re.IGNORECASE
)


@dataclass(frozen=True)
class Finding:
    """One place that should be written differently. Lines and columns count from 1."""

    path: str
    line: int
    column: int
    code: str
    message: str


def lint_paths(
    paths: Iterable[str | os.PathLike[str]],
    *,
    stages: Collection[str] = (),
    levels: Collection[str] = LEVELS,
    message_length: int = 160,
) -> list[Finding]:
    """Check the files in PATHS, and every `*.py` in those that are folders; each file once.

    Hidden folders, virtual environments, `node_modules` and `__pycache__`
    inside a folder are left out. STAGES are those that are allowed; none allows
    all. A file that cannot be read or parsed is a finding.

    Raises `FileNotFoundError` that names a path which does not exist, and
    `OSError` for a folder that cannot be listed; nothing was checked then.
    """
    rules = _Rules(tuple(stages), tuple(levels), message_length)
    files = dict.fromkeys(file for path in paths for file in _files_of(Path(path)))
    return [finding for file in files for finding in _lint_file(file, rules)]


def lint_source(
    source: str | bytes,
    path: str | os.PathLike[str],
    *,
    stages: Collection[str] = (),
    levels: Collection[str] = LEVELS,
    message_length: int = 160,
) -> list[Finding]:
    """Check SOURCE, a module's text or bytes; its findings in the order of the text.

    PATH is only what the findings are reported under. What cannot be parsed is
    a finding.
    """
    return _lint(source, os.fspath(path), _Rules(tuple(stages), tuple(levels), message_length))


def as_text(findings: Iterable[Finding]) -> str:
    """FINDINGS as lines `path:line:column: code message`, which editors can follow."""
    return "\n".join(f"{f.path}:{f.line}:{f.column}: {f.code} {f.message}" for f in findings)


def as_json(findings: Iterable[Finding]) -> str:
    """FINDINGS as a JSON array of objects with the names of `Finding`'s fields."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def as_github(findings: Iterable[Finding]) -> str:
    """FINDINGS as GitHub's workflow commands, which annotate the lines of a pull request."""
    return "\n".join(map(_github_command, findings))


def _github_command(finding: Finding) -> str:
    place = f"file={_github_property(finding.path)},line={finding.line},col={finding.column}"
    return f"::error {place},title={finding.code}::{_github_data(finding.message)}"


def _github_data(text: str) -> str:
    # The percent sign first, or it would escape the escapes.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _github_property(text: str) -> str:
    return _github_data(text).replace(":", "%3A").replace(",", "%2C")


# --- files -------------------------------------------------------------------


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from _files_below(path)
    elif path.exists():
        yield path
    else:
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        # A link to a folder may lead around in a circle.
        if entry.is_dir() and not entry.is_symlink() and not _is_skipped(entry):
            yield from _files_below(entry)
        elif entry.suffix == ".py" and entry.is_file():
            yield entry


def _is_skipped(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in _SKIPPED_FOLDERS or (folder / "pyvenv.cfg").exists()


def _lint_file(file: Path, rules: _Rules) -> list[Finding]:
    try:
        source = file.read_bytes()
    except OSError as error:
        return [_not_parsed(str(file), 1, 1, f"cannot be read: {error.strerror}")]
    return _lint(source, str(file), rules)


def _lint(source: str | bytes, path: str, rules: _Rules) -> list[Finding]:
    try:
        text = _decode(source)
        calls = _calls_in(text, path)
    except (SyntaxError, ValueError, LookupError, RecursionError, MemoryError) as error:
        return [_not_parsed(path, *_what_is_wrong(error))]
    lines = text.split("\n")
    problems = [problem for call in calls for problem in _problems(call, rules)]
    kept = [_finding(path, lines, each) for each in problems if not _is_suppressed(each, lines)]
    return sorted(kept, key=lambda finding: (finding.line, finding.column, finding.code))


def _decode(source: str | bytes) -> str:
    # Both ways make every newline "\n", as Python counts lines.
    if isinstance(source, bytes):
        return decode_source(source)
    return io.IncrementalNewlineDecoder(None, translate=True).decode(source)


def _calls_in(text: str, path: str) -> list[_Call]:
    with warnings.catch_warnings():
        # The user's "\d" is between them and Python.
        warnings.simplefilter("ignore")
        tree = ast.parse(text, path)
    if _PACKAGE not in text:
        return []
    walk = _Walk()
    walk.visit(tree)
    return walk.calls


def _not_parsed(path: str, line: int, column: int, reason: str) -> Finding:
    message = f"the file {reason}; correct it, or leave it out of the paths"
    return Finding(path, line, column, NOT_PARSED, message)


def _what_is_wrong(error: Exception) -> tuple[int, int, str]:
    if isinstance(error, SyntaxError):
        return error.lineno or 1, max(1, error.offset or 1), f"cannot be parsed: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return line, 1, f"cannot be parsed: it is not valid {error.encoding}"
    if isinstance(error, (RecursionError, MemoryError)):
        return 1, 1, "cannot be parsed: it is nested too deeply"
    return 1, 1, f"cannot be parsed: {error}"


def _finding(path: str, lines: list[str], problem: _Problem) -> Finding:
    node = problem.node
    # Python counts columns in bytes of UTF-8, everyone else in characters.
    before = lines[node.lineno - 1].encode()[: node.col_offset].decode()
    return Finding(path, node.lineno, len(before) + 1, problem.code, problem.message)


def _is_suppressed(problem: _Problem, lines: list[str]) -> bool:
    # A text in triple quotes has room for a comment behind its last line only.
    ends = {problem.node.lineno, problem.node.end_lineno or problem.node.lineno}
    found = [match for line in ends for match in _NOQA.finditer(lines[line - 1])]
    return any(match["codes"] is None or problem.code in _codes(match) for match in found)


def _codes(noqa: re.Match[str]) -> list[str]:
    return re.split(r"[\s,]+", noqa["codes"].upper())


# --- which calls are ours ----------------------------------------------------


class _Call(NamedTuple):
    """A call of `status`, `stage` or `track`, and whether each round of a loop makes it."""

    name: str
    node: ast.Call
    is_repeated: bool


class _Scope(NamedTuple):
    """The names of a module, class, function or comprehension, and the scope around it.

    A name stands for the dotted name of something of ours, or for None.
    """

    names: dict[str, str | None]
    outer: _Scope | None = None
    is_class: bool = False

    def find(self, name: str) -> str | None:
        """The dotted name of ours that NAME stands for here, or None."""
        if name in self.names:
            return self.names[name]
        return self.outer.find(name) if self.outer is not None else None

    def inner(self, names: dict[str, str | None], *, is_class: bool = False) -> _Scope:
        """A scope inside this one. The names of a class are not seen from inside it."""
        return _Scope(names, self.outer if self.is_class else self, is_class)

    def dotted(self, node: ast.expr) -> str | None:
        """The dotted name of ours that `name` or `name.attribute` stands for, or None."""
        if isinstance(node, ast.Attribute) and (owner := self.dotted(node.value)) is not None:
            return f"{owner}.{node.attr}"
        return self.find(node.id) if isinstance(node, ast.Name) else None


class _Names(ast.NodeVisitor):
    """Collects what a scope binds, without what the scopes inside it bind.

    A name that is bound to something else as well stands for None.
    """

    def __init__(self) -> None:
        self._found: dict[str, str | None] = {}
        self._elsewhere: set[str] = set()

    def names(self) -> dict[str, str | None]:
        """What was collected, but for what `global` and `nonlocal` leave to the scopes around."""
        return {k: v for k, v in self._found.items() if k not in self._elsewhere}

    def bind(self, name: str | None, target: str | None = None) -> None:
        """Let NAME stand for TARGET, a dotted name of ours, or for nothing of ours."""
        if name is not None:
            self._found[name] = target if self._found.get(name, target) == target else None

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            target = alias.name if alias.asname else top
            self.bind(alias.asname or top, target if top == _PACKAGE else None)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        is_ours = not node.level and module.partition(".")[0] == _PACKAGE
        names = [(alias.name, alias.asname) for alias in node.names]
        if is_ours and names == [("*", None)]:
            names = [(name, None) for name in _HOMES if f"{module}.{name}" in _FUNCTIONS]
        for name, as_name in names:
            self.bind(as_name or name, f"{module}.{name}" if is_ours else None)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bind(node.id)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        # What stands in for us where we are not installed does not count.
        if not _is_import_error(node.type):
            self.bind(node.name)
            self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.bind(node.name)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs  # noqa: N815  (ast's own names)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.bind(node.rest)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self._elsewhere.update(node.names)

    visit_Nonlocal = visit_Global  # noqa: N815  (ast's own names)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  (ast's own names)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bind(node.name)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Its names are its own."""

    def visit_ListComp(self, node: ast.expr) -> None:
        # A comprehension's names are its own, but for those before a `:=`.
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr):
                self.visit(inner.target)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815  (ast's own names)


def _is_import_error(kind: ast.expr | None) -> bool:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(isinstance(each, ast.Name) and each.id in _IMPORT_ERRORS for each in kinds)


def _names_in(
    nodes: Iterable[ast.AST], parameters: ast.arguments | None = None
) -> dict[str, str | None]:
    found = _Names()
    for argument in _arguments(parameters) if parameters is not None else ():
        found.bind(argument.arg)
    for node in nodes:
        found.visit(node)
    return found.names()


def _arguments(parameters: ast.arguments) -> Iterator[ast.arg]:
    yield from (*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs)
    yield from filter(None, (parameters.vararg, parameters.kwarg))


class _Walk(ast.NodeVisitor):
    """Collects the calls of ours, and which of them a loop makes in each of its rounds.

    What is under a condition inside the loop is not made in each round, and
    what a loop that waits says is not too much.
    """

    def __init__(self) -> None:
        self.calls: list[_Call] = []
        self._scope = _Scope({})
        self._is_repeated = False

    def visit_Call(self, node: ast.Call) -> None:
        name = _FUNCTIONS.get(self._scope.dotted(node.func) or "")
        if name is not None:
            self.calls.append(_Call(name, node, self._is_repeated))
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        for _, value in ast.iter_fields(node):
            self._visit(value, is_repeated=self._is_repeated)

    def _visit(self, *parts: object, is_repeated: bool, scope: _Scope | None = None) -> None:
        """Visit PARTS, nodes and lists of nodes, as they stand in SCOPE and its loops."""
        saved = self._scope, self._is_repeated
        self._scope, self._is_repeated = scope or self._scope, is_repeated
        for part in parts:
            if isinstance(part, ast.AST):
                self.visit(part)
            elif isinstance(part, list):
                self._visit_list(part)
        self._scope, self._is_repeated = saved

    def _visit_list(self, nodes: list[object]) -> None:
        # A block that ends by leaving the loop runs once, and what stands
        # behind `if ...: continue` is under a condition too.
        is_repeated = self._is_repeated and not _leaves_loop(nodes)
        for node in nodes:
            self._visit(node, is_repeated=is_repeated)
            is_repeated = is_repeated and not _is_guard(node)

    def visit_Module(self, node: ast.Module) -> None:
        scope = _Scope(_names_in(node.body))
        self._visit(node.body, is_repeated=False, scope=scope)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._visit(node.decorator_list, node.args, node.returns, is_repeated=self._is_repeated)
        scope = self._scope.inner(_names_in(node.body, node.args))
        self._visit(node.body, is_repeated=False, scope=scope)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  (ast's own names)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit(node.args, is_repeated=self._is_repeated)
        scope = self._scope.inner(_names_in([node.body], node.args))
        self._visit(node.body, is_repeated=False, scope=scope)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        around = (node.decorator_list, node.bases, node.keywords)
        self._visit(*around, is_repeated=self._is_repeated)
        scope = self._scope.inner(_names_in(node.body), is_class=True)
        self._visit(node.body, is_repeated=False, scope=scope)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._visit(node.target, node.iter, node.orelse, is_repeated=self._is_repeated)
        self._visit(node.body, is_repeated=True)

    visit_AsyncFor = visit_For  # noqa: N815  (ast's own names)

    def visit_While(self, node: ast.While) -> None:
        self._visit(node.test, node.orelse, is_repeated=self._is_repeated)
        self._visit(node.body, is_repeated=not _waits(node))

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self._visit_comprehension(node.generators, node.elt)

    visit_SetComp = visit_GeneratorExp = visit_ListComp  # noqa: N815  (ast's own names)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._visit_comprehension(node.generators, node.key, node.value)

    def _visit_comprehension(self, loops: list[ast.comprehension], *made: ast.expr) -> None:
        # Only the first iterable belongs to the scope around it.
        self._visit(loops[0].iter, is_repeated=self._is_repeated)
        scope = self._scope.inner(_names_in(loop.target for loop in loops))
        iterables = [loop.iter for loop in loops[1:]]
        conditions = [condition for loop in loops for condition in loop.ifs]
        self._visit(iterables, conditions, is_repeated=True, scope=scope)
        self._visit(*made, is_repeated=not conditions, scope=scope)

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        self._visit(node.test, is_repeated=self._is_repeated)
        self._visit(node.body, node.orelse, is_repeated=False)

    visit_IfExp = visit_If  # noqa: N815  (ast's own names)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._visit(node.values[0], is_repeated=self._is_repeated)
        self._visit(node.values[1:], is_repeated=False)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._visit(node.type, node.body, is_repeated=False)

    def visit_match_case(self, node: ast.match_case) -> None:
        self._visit(node.guard, node.body, is_repeated=False)


def _leaves_loop(nodes: list[object]) -> bool:
    return bool(nodes) and isinstance(nodes[-1], _LEAVES_LOOP)


def _is_guard(node: object) -> bool:
    return isinstance(node, ast.If) and isinstance(node.body[-1], ast.Continue)


def _waits(loop: ast.While) -> bool:
    return any(map(_is_wait, _without_functions([loop.test, *loop.body])))


def _is_wait(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return "sleep" in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    return isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith))


def _without_functions(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        if not isinstance(node, _FUNCTION_NODES):
            yield node
            yield from _without_functions(ast.iter_child_nodes(node))


# --- what is wrong with a call -----------------------------------------------


class _Rules(NamedTuple):
    """What a project allows."""

    stages: tuple[str, ...]
    levels: tuple[str, ...]
    message_length: int


class _Problem(NamedTuple):
    """A finding before it has a place in a file."""

    node: ast.expr
    code: str
    message: str


_FIELDS_INSTEAD = "write '{field}' in the template and pass field=... as a keyword attribute"
_NO_FIELDS = "no named field, and stays as written; write '{field}', or double the braces"
_IN_LOOP = (
    "status() speaks in every round of this loop; "
    "loop over track(items, '...'), or speak once after the loop"
)


def _problems(call: _Call, rules: _Rules) -> Iterator[_Problem]:
    for template in _choices(_template_of(call)):
        yield from _template_problems(call, template, rules)
    for stage in _choices(_stage_of(call)):
        yield from _stage_problems(stage, rules)
    if call.name == "status":
        for level in _choices(_keyword(call, "level")):
            yield from _level_problems(level, rules)
        if call.is_repeated:
            yield _Problem(call.node, TIGHT_LOOP, _IN_LOOP)


def _template_of(call: _Call) -> ast.expr | None:
    position = _TEMPLATE_AT.get(call.name)
    return None if position is None else _argument(call, position)


def _stage_of(call: _Call) -> ast.expr | None:
    if call.name == "stage":
        return _argument(call, 0)
    return _keyword(call, "stage") if call.name == "status" else None


def _argument(call: _Call, position: int) -> ast.expr | None:
    first = call.node.args[: position + 1]
    if len(first) <= position or any(isinstance(each, ast.Starred) for each in first):
        return None
    return first[position]


def _keyword(call: _Call, name: str) -> ast.expr | None:
    return next((each.value for each in call.node.keywords if each.arg == name), None)


def _choices(node: ast.expr | None) -> Iterator[ast.expr]:
    """NODE, or both sides of it where it is `a if condition else b`."""
    if isinstance(node, ast.IfExp):
        yield from _choices(node.body)
        yield from _choices(node.orelse)
    elif node is not None:
        yield node


def _stage_problems(node: ast.expr, rules: _Rules) -> Iterator[_Problem]:
    if (
        rules.stages
        and isinstance(node, ast.Constant)
        and node.value not in (None, "", *rules.stages)
    ):
        instead = _instead(node.value, rules.stages)
        yield _Problem(node, UNKNOWN_STAGE, f"stage {node.value!r} is not allowed; {instead}")


def _level_problems(node: ast.expr, rules: _Rules) -> Iterator[_Problem]:
    if isinstance(node, ast.Constant) and node.value not in rules.levels:
        instead = _instead(node.value, rules.levels)
        yield _Problem(node, UNKNOWN_LEVEL, f"level {node.value!r} is not known; {instead}")


def _instead(value: object, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(value).lower(), allowed, n=1)
    return f"write {near[0]!r}" if near else f"use one of {', '.join(map(repr, allowed))}"


def _template_problems(call: _Call, node: ast.expr, rules: _Rules) -> Iterator[_Problem]:
    template = _constant(node)
    if template is not None:
        yield from _length_problems(node, template, rules)
        yield from _field_problems(call, node, template)
    elif (way := _way_of_building(node)) is not None:
        instead = _with_fields(call, node) or _FIELDS_INSTEAD
        message = f"{way} makes a new template of every value; {instead}"
        yield _Problem(node, BUILT_TEMPLATE, message)


def _constant(node: ast.expr) -> str | None:
    """The text of NODE where it is the same at every call."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return _joined(map(_constant, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([_constant(node.left), _constant(node.right)])
    return None


def _joined(texts: Iterable[str | None]) -> str | None:
    known = list(texts)
    return None if None in known else "".join(filter(None, known))


def _way_of_building(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "an f-string"
    if isinstance(node, ast.BinOp):
        return {ast.Add: "a concatenation", ast.Mod: "a '%' expression"}.get(type(node.op))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return f"{node.func.attr}()" if node.func.attr in ("format", "format_map") else None
    return None


def _with_fields(call: _Call, node: ast.expr) -> str | None:
    """What to write instead of the f-string NODE, or None where its values have no plain names."""
    if not isinstance(node, ast.JoinedStr):
        return None
    values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    pairs = list(dict.fromkeys((_name_of(value), ast.unparse(value.value)) for value in values))
    names, taken = {name for name, _ in pairs}, {*_taken_names(call)}
    if len(names) < len(pairs) or names & taken or None in names | taken:
        return None
    attributes = ", ".join(f"{name}={value}" for name, value in pairs)
    return f"write {''.join(map(_as_template, node.values))!r} and pass {attributes}"


def _taken_names(call: _Call) -> Iterator[str | None]:
    """The keywords of CALL, None for a `**values`, and the names that are no attributes."""
    yield from (keyword.arg for keyword in call.node.keywords)
    yield from (*_OPTIONS[call.name], *_ALWAYS_FILLED[call.name])


def _name_of(value: ast.FormattedValue) -> str | None:
    """The name that a value of an f-string has already: `model` for `{self.model!r:>8}`."""
    if value.format_spec is not None and _constant(value.format_spec) is None:
        return None
    if isinstance(value.value, ast.Attribute):
        return value.value.attr
    return value.value.id if isinstance(value.value, ast.Name) else None


def _as_template(part: ast.expr) -> str:
    if not isinstance(part, ast.FormattedValue):
        return (_constant(part) or "").replace("{", "{{").replace("}", "}}")
    conversion = f"!{chr(part.conversion)}" if part.conversion > 0 else ""
    spec = f":{_constant(part.format_spec)}" if part.format_spec is not None else ""
    return f"{{{_name_of(part)}{conversion}{spec}}}"


def _length_problems(node: ast.expr, template: str, rules: _Rules) -> Iterator[_Problem]:
    if len(template) > rules.message_length:
        message = (
            f"the template has {len(template)} characters, {rules.message_length} are allowed; "
            "shorten it and pass the details as keyword attributes"
        )
        yield _Problem(node, LONG_TEMPLATE, message)


def _field_problems(call: _Call, node: ast.expr, template: str) -> Iterator[_Problem]:
    if templates.parse(template).broken:
        yield _Problem(node, UNFILLED_FIELD, f"the template has braces but {_NO_FIELDS}")
    given = {keyword.arg for keyword in call.node.keywords}
    if None in given:
        return
    filled = (given - {*_OPTIONS[call.name]}) | {*_ALWAYS_FILLED[call.name]}
    for field in dict.fromkeys(_fields(template)):
        if (why := _why_unfilled(call, field, filled)) is not None:
            yield _Problem(node, UNFILLED_FIELD, f"field {field.written!r} {why}")


def _fields(template: str) -> Iterator[templates.Field]:
    """The fields of TEMPLATE, and those in their format specifications."""
    for part in templates.parse(template).parts:
        if isinstance(part, templates.Field):
            yield part
            yield from _fields(part.spec)


def _why_unfilled(
    call: _Call, field: templates.Field, filled: Collection[str | None]
) -> str | None:
    name = re.split(r"[.\[]", field.name, maxsplit=1)[0]
    if not name.isidentifier():
        return "has no name and stays as written; write '{name}' and pass name=..."
    if "._" in field.name:
        return "reads a private attribute and stays as written; pass that value under its own name"
    if name in filled:
        return None
    if name in _OPTIONS[call.name]:
        return f"stays as written, for {name}= is an option; pass the value under another name too"
    return f"stays as written; pass {name}=..., or double the braces if they are text"

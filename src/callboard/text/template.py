"""Templates: Jinja2 over plain data, and nothing else that Jinja2 can do.

A template comes from strangers and its values from models, so three walls stand one behind the other. The syntax
tree is checked against a list of allowed nodes: no calls (but `range`), no macros, includes or imports. The
environment reaches members of mappings and elements of lists only, never an attribute. And a meter counts work
and size, because the sandbox alone stops neither `'a' * 10**8` nor a loop in a loop. Values are never rendered
again: braces in a text come out as braces.

Names may hold hyphens (`{{pipe.pipein-text}}`), by a rule of the lexer and not by rewriting text: rewriting was
tried elsewhere and broke strings, comments and raw blocks. `a-b` is a name, `a - b` and `n-1` subtract, and
lookups hold `-` and `_` for equal. This is the only module that knows Jinja2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.lexer import Lexer
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from callboard.errors import CallboardError, InvalidFile, UsageError
from callboard.text import filters
from callboard.text.filters import MISSING, Meter, Named, dig, find, items_of, text_of
from callboard.text.names import close, same

__all__ = [
    "OUTPUT_LIMIT",
    "Compiled",
    "Named",
    "Use",
    "compile",
    "condition",
    "fill",
    "is_template",
    "truth",
    "undefined_fix",
]

#: Characters that one rendering may write.
OUTPUT_LIMIT = 1_000_000
#: Of a template's text, and of the tokens in it: compiling costs up to 50 µs a token.
MOST_TEXT = 1 << 20
MOST_TOKENS = 12_000

_DELIMITER = re.compile(r"\{[{%#]")
_FILE = "<a template>"
_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0",
                   "previtem", "nextitem"})  # fmt: skip
_FORBIDDEN_NAMES = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_FALSE = frozenset({"", "false", "0", "no", "off", "none", "null", "[]", "{}"})


class Use(NamedTuple):
    """A variable that a template reads: `pipe.pipein_text`, in canonical spelling (`_` for `-`).

    `optional` when some use of it is guarded by `default` or `is defined`; `line` counts from 1.
    """

    name: str
    line: int
    optional: bool
    written: str = ""  # as the template spells it


class Compiled(NamedTuple):
    """A template that can be rendered. Made by `compile`."""

    text: str
    name: str  # what people call it: prompt of step 'analyzer'
    file: str
    line: int  # of the file, on which the text begins
    indent: int  # columns of the file before the text
    program: Any  # None for a text without any template in it

    @property
    def variables(self) -> tuple[str, ...]:
        """Names it reads, dotted, in canonical spelling, each once, in order."""
        return tuple(dict.fromkeys(use.name for use in self.uses))

    @property
    def uses(self) -> tuple[Use, ...]:
        return self.program.uses if self.program else ()

    def render(self, namespace: Mapping[str, Any], *, limit: int = OUTPUT_LIMIT) -> str:
        """The text with its variables filled in; at most `limit` characters.

        Raises InvalidFile naming the template, its line and, for an undefined variable, the closest known names.
        """
        if self.program is None:
            return self.text
        context = self.program.template.new_context(dict(namespace))
        context.meter = Meter(limit)
        try:
            return _collect(self.program.template.root_render_func(context), limit)
        except jinja2.UndefinedError as error:
            what, fix, written = self._undefined(error, namespace)
            raise self.fault(what, _line(self.program.template, error), fix=fix, written=written) from None
        except RecursionError:
            raise self.fault("it nests too deeply") from None
        except Exception as error:
            what = str(error) if isinstance(error, CallboardError) else f"{error} ({type(error).__name__})"
            raise self.fault(what[:300], _line(self.program.template, error)) from None

    def fault(self, what: str, line: int = 1, *, written: str = "", fix: str = "") -> InvalidFile:
        """The error to raise about this template; `line` counts inside its text, `written` is what stands there."""
        where = f"{self.name}: " if self.file and self.name and self.name != self.file else ""
        lines = self.text.split("\n", line)
        found = lines[line - 1].find(written or "{") if line <= len(lines) else -1
        return InvalidFile(
            where + what,
            file=self.file or self.name,
            line=self.line + line - 1,
            column=self.indent + max(found, 0) + 1,
            fix=fix or "templates are Jinja2 over data: {{ name }}, {% if … %}…{% endif %}, {{ name|filter }}",
        )

    def _undefined(self, error: Exception, namespace: Mapping[str, Any]) -> tuple[str, str, str]:
        """What is missing: found by looking the static names up again, because the error knows only the last part."""
        for use in self.uses:
            known: Any = namespace
            for part in use.written.split("."):
                if not isinstance(known, Mapping):
                    break
                inner = find(known, part)
                if inner is MISSING:
                    near = close(part, [key for key in known if isinstance(key, str)])
                    return f"{use.written[:80]!r} is not defined{near}", undefined_fix(part, known), use.written
                known = inner
        return f"{error}"[:300], "give it a value, or write x|default('')", ""


def undefined_fix(name: str, known: Iterable[object]) -> str:
    """What to do about an undefined name: spaces around a minus, or one of the names that are known."""
    listed = ", ".join(sorted(map(str, known))[:12]) or "nothing"
    spaced = (
        f"{name} is one name; to subtract write {name.replace('-', ' - ')}; " if "-" in name and len(name) < 60 else ""
    )
    return f"{spaced}known here: {listed}"


def compile(text: str, *, name: str = "", file: str = "", line: int = 1, indent: int = 0) -> Compiled:
    """Check and compile a template; cached by its text.

    `name` is what people call it; `file`, `line` and `indent` (columns before it) say where its text begins.
    Raises InvalidFile.
    """
    if not _DELIMITER.search(text):
        return Compiled(text, name, file, line, indent, None)
    made = _build(text) if len(text) > 1 << 16 else _program(text)
    if isinstance(made, _Fault):
        raise Compiled(text, name, file, line, indent, None).fault(made.what, made.line, fix=made.fix)
    return Compiled(text, name, file, line, indent, made)


def is_template(text: object) -> bool:
    """Whether rendering could change this text."""
    return isinstance(text, str) and _DELIMITER.search(text) is not None


def fill(value: Any, namespace: Mapping[str, Any], *, name: str = "", limit: int = OUTPUT_LIMIT) -> Any:
    """`value` with every text in it rendered, however deep; keys, numbers and the rest stay as they are."""
    if isinstance(value, str):
        return compile(value, name=name).render(namespace, limit=limit)
    if isinstance(value, Mapping):
        return {key: fill(one, namespace, name=f"{name}.{key}", limit=limit) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [fill(one, namespace, name=f"{name}[{index}]", limit=limit) for index, one in enumerate(value)]
    return value


def condition(text: str) -> str:
    """The template of a `when`: a bare expression (`vars.n > 3`) is put between braces."""
    return text if is_template(text) else "{{ " + text + " }}"


def truth(text: str) -> bool:
    """What a rendered `when` says: false for nothing, 0, no, off, false, none, null, [] and {}; else true."""
    return text.strip().lower() not in _FALSE


# ── the program behind a text ───────────────────────────────────────────────────────────────────────────


class _Fault(NamedTuple):
    what: str
    line: int
    fix: str


class _Program(NamedTuple):
    template: jinja2.Template
    uses: tuple[Use, ...]


class _Refused(Exception):
    def __init__(self, what: str, node: nodes.Node | None = None, fix: str = "") -> None:
        super().__init__(what)
        self.fault = _Fault(what, (node and node.lineno) or 1, fix)


def _build(text: str) -> _Program | _Fault:
    """A fault is a value here, so that it is cached too."""
    try:
        if len(text) > MOST_TEXT:
            raise _Refused(f"a template has at most {MOST_TEXT:,} characters")
        tree = _ENVIRONMENT.parse(text)
        uses = tuple(_uses(tree))
        tree = _Guard().visit(tree)
        code = _ENVIRONMENT.compile(tree, filename=_FILE)
        return _Program(jinja2.Template.from_code(_ENVIRONMENT, code, {}), uses)
    except _Refused as refused:
        return refused.fault
    except jinja2.TemplateSyntaxError as error:
        return _Fault(f"{error.message}", error.lineno, "")
    except (RecursionError, MemoryError):
        return _Fault("it nests too deeply", 1, "")
    except Exception as error:
        return _Fault(f"{error} ({type(error).__name__})"[:300], 1, "")


_program = lru_cache(maxsize=512)(_build)


def _collect(parts: Iterator[str], limit: int) -> str:
    made: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > limit:
            raise UsageError(f"it writes more than {limit:,} characters")
        made.append(part)
    return "".join(made)


def _line(template: jinja2.Template, error: BaseException) -> int:
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────


def _uses(tree: nodes.Node) -> Iterator[Use]:
    """Variables read and not made by the template itself, in order; optional as soon as one use is guarded."""
    made = {same(node.name) for node in tree.find_all(nodes.Name) if node.ctx != "load"} | {"loop", "range"}
    found = [use for use in _walk(tree, False) if use.name.partition(".")[0] not in made]
    guarded = {use.name for use in found if use.optional}
    return (use._replace(optional=use.name in guarded) for use in found)


def _walk(node: nodes.Node, optional: bool) -> Iterator[Use]:
    path = _path(node)
    if path is not None:
        written = ".".join(getattr(part, "written", part) for part in path)
        yield Use(".".join(map(same, path)), node.lineno, optional, written)
        return
    guards = (isinstance(node, nodes.Filter) and node.name in ("default", "d")) or (
        isinstance(node, nodes.Test) and node.name in ("defined", "undefined")
    )
    for child in node.iter_child_nodes():
        yield from _walk(child, guards and child is getattr(node, "node", None))


def _path(node: nodes.Node) -> list[str] | None:
    """`pipe.steps["a"].b` as its parts; None for what is no plain path to a variable."""
    parts: list[str] = []
    while not isinstance(node, nodes.Name):
        if isinstance(node, nodes.Getattr):
            parts.append(node.attr)
            node = node.node
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            parts.append(node.arg.value)
            node = node.node
        else:
            return None
    return [node.name, *reversed(parts)] if node.ctx == "load" else None


# ── what is allowed ─────────────────────────────────────────────────────────────────────────────────────

_ALLOWED = frozenset({
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock,
    nodes.FilterBlock, nodes.With, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter,
    nodes.Test, nodes.Compare, nodes.Operand, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos,
    nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Concat, nodes.List,
    nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Call,
})  # fmt: skip
_WORDS = {
    nodes.Include: "include", nodes.Import: "import", nodes.FromImport: "import", nodes.Extends: "extends",
    nodes.Block: "block", nodes.Macro: "macro", nodes.CallBlock: "call", nodes.NSRef: "namespaces",
}  # fmt: skip


class _Guard(NodeTransformer):
    """Refuses what is not allowed, and puts the meter where work or text can grow."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if type(node) not in _ALLOWED:
            word = _WORDS.get(type(node), type(node).__name__)
            raise _Refused(f"{word} is not allowed in templates", node, "templates read data and write text only")
        return super().visit(node, *args, **kwargs)

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        if node.name in _FORBIDDEN_NAMES:
            raise _Refused(f"{node.name!r} is not allowed in templates", node)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        is_range = isinstance(node.node, nodes.Name) and node.node.name == "range"
        if not is_range or node.kwargs or node.dyn_args or node.dyn_kwargs or not 1 <= len(node.args) <= 3:
            called = (_path(node.node) or ["this"])[-1]
            near = f"write |{called}" if called in filters.FILTERS else "use a filter: x|upper instead of x.upper()"
            raise _Refused(f"{called}(…) cannot be called; templates call nothing but range(…)", node, near)
        arguments = nodes.List([self.visit(argument) for argument in node.args], lineno=node.lineno)
        return _filter(arguments, "·range")

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name not in _FILTERS:
            near = close(node.name, _FILTERS)
            raise _Refused(f"there is no filter {node.name!r}{near}", node, f"filters: {', '.join(sorted(_FILTERS))}")
        if node.dyn_args or node.dyn_kwargs:
            raise _Refused("arguments cannot be unpacked with *", node)
        self.generic_visit(node)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        if node.name not in _TESTS:
            near = close(node.name, _TESTS)
            raise _Refused(f"there is no test {node.name!r}{near}", node, f"tests: {', '.join(sorted(_TESTS))}")
        if node.dyn_args or node.dyn_kwargs:
            raise _Refused("arguments cannot be unpacked with *", node)
        self.generic_visit(node)
        if node.name not in ("defined", "undefined"):
            node.node = _filter(node.node, "·weigh")
            node.args = [_filter(argument, "·weigh") for argument in node.args]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filter(node.expr, "·weigh")
        for operand in node.ops:
            operand.expr = _filter(operand.expr, "·weigh")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filter(node.node, "·weigh")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "·join")

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise _Refused("recursive loops are not allowed in templates", node)
        body = sum(1 for part in node.body for _ in part.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _filter(node.iter, "·loop", [nodes.Const(body, lineno=node.lineno)])
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:
        self.generic_visit(node)
        _measure(node.body)
        return node

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> nodes.Node:
        self.generic_visit(node)
        _measure(node.body)
        return node


def _filter(node: Any, name: str, arguments: list[nodes.Expr] | None = None) -> nodes.Filter:
    return nodes.Filter(node, name, arguments or [], [], None, None, lineno=node.lineno)


def _measure(body: list[nodes.Node]) -> None:
    """Text inside a captured block does not pass the collector, so it passes the meter as a value does."""
    for part in body:
        for output in [part, *part.find_all(nodes.Output)]:
            if isinstance(output, nodes.Output):
                output.nodes = [
                    _filter(nodes.Const(one.data, lineno=one.lineno), "·text")
                    if isinstance(one, nodes.TemplateData)
                    else one
                    for one in output.nodes
                ]


# ── the environment ─────────────────────────────────────────────────────────────────────────────────────


class _Context(Context):
    meter: Meter

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars or key in self.parent:
            return super().resolve_or_missing(key)
        member = find(self.parent, key)
        return super().resolve_or_missing(key) if member is MISSING else member


class _Name(str):
    """A name with hyphens; the lexer asks whether it is an identifier, and here it is.

    Of a variable it holds the canonical spelling, which the compiler turns into Python; of a member the very text.
    """

    written: str

    def __new__(cls, text: str, written: str) -> _Name:
        name = super().__new__(cls, text)
        name.written = written
        return name

    def isidentifier(self) -> bool:
        return True


class _Lexer(Lexer):
    """Names with inner hyphens: after a dot anywhere, elsewhere unless it follows `|` or a word of the language."""

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        inner = r"[^\W\d]\w*(?:-[^\W\d]\w*)+"
        free = rf"(?<!\|)(?<!\|\s)(?!(?:and|or|not|in|is|if|else|elif|for|set|filter|with)-){inner}"
        for rules in self.rules.values():
            at = next((i for i, rule in enumerate(rules) if rule.tokens == "name"), None)
            if at is not None:
                member = rules[at]._replace(pattern=re.compile(rf"(?<=\.){inner}"), tokens="hyphened_member")
                rules[at:at] = [member, rules[at]._replace(pattern=re.compile(free), tokens="hyphened_name")]

    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[tuple[int, str, str]]:
        left = MOST_TOKENS
        for line, token, value in super().tokeniter(source, name, filename, state):
            left -= 1
            if left < 0:
                raise jinja2.TemplateSyntaxError(f"it has more than {MOST_TOKENS:,} tokens", line)
            if token == "hyphened_member":
                yield line, "name", _Name(value, value)
            elif token == "hyphened_name":
                yield line, "name", _Name(same(value), value)
            else:
                yield line, token, value


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    context_class = _Context

    @cached_property
    def lexer(self) -> Lexer:
        return _Lexer(self)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Members of mappings, elements of lists and texts. There is no way from here to an attribute of anything."""
        if isinstance(obj, jinja2.Undefined):
            _present(obj)
        if isinstance(obj, Mapping):
            found = find(obj, argument) if isinstance(argument, str) else MISSING
            return self.undefined(obj=obj, name=argument) if found is MISSING else found
        if isinstance(obj, LoopContext) and isinstance(argument, str) and argument in _LOOP:
            return getattr(obj, argument)
        if isinstance(obj, (list, tuple, str)) and isinstance(argument, int):
            if -len(obj) <= argument < len(obj):
                return obj[argument]
            return self.undefined(hint=f"there is no element {argument} in a list of {len(obj)}")
        kind = "text" if isinstance(obj, str) else "loop" if isinstance(obj, LoopContext) else type(obj).__name__
        member = repr(argument[:60]) if isinstance(argument, str) else f"of type {type(argument).__name__}"
        hint = f"a {kind} has no member {member}"
        if isinstance(argument, str) and argument in filters.FILTERS:
            hint += f"; write |{argument}"
        return self.undefined(hint=hint)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        return filters.operate(context.meter, operator, _present(left), _present(right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        raise UsageError("templates call nothing")


@jinja2.pass_context
def _finalize(context: Any, value: Any) -> str:
    meter: Meter = context.meter
    return meter.write(text_of(meter, _present(value)))


def _metered(name: str, function: Any) -> Any:
    """A filter that pays for its input first. Undefined passes only where that is the point."""
    may_lack = name in ("default", "d", "·weigh")

    @jinja2.pass_context
    def run(context: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        meter = context.meter
        if isinstance(value, jinja2.Undefined):
            if not may_lack:
                _present(value)
            return value if name == "·weigh" else function(meter, MISSING, *args, **kwargs)
        meter.spend(4 + (len(value) >> 4 if isinstance(value, str) else 0))
        return function(meter, value, *args, **kwargs)

    return run


def _apply(context: Any, name: str, value: Any, args: tuple[Any, ...]) -> Any:
    if name not in _FILTERS or name in ("map", "select", "reject", "selectattr", "rejectattr"):
        raise UsageError(f"map cannot use {str(name)[:60]!r}{close(str(name), _FILTERS)}")
    return context.environment.filters[name](context, value, *args)


@jinja2.pass_context
def _map(context: Any, value: Any, *args: Any, attribute: Any = None, default: Any = MISSING) -> list[Any]:
    made = []
    for one in items_of(context.meter, _present(value)):
        if attribute is None:
            made.append(_apply(context, args[0] if args else "", one, args[1:]))
            continue
        member = dig(one, attribute)
        if member is MISSING and default is MISSING:
            raise UsageError(f"an item has no member {str(attribute)[:60]!r}")
        made.append(default if member is MISSING else member)
    return made


def _chooser(wanted: bool, by_member: bool) -> Any:
    @jinja2.pass_context
    def choose(context: Any, value: Any, *args: Any) -> list[Any]:
        path, args = (args[0], args[1:]) if by_member and args else (None, args)
        name = args[0] if args else ""
        if name and name not in _TESTS:
            raise UsageError(f"there is no test {str(name)[:60]!r}{close(str(name), _TESTS)}")
        return [one for one in items_of(context.meter, _present(value)) if _is(context, one, path, args) == wanted]

    return choose


def _is(context: Any, one: Any, path: Any, args: tuple[Any, ...]) -> bool:
    member = dig(one, path)
    if args and args[0] in ("defined", "undefined"):
        return bool((member is MISSING) == (args[0] == "undefined"))
    if member is MISSING or not args:
        return member is not MISSING and bool(member)
    weighed = [context.meter.weigh(value) for value in (member, *args[1:])]
    return bool(filters.TESTS[args[0]](*weighed))


def _end(at: int) -> Any:
    @jinja2.pass_context
    def end(context: Any, value: Any) -> Any:
        values = items_of(context.meter, _present(value))
        return values[at] if values else context.environment.undefined(hint="the list is empty")

    return end


def _test(function: Any) -> Any:
    return lambda value, *args: function(_present(value), *map(_present, args))


def _present(value: Any) -> Any:
    """`value`, unless it is undefined; then the error that says so."""
    if isinstance(value, jinja2.Undefined):
        value._fail_with_undefined_error()
    return value


_FILTERS = frozenset(filters.FILTERS) | {"map", "select", "reject", "selectattr", "rejectattr", "first", "last"}
_TESTS = frozenset(filters.TESTS) | {"defined", "undefined"}


def _environment() -> _Environment:
    made = _Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, optimized=False, finalize=_finalize, cache_size=0
    )
    made.globals.clear()
    made.filters.clear()
    made.filters.update({name: _metered(name, one) for name, one in {**filters.FILTERS, **filters.INNER}.items()})
    made.filters.update(map=_map, first=_end(0), last=_end(-1))
    made.filters.update(select=_chooser(True, False), reject=_chooser(False, False))
    made.filters.update(selectattr=_chooser(True, True), rejectattr=_chooser(False, True))
    defined = {name: made.tests[name] for name in ("defined", "undefined")}
    made.tests.clear()
    made.tests.update({name: _test(one) for name, one in filters.TESTS.items()} | defined)
    return made


_ENVIRONMENT = _environment()

"""Templates: Jinja2 over plain data, and nothing else that Jinja2 can do.

A template comes from strangers and its values from models, so three walls stand one behind the other. The syntax
tree is checked against a list of allowed nodes: no calls (but `range`), no macros, includes or imports. The
environment reaches members of mappings and elements of lists only, never an attribute. And a meter counts work
and size, because the sandbox alone stops neither `'a' * 10**8` nor a loop in a loop. Values are never rendered
again: braces in a text come out as braces.

Names may hold hyphens (`{{pipe.pipein-text}}`), by a rule of the lexer and not by rewriting text: rewriting was
tried elsewhere and broke strings, comments and raw blocks. `a-b` is a name, `a - b` and `n-1` subtract, and
lookups hold `-` and `_` for equal. Only this module, `guard.py` and `sandbox.py` know Jinja2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes

from callboard.errors import CallboardError, InvalidFile, UsageError
from callboard.text.guard import Fault, Guard, Refused, path_of
from callboard.text.meter import MISSING, Meter, Named, find
from callboard.text.names import close, same
from callboard.text.sandbox import ENVIRONMENT

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
#: Characters of a template's text.
MOST_TEXT = 1 << 20

_DELIMITER = re.compile(r"\{[{%#]")
_FILE = "<a template>"
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
    if isinstance(made, Fault):
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


class _Program(NamedTuple):
    template: jinja2.Template
    uses: tuple[Use, ...]


def _build(text: str) -> _Program | Fault:
    """A fault is a value here, so that it is cached too."""
    try:
        if len(text) > MOST_TEXT:
            raise Refused(f"a template has at most {MOST_TEXT:,} characters")
        tree = ENVIRONMENT.parse(text)
        uses = tuple(_uses(tree))
        tree = Guard().visit(tree)
        code = ENVIRONMENT.compile(tree, filename=_FILE)
        return _Program(jinja2.Template.from_code(ENVIRONMENT, code, {}), uses)
    except Refused as refused:
        return refused.fault
    except jinja2.TemplateSyntaxError as error:
        return Fault(f"{error.message}", error.lineno, "")
    except (RecursionError, MemoryError):
        return Fault("it nests too deeply", 1, "")
    except Exception as error:
        return Fault(f"{error} ({type(error).__name__})"[:300], 1, "")


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
    path = path_of(node)
    if path is not None:
        written = ".".join(getattr(part, "written", part) for part in path)
        yield Use(".".join(map(same, path)), node.lineno, optional, written)
        return
    guards = (isinstance(node, nodes.Filter) and node.name in ("default", "d")) or (
        isinstance(node, nodes.Test) and node.name in ("defined", "undefined")
    )
    for child in node.iter_child_nodes():
        yield from _walk(child, guards and child is getattr(node, "node", None))

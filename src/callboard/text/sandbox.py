"""The sandbox templates run in: an environment of Jinja2 that reaches members and elements and nothing else.

It knows no attribute of any object, no loader and no globals; its filters and tests are ours, and each pays a meter
before it works. Names may hold hyphens by a rule of the lexer. What the syntax tree may hold is `guard.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import jinja2
from jinja2.lexer import Lexer
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from callboard.errors import UsageError
from callboard.text import filters
from callboard.text.meter import MISSING, Meter, dig, find, items_of, text_of
from callboard.text.names import close, same

#: Tokens of a template: compiling costs up to 50 µs for one.
MOST_TOKENS = 12_000
_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0",
                   "previtem", "nextitem"})  # fmt: skip


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


class Environment(ImmutableSandboxedEnvironment):
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
    if name not in FILTERS or name in ("map", "select", "reject", "selectattr", "rejectattr"):
        raise UsageError(f"map cannot use {str(name)[:60]!r}{close(str(name), FILTERS)}")
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
        if name and name not in TESTS:
            raise UsageError(f"there is no test {str(name)[:60]!r}{close(str(name), TESTS)}")
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


FILTERS = frozenset(filters.FILTERS) | {"map", "select", "reject", "selectattr", "rejectattr", "first", "last"}
TESTS = frozenset(filters.TESTS) | {"defined", "undefined"}


def _environment() -> Environment:
    made = Environment(
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


#: The one there is: it keeps nothing of what it renders.
ENVIRONMENT = _environment()

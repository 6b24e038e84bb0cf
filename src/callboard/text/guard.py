"""What a template may hold: its syntax tree is checked against a list of allowed nodes before it is compiled.

No calls (but `range`), no macros, includes or imports. Where work or text can grow the tree gets a filter that asks
the meter, so that nothing in a template is free.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from callboard.text import filters
from callboard.text.names import close
from callboard.text.sandbox import FILTERS, TESTS

_FORBIDDEN_NAMES = frozenset({"self", "super", "caller", "varargs", "kwargs"})
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


class Fault(NamedTuple):
    """What is wrong with a template, in which of its lines, and what to write."""

    what: str
    line: int
    fix: str


class Refused(Exception):
    """A node that is not allowed; `fault` says why."""

    def __init__(self, what: str, node: nodes.Node | None = None, fix: str = "") -> None:
        super().__init__(what)
        self.fault = Fault(what, (node and node.lineno) or 1, fix)


class Guard(NodeTransformer):
    """Refuses what is not allowed, and puts the meter where work or text can grow."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if type(node) not in _ALLOWED:
            word = _WORDS.get(type(node), type(node).__name__)
            raise Refused(f"{word} is not allowed in templates", node, "templates read data and write text only")
        return super().visit(node, *args, **kwargs)

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        if node.name in _FORBIDDEN_NAMES:
            raise Refused(f"{node.name!r} is not allowed in templates", node)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        is_range = isinstance(node.node, nodes.Name) and node.node.name == "range"
        if not is_range or node.kwargs or node.dyn_args or node.dyn_kwargs or not 1 <= len(node.args) <= 3:
            called = (path_of(node.node) or ["this"])[-1]
            near = f"write |{called}" if called in filters.FILTERS else "use a filter: x|upper instead of x.upper()"
            raise Refused(f"{called}(…) cannot be called; templates call nothing but range(…)", node, near)
        arguments = nodes.List([self.visit(argument) for argument in node.args], lineno=node.lineno)
        return _filter(arguments, "·range")

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name not in FILTERS:
            near = close(node.name, FILTERS)
            raise Refused(f"there is no filter {node.name!r}{near}", node, f"filters: {', '.join(sorted(FILTERS))}")
        if node.dyn_args or node.dyn_kwargs:
            raise Refused("arguments cannot be unpacked with *", node)
        self.generic_visit(node)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        if node.name not in TESTS:
            near = close(node.name, TESTS)
            raise Refused(f"there is no test {node.name!r}{near}", node, f"tests: {', '.join(sorted(TESTS))}")
        if node.dyn_args or node.dyn_kwargs:
            raise Refused("arguments cannot be unpacked with *", node)
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
            raise Refused("recursive loops are not allowed in templates", node)
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


def path_of(node: nodes.Node) -> list[str] | None:
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

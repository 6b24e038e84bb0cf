"""Runs a golden history against the machine: the words of its README to plans, facts, orders and reasons."""

from __future__ import annotations

from typing import Any

from machine_known import known, lists

from callboard.core import facts as f
from callboard.core import machine, orders
from callboard.core.admission import Admission
from callboard.core.deadline import Now
from callboard.core.plan import Every, Map, Plan, Retry, Review, Rule, Task, load_condition
from callboard.core.reasons import because, why
from callboard.core.run import Run


def plan_of(data: dict[str, Any]) -> Plan:
    rules = tuple(Rule(r["task"], r["do"], load_condition(r["when"])) for r in data.get("rules", ()))
    tasks = tuple(task_of(name, options or {}) for name, options in data["tasks"].items())
    return Plan(tasks, rules, data.get("limits", {}), data.get("on_failure", "continue"))


def task_of(name: str, o: dict[str, Any]) -> Task:
    fields: dict[str, Any] = {k: o[k] for k in ("priority", "critical", "effect", "skip", "may_skip") if k in o}
    fields |= {k: tuple(o[k]) for k in ("needs", "optional", "limits", "reads") if k in o}
    if "attempts" in o:
        fields["retry"] = Retry(o["attempts"], o.get("delay", 0))
    if "review" in o:
        fields["review"] = Review(**o["review"])
    if "every" in o:
        fields["every"] = Every(o["every"], o.get("until"), o.get("overlap", "restart"), o.get("misfire", "last"))
    if o.get("map") or "over" in o:
        fields["map"] = Map(o.get("over", ""), o.get("barrier", False), o.get("allow_failures", 0))
    return Task(name, "group" if o.get("group") else "function", child=o.get("run", False), **fields)


READ: dict[str, Any] = {
    "offset": int, "page": int, "limit": float, "more": "true".__eq__,
    "met": {"true": True, "false": False, "error": None}.get,
    "items": lambda text: tuple((key, key) for key in text.split(",") if key),
    "published": lambda text: tuple(f.Notice(key, int(o)) for key, o in (w.split(":") for w in text.split(","))),
    "docs": lambda text: tuple(f.Written(*one.rsplit(":", 1)) for one in text.split(",")),
    "pending": lambda text: tuple(text.split(",")), "known": known, "lists": lists,
    "reads": lambda text: tuple(tuple(one.rsplit(":", 1)) for one in text.split(",")),
}  # fmt: skip
TOLD = {
    orders.Start: "Start {} {}.{}", orders.Stop: "Stop {} {}.{}", orders.Evaluate: "Evaluate r{} {}",
    orders.List: "List {} {} page {}", orders.StopList: "Stop {} {} list", orders.Tick: "Wake {} tick at {.wall:.16g}",
    orders.Wake: "Wake {} {}.{} {} at {.wall:.16g}", orders.Finish: "Finish {.name}",
    orders.Refuse: "Refuse {.__class__.__name__}",
}  # fmt: skip


class Adapter:
    """begin(plan), step(facts, at) -> orders, status(name), why(name), run()."""

    def begin(self, plan: dict[str, Any]) -> None:
        self.state, self.admission = Run(1, "run", plan_of(plan)), Admission()

    def step(self, lines: list[str], at: float) -> list[str]:
        now, found = Now(at, "boot", at), []
        decision = machine.step(self.state, [self.fact(line) for line in lines], now, True, self.admission)
        while decision.orders:
            found += [self.order(order) for order in decision.orders]
            decision = machine.step(self.state, [], now, True, self.admission)
        return found

    def fact(self, line: str) -> f.Fact:
        kind, *words = line.split()
        plain: list[Any] = [word for word in words if "=" not in word]
        named = {key: READ.get(key, str)(text) for key, equals, text in (w.partition("=") for w in words) if equals}
        if "docs" in named:
            named["documents"] = named.pop("docs")
        if kind == "Judged":
            plain[0] = int(plain[0][1:]) - 1
        elif kind == "Ticked":
            plain = [self.state.find(plain[0]), float(plain[1])]
        elif kind in ("Edited", "Approved", "Rejected", "Decided"):
            plain[1] = int(plain[1])
        elif len(plain) > 1 and kind not in ("Asked", "Reopened", "DocumentEdited", "Published", "Adopted"):
            kind = "ListStopped" if plain[1].endswith(".list") else kind
            numbers = plain[1].removesuffix(".list").split(".")
            plain = [self.state.find(plain[0]), *map(int, numbers), *plain[2:]]
        return f.KINDS[kind](*plain, **named)

    def order(self, order: orders.Order) -> str:
        first = self.state.name_of(order.node) if hasattr(order, "node") else order[0]
        return TOLD[type(order)].format(first + 1 if isinstance(order, orders.Evaluate) else first, *order[1:])

    def status(self, name: str) -> str:
        node = self.state.find(name)
        return "INIT 0" if node is None else f"{self.state.nodes[node].status.name} {self.state.nodes[node].number}"

    def why(self, name: str) -> str:
        return why(self.state, self.state.find(name) or 0, self.admission)

    def run(self) -> tuple[str, str]:
        return self.state.status.name, because(self.state)

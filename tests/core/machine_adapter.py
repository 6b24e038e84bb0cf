"""Runs a golden history against the machine: the words of its README to plans, facts, orders and reasons."""

from __future__ import annotations

from typing import Any

from callboard.core import facts as f
from callboard.core import machine, orders
from callboard.core.admission import Admission
from callboard.core.deadline import Now
from callboard.core.plan import Every, Map, Plan, Retry, Review, Rule, Task, load_condition
from callboard.core.reasons import because, why
from callboard.core.run import Run
from callboard.core.status import Status


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


class Adapter:
    """begin(plan), step(facts, at) -> orders, status(name), why(name), run()."""

    def begin(self, plan: dict[str, Any]) -> None:
        self.state = Run(1, "run", plan_of(plan))
        self.admission = Admission()

    def step(self, lines: list[str], at: float) -> list[str]:
        now = Now(at, "boot", at)
        taken = [self.fact(line) for line in lines]
        found: list[str] = []
        decision = machine.step(self.state, taken, now, True, self.admission)
        while decision.orders:
            found += [self.order(order) for order in decision.orders]
            decision = machine.step(self.state, [], now, True, self.admission)
        return found

    def fact(self, line: str) -> f.Fact:
        kind, *words = line.split()
        named = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        if kind == "Stopped" and plain[1].endswith(".list"):
            return f.ListStopped(self.node(plain[0]), int(plain[1].partition(".")[0]))
        if kind == "Heard":
            return f.Heard(plain[0], int(named["offset"]), named.get("value"))
        if kind == "Judged":
            met = {"true": True, "false": False, "error": None}[named["met"]]
            return f.Judged(int(plain[0][1:]) - 1, int(named["offset"]), met)
        if kind == "Listed":
            items = tuple((key, key) for key in named["items"].split(",") if key)
            return f.Listed(self.node(plain[0]), int(plain[1]), int(named["page"]), items, named.get("more") == "true")
        if kind == "DocumentEdited":
            return f.DocumentEdited(*plain)
        if kind == "Ticked":
            return f.Ticked(self.node(plain[0]), float(plain[1]))
        if kind == "Raised":
            return f.Raised(float(named["limit"]))
        if kind in ("Published", "Asked", "Reopened"):
            return f.KINDS[kind](*plain)
        if kind in ("Edited", "Approved", "Rejected", "Decided"):
            return f.KINDS[kind](plain[0], int(plain[1]), *plain[2:], **named)
        if plain:
            numbers = [int(number) for number in plain[1].split(".")]
            return f.KINDS[kind](self.node(plain[0]), *numbers, *plain[2:], **self.brought(named))
        return f.KINDS[kind]()

    def brought(self, named: dict[str, Any]) -> dict[str, Any]:
        if "published" in named:
            pairs = [one.rsplit(":", 1) for one in named["published"].split(",")]
            named["published"] = tuple(f.Notice(key, int(offset)) for key, offset in pairs)
        if "docs" in named:
            named["documents"] = tuple(tuple(one.rsplit(":", 1)) for one in named.pop("docs").split(","))
        if "pending" in named:
            named["pending"] = tuple(named["pending"].split(","))
        return named

    def order(self, order: orders.Order) -> str:
        name = self.state.name_of
        match order:
            case orders.Start(node, number, attempt) | orders.Stop(node, number, attempt):
                return f"{type(order).__name__} {name(node)} {number}.{attempt}"
            case orders.List(node, number, page):
                return f"List {name(node)} {number} page {page}"
            case orders.StopList(node, number):
                return f"Stop {name(node)} {number} list"
            case orders.Evaluate(rule, offset):
                return f"Evaluate r{rule + 1} {offset}"
            case orders.Wake(node, number, attempt, what, at):
                return f"Wake {name(node)} {number}.{attempt} {what} at {at.wall:g}"
            case orders.Tick(node, at):
                return f"Wake {name(node)} tick at {at.wall:g}"
            case orders.Finish(status):
                return f"Finish {status.name}"
            case orders.Refuse(fact, _):
                return f"Refuse {type(fact).__name__}"

    def node(self, name: str) -> int:
        node = self.state.find(name)
        assert node is not None, name
        return node

    def status(self, name: str) -> str:
        node = self.state.find(name)
        row = self.state.nodes[node] if node is not None else None
        return f"{row.status.name} {row.number}" if row else "INIT 0"

    def why(self, name: str) -> str:
        return why(self.state, self.node(name), self.admission)

    def run(self) -> tuple[str, str]:
        return Status(self.state.status).name, because(self.state)

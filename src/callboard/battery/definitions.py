"""Small pipelines drawn at random, edits of them as people make them, and what a step asks, said a second time.

`asked` is the independent half of the proof of `adopt`: it knows neither plans nor compilers, only what is written
here. A step asks what its own lines say, with the value of the variable it uses, and what each step above it asks, in
the order in which their outputs reach it. Its name is nobody's business but of those who write it; how it is tried is
nobody's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.battery.worlds import one_of, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from callboard.battery.worlds import Chance

WORDS = ("harbour", "market", "library", "station", "garden", "theatre", "bridge", "mill")
Asked = tuple[Any, ...]


class Step(NamedTuple):
    """`text` may hold `NEED` (the name of its first need stands there then) and `TONE` (the variable); `each` is a list
    of words, `over` the name of a step with one. `tries` is a policy."""

    name: str
    text: str
    needs: tuple[str, ...] = ()
    each: tuple[str, ...] = ()
    over: str = ""
    labels: tuple[str, ...] = ()
    review: bool = False
    tries: int = 0

    @property
    def is_mapped(self) -> bool:
        return bool(self.each or self.over)


class Definition(NamedTuple):
    steps: tuple[Step, ...]
    tone: str = "warm"

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def source(self) -> str:
        """The pipeline's file."""
        lines = ["name: Drawn", "model: offline", f"vars: {{tone: {self.tone}}}", "pipe:"]
        return "\n".join([*lines, *(f"  - {json.dumps(self._lines(step))}" for step in self.steps), ""])

    def _lines(self, step: Step) -> dict[str, Any]:
        fields: dict[str, Any] = {"name": step.name, "type": "llm", "cache": False, "needs": list(step.needs)}
        fields["tmpl"] = _written(step)
        if step.each:
            fields |= {"each": list(step.each), "key": "{{item}}"}
        if step.over:
            fields["over"] = step.over
        if step.labels:
            fields["options"] = {"labels": list(step.labels)}
        if step.review:
            fields["review"] = True
        if step.tries:
            fields |= {"retry": step.tries, "timeout": "5m", "priority": 1}
        return fields


def _written(step: Step) -> str:
    named = f"{{{{pipe.steps.{step.needs[0]}}}}}" if step.needs else "{{input}}"
    text = step.text.replace("NEED", named).replace("TONE", "{{vars.tone}}")
    return f"{text} {{{{item}}}}" if step.each else f"{text} {{{{pipe.pipein-text}}}}"


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────


def asked(made: Definition) -> dict[tuple[str, str | None], Asked]:
    """What each step asks, and of a step with items also what each of them does: (step, item) → a value to compare."""
    found: dict[tuple[str, str | None], Asked] = {}
    for step in _in_order(made):
        above = [name for name in _chain(made) if name in {*step.needs, step.over}]
        own = (_written(step), step.over, step.labels, step.review, made.tone if "TONE" in step.text else "")
        ups = tuple(found[name, None] for name in above)
        found[step.name, None] = (own, step.each, ups)
        found |= {(step.name, word): (own, word, ups) for word in step.each}
        for (name, word), item in list(found.items()) if step.over else ():
            if name == step.over and word is not None:
                others = tuple(found[one, None] for one in above if one != step.over)
                found[step.name, word] = (own, "over", item, others)
    return found


def calls(made: Definition) -> Iterator[tuple[str, str | None]]:
    """The calls that a run of it makes: one for each step, or for each item of one."""
    for name, item in asked(made):
        if (item is None) != made.step(name).is_mapped:
            yield name, item


def _in_order(made: Definition) -> list[Step]:
    return [made.step(name) for name in _chain(made)]


def _chain(made: Definition) -> list[str]:
    """Steps after what they need, else as they stand."""
    done: list[str] = []

    def visit(name: str) -> None:
        if name not in done:
            step = made.step(name)
            for need in (*step.needs, *([step.over] if step.over else [])):
                visit(need)
            done.append(name)

    for step in made.steps:
        visit(step.name)
    return done


# ── definitions and edits ───────────────────────────────────────────────────────────────────────────────────


def drawn(chance: Chance) -> Definition:
    steps: list[Step] = []
    for number in range(3 + chance.below(3)):
        steps.append(_a_step(chance, f"s{number}", steps))
    return Definition(tuple(steps))


def _a_step(chance: Chance, name: str, before: Sequence[Step]) -> Step:
    text = f"Write {chance.below(10**6)} about it"
    text += one_of(chance, ("", "", " in a TONE voice"))
    mapped = [step for step in before if step.is_mapped]
    if mapped and percent(chance, 25):
        over = one_of(chance, mapped).name
        return Step(name, text + ".", (over,), over=over)
    needs = tuple(step.name for step in before if percent(chance, 40))[-2:]
    each = _words(chance) if percent(chance, 30) else ()
    review = not each and percent(chance, 12)
    return Step(name, text + one_of(chance, (".", " NEED.")), needs, each, review=review)


def _words(chance: Chance) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one_of(chance, WORDS) for _ in range(1 + chance.below(3))))


def rename(chance: Chance, made: Definition) -> Definition:
    old, new = one_of(chance, made.steps).name, f"r{chance.below(100)}"
    return made._replace(steps=tuple(_renamed(step, old, new) for step in made.steps))


def _renamed(step: Step, old: str, new: str) -> Step:
    def now(name: str) -> str:
        return new if name == old else name

    return step._replace(name=now(step.name), over=now(step.over), needs=tuple(now(name) for name in step.needs))


def reorder(chance: Chance, made: Definition) -> Definition:
    steps = list(made.steps)
    steps.insert(chance.below(len(steps)), steps.pop(chance.below(len(steps))))
    return made._replace(steps=tuple(steps))


def delete(chance: Chance, made: Definition) -> Definition:
    gone = one_of(chance, made.steps).name
    if len(made.steps) == 1 or any(step.over == gone for step in made.steps):
        return reword(chance, made)
    kept = [step for step in made.steps if step.name != gone]
    return made._replace(
        steps=tuple(step._replace(needs=tuple(one for one in step.needs if one != gone)) for step in kept)
    )


def retype(chance: Chance, made: Definition) -> Definition:
    """It chooses among labels now, or no more."""
    return _with(chance, made, lambda step: step._replace(labels=() if step.labels else WORDS[:3]))


def reword(chance: Chance, made: Definition) -> Definition:
    return _with(chance, made, lambda step: step._replace(text=f"{step.text} Be brief {chance.below(100)}."))


def add(chance: Chance, made: Definition) -> Definition:
    place = chance.below(len(made.steps) + 1)
    new = _a_step(chance, f"n{chance.below(100)}", made.steps[:place])
    return made._replace(steps=(*made.steps[:place], new, *made.steps[place:]))


def rewire(chance: Chance, made: Definition) -> Definition:
    place = chance.below(len(made.steps))
    step = made.steps[place]
    needs = tuple(dict.fromkeys(one.name for one in made.steps[:place] if percent(chance, 50)))[-2:]
    needs = (step.over, *needs) if step.over else needs
    return made._replace(
        steps=(*made.steps[:place], step._replace(needs=tuple(dict.fromkeys(needs))), *made.steps[place + 1 :])
    )


def relist(chance: Chance, made: Definition) -> Definition:
    """A list has other words, or another order."""
    mapped = [step for step in made.steps if step.each]
    if not mapped:
        return reword(chance, made)
    step = one_of(chance, mapped)
    words = tuple(dict.fromkeys([*reversed(step.each), *_words(chance)]))[: 1 + chance.below(4)]
    return made._replace(steps=tuple(one._replace(each=words) if one is step else one for one in made.steps))


def retone(chance: Chance, made: Definition) -> Definition:
    return made._replace(tone=one_of(chance, ("cold", "dry")))


def retry(chance: Chance, made: Definition) -> Definition:
    return _with(chance, made, lambda step: step._replace(tries=step.tries + 2))


def review(chance: Chance, made: Definition) -> Definition:
    return _with(chance, made, lambda step: step._replace(review=not step.review and not step.is_mapped))


def circle(chance: Chance, made: Definition) -> Definition:
    """The first step needs the last."""
    first, *rest = made.steps
    last = rest[-1] if rest else first
    return made._replace(steps=(first._replace(needs=(*first.needs, last.name)), *_below(rest, first.name)))


def _below(steps: Sequence[Step], name: str) -> Iterator[Step]:
    for number, step in enumerate(steps):
        ahead = number == len(steps) - 1
        yield step._replace(needs=tuple(dict.fromkeys((*step.needs, name)))) if ahead else step


def _with(chance: Chance, made: Definition, change: Callable[[Step], Step]) -> Definition:
    step = one_of(chance, made.steps)
    return made._replace(steps=tuple(change(one) if one is step else one for one in made.steps))


EDITS: Mapping[str, Callable[[Chance, Definition], Definition]] = {
    edit.__name__: edit
    for edit in (rename, reorder, delete, retype, reword, add, rewire, relist, retone, retry, review, circle)
}

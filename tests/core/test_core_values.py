"""Facts, plans and graphs: what is written is what is read, and what makes no sense is told with its name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core import encoding
from callboard.core import facts as f
from callboard.core import plan as plans
from callboard.core.graph import MOST_NODES, Graph
from callboard.core.pace import Pace
from callboard.core.plan import (
    AllOf,
    AnyOf,
    Count,
    EventIs,
    Every,
    Map,
    Plan,
    Probe,
    Retry,
    Review,
    Rule,
    Task,
    TaskIs,
)
from callboard.core.status import ENDED, INIT, MOVES, OPEN, Status
from callboard.errors import InvalidPlan

names = st.text(min_size=1, max_size=8)
numbers = st.integers(0, 1 << 20)
times = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | times | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
texts = st.sampled_from(['{"value":null}', '{"value":{"a":[1]}}'])
notices = st.lists(st.builds(f.Notice, names, numbers, json_values), max_size=2).map(tuple)
documents = st.lists(st.builds(f.Written, names, names, st.none() | names), max_size=2).map(tuple)
paths = st.lists(names, max_size=2).map(tuple)
attempt = (numbers, numbers, numbers)
reads = st.lists(st.tuples(names, names), max_size=2).map(tuple)
brought = {"outcome": texts, "published": notices, "documents": documents, "pending": paths, "reads": reads}
known = st.builds(
    f.Known,
    names,
    st.none() | names,
    names,
    texts,
    names,
    names,
    st.none() | texts,
    numbers,
    documents,
    paths,
    names,
    reads,
)  # fmt: skip
items = st.lists(st.tuples(names, json_values), max_size=3).map(tuple)
lists = st.lists(st.builds(f.KnownList, names, numbers, items, st.booleans()), max_size=2).map(tuple)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=5)

FACTS: dict[type[Any], st.SearchStrategy[Any]] = {
    f.Begun: st.builds(f.Begun),
    f.Undrained: st.builds(f.Undrained),
    f.Drained: st.builds(f.Drained),
    f.Admitted: st.builds(f.Admitted, st.lists(numbers, max_size=3).map(tuple)),
    f.Succeeded: st.builds(f.Succeeded, *attempt, **brought),
    f.Failed: st.builds(f.Failed, *attempt, names, names, error=scalars, retry_after=st.none() | times),
    f.TimedOut: st.builds(f.TimedOut, *attempt),
    f.Skipped: st.builds(f.Skipped, *attempt, names, reads),
    f.Stopped: st.builds(f.Stopped, *attempt),
    f.ListStopped: st.builds(f.ListStopped, numbers, numbers),
    f.LeaseLost: st.builds(f.LeaseLost, *attempt, names, names, error=scalars),
    f.Halted: st.builds(f.Halted, *attempt),
    f.Refused: st.builds(f.Refused, *attempt, names),
    f.Raised: st.builds(f.Raised, times),
    f.Produced: st.builds(f.Produced, *attempt, names, **brought),
    f.Edited: st.builds(f.Edited, names | numbers, numbers, names, texts),
    f.Approved: st.builds(f.Approved, names | numbers, numbers, names),
    f.Rejected: st.builds(f.Rejected, names | numbers, numbers, names),
    f.Decided: st.builds(f.Decided, names | numbers, numbers, names, texts),
    f.Heard: st.builds(f.Heard, names, numbers, json_values),
    f.Judged: st.builds(f.Judged, numbers, numbers, st.none() | st.booleans(), json_values),
    f.Woke: st.builds(f.Woke, *attempt, st.sampled_from(["retry", "review"])),
    f.Ticked: st.builds(f.Ticked, numbers, times),
    f.Listed: st.builds(
        f.Listed,
        numbers,
        numbers,
        numbers,
        items,
        st.booleans(),
        reads,
    ),
    f.ListFailed: st.builds(f.ListFailed, numbers, numbers, names),
    f.Asked: st.builds(f.Asked, names | numbers, names),
    f.Paused: st.builds(f.Paused),
    f.Resumed: st.builds(f.Resumed),
    f.Cancelled: st.builds(f.Cancelled),
    f.Interrupted: st.builds(f.Interrupted),
    f.Continued: st.builds(f.Continued),
    f.Reopened: st.builds(f.Reopened, names, st.none() | names | numbers),
    f.Adopted: st.builds(f.Adopted, names, st.lists(known, max_size=3).map(tuple), lists, st.booleans()),
    f.Replaced: st.builds(f.Replaced, names),
    f.DocumentEdited: st.builds(f.DocumentEdited, names, names, names),
    f.Published: st.builds(f.Published, names),
}


def test_every_kind_of_fact_is_drawn() -> None:
    assert set(FACTS) == set(f.KINDS.values())


@given(st.text())
def test_a_plain_success_is_written_to_the_letter_as_the_encoder_would(text: str) -> None:
    fact = f.Succeeded(1, 2, 3, text)
    assert f.encode(fact) == encoding.encode(["Succeeded", *fact[:-1]])


@pytest.mark.parametrize("kind", list(FACTS), ids=lambda kind: kind.__name__)
@given(st.data())
def test_a_fact_that_is_written_is_the_fact_that_is_read(kind: type[Any], data: st.DataObject) -> None:
    fact = data.draw(FACTS[kind])
    assert f.decode(json.loads(f.encode(fact))) == fact


def test_fields_that_have_defaults_may_be_left_out() -> None:
    assert f.decode(["Succeeded", 1, 2, 3]) == f.Succeeded(1, 2, 3)


def test_a_strangers_list_stays_a_list() -> None:
    assert f.decode(json.loads(f.encode(f.Heard("k", 1, [1, [2]])))).value == [1, [2]]  # type: ignore[union-attr]


def test_a_name_that_is_no_fact_is_told() -> None:
    with pytest.raises(KeyError):
        f.decode(["Rumoured"])


def test_values_that_json_cannot_say_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        f.encode(f.Heard("k", 1, float("nan")))
    with pytest.raises(TypeError):
        f.encode(f.Heard("k", 1, {1, 2}))


@given(json_values)
def test_the_prebuilt_encoder_says_what_the_plain_one_says(value: Any) -> None:
    plain = encoding._prebuilt(None)
    assert encoding.encode(value) == plain(value)
    assert json.loads(encoding.encode(value)) == value


# ── plans ───────────────────────────────────────────────────────────────────────────────────────────────

conditions: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.builds(EventIs, names, st.none(), st.just(False)),
        st.builds(EventIs, names, scalars, st.just(True)),
        st.builds(TaskIs, names, st.lists(st.sampled_from(["SUCCESS", "FAILED"]), min_size=1, max_size=2).map(tuple)),
        st.builds(Count, names, st.integers(1, 5), st.floats(1, 100)),
        st.builds(Probe, names, st.lists(names, min_size=1, max_size=2).map(tuple)),
    ),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2).map(tuple).map(AllOf)
        | st.lists(inner, min_size=1, max_size=2).map(tuple).map(AnyOf)
    ),
    max_leaves=5,
)
tasks = st.builds(
    Task,
    names,
    executor=st.sampled_from(["function", "llm"]),
    inputs=st.dictionaries(names, json_values, max_size=2),
    needs=paths,
    retry=st.tuples(st.integers(1, 5), st.floats(0, 9)).map(lambda two: Retry(*two)),
    review=st.none() | st.integers(0, 2).map(Review),
    every=st.none() | st.floats(1, 9).map(Every),
    map=st.none() | names.map(Map),
    critical=st.booleans(),
    priority=st.integers(0, 3),
)


@given(
    st.builds(
        Plan,
        st.lists(tasks, max_size=3).map(tuple),
        st.lists(st.builds(Rule, names, st.sampled_from(["START", "STOP"]), conditions), max_size=2).map(tuple),
        st.dictionaries(names, st.integers(1, 5), max_size=2),
        st.just("continue"),
        st.just("a name"),
        st.just({"file": "a.ai"}),
    )
)
def test_a_plan_that_is_written_is_the_plan_that_is_read(plan: Plan) -> None:
    text = plans.dump(plan)
    assert plans.load(text) == plan
    assert plans.dump(plans.load(text)) == text
    assert len(plans.digest(text)) == 64


def test_defaults_of_a_task_are_not_written() -> None:
    text = plans.dump(Plan((Task("a"),)))
    assert json.loads(text)["tasks"] == [{"name": "a"}]
    assert plans.load(text).tasks == (Task("a"),)


def test_what_is_no_condition_is_told() -> None:
    with pytest.raises(InvalidPlan, match="not a condition"):
        plans.load_condition({"weather": "rain"})


def rule(when: Any, do: str = "START", task: str = "a") -> Plan:
    return Plan((Task("a"), Task("b")), (Rule(task, do, when),))


def deep(width: int, depth: int) -> Any:
    return AllOf(tuple(AnyOf(tuple(EventIs(f"{n}.{m}") for m in range(width))) for n in range(depth)))


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (Plan((Task("a"), Task("a"))), "two tasks are called a"),
        (Plan((Task("a", needs=("x",)),)), "a need of a names the task 'x'"),
        (Plan((Task("a", optional=("x",)),)), "an optional need of a"),
        (Plan((Task("a", map=Map("x")),)), "`over` of a"),
        (Plan((Task("x"), Task("a", map=Map("x")))), "maps over nothing"),
        (Plan((Task("a", needs=("b",)), Task("b", needs=("a",)))), "in a circle: a, b"),
        (Plan((Task("a", map=Map("a")),)), "in a circle: a"),
        (Plan((), on_failure="panic"), "on_failure is continue or stop, not 'panic'"),
        (Plan((Task("a", every=Every(0.0)),)), "every 0 seconds"),
        (Plan((Task("a", every=Every(float("nan"))),)), "every nan seconds"),
        (Plan((Task("a", every=Every(5, overlap="pile")),)), "`overlap` of a"),
        (Plan((Task("a", every=Every(5, misfire="cry")),)), "`misfire` of a"),
        (rule(EventIs("k"), "DANCE"), "not 'DANCE'"),
        (rule(EventIs("k"), task="x"), "a rule names the task 'x'"),
        (rule(TaskIs("x", ("SUCCESS",))), "a rule of a names the task 'x'"),
        (rule(TaskIs("b", ("HAPPY",))), "'HAPPY' is no status"),
        (rule(AllOf(())), "an empty list of conditions"),
        (rule(AnyOf(())), "an empty list of conditions"),
        (rule(Count("k", 0, 5)), "counts 0 events 'k'"),
        (rule(Count("k", 1, 0)), "within 0 s"),
        (rule(deep(10, 4)), "more than 1,000 ways"),
        (rule(deep(60, 60)), "more than 1,000 ways"),
    ],
)
def test_a_plan_that_makes_no_sense_is_told_why(plan: Plan, told: str) -> None:
    with pytest.raises(InvalidPlan) as error:
        Graph(plan)
    assert told in str(error.value)


def test_a_plan_has_no_more_tasks_than_an_execution_can_name() -> None:
    with pytest.raises(InvalidPlan, match="at most"):
        Graph(Plan((Task("a"),) * (MOST_NODES + 1)))


def test_a_rule_with_choices_is_a_branch_for_each_way() -> None:
    graph = Graph(rule(deep(2, 3)))
    assert [len(branch.conditions) for branch in graph.branches] == [3] * 8


def test_a_need_that_is_named_twice_is_one_need_and_the_required_one_wins() -> None:
    graph = Graph(Plan((Task("a"), Task("b", needs=("a", "a"), optional=("a",)))))
    assert graph.parents[1] == ((0, 0),)


# ── statuses ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_status_is_open_or_ended_or_has_never_begun() -> None:
    assert {INIT} | OPEN | ENDED == set(Status) == set(MOVES)
    assert not OPEN & ENDED


def test_stopping_never_becomes_retrying() -> None:
    assert Status.RETRYING not in MOVES[Status.STOPPING]


def test_what_comes_at_once_is_free_and_what_comes_after_it_waits() -> None:
    pace = Pace(rate=10.0, burst=100.0)
    assert pace.wait(100, now=5.0) == 0.0
    assert pace.wait(20, now=5.0) == 2.0
    assert pace.wait(10, now=7.0) == 1.0
    assert pace.wait(50, now=1000.0) == 0.0, "it has rested, and not saved up more than a burst"
    assert pace.wait(100, now=1000.0) == 5.0

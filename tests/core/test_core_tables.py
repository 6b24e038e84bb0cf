"""The two tables beside the golden histories: deadlines under clocks that jump, and the ready queue across runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from callboard.core.admission import PATIENCE, Admission
from callboard.core.deadline import Deadline, Now, after, left
from callboard.core.facts import Begun, Paused, Succeeded
from callboard.core.machine import step
from callboard.core.orders import Start
from callboard.core.plan import Plan, Task
from callboard.core.run import Node, Run
from callboard.core.status import QUEUED, RUNNING

HISTORIES = Path(__file__).parent / "histories"
NOW = Now(1000.0, "boot", 10.0)


def rows(name: str) -> list[Any]:
    table = yaml.safe_load((HISTORIES / name).read_text(encoding="utf-8"))
    return [pytest.param(row, id=row["name"].replace(" ", "-")) for row in table]


@pytest.mark.parametrize("row", rows("clock.yaml"))
def test_a_deadline_is_judged_by_the_clock_that_can_be_trusted(row: dict[str, Any]) -> None:
    assert left(Deadline(*row["deadline"]), Now(*row["now"])) == row["left"]


def test_a_deadline_set_now_is_due_after_its_length() -> None:
    deadline = after(NOW, 5.0)
    assert left(deadline, NOW) == 5.0
    assert left(deadline, NOW._replace(elapsed=15.0)) == 0.0


# ── the ready queue ─────────────────────────────────────────────────────────────────────────────────────


class Queue:
    """Runs with tasks that are ready, in the words of the table."""

    def __init__(self, ready: list[list[Any]], free: dict[str, int], served: dict[str, int]) -> None:
        numbers = {name: place for place, name in enumerate(dict.fromkeys(row[1] for row in ready), 1)}
        self.admission = Admission(free, {numbers[name]: turn for name, turn in served.items() if name in numbers})
        self.runs = {}
        for name, number in numbers.items():
            tasks = [Task(r[0], priority=r[2], limits=tuple(r[4])) for r in ready if r[1] == name]
            self.runs[number] = Run(number, name, Plan(tuple(tasks)))
        for name, run, _, created, _ in sorted(ready, key=lambda row: row[3]):
            self.offer(numbers[run], name, created)

    def row(self, run: int, name: str) -> Node:
        node = self.runs[run].find(name)
        assert node is not None
        return self.runs[run].nodes[node]

    def offer(self, run: int, name: str, created: int = 0) -> None:
        row = self.row(run, name)
        row.status, row.began = QUEUED, created
        self.admission.offer(self.runs[run], row)

    def starts(self, now: Now = NOW, run: int = 1, most: int = 99) -> list[str]:
        found = []
        while len(found) < most and (pick := self.admission.next(self.runs[run], now)) is not None:
            found.append(self.runs[pick.run].name_of(pick.node))
        return found


@pytest.mark.parametrize("row", rows("admission.yaml"))
def test_admission_starts_in_the_order_of_the_table(row: dict[str, Any]) -> None:
    assert Queue(row["ready"], row["free"], row["served"]).starts() == row["starts"]


def test_a_pick_for_another_run_keeps_its_units_and_calls_that_run() -> None:
    queue = Queue([["a", "r1", 2, 2, ["x"]], ["b", "r2", 2, 1, ["x"]]], {"x": 1}, {})
    assert queue.admission.pick(queue.runs[1], NOW) == []
    assert queue.admission.called() == [2]
    assert list(queue.admission.kept(2)) == [0]
    assert queue.admission.used == {"x": 1}
    assert queue.admission.pick(queue.runs[2], NOW) == [0]
    assert queue.admission.called() == []


def test_units_kept_for_what_is_withdrawn_or_forgotten_are_given_back() -> None:
    for leave in ("withdraw", "forget"):
        queue = Queue([["a", "r1", 2, 2, ["x"]], ["b", "r2", 2, 1, ["x"]]], {"x": 1}, {})
        queue.admission.pick(queue.runs[1], NOW)
        if leave == "withdraw":
            queue.admission.withdraw(queue.runs[2], queue.row(2, "b"))
        else:
            queue.admission.forget(2)
        assert queue.admission.used == {"x": 0}
        assert queue.admission.pick(queue.runs[1], NOW) == [0]


def test_units_of_the_runs_own_limits_are_kept_and_given_back_too() -> None:
    queue = Queue([["a", "r1", 2, 2, ["x"]], ["b", "r2", 2, 1, ["x", "own"]]], {"x": 1}, {})
    run = queue.runs[2]
    run.plan = run.plan._replace(limits={"own": 1})
    queue.admission.take(run, ("own",))
    assert queue.admission.blocking(run, ("x", "own")) == "own"
    run.used["own"] = 0
    assert queue.admission.pick(queue.runs[1], NOW) == []
    assert run.used == {"own": 1}
    queue.admission.withdraw(run, queue.row(2, "b"))
    assert run.used == {"own": 0}


def test_units_that_a_paused_run_frees_go_on_to_a_run_that_waits() -> None:
    admission = Admission({"x": 1})
    one, other = (Run(number, "r", Plan((Task("t", limits=("x",)), Task("z")))) for number in (1, 2))
    assert Start(0, 1, 1) in step(one, [Begun()], NOW, True, admission).orders
    assert Start(0, 1, 1) not in step(other, [Begun()], NOW, True, admission).orders
    step(one, [Paused()], NOW, True, admission)
    assert admission.called() == []
    step(one, [Succeeded(0, 1, 1)], NOW, True, admission)
    assert admission.called() == [2]
    assert step(other, [], NOW, True, admission).orders == [Start(0, 1, 1)]
    assert admission.called() == []


def test_what_is_offered_twice_starts_once() -> None:
    queue = Queue([["a", "r1", 2, 1, []]], {}, {})
    queue.offer(1, "a")
    assert queue.admission.pick(queue.runs[1], NOW) == [0]
    assert queue.admission.pick(queue.runs[1], NOW) == []


def test_what_is_withdrawn_is_passed_over() -> None:
    queue = Queue([["a", "r1", 2, 1, []], ["b", "r1", 2, 2, []], ["c", "r1", 2, 3, ["x"]]], {"x": 1}, {})
    queue.admission.withdraw(queue.runs[1], queue.row(1, "a"))
    queue.admission.withdraw(queue.runs[1], queue.row(1, "c"))
    assert queue.starts() == ["b"]


def test_what_was_withdrawn_is_passed_over_where_nothing_needs_a_unit() -> None:
    queue = Queue([["a", "r1", 2, 1, []], ["b", "r1", 2, 2, []]], {}, {})
    queue.admission.withdraw(queue.runs[1], queue.row(1, "a"))
    assert queue.admission.pick(queue.runs[1], NOW) == [1]


def test_a_step_that_may_start_no_more_leaves_units_alone() -> None:
    queue = Queue([["a", "r1", 2, 1, ["x"]], ["b", "r1", 2, 2, ["x"]]], {"x": 2}, {})
    assert queue.admission.pick(queue.runs[1], NOW, 1) == [0]
    assert queue.admission.used == {"x": 1}


def test_a_run_that_gets_something_more_urgent_goes_to_the_front_of_its_ring() -> None:
    queue = Queue([["a", "r1", 2, 1, ["x"]], ["b", "r2", 2, 2, ["x"]], ["c", "r2", 0, 3, ["x"]]], {"x": 3}, {})
    assert queue.starts() == ["c", "a", "b"]


def test_a_step_starts_no_more_than_it_may() -> None:
    queue = Queue([[name, "r1", 2, 1, []] for name in "abcde"], {}, {})
    assert queue.admission.pick(queue.runs[1], NOW, 2) == [0, 1]
    assert queue.admission.pick(queue.runs[1], NOW, 9) == [2, 3, 4]


def test_units_that_free_up_are_kept_for_a_task_that_has_waited_long_for_several() -> None:
    queue = Queue([["both", "r1", 3, 1, ["x", "y"]], ["one", "r1", 0, 2, ["x"]]], {"x": 1, "y": 0}, {})
    assert queue.starts() == ["one"]
    queue.admission.release(queue.runs[1], ("x",))
    queue.offer(1, "one")
    late = NOW._replace(elapsed=NOW.elapsed + PATIENCE)
    assert queue.starts(late) == []
    queue.admission.capacity["y"] = 1
    assert queue.starts(late) == ["both"]


def test_a_reboot_begins_the_wait_for_several_limits_anew() -> None:
    queue = Queue([["both", "r1", 3, 1, ["x", "y"]], ["one", "r1", 0, 2, ["x"]]], {"x": 0, "y": 0}, {})
    assert queue.starts() == []
    queue.admission.capacity["x"] = 1
    assert queue.starts(Now(9999.0, "another", 9999.0)) == ["one"]


def test_a_run_that_is_taken_up_counts_its_work_and_offers_what_waits() -> None:
    plan = Plan((Task("a", limits=("x",)), Task("b", limits=("x",))))
    run = Run(1, "r", plan)
    run.status = RUNNING
    run.nodes[0].status, run.nodes[1].status = RUNNING, QUEUED
    run.queued = {1}
    admission = Admission({"x": 1})
    admission.adopt(run)
    assert admission.used == {"x": 1}
    assert admission.is_offered(1, 1)
    assert admission.pick(run, NOW) == []
    admission.drop(run)
    assert admission.used == {"x": 0}
    assert not admission.is_offered(1, 1)


def test_nothing_of_a_run_that_has_a_hold_is_offered() -> None:
    run = Run(1, "r", Plan((Task("a"),)))
    run.status, run.nodes[0].status, run.queued = RUNNING, QUEUED, {0}
    run.holds = {"paused"}
    admission = Admission()
    admission.adopt(run)
    assert admission.pick(run, NOW) == []
    assert list(admission.kept(1)) == []

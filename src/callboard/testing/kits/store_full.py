"""Cases of a store: how much may wait in it, and what is refused. The bench's store has the bounds `LOW`."""

from __future__ import annotations

from callboard.core.facts import Cancelled, encode
from callboard.errors import Busy
from callboard.ports import Bounds, Write
from callboard.testing.kits.bench import FACT, PLAN, SUCCESS, Bench, Cases, refused

case = CASES = Cases()

LOW = Bounds(runs=3, letters=5, all_letters=8, kept=4)


def _letters(*names: str | int) -> list[tuple[str, str]]:
    return [(str(name), FACT) for name in names]


@case
def as_many_runs_as_may_be_open_and_no_more(bench: Bench) -> None:
    number, fence = bench.owned("a")
    bench.run("b")
    bench.run("c")
    with refused(Busy) as raised:
        bench.run("d")
    assert getattr(raised[0], "retry_after", 0) > 0 and "3 that have not ended" in str(raised[0])
    assert [row.id for row in bench.again().runs()] == ["c", "b", "a"]
    assert len(bench.store.waiting()) == 3
    bench.store.commit([Write(number, fence, 12.0, [FACT], status=SUCCESS)])
    bench.run("d")  # one has ended
    with refused(Busy):
        bench.again().create_run(id="e", name="", plan=PLAN, params="{}", face="", at=13.0)


@case
def a_run_that_is_known_takes_no_room(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        bench.run(name)
    assert bench.run("b").number == 2
    fields = ("Show", PLAN, '{"input":"text"}', "pipelines", 10.5, None)
    assert [row.number for row in bench.again().create_runs([("c", *fields), ("a", *fields)])] == [3, 1]


@case
def of_many_runs_all_are_taken_or_none(bench: Bench) -> None:
    bench.run("a")
    fields = ("Show", PLAN, '{"input":"text"}', "pipelines", 10.5, None)
    with refused(Busy):
        bench.store.create_runs([(name, *fields) for name in ("b", "c", "d")])
    assert [row.id for row in bench.again().runs()] == ["a"]
    assert len(bench.store.create_runs([(name, *fields) for name in ("a", "b", "c", "b")])) == 4
    with refused(Busy) as raised:
        bench.store.create_runs([(str(n), *fields) for n in range(9)])
    assert "fewer at once" in str(raised[0])


@case
def a_child_of_a_run_is_counted_and_never_refused(bench: Bench) -> None:
    """Its parent was accepted, and would wait for it for ever."""
    for name in ("a", "b", "c"):
        bench.run(name)
    child = bench.run("child", parent=1)
    assert child.parent == 1
    number, fence = bench.owned("a")
    bench.store.commit([Write(number, fence, 12.0, [FACT], status=SUCCESS)])
    with refused(Busy):
        bench.run("d")


@case
def a_run_that_is_reopened_is_open_again(bench: Bench) -> None:
    number, fence = bench.owned("a")
    bench.store.commit([Write(number, fence, 12.0, [FACT], status=SUCCESS)])
    for name in ("b", "c"):
        bench.run(name)
    bench.store.commit([Write(number, fence, 13.0, [FACT], status=2)])
    bench.store.commit([Write(number, fence, 13.0, [FACT], status=2)])
    with refused(Busy):
        bench.again().create_run(id="d", name="", plan=PLAN, params="{}", face="", at=13.0)


@case
def as_many_letters_of_a_run_as_may_wait_and_no_more(bench: Bench) -> None:
    number, fence = bench.owned()  # whose first letter waits
    last = bench.store.append(number, _letters(1, 2, 3, 4), 20.0)
    with refused(Busy) as raised:
        bench.store.append(number, _letters(5), 21.0)
    assert getattr(raised[0], "retry_after", 0) > 0 and f"5 letters of run {number}" in str(raised[0])
    assert bench.again().append(number, _letters(4, 2), 21.0) == last  # they are there
    assert len(bench.store.inbox(number, 0)) == 5
    bench.store.commit([Write(number, fence, 22.0, inbox=bench.store.inbox(number, 0)[1].offset)])
    with refused(Busy):
        bench.again().append(number, _letters(5, 6, 7), 23.0)  # there is room for two
    bench.store.append(number, _letters(5, 6), 23.0)
    with refused(Busy):
        bench.store.append(number, _letters(7), 23.0)
    bench.store.commit([Write(number, fence, 24.0, inbox=bench.store.inbox(number, 0)[-1].offset)])
    bench.store.append(number, _letters(7, 8, 9, 10, 11), 25.0)


@case
def as_many_letters_of_all_runs_as_may_wait_and_no_more(bench: Bench) -> None:
    (one, fence), (two, _) = bench.owned("a"), bench.owned("b")
    bench.store.append(one, _letters(1, 2, 3), 20.0)
    bench.store.append(two, _letters(1, 2, 3), 20.0)
    with refused(Busy) as raised:
        bench.again().append(two, _letters(4), 21.0)
    assert "of run" not in str(raised[0]).partition(".")[0]
    bench.store.commit([Write(one, fence, 22.0, inbox=bench.store.inbox(one, 0)[0].offset)])
    bench.store.append(two, _letters(4), 21.0)
    with refused(Busy):
        bench.store.append(one, _letters(4), 21.0)


@case
def a_person_is_heard_when_the_queue_of_events_is_full(bench: Bench) -> None:
    (one, _), (two, _) = bench.owned("a"), bench.owned("b")
    bench.store.append(one, _letters(1, 2, 3, 4), 20.0)
    bench.store.append(two, _letters(1, 2), 20.0)
    for number in (one, two):
        bench.store.append(number, [("person", encode(Cancelled()))], 21.0, urgent=True)
        with refused(Busy):
            bench.store.append(number, _letters("event"), 21.0)
    bench.store.append(one, _letters("pause", "resume"), 22.0, urgent=True)
    with refused(Busy) as raised:  # that room has an end as well
        bench.again().append(one, _letters("more", "and more"), 23.0, urgent=True)
    assert "command" in str(raised[0])

"""The kit of the ports `Store` and `Records`: what every store must do, said as cases.

A case is a function of a `Bench`, which opens the store under test; its name reads as a sentence. Nothing here
knows how a store keeps what it is given, so memory, SQLite and whatever comes later pass the same cases:

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
    def test_store(case, tmp_path): case(Bench(lambda: SQLiteStore(tmp_path / "callboard.db")))
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from callboard.core.facts import Begun, Heard, Paused, encode
from callboard.core.plan import Plan, Task, digest, dump
from callboard.errors import Conflict, FenceLost, InvalidName, NotFound, NotJson, UsageError
from callboard.ports import Call, Json, Owner, Records, RunRow, Store, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAN = dump(Plan((Task("first"), Task("second", needs=("first",)))))
ME = Owner("here", "boot", 100, 1.5, "me")
YOU = Owner("here", "boot", 200, 2.5, "you")
FAR = Owner("there", "boot", 100, 1.5, "far")
FACT = encode(Heard("key", 1, "value"))
WORDS = 'Grüße, 東京 \U0001f3ad "quoted" \\ back\u2028slash\x7f'
NAME = "Grüße, 東京 \U0001f3ad"
_RUNNING, _SUCCESS = 2, 5


class Both(Store, Records, Protocol):
    """A store under test."""


class Bench:
    """Opens the store under test; `again` closes it and opens what was recorded anew."""

    def __init__(self, open: Callable[[], Both], *, reopen: bool = True) -> None:
        self._open, self._reopen = open, reopen
        self.store = open()

    def again(self) -> Both:
        if self._reopen:
            self.store.close()
            self.store = self._open()
        return self.store

    def run(self, id: str = "show-1", **changes: Any) -> RunRow:
        fields = {"name": "Show", "plan": PLAN, "params": '{"input":"text"}', "face": "pipelines", "at": 10.5}
        return self.store.create_run(id=id, **{**fields, **changes})

    def owned(self, id: str = "show-1") -> tuple[int, int]:
        """A run that we own: (number, fence)."""
        number = self.run(id).number
        fence = self.store.claim(number, ME, 1000.0, 11.0, alive=_alive)
        assert fence is not None
        return number, fence


CASES: list[Callable[[Bench], None]] = []


def case(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
    CASES.append(function)
    return function


@contextmanager
def refused(error: type[Exception]) -> Iterator[list[Exception]]:
    """The block raises `error`; it is the one element of the list afterwards."""
    raised: list[Exception] = []
    try:
        yield raised
    except error as one:
        raised.append(one)
        return
    raise AssertionError(f"{error.__name__} was not raised")


def _alive(owner: Owner) -> bool:
    return True


def _dead(owner: Owner) -> bool:
    return False


def _id(run: int, node: int, number: int = 1) -> int:
    return run << 40 | node << 20 | number


def _row(run: int, node: int, number: int = 1, status: int = _RUNNING, began: int = 1, **more: Any) -> tuple[Any, ...]:
    return (_id(run, node, number), status, more.get("attempt", 1), began, more.get("at", 12.25), more.get("reason"),
            more.get("state"))  # fmt: skip


def _call(run: int, index: int = 0, **changes: Any) -> Call:
    call = Call(run, 0, 1, 1, index, f"key-{run}-{index}", "offline", "model", "hash", 10, 5, 250, 0.125, 13.5)
    return call._replace(**changes)


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────


@case
def a_run_is_created_in_init_with_begun_in_its_inbox(bench: Bench) -> None:
    row = bench.run(name=NAME, parent=None)
    expected = RunRow(
        row.number, "show-1", NAME, digest(PLAN), 0, "{}", '{"input":"text"}', "pipelines", 0, None, None,
        10.5, 10.5, None, None,
    )  # fmt: skip
    assert row == expected == bench.again().find_run("show-1")
    (letter,) = bench.store.inbox(row.number, 0)
    assert (letter.run, letter.fact, letter.at) == (row.number, encode(Begun()), 10.5)
    assert list(bench.store.waiting()) == [(row.number, letter.offset)]


@case
def creating_a_run_twice_is_one_run(bench: Bench) -> None:
    assert bench.run() == bench.run()
    assert len(bench.again().inbox(1, 0)) == 1
    with refused(Conflict):
        bench.run(params='{"input":"other"}')
    with refused(Conflict):
        bench.run(plan=dump(Plan((Task("other"),))))


@case
def numbers_rise_in_the_order_of_creation(bench: Bench) -> None:
    numbers = [bench.run(f"show-{place}").number for place in range(3)]
    assert numbers == sorted(set(numbers))
    assert [row.number for row in bench.store.runs()] == numbers[::-1]
    assert [row.number for row in bench.store.runs(most=1, before=numbers[2])] == [numbers[1]]


@case
def ids_that_are_none_are_refused(bench: Bench) -> None:
    for id in ("", "Upper", "a/b", "-first", "ü", "a" * 65, "a\n", "a\x00"):
        with refused(InvalidName):
            bench.run(id)
    with refused(InvalidName):
        bench.run(name="a\x07")
    assert bench.run("a" * 64).id == "a" * 64


@case
def a_run_is_found_by_id_by_number_and_by_a_unique_beginning(bench: Bench) -> None:
    first, second = bench.run("alpha-1"), bench.run("alpha-2")
    digits = bench.run("1x")
    find = bench.store.find_run
    assert find("alpha-2") == second and find(str(first.number)) == first and find("1x") == digits
    assert find("1x").id == "1x" and find("alpha-2").number == second.number
    with refused(NotFound) as raised:
        find("alpha")
    assert "alpha-1" in str(raised[0])
    for id in ("", "beta", "999", "%", "alpha_1"):
        with refused(NotFound):
            find(id)


@case
def many_runs_are_created_and_claimed_at_once(bench: Bench) -> None:
    news = [(f"show-{place}", "Show", PLAN, "{}", "functions", 10.0 + place, None) for place in range(3)]
    rows = bench.store.create_runs(news, owner=ME, lease=50.0)
    assert [(row.owner, row.lease, row.fence) for row in rows] == [(ME, 50.0, 1)] * 3
    assert list(bench.store.create_runs(news, owner=YOU, lease=60.0)) == list(rows)
    with refused(Conflict):
        bench.store.create_runs([("show-9", *news[0][1:]), ("show-1", "Show", PLAN, '{"other":1}', "f", 1.0, None)])
    assert len(bench.again().runs()) == 3
    bench.store.commit([Write(row.number, row.fence, 20.0, status=_RUNNING) for row in rows])
    bench.store.release_all([(row.number, row.fence) for row in rows])
    assert all(row.owner is None for row in bench.store.runs())


@case
def open_runs_are_those_in_init_or_running(bench: Bench) -> None:
    (one, fence), (two, _), (three, other) = bench.owned("a"), bench.owned("b"), bench.owned("c")
    bench.store.commit([Write(one, fence, 20.0, status=_RUNNING), Write(three, other, 21.5, status=_SUCCESS)])
    store = bench.again()
    assert [row.number for row in store.open_runs()] == [one, two]
    assert [row.number for row in store.runs(status=_SUCCESS)] == [three]
    ended = store.find_run("c")
    assert (ended.status, ended.ended, ended.updated) == (_SUCCESS, 21.5, 21.5)
    store.commit([Write(three, other, 22.0, status=_RUNNING)])
    assert store.find_run("c").ended is None


# ── owners and fences ───────────────────────────────────────────────────────────────────────────────────


@case
def a_living_owner_keeps_its_run(bench: Bench) -> None:
    number, fence = bench.owned()
    claim = bench.store.claim
    assert claim(number, YOU, 90.0, 12.0, alive=_alive) is None
    assert claim(number, FAR, 90.0, 999.0, alive=_dead) is None  # elsewhere: believed until its lease is over
    assert claim(number, YOU, 90.0, 12.0, alive=_dead) == fence + 1
    assert claim(number, FAR, 990.0, 90.0, alive=_alive) == fence + 2
    assert bench.again().find_run("show-1").owner == FAR


@case
def a_released_run_is_anyones(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.release(number, fence - 1)
    assert bench.store.find_run("show-1").owner == ME
    bench.store.release(number, fence)
    row = bench.again().find_run("show-1")
    assert (row.owner, row.lease) == (None, None)
    with refused(FenceLost):
        bench.store.commit([Write(number, fence, 12.0, status=_RUNNING)])
    assert bench.store.claim(number, YOU, 90.0, 12.0, alive=_alive) == fence + 1


@case
def leases_are_renewed_and_lost_fences_named(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    assert list(bench.store.renew([(one, fence), (two, other - 1)], 2000.0)) == [two]
    assert bench.again().find_run("a").lease == 2000.0
    assert bench.store.find_run("b").lease == 1000.0
    assert list(bench.store.renew([], 1.0)) == []


@case
def claiming_a_run_that_is_not_there_is_an_error(bench: Bench) -> None:
    with refused(NotFound):
        bench.store.claim(7, ME, 1.0, 1.0, alive=_dead)
    with refused(NotFound):
        bench.store.load(7)
    with refused(NotFound):
        bench.store.append(7, [("a", FACT)], 1.0)


def _lost_fence(bench: Bench, others: int) -> None:
    """A batch of three runs and so many others, of which two are not ours any more."""
    (one, fence), (two, other), (three, third) = bench.owned("a"), bench.owned("b"), bench.owned("c")
    more = [Write(*bench.owned(f"more-{place}"), 20.0, [FACT]) for place in range(others)]
    bench.store.claim(two, YOU, 90.0, 12.0, alive=_dead)
    with refused(FenceLost) as raised:
        bench.store.commit(
            [
                Write(one, fence, 20.0, [FACT], _RUNNING, executions=[_row(one, 0)]),
                Write(two, other, 20.0, [FACT], _RUNNING),
                Write(three, third + 1, 20.0, [FACT]),
                *more,
            ]
        )
    assert isinstance(raised[0], FenceLost) and set(raised[0].runs) == {two, three}
    store = bench.again()
    assert not store.executions(one) and not store.journal(one) and store.find_run("a").status == 0
    store.commit([Write(one, fence, 20.0, [FACT], _RUNNING), *more])
    assert all(len(store.journal(run)) == 1 for run in (one, *(write.run for write in more)))


@case
def a_lost_fence_writes_nothing_of_the_batch(bench: Bench) -> None:
    _lost_fence(bench, 0)


@case
def a_lost_fence_writes_nothing_of_a_batch_of_many_runs(bench: Bench) -> None:
    _lost_fence(bench, 20)


@case
def two_fences_for_one_run_in_a_batch_are_refused(bench: Bench) -> None:
    number, fence = bench.owned()
    with refused(FenceLost):
        bench.store.commit([Write(number, fence, 1.0, [FACT]), Write(number, fence - 1, 1.0, [FACT])])
    assert not bench.store.journal(number)


# ── commit and load ─────────────────────────────────────────────────────────────────────────────────────


@case
def load_returns_what_was_committed(bench: Bench) -> None:
    number, fence = bench.owned()
    rows = [
        _row(number, 0, status=_SUCCESS, began=1, at=1763706201.1234567, reason=WORDS),
        _row(number, 1, began=2, state='{"combination":[[0,1,0]]}'),
        _row(number, 2, began=3, attempt=2, state=json.dumps({"note": WORDS}, ensure_ascii=False), at=0.1 + 0.2),
        _row(number, 2000, began=4),
    ]
    items = [(2000, 1, 0, "ключ", '"text"'), (2001, 1, 1, "b", "null"), (2002, 1, 2, "c", '{"a":[1,2.5e300]}')]
    bench.store.commit(
        [
            Write(
                number, fence, 12.5, [FACT], _RUNNING, '{"holds":["paused"]}', rows,
                items=items, branches=[(3, '{"fired":1}'), (1, '"text"')],
                documents=[("a/ü.md", "f" * 64, None, _id(number, 0), "pending")],
            )
        ]
    )  # fmt: skip
    loaded = bench.again().load(number)
    assert loaded.plan == PLAN
    assert (loaded.run.status, loaded.run.state, loaded.run.owner) == (_RUNNING, '{"holds":["paused"]}', ME)
    assert list(loaded.executions) == rows
    assert list(loaded.items) == items
    assert list(loaded.branches) == [(1, '"text"'), (3, '{"fired":1}')]
    assert list(loaded.documents) == [("a/ü.md", "f" * 64, "pending")]


@case
def load_reads_the_latest_number_of_each_node_and_of_this_run_only(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    mine = [_row(one, node, number, began=number) for node in range(3) for number in (1, 2, 3)]
    bench.store.commit([Write(one, fence, 1.0, executions=mine), Write(two, other, 1.0, executions=[_row(two, 0)])])
    store = bench.again()
    assert list(store.load(one).executions) == [row for row in mine if row[0] & 0xFFFFF == 3]
    assert list(store.executions(one)) == mine
    assert list(store.executions(one, node=1)) == mine[3:6]
    assert list(store.executions(two)) == [_row(two, 0)]


@case
def the_last_row_of_an_execution_counts(bench: Bench) -> None:
    number, fence = bench.owned()
    first = [_row(number, node, status=1, began=node, reason="waits", state="{}") for node in range(30)]
    last = [_row(number, node, status=_RUNNING, began=node) for node in range(30)]
    bench.store.commit([Write(number, fence, 1.0, executions=[*first, *last[:10]])])
    bench.store.commit([Write(number, fence, 1.0, executions=last[10:20]), Write(number, fence, 1.0, executions=last)])
    assert list(bench.again().executions(number)) == last


@case
def rows_that_share_nothing_are_recorded_too(bench: Bench) -> None:
    number, fence = bench.owned()
    rows = [
        _row(number, node, began=node + 7, attempt=node % 5, at=node / 7, reason=f"reason {node}" if node % 3 else None,
             state=f'{{"n":"{node} é"}}' if node % 2 else None, status=node % 9)
        for node in range(100)
    ]  # fmt: skip
    bench.store.commit([Write(number, fence, 1.0, executions=rows)])
    assert list(bench.again().executions(number)) == rows


@case
def items_and_branches_are_replaced(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, items=[(5, 1, 0, "k", "1")], branches=[(0, "1")])])
    bench.store.commit([Write(number, fence, 1.0, items=[(5, 1, 4, "k", '"x"')], branches=[(0, "2")])])
    loaded = bench.again().load(number)
    assert (list(loaded.items), list(loaded.branches)) == ([(5, 1, 4, "k", '"x"')], [(0, "2")])


@case
def a_write_that_fails_leaves_nothing_of_its_batch(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    bench.store.commit([Write(one, fence, 1.0, [FACT], outcomes=[(_id(one, 0), 0, '{"value":1}')])])
    good = Write(
        two, other, 2.0, [FACT], _RUNNING, '{"a":1}', [_row(two, 0)], [(_id(two, 0), 0, '{"value":2}')],
        [(9, 0, 0, "k", "1")], [(0, "1")], [("p", "a" * 64, None, _id(two, 0), "pending")], [_call(two)],
        inbox=bench.store.waiting()[1][1], logs=[(0, 1, 1.0, "info", "text")],
    )  # fmt: skip
    bad = [
        (Conflict, Write(one, fence, 2.0, [FACT], outcomes=[(_id(one, 0), 0, '{"value":9}')])),
        (NotJson, Write(one, fence, 2.0, [FACT], outcomes=[(_id(one, 1), 0, "{nonsense}")])),
        (FenceLost, Write(one, fence + 1, 2.0, [FACT])),
        (UsageError, Write(one, fence, 2.0, [FACT], saves=[("unknown", {})])),
    ]
    for error, write in bad:
        for batch in ([good, write], [write, good]):
            with refused(error):
                bench.store.commit(batch)
    store = bench.again()
    assert not store.executions(two) and not store.journal(two) and not store.calls(two) and not store.logs(two)
    assert not store.load(two).items and not store.load(two).branches and not store.documents()
    assert store.outcome(two, 0, 1) is None and store.outcome(one, 0, 1) == '{"value":1}'
    assert store.find_run("b").state == "{}" and len(store.waiting()) == 2 and not store.ours("a" * 64)
    store.commit([good])
    assert store.document(two, "p") == "a" * 64 and store.document(two, "q") is None
    assert len(store.journal(two)) == 1 and len(store.journal(one)) == 1 and len(store.waiting()) == 1


@case
def an_empty_commit_is_nothing(bench: Bench) -> None:
    bench.store.commit([])
    assert bench.store.try_commit([])


# ── outcomes ────────────────────────────────────────────────────────────────────────────────────────────


@case
def an_outcome_is_written_once(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, outcomes=[(_id(number, 0), 0, '{"value":"first"}')])])
    more = [(_id(number, node), 0, "{}") for node in range(2, 20)]
    for outcomes in (
        [(_id(number, 0), 0, '{"value":"again"}')],
        [(_id(number, 0), 0, '{"value":"again"}'), *more],
        [(_id(number, 1), 0, "{}"), (_id(number, 1), 0, "{}")],
        [(_id(number, 1), 0, "{}"), (_id(number, 1), 0, "{}"), *more],
    ):
        with refused(Conflict) as raised:
            bench.store.commit([Write(number, fence, 1.0, outcomes=outcomes)])
        assert f"node {outcomes[0][0] >> 20 & 0xFFFFF}" in str(raised[0])
    bench.store.commit([Write(number, fence, 1.0, outcomes=[(_id(number, 0), 2, '{"value":"edited"}')])])
    store = bench.again()
    assert store.outcome(number, 0, 1) == '{"value":"first"}'
    assert store.outcome(number, 0, 1, 2) == '{"value":"edited"}'
    assert store.outcome(number, 1, 1) is None
    keys = [(0, 1, 0), (0, 1, 2), (0, 1, 1), (1, 1, 0)]
    assert store.outcomes(number, keys) == {keys[0]: '{"value":"first"}', keys[1]: '{"value":"edited"}'}


@case
def outcomes_come_back_to_the_letter(bench: Bench) -> None:
    number, fence = bench.owned()
    values: list[Json] = [
        None, True, 0, -1, 2**63, 10**40, 0.1, 1e300, -0.0, "", WORDS, "\x00\x01", "null", [], {}, {"": [[{}]]},
        {"value": {"content": "a" * 64}}, ["a" * 64], "\\ud800", "</script>", "a" * 1000,
    ]  # fmt: skip
    texts = [json.dumps({"value": value}, ensure_ascii=False, separators=(",", ":")) for value in values]
    texts += [json.dumps({"value": WORDS}, separators=(",", ":")), '{"a":1,"a":2}', f'{{"content":"{"b" * 64}"}}', "{}"]
    rows = [(_id(number, node), 0, text) for node, text in enumerate(texts)]
    bench.store.commit([Write(number, fence, 1.0, outcomes=rows)])
    for id, revision, text in rows:
        bench.store.commit([Write(number, fence, 1.0, outcomes=[(id + 1, revision, text)])])
    store = bench.again()
    assert [store.outcome(number, node, 1) for node in range(len(texts))] == texts
    for execution in (1, 2):
        found = store.outcomes(number, [(node, execution, 0) for node in range(len(texts))])
        assert [found[node, execution, 0] for node in range(len(texts))] == texts


@case
def what_is_not_a_strict_json_object_is_no_outcome(bench: Bench) -> None:
    number, fence = bench.owned()
    good = [(_id(number, node), 0, '{"value":9}') for node in range(9, 29)]
    for text in (
        "", "nonsense", "null", '"text"', "[1]", f'["{"a" * 64}"]', '{"value":NaN}', '{"value":-Infinity}',
        '{"value":"\\ud800"}', '{"value":"\ud800"}', "{'value':1}", '{"value":1,}', '{"value":0x10}', '{"value":1}//',
        '{"value":1},"5":{"value":2}', '{"value":1}}', '{"value":"' + "a" * 70_000 + '"',
    ):  # fmt: skip
        for others in (good[:1], good):
            with refused(NotJson):
                bench.store.commit([Write(number, fence, 1.0, outcomes=[*others, (_id(number, 1), 0, text)])])
    assert bench.again().outcomes(number, [(9, 1, 0), (1, 1, 0), (5, 1, 0)]) == {}


@case
def large_outcomes_come_back_whole(bench: Bench) -> None:
    number, fence = bench.owned()
    sizes = (16_000, 65_000, 65_536, 70_000, 300_000)
    texts = [json.dumps({"value": char * size}, ensure_ascii=False) for size in sizes for char in ("a", "é")]
    outcomes = [(_id(number, node), 0, text) for node, text in enumerate(texts)]
    bench.store.commit([Write(number, fence, 1.0, outcomes=outcomes)])
    with refused(Conflict):
        bench.store.commit([Write(number, fence, 1.0, outcomes=outcomes[-1:])])
    store = bench.again()
    assert [json.loads(store.outcome(number, node, 1) or "") for node in range(len(texts))] == [
        json.loads(text) for text in texts
    ]
    assert len(store.outcomes(number, [(node, 1, 0) for node in range(len(texts))])) == len(texts)


# ── journal ─────────────────────────────────────────────────────────────────────────────────────────────


@case
def the_journal_keeps_facts_in_order_and_chained(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    bench.store.commit([Write(one, fence, 1.25, [FACT, encode(Paused())]), Write(two, other, 1.5, [FACT])])
    many = [encode(Heard(f"key {place}", place, WORDS)) for place in range(500)]
    bench.store.commit([Write(one, fence, 2.0, many)])
    bench.store.commit([Write(one, fence, 2.5)])  # no facts: no row
    bench.store.commit([Write(one, fence, 2.5)] * 12)
    store = bench.again()
    store.commit([Write(one, fence, 3.0, [FACT]), Write(one, fence, 3.5, many[:3])])
    rows = bench.again().journal(one)
    assert [row[:2] for row in rows] == [(1, 1.25), (2, 2.0), (3, 3.0), (4, 3.5)]
    assert [list(row[2]) for row in rows] == [[FACT, encode(Paused())], many, [FACT], many[:3]]
    assert len({row[3] for row in rows}) == 4
    assert [list(row[2]) for row in bench.store.journal(two)] == [[FACT]]
    bench.store.commit([Write(two, other, 1763706201.1 + place / 7, [FACT]) for place in range(12)])
    assert [row[1] for row in bench.again().journal(two)][1:] == [1763706201.1 + place / 7 for place in range(12)]
    with refused(NotFound):
        bench.store.journal(99)


@case
def a_new_owner_continues_the_chain(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, [FACT])])
    taken = bench.store.claim(number, YOU, 90.0, 12.0, alive=_dead)
    assert taken is not None
    bench.store.commit([Write(number, taken, 2.0, [FACT])])
    with refused(FenceLost):
        bench.store.commit([Write(number, fence, 3.0, [FACT])])
    bench.store.commit([Write(number, taken, 4.0, [FACT])])
    assert [row[0] for row in bench.again().journal(number)] == [1, 2, 3]


# ── inbox ───────────────────────────────────────────────────────────────────────────────────────────────


@case
def the_same_letter_twice_is_one(bench: Bench) -> None:
    (one, _), (two, _) = bench.owned("a"), bench.owned("b")
    first = bench.store.append(one, [("x", FACT), ("y", FACT)], 20.0)
    assert bench.store.append(one, [("y", encode(Paused())), ("x", FACT)], 21.0) == first
    last = bench.store.append(one, [("x", FACT), ("z", encode(Heard(WORDS, 3)))], 22.0)
    bench.store.append(two, [("x", FACT)], 23.0)
    letters = bench.again().inbox(one, 0)
    assert [letter.id for letter in letters][1:] == ["x", "y", "z"]
    assert [letter.offset for letter in letters] == sorted({letter.offset for letter in letters})
    assert (letters[-1].offset, letters[-1].fact, letters[-1].at) == (last, encode(Heard(WORDS, 3)), 22.0)
    assert list(bench.store.inbox(one, first)) == list(letters[-1:])
    assert len(bench.store.inbox(one, 0, most=2)) == 2


@case
def consumed_letters_wait_no_more(bench: Bench) -> None:
    number, fence = bench.owned()
    last = bench.store.append(number, [("x", FACT)], 20.0)
    assert list(bench.store.waiting()) == [(number, last)]
    bench.store.commit([Write(number, fence, 21.0, inbox=last)])
    assert not bench.again().waiting()
    bench.store.commit([Write(number, fence, 21.0, inbox=1)])  # never backwards
    assert bench.again().load(number).consumed == last
    bench.store.append(number, [("x", FACT)], 22.0)  # known, though consumed
    assert not bench.store.waiting()
    more = bench.store.append(number, [("y", FACT)], 22.0)
    assert list(bench.store.waiting()) == [(number, more)] and more > last


@case
def the_version_changes_when_someone_appends(bench: Bench) -> None:
    number, _ = bench.owned()
    before = bench.store.version()
    assert bench.store.version() == before
    bench.store.append(number, [("x", FACT)], 20.0)
    assert bench.store.version() != before


# ── ledger, documents, events, logs ─────────────────────────────────────────────────────────────────────


@case
def a_call_is_one_row_of_the_ledger(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, ledger=[_call(number, status="reserved"), _call(number, 1)])])
    settled = _call(number, cost=None, answer=json.dumps({"text": WORDS}, ensure_ascii=False), input_tokens=7)
    bench.store.commit([Write(number, fence, 2.0, ledger=[settled, _call(number, 2, node=4, status="cached", cost=0)])])
    bench.store.commit([Write(number, fence, 3.0, ledger=[_call(number, status="reserved", answer=None)])])
    store = bench.again()
    assert list(store.calls(number)) == [settled, _call(number, 1), _call(number, 2, node=4, status="cached", cost=0)]
    assert list(store.calls(number, 4)) == list(store.calls(number, 4, 1)) != []
    assert not store.calls(number, 4, 2) and not store.calls(99)
    known = {"calls": 2, "cached": 1, "input_tokens": 27, "output_tokens": 15, "cost": 250}
    assert store.totals(number) == {**known, "unpriced": 1}
    assert set(store.totals(99).values()) == {0}


@case
def documents_are_kept_by_path_and_known_by_content(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    old, new, edit = "a" * 64, "b" * 64, "c" * 64
    bench.store.commit([Write(one, fence, 1.0, documents=[("x.md", old, None, _id(one, 0), "pending")])])
    bench.store.commit([Write(one, fence, 2.0, documents=[("x.md", old, None, _id(one, 0), "published")])])
    bench.store.commit(
        [
            Write(one, fence, 3.0, documents=[("y.md", edit, None, _id(one, 0), "edited")]),
            Write(one, fence, 3.0, documents=[("x.md", new, old, _id(one, 1), "pending")]),
            Write(two, other, 3.0, documents=[("x.md", old, None, _id(two, 0), "published")]),
        ]
    )
    store = bench.again()
    mine = [(one, "x.md", new, old, _id(one, 1), "pending"), (one, "y.md", edit, None, _id(one, 0), "edited")]
    assert list(store.documents(one)) == mine
    assert list(store.documents()) == [*mine, (two, "x.md", old, None, _id(two, 0), "published")]
    assert [store.ours(hash) for hash in (old, new, edit, "d" * 64)] == [True, True, False, False]


@case
def events_have_rising_offsets(bench: Bench) -> None:
    value = {"text": WORDS, "list": [1, None, 0.5]}
    first = list(bench.store.publish([("key", "space", value, "sender", None), ("b", "", None, "", {})], 5.5))
    second = list(bench.store.publish([("c", "", "text", "", [])], 6.5))
    assert first + second == sorted({*first, *second}) and len(first) == 2
    store = bench.again()
    assert list(store.events()) == [
        (first[0], "key", "space", value, "sender", None, 5.5),
        (first[1], "b", "", None, "", {}, 5.5),
        (second[0], "c", "", "text", "", [], 6.5),
    ]
    assert [event[0] for event in store.events(first[0], most=1)] == [first[1]]
    assert not list(store.publish([], 7.0))


@case
def logs_are_kept_by_run_and_node_and_the_newest_are_shown(bench: Bench) -> None:
    number, fence = bench.owned()
    lines = [(place % 2, 1, place / 8, "info", f"{WORDS} {place}") for place in range(10)]
    bench.store.commit([Write(number, fence, 1.0, logs=[*lines, (5, 2, 9.0, "error", "lone \ud800 surrogate")])])
    store = bench.again()
    assert list(store.logs(number, 0)) == lines[::2]
    assert list(store.logs(number, 1, most=2)) == [lines[7], lines[9]]
    assert list(store.logs(number, most=1)) == [(5, 2, 9.0, "error", "lone ? surrogate")]
    assert not store.logs(99)


# ── content and records ─────────────────────────────────────────────────────────────────────────────────


@case
def content_is_named_by_its_hash(bench: Bench) -> None:
    names = [bench.store.put(data) for data in (b"", b"bytes", b"\x00" * 200_000, b"bytes")]
    assert names[1] == names[3] == "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9"
    store = bench.again()
    assert [store.get(name) for name in names[:3]] == [b"", b"bytes", b"\x00" * 200_000]
    with refused(NotFound):
        store.get("0" * 64)
    for hash in ("", "../../etc/passwd", "A" * 64, "0" * 63):
        with refused(InvalidName):
            store.get(hash)


@case
def records_change_only_from_their_latest_revision(bench: Bench) -> None:
    store = bench.store
    first = store.write("token", "ü", {"text": WORDS}, revision=0)
    assert (first.kind, first.id, first.value) == ("token", "ü", {"text": WORDS})
    with refused(Conflict):
        store.write("token", "ü", 1, revision=0)
    second = store.write("token", "ü", [1, None], revision=first.revision)
    assert second.revision > first.revision
    for revision in (first.revision, second.revision + 1):
        with refused(Conflict):
            store.write("token", "ü", 1, revision=revision)
        with refused(Conflict):
            store.remove("token", "ü", revision=revision)
    with refused(Conflict):
        store.write("token", "new", 1, revision=3)
    store.write("token", "a", None, revision=0)
    store.write("other", "a", 1, revision=0)
    store = bench.again()
    assert store.read("token", "ü") == second
    assert [record.id for record in store.list("token")] == ["a", "ü"]
    assert store.list("none") == [] and store.read("token", "none") is None


@case
def a_removed_record_does_not_come_back_by_a_late_writer(bench: Bench) -> None:
    store = bench.store
    old = store.write("token", "a", 1, revision=0)
    store.remove("token", "a", revision=old.revision)
    assert store.read("token", "a") is None and store.list("token") == []
    for id in ("a", "b"):
        with refused(Conflict):
            store.remove("token", id, revision=0)
    new = bench.again().write("token", "a", 2, revision=0)
    assert new.revision > old.revision
    with refused(Conflict):
        bench.store.write("token", "a", 3, revision=old.revision)
    assert bench.store.read("token", "a") == new


@case
def values_that_are_not_strict_json_are_refused(bench: Bench) -> None:
    for value in (float("nan"), "\ud800", {1: 2}, {"a": {None: 1}}, object(), b"bytes", {"a": {1, 2}}):
        with refused(NotJson):
            bench.store.write("kind", "id", value, revision=0)
        with refused(NotJson):
            bench.store.publish([("key", "", value, "", None)], 1.0)
    assert bench.again().read("kind", "id") is None and not bench.store.events()

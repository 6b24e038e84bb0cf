"""Cases of a store: runs, their owners, what a commit leaves and what a load finds, outcomes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from callboard.core.facts import Begun, encode
from callboard.core.plan import Plan, Task, digest, dump
from callboard.errors import Ambiguous, Conflict, FenceLost, InvalidName, NotFound, NotJson, UsageError
from callboard.ports import Json, Recorded, RunRow, Write
from callboard.testing.kits.bench import (
    FACT,
    FAR,
    ME,
    NAME,
    PLAN,
    RUNNING,
    SUCCESS,
    WORDS,
    YOU,
    Bench,
    Cases,
    a_call,
    alive,
    at,
    dead,
    lease,
    packed,
    refused,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callboard.ports import Call, Store

case = CASES = Cases()


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


def _followed(store: Store, end: Write, facts: Sequence[tuple[str, str]], calls: Sequence[Call] = ()) -> RunRow:
    plan = dump(Plan((Task("other"),)))
    return store.adopt(
        end, id="show-1.2", name=NAME, plan=plan, params="{}", face="pipelines", facts=facts, calls=calls
    )


@case
def a_run_is_ended_and_followed_in_one_transaction(bench: Bench) -> None:
    number, fence = bench.owned()
    end = Write(number, fence, 20.5, [FACT], status=SUCCESS, state='{"replaced":"show-1.2"}')
    letters = [("adopted.0", FACT), ("adopted.1", FACT)]
    calls = [a_call(number, key="taken", cost=0, status="cached")]
    row = _followed(bench.store, end, letters, calls)
    assert (row.id, row.parent, row.status, row.created, row.owner) == ("show-1.2", number, 0, 20.5, None)
    store = bench.again()
    assert [letter.fact for letter in store.inbox(row.number, 0)] == [FACT, FACT]
    assert store.find_run("show-1").status == SUCCESS and store.find_run("show-1").state == end.state
    assert [call.key for call in store.calls(row.number)] == ["taken"] and not store.calls(number)
    assert store.load(row.number).plan == dump(Plan((Task("other"),)))
    with refused(Conflict):
        _followed(store, end, letters)
    assert len(store.journal(number)) == 1


@case
def nothing_is_followed_by_who_does_not_own_it(bench: Bench) -> None:
    number, fence = bench.owned()
    with refused(FenceLost):
        _followed(bench.store, Write(number, fence + 1, 20.5, [FACT]), [("adopted.0", FACT)])
    store = bench.again()
    assert [row.id for row in store.runs()] == ["show-1"] and not store.journal(number)


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
    with refused(Ambiguous) as raised:
        find("alpha")
    assert getattr(raised[0], "ids", ()) == ("alpha-2", "alpha-1") and "alpha-2, alpha-1" in str(raised[0])
    for id in ("", "beta", "999", "%", "alpha_1"):
        with refused(NotFound):
            find(id)


@case
def a_number_means_that_run_whatever_others_are_called(bench: Bench) -> None:
    first = bench.run("show-1")
    other = bench.run(str(first.number))
    assert bench.store.find_run(first.number) == first and bench.store.find_run(str(first.number)) == other
    with refused(NotFound):
        bench.store.find_run(999)


@case
def many_runs_are_created_and_claimed_at_once(bench: Bench) -> None:
    news = [(f"show-{place}", "Show", PLAN, "{}", "functions", 10.0 + place, None) for place in range(3)]
    rows = bench.store.create_runs(news, owner=ME, lease=lease(50.0))
    assert [(row.owner, row.lease, row.fence) for row in rows] == [(ME, lease(50.0), 1)] * 3
    assert list(bench.store.create_runs(news, owner=YOU, lease=lease(60.0))) == list(rows)
    with refused(Conflict):
        bench.store.create_runs([("show-9", *news[0][1:]), ("show-1", "Show", PLAN, '{"other":1}', "f", 1.0, None)])
    assert len(bench.again().runs()) == 3
    bench.store.commit([Write(row.number, row.fence, 20.0, status=RUNNING) for row in rows])
    bench.store.release_all([(row.number, row.fence) for row in rows])
    assert all(row.owner is None for row in bench.store.runs())


@case
def open_runs_are_those_in_init_or_running(bench: Bench) -> None:
    (one, fence), (two, _), (three, other) = bench.owned("a"), bench.owned("b"), bench.owned("c")
    bench.store.commit([Write(one, fence, 20.0, status=RUNNING), Write(three, other, 21.5, status=SUCCESS)])
    store = bench.again()
    assert [row.number for row in store.open_runs()] == [one, two]
    assert [row.number for row in store.runs(status=SUCCESS)] == [three]
    ended = store.find_run("c")
    assert (ended.status, ended.ended, ended.updated) == (SUCCESS, 21.5, 21.5)
    store.commit([Write(three, other, 22.0, status=RUNNING)])
    assert store.find_run("c").ended is None


# ── owners and fences ───────────────────────────────────────────────────────────────────────────────────


@case
def a_living_owner_keeps_its_run(bench: Bench) -> None:
    number, fence = bench.owned()
    claim = bench.store.claim
    assert claim(number, YOU, lease(90.0), at(12.0), alive=alive) is None
    assert claim(number, FAR, lease(90.0), at(999.0), alive=dead) is None  # believed until its lease is over
    assert claim(number, YOU, lease(90.0), at(12.0), alive=dead) == fence + 1
    assert claim(number, FAR, lease(990.0), at(90.0), alive=alive) == fence + 2
    assert bench.again().find_run("show-1").owner == FAR


@case
def an_owner_that_is_stopped_is_believed_until_its_lease_is_over(bench: Bench) -> None:
    number, fence = bench.owned()
    assert bench.store.claim(number, YOU, lease(2000.0), at(999.0), alive=lambda owner: None) is None
    assert bench.store.claim(number, YOU, lease(2000.0), at(1000.0), alive=lambda owner: None) == fence + 1


@case
def a_lease_counts_elapsed_time_and_no_wall_clock(bench: Bench) -> None:
    """Of another boot only the wall is left; a lease that is further away than it was long is none any more."""
    claim = bench.store.claim
    for place, wall in enumerate((-1e9, 29.0, 1e9)):
        number, fence = bench.owned(f"here-{place}")
        assert claim(number, FAR, lease(2e3), at(999.0, wall), alive=dead) is None
        assert claim(number, FAR, lease(2e3), at(1000.0, wall), alive=dead) == fence + 1
    for place, (wall, is_free) in enumerate(((29.0, False), (30.0, True), (0.0, False), (-1.0, True))):
        number, _ = bench.owned(f"there-{place}")
        taken = claim(number, FAR, lease(2e3), at(1.0, wall, "another boot"), alive=dead)
        assert (taken is not None) == is_free


@case
def a_released_run_is_anyones(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.release(number, fence - 1)
    assert bench.store.find_run("show-1").owner == ME
    bench.store.release(number, fence)
    row = bench.again().find_run("show-1")
    assert (row.owner, row.lease) == (None, None)
    with refused(FenceLost):
        bench.store.commit([Write(number, fence, 12.0, status=RUNNING)])
    assert bench.store.claim(number, YOU, lease(90.0), at(12.0), alive=alive) == fence + 1


@case
def leases_are_renewed_and_lost_fences_named(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    assert list(bench.store.renew([(one, fence), (two, other - 1)], lease(2000.0))) == [two]
    assert bench.again().find_run("a").lease == lease(2000.0)
    assert bench.store.find_run("b").lease == lease(1000.0)
    assert list(bench.store.renew([], lease(1.0))) == []


@case
def claiming_a_run_that_is_not_there_is_an_error(bench: Bench) -> None:
    with refused(NotFound):
        bench.store.claim(7, ME, lease(1.0), at(1.0), alive=dead)
    with refused(NotFound):
        bench.store.load(7)
    with refused(NotFound):
        bench.store.append(7, [("a", FACT)], 1.0)


def _lost_fence(bench: Bench, others: int) -> None:
    """A batch of three runs and so many others, of which two are not ours any more."""
    (one, fence), (two, other), (three, third) = bench.owned("a"), bench.owned("b"), bench.owned("c")
    more = [Write(*bench.owned(f"more-{place}"), 20.0, [FACT]) for place in range(others)]
    bench.store.claim(two, YOU, lease(90.0), at(12.0), alive=dead)
    with refused(FenceLost) as raised:
        bench.store.commit(
            [
                Write(one, fence, 20.0, [FACT], RUNNING, executions=[row_of(one, 0)]),
                Write(two, other, 20.0, [FACT], RUNNING),
                Write(three, third + 1, 20.0, [FACT]),
                *more,
            ]
        )
    assert isinstance(raised[0], FenceLost) and set(raised[0].runs) == {two, three}
    store = bench.again()
    assert not store.executions(one) and not store.journal(one) and store.find_run("a").status == 0
    store.commit([Write(one, fence, 20.0, [FACT], RUNNING), *more])
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
        row_of(number, 0, status=SUCCESS, began=1, at=1763706201.1234567, reason=WORDS),
        row_of(number, 1, began=2, state='{"combination":[[0,1,0]]}'),
        row_of(number, 2, began=3, attempt=2, state=json.dumps({"note": WORDS}, ensure_ascii=False), at=0.1 + 0.2),
        row_of(number, 2000, began=4),
    ]
    items = [(2000, 1, 0, "ключ", '"text"'), (2001, 1, 1, "b", "null"), (2002, 1, 2, "c", '{"a":[1,2.5e300]}')]
    bench.store.commit(
        [
            Write(
                number, fence, 12.5, [FACT], RUNNING, '{"holds":["paused"]}', rows,
                items=items, branches=[(3, '{"fired":1}'), (1, '"text"')],
                documents=[("a/ü.md", "f" * 64, None, packed(number, 0), "pending")],
            )
        ]
    )  # fmt: skip
    loaded = bench.again().load(number)
    assert loaded.plan == PLAN
    assert (loaded.run.status, loaded.run.state, loaded.run.owner) == (RUNNING, '{"holds":["paused"]}', ME)
    assert list(loaded.executions) == rows
    assert list(loaded.items) == items
    assert list(loaded.branches) == [(1, '"text"'), (3, '{"fired":1}')]
    assert list(loaded.documents) == [("a/ü.md", "f" * 64, "pending")]


@case
def load_reads_the_latest_number_of_each_node_and_of_this_run_only(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    mine = [row_of(one, node, number, began=number) for node in range(3) for number in (1, 2, 3)]
    bench.store.commit([Write(one, fence, 1.0, executions=mine), Write(two, other, 1.0, executions=[row_of(two, 0)])])
    store = bench.again()
    assert list(store.load(one).executions) == [row for row in mine if row[0] & 0xFFFFF == 3]
    assert list(store.executions(one)) == mine
    assert list(store.executions(one, node=1)) == mine[3:6]
    assert list(store.executions(two)) == [row_of(two, 0)]


@case
def the_last_row_of_an_execution_counts(bench: Bench) -> None:
    number, fence = bench.owned()
    first = [row_of(number, node, status=1, began=node, reason="waits", state="{}") for node in range(30)]
    last = [row_of(number, node, status=RUNNING, began=node) for node in range(30)]
    bench.store.commit([Write(number, fence, 1.0, executions=[*first, *last[:10]])])
    bench.store.commit([Write(number, fence, 1.0, executions=last[10:20]), Write(number, fence, 1.0, executions=last)])
    assert list(bench.again().executions(number)) == last


@case
def rows_that_share_nothing_are_recorded_too(bench: Bench) -> None:
    number, fence = bench.owned()
    rows = [
        row_of(number, node, began=node + 7, attempt=node % 5, at=node / 7,
               reason=f"reason {node}" if node % 3 else None, state=f'{{"n":"{node} é"}}' if node % 2 else None,
               status=node % 9)
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
    bench.store.commit([Write(one, fence, 1.0, [FACT], outcomes=[(packed(one, 0), 0, '{"value":1}')])])
    good = Write(
        two, other, 2.0, [FACT], RUNNING, '{"a":1}', [row_of(two, 0)], [(packed(two, 0), 0, '{"value":2}')],
        [(9, 0, 0, "k", "1")], [(0, "1")], [("p", "a" * 64, None, packed(two, 0), "pending")], [a_call(two)],
        inbox=bench.store.waiting()[1][1], logs=[(0, 1, 1.0, "info", "text")],
    )  # fmt: skip
    bad = [
        (Conflict, Write(one, fence, 2.0, [FACT], outcomes=[(packed(one, 0), 0, '{"value":9}')])),
        (NotJson, Write(one, fence, 2.0, [FACT], outcomes=[(packed(one, 1), 0, "{nonsense}")])),
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
    assert store.find_run("b").state == "{}" and len(store.waiting()) == 2 and not store.ours("a" * 64, "p")
    store.commit([good])
    assert store.document(two, "p") == Recorded("a" * 64, "pending", packed(two, 0), None)
    assert store.document(two, "q") is None
    assert len(store.journal(two)) == 1 and len(store.journal(one)) == 1 and len(store.waiting()) == 1


@case
def an_empty_commit_is_nothing(bench: Bench) -> None:
    bench.store.commit([])
    assert bench.store.try_commit([])


# ── outcomes ────────────────────────────────────────────────────────────────────────────────────────────


@case
def an_outcome_is_written_once(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, outcomes=[(packed(number, 0), 0, '{"value":"first"}')])])
    more = [(packed(number, node), 0, "{}") for node in range(2, 20)]
    for outcomes in (
        [(packed(number, 0), 0, '{"value":"again"}')],
        [(packed(number, 0), 0, '{"value":"again"}'), *more],
        [(packed(number, 1), 0, "{}"), (packed(number, 1), 0, "{}")],
        [(packed(number, 1), 0, "{}"), (packed(number, 1), 0, "{}"), *more],
    ):
        with refused(Conflict) as raised:
            bench.store.commit([Write(number, fence, 1.0, outcomes=outcomes)])
        assert f"node {outcomes[0][0] >> 20 & 0xFFFFF}" in str(raised[0])
    bench.store.commit([Write(number, fence, 1.0, outcomes=[(packed(number, 0), 2, '{"value":"edited"}')])])
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
    rows = [(packed(number, node), 0, text) for node, text in enumerate(texts)]
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
    good = [(packed(number, node), 0, '{"value":9}') for node in range(9, 29)]
    for text in (
        "", "nonsense", "null", '"text"', "[1]", f'["{"a" * 64}"]', '{"value":NaN}', '{"value":-Infinity}',
        '{"value":"\\ud800"}', '{"value":"\ud800"}', "{'value':1}", '{"value":1,}', '{"value":0x10}', '{"value":1}//',
        '{"value":1},"5":{"value":2}', '{"value":1}}', '{"value":"' + "a" * 70_000 + '"',
    ):  # fmt: skip
        for others in (good[:1], good):
            with refused(NotJson):
                bench.store.commit([Write(number, fence, 1.0, outcomes=[*others, (packed(number, 1), 0, text)])])
    assert bench.again().outcomes(number, [(9, 1, 0), (1, 1, 0), (5, 1, 0)]) == {}


@case
def large_outcomes_come_back_whole(bench: Bench) -> None:
    number, fence = bench.owned()
    sizes = (16_000, 65_000, 65_536, 70_000, 300_000)
    texts = [json.dumps({"value": char * size}, ensure_ascii=False) for size in sizes for char in ("a", "é")]
    outcomes = [(packed(number, node), 0, text) for node, text in enumerate(texts)]
    bench.store.commit([Write(number, fence, 1.0, outcomes=outcomes)])
    with refused(Conflict):
        bench.store.commit([Write(number, fence, 1.0, outcomes=outcomes[-1:])])
    store = bench.again()
    assert [json.loads(store.outcome(number, node, 1) or "") for node in range(len(texts))] == [
        json.loads(text) for text in texts
    ]
    assert len(store.outcomes(number, [(node, 1, 0) for node in range(len(texts))])) == len(texts)

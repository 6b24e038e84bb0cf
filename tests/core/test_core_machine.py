"""What the histories cannot say: rows, replays, stories, jitter, admission's own fact, runs without an engine."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from callboard.core import facts as f
from callboard.core import mapped, replay, rows
from callboard.core import orders as o
from callboard.core.admission import MOST_STARTS, Admission
from callboard.core.deadline import Now
from callboard.core.events import MOST_ERRORS
from callboard.core.executions import LONGEST_ASKED, pack
from callboard.core.machine import DRAINED, HANDLERS, UNDRAINED, step
from callboard.core.plan import EventIs, Every, Map, Plan, Probe, Retry, Review, Rule, Task, TaskIs
from callboard.core.reasons import why
from callboard.core.run import FULL_PAGE, Run
from callboard.core.status import FAILED, INIT, QUEUED, RETRYING, RUNNING, STOPPED, SUCCESS
from callboard.core.story import story

if TYPE_CHECKING:
    from callboard.core.step import Decision

NOW = Now(1000.0, "boot", 10.0)


class Life:
    """A run with its journal and its latest rows, as a store would have them."""

    def __init__(self, *tasks: Task, **plan: Any) -> None:
        self.plan = Plan(tasks, **plan)
        self.run = Run(1, "run", self.plan)
        self.admission: Admission | None = Admission()
        self.journal: list[tuple[list[str], Now, bool]] = []
        self.executions: dict[int, tuple[Any, ...]] = {}
        self.outcomes: dict[tuple[int, int], str] = {}
        self.items: dict[int, tuple[int, int, int, str, str]] = {}
        self.state = "{}"

    def step(self, *facts: f.Fact, at: float = 0.0, drained: bool = True) -> Decision:
        now = NOW._replace(wall=NOW.wall + at, elapsed=NOW.elapsed + at)
        decision = step(self.run, facts, now, drained, self.admission)
        self.journal.append((decision.journal, now, True))
        self.executions |= {row[0] >> 20: row for row in decision.executions}
        self.outcomes |= {(id, revision): text for id, revision, text in decision.outcomes}
        self.items |= {item[0]: item for item in decision.items}
        self.state = decision.state or self.state
        return decision

    def loaded(self) -> Run:
        status, rows_of = int(self.run.status), self.executions.values()
        items = self.items.values()
        return rows.load(1, "run", self.plan, status=status, state=self.state, executions=rows_of, items=items)


def test_there_is_a_handler_for_every_kind_of_fact() -> None:
    assert set(HANDLERS) == set(f.KINDS.values())


def test_admissions_own_fact_means_nothing_from_outside() -> None:
    life = Life(Task("a", limits=("x",)), Task("b", limits=("x",)), limits={"x": 1})
    life.step(f.Begun())
    decision = life.step(f.Admitted((1,)))
    assert not decision.journal
    assert not decision.orders
    assert life.run.nodes[1].status is QUEUED


def hopeless() -> Life:
    """`never` may be started by itself alone; `then` runs when that is hopeless, and `hears` keeps the run."""
    rules = (Rule("never", "START", TaskIs("never", ("RUNNING",))), Rule("hears", "START", EventIs("k")))
    life = Life(Task("a"), Task("never"), Task("then", needs=("a",), optional=("never",)), Task("hears"), rules=rules)
    life.step(f.Begun())
    return life


def test_what_was_not_judged_for_letters_that_waited_is_not_judged_by_a_replay() -> None:
    life = hopeless()
    withheld = life.step(f.Succeeded(0, 1, 1), drained=False)
    assert withheld.journal[-1] == UNDRAINED and not withheld.orders
    life.step(f.Heard("k", 1))
    assert life.run.nodes[2].status is INIT, "never may still run, for all that was judged"
    again = Run(1, "run", life.plan)
    for journal, now, _ in life.journal:
        assert replay.step(again, journal, now).journal == journal
    assert replay.picture(again) == replay.picture(life.run)


def test_a_step_in_which_only_something_is_judged_is_journalled() -> None:
    life = hopeless()
    life.step(f.Succeeded(0, 1, 1), drained=False)
    life.admission = None  # whoever takes the run for a moment has no engine
    assert life.step().journal == [DRAINED] and life.run.nodes[2].status is QUEUED
    again = Run(1, "run", life.plan)
    replay.replay(again, life.journal)
    assert again.nodes[2].status is QUEUED


def test_a_run_that_is_judged_again_stays_as_it_is() -> None:
    """A tick does not wait for what is hopeless; each time it was judged it was found to, and then again not to."""
    rules = (Rule("never", "START", TaskIs("never", ("RUNNING",))),)
    ticks = Task("ticks", needs=("a",), optional=("never",), every=Every(20.0))
    life = Life(Task("a"), Task("never"), ticks, rules=rules)
    life.step(f.Begun())
    life.step(f.Succeeded(0, 1, 1))
    life.step(f.Succeeded(2, 1, 1))
    for instant in range(1, 4):
        assert life.run.nodes[1].judged and life.run.nodes[2].will_tick
        loaded = life.loaded()
        still = step(loaded, [], NOW)
        assert loaded.changed is False and not (still.journal or still.executions), "it was judged, and nothing moved"
        assert life.step(f.Ticked(2, NOW.wall + 20.0 * instant), at=20.0 * instant).starts == 1
        life.step(f.Succeeded(2, instant + 1, 1), at=20.0 * instant)


def test_without_an_engine_what_would_start_waits_for_one() -> None:
    life = Life(Task("a"), Task("b"))
    life.admission = None
    assert not life.step(f.Begun()).orders
    assert why(life.run, 0) == "no engine"
    life.step(f.Paused())
    assert why(life.run, 0) == "paused"
    life.step(f.Resumed(), f.Asked("b", "STOP"))
    life.admission = Admission()
    life.admission.adopt(life.run)
    assert life.step().orders == [o.Start(0, 1, 1)]


def test_a_step_starts_a_few_hundred_and_leaves_the_rest_to_the_next() -> None:
    life = Life(*(Task(f"t{n}") for n in range(MOST_STARTS + 1)))
    assert len(life.step(f.Begun()).orders) == MOST_STARTS
    assert why(life.run, MOST_STARTS, life.admission) == "next step"
    assert len(life.step().orders) == 1


def test_a_page_that_is_no_longer_due_when_its_turn_comes_is_not_asked_for() -> None:
    life = Life(*(Task(f"t{n}") for n in range(MOST_STARTS)), Task("m", map=Map()))
    life.step(f.Begun())
    life.step()
    node = MOST_STARTS
    life.step(f.Listed(node, 1, 1, (("x", 1),), True), f.Asked("m", "STOP"))
    assert life.run.nodes[node].mapped is not None
    mapped.ask(_step(life.run), life.run.nodes[node])
    assert not life.run.nodes[node].mapped.asked


def _step(run: Run) -> Any:
    return replay.Step(run, NOW, None)


def _many(page: int, count: int = FULL_PAGE) -> tuple[tuple[str, int], ...]:
    return tuple((f"{page}-{place}", place) for place in range(count))


def _ends(life: Life, count: int) -> Decision:
    """So many more items succeed, those that have been started the longest first, but never the very first one."""
    decision = life.step()
    for _ in range(count):
        node = next(row for row in life.run.nodes[2:] if row.at_work)
        decision = life.step(f.Succeeded(node.id, 1, 1, "1"))
    return decision


def _listing() -> Life:
    """A full page has come, of which everything has been started that may be."""
    life = Life(Task("m", map=Map()))
    life.step(f.Begun())
    life.step(f.Listed(0, 1, 1, _many(1), True))
    while life.run.queued:
        life.step()
    return life


def test_half_of_a_full_page_is_enough_to_ask_for_the_next_one_and_nobody_waits_for_a_straggler() -> None:
    life = _listing()
    assert not _ends(life, FULL_PAGE // 2 - 1).orders
    assert _ends(life, 1).orders == [o.List(0, 1, 2)]
    life.step(f.Listed(0, 1, 2, _many(2), True))
    while life.run.queued:
        life.step()
    assert not _ends(life, FULL_PAGE - 1).orders
    assert _ends(life, 1).orders == [o.List(0, 1, 3)]
    life.step(f.Listed(0, 1, 3, _many(3, 3)))
    _ends(life, FULL_PAGE // 2 + 2)
    assert life.run.status is RUNNING and life.run.nodes[1].at_work
    assert life.step(f.Succeeded(1, 1, 1, "1")).orders == [o.Finish(SUCCESS)]
    assert replay.stored(life.loaded()) == replay.stored(life.run)
    again = Run(1, "run", life.plan)
    replay.replay(again, life.journal)
    assert replay.picture(again) == replay.picture(life.run)


def test_a_page_asked_for_ahead_that_brings_only_what_is_at_work_does_not_end_the_list() -> None:
    life = _listing()
    assert _ends(life, FULL_PAGE // 2).orders == [o.List(0, 1, 2)]
    assert not life.step(f.Listed(0, 1, 2, _many(1)[:1], True)).orders
    assert not _ends(life, FULL_PAGE // 2 - 1).orders
    assert replay.stored(life.loaded()) == replay.stored(life.run)
    assert life.step(f.Succeeded(1, 1, 1, "1")).orders == [o.List(0, 1, 3)]
    assert life.step(f.Listed(0, 1, 3, _many(1)[:1], True)).orders == [o.Finish(SUCCESS)]


def test_a_list_that_fails_when_it_is_asked_ahead_is_not_asked_again() -> None:
    life = _listing()
    _ends(life, FULL_PAGE // 2)
    assert not life.step(f.ListFailed(0, 1, "gone")).orders
    assert not _ends(life, FULL_PAGE // 2 - 1).orders
    assert life.step(f.Succeeded(1, 1, 1, "1")).orders == [o.Finish(FAILED)]


def test_an_older_journal_in_which_nobody_asked_ahead_is_replayed_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr("callboard.core.run.FULL_PAGE", 1 << 30)
        life = _listing()
        for left in (3, 0):
            _ends(life, FULL_PAGE - 1 - left - sum(row.has_ended for row in life.run.nodes[2:]))
            again = Run(1, "run", life.plan)
            with monkeypatch.context() as now:
                now.setattr("callboard.core.run.FULL_PAGE", FULL_PAGE)
                replay.replay(again, life.journal)
            assert replay.picture(again) == replay.picture(life.run)
    assert life.run.nodes[0].mapped is not None and not life.run.nodes[0].mapped.asked
    life.admission = Admission()
    life.admission.adopt(life.run)
    assert life.step().orders == [o.List(0, 1, 2)], "taken up by this version it goes on at once"


def test_of_a_list_in_smaller_pages_the_next_one_is_asked_for_when_all_of_one_have_ended() -> None:
    life = Life(Task("m", map=Map()))
    life.step(f.Begun())
    life.step(f.Listed(0, 1, 1, _many(1, 10), True))
    assert not _ends(life, 9).orders
    assert life.step(f.Succeeded(1, 1, 1, "1")).orders == [o.List(0, 1, 2)]


def test_a_page_that_was_asked_for_ahead_is_given_up_with_its_task() -> None:
    life = _listing()
    _ends(life, FULL_PAGE // 2)
    decision = life.step(f.Asked("m", "STOP"))
    assert o.StopList(0, 1) in decision.orders
    stops = [one for one in decision.orders if type(one) is o.Stop]
    life.step(f.ListStopped(0, 1), *(f.Stopped(one.node, one.number, one.attempt) for one in stops))
    assert life.run.nodes[0].status is STOPPED and life.run.status is STOPPED


def test_a_list_with_more_items_than_can_be_named_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "MOST_NODES", 3)
    life = Life(Task("m", map=Map()))
    life.step(f.Begun())
    life.step(f.Listed(0, 1, 1, (("x", 1), ("y", 1), ("z", 1))))
    assert life.run.nodes[0].status is FAILED
    assert why(life.run, 0) == "list failed"


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────


def waits(retry: Retry, tries: int = 1, asked: float | None = None, run: str = "run") -> float:
    life = Life(Task("a", retry=retry))
    life.run.id = run
    life.step(f.Begun())
    for attempt in range(1, tries + 1):
        decision = life.step(f.Failed(0, 1, attempt, "transient", retry_after=asked))
        wake = decision.orders[-1]
        assert isinstance(wake, o.Wake)
        life.step(f.Woke(0, 1, attempt, "retry"))
    return wake.at.length


def test_waits_between_tries_grow_to_the_longest() -> None:
    policy = Retry(9, delay=2.0, factor=3.0, longest=50.0)
    assert [waits(policy, tries) for tries in (1, 2, 3, 4)] == [2.0, 6.0, 18.0, 50.0]


def test_many_tries_do_not_overflow() -> None:
    assert waits(Retry(400, delay=1.0, factor=10.0), 350) == 300.0


def test_jitter_is_a_hash_and_no_dice_throw() -> None:
    policy = Retry(2, delay=10.0, jitter=0.5)
    assert 5.0 <= waits(policy) <= 15.0
    assert waits(policy) == waits(policy) != waits(policy, run="another")


def test_what_a_provider_asks_for_is_honoured_within_a_day() -> None:
    policy = Retry(2, delay=10.0)
    assert waits(policy, asked=60.0) == 60.0
    assert waits(policy, asked=1.0) == 10.0
    assert waits(policy, asked=1e18) == LONGEST_ASKED


# ── reviews ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edit_is_a_second_revision_and_only_once_it_is_approved() -> None:
    life = Life(Task("a", review=Review()))
    life.step(f.Begun())
    life.step(f.Produced(0, 1, 1, "h1", '{"value":1}'))
    life.step(f.Edited("a", 1, "h2", '{"value":2}'), f.Edited("a", 1, "h3", '{"value":3}'))
    assert not life.outcomes
    life.step(f.Approved("a", 1, "h3"))
    assert life.outcomes == {(pack(1, 0, 1), 0): '{"value":1}', (pack(1, 0, 1), 1): '{"value":3}'}


def test_what_is_stopped_unseen_has_no_outcome_and_keeps_its_draft() -> None:
    life = Life(Task("a", review=Review()))
    life.step(f.Begun())
    life.step(f.Asked("a", "STOP"), f.Produced(0, 1, 1, "h1"))
    assert not life.outcomes
    assert json.loads(life.executions[1 << 20][6])["draft"][0] == "h1"


def test_an_approved_edit_is_what_its_documents_hold() -> None:
    life = Life(Task("a", review=Review()))
    life.step(f.Begun())
    text, other = sha256(b"draft").hexdigest(), "d" * 64
    brought = (f.Written("out.md", text, "0" * 64), f.Written("x.docx", other))
    life.step(f.Produced(0, 1, 1, "h1", '{"value":"draft","documents":[]}', (), brought, ("out.md", "x.docx")))
    assert not life.run.documents and life.loaded().nodes[0].draft == life.run.nodes[0].draft
    for version in ("h2", "h3"):
        decision = life.step(f.Edited("a", 1, version, f'{{"value":"edited {version}"}}'))
        assert decision.contents == [f"edited {version}".encode()] and not decision.documents
    assert not life.step(f.Edited("a", 1, "h4", '{"value":"edited h3","more":1}')).contents
    assert life.loaded().nodes[0].draft == life.run.nodes[0].draft
    decision = life.step(f.Approved("a", 1, "h4"))
    edited = sha256(b"edited h3").hexdigest()
    id = pack(1, 0, 1)
    assert decision.documents == [("out.md", edited, "0" * 64, id, "pending"), ("x.docx", other, None, id, "pending")]
    assert life.run.pending == {"out.md", "x.docx"}
    index = [{"path": "out.md", "hash": edited}, {"path": "x.docx", "hash": other}]
    assert json.loads(life.outcomes[id, 1]) == {"value": "edited h3", "more": 1, "documents": index}


@pytest.mark.parametrize("outcome", ["no JSON", "[1]", "{}", '{"value":NaN}', '{"value":"\\ud800"}'])
def test_an_edit_that_is_no_outcome_is_refused(outcome: str) -> None:
    life = Life(Task("a", review=Review()))
    life.step(f.Begun())
    life.step(f.Produced(0, 1, 1, "h1"))
    (order,) = life.step(f.Edited("a", 1, "h2", outcome)).orders
    assert isinstance(order, o.Refuse) and "no outcome" in order.why


def test_without_an_engine_units_of_a_run_are_given_back_all_the_same() -> None:
    life = Life(Task("a", limits=("x", "shared")), limits={"x": 1})
    life.admission = Admission({"shared": 1})
    life.step(f.Begun())
    assert life.run.used == {"x": 1}
    assert replay.stored(life.loaded()) == replay.stored(life.run)
    life.admission = None
    life.step(f.LeaseLost(0, 1, 1))
    assert life.run.used == {"x": 0}


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_first_queued_is_not_written_until_it_no_longer_follows() -> None:
    life = Life(Task("a"), Task("b", needs=("a",)))
    life.step(f.Begun())
    life.step(f.Paused())
    life.step(f.Succeeded(0, 1, 1))
    assert life.run.nodes[1].status is QUEUED
    assert 1 << 20 | 1 not in life.executions
    assert life.loaded().nodes[1].status is QUEUED
    life.step(f.Asked("a", "RESTART"))
    assert 1 << 20 | 1 in life.executions
    assert replay.stored(life.loaded()) == replay.stored(life.run)


def test_the_counter_of_a_loaded_run_is_not_behind_what_fired() -> None:
    life = Life(Task("a"), Task("b", needs=("a",)), Task("x"), Task("q", needs=("x",), limits=("u",)), limits={"u": 0})
    for fact in (f.Begun(), f.Succeeded(0, 1, 1), f.Asked("a", "RESTART"), f.Succeeded(2, 1, 1), f.Succeeded(0, 2, 1)):
        life.step(fact)
    assert life.run.nodes[1].next is not None
    loaded = life.loaded()
    assert loaded.counter >= loaded.nodes[1].fired == life.run.nodes[1].fired


def test_inputs_of_an_item_are_those_of_its_task_and_its_twin() -> None:
    life = Life(Task("a"), Task("m", map=Map(), needs=("a",)), Task("n", map=Map("m")))
    for fact in (f.Begun(), f.Succeeded(0, 1, 1), f.Listed(1, 1, 1, (("x", 1),)), f.Succeeded(3, 1, 1)):
        life.step(fact)
    assert life.run.inputs(3) == ((0, 1, 0),)
    assert life.run.inputs(4) == ((1, 1, 0), (3, 1, 0))
    assert life.run.find(4) == life.run.find("n/x") == 4
    assert life.run.find(99) is life.run.find("n/y") is life.run.find("n/x/y") is None


def test_a_key_may_hold_slashes() -> None:
    life = Life(Task("m/n", map=Map()))
    life.step(f.Begun())
    life.step(f.Listed(0, 1, 1, (("a/b.txt", 1),)))
    assert life.run.find("m/n/a/b.txt") == 1


def test_a_probe_keeps_its_state_until_it_gives_another() -> None:
    life = Life(Task("a"), rules=(Rule("a", "START", Probe("f", ("k",))),))
    life.step(f.Begun())
    life.step(f.Heard("k", 1), f.Judged(0, 1, False, {"n": 1}))
    life.step(f.Heard("k", 2), f.Judged(0, 2, None))
    assert life.run.branches[0].state == {"n": 1}
    assert life.run.branches[0].errors == 1 < MOST_ERRORS


# ── the journal ─────────────────────────────────────────────────────────────────────────────────────────


def a_life() -> Life:
    life = Life(Task("a", retry=Retry(2, 5.0)), Task("b", needs=("a",)), Task("m", map=Map()))
    life.step(f.Begun())
    life.step(f.Failed(0, 1, 1, "transient", "reset"), at=1)
    life.step(f.Woke(0, 1, 1, "retry"), at=6)
    life.step(f.Listed(2, 1, 1, (("x", 1),)), f.Paused(), f.Succeeded(0, 1, 2), at=7)
    life.step(f.Resumed(), at=8)
    life.step(f.Succeeded(3, 1, 1), f.Succeeded(1, 1, 1), at=9)
    assert life.run.status is SUCCESS
    return life


def test_a_replay_gives_the_run_that_was_recorded() -> None:
    life = a_life()
    again = Run(1, "run", life.plan)
    replay.replay(again, life.journal)
    assert replay.picture(again) == replay.picture(life.run)


def test_the_story_of_a_task_tells_what_it_became_when_and_why() -> None:
    life = a_life()
    assert story(life.journal, Run(1, "run", life.plan), "a") == [
        "1000 RUNNING 1.1 after Begun",
        "1001 RETRYING 1.1 (retry at 1006) after Failed a 1.1",
        "1006 RUNNING 1.2 after Woke a 1.1",
        "1007 SUCCESS 1.2 after Succeeded a 1.2",
    ]
    assert story(life.journal, Run(1, "run", life.plan), "b") == [
        "1007 QUEUED 1.0 (paused) after Succeeded a 1.2",
        "1008 RUNNING 1.1 after Resumed",
        "1009 SUCCESS 1.1 after Succeeded b 1.1",
    ]
    assert story(life.journal, Run(1, "run", life.plan), "m/x")[0] == "1007 RUNNING 1.1 after Listed m 1"
    assert story(life.journal, Run(1, "run", life.plan), "nobody") == []


def test_what_starts_when_a_place_is_free_has_no_fact_of_its_own() -> None:
    life = Life(*(Task(f"t{n}") for n in range(MOST_STARTS + 1)))
    life.step(f.Begun())
    life.step()
    last = story(life.journal, Run(1, "run", life.plan), f"t{MOST_STARTS}")
    assert last[-1] == "1000 RUNNING 1.1 after a free place"


def test_an_event_and_a_person_are_causes_too() -> None:
    life = Life(Task("a"), Task("z"), rules=(Rule("a", "START", Probe("f", ("k",))),))
    life.step(f.Begun())
    life.step(f.Heard("k", 1))
    life.step(f.Judged(0, 1, True))
    life.step(f.Asked("a", "STOP"))
    told = story(life.journal, Run(1, "run", life.plan), "a")
    assert [line.partition(" after ")[2] for line in told] == ["Judged 0", "Asked a"]


def test_statuses_begin_with_init_and_a_retrying_task_waits() -> None:
    life = Life(Task("a", retry=Retry(2)), Task("b"))
    assert life.run.nodes[0].status is INIT
    life.step(f.Begun())
    life.step(f.TimedOut(0, 1, 1))
    assert life.run.nodes[0].status is RETRYING
    assert life.run.nodes[1].status is RUNNING

"""`llm`, `human` and paid calls: what is asked, what it costs, and that nothing is paid for twice."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from callboard.errors import BudgetRefused, InvalidOutput, NotFound, Permanent, Transient
from callboard.executors.calls import RecordedModel, call_key
from callboard.executors.chain import chain, perform
from callboard.executors.human import Human
from callboard.executors.llm import Llm
from callboard.executors.middleware.budget import Budgeted
from callboard.executors.middleware.cache import Cached
from callboard.ports import Call, Message, Request, Work
from callboard.testing.scripted import ScriptedModel

if TYPE_CHECKING:
    from executors_desk import Desk


class KeptLedger:
    """The engine's side of the ledger: rows by (number, index), kept even when the attempt fails."""

    def __init__(self, limit: int | None = None) -> None:
        self.rows: dict[tuple[int, int], Call] = {}
        self.reserved: list[Call] = []
        self.limit = limit

    async def recorded(self, work: Work, index: int) -> Call | None:
        await asyncio.sleep(0)
        return self.rows.get((work.number, index))

    async def reserve(self, work: Work, call: Call) -> None:
        if self.limit is not None and len(self.reserved) >= self.limit:
            raise BudgetRefused("budget 5.00 of 5.00")
        self.reserved.append(call)

    def paid(self, work: Work, call: Call) -> None:
        self.rows[work.number, call.index] = call


def asking(text: str, **fields: Any) -> Request:
    return Request("scripted", (Message("user", text),), **fields)


# ── the request ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_step_becomes_a_request(desk: Desk) -> None:
    inputs = desk.inputs(
        prompt="Sum it up:\ntext", system="Be brief", model="m", temperature="0.2", max_tokens=100, provider="p"
    )
    assert await Llm().carry_out(desk.context(), inputs) == "an answer"
    assert desk.model.asked == [
        Request(
            "m", (Message("system", "Be brief"), Message("user", "Sum it up:\ntext")), 0.2, 100, None, {"provider": "p"}
        )
    ]


async def test_the_run_may_override_the_model_and_the_file_give_a_default(desk: Desk) -> None:
    async def asked(**fields: Any) -> str:
        await Llm().carry_out(desk.context(), desk.inputs(prompt="p", **fields))
        return str(desk.model.asked[-1].model)

    assert await asked(model="own", run={"model": "offline"}, settings={"model": "default"}) == "offline"
    assert await asked(model="own", settings={"model": "default"}) == "own"
    assert await asked(settings={"model": "default"}) == "default"
    with pytest.raises(Permanent, match="no model is named"):
        await asked()


async def test_with_a_schema_the_value_is_data(desk: Desk) -> None:
    desk.model = ScriptedModel({"a": 1})
    inputs = desk.inputs(prompt="p", model="m", schema={"type": "object"})
    assert await Llm().carry_out(desk.context(), inputs) == {"a": 1}


async def test_an_empty_answer_is_no_answer_and_an_empty_prompt_is_not_asked(desk: Desk) -> None:
    desk.model = ScriptedModel(" \n")
    with pytest.raises(InvalidOutput, match="answered with nothing"):
        await Llm().carry_out(desk.context(), desk.inputs(prompt="p", model="m"))
    with pytest.raises(Permanent, match="prompt is empty"):
        await Llm().carry_out(desk.context(), desk.inputs(prompt="  ", model="m"))


async def test_a_source_file_goes_along_as_what_it_is(desk: Desk) -> None:
    (desk.dir / "notes.weird").write_text("Grüße")
    (desk.dir / "talk.mp3").write_bytes(b"ID3\x00\xff")
    (desk.dir / "blob").write_bytes(b"\x00\xff")
    for path, media_type in (("notes.weird", "text/plain"), ("talk.mp3", "audio/mpeg")):
        await Llm().carry_out(desk.context(), desk.inputs(prompt="p", model="m", source_file=path))
        (attachment,) = desk.model.asked[-1].attachments
        assert (attachment.path, attachment.media_type) == (path, media_type)
    with pytest.raises(Permanent, match="blob is no text"):
        await Llm().carry_out(desk.context(), desk.inputs(prompt="p", model="m", source_file="blob"))
    with pytest.raises(NotFound):
        await Llm().carry_out(desk.context(), desk.inputs(prompt="p", model="m", source_file="gone"))


async def test_a_rejected_draft_is_asked_again_with_the_note(desk: Desk) -> None:
    await Llm().carry_out(desk.context(), desk.inputs(prompt="p", model="m", note="too long"))
    assert "too long" in desk.model.asked[0].messages[0].text


async def test_a_streamed_answer_shows_progress(desk: Desk) -> None:
    await Llm().carry_out(desk.context(), desk.inputs(prompt="p", model="m"))
    assert desk.progress == [(9, None, "characters")]


async def test_a_person_is_shown_the_question_and_the_text(desk: Desk) -> None:
    async def shown(**fields: Any) -> Any:
        return await Human().carry_out(desk.context(), desk.inputs(**fields))

    assert await shown(question="Is it good?", pipe="the text") == "the text"
    assert await shown(question="Which?", show="other", pipe="x", choices=["a", "b"]) == "other"
    assert await shown(question="Which?", choices=["a", "b"]) == "Which?\n\nOne of: a, b"
    assert await shown(pipe="only text") == "only text"
    with pytest.raises(Permanent, match="neither a question nor a text"):
        await shown()


# ── paid calls ──────────────────────────────────────────────────────────────────────────────────────────────


def recorded(desk: Desk, ledger: KeptLedger, work: Work | None = None) -> RecordedModel:
    return RecordedModel(desk.model, work or desk.work(), ledger, project="p", now=lambda: 7.0)


async def test_a_call_is_reserved_then_made_then_reported(desk: Desk) -> None:
    desk.model, ledger = ScriptedModel("answer", price=(10, 20)), KeptLedger()
    model = recorded(desk, ledger)
    answer = await model.complete(asking("a b"))
    (row,) = model.calls
    assert (answer.text, answer.cached) == ("answer", False)
    assert ledger.rows[1, 0] == row and ledger.reserved[0].status == "reserved"
    assert (row.status, row.input_tokens, row.output_tokens, row.cost, row.at) == ("settled", 2, 1, 40, 7.0)
    assert row.key == call_key("p", desk.work(), 0) == desk.model.asked[0].key
    assert row.prompt_hash == asking("a b").hash() and json.loads(row.answer or "")["text"] == "answer"


async def test_a_call_this_number_has_paid_for_is_never_made_again(desk: Desk) -> None:
    desk.model, ledger = ScriptedModel("one", "two", "three"), KeptLedger()
    first = recorded(desk, ledger)
    await first.complete(asking("a"))
    await first.complete(asking("b"))
    again = recorded(desk, ledger, desk.work(attempt_number=2))
    answers = [await again.complete(asking(text)) for text in ("a", "b", "c")]
    assert [(answer.text, answer.cached) for answer in answers] == [("one", True), ("two", True), ("three", False)]
    assert len(desk.model.asked) == 3 and [call.index for call in again.calls] == [0, 1, 2]


async def test_another_question_is_not_answered_with_an_old_answer(desk: Desk) -> None:
    desk.model, ledger = ScriptedModel("one", "two"), KeptLedger()
    await recorded(desk, ledger).complete(asking("a"))
    again = recorded(desk, ledger, desk.work(attempt_number=2))
    assert (await again.complete(asking("other"))).text == "two"
    assert sorted(ledger.rows) == [(1, 0), (1, 1)], "what was paid first stays recorded"


async def test_equal_questions_of_one_attempt_are_two_calls(desk: Desk) -> None:
    desk.model, ledger = ScriptedModel("one", "two"), KeptLedger()
    model = recorded(desk, ledger)
    answers = await asyncio.gather(model.complete(asking("a")), model.complete(asking("a")))
    assert sorted(answer.text for answer in answers) == ["one", "two"]
    assert sorted(ledger.rows) == [(1, 0), (1, 1)]


async def test_a_new_number_pays_anew(desk: Desk) -> None:
    desk.model, ledger = ScriptedModel("one", "two"), KeptLedger()
    await recorded(desk, ledger).complete(asking("a"))
    work = desk.work(number=2)
    assert (await recorded(desk, ledger, work).complete(asking("a"))).text == "two"
    assert call_key("p", work, 0) != call_key("p", desk.work(), 0)
    assert call_key("p", desk.work(attempt_number=9), 0) == call_key("p", desk.work(), 0)


@pytest.mark.parametrize(
    ("error", "status"),
    [(Transient("reset"), "unknown"), (Permanent("no"), "failed"), (InvalidOutput("no schema"), "unknown")],
)
async def test_a_failed_call_is_recorded_and_asked_again_under_the_same_key(
    desk: Desk, error: Exception, status: str
) -> None:
    desk.model, ledger = ScriptedModel(error, "fine"), KeptLedger()
    with pytest.raises(type(error)):
        await recorded(desk, ledger).complete(asking("a"))
    assert ledger.rows[1, 0].status == status
    assert (await recorded(desk, ledger, desk.work(attempt_number=2)).complete(asking("a"))).text == "fine"
    assert desk.model.asked[0].key == desk.model.asked[1].key


async def test_a_call_cut_off_by_a_cancellation_may_have_been_charged(desk: Desk) -> None:
    desk.model, ledger = ScriptedModel(asyncio.CancelledError()), KeptLedger()
    with pytest.raises(asyncio.CancelledError):
        await recorded(desk, ledger).complete(asking("a"))
    assert ledger.rows[1, 0].status == "unknown"


async def test_a_refused_reservation_makes_no_call(desk: Desk) -> None:
    model = recorded(desk, KeptLedger(limit=0))
    with pytest.raises(BudgetRefused):
        await model.complete(asking("a"))
    assert not desk.model.asked and not model.calls


# ── in the middleware ───────────────────────────────────────────────────────────────────────────────────────


async def test_an_outcome_carries_its_calls_and_what_they_cost(desk: Desk) -> None:
    desk.model = ScriptedModel("answer", price=(1, 1))
    handler = chain([Budgeted(KeptLedger(), project="p")], perform({"llm": Llm()}))
    done = await handler(desk.work(inputs={"prompt": "a b c", "model": "m"}), desk.context())
    usage = {"calls": 1, "input_tokens": 3, "output_tokens": 1, "cost": 4}
    assert json.loads(done.outcome) == {"value": "answer", "usage": usage}
    assert [call.status for call in done.calls] == ["settled"]


async def test_an_error_carries_the_calls_made_before_it(desk: Desk) -> None:
    desk.model = ScriptedModel(Transient("reset"))
    handler = chain([Budgeted(KeptLedger(), project="p")], perform({"llm": Llm()}))
    with pytest.raises(Transient) as caught:
        await handler(desk.work(inputs={"prompt": "a", "model": "m"}), desk.context())
    assert [call.status for call in caught.value.calls] == ["unknown"]  # type: ignore[attr-defined]


def cached_handler(ledger: KeptLedger | None = None, project: str = "p") -> Any:
    executors: dict[str, Any] = {"llm": Llm(), "human": Human()}
    kept = Budgeted(ledger or KeptLedger(), project=project)
    return chain([Cached(executors, project=project), kept], perform(executors))


async def test_an_equal_request_is_answered_from_the_cache(desk: Desk) -> None:
    handler = cached_handler()
    work = desk.work(inputs={"prompt": "a", "model": "m", "output_file": "x"})
    first = await handler(work, desk.context())
    other = another_run(work)._replace(
        inputs={**work.inputs, "output_file": "y"}, params={"input": "z", "now": "later"}
    )
    second = await handler(other, desk.context())
    assert len(desk.model.asked) == 1
    assert json.loads(first.outcome)["value"] == json.loads(second.outcome)["value"] == "an answer"
    assert json.loads(second.outcome) == {"value": "an answer", "cached": True}
    assert [(call.status, call.cost) for call in second.calls] == [("cached", 0)]


def another_run(work: Work) -> Work:
    return work._replace(run=2, attempt=work.attempt._replace(run="r2"))


async def test_a_number_that_finds_its_own_answer_has_paid_for_it(desk: Desk) -> None:
    """Everything was killed after the answer had been kept, and before anything of it was recorded."""
    desk.model = ScriptedModel("answer", price=(1, 1))
    work = desk.work(inputs={"prompt": "a b c", "model": "m"})
    lost = await cached_handler()(work, desk.context())
    again = work._replace(attempt_number=2, attempt=work.attempt._replace(attempt=2))
    for _ in range(2):
        found = await cached_handler()(again, desk.context())
        assert (found.outcome, found.calls) == (lost.outcome, lost.calls)
    assert len(desk.model.asked) == 1
    other = await cached_handler()(another_run(work), desk.context())
    assert [(call.status, call.cost) for call in other.calls] == [("cached", 0)], "who has not paid has not"
    other = await cached_handler(project="another")(work, desk.context())
    assert [(call.status, call.cost) for call in other.calls] == [("cached", 0)], "nor has a project of another name"


async def test_an_answer_out_of_the_ledger_is_kept_with_what_it_has_cost(desk: Desk) -> None:
    """Killed after the call was recorded, and again after its answer was kept: its row stays the only one."""
    desk.model, ledger = ScriptedModel("answer", price=(1, 1)), KeptLedger()
    work = desk.work(inputs={"prompt": "a b c", "model": "m"})
    lost = await cached_handler(ledger)(work, desk.context())
    desk.cache.clear()
    found = [await cached_handler(ledger)(work, desk.context()) for _ in range(2)]
    assert [(one.outcome, one.calls) for one in found] == [(lost.outcome, lost.calls)] * 2
    assert len(desk.model.asked) == 1 and list(ledger.rows.values()) == list(lost.calls)


@pytest.mark.parametrize(
    "changed",
    [{"prompt": "b"}, {"model": "n"}, {"temperature": 1.0}, {"system": "s"}, {"schema": {}}, {"cache": False}],
)
async def test_another_request_or_a_cache_turned_off_asks_again(desk: Desk, changed: dict[str, Any]) -> None:
    desk.model = ScriptedModel("1", "2")
    handler, inputs = cached_handler(), {"prompt": "a", "model": "m"}
    await handler(desk.work(inputs=inputs), desk.context())
    await handler(desk.work(inputs={**inputs, **changed}, number=2), desk.context())
    assert len(desk.model.asked) == 2


async def test_a_changed_source_file_asks_again(desk: Desk) -> None:
    handler, inputs = cached_handler(), {"prompt": "a", "model": "m", "source_file": "s.txt"}
    for text in ("one", "one", "two"):
        (desk.dir / "s.txt").write_text(text)
        await handler(desk.work(inputs=inputs), desk.context())
    assert len(desk.model.asked) == 2


async def test_failures_effects_and_what_names_no_request_are_not_cached(desk: Desk) -> None:
    desk.model = ScriptedModel(Transient("reset"), "fine")
    handler, inputs = cached_handler(), {"prompt": "a", "model": "m"}
    with pytest.raises(Transient):
        await handler(desk.work(inputs=inputs), desk.context())
    await handler(desk.work(inputs=inputs, effect="keyed"), desk.context())
    await handler(desk.work("human", inputs={"question": "q"}), desk.context())
    assert not desk.cache

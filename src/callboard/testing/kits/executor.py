"""The kit of the port `Executor`: what every kind of executor must do, said as cases.

A case is an async function of a `Bench`, which holds the executor under test and how to ask it for something:

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
    async def test_executor(case, tmp_path):
        await case(Bench(AiSource(), {"file": "a.txt"}, context=lambda: make_context(tmp_path)))

`inputs` succeed; `wrong`, where there is one, must fail as a StepError or another error of ours, never as a
stranger's; `endless`, where there is one, never answers and must stop when it is cancelled.
"""

from __future__ import annotations

import asyncio
import copy
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.plan import EFFECTS
from callboard.errors import CallboardError
from callboard.text import strict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from callboard.ports import Context, Executor, Json

    Case = Callable[["Bench"], Awaitable[None]]

CASES: list[Case] = []
_BASE: dict[str, Any] = {"upstream": {}, "item": None, "params": {}, "run": {}, "settings": {}, "pipe": ""}
_MOST = 20.0  # seconds until an executor that does not stop has failed


class Bench(NamedTuple):
    """An executor under test. `context` makes a fresh one for each attempt."""

    executor: Executor
    inputs: Mapping[str, Json]
    context: Callable[[], Context]
    wrong: Mapping[str, Json] | None = None
    endless: Mapping[str, Json] | None = None
    begun: Callable[[], Awaitable[None]] | None = None  # returns once an endless attempt is at work

    async def carry_out(self, inputs: Mapping[str, Json]) -> Json:
        return await self.executor.carry_out(self.context(), {**_BASE, **inputs})


def case(function: Case) -> Case:
    CASES.append(function)
    return function


@case
async def it_says_what_it_is(bench: Bench) -> None:
    executor = bench.executor
    assert executor.kind and executor.kind == executor.kind.strip().lower()
    assert executor.version
    assert executor.effect in EFFECTS


@case
async def its_value_is_strict_json(bench: Bench) -> None:
    value = await bench.carry_out(bench.inputs)
    assert json.loads(strict.encode(value)) == value


@case
async def equal_inputs_give_equal_values(bench: Bench) -> None:
    assert await bench.carry_out(bench.inputs) == await bench.carry_out(bench.inputs)


@case
async def its_inputs_are_not_changed(bench: Bench) -> None:
    inputs = copy.deepcopy(dict(bench.inputs))
    await bench.carry_out(inputs)
    assert inputs == dict(bench.inputs)


@case
async def attempts_side_by_side_do_not_mix(bench: Bench) -> None:
    values = await asyncio.gather(*(bench.carry_out(bench.inputs) for _ in range(5)))
    assert values == [values[0]] * 5


@case
async def what_is_wrong_is_said_in_an_error_of_ours(bench: Bench) -> None:
    if bench.wrong is None:
        return
    try:
        value = await bench.carry_out(bench.wrong)
    except CallboardError as error:
        assert str(error).strip()
    else:
        raise AssertionError(f"it should have failed, but gave {value!r}")


@case
async def what_never_answers_stops_when_it_is_cancelled(bench: Bench) -> None:
    if bench.endless is None:
        return
    attempt = asyncio.gather(bench.carry_out(bench.endless))
    if bench.begun is not None:
        await asyncio.wait_for(bench.begun(), _MOST)
    else:
        await asyncio.sleep(0)
    attempt.cancel()
    done, _ = await asyncio.wait([attempt], timeout=_MOST)
    assert done, "it does not stop"
    try:
        value = attempt.result()
    except asyncio.CancelledError:
        return
    raise AssertionError(f"it was cancelled, but gave {value!r}")

"""Read by the type checker only: what the front door gives has the types that its manual says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import callboard
from callboard import (
    Busy,
    Permanent,
    Plan,
    ProductionManager,
    Result,
    RunCancelled,
    RunFailed,
    RunInterrupted,
    RunWaiting,
    Task,
    Transient,
    create_production,
    load_production,
    plan,
    register,
    run_in_production,
    task,
)


def one() -> int:
    return 1


async def two(one: int) -> int:
    return one + 1


def running() -> None:
    result = callboard.run("letters.ai", "text", model="offline")
    assert_type(result, Result)
    assert_type(result.status, str)
    assert_type(result.partly, bool)
    assert_type(result.cost, float | None)
    assert_type(result["summary"], Any)
    callboard.run(Path("letters.ai"), project=Path(), params={"language": "de"}, id="nightly", store="memory")


async def awaiting() -> None:
    assert_type(await callboard.arun(one), Result)


def plans() -> None:
    made = plan(one, task("two", two, needs=["one"], retry=3, timeout="5m"), name="numbers")
    assert_type(made.plan, Plan)
    assert_type(made.plan.tasks, tuple[Task, ...])
    callboard.run(made)


def failing() -> None:
    try:
        callboard.run(one)
    except (RunCancelled, RunInterrupted, RunWaiting) as error:
        assert_type(error.run, str)
    except RunFailed as error:
        assert_type(error.run, str)


def refused() -> None:
    try:
        callboard.run(one)
    except Busy as error:
        assert_type(error.retry_after, float)


def trying() -> None:
    raise Transient("come back later", evidence={"status": 503}, retry_after=2.5) from Permanent("not here")


def productions() -> None:
    assert_type(ProductionManager("production_config.yml"), ProductionManager)
    assert_type(create_production(Path("production_config.yml")), ProductionManager)
    pm = load_production("production_config.yml")
    assert_type(pm.create_instance(metadata={"source": "API"}), str)
    pair = run_in_production("analyze.ai", {"name": "profiles"}, "Sample input", "analyzed", "analysis")
    assert_type(pair, tuple[str, str])


@register("shout")
def shout(pipe_data: Any, params: Any) -> Any:
    return pipe_data["pipein_text"].upper()

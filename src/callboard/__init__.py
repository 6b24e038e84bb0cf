"""Callboard: durable, local-first orchestration for AI work.

The front door: a table of names and the modules they live in. A name is imported when it is asked for (PEP 562),
so that `import callboard` costs nothing; nobody inside walks through it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callboard.app.stage.facade import Result, arun, run
    from callboard.app.stage.functions import plan, task
    from callboard.app.stage.productions import run_in_production
    from callboard.core.plan import Plan, Task
    from callboard.errors import (
        Busy,
        CallboardError,
        Permanent,
        RunCancelled,
        RunFailed,
        RunInterrupted,
        RunWaiting,
        Transient,
    )
    from callboard.executors.registry import register
    from callboard.productions.manager import ProductionManager, create_production, load_production

_HOME = {
    # running
    "arun": "callboard.app.stage.facade",
    "run": "callboard.app.stage.facade",
    "Result": "callboard.app.stage.facade",
    # plans of functions
    "plan": "callboard.app.stage.functions",
    "task": "callboard.app.stage.functions",
    "Plan": "callboard.core.plan",
    "Task": "callboard.core.plan",
    # pipelines
    "register": "callboard.executors.registry",
    # productions
    "ProductionManager": "callboard.productions.manager",
    "create_production": "callboard.productions.manager",
    "load_production": "callboard.productions.manager",
    "run_in_production": "callboard.app.stage.productions",
    # errors
    "Busy": "callboard.errors",
    "CallboardError": "callboard.errors",
    "RunFailed": "callboard.errors",
    "RunCancelled": "callboard.errors",
    "RunInterrupted": "callboard.errors",
    "RunWaiting": "callboard.errors",
    # what a function may raise, to say whether it is worth another try
    "Permanent": "callboard.errors",
    "Transient": "callboard.errors",
}

__all__ = [
    "Busy", "CallboardError", "Permanent", "Plan", "ProductionManager", "Result", "RunCancelled", "RunFailed",
    "RunInterrupted", "RunWaiting", "Task", "Transient", "arun", "create_production", "load_production", "plan",
    "register", "run", "run_in_production", "task",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    try:
        module = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'callboard' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

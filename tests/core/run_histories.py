"""`python tests/core/run_histories.py DIR` runs every history of a folder and prints `N pass, N fail`.

Each failure is told by its first difference. Files without a number are tables, run by `test_core_tables.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))
from machine_adapter import Adapter


def first_difference(history: dict[str, Any]) -> str | None:
    """What the machine did otherwise than a history says, at the first step where it did; None when it agrees."""
    adapter = Adapter()
    adapter.begin(history["plan"])
    at, run = 0.0, "RUNNING"
    for number, step in enumerate(history["steps"], 1):
        at, run = step.get("at", at), step.get("run", run)
        try:
            told = adapter.step(step["in"], at)
            found = _differences(adapter, step, told, run)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        if found:
            return f"step {number} {step['in']}: {found}"
    return None


def _differences(adapter: Adapter, step: dict[str, Any], told: list[str], run: str) -> str | None:
    out = step.get("out", [])
    if sorted(told) != sorted(out) or _starts(told) != _starts(out):
        return f"orders {told}, not {out}"
    for name, status in step.get("is", {}).items():
        got = adapter.status(name)
        if status not in (got, got.split()[0]):
            return f"{name} is {got}, not {status}"
    for name, reason in step.get("why", {}).items():
        if adapter.why(name) != reason:
            return f"why {name}: {adapter.why(name)!r}, not {reason!r}"
    status, because = adapter.run()
    if status != run:
        return f"the run is {status}, not {run}"
    if "because" in step and because != step["because"]:
        return f"because {because!r}, not {step['because']!r}"
    return None


def _starts(orders: list[str]) -> list[str]:
    return [order for order in orders if order.startswith("Start ")]


def histories(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.yaml") if path.name[0].isdigit())


def main(folder: str) -> int:
    failed = 0
    for path in histories(Path(folder)):
        history = yaml.safe_load(path.read_text(encoding="utf-8"))
        difference = first_difference(history)
        if difference:
            failed += 1
            print(f"FAIL {path.name}: {history['name']}\n     {difference}")
    print(f"{len(histories(Path(folder))) - failed} pass, {failed} fail")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent / "histories")))

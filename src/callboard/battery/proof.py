"""What every proof is given, what it returns, and what is known of it before it runs."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery import history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path


class Proving(NamedTuple):
    """`folder` is empty, and on the disk that is to be proven. `size` counts what the proof counts: kills, images,
    cycles, seeds. `say` hears how far it is, and may be called as often as one likes. The same seed does the same
    harm; what cannot be repeated exactly (where a signal meets a process) says so in its own file."""

    folder: Path
    size: int
    seed: int = 1
    say: Callable[[str], None] = lambda text: None


class Found(NamedTuple):
    """`tried` counts as `size` does. Each failure says what was seen and what shows it again (seed, point, image);
    none means that the promise held. `figures` are what was measured, by name with its unit: `{"resume p99 s": 0.4}`.
    `skipped` says why it could not be tried here at all."""

    tried: int
    failures: Sequence[str] = ()
    figures: Mapping[str, float] = {}
    skipped: str = ""


def p99(values: Iterable[float]) -> float:
    """What 99 of 100 do not exceed; 0 when there are none."""
    found = sorted(values)
    return found[math.ceil(0.99 * len(found)) - 1] if found else 0.0


class Proof(NamedTuple):
    """One row of the list. `where` is `module:function` in this room, or dotted in full; `gate` and `nightly` are
    sizes, counted in `unit`; 0 leaves it out of that tier. `promise` names the sentences it holds us to. What a proof
    leaves is read by the history checker, or it has not held; one that leaves no history says why in `no_history`."""

    name: str
    title: str
    where: str
    unit: str
    gate: int
    nightly: int
    promise: tuple[int, ...] = ()
    no_history: str = ""

    def size(self, tier: str) -> int:
        return self.gate if tier == "gate" else self.nightly

    def prove(self, proving: Proving) -> Found:
        """Do the harm. What breaks in here is a finding, and never ends the proofs that come after."""
        module, _, name = self.where.partition(":")
        module = module if "." in module else f"callboard.battery.{module}"
        before = history.looked["runs"]
        try:
            act: Callable[[Proving], Found] = getattr(importlib.import_module(module), name)
            found = act(proving)
        except Exception as error:
            return Found(0, [f"it broke with {type(error).__name__}: {error} (seed {proving.seed})"])
        return found if found.skipped else self._looked(found, history.looked["runs"] - before)

    def _looked(self, found: Found, runs: int) -> Found:
        """With the number of runs whose past was checked; none is a failure, unless there can be none."""
        if not runs and not self.no_history:
            return found._replace(failures=[*found.failures, "the history checker has read nothing of what this left"])
        return found._replace(figures={**found.figures, "histories": float(runs)} if runs else found.figures)

"""T19: the store and its engines, held against a model of what a user is promised, by rules that Hypothesis plays.

The rules are in `rules.py`, the world in `playhouse.py` and the model, which knows nothing of the machine, in
`promised.py`. Hypothesis is a tool of developers: where it is not installed, this proof says so and proves nothing.
What a seed finds is made as small as it goes, and told as the lines that do it again (`Playhouse` has their names).
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from callboard.battery.proof import Found
from callboard.battery.show import fast_folder

if TYPE_CHECKING:
    from callboard.battery.proof import Proving

#: Steps of one example: as many as there is time for on every change, and of larger proofs.
STEPS, MORE_STEPS, MANY = 50, 100, 1_000


def prove_model(proving: Proving) -> Found:
    """`size` counts examples."""
    if importlib.util.find_spec("hypothesis") is None:
        return Found(0, skipped="Hypothesis is not installed here: pip install hypothesis")
    rules: Any = importlib.import_module("callboard.battery.rules")
    steps = STEPS if proving.size < MANY else MORE_STEPS
    with fast_folder() as folder:
        failures, figures = rules.play(folder, proving.size, steps, proving.seed, say=proving.say)
    return Found(proving.size, failures, figures)

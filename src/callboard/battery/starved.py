"""T6: no inodes, no right to write, no descriptors, no memory: a clear word and a pause, nothing lost, no crash loop.

The first three are taken from a run that is under way, as in `full`. Memory is different: whoever has none left cannot
promise to say so. A run is begun with less and less of it; each ends by itself, in few words, and whoever resumes it
with enough finds all that was recorded and makes none of it again. `size` counts cycles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.battery.full import prove_scarcity

if TYPE_CHECKING:
    from callboard.battery.proof import Found, Proving


def prove_starved(proving: Proving) -> Found:
    return prove_scarcity(proving, ["inodes", "rights", "descriptors"])

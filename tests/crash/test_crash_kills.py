"""`kill -9` at any moment, as often as you like: the documents are those of a run that nobody disturbed.

And no model call whose answer was recorded is made again, nothing is half-written, and what goes on goes on soon.
`CALLBOARD_KILLS=1000` kills more often, `CALLBOARD_SEED=7` at other moments.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from crash_show import PATIENCE, Known, Show, repeated

from callboard.core.status import SUCCESS

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("CALLBOARD_SEED") or 12)
KILLS = int(os.environ.get("CALLBOARD_KILLS") or 100)
#: Kills of one test, so that tests can run side by side; kills of one show, so that a slow machine finishes it.
SHARE, MOST = 10, 8
#: Seconds within which a process that was started to go on has recorded something new.
SOON = 2.0


class Undisturbed(NamedTuple):
    """A run that nobody kills: its documents by their path in the instance, and how many seconds it lasts."""

    documents: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    show = Show(tmp_path_factory.mktemp("undisturbed"))
    left = show.lived("run", "show.ai", "text", "--id", "show")
    assert left.code == 0, left.out
    assert repeated(show.asked()) == 0 and show.known().settled == {call["key"] for call in show.asked()}
    documents = show.documents()
    assert len(documents) == 62
    return Undisturbed({path.partition("/")[2]: data for path, data in documents.items()}, left.ended - left.began)


@pytest.mark.timeout(20 * PATIENCE)
@pytest.mark.parametrize("part", range(-(-KILLS // SHARE)))
def test_whenever_it_is_killed_the_documents_are_those_of_an_undisturbed_run(
    part: int, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    chance = random.Random(f"{SEED}/{part}")
    shows: list[Show] = []
    waits: list[float] = []
    while sum(show.kills for show in shows) < SHARE:
        shows.append(Show(tmp_path / f"show{len(shows)}"))
        waits += _killed_until_done(shows[-1], chance, undisturbed)
    print(
        f"CALLBOARD_SEED={SEED} part {part}: {sum(show.kills for show in shows)} kills of {len(shows)} shows;",
        f"{len(waits)} went on, the slowest after {max(waits, default=0):.2f} s;",
        f"{sum(repeated(show.asked()) for show in shows)} calls under way were asked again",
    )
    assert max(waits, default=0) < SOON


def _killed_until_done(show: Show, chance: random.Random, undisturbed: Undisturbed) -> list[float]:
    """Run, kill, go on, kill … until it is done; how long each life took until it recorded something new."""
    known = [Known(None, frozenset(), 0, 0)]
    waits: list[float | None] = []
    while known[-1].status != SUCCESS:
        going_on = known[-1].status is not None
        argv = ["resume", "show"] if going_on else ["run", "show.ai", "text", "--id", "show"]
        delay = chance.uniform(0.03, 0.95) * undisturbed.seconds
        left = show.lived(*argv, kill_after=delay if show.kills < MOST else None)
        assert left.is_killed or left.code == 0, left.out
        known.append(show.known())
        waits += [show.began_again(left)] if going_on else []
    if left.is_killed:  # in the moment after the end: there is nothing to go on with, but something to tell
        assert show.lived("resume").code == 8
    _nothing_is_asked_again(show, known)
    assert show.half_written() == []
    assert show.differing() == []
    _there_is_one_performance(show, undisturbed.documents)
    return [wait for wait in waits if wait is not None]


def _there_is_one_performance(show: Show, undisturbed: dict[str, bytes]) -> None:
    """One instance is completed and has the documents; one that was made before the run was recorded has none."""
    completed = [id for id, status in show.instances().items() if status == "completed"]
    assert len(completed) == 1
    assert show.documents() == {f"cards_{completed[0]}/{path}": data for path, data in undisturbed.items()}


def _nothing_is_asked_again(show: Show, known: list[Known]) -> None:
    asked = [call["key"] for call in show.asked()]
    for before in known:
        again = before.settled.intersection(asked[before.asked :])
        assert not again, f"{len(again)} calls were asked again although their answers were recorded"
    assert known[-1].settled <= set(asked)
    assert known[-1].answered == 120

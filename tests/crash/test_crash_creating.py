"""Killed while an instance is made: it is there or it is not, its id is never given again, the index is whole; and
whatever is there, a recorded run plays in it: `resume` leaves no empty one behind."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from callboard.battery.aftermath import half_written, instances
from callboard.battery.kills import cards
from callboard.battery.processes import Show
from callboard.battery.spawn import PATIENCE, callboard, python
from callboard.productions.manager import load_production

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.battery.processes import Left

SEED = int(os.environ.get("CALLBOARD_SEED") or 12)
KILLS = max(10, int(os.environ.get("CALLBOARD_KILLS") or 100) // 8)
CONFIG = """
name: cards
steps: [cards, book]
"""
BEGIN = python(
    "from callboard.cli.aitask import main; main()",
    "show.ai",
    "text",
    "--production-config",
    "production_config.yml",
    "--production-new",
    "--document-type",
    "end",
)


@pytest.mark.timeout(10 * PATIENCE)
def test_an_instance_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    show = Show(cards(notes=3).lay_out(tmp_path / "show"))
    (show.root / "production_config.yml").write_text(CONFIG)
    first = show.lived(BEGIN)
    assert first.code == 0, first.out
    chance = random.Random(SEED)
    ids = set(instances(show.root))
    while show.kills < KILLS:
        left = show.lived(BEGIN, kill_after=chance.uniform(0.3, 1.0) * _length(first))
        assert left.is_killed or left.code == 0, left.out
        now = instances(show.root)
        assert ids <= set(now), "an instance that is listed stays listed"
        ids = set(now)
    while (left := show.lived(callboard("resume"))).code == 0:
        pass
    assert left.code == 8, left.out
    assert show.lived(BEGIN).code == 0
    _is_whole(show)


def _length(left: Left) -> float:
    return left.ended - left.began


def _is_whole(show: Show) -> None:
    manager = load_production(show.root / "project-home/productions/cards")
    listed = instances(show.root)
    assert half_written(show.root) == []
    assert not list(manager.dir.glob("settings/*damaged*"))
    assert len(listed) <= len(show.lives)
    assert sorted(path.name for path in manager.dir.glob("cards_*")) == [f"cards_{id}" for id in sorted(listed)]
    for id, status in listed.items():
        documents = [file for file in (manager.dir / f"cards_{id}").rglob("*") if file.is_file()]
        assert (status, len(documents)) == ("completed", 6), id
    manager.update_productions()
    assert instances(show.root) == listed, "a scan finds nothing else"

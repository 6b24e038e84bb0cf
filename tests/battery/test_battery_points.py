"""Crash points (T2): the proof at gate size, and the proof itself, shown a program that gets the order wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from callboard.battery import points
from callboard.battery.points import prove_points
from callboard.battery.proof import Proving
from callboard.core.facts import Published
from callboard.engine.publisher import Publisher
from callboard.store import publish
from callboard.store.sql.sqlite import SQLiteStore

PARTS, KILLS = 2, 440  # each part has to play all scenes first


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, PARTS + 1))
def test_wherever_it_is_killed_it_ends_as_if_nobody_had(seed: int, tmp_path: Path) -> None:
    found = prove_points(Proving(tmp_path, KILLS, seed))
    print(f"seed {seed}: {found.tried} kills, {dict(found.figures)}")
    assert found.failures == []
    assert found.tried == KILLS and found.figures["points passed"] == len(points.POINTS) - len(points.BY_HAND)


def failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *scenes: str, kills: int = 70) -> str:
    """What the proof finds at the points of a few scenes."""
    monkeypatch.setattr(points, "SCENES", [scene for scene in points.SCENES if scene.name in scenes])
    found = prove_points(Proving(tmp_path, kills, 1))
    told = [one for one in found.failures if not one.startswith("no scene passes")]
    print(f"{len(told)} failures after {found.tried} kills")
    return "\n".join(told)


def test_it_would_be_found_if_documents_were_placed_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SQLiteStore._commit

    def commit(self: SQLiteStore, writes: Any) -> None:
        for path, hash, replaces, _, status in (row for write in writes for row in write.documents):
            if status == "pending":
                publish.publish(Path.cwd(), path, hash, replaces, self.ours, self.get)
        real(self, writes)

    monkeypatch.setattr(SQLiteStore, "_commit", commit)
    assert "was in place, and not recorded" in failures(tmp_path, monkeypatch, "glob")


def test_it_would_be_found_if_a_document_were_told_as_placed_before_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Publisher._put_in_place

    async def told_first(self: Publisher, held: Any, path: str, hash: str, replaces: str | None) -> Any:
        held.published.append((path, hash, replaces, 0, "published"))
        self._post(held, Published(path, hash))
        while held.run is not None and not held.lost and path in held.run.pending:  # noqa: ASYNC110
            await asyncio.sleep(0)  # until it is taken up: the disk must not be quicker by chance
        return await put(self, held, path, hash, replaces)

    monkeypatch.setattr(Publisher, "_put_in_place", told_first)
    assert "it ended with" in failures(tmp_path, monkeypatch, "chain", "glob", kills=300)


def test_it_would_be_found_if_temporary_files_stayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_temporary", lambda name, hash: f".callboard-{id(object())}-{hash[:12]}.tmp")
    monkeypatch.setattr(publish, "_clear", lambda parent, name: None)
    assert "was left behind" in failures(tmp_path, monkeypatch, "chain")


def test_it_would_be_found_if_what_was_saved_in_the_last_moment_did_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the exchange and the way back the person's version lies where an older one of ours was to be removed."""
    window = {name: told for name, told in points.POINTS.items() if name in ("publish.exchanged", "publish.back")}
    monkeypatch.setattr(points, "POINTS", window)
    assert not failures(tmp_path, monkeypatch, "late", kills=8)
    monkeypatch.setattr(publish, "_restore", lambda parent, name, hash, ours: None)
    told = failures(tmp_path, monkeypatch, "late", kills=8)
    assert "it ended with" in told and "was left behind" in told


def test_a_point_that_no_scene_passes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "POINTS", {**points.POINTS, "nobody.is_here": "never"})
    monkeypatch.setattr(points, "SCENES", points.SCENES[:1])
    found = prove_points(Proving(tmp_path, 1, 1))
    assert "no scene passes the point nobody.is_here" in found.failures

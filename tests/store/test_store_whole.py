"""Files that appear whole: nothing is left of a writer that dies, and every file system can keep them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from callboard.store import whole
from callboard.store.cache import FileCache
from callboard.store.content import Content

if TYPE_CHECKING:
    from pathlib import Path


class Dead(BaseException):
    """The process is gone here."""


def dies(*args: Any, **named: Any) -> Any:
    raise Dead


def names(root: Path) -> list[str]:
    return sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())


@pytest.fixture(params=["files without names", "no such files", "no such links"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    link = os.link

    def refuses(source: str, *args: Any, **named: Any) -> None:
        if source.startswith("/proc/"):
            raise PermissionError(1, "no such links")
        link(source, *args, **named)

    if request.param == "no such files":
        monkeypatch.delattr(os, "O_TMPFILE")
    elif request.param == "no such links":
        monkeypatch.setattr(os, "link", refuses)
    return str(request.param)


def test_a_file_is_made_once_and_private(tmp_path: Path, file_system: str) -> None:
    assert whole.create(tmp_path, "a", b"first")
    assert not whole.create(tmp_path, "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    whole.replace(tmp_path, "a", b"third")
    assert (tmp_path / "a").read_bytes() == b"third"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("step", ["link", "fsync"])
def test_nothing_is_left_of_a_writer_that_dies(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as at, pytest.raises(Dead):
        at.setattr(os, step, dies)
        at.setattr(os, "unlink", dies)  # who is dead clears nothing
        whole.create(tmp_path, "a", b"bytes")
    assert names(tmp_path) == []


def test_content_that_two_write_at_once_is_there_once(
    tmp_path: Path, file_system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, other = Content(tmp_path / "content"), Content(tmp_path / "content")
    create = whole.create

    def after_the_other(*args: Any, **named: Any) -> bool:
        monkeypatch.setattr(whole, "create", create)
        other.put(b"bytes")
        return create(*args, **named)

    monkeypatch.setattr(whole, "create", after_the_other)
    hash = content.put(b"bytes")
    assert content.get(hash) == b"bytes"
    assert names(tmp_path) == [f"content/{hash[:2]}/{hash[2:]}"]


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, file_system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        whole.create(tmp_path, "a", b"bytes")
    assert names(tmp_path) == []


def test_an_answer_that_lost_its_bytes_is_a_miss_and_kept_anew(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    key = "ab" + "0" * 62
    assert cache.get(key) is None
    cache.put(key, '{"value":"é"}')
    assert cache.get(key) == '{"value":"é"}'
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    for rest in (b"", file.read_bytes()[:-1], b"\xff\xfe"):
        file.write_bytes(rest)
        assert cache.get(key) is None
        cache.put(key, "anew")
        assert cache.get(key) == "anew"
    assert len(names(tmp_path)) == 1

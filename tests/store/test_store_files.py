"""Bytes by content, documents put in place, and paths that never lead out of their root."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.crash import listening
from callboard.errors import InvalidName, NotFound, StoreDamaged, StoreError
from callboard.store import exchange, paths, publish
from callboard.store.content import Content, MemoryContent

if TYPE_CHECKING:
    from collections.abc import Callable


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


OURS, NEW, USERS = b"our old text", b"our new text", b"a user's text"
BYTES = {digest(data): data for data in (OURS, NEW, USERS)}


def put(root: Path, path: str = "a/draft.md", replaces: bytes | None = None, recorded: bytes = OURS) -> str:
    return publish.publish(
        root,
        path,
        digest(NEW),
        replaces and digest(replaces),
        lambda hash: hash == digest(recorded),
        BYTES.__getitem__,
    )


def names(root: Path) -> list[str]:
    return sorted(os.fsencode(one.relative_to(root)).decode() for one in root.rglob("*") if not one.is_dir())


# ── content ─────────────────────────────────────────────────────────────────────────────────────────────


def test_content_is_sharded_private_and_written_once(tmp_path: Path) -> None:
    content = Content(tmp_path / "content")
    hash = content.put(b"bytes")
    file = content.path(hash)
    assert file == tmp_path / "content" / hash[:2] / hash[2:]
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    before = file.stat()
    assert content.put(b"bytes") == hash and file.stat() == before
    assert names(tmp_path) == [f"content/{hash[:2]}/{hash[2:]}"]


def test_damaged_content_is_never_handed_out_and_healed_by_the_next_put(tmp_path: Path) -> None:
    content = Content(tmp_path / "content")
    hash = content.put(b"bytes")
    content.path(hash).write_bytes(b"bytez")
    with pytest.raises(StoreDamaged):
        content.get(hash)
    assert content.put(b"bytes") == hash and content.get(hash) == b"bytes"


@pytest.mark.parametrize("make", [lambda tmp: Content(tmp / "content"), lambda tmp: MemoryContent()])
def test_a_hash_that_is_none_is_refused(make: Callable[[Path], Content], tmp_path: Path) -> None:
    for hash in ("", "../../../etc/passwd", "ab", "/" * 64, "é" * 64):
        with pytest.raises(InvalidName):
            make(tmp_path).get(hash)


def test_a_disk_that_refuses_content_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "content").write_text("in the way")
    with pytest.raises(StoreError):
        Content(tmp_path / "content").put(b"bytes")


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_document_appears_whole_and_may_be_published_again(tmp_path: Path) -> None:
    for _ in range(3):
        assert put(tmp_path) == "published"
        assert (tmp_path / "a/draft.md").read_bytes() == NEW
    assert names(tmp_path) == ["a/draft.md"]


def test_a_recorded_version_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/draft.md").write_bytes(OURS)
    (tmp_path / "a/draft.md").chmod(0o640)
    assert put(tmp_path) == "published"
    assert (tmp_path / "a/draft.md").read_bytes() == NEW
    assert (tmp_path / "a/draft.md").stat().st_mode & 0o777 == 0o640


def test_a_users_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/draft.md").write_bytes(USERS)
    assert publish.beside(tmp_path, "a/draft.md", digest(NEW)) is None
    for _ in range(3):
        assert put(tmp_path, replaces=OURS) == "conflict"
        assert names(tmp_path) == ["a/draft (ours 1).md", "a/draft.md"]
    assert (tmp_path / "a/draft.md").read_bytes() == USERS
    assert (tmp_path / "a/draft (ours 1).md").read_bytes() == NEW
    assert publish.beside(tmp_path, "a/draft.md", digest(NEW)) == "a/draft (ours 1).md"


def test_ours_beside_takes_the_next_free_number(tmp_path: Path) -> None:
    for name in ("draft", "draft (ours 1)"):
        (tmp_path / name).write_bytes(USERS)
    assert put(tmp_path, "draft") == "conflict"
    assert names(tmp_path) == ["draft", "draft (ours 1)", "draft (ours 2)"]


def test_a_version_that_was_meant_to_be_replaced_is(tmp_path: Path) -> None:
    (tmp_path / "draft.md").write_bytes(USERS)
    assert put(tmp_path, "draft.md", replaces=USERS) == "published"
    assert (tmp_path / "draft.md").read_bytes() == NEW


def test_a_file_that_a_user_deleted_is_written_again(tmp_path: Path) -> None:
    assert put(tmp_path, "draft.md", replaces=OURS) == "published"


def test_what_a_crash_left_behind_is_cleared_by_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Crash(BaseException):
        pass

    def crash(*_: object, **__: object) -> None:
        raise Crash

    for name in ("link", "unlink"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, crash)
            patch.setattr(publish, "_clear", lambda *_: None)
            with pytest.raises(Crash) if name == "link" else monkeypatch.context():
                put(tmp_path, "draft.md")
        assert [one for one in names(tmp_path) if one.endswith(".tmp")]
        assert put(tmp_path, "draft.md") == "published"
        assert names(tmp_path) == ["draft.md"]
        (tmp_path / "draft.md").unlink()


def test_a_file_that_appears_just_before_ours_is_kept(tmp_path: Path) -> None:
    def read(hash: str) -> bytes:
        (tmp_path / "draft.md").write_bytes(USERS)
        return NEW

    assert publish.publish(tmp_path, "draft.md", digest(NEW), None, lambda hash: False, read) == "conflict"
    assert (tmp_path / "draft.md").read_bytes() == USERS


def test_a_file_that_a_user_saves_while_ours_is_written_is_kept(tmp_path: Path) -> None:
    (tmp_path / "draft.md").write_bytes(OURS)

    def read(hash: str) -> bytes:
        (tmp_path / "draft.md").write_bytes(USERS)
        return NEW

    ours = digest(OURS)
    assert publish.publish(tmp_path, "draft.md", digest(NEW), ours, lambda hash: hash == ours, read) == "conflict"
    assert (tmp_path / "draft.md").read_bytes() == USERS


def test_what_lies_beside_already_is_not_put_there_again(tmp_path: Path) -> None:
    for name, data in {"d.md": USERS, "d (ours 1).md": OURS, "d (ours 3).md": NEW, "d (ours x).md": NEW}.items():
        (tmp_path / name).write_bytes(data)
    assert put(tmp_path, "d.md") == "conflict"
    assert names(tmp_path) == ["d (ours 1).md", "d (ours 3).md", "d (ours x).md", "d.md"]
    assert publish.beside(tmp_path, "d.md", digest(NEW)) == "d (ours 3).md"
    (tmp_path / "d (ours 3).md").unlink()
    assert put(tmp_path, "d.md") == "conflict"
    assert publish.beside(tmp_path, "d.md", digest(NEW)) == "d (ours 2).md"


def _save(file: Path, data: bytes) -> None:
    """As an editor does it."""
    (file.parent / "editor~").write_bytes(data)
    (file.parent / "editor~").replace(file)


LAST_MOMENTS: dict[str, Callable[[Path], object]] = {
    "saved": lambda file: _save(file, USERS),
    "written in place": lambda file: file.write_bytes(USERS),
    "replaced by a link": lambda file: (file.unlink(), file.symlink_to("elsewhere")),
}


@pytest.mark.parametrize("harm", LAST_MOMENTS)
@pytest.mark.parametrize("place", ["publish.replace", "publish.exchanged", "publish.back"])
def test_what_a_user_does_in_the_last_moment_is_kept(place: str, harm: str, tmp_path: Path) -> None:
    """Also when they save once more while their first version is being given back."""
    file, done = tmp_path / "d.md", list[str]()
    file.write_bytes(OURS)

    def at(name: str) -> None:
        if name == place and not done:
            done.append(name)
            LAST_MOMENTS[harm](file)
        elif name == "publish.replace" and place == "publish.back" and file.read_bytes() == OURS:
            _save(file, b"the first of two")

    with listening(at):
        said = put(tmp_path, "d.md")
    assert done
    assert file.is_symlink() if "link" in harm else file.read_bytes() == USERS
    if place == "publish.exchanged":  # it was in place by then, and this is an edit of it
        assert said == "published"
    else:
        assert said == "conflict" and (tmp_path / "d (ours 1).md").read_bytes() == NEW
    assert not [name for name in names(tmp_path) if name.startswith(".callboard-")]


@pytest.mark.parametrize("later", [None, b"a later one", "removed"])
def test_a_version_a_crash_has_left_aside_is_given_back(later: bytes | str | None, tmp_path: Path) -> None:
    class Crash(BaseException):
        pass

    file = tmp_path / "d.md"
    file.write_bytes(OURS)

    def at(name: str) -> None:
        if name == "publish.replace":
            _save(file, USERS)
        if name == "publish.back":
            raise Crash

    with listening(at), pytest.raises(Crash):
        put(tmp_path, "d.md")
    assert file.read_bytes() == NEW and USERS in {(tmp_path / name).read_bytes() for name in names(tmp_path)}
    if later is not None:
        file.unlink()
    if isinstance(later, bytes):
        file.write_bytes(later)
    assert put(tmp_path, "d.md") == ("published" if later == "removed" else "conflict")
    if later is None:
        assert file.read_bytes() == USERS and names(tmp_path) == ["d (ours 1).md", "d.md"]
    else:
        assert (tmp_path / "d (yours 1).md").read_bytes() == USERS
        assert file.read_bytes() == (NEW if later == "removed" else later)


def test_where_names_cannot_be_exchanged_the_file_is_looked_at_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_call", lambda: None)
    (tmp_path / "d.md").write_bytes(OURS)
    assert put(tmp_path, "d.md") == "published" and (tmp_path / "d.md").read_bytes() == NEW
    (tmp_path / "d.md").write_bytes(OURS)
    with listening(lambda name: _save(tmp_path / "d.md", USERS) if name == "publish.replace" else None):
        assert put(tmp_path, "d.md") == "conflict"
    assert (tmp_path / "d.md").read_bytes() == USERS
    assert names(tmp_path) == ["d (ours 1).md", "d.md"]


def test_links_and_directories_in_the_way_are_users(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(OURS)
    root = tmp_path / "root"
    (root / "dir.md").mkdir(parents=True)
    (root / "link.md").symlink_to(outside)
    assert put(root, "link.md") == put(root, "dir.md") == "conflict"
    assert outside.read_bytes() == OURS and (root / "link.md").is_symlink()
    assert names(root) == ["dir (ours 1).md", "link (ours 1).md", "link.md"]


def test_a_file_system_without_links_is_served_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert put(tmp_path, "draft.md") == "published"
    assert names(tmp_path) == ["draft.md"]


def test_a_name_as_long_as_a_name_may_be_finds_room_beside(tmp_path: Path) -> None:
    name = "é" * 126 + ".md"
    (tmp_path / name).write_bytes(USERS)
    assert put(tmp_path, name) == "conflict"
    assert len(names(tmp_path)) == 2


def test_a_directory_that_cannot_be_written_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        put(tmp_path, "draft.md")
    assert names(tmp_path) == []


# ── paths ───────────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = ("", "/etc/passwd", "..", "../x", "a/../x", "a//b", "a/", "./a", "a\x00b", "a\nb", "a" * 256, "a/./b")


@pytest.mark.parametrize("path", HOSTILE)
def test_paths_that_are_not_relative_and_normalised_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidName):
        paths.read(tmp_path, path)
    with pytest.raises(InvalidName):
        put(tmp_path, path)
    assert names(tmp_path) == []


def test_no_link_is_followed_anywhere_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("key")
    root = tmp_path / "root"
    root.mkdir()
    (root / "way").symlink_to(tmp_path / "secret")
    (root / "key").symlink_to(tmp_path / "secret/key")
    os.mkfifo(root / "pipe")
    for path in ("way/key", "key", "pipe"):
        with pytest.raises(InvalidName):
            paths.read(root, path)
    with pytest.raises(InvalidName):
        put(root, "way/key")
    assert (tmp_path / "secret/key").read_text() == "key"
    for path in ("none", "none/none"):
        with pytest.raises(NotFound):
            paths.read(root, path)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab./\\~\x00\n é:*"), max_size=12))
def test_whatever_a_path_says_it_stays_under_its_root(text: str) -> None:
    try:
        parts = paths.components(text)
    except InvalidName:
        return
    root = Path("/root/of/all")
    assert Path(os.path.normpath(root.joinpath(*parts))).is_relative_to(root)
    assert os.path.normpath(text) == text

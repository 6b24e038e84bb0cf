"""The gate: which SQLite and which file systems are refused, and what the lock and strict JSON say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.facts import Heard, encode
from callboard.errors import NotJson, StoreDamaged, StoreRefused
from callboard.store import chain, packing
from callboard.store.sql import gate, sqlite

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
server:/export /home/me/net\\040work nfs4 rw 0 0
//nas/share /mnt/share cifs rw 0 0
/dev/sdb1 /mnt/share/local ext4 rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
portal /run/user/1 fuse.portal rw 0 0
tmpfs /tmp tmpfs rw 0 0

broken
"""


@pytest.mark.parametrize("version", ["3.51.3", "3.52.1", "3.53.0", "4.0.0", "3.50.7", "3.50.9", "3.44.6", "3.54.1"])
def test_a_repaired_sqlite_is_taken(version: str) -> None:
    gate.check_version(version)


@pytest.mark.parametrize("version", ["3.51.2", "3.52.0", "3.50.6", "3.44.5", "3.45.0", "3.49.2", "3.7.17"])
def test_an_unsafe_sqlite_is_refused_with_the_way_out(version: str) -> None:
    with pytest.raises(StoreRefused, match="pip install"):
        gate.check_version(version)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/project", "ext4"),
        ("/home/me/net work/project", "nfs4"),
        ("/mnt/share/x", "cifs"),
        ("/mnt/share/local/x", "ext4"),
        ("/mnt/shared", "ext4"),
        ("/mnt/ssh", "fuse.sshfs"),
    ],
)
def test_the_longest_mount_point_tells_the_file_system(path: str, kind: str) -> None:
    assert gate.file_system(Path(path), MOUNTS) == kind


def test_network_file_systems_are_refused() -> None:
    for path in ("/home/me/net work/p", "/mnt/share/p", "/mnt/ssh/p"):
        with pytest.raises(StoreRefused, match="network file system"):
            gate.check_file_system(Path(path), MOUNTS)
    for path in ("/home/me", "/mnt/share/local/p", "/tmp/p", "/run/user/1/p"):
        gate.check_file_system(Path(path), MOUNTS)


def test_a_store_on_a_network_file_system_is_not_even_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "file_system", lambda path, mounts=None: "nfs4")
    with pytest.raises(StoreRefused):
        sqlite.SQLiteStore(tmp_path / "p" / "callboard.db")
    assert not list(tmp_path.iterdir())


def test_a_link_is_judged_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    mounts = f"a / ext4 rw\nb {tmp_path}/real nfs rw\n"
    assert gate.file_system(tmp_path / "link" / "callboard.db", mounts) == "nfs"


@given(st.integers(1, packing.MOST_RUNS), st.integers(0, packing.MOST_NODES - 1), st.integers(0, (1 << 20) - 1))
def test_ids_are_packed_without_loss_into_63_bits(run: int, node: int, number: int) -> None:
    id = packing.pack(run, node, number)
    assert packing.unpack(id) == (run, node, number) and 0 < id < 1 << 63
    assert all(first <= id < end for first, end in (packing.ids_of(run), packing.ids_of(run, node)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(json_values, min_size=1, max_size=5))
def test_facts_come_back_to_the_letter(values: list[object]) -> None:
    facts = [encode(Heard("key", 1, value)) for value in values]
    assert chain.decode(chain.encode(facts)) == facts


def test_a_fact_with_a_line_break_is_refused() -> None:
    for fact in ('["Heard",\n"key"]', '["Heard","\ud800"]'):
        with pytest.raises(NotJson):
            chain.encode([fact, "[]"])


def test_a_chain_names_the_batch_where_it_breaks() -> None:
    blob = chain.encode(["[]"])
    first = chain.link(chain.START, 1, 1.0, blob)
    second = chain.link(first, 2, 2.0, blob)
    rows = [(1, 1.0, blob, first), (2, 2.0, blob, second)]
    assert [row[0] for row in chain.verified(7, rows, 2)] == [1, 2]
    for damaged, batch in ((rows[1:], 1), (rows[:1], 1), ([rows[0], (2, 2.0, blob, first)], 2)):
        with pytest.raises(StoreDamaged, match=f"run 7 .* batch {batch}"):
            chain.verified(7, damaged, 2)

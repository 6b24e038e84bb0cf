"""Cases of a store: the journal, the inbox, the ledger, documents, events, logs, content and records."""

from __future__ import annotations

import json

from callboard.core.facts import Heard, Paused, encode
from callboard.errors import Conflict, FenceLost, InvalidName, NotFound, NotJson
from callboard.ports import Recorded, Write
from callboard.testing.kits.bench import (
    FACT,
    WORDS,
    YOU,
    Bench,
    Cases,
    a_call,
    at,
    dead,
    lease,
    packed,
    refused,
)

case = CASES = Cases()


# ── journal ─────────────────────────────────────────────────────────────────────────────────────────────


@case
def the_journal_keeps_facts_in_order_and_chained(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    bench.store.commit([Write(one, fence, 1.25, [FACT, encode(Paused())]), Write(two, other, 1.5, [FACT])])
    many = [encode(Heard(f"key {place}", place, WORDS)) for place in range(500)]
    bench.store.commit([Write(one, fence, 2.0, many)])
    bench.store.commit([Write(one, fence, 2.5)])  # no facts: no row
    bench.store.commit([Write(one, fence, 2.5)] * 12)
    store = bench.again()
    store.commit([Write(one, fence, 3.0, [FACT]), Write(one, fence, 3.5, many[:3])])
    rows = bench.again().journal(one)
    assert [row[:2] for row in rows] == [(1, 1.25), (2, 2.0), (3, 3.0), (4, 3.5)]
    assert [list(row[2]) for row in rows] == [[FACT, encode(Paused())], many, [FACT], many[:3]]
    assert len({row[3] for row in rows}) == 4
    assert [list(row[2]) for row in bench.store.journal(two)] == [[FACT]]
    bench.store.commit([Write(two, other, 1763706201.1 + place / 7, [FACT]) for place in range(12)])
    assert [row[1] for row in bench.again().journal(two)][1:] == [1763706201.1 + place / 7 for place in range(12)]
    with refused(NotFound):
        bench.store.journal(99)


@case
def a_new_owner_continues_the_chain(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, [FACT])])
    taken = bench.store.claim(number, YOU, lease(90.0), at(12.0), alive=dead)
    assert taken is not None
    bench.store.commit([Write(number, taken, 2.0, [FACT])])
    with refused(FenceLost):
        bench.store.commit([Write(number, fence, 3.0, [FACT])])
    bench.store.commit([Write(number, taken, 4.0, [FACT])])
    assert [row[0] for row in bench.again().journal(number)] == [1, 2, 3]


# ── inbox ───────────────────────────────────────────────────────────────────────────────────────────────


@case
def the_same_letter_twice_is_one(bench: Bench) -> None:
    (one, _), (two, _) = bench.owned("a"), bench.owned("b")
    first = bench.store.append(one, [("x", FACT), ("y", FACT)], 20.0)
    assert bench.store.append(one, [("y", encode(Paused())), ("x", FACT)], 21.0) == first
    last = bench.store.append(one, [("x", FACT), ("z", encode(Heard(WORDS, 3)))], 22.0)
    bench.store.append(two, [("x", FACT)], 23.0)
    letters = bench.again().inbox(one, 0)
    assert [letter.id for letter in letters][1:] == ["x", "y", "z"]
    assert [letter.offset for letter in letters] == sorted({letter.offset for letter in letters})
    assert (letters[-1].offset, letters[-1].fact, letters[-1].at) == (last, encode(Heard(WORDS, 3)), 22.0)
    assert list(bench.store.inbox(one, first)) == list(letters[-1:])
    assert len(bench.store.inbox(one, 0, most=2)) == 2


@case
def consumed_letters_wait_no_more(bench: Bench) -> None:
    number, fence = bench.owned()
    last = bench.store.append(number, [("x", FACT)], 20.0)
    assert list(bench.store.waiting()) == [(number, last)]
    bench.store.commit([Write(number, fence, 21.0, inbox=last)])
    assert not bench.again().waiting()
    bench.store.commit([Write(number, fence, 21.0, inbox=1)])  # never backwards
    assert bench.again().load(number).consumed == last
    bench.store.append(number, [("x", FACT)], 22.0)  # known, though consumed
    assert not bench.store.waiting()
    more = bench.store.append(number, [("y", FACT)], 22.0)
    assert list(bench.store.waiting()) == [(number, more)] and more > last


@case
def the_version_changes_when_someone_appends(bench: Bench) -> None:
    number, _ = bench.owned()
    before = bench.store.version()
    assert bench.store.version() == before
    bench.store.append(number, [("x", FACT)], 20.0)
    assert bench.store.version() != before


# ── ledger, documents, events, logs ─────────────────────────────────────────────────────────────────────


@case
def a_call_is_one_row_of_the_ledger(bench: Bench) -> None:
    number, fence = bench.owned()
    bench.store.commit([Write(number, fence, 1.0, ledger=[a_call(number, status="reserved"), a_call(number, 1)])])
    settled = a_call(number, cost=None, answer=json.dumps({"text": WORDS}, ensure_ascii=False), input_tokens=7)
    cached = a_call(number, 2, node=4, status="cached", cost=0)
    bench.store.commit([Write(number, fence, 2.0, ledger=[settled, cached])])
    bench.store.commit([Write(number, fence, 3.0, ledger=[a_call(number, status="reserved", answer=None)])])
    store = bench.again()
    assert list(store.calls(number)) == [settled, a_call(number, 1), cached]
    assert list(store.calls(number, 4)) == list(store.calls(number, 4, 1)) != []
    assert not store.calls(number, 4, 2) and not store.calls(99)
    known = {"calls": 2, "cached": 1, "input_tokens": 27, "output_tokens": 15, "cost": 250}
    assert store.totals(number) == {**known, "unpriced": 1}
    assert set(store.totals(99).values()) == {0}


@case
def documents_are_kept_by_path_and_known_by_content_and_name(bench: Bench) -> None:
    (one, fence), (two, other) = bench.owned("a"), bench.owned("b")
    old, new, edit = "a" * 64, "b" * 64, "c" * 64
    bench.store.commit([Write(one, fence, 1.0, documents=[("x.md", old, None, packed(one, 0), "pending")])])
    bench.store.commit([Write(one, fence, 2.0, documents=[("x.md", old, None, packed(one, 0), "published")])])
    bench.store.commit(
        [
            Write(one, fence, 3.0, documents=[("y.md", edit, None, packed(one, 0), "edited")]),
            Write(one, fence, 3.0, documents=[("x.md", new, old, packed(one, 1), "pending")]),
            Write(two, other, 3.0, documents=[("x.md", old, None, packed(two, 0), "published")]),
        ]
    )
    store = bench.again()
    mine = [(one, "x.md", new, old, packed(one, 1), "pending"), (one, "y.md", edit, None, packed(one, 0), "edited")]
    assert list(store.documents(one)) == mine
    assert list(store.documents()) == [*mine, (two, "x.md", old, None, packed(two, 0), "published")]
    ours = {hash: sorted(store.ours(hash, "x.md")) for hash in (old, new, edit, "d" * 64)}
    assert ours == {old: [(one, "x.md"), (two, "x.md")], new: [(one, "x.md")], edit: [], "d" * 64: []}
    assert not any(store.ours(old, name) for name in (".md", "md", "ax.md", "y.md", "")) and not store.ours(edit, "")
    assert store.document(one, "x.md") == Recorded(new, "pending", packed(one, 1), old)
    assert store.document(one, "z.md") is None


@case
def a_persons_version_keeps_who_wrote_the_document_and_what_lies_beside(bench: Bench) -> None:
    number, fence = bench.owned()
    ours, theirs, later = "a" * 64, "b" * 64, "c" * 64
    for row in (
        ("made/x.md", ours, None, packed(number, 0), "pending", "it cannot be put in place"),
        ("made/x.md", ours, None, packed(number, 0), "conflict", "made/x (ours 1).md"),
        ("made/x.md", theirs, ours, 0, "edited"),
        ("made/y.md", ours, None, packed(number, 1), "published"),
        ("made/y.md", "", ours, 0, "missing"),
        ("in.md", theirs, None, 0, "source"),
    ):
        bench.store.commit([Write(number, fence, 1.0, documents=[row])])
    store = bench.again()
    assert [row[1:] for row in store.documents(number)] == [
        ("made/x.md", theirs, ours, packed(number, 0), "conflict"),
        ("made/y.md", "", ours, packed(number, 1), "missing"),
    ]
    assert store.notes(number) == {"made/x.md": "made/x (ours 1).md"} and not store.notes(99)
    assert store.document(number, "in.md") == Recorded(theirs, "source", 0, None)
    assert ("in.md", theirs, "source") in store.load(number).documents
    assert [*store.ours(ours, "x.md")] == [(number, "made/x.md")] and not store.ours(theirs, "x.md")
    bench.store.commit(
        [Write(number, fence, 2.0, documents=[("made/x.md", later, None, packed(number, 0), "pending")])]
    )
    assert bench.store.document(number, "made/x.md") == Recorded(later, "pending", packed(number, 0), None)
    assert not bench.store.notes(number)


@case
def events_have_rising_offsets(bench: Bench) -> None:
    value = {"text": WORDS, "list": [1, None, 0.5]}
    first = list(bench.store.publish([("key", "space", value, "sender", None), ("b", "", None, "", {})], 5.5))
    second = list(bench.store.publish([("c", "", "text", "", [])], 6.5))
    assert first + second == sorted({*first, *second}) and len(first) == 2
    store = bench.again()
    assert list(store.events()) == [
        (first[0], "key", "space", value, "sender", None, 5.5),
        (first[1], "b", "", None, "", {}, 5.5),
        (second[0], "c", "", "text", "", [], 6.5),
    ]
    assert [event[0] for event in store.events(first[0], most=1)] == [first[1]]
    assert not list(store.publish([], 7.0))


@case
def logs_are_kept_by_run_and_node_and_the_newest_are_shown(bench: Bench) -> None:
    number, fence = bench.owned()
    lines = [(place % 2, 1, place / 8, "info", f"{WORDS} {place}") for place in range(10)]
    bench.store.commit([Write(number, fence, 1.0, logs=[*lines, (5, 2, 9.0, "error", "lone \ud800 surrogate")])])
    store = bench.again()
    assert list(store.logs(number, 0)) == lines[::2]
    assert list(store.logs(number, 1, most=2)) == [lines[7], lines[9]]
    assert list(store.logs(number, most=1)) == [(5, 2, 9.0, "error", "lone ? surrogate")]
    assert not store.logs(99)


# ── content and records ─────────────────────────────────────────────────────────────────────────────────


@case
def content_is_named_by_its_hash(bench: Bench) -> None:
    names = [bench.store.put(data) for data in (b"", b"bytes", b"\x00" * 200_000, b"bytes")]
    assert names[1] == names[3] == "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9"
    store = bench.again()
    assert [store.get(name) for name in names[:3]] == [b"", b"bytes", b"\x00" * 200_000]
    with refused(NotFound):
        store.get("0" * 64)
    for hash in ("", "../../etc/passwd", "A" * 64, "0" * 63):
        with refused(InvalidName):
            store.get(hash)


@case
def records_change_only_from_their_latest_revision(bench: Bench) -> None:
    store = bench.store
    first = store.write("token", "ü", {"text": WORDS}, revision=0)
    assert (first.kind, first.id, first.value) == ("token", "ü", {"text": WORDS})
    with refused(Conflict):
        store.write("token", "ü", 1, revision=0)
    second = store.write("token", "ü", [1, None], revision=first.revision)
    assert second.revision > first.revision
    for revision in (first.revision, second.revision + 1):
        with refused(Conflict):
            store.write("token", "ü", 1, revision=revision)
        with refused(Conflict):
            store.remove("token", "ü", revision=revision)
    with refused(Conflict):
        store.write("token", "new", 1, revision=3)
    store.write("token", "a", None, revision=0)
    store.write("other", "a", 1, revision=0)
    store = bench.again()
    assert store.read("token", "ü") == second
    assert [record.id for record in store.list("token")] == ["a", "ü"]
    assert store.list("none") == [] and store.read("token", "none") is None


@case
def a_removed_record_does_not_come_back_by_a_late_writer(bench: Bench) -> None:
    store = bench.store
    old = store.write("token", "a", 1, revision=0)
    store.remove("token", "a", revision=old.revision)
    assert store.read("token", "a") is None and store.list("token") == []
    for id in ("a", "b"):
        with refused(Conflict):
            store.remove("token", id, revision=0)
    new = bench.again().write("token", "a", 2, revision=0)
    assert new.revision > old.revision
    with refused(Conflict):
        bench.store.write("token", "a", 3, revision=old.revision)
    assert bench.store.read("token", "a") == new


@case
def values_that_are_not_strict_json_are_refused(bench: Bench) -> None:
    for value in (float("nan"), "\ud800", {1: 2}, {"a": {None: 1}}, object(), b"bytes", {"a": {1, 2}}):
        with refused(NotJson):
            bench.store.write("kind", "id", value, revision=0)
        with refused(NotJson):
            bench.store.publish([("key", "", value, "", None)], 1.0)
    assert bench.again().read("kind", "id") is None and not bench.store.events()

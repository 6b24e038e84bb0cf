"""Which version of a document an attempt goes on with, where an outcome above it *is* one.

A step whose document holds exactly its value hands that document on, so when a person has edited it, the person's
version is the value of the need; the outcome itself stays as it was recorded. What lies there is looked at when an
attempt begins, in a thread, and only for outcomes that have brought documents. A file that kept its place beside ours
is no version of it, nor is what another step has written there since; and of a document that is gone the last version
that there was is taken.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from callboard.core.documents import content
from callboard.errors import NotJson, Permanent
from callboard.text.strict import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from callboard.ports import Json, Recorded, Store

See: TypeAlias = "Callable[[int, str, str], str]"


class Version(NamedTuple):
    """An outcome as it is to be read. `read` names the documents it was found in, by path and hash; `edits` what was
    noticed on the way, as `DocumentEdited` has it; `fault` says why a person's version cannot be the value."""

    outcome: Json
    read: Mapping[str, str]
    edits: Sequence[tuple[str, str, str]] = ()
    fault: str = ""


class Versions:
    """`see(run, path, known)` tells the hash of what lies at a document's place (empty: no file), and has kept the
    bytes of another version than the `known` one."""

    def __init__(self, store: Store, see: See) -> None:
        self._store, self._see = store, see

    def of(self, run: int, execution: int, outcome: Json) -> Version:
        """The version of an outcome that brought documents; `execution` is the id of the one it is of. Blocks.

        Raises StoreError.
        """
        value = outcome["value"]
        whole = sha256(content(value)).hexdigest()
        read: dict[str, str] = {}
        edits: list[tuple[str, str, str]] = []
        for path in [one["path"] for one in outcome["documents"] if one["hash"] == whole]:
            known = self._store.document(run, path)
            if known is None or known.execution != execution or known.status == "conflict":
                continue
            latest = self._latest(run, path, known, edits)
            if latest != whole:
                try:
                    return Version({**outcome, "value": self._value(path, latest, value)}, {path: latest}, edits)
                except Permanent as error:
                    return Version(outcome, {}, edits, str(error))
            read[path] = whole
        return Version(outcome, read, edits)

    def _latest(self, run: int, path: str, known: Recorded, edits: list[tuple[str, str, str]]) -> str:
        if known.status == "pending":
            return known.hash
        last = known.hash or known.replaces or ""
        there = self._see(run, path, known.hash)
        if there == known.hash or self._store.document(run, path) != known:
            return last  # or another version was recorded meanwhile, and lies there
        edits.append((path, last, there))
        return there or last

    def _value(self, path: str, hash: str, like: Json) -> Json:
        """Text if the step's own value was text, else the JSON that it says. Raises Permanent."""
        fix = "Fix: mend it, then `callboard resume --retry`"
        try:
            text = self._store.get(hash).decode("utf-8-sig")
            return text if isinstance(like, str) else decode(text)
        except UnicodeDecodeError as error:
            raise Permanent(f"{path} was edited, and is no UTF-8 text any more (byte {error.start}). {fix}") from None
        except NotJson as error:
            raise Permanent(f"{path} was edited, and is no JSON any more: {error}. {fix}") from None

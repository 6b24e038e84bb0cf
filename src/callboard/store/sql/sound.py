"""Whether what stands in the file is what was recorded: a run's own row at a glance, all of it at the first touch.

The journal is bound by hashes, from the run's birth on; every other row follows from it. So a run is *verified* by
replaying its journal and holding each execution, outcome, item, branch and document against what the replay gives:
whatever has been changed in them is found, even where SQLite finds nothing wrong. That takes about 25 µs a task, once
for each process and run. A run with more than `MOST` tasks would make its first start after a kill wait for seconds,
so of those only the chain and the counts are held against each other here; `callboard doctor` does the rest.

A plan whose rules count events in a span of time depends on clocks that are not recorded: its rows are not compared.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from callboard.core import plan as plans
from callboard.core import rebuilt
from callboard.core.plan import AllOf, AnyOf, Count
from callboard.errors import CallboardError, InvalidPlan, NotFound, StoreDamaged
from callboard.store import chain, seals
from callboard.store.packing import ids_of, unpack
from callboard.store.sql import queries as q
from callboard.store.sql.reading import Reading

if TYPE_CHECKING:
    from callboard.core.rebuilt import Rebuilt

#: Executions of a run that are held against its journal when it is first touched.
MOST = 10_000


class Sound(Reading):
    """Reading that does not believe what it reads. `known_sound` are runs that this process has made or verified."""

    known_sound: set[int]

    def glance(self, run: int) -> None:
        """Hold a run's own row against its birth and its seal: a few microseconds. Raises StoreDamaged, NotFound."""
        row, standing = self.row(q.ROW, (run,)), self.row(q.STANDING, (run,))
        born = self.row(q.BIRTH, (run,))
        if row is None or standing is None:
            if born is not None:
                raise _damaged(run, "its row is gone")
            raise NotFound(f"no run {run}")
        if born is not None and chain.born(run, *born)[:-1] != list(row):
            raise _damaged(run, "what it began with is not what was recorded")
        status, updated, batches, seal, consumed, echo, posted, _ = standing
        if seal is not None and (
            not isinstance(status, int)
            or not isinstance(updated, float)
            or seals.of_standing(run, status, updated, batches) != seal
        ):
            raise _damaged(run, "its status is not the one that was recorded")
        if (echo is not None and echo != consumed) or consumed > posted:
            raise _damaged(run, "the place in its inbox is not the one that was recorded")

    def verify(self, run: int) -> None:
        """Hold a run with at most `MOST` executions against its journal, unless this process has done so before.

        Raises StoreDamaged with what was found, NotFound.
        """
        if run in self.known_sound:
            return
        self.glance(run)
        with self.snapshot():
            found = self.against_journal(run, most=MOST)
        if found:
            raise _damaged(run, "; ".join(found[:3]))
        self.known_sound.add(run)

    def verify_all(self, run: int) -> list[str]:
        """All of a run, however large, against its journal: what is wrong. Raises StoreDamaged."""
        with self.snapshot():
            return self.against_journal(run)

    def against_journal(self, run: int, *, most: int | None = None) -> list[str]:
        """What of a run's rows is not as its journal has it. Raises StoreDamaged where the chain itself is broken."""
        text = self.plan_of(run)
        journal = self.journal(run)
        first, end = ids_of(run)
        count = self.rows(q.COUNT_EXECUTIONS, (first, end))[0][0]
        ended = self.rows(q.COUNT_SUCCESSES, (first, end))[0][0]
        have = self.rows(q.COUNT_OUTCOMES, (first, end))[0][0]
        if have < ended:
            return [f"{ended - have} outcomes are gone"]
        if most is not None and count > most:
            return []
        standing = self.rows(q.STANDING, (run,))[0]
        try:
            plan = plans.load(text)
            if any(_counts(rule.when) for rule in plan.rules):
                return []
            batches = [(at, facts) for _, at, facts, _ in journal]
            told = rebuilt.rebuild(run, "", plan, batches, status=standing[0], keep=_digest)
        except (ValueError, KeyError, TypeError, InvalidPlan) as error:
            raise _damaged(run, f"its journal cannot be replayed: {error}") from error
        try:
            return [*self._rows_unlike(run, told, standing), *self._outcomes_unlike(run, told)]
        except (ValueError, TypeError, KeyError, IndexError) as error:
            return [f"rows that cannot be read ({error})"]

    def plan_of(self, run: int) -> str:
        """The text of a run's plan. Raises StoreDamaged when it is not the one its hash names."""
        row = self.row(q.PLAN_OF, (run,))
        if row is None or plans.digest(row[1]) != row[0]:
            raise _damaged(run, "its plan is not the one it began with")
        return str(row[1])

    def _rows_unlike(self, run: int, told: Rebuilt, standing: tuple[Any, ...]) -> list[str]:
        wrong = []
        if told.status != standing[0]:
            wrong.append(f"its status is {standing[0]}, its journal says {told.status}")
        if not rebuilt.same_state(standing[7], told.state):
            wrong.append("its own state is not as its journal has it")
        have = {row[0]: row for row in self.executions(run)}
        wrong += _unlike("executions", have, told.executions, rebuilt.same)
        items = {row[0]: tuple(row) for row in self.rows(q.ITEMS_OF, (run,))}
        wrong += _unlike("items", items, told.items, lambda one, other: one == tuple(other))
        branches = {row[0]: row[1] for row in self.rows(q.BRANCHES_OF, (run,))}
        wrong += _unlike("rules", branches, told.branches, rebuilt.same_branch)
        return [*wrong, *self._documents_unlike(run, told), *self._letters_unlike(run, standing)]

    def _documents_unlike(self, run: int, told: Rebuilt) -> list[str]:
        wrong, found = [], {path: (hash, status) for path, hash, status in self.rows(q.PATHS_OF, (run,))}
        have = {path: hash for path, (hash, status) in found.items() if path in told.documents or status != "source"}
        for path in sorted(have.keys() | told.documents.keys()):
            hashes = {version.hash for version in told.documents.get(path, ())}
            if path not in have or path not in told.documents:
                wrong.append(f"the record of {path} is {'not in its journal' if path in have else 'gone'}")
            elif have[path] not in hashes:
                wrong.append(f"the hash of {path} was never recorded")
            wrong += [
                f"a version of {path} is gone from its history"
                for hash in hashes
                if not self.rows(q.IN_HISTORY, (hash, run, path))
            ]
        return wrong

    def _letters_unlike(self, run: int, standing: tuple[Any, ...]) -> list[str]:
        """Letters nobody would read, because the place in the inbox says that there are no more."""
        last, consumed, posted = self.rows(q.LAST_LETTER, (run,))[0][0], standing[4], standing[6]
        if posted == max(last, consumed):
            return []
        return [f"its letters go to {last}, and its row says {posted}"]

    def _outcomes_unlike(self, run: int, told: Rebuilt) -> list[str]:
        first, end = ids_of(run)
        have: dict[tuple[int, int], str] = {}
        page = self.rows(q.OUTCOMES_PAGE, (first, end, first, -1, _PAGE))
        while page:
            for id, revision, text in page:
                if text[:1] == "[":
                    have[id, revision] = str(json.loads(text)[0])
                else:
                    have[id, revision] = _digest(text)
            page = self.rows(q.OUTCOMES_PAGE, (first, end, *page[-1][:2], _PAGE)) if len(page) == _PAGE else []
        return _unlike("outcomes", have, told.outcomes, lambda one, other: one == other)


_PAGE = 500


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _unlike(what: str, have: dict[Any, Any], told: dict[Any, Any], same: Any) -> list[str]:
    gone = [key for key in told if key not in have]
    strange = [key for key in have if key not in told]
    changed = [key for key, row in have.items() if key in told and not same(row, told[key])]
    counted = ((gone, "gone"), (strange, "not in its journal"), (changed, "not as its journal has them"))
    return [f"{len(keys)} {what} are {how}{_where(what, keys[0])}" for keys, how in counted if keys]


def _where(what: str, key: Any) -> str:
    id = key[0] if isinstance(key, tuple) else key
    return f" (node {unpack(id)[1]})" if what in ("executions", "outcomes") else ""


def _counts(condition: Any) -> bool:
    if isinstance(condition, AllOf | AnyOf):
        return any(map(_counts, condition.conditions))
    return isinstance(condition, Count)


def _damaged(run: int, what: str) -> CallboardError:
    return StoreDamaged(f"run {run} is damaged: {what}. Nothing of it is changed; mend it with: callboard repair")

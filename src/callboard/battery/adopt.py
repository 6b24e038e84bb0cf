"""T16: a definition is edited between a crash and what comes after it.

A run of a drawn pipeline is killed somewhere, and its file is edited as people do: steps renamed, moved, deleted,
added, asked otherwise, another list, other needs, a circle. Then the same project is gone on with in two ways. Without
`adopt` the pinned run ends as if nobody had touched the file. With it, a run goes on in its place that ends as a new
run of the edited file would, and the provider's own books show that it was asked for exactly those steps and items
that ask something else than what was recorded, by a model of our own (`definitions.asked`). Every second
adoption is killed, too, and asked for again: there is one successor or none, and never two that go on.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from contextlib import chdir, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.app.commands.adopt import adopt
from callboard.app.commands.carry import carry_out
from callboard.app.commands.post import post
from callboard.app.commands.submit import submit_pipeline
from callboard.app.settings import Settings
from callboard.app.views import run as views
from callboard.app.wiring import House
from callboard.battery import definitions, history
from callboard.battery.aftermath import asked
from callboard.battery.nursery import Nursery
from callboard.battery.processes import Show
from callboard.battery.proof import Found
from callboard.battery.show import Wrong, as_if_new, fast_folder, sure
from callboard.battery.workloads import FILE, ID, Workload
from callboard.battery.worlds import Seeded, one_of
from callboard.core.facts import Approved
from callboard.core.status import ENDED, SUCCESS, Status
from callboard.crash import VARIABLE
from callboard.errors import InvalidFile, Refused
from callboard.executors.values import encode
from callboard.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.battery.definitions import Definition
    from callboard.battery.proof import Proving
    from callboard.ports import RunRow

TEXT = "The harbour was opened in 1871. It has four gates and a long wall. In winter it is closed after dark."
_FRESH = "fresh.ai"
_GROWN = 250_000  # bytes to which logs are grown in advance
#: Where a run is killed, and how late at most; where an adoption is.
_KILLS = {"commit.done": 12, "orders.leave": 8, "call.paid": 6, "provider.written": 6, "call.ask": 6, "run.create": 1}
_ADOPTIONS = ("run.adopt", "transaction.commit", "transaction.committed", "run.claim", "commit.done", "inbox.append")


class Case(NamedTuple):
    """One edit: what was begun, what it was made of it, where the run and its adoption are killed ("": it is not)."""

    name: str
    before: Definition
    after: Definition
    killed: str
    adopting: str


def prove_adopt(proving: Proving) -> Found:
    """Edit definitions between crash and resume; `size` counts edits."""
    failures, adopted, kept = list[str](), 0, 0
    with fast_folder() as folder, as_if_new(_GROWN), Nursery() as nursery:
        for number in range(proving.size):
            case = drawn(proving.seed, number)
            root = folder / f"{number}"
            try:
                count = tried(nursery, root, case)
                adopted, kept = adopted + (count is not None), kept + (count or 0)
            except Exception as error:
                failures.append(f"edit {number} of seed {proving.seed} ({case.name}): {type(error).__name__}: {error}")
                _keep(root, proving.folder / f"{number}")
            shutil.rmtree(root, ignore_errors=True)
            proving.say(f"{number + 1} edits, {len(failures)} failures")
    return Found(proving.size, failures, {"adopted": float(adopted), "outcomes kept": float(kept)})


_ASIDE = shutil.ignore_patterns("*-shm", "*.bell")  # of what a killed process leaves, what the next makes anew


def _keep(root: Path, at: Path) -> None:
    for place in (root, root.with_name(f"{root.name}-pinned")):
        if place.is_dir():
            shutil.copytree(place, at.with_name(place.name), dirs_exist_ok=True, ignore=_ASIDE)


def drawn(seed: int, number: int) -> Case:
    """The same each time. Edits come in turn, one or two of them."""
    chance = Seeded(seed * 1_000_003 + number)
    before = definitions.drawn(chance)
    names = list(definitions.EDITS)
    name = names[number % len(names)]
    after = definitions.EDITS[name](chance, before)
    if name != "circle" and chance.below(3) == 0:
        more = one_of(chance, [one for one in names if one != "circle"])
        name, after = f"{name}, {more}", definitions.EDITS[more](chance, after)
    point = one_of(chance, list(_KILLS))
    adopting = f"{one_of(chance, _ADOPTIONS)}:{1 + chance.below(2)}" if number % 2 else ""
    return Case(name, before, after, f"{point}:{1 + chance.below(_KILLS[point])}", adopting)


def tried(nursery: Nursery, root: Path, case: Case) -> int | None:
    """Edit between crash and resume: how many outcomes were kept, None where nothing could be adopted. Raises Wrong."""
    show = Show(Workload("", {FILE: case.before.source()}).lay_out(root))
    nursery.lived(show, ["callboard", "run", FILE, TEXT, "--id", ID], **{VARIABLE: case.killed})
    if not (root / history.DATABASE).exists() or not _is_recorded(root):
        nursery.lived(show, ["callboard", "run", FILE, TEXT, "--id", ID])  # killed before anything was
    (root / FILE).write_text(case.after.source(), "utf-8")
    pinned = root.with_name(f"{root.name}-pinned")
    shutil.copytree(root, pinned, ignore=_ASIDE)
    sure(_ended(pinned) == _fresh(root, case.before), "the pinned run ended otherwise")
    kept = _adopted(nursery, show, case)
    for one in (root, pinned):
        wrong = history.check(one / history.DATABASE)
        sure(not wrong, f"{one.name}: {wrong}")
    return kept


def _is_recorded(root: Path) -> bool:
    with _house(root) as house:
        return bool(house.store.runs())


def _fresh(root: Path, made: Definition) -> dict[str, Any]:
    """What an undisturbed run of a definition ends with. It leaves nothing behind."""
    (root / _FRESH).write_text(made.source(), "utf-8")
    with chdir(root):
        house = House(Settings(model="offline"), None, MemoryStore())
        return _to_its_end(house, submit_pipeline(house, Path(_FRESH), TEXT, id=ID))


def _ended(root: Path) -> dict[str, Any]:
    """Carry the run to its end, approving what it asks; the values of all its steps."""
    with _house(root) as house:
        return _to_its_end(house, house.find_run(ID))


@contextmanager
def _house(root: Path) -> Iterator[House]:
    """The project, opened by somebody who stands in it."""
    with chdir(root), closing(Workload("", {}).house()) as house:
        yield house


def _to_its_end(house: House, row: RunRow) -> dict[str, Any]:
    while Status(row.status) not in ENDED:
        asyncio.run(carry_out(house, [row.number]))
        row = house.store.find_run(row.id)
        run = views.in_memory(house.store, row)
        waiting = [run.nodes[node] for node in sorted(run.held)]
        if waiting:
            post(house, row, [Approved(run.name_of(one.id), one.number, one.draft[0]) for one in waiting if one.draft])
            row = house.store.find_run(row.id)
    sure(row.status == SUCCESS, f"it ended {Status(row.status).name}")
    run = views.in_memory(house.store, row)
    return {task.task.name: views.value(house.store, run, task) for task in run.nodes[: len(run.plan.tasks)]}


# ── adopting ────────────────────────────────────────────────────────────────────────────────────────────────


def _adopted(nursery: Nursery, show: Show, case: Case) -> int | None:
    if case.name == "circle":
        _refused(show.root)
        return None
    done, paid = _recorded(show.root)
    if case.adopting:
        nursery.lived(show, ["callboard", "adopt", ID, "--yes"], **{VARIABLE: case.adopting})
    with _house(show.root) as house:
        row = _adopt(house, case)
        if row is None:
            return None
        before = len(asked(show.root))
        values = _to_its_end(house, row)
        made = {call["key"] for call in asked(show.root)[before:]}
        wanted = _wanted(house, row.id, case, done)
        _compare(made, wanted, {definitions.asked(case.before)[one] for one in paid})
    sure(values == _fresh(show.root, case.after), "it ended otherwise than a new run of the edited file")
    return len(list(definitions.calls(case.after))) - len(wanted)


def _adopt(house: House, case: Case) -> RunRow | None:
    """Adopt (again): one successor; None where the edit changed nothing."""
    old = house.find_run(ID)
    try:
        row, _ = adopt(house, old)
    except Refused as error:
        sure("nothing to adopt" in str(error) and case.before.source() == case.after.source(), str(error))
        return None
    again, _ = adopt(house, house.find_run(ID))
    runs = house.store.runs()
    sure(again.number == row.number and len(runs) == 2, f"there are {len(runs)} runs after one adoption")
    sure(Status(house.find_run(ID).status) in ENDED, "the run that was replaced is not over")
    return row


def _refused(root: Path) -> None:
    with chdir(root):
        house = Workload("", {}).house()
        try:
            before = house.find_run(ID)
            try:
                adopt(house, before)
            except InvalidFile as error:
                sure("circle" in str(error), str(error))
            else:
                raise Wrong("a circle was adopted")
            sure(len(house.store.runs()) == 1 and house.find_run(ID).state == before.state, "something was changed")
        finally:
            house.close()


def _recorded(root: Path) -> tuple[set[tuple[str, str | None]], set[tuple[str, str | None]]]:
    """Steps and items of the killed run with an outcome or a draft, and those whose answer at least is paid for."""
    with chdir(root):
        house = Workload("", {}).house()
        try:
            row = house.find_run(ID)
            run = views.in_memory(house.store, row)
            done = {_name(run, one.id) for one in run.nodes if one.status == SUCCESS or one.hold == "review"}
            paid = {_name(run, call.node) for call in house.store.calls(row.number) if call.status == "settled"}
            return done, paid
        finally:
            house.close()


def _name(run: Any, node: int) -> tuple[str, str | None]:
    return run.nodes[node].task.name, run.nodes[node].key


def _wanted(house: House, id: str, case: Case, done: set[tuple[str, str | None]]) -> dict[str, tuple[Any, ...]]:
    """Keys of the calls that are to be made: of all that asks something that was not recorded → what it asks."""
    was = definitions.asked(case.before)
    recorded = {was[one] for one in done if one in was}
    now = definitions.asked(case.after)
    missing = [one for one in definitions.calls(case.after) if now[one] not in recorded]
    return {_key(house.name, id, *one): now[one] for one in missing}


def _key(project: str, run: str, task: str, item: str | None) -> str:
    """The idempotency key of the first call of the first number (see `executors.calls`)."""
    return hashlib.sha256(encode([project, run, task, item, 1, 0], "key").encode()).hexdigest()


def _compare(made: set[str], wanted: dict[str, tuple[Any, ...]], paid: set[tuple[Any, ...]]) -> None:
    """Nothing was asked that was recorded, and all that was not, but for what was paid for shortly before the kill."""
    sure(made <= wanted.keys(), f"{len(made - wanted.keys())} calls were made for what asks the same")
    less = [wanted[key] for key in wanted.keys() - made if wanted[key] not in paid]
    sure(not less, f"these were not asked: {less!r:.300}")

"""Crash points met by real processes: `CRASH_AT=name:n`, SIGKILL, and the next command goes on.

The proof of all points rebuilds what a kill leaves; this one is killed for it, at a sample of the points, by way of the
command line and of a script of the façade. A show is begun, answered and resumed as a person would, each command with
`CRASH_AT` until one of them is killed by it; from then on without.
"""

from __future__ import annotations

import shutil
from itertools import count
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from callboard.battery.aftermath import asked_again, known, tidied, unsound
from callboard.battery.nursery import Nursery
from callboard.battery.points import play
from callboard.battery.processes import Show
from callboard.battery.proof import Found
from callboard.battery.scenes import of
from callboard.battery.show import as_if_new, fast_folder
from callboard.battery.workloads import WORKLOADS, Workload, documents
from callboard.core.status import ENDED, Status
from callboard.crash import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from callboard.battery.proof import Proving

_MOST = 12  # commands of one show, killed or not


class Place(NamedTuple):
    """A point and which of its passings, in a show."""

    workload: Workload
    name: str
    number: int


class Usual(NamedTuple):
    """What a show is when nobody kills it: its documents, and how often it passes each point."""

    documents: Mapping[str, bytes]
    passed: Mapping[str, int]


def prove_point_kills(proving: Proving) -> Found:
    """Kill real processes at points; `size` counts kills. A point that is passed less often than expected is another
    try, because two processes are never equally quick."""
    chance, kills, tries, failures = Random(f"point-kills-{proving.seed}"), 0, 0, list[str]()
    names = set[str]()
    usual = _undisturbed()
    with Nursery() as nursery:
        for place in places(usual, chance, (proving.seed - 1) * proving.size):
            if kills == proving.size or tries == 3 * proving.size:
                break
            show = Show(place.workload.lay_out(proving.folder / f"{tries}-{place.workload.name}"))
            wrong = killed_at(nursery, show, place, usual[place.workload.name])
            tries += 1
            if show.kills:
                kills += 1
                names.add(place.name)
            failures += [f"{place.workload.name}, {VARIABLE}={place.name}:{place.number}: {one}" for one in wrong]
            if not wrong:
                shutil.rmtree(show.root)
            proving.say(f"{kills} kills, {len(failures)} failures")
    if kills < proving.size:
        failures.append(f"only {kills} of {tries} processes were killed")
    return Found(kills, failures, {"points": float(len(names)), "plays": float(tries)})


def _undisturbed() -> dict[str, Usual]:
    """Play each show once in this process, with somebody who counts."""
    found = dict[str, Usual]()
    with fast_folder() as folder, as_if_new():
        for workload in WORKLOADS:
            played = play(of(workload), folder)
            names = [name for name, _ in played.passed]
            found[workload.name] = Usual(played.ending.documents, {name: names.count(name) for name in names})
    return found


def places(usual: Mapping[str, Usual], chance: Random, first: int = 0) -> Iterator[Place]:
    """Without end: every point in turn, from the `first` on, each time in another show and at another passing."""
    shows = {workload.name: workload for workload in WORKLOADS}
    names = sorted({name for one in usual.values() for name in one.passed})
    for number in count(first):
        name = names[number % len(names)]
        show = chance.choice([show for show, one in usual.items() if name in one.passed])
        yield Place(shows[show], name, chance.choice([1, 1, (usual[show].passed[name] + 1) // 2]))


def killed_at(nursery: Nursery, show: Show, place: Place, usual: Usual) -> list[str]:
    """Carry a show to its end, killed at a place on its way; what is not as it has to be then."""
    workload, at = place.workload, {VARIABLE: f"{place.name}:{place.number}"}
    before = known(show.root)
    for _ in range(_MOST):
        command = _next(workload, before.status, show)
        if command is None:
            break
        left = nursery.lived(show, command, **({} if show.kills else at))
        is_over = before.status is not None and Status(before.status) in ENDED
        if not left.is_killed and left.code not in ((8,) if is_over else (0, 4, workload.code)):
            return [f"{command[0]} ended with {left.code}: {left.out[-500:]}"]
        seen = known(show.root)
        if again := asked_again(show.root, before):
            return [f"the calls {again} were made again"]
        before = seen
    else:
        return [f"it did not end: {show.said()[-500:]}"]
    return _wrong(show, workload, usual)


def _next(workload: Workload, status: int | None, show: Show) -> Sequence[str] | None:
    """What a person says next; None when the run has ended and there is nothing more to tell."""
    last = show.lives[-1] if show.lives else None
    if last is not None and not last.is_killed and last.code == 4:
        asks = next(task for task in workload.answers if f"review {task}" in last.out or f"of {task}" in last.out)
        return _argv(workload.answer(asks))
    if status is None:
        return _argv(workload.begin())
    if Status(status) in ENDED:
        return None if last is None or not last.is_killed else ["callboard", "resume"]
    return _argv(workload.go_on())


def _argv(command: Sequence[str]) -> list[str]:
    """A command line for the nursery: without the interpreter."""
    return ["callboard", *command[3:]] if command[1] == "-c" else list(command[1:])


def _wrong(show: Show, workload: Workload, usual: Usual) -> list[str]:
    litter, found = tidied(show.root), documents(show.root, workload)
    wrong = [] if found == dict(usual.documents) else [f"it made {found!r:.300}, not {usual.documents!r:.300}"]
    return wrong + litter + unsound(show.root)

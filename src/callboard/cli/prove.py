"""`callboard prove`: does what is promised hold on this machine, on this disk? Tries to break it, and tells."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callboard.battery.proofs import PROOFS
from callboard.battery.running import Proven, chosen, prove_all
from callboard.cli.context import Told
from callboard.cli.line import Line
from callboard.cli.table import span, symbols, table
from callboard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.battery.proof import Proof

_COLOURS = {"held": "green", "failed": "red", "skipped": "yellow"}
_MOST = 10  # failures of one proof that are told; all of them are in the JSON


@click.command(
    help="Try to break Callboard on this disk: kill it, cut its power, damage its files. NAMES choose some proofs."
)
@click.argument("names", nargs=-1)
@click.option("--tier", type=click.Choice(["gate", "nightly"]), default="gate", help="How much; gate takes minutes.")
@click.option("--size", type=click.IntRange(1), help="How many kills, images, seeds; instead of the tier's number.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed does the same harm.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="How many proofs run at once.")
@click.option("--folder", type=click.Path(path_type=Path), help="A directory on the disk to prove (default: here).")
@click.option("--list", "listing", is_flag=True, help="List the proofs; try nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each proof.")
@click.pass_obj
def command(
    obj: dict[str, Any],
    names: tuple[str, ...],
    tier: str,
    size: int | None,
    seed: int,
    jobs: int,
    folder: Path | None,
    listing: bool,
    as_json: bool,
) -> None:
    told = Told(obj, as_json)
    proofs = chosen(names, tier)
    if listing:
        told.out([_row(proof) for proof in PROOFS], _listed)
        return
    place = _place(folder)
    told.note(f"proving in {place} ({_free(place)} free), {tier} tier, seed {seed}")
    began, counted = time.monotonic(), {"held": 0, "failed": 0, "skipped": 0}
    for proven in _carried_out(proofs, place, tier, size, seed, jobs):
        counted[proven.word] += 1
        told.out(_as_json(proven, seed), lambda proven=proven: _told(proven))  # type: ignore[misc]
    told.note(
        ", ".join(f"{count} {word}" for word, count in counted.items() if count)
        + f" · {span(time.monotonic() - began)}"
    )
    if counted["failed"]:
        told.note(f"what is left of those that failed lies in {place}")
        click.get_current_context().exit(1)
    shutil.rmtree(place, ignore_errors=True)


def _carried_out(
    proofs: list[Proof], place: Path, tier: str, size: int | None, seed: int, jobs: int
) -> Iterator[Proven]:
    line = _Lines()
    sized = lambda proof: size or proof.size(tier) or 1  # noqa: E731
    try:
        for proven in prove_all(proofs, place, size=sized, seed=seed, jobs=jobs, say=line.say):
            line.end(proven.proof)
            yield proven
    except KeyboardInterrupt:
        shutil.rmtree(place, ignore_errors=True)
        raise


class _Lines:
    """How far the proofs are that are under way, on one line."""

    def __init__(self) -> None:
        self._at: dict[str, str] = {}
        self._line, self._lock = Line(), threading.Lock()

    def say(self, proof: Proof, text: str) -> None:
        with self._lock:
            self._at[proof.name] = f"{proof.name}  {text}"
            self._line.say("  ·  ".join(self._at.values()))

    def end(self, proof: Proof) -> None:
        with self._lock:
            self._at.pop(proof.name, None)
            self._line.end()


def _place(folder: Path | None) -> Path:
    """A new directory on the disk that is to be proven. Raises UsageError."""
    above = folder if folder is not None else Path.cwd()
    try:
        return Path(tempfile.mkdtemp(prefix="callboard-prove-", dir=above))
    except OSError as error:
        raise UsageError(f"{above}: {error.strerror}; name a directory that can be written with --folder") from None


def _free(place: Path) -> str:
    return f"{shutil.disk_usage(place).free / 1e9:,.1f} GB"


def _told(proven: Proven) -> str:
    proof, found = proven.proof, proven.found
    word = click.style(f"{proven.word:<7}", fg=_COLOURS[proven.word])
    tried = "" if found.skipped else f"{found.tried:,} {proof.unit} · {span(proven.seconds)}"
    figures = [f"{name} {value:g}" for name, value in found.figures.items()]
    lines = [f"{proof.name:<4} {word} {proof.title}", "             " + " · ".join([tried, *figures])]
    if found.skipped:
        lines[1] = f"             {symbols(found.skipped)}"
    lines += [f"             ✗ {symbols(failure)}" for failure in found.failures[:_MOST]]
    if len(found.failures) > _MOST:
        lines.append(f"             … and {len(found.failures) - _MOST} more; --json tells them all")
    return "\n".join(lines)


def _as_json(proven: Proven, seed: int) -> dict[str, Any]:
    found = proven.found
    return {
        "name": proven.proof.name,
        "result": proven.word,
        "seed": seed,
        "tried": found.tried,
        "unit": proven.proof.unit,
        "seconds": round(proven.seconds, 2),
        "failures": list(found.failures),
        "figures": dict(found.figures),
        "skipped": found.skipped or None,
        "folder": str(proven.folder) if proven.folder is not None else None,
    }


def _row(proof: Proof) -> dict[str, Any]:
    return proof._asdict()


def _listed() -> str:
    rows = [
        (one.name, one.title, f"{one.gate:,} {one.unit}" if one.gate else "–", f"{one.nightly:,}", _sentences(one))
        for one in PROOFS
    ]
    return table(("proof", "what is done", "gate", "nightly", "promise"), rows)


def _sentences(proof: Proof) -> str:
    return " ".join(map(str, proof.promise))

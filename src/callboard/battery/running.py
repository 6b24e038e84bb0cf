"""Carries proofs out, each in a process of its own: what one of them breaks, none of the others can feel.

The process tells in lines of JSON on its standard output how far it is and what it found; one that dies without a
finding is a finding. Its folder lies where the disk is that is to be proven, is empty when it begins, and is kept when
something was found in it. Several may run at once; those that measure time say how much they bear.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from callboard.battery.proof import Found, Proof, Proving
from callboard.battery.proofs import PROOFS
from callboard.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PROGRAM = "from callboard.battery.running import main; main()"


class Proven(NamedTuple):
    """What came of one proof. `seconds` of wall time; `folder` is what was kept of it, if anything was."""

    proof: Proof
    found: Found
    seconds: float
    folder: Path | None

    @property
    def word(self) -> str:
        return "failed" if self.found.failures else "skipped" if self.found.skipped else "held"


def chosen(names: Sequence[str], tier: str) -> list[Proof]:
    """The proofs of these names, or all that belong to a tier. Raises NotFound."""
    known = {proof.name.lower(): proof for proof in PROOFS}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise NotFound(f"there is no proof {unknown[0]!r}; `callboard prove --list` lists them")
    return [known[name.lower()] for name in names] or [proof for proof in PROOFS if proof.size(tier)]


def prove_all(
    proofs: Sequence[Proof],
    folder: Path,
    *,
    size: Callable[[Proof], int],
    seed: int,
    jobs: int = 1,
    say: Callable[[Proof, str], None],
) -> Iterator[Proven]:
    """Carry proofs out, `jobs` at once, and tell of each when it has ended. Raises KeyboardInterrupt, with all of them
    ended."""
    processes = Processes()
    with ThreadPoolExecutor(jobs) as workers:

        def begin(proof: Proof) -> Proven:
            heard = lambda text: say(proof, text)  # noqa: E731
            return prove(proof, folder, size=size(proof), seed=seed, say=heard, processes=processes)

        proving = [workers.submit(begin, proof) for proof in proofs]
        try:
            for done in as_completed(proving):
                yield done.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            processes.end()
            raise


def prove(
    proof: Proof,
    folder: Path,
    *,
    size: int,
    seed: int,
    say: Callable[[str], None],
    processes: Processes | None = None,
) -> Proven:
    """Carry out one proof in an empty directory below `folder`. Raises KeyboardInterrupt, with all of it ended."""
    at = folder / proof.name.lower()
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir(parents=True)
    began = time.monotonic()
    found = _in_a_process(proof, Proving(at, size, seed, say), processes or Processes())
    seconds = time.monotonic() - began
    if found.failures:
        return Proven(proof, found, seconds, at)
    shutil.rmtree(at, ignore_errors=True)
    return Proven(proof, found, seconds, None)


class Processes:
    """The processes of proofs that run now, each with a group of its own. Once ended it begins none."""

    def __init__(self) -> None:
        self._lock, self._alive, self._ended = threading.Lock(), set[int](), False

    def begin(self, argv: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
            self._alive.add(process.pid)
            return process

    def over(self, process: subprocess.Popen[bytes]) -> int:
        """It has closed its output: wait for its end. Its exit code."""
        code = process.wait()
        with self._lock:
            self._alive.discard(process.pid)
        return code

    def end(self) -> None:
        with self._lock:
            self._ended = True
            for group in self._alive:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)


def _in_a_process(proof: Proof, proving: Proving, processes: Processes) -> Found:
    asked = json.dumps([proof, str(proving.folder), proving.size, proving.seed])
    said = proving.folder.with_suffix(".said")
    with (
        open(said, "w+b") as errors,
        processes.begin([sys.executable, "-c", _PROGRAM, asked], errors) as process,
    ):
        try:
            found = _heard(process, proving.say)
        except BaseException:
            processes.end()
            raise
        code = processes.over(process)
        last = _last_line(errors)
    said.unlink()
    return found or Found(0, [f"its process ended with {code} and no finding (seed {proving.seed}): {last}"])


def _heard(process: subprocess.Popen[bytes], say: Callable[[str], None]) -> Found | None:
    found = None
    assert process.stdout is not None
    for line in process.stdout:
        try:
            heard = json.loads(line)
        except ValueError:
            continue  # somebody printed
        if "say" in heard:
            say(heard["say"])
        elif "found" in heard:
            found = Found(**heard["found"])
    return found


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def main() -> None:
    """The process of one proof."""
    proof, folder, size, seed = json.loads(sys.argv[1])
    told = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a proof or its programs print belongs to the messages

    def tell(**what: Any) -> None:
        print(json.dumps(what), file=told)

    found = Proof(*proof).prove(Proving(Path(folder), size, seed, lambda text: tell(say=text)))
    tell(found=found._asdict() | {"failures": list(found.failures), "figures": dict(found.figures)})

"""Others beside us: the same no-op tasks, durable, through everybody's public interface; a row for each that is there.

    make bench PEERS="dbos luigi prefect"             those that are installed in bench/.peers/<name>
    make bench PEERS="dbos" INSTALL=1                 put them there first, each in an environment of its own
    python bench/peers.py dbos --tasks 200 --json

Everybody keeps what it keeps by default, in a SQLite file or in files in an empty directory, and gets one process.
What is promised differs (not all of them sync what they say is done), so a row says who is how fast, not who is better.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE / ".peers"
SHAPES = ("fanout", "chain")
#: What is installed for a peer, of the line that its script (`peer_<name>.py`) was written for.
PACKAGES = {"dbos": "dbos~=3.4", "luigi": "luigi~=3.8", "prefect": "prefect~=3.9"}


def python_of(peer: str) -> Path:
    return Path(sys.executable) if peer == "callboard" else HOME / peer / "bin" / "python"


def install(peer: str) -> None:
    """An environment of its own; the packages come from wherever pip is told to look."""
    if not python_of(peer).exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME / peer)], check=True)
        try:
            subprocess.run([str(python_of(peer)), "-m", "pip", "install", "--quiet", PACKAGES[peer]], check=True)
        except subprocess.CalledProcessError:
            shutil.rmtree(HOME / peer)  # or it would pass for installed


def seconds(peer: str, shape: str, tasks: int, directory: Path | None) -> float:
    """What so many tasks take it, in a new process and directory. Raises RuntimeError with its last words."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{peer}-", dir=directory) as folder:
        command = [str(python_of(peer)), str(HERE / f"peer_{peer}.py"), shape, str(tasks)]
        environment = {**os.environ, "HOME": folder, "PREFECT_HOME": folder}
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=600)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1])
    return float(done.stdout.split()[-1])


def rows(peers: list[str], tasks: int, repeat: int, directory: Path | None) -> list[dict[str, object]]:
    """A row for each peer that could be measured, us first; all in turn, medians."""
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeat):
        for peer in ["callboard", *peers]:
            for shape in SHAPES:
                taken.setdefault((peer, shape), []).append(seconds(peer, shape, tasks, directory))
    return [
        {"peer": peer, **{shape: round(tasks / statistics.median(taken[peer, shape]), 1) for shape in SHAPES}}
        for peer in ["callboard", *peers]
    ]


def is_there(peer: str, directory: Path | None) -> bool:
    """Whether a peer can be measured; said why, when it cannot."""
    if peer not in PACKAGES:
        why = f"nobody has written a bench/peer_{peer}.py"
    elif not python_of(peer).exists():
        why = f'not installed (make bench PEERS="{peer}" INSTALL=1)'
    else:
        try:
            seconds(peer, "chain", 1, directory)
            return True
        except RuntimeError as error:
            why = f"it does not run here: {error}"
    print(f"{peer:12} left out: {why}", file=sys.stderr)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peers", nargs="+", help=f"of {', '.join(PACKAGES)}")
    parser.add_argument("--install", action="store_true", help="put those that are missing into bench/.peers")
    parser.add_argument("--tasks", type=int, default=int(os.environ.get("N") or 300))
    parser.add_argument("--repeat", type=int, default=3, help="times each is measured; the median counts")
    parser.add_argument("--directory", type=Path, help="where to write; must be on the disk that counts")
    parser.add_argument("--json", action="store_true", help="a JSON object for each line")
    args = parser.parse_args()
    for peer in args.peers:
        if args.install and peer in PACKAGES:
            install(peer)
    there = [peer for peer in args.peers if is_there(peer, args.directory)]
    for row in rows(there, args.tasks, args.repeat, args.directory):
        if args.json:
            print(json.dumps(row), flush=True)
        else:
            figures = "  ".join(f"{shape} of {args.tasks} {row[shape]:9,.0f}/s" for shape in SHAPES)
            print(f"{row['peer']:12} {figures}", flush=True)


if __name__ == "__main__":
    main()

"""The demo: lays the documents out in `demo/library`, and runs `library.ai` over them with the offline model.

    python docs/examples/demo.py [FOLDER]

Without FOLDER it reads this project's own documents. It works on copies, in `demo/` below the checkout, and may be run
again: each run makes a new instance of the production, and answers that are recorded already are not asked for again.
After the copying it becomes the command line itself, so Ctrl-C, exit codes and the terminal are those of the program.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAGE = ROOT / "demo"
OURS = ("ARCHITECTURE.md", "docs/*.md", "src/callboard/*/decisions/*.md")
READABLE = {".md", ".txt", ".rst"}
LARGEST = 1_000_000  # bytes; longer files are not what one wants to wait for in a demo


def documents(folder: Path | None) -> list[tuple[Path, Path]]:
    """(file, its place on the shelf) of what is to be read, in order."""
    if folder is None:
        found = [path for pattern in OURS for path in ROOT.glob(pattern)]
        return sorted((path, path.relative_to(ROOT)) for path in found)
    found = [path for path in folder.rglob("*") if path.suffix.lower() in READABLE and not _is_hidden(path, folder)]
    return sorted((path, path.relative_to(folder)) for path in found if path.stat().st_size <= LARGEST)


def _is_hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def lay_out(chosen: list[tuple[Path, Path]]) -> None:
    shutil.rmtree(STAGE / "library", ignore_errors=True)
    for path, place in chosen:
        target = STAGE / "library" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(Path(__file__).with_name("library.ai"), STAGE / "library.ai")


def main() -> None:
    folder = Path(sys.argv[1]).expanduser().resolve() if sys.argv[1:] else None
    if folder and not folder.is_dir():
        sys.exit(f"there is no folder {folder}")
    chosen = documents(folder)
    if not chosen:
        sys.exit(f"there are no texts ({', '.join(sorted(READABLE))}) in {folder}")
    lay_out(chosen)
    where = os.path.relpath(STAGE)
    print(f"{len(chosen)} documents are laid out in {where}/library; what comes of them lies in", file=sys.stderr)
    print(f"{where}/project-home/productions/library", file=sys.stderr)
    program = os.path.relpath(Path(sys.executable).with_name("callboard"), STAGE)
    print(f"look at it afterwards with: cd {where} && {program} show\n", file=sys.stderr, flush=True)
    os.environ.setdefault("CALLBOARD_OFFLINE_LATENCY", "0.3")  # seconds a call takes, so that there is progress to see
    os.chdir(STAGE)
    callboard = Path(sys.executable).with_name("callboard")
    os.execv(callboard, [str(callboard), "--project", ".", "run", "library.ai", "--model", "offline"])


if __name__ == "__main__":
    main()

"""Runs the listings of a document, so that what README and the manual show stays true.

The rules, for whoever writes a document. All listings of a page share one empty folder and happen in order.

- A second word after the language is a file name, as in ```` ```yaml analyze.ai ```` or ```` ```text notes/a.md ````:
  the listing is written to that file. A `.ai` file must be a valid pipeline.
- ```` ```yaml ```` without a name is an excerpt, and must at least be YAML.
- ```` ```python ```` runs in a process of its own. With a name it is only written.
- ```` ```console ```` runs: each line that begins with `$ ` is a command (a backslash at its end continues it), what
  follows is its output, stdout and stderr as a person sees them. No output shown means that it does not matter. `…`
  stands for any text within a line, a line of its own with `…` for any lines. Words that contain a digit (times, sums,
  ids) may differ. A command must succeed, unless it says otherwise at its end: `# exit 4`.
- ```` ```sh ```` is never run. It is for what a test cannot do: cloning, installing, the reader's own keys.

The offline model answers, at once; nothing can be reached over the network.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30  # seconds for one command


class Listing(NamedTuple):
    """One fenced listing; `line` is that of its first line of text, from 1."""

    line: int
    language: str
    name: str
    text: str


class Command(NamedTuple):
    """One command of a console listing, the output it shows ([]: not shown) and the exit code it announces."""

    line: str
    shown: list[str]
    code: int


class Untrue(AssertionError):
    """A listing is not true. The message is for the writer of the document."""


def listings(path: Path) -> Iterator[Listing]:
    text = path.read_text("utf-8")
    for match in re.finditer(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        yield Listing(text.count("\n", 0, match.start(3)) + 1, match[1], match[2] or "", match[3])


def is_run(listing: Listing) -> bool:
    """Whether telling if this listing is true needs the program."""
    return listing.language == "console" or (listing.language == "python" and not listing.name)


def run(listing: Listing, folder: Path) -> None:
    """Make the listing happen in `folder`. Raises Untrue."""
    if listing.name:
        target = folder / listing.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(listing.text, "utf-8")
        if target.suffix == ".ai":
            _succeed(["callboard", "check", listing.name], folder)
    elif listing.language == "yaml":
        yaml.safe_load(listing.text)
    elif listing.language == "python":
        _succeed([sys.executable, "-c", listing.text], folder)
    elif listing.language == "console":
        for command in commands(listing.text):
            _check(command, folder)


def commands(text: str) -> list[Command]:
    """The commands of a console listing with what each shows."""
    found: list[Command] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            command, _, code = line[2:].partition("  # exit ")
            found.append(Command(command, [], int(code or 0)))
        elif line.strip():
            found[-1].shown.append(line)
    return found


def shows(shown: list[str], lines: list[str]) -> bool:
    """Whether the lines a document shows are those that came, as loosely as the rules above allow."""
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "…" else _pattern(line) + r"\n" for line in shown)
    came = "".join(_digest(line) + "\n" for line in lines if line.strip())
    return re.fullmatch(pattern, came) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in _digest(line).split("…"))


def _digest(line: str) -> str:
    """A line with its blanks squeezed and each word that contains a digit replaced by `#`."""
    return re.sub(r"\w*\d[\w.,:+]*", "#", " ".join(line.split()))


def _check(command: Command, folder: Path) -> None:
    result = _run(["sh", "-c", command.line], folder)
    if result.returncode != command.code:
        raise Untrue(f"$ {command.line}\nended with {result.returncode}, not {command.code}:\n{result.stdout}")
    if command.shown and not shows(command.shown, result.stdout.splitlines()):
        raise Untrue(f"$ {command.line}\nshows\n{result.stdout}\nand not\n" + "\n".join(command.shown))


def _succeed(command: list[str], folder: Path) -> None:
    result = _run(command, folder)
    if result.returncode:
        raise Untrue(f"{' '.join(command)}\nended with {result.returncode}:\n{result.stdout}")


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    nowhere = "http://127.0.0.1:9"
    environment = {
        "PATH": os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath))),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "COLUMNS": "110",
        "CALLBOARD_MODEL": "offline",
        "CALLBOARD_OFFLINE_LATENCY": "0",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
    }
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            told, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            told, _ = process.communicate()
            raise Untrue(f"{' '.join(command)}\nhas not ended after {PATIENCE} s:\n{told}") from None
    return subprocess.CompletedProcess(command, process.returncode, told)

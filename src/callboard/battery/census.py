"""Who lives on this machine, and what each of them uses: what Linux tells of processes, in `/proc`.

A process may end while it is looked at; then it is not there, or uses nothing. Who stands in a directory is found by
the working directory of every process of the machine, so a daemon that left its group, its session and its parent is
seen all the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def standing(place: Path) -> dict[int, str]:
    """Living processes whose working directory is this one or below it; where each of them stands, seen from here."""
    where = os.path.realpath(place)
    found: dict[int, str] = {}
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit():
                at = os.readlink(f"/proc/{name}/cwd")
                if at == where or at.startswith(where + os.sep):
                    found[int(name)] = at[len(where) + 1 :]
    return found


def program_of(pid: int) -> list[str]:
    """Its arguments; empty when it is gone."""
    return _read(pid, "cmdline").split("\0")[:-1]


def is_supervisor(pid: int) -> bool:
    return any(word.endswith("supervisor.py") for word in program_of(pid))


def parent_of(pid: int) -> int:
    """0 when it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def children_of(pid: int) -> list[int]:
    """Processes that one has started and not yet buried: nobody else can have their numbers."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read(pid, f"task/{thread}/children").split())
    return found


def below(pid: int) -> list[int]:
    """Processes that one has started, and those that they have started."""
    return [one for child in children_of(pid) for one in (child, *below(child))]


def seconds_of(pid: int) -> float:
    """The processor time that a process has used, without that of its children."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def most_megabytes_of(pid: int) -> float:
    """The most memory that a process has had."""
    return _told(pid, "status", "VmHWM:") / 1024


def megabytes_read_by(pid: int) -> float:
    """What a process has read so far, from files and pipes."""
    return _told(pid, "io", "rchar:") / (1 << 20)


def own_megabytes() -> float:
    """The memory of this process just now."""
    return int(_read(os.getpid(), "statm").split()[1]) * _PAGE / 1e6


def _told(pid: int, what: str, name: str) -> float:
    lines = _read(pid, what).splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), 0.0)


def _stat(pid: int) -> list[str]:
    """The fields behind its name, which may hold anything; empty when it is gone."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, what: str) -> str:
    try:
        with open(f"/proc/{pid}/{what}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""

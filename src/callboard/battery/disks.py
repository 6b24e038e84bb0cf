"""A disk of its own for a proof: a file system in memory that only its processes see, small enough to be filled.

It is mounted in a mount namespace, as root or in a user namespace where those are allowed, so it needs nobody's
permission twice and is gone with the last process in it. Where neither is possible the proof says so and is skipped:
a disk that is only imitated answers as we believe that disks do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_INSIDE = "import json, sys\nfrom {module} import {name} as act\njson.dump(act(*json.load(sys.stdin)), sys.stdout)"
#: Seconds in which a mount that works has worked.
_SOON = 20.0


class NoDisk(Exception):
    """No disk can be mounted here; the message says why."""


def own_mounts() -> list[str]:
    """The beginning of a command line whose process may mount what it likes. Raises NoDisk."""
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("mount") is None:
        raise NoDisk("there is no `unshare` or no `mount` here")
    why, ways = "", [["--map-root-user"]] if os.geteuid() else [[], ["--map-root-user"]]
    for more in ways:
        command = [unshare, "--mount", "--propagation", "private", *more]
        tried = subprocess.run(
            [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            capture_output=True,
            text=True,
            timeout=_SOON,
            check=False,
        )
        if tried.returncode == 0:
            return command
        why = (tried.stderr.strip() or f"it ended with {tried.returncode}").splitlines()[-1]
    raise NoDisk(f"no file system can be mounted here: {why}")


def within(module: str, name: str, *arguments: Any, timeout: float) -> Any:
    """What a function of ours answers in a process that has its own mounts. Raises NoDisk, AssertionError."""
    command = [*own_mounts(), sys.executable, "-c", _INSIDE.format(module=module, name=name)]
    done = subprocess.run(
        command, input=json.dumps(arguments), capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise AssertionError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def mount(place: Path, **options: str) -> Path:
    """A disk at `place`, with options of tmpfs (`size`, `nr_inodes`); only in a process that has its own mounts."""
    place.mkdir(parents=True, exist_ok=True)
    told = ",".join(f"{name}={value}" for name, value in options.items())
    subprocess.run(["mount", "-t", "tmpfs", "-o", told, "tmpfs", place], check=True, timeout=_SOON)
    return place


def read_only(place: Path, *, again: bool = False) -> None:
    """Let nothing below `place` be written any more, or `again`; for a directory in a disk of ours, too."""
    if not again:
        subprocess.run(["mount", "--bind", place, place], check=True, timeout=_SOON)
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True, timeout=_SOON)
    else:
        subprocess.run(["umount", place], check=True, timeout=_SOON)

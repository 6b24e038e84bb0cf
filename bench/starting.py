"""Starting: what an import and `--help` take, beside the bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import callboard": ["-c", "import callboard"],
    "callboard --help": ["-m", "callboard.cli.main", "--help"],
}


def measured(repeat: int) -> dict[str, float]:
    """Seconds of each command, median, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeat):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in taken.items()}

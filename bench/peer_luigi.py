"""Luigi's part in `peers.py`: a target file for each task, the local scheduler, one worker."""

from __future__ import annotations

import sys
import time

import luigi


class Nothing(luigi.Task):
    """The work of every task: its mark in a file."""

    number = luigi.IntParameter()
    chained = luigi.BoolParameter()

    def requires(self):
        return [Nothing(self.number - 1, True)] if self.chained and self.number else []

    def output(self):
        return luigi.LocalTarget(f"t{self.number}.txt")

    def run(self):
        with self.output().open("w") as file:
            file.write("null")


def main() -> None:
    shape, count = sys.argv[1], int(sys.argv[2])
    sys.setrecursionlimit(10 * count + 1000)
    chained = shape == "chain"
    tasks = [Nothing(count - 1, True)] if chained else [Nothing(n, False) for n in range(count)]
    began = time.perf_counter()
    if not luigi.build(tasks, local_scheduler=True, workers=1, log_level="ERROR"):
        raise SystemExit("it failed")
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()

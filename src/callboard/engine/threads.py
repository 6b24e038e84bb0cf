"""What an engine has done beside its loop: a thread for its store, and a beat that a busy loop cannot delay.

One object, so that a simulation may put a world of its own in its place, in which nothing takes real time and
everything comes in one order.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Threads:
    """Those of this process."""

    def worker(self, name: str) -> Executor:
        """One thread that takes calls in turn. It is there at once: what is handed over when no thread can be started
        any more would lie in the queue, be taken for failed, and be carried out some time later."""
        worker = ThreadPoolExecutor(1, name)
        worker.submit(int)
        return worker

    def beat(self, every: float, call: Callable[[], None], name: str) -> Callable[[], None]:
        """Call every so many seconds, from a thread that ends with the process; what is returned ends it, and waits."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(every):
                call()

        thread = threading.Thread(target=keep, name=name, daemon=True)
        thread.start()

        def end() -> None:
            over.set()
            thread.join(3 * every)

        return end

    def seconds(self) -> float:
        """To tell how long something took."""
        return time.perf_counter()

    def away(self) -> float:
        """Seconds until a thread that lets others take the interpreter has it again: many where one computes."""
        began = time.perf_counter()
        time.sleep(0.0002)  # long enough for another one to wake up
        return time.perf_counter() - began

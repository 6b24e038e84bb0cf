"""A user's regular expression, run where it can do no harm: in a process of its own with 250 ms of processor time.

Python's `re` backtracks, so a pattern from a file or a model can take longer than the sun will shine, and it
cannot be interrupted from another thread. Processor time is what is limited, not time on the wall, because on a
busy machine starting the process alone may take longer than the limit. A subset of patterns that is surely
linear was tried on paper and left out what people write (lazy quantifiers, alternations in repetitions).
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

from callboard.errors import InvalidOutput, Permanent

LIMIT = 0.25  # seconds of processor time
_WALL = 30.0  # seconds, for a machine that does not give us the processor
_MEMORY = 1 << 30  # bytes of address space

_PROGRAM = f"""
import json, re, resource, signal, sys
pattern, text = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY}, {_MEMORY}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.setitimer(signal.ITIMER_VIRTUAL, {LIMIT})
try:
    found = re.search(pattern, text, re.DOTALL)
    answer = [None if found is None else found[1 if found.re.groups else 0] or "", found is not None, ""]
except re.error as error:
    answer = [None, False, str(error)]
signal.setitimer(signal.ITIMER_VIRTUAL, 0)
json.dump(answer, sys.stdout)
"""


async def extract(pattern: str, text: str) -> str:
    """Group 1 of the first match (the whole match when there is no group); `.` matches line breaks too.

    Raises InvalidOutput when nothing matches, Permanent for a pattern that is none or takes too long.
    """
    found, is_found, fault = await asyncio.to_thread(_searched, pattern, text)
    if fault:
        raise Permanent(f"`extract` is not a regular expression: {fault}", evidence={"pattern": pattern})
    if not is_found:
        raise InvalidOutput("`extract` does not match the text", evidence={"pattern": pattern, "text": text[:500]})
    return str(found)


def _searched(pattern: str, text: str) -> tuple[str | None, bool, str]:
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    given = json.dumps([pattern, text]).encode()
    try:
        ended = subprocess.run(command, input=given, capture_output=True, timeout=_WALL, env={}, check=False)
    except subprocess.TimeoutExpired:
        raise _too_long(pattern) from None
    if ended.returncode == -signal.SIGVTALRM:
        raise _too_long(pattern)
    if ended.returncode:
        why = ended.stderr[-300:].decode(errors="replace").strip().splitlines()
        raise Permanent(f"`extract` failed: {why[-1] if why else ended.returncode}", evidence={"pattern": pattern})
    found, is_found, fault = json.loads(ended.stdout)
    return found, is_found, fault


def _too_long(pattern: str) -> Permanent:
    what = f"`extract` needs more than {int(LIMIT * 1000)} ms. Fix: a pattern without nested repetitions"
    return Permanent(what, evidence={"pattern": pattern})

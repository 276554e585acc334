"""CPU time of a command by part: its own process and those that it started."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

ITSELF = "the command itself"
"""What this process takes, except what is charged to another part."""
_spent: defaultdict[str, float] = defaultdict(float)
_lock = threading.Lock()


def spend(part: str, cpu_seconds: float) -> None:
    """Charges CPU seconds to a part."""
    with _lock:
        _spent[part] += cpu_seconds


@contextmanager
def spending(part: str) -> Iterator[None]:
    """Charges the CPU time of this thread within the context to a part."""
    began = time.thread_time()
    try:
        yield
    finally:
        cpu_seconds = time.thread_time() - began
        spend(part, cpu_seconds)
        spend(ITSELF, -cpu_seconds)


def by_part() -> Mapping[str, float]:
    """CPU seconds so far, the largest part first."""
    with _lock:
        told = _spent | {ITSELF: _spent[ITSELF] + time.process_time()}
    return dict(sorted(told.items(), key=lambda part: -part[1]))


def in_words() -> str:
    """`1,204 CPU seconds: discovery by acdc 310, report 12`."""
    told = by_part()
    parts = ", ".join(f"{part} {cpu:.0f}" for part, cpu in told.items())
    return f"{sum(told.values()):,.0f} CPU seconds: {parts}"

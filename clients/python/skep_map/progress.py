"""One line on a terminal that tells how far a map is."""
from __future__ import annotations

import sys
import threading
import time

_EVERY_S = 0.1


class Progress:
    def __init__(self, what: str, futures: list, shown: bool) -> None:
        self._what = what
        self._futures = futures
        self._shown = shown
        self._start = time.monotonic()
        self._drawn = 0.0
        self._done = 0
        self._lock = threading.Lock()

    def tell(self) -> None:
        """One more has ended."""
        with self._lock:
            self._done += 1
            ended = self._done == len(self._futures)
            now = time.monotonic()
            if not self._shown or (not ended and now - self._drawn < _EVERY_S):
                return
            self._drawn = now
            line = line_of(self._what, self._done, self._futures, now - self._start)
            sys.stderr.write(f'\r\x1b[2K{line}' + ('\n' if ended else ''))
            sys.stderr.flush()


def line_of(what: str, done: int, futures: list, elapsed: float) -> str:
    running = sum(1 for future in futures if future.running())
    failed = sum(1 for future in futures if future.done() and (future.cancelled() or future.exception() is not None))
    parts = [f'{what} {done}/{len(futures)}']
    if running:
        parts.append(f'{running} running')
    if failed:
        parts.append(f'{failed} failed')
    return ', '.join([*parts, f'{elapsed:.1f} s'])

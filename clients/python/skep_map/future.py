"""
A result that is being computed elsewhere: a future of concurrent.futures, so that its `wait` and `as_completed` take it too.

Where it differs: what runs already can be cancelled, for it runs somewhere else. So it stays "pending" until it has ended.
"""
from __future__ import annotations

import concurrent.futures
import threading


class Future(concurrent.futures.Future):
    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._settling = threading.RLock()

    def running(self) -> bool:
        return self._started and not self.done()

    def cancel(self) -> bool:
        with self._settling:
            if self.done() or not super().cancel():
                return self.cancelled()
            # Nobody else will tell those who wait.
            self.set_running_or_notify_cancel()
            return True

    def settle(self, result: object = None, error: BaseException | None = None) -> None:
        """Ends it. What comes later (a second copy of a straggler, a cancellation) is ignored."""
        with self._settling:
            if self.done() or not self.set_running_or_notify_cancel():
                return
            if error is None:
                self.set_result(result)
            else:
                self.set_exception(error)


_WHEN = {'any': concurrent.futures.FIRST_COMPLETED, 'all': concurrent.futures.ALL_COMPLETED}


def wait(futures, until: str = 'all', timeout: float | None = None) -> tuple[list, list]:
    """
    Waits until one or all have ended ('any', 'all'), or not at all ('always'), or `timeout` seconds have passed.

    Returns those that have ended and those that have not, each in the order given.
    """
    if until not in ('any', 'all', 'always'):
        raise ValueError(f"until is {until!r}; it is 'any', 'all' or 'always'.")
    given = list(futures)
    if until != 'always':
        concurrent.futures.wait(given, timeout, _WHEN[until])
    ended = [future.done() for future in given]
    return [future for future, end in zip(given, ended) if end], [future for future, end in zip(given, ended) if not end]

"""
Runs a task, which is one invocation's worth of work: attempts, retries, the second copy of a straggler, cancellation.

    T1. A task ends once: with the first attempt that answers, or with the failure that is not retried. Its other copy is then let go.
    T2. A task that is cancelled while it waits never runs.
"""
from __future__ import annotations

import random
import threading
import time

from .platform import Call, PlatformError
from .rules import REFUSED, delay_after, stragglers


class Group:
    """Tasks of one map: what stragglers are measured against."""

    def __init__(self, total: int, speculate: bool) -> None:
        self.total = total
        self.speculate = speculate
        self.lock = threading.Lock()
        self.done: list = []
        self.running: list = []
        self.timer: threading.Timer | None = None


class Task:
    """`attempt(call)`: (value, error) for each of the futures; raises PlatformError, which may be worth a retry."""

    def __init__(self, group: Group, futures: list, attempt) -> None:
        self.group = group
        self.futures = futures
        self.attempt = attempt
        self.ended = threading.Event()
        self.start = 0.0
        self.copied = False
        self._lock = threading.Lock()
        self._calls: list = []
        self._open = 0

    def cancel(self) -> None:
        """Lets go of every copy."""
        with self._lock:
            self.ended.set()
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def run_copy(self, retries: int) -> None:
        with self._lock:
            if self.ended.is_set():
                return
            call = Call()
            self._calls.append(call)
            self._open += 1
        outcomes, error = self._until_answered(call, retries)
        with self._lock:
            self._open -= 1
            # A failure only when no copy is left that might answer.
            if self.ended.is_set() or (error is not None and self._open > 0):
                return
            self.ended.set()
        if error is None:
            for future, (value, failure) in zip(self.futures, outcomes):
                future.settle(value, failure)
            with self.group.lock:
                self.group.done.append(time.monotonic() - self.start)
        else:
            for future in self.futures:
                future.settle(error=error)
        self.cancel()

    def _until_answered(self, call: Call, retries: int) -> tuple:
        before = {True: 0, False: 0}
        refused_at = None
        while True:
            try:
                return self.attempt(call), None
            except PlatformError as error:
                refused = error.code in REFUSED
                now = time.monotonic()
                if refused and refused_at is None:
                    refused_at = now
                delay = delay_after(error.code, before[refused], retries, now - (refused_at or now), random.random())
                if delay is None:
                    return None, error
                before[refused] += 1
                if self.ended.wait(delay):
                    return None, error
            except Exception as error:  # it belongs to whoever asks for the result
                return None, error


def run_task(task: Task, retries: int) -> None:
    """On a thread of the pool; returns when the task has ended."""
    group = task.group
    if task.ended.is_set():
        return
    for future in task.futures:
        future._started = True
    task.start = time.monotonic()
    with group.lock:
        group.running.append(task)
    task.run_copy(retries)
    # The first copy may have failed while the second still runs.
    task.ended.wait()
    with group.lock:
        group.running.remove(task)
    if group.speculate:
        _look_for_stragglers(group, retries)


def _look_for_stragglers(group: Group, retries: int) -> None:
    with group.lock:
        if group.timer is not None:
            group.timer.cancel()
            group.timer = None
        running = list(group.running)
        now = time.monotonic()
        copy, next_at = stragglers([(task.start, task.copied) for task in running], group.done, group.total, now)
        if next_at is not None:
            group.timer = threading.Timer(max(0.001, next_at - now), _look_for_stragglers, (group, retries))
            group.timer.daemon = True
            group.timer.start()
        for at in copy:
            running[at].copied = True
    for at in copy:
        threading.Thread(target=running[at].run_copy, args=(retries,), daemon=True).start()

"""The threads that run handlers, and what they wait for."""
from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .invocation import Invocation


class Waiter:
    """One wait of one thread inside the runtime."""

    __slots__ = ('done', '_lock')

    def __init__(self) -> None:
        self.done = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def wake(self) -> None:
        if not self.done:
            self.done = True
            self._lock.release()

    def block(self, timeout_s: Optional[float]) -> bool:
        """False at the timeout."""
        return self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s))


class Worker:
    """A thread of the pool. It never ends: the CPU clock of a thread that is gone cannot be read."""

    __slots__ = ('invocation', 'started', 'led_at', 'window_at', 'window_cpu', 'leads', 'reads', 'wake', '_clock', '_thread_id')

    def __init__(self) -> None:
        self.invocation: Optional[Invocation] = None
        # Monotonic seconds: since when it runs its invocation, and since when it leads without reading.
        self.started = 0.0
        self.led_at = 0.0
        # The monitor's window on its CPU clock.
        self.window_at = 0.0
        self.window_cpu = 0.0
        self.leads = False
        # It leads and is in the runtime's code: nobody has to relieve it.
        self.reads = False
        self.wake = threading.Lock()
        self.wake.acquire()
        self._clock = 0
        self._thread_id = 0

    def adopt_thread(self) -> None:
        """On the thread itself, first thing."""
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._thread_id = threading.get_native_id()

    def begin(self, invocation: Invocation) -> None:
        self.started = self.led_at = self.window_at = time.monotonic()
        self.window_cpu = invocation.cpu_started = time.thread_time()
        self.invocation = invocation

    def is_undecided(self) -> bool:
        """Whether the monitor has something to find out or to do about it."""
        invocation = self.invocation
        return invocation is not None and (not invocation.waiting_sent or (self.leads and not self.reads))

    def cpu_s(self) -> float:
        return time.clock_gettime(self._clock)

    def could_run(self) -> bool:
        """Whether the kernel has it on a processor, or in line for one. (Reading the file lets go of the interpreter's lock: who waits for that, runs.)"""
        try:
            with open(f'/proc/self/task/{self._thread_id}/stat', 'rb', 0) as file:
                stat = file.read()
        except OSError:
            return False
        state = stat.rindex(b')') + 2
        return stat[state:state + 1] == b'R'

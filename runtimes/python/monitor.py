"""
The thread that looks after the others: moves the reading on when a handler takes long, tells waiting from computing, and
sends log lines that wait for company.

It ticks while there is something to look at, and a little longer (LINGER_TICKS), so that a steady stream of short
invocations does not have to wake it each time; then it sleeps until `wake`.

A handler waits when its thread's CPU clock ran for less than half of the time, unless the process as a whole computes, or some
handler's thread is in line for a processor (a busy host, a throttled cgroup): then it may be kept from computing, by the host
or by the interpreter's lock, and more work would not help.
"""
from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .runtime import Runtime
    from .workers import Worker

TICK_S = 0.002
LINGER_TICKS = 25
# Below this a handler is neither said to wait nor relieved of the reading (the signal may come a little before the tick is over).
SHORT_S = 0.0018
# The CPU share is that of the last 2 to 20 ms: a handler that computed for long and now waits is soon seen to wait.
WINDOW_S = 0.020


class Monitor:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._signal = threading.Lock()
        self._signal.acquire()
        self._asleep = False
        self._process_at = time.monotonic()
        self._process_cpu = time.process_time()
        runtime.channel.wake_monitor = self.wake

    def start(self) -> None:
        threading.Thread(target=self._run, name='skep-monitor', daemon=True).start()

    def wake(self) -> None:
        """There is something to look at. Cheap when the monitor ticks already."""
        if self._asleep:
            self._asleep = False
            try:
                self._signal.release()
            except RuntimeError:
                pass  # Somebody else woke it at the same moment.

    def _run(self) -> None:
        quiet = 0
        while True:
            if quiet > LINGER_TICKS:
                self._asleep = True
                # Looked at again after the flag is up: whoever came before saw it down, and did not wake us.
                if self._has_work():
                    self._asleep = False
                else:
                    self._signal.acquire()
                quiet = 0
            self._signal.acquire(timeout=TICK_S)
            quiet = 0 if self._tick() else quiet + 1

    def _has_work(self) -> bool:
        return self._runtime.channel.has_waiting or any(worker.is_undecided() for worker in self._runtime.workers)

    def _tick(self) -> bool:
        channel = self._runtime.channel
        has_waiting = channel.has_waiting
        if has_waiting:
            channel.flush(TICK_S)
        now = time.monotonic()
        process_cpu = time.process_time()
        tick = now - self._process_at
        busy = process_cpu - self._process_cpu
        self._process_at = now
        self._process_cpu = process_cpu
        process_computes = busy > tick / 2
        undecided = [worker for worker in tuple(self._runtime.workers) if worker.is_undecided()]
        for worker in undecided:
            invocation = worker.invocation
            if invocation is None or now - worker.started < SHORT_S:
                continue
            self._runtime.relieve(worker, now - SHORT_S)
            if not invocation.waiting_sent and not process_computes and self._is_idle(worker, now):
                process_computes = any(other.could_run() for other in undecided)
                if not process_computes and worker.invocation is invocation:
                    self._runtime.waits(worker, invocation)
        return bool(undecided) or has_waiting

    def _is_idle(self, worker: Worker, now: float) -> bool:
        cpu = worker.cpu_s()
        window = now - worker.window_at
        if cpu - worker.window_cpu < window / 2:
            return True
        if window >= WINDOW_S:
            worker.window_at = now
            worker.window_cpu = cpu
        return False

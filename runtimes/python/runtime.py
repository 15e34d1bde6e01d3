"""
The life of the runtime: hello, init, invocations, end.

Threads: one of the pool *leads*: it reads frames, and runs the handler of an invocation itself as soon as one is ready, so
that a short invocation costs no hand-over between threads. When its handler takes longer than a tick, the monitor makes
another thread the leader. A leader that waits inside the runtime (for credit, a body, the answer of a call) goes on
reading there. Async handlers run on one event loop of their own (async_runner.py).

      read frames ──▶ an invocation is ready ──▶ run it ──┬─ still leader ──▶ read frames
           ▲                                              └─ relieved ──▶ next ready one, or rest until promoted
           └───────────────────────── promoted ◀──────────────────────────────────────┘

Invariants:
  R1. There is exactly one leader at any time; only it reads the channel and touches `_inbox`.
  R2. At most `concurrency` handlers run on threads; more that are ready wait in `_ready`.
  R3. Fields that several threads touch change only under `lock`. It may be taken again by its own thread, because a
      finaliser that prints can run at any allocation.
"""
from __future__ import annotations

import threading
import time
from collections import deque

from . import frames
from .channel import Channel, empty_frame
from .faults import Fault
from .frames import ProtocolBroken
from .invocation import Invocation
from .workers import Waiter, Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from .calls import Call
    from .loader import Handler
    from .monitor import Monitor
    from .passing import Passing

# A function that was seen to wait is expected to again: for this many invocations the reading moves on before the handler runs.
EXPECT_WAITING = 32


class Runtime:
    """`load`: called with the init frame, gives the handler. `execute`: runs the handler of an invocation. `exit`: ends the process."""

    waiter = staticmethod(Waiter)

    def __init__(self, channel: Channel, load: Callable, execute: Callable, exit: Callable) -> None:
        self.channel = channel
        self.lock = threading.RLock()
        self.init: dict = {}
        self.handler: Optional[Handler] = None
        self.workers: list[Worker] = []
        self.monitor: Optional[Monitor] = None
        self.async_runner = None
        self.calls: dict[int, Call] = {}
        # Descriptor 5, where the platform gave one.
        self.memory_socket = None
        self._passing: Optional[Passing] = None
        self.end_prints: Callable[[int], None] = lambda stream: None
        self._load = load
        self._execute = execute
        self._exit = exit
        self._local = threading.local()
        self._inbox: deque = deque()
        self._ready: deque[Invocation] = deque()
        self._invocations: dict[int, Invocation] = {}
        self._idle: list[Worker] = []
        self._leader: Optional[Worker] = None
        self._running = 0
        self._concurrency = 1
        self._expect_waiting = 0
        self._stopping = False
        self._next_call = 1

    def lead(self, inbox: list) -> None:
        """Makes the calling thread the first leader. Does not return."""
        self._inbox.extend(inbox)
        worker = Worker()
        worker.leads = True
        self._leader = worker
        self.workers.append(worker)
        self._work(worker)

    # The threads of the pool.

    def _work(self, worker: Worker) -> None:
        worker.adopt_thread()
        self._local.worker = worker
        while True:
            try:
                invocation = self._read_until_ready(worker) if worker.leads else self._rest(worker)
            except ProtocolBroken as error:
                return self._exit(70, f'The frame protocol was broken: {error}.')
            if invocation is not None:
                worker.begin(invocation)
                if self._expect_waiting > 0:
                    self._promote_instead_of(worker)
                self.monitor.wake()
                self._execute(self, invocation)
                with self.lock:
                    worker.invocation = None
                    self._running -= 1
                    self._expect_waiting = max(0, self._expect_waiting - 1)

    def _read_until_ready(self, worker: Worker) -> Invocation:
        while True:
            with self.lock:
                if self._ready and self._running < self._concurrency:
                    self._running += 1
                    worker.reads = False
                    return self._ready.popleft()
                worker.reads = True
            self._handle_next(None)

    def _rest(self, worker: Worker) -> Optional[Invocation]:
        with self.lock:
            if self._ready and self._running < self._concurrency:
                self._running += 1
                return self._ready.popleft()
            self._idle.append(worker)
        worker.wake.acquire()
        return None

    def wait(self, waiter: Waiter, deadline_s: Optional[float] = None) -> bool:
        """Blocks until it is woken (True) or the deadline (monotonic) has passed. The leader goes on reading meanwhile."""
        worker = getattr(self._local, 'worker', None)
        leads = False
        if worker is not None:
            with self.lock:
                leads = worker.leads
                worker.reads = leads
        if not leads:
            return waiter.block(None if deadline_s is None else deadline_s - time.monotonic())
        try:
            while not waiter.done:
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    break
                self._handle_next(left_s)
                self._hand_out_ready()
        except ProtocolBroken as error:
            self._exit(70, f'The frame protocol was broken: {error}.')
        worker.led_at = time.monotonic()
        worker.reads = False
        return waiter.done

    def relieve(self, worker: Worker, led_before_s: float) -> None:
        """Makes another thread the leader when this one has led since before then, and runs a handler."""
        if worker.leads and not worker.reads and worker.led_at <= led_before_s:
            self._promote_instead_of(worker)

    def waits(self, worker: Worker, invocation: Invocation) -> None:
        """The handler on this thread was seen to wait."""
        invocation.say_waiting()
        if not worker.reads:
            self._expect_waiting = EXPECT_WAITING

    def _promote_instead_of(self, worker: Worker) -> None:
        with self.lock:
            if not worker.leads or worker.reads or worker.invocation is None:
                return
            successor = self._idle.pop() if self._idle else self._spawn()
            if successor is None:
                return
            worker.leads = False
            successor.leads = True
            self._leader = successor
            successor.wake.release()

    def _hand_out_ready(self) -> None:
        with self.lock:
            for _ in range(min(len(self._ready), self._concurrency - self._running)):
                helper = self._idle.pop() if self._idle else self._spawn()
                if helper is None:
                    return
                helper.wake.release()

    def _spawn(self) -> Optional[Worker]:
        """A new thread, which rests until it is woken; None when there are enough, or the system gives no more."""
        if len(self.workers) > self._concurrency:
            return None
        worker = Worker()
        try:
            threading.Thread(target=self._start_resting, args=(worker,), name=f'skep-{len(self.workers)}', daemon=True).start()
        except RuntimeError:
            return None
        self.workers.append(worker)
        return worker

    def _start_resting(self, worker: Worker) -> None:
        worker.wake.acquire()
        self._work(worker)

    # Frames, on the leader.

    def _handle_next(self, timeout_s: Optional[float]) -> None:
        if not self._inbox:
            self._inbox.extend(self.channel.read(timeout_s))
            if not self._inbox:
                return
        type, flags, stream, payload = self._inbox.popleft()
        if type == frames.OPEN:
            self._open(stream, flags, payload)
        elif stream & 1:
            self._handle_call(type, flags, stream, payload)
        elif type == frames.DATA:
            invocation = self._invocations.get(stream)
            if invocation is not None:
                self._take_data(invocation, payload, flags)
        elif type == frames.CREDIT:
            size = frames.decode_u32(payload)
            invocation = self._invocations.get(stream)
            if invocation is not None:
                invocation.writer.add_credit(size)
        elif type == frames.RESET:
            self._reset(stream)
        elif type == frames.INIT:
            self._initialise(frames.decode_object(payload))
        elif type == frames.STOP:
            with self.lock:
                self._stopping = True
            self._exit_when_done()
        else:
            raise ProtocolBroken(f'a frame of type {type} on stream {stream}')

    def _initialise(self, init: dict) -> None:
        if self.handler is not None:
            raise ProtocolBroken('a second init')
        concurrency = init.get('concurrency')
        self.init = init
        self.handler = self._load(self, init)
        self._concurrency = concurrency if isinstance(concurrency, int) and concurrency > 0 else 1

    def _open(self, stream: int, flags: int, payload: bytes) -> None:
        handler = self.handler
        if handler is None or stream & 1 or stream == 0 or stream in self._invocations:
            raise ProtocolBroken(f'an open of stream {stream} that cannot be' + ('' if handler else ' before init'))
        head, first = frames.split_head(payload)
        ended = flags & frames.END != 0
        try:
            body = self.body_of(head, first, ended)
        except Fault as fault:
            self.channel.post(frames.encode_json_frame(frames.RESET, stream, fault.to_body()))
            return
        invocation = Invocation(self, stream, head, body, ended)
        self._invocations[stream] = invocation
        if handler.streaming or invocation.collect():
            with self.lock:
                self._ready.append(invocation)

    def _take_data(self, invocation: Invocation, payload: bytes, flags: int) -> None:
        if invocation.cancelled:
            return
        was_complete = invocation.reader.ended
        invocation.reader.push(payload, flags & frames.END != 0)
        if not self.handler.streaming and not was_complete and invocation.collect():
            with self.lock:
                self._ready.append(invocation)

    def _reset(self, stream: int) -> None:
        invocation = self._invocations.get(stream)
        if invocation is None:
            # It has ended in the meantime; the platform may still wait for the confirmation (F4).
            self.channel.post(empty_frame(frames.RESET, 0, stream))
            return
        if invocation.cancelled:
            return
        with self.lock:
            invocation.cancelled = True
            is_collecting = invocation.body is None and not self.handler.streaming
            if invocation in self._ready:
                self._ready.remove(invocation)
                is_collecting = True
        invocation.cancel()
        for call in list(self.calls.values()):
            if call.parent is invocation:
                call.cancel()
        if is_collecting:
            invocation.let_go()
        elif self.async_runner is not None:
            self.async_runner.cancel(invocation)

    def forget(self, stream: int) -> None:
        """The invocation on this stream has ended, and its last frame is on the way."""
        with self.lock:
            self._invocations.pop(stream, None)
        if self._stopping:
            self._exit_when_done()

    def _exit_when_done(self) -> None:
        with self.lock:
            if self._invocations:
                return
        self._exit(0, '')

    # Calls to other functions.

    def only_invocation(self) -> Optional[Invocation]:
        """The one that is open, when there is exactly one: a call from a thread of the function's own is for that."""
        with self.lock:
            return next(iter(self._invocations.values())) if len(self._invocations) == 1 else None

    def add_call(self, call: Call) -> int:
        """Returns its stream."""
        with self.lock:
            stream = self._next_call
            self._next_call += 2
            self.calls[stream] = call
            return stream

    def _handle_call(self, type: int, flags: int, stream: int, payload: bytes) -> None:
        call = self.calls.get(stream)
        if type not in (frames.HEAD, frames.DATA, frames.RESET, frames.CREDIT):
            raise ProtocolBroken(f'a frame of type {type} on stream {stream}')
        # One that was given up may still be answered, also by memory, which has to be taken (passing.py, P3).
        if call is not None:
            call.receive(type, flags, payload)
        elif type == frames.HEAD and self.memory_socket is not None:
            try:
                self.body_of(*frames.split_head(payload), flags & frames.END != 0)
            except Fault:
                pass

    # Bodies as memory.

    @property
    def passing(self) -> Optional[Passing]:
        """None where no memory can be passed."""
        if self._passing is None and self.memory_socket is not None:
            from .passing import Passing
            memory_mb = self.init.get('memoryMb')
            with self.lock:
                if self._passing is None:
                    self._passing = Passing(self.memory_socket, self.channel, memory_mb * 1024 * 1024 if isinstance(memory_mb, int) else float('inf'))
        return self._passing

    def body_of(self, head: dict, first: bytes, ended: bool) -> bytes | memoryview:
        """What an `open` or `head` brings of its body: bytes in the frame, or memory. Raises ProtocolBroken; Fault when it cannot be mapped."""
        passed = head.get('p')
        if passed is None:
            return first
        if self.passing is None or not ended or first:
            raise ProtocolBroken('a body as memory where there is none, or with more of it in frames')
        return self.passing.take(passed)

    def close_memory_in_child(self) -> None:
        """After a fork: as the channel, the socket is the parent's alone."""
        socket, self.memory_socket, self._passing = self.memory_socket, None, None
        if socket is not None:
            socket.close()

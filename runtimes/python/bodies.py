"""
The bytes of one stream: a reader for those that come in, a writer for those that leave.

Invariants:
  B1. Data bytes leave only within the credit given (F2); a writer without credit waits.
  B2. Credit for bytes that came in goes back when they were taken, a quarter of the window at a time.
  B3. A body ends once: with its last bytes, or with an error that every later read or write repeats.
"""
from __future__ import annotations

from collections import deque

from .frames import CREDIT_BYTES, DATA, INLINE_BYTES_MAX, encode_credit, encode_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .runtime import Runtime, Waiter

# So that a small read does not cost a frame of its own.
CREDIT_STEP_BYTES = CREDIT_BYTES // 4


class BodyReader:
    """The bytes that come in on a stream. Reads block the thread; `try_read` does not."""

    __slots__ = ('_runtime', '_stream', '_chunks', '_free', '_uncredited', '_waiter', 'ended', '_error')

    def __init__(self, runtime: Runtime, stream: int, first: bytes, ended: bool) -> None:
        self._runtime = runtime
        self._stream = stream
        self._chunks: deque[bytes] = deque((first,) if first else ())
        # Bytes at the front of the queue that came inside `open` or `head`, and are free.
        self._free = len(first)
        self._uncredited = 0
        self._waiter: Optional[Waiter] = None
        self.ended = ended
        self._error: Optional[BaseException] = None

    def begin(self, first: bytes, ended: bool) -> None:
        """The bytes inside `head`, for a stream that was opened from here."""
        with self._runtime.lock:
            self._free = len(first)
        self.push(first, ended)

    def push(self, chunk: bytes, ended: bool) -> None:
        """Bytes have come in."""
        with self._runtime.lock:
            if self.ended:
                return
            if chunk:
                self._chunks.append(chunk)
            self.ended = ended
            waiter = self._waiter
            if waiter is not None and (chunk or ended):
                self._waiter = None
            else:
                waiter = None
        if waiter is not None:
            waiter.wake()

    def fail(self, error: BaseException) -> None:
        """No more will come; a read says why."""
        with self._runtime.lock:
            if self._error is None:
                self._error = error
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()

    def try_read(self, waiter: Optional[Waiter]) -> Optional[bytes]:
        """The next bytes; b'' at the end; None when there are none yet: `waiter` is then woken once there are."""
        credit = 0
        with self._runtime.lock:
            if self._error is not None:
                raise self._error
            if self._chunks:
                chunk = self._chunks.popleft()
                free = min(self._free, len(chunk))
                self._free -= free
                self._uncredited += len(chunk) - free
                if not self.ended and self._uncredited >= CREDIT_STEP_BYTES:
                    credit, self._uncredited = self._uncredited, 0
            elif self.ended:
                return b''
            else:
                self._waiter = waiter
                return None
        if credit:
            self._runtime.channel.post(encode_credit(self._stream, credit))
        return chunk

    def read_chunk(self, deadline_s: Optional[float] = None) -> bytes:
        """The next bytes as they come, b'' at the end. Blocks. Raises TimeoutError after the deadline (monotonic)."""
        while True:
            waiter = self._runtime.waiter()
            chunk = self.try_read(waiter)
            if chunk is not None:
                return chunk
            if not self._runtime.wait(waiter, deadline_s):
                raise TimeoutError()

    def read_all(self, deadline_s: Optional[float] = None) -> bytes:
        chunks = []
        while True:
            chunk = self.read_chunk(deadline_s)
            if not chunk:
                return chunks[0] if len(chunks) == 1 else b''.join(chunks)
            chunks.append(chunk)


class BodyWriter:
    """The bytes that leave on a stream. One thread writes at a time."""

    __slots__ = ('_runtime', '_stream', '_credit', '_waiter', '_error')

    def __init__(self, runtime: Runtime, stream: int) -> None:
        self._runtime = runtime
        self._stream = stream
        self._credit = CREDIT_BYTES
        self._waiter: Optional[Waiter] = None
        self._error: Optional[BaseException] = None

    def write(self, data: bytes | memoryview, deadline_s: Optional[float] = None) -> None:
        """Sends all of it. Blocks while there is no credit. Raises what `fail` was told, or TimeoutError."""
        offset = 0
        while offset < len(data):
            waiter = self._runtime.waiter()
            taken = self.try_write(data, offset, waiter)
            if taken == 0 and not self._runtime.wait(waiter, deadline_s):
                raise TimeoutError()
            offset += taken

    def try_write(self, data: bytes | memoryview, offset: int, waiter: Waiter) -> int:
        """Sends what credit allows, at most INLINE_BYTES_MAX. 0: there is none; `waiter` is woken when there is."""
        with self._runtime.lock:
            if self._error is not None:
                raise self._error
            size = min(len(data) - offset, self._credit, INLINE_BYTES_MAX)
            if size <= 0:
                self._waiter = waiter
                return 0
            self._credit -= size
        self._runtime.channel.post(encode_frame(DATA, 0, self._stream, data[offset:offset + size]))
        return size

    def add_credit(self, size: int) -> None:
        with self._runtime.lock:
            self._credit += size
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()

    def fail(self, error: BaseException) -> None:
        """Nothing more may be sent; a waiting write says why."""
        with self._runtime.lock:
            if self._error is None:
                self._error = error
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()

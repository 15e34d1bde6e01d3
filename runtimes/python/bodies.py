"""
The bytes of one stream: a reader for those that come in, a writer for those that leave. A body that came as memory
(passing.py) is a memoryview, read as one chunk; all others are bytes.

Invariants:
  B1. Data bytes leave only within the credit given (F2); a writer without credit waits.
  B2. Credit for bytes that came in goes back when they were taken, a quarter of the window at a time.
  B3. A body ends once: with its last bytes, or with an error that every later read or write repeats.
"""
from __future__ import annotations

import os
from collections import deque
from io import BytesIO

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

    def __init__(self, runtime: Runtime, stream: int, first: bytes | memoryview, ended: bool) -> None:
        self._runtime = runtime
        self._stream = stream
        self._chunks: deque[bytes | memoryview] = deque((first,) if first else ())
        # Bytes at the front of the queue that came inside `open` or `head`, and are free.
        self._free = len(first)
        self._uncredited = 0
        self._waiter: Optional[Waiter] = None
        self.ended = ended
        self._error: Optional[BaseException] = None

    def begin(self, first: bytes | memoryview, ended: bool) -> None:
        """The bytes inside `head`, for a stream that was opened from here."""
        with self._runtime.lock:
            self._free = len(first)
        self.push(first, ended)

    def push(self, chunk: bytes | memoryview, ended: bool) -> None:
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

    def try_read(self, waiter: Optional[Waiter]) -> Optional[bytes | memoryview]:
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

    def read_chunk(self, deadline_s: Optional[float] = None) -> bytes | memoryview:
        """The next bytes as they come, b'' at the end. Blocks. Raises TimeoutError after the deadline (monotonic)."""
        while True:
            waiter = self._runtime.waiter()
            chunk = self.try_read(waiter)
            if chunk is not None:
                return chunk
            if not self._runtime.wait(waiter, deadline_s):
                raise TimeoutError()

    def read_all(self, deadline_s: Optional[float] = None) -> bytes | memoryview:
        whole = Whole()
        while chunk := self.read_chunk(deadline_s):
            whole.add(chunk)
        return whole.value()


class Whole:
    """Chunks as one value. Of many, there is never a second copy: a list of them, joined, would need twice the memory."""

    __slots__ = ('_first', '_all')

    def __init__(self) -> None:
        self._first: bytes | memoryview = b''
        self._all: Optional[BytesIO] = None

    def add(self, chunk: bytes | memoryview) -> None:
        if self._all is not None:
            self._all.write(chunk)
        elif not self._first:
            self._first = chunk
        else:
            self._all = BytesIO()
            self._all.write(self._first)
            self._all.write(chunk)
            self._first = b''

    def value(self) -> bytes | memoryview:
        # Its own buffer, not a copy of it.
        return self._first if self._all is None else self._all.getvalue()


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


class Outgoing:
    """A whole body on its way out: to one receiver, or to many."""

    __slots__ = ('view', '_fd', '_failed')

    def __init__(self, data: bytes | memoryview) -> None:
        """`data`: bytes, or a memoryview of them (see `flat`)."""
        self.view = memoryview(data)
        self._fd = -1
        self._failed = False

    def sealed(self, copy_max: float) -> Optional[int]:
        """Its descriptor, which stays its own; None when it cannot be had as memory."""
        if self._fd < 0 and not self._failed:
            from . import memory
            try:
                fd = memory.seal_allocated(self.view)
                if fd is None and len(self.view) <= copy_max:
                    fd = memory.copy(self.view)
            except OSError:
                fd = None
            self._failed = fd is None
            self._fd = -1 if fd is None else fd
        return None if self._fd < 0 else self._fd

    def close(self) -> None:
        """The bytes are the author's again, who may be about to change their length."""
        self.view = memoryview(b'')
        fd, self._fd, self._failed = self._fd, -1, True
        if fd >= 0:
            os.close(fd)

    __del__ = close


def flat(value: object) -> Optional[memoryview]:
    """The bytes of anything that has them (bytes, bytearray, memoryview, numpy array, …), not copied where they lie together; None for other values."""
    if isinstance(value, (str, int, float, dict, list, tuple, type(None))):
        return None
    try:
        view = memoryview(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return None
    # A numpy scalar has bytes too, but is a number.
    if view.ndim == 0:
        return None
    if view.format == 'B' and view.ndim == 1 and view.c_contiguous:
        return view
    if view.c_contiguous and view.nbytes:
        try:
            return view.cast('B')
        except (TypeError, ValueError):
            pass  # Formats that `cast` does not know: big-endian numbers, records.
    return memoryview(view.tobytes())

"""
The runtime's end of the channel: file descriptor 3, frames in, frames out, from any thread.

Writers append to an outbox; whoever finds nobody sending sends it, without ever blocking. What the kernel does not take
is left to the monitor thread (monitor.py), which waits for room. So no function thread is ever held up by a slow
platform: answers are bounded by credit (F2), log lines by LOG_BACKLOG_BYTES_MAX, beyond which they are dropped and counted.

Invariants:
  N1. Frames leave in the order in which they were posted, each whole.
  N2. At most one thread sends at a time (`_sending`), and only that thread takes from the outbox.
  N3. A lock here may be taken again by its own thread: a finaliser that prints can run at any allocation.
"""
from __future__ import annotations

import os
import select
import threading
import time

import _socket  # The C part alone: `socket` costs 1.6 ms of start, and adds nothing needed here.

from .frames import HEADER_BYTES, LEVEL_WARN, LOG, FrameDecoder, encode_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

READ_BUFFER_BYTES = 256 * 1024
# A log frame waits for company until the next answer or the monitor's next tick, at most until this many bytes.
LOG_BATCH_BYTES = 32 * 1024
LOG_BACKLOG_BYTES_MAX = 512 * 1024
LOG_ENTRY_BYTES_MAX = 64 * 1024


class Channel:
    """Frames in and out. `wake_monitor` is set by the monitor: it is called when bytes wait that nobody is sending."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._socket = _socket.socket(fileno=fd)
        self._fd = fd
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._outbox: list[bytes] = []
        self._outbox_bytes = 0
        self._sending = False
        self._blocked = False
        self._dropped_lines = 0
        self._decoder = FrameDecoder()
        self._buffer = bytearray(READ_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self.wake_monitor: Callable[[], None] = lambda: None

    def read(self, timeout_s: Optional[float] = None) -> list:
        """Blocks for the next frames (possibly none, at a timeout). Ends the process when the platform is gone."""
        if timeout_s is not None:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            if not poll.poll(max(0.0, timeout_s) * 1000):
                return []
        try:
            size = self._socket.recv_into(self._buffer)
        except OSError:
            size = 0
        if size == 0 or os.getpid() != self._pid:
            os._exit(0)
        return self._decoder.push(bytes(self._view[:size]))

    def post(self, data: bytes) -> None:
        """Sends one or more whole frames as soon as the socket takes them; never blocks."""
        with self._lock:
            self._outbox.append(data)
            self._outbox_bytes += len(data)
            if self._sending:
                return
            self._sending = True
        self._send()

    def post_log(self, stream: int, level: int, text: str) -> None:
        """One log entry, cut at LOG_ENTRY_BYTES_MAX. Dropped, and counted, when too much is waiting."""
        data = text.encode('utf-8', 'backslashreplace')
        if len(data) > LOG_ENTRY_BYTES_MAX:
            data = data[:LOG_ENTRY_BYTES_MAX].decode('utf-8', 'ignore').encode() + f'… ({len(data)} bytes)'.encode()
        with self._lock:
            if self._outbox_bytes > LOG_BACKLOG_BYTES_MAX:
                self._dropped_lines += 1
                return
            if self._dropped_lines:
                self._append_dropped()
            frame = encode_frame(LOG, 0, stream, bytes((level,)) + data)
            self._outbox.append(frame)
            self._outbox_bytes += len(frame)
            if self._sending:
                return
            send = self._outbox_bytes >= LOG_BATCH_BYTES
            if send:
                self._sending = True
        if send:
            self._send()
        else:
            self.wake_monitor()

    @property
    def has_waiting(self) -> bool:
        return self._outbox_bytes > 0

    def flush(self, timeout_s: float = 0.0) -> None:
        """Sends what waits; with a timeout, waits that long for it to be gone. For the monitor, and before an exit."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._lock:
                if not self._outbox and not self._sending:
                    if not self._dropped_lines:
                        return
                    self._append_dropped()
                # A thread that found the socket full has left the sending to us (N2); one that is at it will go on.
                mine = self._blocked or not self._sending
                if mine:
                    self._sending = True
                    self._blocked = False
            if mine and self._send():
                continue
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll(left_s * 1000)
            if not mine:
                time.sleep(0.0005)

    def abandon_in_child(self) -> None:
        """After a fork: the channel is the parent's alone. A child that tries to answer ends."""
        self._lock = threading.RLock()
        self._outbox = []
        self._outbox_bytes = 0
        self._sending = True
        self._blocked = False
        self._socket.detach()
        os.close(self._fd)

    def _send(self) -> bool:
        """Sends until the outbox is empty (True) or the socket is full (False). Only for the thread that set `_sending`."""
        while True:
            with self._lock:
                if not self._outbox:
                    self._sending = False
                    return True
                batch, self._outbox = self._outbox, []
                data = batch[0] if len(batch) == 1 else b''.join(batch)
            try:
                sent = self._socket.send(data, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except InterruptedError:
                sent = 0
            except OSError:
                os._exit(0)
            with self._lock:
                self._outbox_bytes -= sent
                if sent == len(data):
                    continue
                self._outbox.insert(0, data[sent:])
                self._blocked = True
            self.wake_monitor()
            return False

    def _append_dropped(self) -> None:
        count, self._dropped_lines = self._dropped_lines, 0
        text = f'[skep] {count} log lines were dropped here: the function prints faster than they can be taken.'
        frame = encode_frame(LOG, 0, 0, bytes((LEVEL_WARN,)) + text.encode())
        self._outbox.append(frame)
        self._outbox_bytes += len(frame)


def empty_frame(type: int, flags: int, stream: int) -> bytes:
    """A frame without payload."""
    frame = encode_frame(type, flags, stream)
    assert len(frame) == HEADER_BYTES
    return frame

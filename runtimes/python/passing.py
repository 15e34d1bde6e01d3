"""
Bodies that are in no frame: sealed memory, passed over descriptor 5 before the frame that names it (src/transfer/README.md).

Invariants:
  P1. Memory leaves before its frame; at most AHEAD_MAX are ahead of what the channel has sent.
  P2. Nothing here waits. What cannot be passed now (a full socket, too large a copy, no descriptor left) goes as data frames.
  P3. A number that a frame names has come (src/contract/frames.ts), otherwise the protocol is broken. It is taken even when nobody wants its
      body any more, so that no descriptor is left lying.
"""
from __future__ import annotations

import os
import threading
from struct import Struct

import _socket  # The C part alone: see channel.py.

from .faults import Fault
from .frames import PASSED_AHEAD_MAX, ProtocolBroken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from .bodies import Outgoing
    from .channel import Channel

# Half of what the contract allows.
AHEAD_MAX = PASSED_AHEAD_MAX // 2
# Plain bytes are copied into memory up to this part of the instance's: it holds them twice meanwhile.
COPY_PART = 4

_NUMBER = Struct('<I')
_FD = Struct('i')
_ANCILLARY_BYTES = _socket.CMSG_SPACE(_FD.size)


class Passing:
    """Descriptor 5. `post` from any thread, `take` on the one that reads frames."""

    def __init__(self, socket: _socket.socket, channel: Channel, memory_bytes: float) -> None:
        self._socket = socket
        self._channel = channel
        self._copy_max = memory_bytes / COPY_PART
        # May be taken again by its own thread: see channel.py, N3.
        self._lock = threading.RLock()
        self._next = 1
        # Passed, and their frames: still to be posted, and posted but perhaps not sent.
        self._posting = 0
        self._unsent = 0
        self._arrived: dict[int, Optional[int]] = {}

    def seal(self, body: Outgoing) -> Optional[int]:
        """Ahead of `post`, for a thread that may take its time: what is not allocated memory is copied."""
        return body.sealed(self._copy_max)

    def post(self, body: Outgoing, frames_of: Callable[[dict], bytes]) -> bool:
        """Passes it, then posts the frames that name it. False: not now, and nothing was sent."""
        fd = self.seal(body)
        if fd is None:
            return False
        with self._lock:
            if not self._channel.has_waiting:
                self._unsent = 0
            if self._posting + self._unsent >= AHEAD_MAX:
                return False
            self._posting += 1
            number = self._next
            self._next = number % 0xFFFF_FFFF + 1
        passed = False
        try:
            # Before the memory leaves: a head that does not fit into a frame must not leave it behind.
            frames = frames_of({'n': number, 'b': len(body.view)})
            passed = self._send(number, fd)
            if passed:
                self._channel.post(frames)
            return passed
        finally:
            with self._lock:
                self._posting -= 1
                if passed and self._channel.has_waiting:
                    self._unsent += 1

    def take(self, passed: object) -> memoryview:
        """The memory that a frame names, mapped. Raises ProtocolBroken; Fault when this process has no room for it."""
        number = passed.get('n') if isinstance(passed, dict) else None
        size = passed.get('b') if isinstance(passed, dict) else None
        if type(number) is not int or type(size) is not int or size < 0:
            raise ProtocolBroken('a body as memory without its number and length')
        while number not in self._arrived:
            if not self._receive():
                raise ProtocolBroken(f'the memory {number}, which has not come')
        fd = self._arrived.pop(number)
        if fd is None:
            raise _no_room(size, 'there are too many open files; close those that are no longer needed')
        try:
            found = os.fstat(fd).st_size
            if found != size:
                raise ProtocolBroken(f'the memory {number} of {found} bytes, said to be {size}')
            from .memory import map_private
            return map_private(fd, size)
        except OSError as error:
            raise _no_room(size, error.strerror) from None
        finally:
            os.close(fd)

    def _send(self, number: int, fd: int) -> bool:
        try:
            self._socket.sendmsg([_NUMBER.pack(number)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _FD.pack(fd))], _socket.MSG_DONTWAIT)
        except OSError:
            # Full, too many under way, or closed: then the channel is too, and says so.
            return False
        return True

    def _receive(self) -> bool:
        """The next one that has come; False when there is none."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_NUMBER.size + 1, _ANCILLARY_BYTES, _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        fds = [fd for level, type, rights in ancillary if (level, type) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
               for (fd,) in _FD.iter_unpack(rights[:len(rights) - len(rights) % _FD.size])]
        number = _NUMBER.unpack(data)[0] if len(data) == _NUMBER.size else None
        if number is None or len(fds) > 1 or number in self._arrived or len(self._arrived) >= PASSED_AHEAD_MAX:
            for fd in fds:
                os.close(fd)
            raise ProtocolBroken(f'memory with {len(data)} bytes and {len(fds)} descriptors, or too many ahead of their frames')
        # Without: the kernel had none free in this process.
        self._arrived[number] = fds[0] if fds else None
        return True


def _no_room(size: int, why: str) -> Fault:
    return Fault('TRANSFER_BROKEN', f'A body of {size} bytes could not be taken over: {why}.')

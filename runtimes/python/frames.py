"""
The frames of src/contract/frames.ts, for Python: that file is the contract and explains it; this one is its twin.

Invariants (numbers as there):
  F1. A payload is at most PAYLOAD_BYTES_MAX; a larger length ends the channel (ProtocolBroken).
  F2. Body bytes inside `open` and `head` are free; `data` bytes need credit.
"""
from __future__ import annotations

import json
from struct import Struct

FRAMES_VERSION = 1

HELLO = 1
INIT = 2
INITED = 3
INIT_FAILED = 4
LOG = 5
STOP = 6
OPEN = 16
HEAD = 17
DATA = 18
RESET = 19
CREDIT = 20
WAITING = 21
USAGE = 22

END = 1

HEADER_BYTES = 12
PAYLOAD_BYTES_MAX = 1024 * 1024
INLINE_BYTES_MAX = 64 * 1024
CREDIT_BYTES = 256 * 1024
MEMORY_FD = 5
PASSED_AHEAD_MAX = 64

LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_STDOUT, LEVEL_STDERR = range(6)

_HEADER = Struct('<IBBHI')
_U32 = Struct('<I')
_TWO_U32 = Struct('<II')
_U32_MAX = 0xFFFF_FFFF

Frame = tuple  # (type, flags, stream, payload: bytes)

_encode_json = json.JSONEncoder(separators=(',', ':')).encode


class ProtocolBroken(Exception):
    """The other side sent what the contract does not allow: the channel is of no further use."""


def encode_frame(type: int, flags: int, stream: int, payload: bytes | memoryview = b'') -> bytes:
    """One frame with these payload bytes."""
    length = len(payload)
    if length > PAYLOAD_BYTES_MAX:
        raise ProtocolBroken(f'a frame of {length} bytes, at most {PAYLOAD_BYTES_MAX} are allowed')
    return b''.join((_HEADER.pack(length, type, flags, 0, stream), payload))


def encode_json_frame(type: int, stream: int, value: object) -> bytes:
    """One frame whose payload is JSON."""
    return encode_frame(type, 0, stream, _encode_json(value).encode())


def encode_head_frame(type: int, flags: int, stream: int, head: dict, body: bytes | memoryview = b'') -> bytes:
    """`open` or `head`: a JSON head and body bytes in one frame."""
    text = _encode_json(head).encode()
    length = 4 + len(text) + len(body)
    if length > PAYLOAD_BYTES_MAX:
        raise ProtocolBroken(f'a head frame of {length} bytes, at most {PAYLOAD_BYTES_MAX} are allowed')
    return b''.join((_HEADER.pack(length, type, flags, 0, stream), _U32.pack(len(text)), text, body))


def encode_usage(stream: int, cpu_us: int, memory_peak_kb: int) -> bytes:
    payload = _TWO_U32.pack(min(max(cpu_us, 0), _U32_MAX), min(memory_peak_kb, _U32_MAX))
    return _HEADER.pack(8, USAGE, 0, 0, stream) + payload


def encode_credit(stream: int, size: int) -> bytes:
    return _HEADER.pack(4, CREDIT, 0, 0, stream) + _U32.pack(size)


def decode_u32(payload: bytes) -> int:
    if len(payload) < 4:
        raise ProtocolBroken(f'a number in {len(payload)} bytes')
    return _U32.unpack_from(payload)[0]


def split_head(payload: bytes) -> tuple[dict, bytes]:
    """The two parts of an `open` or `head` payload. Raises ProtocolBroken when the head does not fit or is no JSON object."""
    length = decode_u32(payload)
    if length > len(payload) - 4:
        raise ProtocolBroken(f'a head of {length} bytes in {len(payload) - 4}')
    return decode_object(payload[4:4 + length]), payload[4 + length:]


def decode_object(payload: bytes) -> dict:
    """A payload that is a JSON object. Raises ProtocolBroken when it is not."""
    try:
        value = json.loads(payload.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolBroken('a frame does not carry the JSON it must') from error
    if not isinstance(value, dict):
        raise ProtocolBroken('a frame does not carry the JSON object it must')
    return value


class FrameDecoder:
    """Cuts a stream of chunks into frames. Keeps at most one incomplete frame."""

    __slots__ = ('_parts', '_held', '_needed')

    def __init__(self) -> None:
        # Chunks of an incomplete frame, joined only when it is complete: a large frame is copied once, not per chunk.
        self._parts: list[bytes] = []
        self._held = 0
        self._needed = HEADER_BYTES

    def push(self, chunk: bytes) -> list[Frame]:
        """The frames that this chunk completes. Raises ProtocolBroken on a length over the bound (F1)."""
        if self._held:
            self._parts.append(chunk)
            self._held += len(chunk)
            if self._held < self._needed:
                return []
            chunk = b''.join(self._parts)
            self._parts = []
            self._held = 0
        frames: list[Frame] = []
        offset = 0
        size = len(chunk)
        self._needed = HEADER_BYTES
        while size - offset >= HEADER_BYTES:
            length, type, flags, _, stream = _HEADER.unpack_from(chunk, offset)
            if length > PAYLOAD_BYTES_MAX:
                raise ProtocolBroken(f'a frame of {length} bytes, at most {PAYLOAD_BYTES_MAX} are allowed')
            end = offset + HEADER_BYTES + length
            if end > size:
                self._needed = HEADER_BYTES + length
                break
            frames.append((type, flags, stream, chunk[offset + HEADER_BYTES:end]))
            offset = end
        if offset < size:
            self._parts = [chunk[offset:]]
            self._held = size - offset
        return frames

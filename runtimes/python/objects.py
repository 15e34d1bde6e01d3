"""
Objects: `put` leaves one with the platform, `get` has it mapped, whoever holds its reference (thesis 6.3.2.1, table 6.1).

Invariants:
  O1. What is written to the bytes after `put` has returned is not seen by anybody who gets the object.
  O2. What was got belongs to its receiver: writing to it changes nothing elsewhere.
"""
from __future__ import annotations

import io
from operator import index

from .answer import is_source
from .bodies import Outgoing, flat
from .calls import Call, CallFailed, new_call
from .frames import INLINE_BYTES_MAX
from .request import RawBody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional, Union

    from .runtime import Runtime

# Of a file that is put, or of what a stream gives at once.
CHUNK_BYTES = 256 * 1024
# Memory is allocated up to this part of the instance's: the function has to have room besides.
ALLOCATE_PART = 2


def allocate(runtime: Runtime, size: int) -> memoryview:
    """Raises CallFailed."""
    asked = size
    try:
        size = index(size)
    except TypeError:
        size = -1
    if size < 0:
        raise CallFailed('INPUT_INVALID', f'Memory is allocated for a number of bytes from 0, not for {asked!r}.')
    limit_mb = runtime.init.get('memoryMb') or 0
    if limit_mb and size > limit_mb * 1024 * 1024 // ALLOCATE_PART:
        raise CallFailed(
            'INPUT_INVALID',
            f'{size} bytes cannot be allocated: this instance has {limit_mb} MB, and half of that at most, {limit_mb * 1024 * 1024 // ALLOCATE_PART} bytes, '
            f'may be one object. Put it as an iterator of chunks, or deploy the function with more memory (--memory).',
        )
    if runtime.passing is None or size <= INLINE_BYTES_MAX:
        return memoryview(bytearray(size))
    from . import memory
    try:
        return memory.allocate(size)
    except OSError:
        # No descriptor or no address left. It is copied, then, when it is given on.
        return memoryview(bytearray(size))


def put(runtime: Runtime, value: object, retrievals: Optional[int], ttl_s: Optional[float], key: Optional[str] = None) -> str:
    """Raises CallFailed, Cancelled, and what a source raises."""
    if hasattr(value, '__anext__'):
        raise CallFailed('INPUT_INVALID', 'An async iterator is put by `await skep.aput(…)`.')
    call, body = put_call(runtime, value, retrievals, ttl_s, key)
    if body is None:
        call.send_chunks(chunks_of(value))
    else:
        try:
            call.send(body, None)
        finally:
            body.close()
    return reference_of(call.result())


def put_call(runtime: Runtime, value: object, retrievals: Optional[int], ttl_s: Optional[float], key: Optional[str]) -> tuple[Call, Optional[Outgoing]]:
    """With the whole body, or None when it comes in chunks."""
    if retrievals is not None and (type(retrievals) is not int or retrievals < 1):
        raise CallFailed('INPUT_INVALID', f'An object can be got a number of times from 1, not {retrievals!r}.')
    terms: dict = {}
    if key is not None:
        terms['k'] = str(key)
    if retrievals is not None or key is None:
        terms['n'] = 1 if retrievals is None else retrievals
    if ttl_s is not None:
        if isinstance(ttl_s, bool) or not isinstance(ttl_s, (int, float)) or not 0 < ttl_s < float('inf'):
            raise CallFailed('INPUT_INVALID', f'An object lives for a number of seconds above 0, not {ttl_s!r}.')
        terms['t'] = max(1, int(ttl_s * 1000))
    data = value.encode('utf-8', 'replace') if isinstance(value, str) else flat(value)
    if data is None and not (hasattr(value, 'read') or is_source(value)):
        raise CallFailed('INPUT_INVALID', f'An object is bytes, text, a file or an iterator of bytes, not {type(value).__name__}. Encode it first, for instance with json.dumps.')
    return new_call(runtime, 'put', {'k': 'put', 'o': terms}), None if data is None else Outgoing(data)


def reference_of(answer: object) -> str:
    reference = answer.get('reference') if isinstance(answer, dict) else None
    if not isinstance(reference, str):
        raise CallFailed('PROTOCOL_BROKEN', 'The platform answered to put without a reference.')
    return reference


def chunks_of(source) -> Iterator[Union[bytes, memoryview]]:
    """Of a file, or of an iterator."""
    chunks = iter(lambda: source.read(CHUNK_BYTES) or None, None) if hasattr(source, 'read') else iter(source)
    for chunk in chunks:
        yield chunk_of(chunk)


def chunk_of(chunk: object) -> Union[bytes, memoryview]:
    data = chunk.encode('utf-8', 'replace') if isinstance(chunk, str) else flat(chunk)
    if data is None:
        raise CallFailed('INPUT_INVALID', f'An object that is put in pieces yields bytes or text, not {type(chunk).__name__}.')
    return data


def get_call(runtime: Runtime, reference: object, as_stream: bool) -> Call:
    """Opened, and to be answered."""
    if not isinstance(reference, str) or not reference:
        raise CallFailed('REFERENCE_INVALID', f'An object is got by the reference that put gave, not by {type(reference).__name__}.')
    call = new_call(runtime, 'get', {'k': 'get', 'r': reference, **({'s': True} if as_stream else {})})
    call.send(Outgoing(b''), None)
    return call


def object_of(call: Call, body: Union[bytes, memoryview]) -> memoryview:
    """A complete answer to `get`. Raises CallFailed."""
    if call.status >= 400 or call.status == 0:
        call.parse(body)
    # What came as frames may be written to as well (O2).
    return body if isinstance(body, memoryview) else memoryview(bytearray(body))


def get(runtime: Runtime, reference: object) -> memoryview:
    """Raises CallFailed, Cancelled."""
    call = get_call(runtime, reference, False)
    return object_of(call, call.reader.read_all())


def get_stream(runtime: Runtime, reference: object) -> ObjectStream:
    """Returns when its first bytes are here. Raises CallFailed, Cancelled."""
    call = get_call(runtime, reference, True)
    first = call.reader.read_chunk()
    if call.status >= 400:
        call.parse(b''.join((first, call.reader.read_all())))
    return ObjectStream(_RawObject(call, first), CHUNK_BYTES)


class ObjectStream(io.BufferedReader):
    """An object while it arrives: a file to read; as an iterator it gives chunks (not lines). Closing it before its end lets the rest go."""

    def __iter__(self) -> ObjectStream:
        return self

    def __next__(self) -> bytes:
        chunk = self.read1(CHUNK_BYTES)
        if not chunk:
            raise StopIteration
        return chunk

    def readlines(self, hint: int = -1) -> list[bytes]:
        return list(iter(self.readline, b''))


class _RawObject(RawBody):
    def __init__(self, call: Call, first: Union[bytes, memoryview]) -> None:
        super().__init__(call.reader, first)
        self._call = call

    def readinto(self, target) -> int:
        try:
            return super().readinto(target)
        except CallFailed as error:
            from skep import _as_error
            raise _as_error(error) from None

    def close(self) -> None:
        if not self.closed:
            self._call.give_up('CANCELLED', '')
        super().close()

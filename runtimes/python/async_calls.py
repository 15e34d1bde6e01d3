"""
Calls and objects for async handlers: as calls.py and objects.py, with the event loop going on meanwhile.

Only what copies or seals memory goes to another thread, because it computes; nothing that waits does, so that any number may wait.
"""
from __future__ import annotations

import asyncio

from . import objects
from .async_runner import LoopWaiter
from .bodies import Outgoing, Whole
from .calls import Call, CallFailed, event_head, new_call
from .frames import INLINE_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Union

    from .bodies import BodyReader, BodyWriter
    from .runtime import Runtime


async def invoke(runtime: Runtime, name: str, payload: object, timeout_s: Optional[float], color: Optional[str] = None) -> object:
    """Raises CallFailed, Fault, Cancelled."""
    head, body = event_head(name, payload, False, color)
    call = new_call(runtime, name, head, timeout_s)
    return call.parse(await _within(call, _exchange(call, body), timeout_s))


async def put(runtime: Runtime, value: object, retrievals: Optional[int], ttl_s: Optional[float], key: Optional[str] = None) -> str:
    call, body = objects.put_call(runtime, value, retrievals, ttl_s, key)
    exchange = _exchange_chunks(call, value) if body is None else _exchange(call, body)
    return objects.reference_of(call.parse(await _within(call, exchange, None)))


async def get(runtime: Runtime, reference: object) -> memoryview:
    call = objects.get_call(runtime, reference, False)
    return objects.object_of(call, await _within(call, read_all(call.reader), None))


async def get_stream(runtime: Runtime, reference: object) -> AsyncObjectStream:
    call = objects.get_call(runtime, reference, True)
    first = await _within(call, read_chunk(call.reader), None)
    if call.status >= 400:
        call.parse(b''.join((first, await _within(call, read_all(call.reader), None))))
    return AsyncObjectStream(call, first)


class AsyncObjectStream:
    """An object while it arrives: `async for chunk in stream`. Ending early, by `aclose` or `async with`, lets the rest go."""

    def __init__(self, call: Call, first: Union[bytes, memoryview]) -> None:
        self._call = call
        self._first: Optional[Union[bytes, memoryview]] = first

    def __aiter__(self) -> AsyncObjectStream:
        return self

    async def __anext__(self) -> Union[bytes, memoryview]:
        chunk, self._first = self._first, None
        if chunk is None:
            try:
                chunk = await read_chunk(self._call.reader)
            except CallFailed as error:
                from skep import _as_error
                raise _as_error(error) from None
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self._call.give_up('CANCELLED', '')

    async def __aenter__(self) -> AsyncObjectStream:
        return self

    async def __aexit__(self, *_) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._call.give_up('CANCELLED', '')


async def read_chunk(reader: BodyReader) -> Union[bytes, memoryview]:
    """The next bytes, b'' at the end."""
    while True:
        waiter = LoopWaiter()
        chunk = reader.try_read(waiter)
        if chunk is not None:
            return chunk
        await waiter.future


async def read_all(reader: BodyReader) -> Union[bytes, memoryview]:
    whole = Whole()
    while chunk := await read_chunk(reader):
        whole.add(chunk)
    return whole.value()


async def write(writer: BodyWriter, data: Union[bytes, memoryview]) -> None:
    offset = 0
    while offset < len(data):
        waiter = LoopWaiter()
        taken = writer.try_write(data, offset, waiter)
        if taken == 0:
            await waiter.future
        offset += taken


async def _exchange(call: Call, body: Outgoing) -> Union[bytes, memoryview]:
    """Sends it, and gives the answer."""
    try:
        if len(body.view) > INLINE_BYTES_MAX and call.runtime.passing is not None:
            await asyncio.get_running_loop().run_in_executor(None, call.runtime.passing.seal, body)
        if not call.send_at_once(body):
            call.begin_chunks()
            await write(call.writer, body.view)
            call.end_chunks()
    except CallFailed:
        pass  # It was answered early: the answer says so.
    finally:
        body.close()
    return await read_all(call.reader)


async def _exchange_chunks(call: Call, source) -> Union[bytes, memoryview]:
    call.begin_chunks()
    async for data in _chunks(source):
        try:
            await write(call.writer, data)
        except CallFailed:
            return await read_all(call.reader)
    call.end_chunks()
    return await read_all(call.reader)


async def _chunks(source):
    if hasattr(source, '__anext__'):
        async for chunk in source:
            yield objects.chunk_of(chunk)
        return
    chunks = objects.chunks_of(source)
    while True:
        # A blocking source must not hold up the other invocations of the loop.
        chunk = await asyncio.get_running_loop().run_in_executor(None, next, chunks, None)
        if chunk is None:
            return
        yield chunk


async def _within(call: Call, exchange, timeout_s: Optional[float]):
    try:
        return await (exchange if timeout_s is None else asyncio.wait_for(exchange, timeout_s))
    except asyncio.TimeoutError:
        if timeout_s is None:
            raise
        raise call.give_up('FUNCTION_TIMEOUT', f'{call.name} did not answer within {timeout_s} s.') from None
    except BaseException:
        # Also a source that failed, and a task that was cancelled.
        call.give_up('CANCELLED', '')
        raise

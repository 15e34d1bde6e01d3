"""
Runs async handlers: one event loop on one thread, started with the first of them.

Invariants:
  A1. An invocation handed to `submit` ends, whatever its task does: by its answer, its error, or its cancellation.
  A2. CPU time is counted per step of the handler's own coroutine: all of them share one thread. (Tasks that the handler
      starts are not counted.)
"""
from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import types

from .answer import Answer, chunk_bytes
from .bodies import Outgoing
from .faults import Cancelled, threw
from .frames import INLINE_BYTES_MAX
from .invocation import Invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .runtime import Runtime

_END = object()


class LoopWaiter:
    """As workers.Waiter, for a task. Made on the loop's thread."""

    __slots__ = ('_loop', 'future')

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future = self._loop.create_future()

    def wake(self) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class AsyncRunner:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name='skep-async', daemon=True).start()

    def submit(self, invocation: Invocation, result) -> None:
        """Goes on with what an async handler returned: an awaitable or an async iterator."""
        invocation.cpu_used = time.thread_time() - invocation.cpu_started
        self._loop.call_soon_threadsafe(self._start, invocation, result, context=contextvars.copy_context())

    def cancel(self, invocation: Invocation) -> None:
        self._loop.call_soon_threadsafe(self._cancel, invocation)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except BaseException as error:  # A task of the function's own called sys.exit: the others go on.
                import sys
                from .faults import user_stack
                print(user_stack(error), file=sys.stderr)

    def _start(self, invocation: Invocation, result) -> None:
        if invocation.cancelled:
            if hasattr(result, 'close'):
                result.close()
            return invocation.let_go()
        invocation.task = self._loop.create_task(self._drive(invocation, result))

    def _cancel(self, invocation: Invocation) -> None:
        if invocation.task is not None:
            invocation.task.cancel()

    async def _drive(self, invocation: Invocation, result) -> None:
        from .execute import as_answer
        try:
            if hasattr(result, '__await__'):
                result = await self._metered(invocation, result)
            answer = as_answer(self._runtime, invocation, result)
            if answer.is_streamed or not await self._send_at_once(invocation, answer):
                await self._stream(invocation, answer)
        except Cancelled:
            invocation.let_go()
        except BaseException as error:
            invocation.fail(threw(error))

    @types.coroutine
    def _metered(self, invocation: Invocation, awaitable):
        """Awaits it, counting the CPU time of each step, and says when the first one ends in waiting."""
        steps = awaitable.__await__()
        step, value = getattr(steps, 'send', None) or (lambda _: next(steps)), None
        while True:
            started = time.thread_time()
            try:
                yielded = step(value)
            except StopIteration as stop:
                return stop.value
            finally:
                invocation.cpu_used += time.thread_time() - started
            if not invocation.waiting_sent and yielded is not None:
                # Not at once: what it waits for may be there in the next turn of the loop.
                self._loop.call_soon(self._loop.call_soon, self._say_waiting, invocation, yielded)
            try:
                value = yield yielded
                step = getattr(steps, 'send', None) or (lambda _: next(steps))
            except GeneratorExit:
                close = getattr(steps, 'close', None)
                if close is not None:
                    close()
                raise
            except BaseException as error:
                value = error
                step = getattr(steps, 'throw', None) or _throw

    def _say_waiting(self, invocation: Invocation, awaited) -> None:
        done = getattr(awaited, 'done', None)
        if done is None or not done():
            invocation.say_waiting()

    async def _send_at_once(self, invocation: Invocation, answer: Answer) -> bool:
        body = Outgoing(answer.body)
        try:
            if len(body.view) > INLINE_BYTES_MAX:
                if self._runtime.passing is None:
                    return False
                # It may be copied: that must not hold up the other invocations of the loop.
                await self._loop.run_in_executor(None, self._runtime.passing.seal, body)
            return invocation.send_at_once(answer.status, answer.headers, body)
        finally:
            body.close()

    async def _stream(self, invocation: Invocation, answer: Answer) -> None:
        source = answer.body
        if not answer.is_streamed:
            view = memoryview(source)
            invocation.send_head(answer.status, answer.headers, view[:INLINE_BYTES_MAX], False)
            await self._write(invocation, view[INLINE_BYTES_MAX:])
            return invocation.send_end()
        try:
            chunk = await self._next(invocation, source)
            first = b'' if chunk is _END else chunk_bytes(chunk)
            invocation.send_head(answer.status, answer.headers, first[:INLINE_BYTES_MAX], False)
            await self._write(invocation, first[INLINE_BYTES_MAX:])
            while chunk is not _END:
                chunk = await self._next(invocation, source)
                if chunk is not _END:
                    await self._write(invocation, chunk_bytes(chunk))
            invocation.send_end()
        finally:
            if hasattr(source, 'aclose'):
                await source.aclose()
            elif hasattr(source, 'close'):
                source.close()

    async def _next(self, invocation: Invocation, source):
        if not hasattr(source, '__anext__'):
            # A blocking iterator must not hold up the other invocations of the loop.
            return await self._loop.run_in_executor(None, contextvars.copy_context().run, next, source, _END)
        try:
            return await self._metered(invocation, source.__anext__())
        except StopAsyncIteration:
            return _END

    async def _write(self, invocation: Invocation, data: bytes | memoryview) -> None:
        offset = 0
        while offset < len(data):
            waiter = LoopWaiter()
            taken = invocation.writer.try_write(data, offset, waiter)
            if taken == 0:
                await waiter.future
            offset += taken


def _throw(error: BaseException):
    raise error

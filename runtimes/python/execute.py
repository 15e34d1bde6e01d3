"""Runs the handler of one invocation on the calling thread, and sends what it returns, or what it raised."""
from __future__ import annotations

import contextvars

from .answer import Answer, answer_of, chunk_bytes
from .faults import Cancelled, threw
from .frames import INLINE_BYTES_MAX
from .invocation import Context, Invocation
from .logs import current
from .request import Request, event_value, lambda_event, main_params

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .runtime import Runtime

FILE_CHUNK_BYTES = 64 * 1024


def execute(runtime: Runtime, invocation: Invocation) -> None:
    """Never raises. An async handler goes on in the event loop after this has returned."""
    # A copy, so that context variables set by one invocation are not seen by the next one on the same thread.
    contextvars.copy_context().run(_execute, runtime, invocation)


def _execute(runtime: Runtime, invocation: Invocation) -> None:
    current.set(invocation)
    try:
        result = _call(runtime, invocation)
        if hasattr(result, '__await__') or hasattr(result, '__anext__'):
            if runtime.async_runner is None:
                from .async_runner import AsyncRunner
                runtime.async_runner = AsyncRunner(runtime)
            runtime.async_runner.submit(invocation, result)
            return
        answer = as_answer(runtime, invocation, result)
        if answer.is_streamed:
            _stream(invocation, answer)
        else:
            invocation.send_whole(answer.status, answer.headers, answer.body)
    except Cancelled:
        invocation.let_go()
    except BaseException as error:
        invocation.fail(threw(error))


def as_answer(runtime: Runtime, invocation: Invocation, result: object) -> Answer:
    if isinstance(result, Answer):
        return result
    return answer_of(result, invocation.is_http, runtime.handler.shape == 'main')


def context_of(invocation: Invocation) -> Context:
    if invocation.context is None:
        invocation.context = Context(invocation)
    return invocation.context


def request_of(invocation: Invocation) -> Request:
    if invocation.request is None:
        invocation.request = Request(invocation, invocation.body)
    return invocation.request


def _call(runtime: Runtime, invocation: Invocation) -> object:
    handler = runtime.handler
    if handler.shape == 'fetch':
        return handler.call(request_of(invocation), context_of(invocation))
    if invocation.is_binary:
        argument = request_of(invocation).stream if handler.streaming else invocation.body
    elif not invocation.is_http:
        body = invocation.reader.read_all() if invocation.body is None else invocation.body
        argument = event_value(body)
    elif handler.shape == 'main':
        argument = main_params(invocation, invocation.body)
    else:
        argument = lambda_event(invocation, invocation.body)
    return handler.call(argument, context_of(invocation))


def _stream(invocation: Invocation, answer: Answer) -> None:
    source = answer.body
    try:
        chunks = iter(lambda: source.read(FILE_CHUNK_BYTES) or None, None) if hasattr(source, 'read') else iter(source)
        # The head waits for the first chunk: a handler that fails before it still gets to answer with an error.
        first = chunk_bytes(next(chunks, b''))
        invocation.send_head(answer.status, answer.headers, first[:INLINE_BYTES_MAX], False)
        invocation.writer.write(first[INLINE_BYTES_MAX:])
        for chunk in chunks:
            invocation.writer.write(chunk_bytes(chunk))
        invocation.send_end()
    finally:
        close = getattr(source, 'close', None)
        if close is not None:
            close()

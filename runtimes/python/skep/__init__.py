"""
The Skep SDK for Python functions.

    import skep

    def main(params):
        words = skep.invoke('word-count', {'text': params['text']})
        job = skep.invoke_async('index', {'words': words})
        return {'words': words, 'job': job}

In an async handler: `await skep.ainvoke(…)`. Outside of the platform the module can be imported, and every call of
a function raises SkepError with the code SERVER_UNREACHABLE.
"""
from __future__ import annotations

__all__ = ['SkepError', 'ainvoke', 'context', 'invoke', 'invoke_async', 'request', 'streaming']

# Set by the runtime.
_runtime = None


class SkepError(Exception):
    """A call that failed. `code`: of the platform's table of errors; `status`, `body`: what the function answered, if it did."""

    def __init__(self, code: str, message: str, status: int = 0, body: object = None, stack: str | None = None) -> None:
        super().__init__(f'{code}: {message}')
        self.code = code
        self.message = message
        self.status = status
        self.body = body
        self.stack = stack


def invoke(name: str, payload: object = None, timeout: float | None = None) -> object:
    """
    Calls a function (`name` or `namespace/name`) and waits for its answer: a JSON value, text, or bytes.

    `payload`: a JSON value; bytes are sent as they are. `timeout`: seconds. Raises SkepError.
    """
    try:
        call, deadline_s = _begin(name, payload, timeout, False)
        return call.result(deadline_s)
    except _failures() as error:
        raise _as_error(error) from None


async def ainvoke(name: str, payload: object = None, timeout: float | None = None) -> object:
    """As `invoke`, for an async handler: the event loop goes on meanwhile."""
    import asyncio
    loop = asyncio.get_running_loop()
    answered = loop.create_future()

    def wake() -> None:
        if not answered.done():
            answered.set_result(None)

    try:
        if isinstance(payload, (bytes, bytearray)) and len(payload) > 64 * 1024:
            # A large payload waits for credit, and must not hold up the loop.
            import contextvars
            run = contextvars.copy_context().run
            call, _ = await loop.run_in_executor(None, run, _begin, name, payload, timeout, False, lambda: loop.call_soon_threadsafe(wake))
        else:
            call, _ = _begin(name, payload, timeout, False, lambda: loop.call_soon_threadsafe(wake))
        try:
            await asyncio.wait_for(answered, timeout)
        except asyncio.TimeoutError:
            raise call.give_up('FUNCTION_TIMEOUT', f'{name} did not answer within {timeout} s.') from None
        except asyncio.CancelledError:
            call.give_up('CANCELLED', '')
            raise
        return call.collected()
    except _failures() as error:
        raise _as_error(error) from None


def invoke_async(name: str, payload: object = None) -> str:
    """Has a function called later, surely; returns the id of that invocation as soon as it is accepted durably. Raises SkepError."""
    try:
        call, deadline_s = _begin(name, payload, None, True)
        answer = call.result(deadline_s)
    except _failures() as error:
        raise _as_error(error) from None
    if isinstance(answer, dict):
        answer = answer.get('id') or answer.get('invocation') or answer.get('invocationId') or answer.get('activationId')
    return str(answer)


def context():
    """
    What is known about the present invocation. Raises RuntimeError outside of one.

    `invocation_id`, `namespace`, `function_name`, `function_version`, `instance`, `attempt` (from 1), `traceparent`,
    `deadline_ms` (epoch, or None), `remaining_ms()` (until then; infinite without one), `cancelled`, and what AWS
    Lambda's context has.
    """
    from skep_runtime.execute import context_of
    return context_of(_invocation())


def request():
    """The present invocation's request: method, path, query, headers, body, stream. Raises RuntimeError outside of one."""
    from skep_runtime.execute import request_of
    return request_of(_invocation())


def streaming(handler):
    """
    Decorator: the handler is called before its request body has arrived, and reads it from `skep.request().stream`.

    Without it the body is collected first, of whatever size.
    """
    handler.__skep_streaming__ = True
    return handler


def _invocation():
    invocation = None
    if _runtime is not None:
        from skep_runtime.logs import current
        invocation = current.get() or _runtime.only_invocation()
    if invocation is None:
        raise RuntimeError('There is no invocation here: call this from a handler, or from a thread that got the handler\'s context.')
    return invocation


def _begin(*arguments):
    if _runtime is None:
        raise SkepError('SERVER_UNREACHABLE', 'Functions can be called only from inside the platform; deploy this code, or use `skep dev`.')
    from skep_runtime.calls import begin
    return begin(_runtime, *arguments)


def _failures() -> tuple:
    if _runtime is None:
        return ()
    from skep_runtime.calls import CallFailed
    from skep_runtime.faults import Fault
    return CallFailed, Fault


def _as_error(error) -> SkepError:
    if hasattr(error, 'status'):
        return SkepError(error.code, error.message, error.status, error.body, error.stack)
    # The runtime speaks of an answer; here it is the payload that is no JSON.
    return SkepError('INPUT_INVALID', error.message.replace('The answer', 'The payload', 1).partition(' Return ')[0])

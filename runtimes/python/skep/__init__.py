"""
The Skep SDK for Python functions.

    import skep

    def main(params):
        words = skep.invoke('word-count', {'text': params['text']})
        job = skep.invoke_async('index', {'words': words})
        return {'words': words, 'job': job}

Large data goes by reference, from the memory where it was made to the one where it is read:

    view = skep.allocate(100_000_000)              # fill it, as bytes or as a numpy array over it
    reference = skep.put(view, retrievals=2)       # or any bytes, text, file or iterator
    view = skep.get(reference)                     # in another function

or by value, in the payload of `invoke` and in what a handler returns, where nothing has to be done for it: bytes sent by `invoke`
are the event of the function called, as bytes up to 64 KB, and a memoryview when they came as memory.

In an async handler: `await skep.ainvoke(…)`, `aput`, `aget`, `aget_stream`. Outside of the platform the module can be imported,
and every call raises SkepError with the code SERVER_UNREACHABLE.
"""
from __future__ import annotations

__all__ = [
    'SkepError', 'aget', 'aget_stream', 'ainvoke', 'allocate', 'aput', 'context', 'get', 'get_stream', 'invoke', 'invoke_all', 'invoke_async', 'put',
    'request', 'streaming',
]

# Set by the runtime.
_runtime = None


class SkepError(Exception):
    """
    A call that failed. `code`: of the platform's table of errors; `status`, `body`: what the function answered, if it did.

    `details`: values that belong to the code, or None; with OBJECT_LOST the producer, so that it can be run again.
    """

    def __init__(self, code: str, message: str, status: int = 0, body: object = None, stack: str | None = None, details: dict | None = None) -> None:
        super().__init__(f'{code}: {message}')
        self.code = code
        self.message = message
        self.status = status
        self.body = body
        self.stack = stack
        self.details = details


def invoke(name: str, payload: object = None, timeout: float | None = None, color: str | None = None) -> object:
    """
    Calls a function (`name` or `namespace/name`) and waits for its answer: a JSON value, text, or bytes.

    `payload`: a JSON value, or anything that has bytes (bytes, bytearray, memoryview, numpy array), which the function then gets as
    its event, as they are. `timeout`: seconds. `color`: a text of at most 128 characters for what the called invocation shares data
    with; those of one colour go to the same instance where it has room. Large payloads and answers, of whatever kind, are passed as memory where both are on
    one machine; an answer of bytes that came so is a memoryview, otherwise bytes. Raises SkepError.
    """
    return _run('calls', 'invoke', name, payload, timeout, False, color)


async def ainvoke(name: str, payload: object = None, timeout: float | None = None, color: str | None = None) -> object:
    """As `invoke`, for an async handler: the event loop goes on meanwhile."""
    return await _arun('invoke', name, payload, timeout, color)


def invoke_all(name: str, payloads, timeout: float | None = None, return_exceptions: bool = False, concurrency: int = 64, color: str | None = None) -> list:
    """
    Calls a function once per payload, `concurrency` at a time; returns the results in the order of the payloads.

    A list of the same payload several times (a broadcast) copies it once at most. The first error ends the other calls and is raised;
    with `return_exceptions` it stands among the results instead. `timeout`: seconds for all of them. (In an async handler:
    `asyncio.gather` of `ainvoke`.)
    """
    results = _run('calls', 'invoke_all', name, payloads, timeout, return_exceptions, concurrency, color)
    return [_as_error(result) if isinstance(result, _failures()) else result for result in results]


def invoke_async(name: str, payload: object = None, color: str | None = None) -> str:
    """Has a function called later, surely; returns the id of that invocation as soon as it is accepted durably. Raises SkepError."""
    answer = _run('calls', 'invoke', name, payload, None, True, color)
    if isinstance(answer, dict):
        answer = answer.get('id') or answer.get('invocation') or answer.get('invocationId') or answer.get('activationId')
    return str(answer)


def put(obj, retrievals: int | None = None, ttl: float | None = None, key: str | None = None) -> str:
    """
    Keeps an object with the platform and returns its reference: text to send to whoever is to `get` it.

    `obj`: bytes, text, anything that has bytes (bytearray, memoryview, numpy array), a file, or an iterator of bytes or text, which is
    sent while it is made. What is written to it after `put` has returned is not seen by anybody. Plain bytes are copied once, up to
    a quarter of the instance's memory as memory, else as a stream; all of a memory of `allocate` is not copied.
    `retrievals`: after so many complete ones it is let go (default: 1). `ttl`: seconds after which it is let go. `key`: keeps it in a bucket of
    this namespace instead, `s3://<bucket>/<key>`, durably, until it is deleted there. Raises SkepError.
    """
    return _run('objects', 'put', obj, retrievals, ttl, key)


async def aput(obj, retrievals: int | None = None, ttl: float | None = None, key: str | None = None) -> str:
    """As `put`, for an async handler. `obj` may be an async iterator."""
    return await _arun('put', obj, retrievals, ttl, key)


def get(reference: str) -> memoryview:
    """
    The bytes of an object, as a memoryview: on the machine where it is, mapped and not copied.

    It reads like bytes (len, slices, ==, struct, numpy.frombuffer, file.write); `bytes(view)` copies, `str(view, 'utf-8')` decodes.
    It may be written to: nobody else sees that. Its memory goes with the last view of it. Raises SkepError, for instance with
    OBJECT_EXPIRED, OBJECT_USED_UP, or OBJECT_LOST.
    """
    return _run('objects', 'get', reference)


async def aget(reference: str) -> memoryview:
    """As `get`, for an async handler."""
    return await _arun('get', reference)


def get_stream(reference: str):
    """
    An object while it arrives: a file (`read`, `readline`, `with`), and an iterator of chunks of bytes. For what does not fit into memory.

    Closing it before its end lets the rest go, and does not count as a retrieval. Raises SkepError, here and while it is read.
    """
    return _run('objects', 'get_stream', reference)


async def aget_stream(reference: str):
    """As `get_stream`, for an async handler: `async for chunk in await skep.aget_stream(reference)`; `aclose`, `async with`."""
    return await _arun('get_stream', reference)


def allocate(size: int) -> memoryview:
    """
    Memory to fill, `size` bytes of zeros, which `put`, `invoke` and an answer give on without a copy.

    They do when they are given all of it, the memoryview or an array over it (`numpy.frombuffer(view, dtype)`), for the first time.
    It may be written to afterwards, and nobody else sees that. At most half of the instance's memory. Raises SkepError.
    """
    return _run('objects', 'allocate', size)


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

    Without it the body is collected first, of whatever size. An event of bytes is then this stream itself.
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


def _run(module: str, function: str, *arguments):
    try:
        return getattr(_part(module), function)(_runtime, *arguments)
    except _failures() as error:
        raise _as_error(error) from None


async def _arun(function: str, *arguments):
    try:
        return await getattr(_part('async_calls'), function)(_runtime, *arguments)
    except _failures() as error:
        raise _as_error(error) from None


def _part(module: str):
    if _runtime is None:
        raise SkepError('SERVER_UNREACHABLE', 'Functions and objects are there only inside the platform; deploy this code, or use `skep dev`.')
    from importlib import import_module
    return import_module(f'skep_runtime.{module}')


def _failures() -> tuple:
    if _runtime is None:
        return ()
    from skep_runtime.calls import CallFailed
    from skep_runtime.faults import Fault
    return CallFailed, Fault


def _as_error(error) -> SkepError:
    if hasattr(error, 'status'):
        return SkepError(error.code, error.message, error.status, error.body, error.stack, error.details)
    # The runtime speaks of an answer; here it is the payload that is no JSON.
    return SkepError('INPUT_INVALID', error.message.replace('The answer', 'The payload', 1).partition(' Return ')[0])

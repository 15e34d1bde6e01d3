"""
Runs web applications as functions: WSGI (PEP 3333) and ASGI (version 3, HTTP and lifespan).

Both get the request's body as it arrives, and their answers are streamed as they come.
"""
from __future__ import annotations

import io
import sys
from urllib.parse import unquote

from .answer import Answer, add_header
from .faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .request import Request


def is_asgi(app: Callable) -> bool:
    """An ASGI application is called with (scope, receive, send), a WSGI one with (environ, start_response)."""
    import inspect
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, '__call__', None)):
        return True
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(1 for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty) == 3


def wsgi_handler(app: Callable) -> Callable:
    def call(request: Request, context) -> Answer:
        started: list = []

        def start_response(status: str, headers: list, exc_info=None) -> Callable:
            if exc_info is not None and started and started[0] is None:
                raise exc_info[1].with_traceback(exc_info[2])
            started[:] = [(status, headers)]
            return early.append

        early: list[bytes] = []
        chunks = app(_environ(request, context), start_response)
        source = iter(chunks)
        # An application may call start_response as late as with its first chunk.
        first = next(source, None) if not started else b''
        if not started:
            raise Fault('ANSWER_INVALID', 'The WSGI application did not call start_response.')
        status, headers = started[0]
        answer_headers: list[str] = []
        for name, value in headers:
            add_header(answer_headers, name, value)
        code = int(str(status)[:3]) if str(status)[:3].isdigit() else 0
        if not 200 <= code <= 599:
            raise Fault('ANSWER_INVALID', f'The WSGI application answered with the status {status!r}.')
        if isinstance(chunks, (list, tuple)):
            return Answer(code, answer_headers, b''.join((*early, first or b'', *source)))
        return Answer(code, answer_headers, _chain(chunks, source, [*early, *([first] if first else [])]))

    return call


def _chain(chunks, source, first: list[bytes]):
    try:
        yield from first
        yield from source
    finally:
        close = getattr(chunks, 'close', None)
        if close is not None:
            close()


def _environ(request: Request, context) -> dict:
    host, _, port = request.headers.get('host', 'localhost').partition(':')
    environ = {
        'REQUEST_METHOD': request.method or 'POST',
        'SCRIPT_NAME': request.headers.get('x-forwarded-prefix', ''),
        'PATH_INFO': unquote(request.path, 'latin-1'),
        'QUERY_STRING': request.query,
        'CONTENT_TYPE': request.headers.get('content-type', '' if request.method else request.event_type),
        'CONTENT_LENGTH': request.headers.get('content-length', ''),
        'SERVER_NAME': host,
        'SERVER_PORT': port or '80',
        'SERVER_PROTOCOL': 'HTTP/1.1',
        'REMOTE_ADDR': request.headers.get('x-forwarded-for', ''),
        'wsgi.version': (1, 0),
        'wsgi.url_scheme': request.headers.get('x-forwarded-proto', 'http'),
        'wsgi.input': request.stream,
        'wsgi.input_terminated': True,
        'wsgi.errors': sys.stderr if isinstance(sys.stderr, io.TextIOBase) else io.StringIO(),
        'wsgi.multithread': True,
        'wsgi.multiprocess': True,
        'wsgi.run_once': False,
        'skep.context': context,
    }
    for name, value in request.headers.items():
        if name not in ('content-type', 'content-length'):
            environ['HTTP_' + name.upper().replace('-', '_')] = value
    return environ


def asgi_handler(app: Callable) -> Callable:
    lifespan = _Lifespan(app)

    async def call(request: Request, context) -> Answer:
        import asyncio
        await lifespan.started()
        sent: asyncio.Queue = asyncio.Queue(maxsize=1)
        body_ended = False

        async def receive() -> dict:
            nonlocal body_ended
            if body_ended:
                # The client stays until it has its answer: there is nothing more to be told.
                await asyncio.Event().wait()
            chunk = await request.stream.aread(64 * 1024)
            body_ended = len(chunk) < 64 * 1024
            return {'type': 'http.request', 'body': chunk, 'more_body': not body_ended}

        async def run() -> None:
            try:
                await app(_scope(request), receive, sent.put)
                await sent.put({'type': 'skep.end'})
            except Exception as error:
                await sent.put({'type': 'skep.error', 'error': error})

        task = asyncio.ensure_future(run())
        try:
            start = await _next(sent)
            if start['type'] != 'http.response.start':
                raise Fault('ANSWER_INVALID', 'The ASGI application ended without an answer.')
            headers: list[str] = []
            for name, value in start.get('headers') or ():
                add_header(headers, bytes(name).decode('latin-1'), bytes(value).decode('latin-1'))
            first = await _next(sent)
        except BaseException:
            task.cancel()
            raise
        if first['type'] != 'http.response.body' or not first.get('more_body'):
            return Answer(start['status'], headers, bytes(first.get('body', b'')))
        return Answer(start['status'], headers, _body(sent, bytes(first.get('body', b'')), task))

    return call


async def _next(sent) -> dict:
    message = await sent.get()
    if message['type'] == 'skep.error':
        raise message['error']
    return message


async def _body(sent, first: bytes, task):
    try:
        yield first
        while True:
            message = await _next(sent)
            if message['type'] != 'http.response.body':
                return
            yield bytes(message.get('body', b''))
            if not message.get('more_body'):
                return
    finally:
        if not task.done() and sys.exc_info()[0] is not None:
            task.cancel()


def _scope(request: Request) -> dict:
    raw = request.raw_headers
    headers = [(raw[index].encode('latin-1', 'replace'), raw[index + 1].encode('latin-1', 'replace')) for index in range(0, len(raw) - 1, 2)]
    if not request.method:
        headers.append((b'content-type', request.event_type.encode()))
    host, _, port = request.headers.get('host', 'localhost').partition(':')
    return {
        'type': 'http',
        'asgi': {'version': '3.0', 'spec_version': '2.3'},
        'http_version': '1.1',
        'method': request.method or 'POST',
        'scheme': request.headers.get('x-forwarded-proto', 'http'),
        'path': unquote(request.path),
        'raw_path': request.path.encode(),
        'query_string': request.query.encode(),
        'root_path': '',
        'headers': headers,
        'client': (request.headers.get('x-forwarded-for', ''), 0),
        'server': (host, int(port) if port.isdigit() else 80),
    }


class _Lifespan:
    """Tells the application once that it starts. One that does not know the protocol raises, and is left alone."""

    def __init__(self, app: Callable) -> None:
        self._app = app
        self._ready = None
        self._task = None

    async def started(self) -> None:
        import asyncio
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.ensure_future(self._run())
        failure = await asyncio.shield(self._ready)
        if failure is not None:
            raise Fault('INIT_FAILED', f'The ASGI application failed at its start: {failure}')

    async def _run(self) -> None:
        import asyncio

        async def send(message: dict) -> None:
            if not self._ready.done():
                self._ready.set_result(message.get('message', 'no reason given') if message['type'] == 'lifespan.startup.failed' else None)

        first = [{'type': 'lifespan.startup'}]

        async def receive() -> dict:
            if first:
                return first.pop()
            await asyncio.Event().wait()
            return {'type': 'lifespan.shutdown'}

        try:
            await self._app({'type': 'lifespan', 'asgi': {'version': '3.0', 'spec_version': '2.0'}, 'state': {}}, receive, send)
        except Exception:
            pass
        if not self._ready.done():
            self._ready.set_result(None)

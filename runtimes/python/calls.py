"""
Calls of a function to other functions: streams that are opened from here, with odd numbers.

Invariants:
  C1. A call is forgotten once it is answered completely, failed, or given up; giving up tells the platform (reset).
"""
from __future__ import annotations

import json
import time

from . import frames
from .answer import dump_json
from .bodies import BodyReader, BodyWriter
from .channel import empty_frame
from .faults import Cancelled
from .frames import DATA, END, HEAD, INLINE_BYTES_MAX, OPEN, RESET, encode_frame, encode_head_frame
from .logs import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from .invocation import Invocation
    from .runtime import Runtime


class CallFailed(Exception):
    """Turned into skep.SkepError by the SDK."""

    def __init__(self, code: str, message: str, status: int = 0, body: object = None, stack: Optional[str] = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.body = body
        self.stack = stack


class Call:
    """One call. Made by `begin`; `result` waits for its answer."""

    def __init__(self, runtime: Runtime, name: str, parent: Optional[Invocation], on_end: Optional[Callable[[], None]]) -> None:
        self.runtime = runtime
        self.name = name
        self.parent = parent
        self.status = 0
        self.headers: list = []
        self.stream = runtime.add_call(self)
        self.reader = BodyReader(runtime, self.stream, b'', False)
        self.writer = BodyWriter(runtime, self.stream)
        # For a caller that does not wait on a thread: called once, when the answer is here or the call has failed.
        self._on_end = on_end
        self._parts: list[bytes] = []

    def send(self, head: dict, body: bytes, deadline_s: Optional[float]) -> None:
        """Opens the stream and sends the body. Blocks while a large one waits for credit."""
        channel = self.runtime.channel
        if len(body) <= INLINE_BYTES_MAX:
            return channel.post(encode_head_frame(OPEN, END, self.stream, head, body))
        view = memoryview(body)
        channel.post(encode_head_frame(OPEN, 0, self.stream, head, view[:INLINE_BYTES_MAX]))
        try:
            self.writer.write(view[INLINE_BYTES_MAX:], deadline_s)
            channel.post(encode_frame(DATA, END, self.stream))
        except TimeoutError:
            raise self.give_up('FUNCTION_TIMEOUT', f'{self.name} did not take its payload in time.') from None
        except CallFailed:
            pass  # It has answered or failed before it read everything: `result` says so.

    def result(self, deadline_s: Optional[float]) -> object:
        """Waits. Raises CallFailed, Cancelled."""
        try:
            return self.parse(self.reader.read_all(deadline_s))
        except TimeoutError:
            raise self.give_up('FUNCTION_TIMEOUT', f'{self.name} did not answer in time.') from None

    def collected(self) -> object:
        """The result after `on_end`. Raises CallFailed, Cancelled."""
        self._collect()
        return self.parse(b''.join(self._parts))

    def parse(self, body: bytes) -> object:
        kind = ''
        for index in range(0, len(self.headers) - 1, 2):
            if self.headers[index] == 'content-type':
                kind = self.headers[index + 1].partition(';')[0].strip().lower()
        value: object = body
        if kind == 'application/json' or kind.endswith('+json'):
            try:
                value = json.loads(body.decode()) if body else None
            except ValueError as error:
                raise CallFailed('ANSWER_INVALID', f'{self.name} answered with JSON that cannot be read: {error}.') from None
        elif kind.startswith('text/'):
            value = body.decode('utf-8', 'replace')
        elif not body:
            value = None
        if self.status < 400:
            return value
        error = value.get('error', value) if isinstance(value, dict) else value
        if isinstance(error, dict) and isinstance(error.get('code'), str) and isinstance(error.get('message'), str):
            raise CallFailed(error['code'], error['message'], self.status, value, error.get('stack'))
        raise CallFailed('FUNCTION_THREW', f'{self.name} answered with status {self.status}: {str(error)[:500]}', self.status, value)

    def receive(self, type: int, flags: int, payload: bytes) -> None:
        """A frame of the platform, on the reading thread."""
        ended = flags & END != 0
        if type == HEAD:
            head, first = frames.split_head(payload)
            self.status = head.get('s', 0)
            self.headers = head.get('h') or []
            self.reader.begin(first, ended)
        elif type == DATA:
            self.reader.push(payload, ended)
        elif type == RESET:
            ended = True
            body = frames.decode_object(payload) if payload else {}
            failed = CallFailed(body.get('code', 'CANCELLED'), body.get('message', f'The call of {self.name} was cancelled.'), 0, None, body.get('stack'))
            self.reader.fail(failed)
        else:
            return self.writer.add_credit(frames.decode_u32(payload))
        if ended:
            self.runtime.calls.pop(self.stream, None)
            self.writer.fail(CallFailed('CANCELLED', 'The call has ended.'))
        if self._on_end is not None:
            self._tell(ended)

    def cancel(self) -> None:
        """The calling invocation is no longer wanted."""
        self.give_up('CANCELLED', '')
        self.reader.fail(Cancelled())
        self.writer.fail(Cancelled())
        if self._on_end is not None:
            self._tell(True)

    def give_up(self, code: str, message: str) -> CallFailed:
        """Tells the platform that the answer is no longer wanted (C1)."""
        if self.runtime.calls.pop(self.stream, None) is not None:
            self.runtime.channel.post(empty_frame(RESET, 0, self.stream))
        return CallFailed(code, message)

    def _collect(self) -> None:
        while True:
            chunk = self.reader.try_read(None)
            if not chunk:
                return
            self._parts.append(chunk)

    def _tell(self, ended: bool) -> None:
        if not ended:
            return self._collect()
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()


def begin(
    runtime: Runtime,
    name: str,
    payload: object,
    timeout_s: Optional[float],
    asynchronous: bool,
    on_end: Optional[Callable[[], None]] = None,
) -> tuple[Call, Optional[float]]:
    """Starts a call; returns it with its deadline (monotonic). Raises CallFailed, Fault (a payload that is no JSON), Cancelled."""
    if not isinstance(name, str) or not name:
        raise CallFailed('NAME_INVALID', f'A function is called by its name, not by {name!r}.')
    parent = current.get() or runtime.only_invocation()
    if parent is not None and parent.cancelled:
        raise Cancelled()
    head: dict = {'k': 'event', 'f': name}
    deadline_s = None
    if isinstance(payload, (bytes, bytearray, memoryview)):
        body = bytes(payload)
        head.update(k='http', m='POST', u='/', h=['content-type', 'application/octet-stream'])
    else:
        body = dump_json(payload)
    if parent is not None:
        head['c'] = parent.stream
        if parent.head.get('t'):
            head['t'] = parent.head['t']
        if parent.head.get('d') is not None:
            head['d'] = parent.head['d']
    if timeout_s is not None:
        deadline_s = time.monotonic() + timeout_s
        head['d'] = min(head.get('d', float('inf')), int((time.time() + timeout_s) * 1000))
    if asynchronous:
        # Its deadline begins when it runs: the caller's does not bind it.
        head.pop('d', None)
        head['a'] = True
    call = Call(runtime, name, parent, on_end)
    call.send(head, body, deadline_s)
    return call, deadline_s

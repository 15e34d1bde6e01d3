"""
Calls of a function to other functions, and to the platform for objects (objects.py): streams that are opened from here, with odd numbers.

A large body is passed as memory where that can be (passing.py), and goes as data frames otherwise; so do answers.

Invariants:
  C1. A call is forgotten once it is answered completely, failed, or given up; giving up tells the platform (reset).
"""
from __future__ import annotations

import json
import time
from collections import deque

from . import frames
from .answer import dump_json
from .bodies import BodyReader, BodyWriter, Outgoing, flat
from .channel import empty_frame
from .faults import Cancelled, Fault
from .frames import DATA, END, HEAD, INLINE_BYTES_MAX, OPEN, RESET, encode_frame, encode_head_frame
from .logs import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Optional

    from .invocation import Invocation
    from .runtime import Runtime


class CallFailed(Exception):
    """Turned into skep.SkepError by the SDK."""

    def __init__(self, code: str, message: str, status: int = 0, body: object = None, stack: Optional[str] = None, details: Optional[dict] = None) -> None:
        super().__init__(message)
        self.details = details
        self.code = code
        self.message = message
        self.status = status
        self.body = body
        self.stack = stack


class Call:
    """One call. `send` or `send_chunks`, then `result`."""

    def __init__(self, runtime: Runtime, name: str, head: dict, parent: Optional[Invocation]) -> None:
        self.runtime = runtime
        self.name = name
        self.head = head
        self.parent = parent
        self.status = 0
        self.headers: list = []
        self.stream = runtime.add_call(self)
        self.reader = BodyReader(runtime, self.stream, b'', False)
        self.writer = BodyWriter(runtime, self.stream)
        self._opened = False
        self._given_up = False

    def send(self, body: Outgoing, deadline_s: Optional[float]) -> None:
        """Opens the stream and sends the body. Blocks while a large one waits for credit."""
        if not self.send_at_once(body):
            self.send_chunks((body.view,), deadline_s)

    def send_at_once(self, body: Outgoing) -> bool:
        """In one frame, or as memory. False when it is too large for the one and cannot be the other: nothing was sent."""
        if len(body.view) <= INLINE_BYTES_MAX:
            self._opened = True
            self.runtime.channel.post(encode_head_frame(OPEN, END, self.stream, self.head, body.view))
        else:
            passing = self.runtime.passing
            if passing is None or not passing.post(body, self._passed_open):
                return False
        self._confirm_open()
        return True

    def _passed_open(self, passed: dict) -> bytes:
        self._opened = True
        return encode_head_frame(OPEN, END, self.stream, {**self.head, 'p': passed})

    def send_chunks(self, chunks: Iterable, deadline_s: Optional[float] = None) -> None:
        """Opens the stream and sends what the iterable yields, bytes or memoryviews, as data frames. What it raises is raised here."""
        self.begin_chunks()
        try:
            for chunk in chunks:
                if not self._write(chunk, deadline_s):
                    return
        except BaseException:
            self.give_up('CANCELLED', '')
            raise
        self.end_chunks()

    def begin_chunks(self) -> None:
        self._opened = True
        self.runtime.channel.post(encode_head_frame(OPEN, 0, self.stream, self.head))
        self._confirm_open()

    def end_chunks(self) -> None:
        self.runtime.channel.post(encode_frame(DATA, END, self.stream))

    def _write(self, chunk: bytes | memoryview, deadline_s: Optional[float]) -> bool:
        """False when it has been answered or has failed before it read everything: `result` says so."""
        try:
            self.writer.write(chunk, deadline_s)
            return True
        except CallFailed:
            return False
        except TimeoutError:
            raise self.give_up('FUNCTION_TIMEOUT', f'{self.name} did not take its payload in time.') from None

    def result(self, deadline_s: Optional[float] = None) -> object:
        """Waits. Raises CallFailed, Cancelled."""
        try:
            return self.parse(self.reader.read_all(deadline_s))
        except TimeoutError:
            raise self.give_up('FUNCTION_TIMEOUT', f'{self.name} did not answer in time.') from None

    def parse(self, body: bytes | memoryview) -> object:
        kind = ''
        for index in range(0, len(self.headers) - 1, 2):
            if self.headers[index] == 'content-type':
                kind = self.headers[index + 1].partition(';')[0].strip().lower()
        value: object = body
        if kind == 'application/json' or kind.endswith('+json'):
            try:
                value = json.loads(str(body, 'utf-8')) if body else None
            except ValueError as error:
                raise CallFailed('ANSWER_INVALID', f'{self.name} answered with JSON that cannot be read: {error}.') from None
        elif kind.startswith('text/'):
            value = str(body, 'utf-8', 'replace')
        elif not body:
            value = None
        if self.status < 400:
            return value
        error = value.get('error', value) if isinstance(value, dict) else value
        if isinstance(error, dict) and isinstance(error.get('code'), str) and isinstance(error.get('message'), str):
            raise CallFailed(error['code'], error['message'], self.status, value, error.get('stack'), error.get('details'))
        raise CallFailed('FUNCTION_THREW', f'{self.name} answered with status {self.status}: {str(error)[:500]}', self.status, value)

    def receive(self, type: int, flags: int, payload: bytes) -> None:
        """A frame of the platform, on the reading thread."""
        ended = flags & END != 0
        if type == HEAD:
            head, first = frames.split_head(payload)
            self.status = head.get('s', 0)
            self.headers = head.get('h') or []
            try:
                self.reader.begin(self.runtime.body_of(head, first, ended), ended)
            except Fault as fault:
                self.reader.fail(CallFailed(fault.code, fault.message))
        elif type == DATA:
            self.reader.push(payload, ended)
        elif type == RESET:
            ended = True
            body = frames.decode_object(payload) if payload else {}
            failed = CallFailed(body.get('code', 'CANCELLED'), body.get('message', f'The call of {self.name} was cancelled.'), 0, None, body.get('stack'), body.get('details'))
            self.reader.fail(failed)
        else:
            return self.writer.add_credit(frames.decode_u32(payload))
        if ended:
            self.runtime.calls.pop(self.stream, None)
            self.writer.fail(CallFailed('CANCELLED', 'The call has ended.'))

    def cancel(self) -> None:
        """The calling invocation is no longer wanted."""
        self.give_up('CANCELLED', '')
        self.reader.fail(Cancelled())
        self.writer.fail(Cancelled())

    def give_up(self, code: str, message: str) -> CallFailed:
        """Tells the platform that the answer is no longer wanted (C1)."""
        if self.runtime.calls.pop(self.stream, None) is not None:
            self._given_up = True
            if self._opened:
                self.runtime.channel.post(empty_frame(RESET, 0, self.stream))
        return CallFailed(code, message)

    def _confirm_open(self) -> None:
        # Another thread may have given it up while it was being opened: that reset came before the stream, or not at all.
        if self._given_up:
            self.runtime.channel.post(empty_frame(RESET, 0, self.stream))


def new_call(runtime: Runtime, name: str, head: dict, timeout_s: Optional[float] = None) -> Call:
    """A call that is still to be sent, on behalf of the present invocation. Raises Cancelled."""
    parent = current.get() or runtime.only_invocation()
    if parent is not None:
        if parent.cancelled:
            raise Cancelled()
        head['c'] = parent.stream
        if parent.head.get('t'):
            head['t'] = parent.head['t']
        if parent.head.get('d') is not None:
            head['d'] = parent.head['d']
    if timeout_s is not None:
        head['d'] = min(head.get('d', float('inf')), int((time.time() + timeout_s) * 1000))
    if head.get('a'):
        # Its deadline begins when it runs: the caller's does not bind it.
        head.pop('d', None)
    return Call(runtime, name, head, parent)


def event_head(name: str, payload: object, asynchronous: bool = False, color: Optional[str] = None) -> tuple[dict, Outgoing]:
    """Of a call with this payload: bytes as they are, anything else as JSON. Raises CallFailed, Fault (a payload that is no JSON)."""
    if not isinstance(name, str) or not name:
        raise CallFailed('NAME_INVALID', f'A function is called by its name, not by {name!r}.')
    head: dict = {'k': 'event', 'f': name}
    if asynchronous:
        head['a'] = True
    if color is not None:
        if not isinstance(color, str):
            raise CallFailed('INPUT_INVALID', f'A colour is a text, not {color!r}.')
        head['l'] = color
    data = flat(payload)
    if data is not None:
        head['b'] = True
    return head, Outgoing(dump_json(payload) if data is None else data)


def invoke(runtime: Runtime, name: str, payload: object, timeout_s: Optional[float], asynchronous: bool = False, color: Optional[str] = None) -> object:
    """Calls and waits. Raises CallFailed, Fault, Cancelled."""
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    head, body = event_head(name, payload, asynchronous, color)
    call = new_call(runtime, name, head, timeout_s)
    try:
        call.send(body, deadline_s)
    finally:
        body.close()
    return call.result(deadline_s)


def invoke_all(runtime: Runtime, name: str, payloads: Iterable, timeout_s: Optional[float], keep_errors: bool, concurrency: int, color: Optional[str] = None) -> list:
    """Calls once per payload, so many at a time. One that stands several times in a row in a list is sealed, or copied, once. Raises as `invoke`."""
    if type(concurrency) is not int or concurrency < 1:
        raise CallFailed('INPUT_INVALID', f'Calls run a number at a time from 1, not {concurrency!r}.')
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    # What a generator gives twice may have been changed in between.
    is_still = isinstance(payloads, (list, tuple))
    open_calls: deque[Call] = deque()
    results: list = []
    previous: object = None
    body: Optional[Outgoing] = None
    try:
        for payload in payloads:
            if len(open_calls) == concurrency:
                results.append(_result_of(open_calls, deadline_s, keep_errors))
            if body is None or payload is not previous:
                if body is not None:
                    body.close()
                head, body = event_head(name, payload, False, color)
                previous = payload
            open_calls.append(new_call(runtime, name, dict(head), None if deadline_s is None else max(0.0, deadline_s - time.monotonic())))
            open_calls[-1].send(body, deadline_s)
            if not is_still:
                body.close()
                body = None
        while open_calls:
            results.append(_result_of(open_calls, deadline_s, keep_errors))
        return results
    finally:
        for call in open_calls:
            call.give_up('CANCELLED', '')
        if body is not None:
            body.close()


def _result_of(open_calls: deque[Call], deadline_s: Optional[float], keep_errors: bool) -> object:
    call = open_calls.popleft()
    try:
        return call.result(deadline_s)
    except CallFailed as error:
        if not keep_errors:
            raise
        return error

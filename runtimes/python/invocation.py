"""
One invocation inside the runtime: what was asked, the bytes that come in, the answer that goes out.

                       data frames                       ┌─ head (END)                    small answers
  open ──▶ collecting ────────────▶ ready ──▶ running ───┼─ head, data …, data (END)      larger and streamed ones
                └──────────── reset ──────────────┴──────┴─ reset                         failures and cancellations

Invariants:
  V1. It ends exactly once (`has_ended`): by END on head or data, or by a reset.
  V2. Once the platform has reset it, nothing but the confirming reset is sent, when the handler has ended (F4).
"""
from __future__ import annotations

import resource
import time

from .bodies import BodyReader, BodyWriter, Outgoing
from .channel import empty_frame
from .faults import Cancelled, Fault
from .frames import DATA, END, HEAD, INLINE_BYTES_MAX, RESET, WAITING, encode_head_frame, encode_json_frame, encode_usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .runtime import Runtime


class Invocation:
    """A stream that the platform opened."""

    __slots__ = ('runtime', 'stream', 'head', 'reader', 'writer', 'body', 'parts', 'cancelled', 'waiting_sent', 'cpu_started', 'cpu_used',
                 'task', 'context', 'request', 'head_sent', 'has_ended')

    def __init__(self, runtime: Runtime, stream: int, head: dict, first: bytes | memoryview, ended: bool) -> None:
        self.runtime = runtime
        self.stream = stream
        self.head = head
        self.reader = BodyReader(runtime, stream, first, ended)
        self.writer = BodyWriter(runtime, stream)
        # The whole request body once it has been collected.
        self.body: Optional[bytes | memoryview] = None
        self.parts: list[bytes | memoryview] = []
        self.cancelled = False
        self.waiting_sent = False
        self.cpu_started = 0.0
        # CPU seconds of an async handler, which shares its thread with others; None for one that has a thread.
        self.cpu_used: Optional[float] = None
        # The asyncio task of an async handler.
        self.task = None
        self.context: Optional[Context] = None
        self.request = None
        self.head_sent = False
        self.has_ended = False

    @property
    def is_http(self) -> bool:
        return self.head.get('k') != 'event'

    @property
    def is_binary(self) -> bool:
        """An event whose body is bytes."""
        return self.head.get('b') is True and not self.is_http

    def header(self, name: str) -> str:
        """The first header of this (lower-case) name, or ''."""
        headers = self.head.get('h') or ()
        for index in range(0, len(headers) - 1, 2):
            if headers[index] == name:
                return headers[index + 1]
        return ''

    def collect(self) -> bool:
        """Takes the body bytes that are here, giving credit for more. True when the body is complete."""
        while True:
            chunk = self.reader.try_read(None)
            if chunk is None:
                return False
            if not chunk:
                self.body = self.parts[0] if len(self.parts) == 1 else b''.join(self.parts)
                self.parts = []
                return True
            self.parts.append(chunk)

    def say_waiting(self) -> None:
        """Tells the platform, once, that this invocation waits and does not compute."""
        if self.waiting_sent or self.has_ended or self.cancelled:
            return
        self.waiting_sent = True
        self.runtime.channel.post(empty_frame(WAITING, 0, self.stream))

    def send_head(self, status: int, headers: list, body: bytes | memoryview, ended: bool) -> None:
        """Begins the answer, and ends it when it is complete. Raises Cancelled."""
        if self.cancelled:
            raise Cancelled()
        self.head_sent = True
        frame = encode_head_frame(HEAD, END if ended else 0, self.stream, {'s': status, 'h': headers}, body)
        if ended:
            self._end(frame)
        else:
            self.runtime.channel.post(frame)

    def send_whole(self, status: int, headers: list, body: bytes | memoryview) -> None:
        """A complete answer. Blocks while a large one waits for credit. Raises Cancelled."""
        outgoing = Outgoing(body)
        try:
            if not self.send_at_once(status, headers, outgoing):
                self.send_head(status, headers, outgoing.view[:INLINE_BYTES_MAX], False)
                self.writer.write(outgoing.view[INLINE_BYTES_MAX:])
                self.send_end()
        finally:
            outgoing.close()

    def send_at_once(self, status: int, headers: list, body: Outgoing) -> bool:
        """A complete answer in one frame, or as memory; False when it can be neither: nothing was sent. Raises Cancelled."""
        if len(body.view) <= INLINE_BYTES_MAX:
            self.send_head(status, headers, body.view, True)
            return True
        if self.cancelled:
            raise Cancelled()
        passing = self.runtime.passing
        if passing is None or passing.seal(body) is None:
            return False
        self.runtime.end_prints(self.stream)
        # Nothing of this invocation may follow its last frame; should that not leave, it goes on.
        self.has_ended = True
        try:
            self.has_ended = passing.post(body, lambda passed: self._with_usage(encode_head_frame(HEAD, END, self.stream, {'s': status, 'h': headers, 'p': passed})))
        except BaseException:
            self.has_ended = False
            raise
        if self.has_ended:
            self._forget()
        return self.has_ended

    def send_end(self) -> None:
        """After the last data. Raises Cancelled."""
        if self.cancelled:
            raise Cancelled()
        self._end(empty_frame(DATA, END, self.stream))

    def fail(self, fault: Fault) -> None:
        """Ends with an error, before or after the head; a cancelled one is let go."""
        if not self.has_ended:
            self._end(empty_frame(RESET, 0, self.stream) if self.cancelled else encode_json_frame(RESET, self.stream, fault.to_body()))

    def let_go(self) -> None:
        """Confirms a cancellation (F4): the handler has ended."""
        if not self.has_ended:
            self._end(empty_frame(RESET, 0, self.stream))

    def cancel(self) -> None:
        """The platform has reset the stream: whatever waits in the runtime is let go."""
        self.cancelled = True
        self.reader.fail(Cancelled())
        self.writer.fail(Cancelled())

    def _end(self, frame: bytes) -> None:
        self.has_ended = True
        self.runtime.end_prints(self.stream)
        self.runtime.channel.post(self._with_usage(frame))
        self._forget()

    def _with_usage(self, frame: bytes) -> bytes:
        if self.cpu_used is not None or self.cpu_started > 0:
            cpu_s = time.thread_time() - self.cpu_started if self.cpu_used is None else self.cpu_used
            peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            frame = encode_usage(self.stream, int(cpu_s * 1e6), peak_kb) + frame
        return frame

    def _forget(self) -> None:
        self.runtime.forget(self.stream)
        # Context and request refer to this: without a cut, memory that was passed would stay until the next collection of cycles.
        self.body = self.context = self.request = None


class Context:
    """What a handler is told about its invocation: `skep.context()`, and the second argument of a Lambda handler."""

    def __init__(self, invocation: Invocation) -> None:
        init = invocation.runtime.init
        head = invocation.head
        self._invocation = invocation
        self.invocation_id: str = head.get('i', '')
        self.namespace: str = init.get('namespace', '')
        self.function_name: str = init.get('function', '')
        self.function_version: str = str(init.get('revision', ''))
        self.instance: str = init.get('instance', '')
        self.memory_limit_in_mb: int = init.get('memoryMb', 0)
        self.attempt: int = head.get('n', 1)
        self.traceparent: str = head.get('t', '')
        # Epoch ms; None when there is no limit.
        self.deadline_ms: Optional[float] = head.get('d')
        # As AWS Lambda names them.
        self.aws_request_id = self.invocation_id
        self.invoked_function_arn = f'skep:{self.namespace}:{self.function_name}:{self.function_version}'
        self.log_group_name = f'/skep/{self.namespace}/{self.function_name}'
        self.log_stream_name = self.instance
        self.identity = None
        self.client_context = None

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more: a long computation looks at it now and then, and returns."""
        return self._invocation.cancelled

    def remaining_ms(self) -> float:
        """ms until the invocation's deadline, never negative; `math.inf` without one."""
        return float('inf') if self.deadline_ms is None else max(0.0, self.deadline_ms - time.time() * 1000)

    def get_remaining_time_in_millis(self) -> int:
        """The same as AWS Lambda says it: a whole number, also without a deadline."""
        return 2**31 - 1 if self.deadline_ms is None else int(self.remaining_ms())

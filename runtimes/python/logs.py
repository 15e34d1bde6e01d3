"""
What a function prints or logs, line by line, each with the stream of the invocation that did it.

The invocation is found through a context variable: threads of the pool and tasks of the event loop each see their own;
a thread that the function started by itself has none, and its lines belong to the instance (stream 0).
"""
from __future__ import annotations

import contextvars
import io
import sys
import threading

from .frames import LEVEL_DEBUG, LEVEL_ERROR, LEVEL_INFO, LEVEL_STDERR, LEVEL_STDOUT, LEVEL_WARN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .channel import Channel
    from .invocation import Invocation

# A line without an end is cut here, so that a function that never ends one cannot fill the memory.
LINE_CHARACTERS_MAX = 16 * 1024

current: contextvars.ContextVar[Optional[Invocation]] = contextvars.ContextVar('skep_invocation', default=None)


class LogWriter(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr: cuts text into lines and posts them."""

    def __init__(self, channel: Channel, level: int, fd: int) -> None:
        self._channel = channel
        self._level = level
        self._fd = fd
        self._lock = threading.RLock()
        # Text after the last line end, by stream.
        self._rests: dict[int, str] = {}
        self._bytes: Optional[_ByteWriter] = None

    encoding = 'utf-8'
    errors = 'backslashreplace'

    @property
    def buffer(self) -> _ByteWriter:
        if self._bytes is None:
            self._bytes = _ByteWriter(self)
        return self._bytes

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f'write() argument must be str, not {type(text).__name__}')
        invocation = current.get()
        stream = 0 if invocation is None else invocation.stream
        with self._lock:
            if '\n' not in text:
                rest = self._rests.get(stream, '') + text
                if len(rest) < LINE_CHARACTERS_MAX:
                    if rest:
                        self._rests[stream] = rest
                    return len(text)
                self._rests.pop(stream, None)
                lines = [rest]
            else:
                lines = text.split('\n')
                lines[0] = self._rests.pop(stream, '') + lines[0]
                last = lines.pop()
                if last:
                    self._rests[stream] = last
        for line in lines:
            for start in range(0, len(line) or 1, LINE_CHARACTERS_MAX):
                self._channel.post_log(stream, self._level, line[start:start + LINE_CHARACTERS_MAX])
        return len(text)

    def end_stream(self, stream: int) -> None:
        """Posts what an invocation printed without a line end."""
        if self._rests:
            with self._lock:
                rest = self._rests.pop(stream, None)
            if rest:
                self._channel.post_log(stream, self._level, rest)

    def end_all(self) -> None:
        for stream in list(self._rests):
            self.end_stream(stream)

    def flush(self) -> None:
        """Nothing to do: a line is under way as soon as it is complete."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Stays open: some programs close sys.stdout, and the next invocation still wants to print."""


class _ByteWriter(io.BufferedIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, text: LogWriter) -> None:
        self._text = text

    def write(self, data) -> int:
        data = bytes(data)
        self._text.write(data.decode('utf-8', 'backslashreplace'))
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def close(self) -> None:
        """As LogWriter.close."""


def replace_standard_streams(channel: Channel) -> tuple[LogWriter, LogWriter]:
    out = LogWriter(channel, LEVEL_STDOUT, 1)
    err = LogWriter(channel, LEVEL_STDERR, 2)
    sys.stdout = out
    sys.stderr = err
    return out, err


def set_up_logging(channel: Channel) -> None:
    """Gives the root logger a handler at level INFO. A later `logging.basicConfig(level=…, format=…)` still has its effect."""
    import logging

    class FrameHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                invocation = current.get()
                level = (
                    LEVEL_ERROR if record.levelno >= 40 else
                    LEVEL_WARN if record.levelno >= 30 else
                    LEVEL_INFO if record.levelno >= 20 else
                    LEVEL_DEBUG
                )
                channel.post_log(0 if invocation is None else invocation.stream, level, self.format(record))
            except Exception:
                self.handleError(record)

    handler = FrameHandler()
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    original = logging.basicConfig

    def basic_config(**options) -> None:
        # The original does nothing when a handler is there already, and the level that the function asks for would be lost.
        own_output = {'force', 'handlers', 'filename', 'stream'} & options.keys()
        if own_output or root.handlers != [handler]:
            if {'handlers', 'filename', 'stream'} & options.keys():
                root.removeHandler(handler)
            original(**options)
            return
        if options.get('level') is not None:
            root.setLevel(options['level'])
        if options.get('format') is not None:
            handler.setFormatter(logging.Formatter(options['format'], options.get('datefmt'), options.get('style', '%')))

    logging.basicConfig = basic_config

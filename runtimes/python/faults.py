"""
What went wrong in a function, as the platform's errors (src/contract/errors.ts): code, message, the function's own stack.

The stack shows the function's frames and those of the libraries it uses, never the runtime's.
"""
from __future__ import annotations

import os

MESSAGE_CHARACTERS_MAX = 4_000
STACK_CHARACTERS_MAX = 32_000

_RUNTIME_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Fault(Exception):
    """An error with a code of the platform's table."""

    def __init__(self, code: str, message: str, stack: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.stack = stack

    def to_body(self) -> dict:
        """As JSON on a frame (PlatformErrorBody)."""
        body = {'code': self.code, 'message': self.message[:MESSAGE_CHARACTERS_MAX]}
        if self.stack:
            body['stack'] = self.stack[:STACK_CHARACTERS_MAX]
        return body


class Cancelled(BaseException):
    """The invocation is no longer wanted: unwinds a handler that waits in the runtime. Not an Exception, so that a broad `except` does not hold it up."""


def threw(error: BaseException) -> Fault:
    """What a handler raised."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, SystemExit):
        return Fault('FUNCTION_THREW', f'The function called sys.exit({_exit_code(error)}); return an answer instead.', user_stack(error))
    return Fault('FUNCTION_THREW', describe(error), user_stack(error))


def init_failed(error: BaseException) -> Fault:
    """What loading the code raised."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, SyntaxError):
        place = f'{_shorten(error.filename or "?")}:{error.lineno or 0}'
        line = (error.text or '').rstrip('\n')
        pointer = f'\n    {line}\n    {" " * ((error.offset or 1) - 1)}^' if line else ''
        return Fault('CODE_INVALID', f'{place}: {type(error).__name__}: {error.msg}', f'{place}{pointer}')
    if isinstance(error, SystemExit):
        return Fault('INIT_FAILED', f'The code called sys.exit({_exit_code(error)}) while it was loaded; move that under `if __name__ == "__main__":`.', user_stack(error))
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f'; put the package into the function\'s code: pip install --target . {error.name.partition(".")[0]}'
        return Fault('INIT_FAILED', describe(error) + hint, user_stack(error))
    return Fault('INIT_FAILED', describe(error), user_stack(error))


def describe(error: BaseException) -> str:
    """`ValueError: what it says`."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # A __str__ of the function's own may fail in any way.
        text = ''
    return f'{name}: {text}'[:MESSAGE_CHARACTERS_MAX] if text else name


def user_stack(error: BaseException) -> str:
    """The traceback with its causes, without the frames of the runtime."""
    try:
        from traceback import TracebackException
        report = TracebackException.from_exception(error)
        _drop_runtime_frames(report, set())
        return ''.join(report.format()).rstrip()[-STACK_CHARACTERS_MAX:]
    except BaseException:
        return describe(error)


def _drop_runtime_frames(report, seen: set) -> None:
    if report is None or id(report) in seen:
        return
    seen.add(id(report))
    report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith((_RUNTIME_FOLDER, '<frozen '))]
    _drop_runtime_frames(report.__cause__, seen)
    _drop_runtime_frames(report.__context__, seen)
    for member in getattr(report, 'exceptions', None) or ():
        _drop_runtime_frames(member, seen)


def _exit_code(error: SystemExit) -> str:
    return '' if error.code is None else repr(error.code)[:200]


def _shorten(path: str) -> str:
    folder = os.getcwd().rstrip('/') + '/'
    return path[len(folder):] if path.startswith(folder) else path

"""
An error that the user's function raised, on its way back.

The exception itself is pickled and raised again, with the remote traceback as its cause (as multiprocessing does it). One that cannot be
pickled is a RemoteError with its name and text.
"""
from __future__ import annotations

import pickle
import traceback


class RemoteError(Exception):
    """`type_name`, `remote_traceback`, `invocation_id`: of what was raised in the cloud."""

    def __init__(self, type_name: str, message: str, remote_traceback: str, invocation_id: str | None = None) -> None:
        super().__init__(f'{type_name}: {message}')
        self.type_name = type_name
        self.remote_traceback = remote_traceback
        self.invocation_id = invocation_id


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in the cloud: where it was raised there."""

    def __init__(self, text: str, invocation_id: str | None) -> None:
        super().__init__(text)
        self.text = text
        self.invocation_id = invocation_id

    def __str__(self) -> str:
        return f'\nin the cloud, invocation {self.invocation_id}\n{self.text}'


def facts_of(error: BaseException) -> dict:
    """Of what was raised, as data. The frames of this package go."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if '/skep_map/' not in frame.filename.replace('\\', '/')]
    lines = traceback.format_exception_only(type(error), error)
    if frames:
        lines = ['Traceback (most recent call last):\n', *traceback.format_list(frames), *lines]
    try:
        pickled = pickle.dumps(error, protocol=4)
        pickle.loads(pickled)
    except Exception:  # whatever its __reduce__ does
        pickled = None
    return {'type': type(error).__name__, 'message': str(error), 'traceback': ''.join(lines).replace('"/app/', '"'), 'pickled': pickled}


def error_of(facts: dict, loads, invocation_id: str | None) -> BaseException:
    if facts['pickled'] is not None:
        try:
            error = loads(facts['pickled'])
            error.__cause__ = RemoteTraceback(facts['traceback'], invocation_id)
            return error
        except Exception:  # its class may not be here
            pass
    error = RemoteError(facts['type'], facts['message'], facts['traceback'], invocation_id)
    error.__cause__ = RemoteTraceback(facts['traceback'], invocation_id)
    return error

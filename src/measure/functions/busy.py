"""
Busy time: increments as the original spins them, and milliseconds that are really computed.

The same as busy.ts, but that Python can read the processor time of a thread, and so need not tell interruptions apart.
"""
import time

from work import number_of

PIECE_INCREMENTS = 500


def spin_increments(limit: float) -> None:
    for _ in range(int(limit)):
        pass


def spin_ms(ms: float, clock=time.thread_time) -> None:
    end = clock() + ms / 1000
    while clock() < end:
        spin_increments(PIECE_INCREMENTS)


def spin(fields: dict) -> None:
    """`ServiceTimeMs` when it is there, otherwise increments, in either spelling."""
    ms = number_of(fields, 'ServiceTimeMs')
    if ms > 0:
        spin_ms(ms)
    else:
        spin_increments(number_of(fields, 'IncrementLimit') or number_of(fields, 'incrementLimit'))

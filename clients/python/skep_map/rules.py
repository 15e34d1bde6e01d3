"""
The decisions: whether an attempt that failed is made again, and which tasks get a second copy. Pure.

Three kinds of failure: the platform refused before anything ran: asked again with patience, not counted. What ran was lost (its instance died,
perhaps by a neighbour on it; a connection broke): counted against `retries`. Anything else would fail again.

Stragglers (MapReduce section 3.6): near the end of a map, what has run for more than twice the median is likely on a bad instance.
"""
from __future__ import annotations

REFUSED = frozenset(('RATE_EXCEEDED', 'CONCURRENCY_EXCEEDED', 'MEMORY_EXCEEDED', 'QUEUE_FULL', 'QUEUE_TIMEOUT', 'OBJECT_QUOTA_EXCEEDED'))
LOST = frozenset((
    'INSTANCE_LOST', 'FUNCTION_EXITED', 'FUNCTION_OUT_OF_MEMORY', 'TRANSFER_BROKEN', 'PROTOCOL_BROKEN', 'RUNTIME_MISSING', 'START_FAILED', 'STOPPING',
    'STORE_FULL', 'STORE_FAILED', 'SNAPSHOT_DAMAGED', 'SNAPSHOT_MISMATCH', 'SERVER_UNREACHABLE', 'INTERNAL',
))

PATIENCE_S = 3600
FIRST_S = 0.05
LONGEST_S = 5

SHARE = 0.95
FACTOR = 2
# Copies of what takes less are not worth their cost.
LEAST_S = 0.02


def delay_after(code: str, before: int, retries: int, refused_s: float, random01: float) -> float | None:
    """Seconds until the next attempt; None: there is none. `before`: failures of the same kind; `refused_s`: since the first refusal."""
    delay = min(LONGEST_S, FIRST_S * 2 ** min(before, 16)) * (0.5 + random01 / 2)
    if code in REFUSED:
        return None if refused_s > PATIENCE_S else delay
    return delay if code in LOST and before < retries else None


def stragglers(running: list, done: list, total: int, now: float) -> tuple:
    """
    `running`: (start, whether it has a copy); `done`: how long each took; seconds.

    Returns the positions that get a copy, and when to ask again (None: only when something else has happened).
    """
    if not done or len(done) < SHARE * total:
        return [], None
    median = sorted(done)[(len(done) - 1) // 2]
    limit = max(LEAST_S, FACTOR * median)
    copy = [at for at, (start, copied) in enumerate(running) if not copied and now - start > limit]
    later = [start + limit + 0.001 for start, copied in running if not copied and now - start <= limit]
    return copy, min(later) if later else None

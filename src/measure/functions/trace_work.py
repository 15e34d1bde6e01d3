"""The function of a trace's invocation: computes for so long and has so much memory, both really. The same as trace-work.ts."""
import mmap
import time

from busy import spin_ms
from work import number_of

PAGE_BYTES = 4096


def work(fields: dict, links) -> dict:
    start = time.perf_counter()
    pages = -(-int(number_of(fields, 'memoryInMebiBytes') * 1024 * 1024) // PAGE_BYTES)
    memory = mmap.mmap(-1, pages * PAGE_BYTES) if pages > 0 else None
    if memory is not None:
        memory[::PAGE_BYTES] = b'\1' * pages
    ms = number_of(fields, 'runtimeInMilliSec') or number_of(fields, 'ServiceTimeMs')
    spin_ms(ms - (time.perf_counter() - start) * 1000)
    if memory is not None:
        memory.close()
    return {
        'RequestID': links.request_id,
        'TimestampChain': [str(time.time() * 1000)],
        'durationInMicroSec': round((time.perf_counter() - start) * 1e6),
        'memoryUsageInKb': pages * PAGE_BYTES // 1024,
    }

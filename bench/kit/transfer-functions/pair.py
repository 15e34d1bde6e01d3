"""Producer and consumer of the scenario `transfer-local` in Python: as pair.ts, with an object that was allocated, and with plain bytes."""
import struct
import time

import skep

LAST = 0x5A
stamps = 0


def main(event):
    if 'reference' in event:
        began = now()
        view = skep.get(event['reference'])
        stamp, last = struct.unpack_from('<d', view)[0], view[-1]
        read_at = now()
        return {'getMs': read_at - began, 'readAtMs': read_at, 'stamp': stamp, 'last': last}
    samples = {way: [] for way in event['ways']}
    for _ in range(event['times']):
        for way in event['ways']:
            samples[way].append(transfer(way, event['bytes']))
    return samples


def transfer(way, size):
    global stamps
    stamps += 1
    content = bytes([LAST]) * size
    view = skep.allocate(size) if way == 'allocated' else bytearray(size)
    view[:] = content
    struct.pack_into('<d', view, 0, stamps)
    began = now()
    reference = skep.put(view)
    put_ms = now() - began
    answer = skep.invoke('py-consumer', {'reference': reference})
    if answer['stamp'] != stamps or answer['last'] != LAST:
        raise ValueError(f'The consumer read {answer}, where {stamps} and {LAST} were put.')
    return {'putMs': put_ms, 'getMs': answer['getMs'], 'endToEndMs': answer['readAtMs'] - began}


def now():
    return time.monotonic_ns() / 1e6

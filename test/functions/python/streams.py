"""Bodies in pieces, both ways."""
import hashlib
import itertools

import skep

closed = []


def produce(count, size, fail_at=None):
    try:
        for number in range(count):
            if number == fail_at:
                raise RuntimeError('broke off')
            yield bytes([number % 256]) * size
    finally:
        closed.append(count)
        print('closed')


def endless():
    try:
        for number in itertools.count():
            yield f'data: {number}\n\n'
    finally:
        print('closed')


@skep.streaming
def main(params):
    what = params.get('what')
    if what == 'produce':
        return produce(int(params['count']), int(params['size']))
    if what == 'endless':
        return {'headers': {'content-type': 'text/event-stream'}, 'body': endless()}
    if what == 'fail-first':
        return produce(3, 10, 0)
    if what == 'fail-later':
        return produce(3, 10, 2)
    if what == 'first-line':
        return skep.request().stream.readline()
    if what == 'ignore':
        return 'not read'
    if what == 'upper':
        return (line.upper() for line in skep.request().stream)
    digest = hashlib.sha256()
    size = 0
    while True:
        chunk = skep.request().stream.read(50_000)
        if not chunk:
            return {'size': size, 'sha256': digest.hexdigest()}
        size += len(chunk)
        digest.update(chunk)

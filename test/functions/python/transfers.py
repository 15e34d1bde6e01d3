"""Makes, passes and checks bodies of any length, as test/functions/node/objects.ts does; bytes are passed on to NEXT, and its result back."""
import hashlib
import os
import zlib

import skep

# No two blocks at the same place of a chunk of 64 KB.
BLOCK = bytes(((index * 2_654_435_761) & 0xffffffff) >> 24 for index in range(65_521))
PIECE = BLOCK * 16


def fill(view):
    for at in range(0, len(view), len(PIECE)):
        part = view[at:at + len(PIECE)]
        part[:] = PIECE[:len(part)]
    return view


def chunks(size):
    for at in range(0, size, len(PIECE)):
        yield PIECE[:min(len(PIECE), size - at)]


def crc(stream):
    size = checksum = 0
    for chunk in stream:
        size += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
    return {'bytes': size, 'crc': checksum}


def made(size, how):
    if how == 'stream':
        return chunks(size)
    if how == 'allocated':
        return fill(skep.allocate(size))
    return bytes(fill(memoryview(bytearray(size))))


def put(params):
    return {'reference': skep.put(made(params['bytes'], params['how']), retrievals=params.get('retrievals', 1))}


def get(params):
    view = skep.get(params['reference'])
    answer = {'bytes': len(view), 'sum': hashlib.sha256(view).hexdigest()}
    view[:] = b'\7' * len(view)
    return answer


def stream(params):
    digest = hashlib.sha256()
    size = 0
    with skep.get_stream(params['reference']) as source:
        for chunk in source:
            digest.update(chunk)
            size += len(chunk)
    return {'bytes': size, 'sum': digest.hexdigest()}


def pass_on(params):
    seen = {}

    def passed():
        size = checksum = 0
        with skep.get_stream(params['reference']) as source:
            for chunk in source:
                size += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
                yield chunk
        seen.update(bytes=size, crc=checksum)

    return {'reference': skep.put(passed()), **seen}


def check(params):
    with skep.get_stream(params['reference']) as source:
        return crc(source)


def chain(params):
    view = made(params['bytes'], params['how'])
    given = zlib.crc32(view)
    result = skep.invoke(params['name'], view)
    return {'given': given, 'bytes': len(result), 'got': zlib.crc32(result)}


def main(params):
    if not isinstance(params, dict):
        name = os.environ.get('NEXT')
        return params if name is None else skep.invoke(name, params)
    return {'put': put, 'get': get, 'stream': stream, 'passOn': pass_on, 'crc': check, 'chain': chain}[params['do']](params)

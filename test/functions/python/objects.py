"""Puts, gets, and is sent bytes, in every way."""
import gc
import hashlib
import mmap
import os
import re
import threading

import skep

# What is let go must go without it.
gc.disable()

kept = []


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def place(view):
    """The inode of the memory in which a view lies, as /proc sees it."""
    import ctypes
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    for line in open('/proc/self/maps'):
        found = re.match(r'([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)', line)
        if int(found[1], 16) <= address < int(found[2], 16):
            return {'inode': int(found[4]), 'mode': found[3]}


def held():
    """What is left: descriptors, and mappings of memory."""
    return {'fds': len(os.listdir('/proc/self/fd')), 'mappings': open('/proc/self/maps').read().count('memfd:')}


def filled(size):
    view = skep.allocate(size)
    view[:] = pattern(size)
    return view


def source(kind, size):
    if kind == 'allocated':
        return filled(size)
    if kind == 'bytearray':
        return bytearray(pattern(size))
    if kind == 'numbers':
        return memoryview(pattern(size)).cast('q')
    if kind == 'text':
        return pattern(size).decode('latin-1')
    return pattern(size)


def round_trip(params):
    value = source(params.get('kind'), params['size'])
    view = skep.get(skep.put(value))
    answer = {'type': type(view).__name__, 'size': len(view), 'sha': sha(view), 'writable': not view.readonly}
    if len(view):
        view[0] ^= 1
    return answer


def write_after(params):
    value = source(params['kind'], params['size'])
    reference = skep.put(value)
    value[0:4] = b'late'
    first = skep.get(reference)
    first[0:4] = b'mine'
    second = skep.get(reference)
    return {'kept': second == pattern(params['size']), 'value': bytes(value[0:4]).decode(), 'first': bytes(first[0:4]).decode(), 'again': sha(skep.get(skep.put(value)))}


def zero_copy(params):
    view = filled(params['size'])
    before = place(view)
    given = view.cast('d') if params.get('array') else view
    how = params['how']
    if how == 'return':
        print(before['inode'])
        return given
    if how == 'invoke':
        got = skep.invoke('echo', given)
    else:
        got = skep.get(skep.put(given))
    after = place(view)
    return {'before': before, 'after': after, 'got': place(got), 'same': got == pattern(params['size'])}


def mapped_elsewhere(params):
    """As an extension does that keeps a mapping of its own."""
    view = filled(params['size'])
    before = place(view)
    for name in os.listdir('/proc/self/fd'):
        path = f'/proc/self/fd/{name}'
        if os.path.exists(path) and os.stat(path).st_ino == before['inode']:
            mapping = mmap.mmap(int(name), params['size'])
    reference = skep.put(view)
    mapping[0:4] = b'late'
    return {'before': before['inode'], 'same': skep.get(reference) == pattern(params['size'])}


def forked(params):
    view = filled(params['size'])
    read, write = os.pipe()
    ends, end = os.pipe()
    child = os.fork()
    if child == 0:
        maps = [line for line in open('/proc/self/maps') if 'memfd:' in line and line.split()[1].startswith('rw-s')]
        os.write(write, f'{view == pattern(params["size"])} {len(maps)}'.encode())
        view[0:4] = b'kid!'
        os.read(ends, 1)
        os._exit(0)
    said = os.read(read, 100).decode()
    view[4:8] = b'mama'
    got = skep.get(skep.put(view))
    seen = bytes(got[0:8]).decode('latin-1')
    os.write(end, b'.')
    os.waitpid(child, 0)
    [os.close(fd) for fd in (read, write, ends, end)]
    return {'child': said, 'seen': seen == pattern(4).decode('latin-1') + 'mama'}


def threads(params):
    wrong = []

    def run(number):
        for size in (70_000, 10, 200_000, 65_537):
            data = bytes([number]) * size
            view = skep.allocate(size)
            view[:] = data
            if skep.get(skep.put(data)) != data or skep.get(skep.put(view)) != data or skep.invoke('echo', data) != data:
                wrong.append(number)

    all = [threading.Thread(target=run, args=(number,)) for number in range(params['count'])]
    [thread.start() for thread in all]
    [thread.join() for thread in all]
    return {'wrong': wrong, **held()}


def produce(params):
    for number in range(params['count']):
        if number == params.get('fails'):
            raise LookupError('the source is dry')
        print(number)
        yield bytes([number % 256]) * params['size']


def read_stream(params):
    how = params['how']
    with skep.get_stream(params.get('reference', 'r')) as stream:
        if how == 'some':
            return len(stream.read(100_000))
        if how == 'lines':
            return [line.decode() for line in stream.readlines()]
        digest = hashlib.sha256()
        for chunk in stream:
            digest.update(chunk)
        return digest.hexdigest()


def describe(data):
    skep.context()
    return {'type': type(data).__name__, 'size': len(data), 'sha': sha(data)}


def growing():
    data = bytearray()
    for _ in range(70):
        data += b'x'
        yield data


def attempt(call):
    try:
        return call()
    except skep.SkepError as error:
        return {'code': error.code, 'message': error.message, **({'details': error.details} if error.details else {})}


def main(params):
    if not isinstance(params, dict):
        return describe(params)
    what = params['what']
    if what == 'held':
        return held()
    if what == 'descriptors':
        # As many as are open already, or as there were.
        if params['left'] is None:
            [os.close(fd) for fd in kept]
            kept.clear()
        try:
            while params['left'] is not None:
                kept.append(os.open('/', os.O_RDONLY))
        except OSError:
            [os.close(kept.pop()) for _ in range(params['left'])]
        return len(kept)
    if what == 'described':
        return {'size': len(params['text'])}
    if what == 'produce':
        return attempt(lambda: skep.put(produce(params), ttl=2))
    if what == 'file':
        with open('/proc/self/exe', 'rb') as file:
            return [skep.put(file), sha(open('/proc/self/exe', 'rb').read())]
    if what == 'stream':
        return attempt(lambda: read_stream(params))
    if what == 'return':
        size = params['size']
        return {'bytes': pattern(size), 'text': 'ü' * (size // 2), 'json': ['x' * size], 'view': memoryview(pattern(size))}[params['kind']]
    if what == 'invoke':
        value = {'bytes': pattern, 'json': lambda size: {'text': 'x' * size}}[params['kind']](params['size'])
        got = skep.invoke('echo', value)
        return {'type': type(got).__name__, 'same': got == value}
    if what == 'timeout':
        return attempt(lambda: skep.invoke('late', {}, timeout=0.05))
    if what == 'scatter':
        whole = pattern(params['size'])
        answers = skep.invoke_all('size', [whole, whole, b'xyz', {'n': 1}], return_exceptions=True, concurrency=params['concurrency'])
        return {
            'answers': [error.code if isinstance(error, skep.SkepError) else error for error in answers],
            'lazy': skep.invoke_all('size', growing()),
            'first': attempt(lambda: skep.invoke_all('size', [b'x', {'n': 1}]))}
    if what == 'get':
        return attempt(lambda: bytes(skep.get(params['reference'])).decode('latin-1'))
    if what == 'arguments':
        return [attempt(call) for call in (
            lambda: skep.put({'a': 1}), lambda: skep.put(b'', retrievals=0), lambda: skep.put(b'', ttl=-1), lambda: skep.put(iter([1])), lambda: skep.get(5),
            lambda: skep.allocate(-1), lambda: skep.allocate(params['size']))]
    return {'round': round_trip, 'write-after': write_after, 'zero-copy': zero_copy, 'mapped': mapped_elsewhere, 'forked': forked, 'threads': threads}[what](params)

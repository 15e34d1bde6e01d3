"""Waits, computes, prints, logs, ends, and hangs, as it is told."""
import logging
import os
import sys
import threading
import time

import skep

log = logging.getLogger('behaves')


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError('no text either')


def compute(seconds):
    end = time.thread_time() + seconds
    number = 0
    while time.thread_time() < end:
        number += 1
    return number


def deeper(depth):
    if depth == 0:
        raise ValueError('too deep')
    deeper(depth - 1)


def main(params):
    what = params.get('what')
    if what == 'sleep':
        time.sleep(params['seconds'])
        return 'slept'
    if what == 'compute':
        compute(params['seconds'])
        return 'computed'
    if what == 'print':
        for number in range(params['count']):
            print(params['id'], number)
            if number % 10 == 0:
                time.sleep(0.001)
        print(params['id'], 'end', end='')
        return None
    if what == 'levels':
        log.debug('not shown')
        log.info('an %s', 'info')
        log.warning('a warning')
        log.error('an error')
        try:
            raise KeyError('k')
        except KeyError:
            log.exception('with a traceback')
        print('to stderr', file=sys.stderr)
        sys.stdout.buffer.write(b'bytes\n')
        return None
    if what == 'print-all':
        for number in range(params['count']):
            print('line', number, 'x' * 100)
        os.write(2, b'printed')
        return 'printed'
    if what == 'thread':
        thread = threading.Thread(target=print, args=('from a thread',))
        thread.start()
        thread.join()
        return None
    if what == 'throw':
        deeper(2)
    if what == 'chained':
        try:
            deeper(0)
        except ValueError as error:
            raise RuntimeError('gave up') from error
    if what == 'unprintable':
        raise Unprintable()
    if what == 'sys-exit':
        sys.exit(3)
    if what == 'interrupt':
        raise KeyboardInterrupt()
    if what == 'os-exit':
        print('last words')
        os._exit(5)
    if what == 'wait-cancelled':
        print('started')
        while not skep.context().cancelled:
            time.sleep(0.001)
        print('saw it')
        return 'ignored'
    if what == 'fork':
        child = os.fork()
        if child == 0:
            print('in the child')
            return 'from the child'
        os.waitpid(child, 0)
        return 'from the parent'
    if what == 'environment':
        return {'environment': dict(os.environ), 'folder': os.getcwd(), 'argv': sys.argv}
    if what == 'threads':
        return threading.active_count()
    return params

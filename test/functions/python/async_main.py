"""Async handlers: waiting, streaming, failing, calling."""
import asyncio

import skep


async def main(params):
    what = params.get('what')
    if what == 'sleep':
        print('before', params['id'])
        await asyncio.sleep(params['seconds'])
        print('after', params['id'])
        return params['id']
    if what == 'yield-once':
        await asyncio.sleep(0)
        return 'done'
    if what == 'stream':
        return chunks(params['count'], params['size'])
    if what == 'large':
        return b'z' * params['size']
    if what == 'fail':
        await asyncio.sleep(0)
        raise LookupError('nothing there')
    if what == 'call':
        return await asyncio.gather(*(skep.ainvoke('double', number) for number in params['numbers']))
    if what == 'call-slowly':
        return await skep.ainvoke('never', None, timeout=0.05)
    if what == 'stubborn':
        try:
            await asyncio.sleep(60)
        finally:
            print('cleaned up')
    if what == 'swallow':
        print('started')
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return 'too late'
    return params


async def chunks(count, size):
    for number in range(count):
        await asyncio.sleep(0)
        yield chr(97 + number % 26) * size

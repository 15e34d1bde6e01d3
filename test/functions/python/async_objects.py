"""Objects in an async handler."""
import asyncio

import skep


async def made(count, size):
    for number in range(count):
        await asyncio.sleep(0)
        yield bytes([number % 256]) * size


async def same(number, size):
    data = bytes([number % 256]) * size
    view = skep.allocate(size)
    view[:] = data
    got = await skep.aget(await skep.aput(view if number % 2 else data))
    return got == data and await skep.ainvoke('echo', data) == data


async def main(params):
    if not isinstance(params, dict):
        return params
    what = params['what']
    try:
        if what == 'many':
            for _ in range(params.get('noise', 0) // 1000):
                print('n' * 20_000)
            return await asyncio.gather(*(same(number, params['size']) for number in range(params['count'])))
        if what == 'produce':
            return await skep.aput(made(params['count'], params['size']))
        if what == 'stream':
            size = 0
            async with await skep.aget_stream('r') as stream:
                async for chunk in stream:
                    size += len(chunk)
                    if size >= params.get('enough', float('inf')):
                        break
            return size
        if what == 'large':
            return b'z' * params['size']
        if what == 'double':
            return params['number'] * 2
    except skep.SkepError as error:
        return {'code': error.code, 'message': error.message}

"""An ASGI application that wants to be told when it starts."""
started = False


async def app(scope, receive, send):
    global started
    if scope['type'] == 'lifespan':
        await receive()
        started = True
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        return
    body = b''
    while True:
        message = await receive()
        body += message['body']
        if not message['more_body']:
            break
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain'), (b'x-started', str(started).encode())]})
    if scope['path'] == '/stream':
        for number in range(3):
            await send({'type': 'http.response.body', 'body': f'{number}\n'.encode(), 'more_body': True})
        await send({'type': 'http.response.body', 'body': b''})
        return
    await send({'type': 'http.response.body', 'body': scope['method'].encode() + b' ' + body})

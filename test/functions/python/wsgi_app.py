"""A WSGI application."""


def app(environ, start_response):
    if environ['PATH_INFO'] == '/stream':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return (f'{number}\n'.encode() for number in range(3))
    body = environ['wsgi.input'].read()
    start_response('201 Created', [('Content-Type', 'text/plain'), ('X-Path', environ['PATH_INFO']), ('X-Query', environ['QUERY_STRING'])])
    return [environ['REQUEST_METHOD'].encode(), b' ', body]

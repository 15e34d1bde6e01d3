"""
From a request to what a handler is called with: `params` (OpenWhisk), `event` (AWS Lambda), `skep.request()`.

Source: OpenWhisk docs/webactions.md (`__ow_…`, query below body, last one wins); AWS Lambda function URLs, payload format 2.0.
Where we differ: JSON members of the body are also top-level members of a Lambda event, when none is there already, so that
a handler written for direct invocation answers over HTTP too; a JSON body is never base64.
"""
from __future__ import annotations

import io
import json
import time

from .faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .bodies import BodyReader
    from .invocation import Invocation

_TEXT_TYPES = ('text/', 'application/json', 'application/javascript', 'application/xml', 'application/x-www-form-urlencoded', 'application/x-ndjson')


class Request:
    """The request of an invocation, as it came. For an event, `method` is '' and `path` is '/'."""

    def __init__(self, invocation: Invocation, body: Optional[bytes | memoryview]) -> None:
        head = invocation.head
        self._invocation = invocation
        self._body = body
        self._stream = None
        url = head.get('u') or '/'
        self.method: str = head.get('m') or ('GET' if invocation.is_http else '')
        self.url: str = url
        self.path, _, self.query = url.partition('?')
        self.headers: dict[str, str] = join_headers(head.get('h') or ())
        # For a web application that is sent an event.
        self.event_type = 'application/octet-stream' if invocation.is_binary else 'application/json'

    @property
    def raw_headers(self) -> list[str]:
        """Name, value, name, value, … with names in lower case."""
        return list(self._invocation.head.get('h') or ())

    @property
    def stream(self) -> io.BufferedIOBase:
        """The body as a file. With `@skep.streaming` it is read while it arrives; otherwise all of it is here already."""
        if self._stream is None:
            if isinstance(self._body, bytes):
                self._stream = _WholeBody(self._body)
            else:
                self._stream = _ArrivingBody(RawBody(self._invocation.reader, self._body or b''), 64 * 1024)
        return self._stream

    @property
    def body(self) -> bytes:
        """The whole body. Waits for it, with `@skep.streaming`."""
        if self._body is None:
            self._body = self.stream.read()
        elif not isinstance(self._body, bytes):
            self._body = bytes(self._body)
        return self._body


class _ReadsAsync:
    async def aread(self, size: int = -1) -> bytes:
        """`read` for an async handler: the event loop goes on meanwhile."""
        import asyncio
        return await asyncio.get_running_loop().run_in_executor(None, self.read, size)


class _WholeBody(_ReadsAsync, io.BytesIO):
    pass


class _ArrivingBody(_ReadsAsync, io.BufferedReader):
    pass


class RawBody(io.RawIOBase):
    def __init__(self, reader: BodyReader, first: bytes | memoryview) -> None:
        self._reader = reader
        self._rest = memoryview(first)

    def readable(self) -> bool:
        return True

    def readinto(self, target) -> int:
        if not self._rest:
            self._rest = memoryview(self._reader.read_chunk())
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def event_value(body: bytes | memoryview) -> object:
    """The value of an event that is JSON. An empty body is {}, as for an invocation without arguments."""
    return parse_json(body, 'event') if body else {}


def main_params(invocation: Invocation, body: Optional[bytes | memoryview]) -> dict:
    """`params` of an HTTP request. `body` is None when the handler reads it as a stream."""
    head = invocation.head
    path, _, query = (head.get('u') or '/').partition('?')
    params = dict(parse_pairs(query)) if query else {}
    raw: Optional[str] = None
    if body:
        kind = media_type(invocation.header('content-type'))
        if is_json(kind) or (not kind and body[:1] == b'{'):
            value = parse_json(body, 'request body')
            if isinstance(value, dict):
                params.update(value)
            else:
                raw = str(body, 'utf-8')
        elif kind == 'application/x-www-form-urlencoded':
            params.update(parse_pairs(str(body, 'utf-8', 'replace')))
        else:
            raw = body_text(kind, body)[0]
    # Last: a request cannot say for itself what its method and headers are.
    params['__ow_method'] = (head.get('m') or 'GET').lower()
    params['__ow_headers'] = join_headers(head.get('h') or ())
    params['__ow_path'] = path
    if query:
        params['__ow_query'] = query
    else:
        params.pop('__ow_query', None)
    if raw is not None:
        params['__ow_body'] = raw
    else:
        params.pop('__ow_body', None)
    return params


def lambda_event(invocation: Invocation, body: Optional[bytes | memoryview]) -> dict:
    """A Lambda function-URL event, payload format 2.0."""
    head = invocation.head
    path, _, query = (head.get('u') or '/').partition('?')
    headers = join_headers(head.get('h') or ())
    now_s = time.time()
    kind = media_type(headers.get('content-type', ''))
    host = headers.get('host', '')
    event = {
        'version': '2.0',
        'routeKey': '$default',
        'rawPath': path,
        'rawQueryString': query,
        'headers': headers,
        'requestContext': {
            'accountId': invocation.runtime.init.get('namespace', ''),
            'apiId': invocation.runtime.init.get('function', ''),
            'domainName': host,
            'domainPrefix': host.partition('.')[0],
            'http': {
                'method': head.get('m') or 'GET',
                'path': path,
                'protocol': 'HTTP/1.1',
                'sourceIp': headers.get('x-forwarded-for', '').partition(',')[0].strip(),
                'userAgent': headers.get('user-agent', ''),
            },
            'requestId': head.get('i', ''),
            'routeKey': '$default',
            'stage': '$default',
            'time': time.strftime('%d/%b/%Y:%H:%M:%S +0000', time.gmtime(now_s)),
            'timeEpoch': int(now_s * 1000),
        },
        'isBase64Encoded': False,
    }
    if 'cookie' in headers:
        event['cookies'] = [cookie.strip() for cookie in headers['cookie'].split(';')]
    if query:
        joined: dict[str, str] = {}
        for name, value in parse_pairs(query):
            joined[name] = f'{joined[name]},{value}' if name in joined else value
        event['queryStringParameters'] = joined
    if body:
        event['body'], event['isBase64Encoded'] = body_text(kind, body)
        if is_json(kind) or (not kind and body[:1] == b'{'):
            try:
                members = json.loads(event['body'])
            except (ValueError, RecursionError):
                members = None
            if isinstance(members, dict):
                for name, value in members.items():
                    event.setdefault(name, value)
    return event


def parse_json(body: bytes | memoryview, what: str) -> object:
    """Raises JSON_INVALID, naming the place."""
    try:
        return json.loads(str(body, 'utf-8'))
    except UnicodeDecodeError as error:
        raise Fault('JSON_INVALID', f'The {what} is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}.') from None
    except ValueError as error:
        raise Fault('JSON_INVALID', f'The {what} ({len(body)} bytes) is not JSON: {error}.') from None
    except RecursionError:
        raise Fault('JSON_INVALID', f'The {what} ({len(body)} bytes) is nested too deeply.') from None


def body_text(kind: str, body: bytes | memoryview) -> tuple[str, bool]:
    """Text as it is, anything else in base64 (True)."""
    if not kind or is_json(kind) or kind.startswith(_TEXT_TYPES) or kind.endswith('+xml'):
        try:
            return str(body, 'utf-8'), False
        except UnicodeDecodeError:
            pass
    from binascii import b2a_base64
    return b2a_base64(body, newline=False).decode(), True


def media_type(content_type: str) -> str:
    return content_type.partition(';')[0].strip().lower()


def is_json(kind: str) -> bool:
    return kind == 'application/json' or kind.endswith('+json')


def join_headers(raw) -> dict[str, str]:
    """As a dictionary; repeated ones are joined as RFC 9110 5.3 says (cookies by ';')."""
    headers: dict[str, str] = {}
    for index in range(0, len(raw) - 1, 2):
        name, value = raw[index], raw[index + 1]
        headers[name] = f'{headers[name]}{"; " if name == "cookie" else ", "}{value}' if name in headers else value
    return headers


def parse_pairs(text: str) -> list[tuple[str, str]]:
    # Not at the top: it costs 3 ms of start, and most requests have neither a query nor a form.
    from urllib.parse import parse_qsl
    return parse_qsl(text, keep_blank_values=True)

"""
From what a handler returned to an answer: status, headers, and a body that is whole or a source of chunks.

  None → 204 (event: null)      dict, list, number, bool → JSON      str → text/plain      bytes → octet-stream
  iterator, generator (also async) → streamed      {"statusCode", "headers", "body"} → as it says, on HTTP
  {"error": …} of a `main` → its statusCode, otherwise 500, with the dictionary as the body

Source: OpenWhisk docs/webactions.md; AWS Lambda function URLs (a dictionary without `statusCode` is a JSON body).
"""
from __future__ import annotations

import json

from .bodies import flat
from .faults import Fault
from .frames import INLINE_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Union

# Above 2^53 a JSON number loses digits in JavaScript; that is the reader's choice, so they are passed on.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(',', ':')).encode
_encode_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(',', ':')).encode

_ANSWER_KEYS = {'statusCode', 'headers', 'body', 'isBase64Encoded', 'cookies', 'multiValueHeaders'}
# The connection is the gateway's; a length that a handler states could contradict the body.
_NOT_OURS = {'connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'content-length', 'proxy-connection', 'te', 'trailer'}
_NAME_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")

JSON_HEADERS = ['content-type', 'application/json']
TEXT_HEADERS = ['content-type', 'text/plain; charset=utf-8']
BYTES_HEADERS = ['content-type', 'application/octet-stream']


class Answer:
    """`body` is bytes, or a memoryview of them, or an iterator (also an async one) of str or bytes."""

    __slots__ = ('status', 'headers', 'body')

    def __init__(self, status: int, headers: list[str], body) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def is_streamed(self) -> bool:
        return not isinstance(self.body, (bytes, memoryview))


def answer_of(result: object, is_http: bool, is_main: bool) -> Answer:
    """What a handler's result says. Raises ANSWER_INVALID."""
    if isinstance(result, dict):
        status = 200
        if is_main and result.get('error'):
            error = result['error']
            if is_http and 'statusCode' not in result and isinstance(error, dict) and 'statusCode' in error:
                return _described(error, is_main)
            status = _status(result.get('statusCode', 500))
            if 'body' not in result or not is_http:
                body = {name: value for name, value in result.items() if name not in ('statusCode', 'headers')} if is_http else result
                headers = _headers(result) if is_http else []
                return Answer(status, headers or JSON_HEADERS, dump_json(body))
            return _described({'statusCode': status, **result}, is_main)
        if is_http and ('statusCode' in result or (is_main and 'body' in result and result.keys() <= _ANSWER_KEYS)):
            return _described(result, is_main)
        return Answer(status, JSON_HEADERS, dump_json(result))
    if result is None:
        return Answer(204, [], b'') if is_http else Answer(200, JSON_HEADERS, b'null')
    if isinstance(result, str) and is_http:
        return Answer(200, TEXT_HEADERS, _utf8(result))
    if isinstance(result, (bytes, bytearray, memoryview)):
        return Answer(200, BYTES_HEADERS, _whole(result))
    if is_source(result):
        return Answer(200, TEXT_HEADERS if is_http else BYTES_HEADERS, result)
    return Answer(200, JSON_HEADERS, dump_json(result))


def is_source(value: object) -> bool:
    """Whether it yields chunks: iterators and open files do, containers do not."""
    return hasattr(value, '__next__') or hasattr(value, '__anext__')


def chunk_bytes(chunk: object) -> bytes:
    """A chunk of a streamed answer. Raises ANSWER_INVALID."""
    if isinstance(chunk, str):
        return _utf8(chunk)
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise Fault('ANSWER_INVALID', f'A streamed answer yields str or bytes, not {type(chunk).__name__}.')


def dump_json(value: object) -> bytes:
    """Raises ANSWER_INVALID, naming the type and the path of what JSON does not know."""
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:
        return _encode_ascii(value).encode()
    except RecursionError:
        raise Fault('ANSWER_INVALID', 'The answer is nested too deeply for JSON.') from None
    except (TypeError, ValueError) as error:
        found = _find_unknown(value, '$', 0, set())
        what = f'{found[0]} is {found[1]}' if found else str(error)
        raise Fault('ANSWER_INVALID', f'The answer cannot be written as JSON: {what}. Return str, int, float, bool, None, list or dict (bytes: as the whole answer).') from None


def _described(result: dict, is_main: bool) -> Answer:
    """{"statusCode", "headers", "body", …}"""
    status = _status(result.get('statusCode', 200))
    headers = _headers(result)
    names = headers[::2]
    kind = headers[names.index('content-type') * 2 + 1] if 'content-type' in names else ''
    body = result.get('body')
    default: list[str]
    if body is None:
        data, default = b'', []
    elif isinstance(body, str):
        is_encoded = result.get('isBase64Encoded')
        if is_encoded:
            data = _decode_base64(body, True)
        elif is_main and _is_binary(kind):
            # OpenWhisk: a binary answer is base64. Text that is not stays what it is.
            data = _decode_base64(body, False)
        else:
            data = _utf8(body)
        default = ['content-type', 'text/html; charset=utf-8'] if is_main else (BYTES_HEADERS if is_encoded else JSON_HEADERS)
    elif isinstance(body, (bytes, bytearray, memoryview)):
        data, default = _whole(body), BYTES_HEADERS
    elif is_source(body):
        data, default = body, TEXT_HEADERS
    else:
        data, default = dump_json(body), JSON_HEADERS
    return Answer(status, headers if kind else headers + default, data)


def _status(value: object) -> int:
    status: Optional[int] = None
    if isinstance(value, int) and not isinstance(value, bool):
        status = int(value)
    elif isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        status = int(value)
    elif isinstance(value, float) and value.is_integer():
        status = int(value)
    if status is None or not 200 <= status <= 599:
        raise Fault('ANSWER_INVALID', f'The answer\'s statusCode is {_show(value)}; it must be a number from 200 to 599.')
    return status


def _headers(result: dict) -> list[str]:
    headers: list[str] = []
    for field in ('headers', 'multiValueHeaders'):
        given = result.get(field) or {}
        if not isinstance(given, dict):
            raise Fault('ANSWER_INVALID', f'The answer\'s {field} is {type(given).__name__}; it must be a dict of names and values.')
        for name, value in given.items():
            for single in value if isinstance(value, (list, tuple)) else (value,):
                add_header(headers, name, single)
    for cookie in result.get('cookies') or ():
        add_header(headers, 'set-cookie', cookie)
    return headers


def add_header(headers: list[str], name: object, value: object) -> None:
    """Appends one header, checked. Raises ANSWER_INVALID."""
    lower = name.lower() if isinstance(name, str) else ''
    if not lower or not _NAME_CHARACTERS.issuperset(lower):
        raise Fault('ANSWER_INVALID', f'The answer has a header named {_show(name)}; a name has letters, digits and "-".')
    if isinstance(value, bool):
        text = 'true' if value else 'false'
    elif isinstance(value, (str, int, float)):
        text = str(value)
    else:
        raise Fault('ANSWER_INVALID', f'The answer\'s header {lower} is {type(value).__name__}; it must be text, a number or a list of them.')
    if any(ord(character) < 32 and character != '\t' or ord(character) in (127,) or ord(character) > 255 for character in text):
        raise Fault('ANSWER_INVALID', f'The answer\'s header {lower} has a character that HTTP does not allow: {_show(text)}.')
    if lower not in _NOT_OURS:
        headers += (lower, text)


def _is_binary(content_type: str) -> bool:
    from .request import body_text, media_type
    kind = media_type(content_type)
    # A probe that is no UTF-8: a text type would try to decode it, and any other says base64 right away.
    return bool(kind) and body_text(kind, b'')[1]


def _decode_base64(body: str, must: bool) -> bytes:
    from base64 import b64decode
    try:
        return b64decode(body, validate=True)
    except ValueError:
        if must:
            raise Fault('ANSWER_INVALID', 'The answer says isBase64Encoded, but its body is not base64.') from None
        return _utf8(body)


def _whole(data: bytes | bytearray | memoryview) -> bytes | memoryview:
    # Large ones are given on as they are: allocated memory is never copied, other bytes once (bodies.py, Outgoing).
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    return bytes(data) if size <= INLINE_BYTES_MAX else flat(data)


def _utf8(text: str) -> bytes:
    # A lone surrogate has no UTF-8; the answer stands, with a mark where it was.
    return text.encode('utf-8', 'replace')


def _find_unknown(value: object, path: str, depth: int, seen: set) -> Optional[tuple[str, str]]:
    """The first part that JSON does not know: its path and what it is."""
    if value is None or isinstance(value, (str, bool, int)):
        return None
    if isinstance(value, float):
        return None if value == value and value not in (float('inf'), float('-inf')) else (path, f'the number {value}')
    if not isinstance(value, (dict, list, tuple)):
        return path, f'of type {type(value).__name__}'
    if id(value) in seen:
        return path, 'part of itself'
    if depth > 200:
        return None
    seen = seen | {id(value)}
    parts: Union[list, enumerate]
    if isinstance(value, dict):
        for key in value:
            if not (key is None or isinstance(key, (str, int, float, bool))):
                return path, f'a dict with a key of type {type(key).__name__}'
        parts = [(f'{path}.{key}', part) for key, part in value.items()]
    else:
        parts = [(f'{path}[{index}]', part) for index, part in enumerate(value)]
    for part_path, part in parts:
        found = _find_unknown(part, part_path, depth + 1, seen)
        if found:
            return found
    return None


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f'{text[:100]}…'

"""
The platform over HTTP: the API for deployments, and invocations over connections that are kept, one per thread.

Which platform and key: arguments, then SKEP_URL and SKEP_KEY, then what a platform on this machine has written (server.json, credentials.json). A key
from there is only ever sent to the address from there.
"""
from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from urllib.parse import quote, urlsplit


class PlatformError(Exception):
    """`code`: of the platform's table of errors (docs/errors.md)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f'{code}: {message}')
        self.code = code
        self.message = message


class Cancelled(Exception):
    """The work was let go while its answer was waited for."""


class Call:
    """One invocation that can be cut off from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: set = set()
        self.cancelled = False

    def cancel(self) -> None:
        with self._lock:
            self.cancelled = True
            for connection in self._connections:
                if connection.sock is not None:
                    try:
                        connection.sock.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

    def enter(self, connection) -> None:
        with self._lock:
            if self.cancelled:
                raise Cancelled()
            self._connections.add(connection)

    def leave(self, connection) -> None:
        with self._lock:
            self._connections.discard(connection)


class Platform:
    def __init__(self, url: str | None = None, key: str | None = None, namespace: str | None = None) -> None:
        url = url or os.environ.get('SKEP_URL') or None
        key = key or os.environ.get('SKEP_KEY') or None
        namespace = namespace or os.environ.get('SKEP_NAMESPACE') or None
        written = {} if url and key else _written()
        found = url or written.get('url')
        if not found:
            raise PlatformError('SERVER_UNREACHABLE', 'No platform is known: SKEP_URL is not set, and none runs on this machine. Start one with: skep up')
        self.url = found.rstrip('/')
        if not key and written.get('url', '').rstrip('/') == self.url:
            key = written.get('key')
        self._headers = {'Authorization': f'Bearer {key}'} if key else {}
        self._query = f'namespace={quote(namespace)}' if namespace else ''
        parts = urlsplit(self.url)
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise PlatformError('INPUT_INVALID', f'{self.url!r} is not the URL of a platform. Give one like http://127.0.0.1:7070 in SKEP_URL.')
        self._connect = http.client.HTTPSConnection if parts.scheme == 'https' else http.client.HTTPConnection
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path
        self._local = threading.local()
        self._open: set = set()

    def json(self, method: str, path: str, value: object = None, body: bytes | None = None, content_type: str = 'application/json') -> object:
        """Sends a value, or bytes; returns the JSON that comes back, or None. Raises PlatformError."""
        if self._query:
            path += ('&' if '?' in path else '?') + self._query
        data = json.dumps(value).encode() if value is not None else body
        status, headers, answer = self._send(method, path, data, content_type, None)
        if status >= 400:
            raise _error_of(status, answer)
        return json.loads(answer) if answer else None

    def invoke(self, address: str, body: bytes, content_type: str, call: Call) -> tuple[bytes, str | None]:
        """Calls a function; returns its answer and the invocation's id. Raises PlatformError, Cancelled."""
        status, headers, answer = self._send('POST', address, body, content_type, call)
        invocation_id = headers.get('x-skep-invocation-id')
        if headers.get('x-skep-error') is not None or invocation_id is None:
            raise _error_of(status, answer)
        return answer, invocation_id

    def close(self) -> None:
        for connection in list(self._open):
            connection.close()
        self._open.clear()

    def _send(self, method: str, path: str, body: bytes | None, content_type: str, call: Call | None):
        headers = {**self._headers, 'Content-Type': content_type} if body is not None else self._headers
        connection = getattr(self._local, 'connection', None)
        if connection is None:
            connection = self._local.connection = self._connect(self._host, self._port)
            self._open.add(connection)
        if connection.sock is not None and _is_closed(connection.sock):
            connection.close()
        if call is not None:
            call.enter(connection)
        try:
            if connection.sock is None:
                connection.connect()
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if call is not None and call.cancelled:
                    raise Cancelled()
            connection.request(method, self._path + path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if call is not None and call.cancelled:
                raise Cancelled() from None
            raise PlatformError('SERVER_UNREACHABLE', f'The platform at {self.url} does not answer ({type(error).__name__}: {error}). Is it running, and is SKEP_URL right?') from error
        finally:
            if call is not None:
                call.leave(connection)


def _is_closed(sock) -> bool:
    """Whether the other side has closed a connection that was kept: a request on it would be lost."""
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b''
    except ValueError:  # with TLS nobody can look
        return False
    except OSError as error:
        return not isinstance(error, BlockingIOError)


def _error_of(status: int, answer: bytes) -> PlatformError:
    try:
        error = json.loads(answer)['error']
        text = error['message'] + (f'\n{error["stack"]}' if error.get('stack') else '')
        return PlatformError(str(error['code']), text)
    except (ValueError, KeyError, TypeError):
        return PlatformError('SERVER_UNREACHABLE', f'The answer {status} did not come from a Skep platform: {answer[:200]!r}. Check SKEP_URL.')


def _written() -> dict:
    home = os.environ.get('XDG_DATA_HOME') or os.path.join(os.path.expanduser('~'), '.local', 'share')
    directory = os.environ.get('SKEP_DATA') or os.path.join(home, 'skep')
    found: dict = {}
    for name in ('credentials.json', 'server.json'):
        try:
            with open(os.path.join(directory, name), encoding='utf-8') as file:
                found.update(json.load(file))
        except (OSError, ValueError):
            pass
    return found

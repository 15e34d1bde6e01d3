"""
Stored objects as input: what a program names, which bytes go to which invocation, and addresses that open an object for a while.

Objects larger than `chunk_bytes` are split at line ends (reader.py has the rule), smaller ones go together into one invocation.

Signing is Amazon's Signature Version 4 in the query ("Authenticating Requests: Using Query Parameters"). S3 wants credentials of its own: they are made
for this program and revoked when it closes; those of programs that ended otherwise, a day later.
"""
from __future__ import annotations

import hashlib
import hmac
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

from .platform import Platform, PlatformError

_NAME = 'map client'
_DAY_MS = 86_400_000
_REGION = 'us-east-1'


@dataclass(frozen=True)
class Bucket:
    """The objects of a bucket whose keys begin with `prefix`. `chunk_bytes`: about how many an invocation gets; default: each object whole, by itself."""

    name: str
    prefix: str = ''
    chunk_bytes: int | None = None
    stream: bool = False


@dataclass(frozen=True)
class References:
    """Objects that functions have put."""

    references: list
    stream: bool = False


def parts_of(objects: list, chunk_bytes: int | None) -> list:
    """`objects`: (key, size). Returns for each invocation a list of (key, from, to, size)."""
    if chunk_bytes is not None and chunk_bytes < 1:
        raise ValueError(f'chunk_bytes is {chunk_bytes}; it is a number of bytes, 1 or more.')
    groups: list = []
    room = 0
    for key, size in objects:
        step = chunk_bytes or max(size, 1)
        for start in range(0, max(size, 1), step):
            end = min(size, start + step)
            whole = start == 0 and end == size
            if groups and chunk_bytes is not None and whole and end <= room:
                groups[-1].append((key, start, end, size))
                room -= end
            else:
                groups.append([(key, start, end, size)])
                room = chunk_bytes - end if chunk_bytes is not None and whole else 0
    return groups


def presign(endpoint: str, access_key: str, secret: str, bucket: str, key: str, query: dict, now: float, expires: int) -> str:
    base = urlsplit(endpoint)
    stamp = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))
    scope = f'{stamp[:8]}/{_REGION}/s3/aws4_request'
    path = f'{base.path.rstrip("/")}/{quote(f"{bucket}/{key}" if key else bucket, safe="/-_.~")}'
    values = {
        **query, 'X-Amz-Algorithm': 'AWS4-HMAC-SHA256', 'X-Amz-Credential': f'{access_key}/{scope}', 'X-Amz-Date': stamp,
        'X-Amz-Expires': str(expires), 'X-Amz-SignedHeaders': 'host',
    }
    canonical_query = '&'.join(sorted(f'{quote(name, safe="-_.~")}={quote(value, safe="-_.~")}' for name, value in values.items()))
    canonical = '\n'.join(['GET', path, canonical_query, f'host:{base.netloc}\n', 'host', 'UNSIGNED-PAYLOAD'])
    to_sign = '\n'.join(['AWS4-HMAC-SHA256', stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = f'AWS4{secret}'.encode()
    for part in (stamp[:8], _REGION, 's3', 'aws4_request'):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(signing, to_sign.encode(), hashlib.sha256).hexdigest()
    return f'{base.scheme}://{base.netloc}{path}?{canonical_query}&X-Amz-Signature={signature}'


class Buckets:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._credentials: dict | None = None
        self._closed = False

    def list(self, bucket: str, prefix: str) -> list:
        found: list = []
        token = ''
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            query = {'list-type': '2', 'encoding-type': 'url', 'prefix': prefix, **({'continuation-token': token} if token else {})}
            try:
                with opener.open(self._sign(bucket, '', query, 60)) as response:
                    objects, token = parse_listing(response.read())
            except urllib.error.HTTPError as error:
                code = 'ENTITY_NOT_FOUND' if error.code == 404 else 'INPUT_INVALID'
                raise PlatformError(code, f'Bucket {bucket} cannot be listed: {error.read()[:300].decode(errors="replace")}') from error
            found += objects
            if not token:
                return found

    def address(self, bucket: str, key: str) -> str:
        # A part may wait in the queue before it is read.
        return self._sign(bucket, key, {}, 12 * 3600)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            credentials, self._credentials = self._credentials, None
        if credentials is not None:
            self._platform.json('DELETE', f'/v1/s3/credentials/{credentials["accessKeyId"]}')

    def _sign(self, bucket: str, key: str, query: dict, expires: int) -> str:
        with self._lock:
            if self._closed:
                raise PlatformError('CANCELLED', 'The Executor was closed while this work read a bucket; start the work again to have its result.')
            if self._credentials is None:
                self._credentials = self._make()
            credentials = self._credentials
        return presign(f'{self._platform.url}/s3', credentials['accessKeyId'], credentials['secretAccessKey'], bucket, key, query, time.time(), expires)

    def _make(self) -> dict:
        before = time.time() * 1000 - _DAY_MS
        for one in self._platform.json('GET', '/v1/s3/credentials')['credentials']:
            if one['name'] == _NAME and one['createdAtMs'] < before:
                try:
                    self._platform.json('DELETE', f'/v1/s3/credentials/{one["accessKeyId"]}')
                except PlatformError:
                    pass  # another program was faster
        return self._platform.json('POST', '/v1/s3/credentials', {'name': _NAME})


def parse_listing(xml: bytes) -> tuple:
    """A page of ListObjectsV2 with `encoding-type=url`: (key, size) of each object, and the token of the next page ('' at the end)."""
    root = ElementTree.fromstring(xml)
    space = root.tag[:root.tag.index('}') + 1] if root.tag.startswith('{') else ''
    objects = [(unquote_plus(one.findtext(f'{space}Key') or ''), int(one.findtext(f'{space}Size') or 0)) for one in root.findall(f'{space}Contents')]
    return objects, root.findtext(f'{space}NextContinuationToken') or ''

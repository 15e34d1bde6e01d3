"""
A module of the user's program as a function of the platform, deployed when its code is not there yet.

The name says which code it is (`map-<file>-<hash of code and settings>`), so programs on many machines share a function, and a change of the code is
another function: what still runs is not disturbed. Functions of a map that nobody has called for two weeks go when a new one is deployed.
"""
from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import time

from .platform import Platform, PlatformError
from .sources import Place, sources_of

ENTRY = 'skep_map_entry.py'
_HERE = os.path.dirname(os.path.abspath(__file__))
_NAME = re.compile(r'^map-[A-Za-z0-9_.-]{1,40}-[0-9a-f]{12}$')
UNUSED_MS = 14 * 86_400_000


def deploy_module(platform: Platform, place: Place, settings: dict, include=()) -> tuple[str, str]:
    """Returns the function's name and the path of its address. Raises PlatformError, ValueError."""
    files = sources_of(place, include)
    # Without what is only for the program's side it would start no faster: the package is small, and the module may import it.
    for name in sorted(os.listdir(_HERE)):
        if name.endswith('.py'):
            with open(os.path.join(_HERE, name), 'rb') as file:
                files[f'skep_map/{name}'] = file.read()
    files[ENTRY] = f'# Made by skep_map.\nfrom skep_map import remote\napp = remote.serve({place.file!r}, {place.module!r}, {place.is_script!r})\n'.encode()
    return _deploy(platform, os.path.basename(place.file), files, {**settings, 'kind': 'python', 'entry': ENTRY})


def deploy_reader(platform: Platform) -> tuple[str, str]:
    """The function that reads buckets (reader.py)."""
    with open(os.path.join(_HERE, 'reader.py'), 'rb') as file:
        files = {'reader.py': file.read()}
    return _deploy(platform, 'reader', files, {'kind': 'python', 'entry': 'reader.py', 'network': 'host', 'timeoutMs': 600_000})


def _deploy(platform: Platform, file: str, files: dict[str, bytes], config: dict) -> tuple[str, str]:
    tar = pack(files)
    digest = hashlib.sha256(tar).hexdigest()
    name = name_of(file, digest, config)
    try:
        view = platform.json('GET', f'/v1/functions/{name}')
    except PlatformError as error:
        if error.code != 'FUNCTION_NOT_FOUND':
            raise
        platform.json('POST', '/v1/code', body=tar, content_type='application/x-tar')
        view = platform.json('PUT', f'/v1/functions/{name}', {**config, 'code': digest})
        try:
            _remove_unused(platform)
        except PlatformError:
            pass  # a chore of its own, which must not fail the program
    return name, f'/fn/{view["namespace"]}/{name}/'


def pack(files: dict[str, bytes]) -> bytes:
    """A tar whose bytes depend on nothing but the files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(files):
            info = tarfile.TarInfo(path)
            info.size = len(files[path])
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(files[path]))
    return out.getvalue()


def name_of(file: str, digest: str, config: dict) -> str:
    stem = re.sub(r'[^A-Za-z0-9_.-]+', '-', re.sub(r'\.[^.]+$', '', file))[:40] or 'module'
    settings = json.dumps(config, sort_keys=True)
    return f'map-{stem}-{hashlib.sha256((digest + settings).encode()).hexdigest()[:12]}'


def _remove_unused(platform: Platform) -> None:
    before = time.time() * 1000 - UNUSED_MS
    for one in platform.json('GET', '/v1/functions')['functions']:
        if _NAME.match(one['name']) and one['updatedAtMs'] < before:
            if not platform.json('GET', f'/v1/invocations?function={one["name"]}&limit=1')['invocations']:
                remove(platform, one['name'])


def remove(platform: Platform, name: str) -> None:
    """Gone already is as good."""
    try:
        platform.json('DELETE', f'/v1/functions/{name}')
    except PlatformError as error:
        if error.code != 'FUNCTION_NOT_FOUND':
            raise

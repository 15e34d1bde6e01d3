"""
Which files a function needs: its module, and the local modules that it imports, found by reading the imports (nothing is run).

Local is what lies below the directory that the module is imported from; a package goes with all its files. Packages of pip are not sent: `include`
names directories to send, such as one made by `pip install --target`.
"""
from __future__ import annotations

import ast
import os
import sys

BYTES_MAX = 256 * 1024 * 1024
_LEFT_OUT = frozenset(('__pycache__', '.git', '.venv', 'venv', 'node_modules', '.mypy_cache', '.pytest_cache'))


class Place:
    """Of a function: `root` is the directory that its `module` is imported from, `file` is relative to it; `name` is within the module."""

    def __init__(self, root: str, file: str, module: str, name: str, is_script: bool) -> None:
        self.root = root
        self.file = file
        self.module = module
        self.name = name
        self.is_script = is_script


def locate(function) -> Place:
    """Raises ValueError with what to do."""
    name = getattr(function, '__qualname__', None)
    module = sys.modules.get(getattr(function, '__module__', None) or '')
    if name is None or module is None:
        raise ValueError(f'{function!r} cannot be run elsewhere: it is not a function of a module. Define it with def at the top of a module or script.')
    if '<' in name:
        raise ValueError(f'{name} cannot be run elsewhere: it is a lambda, or is defined in a function. Define it with def at the top of the module.')
    file = getattr(module, '__file__', None)
    if not file or not os.path.isfile(file):
        raise ValueError(f'{name} cannot be run elsewhere: its module {module.__name__} has no source file. Write it into a file, and run or import that.')
    path = os.path.realpath(file)
    spec = getattr(module, '__spec__', None)
    # `python -m package.module` is __main__, too, and has a name to be imported by.
    imported = module.__name__ if module.__name__ != '__main__' else spec.name if spec is not None else None
    if imported is None:
        return Place(os.path.dirname(path), os.path.basename(path), '__main__', name, True)
    depth = imported.count('.') + (1 if os.path.basename(path) == '__init__.py' else 0)
    root = os.path.dirname(path)
    for _ in range(depth):
        root = os.path.dirname(root)
    return Place(root, os.path.relpath(path, root), imported, name, module.__name__ == '__main__')


def sources_of(place: Place, include=()) -> dict[str, bytes]:
    """Bytes by path, for the function's code. Raises ValueError when they are too many."""
    files: dict[str, bytes] = {}
    wanted = [place.file] if '.' not in place.module else []
    if not place.is_script or '.' in place.module:
        wanted += _files_of(place.root, place.module.partition('.')[0])
    seen = set()
    while wanted:
        path = wanted.pop()
        if path in seen:
            continue
        seen.add(path)
        with open(os.path.join(place.root, path), 'rb') as file:
            data = file.read()
        files[path] = data
        if path.endswith('.py'):
            for name in _imports(data, path):
                wanted += _files_of(place.root, name)
    for directory in include:
        files.update(_walk(os.path.realpath(directory), ''))
    total = sum(map(len, files.values()))
    if total > BYTES_MAX:
        raise ValueError(f'The code of {place.module} has {total} bytes, of at most {BYTES_MAX}. Keep data out of its packages.')
    return files


def _imports(data: bytes, path: str) -> set[str]:
    """The first names of what a file imports absolutely; relative imports are within a package, which is there whole."""
    names = set()
    for node in ast.walk(ast.parse(data, path)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition('.')[0])
    return names - {'skep_map', 'skep'}


def _files_of(root: str, name: str) -> list[str]:
    if os.path.isdir(os.path.join(root, name)) and name not in _LEFT_OUT:
        inside = _walk(root, name, read=False)
        # A directory of something else may have the name of a package.
        if any(path.endswith('.py') for path in inside):
            return list(inside)
    return [f'{name}.py'] if os.path.isfile(os.path.join(root, f'{name}.py')) else []


def _walk(root: str, below: str, read: bool = True) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for directory, directories, names in os.walk(os.path.join(root, below)):
        directories[:] = sorted(one for one in directories if one not in _LEFT_OUT)
        for name in sorted(names):
            path = os.path.join(directory, name)
            if name.endswith('.pyc') or name.startswith('.env') or not os.path.isfile(path):
                continue
            data = b''
            if read:
                with open(path, 'rb') as file:
                    data = file.read()
            found[os.path.relpath(path, root).replace(os.sep, '/')] = data
    return found

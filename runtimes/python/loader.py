"""
Loads the function's code and finds its handler.

Order: the handler the user named ("file.func" or "func"); `main` (OpenWhisk); `handler`, then `lambda_handler` (AWS Lambda);
`app`, then `application` (ASGI or WSGI).
"""
from __future__ import annotations

import os
import sys

from .faults import Fault, init_failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

_CO_VARARGS = 4
_CO_COROUTINE = 0x80


class Handler:
    """`shape`: how it is called. `call`: with as many of the two arguments as it takes. `streaming`: see `skep.streaming`."""

    __slots__ = ('shape', 'call', 'streaming', 'is_async')

    def __init__(self, shape: str, call: Callable, streaming: bool, is_async: bool) -> None:
        self.shape = shape
        self.call = call
        self.streaming = streaming
        self.is_async = is_async


def load_handler(app: str, entry: str, handler: Optional[str]) -> Handler:
    """Imports `entry` of the folder `app`. Raises Fault: CODE_INVALID, HANDLER_NOT_FOUND, INIT_FAILED."""
    name = handler
    if handler and '.' in handler:
        # "file.func", as AWS Lambda writes it; "folder.file.func" and "folder/file.func" are accepted too.
        file, _, name = handler.rpartition('.')
        path = file.replace('.', '/') + '.py'
        if path != entry and os.path.isfile(os.path.join(app, path)):
            entry = path
    path = os.path.join(app, entry)
    if not os.path.isfile(path):
        raise Fault('HANDLER_NOT_FOUND', f'There is no file {entry} in the function\'s code; {_list_files(app)}.')
    try:
        module = _import_file(app, entry)
    except BaseException as error:
        raise init_failed(error) from None
    if name:
        found = getattr(module, name, None)
        if not callable(found):
            what = f'is {type(found).__name__}, not a function' if hasattr(module, name) else 'does not exist'
            raise Fault('HANDLER_NOT_FOUND', f'The handler {name} in {entry} {what}; {_list_functions(module)}.')
        return _recognise(name, found, named=True)
    for name in ('main', 'handler', 'lambda_handler', 'app', 'application'):
        found = getattr(module, name, None)
        if callable(found):
            return _recognise(name, found, named=False)
    raise Fault(
        'HANDLER_NOT_FOUND',
        f'{entry} has no handler: define main(params), handler(event, context) or an ASGI/WSGI app, or name one (--handler); {_list_functions(module)}.',
    )


def _recognise(name: str, found: Callable, named: bool) -> Handler:
    is_web = name in ('app', 'application')
    if is_web:
        from .web_app import asgi_handler, is_asgi, wsgi_handler
        asgi = is_asgi(found)
        call = asgi_handler(found) if asgi else wsgi_handler(found)
        return Handler('fetch', call, True, asgi)
    count = _argument_count(found)
    # A handler named by the user is called as Lambda does when it takes two arguments, otherwise as OpenWhisk does.
    shape = 'handler' if name in ('handler', 'lambda_handler') or (named and name != 'main' and count >= 2) else 'main'
    if count >= 2:
        call = found
    elif count == 1:
        def call(event, context):
            return found(event)
    else:
        def call(event, context):
            return found()
    return Handler(shape, call, bool(getattr(found, '__skep_streaming__', False)), _is_async(found))


def _argument_count(function: Callable) -> int:
    """How many positional arguments it takes; 2 means two or more."""
    code = getattr(function, '__code__', None)
    if code is None or hasattr(function, '__wrapped__') or not hasattr(function, '__name__'):
        import inspect
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return 1
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
            return 2
        return min(2, sum(1 for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)))
    if code.co_flags & _CO_VARARGS:
        return 2
    bound = 1 if hasattr(function, '__self__') else 0
    return min(2, code.co_argcount - bound)


def _is_async(function: Callable) -> bool:
    code = getattr(function, '__code__', None) or getattr(getattr(function, '__call__', None), '__code__', None)
    # Also async generators.
    return code is not None and bool(code.co_flags & (_CO_COROUTINE | 0x200))


def _import_file(app: str, entry: str):
    from importlib.util import module_from_spec, spec_from_file_location
    folder, file = os.path.split(entry)
    stem = file[:-3] if file.endswith('.py') else file
    # A file in a folder with an __init__ is a module of that package, so that its relative imports work.
    package = folder.replace('/', '.') if folder and os.path.isfile(os.path.join(app, folder, '__init__.py')) else ''
    if folder and not package:
        sys.path.insert(0, os.path.join(app, folder))
    if package:
        import importlib
        return importlib.import_module(f'{package}.{stem}')
    if stem in sys.modules and stem != '__main__':
        # A function called json.py must not replace what the runtime itself uses.
        stem = f'skep_function_{stem}'
    path = os.path.join(app, entry)
    if not path.endswith('.py'):
        from importlib.machinery import SourceFileLoader
        spec = spec_from_file_location(stem, path, loader=SourceFileLoader(stem, path))
    else:
        spec = spec_from_file_location(stem, path)
    module = module_from_spec(spec)
    sys.modules[stem] = module
    spec.loader.exec_module(module)
    return module


def _list_functions(module) -> str:
    names = [name for name, value in vars(module).items() if not name.startswith('_') and callable(value)
             and getattr(value, '__module__', None) == module.__name__]
    return f'it defines {", ".join(names[:20])}' if names else 'it defines no functions'


def _list_files(app: str) -> str:
    try:
        names = sorted(name for name in os.listdir(app) if not name.startswith('.'))
    except OSError as error:
        return f'its folder cannot be read ({error.strerror})'
    return f'it has {", ".join(names[:20])}{"…" if len(names) > 20 else ""}' if names else 'it has no files'

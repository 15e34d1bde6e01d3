"""
What is deployed with the user's module: takes an order, runs the function that it names, and reports.

    R1. An item that fails says nothing of its neighbours in the chunk: each has its outcome.
    R2. Results that other functions need are kept here, by reference; the report has only the references.
"""
from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import zlib

from .envelope import MAIN, TYPE, dumps, loads, read_order
from .remote_error import facts_of

_GONE = ('OBJECT_EXPIRED', 'OBJECT_USED_UP', 'OBJECT_LOST')


def serve(file: str, module: str, is_script: bool):
    """
    A WSGI application that runs functions of the module, which is imported first.

    A script is loaded under a name of its own, so that what stands below `if __name__ == '__main__'` does not run.
    """
    from . import executor
    executor.in_cloud = True
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if root not in sys.path:
        sys.path.insert(0, root)
    loaded = _load_script(os.path.join(root, file), module.rpartition('.')[0]) if is_script else importlib.import_module(module)

    def app(environ, start_response):
        report = _carry_out(loaded, read_order(environ['wsgi.input'].read()))
        failed = report['kind'] == 'outcomes' and any('error' in outcome for outcome in report['values'])
        body = _encode(report)
        start_response('500 Failed' if failed else '200 OK', [('Content-Type', TYPE), ('Content-Length', str(len(body)))])
        return [body]

    return app


def _load_script(path: str, package: str):
    spec = importlib.util.spec_from_file_location(MAIN, path)
    module = importlib.util.module_from_spec(spec)
    if package:
        # Started as `python -m package.module`: it may import its neighbours relatively.
        importlib.import_module(package)
        module.__package__ = package
    sys.modules[MAIN] = module
    spec.loader.exec_module(module)
    return module


def _carry_out(module, order: dict) -> dict:
    function = module
    for name in order['run'].split('.'):
        function = getattr(function, name)
    if order['kind'] == 'reduce':
        return _reduce(function, order['values'])
    is_parts = order['kind'] == 'parts'
    takes_about = is_parts and _takes_two(function)
    outcomes = []
    for value in order['values']:
        def act(value=value):
            if not is_parts:
                return function(value)
            data = _open(value['reference'], order['stream'])
            return function(data, value['about']) if takes_about else function(data)
        outcomes.append(_outcome(act))
    keep = order.get('keep')
    if keep is None or any('error' in outcome for outcome in outcomes):
        return {'kind': 'outcomes', 'values': outcomes}
    return _keep([outcome['value'] for outcome in outcomes], **keep)


def _takes_two(function) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(1 for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)) >= 2


def _open(reference: str, stream: bool):
    import skep
    return skep.get_stream(reference) if stream else skep.get(reference)


def _outcome(act) -> dict:
    try:
        value = act()
        return {'value': bytes(value) if isinstance(value, memoryview) else value}
    except Exception as error:
        # So that it stands in the log of the invocation, too.
        traceback.print_exc()
        return {'error': facts_of(error)}


def _encode(report: dict) -> bytes:
    """A value that cannot be pickled is the failure of its item only."""
    try:
        return dumps(report)
    except Exception as whole:  # pickle raises nearly everything
        if report['kind'] != 'outcomes':
            raise
        cause = whole
    outcomes = []
    for outcome in report['values']:
        try:
            dumps(outcome)
            outcomes.append(outcome)
        except Exception:
            outcomes.append({'error': facts_of(TypeError(f'What the function returned cannot be pickled: {cause}'))})
    return dumps({'kind': 'outcomes', 'values': outcomes})


def partition(value, partitions: int) -> list:
    """With more than one reducer, a dict's keys are shared out: each goes to one reducer, the same from every mapper."""
    if partitions == 1:
        return [value]
    if not isinstance(value, dict):
        raise TypeError(f'With {partitions} reducers, what is mapped must be a dict, whose keys are shared out; this is {type(value).__name__}. Use one reducer, or return a dict.')
    parts = [{} for _ in range(partitions)]
    for key, held in value.items():
        parts[zlib.crc32(repr(key).encode()) % partitions][key] = held
    return parts


def _keep(values: list, partitions: int, only: int | None = None) -> dict:
    """One object per partition: the list of what each item has for it."""
    import skep

    def act():
        split = [partition(value, partitions) for value in values]
        return [skep.put(dumps([parts[at] for parts in split])) for at in (range(partitions) if only is None else [only])]
    outcome = _outcome(act)
    return {'kind': 'outcomes', 'values': [outcome]} if 'error' in outcome else {'kind': 'kept', 'values': outcome['value']}


def _reduce(function, references: list) -> dict:
    import skep
    values = []
    lost = []
    for at, reference in enumerate(references):
        try:
            values.extend(loads(skep.get(reference)))
        except skep.SkepError as error:
            if error.code not in _GONE:
                raise
            lost.append(at)
    if lost:
        return {'kind': 'lost', 'values': lost}
    return {'kind': 'outcomes', 'values': [_outcome(lambda: function(values))]}

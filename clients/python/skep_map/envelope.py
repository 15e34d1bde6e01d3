"""
What goes between the program and its function: one pickled value each way.

Both ends are the user's own, in the user's own namespace; what comes from anywhere else is not read: the platform checks keys. A script is
`__main__` here and a module there: its classes are looked up under one name on both sides.

    order   {run, kind: items | parts | reduce, values, stream?, keep?}   ->   report {kind: outcomes | kept | lost, values}
"""
from __future__ import annotations

import io
import pickle
import sys

# The name of the script's module in the cloud.
MAIN = '__skep_main__'
TYPE = 'application/x-skep-map'

# Written by Python 3.9 and newer, read by all of them.
_PROTOCOL = 4
_ORDERS = ('items', 'parts', 'reduce')
_REPORTS = ('outcomes', 'kept', 'lost')


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if module in ('__main__', MAIN):
            module = MAIN if MAIN in sys.modules else '__main__'
        return super().find_class(module, name)


def dumps(value: object) -> bytes:
    return pickle.dumps(value, protocol=_PROTOCOL)


def loads(data) -> object:
    return _Unpickler(io.BytesIO(data)).load()


def read_order(data) -> dict:
    """Raises ValueError when it is none."""
    return _read(data, _ORDERS, 'an order')


def read_report(data) -> dict:
    """Raises ValueError when it is none."""
    return _read(data, _REPORTS, 'a report')


def _read(data, kinds: tuple, what: str) -> dict:
    try:
        value = loads(data)
    except Exception as error:  # pickle raises nearly everything
        raise ValueError(f'This is not {what} of a map ({type(error).__name__}: {error}): another function answered, or a module is missing. Run the program again.') from error
    if not isinstance(value, dict) or value.get('kind') not in kinds or not isinstance(value.get('values'), list):
        raise ValueError(f'This is not {what} of a map: another function answered. Run the program again.')
    return value

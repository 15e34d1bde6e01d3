"""
What a measured function is, apart from the platform it runs on: fields in, a reply out, and links to what the platform has.

The same as work.ts, whose invariants hold here too. Links are an object with request_id, and as far as the platform has them invoke, put, get,
put_reference and get_reference.
"""


def number_of(fields: dict, name: str) -> float:
    value = fields.get(name) or 0
    number = float(value)
    if not 0 <= number < float('inf'):
        raise ValueError(f'{name}: {value!r} is no number from 0; leave it out or correct it')
    return number


def list_of(value: object) -> list:
    """`[a b]` as Go prints a list; names have no spaces."""
    return str(value or '').strip('[]').split()

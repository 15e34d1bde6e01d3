"""`main(params)` that returns a value of every kind, by name."""
import datetime
import io


def looped():
    value = []
    value.append(value)
    return value


RESULTS = {
    'none': lambda: None,
    'text': lambda: 'grüße',
    'bytes': lambda: b'\x00\xff',
    'list': lambda: [1, 'two', None],
    'number': lambda: 42,
    'described': lambda: {'statusCode': 201, 'headers': {'X-One': 1, 'set-cookie': ['a=1', 'b=2']}, 'body': {'made': True}},
    'html': lambda: {'body': '<p>hello</p>'},
    'image': lambda: {'headers': {'content-type': 'image/png'}, 'body': 'iVBORw=='},
    'error': lambda: {'error': 'it does not fit'},
    'error404': lambda: {'statusCode': 404, 'error': 'not here'},
    'error-inside': lambda: {'error': {'statusCode': 403, 'body': {'why': 'closed'}}},
    'file': lambda: io.BytesIO(b'x' * 200_000),
    'large': lambda: {'text': 'y' * 1_000_000},
    'date': lambda: {'rows': [{'when': datetime.date(2024, 1, 2)}]},
    'set': lambda: {'names': {1, 2}},
    'nan': lambda: [1.0, float('nan')],
    'key': lambda: {(1, 2): 3},
    'looped': looped,
    'status': lambda: {'statusCode': 99},
    'header': lambda: {'statusCode': 200, 'headers': {'x-bad': 'a\r\nset-cookie: b=1'}},
    'yields-dict': lambda: iter([{'no': 'chunk'}]),
}


def main(params):
    return RESULTS[params['what']]()

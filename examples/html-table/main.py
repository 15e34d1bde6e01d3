"""
Renders rows as an HTML page with a table: {"title", "columns", "rows": [{column: value, ...}, ...]} gives text/html.

Everything that comes in is escaped, so that no cell can become a tag. Columns of numbers are set to the right; a missing
value is an empty cell. Without "columns", they are those of the rows, in the order in which they first appear.
"""
from html import escape

STYLE = (
    'body{font:15px/1.5 system-ui,sans-serif;margin:2rem}table{border-collapse:collapse}'
    'th,td{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:left}th{background:#f4f1ea}'
    '.number{text-align:right;font-variant-numeric:tabular-nums}tfoot td{color:#666;border:0}'
)


def main(params):
    rows = params.get('rows')
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return {'statusCode': 400, 'error': 'There are no rows: send {"rows": [{"column": "value"}, ...]}.'}
    columns = params.get('columns') or list(dict.fromkeys(name for row in rows for name in row))
    body = render(str(params.get('title', 'Table')), columns, rows)
    return {'statusCode': 200, 'headers': {'content-type': 'text/html; charset=utf-8'}, 'body': body}


def render(title, columns, rows):
    classes = [' class="number"' if is_number_column(rows, name) else '' for name in columns]
    head = ''.join(f'<th{kind}>{escape(str(name))}</th>' for name, kind in zip(columns, classes))
    lines = [
        '<tr>' + ''.join(f'<td{kind}>{escape(text_of(row.get(name)))}</td>' for name, kind in zip(columns, classes)) + '</tr>'
        for row in rows
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f'<body>\n<h1>{escape(title)}</h1>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n' + '\n'.join(lines) + '\n</tbody>\n'
        f'<tfoot><tr><td colspan="{max(1, len(columns))}">{len(rows)} rows</td></tr></tfoot>\n</table>\n</body>\n</html>\n'
    )


def is_number_column(rows, name):
    values = [row[name] for row in rows if row.get(name) is not None]
    return bool(values) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def text_of(value):
    if value is None:
        return ''
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return str(value)

"""
Groups the rows of a CSV by one column and adds up another, while the body arrives: ?by=region&value=amount.
Memory grows with the number of groups, not with the file. The answer is that of ../csv-totals.
"""
import csv
import io
import math

import skep


@skep.streaming
def main(params):
    # The body is not waited for: rows are read from it as they come.
    text = io.TextIOWrapper(skep.request().stream, encoding='utf-8-sig', newline='')
    try:
        return total(csv.reader(text), params.get('by', 'region'), params.get('value', 'amount'))
    except (ValueError, csv.Error) as error:
        return {'statusCode': 400, 'error': str(error)}


def total(rows, by, value):
    """Raises ValueError when the rows have no such columns, or no numbers in them."""
    header = next(rows, None)
    if header is None:
        raise ValueError('The CSV is empty: its first row must name the columns.')
    key_at, value_at = column_of(header, by), column_of(header, value)
    groups = {}
    count = 0
    for row in rows:
        if not row:
            continue
        count += 1
        number = number_of(row[value_at] if value_at < len(row) else '', count, value)
        key = row[key_at] if key_at < len(row) else ''
        group = groups.get(key)
        if group is None:
            groups[key] = [1, number, number, number, 0.0]
        else:
            group[0] += 1
            # Kahan's sum carries on what rounding loses, so that a thousand prices add up to the cent.
            exact = number - group[4]
            added = group[1] + exact
            group[4] = added - group[1] - exact
            group[1] = added
            if number < group[2]:
                group[2] = number
            if number > group[3]:
                group[3] = number
    return {
        'by': by,
        'value': value,
        'rows': count,
        'groups': [
            {'key': key, 'count': size, 'sum': added, 'mean': added / size, 'min': least, 'max': most}
            for key, (size, added, least, most, _lost) in sorted(groups.items())
        ],
    }


def column_of(header, name):
    if name not in header:
        raise ValueError(f'There is no column "{name}". The columns are: {", ".join(header)}.')
    return header.index(name)


def number_of(text, row, column):
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f'Row {row} has "{text}" in column "{column}", which is not a number.')
    return number

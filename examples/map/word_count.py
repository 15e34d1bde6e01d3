"""
How often each word occurs in the objects of a bucket: map, then reduce by four. From examples/map:

    PYTHONPATH=../../clients/python python3 word_count.py BUCKET [PREFIX]
"""
import re
import sys
from collections import Counter

from skep_map import Bucket, Executor


def count_words(text):
    return dict(Counter(re.findall(r'[^\W\d_]+', str(text, 'utf-8').lower())))


def add_up(parts):
    sums = Counter()
    for part in parts:
        sums.update(part)
    return dict(sums)


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit('Say which bucket: word_count.py BUCKET [PREFIX]')
    bucket = Bucket(*sys.argv[1:3], chunk_bytes=4_000_000)
    with Executor() as run:
        shares = run.map_reduce(count_words, bucket, add_up, reducers=4).result()
    counts = Counter()
    for share in shares:
        counts.update(share)
    for word, count in counts.most_common(10):
        print(f'{count:8} {word}')

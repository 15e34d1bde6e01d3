"""
A function that brings a stored object to where functions without network can get it.

It has the network and no secret: the address it is given is signed, for this object and for a while. The bytes go from the bucket into the
platform's memory, and the answer is their reference; they never go through the program that asked.
"""
import urllib.request

CHUNK_BYTES = 256 * 1024


def main(params):
    import skep
    start, end, size = params['from'], params['to'], params['size']
    whole = start == 0 and end == size
    # One byte before: whether a line begins exactly here. Open at the end: the last line goes on behind it.
    headers = {} if whole or size == 0 else {'range': f'bytes={max(0, start - 1)}-'}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(params['url'], headers=headers)) as response:
        chunks = iter(lambda: response.read(CHUNK_BYTES), b'')
        return {'reference': skep.put(chunks if whole else whole_lines(chunks, start, end))}


def whole_lines(chunks, start: int, end: int):
    """The lines that begin in [start, end), of bytes that begin at `start` - 1 (at 0, when `start` is 0)."""
    at = max(0, start - 1)
    begun = start == 0
    for chunk in chunks:
        first = 0
        if not begun:
            line_end = chunk.find(b'\n')
            if line_end >= 0:
                begun = True
                first = line_end + 1
                if at + first >= end:
                    return
        if begun:
            # A line end at or behind the last byte of the range is this part's last byte.
            line_end = chunk.find(b'\n', max(first, end - 1 - at))
            if line_end >= 0:
                yield chunk[first:line_end + 1]
                return
            if first < len(chunk):
                yield chunk[first:]
        at += len(chunk)

"""
A function of a chain: the first makes a payload, each passes it on to the next, and the timestamps of all come back.

The same as producer-consumer.ts, whose invariants F1 to F3 hold here too.
"""
import os
import time
import uuid

from busy import spin
from work import list_of, number_of

_LETTERS = b'0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
_TO_LETTERS = bytes(_LETTERS[byte % len(_LETTERS)] for byte in range(256))

# F3. Of this instance; taking from a list and adding to it need no lock.
_owner = uuid.uuid4()
_free_slots: list = []
_slots = iter(range(10 ** 9))


def work(fields: dict, links) -> dict:
    size = int(number_of(fields, 'PayloadLengthBytes'))
    is_first = 'TimestampChain' not in fields
    payload = os.urandom(size).translate(_TO_LETTERS) if is_first else _received(fields, links)
    if len(payload) != size:
        raise ValueError(f'PayloadLengthBytes: {size} were to come, and {len(payload)} came')
    received_at = _now_ms()
    spin(fields)
    timestamps = list_of(fields.get('TimestampChain')) + [_now_ms() if is_first else received_at]
    following = list_of(fields.get('DataTransferChainIDs'))
    if following:
        passed = {name: value for name, value in fields.items() if name not in ('TransferPayload', 'Key', 'Reference')}
        message = {**passed, 'DataTransferChainIDs': f'[{" ".join(following[1:])}]', 'TimestampChain': f'[{" ".join(timestamps)}]'}
        timestamps = _pass_on(following[0], message, payload, links)['TimestampChain']
    return {'RequestID': links.request_id, 'TimestampChain': timestamps}


def _is_set(fields: dict, name: str) -> bool:
    return str(fields.get(name)).lower() == 'true'


def _received(fields: dict, links) -> bytes:
    text = fields.get('TransferPayload')
    if text is not None:
        return text.encode('ascii')
    if _is_set(fields, 'StorageTransfer'):
        view = links.get(fields['Bucket'], fields['Key'])
    else:
        view = links.get_reference(fields['Reference'])
    # A copy reads all of it, also where memory was only mapped.
    return bytes(view)


def _pass_on(following: str, message: dict, payload: bytes, links) -> dict:
    if _is_set(message, 'ReferenceTransfer'):
        return links.invoke(following, {**message, 'Reference': links.put_reference(payload)})
    if not _is_set(message, 'StorageTransfer'):
        return links.invoke(following, {**message, 'TransferPayload': payload.decode('ascii')})
    try:
        slot = _free_slots.pop()
    except IndexError:
        slot = next(_slots)
    key = f'{_owner}/{slot}'
    links.put(message['Bucket'], key, payload)
    # After a failure somebody may read it still, so its slot is lost.
    reply = links.invoke(following, {**message, 'Key': key})
    _free_slots.append(slot)
    return reply


def _now_ms() -> str:
    return str(time.time() * 1000)

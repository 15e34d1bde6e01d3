"""
Counts the words of a text, as an AWS Lambda function would: the text is the request's body, or {"text": ...} when the
function is invoked directly. "top" (in the query or the event) says how many words to name; 20 if not said.

Words are the same as those of ../word-count: letters and digits of any script, with apostrophes inside.
"""
import base64
import json
import re
from collections import Counter

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def handler(event, context):
    query = event.get('queryStringParameters') or {}
    try:
        top = int(query.get('top', event.get('top', 20)))
        text = text_of(event)
        if top < 0:
            raise ValueError('top is below 0')
    except (ValueError, TypeError) as error:
        return refuse(f'The input cannot be used ({error}). Send text in UTF-8, and top as a whole number.')
    if not isinstance(text, str):
        return refuse('There is no text: send it as the body, or as {"text": ...}.')
    return count(text, top)


def count(text, top):
    counts = Counter(WORD.findall(text.lower()))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        'words': sum(counts.values()),
        'distinct': len(counts),
        'top': [{'word': word, 'count': times} for word, times in ranked[:top]],
    }


def text_of(event):
    if 'text' in event:
        return event['text']
    if event.get('isBase64Encoded'):
        return base64.b64decode(event['body']).decode('utf-8')
    return event.get('body')


def refuse(message):
    return {'statusCode': 400, 'body': json.dumps({'error': {'code': 'INPUT_INVALID', 'message': message}})}

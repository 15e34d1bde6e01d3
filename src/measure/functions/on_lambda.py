"""Adapter: on AWS Lambda, by its API or by a function URL. boto3 is Lambda's own, and loaded by the first chain that needs it."""
import json

_clients: dict = {}


def _client(name: str):
    if name not in _clients:
        import boto3
        from botocore.config import Config
        _clients[name] = boto3.client(name, config=Config(retries={'max_attempts': 0}, read_timeout=900))
    return _clients[name]


class _Links:
    def __init__(self, request_id: str) -> None:
        self.request_id = request_id

    def invoke(self, function: str, message: dict) -> dict:
        answer = _client('lambda').invoke(FunctionName=function, Payload=json.dumps(message).encode())
        text = answer['Payload'].read()
        if 'FunctionError' in answer:
            raise RuntimeError(f'{function} failed ({answer["FunctionError"]}): {text[:200]!r}')
        return json.loads(text)

    def put(self, bucket: str, key: str, payload: bytes) -> None:
        _client('s3').put_object(Bucket=bucket, Key=key, Body=payload)

    def get(self, bucket: str, key: str) -> bytes:
        return _client('s3').get_object(Bucket=bucket, Key=key)['Body'].read()


def serve(work):
    def lambda_handler(event: dict, context) -> dict:
        is_url = 'requestContext' in event
        fields = {**(event.get('queryStringParameters') or {}), **json.loads(event.get('body') or '{}')} if is_url else event
        reply = work(fields, _Links(context.aws_request_id))
        return {'statusCode': 200, 'headers': {'content-type': 'application/json'}, 'body': json.dumps(reply)} if is_url else reply
    return lambda_handler

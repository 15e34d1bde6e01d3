"""Adapter: an action of OpenWhisk. Chains go through its API, with the key that the annotation provide-api-key gives an action."""
import base64
import json
import os
import urllib.parse
import urllib.request


class _Links:
    def __init__(self) -> None:
        self.request_id = os.environ.get('__OW_ACTIVATION_ID', '')

    def invoke(self, action: str, message: dict) -> dict:
        host = os.environ['__OW_API_HOST']
        address = f'{host if host.startswith("http") else "https://" + host}/api/v1/namespaces/_/actions/{urllib.parse.quote(action)}?blocking=true&result=true'
        key = base64.b64encode(os.environ['__OW_API_KEY'].encode()).decode()
        request = urllib.request.Request(address, json.dumps(message).encode(), {'authorization': f'Basic {key}', 'content-type': 'application/json'})
        with urllib.request.urlopen(request) as answer:
            if answer.status != 200:
                raise RuntimeError(f'{action} answered {answer.status}')
            return json.load(answer)


def serve(work):
    return lambda parameters: work(parameters, _Links())

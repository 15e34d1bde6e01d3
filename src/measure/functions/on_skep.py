"""Adapter: on Skep, kind python. Chains go through its SDK, objects through its buckets or by its references."""
import skep


class _Links:
    invoke = staticmethod(skep.invoke)
    put_reference = staticmethod(skep.put)
    get_reference = staticmethod(skep.get)

    def __init__(self) -> None:
        self.request_id = skep.context().invocation_id

    def put(self, bucket: str, key: str, payload: bytes) -> None:
        skep.put(payload, key=f's3://{bucket}/{key}')

    def get(self, bucket: str, key: str) -> memoryview:
        return skep.get(f's3://{bucket}/{key}')


def serve(work):
    # What begins with __ow_ tells of the request.
    return lambda params: work({name: value for name, value in params.items() if not name.startswith('__')}, _Links())

"""Calls other functions through the SDK."""
import threading

import skep


def main(params):
    what = params.get('what')
    try:
        if what == 'chain':
            return skep.invoke('double', skep.invoke('double', params['number']))
        if what == 'async':
            return skep.invoke_async('later', {'a': 1})
        if what == 'timeout':
            return skep.invoke('never', {}, timeout=0.05)
        if what == 'large':
            return len(skep.invoke('size', 'x' * params['size']))
        if what == 'bytes':
            return skep.invoke('reverse', bytes(range(10)))
        if what == 'payload':
            return skep.invoke('double', {'x': {1, 2}})
        if what == 'context':
            context = skep.context()
            left_ms = context.remaining_ms()
            return {'id': context.invocation_id, 'leftMs': None if left_ms == float('inf') else left_ms, 'lambdaMs': context.get_remaining_time_in_millis()}
        if what == 'thread':
            results = []
            thread = threading.Thread(target=lambda: results.append(skep.invoke('double', 4)))
            thread.start()
            thread.join()
            return results[0]
        return skep.invoke(params['name'], params.get('payload'))
    except skep.SkepError as error:
        return {'code': error.code, 'message': error.message, 'status': error.status}

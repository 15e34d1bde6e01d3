"""A handler that takes its whole body, of whatever size."""
import skep


def main(params):
    return {'method': params['__ow_method'], 'size': len(params.get('text', '')), 'raw': len(params.get('__ow_body', '')), 'body': len(skep.request().body)}

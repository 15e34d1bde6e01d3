"""Finds a library that lies beside it, whatever the runtime's own files are called."""
import frames

from vendored_library import greeting


def main(params):
    return {'greeting': greeting(), 'frames': frames.OWN}

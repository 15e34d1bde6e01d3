"""
Runs the functions of an ordinary Python program on a Skep platform.

    from skep_map import Executor

    def work(x):
        return x * x

    if __name__ == '__main__':
        with Executor() as run:
            print(run.results(run.map(work, range(100))))

The function's module is sent there once, under the hash of its code, with the local modules that it imports. How to use it: docs/map.md.
Standard library only, Python 3.9 or newer. In the cloud the same package is there, and an Executor refuses to work.
"""
from .executor import Executor
from .future import Future, wait
from .objects import Bucket, References
from .platform import PlatformError
from .remote_error import RemoteError

__all__ = ['Bucket', 'Executor', 'Future', 'PlatformError', 'References', 'RemoteError', 'wait']

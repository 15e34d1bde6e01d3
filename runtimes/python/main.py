"""
The Python runtime: what runs inside the sandbox of a Python function.

Started as `python3 -I -S -X utf8 main.py` with file descriptor 3 as the channel (src/contract/frames.ts). `-I` keeps the
host's variables and directories out, `-S` saves the start of `site` (2 ms) and with it the host's packages: a function
brings its own in its code directory. This file stays tiny because Python never caches the compiled form of a script.

The modules beside this file are loaded as the package `skep_runtime`, so that a function may have a `frames.py` of its
own; only the SDK, `skep`, is in sight of user code.
"""
import sys


def prepare() -> str:
    """Makes `import skep_runtime.…` and `import skep` find this folder. Returns the folder."""
    folder = __file__.rpartition('/')[0] or '.'
    package = type(sys)('skep_runtime')
    package.__path__ = [folder]
    sys.modules['skep_runtime'] = package
    # Last: a function's own modules and the standard library come first.
    sys.path.append(folder)
    return folder


if __name__ == '__main__':
    folder = prepare()
    if sys.argv[1:2] == ['--compile']:
        from skep_runtime.compile import compile_folders
        compile_folders([folder, *sys.argv[2:]])
    else:
        from skep_runtime.start import run
        run()

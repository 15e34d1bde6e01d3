"""
From a started Python to an instance, and its end.

A stem cell says `hello` as soon as it can read, then imports what every function needs while the platform is at its own
work, and after a pause, when nobody wants it yet, what many functions need. `init` is never held up by more than one import.
"""
from __future__ import annotations

import os
import sys
import time

import _socket  # The C part alone: see channel.py.

from . import frames
from .channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .loader import Handler
    from .runtime import Runtime

CHANNEL_FD = 3
# So that a stem cell does not compete with a burst of starts for the processor.
WARM_AFTER_S = 0.1
WARM_MODULES = ('importlib.util', 'traceback', 'urllib.parse', 'inspect', 'datetime', 'base64', 'random', 'asyncio')
# How long an exit waits for the platform to take the last log lines.
EXIT_FLUSH_S = 1.0

_exit_process = os._exit


def run() -> None:
    """Does not return."""
    channel = Channel(CHANNEL_FD)
    version = '.'.join(map(str, sys.version_info[:3]))
    hello = {'protocol': frames.FRAMES_VERSION, 'runtime': 'python', 'version': version, 'pid': os.getpid()}
    memory_socket = _open_memory_socket()
    if memory_socket is not None:
        hello['memory'] = True
    channel.post(frames.encode_json_frame(frames.HELLO, 0, hello))

    import gc

    import skep

    from . import loader  # noqa: F401: for init
    from .execute import execute
    from .logs import replace_standard_streams, set_up_logging
    from .monitor import Monitor
    from .runtime import Runtime

    out, err = replace_standard_streams(channel)
    set_up_logging(channel)

    def end_prints(stream: int) -> None:
        out.end_stream(stream)
        err.end_stream(stream)

    def exit_flushed(code: int = 0) -> None:
        out.end_all()
        err.end_all()
        channel.flush(EXIT_FLUSH_S)
        _exit_process(code)

    def exit(code: int, message: str) -> None:
        if message:
            os.write(2, f'{message}\n'.encode())
        if code == 0:
            _run_exit_handlers()
        exit_flushed(code)

    def in_child() -> None:
        os._exit = _exit_process
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        channel.abandon_in_child()
        runtime.close_memory_in_child()

    runtime = Runtime(channel, load=_load, execute=execute, exit=exit)
    runtime.memory_socket = memory_socket
    runtime.end_prints = end_prints
    runtime.monitor = Monitor(runtime)
    skep._runtime = runtime
    # A function that prints and ends the process at once still shows what it printed.
    os._exit = exit_flushed
    os.register_at_fork(after_in_child=in_child)
    sys.dont_write_bytecode = True
    _enable_fault_handler()
    runtime.monitor.start()
    # What is there now stays: the collector need not look at it again.
    gc.freeze()
    runtime.lead(_warm(channel, WARM_MODULES if memory_socket is None else (*WARM_MODULES, 'skep_runtime.memory')))


def _open_memory_socket() -> Optional[_socket.socket]:
    """Descriptor 5, when the platform gave one and this system can make and map memory (memory.py, which is loaded with the first large body)."""
    try:
        os.set_inheritable(frames.MEMORY_FD, False)
        found = _socket.socket(fileno=frames.MEMORY_FD)
    except OSError:
        return None
    try:
        from _frozen_importlib_external import PathFinder
        if found.family == _socket.AF_UNIX and found.type == _socket.SOCK_SEQPACKET and PathFinder.find_spec('_ctypes') is not None:
            os.close(os.memfd_create('skep', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
            return found
    except (ImportError, AttributeError, OSError):
        pass
    found.detach()
    return None


def _warm(channel: Channel, modules: tuple) -> list:
    """Imports what many functions need until frames come in; returns those."""
    inbox = channel.read(WARM_AFTER_S)
    for name in modules:
        if inbox:
            break
        __import__(name)
        inbox = channel.read(0)
    return inbox


def _load(runtime: Runtime, init: dict) -> Handler:
    """Becomes an instance: environment, directory, code. Ends the process when the code cannot be loaded."""
    import gc

    from .faults import Fault, init_failed
    from .loader import load_handler

    started = time.monotonic_ns()
    app = os.environ.get('SKEP_APP_DIR', '/app')
    try:
        _set_environment(init.get('environment') or {})
        try:
            os.chdir(app)
        except OSError as error:
            raise Fault('INIT_FAILED', f'The code directory {app} cannot be entered: {error.strerror}.')
        sys.path.insert(0, app)
        sys.argv = [os.path.join(app, str(init.get('entry', '')))]
        # Imports make much that stays and little that goes: collecting in between is wasted.
        gc.disable()
        handler = load_handler(app, str(init.get('entry', '')), init.get('handler'))
        gc.enable()
        if handler.is_async:
            from .async_runner import AsyncRunner
            runtime.async_runner = AsyncRunner(runtime)
    except BaseException as error:
        runtime.channel.post(frames.encode_json_frame(frames.INIT_FAILED, 0, init_failed(error).to_body()))
        os._exit(1)
    gc.freeze()
    runtime.end_prints(0)
    took_us = (time.monotonic_ns() - started) // 1000
    runtime.channel.post(frames.encode_json_frame(frames.INITED, 0, {'shape': handler.shape, 'initUs': took_us}))
    return handler


def _set_environment(environment: dict) -> None:
    path = os.environ.get('PATH', '/usr/local/bin:/usr/bin:/bin')
    os.environ.clear()
    os.environ.update({'PATH': path, 'HOME': '/tmp', 'TMPDIR': '/tmp', 'LANG': 'C.UTF-8'})
    for name, value in environment.items():
        os.environ[name] = str(value)
    if 'TZ' in environment:
        time.tzset()
    # `site` defines these, and is not loaded.
    import builtins
    builtins.exit = builtins.quit = sys.exit  # type: ignore[attr-defined]


def _enable_fault_handler() -> None:
    """A crash in native code leaves the Python stacks on the sandbox's stderr."""
    try:
        import faulthandler
        faulthandler.enable(file=2)
    except (ImportError, OSError, ValueError, RuntimeError):
        pass


def _run_exit_handlers() -> None:
    import atexit
    try:
        atexit._run_exitfuncs()
    except BaseException as error:
        from .faults import user_stack
        print(user_stack(error), file=sys.stderr)

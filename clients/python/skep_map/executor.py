"""
Runs functions of an ordinary program on a Skep platform: one, one per item, or map and reduce.

Source: Jonas, Pu, Venkataraman, Stoica, Recht, "Occupy the Cloud" (SoCC 2017), PyWren, and the interface of lithops, its descendant. Where we differ: no
code is pickled (the module's source goes there under the hash of its code), functions and results do not go through an object store, and what
reducers need stays in memory where mappers made it.

    E1. Futures of a map are in the order of its items.
    E2. Results of mappers never come here: map_reduce sees references only.
    E3. In the cloud an Executor does nothing, and says so when it is used: a module that makes one can be loaded there.
"""
from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from .deployment import deploy_module, deploy_reader, remove
from .envelope import MAIN, TYPE, dumps, loads, read_report
from .future import Future, wait
from .objects import Bucket, Buckets, References, parts_of
from .platform import Call, Platform, PlatformError
from .progress import Progress
from .remote_error import error_of
from .sources import locate
from .tasks import Group, Task, run_task

# Set by remote.py.
in_cloud = False

_ROUNDS_MAX = 3


class Executor:
    """
    `url`, `key`, `namespace`: of the platform; default: SKEP_URL and SKEP_KEY, else the platform of this machine.
    `concurrency`: invocations at a time. `instance_concurrency`: those that one instance holds at a time (default: the platform's).
    `memory_mb`, `cpu`, `timeout` (seconds of one invocation), `network`, `environment`, `secrets`: of the function.
    `include`: directories whose content goes along, such as one of `pip install --target`.
    `retries`: how often work that was lost is done again; what the function raises is its result.
    `speculate`: whether the last few that take more than twice the median get a second copy; the function may then run twice.
    `progress`: a line on standard error; default: when that is a terminal.
    """

    def __init__(self, url: str | None = None, key: str | None = None, namespace: str | None = None, *, concurrency: int = 32, instance_concurrency: int | None = None,
                 memory_mb: int | None = None, cpu: float | None = None, timeout: float = 600, network: str | None = None, environment: dict | None = None,
                 secrets: list | None = None, include=(), retries: int = 3, speculate: bool = False, progress: bool | None = None) -> None:
        if concurrency < 1:
            raise ValueError(f'concurrency is {concurrency}; at least one invocation has to run at a time.')
        settings = {
            'memoryMb': memory_mb, 'cpu': cpu, 'timeoutMs': round(timeout * 1000), 'network': network, 'environment': environment, 'secrets': secrets,
            'concurrency': instance_concurrency,
        }
        self._settings = {name: value for name, value in settings.items() if value is not None}
        self._where = (url, key, namespace)
        self._concurrency = concurrency
        self._include = tuple(include)
        self._retries = retries
        self._speculate = speculate
        self._progress = sys.stderr.isatty() if progress is None else progress
        self._lock = threading.Lock()
        self._deployments: dict = {}
        self._live: set = set()
        self._platform: Platform | None = None

    def call_async(self, function, argument) -> Future:
        """Runs a function of a module with one argument."""
        return self.map(function, [argument])[0]

    def map(self, function, items, chunk: int = 1) -> list[Future]:
        """Runs it once for each item; of a Bucket or References, once for each stored object or part of one: `function(data, about)`. `chunk`: items per invocation."""
        self._use()
        place = locate(function)
        chunks = self._chunks(items, chunk)
        group = Group(len(chunks), self._speculate)
        futures = [[self._future() for _ in values] for _, values, _ in chunks]
        progress = Progress(place.name, [future for own in futures for future in own], self._progress)
        for one, own in zip(chunks, futures):
            self._start(group, own, progress, lambda call, one=one: self._outcomes(place, one, call))
        return [future for own in futures for future in own]

    def map_reduce(self, function, items, reduce, reducers: int | None = None, chunk: int = 1) -> Future:
        """
        Runs `function` for each item or object, and `reduce` with the list of what came of them; that list stays in the cloud.

        With `reducers`, what is mapped must be a dict; each reducer gets a share of the keys, and the result is a list with one value for each.
        """
        self._use()
        if reducers is not None and reducers < 1:
            raise ValueError(f'reducers is {reducers}; it is 1 or more.')
        mapper, reducer = locate(function), locate(reduce)
        future = self._future()
        partitions = reducers or 1

        def work() -> None:
            try:
                chunks = self._chunks(items, chunk)
                kept = self._all(f'{mapper.name} (map)', future, chunks, lambda one, call, _: self._keep(mapper, one, {'partitions': partitions}, call))
                shares = [[references[at] for references in kept] for at in range(partitions)]
                reduced = self._all(f'{reducer.name} (reduce)', future, shares, lambda share, call, at: self._reduce(mapper, reducer, chunks, share, partitions, at, call))
                future.settle(reduced if reducers is not None else reduced[0])
            except BaseException as error:  # whatever it is belongs to whoever asks for the result
                future.settle(error=error)
        threading.Thread(target=work, daemon=True).start()
        return future

    wait = staticmethod(wait)

    def results(self, futures, timeout: float | None = None) -> list:
        """The results of all, in order. Raises the first error in that order."""
        return [future.result(timeout) for future in futures]

    def close(self, remove_functions: bool = False) -> None:
        """Cancels what has not ended, and closes the connections. `remove_functions`: removes the functions that this Executor used, too."""
        for future in list(self._live):
            future.cancel()
        if self._platform is None:
            return
        # Before it is let go: what still runs would open another one, and nobody would close that.
        self._threads.shutdown(wait=True)
        with self._lock:
            platform, self._platform = self._platform, None
        if platform is None:  # another thread closes it
            return
        if remove_functions:
            for deployed in list(self._deployments.values()):
                if deployed.done() and deployed.exception() is None:
                    remove(platform, deployed.result()[0])
        self._deployments.clear()
        self._buckets.close()
        platform.close()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _use(self) -> Platform:
        if in_cloud:
            raise RuntimeError(
                'An Executor was used in the cloud, by the module that was sent there: put what your program does below '
                '"if __name__ == \'__main__\':". Functions call functions with skep.invoke_all.')
        with self._lock:
            if self._platform is None:
                self._platform = Platform(*self._where)
                self._buckets = Buckets(self._platform)
                self._threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix='skep-map')
                # Classes of the script come back under the name that its module has there.
                sys.modules.setdefault(MAIN, sys.modules['__main__'])
            return self._platform

    def _future(self) -> Future:
        future = Future()
        self._live.add(future)
        future.add_done_callback(self._live.discard)
        return future

    def _start(self, group: Group, futures: list, progress: Progress, attempt) -> None:
        task = Task(group, futures, attempt)
        for future in futures:
            future.add_done_callback(lambda _: progress.tell())
            future.add_done_callback(lambda _: task.cancel() if all(one.cancelled() for one in futures) else None)
        self._threads.submit(run_task, task, self._retries)

    def _all(self, what: str, whole: Future, inputs: list, run) -> list:
        """One task per input; the first failure, or the cancellation of `whole`, ends all."""
        group = Group(len(inputs), self._speculate)
        futures = [self._future() for _ in inputs]
        progress = Progress(what, futures, self._progress)
        whole.add_done_callback(lambda _: [future.cancel() for future in futures])
        for at, (one, future) in enumerate(zip(inputs, futures)):
            self._start(group, [future], progress, lambda call, one=one, at=at: [(run(one, call, at), None)])
        pending = futures
        while pending:
            done, pending = wait(pending, 'any')
            for future in done:
                future.result()
        return [future.result() for future in futures]

    def _chunks(self, items, chunk: int) -> list:
        """For each invocation: its kind, its values, and of objects whether they are streamed and from which bucket."""
        if chunk < 1:
            raise ValueError(f'chunk is {chunk}; it is a number of items per invocation, 1 or more.')
        if isinstance(items, Bucket):
            self._use()
            return [('parts', group, (items.stream, items.name)) for group in parts_of(self._buckets.list(items.name, items.prefix), items.chunk_bytes)]
        is_references = isinstance(items, References)
        values = list(items.references if is_references else items)
        more = (items.stream, None) if is_references else None
        return [('parts' if is_references else 'items', values[at:at + chunk], more) for at in range(0, len(values), chunk)]

    def _outcomes(self, place, one: tuple, call: Call) -> list:
        """(value, error) of each item."""
        report, invocation_id = self._order(place, self._work(one, call), call)
        return [(outcome.get('value'), error_of(outcome['error'], loads, invocation_id) if 'error' in outcome else None) for outcome in report['values']]

    def _keep(self, place, one: tuple, keep: dict, call: Call) -> list:
        report, invocation_id = self._order(place, {**self._work(one, call), 'keep': keep}, call)
        if report['kind'] == 'kept':
            return report['values']
        raise _first_error(report, invocation_id)

    def _reduce(self, mapper, reducer, chunks: list, given: list, partitions: int, at: int, call: Call) -> object:
        references = list(given)
        for _ in range(_ROUNDS_MAX):
            report, invocation_id = self._order(reducer, {'kind': 'reduce', 'values': references}, call)
            if report['kind'] == 'outcomes':
                if 'error' in report['values'][0]:
                    raise _first_error(report, invocation_id)
                return report['values'][0]['value']
            # Used up by an attempt that was lost, or lost: made again.
            for lost in report['values']:
                references[lost] = self._keep(mapper, chunks[lost], {'partitions': partitions, 'only': at}, call)[0]
        raise PlatformError('OBJECT_LOST', f'What {reducer.name} needed was lost {_ROUNDS_MAX} times in a row. Does the platform have memory for what mappers make? Try more reducers.')

    def _work(self, one: tuple, call: Call) -> dict:
        kind, values, more = one
        if kind == 'items':
            return {'kind': kind, 'values': values}
        stream, bucket = more
        parts = []
        for value in values:
            if bucket is None:
                parts.append({'reference': value, 'about': {'reference': value}})
                continue
            key, start, end, size = value
            order = {'url': self._buckets.address(bucket, key), 'from': start, 'to': end, 'size': size}
            answer, _ = self._invoke('', lambda: deploy_reader(self._use()), json.dumps(order).encode(), 'application/json', call)
            parts.append({'reference': json.loads(answer)['reference'], 'about': {'bucket': bucket, 'key': key, 'from': start, 'to': end}})
        return {'kind': 'parts', 'values': parts, 'stream': stream}

    def _order(self, place, order: dict, call: Call) -> tuple:
        body = dumps({**order, 'run': place.name})
        key = f'{place.root}/{place.file}'
        answer, invocation_id = self._invoke(key, lambda: deploy_module(self._use(), place, self._settings, self._include), body, TYPE, call)
        return read_report(answer), invocation_id

    def _invoke(self, key: str, deploy, body: bytes, content_type: str, call: Call) -> tuple:
        """A function that was removed meanwhile is deployed again."""
        for again in (False, True):
            with self._lock:
                mine = key not in self._deployments
                deployment = self._deployments.setdefault(key, Future())
            if mine:
                try:
                    deployment.settle(deploy())
                except BaseException as error:  # each thread that waits for the deployment gets it
                    deployment.settle(error=error)
            try:
                return self._use().invoke(deployment.result()[1], body, content_type, call)
            except PlatformError as error:
                if again or error.code != 'FUNCTION_NOT_FOUND':
                    raise
                with self._lock:
                    if self._deployments.get(key) is deployment:
                        del self._deployments[key]
        raise AssertionError('unreachable')


def _first_error(report: dict, invocation_id: str | None) -> BaseException:
    facts = next(outcome['error'] for outcome in report['values'] if 'error' in outcome)
    return error_of(facts, loads, invocation_id)

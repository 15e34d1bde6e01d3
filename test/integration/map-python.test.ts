/**
 * Goal: functions of an ordinary Python script run on a platform, without a deploy by hand: call, map, wait, map-reduce; errors, lost instances,
 * cancellation; and what is deployed is exactly what changed.
 *
 * Method: scripts written into a directory of the test and run by the system's Python, each against a real platform; they print one JSON value,
 * which is held to what it must be.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { CreateBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { countWords } from '../../examples/map/word-count.ts'
import { startTestPlatform } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'
import { s3Client, s3Credentials } from '../kit/s3.ts'

const package_ = join(import.meta.dirname, '../../clients/python')

/** What every script defines: below it comes what the test does. */
const definitions = `
import json, os, signal, time
from concurrent.futures import as_completed
from helpers.doubling import doubled
from skep_map import Bucket, Executor, PlatformError, References, RemoteError, wait

run = Executor(progress=False)

class Point:
    def __init__(self, x):
        self.x = x

class OutOfRange(Exception):
    pass

class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(f'{one} and {two}')

def twice(x):
    return doubled(x)

def move(point):
    return Point(point.x + 1)

def same(value):
    return value

def fails(x):
    if x % 2 == 1:
        raise OutOfRange(f'{x} is odd')
    return x

def fails_oddly(x):
    raise Unpicklable(x, 'more')

def returns_function(x):
    return lambda: x

def waits(seconds):
    time.sleep(seconds)
    return seconds

def keeps(text):
    import skep
    return skep.put(text, retrievals=2)

def dies(reference):
    import skep
    try:
        skep.get(reference), skep.get(reference)
    except skep.SkepError:
        return 'second attempt'
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)

def slow_once(reference):
    import skep
    if reference is None:
        return 'quick'
    try:
        skep.get(reference), skep.get(reference)
    except skep.SkepError:
        return 'copy'
    time.sleep(20)
    return 'slow'

def dies_reducing(values):
    return [dies(values[0]), *values[1:]]

def words(text, about=None):
    counts = {}
    for word in str(text, 'utf-8').split():
        counts[word] = counts.get(word, 0) + 1
    return counts

def streamed_words(file):
    return words(file.read())

def add_up(parts):
    sums = {}
    for part in parts:
        for word, count in part.items():
            sums[word] = sums.get(word, 0) + count
    return sums

if __name__ == '__main__':
`

describe('a map of a Python script', () => {
  const directory = mkdtempSync(join(tmpdir(), 'skep-map-test-'))
  let platform: TestPlatform
  /** Runs the lines below the definitions. @returns what they have put into `out`. */
  const script = async (lines: string, name = 'script.py', defined = definitions): Promise<any> => { // eslint-disable-line -- the tests know what they printed
    const body = `out = {}\n${lines}\nrun.close()\nprint(json.dumps(out))`.split('\n').map((line) => `    ${line}`).join('\n')
    writeFileSync(join(directory, name), defined + body)
    const environment = { ...process.env, SKEP_URL: platform.url, SKEP_KEY: platform.key, PYTHONPATH: package_, PYTHONDONTWRITEBYTECODE: '1' }
    const { stdout } = await promisify(execFile)('/usr/bin/python3', [name], { cwd: directory, env: environment, timeout: 60_000 })
    return JSON.parse(stdout)
  }
  const deployed = async (): Promise<string[]> => (await platform.json<{ functions: { name: string }[] }>('/v1/functions')).functions.map(({ name }) => name)

  before(async () => {
    platform = await startTestPlatform()
    mkdirSync(join(directory, 'helpers'))
    writeFileSync(join(directory, 'helpers', '__init__.py'), '')
    writeFileSync(join(directory, 'helpers', 'doubling.py'), 'from .factor import FACTOR\ndef doubled(x): return x * FACTOR\n')
    writeFileSync(join(directory, 'helpers', 'factor.py'), 'FACTOR = 2\n')
  })
  after(async () => {
    await platform[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  })

  test('gives 1,000 results in the order of the items (E1), and classes of the script as they are', async () => {
    const out = await script(`
out['results'] = run.results(run.map(twice, range(1000)))
out['chunked'] = run.results(run.map(twice, range(1000), chunk=77)) == out['results']
out['point'] = run.call_async(move, Point(4)).result().x
out['is_point'] = isinstance(run.call_async(move, Point(4)).result(), Point)
values = [{1, 2}, b'x' * 2_000_000, None, (1, [2]), 2 ** 100]
out['same'] = run.results(run.map(same, values)) == values`)
    assert.deepEqual(out, { results: Array.from({ length: 1000 }, (_, at) => at * 2), chunked: true, point: 5, is_point: true, same: true })
  })

  test('raises what the function raised, with the remote traceback as its cause', async () => {
    const out = await script(`
futures = run.map(fails, [0, 1, 2, 3], chunk=4)
out['good'] = [futures[0].result(), futures[2].result()]
error = futures[1].exception()
out['own'] = isinstance(error, OutOfRange)
out['cause'] = str(error.__cause__)
try:
    run.call_async(fails_oddly, 1).result()
except RemoteError as error:
    out['odd'] = [error.type_name, str(error)]
for given in (lambda x: x, len, returns_function):
    try:
        run.call_async(given, 1).result()
    except Exception as error:
        out.setdefault('refused', []).append(type(error).__name__)`)
    assert.deepEqual([out.good, out.own, out.odd, out.refused], [[0, 2], true, ['Unpicklable', 'Unpicklable: 1 and more'], ['ValueError', 'ValueError', 'TypeError']])
    assert.match(out.cause, /File "script\.py", line \d+, in fails\n[^]*OutOfRange: 1 is odd/)
    assert.doesNotMatch(out.cause, /skep_map/)
    const record = await platform.record(/invocation (\w+)/.exec(out.cause)![1]!)
    assert.match(record.logs.map(({ text }) => text).join('\n'), /3 is odd/)
  })

  test('does again what a killed instance had, but not what the function raised', async () => {
    const out = await script(`
out['again'] = run.results(run.map(dies, run.results(run.map(keeps, ['a', 'b']))))
with Executor(retries=0, progress=False) as once:
    out['reduced'] = run.map_reduce(same, [run.call_async(keeps, 'a').result(), 'b', 'c'], dies_reducing).result()
    out['once'] = once.call_async(dies, once.call_async(keeps, 'a').result()).exception().code`)
    assert.deepEqual(out, { again: ['second attempt', 'second attempt'], reduced: ['second attempt', 'b', 'c'], once: 'FUNCTION_EXITED' })
  })

  test('starts a second copy of the last one when it is late, and takes the first answer', async () => {
    const out = await script(`
with Executor(speculate=True, instance_concurrency=1, progress=False) as fast:
    mark = fast.call_async(keeps, 'a').result()
    out['results'] = fast.results(fast.map(slow_once, [None] * 39 + [mark]), timeout=15)`)
    assert.deepEqual(out.results, [...Array.from({ length: 39 }, () => 'quick'), 'copy'])
  })

  test('waits for any or all, cancels what runs, and is a future as others are', async () => {
    const out = await script(`
futures = run.map(waits, [60, 0.01, 60])
out['always'] = len(wait(futures, 'always')[0])
out['any'] = [futures.index(one) for one in run.wait(futures, 'any')[0]]
out['all'] = [len(some) for some in run.wait(futures, 'all', 0.05)]
out['first'] = next(as_completed(futures)).result()
start = time.monotonic()
out['cancelled'] = [future.cancel() for future in futures]
out['ended'] = [len(some) for some in wait(futures)]
run.close()
out['soon'] = time.monotonic() - start < 20`)
    assert.deepEqual(out, { always: 0, any: [1], all: [1, 2], first: 0.01, cancelled: [true, false, true], ended: [3, 0], soon: true })
  })

  test('counts the words of references that functions have put, and gives reducers their shares (E2)', async () => {
    const out = await script(`
references = run.results(run.map(keeps, [f'all of text{at} ' * (at + 1) for at in range(20)]))
out['all'] = run.map_reduce(words, References(references), add_up, chunk=3).result()
shares = run.map_reduce(streamed_words, References(references, stream=True), add_up, reducers=3).result()
out['shares'] = len(shares)
out['same'] = {word: count for share in shares for word, count in share.items()} == out['all']
out['error'] = str(run.map_reduce(fails, [0, 3], same).exception())
out['no_dict'] = str(run.map_reduce(twice, [0, 3], same, reducers=2).exception())`)
    assert.deepEqual([out.all.all, out.all.text7, out.shares, out.same, out.error], [210, 8, 3, true, '3 is odd'])
    assert.match(out.no_dict, /must be a dict/)
  })

  test('counts the words of 20 stored objects, whole and in parts', async () => {
    const s3 = s3Client(platform, await s3Credentials(platform))
    await s3.send(new CreateBucketCommand({ Bucket: 'texts' }))
    const texts = Array.from({ length: 20 }, (_, at) => Array.from({ length: 50 * at }, (_, line) => `line ${'abcdefghij'[line % 10]} of ü\n`).join(''))
    for (const [at, text] of texts.entries()) await s3.send(new PutObjectCommand({ Bucket: 'texts', Key: `in put/${at}+&.txt`, Body: Buffer.from(text) }))
    s3.destroy()
    const out = await script(`
for chunk_bytes in (None, 3000):
    out[str(chunk_bytes)] = run.map_reduce(words, Bucket('texts', 'in put/', chunk_bytes=chunk_bytes), add_up).result()
out['single'] = len(run.map(words, Bucket('texts', 'in put/')))
for _ in range(8):
    with Executor(progress=False) as other:
        other.map(words, Bucket('texts', 'in put/'))  # and is closed while it reads
try:
    run.map(words, Bucket('nowhere'))
except PlatformError as error:
    out['nowhere'] = error.code`)
    const expected = Object.fromEntries(countWords(Buffer.from(texts.join(''))))
    assert.deepEqual([out.None, out['3000'], out.single, out.nowhere], [expected, expected, 20, 'ENTITY_NOT_FOUND'])
    const { credentials } = await platform.json<{ credentials: { name: string }[] }>('/v1/s3/credentials')
    assert.deepEqual(credentials.filter(({ name }) => name === 'map client'), [], 'revoked')
  })

  test('deploys changed code anew, also of a module that it imports, and removes what it deployed when told', async () => {
    const names = async (): Promise<string[]> => (await deployed()).filter((name) => name.startsWith('map-changing'))
    const once = () => script(`out['answer'] = run.call_async(twice, 2).result()`, 'changing.py')
    assert.equal((await once()).answer, 4)
    const first = await names()
    assert.equal((await once()).answer, 4)
    assert.deepEqual(await names(), first)
    writeFileSync(join(directory, 'helpers', 'factor.py'), 'FACTOR = 3\n')
    assert.equal((await once()).answer, 6)
    assert.equal((await names()).length, 2)
    await script(`run.call_async(twice, 2).result(); run.close(remove_functions=True)`, 'changing.py')
    assert.equal((await names()).length, 1 + 1, 'its own text was another, and that one is gone')
  })

  test('tells a script that would map from the cloud what to do (E3)', async () => {
    const out = await script(`
try:
    run.call_async(same, 1).result()
except PlatformError as error:
    out['error'] = [error.code, error.message]`, 'unguarded.py', definitions.replace('if __name__', 'if __name__ == "__skep_main__":\n    run.map(same, [1])\nif __name__'))
    assert.equal(out.error[0], 'INIT_FAILED')
    assert.match(out.error[1], /below "if __name__/)
  })
})

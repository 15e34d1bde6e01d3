/**
 * Goal: the Python client decides as the TypeScript one does: retries, stragglers, parts of objects, lines of a part, signatures, listings. And bytes that
 * are no envelope are refused as that.
 *
 * Method: cases made at random, decided by both; the TypeScript side is held to known answers in clients/map/decisions.test.ts.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { platformErrors } from '../../src/contract/errors.ts'
import type { PlatformErrorCode } from '../../src/contract/errors.ts'
import { parseListing } from '../map/buckets.ts'
import { partsOf } from '../map/object-part.ts'
import { presign } from '../map/presigned-urls.ts'
import { afterFailure } from '../map/retry.ts'
import { findStragglers } from '../map/stragglers.ts'
import { wholeLines } from '../map/whole-lines.ts'

/** Runs lines of Python with `cases`, and gives what they put into `out`. */
function python<Value>(lines: string, cases: unknown = null): Value {
  const program = `import json, random, sys\ncases = json.load(sys.stdin)\n${lines}\nprint(json.dumps(out))`
  const environment = { ...process.env, PYTHONPATH: import.meta.dirname, PYTHONDONTWRITEBYTECODE: '1' }
  return JSON.parse(execFileSync('/usr/bin/python3', ['-c', program], { input: JSON.stringify(cases), env: environment, encoding: 'utf8' })) as Value
}

const whole = (end: number): number => Math.floor(Math.random() * end)
const times = <Value>(count: number, make: (at: number) => Value): Value[] => Array.from({ length: count }, (_, at) => make(at))

describe('the Python client and the TypeScript client', () => {
  test('try the same again, after the same time', () => {
    const codes = Object.keys(platformErrors) as PlatformErrorCode[]
    const cases = codes.flatMap((code) => [0, 2, 3, 40].map((before) => ({ code, before, refusedMs: whole(7_200_000), random01: Math.random() })))
    const out = python<(number | null)[]>(`
from skep_map.rules import delay_after
out = [delay_after(one['code'], one['before'], 3, one['refusedMs'] / 1000, one['random01']) for one in cases]`, cases)
    cases.forEach((one, at) => {
      const verdict = afterFailure({ ...one, retries: 3 })
      const what = `${one.code}: a code of the table that LOST of rules.py has to agree with`
      if (verdict.kind === 'fail') assert.equal(out[at], null, what)
      else assert.ok(out[at] !== null && Math.abs(out[at]! * 1000 - verdict.delayMs) < 1e-6, what)
    })
  })

  test('copy the same stragglers', () => {
    const cases = times(300, () => ({ running: times(whole(6), () => [whole(100), Math.random() < 0.3] as const), done: times(whole(40), () => whole(60)), total: 30 }))
    const out = python<[number[], number | null][]>(`
from skep_map.rules import stragglers
out = [stragglers([tuple(task) for task in one['running']], one['done'], one['total'], 100) for one in cases]`, cases)
    cases.forEach(({ running, done, total }, at) => {
      const { copy, nextMs } = findStragglers(running.map(([startedMs, copied]) => ({ startedMs: startedMs * 1000, copied })), done.map((s) => s * 1000), total, 100_000)
      assert.deepEqual(out[at]![0], copy)
      assert.equal(out[at]![1] === null, nextMs === undefined)
      if (nextMs !== undefined) assert.ok(Math.abs(out[at]![1]! * 1000 - nextMs) < 1e-3)
    })
  })

  test('share out the same bytes, and read the same lines', async () => {
    const cases = times(50, () => ({ chunk: Math.random() < 0.2 ? null : 1 + whole(20), objects: times(whole(8), (at) => [`k${at}`, whole(40)] as const) }))
    const out = python<[string, number, number, number][][][]>('from skep_map.objects import parts_of\nout = [parts_of(one["objects"], one["chunk"]) for one in cases]', cases)
    cases.forEach(({ chunk, objects }, at) => {
      const groups = partsOf('b', objects.map(([key, size]) => ({ key, size })), chunk ?? undefined)
      assert.deepEqual(out[at], groups.map((group) => group.map(({ key, from, to, size }) => [key, from, to, size])))
    })
    const texts = times(100, () => ({ text: times(20, () => 'ab\n'[whole(3)]).join(''), from: whole(18), step: 1 + whole(6) })).map((one) => ({ ...one, to: one.from + 1 + whole(20 - one.from) }))
    const lines = python<string[]>(`
from skep_map.reader import whole_lines
def read(one):
    data = one['text'].encode()[max(0, one['from'] - 1):]
    return b''.join(whole_lines((data[at:at + one['step']] for at in range(0, len(data), one['step'])), one['from'], one['to'])).decode()
out = [read(one) for one in cases]`, texts)
    for (const [at, { text, from, to }] of texts.entries()) {
      const read: Uint8Array[] = []
      for await (const chunk of wholeLines((async function* () { yield Buffer.from(text).subarray(Math.max(0, from - 1)) })(), from, to)) read.push(chunk)
      assert.equal(lines[at], Buffer.concat(read).toString(), JSON.stringify(texts[at]))
    }
  })

  test('sign the same, and read the same listing', () => {
    const signed = { endpoint: 'http://127.0.0.1:7070/s3', bucket: 'b', key: 'a b/ü+&~(1)*.txt', query: { prefix: 'x/ y' } }
    const out = python<string>('from skep_map.objects import presign\nout = presign(cases["endpoint"], "ID", "SECRET", cases["bucket"], cases["key"], cases["query"], 1700000000, 60)', signed)
    assert.equal(out, presign({ ...signed, credentials: { accessKeyId: 'ID', secretAccessKey: 'SECRET' }, now: new Date(1_700_000_000_000), expiresS: 60 }))
    const xml = '<?xml version="1.0"?><R xmlns="http://s3"><NextContinuationToken>a&amp;b</NextContinuationToken><Contents><Key>a+b%2F%C3%BC</Key><Size>7</Size></Contents></R>'
    const { objects, next } = parseListing(xml)
    assert.deepEqual(python('from skep_map.objects import parse_listing\nout = parse_listing(cases.encode())', xml), [objects.map(({ key, size }) => [key, size]), next])
  })
})

test('bytes that are no envelope are refused as that', () => {
  const out = python<number>(`
from skep_map.envelope import dumps, read_order, read_report
real = dumps({'kind': 'items', 'values': [1, 'two', b'three'], 'run': 'work'})
refused = 0
for seed in range(3000):
    chance = random.Random(seed)
    # Cut off, or random from its start: whole pickles are code, and are only read from the user's own namespace.
    data = real[:chance.randrange(len(real))] if seed % 2 else bytes(chance.randrange(256) for _ in range(chance.randrange(40)))
    for read in (read_order, read_report):
        try:
            read(data)
        except ValueError:
            refused += 1
assert read_order(real)['values'] == [1, 'two', b'three']
out = refused`)
  assert.equal(out, 6000)
})

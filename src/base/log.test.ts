/**
 * Goal: each line is one whole, readable JSON object (or text line) whatever is logged, in order, and writing never throws.
 *
 * Method: a sink that collects; real pipes are replaced by a write function that misbehaves as a full pipe does.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createLog, stderrSink } from './log.ts'
import type { Log, LogOptions } from './log.ts'
import { PlatformError } from '#contract/errors.ts'

function collect(over: Partial<LogOptions> = {}): { readonly log: Log; readonly lines: string[]; readonly urgent: boolean[] } {
  const lines: string[] = []
  const urgent: boolean[] = []
  const sink = {
    write(line: string, isUrgent: boolean): void {
      lines.push(line)
      urgent.push(isUrgent)
    },
  }
  return { log: createLog({ severity: 'info', format: 'json', sink, nowMs: () => 1_700_000_000_000, ...over }), lines, urgent }
}

describe('Log', () => {
  test('writes one JSON object per line, with the fields of its parents', () => {
    const { log, lines } = collect()
    log.child({ part: 'worker' }).child({ instance: 'i1' }).info('started', { ms: 5 })
    assert.deepEqual(JSON.parse(lines[0]!), { at: '2023-11-14T22:13:20.000Z', severity: 'info', message: 'started', part: 'worker', instance: 'i1', ms: 5 })
  })

  test('leaves out what is below its severity', () => {
    const { log, lines, urgent } = collect({ severity: 'warn' })
    log.debug('a')
    log.info('b')
    log.warn('c')
    log.error('d')
    assert.equal(lines.length, 2)
    assert.deepEqual(urgent, [true, true])
    assert.equal(log.enabled('info'), false)
  })

  test('tells errors with code, stack and causes', () => {
    const { log, lines } = collect()
    log.error('failed', { error: new PlatformError('STORE_FAILED', 'no disk', { cause: new Error('EIO') }) })
    const { error } = JSON.parse(lines[0]!) as { error: { code: string; message: string; cause: { message: string } } }
    assert.deepEqual([error.code, error.message, error.cause.message], ['STORE_FAILED', 'no disk', 'EIO'])
  })

  test('never throws and never breaks a line, whatever the fields are (O1, O3)', () => {
    const cycle: Record<string, unknown> = {}
    cycle['self'] = cycle
    const failing = { get trap(): string { throw new Error('no') } }
    for (const format of ['json', 'pretty'] as const) {
      const { log, lines } = collect({ format })
      for (const value of [cycle, failing, 1n, undefined, Symbol('s'), () => 1, new Map()]) log.info('x', { value })
      fc.assert(fc.property(fc.dictionary(fc.string(), fc.anything()), (fields) => log.info('y', fields)), { numRuns: 200 })
      for (const line of lines) assert.equal(line.indexOf('\n'), line.length - 1)
    }
  })

  test('keeps its own names when a field has the same', () => {
    const { log, lines } = collect()
    log.info('mine', { message: 'yours' })
    assert.deepEqual(JSON.parse(lines[0]!), { at: '2023-11-14T22:13:20.000Z', severity: 'info', message: 'mine', message_: 'yours' })
  })

  test('is readable on a terminal', () => {
    const { log, lines } = collect({ format: 'pretty' })
    log.warn('slow disk', { ms: 12, path: 'a b', part: 'store' })
    assert.equal(lines[0], '22:13:20.000 warn  slow disk ms=12 path="a b" part=store\n')
  })
})

describe('stderrSink', () => {
  test('keeps lines together until one is urgent (O1, O2)', () => {
    const writes: string[] = []
    const sink = stderrSink({ write: (_, bytes) => writes.push(String(bytes)) && bytes.length })
    sink.write('a\n', false)
    assert.deepEqual(writes, [])
    sink.write('b\n', true)
    assert.deepEqual(writes, ['a\nb\n'])
  })

  test('goes on where a short write ended, and waits a little for a full pipe', () => {
    let out = ''
    let calls = 0
    const sink = stderrSink({
      write: (_, bytes, offset) => {
        if (calls++ % 2 === 0) throw Object.assign(new Error('full'), { code: 'EAGAIN' })
        out += String.fromCharCode(bytes[offset]!)
        return 1
      },
    })
    sink.write('abc\n', true)
    assert.equal(out, 'abc\n')
  })

  test('says how many lines a dead reader cost (O3)', () => {
    const writes: string[] = []
    let broken = true
    const sink = stderrSink({
      write: (_, bytes) => {
        if (broken) throw Object.assign(new Error('gone'), { code: 'EPIPE' })
        return writes.push(String(bytes)) && bytes.length
      },
    })
    sink.write('a\n', true)
    sink.write('b\n', true)
    broken = false
    sink.write('c\n', true)
    assert.match(writes[0]!, /2 log lines were lost.*\nc\n$/s)
  })
})

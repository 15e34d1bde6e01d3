/**
 * Goal: every invocation, however it begins and ends, gives exactly one record, and that tells where its time went.
 *
 * Method: an invoker whose activator is the test; a clock that moves when told.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { InvocationIds } from '#contract/ids.ts'
import { RecordingSink, testRevision } from '#contract/invocation.fake.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { priceDefaults } from '#telemetry/price.ts'
import { acceptTraceparent } from '#telemetry/trace-context.ts'
import { Invoker } from './invoker.ts'
import type { BeginOptions } from './invoker.ts'

function ground() {
  const clock = new ManualClock()
  const submitted: Invocation[] = []
  const records: InvocationRecord[] = []
  const order: string[] = []
  const invoker = new Invoker({
    activator: { submit: (invocation) => submitted.push(invocation), ended: () => order.push('activator') },
    ids: new InvocationIds({ randomBytes, nowMs: () => clock.epochMs() }),
    clock,
    prices: priceDefaults,
    ending(invocation) {
      order.push('ending')
      invocation.logLines = 3
    },
    recorded(record) {
      order.push('recorded')
      records.push(record)
    },
    traceparentFor: (id, incoming) => acceptTraceparent(incoming, id, 1),
  })
  const begin = (over: Partial<BeginOptions> = {}): Invocation =>
    invoker.begin({ revision: testRevision(), origin: 'http', request: { kind: 'event', method: 'POST', path: '/', headers: [], body: undefined }, sink: new RecordingSink(), ...over })
  return { clock, invoker, submitted, records, order, begin }
}

const timeout = new PlatformError('FUNCTION_TIMEOUT', 'too late')

describe('an invocation', () => {
  test('gives one record when it has ended, complete with what was added last, and then whoever began it is told (N1)', () => {
    const { invoker, begin, records, order, clock } = ground()
    const invocation = begin({ ended: () => order.push('beginner') })
    assert.deepEqual([invoker.openCount, records.length], [1, 0])
    invocation.complete(clock.monotonicUs())
    invocation.fail(timeout, clock.monotonicUs())
    assert.deepEqual([invoker.openCount, records.length, records[0]!.logLines, records[0]!.id, order], [0, 1, 3, invocation.id, ['activator', 'ending', 'recorded', 'beginner']])
  })

  test('tells whoever began it, and nobody else, though places are used again and others begin meanwhile', () => {
    const { begin, clock, invoker } = ground()
    const told = new Map<Invocation, Invocation[]>()
    const one = (): Invocation => {
      const heard: Invocation[] = []
      const begun = begin({ ended: (ended) => heard.push(ended) })
      told.set(begun, heard)
      return begun
    }
    const open = Array.from({ length: 5 }, one)
    for (let round = 0; round < 20; round++) {
      open.splice(round % open.length, 1)[0]!.complete(clock.monotonicUs())
      open.push(one())
      begin().complete(clock.monotonicUs())
    }
    for (const invocation of open) invocation.fail(timeout, clock.monotonicUs())
    assert.equal(invoker.openCount, 0)
    for (const [invocation, heard] of told) assert.deepEqual(heard.map((ended) => ended.id), [invocation.id])
  })

  test('is known to whoever began it before it can end', () => {
    const { invoker, submitted, clock } = ground()
    const order: string[] = []
    submitted.push = (invocation) => (invocation.fail(timeout, clock.monotonicUs()), order.push('ended'))
    invoker.begin({ revision: testRevision(), origin: 'api', request: { kind: 'event', method: 'POST', path: '/', headers: [], body: undefined }, sink: new RecordingSink() }, () => order.push('bound'))
    assert.deepEqual(order, ['bound', 'ended'])
  })

  test('says in its record who it was, how it ended and what it used', () => {
    const { begin, records, clock } = ground()
    const invocation = begin({ origin: 'async', attempt: 2, id: 'a'.repeat(32), revision: testRevision({ memoryMb: 512 }, { namespace: 'n', function: 'g', number: 4 }) })
    Object.assign(invocation, { start: 'warm', instance: 'i1', handedUs: clock.monotonicUs(), cpuUs: 700, memoryPeakKb: 10_240, bytesIn: 1, bytesOut: 2, status: 201 })
    clock.advance(2)
    invocation.complete(clock.monotonicUs())
    const { traceparent, cost, ...record } = records[0]!
    assert.deepEqual(record, {
      id: 'a'.repeat(32), namespace: 'n', function: 'g', revision: 4, origin: 'async', attempt: 2, startedAtMs: clock.epochMs() - 2, outcome: 'ok', status: 201, start: 'warm', instance: 'i1',
      totalUs: 2000, queueUs: 0, placementUs: 0, sandboxUs: 0, initUs: 0, runUs: 2000, cpuUs: 700, memoryPeakMb: 10, memoryLimitMb: 512, gbMs: 1, bytesIn: 1, bytesOut: 2, logLines: 3,
    })
    assert.match(traceparent, /^00-a{32}-/)
    assert(cost > 0)
  })

  test('whose instance was restored for it says so: the restore is sandbox, not run, and not billed', () => {
    const { begin, records, clock } = ground()
    const invocation = begin()
    const figures = { mode: 'reap', restoreUs: 1500.4, pagesPrefetched: 100, pagesFaulted: 2, bytesRead: 417_792, readUs: 900 } as const
    Object.assign(invocation, { start: 'snapshot', handedUs: clock.monotonicUs(), status: 200, startFigures: { start: 'snapshot', ...figures } })
    clock.advance(4)
    invocation.complete(clock.monotonicUs())
    const { snapshot, sandboxUs, initUs, runUs, totalUs, gbMs, memoryLimitMb } = records[0]!
    assert.deepEqual([snapshot, sandboxUs, initUs, runUs, totalUs], [figures, 1500, 0, 2500, 4000])
    assert.equal(gbMs, (2.5 * memoryLimitMb) / 1024)
  })

  test('whose instance was booted for it, or used again, has no figures of a snapshot; booting is initialisation', () => {
    const { begin, records, clock } = ground()
    for (const [start, restoreUs] of [['cold', 3000], ['warm', 0]] as const) {
      const invocation = begin()
      Object.assign(invocation, { start, handedUs: clock.monotonicUs(), startFigures: { start, restoreUs } })
      clock.advance(4)
      invocation.complete(clock.monotonicUs())
    }
    assert.deepEqual(records.map((record) => [record.start, 'snapshot' in record, record.sandboxUs, record.initUs, record.runUs]), [['cold', false, 0, 3000, 1000], ['warm', false, 0, 0, 4000]])
  })

  test('that never reached an instance costs nothing, and says why it failed', () => {
    const { begin, records, clock } = ground()
    const invocation = begin()
    clock.advance(7)
    invocation.fail(timeout, clock.monotonicUs())
    const { outcome, status, error, totalUs, queueUs, runUs, gbMs, cost, start } = records[0]!
    assert.deepEqual({ outcome, status, code: error?.code, totalUs, queueUs, runUs, gbMs, cost, start }, { outcome: 'error', status: 504, code: 'FUNCTION_TIMEOUT', totalUs: 7000, queueUs: 7000, runUs: 0, gbMs: 0, cost: 0, start: 'none' })
  })

  test('has phases that add up to its time, whenever its instance was started', () => {
    const us = fc.integer({ min: 0, max: 5_000_000 })
    fc.assert(fc.property(us, us, us, us, fc.boolean(), fc.option(fc.record({ start: fc.constantFrom('cold', 'snapshot', 'warm'), restoreUs: us })), (waitedUs, runUs, sandboxUs, initUs, handed, startFigures) => {
      const { begin, records } = ground()
      const invocation = begin({ acceptedUs: 1000 })
      if (handed) Object.assign(invocation, { start: 'cold', handedUs: 1000 + waitedUs, sandboxUs, initUs, startFigures: startFigures ?? undefined })
      invocation.complete(1000 + waitedUs + (handed ? runUs : 0))
      const record = records[0]!
      const phases = [record.queueUs, record.placementUs, record.sandboxUs, record.initUs, record.runUs]
      assert(phases.every((phase) => phase >= 0), String(phases))
      assert.equal(phases.reduce((sum, phase) => sum + phase, 0), record.totalUs)
      // What it waited for last is told first: the code's loading, then the sandbox, then the queue.
      if (!handed) return
      const restoredUs = Math.min(startFigures?.restoreUs ?? 0, runUs)
      const booted = startFigures?.start === 'cold'
      assert.equal(record.initUs - (booted ? restoredUs : 0), Math.min(initUs, waitedUs))
      assert.equal(record.sandboxUs - (booted ? 0 : restoredUs), Math.min(sandboxUs, Math.max(0, waitedUs - initUs)))
    }))
  })
})

describe('a call', () => {
  test('inherits its caller\'s deadline and trace, and names it', () => {
    const { begin, records, clock } = ground()
    const parent = begin({ traceparent: `00-${'b'.repeat(32)}-${'c'.repeat(16)}-01` })
    parent.deadlineMs = clock.epochMs() + 40
    const child = begin({ origin: 'call', parent })
    assert.deepEqual([child.deadlineMs, child.depth, child.traceparent], [parent.deadlineMs, 1, `00-${'b'.repeat(32)}-${parent.id.slice(16)}-01`])
    child.complete(clock.monotonicUs())
    assert.equal(records[0]!.parent, parent.id)
  })

  test('deeper than the bound is refused, with its record (N1)', () => {
    const { begin, records, submitted } = ground()
    let invocation = begin()
    for (let depth = 1; depth <= 64; depth++) invocation = begin({ parent: invocation, origin: 'call' })
    assert.deepEqual([submitted.length, records.length], [65, 0])
    const sink = new RecordingSink()
    begin({ parent: invocation, origin: 'call', sink })
    assert.deepEqual([sink.error?.code, submitted.length, records.length], ['CALL_DEPTH_EXCEEDED', 65, 1])
  })
})

describe('closing', () => {
  test('waits for what is under way, and refuses what comes, each with its record (N1)', async () => {
    const { invoker, begin, clock, records } = ground()
    const [one, two] = [begin(), begin()]
    let closed = false
    const closing = invoker.close(1000).then(() => (closed = true))
    const sink = new RecordingSink()
    begin({ sink })
    assert.equal(sink.error?.code, 'STOPPING')
    one.complete(clock.monotonicUs())
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(closed, false)
    two.complete(clock.monotonicUs())
    await closing
    assert.deepEqual([records.length, invoker.openCount], [3, 0])
  })

  test('cancels what has not ended in its grace', async () => {
    const { invoker, begin, clock, records } = ground()
    const all = [begin(), begin(), begin()]
    all[1]!.complete(clock.monotonicUs())
    for (const one of all) one.holder = { cancelInvocation: (invocation, reason) => invocation.fail(reason, clock.monotonicUs()) }
    const closing = invoker.close(1000)
    clock.advance(999)
    assert.equal(records.length, 1)
    clock.advance(1)
    await closing
    assert.deepEqual(records.map(({ error }) => error?.code), [undefined, 'STOPPING', 'STOPPING'])
  })

  test('is done at once when nothing is under way', async () => {
    const { invoker } = ground()
    await invoker.close(1000)
  })
})

test('invocations that come and go in any order are counted right (N1)', () => {
  fc.assert(fc.property(fc.array(fc.nat(5), { maxLength: 60 }), (steps) => {
    const { invoker, begin, records } = ground()
    const open: Invocation[] = []
    for (const step of steps) {
      if (step > 2 || open.length === 0) open.push(begin())
      else open.splice(step % open.length, 1)[0]!.complete(1)
      assert.equal(invoker.openCount, open.length)
    }
    assert.equal(new Set(records.map(({ id }) => id)).size, records.length)
    assert.equal(new Set(open.map(({ slot }) => slot)).size, open.length)
  }))
})

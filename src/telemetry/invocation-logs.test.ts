/**
 * Goal: what was printed is found by its invocation, and an invocation knows how much it printed (L1).
 *
 * Method: a real log store over journals in memory.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { testInvocation, testRevision } from '#contract/invocation.fake.ts'
import type { TestInvocation } from '#contract/invocation.fake.ts'
import type { Revision } from '#contract/function-config.ts'
import { InvocationLogs } from './invocation-logs.ts'
import { FakeJournals } from './journals.fake.ts'
import { LogStore } from './log-store.ts'

function ground(revision: Revision = testRevision()) {
  const clock = new ManualClock()
  const logs = new LogStore({ store: new FakeJournals(), clock })
  const invocationLogs = new InvocationLogs({ logs, clock })
  return {
    clock, invocationLogs, revision,
    begin: (): TestInvocation => testInvocation(clock, { revision, ended: invocationLogs.ending }),
    async lines(): Promise<string[]> {
      const { lines } = await logs.read({ namespace: revision.namespace, function: revision.function, limit: 100 })
      return lines.map(({ invocation, level, text }) => `${invocation === '' ? 'none' : invocation} ${level} ${text}`)
    },
  }
}

describe('a line', () => {
  test('printed before the end carries the invocation\'s id, and is counted in its record (L1)', async () => {
    const { invocationLogs, revision, begin, lines, clock } = ground()
    const [one, other, silent] = [begin(), begin(), begin()]
    invocationLogs.logged(revision, one.invocation, 'info', 'a')
    invocationLogs.logged(revision, other.invocation, 'stderr', 'b')
    invocationLogs.logged(revision, one.invocation, 'info', 'c')
    for (const { invocation } of [one, other, silent]) invocation.complete(clock.monotonicUs())
    assert.deepEqual([one, other, silent].map(({ invocation }) => invocation.logLines), [2, 1, 0])
    assert.deepEqual(await lines(), [`${one.invocation.id} info a`, `${other.invocation.id} stderr b`, `${one.invocation.id} info c`])
  })

  test('printed after the end, or by no invocation, is the function\'s own (L1)', async () => {
    const { invocationLogs, revision, begin, lines, clock } = ground()
    const { invocation } = begin()
    invocationLogs.logged(revision, undefined, 'warn', 'while loading')
    invocation.complete(clock.monotonicUs())
    invocationLogs.logged(revision, invocation, 'info', 'left over')
    assert.deepEqual([await lines(), invocation.logLines], [['none warn while loading', 'none info left over'], 0])
  })

  test('over the limit of the function is dropped, and the last one says how much (L1)', async () => {
    const { invocationLogs, revision, begin, lines, clock } = ground(testRevision({ logBytesMax: 10 }))
    const [one, other] = [begin().invocation, begin().invocation]
    for (const text of ['12345678', 'abcdefgh', 'more']) invocationLogs.logged(revision, one, 'info', text)
    invocationLogs.logged(revision, other, 'info', 'has its own limit'.slice(0, 10))
    one.complete(clock.monotonicUs())
    other.complete(clock.monotonicUs())
    const printed = await lines()
    assert.deepEqual(printed.slice(0, 3), [`${one.id} info 12345678`, `${one.id} info ab`, `${other.id} info has its ow`])
    assert.match(printed[3]!, /10 more bytes were dropped/)
    assert.deepEqual([one.logLines, other.logLines], [2, 1])
  })

  test('of an invocation that failed is kept as well', async () => {
    const { invocationLogs, revision, begin, lines } = ground()
    const { invocation } = begin()
    invocationLogs.logged(revision, invocation, 'error', 'about to fail')
    invocation.fail(Object.assign(new Error('x'), { kind: { status: 500 } }) as never, 1)
    assert.deepEqual([await lines(), invocation.logLines], [[`${invocation.id} error about to fail`], 1])
  })
})

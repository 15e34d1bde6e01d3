/**
 * Goal: tasks run so many at a time (T1), end once, with their first answer (T2), and not at all when they are cancelled before (T3); envelopes that are
 * none are refused, and futures settle once (F1, F2).
 *
 * Method: attempts are promises that the test settles; time, chance and pauses are handed in. Envelopes: random bytes, and real ones with random changes.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '../../src/contract/errors.ts'
import { decodeOrder, decodeReport, encode } from './envelope.ts'
import { makeFuture, wait } from './future.ts'
import { Group, TaskPool } from './task-pool.ts'
import type { Task } from './task-pool.ts'

function ground(concurrency: number, group = new Group(100, false)) {
  const clock = { ms: 0 }
  const pauses: number[] = []
  const pool = new TaskPool({ concurrency, retries: 2, nowMs: () => clock.ms, random01: () => 0, pause: async (ms) => void pauses.push(ms) })
  const attempts: { name: string; answer: PromiseWithResolvers<void>; signal: AbortSignal }[] = []
  const failures: unknown[] = []
  const submit = (name: string, cancelled = new AbortController()): AbortController => {
    const task: Task = {
      group,
      cancelled: cancelled.signal,
      started: () => {},
      failed: (error) => void failures.push(error),
      attempt: (signal) => {
        const answer = Promise.withResolvers<void>()
        attempts.push({ name, answer, signal })
        return answer.promise
      },
    }
    pool.submit(task)
    return cancelled
  }
  const names = (): string[] => attempts.map(({ name }) => name)
  return { attempts, clock, failures, group, names, pauses, submit, turn: () => new Promise((resolve) => setImmediate(resolve)) }
}

describe('a pool of tasks', () => {
  test('runs as many at a time as it may, in the order of coming (T1), and none that was cancelled before (T3)', async () => {
    const { attempts, names, submit, turn } = ground(2)
    submit('a')
    submit('b')
    const c = submit('c')
    submit('d')
    assert.deepEqual(names(), ['a', 'b'])
    c.abort()
    attempts[1]!.answer.resolve()
    await turn()
    assert.deepEqual(names(), ['a', 'b', 'd'])
  })

  test('tries again what was lost, and gives up after so many times', async () => {
    const { attempts, failures, names, pauses, submit, turn } = ground(1)
    submit('a')
    submit('b')
    for (let at = 0; at < 3; at++) {
      attempts[at]!.answer.reject(new PlatformError('INSTANCE_LOST', 'gone'))
      await turn()
    }
    assert.deepEqual(names(), ['a', 'a', 'a', 'b'])
    assert.deepEqual(pauses, [25, 50])
    assert.equal((failures[0] as PlatformError).code, 'INSTANCE_LOST')
  })

  test('does not try again what the function threw', async () => {
    const { attempts, failures, names, submit, turn } = ground(1)
    submit('a')
    const thrown = new TypeError('mine')
    attempts[0]!.answer.reject(thrown)
    await turn()
    assert.deepEqual([failures, names()], [[thrown], ['a']])
  })

  test('copies a straggler once, takes the first answer and lets go of the other (T2)', async () => {
    const { attempts, clock, failures, names, submit, turn } = ground(30, new Group(20, true))
    for (let at = 0; at < 20; at++) submit(`t${at}`)
    clock.ms = 100
    for (let at = 0; at < 18; at++) attempts[at]!.answer.resolve()
    await turn()
    assert.equal(names().length, 20, 'only 90 % are done')
    clock.ms = 1000
    attempts[18]!.answer.resolve()
    await turn()
    assert.deepEqual(names().slice(20), ['t19'])
    // The copy fails: the first one may still answer.
    attempts[20]!.answer.reject(new PlatformError('FUNCTION_TIMEOUT', 'late'))
    await turn()
    assert.equal(attempts[19]!.signal.aborted, false)
    attempts[19]!.answer.resolve()
    await turn()
    assert.deepEqual([attempts[20]!.signal.aborted, failures, names().length], [true, [], 21])
  })

  test('says nothing of a task that was cancelled while it ran', async () => {
    const { attempts, failures, submit, turn } = ground(1)
    const cancelled = submit('a')
    cancelled.abort()
    attempts[0]!.answer.reject(new PlatformError('CANCELLED', 'let go'))
    await turn()
    assert.deepEqual(failures, [])
  })
})

describe('a future', () => {
  test('settles once (F1), and a failure that nobody asks for is none of the process (F2)', async () => {
    const { future, resolve, reject } = makeFuture<number>()
    reject(new Error('first'))
    resolve(7)
    future.cancel()
    assert.equal(future.state, 'failed')
    await assert.rejects(future.result(), /first/)
  })

  test('is waited for as asked', async () => {
    const [a, b] = [makeFuture<number>(), makeFuture<number>()]
    const both = [a.future, b.future]
    assert.deepEqual(await wait(both, 'always'), [[], both])
    const any = wait(both, 'any')
    b.resolve(2)
    assert.deepEqual(await any, [[b.future], [a.future]])
    assert.deepEqual(await wait(both, 'all', 1), [[b.future], [a.future]])
    a.future.cancel()
    assert.deepEqual(await wait(both), [both, []])
    await assert.rejects(a.future.result(), { code: 'CANCELLED' })
  })
})

test('bytes that are no envelope are refused as that, and nothing else happens', () => {
  const real = encode({ run: 'work', work: { kind: 'items', items: [1, new Map([['a', Buffer.from('x')]])] } })
  const refusedOrRead = (bytes: Uint8Array): void => {
    for (const decode of [decodeOrder, decodeReport]) {
      try {
        decode(bytes)
      } catch (error) {
        assert.equal((error as PlatformError).code, 'PROTOCOL_BROKEN')
      }
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), refusedOrRead))
  fc.assert(fc.property(fc.nat(real.length - 1), fc.nat(255), (at, byte) => {
    const changed = Buffer.from(real)
    changed[at] = byte
    refusedOrRead(changed)
  }))
  assert.deepEqual(decodeOrder(real).work.kind, 'items')
})

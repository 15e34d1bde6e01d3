/**
 * Goal: the bus inside one process keeps the promises of Bus, and its subjects match as NATS's do.
 *
 * Method: the conformance suite on a hub with a manual clock; examples and a property for subjects.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import { runBusConformance } from './bus.conformance.ts'
import type { LocalBus } from './local-bus.ts'
import { createLocalHub, openLocalBus } from './local-bus.ts'
import { SubjectTable, assertPattern, assertSubject, matches } from './subject.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

runBusConformance({
  name: 'LocalBus',
  async open() {
    const clock = new ManualClock()
    const hub = createLocalHub({ clock, lossMs: 3000 })
    const connections: LocalBus[] = []
    return {
      async connect() {
        const bus = hub.connect()
        connections.push(bus)
        return bus
      },
      sever: async (bus) => (bus as LocalBus).sever(),
      async pass(ms) {
        clock.advance(ms)
        await turn()
      },
      settle: turn,
      lossMs: 3000,
      async destroy() {
        for (const connection of connections) await connection.close()
      },
    }
  },
})

describe('LocalBus', () => {
  test('reports a listener that throws, and still calls the others', async () => {
    const thrown: unknown[] = []
    const bus = openLocalBus({ clock: new ManualClock(), onListenerError: (error) => thrown.push(error) })
    const bug = new Error('bug')
    let heard = 0
    bus.subscribe('x', () => {
      throw bug
    })
    bus.subscribe('x', () => heard++)
    bus.publish('x', 1)
    await turn()
    assert.deepEqual(thrown, [bug])
    assert.equal(heard, 1)
  })

  test('delivers what a listener sends after all that was sent before (B1)', async () => {
    const bus = openLocalBus({ clock: new ManualClock() })
    const heard: unknown[] = []
    bus.subscribe('x', (message) => {
      heard.push(message)
      if (message === 1) bus.publish('x', 3)
    })
    bus.publish('x', 1)
    bus.publish('x', 2)
    await turn()
    assert.deepEqual(heard, [1, 2, 3])
  })
})

describe('subjects', () => {
  test('match part by part', () => {
    const cases: [string, string, boolean][] = [
      ['a.b', 'a.b', true], ['a.b', 'a', false], ['a', 'a.b', false], ['a.*', 'a.b', true], ['a.*', 'a', false], ['a.*', 'a.b.c', false],
      ['a.>', 'a.b.c', true], ['a.>', 'a', false], ['>', 'a', true], ['*.b', 'a.b', true], ['*', 'a.b', false],
    ]
    for (const [pattern, subject, expected] of cases) assert.equal(matches(pattern, subject), expected, `${pattern} ${subject}`)
  })

  test('refuse empty parts, spaces and wildcards where they have no meaning', () => {
    for (const bad of ['', '.', 'a.', '.a', 'a..b', 'a b', 'a.*', '>']) assert.throws(() => assertSubject(bad), /not a subject/, bad)
    for (const bad of ['', 'a.>.b', 'a*', 'a>', '>.a', 'a..*']) assert.throws(() => assertPattern(bad), /not a pattern/, bad)
  })

  test('are found in a table exactly where they match', () => {
    const part = fc.constantFrom('a', 'b', 'c')
    const subjects = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('.'))
    const patterns = fc
      .tuple(fc.array(fc.oneof(part, fc.constant('*')), { minLength: 1, maxLength: 4 }), fc.boolean())
      .map(([parts, rest]) => (rest ? [...parts, '>'] : parts).join('.'))
    fc.assert(
      fc.property(fc.array(patterns, { maxLength: 20 }), subjects, (registered, subject) => {
        const table = new SubjectTable<string>()
        for (const pattern of registered) table.add(pattern, pattern)
        assert.deepEqual(table.find(subject), registered.filter((pattern) => matches(pattern, subject)))
      }),
    )
  })
})

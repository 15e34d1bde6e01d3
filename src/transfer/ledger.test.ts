/**
 * Goal: sums are exact, bounds are kept, and each put is answered with the least harm that is possible: accept, spill, file, wait, refuse, in this order.
 *
 * Method: named cases with round numbers, and generated sequences of puts, moves and releases.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { AgeNode } from './age-list.ts'
import { Ledger } from './ledger.ts'
import type { Account, Ask, Charge, LedgerLimits, Spillable } from './ledger.ts'

function ledgerOf(limits: Partial<LedgerLimits> = {}): Ledger {
  return new Ledger({ memoryBytesMax: 100, fileBytesMax: 200, bodiesMax: 10, descriptorsMax: 10, namespaceBytesMax: () => 250, ...limits })
}

interface Body extends Spillable {
  isIdle: boolean
}

function keep(ledger: Ledger, account: Account, bytes: number, isIdle = true): Body {
  const body: Body = { charge: ledger.charge(account, 'memory', bytes, 1), isIdle, spill: () => assert.fail('arithmetic only') }
  ledger.spillable.add(new AgeNode<Spillable>(body))
  account.spillable.add(new AgeNode<Spillable>(body))
  return body
}

function ask(account: Account, bytes: number, more: Partial<Ask> = {}): Ask {
  return { account, bytes, own: undefined, descriptors: 1, preferred: 'memory', ...more }
}

describe('Ledger', () => {
  test('accepts what has room in memory', () => {
    const ledger = ledgerOf()
    assert.deepEqual(ledger.decide(ask(ledger.instanceAccount('n', 'i', 100), 100)), { do: 'accept', place: 'memory' })
  })

  test('moves the oldest idle bodies of the worker when memory lacks room, and no more than needed', () => {
    const ledger = ledgerOf()
    const [one, two] = [ledger.instanceAccount('n', 'i1', 100), ledger.instanceAccount('n', 'i2', 100)]
    keep(ledger, one, 30, false)
    const second = keep(ledger, two, 30)
    keep(ledger, one, 30)
    assert.deepEqual(ledger.decide(ask(one, 30)), { do: 'spill', bodies: [second] })
  })

  test("moves an instance's own bodies when its share is full, though the worker has room", () => {
    const ledger = ledgerOf()
    const [one, two] = [ledger.instanceAccount('n', 'i1', 50), ledger.instanceAccount('n', 'i2', 100)]
    keep(ledger, two, 10)
    const own = keep(ledger, one, 40)
    assert.deepEqual(ledger.decide(ask(one, 20)), { do: 'spill', bodies: [own] })
  })

  test('what an instance left behind is not counted against a share any more', () => {
    const ledger = ledgerOf()
    const account = ledger.instanceAccount('n', 'i1', 50)
    const body = keep(ledger, account, 40)
    ledger.instanceEnded('i1')
    assert.equal(ledger.instances, 0)
    assert.deepEqual(ledger.decide(ask(ledger.instanceAccount('n', 'i1', 50), 50)), { do: 'accept', place: 'memory' })
    assert.equal([...ledger.namespaces()][0]!.memoryBytes, 40)
    ledger.release(body.charge)
    assert.equal(ledger.memoryBytes, 0)
  })

  test('puts into a file at once what is larger than memory or the share, or when nothing can be moved', () => {
    const ledger = ledgerOf()
    const account = ledger.instanceAccount('n', 'i1', 50)
    assert.deepEqual(ledger.decide(ask(account, 51)), { do: 'accept', place: 'file' })
    keep(ledger, account, 50, false)
    assert.deepEqual(ledger.decide(ask(account, 10)), { do: 'accept', place: 'file' })
  })

  test('lets wait, with used and most, when neither memory nor files have room', () => {
    const ledger = ledgerOf({ namespaceBytesMax: () => 1000 })
    const account = ledger.instanceAccount('n', 'i1', 100)
    keep(ledger, account, 90, false)
    ledger.charge(account, 'file', 195, 1)
    assert.deepEqual(ledger.decide(ask(account, 20)), { do: 'wait', shortage: { of: 'instance', used: 90, max: 100 } })
    assert.deepEqual(ledger.decide(ask(ledger.namespaceAccount('n'), 20)), { do: 'wait', shortage: { of: 'memory', used: 90, max: 100 } })
    assert.deepEqual(ledger.decide(ask(account, 150)), { do: 'wait', shortage: { of: 'files', used: 195, max: 200 } })
  })

  test('lets wait for the namespace, for bodies, for descriptors and for a full disk', () => {
    const ledger = ledgerOf({ bodiesMax: 2, descriptorsMax: 1 })
    const account = ledger.instanceAccount('n', 'i1', 100)
    ledger.charge(account, 'file', 195, 1)
    assert.deepEqual(ledger.decide(ask(account, 60)), { do: 'wait', shortage: { of: 'namespace', used: 195, max: 250 } })
    assert.deepEqual(ledger.decide(ask(account, 1)), { do: 'wait', shortage: { of: 'descriptors', used: 1, max: 1 } })
    const packed = ledger.charge(account, 'memory', 1, 0)
    assert.deepEqual(ledger.decide(ask(account, 1, { descriptors: 0 })), { do: 'wait', shortage: { of: 'bodies', used: 2, max: 2 } })
    ledger.release(packed)
    const full = ledgerOf()
    full.diskIsFull = true
    assert.deepEqual(full.decide(ask(full.namespaceAccount('n'), 150)), { do: 'wait', shortage: { of: 'disk', used: 0, max: 200 } })
  })

  test('refuses what can never fit, with the bound that is in the way (L3)', () => {
    const ledger = ledgerOf()
    const account = ledger.instanceAccount('n', 'i1', 50)
    assert.deepEqual(ledger.decide(ask(account, 251)), { do: 'refuse', shortage: { of: 'namespace', used: 0, max: 250 } })
    assert.deepEqual(ledger.decide(ask(account, 201)), { do: 'refuse', shortage: { of: 'files', used: 0, max: 200 } })
    const noFiles = ledgerOf({ fileBytesMax: 0 })
    assert.deepEqual(noFiles.decide(ask(noFiles.instanceAccount('n', 'i1', 50), 51)), { do: 'refuse', shortage: { of: 'instance', used: 0, max: 50 } })
    assert.deepEqual(noFiles.decide(ask(noFiles.namespaceAccount('n'), 101)), { do: 'refuse', shortage: { of: 'memory', used: 0, max: 100 } })
    assert.deepEqual(noFiles.decide(ask(noFiles.namespaceAccount('n'), 1, { preferred: 'file only' })), { do: 'refuse', shortage: { of: 'files', used: 0, max: 0 } })
  })

  test('a body that grows goes to a file with all that it has', () => {
    const ledger = ledgerOf()
    const account = ledger.instanceAccount('n', 'i1', 100)
    const own = ledger.charge(account, 'memory', 80, 1)
    assert.deepEqual(ledger.decide(ask(account, 30, { own })), { do: 'accept', place: 'file' })
    ledger.resize(own, 110)
    ledger.move(own, 'file')
    assert.deepEqual([ledger.memoryBytes, ledger.fileBytes], [0, 110])
    assert.deepEqual(ledger.decide(ask(account, 90, { own })), { do: 'accept', place: 'file' })
    assert.deepEqual(ledger.decide(ask(account, 91, { own })), { do: 'refuse', shortage: { of: 'files', used: 0, max: 200 } })
  })

  test('keeps every bound and exact sums through any sequence (L1, L2, L3)', () => {
    const step = fc.oneof(
      fc.record({ put: fc.nat(260), instance: fc.nat(2), preferred: fc.constantFrom('memory' as const, 'file' as const), idle: fc.boolean() }),
      fc.record({ release: fc.nat(20) }),
      fc.record({ end: fc.nat(2) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ledger = ledgerOf()
        let charges: Charge[] = []
        for (const one of steps) {
          if ('release' in one) {
            const charge = charges[one.release % Math.max(1, charges.length)]
            if (charge !== undefined) ledger.release(charge)
            charges = charges.filter((other) => other !== charge)
          } else if ('end' in one) ledger.instanceEnded(`i${one.end}`)
          else {
            const account = ledger.instanceAccount(`n${one.instance % 2}`, `i${one.instance}`, 60)
            const decision = ledger.decide(ask(account, one.put, { preferred: one.preferred }))
            if (decision.do === 'accept') charges.push(ledger.charge(account, decision.place, one.put, 1))
            // What waits fits into an empty ledger, and what is refused does not.
            const empty = ledgerOf()
            const alone = empty.decide(ask(empty.instanceAccount('n0', 'i', 60), one.put))
            if (decision.do === 'wait') assert.equal(alone.do, 'accept')
            if (decision.do === 'refuse') assert.equal(alone.do, 'refuse')
            assert(account.memoryBytes <= 60)
          }
          const sum = (place: string): number => charges.reduce((bytes, charge) => bytes + (charge.place === place ? charge.bytes : 0), 0)
          assert.deepEqual([ledger.memoryBytes, ledger.fileBytes, ledger.bodies, ledger.descriptors], [sum('memory'), sum('file'), charges.length, charges.length])
          assert(ledger.memoryBytes <= 100 && ledger.fileBytes <= 200 && ledger.bodies <= 10)
          for (const namespace of ledger.namespaces()) assert(namespace.memoryBytes + namespace.fileBytes <= 250)
        }
        for (const charge of charges) ledger.release(charge)
        assert.deepEqual([ledger.memoryBytes, ledger.fileBytes, ledger.bodies, ledger.descriptors], [0, 0, 0, 0])
      }),
      { numRuns: 500 },
    )
  })
})

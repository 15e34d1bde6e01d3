/**
 * Goal: what is deployed is what runs: revisions never change or change places, routes are never broken, and code stays
 * exactly as long as something uses it.
 *
 * Method: a real store; restarts are a second registry over the same store, crashes are writes left out.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { checkCode } from './code-archive.ts'
import { UPLOAD_KEPT_MS } from './code-store.ts'
import { FunctionRegistry } from './functions.ts'
import type { FunctionChange } from './functions.ts'
import { codesOf, config, testGround, uploadFile, withCode } from './registry.fake.ts'
import type { TestGround } from './registry.fake.ts'

function open(ground: TestGround, revisionsMax?: number): Promise<FunctionRegistry> {
  const { store, blobs, clock } = ground
  return FunctionRegistry.open({ store, blobs, nowMs: () => clock.epochMs(), ...(revisionsMax !== undefined && { revisionsMax }) })
}

interface Over {
  readonly name?: string
  readonly namespace?: string
  readonly memoryMb?: number
  readonly activate?: boolean
}

async function deploy(registry: FunctionRegistry, text: string, over: Over = {}) {
  const { name = 'f', namespace = 'n', memoryMb = 256, activate = true } = over
  return registry.deploy({ namespace, name, config: config({ memoryMb }), code: await uploadFile(registry, namespace, text), activate })
}

describe('FunctionRegistry', () => {
  test('makes a revision per change of code or configuration, and none for the same again', async (context) => {
    const registry = await open(await testGround(context))
    assert.equal(registry.resolve('n', 'f', 0), undefined)
    assert.deepEqual((await deploy(registry, 'a')).revision.number, 1)
    assert.equal(registry.resolve('n', 'f', 0.5)?.number, 1)
    const again = await deploy(registry, 'a')
    assert.equal(again.created, false)
    assert.equal(again.revision.number, 1)
    assert.equal((await deploy(registry, 'b')).revision.number, 2)
    assert.equal((await deploy(registry, 'b', { memoryMb: 128 })).revision.number, 3)
    assert.equal(registry.resolve('n', 'f', 0.5)?.config.memoryMb, 128)
    assert.deepEqual((await registry.revisions('n', 'f')).map((revision) => revision.number), [1, 2, 3])
  })

  test('rolls back, forward by number, and splits traffic; deploying again ends it', async (context) => {
    const registry = await open(await testGround(context))
    for (const text of ['a', 'b', 'c']) await deploy(registry, text)
    await registry.rollback('n', 'f')
    assert.equal(registry.resolve('n', 'f', 0)?.number, 2)
    await registry.rollback('n', 'f')
    assert.equal(registry.resolve('n', 'f', 0)?.number, 1)
    await assert.rejects(registry.rollback('n', 'f'), withCode('REVISION_NOT_FOUND'))
    await assert.rejects(registry.rollback('n', 'f', 9), withCode('REVISION_NOT_FOUND'))
    await registry.setTraffic('n', 'f', [{ revision: 1, weight: 90 }, { revision: 3, weight: 10 }])
    assert.deepEqual([0, 0.89, 0.9, 0.99].map((random) => registry.resolve('n', 'f', random)?.number), [1, 1, 3, 3])
    await assert.rejects(registry.setTraffic('n', 'f', [{ revision: 4, weight: 100 }]), withCode('REVISION_NOT_FOUND'))
    assert.equal((await deploy(registry, 'c')).created, false)
    assert.equal(registry.resolve('n', 'f', 0)?.number, 3)
  })

  test('deploys without traffic when asked, so that it can be tried with a small share first', async (context) => {
    const registry = await open(await testGround(context))
    await deploy(registry, 'a', { activate: false })
    assert.equal(registry.resolve('n', 'f', 0)?.number, 1, 'the first revision has to have it')
    await deploy(registry, 'b', { activate: false })
    assert.equal(registry.resolve('n', 'f', 0)?.number, 1)
    assert.equal(registry.latest('n', 'f')?.number, 2)
  })

  test('tells which revisions are routed and which lost their traffic', async (context) => {
    const registry = await open(await testGround(context))
    const told: string[] = []
    registry.onChange((change: FunctionChange) => {
      const routed = change.kind === 'routed' ? change.routed.map((revision) => revision.number).join() : '-'
      const dropped = change.kind === 'pruned' ? [] : change.dropped
      told.push(`${change.kind} ${routed} dropped ${dropped.map((revision) => revision.number).join()}`)
    })
    await deploy(registry, 'a')
    await deploy(registry, 'b')
    await registry.setTraffic('n', 'f', [{ revision: 1, weight: 50 }, { revision: 2, weight: 50 }])
    await registry.delete('n', 'f')
    assert.deepEqual(told, ['routed 1 dropped ', 'routed 2 dropped 1', 'routed 1,2 dropped ', 'deleted - dropped 1,2'])
  })

  test('is the same after a restart, and follows what another registry over the store does', async (context) => {
    const ground = await testGround(context)
    const first = await open(ground)
    await deploy(first, 'a')
    await deploy(first, 'b')
    await first.setTraffic('n', 'f', [{ revision: 1, weight: 50 }, { revision: 2, weight: 50 }])
    const second = await open(ground)
    assert.deepEqual([0, 0.5].map((random) => second.resolve('n', 'f', random)?.number), [1, 2])
    assert.deepEqual([...second.routed()].map((revision) => revision.number), [1, 2])
    await deploy(second, 'c')
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(first.resolve('n', 'f', 0)?.number, 3)
    await first.delete('n', 'f')
    assert.equal(second.resolve('n', 'f', 0), undefined)
  })

  test('never gives a number twice, also over deletion (R1)', async (context) => {
    const ground = await testGround(context)
    const registry = await open(ground)
    await deploy(registry, 'a')
    await deploy(registry, 'b')
    await registry.delete('n', 'f')
    await assert.rejects(registry.delete('n', 'f'), withCode('FUNCTION_NOT_FOUND'))
    assert.equal((await deploy(registry, 'c')).revision.number, 3)
    // What a deployment killed between its two writes leaves: a revision that no entity knows.
    await ground.store.put('revisions', 'n/f/0000000004', { ...registry.latest('n', 'f')!, number: 4 })
    assert.equal((await deploy(registry, 'd')).revision.number, 5)
  })

  test('survives deployments at once, of one and of several registries (R3)', async (context) => {
    const ground = await testGround(context)
    const registries = [await open(ground), await open(ground)]
    const deployed = await Promise.all(Array.from({ length: 12 }, (_, index) => deploy(registries[index % 2]!, `text ${index}`)))
    const numbers = deployed.map(({ revision }) => revision.number)
    assert.equal(new Set(numbers).size, 12, `numbers ${numbers.join()}`)
    const kept = await registries[0]!.revisions('n', 'f')
    for (const { revision } of deployed) assert.equal(kept.find((other) => other.number === revision.number)?.code, revision.code)
    assert.equal(registries[0]!.latest('n', 'f')?.number, registries[1]!.latest('n', 'f')?.number)
  })

  test('keeps at most revisionsMax revisions, never dropping one with traffic (R4)', async (context) => {
    const ground = await testGround(context)
    const registry = await open(ground, 3)
    await deploy(registry, 'text 1')
    for (let index = 2; index <= 6; index++) await deploy(registry, `text ${index}`, { activate: false })
    assert.deepEqual((await registry.revisions('n', 'f')).map((revision) => revision.number), [1, 5, 6])
    assert.equal((await codesOf(ground.blobs)).length, 3)
    assert.equal(registry.resolve('n', 'f', 0)?.number, 1)
  })

  test('keeps code as long as a revision of any function uses it, and no longer (C1)', async (context) => {
    const ground = await testGround(context)
    const registry = await open(ground)
    await deploy(registry, 'shared', { name: 'f' })
    await deploy(registry, 'shared', { name: 'g' })
    await deploy(registry, 'shared', { name: 'f', namespace: 'other' })
    await deploy(registry, 'own', { name: 'f' })
    assert.equal((await codesOf(ground.blobs)).length, 2)
    await registry.delete('n', 'f')
    assert.equal((await codesOf(ground.blobs)).length, 1)
    await registry.delete('n', 'g')
    assert.equal((await codesOf(ground.blobs)).length, 1)
    await registry.delete('other', 'f')
    assert.deepEqual(await codesOf(ground.blobs), [])
    assert.deepEqual(await ground.store.list('code-references'), [])
  })

  test('lets a namespace use only code that it uploaded or uses (C2)', async (context) => {
    const registry = await open(await testGround(context))
    const { revision } = await deploy(registry, 'secret of n')
    assert.equal(await registry.code.find('other', revision.code), undefined)
    assert.equal((await registry.code.find('n', revision.code))?.digest, revision.code)
    await assert.rejects(registry.deploy({ namespace: 'other', name: 'f', config: config(), code: revision.code }), withCode('ENTITY_NOT_FOUND'))
  })

  test('says of code that went with its function that the function is gone', async (context) => {
    const ground = await testGround(context)
    const registry = await open(ground)
    const { revision } = await deploy(registry, 'short-lived')
    const opened = registry.code.open(revision.code)
    await registry.delete('n', 'f')
    await assert.rejects(checkCode(opened), withCode('FUNCTION_NOT_FOUND'))
    await assert.rejects(registry.code.read(revision.code), withCode('ENTITY_NOT_FOUND'))
  })

  test('refuses code without its entry, and code that is none; nothing is deployed then', async (context) => {
    const registry = await open(await testGround(context))
    const code = await uploadFile(registry, 'n', 'x', 'other.js')
    await assert.rejects(registry.deploy({ namespace: 'n', name: 'f', config: config(), code }), withCode('CODE_INVALID'))
    assert.equal(registry.get('n', 'f'), undefined)
  })

  test('sweeps what nothing came to use, after a day, and what a crash left (C3)', async (context) => {
    const ground = await testGround(context)
    const registry = await open(ground)
    const { revision } = await deploy(registry, 'used')
    await uploadFile(registry, 'n', 'never used')
    const crashed = await uploadFile(registry, 'n', 'crashed')
    await ground.store.put('code-references', `${crashed}/n/gone/1`, null)
    await ground.store.put('revisions', 'n/gone/0000000002', { ...revision, function: 'gone', number: 2 })
    assert.equal(await registry.sweep(), 2)
    assert.equal((await codesOf(ground.blobs)).length, 3, 'uploads have a day')
    ground.clock.advance(UPLOAD_KEPT_MS + 1)
    assert.equal(await registry.sweep(), 2)
    assert.deepEqual(await codesOf(ground.blobs), [revision.code])
    assert.equal(registry.resolve('n', 'f', 0)?.number, 1)
  })
})

/**
 * Goal: keys open what they should and nothing else, nobody can be locked out, and no key can be read from the store.
 *
 * Method: a real store; a restart is a second registry over it.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ensureLocalKey, readCredentials } from './local-key.ts'
import { NamespaceRegistry, quotaDefaults } from './namespaces.ts'
import { testGround, withCode } from './registry.fake.ts'
import type { TestGround } from './registry.fake.ts'

function open({ store, clock }: TestGround): Promise<NamespaceRegistry> {
  return NamespaceRegistry.open({ store, randomBytes, nowMs: () => clock.epochMs() })
}

const localKey = (namespaces: NamespaceRegistry, { directory }: TestGround) => ensureLocalKey({ namespaces, file: join(directory, 'credentials.json'), randomBytes })

describe('NamespaceRegistry', () => {
  test('begins with default and an admin key in a private file, and keeps both over restarts (N1)', async (context) => {
    const ground = await testGround(context)
    const first = await localKey(await open(ground), ground)
    assert.match(first.key, /^skep_[0-9a-f]{12}_[0-9a-f]{48}$/)
    assert.equal(first.created, true)
    assert.equal((await stat(join(ground.directory, 'credentials.json'))).mode & 0o777, 0o600)
    const again = await open(ground)
    assert.deepEqual(await localKey(again, ground), { namespace: 'default', key: first.key, created: false })
    assert.equal(again.verifyKey(first.key)?.role, 'admin')
    assert.deepEqual(again.get('default')?.quotas, quotaDefaults)
  })

  test('replaces a local key that was lost or revoked', async (context) => {
    const ground = await testGround(context)
    const namespaces = await open(ground)
    const first = await localKey(namespaces, ground)
    await writeFile(join(ground.directory, 'credentials.json'), '{"key":')
    const second = await localKey(namespaces, ground)
    assert.notEqual(second.key, first.key)
    await namespaces.revokeKey('default', namespaces.verifyKey(second.key)!.id)
    const third = await localKey(namespaces, ground)
    assert.equal(third.created, true)
    assert.equal((await readCredentials(join(ground.directory, 'credentials.json')))?.key, third.key)
  })

  test('keeps only hashes, and verifies whole keys only (N2)', async (context) => {
    const ground = await testGround(context)
    const namespaces = await open(ground)
    const { key } = await namespaces.createKey({ namespace: 'default', name: 'ci', role: 'namespace' })
    const secret = key.split('_')[2]!
    assert.equal(JSON.stringify(await ground.store.list('keys')).includes(secret), false)
    assert.equal(namespaces.verifyKey(key)?.name, 'ci')
    const other = secret.startsWith('0') ? `1${secret.slice(1)}` : `0${secret.slice(1)}`
    for (const wrong of ['', 'skep', key.slice(0, -1), `${key}0`, ` ${key}`, key.toUpperCase(), key.replace(secret, other), `skep_000000000000_${secret}`]) {
      assert.equal(namespaces.verifyKey(wrong), undefined, wrong)
    }
  })

  test('creates, limits and deletes namespaces; a deleted one takes its keys along', async (context) => {
    const ground = await testGround(context)
    const namespaces = await open(ground)
    await localKey(namespaces, ground)
    await namespaces.create('team', { memoryMb: 512 })
    await assert.rejects(namespaces.create('team'), withCode('CONFLICT'))
    assert.equal((await namespaces.setQuotas('team', { invocationsPerMinute: 5 })).quotas.memoryMb, 512)
    const { key } = await namespaces.createKey({ namespace: 'team', name: 'a', role: 'namespace' })
    assert.deepEqual(namespaces.list().map((namespace) => namespace.name), ['default', 'team'])
    await namespaces.delete('team')
    assert.equal(namespaces.verifyKey(key), undefined)
    await assert.rejects(namespaces.delete('team'), withCode('NAMESPACE_NOT_FOUND'))
    await assert.rejects(namespaces.delete('default'), withCode('FORBIDDEN'))
    assert.equal((await open(ground)).get('team'), undefined)
  })

  test('keeps the last admin key, wherever it is (N1)', async (context) => {
    const ground = await testGround(context)
    const namespaces = await open(ground)
    const { entity } = await namespaces.createKey({ namespace: 'default', name: 'one', role: 'admin' })
    await assert.rejects(namespaces.revokeKey('default', entity.id), withCode('FORBIDDEN'))
    await namespaces.create('ops')
    await namespaces.createKey({ namespace: 'ops', name: 'two', role: 'admin' })
    await assert.rejects(namespaces.revokeKey('ops', entity.id), withCode('ENTITY_NOT_FOUND'))
    await namespaces.revokeKey('default', entity.id)
    await assert.rejects(namespaces.delete('ops'), withCode('FORBIDDEN'))
  })
})

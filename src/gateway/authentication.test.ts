/**
 * Goal: exactly the holder of a valid key is let in, and hashing happens once per key.
 *
 * Method: a real registry of keys; a count of verifications tells what was remembered.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { NamespaceRegistry } from '#registry/namespaces.ts'
import { testGround, withCode } from '#registry/registry.fake.ts'
import { Authenticator, namespaceFor } from './authentication.ts'

async function setUp(context: TestContext, remembered?: number) {
  const { store } = await testGround(context)
  const namespaces = await NamespaceRegistry.open({ store, randomBytes, nowMs: () => 1 })
  let verified = 0
  const counting = {
    verifyKey: (text: string) => (verified++, namespaces.verifyKey(text)),
    onKeysChange: (listener: () => void) => namespaces.onKeysChange(listener),
  }
  const authenticator = new Authenticator({ namespaces: counting, ...(remembered !== undefined && { remembered }) })
  const { key, entity } = await namespaces.createKey({ namespace: 'default', name: 'a', role: 'namespace' })
  return { namespaces, authenticator, key, id: entity.id, verified: () => verified }
}

const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`

describe('Authenticator', () => {
  test('takes a key as bearer, or as the password of any user, in any case of the scheme', async (context) => {
    const { authenticator, key, id } = await setUp(context)
    for (const header of [`Bearer ${key}`, `bearer  ${key}`, basic(`me:${key}`), basic(`:${key}`)]) {
      assert.deepEqual(authenticator.authenticate(header), { namespace: 'default', keyId: id, role: 'namespace' })
    }
  })

  test('says whether a key is missing or wrong', async (context) => {
    const { authenticator, key } = await setUp(context)
    for (const header of [undefined, '']) assert.throws(() => authenticator.authenticate(header), withCode('KEY_MISSING'))
    for (const header of [key, 'Bearer', 'Bearer ', `Bearer ${key}x`, `Digest ${key}`, basic(key), basic(`${key}:`), basic(''), `Bearer ${'x'.repeat(100_000)}`, 'Basic \u0000']) {
      assert.throws(() => authenticator.authenticate(header), withCode('KEY_INVALID'), header.slice(0, 50))
    }
  })

  test('hashes a key once, and again after any key changed; a revoked one is refused at once (K1)', async (context) => {
    const { authenticator, namespaces, key, id, verified } = await setUp(context)
    for (let count = 0; count < 5; count++) authenticator.authenticate(`Bearer ${key}`)
    assert.equal(verified(), 1)
    await namespaces.createKey({ namespace: 'default', name: 'b', role: 'admin' })
    authenticator.authenticate(`Bearer ${key}`)
    assert.equal(verified(), 2)
    await namespaces.revokeKey('default', id)
    assert.throws(() => authenticator.authenticate(`Bearer ${key}`), withCode('KEY_INVALID'))
  })

  test('remembers a bounded number of headers, and no wrong ones (K2)', async (context) => {
    const { authenticator, key, verified } = await setUp(context, 2)
    const headers = ['a', 'b', 'c'].map((user) => basic(`${user}:${key}`))
    for (const header of headers) authenticator.authenticate(header)
    for (let guess = 0; guess < 10; guess++) assert.throws(() => authenticator.authenticate(`Bearer guess ${guess}`))
    const before = verified()
    authenticator.authenticate(headers[2])
    authenticator.authenticate(headers[1])
    assert.equal(verified(), before)
    authenticator.authenticate(headers[0])
    assert.equal(verified(), before + 1)
  })

  test('lets only an admin act in another namespace', () => {
    const own = { namespace: 'a', keyId: '', role: 'namespace' } as const
    assert.equal(namespaceFor(own, undefined), 'a')
    assert.equal(namespaceFor(own, 'a'), 'a')
    assert.throws(() => namespaceFor(own, 'b'), withCode('FORBIDDEN'))
    assert.equal(namespaceFor({ ...own, role: 'admin' }, 'b'), 'b')
  })
})

/**
 * Goal: a secret comes out only for an instance that starts, and only as what was put in.
 *
 * Method: a real store, looked into directly for what it must not hold, and tampered with.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { testGround, withCode } from './registry.fake.ts'
import type { TestGround } from './registry.fake.ts'
import { SecretStore } from './secrets.ts'

function open({ store, directory, clock }: TestGround): Promise<SecretStore> {
  return SecretStore.open({ store, keyFile: join(directory, 'master.key'), randomBytes, nowMs: () => clock.epochMs() })
}

describe('SecretStore', () => {
  test('gives back what was put, after a restart too, and the newest value after a rotation', async (context) => {
    const ground = await testGround(context)
    const secrets = await open(ground)
    await secrets.put('n', 'TOKEN', 'first')
    await secrets.put('n', 'TOKEN', 'zweiter ✓')
    await secrets.put('n', 'EMPTY', '')
    assert.deepEqual(await (await open(ground)).environment('n', ['TOKEN', 'EMPTY']), { TOKEN: 'zweiter ✓', EMPTY: '' })
    assert.deepEqual((await secrets.list('n')).map((secret) => secret.name), ['EMPTY', 'TOKEN'])
    assert.deepEqual(await secrets.list('other'), [])
  })

  test('stores no value readably, and its key only for the owner (X1)', async (context) => {
    const ground = await testGround(context)
    const secrets = await open(ground)
    await secrets.put('n', 'TOKEN', 'hunter2-hunter2')
    assert.doesNotMatch(JSON.stringify(await ground.store.list('secrets')), /hunter2/)
    assert.equal((await stat(join(ground.directory, 'master.key'))).mode & 0o777, 0o600)
  })

  test('refuses an entry moved to another name or namespace, one that was damaged, and another key', async (context) => {
    const ground = await testGround(context)
    const secrets = await open(ground)
    await secrets.put('n', 'TOKEN', 'value')
    const entry = (await ground.store.get<{ sealed: string }>('secrets', 'n/TOKEN'))!.value
    await ground.store.put('secrets', 'other/TOKEN', entry)
    await ground.store.put('secrets', 'n/OTHER', entry)
    await ground.store.put('secrets', 'n/DAMAGED', { ...entry, sealed: `A${entry.sealed.slice(1)}B` })
    for (const [namespace, name] of [['other', 'TOKEN'], ['n', 'OTHER'], ['n', 'DAMAGED']] as const) {
      await assert.rejects(secrets.environment(namespace, [name]), withCode('STORE_FAILED'))
    }
    await writeFile(join(ground.directory, 'master.key'), randomBytes(32).toString('hex'))
    await assert.rejects((await open(ground)).environment('n', ['TOKEN']), withCode('STORE_FAILED'))
    await writeFile(join(ground.directory, 'master.key'), 'no key')
    await assert.rejects(open(ground), withCode('STORE_FAILED'))
  })

  test('says which secret is missing, and deletes', async (context) => {
    const ground = await testGround(context)
    const secrets = await open(ground)
    await assert.rejects(secrets.environment('n', ['GONE']), withCode('INIT_FAILED'))
    await assert.rejects(secrets.delete('n', 'GONE'), withCode('ENTITY_NOT_FOUND'))
    await secrets.put('n', 'A', '1')
    await secrets.put('nn', 'A', '1')
    await secrets.deleteAll('n')
    assert.deepEqual([await secrets.get('n', 'A'), (await secrets.get('nn', 'A'))?.name], [undefined, 'A'])
  })

  test('tells who listens, when the change can be read', async (context) => {
    const secrets = await open(await testGround(context))
    const told: string[] = []
    const reads: Promise<unknown>[] = []
    const stop = secrets.onChange((namespace, name) => {
      told.push(`${namespace}/${name}`)
      reads.push(secrets.environment(namespace, [name]).catch((error: unknown) => withCode('INIT_FAILED')(error) && 'gone'))
    })
    await secrets.put('n', 'A', '1')
    await secrets.put('n', 'A', '2')
    await secrets.put('n', 'B', '3')
    await secrets.delete('n', 'A')
    await secrets.deleteAll('n')
    await assert.rejects(secrets.delete('n', 'A'))
    stop()
    await secrets.put('n', 'A', '4')
    assert.deepEqual(told, ['n/A', 'n/A', 'n/B', 'n/A', 'n/B'])
    assert.deepEqual((await Promise.all(reads)).slice(0, 2), [{ A: '1' }, { A: '2' }])
  })

  test('makes one key when two processes start at once', async (context) => {
    const ground = await testGround(context)
    const [one, other] = await Promise.all([open(ground), open(ground)])
    await one.put('n', 'A', 'value')
    assert.match(await readFile(join(ground.directory, 'master.key'), 'utf8'), /^[0-9a-f]{64}\n$/)
    assert.deepEqual(await other.environment('n', ['A']), { A: 'value' })
    assert.deepEqual((await readdir(ground.directory)).filter((name) => name.endsWith('.new')), [])
  })
})

/**
 * Goal: transfers of two workers with this plane between them do what one worker's do: all of an object or an error, and retrievals that count right.
 * Method: real Transfers on both sides, sharing the group's keys, over loopback.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import type { TestContext } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { collect, content, producer, readAll, testGround, withCode } from '../transfer.fake.ts'
import type { Transfers } from '../transfers.ts'
import { sharedMemory } from '../shared-memory.ts'
import { makeCredentials } from './certificates.ts'
import { remoteDefaults } from './config.ts'
import type { RemoteConfig } from './config.ts'
import { GROUP_KEY } from './remote.fake.ts'
import { TransferClient } from './transfer-client.ts'
import { TransferServer } from './transfer-server.ts'

describe('transfers of two workers', () => {
  it('give an object as a stream and as a body, as often as it may be retrieved', async (context) => {
    const { here, there, ground } = await startBoth(context)
    for (const bytes of [0, 10, 20_000, 700_000]) {
      const reference = await there.put(producer(), ground.body(content(bytes)), { ordinal: 0, n: 2 })
      const stream = await here.get('n', reference, { asStream: true })
      assert.ok((await collect(stream.body)).equals(content(bytes)))
      stream.done()
      const held = await here.get('n', reference)
      assert.ok(readAll(held.body).equals(content(bytes)))
      held.done()
      await assert.rejects(here.get('n', reference), withCode('OBJECT_USED_UP'))
    }
    assert.equal(here.usage().memoryBytes + here.usage().fileBytes, 0)
  })

  it('count no retrieval of a consumer that breaks off, and none of a connection that does', async (context) => {
    const { here, there, ground, server } = await startBoth(context)
    const reference = await there.put(producer(), ground.body(content(9_000_000)), { ordinal: 0 })
    const first = await here.get('n', reference, { asStream: true })
    await once(first.body, 'readable')
    first.failed()
    const second = await here.get('n', reference, { asStream: true })
    await once(second.body, 'readable')
    await server.close()
    await assert.rejects(collect(second.body), withCode('TRANSFER_BROKEN'))
    second.done()
    // On its own worker it is still to be had.
    const own = await there.get('n', reference)
    assert.ok(readAll(own.body).equals(content(9_000_000)))
    own.done()
  })

  it('share the bytes among consumers of one host, each with a retrieval', async (context) => {
    const { here, there, ground } = await startBoth(context)
    const reference = await there.put(producer(), ground.body(content(300_000)), { ordinal: 0, n: 3 })
    const held = await Promise.all([1, 2, 3].map(() => here.get('n', reference)))
    for (const one of held) assert.ok(readAll(one.body).equals(content(300_000)))
    for (const one of held) one.done()
    await assert.rejects(here.get('n', reference), withCode('OBJECT_USED_UP'))
  })

  it('hold up nobody of another namespace when one reads none of its streams', async (context) => {
    const { here, there, ground } = await startBoth(context, { windowBytes: 100_000, namespaceBuffersBytesMax: 100_000, buffersWaitMs: 1 })
    const reference = await there.put(producer(), ground.body(content(300_000)), { ordinal: 0, n: 2 })
    const unread = await here.get('n', reference, { asStream: true })
    for (const asStream of [true, false] as const) await assert.rejects(here.get('n', reference, { asStream }), withCode('QUEUE_TIMEOUT'))
    const others = await here.get('other', await there.put(producer({ namespace: 'other' }), ground.body(content(300_000)), { ordinal: 0 }))
    assert.ok(readAll(others.body).equals(content(300_000)))
    others.done()
    unread.failed()
  })

  it('say that an object is lost with its worker', async (context) => {
    const { here, there, ground, forget } = await startBoth(context)
    const reference = await there.put(producer(), ground.body(content(10)), { ordinal: 0 })
    forget()
    await assert.rejects(here.get('n', reference), withCode('OBJECT_LOST'))
  })
})

async function startBoth(context: TestContext, changes: Partial<RemoteConfig> = {}): Promise<{ readonly here: Transfers; readonly there: Transfers; readonly ground: ReturnType<typeof testGround>; readonly server: TransferServer; readonly forget: () => void }> {
  const ground = testGround(context)
  const config = { ...remoteDefaults, ...changes }
  const there = ground.transfers({}, { worker: 'there' })
  const server = await TransferServer.listen({ address: { host: '127.0.0.1', port: 0 }, credentials: makeCredentials('there', [GROUP_KEY]), objects: there, memory: sharedMemory(), config })
  let isKnown = true
  const directory = { find: (worker: string) => (isKnown && worker === 'there' ? server.address : undefined) }
  const client = new TransferClient({ config, clock: systemClock, credentials: makeCredentials('here', [GROUP_KEY]), directory })
  const here = ground.transfers({}, { worker: 'here', peers: client })
  context.after(async () => {
    client.close()
    await server.close().catch(() => {
      // A test closed it.
    })
  })
  return { here, there, ground, server, forget: () => { isKnown = false } }
}

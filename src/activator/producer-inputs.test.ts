/**
 * Goal: inputs are kept as they were and as long as they may be needed (P1), streams are not (P2), and nothing stays behind.
 *
 * Method: a real store and real blobs on a temporary directory; time is data.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { HeldBody } from '#contract/held-body.ts'
import type { Invocation, InvocationRequest } from '#contract/invocation.ts'
import { openFileBlobs } from '#store/file-blobs.ts'
import { openSqliteStore } from '#store/sqlite-store.ts'
import { ProducerInputs } from './producer-inputs.ts'

const LIFE_MS = 1000
const ids = Array.from({ length: 5 }, (_, n) => String(n).repeat(32))

async function ground(context: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'skep-inputs-'))
  context.after(() => rmSync(directory, { recursive: true, force: true }))
  const store = await openSqliteStore({ path: join(directory, 'store.sqlite') })
  context.after(() => store.close())
  const blobs = await openFileBlobs({ directory: join(directory, 'blobs') })
  const time = { nowMs: 5000 }
  const clock = { epochMs: () => time.nowMs, monotonicUs: () => time.nowMs * 1000, after: () => ({ cancel: () => {} }) }
  const warnings: string[] = []
  const make = (): ProducerInputs => new ProducerInputs({ store, blobs, clock: clock as never, lifeMs: LIFE_MS, warn: (message) => void warnings.push(message) })
  const blobCount = (): number => (readdirSync(join(directory, 'blobs'), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).length
  return { make, time, directory, blobCount, warnings, store }
}

function invocation(id: string, body: InvocationRequest['body']): Invocation {
  return { id, revision: { namespace: 'n' }, request: { kind: 'event', method: 'POST', path: '/', headers: ['a', 'b'], body } } as unknown as Invocation
}

const bytesOf = async (request: InvocationRequest | undefined): Promise<Buffer | undefined> =>
  request?.body === undefined ? undefined : request.body instanceof Uint8Array ? request.body : await buffer(request.body as Readable)

test('an input is found as it was, whatever carries its body, by whoever opens the store next (P1)', async (context) => {
  const { make, directory } = await ground(context)
  const inputs = make()
  const large = Buffer.alloc(100_000, 'abc')
  const fd = openSync(join(directory, 'held'), 'w+')
  writeSync(fd, large)
  const held = new HeldBody(fd, large.length)
  for (const [n, body] of [undefined, Buffer.from('{}'), large, held].entries()) await inputs.keep(invocation(ids[n]!, body))
  held.release()
  const found = await Promise.all(ids.slice(0, 4).map((id) => make().find('n', id)))
  assert.deepEqual(await Promise.all(found.map(bytesOf)), [undefined, Buffer.from('{}'), large, large])
  assert.deepEqual({ ...found[0] }, { kind: 'event', method: 'POST', path: '/', headers: ['a', 'b'], body: undefined })
  assert.equal(await make().find('other', ids[0]!), undefined)
})

test('a stream was consumed, and is not kept (P2); an id that is none is refused', async (context) => {
  const { make, blobCount } = await ground(context)
  const inputs = make()
  await inputs.keep(invocation(ids[4]!, Readable.from([Buffer.from('x')])))
  assert.equal(await inputs.find('n', ids[4]!), undefined)
  assert.equal(blobCount(), 0)
  await assert.rejects(inputs.find('n', '../../x'), { code: 'INPUT_INVALID' })
})

test('it is kept once for all puts of an invocation, and goes with its blob when its time is over', async (context) => {
  const { make, time, blobCount, warnings, store } = await ground(context)
  const inputs = make()
  const one = invocation(ids[0]!, Buffer.alloc(100_000, 1))
  assert.equal(inputs.keep(one), inputs.keep(one))
  await inputs.keep(one)
  assert.equal(blobCount(), 1)
  time.nowMs += LIFE_MS
  assert.equal(await inputs.find('n', ids[0]!), undefined)
  inputs.start()
  while ((await store.list('producer-inputs')).length > 0 || blobCount() > 0) await new Promise((wake) => setImmediate(wake))
  inputs.close()
  assert.deepEqual(warnings, [])
})

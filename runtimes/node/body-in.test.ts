/**
 * Goal: an incoming body gives its bytes in order, returns credit as it is read, and holds no more than the window.
 * Method: chunks pushed by hand and credit recorded.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CREDIT_BYTES } from '../../src/contract/frames.ts'
import { IncomingBody } from './body-in.ts'

const CHUNK = Buffer.alloc(CREDIT_BYTES / 4, 1)

test('credit comes back as bytes are read, not before', async () => {
  const credit: number[] = []
  const body = new IncomingBody(Buffer.from('inline'), false, (bytes) => credit.push(bytes))
  for (let at = 0; at < 4; at++) body.push(CHUNK, false)
  assert.deepEqual(credit, [])
  assert.equal((await body.read())!.toString(), 'inline')
  assert.deepEqual(credit, [])
  await body.read()
  assert.deepEqual(credit, [CHUNK.length])
})

test('a sender beyond its credit breaks the protocol (B1)', () => {
  const body = new IncomingBody(undefined, false, () => {})
  for (let at = 0; at < 4; at++) body.push(CHUNK, false)
  assert.throws(() => body.push(Buffer.from('x'), false), { code: 'PROTOCOL_BROKEN' })
})

test('a waiting reader gets the chunk, the end, or the error (B2)', async () => {
  const body = new IncomingBody(undefined, false, () => {})
  const first = body.read()
  body.push(Buffer.from('a'), false)
  assert.equal((await first)!.toString(), 'a')
  const last = body.read()
  body.push(Buffer.alloc(0), true)
  assert.equal(await last, undefined)
  const failed = new IncomingBody(undefined, false, () => {})
  const waiting = failed.read()
  failed.fail(new Error('gone'))
  await assert.rejects(waiting, /gone/)
  await assert.rejects(failed.read(), /gone/)
})

test('a discarded body gives credit for what still comes', () => {
  const credit: number[] = []
  const body = new IncomingBody(undefined, false, (bytes) => credit.push(bytes))
  body.push(CHUNK, false)
  body.discard()
  for (let at = 0; at < 10; at++) body.push(CHUNK, false)
  assert.equal(credit.length, 11)
})

test('as a web stream it ends, and cancelling discards', async () => {
  const body = new IncomingBody(Buffer.from('ab'), false, () => {})
  body.push(Buffer.from('cd'), true)
  assert.equal(await new Response(body.stream()).text(), 'abcd')
  const cancelled = new IncomingBody(Buffer.from('ab'), false, () => {})
  await cancelled.stream().cancel()
  assert.equal(cancelled.hasBytes, false)
})

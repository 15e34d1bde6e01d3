/**
 * Goal: bodies of any size pass both ways, and neither side holds more than the credit window (frames F2).
 *
 * Method: the test plays a platform that gives credit by hand and counts what comes.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import { CREDIT_BYTES, INLINE_BYTES_MAX } from '#contract/frames.ts'
import { needsPython, startFunction } from './start-python.ts'

const request = (path: string) => ({ k: 'http', m: 'POST', u: path, h: [] }) as const

describe('an answer in pieces', needsPython, () => {
  test('stops when the credit is used up, and goes on when there is more (B1)', async () => {
    await using peer = await startFunction('streams.py')
    const stream = peer.open({ head: request('/?what=produce&count=20&size=50000'), credit: 'manual' })
    await stream.until(() => stream.dataBytes === CREDIT_BYTES)
    // Whatever else could come would have come before the answer to a later invocation.
    await peer.http({ method: 'POST', path: '/?what=ignore' })
    assert.equal(stream.dataBytes, CREDIT_BYTES)
    stream.giveCredit(100)
    await stream.until(() => stream.dataBytes === CREDIT_BYTES + 100)
    stream.giveCredit(2_000_000)
    const answer = await stream.answer
    assert.equal(answer.body.length, 1_000_000)
    assert.equal(answer.body[999_999], 19)
    assert.ok(answer.usage !== undefined)
  })

  test('stops and is closed when nobody wants it any more', async () => {
    await using peer = await startFunction('streams.py')
    const stream = peer.open({ head: request('/?what=endless'), credit: 'manual' })
    assert.deepEqual((await stream.headSeen).h, ['content-type', 'text/event-stream'])
    await stream.until(() => stream.dataBytes === CREDIT_BYTES)
    stream.reset()
    await stream.letGo
    assert.deepEqual(peer.logs.map((log) => log.text), ['closed'])
    assert.equal((await peer.http({ method: 'POST', path: '/?what=ignore' })).text, 'not read')
  })

  test('comes from async generators and large values of async handlers too', async () => {
    await using peer = await startFunction('async_main.py')
    const stream = peer.open({ head: { k: 'event' }, body: JSON.stringify({ what: 'stream', count: 30, size: 20_000 }), credit: 'manual' })
    await stream.until(() => stream.dataBytes === CREDIT_BYTES)
    assert.deepEqual((await peer.event({ still: 'here' })).json, { still: 'here' }, 'the event loop is not held up')
    stream.giveCredit(1_000_000)
    const answer = await stream.answer
    assert.equal(answer.body.length, 600_000)
    assert.equal((await peer.event({ what: 'large', size: 900_000 })).body.length, 900_000)
  })
})

describe('a request body in pieces', needsPython, () => {
  const bytes = Buffer.alloc(1_500_000, 'abcdefg')

  test('is read as it arrives, and reading gives credit back (B2)', async () => {
    await using peer = await startFunction('streams.py')
    const stream = peer.open({ head: request('/'), body: bytes.subarray(0, INLINE_BYTES_MAX), ended: false })
    let sent = INLINE_BYTES_MAX
    let windowBytes = CREDIT_BYTES
    while (sent < bytes.length) {
      const size = Math.min(INLINE_BYTES_MAX, bytes.length - sent, windowBytes)
      stream.data(bytes.subarray(sent, sent + size), sent + size === bytes.length)
      sent += size
      windowBytes -= size
      if (windowBytes > 0) continue
      const before = stream.creditBytes
      await stream.until(() => stream.creditBytes > before)
      windowBytes += stream.creditBytes - before
    }
    const answer = (await stream.answer).json
    assert.deepEqual(answer, { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') })
    assert.ok(stream.creditBytes <= bytes.length - INLINE_BYTES_MAX, 'the bytes inside `open` are free')
  })

  test('is read by lines while the answer is under way', async () => {
    await using peer = await startFunction('streams.py')
    const stream = peer.open({ head: request('/?what=upper'), body: 'one\ntw', ended: false })
    await stream.headSeen
    assert.equal(stream.received.toString(), 'ONE\n')
    stream.data('o\n')
    await stream.until(() => stream.received.length === 8)
    stream.data('three', true)
    assert.equal((await stream.answer).text, 'ONE\nTWO\nTHREE')
  })

  test('may be left unread', async () => {
    await using peer = await startFunction('streams.py')
    const stream = peer.open({ head: request('/?what=ignore'), body: 'x', ended: false })
    assert.equal((await stream.answer).text, 'not read')
    stream.data('late', true)
    assert.equal((await peer.http({ method: 'POST', path: '/?what=first-line', body: 'a\nb' })).text, 'a\n')
  })

  test('is collected for a handler that does not ask for a stream', async () => {
    await using peer = await startFunction('collects.py')
    const body = JSON.stringify({ text: 'x'.repeat(700_000) })
    const stream = peer.open({ head: { ...request('/'), h: ['content-type', 'application/json'] }, body: body.slice(0, 1000), ended: false })
    for (let sent = 1000; sent < body.length; sent += 60_000) stream.data(body.slice(sent, sent + 60_000))
    await stream.until(() => stream.creditBytes > 400_000)
    stream.data('', true)
    assert.deepEqual((await stream.answer).json, { method: 'post', size: 700_000, raw: 0, body: body.length })
  })
})

/**
 * Goal: an answer is the same however its bytes are cut, and what is no answer ends with a code and never hangs.
 *
 * Method: answers made at random, of every framing, cut at random; random and damaged bytes; the cases of RFC 9112 where parsers disagree,
 * one by one. Pieces come in a buffer that is overwritten afterwards, as sockets give them.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { HEAD_BYTES_MAX, headersOf, ResponseParser } from './response-parser.ts'

const LIMITS = { bodyKeptMax: 1000, bodyMax: 100_000 }

interface Parsed {
  readonly result: 'more' | 'done' | 'failed'
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly bodyBytes: number
  readonly reusable: boolean
  readonly code: string | undefined
}

/** @param cuts Lengths of the pieces; the rest is the last. @param end Whether the connection ends behind them. */
function parse(bytes: Buffer, cuts: readonly number[] = [], end = false): Parsed {
  const parser = new ResponseParser(LIMITS)
  const shared = Buffer.alloc(Math.max(1, bytes.length))
  let result: Parsed['result'] = 'more'
  let at = 0
  for (const length of [...cuts, bytes.length]) {
    const piece = bytes.subarray(at, at + length)
    at += piece.length
    if (piece.length === 0 || result !== 'more') continue
    piece.copy(shared)
    result = parser.push(shared, piece.length)
    shared.fill('\n')
  }
  if (result === 'more' && end) result = parser.end()
  const { status, head, body, bodyBytes, reusable, failure } = parser
  return { result, status, headers: { ...headersOf(head) }, body: Buffer.from(body).toString('latin1'), bodyBytes, reusable, code: failure?.code }
}

const text = (lines: string, body = ''): Buffer => Buffer.from(`${lines.replaceAll('\n', '\r\n')}\r\n\r\n${body}`, 'latin1')

const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 200 })
const header = fc.tuple(fc.constantFrom('X-One', 'Date', 'connections', 'content-lengthy', 'Server', 'aaaaaaaaaa', 'bbbbbbbbbbbbbb'), fc.stringMatching(/^[!-~]{0,20}$/))
const framed = fc.record({
  status: fc.constantFrom(200, 201, 404, 500, 503),
  headers: fc.array(header, { maxLength: 5 }),
  informational: fc.constantFrom('', 'HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100\r\n\r\n'),
  body: fc.uint8Array({ maxLength: 1500 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  framing: fc.constantFrom('length', 'chunked', 'until-close'),
  chunks: fc.array(fc.integer({ min: 1, max: 600 }), { maxLength: 10 }),
  trailer: fc.constantFrom('', 'x-checksum: 1\r\n'),
})

function bytesOf({ status, headers, informational, body, framing, chunks, trailer }: typeof framed extends fc.Arbitrary<infer T> ? T : never): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const head = (line: string): string => `${informational}HTTP/1.1 ${status} Some reason\r\n${lines}${line}\r\n`
  if (framing === 'length') return Buffer.from(`${head(`Content-Length: ${body.length}\r\n`)}${body}`, 'latin1')
  if (framing === 'until-close') return Buffer.from(`${head('')}${body}`, 'latin1')
  let chunked = ''
  for (let at = 0, index = 0; at < body.length; index++) {
    const piece = body.slice(at, at + (chunks[index] ?? body.length))
    chunked += `${piece.length.toString(16)};ext=1\r\n${piece}\r\n`
    at += piece.length
  }
  return Buffer.from(`${head('Transfer-Encoding: Chunked\r\n')}${chunked}0\r\n${trailer}\r\n`, 'latin1')
}

describe('an answer', () => {
  test('is the same however it is cut, and is what was sent (P1; fuzz)', () => {
    fc.assert(fc.property(framed, cuts, (answer, pieces) => {
      const parsed = parse(bytesOf(answer), pieces, answer.framing === 'until-close')
      assert.deepEqual(parsed, parse(bytesOf(answer), [], answer.framing === 'until-close'))
      const { status, body, framing } = answer
      assert.deepEqual([parsed.result, parsed.status, parsed.body, parsed.bodyBytes], ['done', status, body.slice(0, LIMITS.bodyKeptMax), body.length])
      assert.equal(parsed.reusable, framing !== 'until-close')
    }), { numRuns: 500 })
  })

  test('that ends early fails, wherever it ends', () => {
    for (const bytes of [text('HTTP/1.1 200 OK\ncontent-length: 5', 'hello'), text('HTTP/1.1 200 OK\ntransfer-encoding: chunked', '5\r\nhello\r\n0\r\n\r\n')]) {
      for (let length = 1; length < bytes.length; length++) {
        assert.deepEqual([parse(bytes.subarray(0, length)).result, parse(bytes.subarray(0, length), [], true).code], ['more', 'ECONNRESET'], String(length))
      }
      assert.equal(parse(bytes).result, 'done')
    }
  })

  test('without a body has none, whatever its head says', () => {
    assert.deepEqual(parse(text('HTTP/1.1 204 No Content')).result, 'done')
    assert.deepEqual(parse(text('HTTP/1.1 304 Not Modified\ncontent-length: 100')).result, 'done')
    assert.deepEqual(parse(text('HTTP/1.1 200 OK\ncontent-length: 0')).result, 'done')
  })

  test('says whether its connection goes on', () => {
    const reusable = (head: string, body = 'hello'): boolean => parse(text(`${head}\ncontent-length: 5`, body)).reusable
    assert.equal(reusable('HTTP/1.1 200 OK'), true)
    assert.equal(reusable('HTTP/1.1 200 OK\nConnection: Close'), false)
    assert.equal(reusable('HTTP/1.0 200 OK'), false)
    assert.equal(reusable('HTTP/1.0 200 OK\nconnection: keep-alive'), true)
    assert.equal(reusable('HTTP/1.1 200 OK', 'hello, and more'), false)
    assert.equal(parse(text('HTTP/1.1 200 OK\ncontent-length: 5\ntransfer-encoding: chunked', '0\r\n\r\n')).reusable, false)
  })

  test('joins headers of one name, and knows no names of Object', () => {
    assert.deepEqual({ ...headersOf('A: 1\r\nb:2\r\na: 3') }, { a: '1, 3', b: '2' })
    assert.equal(headersOf('')['constructor'], undefined)
  })
})

describe('what is no answer', () => {
  const refused: Readonly<Record<string, string>> = {
    'another protocol': 'SSH-2.0-OpenSSH_9.2\r\n',
    'another version': 'HTTP/2 200 OK\r\n\r\n',
    'a status of two digits': 'HTTP/1.1 20 OK\r\n\r\n',
    'an upgrade': 'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'two lengths': 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello',
    'a signed length': 'HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello',
    'a list of lengths': 'HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello',
    'an unknown encoding': 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    'a folded header': 'HTTP/1.1 200 OK\r\nx: 1\r\n content-length: 5\r\n\r\nhello',
    'a blank before the colon': 'HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello',
    'a header without a colon': 'HTTP/1.1 200 OK\r\nhello\r\n\r\n',
    'a chunk of no number': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n',
    'a chunk longer than it says': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n',
    'a chunk line that ends without CR': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n',
  }
  for (const [name, bytes] of Object.entries(refused)) {
    test(`${name} fails at once (P2)`, () => {
      assert.deepEqual([parse(Buffer.from(bytes)).result, parse(Buffer.from(bytes)).code], ['failed', 'PROTOCOL_BROKEN'])
      assert.equal(parse(Buffer.from(bytes), Array.from({ length: bytes.length }, () => 1)).code, 'PROTOCOL_BROKEN')
    })
  }

  test('random and damaged bytes end with a code, and the same one however they are cut (P1, P2; fuzz)', () => {
    const damaged = fc.tuple(framed, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 4 })).map(([answer, changes]) => {
      const bytes = bytesOf(answer)
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
      return bytes
    })
    fc.assert(fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 300 }).map((bytes): Buffer => Buffer.from(bytes))), cuts, (bytes, pieces) => {
      const [whole, cut] = [parse(bytes, [], true), parse(bytes, pieces, true)]
      assert(whole.result === 'done' || ['PROTOCOL_BROKEN', 'ANSWER_TOO_LARGE', 'ECONNRESET'].includes(whole.code!), whole.code ?? whole.result)
      // Cut bytes may end an answer before those behind it come: whether they did is the connection's to see.
      assert.deepEqual({ ...cut, reusable: whole.reusable }, whole)
    }), { numRuns: 2000 })
  })
})

describe('limits', () => {
  test('a head that is too long fails, in one piece and in many (P3)', () => {
    const head = (length: number): Buffer => text(`HTTP/1.1 200 OK\ncontent-length: 0\nx: ${'y'.repeat(length - 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: \r\n\r\n'.length)}`)
    for (const pieces of [[], Array.from({ length: 100 }, () => 1000)]) {
      assert.equal(parse(head(HEAD_BYTES_MAX), pieces).result, 'done')
      assert.equal(parse(head(HEAD_BYTES_MAX + 1), pieces).code, 'ANSWER_TOO_LARGE')
    }
  })

  test('a body is counted beyond what is kept, and fails above its limit (P3)', () => {
    const long = (length: number): Buffer => text(`HTTP/1.1 200 OK\ncontent-length: ${length}`, 'z'.repeat(length))
    const { result, body, bodyBytes } = parse(long(100_000), [50_000])
    assert.deepEqual([result, body.length, bodyBytes], ['done', LIMITS.bodyKeptMax, 100_000])
    assert.equal(parse(long(100_001)).code, 'ANSWER_TOO_LARGE')
    assert.equal(parse(text('HTTP/1.1 200 OK', 'z'.repeat(100_001))).code, 'ANSWER_TOO_LARGE')
  })

  test('a line of a chunked body that does not end fails (P3)', () => {
    const endless = text('HTTP/1.1 200 OK\ntransfer-encoding: chunked', `5;${'x'.repeat(5000)}`)
    assert.equal(parse(endless).code, 'PROTOCOL_BROKEN')
    const trailers = text('HTTP/1.1 200 OK\ntransfer-encoding: chunked', `0\r\n${`x: ${'y'.repeat(1000)}\r\n`.repeat(70)}`)
    assert.equal(parse(trailers).code, 'ANSWER_TOO_LARGE')
  })
})

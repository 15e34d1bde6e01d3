/**
 * Goal: XML, ranges and conditions mean what RFC 9110 and S3 say; any text is understood or refused, and nothing else.
 *
 * Method: tables of cases; random documents written and read again; random text.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { judgeRead, parseRange, writeCondition } from './conditions.ts'
import { S3Error } from './errors.ts'
import { chooseParts } from './multipart.ts'
import { checkBucketName, parseCopySource } from './target.ts'
import { childrenOf, element, parseXml, textOf, xmlDocument } from './xml.ts'

describe('XML', () => {
  test('comes back as it was written', () => {
    // What XML cannot carry is not asked back: control characters, and the ends of lines that readers make one.
    const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((value) => !/[\u0000-\u001f\u007f-\u009f\ufffe\uffff]/.test(value))
    fc.assert(
      fc.property(fc.array(text, { maxLength: 10 }), (keys) => {
        const document = xmlDocument('Delete', keys.map((key) => element('Object', [element('Key', key)])))
        assert.deepEqual(childrenOf(parseXml(document, 'Delete'), 'Object').map((one) => textOf(one, 'Key')), keys)
      }),
    )
  })

  test('is read with prefixes, comments, CDATA and spaces', () => {
    const read = parseXml('<?xml version="1.0"?><!-- c --><s:Delete xmlns:s="x">\n <s:Object><s:Key><![CDATA[a<b]]>&amp;c</s:Key></s:Object></s:Delete>', 'Delete')
    assert.equal(textOf(childrenOf(read, 'Object')[0]!, 'Key'), 'a<b&c')
  })

  test('is refused when it is broken, is another document, defines entities or is too deep', () => {
    const refused = ['', 'no', '<Delete>', '<Delete></Other>', '<Other/>', '<Delete/><Delete/>', '<!DOCTYPE a [<!ENTITY b "c">]><Delete>&b;</Delete>', '<Delete>&unknown;</Delete>', '<Delete>'.repeat(9) + '</Delete>'.repeat(9), '<Delete><a b=c/></Delete>']
    for (const text of refused) assert.throws(() => parseXml(text, 'Delete'), { code: 'MalformedXML' }, text)
  })

  test('of any text is read or refused', () => {
    const piece = fc.constantFrom('<Delete>', '</Delete>', '<Object>', '<a b="', '"/>', '<![CDATA[', ']]>', '<!--', '-->', '&amp;', '&#', '&#x110000;', '<?xml', '<!DOCTYPE', '\0', '\ud800')
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 6 })), { maxLength: 30 }), (parts) => {
        try {
          parseXml(parts.join(''), 'Delete')
        } catch (thrown) {
          assert.ok(thrown instanceof S3Error, String(thrown))
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('ranges', () => {
  for (const [header, expected] of [
    ['bytes=0-0', [0, 1]], ['bytes=2-4', [2, 5]], ['bytes=5-', [5, 10]], ['bytes=-3', [7, 10]], ['bytes=-99', [0, 10]], ['bytes=8-99', [8, 10]], ['bytes=0-9', [0, 10]],
    ['bytes=3-2', undefined], ['bytes=-', undefined], ['bytes=0-1,3-4', undefined], ['lines=0-1', undefined], ['', undefined], [undefined, undefined],
    ['bytes=10-', 'InvalidRange'], ['bytes=10-12', 'InvalidRange'], ['bytes=-0', 'InvalidRange'],
  ] as const) {
    test(`${header} of 10 bytes: ${String(expected)}`, () => {
      if (expected === 'InvalidRange') return assert.throws(() => parseRange(header, 10), { code: expected })
      const range = parseRange(header, 10)
      assert.deepEqual(range === undefined ? undefined : [range.from, range.until], expected)
    })
  }

  test('of any text is inside the object, all of it, or refused', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 20 }), fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => `bytes=${a}-${b}`)), fc.nat({ max: 1000 }), (header, bytes) => {
        try {
          const range = parseRange(header, bytes)
          if (range !== undefined) assert.ok(range.from >= 0 && range.from < range.until && range.until <= bytes)
        } catch (thrown) {
          assert.ok(thrown instanceof S3Error, String(thrown))
        }
      }),
    )
  })
})

describe('conditions', () => {
  const about = { etag: 'e', modifiedAtMs: 1_600_000_000_500 }
  const before = new Date(1_599_999_999_000).toUTCString()
  const same = new Date(1_600_000_000_000).toUTCString()
  for (const [conditions, expected] of [
    [{}, 'send'], [{ ifMatch: '"e"' }, 'send'], [{ ifMatch: '*' }, 'send'], [{ ifMatch: '"x", "e"' }, 'send'], [{ ifMatch: '"x"' }, 'failed'],
    [{ ifNoneMatch: '"e"' }, 'not modified'], [{ ifNoneMatch: 'W/"e"' }, 'not modified'], [{ ifNoneMatch: '"x"' }, 'send'],
    [{ ifModifiedSince: same }, 'not modified'], [{ ifModifiedSince: before }, 'send'], [{ ifUnmodifiedSince: same }, 'send'], [{ ifUnmodifiedSince: before }, 'failed'],
    [{ ifMatch: '"e"', ifUnmodifiedSince: before }, 'send'], [{ ifNoneMatch: '"x"', ifModifiedSince: same }, 'send'], [{ ifModifiedSince: 'no time' }, 'send'],
  ] as const) {
    test(`${JSON.stringify(conditions)}: ${expected}`, () => assert.equal(judgeRead(conditions, about), expected))
  }

  test('of writes', () => {
    const current = { id: 'i', bytes: 1, etag: 'e', modifiedAtMs: 0 }
    assert.throws(() => writeCondition({ ifNoneMatch: '*' })(current), { code: 'PreconditionFailed' })
    writeCondition({ ifNoneMatch: '*' })(undefined)
    writeCondition({ ifMatch: '"e"' })(current)
    assert.throws(() => writeCondition({ ifMatch: '"x"' })(current), { code: 'PreconditionFailed' })
    assert.throws(() => writeCondition({ ifMatch: '"e"' })(undefined), { code: 'NoSuchKey' })
  })
})

test('parts are chosen in order, whole and large enough', () => {
  const part = (number: number, bytes = 6e6) => ({ id: '', digest: '', number, bytes, etag: `e${number}`, modifiedAtMs: 0, checksum: { algorithm: 'crc32', value: `c${number}` } })
  const wanted = (number: number, etag = `e${number}`, crc = `c${number}`) => ({ number, etag, checksums: new Map([['crc32', crc]]) })
  assert.deepEqual(chooseParts([part(1), part(2), part(3, 1)], [wanted(1), wanted(3)]).map(({ number }) => number), [1, 3])
  for (const [code, parts, ask] of [
    ['MalformedXML', [part(1)], []],
    ['InvalidPartOrder', [part(1), part(2)], [wanted(2), wanted(1)]],
    ['InvalidPartOrder', [part(1)], [wanted(1), wanted(1)]],
    ['InvalidPart', [part(1)], [wanted(2)]],
    ['InvalidPart', [part(1)], [wanted(1, 'other')]],
    ['InvalidPart', [part(1)], [wanted(1, 'e1', 'other')]],
    ['EntityTooSmall', [part(1, 5), part(2)], [wanted(1), wanted(2)]],
  ] as const) assert.throws(() => chooseParts(parts, ask), { code })
})

test('names of buckets, and sources of copies', () => {
  for (const name of ['abc', 'a-b.c9', '1'.repeat(63)]) assert.equal(checkBucketName(name), name)
  for (const name of ['ab', 'A-b', 'a_b', '-ab', 'ab-', 'a..b', 'a.-b', '1'.repeat(64), 'a/b', '']) assert.throws(() => checkBucketName(name), { code: 'InvalidBucketName' }, name)
  assert.deepEqual(parseCopySource('/bee/a%2Fb//c'), { bucket: 'bee', key: 'a/b//c' })
  for (const text of ['', 'bee', '/bee/', '/bee/%FF']) assert.throws(() => parseCopySource(text), S3Error, text)
})

/**
 * Goal: compiled code crosses the border whole, and nothing that foreign code may send instead leads out of its directory.
 *
 * Method: round trips; hand-made bad messages; noise, and good messages with bytes changed.
 */
import assert from 'node:assert/strict'
import { join, normalize } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { COMPILE_CACHE_BYTES_MAX, decodeCompileCache, encodeCompileCache } from './compile-cache.ts'
import { PlatformError } from './errors.ts'

function message(json: string, length = Buffer.byteLength(json)): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32LE(length)
  return Buffer.concat([head, Buffer.from(json)])
}

/** Decodes, or fails as it may: with PROTOCOL_BROKEN. What it gives leads nowhere else (M2). */
function decoded(bytes: Buffer): ReadonlyMap<string, Buffer> | undefined {
  try {
    const files = decodeCompileCache(bytes)
    for (const path of files.keys()) {
      assert.equal(normalize(path), path)
      assert.ok(join('/cache', path).startsWith('/cache/') && !path.split('/').includes('..') && !path.includes('\\') && !path.includes('\0'))
    }
    return files
  } catch (error) {
    if (!(error instanceof PlatformError) || error.code !== 'PROTOCOL_BROKEN') throw error
    return undefined
  }
}

test('what was encoded is decoded, also nothing', () => {
  const files = new Map([['v26.1.0-x64-1a2b-1000/0a1b2c3d', Buffer.from([0, 255, 13, 10])], ['empty', Buffer.alloc(0)]])
  assert.deepEqual(new Map([...decodeCompileCache(encodeCompileCache(files))].sort()), new Map([...files].sort()))
  assert.equal(decodeCompileCache(encodeCompileCache(new Map())).size, 0)
})

test('what is too much for one message is left out, the largest first (M1)', () => {
  const files = new Map([['large', Buffer.alloc(24 * 1024 * 1024)], ['small', Buffer.from('x')], ['half', Buffer.alloc(12 * 1024 * 1024)]])
  const encoded = encodeCompileCache(files)
  assert.ok(encoded.length <= COMPILE_CACHE_BYTES_MAX)
  assert.deepEqual([...decodeCompileCache(encoded).keys()].sort(), ['half', 'small'])
})

test('a path that leads anywhere else is refused (M2)', () => {
  for (const path of ['', '.', '..', '/etc/passwd', '../x', 'a/../../x', 'a/./b', 'a//b', 'a/', '/', '.hidden', 'a\\b', 'a\0b', 'a/b/c/d/e', 'x'.repeat(200), 'é', 'a b', '-/..']) {
    assert.equal(decoded(message(JSON.stringify({ [path]: '' }))), undefined, JSON.stringify(path))
  }
  assert.deepEqual([...decoded(message('{"__proto__":"eA==","a/b":"eQ=="}'))!.keys()], ['__proto__', 'a/b'])
})

test('anything but one whole object of base64 is refused (M1)', () => {
  const bad = [Buffer.alloc(0), Buffer.alloc(3), message('{}', 3), message('{}', 1), message('{'), message('[]'), message('null'), message('1'), message('{"a":1}'), message('{"a":"%"}'), message('{"a":null}')]
  for (const bytes of bad) assert.throws(() => decodeCompileCache(bytes), { code: 'PROTOCOL_BROKEN' }, bytes.toString('latin1'))
  assert.throws(() => decodeCompileCache(Buffer.alloc(COMPILE_CACHE_BYTES_MAX + 1)), { code: 'PROTOCOL_BROKEN' })
})

test('noise never leads out of the directory, nor ends in another error', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decoded(Buffer.from(bytes))))
  fc.assert(fc.property(fc.json(), (json) => void decoded(message(json))))
  const path = fc.array(fc.constantFrom('..', '.', '/', 'a', 'b1', '\\', '\0', '%2e'), { maxLength: 8 }).map((parts) => parts.join(''))
  fc.assert(fc.property(fc.dictionary(path, fc.base64String()), (files) => void decoded(message(JSON.stringify(files)))))
  const good = encodeCompileCache(new Map([['a/b', Buffer.from('some content')], ['c', Buffer.from('x')]]))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }), (changes) => {
      const changed = Buffer.from(good)
      for (const [at, byte] of changes) changed[at] = byte
      decoded(changed)
    }),
  )
})

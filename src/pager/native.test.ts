/**
 * Goal: the addon's small tools are right, and a machine without it, or without a compiler, gets an answer in words.
 *
 * Method: checksums against those of RFC 3720 and against each other; the build with compilers that are not there.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { nativeFile } from './native-file.ts'
import { crc32c, loadNative, nativeSupport, threadFaults } from './native.ts'

const native = loadNative()
const skip = native === undefined ? 'the addon is not built: node scripts/build-native.ts' : false

describe('the addon', { skip }, () => {
  test('computes CRC-32C as RFC 3720 has it, also piece by piece, by the instruction and by tables', () => {
    // RFC 3720, appendix B.4.
    assert.equal(crc32c(native!, new Uint8Array(32)), 0x8a9136aa)
    assert.equal(crc32c(native!, new Uint8Array(32).fill(0xff)), 0x62a8ab43)
    assert.equal(crc32c(native!, Uint8Array.from({ length: 32 }, (_, index) => index)), 0x46dd794e)
    assert.equal(crc32c(native!, Buffer.from('123456789')), 0xe3069283)
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, cut) => {
      const whole = crc32c(native!, bytes)
      assert.equal(native!.crc32c(bytes, 0, 1), whole)
      assert.equal(crc32c(native!, bytes.subarray(cut), crc32c(native!, bytes.subarray(0, cut))), whole)
    }))
  })

  test('refuses arguments of the wrong kind, whatever they are', () => {
    const anything = fc.oneof(fc.anything(), fc.double(), fc.integer({ min: -2, max: 40 }), fc.constant(new Uint32Array([0, 1])), fc.constant(new Uint8Array(8)))
    const functions = ['drop', 'openImage', 'closeImage', 'dropCache', 'restore', 'restoreFrom', 'reset', 'zero', 'faults', 'present', 'crc32c', 'adopt'] as const
    fc.assert(fc.property(fc.constantFrom(...functions), fc.array(anything, { maxLength: 12 }), (name, values) => {
      try {
        ;(native![name] as (...values: unknown[]) => unknown)(...values)
      } catch (thrown) {
        assert(thrown instanceof Error)
      }
    }))
  })

  test('counts the page faults of its thread', () => {
    const before = threadFaults(native!)
    const bytes = new Uint8Array(new WebAssembly.Memory({ initial: 16, maximum: 16 }).buffer)
    for (let at = 0; at < bytes.length; at += 4096) bytes[at] = 1
    assert(threadFaults(native!).minor - before.minor >= bytes.length / 4096 / 16)
  })
})

test('what a machine has is told with what was found, or why not', () => {
  const support = nativeSupport(tmpdir())
  for (const found of Object.values(support)) assert(found.ok ? found.found.length > 0 : found.reason.length > 10, JSON.stringify(support))
  assert.equal(support.addon.ok, native !== undefined)
  assert.equal(nativeSupport('/nowhere/at/all').directIo.ok, false)
})

test('the file of the addon names platform, processor and modules ABI', () => {
  assert.match(nativeFile(), new RegExp(`skep-${process.platform}-${process.arch}-${process.versions.modules}-[0-9a-f]{16}\\.node$`))
  assert.equal(existsSync(nativeFile()), native !== undefined)
})

/**
 * Goal: the thumbnail is the picture made small, PNG files of the known kinds survive both ways, and bad ones are refused.
 *
 * Method: the handler is called with the shipped picture, and its answer decoded; sizes and mean colours are compared with
 * the original's. Random pictures go through both directions; random damage must give a PictureError and nothing else.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { readInput } from './inputs/read-input.ts'
import { landscapeSize, paintLandscape } from './inputs/make-landscape.ts'
import thumbnail from './thumbnail/index.ts'
import { decodePng, encodePng, PictureError, PIXELS_MAX } from './thumbnail/png.ts'
import type { Picture } from './thumbnail/png.ts'
import { shrink } from './thumbnail/shrink.ts'

function ask(query: string, body?: Uint8Array<ArrayBuffer>): Promise<Response> {
  return thumbnail.fetch(new Request(`http://function/${query}`, { method: 'POST', ...(body !== undefined && { body }) }))
}

function meansOf({ pixels, channels }: Picture): number[] {
  return Array.from({ length: channels }, (_, channel) => {
    let sum = 0
    for (let at = channel; at < pixels.length; at += channels) sum += pixels[at]!
    return sum / (pixels.length / channels)
  })
}

const pictures = fc
  .record({ width: fc.integer({ min: 1, max: 40 }), height: fc.integer({ min: 1, max: 40 }), channels: fc.constantFrom(1, 2, 3, 4) })
  .chain((size) => fc.uint8Array({ minLength: size.width * size.height * size.channels, maxLength: size.width * size.height * size.channels }).map((pixels): Picture => ({ ...(size as Picture), pixels })))

describe('the thumbnail function', () => {
  test('makes a picture of the asked width that has the colours of the shipped one', async () => {
    const original = decodePng(readInput('landscape.png'))
    const answer = await ask('?width=160', readInput('landscape.png'))
    assert.equal(answer.headers.get('content-type'), 'image/png')
    const small = decodePng(new Uint8Array(await answer.arrayBuffer()))
    assert.deepEqual([small.width, small.height, small.channels], [160, 120, 3])
    for (const [channel, mean] of meansOf(original).entries()) assert(Math.abs(meansOf(small)[channel]! - mean) < 0.5)
  })

  test('each new pixel of a quarter is the mean of sixteen old ones', () => {
    const original = decodePng(readInput('landscape.png'))
    const small = shrink(original, original.width / 4)
    for (const [x, y] of [[0, 0], [107, 39], [159, 119], [31, 84]] as const) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0
        for (let dy = 0; dy < 4; dy++) for (let dx = 0; dx < 4; dx++) sum += original.pixels[((y * 4 + dy) * original.width + x * 4 + dx) * 3 + channel]!
        assert.equal(small.pixels[(y * small.width + x) * 3 + channel], Math.round(sum / 16))
      }
    }
  })

  test('takes 160 pixels when no width is said, and does not enlarge', async () => {
    assert.equal(decodePng(new Uint8Array(await (await ask('', readInput('landscape.png'))).arrayBuffer())).width, 160)
    assert.equal(decodePng(new Uint8Array(await (await ask('?width=4000', readInput('landscape.png'))).arrayBuffer())).width, landscapeSize.width)
  })

  test('refuses a width that makes no sense, a body that is no PNG, and one that unpacks to too much', async () => {
    const large = Buffer.from(encodePng({ width: 1, height: 1, channels: 1, pixels: new Uint8Array(1) }))
    const whole = ihdr(large, { width: 100_000, height: PIXELS_MAX / 100_000 + 1 })
    for (const [query, body, status, code] of [
      ['?width=0', readInput('landscape.png'), 400, 'WIDTH_INVALID'],
      ['?width=many', readInput('landscape.png'), 400, 'WIDTH_INVALID'],
      ['', undefined, 400, 'PICTURE_INVALID'],
      ['', readInput('landscape.png').subarray(0, 50_000), 400, 'PICTURE_INVALID'],
      ['', whole, 413, 'PICTURE_TOO_LARGE'],
      ['', ihdr(large, { depth: 16 }), 415, 'PICTURE_UNSUPPORTED'],
    ] as const) {
      const answer = await ask(query, body)
      assert.equal(answer.status, status)
      assert.equal(((await answer.json()) as { error: { code: string } }).error.code, code)
    }
  })
})

describe('PNG', () => {
  test('any picture survives writing and reading', () => {
    fc.assert(fc.property(pictures, (picture) => assert.deepEqual(decodePng(encodePng(picture, 1)), picture)))
  })

  test('all five filters are undone as the specification says', () => {
    // Rows of one grey picture of three columns, stored by filters 0 to 4: each row reads 10, 20, 30 plus its number.
    const expected = [[10, 20, 30], [11, 21, 31], [12, 22, 32], [13, 23, 33], [14, 24, 34]].flat()
    const stored = [[0, 10, 20, 30], [1, 11, 10, 10], [2, 1, 1, 1], [3, 13 - 6, 23 - 17, 33 - 27], [4, 14 - 13, 24 - 23, 34 - 33]].flat()
    const file = withData(encodePng({ width: 3, height: 5, channels: 1, pixels: new Uint8Array(15) }), deflateSync(Uint8Array.from(stored)))
    assert.deepEqual([...decodePng(file).pixels], expected)
  })

  test('damage anywhere is a PictureError, never another fault', () => {
    const file = encodePng({ width: 5, height: 4, channels: 4, pixels: new Uint8Array(80).fill(77) })
    fc.assert(fc.property(fc.nat({ max: file.length - 1 }), fc.integer({ min: 1, max: 255 }), fc.nat({ max: file.length }), (at, change, end) => {
      const damaged = Buffer.from(file)
      damaged[at]! ^= change
      for (const bytes of [damaged, damaged.subarray(0, end), Buffer.concat([file.subarray(0, 8), damaged.subarray(at)])]) {
        try {
          decodePng(bytes)
        } catch (error) {
          assert(error instanceof PictureError, String(error))
        }
      }
    }))
  })

  test('the shipped picture is what its program paints', () => {
    const painted = paintLandscape()
    const shipped = decodePng(readInput('landscape.png'))
    assert.equal(shipped.pixels.length, painted.pixels.length)
    // Another machine's sines may differ in the last bit, and a pixel by one with them.
    assert(painted.pixels.every((value, at) => Math.abs(value - shipped.pixels[at]!) <= 1))
  })
})

describe('shrinking', () => {
  test('keeps the mean colour of any opaque picture, and its size in proportion', () => {
    fc.assert(fc.property(pictures, fc.integer({ min: 1, max: 40 }), (picture, wanted) => {
      const opaque = { ...picture, channels: picture.channels === 4 || picture.channels === 2 ? 1 : picture.channels, pixels: picture.pixels } as const
      const whole = { ...opaque, width: opaque.pixels.length / opaque.channels / opaque.height }
      const small = shrink(whole, Math.min(wanted, whole.width))
      assert.equal(small.pixels.length, small.width * small.height * small.channels)
      for (const [channel, mean] of meansOf(whole).entries()) assert(Math.abs(meansOf(small)[channel]! - mean) <= 0.5)
    }))
  })

  test('takes no colour from what is transparent', () => {
    const small = shrink({ width: 2, height: 1, channels: 4, pixels: Uint8Array.from([200, 100, 50, 255, 0, 255, 0, 0]) }, 1)
    assert.deepEqual([...small.pixels], [200, 100, 50, 128])
  })
})

/** The file with other values in its header, checksum and all: written by changing the bytes of a file of one pixel. */
function ihdr(file: Buffer<ArrayBuffer>, change: { readonly width?: number; readonly height?: number; readonly depth?: number }): Buffer<ArrayBuffer> {
  const head = Buffer.from(file.subarray(16, 29))
  head.writeUInt32BE(change.width ?? 1, 0)
  head.writeUInt32BE(change.height ?? 1, 4)
  head[8] = change.depth ?? 8
  return Buffer.concat([file.subarray(0, 8), chunk('IHDR', head), file.subarray(33)])
}

/** The file with other image data. */
function withData(file: Buffer, data: Buffer): Buffer {
  return Buffer.concat([file.subarray(0, 33), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32BE(checksumOf(body))
  return Buffer.concat([length, body, checksum])
}

/** CRC-32 bit by bit, as the PNG specification defines it: independent of the one that the example uses. */
function checksumOf(bytes: Buffer): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return (crc ^ 0xffffffff) >>> 0
}

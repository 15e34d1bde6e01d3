/**
 * PNG pictures, as photographs and screenshots have them: 8 bits a sample, grey or RGB, with or without alpha, not
 * interlaced. Reading knows all five filters; writing chooses, per row, the one with the smallest sum of differences.
 *
 * Source: W3C, "Portable Network Graphics (PNG) Specification", sections 5 (chunks), 9 (filters), 12.7 (choosing one).
 * Where we differ: transparency by a single colour (tRNS) is ignored, and other formats are refused with a code.
 */
import { crc32, deflateSync, inflateSync } from 'node:zlib'

/** Samples row by row: grey, grey and alpha, RGB, or RGBA. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly channels: 1 | 2 | 3 | 4
  readonly pixels: Uint8Array
}

export class PictureError extends Error {
  override readonly name = 'PictureError'
  readonly code: 'PICTURE_INVALID' | 'PICTURE_UNSUPPORTED' | 'PICTURE_TOO_LARGE'

  constructor(code: PictureError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** At most 64 MB of samples: a small file can unpack to a huge picture. */
export const PIXELS_MAX = 16_000_000

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const channelsOfColourType: Readonly<Record<number, Picture['channels']>> = { 0: 1, 2: 3, 4: 2, 6: 4 }
const colourTypeOfChannels = { 1: 0, 2: 4, 3: 2, 4: 6 } as const

/** @throws PictureError when it is not a whole PNG, or one of a kind that is not read here. */
export function decodePng(bytes: Uint8Array): Picture {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!file.subarray(0, 8).equals(SIGNATURE)) throw invalid(`its ${file.length} bytes do not begin as a PNG does`)
  let head: Omit<Picture, 'pixels'> | undefined
  const packed: Buffer[] = []
  for (let at = 8; ; ) {
    if (at + 12 > file.length) throw invalid(`it breaks off after ${file.length} bytes`)
    const length = file.readUInt32BE(at)
    const type = file.toString('latin1', at + 4, at + 8)
    if (at + 12 + length > file.length) throw invalid(`it breaks off in a ${JSON.stringify(type)} chunk of ${length} bytes`)
    if (crc32(file.subarray(at + 4, at + 8 + length)) !== file.readUInt32BE(at + 8 + length)) throw invalid(`the checksum of its ${JSON.stringify(type)} chunk is wrong`)
    const data = file.subarray(at + 8, at + 8 + length)
    at += 12 + length
    if (head === undefined) {
      if (type !== 'IHDR' || length !== 13) throw invalid('it has no header')
      head = readHead(data)
    } else if (type === 'IDAT') packed.push(data)
    else if (type === 'IEND') break
  }
  return { ...head, pixels: unfilter(head, unpack(head, Buffer.concat(packed))) }
}

/** @param level Of compression, 1 to 9. */
export function encodePng(picture: Picture, level = 6): Buffer<ArrayBuffer> {
  const { width, height, channels } = picture
  const head = Buffer.alloc(13)
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  head[8] = 8
  head[9] = colourTypeOfChannels[channels]
  return Buffer.concat([SIGNATURE, chunk('IHDR', head), chunk('IDAT', deflateSync(filter(picture), { level })), chunk('IEND', Buffer.alloc(0))])
}

function readHead(data: Buffer): Omit<Picture, 'pixels'> {
  const width = data.readUInt32BE(0)
  const height = data.readUInt32BE(4)
  const [depth, colourType, compression, filtering, interlaced] = data.subarray(8) as unknown as [number, number, number, number, number]
  const channels = channelsOfColourType[colourType]
  if (width === 0 || height === 0 || compression !== 0 || filtering !== 0) throw invalid('its header makes no sense')
  if (width * height > PIXELS_MAX) throw new PictureError('PICTURE_TOO_LARGE', `The picture has ${width} x ${height} pixels, at most ${PIXELS_MAX} are allowed. Send a smaller one.`)
  if (depth !== 8 || channels === undefined || interlaced !== 0) {
    const what = interlaced !== 0 ? 'an interlaced PNG' : `a PNG of colour type ${colourType} with ${depth} bits a sample`
    throw new PictureError('PICTURE_UNSUPPORTED', `This is ${what}; grey, RGB and RGBA with 8 bits are known, not interlaced. Save it in that form.`)
  }
  return { width, height, channels }
}

function unpack({ width, height, channels }: Omit<Picture, 'pixels'>, packed: Buffer): Buffer {
  const bytes = height * (1 + width * channels)
  try {
    const rows = inflateSync(packed, { maxOutputLength: bytes })
    if (rows.length === bytes) return rows
    throw invalid(`its data has ${rows.length} bytes, and ${bytes} are needed`)
  } catch (cause) {
    throw cause instanceof PictureError ? cause : invalid('its data cannot be unpacked', cause)
  }
}

/** Undoes the filter of each row: a sample was stored as the difference to what left, above and above-left predict. */
function unfilter({ width, height, channels }: Omit<Picture, 'pixels'>, rows: Buffer): Uint8Array {
  const stride = width * channels
  const pixels = new Uint8Array(height * stride)
  for (let y = 0; y < height; y++) {
    const from = y * (stride + 1) + 1
    const row = y * stride
    const kind = rows[from - 1]!
    if (kind > 4) throw invalid(`row ${y} has the filter ${kind}, which does not exist`)
    for (let x = 0; x < stride; x++) {
      const left = x >= channels ? pixels[row + x - channels]! : 0
      const up = y > 0 ? pixels[row + x - stride]! : 0
      const corner = x >= channels && y > 0 ? pixels[row + x - stride - channels]! : 0
      pixels[row + x] = rows[from + x]! + predict(kind, left, up, corner)
    }
  }
  return pixels
}

function filter({ width, height, channels, pixels }: Picture): Buffer {
  const stride = width * channels
  const rows = Buffer.alloc(height * (stride + 1))
  const attempt = new Uint8Array(stride)
  for (let y = 0; y < height; y++) {
    const row = y * stride
    const to = y * (stride + 1) + 1
    let smallest = Infinity
    for (let kind = 0; kind <= 4; kind++) {
      let sum = 0
      for (let x = 0; x < stride; x++) {
        const left = x >= channels ? pixels[row + x - channels]! : 0
        const up = y > 0 ? pixels[row + x - stride]! : 0
        const corner = x >= channels && y > 0 ? pixels[row + x - stride - channels]! : 0
        const difference = (pixels[row + x]! - predict(kind, left, up, corner)) & 0xff
        attempt[x] = difference
        sum += difference < 128 ? difference : 256 - difference
      }
      if (sum >= smallest) continue
      smallest = sum
      rows[to - 1] = kind
      rows.set(attempt, to)
    }
  }
  return rows
}

/** What filter `kind` expects a sample to be: nothing, left, up, their average, or Paeth's choice. */
function predict(kind: number, left: number, up: number, corner: number): number {
  switch (kind) {
    case 0: return 0
    case 1: return left
    case 2: return up
    case 3: return (left + up) >> 1
    default: {
      const byLeft = Math.abs(up - corner)
      const byUp = Math.abs(left - corner)
      const byCorner = Math.abs(left + up - 2 * corner)
      return byLeft <= byUp && byLeft <= byCorner ? left : byUp <= byCorner ? up : corner
    }
  }
}

function chunk(type: string, data: Buffer): Buffer {
  const whole = Buffer.alloc(12 + data.length)
  whole.writeUInt32BE(data.length, 0)
  whole.write(type, 4, 'latin1')
  whole.set(data, 8)
  whole.writeUInt32BE(crc32(whole.subarray(4, 8 + data.length)), 8 + data.length)
  return whole
}

function invalid(why: string, cause?: unknown): PictureError {
  return new PictureError('PICTURE_INVALID', `The body is not a PNG that can be read: ${why}. Send the bytes of a PNG file as the body.`, { cause })
}

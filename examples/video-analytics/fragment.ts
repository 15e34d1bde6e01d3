/**
 * A fragment of video: frames in YUV 4:2:0, without loss.
 *
 *   0      4       6        8     10       12
 *   ├──────┼───────┼────────┼─────┼────────┼─── frames times ──────────────┐
 *   │"SKV1"│ width │ height │ fps │ frames │ length (4) │ zstd of the frame │
 *   └──────┴───────┴────────┴─────┴────────┴───────────────────────────────┘
 *     little-endian. The first frame is as it is; of every later one, each byte is the difference to the frame before, modulo 256.
 *
 * Why a format of our own: sandboxes have no ffmpeg. What makes decoding video what it is, is here: a frame needs the one before, and to pass on every
 * fifth all have to be decoded.
 *
 * Invariants:
 *   V1. Decoding gives the very bytes that were encoded.
 *   V2. Bytes that are no fragment are refused; none makes the decoder write outside of its frame, or take more memory than one frame.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'

export interface FragmentHead {
  readonly width: number
  readonly height: number
  readonly fps: number
  readonly frames: number
}

export class FragmentError extends Error {}

const HEAD_BYTES = 12
const SIDE_MAX = 7680

/** Bytes of a frame: a plane of luma, and two of chroma with a quarter of its size. */
export function frameBytes({ width, height }: { readonly width: number; readonly height: number }): number {
  return (width * height * 3) / 2
}

export function encodeFragment(head: Omit<FragmentHead, 'frames'>, frames: Iterable<Uint8Array>): Buffer {
  const bytes = frameBytes(head)
  const parts: Buffer[] = [Buffer.alloc(HEAD_BYTES)]
  const before = new Uint8Array(bytes)
  const difference = new Uint8Array(bytes)
  for (const frame of frames) {
    if (frame.length !== bytes) throw new FragmentError(`A frame of ${head.width} x ${head.height} has ${bytes} bytes, and not ${frame.length}.`)
    for (let at = 0; at < bytes; at++) difference[at] = frame[at]! - before[at]!
    before.set(frame)
    const packed = zstdCompressSync(difference, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
    const length = Buffer.alloc(4)
    length.writeUInt32LE(packed.length)
    parts.push(length, packed)
  }
  const [start] = parts as [Buffer]
  start.write('SKV1')
  ;[head.width, head.height, head.fps, (parts.length - 1) / 2].forEach((value, index) => start.writeUInt16LE(value, 4 + 2 * index))
  return Buffer.concat(parts)
}

/** @throws FragmentError */
export function readHead(fragment: Uint8Array): FragmentHead {
  const bytes = Buffer.from(fragment.buffer, fragment.byteOffset, fragment.byteLength)
  if (bytes.length < HEAD_BYTES || bytes.toString('latin1', 0, 4) !== 'SKV1') throw new FragmentError(`These ${bytes.length} bytes are no fragment: they do not begin with SKV1.`)
  const [width, height, fps, frames] = [4, 6, 8, 10].map((at) => bytes.readUInt16LE(at)) as [number, number, number, number]
  if (width < 2 || height < 2 || width > SIDE_MAX || height > SIDE_MAX || (width * height) % 8 !== 0 || width % 2 !== 0 || height % 2 !== 0) {
    throw new FragmentError(`Frames of ${width} x ${height} cannot be decoded: both must be even, at most ${SIDE_MAX}, with a product that is a multiple of 8.`)
  }
  return { width, height, fps, frames }
}

/** All frames, one after the other, in the same memory: what is to be kept must be copied. @throws FragmentError */
export function* decodeFrames(fragment: Uint8Array): Generator<Uint8Array> {
  const head = readHead(fragment)
  const bytes = Buffer.from(fragment.buffer, fragment.byteOffset, fragment.byteLength)
  const frame = new Uint8Array(frameBytes(head))
  let at = HEAD_BYTES
  for (let index = 0; index < head.frames; index++) {
    const length = at + 4 <= bytes.length ? bytes.readUInt32LE(at) : Infinity
    if (at + 4 + length > bytes.length) throw new FragmentError(`The fragment ends within frame ${index} of ${head.frames}.`)
    add(frame, unpack(bytes.subarray(at + 4, at + 4 + length), frame.length, index))
    at += 4 + length
    yield frame
  }
}

function unpack(packed: Uint8Array, length: number, index: number): Uint8Array {
  let unpacked: Uint8Array
  try {
    unpacked = zstdDecompressSync(packed, { maxOutputLength: length })
  } catch (cause) {
    throw new FragmentError(`Frame ${index} cannot be unpacked: ${(cause as Error).message}.`, { cause })
  }
  if (unpacked.length !== length) throw new FragmentError(`Frame ${index} has ${unpacked.length} bytes instead of ${length}.`)
  return unpacked
}

/** Adds bytes to bytes, modulo 256, four at a time: without the upper bits no sum carries into its neighbour, and those are added by xor. */
function add(frame: Uint8Array, difference: Uint8Array): void {
  const aligned = difference.byteOffset % 4 === 0 ? difference : new Uint8Array(difference)
  const a = new Int32Array(frame.buffer, frame.byteOffset, frame.length / 4)
  const b = new Int32Array(aligned.buffer, aligned.byteOffset, frame.length / 4)
  for (let at = 0; at < a.length; at++) {
    const x = a[at]!
    const y = b[at]!
    a[at] = ((x & 0x7f7f7f7f) + (y & 0x7f7f7f7f)) ^ ((x ^ y) & 0x80808080)
  }
}

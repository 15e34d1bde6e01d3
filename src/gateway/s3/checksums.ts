/**
 * The checksums that S3 clients send along: CRC-32 (their default), CRC-32C, CRC-64/NVME, SHA-1, SHA-256.
 *
 * Node has CRC-32 and the hashes; the other two are the usual table, reflected. They run at some hundred MB/s.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

export const checksumAlgorithms = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number]
export type CrcAlgorithm = 'crc32' | 'crc32c' | 'crc64nvme'

/** All three begin with ones, end inverted, and take the lowest bit first. */
export const crcPolynomials: Readonly<Record<CrcAlgorithm, { readonly bits: 32 | 64; readonly reflected: bigint }>> = {
  crc32: { bits: 32, reflected: 0xedb88320n },
  crc32c: { bits: 32, reflected: 0x82f63b78n },
  crc64nvme: { bits: 64, reflected: 0x9a6c9329ac4bc9b5n },
}

export interface RunningChecksum {
  update(bytes: Uint8Array): void
  /** Base64, big endian, as S3 writes it. */
  digest(): string
}

export function isChecksumAlgorithm(text: string): text is ChecksumAlgorithm {
  return (checksumAlgorithms as readonly string[]).includes(text)
}

export function isCrc(algorithm: ChecksumAlgorithm): algorithm is CrcAlgorithm {
  return algorithm in crcPolynomials
}

export function startChecksum(algorithm: ChecksumAlgorithm): RunningChecksum {
  switch (algorithm) {
    case 'crc32':
      return crc(crc32)
    case 'crc32c':
      return crc(crc32c)
    case 'crc64nvme':
      return new Crc64Nvme()
    default: {
      const hash = createHash(algorithm)
      return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('base64') }
    }
  }
}

function crc(next: (bytes: Uint8Array, value: number) => number): RunningChecksum {
  let value = 0
  return { update: (bytes) => void (value = next(bytes, value)), digest: () => bigEndian(value) }
}

function bigEndian(...words: readonly number[]): string {
  const bytes = Buffer.alloc(4 * words.length)
  for (const [index, word] of words.entries()) bytes.writeUInt32BE(word >>> 0, 4 * index)
  return bytes.toString('base64')
}

let table32c: Int32Array | undefined

/** Castagnoli. */
function crc32c(bytes: Uint8Array, before: number): number {
  const polynomial = Number(crcPolynomials.crc32c.reflected)
  const table = (table32c ??= Int32Array.from({ length: 256 }, (_, index) => {
    let value = index
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1
    return value
  }))
  let value = ~before
  for (let at = 0; at < bytes.length; at++) value = table[(value ^ bytes[at]!) & 0xff]! ^ (value >>> 8)
  return ~value >>> 0
}

/** NVM Express, in two halves: JavaScript's integers have 32 bits. */
class Crc64Nvme implements RunningChecksum {
  static #tables: { readonly high: Int32Array; readonly low: Int32Array } | undefined
  #high = -1
  #low = -1

  update(bytes: Uint8Array): void {
    const { high: highs, low: lows } = (Crc64Nvme.#tables ??= tables64())
    let high = this.#high
    let low = this.#low
    for (let at = 0; at < bytes.length; at++) {
      const index = (low ^ bytes[at]!) & 0xff
      low = ((low >>> 8) | (high << 24)) ^ lows[index]!
      high = (high >>> 8) ^ highs[index]!
    }
    this.#high = high
    this.#low = low
  }

  digest(): string {
    return bigEndian(~this.#high, ~this.#low)
  }
}

function tables64(): { readonly high: Int32Array; readonly low: Int32Array } {
  const high = new Int32Array(256)
  const low = new Int32Array(256)
  for (let index = 0; index < 256; index++) {
    let value = BigInt(index)
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ crcPolynomials.crc64nvme.reflected : value >> 1n
    high[index] = Number(BigInt.asIntN(32, value >> 32n))
    low[index] = Number(BigInt.asIntN(32, value))
  }
  return { high, low }
}

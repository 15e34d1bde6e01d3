/**
 * The CRC of a concatenation from the CRCs and lengths of its pieces: no byte is read again.
 *
 * A CRC is linear over GF(2), so that n zero bytes behind a message change its CRC by a matrix that depends on n alone. Then
 * crc(A·B) = M^|B| · crc(A) xor crc(B), also with the inversions before and after that all three have: they cancel out. The matrices of
 * 1, 2, 4, 8, … zero bytes come from each other by squaring and are kept; a piece costs one product with a vector for each bit that is
 * set in its length.
 *
 * Source: M. Adler, crc32_combine of zlib 1.2.3 (crc32.c), here for 32 and 64 bits.
 */
import { crcPolynomials } from './checksums.ts'
import type { CrcAlgorithm } from './checksums.ts'

export interface CrcPiece {
  /** Base64, big endian, as S3 writes it. */
  readonly value: string
  readonly bytes: number
}

/** In two halves, as JavaScript's integers have 32 bits; one of 32 bits has the low half only. */
interface Halves {
  readonly high: number
  readonly low: number
}

/** Column i is what becomes of bit i, the lowest first. */
interface Matrix {
  readonly high: Int32Array
  readonly low: Int32Array
}

/** By algorithm: of 2^k zero bytes at k. */
const powers = new Map<CrcAlgorithm, Matrix[]>()

/** @param pieces In order. @returns Base64; of no pieces, the CRC of nothing. */
export function combineCrcs(algorithm: CrcAlgorithm, pieces: readonly CrcPiece[]): string {
  const isWide = crcPolynomials[algorithm].bits === 64
  let whole: Halves = { high: 0, low: 0 }
  for (const { value, bytes } of pieces) {
    const crc = halvesOf(value, isWide)
    const moved = behind(algorithm, whole, bytes)
    whole = { high: moved.high ^ crc.high, low: moved.low ^ crc.low }
  }
  const text = Buffer.alloc(isWide ? 8 : 4)
  if (isWide) text.writeInt32BE(whole.high, 0)
  text.writeInt32BE(whole.low, isWide ? 4 : 0)
  return text.toString('base64')
}

/** What a CRC becomes with so many zero bytes behind it. */
function behind(algorithm: CrcAlgorithm, crc: Halves, zeroBytes: number): Halves {
  let known = powers.get(algorithm)
  if (known === undefined) powers.set(algorithm, (known = [ofOneByte(algorithm)]))
  let moved = crc
  // Lengths may be beyond 32 bits: no shifts.
  for (let left = zeroBytes, power = 0; left > 0; left = Math.floor(left / 2), power++) {
    if (power === known.length) known.push(squared(known[power - 1]!))
    if (left % 2 === 1) moved = product(known[power]!, moved)
  }
  return moved
}

function ofOneByte(algorithm: CrcAlgorithm): Matrix {
  const { bits, reflected } = crcPolynomials[algorithm]
  const high = new Int32Array(bits)
  const low = new Int32Array(bits)
  // One zero bit: everything moves down by one, and what falls out at the bottom brings the polynomial in.
  for (let bit = 0; bit < bits; bit++) {
    const column = bit === 0 ? reflected : 1n << BigInt(bit - 1)
    high[bit] = Number(BigInt.asIntN(32, column >> 32n))
    low[bit] = Number(BigInt.asIntN(32, column))
  }
  return squared(squared(squared({ high, low })))
}

function squared(matrix: Matrix): Matrix {
  const high = new Int32Array(matrix.high.length)
  const low = new Int32Array(matrix.low.length)
  for (let bit = 0; bit < low.length; bit++) {
    const column = product(matrix, { high: matrix.high[bit]!, low: matrix.low[bit]! })
    high[bit] = column.high
    low[bit] = column.low
  }
  return { high, low }
}

function product(matrix: Matrix, vector: Halves): Halves {
  let high = 0
  let low = 0
  for (let half = 0; half < matrix.low.length; half += 32) {
    for (let left = half === 0 ? vector.low : vector.high, bit = half; left !== 0; left >>>= 1, bit++) {
      if ((left & 1) === 0) continue
      high ^= matrix.high[bit]!
      low ^= matrix.low[bit]!
    }
  }
  return { high, low }
}

function halvesOf(base64: string, isWide: boolean): Halves {
  const bytes = Buffer.from(base64, 'base64')
  return isWide ? { high: bytes.readInt32BE(0), low: bytes.readInt32BE(4) } : { high: 0, low: bytes.readInt32BE(0) }
}

/**
 * pyaes of the thesis (Table 5.1): encrypts a text by AES-128 in counter mode, written in the language itself.
 *
 * Loaded before the snapshot: the tables of the cipher, and a ring with the expanded keys of 30,000 tenants; a request uses one
 * of them. At the end of loading the cipher tests itself, as such modules do. Not for production: table look-ups take longer or shorter with the key (cache timing).
 *
 *   request   <tenant> <initial counter, 32 hexadecimal digits>\n<text>
 *   answer    the cipher text's length, checksum and first block
 *
 * Source: FIPS 197 (the cipher), NIST SP 800-38A section 6.5 (counter mode).
 */
import { hex, Random } from '../kit/random.ts'

const TENANTS = 30_000
const ROUNDS = 10
const { box, tables } = makeTables()
const ring = loadRing()
testItself()

export default {
  async fetch(request: Request): Promise<Response> {
    const body = await request.text()
    const [, tenant, counter] = /^(\d+) ([0-9a-f]{32})\n/.exec(body) ?? []
    const key = ring.get(Number(tenant))?.schedule
    if (key === undefined) return new Response(`error: the request begins with "TENANT COUNTER", tenants 0 to ${TENANTS - 1}\n`, { status: 400 })
    const text = new TextEncoder().encode(body.slice(body.indexOf('\n') + 1))
    const cipher = encrypt(text, key, Array.from({ length: 4 }, (_, index) => Number.parseInt(counter!.slice(index * 8, index * 8 + 8), 16)))
    const first = Array.from(cipher.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('')
    return new Response(`${cipher.length} bytes, checksum ${hex(sum(cipher))}, first block ${first}\n`)
  },
}

/** The bytes of `text` combined with the encrypted counters. Of the counter, the last 32 bits count. */
export function encrypt(text: Uint8Array, key: Uint32Array, counter: readonly number[]): Uint8Array {
  const out = new Uint8Array(text.length)
  const block = new Uint32Array(4)
  let [a = 0, b = 0, c = 0, d = 0] = counter
  for (let at = 0; at < text.length; at += 16) {
    encryptBlock(a, b, c, d, key, block)
    d = (d + 1) >>> 0
    const end = Math.min(16, text.length - at)
    for (let k = 0; k < end; k++) out[at + k] = text[at + k]! ^ (block[k >> 2]! >>> (24 - (k & 3) * 8))
  }
  return out
}

function encryptBlock(p: number, q: number, r: number, s: number, key: Uint32Array, out: Uint32Array): void {
  const [t0, t1, t2, t3] = tables
  let a = p ^ key[0]!
  let b = q ^ key[1]!
  let c = r ^ key[2]!
  let d = s ^ key[3]!
  for (let round = 1; round < ROUNDS; round++) {
    const k = round * 4
    const e = t0[a >>> 24]! ^ t1[(b >>> 16) & 255]! ^ t2[(c >>> 8) & 255]! ^ t3[d & 255]! ^ key[k]!
    const f = t0[b >>> 24]! ^ t1[(c >>> 16) & 255]! ^ t2[(d >>> 8) & 255]! ^ t3[a & 255]! ^ key[k + 1]!
    const g = t0[c >>> 24]! ^ t1[(d >>> 16) & 255]! ^ t2[(a >>> 8) & 255]! ^ t3[b & 255]! ^ key[k + 2]!
    d = t0[d >>> 24]! ^ t1[(a >>> 16) & 255]! ^ t2[(b >>> 8) & 255]! ^ t3[c & 255]! ^ key[k + 3]!
    a = e
    b = f
    c = g
  }
  out[0] = last(a, b, c, d) ^ key[40]!
  out[1] = last(b, c, d, a) ^ key[41]!
  out[2] = last(c, d, a, b) ^ key[42]!
  out[3] = last(d, a, b, c) ^ key[43]!
}

function last(a: number, b: number, c: number, d: number): number {
  return (box[a >>> 24]! << 24) | (box[(b >>> 16) & 255]! << 16) | (box[(c >>> 8) & 255]! << 8) | box[d & 255]!
}

function sum(bytes: Uint8Array): number {
  let hash = 2_166_136_261
  for (let at = 0; at < bytes.length; at++) hash = Math.imul(hash ^ bytes[at]!, 16_777_619)
  return hash >>> 0
}

/** The round keys of a key of four words. */
export function expand(key: readonly number[]): Uint32Array {
  const schedule = new Uint32Array(4 * (ROUNDS + 1))
  schedule.set(key)
  let constant = 1
  for (let k = 4; k < schedule.length; k++) {
    let word = schedule[k - 1]!
    if (k % 4 === 0) {
      word = last(word << 8, word << 8, word << 8, word >>> 24) ^ (constant << 24)
      constant = twice(constant)
    }
    schedule[k] = schedule[k - 4]! ^ word
  }
  return schedule
}

function twice(value: number): number {
  return ((value << 1) ^ (value & 0x80 ? 0x11b : 0)) & 0xff
}

/** The substitution box, and the tables that join it with the mixing of columns. */
function makeTables(): { readonly box: Uint8Array; readonly tables: readonly [Uint32Array, Uint32Array, Uint32Array, Uint32Array] } {
  const made = new Uint8Array(256)
  const four = [new Uint32Array(256), new Uint32Array(256), new Uint32Array(256), new Uint32Array(256)] as const
  // p runs through all of the field by multiplying with 3, q by dividing: each is the other's inverse.
  for (let p = 1, q = 1, first = true; first || p !== 1; first = false) {
    p ^= twice(p)
    q ^= q << 1
    q ^= q << 2
    q ^= q << 4
    q &= 0xff
    if (q & 0x80) q ^= 0x09
    made[p] = (q ^ (q << 1) ^ (q << 2) ^ (q << 3) ^ (q << 4) ^ (q >>> 7) ^ (q >>> 6) ^ (q >>> 5) ^ (q >>> 4) ^ 0x63) & 0xff
  }
  made[0] = 0x63
  for (let x = 0; x < 256; x++) {
    const s = made[x]!
    const word = ((twice(s) << 24) | (s << 16) | (s << 8) | (twice(s) ^ s)) >>> 0
    for (let k = 0; k < 4; k++) four[k]![x] = ((word >>> (k * 8)) | (word << (32 - k * 8))) >>> 0
  }
  return { box: made, tables: four }
}

/** SP 800-38A, F.5.1: the first block of the example. The rest of the text is only to have worked once. */
function testItself(): void {
  const text = new Uint8Array(16_384)
  text.set([0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a])
  const cipher = encrypt(text, ring.get(0)!.schedule, [0xf0f1_f2f3, 0xf4f5_f6f7, 0xf8f9_fafb, 0xfcfd_feff])
  const expected = [0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3, 0x26, 0x1b, 0xef, 0x68, 0x64, 0x99, 0x0d, 0xb6, 0xce]
  if (expected.some((byte, index) => cipher[index] !== byte)) throw new Error('The cipher does not encrypt the example of SP 800-38A as it should.')
}

/** By tenant. */
function loadRing(): Map<number, { readonly schedule: Uint32Array; readonly since: string }> {
  const random = new Random(1618)
  const loaded = new Map<number, { readonly schedule: Uint32Array; readonly since: string }>()
  // The key of FIPS 197, appendix A.1, for tenant 0: with it, anybody can check the cipher.
  loaded.set(0, { schedule: expand([0x2b7e_1516, 0x28ae_d2a6, 0xabf7_1588, 0x09cf_4f3c]), since: '2001-11-26' })
  for (let tenant = 1; tenant < TENANTS; tenant++) {
    loaded.set(tenant, { schedule: expand([random.next(), random.next(), random.next(), random.next()]), since: `20${String(10 + random.below(15))}` })
  }
  return loaded
}

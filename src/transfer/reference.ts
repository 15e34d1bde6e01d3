/**
 * References: opaque strings that name an object and can be neither made nor read by code (thesis 6.3.2.1, 6.4.1.1).
 *
 * The prototype of the thesis hands out a counter and an address in plain text. Here the contents are sealed with AES-256-GCM under a key of the
 * worker group; the namespace is additional data, so that a reference of another namespace cannot be told from a forged one.
 *
 *   skep:1:base64url( │ key id 4 │ nonce 12 │ sealed contents 256 │ tag 16 │ )      contents: JSON, filled up with spaces
 *
 * Invariants:
 *   N1. Every reference has the same length, whatever names are in it.
 *   N2. `openReference` gives what was sealed, or REFERENCE_INVALID with one and the same message: no way of being wrong can be told from another.
 *   N3. A key that was replaced opens references for as long as an object that was put under it may live, and no longer.
 */
import assert from 'node:assert/strict'
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { PlatformError } from '#contract/errors.ts'

export interface ReferenceContents {
  /** The worker that has the object. */
  readonly worker: string
  /** What it is called there (object-id.ts). */
  readonly object: string
  /** Who put it, so that it can be made again: the invocation, its function, and which of its puts it was. */
  readonly invocation: string
  readonly function: string
  readonly ordinal: number
}

export interface ReferenceKey {
  /** A u32, different for each key of the group. */
  readonly id: number
  /** 32 bytes. */
  readonly key: Buffer
}

const PREFIX = 'skep:1:'
const KEY_ID_BYTES = 4
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Names have at most 64 characters; a worker's too. With an object's id, an invocation's, and JSON's quotes that is less than 240. */
const CONTENTS_BYTES = 256
const HEAD_BYTES = KEY_ID_BYTES + NONCE_BYTES
const SEALED_BYTES = HEAD_BYTES + CONTENTS_BYTES + TAG_BYTES
/** A multiple of 3 bytes, so that every bit of every character counts. */
const PATTERN = new RegExp(`^${PREFIX}[A-Za-z0-9_-]{${(SEALED_BYTES / 3) * 4}}$`)

/** The key that seals, and older ones that still open. A nonce is random: 96 bits are far enough for the references between two rotations. */
export class ReferenceKeys {
  readonly #randomBytes: (length: number) => Buffer
  readonly #nowMs: () => number
  readonly #objectLifeMs: number
  #nonces: Buffer = Buffer.alloc(0)
  #nonceAt = 0
  #current: ReferenceKey
  #older: { readonly key: ReferenceKey; readonly openUntilMs: number }[] = []

  /** @param options.objectLifeMs The longest time to live that an object may have. */
  constructor(current: ReferenceKey, options: { readonly nowMs: () => number; readonly randomBytes: (length: number) => Buffer; readonly objectLifeMs: number }) {
    this.#current = checked(current)
    this.#nowMs = options.nowMs
    this.#randomBytes = options.randomBytes
    this.#objectLifeMs = options.objectLifeMs
  }

  /** 12 random bytes that nobody has had. They are drawn by the hundred: one system call for each would cost more than the rest. */
  nonce(): Buffer {
    if (this.#nonceAt === this.#nonces.length) {
      this.#nonces = this.#randomBytes(NONCE_BYTES * 256)
      this.#nonceAt = 0
    }
    this.#nonceAt += NONCE_BYTES
    return this.#nonces.subarray(this.#nonceAt - NONCE_BYTES, this.#nonceAt)
  }

  get current(): ReferenceKey {
    return this.#current
  }

  /** Seals with this key from now on. @param atMs When the group replaced the former one; it may have been before this worker heard of it. */
  rotate(next: ReferenceKey, atMs = this.#nowMs()): void {
    if (next.id === this.#current.id) return
    this.#older = this.#older.filter((one) => one.openUntilMs > this.#nowMs() && one.key.id !== next.id)
    this.#older.push({ key: this.#current, openUntilMs: atMs + this.#objectLifeMs })
    this.#current = checked(next)
  }

  find(id: number): ReferenceKey | undefined {
    if (id === this.#current.id) return this.#current
    const older = this.#older.find((one) => one.key.id === id)
    return older !== undefined && older.openUntilMs > this.#nowMs() ? older.key : undefined
  }
}

export function sealReference(keys: ReferenceKeys, namespace: string, contents: ReferenceContents): string {
  const { worker, object, invocation, function: name, ordinal } = contents
  const text = JSON.stringify([worker, object, invocation, name, ordinal])
  const length = Buffer.byteLength(text)
  assert(length <= CONTENTS_BYTES, `a reference to ${text} needs ${length} bytes of ${CONTENTS_BYTES}`)
  const { id, key } = keys.current
  const sealed = Buffer.allocUnsafe(SEALED_BYTES)
  sealed.writeUInt32LE(id, 0)
  keys.nonce().copy(sealed, KEY_ID_BYTES)
  const plain = Buffer.allocUnsafe(CONTENTS_BYTES)
  plain.fill(' ', plain.write(text))
  const cipher = createCipheriv('aes-256-gcm', key, sealed.subarray(KEY_ID_BYTES, HEAD_BYTES)).setAAD(place(namespace))
  cipher.update(plain).copy(sealed, HEAD_BYTES)
  cipher.final()
  cipher.getAuthTag().copy(sealed, HEAD_BYTES + CONTENTS_BYTES)
  return PREFIX + sealed.toString('base64url')
}

/** @throws REFERENCE_INVALID. */
export function openReference(keys: ReferenceKeys, namespace: string, text: string): ReferenceContents {
  if (!PATTERN.test(text)) throw invalid(namespace)
  const sealed = Buffer.from(text.slice(PREFIX.length), 'base64url')
  const key = keys.find(sealed.readUInt32LE(0))
  if (key === undefined) throw invalid(namespace)
  const decipher = createDecipheriv('aes-256-gcm', key.key, sealed.subarray(KEY_ID_BYTES, HEAD_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAAD(place(namespace)).setAuthTag(sealed.subarray(-TAG_BYTES))
  const plain = decipher.update(sealed.subarray(HEAD_BYTES, -TAG_BYTES))
  try {
    decipher.final()
  } catch (cause) {
    throw invalid(namespace, cause)
  }
  // Authentic, so it was written by `sealReference`.
  const [worker, object, invocation, name, ordinal] = JSON.parse(plain.toString('utf8')) as [string, string, string, string, number]
  return { worker, object, invocation, function: name, ordinal }
}

function invalid(namespace: string, cause?: unknown): PlatformError {
  return new PlatformError('REFERENCE_INVALID', `This is no reference of namespace ${namespace}. Hand references on as they are, and get objects in the namespace that put them.`, { cause })
}

function place(namespace: string): Buffer {
  return Buffer.from(`skep reference 1\0${namespace}`)
}

function checked(key: ReferenceKey): ReferenceKey {
  assert(key.key.length === 32 && Number.isInteger(key.id) && key.id >= 0 && key.id < 2 ** 32, 'a reference key has 32 bytes and a u32 as its id')
  return key
}

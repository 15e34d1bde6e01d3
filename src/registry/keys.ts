/**
 * API keys: `skep_<id>_<secret>`.
 *
 * The id is public and finds the entry; the secret proves it. Only the SHA-256 of the secret is kept, so that who reads
 * the store can't call anything. A plain hash is enough because a secret is 192 random bits, not a person's password.
 * Both parts are hex: a double click selects a whole key, and no shell has to quote it.
 */
import { createHash, timingSafeEqual } from 'node:crypto'

export interface ParsedKey {
  readonly id: string
  readonly secret: string
}

export interface GeneratedKey {
  readonly id: string
  /** The whole key, shown once. */
  readonly text: string
  /** What is kept: SHA-256 of the secret, hex. */
  readonly hash: string
}

const KEY_PATTERN = /^skep_([0-9a-f]{12})_([0-9a-f]{48})$/

export function generateKey(randomBytes: (length: number) => Buffer): GeneratedKey {
  const id = randomBytes(6).toString('hex')
  const secret = randomBytes(24).toString('hex')
  return { id, text: `skep_${id}_${secret}`, hash: hashSecret(secret) }
}

/** Undefined when the text has not the shape of a key. */
export function parseKey(text: string): ParsedKey | undefined {
  const match = KEY_PATTERN.exec(text)
  return match === null ? undefined : { id: match[1]!, secret: match[2]! }
}

/** Takes the same time wherever the two differ. */
export function secretMatches(secret: string, hash: string): boolean {
  const given = Buffer.from(hashSecret(secret), 'hex')
  const kept = Buffer.from(hash, 'hex')
  return given.length === kept.length && timingSafeEqual(given, kept)
}

function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

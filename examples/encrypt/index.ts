/**
 * Encrypts and decrypts text with AES-256-GCM, under a key that only the platform knows: the secret ENCRYPTION_KEY.
 *
 * `{"text": …}` gives `{"box": …}`, and back. A box is base64 of: version (1 byte), nonce (12), tag (16), ciphertext. A
 * nonce is random and used once. The tag also covers the version: a box that anyone changed by a bit is refused.
 * Source: NIST SP 800-38D, sections 5.2 and 8.2.2 (random nonces: at most 2^32 texts under one key).
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const VERSION = Buffer.from([1])
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES

interface Input {
  readonly text?: unknown
  readonly box?: unknown
}

/** The operator has to act: no request can succeed before. */
export class EncryptionKeyError extends Error {
  override readonly name = 'EncryptionKeyError'
}

export const handler = async (event: Input, _context: unknown): Promise<object> => {
  const key = keyFromEnvironment()
  if (typeof event.text === 'string') return { box: encrypt(event.text, key) }
  if (typeof event.box !== 'string') return refuse('INPUT_INVALID', 'Send {"text": "…"} to encrypt, or {"box": "…"} to decrypt.')
  const text = decrypt(event.box, key)
  return text === undefined ? refuse('BOX_INVALID', 'This box cannot be opened: it is no box, was changed or cut, or was made under another key.') : { text }
}

/** @throws EncryptionKeyError */
function keyFromEnvironment(): Buffer {
  const given = process.env['ENCRYPTION_KEY']
  if (given === undefined || given === '') {
    throw new EncryptionKeyError('The secret ENCRYPTION_KEY is missing. Make one with `openssl rand -hex 32 | skep secret set ENCRYPTION_KEY`, and deploy with `--secret ENCRYPTION_KEY`.')
  }
  if (!/^[0-9a-f]{64}$/i.test(given)) throw new EncryptionKeyError(`ENCRYPTION_KEY has ${given.length} characters, and must be 64 hex digits (32 bytes). \`openssl rand -hex 32\` makes such a key.`)
  return Buffer.from(given, 'hex')
}

function encrypt(text: string, key: Buffer): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(VERSION)
  const hidden = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return Buffer.concat([VERSION, nonce, cipher.getAuthTag(), hidden]).toString('base64')
}

/** Undefined when the box is not one made under this key: why is nobody's business. */
function decrypt(box: string, key: Buffer): string | undefined {
  const bytes = Buffer.from(box, 'base64')
  if (bytes.length < HEAD_BYTES || bytes[0] !== VERSION[0]) return undefined
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, 1 + NONCE_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAAD(VERSION).setAuthTag(bytes.subarray(1 + NONCE_BYTES, HEAD_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(HEAD_BYTES)), decipher.final()]).toString('utf8')
  } catch {
    return undefined
  }
}

function refuse(code: string, message: string): object {
  return { statusCode: 400, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ error: { code, message } }) }
}

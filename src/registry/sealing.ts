/**
 * Texts that nobody may read from the store alone: sealed with AES-256-GCM under one key in a file beside the data (mode 0600).
 *
 * A copy of the store, say a backup, reveals nothing. The place of a text is authenticated with it, so that an entry can't
 * be passed off as another.
 *
 * Invariants:
 *   Y1. A nonce is never used twice under the key: 96 random bits each, for far fewer than 2^32 writes.
 *   Y2. The key file appears whole or not at all; of two that open at once, one makes the key and both use it.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { link, open, readFile, unlink } from 'node:fs/promises'
import { PlatformError } from '#contract/errors.ts'

export interface Sealed {
  /** Base64. */
  readonly nonce: string
  /** Base64: ciphertext, then the 16 bytes of the tag. */
  readonly sealed: string
}

export interface SealingOptions {
  /** Made at the first run. */
  readonly keyFile: string
  readonly randomBytes: (length: number) => Buffer
}

export class Sealing {
  readonly #key: Buffer
  readonly #randomBytes: (length: number) => Buffer

  private constructor(key: Buffer, randomBytes: (length: number) => Buffer) {
    this.#key = key
    this.#randomBytes = randomBytes
  }

  /** @throws STORE_FAILED when the key file is there but no key. */
  static async open({ keyFile, randomBytes }: SealingOptions): Promise<Sealing> {
    return new Sealing(await readOrMakeKey(keyFile, randomBytes), randomBytes)
  }

  /** @param place What the text is and whose; the same is needed to open it. */
  seal(place: string, text: string): Sealed {
    const nonce = this.#randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(place))
    const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
    return { nonce: nonce.toString('base64'), sealed: sealed.toString('base64') }
  }

  /** @throws An Error when it is damaged, of another place, or was sealed under another key. */
  open(place: string, { nonce, sealed }: Sealed): string {
    const bytes = Buffer.from(sealed, 'base64')
    const decipher = createDecipheriv('aes-256-gcm', this.#key, Buffer.from(nonce, 'base64'), { authTagLength: 16 })
    decipher.setAAD(Buffer.from(place)).setAuthTag(bytes.subarray(-16))
    return decipher.update(bytes.subarray(0, -16), undefined, 'utf8') + decipher.final('utf8')
  }
}

async function readOrMakeKey(path: string, randomBytes: (length: number) => Buffer): Promise<Buffer> {
  const text = (await readIfThere(path)) ?? (await makeKey(path, randomBytes))
  if (/^[0-9a-f]{64}$/.test(text)) return Buffer.from(text, 'hex')
  throw new PlatformError(
    'STORE_FAILED',
    `${path} must hold a key of 64 hex digits and does not. Bring it back from a backup; or move it away, and put all secrets again.`,
  )
}

async function makeKey(path: string, randomBytes: (length: number) => Buffer): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(`${randomBytes(32).toString('hex')}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await link(temporary, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await unlink(temporary)
  return (await readIfThere(path)) ?? ''
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

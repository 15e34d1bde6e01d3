/**
 * Identifiers of invocations: 32 lowercase hex digits, the first 12 of which are the epoch milliseconds.
 *
 * So they sort by time, a record is found by its id without an index, and an id is at the same time a valid W3C
 * trace-id and an OpenWhisk activation id. The other 80 bits are random: an id cannot be guessed.
 */

/** Random bytes are drawn by the thousand: one system call per invocation would cost more than the rest of it. */
export class InvocationIds {
  readonly #randomBytes: (length: number) => Buffer
  readonly #nowMs: () => number
  #pool: string = ''
  #offset = 0
  #prefixMs = -1
  #prefix = ''

  constructor(sources: { readonly randomBytes: (length: number) => Buffer; readonly nowMs: () => number }) {
    this.#randomBytes = sources.randomBytes
    this.#nowMs = sources.nowMs
  }

  next(): string {
    const nowMs = this.#nowMs()
    if (nowMs !== this.#prefixMs) {
      this.#prefixMs = nowMs
      this.#prefix = Math.floor(nowMs).toString(16).padStart(12, '0')
    }
    if (this.#offset + 20 > this.#pool.length) {
      this.#pool = this.#randomBytes(10 * 1024).toString('hex')
      this.#offset = 0
    }
    const id = this.#prefix + this.#pool.slice(this.#offset, this.#offset + 20)
    this.#offset += 20
    return id
  }
}

export const INVOCATION_ID_PATTERN = /^[0-9a-f]{32}$/

/** When the invocation with this id was accepted, epoch ms. */
export function acceptedAtMs(id: string): number {
  return Number.parseInt(id.slice(0, 12), 16)
}

/**
 * A stream becomes a body: a few bytes in a buffer, more in memory, and in a file from a bound on or where memory lacks room.
 *
 * Nobody knows how long a stream is, so room is asked for as it grows, in steps; what is over is given back at its end. While there is none, the
 * stream is not read, and whoever sends it is slowed down by its own flow control (thesis 6.4.3).
 *
 * Invariants:
 *   V1. A source that breaks, is given up, or ends at another length than it said leaves nothing: no bytes, no charge, no descriptor.
 *   V2. Besides the body itself, one chunk is held; a piece of a peer's stream (remote/pieces.ts) goes back when it has been written.
 *   V3. However quickly a source gives, others of this event loop have their turn after TURN_BYTES.
 */
import { Readable } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import type { HeldBody } from '#contract/held-body.ts'
import { cancelled } from './cancelled.ts'
import type { Account, Ask, Charge } from './ledger.ts'
import { KeptBody, PACKED_BYTES_MAX } from './kept-body.ts'
import type { Places } from './kept-body.ts'
import { recycle } from './remote/pieces.ts'
import type { Room } from './room.ts'
import { copyBody } from './spill.ts'
import type { NewBody } from './spill.ts'

export interface Reception {
  readonly source: AsyncIterable<Uint8Array>
  readonly account: Account
  readonly room: Room
  readonly places: Places
  /** From here on it goes to a file. */
  readonly memoryBytesMax: number
  /** Where it is known. */
  readonly bytes?: number
  readonly signal?: AbortSignal
}

/** Asked for at a time: few enough steps for a long stream, and little too much for a short one. */
const STEP_BYTES = 4 * 1024 * 1024
/** About a millisecond of writing to memory. */
const TURN_BYTES = 2 * 1024 * 1024

/**
 * @throws What the source throws; OBJECT_QUOTA_EXCEEDED, STORE_FULL, STORE_FAILED; CANCELLED; TRANSFER_BROKEN when the length is not `bytes`.
 */
export async function receive(reception: Reception): Promise<KeptBody> {
  const { room, places, bytes: expected } = reception
  const reader = new Reader(reception.source, reception.signal)
  const body = new GrowingBody(reception)
  let turnBytes = 0
  try {
    // What is known to be long needs one decision, and no move half way.
    if (expected !== undefined && expected > PACKED_BYTES_MAX) await body.reserve(expected)
    for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
      if (expected !== undefined && body.bytes + chunk.length > expected) throw broken(body.bytes + chunk.length, expected)
      await body.write(chunk)
      if (Buffer.isBuffer(chunk)) recycle(chunk)
      turnBytes += chunk.length
      if (turnBytes < TURN_BYTES) continue
      turnBytes = 0
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (expected !== undefined && body.bytes !== expected) throw broken(body.bytes, expected)
    const { content, charge } = await body.finish()
    return new KeptBody(content, charge, room, places)
  } catch (error) {
    if (error instanceof PlatformError && error.code === 'STORE_FULL') room.diskIsFull()
    body.discard()
    throw error
  } finally {
    reader.close()
  }
}

class GrowingBody {
  readonly #reception: Reception
  /** At first. */
  #chunks: Uint8Array[] = []
  #written: NewBody | undefined
  #charge: Charge | undefined
  bytes = 0

  constructor(reception: Reception) {
    this.#reception = reception
  }

  async write(chunk: Uint8Array): Promise<void> {
    const bytes = this.bytes + chunk.length
    if (this.#written === undefined && bytes <= PACKED_BYTES_MAX) {
      // A copy: small chunks are often parts of a large pool.
      this.#chunks.push(Buffer.from(chunk))
    } else {
      if (this.#charge === undefined || this.#charge.bytes < bytes) await this.reserve(bytes, bytes + Math.min(bytes, STEP_BYTES))
      await this.#place()
      await this.#written!.write(chunk)
    }
    this.bytes = bytes
  }

  /** Has room for so many bytes altogether, and for more when that takes nothing from anybody. */
  async reserve(bytes: number, atBest = bytes): Promise<void> {
    const { room, account, memoryBytesMax, places, signal } = this.#reception
    const preferred = places.memory === undefined ? 'file only' : bytes > memoryBytesMax ? 'file' : 'memory'
    const own = this.#charge
    const ask: Ask = { account, bytes: bytes - (own?.bytes ?? 0), own, descriptors: 1, preferred }
    const generous = { ...ask, bytes: (bytes <= memoryBytesMax ? Math.min(atBest, memoryBytesMax) : atBest) - (own?.bytes ?? 0) }
    const decision = room.ledger.decide(generous)
    const place = own?.place ?? (preferred === 'memory' ? 'memory' : 'file')
    this.#charge = await room.enter(decision.do === 'accept' && decision.place === place ? generous : ask, signal)
  }

  async finish(): Promise<{ readonly content: Buffer | HeldBody; readonly charge: Charge }> {
    const { room, account, signal } = this.#reception
    if (this.#written === undefined && this.#charge === undefined) {
      this.#charge = await room.enter({ account, bytes: this.bytes, own: undefined, descriptors: 0, preferred: 'memory' }, signal)
      return { content: Buffer.concat(this.#chunks), charge: this.#charge }
    }
    await this.#place()
    const charge = this.#charge!
    if (charge.bytes > this.bytes) {
      room.ledger.resize(charge, this.bytes)
      room.changed()
    }
    return { content: this.#written!.finish(), charge }
  }

  discard(): void {
    this.#written?.discard()
    if (this.#charge !== undefined) this.#reception.room.refund(this.#charge)
    this.#chunks = []
  }

  /** What has come so far is where its charge is. */
  async #place(): Promise<void> {
    const { places } = this.#reception
    const place = this.#charge!.place
    const maker = place === 'memory' ? places.memory! : places.files!
    if (this.#written === undefined) {
      this.#written = maker.create()
      for (const chunk of this.#chunks) await this.#written.write(chunk)
      this.#chunks = []
    } else if (this.#written.place !== place) {
      const former = this.#written.finish()
      this.#written = undefined
      try {
        this.#written = await copyBody(former, maker)
      } finally {
        former.release()
      }
    }
  }
}

/** The chunks of a source, which is let go of as soon as the signal says so, even while it gives nothing. */
class Reader {
  readonly #iterator: AsyncIterator<Uint8Array>
  readonly #signal: AbortSignal | undefined
  #reject: ((error: PlatformError) => void) | undefined
  #ended = false

  constructor(source: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined) {
    this.#iterator = source[Symbol.asyncIterator]()
    // The iterator of a stream hears of errors from its first step on; one that breaks while this waits for room must not end the process.
    if (source instanceof Readable) source.on('error', () => {})
    this.#signal = signal
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  readonly #onAbort = (): void => this.#reject?.(cancelled(this.#signal!))

  next(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#signal?.aborted === true) return reject(cancelled(this.#signal))
      this.#reject = reject
      this.#iterator.next().then(
        ({ done, value }) => {
          this.#ended = done === true
          resolve(done === true ? undefined : value)
        },
        (error: unknown) => {
          this.#ended = true
          reject(error)
        },
      )
    })
  }

  close(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#reject = undefined
    // Not waited for: a source that hangs would not answer. How it ends does not matter any more.
    if (!this.#ended) this.#iterator.return?.().then(undefined, () => {})
  }
}

function broken(bytes: number, expected: number): PlatformError {
  return new PlatformError('TRANSFER_BROKEN', `An object of ${expected} bytes came with ${bytes}. It does not count as a retrieval: get it again.`, { details: { bytes, expected } })
}

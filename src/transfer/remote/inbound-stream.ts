/**
 * One request to a peer, as the consumer's side sees it: the answer, the bytes on their way to the consumer, and the lease that is to be settled.
 *
 *   asked ──answer──▶ flowing ──last byte──▶ whole            a lease without bytes is whole when it is answered
 *     │                  │
 *     └──────────────────┴──cancelled──▶ cancelled ──ended──▶ whole        the connection, or an error frame, ends any of them: broken
 *
 * Bytes are received in pieces of 64 KB that the consumer may keep. A piece is handed on as soon as it is full, or the frame ends (cut-through, thesis
 * 6.4.2.1), and is paid for with credit when the consumer has taken it; so what lies here is bounded by the stream's grant.
 *
 * Invariants:
 *   I1. The stream ends after exactly the bytes that were answered, or is destroyed with an error (E2).
 *   I2. Credit that is out plus bytes that the consumer has not taken never exceed the grant.
 *   I3. A request is forgotten only when no frame of the peer for it can come any more, and its lease is settled.
 */
import { Readable } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import type { RemotePull } from '../peers.ts'
import { broken, creditFrame, frame, kinds } from './protocol.ts'
import { PIECE_BYTES, recycle, takePiece } from './pieces.ts'
import type { Grant } from './receive-buffers.ts'

/** What a request needs of its connection. */
export interface RequestOwner {
  send(frame: Buffer): void
  /** The request can be forgotten. */
  forget(request: number): void
}

type State = 'asked' | 'flowing' | 'cancelled' | 'whole' | 'broken'

export class InboundStream {
  readonly #request: number
  readonly #owner: RequestOwner
  /** Undefined for a lease. */
  readonly #grant: Grant | undefined
  readonly #answered: (pull: RemotePull) => void
  readonly #refused: (error: PlatformError) => void
  #state: State = 'asked'
  #isSettled = false
  #bytes = 0
  #receivedBytes = 0
  /** Of the object's bytes: how many the peer may have sent. */
  #creditedBytes = 0
  /** Taken by the consumer, and not credited again yet. */
  #takenBytes = 0
  /** Given to the Readable, which has not asked for more since. */
  #givenBytes = 0
  #readable: Readable | undefined
  #isWanted = false
  #pieces: Buffer[] = []
  #piece: Buffer | undefined
  #pieceFilled = 0

  constructor(options: { readonly request: number; readonly owner: RequestOwner; readonly grant: Grant | undefined; readonly answered: (pull: RemotePull) => void; readonly refused: (error: PlatformError) => void }) {
    this.#request = options.request
    this.#owner = options.owner
    this.#grant = options.grant
    this.#answered = options.answered
    this.#refused = options.refused
  }

  /** The peer has leased it. A lease gets a stream, too, which nobody reads. @throws PROTOCOL_BROKEN. */
  onAnswer(bytes: number): void {
    // It was given up while the answer was on its way, and so was its lease.
    if (this.#state === 'cancelled') return
    if (this.#state !== 'asked') throw broken(`request ${this.#request} is answered twice`)
    this.#bytes = bytes
    this.#creditedBytes = Math.min(bytes, this.#grant?.bytes ?? 0)
    this.#grant?.shrink(this.#creditedBytes)
    this.#state = this.#grant === undefined || bytes === 0 ? 'whole' : 'flowing'
    this.#readable = new Readable({ highWaterMark: PIECE_BYTES, read: () => this.#wanted(), destroy: (error, done) => { this.#destroyed(); done(error) } })
    // It may break before anybody listens: whoever reads it later gets the error then.
    this.#readable.on('error', () => {})
    this.#answered({ bytes, stream: this.#readable, done: () => this.#settle(kinds.done), failed: () => this.#settle(kinds.failed) })
  }

  /** @throws PROTOCOL_BROKEN. */
  onDataBegins(length: number): void {
    if (this.#state === 'cancelled') return
    if (this.#state !== 'flowing' || this.#receivedBytes + length > this.#creditedBytes) throw broken(`request ${this.#request} gets ${length} bytes and has credit for ${this.#creditedBytes - this.#receivedBytes}`)
  }

  place(left: number): Buffer {
    if (this.#state === 'cancelled') return discard
    if (this.#piece === undefined) {
      const missing = this.#bytes - this.#receivedBytes
      this.#piece = missing < PIECE_BYTES ? Buffer.allocUnsafeSlow(missing) : takePiece()
    }
    return this.#piece.subarray(this.#pieceFilled, Math.min(this.#piece.length, this.#pieceFilled + left))
  }

  onData(count: number, left: number): void {
    const piece = this.#piece
    if (this.#state !== 'flowing' || piece === undefined) return
    this.#receivedBytes += count
    this.#pieceFilled += count
    if (this.#receivedBytes === this.#bytes) this.#state = 'whole'
    if (this.#pieceFilled < piece.length && left > 0) return
    this.#pieces.push(this.#pieceFilled < piece.length ? piece.subarray(0, this.#pieceFilled) : piece)
    this.#piece = undefined
    this.#pieceFilled = 0
    if (this.#isWanted) this.#deliver()
    if (this.#state === 'whole') this.#forgetIfOver()
  }

  /** The peer has ended it: it was refused, or what was left of it could not be read. */
  onError(error: PlatformError): void {
    // It has crossed our `cancel`, which the peer answers all the same.
    if (this.#state === 'whole' || this.#state === 'cancelled') return
    // The peer has given the lease back, and knows nothing of it any more.
    this.#isSettled = true
    this.breakOff(error)
    this.#forgetIfOver()
  }

  onEnded(): void {
    if (this.#state !== 'cancelled') return
    this.#state = 'whole'
    this.#forgetIfOver()
  }

  /** No frame comes or goes any more. What is whole stays so: the consumer gets all of it. */
  breakOff(error: PlatformError): void {
    const before = this.#state
    if (before === 'whole') return
    this.#state = 'broken'
    if (before === 'asked') {
      this.#grant?.shrink(0)
      this.#refused(error)
    } else if (before === 'flowing') this.#readable!.destroy(error)
  }

  /** The caller gives up before the answer. */
  cancelAsked(): void {
    if (this.#state !== 'asked') return
    this.#state = 'cancelled'
    this.#grant?.shrink(0)
    this.#owner.send(frame(kinds.cancel, this.#request))
    this.#settle(kinds.failed)
    this.#refused(new PlatformError('CANCELLED', 'A transfer was given up before it was answered.'))
  }

  #wanted(): void {
    this.#take(this.#givenBytes)
    this.#givenBytes = 0
    this.#isWanted = true
    this.#deliver()
  }

  #deliver(): void {
    const readable = this.#readable!
    while (this.#isWanted && this.#pieces.length > 0) {
      const piece = this.#pieces.shift()!
      this.#isWanted = readable.push(piece)
      if (this.#isWanted) this.#take(piece.length)
      else this.#givenBytes += piece.length
    }
    if (this.#state === 'whole' && this.#pieces.length === 0 && this.#isWanted) {
      this.#isWanted = false
      this.#grant?.shrink(0)
      readable.push(null)
    }
  }

  /** So many bytes are the consumer's now: their room here is free, for the peer to fill or to be given back. */
  #take(count: number): void {
    this.#takenBytes += count
    if (this.#state !== 'flowing') return
    const uncredited = this.#bytes - this.#creditedBytes
    const window = this.#grant!.bytes
    // Not for every piece: half of the window at a time, or all of a small one.
    if (uncredited === 0 || this.#takenBytes < Math.min(uncredited, window, Math.max(PIECE_BYTES, window / 2))) return
    const credit = Math.min(uncredited, this.#takenBytes)
    this.#creditedBytes += credit
    this.#takenBytes = 0
    this.#owner.send(creditFrame(this.#request, credit))
  }

  #destroyed(): void {
    for (const piece of this.#pieces) recycle(piece)
    this.#pieces = []
    this.#piece = undefined
    this.#grant?.shrink(0)
    if (this.#state !== 'flowing') return
    this.#state = 'cancelled'
    this.#owner.send(frame(kinds.cancel, this.#request))
  }

  #settle(kind: typeof kinds.done | typeof kinds.failed): void {
    if (this.#isSettled) return
    this.#isSettled = true
    if (this.#state === 'broken') return
    this.#owner.send(frame(kind, this.#request))
    this.#forgetIfOver()
  }

  #forgetIfOver(): void {
    if (this.#isSettled && (this.#state === 'whole' || this.#state === 'broken')) this.#owner.forget(this.#request)
  }
}

/** Where bytes go that nobody wants any more. */
const discard = Buffer.allocUnsafeSlow(PIECE_BYTES)

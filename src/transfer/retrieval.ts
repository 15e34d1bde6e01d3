/** What a consumer gets: a body or a stream, to be settled once. */
import type { Readable } from 'node:stream'
import type { HeldBody } from '#contract/held-body.ts'
import type { Lease, Place } from './peers.ts'

interface Settled {
  readonly bytes: number
  /** The consumer has all of it. The first call of the two is the one that counts; both let the body go. */
  done(): void
  /** It does not count as a retrieval: somebody else may have it. */
  failed(): void
}

/** `body` is held until it is settled; whoever needs it for longer says `retain`. Only a body in `memory` may be passed to code. */
export interface HeldRetrieval extends Settled {
  readonly as: 'body'
  readonly body: HeldBody
  readonly place: Place
}

/** `body` ends after exactly `bytes` bytes, or is destroyed with an error. `failed` destroys it. */
export interface StreamRetrieval extends Settled {
  readonly as: 'stream'
  readonly body: Readable
}

export type Retrieval = HeldRetrieval | StreamRetrieval

/** @param lease A lease, or whatever is settled together with the stream. */
export function streamRetrieval(body: Readable, lease: Settled): StreamRetrieval {
  // Whoever reads it hears of its errors; while nobody does, they must not end the process.
  body.on('error', () => {})
  return {
    as: 'stream',
    body,
    bytes: lease.bytes,
    done: () => lease.done(),
    failed() {
      lease.failed()
      body.destroy()
    },
  }
}

export function retrievalOf(lease: Lease, asStream: boolean): Retrieval {
  if (asStream) return streamRetrieval(lease.body.retain().stream(), lease)
  return { as: 'body', body: lease.body, place: lease.place, bytes: lease.bytes, done: () => lease.done(), failed: () => lease.failed() }
}

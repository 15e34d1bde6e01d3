/**
 * What this folder needs of other workers, and what it offers them: the border to the transfer plane (remote/).
 *
 *   consumer's worker                                     producer's worker
 *   Transfers.get ─▶ Peers.pull(worker, object) ──wire──▶ ObjectServer.serve(object) ─▶ Lease
 *                    stream ◀────────bytes──────────────── lease.body
 *                    lease.done() / failed() ─────────────▶ lease.done() / failed()
 *
 * A retrieval and the bytes are two things: several consumers on one host share one stream of bytes, and each has a lease of its own.
 *
 * Invariants, which every implementation of Peers keeps:
 *   E1. Every lease that `serve` gave is settled: by what the consumer's side says, and by `failed` when the connection breaks before it has said anything.
 *   E2. The stream ends only after exactly `bytes` bytes; otherwise it is destroyed with TRANSFER_BROKEN.
 *   E3. Settling a lease does not end the stream, and destroying the stream does not settle the lease.
 */
import type { Readable } from 'node:stream'
import type { HeldBody } from '#contract/held-body.ts'

export interface Peers {
  /**
   * Leases one retrieval of an object of another worker, and has its bytes sent.
   * @throws OBJECT_LOST when there is no such worker any more, or it does not know the object; what its `serve` throws;
   *   TRANSFER_BROKEN when the connection breaks; CANCELLED.
   */
  pull(worker: string, objectId: string, options: RemotePullOptions): Promise<RemotePull>
  /** Leases one more retrieval of an object whose bytes are here, or coming. @throws As `pull`. */
  lease(worker: string, objectId: string, options: PeerOptions): Promise<RemoteLease>
}

export interface PeerOptions {
  /** Gives up waiting for the answer. It has no meaning once the promise has settled. */
  readonly signal?: AbortSignal
}

export interface RemotePullOptions extends PeerOptions {
  /** Whose bound the bytes count against that are on their way. */
  readonly namespace: string
}

export interface RemoteLease {
  readonly bytes: number
  /** The consumer has all of it: this counts as a retrieval. The first call of the two is the one that counts. */
  done(): void
  /** It does not count. */
  failed(): void
}

export interface RemotePull extends RemoteLease {
  readonly stream: Readable
}

/** The serving side: what a worker's Transfers are to its peers. */
export interface ObjectServer {
  /**
   * Leases one retrieval; waits while all that remain are leased.
   * @throws OBJECT_EXPIRED, OBJECT_USED_UP, OBJECT_LOST (without details, which the reference has), CANCELLED.
   */
  serve(objectId: string, options?: PeerOptions): Promise<Lease>
}

/** One retrieval that is going on. */
export interface Lease {
  /** Held until the lease is settled; whoever needs it for longer says `retain`, and then `body.stream()` has a holder to take over. */
  readonly body: HeldBody
  readonly bytes: number
  /** `memory`: sealed, and can be passed to code. `file`: it can be read, and must not be passed to code, which could make it writable again. */
  readonly place: Place
  done(): void
  failed(): void
}

export type Place = 'memory' | 'file'

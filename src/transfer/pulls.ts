/**
 * Objects of other workers, on their way here: several consumers on this host that want one object share one pull of its bytes.
 *
 *   consumer 1 ─ get ─▶ flight: pull ── bytes ──▶ body here ─▶ consumer 1, 2, 3        each with a retrieval of its own at the producer's worker:
 *   consumer 2, 3 ─ get ─▶ join: lease                                                 1 that of the pull, 2 and 3 one more
 *
 * A consumer that wants a stream and finds no flight gets the producer's stream as it comes (cut-through, thesis 6.4.2.1), which takes no memory here
 * and cannot be shared; one that finds a flight joins it.
 *
 * Invariants:
 *   G1. A flight lives for as long as somebody waits for it or holds a retrieval of it; when nobody does, its pull is given up and its body let go.
 *   G2. A consumer that leaves settles its own lease, and takes no bytes from the others.
 *   G3. Nobody gets a body that is not complete.
 */
import { PlatformError } from '#contract/errors.ts'
import { cancelled, unlessAborted } from './cancelled.ts'
import type { KeptBody } from './kept-body.ts'
import type { Peers, RemoteLease, RemotePull } from './peers.ts'
import { retrievalOf, streamRetrieval } from './retrieval.ts'
import type { Retrieval } from './retrieval.ts'

export interface PullsOptions {
  readonly peers: Peers
  /** Makes a body of a stream, on the account of the namespace. */
  readonly receive: (namespace: string, pull: RemotePull, signal: AbortSignal) => Promise<KeptBody>
}

export interface PullOptions {
  readonly asStream: boolean
  readonly signal?: AbortSignal | undefined
}

interface Flight {
  readonly key: string
  readonly pull: Promise<RemotePull>
  readonly body: Promise<KeptBody>
  readonly abort: AbortController
  consumers: number
}

export class Pulls {
  readonly #peers: Peers
  readonly #receive: PullsOptions['receive']
  readonly #flights = new Map<string, Flight>()
  readonly #closed = new AbortController()

  constructor(options: PullsOptions) {
    this.#peers = options.peers
    this.#receive = options.receive
  }

  get flights(): number {
    return this.#flights.size
  }

  /** @throws As Peers.pull, and what receiving throws. */
  async get(namespace: string, worker: string, objectId: string, { asStream, signal }: PullOptions): Promise<Retrieval> {
    if (this.#closed.signal.aborted) throw cancelled(this.#closed.signal)
    if (signal?.aborted === true) throw cancelled(signal)
    const key = `${worker}/${objectId}`
    const joined = this.#flights.get(key)
    if (joined === undefined && asStream) {
      const pull = await this.#peers.pull(worker, objectId, { namespace, signal: signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]) })
      return streamRetrieval(pull.stream, pull)
    }
    const flight = joined ?? this.#begin(namespace, worker, objectId, key)
    flight.consumers++
    const given = new AbortController()
    const lease: Promise<RemoteLease> = joined === undefined ? flight.pull : this.#peers.lease(worker, objectId, { signal: given.signal })
    try {
      const [remote, body] = await unlessAborted(Promise.all([lease, flight.body]), signal)
      return this.#retrieval(flight, remote, body, asStream)
    } catch (error) {
      given.abort(error)
      lease.then(
        (remote) => remote.failed(),
        () => {},
      )
      this.#leave(flight)
      throw error
    }
  }

  close(error: PlatformError): void {
    this.#closed.abort(error)
    for (const flight of this.#flights.values()) flight.abort.abort(error)
  }

  #begin(namespace: string, worker: string, objectId: string, key: string): Flight {
    const abort = new AbortController()
    const pull = this.#peers.pull(worker, objectId, { namespace, signal: abort.signal })
    const body = pull.then(async (remote) => {
      try {
        return await this.#receive(namespace, remote, abort.signal)
      } catch (error) {
        if (error instanceof PlatformError) throw error
        throw new PlatformError('TRANSFER_BROKEN', `The connection to worker ${worker} broke before all of an object was here. It does not count as a retrieval: get it again.`, { cause: error })
      } finally {
        remote.stream.destroy()
      }
    })
    const flight: Flight = { key, pull, body, abort, consumers: 0 }
    this.#flights.set(key, flight)
    // The next consumer begins a new one.
    body.catch(() => this.#forget(flight))
    return flight
  }

  #retrieval(flight: Flight, remote: RemoteLease, body: KeptBody, asStream: boolean): Retrieval {
    const opened = body.open()
    let state: 'open' | 'settled' = 'open'
    const settle = (how: 'done' | 'failed'): void => {
      if (state === 'settled') return
      state = 'settled'
      remote[how]()
      opened.close()
      this.#leave(flight)
    }
    return retrievalOf({ body: opened.body, place: opened.place, bytes: body.bytes, done: () => settle('done'), failed: () => settle('failed') }, asStream)
  }

  #leave(flight: Flight): void {
    if (--flight.consumers > 0) return
    this.#forget(flight)
    flight.abort.abort(new PlatformError('CANCELLED', 'Nobody waits for this object any more.'))
    flight.body.then(
      (body) => body.drop(),
      () => {},
    )
  }

  #forget(flight: Flight): void {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key)
  }
}

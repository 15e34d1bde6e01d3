/**
 * How much memory transfers to this worker may fill: credit is handed out from a bounded stock, to the worker and to each namespace (thesis 6.4.3).
 *
 * Credit is memory that a producer's worker may fill here, so the sum of all credit is what it can come to. A stream's credit shrinks as the stock does, so
 * that many slow consumers get a little each; only when not even the least is left does a pull wait, before it has asked for anything.
 * A pull that waits holds no lease, and no memory of a peer. Consumers that need many streams at once to make progress could still wait
 * for themselves: hence the bound on the wait.
 *
 * Invariants:
 *   R1. What is out never exceeds the bounds, neither the worker's nor a namespace's.
 *   R2. Who waits is served in the order of coming, but for those whose own namespace has none left: they hold up nobody else.
 *   R3. Each grant comes back once.
 */
import assert from 'node:assert/strict'
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { RemoteConfig } from './config.ts'

type StockConfig = Pick<RemoteConfig, 'windowBytes' | 'windowBytesMin' | 'buffersBytesMax' | 'namespaceBuffersBytesMax' | 'buffersWaitMs'>

/** Credit for one stream: the whole window while there is plenty, an eighth of what is left as it becomes less, at least the minimum; 0 is to wait. */
export function decideWindow(freeBytes: number, { windowBytes, windowBytesMin }: Pick<StockConfig, 'windowBytes' | 'windowBytesMin'>): number {
  const least = Math.min(windowBytes, windowBytesMin)
  if (freeBytes < least) return 0
  return Math.min(windowBytes, Math.max(least, Math.floor(freeBytes / 8 / least) * least))
}

export class ReceiveBuffers {
  readonly #config: StockConfig
  readonly #clock: Clock
  readonly #perNamespace = new Map<string, number>()
  readonly #waiting = new Set<Waiting>()
  #outBytes = 0

  constructor(config: StockConfig, clock: Clock) {
    this.#config = config
    this.#clock = clock
  }

  get outBytes(): number {
    return this.#outBytes
  }

  /** @throws QUEUE_TIMEOUT, CANCELLED. */
  take(namespace: string, signal: AbortSignal | undefined): Promise<Grant> {
    if (signal?.aborted === true) return Promise.reject(givenUp())
    const grant = this.#tryTake(namespace)
    if (grant !== undefined) return Promise.resolve(grant)
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#waiting.delete(waiting)
        timer.cancel()
        signal?.removeEventListener('abort', aborted)
      }
      const aborted = (): void => {
        end()
        reject(givenUp())
      }
      const waiting: Waiting = { namespace, granted: (given) => { end(); resolve(given) }, refused: (error) => { end(); reject(error) } }
      const timer = this.#clock.after(this.#config.buffersWaitMs, () => {
        end()
        const { buffersBytesMax, namespaceBuffersBytesMax, buffersWaitMs } = this.#config
        reject(new PlatformError('QUEUE_TIMEOUT', `A transfer waited ${buffersWaitMs} ms for buffers: ${this.#outBytes} of this worker's ${buffersBytesMax} bytes and ${this.#perNamespace.get(namespace) ?? 0} of the namespace's ${namespaceBuffersBytesMax} are in use by streams that are not read. Read or close some, and try again.`))
      })
      signal?.addEventListener('abort', aborted)
      this.#waiting.add(waiting)
    })
  }

  /** Nobody waits any more: all are refused with this. */
  refuseWaiting(error: PlatformError): void {
    for (const waiting of [...this.#waiting]) waiting.refused(error)
  }

  #tryTake(namespace: string): Grant | undefined {
    const { buffersBytesMax, namespaceBuffersBytesMax } = this.#config
    const ofNamespace = this.#perNamespace.get(namespace) ?? 0
    const bytes = decideWindow(Math.min(buffersBytesMax - this.#outBytes, namespaceBuffersBytesMax - ofNamespace), this.#config)
    if (bytes === 0) return undefined
    this.#outBytes += bytes
    this.#perNamespace.set(namespace, ofNamespace + bytes)
    return new Grant(bytes, (back) => this.#giveBack(namespace, back))
  }

  #giveBack(namespace: string, bytes: number): void {
    this.#outBytes -= bytes
    const left = this.#perNamespace.get(namespace)! - bytes
    assert(left >= 0 && this.#outBytes >= 0)
    if (left === 0) this.#perNamespace.delete(namespace)
    else this.#perNamespace.set(namespace, left)
    for (const waiting of this.#waiting) {
      if (this.#outBytes > this.#config.buffersBytesMax - Math.min(this.#config.windowBytes, this.#config.windowBytesMin)) return
      const grant = this.#tryTake(waiting.namespace)
      if (grant !== undefined) waiting.granted(grant)
    }
  }
}

function givenUp(): PlatformError {
  return new PlatformError('CANCELLED', 'A transfer was given up while it waited for buffers.')
}

interface Waiting {
  readonly namespace: string
  granted(grant: Grant): void
  refused(error: PlatformError): void
}

/** Credit that a stream has. */
export class Grant {
  readonly #giveBack: (bytes: number) => void
  #bytes: number

  constructor(bytes: number, giveBack: (bytes: number) => void) {
    this.#bytes = bytes
    this.#giveBack = giveBack
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Keeps so many bytes and gives the rest back; 0 ends it. */
  shrink(bytes: number): void {
    const back = this.#bytes - bytes
    if (back <= 0) return
    this.#bytes = bytes
    this.#giveBack(back)
  }
}

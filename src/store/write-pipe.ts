/**
 * The main side of the writer thread: collects operations and sends them in groups, one group at a time.
 *
 * Group commit needs no timer: the group that is under way is the waiting time of the next. One caller alone waits for
 * one fsync; 32 callers share one.
 *
 * Invariants:
 *   P1. Operations are applied in the order of `submit`, and their callbacks run in that order.
 *   P2. At most one group is under way, and it holds at most {@link GROUP_BYTES_MAX} plus one operation.
 *   P3. When the thread dies, everything waiting and everything later fails with STORE_FAILED: nobody waits for ever.
 */
import { Worker } from 'node:worker_threads'
import { PlatformError } from '#contract/errors.ts'
import type { FromWriter, ToWriter, WriteOperation, WriteValues, WriterSettings } from './sqlite-protocol.ts'

/** So that the writer's heap stays small: a group is in it as a whole. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024
const GROUP_OPERATIONS_MAX = 4096

/** MB of heap. The bound catches a leak; groups keep the thread far below. */
const writerLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 4, stackSizeMb: 2 }

interface Waiting {
  readonly operation: WriteOperation
  readonly bytes: number
  readonly done: (value: never) => void
  readonly failed: (error: PlatformError) => void
}

type PipeState = { readonly kind: 'open' } | { readonly kind: 'closing' } | { readonly kind: 'failed'; readonly error: PlatformError }

export class WritePipe {
  readonly journalSequence: number
  readonly #worker: Worker
  readonly #path: string
  #state: PipeState = { kind: 'open' }
  #waiting: Waiting[] = []
  #underWay: Waiting[] = []
  #scheduled = false
  #onIdle: (() => void) | undefined
  readonly #closed = Promise.withResolvers<void>()

  /** @throws What the writer refused with: DATA_LOCKED, DATA_VERSION_NEWER, STORE_FULL, STORE_FAILED. */
  static async open(settings: WriterSettings): Promise<WritePipe> {
    const worker = new Worker(new URL('./sqlite-writer.ts', import.meta.url), {
      name: 'store-writer',
      workerData: settings,
      resourceLimits: writerLimits,
    })
    const first = await firstMessage(worker).catch((thrown: unknown) => {
      throw writerDied(settings.path, thrown)
    })
    if (first.kind !== 'ready') {
      await worker.terminate()
      if (first.kind === 'failed') throw PlatformError.fromBody(first.error)
      throw writerDied(settings.path, new Error(`unexpected message ${first.kind}`))
    }
    return new WritePipe(worker, { path: settings.path, journalSequence: first.journalSequence })
  }

  private constructor(worker: Worker, options: { readonly path: string; readonly journalSequence: number }) {
    this.#worker = worker
    this.#path = options.path
    this.journalSequence = options.journalSequence
    worker.on('message', (message: FromWriter) => this.#receive(message))
    worker.on('error', (thrown) => this.#fail(thrown))
    worker.on('exit', (code) => this.#exited(code))
    // Only while something is under way does the thread keep the process alive.
    worker.unref()
  }

  /**
   * @param bytes About how large the operation is.
   * @param committed Runs when the operation is durable, in the order of operations, before the promise's own callbacks.
   * @throws What the writer refused with; STOPPING after `close`.
   */
  submit<Operation extends WriteOperation>(
    operation: Operation,
    bytes = 0,
    committed?: (value: WriteValues[Operation['kind']]) => void,
  ): Promise<WriteValues[Operation['kind']]> {
    if (this.#state.kind !== 'open') return Promise.reject(this.#refusal())
    return new Promise((resolve, reject) => {
      const done = (value: WriteValues[Operation['kind']]): void => {
        committed?.(value)
        resolve(value)
      }
      this.#waiting.push({ operation, bytes, done, failed: reject })
      if (this.#scheduled || this.#underWay.length > 0) return
      this.#scheduled = true
      // Callers that are about to submit in this same turn still join the group.
      queueMicrotask(() => {
        this.#scheduled = false
        this.#send()
      })
    })
  }

  /** Finishes what was submitted, closes the database and ends the thread. */
  async close(): Promise<void> {
    if (this.#state.kind === 'open') {
      this.#state = { kind: 'closing' }
      if (this.#waiting.length > 0 || this.#underWay.length > 0) {
        await new Promise<void>((resolve) => {
          this.#onIdle = resolve
        })
      }
      // It may have failed meanwhile.
      if ((this.#state as PipeState).kind === 'closing') {
        this.#worker.ref()
        this.#post({ kind: 'close' })
      }
    }
    await this.#closed.promise
  }

  #send(): void {
    if (this.#underWay.length > 0 || this.#waiting.length === 0) return
    let count = 0
    let bytes = 0
    while (count < this.#waiting.length && count < GROUP_OPERATIONS_MAX && bytes < GROUP_BYTES_MAX) bytes += this.#waiting[count++]!.bytes
    this.#underWay = this.#waiting.slice(0, count)
    this.#waiting = count === this.#waiting.length ? [] : this.#waiting.slice(count)
    this.#worker.ref()
    this.#post({ kind: 'commit', operations: this.#underWay.map((waiting) => waiting.operation) })
  }

  #receive(message: FromWriter): void {
    if (message.kind !== 'committed') return
    const done = this.#underWay
    this.#underWay = []
    for (const [index, result] of message.results.entries()) {
      const waiting = done[index]!
      if (result.kind === 'done') waiting.done(result.value as never)
      else waiting.failed(PlatformError.fromBody(result.error))
    }
    if (this.#waiting.length === 0) {
      this.#worker.unref()
      this.#onIdle?.()
    } else if (!this.#scheduled) this.#send()
  }

  #post(message: ToWriter): void {
    this.#worker.postMessage(message)
  }

  #exited(code: number): void {
    if (this.#state.kind === 'open' || this.#underWay.length > 0) this.#fail(new Error(`the writer thread ended with code ${code}`))
    this.#closed.resolve()
  }

  #fail(thrown: unknown): void {
    if (this.#state.kind === 'failed') return
    const error = writerDied(this.#path, thrown)
    this.#state = { kind: 'failed', error }
    const lost = [...this.#underWay, ...this.#waiting]
    this.#underWay = []
    this.#waiting = []
    for (const waiting of lost) waiting.failed(error)
    this.#onIdle?.()
  }

  #refusal(): PlatformError {
    if (this.#state.kind === 'failed') return this.#state.error
    return new PlatformError('STOPPING', `The store ${this.#path} is closed. Start the platform again to write to it.`)
  }
}

/** Takes only its own listeners away again: the worker has some of its own. */
function firstMessage(worker: Worker): Promise<FromWriter> {
  const { promise, resolve, reject } = Promise.withResolvers<FromWriter>()
  const exited = (code: number): void => reject(new Error(`the writer thread ended with code ${code} while it started`))
  worker.once('message', resolve)
  worker.once('error', reject)
  worker.once('exit', exited)
  return promise.finally(() => {
    worker.off('message', resolve)
    worker.off('error', reject)
    worker.off('exit', exited)
  })
}

function writerDied(path: string, thrown: unknown): PlatformError {
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return new PlatformError('STORE_FAILED', `The writer of ${path} has stopped: ${text}. Restart the platform; what was acknowledged is safe.`, {
    cause: thrown,
  })
}

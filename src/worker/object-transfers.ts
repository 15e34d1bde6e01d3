/**
 * What the code of this worker's instances puts and gets, between the calls on their channels and the objects (transfer/README.md).
 *
 * A call is answered as the table there says; what breaks off, because the code lets go, its instance dies, or the bytes do not come,
 * gives the retrieval back, and leaves no object behind.
 */
import { readSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import { INLINE_BYTES_MAX } from '#contract/frames.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { Retrieval } from '#transfer/retrieval.ts'
import type { Producer, PutTerms, Transfers } from '#transfer/transfers.ts'
import { sendStream } from './answer-stream.ts'
import type { ObjectGet, ObjectPut, ObjectTransfer } from './queue-proxy-owner.ts'

const JSON_HEADERS = ['content-type', 'application/json']

/** Objects in buckets: `name` is `s3://<bucket>/<key>`. */
export interface BucketObjects {
  /** Before bytes are collected for it. @throws INPUT_INVALID, ENTITY_NOT_FOUND. */
  check(namespace: string, name: string): void
  /** @throws INPUT_INVALID, ENTITY_NOT_FOUND, STORAGE_EXCEEDED, STORE_FULL, STORE_FAILED; what the source throws. */
  put(namespace: string, name: string, source: AsyncIterable<Uint8Array>, bytes: number): Promise<void>
  /** @throws INPUT_INVALID, ENTITY_NOT_FOUND. */
  get(namespace: string, name: string): Promise<{ readonly bytes: number; readonly stream: Readable }>
}

/** Who wants to know of objects beyond keeping them: to make lost ones again. */
export interface ObjectWatch {
  /** Before an object of this invocation is kept; undefined when there is nothing to wait for. */
  before(invocation: Invocation): Promise<void> | undefined
  made(invocation: Invocation, ordinal: number, reference: string): void
}

export class ObjectTransfers {
  readonly #transfers: Transfers | undefined
  readonly #watch: ObjectWatch | undefined
  readonly #buckets: BucketObjects | undefined

  /** @param transfers Absent where nobody keeps objects: putting and getting then fails. */
  constructor(transfers: Transfers | undefined, watch?: ObjectWatch, buckets?: BucketObjects) {
    this.#transfers = transfers
    this.#watch = watch
    this.#buckets = buckets
  }

  /** Memory that travels by value, as a body. @throws OBJECT_QUOTA_EXCEEDED; the descriptor is then still the caller's. */
  hold(invocation: Invocation, fd: number, bytes: number): HeldBody {
    return this.#transfers === undefined ? new HeldBody(fd, bytes) : this.#transfers.hold(producerOf(invocation), fd, bytes)
  }

  begin(transfer: ObjectTransfer): void {
    const { what } = transfer
    try {
      if (what.kind === 'put') {
        const { k } = what.terms
        if (k !== undefined) return carry(transfer, (signal) => this.#store(transfer, what, k, signal))
        this.#beginPut(transfer, what)
      } else if (what.reference.startsWith('s3://')) carry(transfer, (signal) => this.#load(transfer, what.reference, signal))
      else if (what.asStream || !this.#getNow(transfer, what.reference)) carry(transfer, (signal) => this.#get(transfer, what, signal))
    } catch (thrown) {
      transfer.sink.fail(PlatformError.from(thrown))
    }
  }

  ended(instance: string): void {
    this.#transfers?.instanceEnded(instance)
  }

  /** Few bytes for which there is room are an object at once. */
  #beginPut(transfer: ObjectTransfer, { body, terms }: ObjectPut): void {
    const { parent } = transfer
    const all = { ...terms, ordinal: parent.moved().objectsPut++ }
    if (body instanceof HeldBody && this.#transfers === undefined) body.release()
    const transfers = this.#required()
    const before = this.#watch?.before(parent)
    const reference = before === undefined && body instanceof Uint8Array ? transfers.putNow(producerOf(parent), body, all) : undefined
    if (reference === undefined) return carry(transfer, (signal) => this.#put(transfer, body, all, before, signal))
    parent.moved().bytesPut += (body as Buffer).length
    this.#made(transfer, all.ordinal, reference)
  }

  async #put(transfer: ObjectTransfer, body: ObjectPut['body'], all: PutTerms, before: Promise<void> | undefined, signal: AbortSignal): Promise<void> {
    const { parent } = transfer
    const transfers = this.#required()
    if (before !== undefined) await before.catch((thrown: unknown) => {
      if (body instanceof HeldBody) body.release()
      throw thrown
    })
    const reference =
      body instanceof HeldBody
        ? await transfers.put(producerOf(parent), body, all, { signal })
        : await transfers.putStream(producerOf(parent), body instanceof Uint8Array ? only(parent, body) : counted(parent, body), all, { signal })
    if (body instanceof HeldBody) parent.moved().bytesPut += body.bytes
    this.#made(transfer, all.ordinal, reference)
  }

  #made({ parent, sink }: ObjectTransfer, ordinal: number, reference: string): void {
    this.#watch?.made(parent, ordinal, reference)
    sink.head(201, JSON_HEADERS, referenceAnswer(reference), true)
  }

  /** Few bytes that are here need nobody to be waited for, and nothing to be given back. @returns Whether that was all. */
  #getNow({ parent, sink }: ObjectTransfer, reference: string): boolean {
    const bytes = this.#required().getNow(parent.revision.namespace, reference)
    if (bytes === undefined) return false
    parent.moved().bytesGot += bytes.length
    sink.head(200, bytesHeaders(bytes.length), bytes, true)
    return true
  }

  async #get(transfer: ObjectTransfer, { reference, asStream, takesMemory }: ObjectGet, signal: AbortSignal): Promise<void> {
    const retrieval = await this.#required().get(transfer.parent.revision.namespace, reference, { asStream, signal })
    // The code let go while the object was being looked for.
    if (signal.aborted) {
      retrieval.failed()
      throw signal.reason
    }
    const settled = (complete: boolean): void => {
      if (!complete) return retrieval.failed()
      transfer.parent.moved().bytesGot += retrieval.bytes
      retrieval.done()
    }
    answer(transfer, retrieval, takesMemory && !asStream, settled)
  }

  async #store(transfer: ObjectTransfer, { body, terms }: ObjectPut, name: string, signal: AbortSignal): Promise<void> {
    const { parent, sink } = transfer
    parent.moved().objectsPut++
    try {
      if (terms.n !== undefined || terms.t !== undefined) throw new PlatformError('INPUT_INVALID', 'An object in a bucket stays until it is deleted: put it without retrievals and ttlMs.')
      if (this.#buckets === undefined) throw new PlatformError('INTERNAL', 'This worker knows no buckets.')
      this.#buckets.check(parent.revision.namespace, name)
      if (body instanceof Uint8Array) await this.#buckets.put(parent.revision.namespace, name, only(parent, body), body.length)
      else if (body instanceof HeldBody) await this.#storeStream(parent, name, body.retain().stream(), body.bytes)
      else await this.#storeCollected(parent, name, body, signal)
      if (body instanceof HeldBody) parent.moved().bytesPut += body.bytes
    } finally {
      if (body instanceof HeldBody) body.release()
      else if (!(body instanceof Uint8Array)) body.destroy()
    }
    sink.head(201, JSON_HEADERS, referenceAnswer(name), true)
  }

  /** A bucket has to know the length of what it takes: what comes as a stream is an object first. */
  async #storeCollected(parent: Invocation, name: string, body: Readable, signal: AbortSignal): Promise<void> {
    const transfers = this.#required()
    const collected = await transfers.putStream(producerOf(parent), counted(parent, body), { n: 1, ordinal: 0 }, { signal })
    const retrieval = await transfers.get(parent.revision.namespace, collected, { asStream: true, signal })
    try {
      await this.#storeStream(parent, name, retrieval.body, retrieval.bytes)
    } finally {
      // Stored or not, nobody else will ask for it.
      retrieval.done()
    }
  }

  /** The bucket may refuse before it reads: then, too, the stream lets go of what it reads from. */
  async #storeStream({ revision }: Invocation, name: string, source: Readable, bytes: number): Promise<void> {
    try {
      await this.#buckets!.put(revision.namespace, name, source, bytes)
    } finally {
      source.destroy()
    }
  }

  async #load(transfer: ObjectTransfer, name: string, signal: AbortSignal): Promise<void> {
    const { parent, sink } = transfer
    if (this.#buckets === undefined) throw new PlatformError('INTERNAL', 'This worker knows no buckets.')
    const { bytes, stream } = await this.#buckets.get(parent.revision.namespace, name)
    if (signal.aborted) {
      stream.destroy()
      throw signal.reason
    }
    transfer.onCancel = () => void stream.destroy()
    sink.head(200, bytesHeaders(bytes), undefined, false)
    sendStream(stream, sink, (complete) => void (complete && (parent.moved().bytesGot += bytes)))
  }

  #required(): Transfers {
    if (this.#transfers === undefined) throw new PlatformError('INTERNAL', 'This worker keeps no objects: it was started without a place for them.')
    return this.#transfers
  }
}

function answer(transfer: ObjectTransfer, retrieval: Retrieval, asMemory: boolean, settled: (complete: boolean) => void): void {
  const { sink } = transfer
  const { bytes } = retrieval
  const headers = bytesHeaders(bytes)
  if (bytes <= INLINE_BYTES_MAX && retrieval.as === 'body' && retrieval.place === 'memory') {
    const content = Buffer.allocUnsafeSlow(bytes)
    readSync(retrieval.body.fd, content, 0, bytes, 0)
    sink.head(200, headers, content, true)
    return settled(true)
  }
  if (asMemory && retrieval.as === 'body' && retrieval.place === 'memory') {
    sink.head(200, headers, retrieval.body.retain(), true)
    return settled(true)
  }
  const source = retrieval.as === 'body' ? retrieval.body.retain().stream() : retrieval.body
  transfer.onCancel = () => void source.destroy()
  sink.head(200, headers, undefined, false)
  sendStream(source, sink, settled)
}

/** What cannot be done at once. */
function carry(transfer: ObjectTransfer, work: (signal: AbortSignal) => Promise<void>): void {
  const abort = new AbortController()
  transfer.onCancel = (reason) => abort.abort(reason)
  work(abort.signal).catch((thrown: unknown) => transfer.sink.fail(PlatformError.from(thrown)))
}

function bytesHeaders(bytes: number): readonly string[] {
  return ['content-type', 'application/octet-stream', 'content-length', String(bytes)]
}

function referenceAnswer(reference: string): Buffer {
  return Buffer.from(JSON.stringify({ reference }))
}

function producerOf({ id, instance, revision }: Invocation): Producer {
  return { namespace: revision.namespace, function: revision.function, revision: revision.number, instance, invocation: id, memoryMb: revision.config.memoryMb }
}

async function* only(parent: Invocation, bytes: Buffer): AsyncGenerator<Buffer> {
  parent.moved().bytesPut += bytes.length
  if (bytes.length > 0) yield bytes
}

async function* counted(parent: Invocation, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    parent.moved().bytesPut += chunk.length
    yield chunk
  }
}

/**
 * The frame of a workload's function: reads the message, gives the function a {@link Task} that measures what it does, and answers with a message.
 *
 * People call the first function of a workload with JSON; functions call each other with messages. The answer is in the form of the question.
 */
import { fetchFunction } from 'skep'
import { decodeMessage, encodeMessage } from './message.ts'
import type { Handle, Message } from './message.ts'
import { storageNamed } from './storage.ts'
import type { StorageName } from './storage.ts'
import { nowMs } from './trace.ts'
import type { Span, SpanKind } from './trace.ts'
import { isTransportName, transportNamed, transportNames } from './transport.ts'
import type { Transport, TransportName } from './transport.ts'

/** What is wrong with the input, for whoever sent it. */
export class InputError extends Error {}

/** @throws InputError that names the first that is none. */
export function checkWholeNumbers(fields: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(fields)) if (!Number.isInteger(value) || value < 1) throw new InputError(`${name} is ${value}, and must be a whole number from 1.`)
}

export interface Answer {
  readonly fields: object
  readonly objects?: readonly Handle[]
}

/** What a called function's answer has besides its own fields. */
interface Reply {
  readonly fields: object
  readonly span: Span
}

export class Task<Fields> {
  readonly name: string
  readonly fields: Fields
  readonly objects: readonly Handle[]
  readonly transportName: TransportName
  readonly #transport: Transport
  readonly #startMs = nowMs()
  readonly #spans: Span[] = []

  constructor(name: string, { fields, objects }: Message<Fields>) {
    const { transport = 'xdt' } = fields as { transport?: unknown }
    if (!isTransportName(transport)) throw new InputError(`transport is ${JSON.stringify(transport)}, and must be one of ${transportNames.join(', ')}.`)
    this.name = name
    this.fields = fields
    this.objects = objects
    this.transportName = transport
    this.#transport = transportNamed(transport)
  }

  allocate(bytes: number): Buffer {
    return this.#transport.allocate(bytes)
  }

  put(object: Uint8Array, retrievals = 1): Promise<Handle> {
    return this.#measure('put', () => this.#transport.put(object, retrievals), (handle) => ({ bytes: object.length, ...(typeof handle === 'string' && { key: handle }) }))
  }

  get(handle: Handle): Promise<Uint8Array> {
    return this.#measure('get', () => this.#transport.get(handle), (object) => ({ bytes: object.length }))
  }

  /** An input of the workload, which is in a storage whatever the transport is. */
  read(storage: StorageName, key: string): Promise<Uint8Array> {
    return this.#measure('read', () => storageNamed(storage).get(key), (object) => ({ bytes: object.length }))
  }

  /** A result of the workload, likewise. */
  write(storage: StorageName, key: string, object: Uint8Array): Promise<void> {
    return this.#measure('write', () => storageNamed(storage).put(key, object), () => ({ bytes: object.length }))
  }

  /** Calls a function of the workload, by the same transport. */
  async call<Result>(name: string, fields: object, objects: readonly Handle[] = []): Promise<{ readonly fields: Result; readonly objects: readonly Handle[] }> {
    const startMs = nowMs()
    const body = encodeMessage({ fields: { ...fields, transport: this.transportName }, objects })
    const response = await fetchFunction(name, '/', { method: 'POST', body, headers: { 'content-type': MESSAGE_TYPE } })
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (!response.ok) throw new Error(`${name} answered ${response.status}: ${Buffer.from(bytes.subarray(0, 500)).toString()}`)
    const answer = decodeMessage<Reply>(bytes)
    this.#spans.push({ kind: 'invoke', name, startMs, endMs: nowMs(), spans: [answer.fields.span] })
    return { fields: answer.fields.fields as Result, objects: answer.objects }
  }

  /** What has been measured until now. */
  span(): Span {
    return { kind: 'function', name: this.name, startMs: this.#startMs, endMs: nowMs(), spans: this.#spans }
  }

  async #measure<Result>(kind: SpanKind, work: () => Promise<Result>, about: (result: Result) => { bytes: number; key?: string }): Promise<Result> {
    const startMs = nowMs()
    const result = await work()
    this.#spans.push({ kind, name: this.name, startMs, endMs: nowMs(), spans: [], ...about(result) })
    return result
  }
}

const MESSAGE_TYPE = 'application/x-skep-message'

export function serve<Fields>(name: string, run: (task: Task<Fields>) => Promise<Answer>): { fetch(request: Request): Promise<Response> } {
  return {
    async fetch(request) {
      const isMessage = request.headers.get('content-type') === MESSAGE_TYPE
      try {
        const bytes = new Uint8Array(await request.arrayBuffer())
        const task = new Task<Fields>(name, isMessage ? decodeMessage<Fields>(bytes) : { fields: parse(bytes) as Fields, objects: [] })
        const { fields, objects = [] } = await run(task)
        if (!isMessage) return Response.json(fields)
        return new Response(encodeMessage({ fields: { fields, span: task.span() } satisfies Reply, objects }), { headers: { 'content-type': MESSAGE_TYPE } })
      } catch (error) {
        if (!(error instanceof InputError)) throw error
        return Response.json({ error: { code: 'INPUT_INVALID', message: error.message } }, { status: 400 })
      }
    },
  }
}

function parse(bytes: Uint8Array): object {
  try {
    const value: unknown = bytes.length === 0 ? {} : JSON.parse(Buffer.from(bytes).toString())
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {}
  throw new InputError('The body must be a JSON object, like {"transport": "xdt"}.')
}

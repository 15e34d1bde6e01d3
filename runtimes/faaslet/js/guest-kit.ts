/**
 * For tests: JavaScript guests without a host process. A faaslet boots in a plain instance of quickjs.wasm, its memory is copied as a
 * snapshot, and every restored one begins with that copy. Frames go to and come from a channel in memory.
 */
import { type LogLevelName, FrameFlag, FrameType, type AnswerHead, type InitFrame, type OpenHead } from '../../../src/contract/frames.ts'
import { PlatformError, type PlatformErrorBody } from '../../../src/contract/errors.ts'
import { Call } from '../../node/calls.ts'
import type { Channel } from '../../node/channel.ts'
import type { Host } from '../../node/host.ts'
import { Invocation, type InvocationOwner } from '../../node/invocation.ts'
import { makeEntries } from '../enter.ts'
import type { Faaslet, GuestModule } from '../guest.ts'
import { rolldown, type Plugin } from 'rolldown'
import { guestBundleOptions } from './check-bundle.ts'
import { quickJsBytes } from './engine.ts'
import { JavaScriptGuest, type JavaScriptGuestOptions } from './guest.ts'
import { makePrelude } from './make-prelude.ts'
import type { Prelude } from './prelude-file.ts'

/** Errors count by their class: words are each engine's own. */
const outcomeSource = 'async (run) => { try { return { value: (await run()) ?? null } } catch (error) { return { error: error?.name ?? typeof error } } }'

let shared: Promise<{ readonly prelude: Prelude; readonly wasm: WebAssembly.Module }> | undefined

export interface KitOptions {
  readonly source: string
  readonly sourceMap?: string
  readonly frame?: Partial<InitFrame>
  readonly fetch?: typeof fetch
  /** Answers calls of other functions. */
  readonly call?: (head: OpenHead, body: Buffer) => { readonly status?: number; readonly headers?: readonly string[]; readonly body?: string } | PlatformErrorBody | 'never'
}

export interface KitAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  readonly text: string
}

/** A fixture as deploying it would bundle it, with the names that kind js lacks written otherwise. */
export async function bundleFixture(path: string): Promise<string> {
  const { platform, resolve, external } = guestBundleOptions
  const instead: Plugin = {
    name: 'instead',
    transform: (code) => code.replaceAll("Buffer.from('", "new TextEncoder().encode('").replaceAll('Buffer.from([', 'Uint8Array.from(['),
  }
  const bundle = await rolldown({ input: path, platform, resolve, external, plugins: [instead], logLevel: 'silent' })
  const { output } = await bundle.generate({ format: 'esm', codeSplitting: false })
  await bundle.close()
  return output[0].code
}

export interface LogEntry {
  readonly stream: number
  readonly level: LogLevelName
  readonly text: string
}

/** What one stream has received. */
class Received {
  readonly answer: Promise<KitAnswer>
  readonly chunks: Buffer[] = []
  head: AnswerHead | undefined
  #settle!: { readonly resolve: (answer: KitAnswer) => void; readonly reject: (error: Error) => void }

  constructor() {
    this.answer = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    this.answer.catch(() => {})
  }

  end(): void {
    const { s: status, h: rawHeaders } = this.head!
    const body = Buffer.concat(this.chunks)
    const headers: Record<string, string> = {}
    for (let at = 0; at < rawHeaders.length; at += 2) headers[rawHeaders[at]!] = rawHeaders[at + 1]!
    this.#settle.resolve({ status, headers, rawHeaders, body, text: body.toString() })
  }

  fail(error: Error): void {
    this.#settle.reject(error)
  }
}

export class GuestKit {
  readonly guest: JavaScriptGuest
  readonly logs: LogEntry[] = []
  readonly callsMade: OpenHead[] = []
  readonly received = new Map<number, Received>()
  snapshot!: { readonly memory: Uint8Array; readonly stackPointer: number }
  givesCredit = true
  readonly #invocations = new Map<number, Invocation>()
  readonly #pending = new Map<number, { readonly head: OpenHead; readonly parts: Buffer[] }>()
  readonly #wasm: WebAssembly.Module
  readonly #entries = makeEntries()
  readonly #owner: InvocationOwner
  #nextStream = 2

  constructor(options: KitOptions, prelude: Prelude, wasm: WebAssembly.Module) {
    this.#wasm = wasm
    const calls = new Map<number, Call>()
    const channel = {
      send: (type: number, flags: number, stream: number, payload: Uint8Array | string = '') => this.#take(type, flags, stream, Buffer.from(payload as string), options, calls),
      sendHead: (type: number, flags: number, stream: number, head: string, body: Uint8Array | string | undefined) => this.#takeHead(type, flags, stream, head, body === undefined ? Buffer.alloc(0) : Buffer.from(body as string), options, calls),
    } as unknown as Channel
    this.#owner = { channel, usageOf: () => ({ cpuUs: 1, peakKb: 1 }), beforeEnd: () => {}, afterEnd: () => {} }
    const host = { channel, calls } as unknown as Host
    const frame: InitFrame = { namespace: 'guest', function: 'fn', revision: 3, instance: 'i-1', entry: 'index.js', environment: {}, concurrency: 1, memoryMb: 64, ...options.frame }
    const guestOptions: JavaScriptGuestOptions = {
      module: { boot: wasm, restore: wasm } as GuestModule,
      prelude,
      source: options.source,
      sourceMap: options.sourceMap,
      frame,
      running: this.#entries.running,
      enter: this.#entries.enter,
      open: (call) => new Call(host, call),
      log: (stream, level, text) => this.logs.push({ stream, level, text }),
      fetch: options.fetch,
    }
    this.guest = new JavaScriptGuest(guestOptions)
  }

  /** Boots the code. @throws PlatformError as deploying it would. */
  static async boot(options: KitOptions | string): Promise<GuestKit> {
    shared ??= Promise.all([makePrelude(), WebAssembly.compile(quickJsBytes() as BufferSource)]).then(([prelude, wasm]) => ({ prelude, wasm }))
    const { prelude, wasm } = await shared
    const kit = new GuestKit(typeof options === 'string' ? { source: options } : options, prelude, wasm)
    const faaslet = kit.#instance()
    await new Promise<void>((resolve, reject) => setImmediate(() => kit.guest.boot(faaslet).then(resolve, reject)))
    kit.snapshot = { memory: new Uint8Array(faaslet.memory.buffer.slice(0)), stackPointer: (faaslet.exports['__stack_pointer'] as WebAssembly.Global).value as number }
    return kit
  }

  /** A faaslet with the memory of the snapshot. */
  restore(): Faaslet {
    const faaslet = this.#instance()
    const { memory, stackPointer } = this.snapshot
    const missing = memory.length - faaslet.memory.buffer.byteLength
    if (missing > 0) faaslet.memory.grow(missing / 65_536)
    new Uint8Array(faaslet.memory.buffer).set(memory)
    ;(faaslet.exports['__stack_pointer'] as WebAssembly.Global).value = stackPointer
    return faaslet
  }

  begin(head: OpenHead, body?: Uint8Array | string, bodyFollows = false): { readonly invocation: Invocation; readonly received: Received } {
    const stream = this.#nextStream
    this.#nextStream += 2
    const bytes = body === undefined ? undefined : Buffer.from(body as string)
    const invocation = new Invocation(this.#owner, stream, head, bytes?.length === 0 ? undefined : bytes, !bodyFollows)
    const received = new Received()
    this.received.set(stream, received)
    this.#invocations.set(stream, invocation)
    return { invocation, received }
  }

  /** As a host does it: not from a microtask. */
  run(faaslet: Faaslet, invocation: Invocation): Promise<void> {
    faaslet.invocation = invocation
    return new Promise((resolve, reject) => setImmediate(() => this.guest.invoke(faaslet, invocation).then(resolve, reject)))
  }

  async http(method: string, path: string, { headers = [], body, faaslet = this.restore() }: { readonly headers?: readonly string[]; readonly body?: string | Uint8Array; readonly faaslet?: Faaslet } = {}): Promise<KitAnswer> {
    return this.#invoke({ k: 'http', i: 'inv-1', m: method, u: path, h: ['host', 'test.local', ...headers] }, body, faaslet)
  }

  async event(payload?: unknown, faaslet = this.restore()): Promise<KitAnswer> {
    return this.#invoke({ k: 'event', i: 'inv-1' }, payload === undefined ? undefined : JSON.stringify(payload), faaslet)
  }

  /** What every one of these expressions gives (or throws) inside a restored guest. Values must be JSON. */
  static async evaluate(expressions: readonly string[], frame: Partial<InitFrame> = {}): Promise<unknown[]> {
    const kit = await GuestKit.boot({ source: `const outcome = ${outcomeSource}\nconst all = [${expressions.map((text) => `async () => (${text})`).join(',\n')}]\nexport default { fetch: async () => Response.json(await Promise.all(all.map(outcome))) }`, frame })
    return JSON.parse((await kit.http('GET', '/')).text) as unknown[]
  }

  /** The same in this process. */
  static async evaluateHere(expressions: readonly string[]): Promise<unknown[]> {
    const outcome = new Function(`return ${outcomeSource}`)() as (run: () => unknown) => Promise<unknown>
    const all = new Function(`return [${expressions.map((text) => `async () => (${text})`).join(',\n')}]`)() as (() => unknown)[]
    return JSON.parse(JSON.stringify(await Promise.all(all.map(outcome)))) as unknown[]
  }

  async #invoke(head: OpenHead, body: string | Uint8Array | undefined, faaslet: Faaslet): Promise<KitAnswer> {
    const { invocation, received } = this.begin(head, body)
    this.run(faaslet, invocation).catch((error: unknown) => {
      invocation.fail(PlatformError.from(error))
      received.fail(PlatformError.from(error))
    })
    return received.answer
  }

  #instance(): Faaslet {
    // Imports look at what runs: instantiating runs nothing of ours.
    const instance = new WebAssembly.Instance(this.#wasm, this.guest.imports)
    return { memory: instance.exports['memory'] as WebAssembly.Memory, exports: instance.exports, invocation: undefined, state: undefined }
  }

  #take(type: number, flags: number, stream: number, payload: Buffer, options: KitOptions, calls: Map<number, Call>): void {
    const received = this.received.get(stream)
    if (type === FrameType.data && received !== undefined) {
      received.chunks.push(payload)
      if ((flags & FrameFlag.end) !== 0) received.end()
      else if (this.givesCredit) this.#invocations.get(stream)?.addCredit(payload.length)
    } else if (type === FrameType.reset && received !== undefined) {
      received.fail(payload.length === 0 ? new Error('confirmed') : PlatformError.fromBody(JSON.parse(payload.toString()) as PlatformErrorBody))
    } else if (type === FrameType.data && stream % 2 === 1) {
      const call = this.#pending.get(stream)
      if (call === undefined) return
      call.parts.push(payload)
      if ((flags & FrameFlag.end) !== 0) this.#reply(stream, call.head, Buffer.concat(call.parts), options, calls)
      else calls.get(stream)?.addCredit(payload.length)
    }
  }

  #takeHead(type: number, flags: number, stream: number, head: string, body: Buffer, options: KitOptions, calls: Map<number, Call>): void {
    if (type === FrameType.open) {
      const open = JSON.parse(head) as OpenHead
      this.callsMade.push(open)
      if ((flags & FrameFlag.end) !== 0) this.#reply(stream, open, body, options, calls)
      else this.#pending.set(stream, { head: open, parts: [body] })
      return
    }
    const received = this.received.get(stream)!
    received.head = JSON.parse(head) as AnswerHead
    received.chunks.push(body)
    if ((flags & FrameFlag.end) !== 0) received.end()
  }

  #reply(stream: number, head: OpenHead, body: Buffer, options: KitOptions, calls: Map<number, Call>): void {
    this.#pending.delete(stream)
    const reply = options.call?.(head, body) ?? {}
    if (reply === 'never') return
    setImmediate(() => {
      const call = calls.get(stream)
      if ('code' in reply) call?.fail(PlatformError.fromBody(reply))
      else call?.begin({ s: reply.status ?? 200, h: reply.headers ?? ['content-type', 'application/json'] }, Buffer.from(reply.body ?? 'null'), true)
    })
  }
}

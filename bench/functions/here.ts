/**
 * Runs a benchmark function in this process: the real guest and the real frames' answers, without a host process or a platform.
 *
 * For the tests, for measuring working sets, and for inputs.ts, which lets a C module draw. A function is booted once; then every
 * invocation restores a faaslet from the captured memory, either by copying it or by the pager, which says what was touched.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { FrameFlag, FrameType, type AnswerHead, type InitFrame } from '../../src/contract/frames.ts'
import { PlatformError, type PlatformErrorBody } from '../../src/contract/errors.ts'
import { boot, capture, restore, type Capture } from '../../runtimes/faaslet/faaslets.ts'
import type { Enter, Guest, Running } from '../../runtimes/faaslet/guest.ts'
import { guestBundleOptions } from '../../runtimes/faaslet/js/check-bundle.ts'
import { quickJsBytes } from '../../runtimes/faaslet/js/engine.ts'
import { JavaScriptGuest } from '../../runtimes/faaslet/js/guest.ts'
import { makePrelude } from '../../runtimes/faaslet/js/make-prelude.ts'
import { givenFiles } from '../../runtimes/faaslet/wasi/app-files.ts'
import { makeWasiGuest } from '../../runtimes/faaslet/wasi/guest.ts'
import { rewriteModule } from '../../runtimes/faaslet/wasm/rewrite.ts'
import type { Channel } from '../../runtimes/node/channel.ts'
import { Invocation } from '../../runtimes/node/invocation.ts'

export interface FunctionHere {
  readonly kind: 'js' | 'wasm'
  /** Path of the module, or of the TypeScript to bundle. */
  readonly path: string
  readonly memoryMb: number
}

const WASM_PAGE_BYTES = 65_536

/** One booted function. */
export class Here {
  readonly bootMs: number
  readonly #guest: Guest
  readonly #captured: Extract<Capture, { kind: 'snapshot' }>
  #nextStream = 2

  private constructor(guest: Guest, captured: Extract<Capture, { kind: 'snapshot' }>, bootMs: number) {
    this.#guest = guest
    this.#captured = captured
    this.bootMs = bootMs
  }

  /** @throws PlatformError as deploying it would. */
  static async boot(options: FunctionHere): Promise<Here> {
    const guest = await makeGuest(options)
    const startMs = performance.now()
    const booted = await outside(() => boot(guest))
    const bootMs = performance.now() - startMs
    const captured = capture(guest, booted)
    if (captured.kind === 'problem') throw new Error(`There is no snapshot of ${options.path}: ${captured.reason}`)
    return new Here(guest, captured, bootMs)
  }

  /** The memory after initialisation: what a snapshot is made of. */
  get image(): Uint8Array {
    return new Uint8Array(this.#captured.memory.buffer)
  }

  /** A memory as large as the image, that may grow as the function may. Zeroed. */
  newMemory(): WebAssembly.Memory {
    return new WebAssembly.Memory({ initial: this.image.length / WASM_PAGE_BYTES, maximum: this.#guest.module.memoryPagesMax ?? 65_536 })
  }

  /** Answers from a faaslet whose memory is a copy of the image. */
  invoke(input: Uint8Array): Promise<Buffer> {
    const memory = this.newMemory()
    new Uint8Array(memory.buffer).set(this.image)
    return this.invokeIn(memory, input)
  }

  /** The same with a memory that has been restored already. @throws PlatformError of the function's fault. */
  invokeIn(memory: WebAssembly.Memory, input: Uint8Array): Promise<Buffer> {
    const faaslet = restore(this.#guest, memory, this.#captured.state)
    const receiver = new Receiver()
    const stream = this.#nextStream
    this.#nextStream += 2
    const head = { k: 'http' as const, i: `here-${stream}`, m: 'POST', u: '/', h: ['host', 'here.local', 'content-type', 'application/octet-stream'] }
    const owner = { channel: receiver.channel, usageOf: () => ({ cpuUs: 0, peakKb: 0 }), beforeEnd: () => {}, afterEnd: () => {} }
    const invocation = new Invocation(owner, stream, head, Buffer.from(input.buffer, input.byteOffset, input.length), true)
    receiver.invocation = invocation
    faaslet.invocation = invocation
    outside(() => this.#guest.invoke(faaslet, invocation)).catch((error: unknown) => receiver.fail(error as Error))
    return receiver.answer
  }
}

/** What one invocation sends. */
class Receiver {
  readonly answer: Promise<Buffer>
  readonly channel: Channel
  invocation: Invocation | undefined
  readonly #chunks: Buffer[] = []
  #head: AnswerHead | undefined
  #settle!: { readonly resolve: (answer: Buffer) => void; readonly reject: (error: Error) => void }

  constructor() {
    this.answer = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    this.channel = {
      send: (type: number, flags: number, _stream: number, payload: Uint8Array | string = '') => this.#take(type, flags, Buffer.from(payload as string)),
      sendHead: (_type: number, flags: number, _stream: number, head: string, body: Uint8Array | string | undefined) => {
        this.#head = JSON.parse(head) as AnswerHead
        this.#take(FrameType.data, flags, Buffer.from((body ?? '') as string))
      },
    } as unknown as Channel
  }

  fail(error: Error): void {
    this.#settle.reject(error)
  }

  #take(type: number, flags: number, payload: Buffer): void {
    if (type === FrameType.reset) return this.fail(PlatformError.fromBody(JSON.parse(payload.toString()) as PlatformErrorBody))
    if (type !== FrameType.data) return
    this.#chunks.push(payload)
    if ((flags & FrameFlag.end) !== 0) this.#end()
    else this.invocation?.addCredit(payload.length)
  }

  #end(): void {
    const body = Buffer.concat(this.#chunks)
    if (this.#head!.s === 200) this.#settle.resolve(body)
    else this.fail(new Error(`status ${this.#head!.s}: ${body.toString()}`))
  }
}

async function makeGuest({ kind, path, memoryMb }: FunctionHere): Promise<Guest> {
  const common = plainEnter()
  const frame: InitFrame = { namespace: 'bench', function: 'here', revision: 1, instance: 'here', entry: kind === 'js' ? 'index.js' : 'main.wasm', environment: {}, concurrency: 1, memoryMb }
  if (kind === 'wasm') return makeWasiGuest({ ...common, bytes: readFileSync(path), frame, memoryBytesMax: memoryMb * 2 ** 20, files: givenFiles({}), log })
  const { module, prelude } = await javaScriptEngine()
  const noCalls = (): never => {
    throw new Error('Functions of this folder call no others.')
  }
  return new JavaScriptGuest({ ...common, module: { ...module, memoryPagesMax: memoryMb * 16 }, prelude, source: await bundleOf(path), frame, open: noCalls, log: (_stream, level, text) => log(level, text) })
}

/** Without the watchdog of hosts: nothing here has a deadline. */
function plainEnter(): { readonly running: Running; readonly enter: Enter } {
  const running: Running = { faaslet: undefined }
  const runMicrotasks = (process as unknown as { _tickCallback(): void })._tickCallback
  const enter: Enter = (faaslet, run) => {
    running.faaslet = faaslet
    try {
      const result = run()
      runMicrotasks()
      return result
    } finally {
      running.faaslet = undefined
    }
  }
  return { running, enter }
}

function log(level: string, text: string): void {
  console.error(`${level}: ${text}`)
}

/** What is deployed: one file, with what the function imports of kit/. */
export async function bundleOf(path: string): Promise<string> {
  const { platform, resolve, external } = guestBundleOptions
  const bundle = await rolldown({ input: path, platform, resolve, external, logLevel: 'silent' })
  const { output } = await bundle.generate({ format: 'esm', codeSplitting: false })
  await bundle.close()
  return output[0].code
}

async function compileEngine() {
  const { boot: bootBytes, restore: restoreBytes, ...facts } = rewriteModule(quickJsBytes(), { memoryPagesMax: WASM_PAGE_BYTES })
  const [prelude, bootModule, restoreModule] = await Promise.all([makePrelude(), WebAssembly.compile(bootBytes as BufferSource), WebAssembly.compile(restoreBytes as BufferSource)])
  return { module: { ...facts, boot: bootModule, restore: restoreModule }, prelude }
}

let engine: ReturnType<typeof compileEngine> | undefined
const javaScriptEngine = (): ReturnType<typeof compileEngine> => (engine ??= compileEngine())

/** Out of the microtask queue (Enter demands it). */
function outside<Value>(run: () => Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => setImmediate(() => void run().then(resolve, reject)))
}

/** A path in this folder. */
export function fileHere(name: string): string {
  return join(import.meta.dirname, name)
}

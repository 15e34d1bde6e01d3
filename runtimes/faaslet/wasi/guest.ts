/**
 * A WebAssembly function as a guest: any WASI preview 1 module, of command or reactor shape (wasm/check.ts).
 *
 * Invariants:
 *   WG1. A snapshot is taken with the descriptors as they were at the beginning and nothing in /tmp: these are not in
 *        memory. A function that leaves something there is booted for every faaslet (`snapshotProblem`).
 *   WG2. A command is not reusable: its libraries have been shut down when it ends. A reactor is, if its handler returned.
 */
import type { Invocation } from '../../node/invocation.ts'
import type { Enter, Faaslet, Guest, GuestModule, Running } from '../guest.ts'
import type { HostMemory } from '../passed-memory.ts'
import { checkModule, type ModuleShape } from '../wasm/check.ts'
import { invalid } from '../wasm/binary.ts'
import { PAGE_BYTES, rewriteModule, START_EXPORT } from '../wasm/rewrite.ts'
import { argumentsOf, environmentOf, type FunctionFrame } from './environment.ts'
import type { Directory } from './files.ts'
import type { LogEntry } from './guest-log.ts'
import { importsOf } from './imports.ts'
import type { OpenCall } from './results.ts'
import { Run, type RunHost } from './run.ts'

export interface WasiGuestOptions {
  /** The .wasm file. */
  readonly bytes: Uint8Array
  /** Its names, arguments and variables; `handler` names the export to call, when the user gave one. */
  readonly frame: FunctionFrame & { readonly handler?: string | undefined }
  /** The function's memory limit in bytes. */
  readonly memoryBytesMax: number
  /** The function's own files (app-files.ts). */
  readonly files: Directory
  readonly enter: Enter
  readonly running: Running
  readonly log: LogEntry
  /** Opens a call of another function. */
  readonly call?: OpenCall | undefined
  /** Given where bodies can be passed as memory. */
  readonly memory?: HostMemory | undefined
  /** Given when the function may use the network. */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/** Makes a guest: checks and rewrites the module, and compiles it. @throws PlatformError CODE_INVALID or HANDLER_NOT_FOUND */
export async function makeWasiGuest(options: WasiGuestOptions): Promise<WasiGuest> {
  const { bytes, frame, memoryBytesMax } = options
  const memoryPagesMax = Math.floor(memoryBytesMax / PAGE_BYTES)
  const report = checkModule(bytes, { memoryPagesMax, handler: frame.handler })
  if (report.errors.length > 0) throw report.errors[0]!
  const rewritten = rewriteModule(bytes, { memoryPagesMax })
  const host: RunHost = {
    enter: options.enter,
    log: options.log,
    call: options.call,
    memory: options.memory,
    fetch: options.fetch,
    frame,
    arguments: argumentsOf(frame),
    environment: environmentOf(frame),
    contentType: frame.environment['SKEP_CONTENT_TYPE'],
    files: options.files,
    memoryBytesMax,
    codeShift: rewritten.codeShift,
    waits: report.waits,
  }
  const shape: ModuleShape = rewritten.hasStart ? { ...report.shape!, boot: [START_EXPORT, ...report.shape!.boot] } : report.shape!
  const module = new LazyModule(rewritten, await compile(rewritten.restore))
  return new WasiGuest(module, importsOf(options.running), host, shape, rewritten.snapshotProblem)
}

export class WasiGuest implements Guest {
  readonly module: GuestModule
  readonly imports: WebAssembly.Imports
  readonly shape: ModuleShape
  readonly #host: RunHost
  readonly #snapshotProblem: string | undefined

  constructor(module: GuestModule, imports: WebAssembly.Imports, host: RunHost, shape: ModuleShape, snapshotProblem: string | undefined) {
    this.module = module
    this.imports = imports
    this.shape = shape
    this.#host = host
    this.#snapshotProblem = snapshotProblem
  }

  async boot(faaslet: Faaslet): Promise<void> {
    for (const [at, name] of this.shape.boot.entries()) {
      const begin = (): Promise<void> => {
        const run = new Run(this.#host, faaslet, undefined, faaslet.state as Run | undefined)
        faaslet.state = run
        return run.begin(name)
      }
      // Out of the microtask in which the one before has ended (guest.ts Enter).
      await (at === 0 ? begin() : new Promise<void>((resolve, reject) => setImmediate(() => begin().then(resolve, reject))))
    }
  }

  invoke(faaslet: Faaslet, invocation: Invocation): Promise<void> {
    faaslet.invocation = invocation
    const run = new Run(this.#host, faaslet, invocation, faaslet.state as Run | undefined)
    faaslet.state = run
    return run.begin(this.shape.entry)
  }

  snapshotProblem(faaslet: Faaslet): string | undefined {
    return this.#snapshotProblem ?? (faaslet.state as Run | undefined)?.fileChange
  }

  isReusable(faaslet: Faaslet): boolean {
    return this.shape.kind === 'reactor' && (faaslet.state as Run).hasReturned
  }
}

/** The boot module is compiled when it is asked for: a host that only restores never needs it. */
class LazyModule implements GuestModule {
  readonly restore: WebAssembly.Module
  readonly memoryPagesMin: number
  readonly memoryPagesMax: number
  readonly globals: readonly string[]
  readonly tables: readonly string[]
  #bytes: Uint8Array<ArrayBuffer> | undefined
  #boot: WebAssembly.Module | undefined

  constructor(rewritten: ReturnType<typeof rewriteModule>, restore: WebAssembly.Module) {
    this.restore = restore
    this.memoryPagesMin = rewritten.memoryPagesMin
    this.memoryPagesMax = rewritten.memoryPagesMax
    this.globals = rewritten.globals
    this.tables = rewritten.tables
    this.#bytes = rewritten.boot
  }

  get boot(): WebAssembly.Module {
    if (this.#boot === undefined) {
      this.#boot = new WebAssembly.Module(this.#bytes!)
      this.#bytes = undefined
    }
    return this.#boot
  }
}

async function compile(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes)
  } catch (error) {
    throw invalid(`V8 says: ${(error as Error).message.replace(/^WebAssembly\.compile\(\): /, '')}`)
  }
}

/**
 * Has V8's compiled form of a function's code made once, so that later cold starts load it instead of compiling.
 *
 * Some time after a revision's first instance is ready, its code is loaded once more, in a sandbox of its own that has
 * no variables, secrets or network, and what V8 compiled comes out as one message (contract/compile-cache.ts). It is kept
 * beside the unpacked code, and so every later cell gets it with the code (code-cache.ts).
 *
 * Whoever has the same code gets what any of them made; that is safe, because it is made of nothing but the code.
 *
 *   first start ─▶ waiting ─delay─▶ nobody queues? ─▶ one sandbox ─▶ files, or an empty directory: never again
 *
 * Invariants:
 *   U1. One at a time, and none begins while invocations wait for an instance.
 *   U2. The same code is tried once, whatever comes of it. Where the platform failed, a later process tries again.
 *   U3. Nothing of the sandbox's message is believed that decodeCompileCache has not checked.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { COMPILE_CACHE_BYTES_MAX, decodeCompileCache } from '#contract/compile-cache.ts'
import type { Revision } from '#contract/function-config.ts'
import { linkTree } from './code-cache.ts'
import type { CodeCache } from './code-cache.ts'
import type { Runtime } from './runtimes.ts'
import type { SandboxProvider } from './sandbox/sandbox.ts'

export interface CompileCachesOptions {
  readonly clock: Clock
  readonly code: Pick<CodeCache, 'claimCompileCache' | 'addCompileCache'>
  /** Loads the code and resolves with what came out, foreign bytes. @throws when the platform could not do it. */
  readonly make: (revision: Revision) => Promise<Buffer>
  /** Whether invocations wait for an instance now. */
  readonly isBusy: () => boolean
  readonly warn: (message: string, error: unknown) => void
}

/** After a start, and between two: the invocations that wanted the instance come first. */
const DELAY_MS = 500

export class CompileCaches {
  readonly #options: CompileCachesOptions
  readonly #waiting: Revision[] = []
  #timer: Timer | undefined
  #state: 'idle' | 'making' | 'closed' = 'idle'

  constructor(options: CompileCachesOptions) {
    this.#options = options
  }

  /** An instance of the revision has become ready. Cheap when there is nothing to do, as nearly always. */
  started(revision: Revision): void {
    if (revision.config.kind !== 'node' || this.#state === 'closed' || !this.#options.code.claimCompileCache(revision.code)) return
    this.#waiting.push(revision)
    this.#later()
  }

  close(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
    this.#waiting.length = 0
  }

  #later(): void {
    if (this.#timer !== undefined || this.#state !== 'idle' || this.#waiting.length === 0) return
    this.#timer = this.#options.clock.after(DELAY_MS, () => {
      this.#timer = undefined
      if (this.#options.isBusy()) return this.#later()
      void this.#make(this.#waiting.shift()!)
    })
  }

  async #make(revision: Revision): Promise<void> {
    this.#state = 'making'
    try {
      const message = await this.#options.make(revision)
      await this.#options.code.addCompileCache(revision.code, filesOf(message))
    } catch (error) {
      if (!this.#isClosed) this.#options.warn(`the code of ${revision.namespace}/${revision.function} could not be compiled ahead: its instances start more slowly`, error)
    }
    if (this.#isClosed) return
    this.#state = 'idle'
    this.#later()
  }

  /** Asked anew after waiting. */
  get #isClosed(): boolean {
    return this.#state === 'closed'
  }
}

/** What the message has; nothing when it is broken: the code can end its process, or write to the descriptor, as it likes. */
function filesOf(message: Buffer): ReadonlyMap<string, Buffer> {
  try {
    return decodeCompileCache(message)
  } catch {
    return new Map()
  }
}

export interface CompileRunOptions {
  readonly sandboxes: SandboxProvider
  /** Of kind node. */
  readonly runtime: Runtime
  readonly clock: Clock
  /** Names the sandbox. */
  readonly id: string
  /** The unpacked code; undefined when it was forgotten meanwhile. */
  readonly directory: () => string | undefined
  readonly revision: Revision
  readonly tmpBytesMax: number
}

/** Inside, in the private /tmp. */
const INSIDE = '/tmp/compiled'
/** Loading may use what the function may, and the compiler some of its own, MB. */
const MEMORY_MB_MIN = 256
const START_MS = 10_000

/**
 * Runs the code once in a sandbox. @returns what it sent, whatever that is; at most one byte more than a message may have.
 * @throws what starting a sandbox throws, and linking the code.
 */
export async function compileInSandbox(options: CompileRunOptions): Promise<Buffer> {
  const { runtime, revision, clock } = options
  const { config } = revision
  const sandbox = await options.sandboxes.start({
    id: options.id,
    command: [...runtime.command, '--make-compile-cache', config.entry, INSIDE],
    mounts: runtime.mounts,
    environment: runtime.environment,
    limits: { memoryMb: Math.max(MEMORY_MB_MIN, config.memoryMb), cpu: 1, pidsMax: 64 },
    network: 'none',
    tmpBytesMax: options.tmpBytesMax,
  })
  const timer = clock.after(START_MS + config.initTimeoutMs, () => void sandbox.destroy('its code was not compiled in time'))
  try {
    // Nobody is interested, and a full pipe would stop the program.
    sandbox.stdout.resume()
    sandbox.stderr.resume()
    const directory = options.directory()
    if (directory === undefined) return Buffer.alloc(0)
    linkTree(directory, sandbox.codeDirectory)
    const received = Promise.withResolvers<void>()
    const chunks: Buffer[] = []
    let bytes = 0
    sandbox.channel.on('data', (chunk: Buffer) => {
      if (bytes > COMPILE_CACHE_BYTES_MAX) return
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > COMPILE_CACHE_BYTES_MAX) received.resolve()
    })
    for (const event of ['end', 'close']) sandbox.channel.once(event, () => received.resolve())
    sandbox.channel.write(Buffer.of(1))
    await received.promise
    return Buffer.concat(chunks)
  } finally {
    timer.cancel()
    await sandbox.destroy('its code is compiled')
  }
}

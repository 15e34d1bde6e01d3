/**
 * The instances of one host: starts them, from a stem cell where one is ready, and knows what they use.
 *
 * The activator asks for an instance of a revision and is told when it is ready, has room, or is gone; which worker to
 * ask is the scheduler's decision. The worker owns sandboxes, stem cells and the unpacked code; it knows nothing of queues.
 *
 * Invariants:
 *   W1. `start` either resolves with a ready instance or rejects and leaves no sandbox behind.
 *   W2. After `close` no sandbox of this worker lives.
 */
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import { concurrencyDefaults } from '#contract/function-config.ts'
import { FRAMES_VERSION } from '#contract/frames.ts'
import type { CodeCache } from './code-cache.ts'
import { linkTree } from './code-cache.ts'
import { Instance, startError } from './instance.ts'
import type { InstanceOwner } from './instance.ts'
import type { Runtime, Runtimes } from './runtimes.ts'
import type { SandboxLimits, SandboxProvider } from './sandbox/sandbox.ts'
import { StemCells } from './stem-cells.ts'
import type { WorkerConfig } from './config.ts'

export interface WorkerOptions {
  readonly sandboxes: SandboxProvider
  readonly runtimes: Runtimes
  readonly code: CodeCache
  readonly clock: Clock
  readonly config: WorkerConfig
  /** Variables and decrypted secrets of a revision. */
  readonly environmentOf: (revision: Revision) => Promise<Readonly<Record<string, string>>>
  readonly warn: (message: string, error: unknown) => void
  /** Distinguishes the sandboxes of several workers on one machine. */
  readonly name: string
}

/** The most processes and threads inside: enough for the runtimes' thread pools and a program's few children. */
const PIDS_MAX = 256
/** A stem cell has no function yet; its own limits replace these when it gets one. */
const STEM_CELL_LIMITS: SandboxLimits = { memoryMb: 512, cpu: 2, pidsMax: PIDS_MAX }

export class Worker {
  readonly #options: WorkerOptions
  readonly #instances = new Set<Instance>()
  readonly #cells = new Map<string, StemCells>()
  #sequence = 0
  #state: 'open' | 'closed' = 'open'

  constructor(options: WorkerOptions) {
    this.#options = options
  }

  /** Begins to keep stem cells. Separate from the constructor: the platform is ready to answer before they are. */
  warmUp(): void {
    for (const [kind, size] of Object.entries(this.#options.config.stemCells)) {
      if (size === 0) continue
      const cells = new StemCells({
        size,
        refillDelayMs: this.#options.config.stemCellRefillMs,
        clock: this.#options.clock,
        start: async () => {
          const runtime = await this.#options.runtimes.get(kind as Revision['config']['kind'])
          return this.#startSandbox(runtime, { limits: STEM_CELL_LIMITS, network: 'none' })
        },
        failed: (error) => this.#state === 'open' && this.#options.warn(`no stem cell of kind ${kind} could be started`, error),
      })
      this.#cells.set(kind, cells)
    }
  }

  /** Stem cells that the next instances of this revision could start from. */
  stemCellCount(revision: Revision): number {
    return revision.config.network === 'none' ? (this.#cells.get(revision.config.kind)?.readyCount ?? 0) : 0
  }

  /** Resolves when every pool is full, or cannot be filled now. */
  async stemCellsReady(): Promise<void> {
    await Promise.all([...this.#cells.values()].map((cells) => cells.settled()))
  }

  instances(): ReadonlySet<Instance> {
    return this.#instances
  }

  stemCells(): ReadonlyMap<string, readonly Instance[]> {
    return new Map([...this.#cells].map(([kind, cells]) => [kind, cells.cells()]))
  }

  /**
   * @throws CODE_INVALID, HANDLER_NOT_FOUND, INIT_FAILED, INIT_TIMEOUT: the function's fault; RUNTIME_MISSING,
   *   ISOLATION_MISSING, START_FAILED, STORE_FAILED: the platform's.
   */
  async start(revision: Revision, owner: InstanceOwner): Promise<Instance> {
    if (this.#state === 'closed') throw new PlatformError('STOPPING', 'The platform is stopping; send the request again later.')
    const { clock, code } = this.#options
    const askedUs = clock.monotonicUs()
    const { config } = revision
    const directory = code.known(revision) ?? (await code.directoryOf(revision))
    const environment = await this.#options.environmentOf(revision)
    const limits = { memoryMb: config.memoryMb, cpu: config.cpu, pidsMax: PIDS_MAX }

    const cell = config.network === 'none' ? this.#cells.get(config.kind)?.take() : undefined
    let instance: Instance
    if (cell === undefined) {
      const runtime = await this.#options.runtimes.get(config.kind)
      instance = await this.#startSandbox(runtime, { limits, network: config.network })
    } else {
      instance = cell
    }
    const sandboxedUs = clock.monotonicUs()
    try {
      linkTree(directory, instance.sandbox.codeDirectory)
      if (cell !== undefined) instance.sandbox.limit(limits)
      instance.assign(revision, owner)
      this.#instances.add(instance)
      void instance.sandbox.exited.then(() => this.#instances.delete(instance))
      await this.#initialise(instance, revision, environment)
    } catch (thrown) {
      await instance.sandbox.destroy('it could not be initialised')
      throw thrown
    }
    instance.ready({ kind: 'cold', sandboxUs: sandboxedUs - askedUs, initUs: clock.monotonicUs() - sandboxedUs })
    return instance
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    for (const cells of this.#cells.values()) cells.close()
    for (const instance of this.#instances) instance.kill('the platform stops')
    await this.#options.sandboxes.close()
  }

  async #initialise(instance: Instance, revision: Revision, environment: Readonly<Record<string, string>>): Promise<void> {
    const { config } = revision
    const initialised = instance.proxy.init({
      namespace: revision.namespace,
      function: revision.function,
      revision: revision.number,
      instance: instance.id,
      entry: config.entry,
      ...(config.handler !== undefined && { handler: config.handler }),
      args: config.args,
      environment,
      concurrency: config.concurrency ?? concurrencyDefaults[config.kind],
      memoryMb: config.memoryMb,
    })
    const late = Promise.withResolvers<never>()
    const timer = this.#options.clock.after(config.initTimeoutMs, () =>
      late.reject(
        new PlatformError('INIT_TIMEOUT', `The function's code was not loaded within ${config.initTimeoutMs} ms; raise initTimeoutMs or do less at import.`),
      ),
    )
    try {
      await Promise.race([initialised, late.promise])
    } catch (thrown) {
      if (thrown instanceof PlatformError && thrown.code === 'INSTANCE_LOST') throw startError(await instance.sandbox.exited, revision)
      throw thrown
    } finally {
      timer.cancel()
    }
  }

  /** A sandbox whose runtime has said `hello`. */
  async #startSandbox(runtime: Runtime, options: { readonly limits: SandboxLimits; readonly network: 'none' | 'host' }): Promise<Instance> {
    const sandbox = await this.#options.sandboxes.start({
      id: `${this.#options.name}-${++this.#sequence}`,
      command: runtime.command,
      mounts: runtime.mounts,
      environment: runtime.environment,
      limits: options.limits,
      network: options.network,
      tmpBytesMax: this.#options.config.tmpBytesMax,
    })
    // What a runtime prints before it has a function is the platform's to see: usually why it cannot start.
    let printed = ''
    const keep = (chunk: Buffer): void => {
      if (printed.length < 4096) printed += chunk.toString()
    }
    sandbox.stdout.on('data', keep)
    sandbox.stderr.on('data', keep)
    const instance = new Instance({ sandbox, clock: this.#options.clock })
    const late = Promise.withResolvers<never>()
    const timer = this.#options.clock.after(this.#options.config.helloTimeoutMs, () =>
      late.reject(new PlatformError('START_FAILED', `The runtime did not start within ${this.#options.config.helloTimeoutMs} ms. ${printed}`.trim())),
    )
    try {
      const hello = await Promise.race([instance.proxy.hello.promise, late.promise])
      if (hello.protocol !== FRAMES_VERSION) {
        throw new PlatformError('START_FAILED', `The runtime speaks frames version ${hello.protocol}, the platform ${FRAMES_VERSION}; install one release.`)
      }
    } catch (thrown) {
      const exit = await sandbox.destroy('it did not start')
      if (thrown instanceof PlatformError && thrown.code === 'START_FAILED') throw thrown
      throw new PlatformError('START_FAILED', `The runtime ended at start (${JSON.stringify(exit)}). ${printed}`.trim(), { cause: thrown })
    } finally {
      timer.cancel()
    }
    sandbox.stdout.off('data', keep)
    sandbox.stderr.off('data', keep)
    // Output beside the frames (a crash report, a native library's warning) belongs to no invocation.
    sandbox.stdout.on('data', (chunk: Buffer) => instance.logged(undefined, 'stdout', chunk.toString()))
    sandbox.stderr.on('data', (chunk: Buffer) => instance.logged(undefined, 'stderr', chunk.toString()))
    return instance
  }
}

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
import { LoopSpin } from '#base/loop-spin.ts'
import { PlatformError } from '#contract/errors.ts'
import type { FunctionKind, Revision } from '#contract/function-config.ts'
import { concurrencyDefaults, isFaaslet } from '#contract/function-config.ts'
import { FaasletWorker } from './faaslets/faaslet-worker.ts'
import type { HostProcess } from './faaslets/host-process.ts'
import { FRAMES_VERSION } from '#contract/frames.ts'
import type { FaasletInit, InitFrame } from '#contract/frames.ts'
import type { CodeCache } from './code-cache.ts'
import { linkTree } from './code-cache.ts'
import { CompileCaches, compileInSandbox } from './compile-cache.ts'
import type { Transfers } from '#transfer/transfers.ts'
import { Instance, startError } from './instance.ts'
import type { InstanceOwner } from './instance.ts'
import { ObjectTransfers } from './object-transfers.ts'
import type { BucketObjects, ObjectWatch } from './object-transfers.ts'
import type { Runtime, Runtimes } from './runtimes.ts'
import type { SandboxLimits, SandboxProvider } from './sandbox/sandbox.ts'
import { StemCells } from './stem-cells.ts'
import type { SnapshotStore } from './snapshots/snapshot-store.ts'
import type { WorkerConfig } from './config.ts'

export interface WorkerOptions {
  readonly sandboxes: SandboxProvider
  readonly runtimes: Runtimes
  readonly code: CodeCache
  /** Where the snapshots of faaslets are kept; without it each host boots what it serves. */
  readonly snapshots?: SnapshotStore
  /** Keeps what functions put; without it they can put nothing. */
  readonly transfers?: Transfers
  readonly objectWatch?: ObjectWatch
  readonly buckets?: BucketObjects
  readonly clock: Clock
  readonly config: WorkerConfig
  /** Variables and decrypted secrets of a revision. */
  readonly environmentOf: (revision: Revision) => Promise<Readonly<Record<string, string>>>
  /** Whether invocations wait for an instance now: then nothing is done ahead. Default: never. */
  readonly isBusy?: () => boolean
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
  readonly #spin: LoopSpin
  readonly #cells = new Map<string, StemCells<Instance>>()
  readonly #compileCaches: CompileCaches
  readonly #faaslets: FaasletWorker
  readonly #objects: ObjectTransfers
  #sequence = 0
  #state: 'open' | 'closed' = 'open'

  constructor(options: WorkerOptions) {
    this.#spin = new LoopSpin(options.clock)
    this.#options = options
    this.#objects = new ObjectTransfers(options.transfers, options.objectWatch, options.buckets)
    const { clock, code, warn, sandboxes, runtimes, config } = options
    this.#faaslets = new FaasletWorker({ sandboxes, runtime: () => runtimes.get('faaslet'), ...(options.snapshots !== undefined && { store: options.snapshots }), clock, config, objects: this.#objects, nextId: () => this.#nextId(), warn })
    this.#compileCaches = new CompileCaches({
      clock,
      code,
      warn,
      isBusy: options.isBusy ?? (() => false),
      make: async (revision) =>
        compileInSandbox({
          sandboxes: options.sandboxes,
          runtime: await options.runtimes.get('node'),
          clock,
          id: this.#nextId(),
          directory: () => code.known(revision),
          revision,
          tmpBytesMax: options.config.tmpBytesMax,
        }),
    })
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
          const runtime = await this.#options.runtimes.get(kind as 'node' | 'python')
          return this.#startSandbox(runtime, { limits: STEM_CELL_LIMITS, network: 'none' })
        },
        failed: (error) => this.#state === 'open' && this.#options.warn(`no stem cell of kind ${kind} could be started`, error),
      })
      this.#cells.set(kind, cells)
    }
    this.#faaslets.warmUp()
  }

  /** Stem cells that the next instances of this revision could start from. */
  stemCellCount(revision: Revision): number {
    if (isFaaslet(revision.config.kind)) return this.#faaslets.readyCount(revision)
    return revision.config.network === 'none' ? (this.#cells.get(revision.config.kind)?.readyCount ?? 0) : 0
  }

  /** Resolves when every pool is full, or cannot be filled now. */
  async stemCellsReady(): Promise<void> {
    await Promise.all([...[...this.#cells.values()].map((cells) => cells.settled()), this.#faaslets.settled()])
  }

  instances(): ReadonlySet<Instance> {
    return this.#instances
  }

  stemCells(): ReadonlyMap<string, readonly Instance[]> {
    return new Map([...this.#cells].map(([kind, cells]) => [kind, cells.cells()]))
  }

  /** Of tenants, and generic ones that were started ahead. */
  faasletHosts(): readonly HostProcess[] {
    return [...this.#faaslets.stems(), ...this.#faaslets.hosts()]
  }

  /** The store of snapshots says that this one is damaged. @param revision As SnapshotIdentity names it. */
  snapshotLost(revision: string): void {
    this.#faaslets.snapshotLost(revision)
  }

  /**
   * @throws CODE_INVALID, HANDLER_NOT_FOUND, INIT_FAILED, INIT_TIMEOUT, FUNCTION_OUT_OF_MEMORY: the function's fault;
   *   RUNTIME_MISSING, ISOLATION_MISSING, START_FAILED, STORE_FAILED, STORE_FULL: the platform's.
   */
  async start(revision: Revision, owner: InstanceOwner): Promise<Instance> {
    if (this.#state === 'closed') throw new PlatformError('STOPPING', 'The platform is stopping; send the request again later.')
    const { clock, code } = this.#options
    const askedUs = clock.monotonicUs()
    const { config } = revision
    if (code.known(revision) === undefined) await code.directoryOf(revision)
    const environment = await this.#options.environmentOf(revision)
    const limits = { memoryMb: config.memoryMb, cpu: config.cpu, pidsMax: PIDS_MAX }

    const cell = config.network === 'none' ? this.#cells.get(config.kind)?.take() : undefined
    let initialised: Promise<unknown> | undefined
    let faaslet: (() => FaasletInit) | undefined
    const assign = (to: Instance, directory: string): void => {
      linkTree(directory, to.sandbox.codeDirectory)
      this.#assign(to, revision, owner)
      initialised = to.proxy.init(initFrame(to, revision, environment, faaslet?.()))
    }
    let instance: Instance
    if (isFaaslet(config.kind)) {
      const placed = await this.#faaslets.place(revision, this.#spin)
      ;({ instance, faaslet } = placed)
      if (placed.isInitialised) {
        this.#assign(instance, revision, owner)
        initialised = Promise.resolve()
      }
    } else if (cell === undefined) {
      const runtime = await this.#options.runtimes.get(config.kind)
      // The runtime finds its function waiting when it comes up: no round trip between the two.
      const standing = (to: Instance): void => {
        const directory = code.known(revision)
        if (directory !== undefined) assign(to, directory)
      }
      instance = await this.#startSandbox(runtime, { limits, network: config.network, revision, standing })
    } else {
      instance = cell
    }
    const sandboxedUs = clock.monotonicUs()
    try {
      if (cell !== undefined) instance.sandbox.limit(limits)
      // Asked again: it may have been forgotten while the sandbox started. Nothing comes between the answer and the linking.
      if (initialised === undefined) assign(instance, code.known(revision) ?? (await code.directoryOf(revision)))
      await this.#initialised(instance, revision, initialised!)
    } catch (thrown) {
      await instance.sandbox.destroy('it could not be initialised')
      throw asStartError(thrown, revision)
    }
    instance.ready({ kind: 'cold', sandboxUs: sandboxedUs - askedUs, initUs: clock.monotonicUs() - sandboxedUs })
    // The compiled form is keyed by path, and without isolation the code lies at another one each time.
    if (!isFaaslet(config.kind) && this.#options.sandboxes.isolation().level !== 'none') this.#compileCaches.started(revision)
    return instance
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    this.#compileCaches.close()
    for (const cells of this.#cells.values()) cells.close()
    for (const instance of this.#instances) instance.kill('the platform stops')
    this.#faaslets.close()
    await this.#options.runtimes.settled()
    await this.#options.sandboxes.close()
    await this.#faaslets.settledCaptures()
  }

  #assign(instance: Instance, revision: Revision, owner: InstanceOwner): void {
    instance.assign(revision, owner)
    this.#instances.add(instance)
    void instance.sandbox.exited.then(() => this.#instances.delete(instance))
  }

  async #initialised(instance: Instance, revision: Revision, initialised: Promise<unknown>): Promise<void> {
    const { config } = revision
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

  #nextId(): string {
    return `${this.#options.name}-${++this.#sequence}`
  }

  /** A sandbox whose runtime has said `hello`. */
  async #startSandbox(runtime: Runtime, options: { readonly limits: SandboxLimits; readonly network: 'none' | 'host'; readonly revision?: Revision; readonly standing?: (instance: Instance) => void }): Promise<Instance> {
    const sandbox = await this.#options.sandboxes.start({
      id: this.#nextId(),
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
    const instance = new Instance({ sandbox, clock: this.#options.clock, objects: this.#objects, spin: this.#spin })
    const late = Promise.withResolvers<never>()
    const timer = this.#options.clock.after(this.#options.config.helloTimeoutMs, () =>
      late.reject(new PlatformError('START_FAILED', `The runtime did not start within ${this.#options.config.helloTimeoutMs} ms. ${printed}`.trim())),
    )
    try {
      options.standing?.(instance)
      const hello = await Promise.race([instance.proxy.hello.promise, late.promise])
      if (hello.protocol !== FRAMES_VERSION) {
        throw new PlatformError('START_FAILED', `The runtime speaks frames version ${hello.protocol}, the platform ${FRAMES_VERSION}; install one release.`)
      }
    } catch (thrown) {
      const exit = await sandbox.destroy('it did not start')
      if (exit.cause === 'out-of-memory' && options.revision !== undefined) throw runtimeDoesNotFit(options.revision, undefined)
      if (thrown instanceof PlatformError && thrown.code === 'START_FAILED') throw thrown
      if (!(thrown instanceof PlatformError)) throw asStartError(thrown, options.revision)
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

function initFrame(instance: Instance, revision: Revision, environment: Readonly<Record<string, string>>, faaslet: FaasletInit | undefined): InitFrame {
  const { config } = revision
  return {
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
    ...(faaslet !== undefined && { faaslet }),
  }
}

/** Below this a runtime does not start, or has nothing left for a function, MB: what it uses when idle, and some. */
const RUNTIME_MEMORY_MB: Readonly<Record<FunctionKind, number>> = { node: 64, command: 64, http: 64, python: 32, wasm: 16, js: 16 }

/** @param usedMb What the runtime was seen to use; undefined when it did not come so far. */
function runtimeDoesNotFit({ config }: Revision, usedMb: number | undefined): PlatformError {
  const neededMb = Math.max(RUNTIME_MEMORY_MB[config.kind], usedMb === undefined ? 2 * config.memoryMb : usedMb + 16)
  const used = usedMb === undefined ? 'alone does not start in less' : `alone uses ${usedMb} MB`
  return new PlatformError('FUNCTION_OUT_OF_MEMORY', `The function has ${config.memoryMb} MB of memory and needs at least ${neededMb} MB (the runtime of kind ${config.kind} ${used}); deploy it with --memory ${neededMb} or more.`, {
    details: { memoryMb: config.memoryMb, neededMb, ...(usedMb !== undefined && { usedMb }) },
  })
}

/** What went wrong between a started sandbox and a loaded function, for its owner or for the platform's. */
function asStartError(thrown: unknown, revision: Revision | undefined): PlatformError {
  if (thrown instanceof PlatformError) {
    const usedMb = thrown.details?.['usedMb']
    return thrown.code === 'START_FAILED' && typeof usedMb === 'number' && revision !== undefined ? runtimeDoesNotFit(revision, usedMb) : thrown
  }
  const { code, message } = thrown as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') return new PlatformError('STORE_FULL', `The disk is full: the code could not be put into a sandbox (${message}). Free space there and try again.`, { cause: thrown })
  return new PlatformError('START_FAILED', `The instance could not be prepared: ${message}.`, { cause: thrown })
}

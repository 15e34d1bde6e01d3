/**
 * A real worker in this process, for measurements of single faaslets: real hosts in real sandboxes, a real store of snapshots, and no
 * gateway or activator in front, so that each step can be asked for by itself.
 *
 *   attach ─▶ invoke … ─▶ end         an instance of a revision: its place in a host process
 *   boot, then record                 a revision's snapshot, and its working set
 *
 * Two instances of one revision are in two hosts (faaslet-hosts.ts F2), and revisions that differ only in how they are restored share
 * a snapshot. So modes can be compared on the same files, side by side.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { systemClock } from '#base/clock.ts'
import { functionConfig } from '#contract/function-config.ts'
import type { FunctionConfigInput, Revision } from '#contract/function-config.ts'
import { Invocation } from '#contract/invocation.ts'
import type { AnswerSink } from '#contract/invocation.ts'
import type { PlatformError } from '#contract/errors.ts'
import type { StartFigures } from '#contract/start-figures.ts'
import { CodeCache } from '#worker/code-cache.ts'
import { workerDefaults } from '#worker/config.ts'
import type { Instance, InstanceOwner } from '#worker/instance.ts'
import { Runtimes } from '#worker/runtimes.ts'
import { ProcessSandboxProvider } from '#worker/sandbox/process-sandbox.ts'
import type { SnapshotInfo } from '#worker/snapshots/snapshot-entry.ts'
import { SnapshotStore } from '#worker/snapshots/snapshot-store.ts'
import { Worker } from '#worker/worker.ts'

export type Files = ReadonlyMap<string, Uint8Array>

export interface Deployed {
  readonly namespace: string
  readonly name: string
  readonly number: number
  readonly files: Files
  readonly config: FunctionConfigInput
}

export interface Attached {
  readonly instance: Instance
  /** From asking for it until it could be invoked, ms. */
  readonly ms: number
}

export interface Answer {
  /** From handing it over until the answer was complete, ms. */
  readonly ms: number
  readonly body: Buffer
  readonly figures: StartFigures
}

/** As the gateway does it: larger ones are streams. */
const INLINE_BYTES_MAX = 64 * 1024
/** Below it hosts would end between two functions, and starting them again is not what is measured. */
const HOST_IDLE_MS = 30 * 60_000
const WAIT_MS = 60_000
const nobody: InstanceOwner = { changed() {}, gone() {}, called() {}, logged() {} }

export class FaasletLab implements AsyncDisposable {
  /** Everything lies in it; removed with the lab. */
  readonly directory: string
  readonly store: SnapshotStore
  readonly #worker: Worker
  readonly #files: Map<string, Files>
  readonly #warnings: string[]
  #invocations = 0

  private constructor(options: { readonly directory: string; readonly store: SnapshotStore; readonly worker: Worker; readonly files: Map<string, Files>; readonly warnings: string[] }) {
    this.directory = options.directory
    this.store = options.store
    this.#worker = options.worker
    this.#files = options.files
    this.#warnings = options.warnings
  }

  static async open(): Promise<FaasletLab> {
    const directory = mkdtempSync(join(tmpdir(), 'skep-lab-'))
    const warnings: string[] = []
    const warn = (message: string, error: unknown): void => void warnings.push(`${message}: ${String(error)}`)
    const files = new Map<string, Files>()
    try {
      const code = new CodeCache({ directory: join(directory, 'code'), madeBy: undefined, unpack: async (digest, into) => writeFiles(into, files.get(digest)!) })
      await code.prepare(new Set())
      const config = { ...workerDefaults, stemCells: {}, faasletHosts: 0, faasletHostIdleMs: HOST_IDLE_MS, snapshotBytesMax: 32 * 1024 ** 3 }
      const store = await SnapshotStore.open({ directory: join(directory, 'snapshots'), bytesMax: config.snapshotBytesMax, clock: systemClock, onLost: ({ revision, error }) => warn(`the snapshot of ${revision} was lost`, error) })
      const worker = new Worker({
        sandboxes: new ProcessSandboxProvider({ dataDirectory: directory }),
        runtimes: new Runtimes({ directory: join(directory, 'runtimes'), warn }),
        snapshots: store,
        code,
        clock: systemClock,
        config,
        environmentOf: async ({ config }) => config.environment,
        warn,
        name: `lab${process.pid}`,
      })
      return new FaasletLab({ directory, store, worker, files, warnings })
    } catch (thrown) {
      rmSync(directory, { recursive: true, force: true })
      throw thrown
    }
  }

  revision({ namespace, name, number, files, config }: Deployed): Revision {
    const digest = createHash('sha256')
    for (const [path, bytes] of files) digest.update(`${path}\0${bytes.length}\0`).update(bytes)
    const code = digest.digest('hex')
    this.#files.set(code, files)
    const codeBytes = [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0)
    return { namespace, function: name, number, code, codeBytes, config: functionConfig.parse(config), createdAtMs: Date.now() }
  }

  /** An instance: booted when there is no snapshot. */
  async attach(revision: Revision): Promise<Attached> {
    const startMs = performance.now()
    const instance = await this.#worker.start(revision, nobody)
    return { instance, ms: performance.now() - startMs }
  }

  async end({ instance }: Attached): Promise<void> {
    instance.kill('it was measured')
    await instance.sandbox.exited
  }

  /** Where the host of an instance has its snapshot's files from. */
  snapshotFiles({ instance }: Attached): string {
    return join(instance.sandbox.codeDirectory, '.snapshot')
  }

  /** @throws PlatformError when it fails, Error when the answer is not a success. */
  async invoke({ instance }: Attached, input: Buffer): Promise<Answer> {
    const ended = Promise.withResolvers<void>()
    const sink = new Collected()
    const id = Date.now().toString(16).padStart(12, '0') + (++this.#invocations).toString(16).padStart(20, '0')
    const invocation = new Invocation({
      id, revision: instance.revision, origin: 'http', sink, acceptedUs: systemClock.monotonicUs(), startedAtMs: systemClock.epochMs(), traceparent: `00-${id}-${id.slice(16)}-00`,
      request: { kind: 'http', method: 'POST', path: '/', headers: ['host', 'bench', 'content-type', 'application/octet-stream'], body: input.length <= INLINE_BYTES_MAX ? input : chunked(input) },
      ended: () => ended.resolve(),
    })
    const startMs = performance.now()
    instance.proxy.open(invocation)
    await ended.promise
    const ms = performance.now() - startMs
    if (sink.error !== undefined) throw sink.error
    const body = Buffer.concat(sink.chunks)
    if (sink.status !== 200) throw new Error(`${instance.revision.function} answered ${sink.status}: ${body.toString('utf8', 0, 200)}`)
    return { ms, body, figures: invocation.startFigures! }
  }

  /** Boots a revision until its snapshot is kept; ends the instance. */
  async boot(revision: Revision): Promise<void> {
    const booted = await this.attach(revision)
    await this.#until(() => this.snapshotOf(revision) !== undefined, `a snapshot of ${revision.function} was kept`)
    await this.end(booted)
  }

  /** One recorded invocation of a revision that has a snapshot and no working set yet, on a new instance. @param before Called when that is attached. */
  async record(revision: Revision, input: Buffer, before: (attached: Attached) => Promise<void> = async () => {}): Promise<Answer> {
    const attached = await this.attach(revision)
    await before(attached)
    const answer = await this.invoke(attached, input)
    if (answer.figures.pagesRecorded === undefined) throw new Error(`the first invocation of ${revision.function} was not recorded: ${JSON.stringify(answer.figures)}`)
    await this.#until(() => this.snapshotOf(revision)?.recording !== undefined, `the recording of ${revision.function} was kept`)
    await this.end(attached)
    return answer
  }

  snapshotOf({ namespace, function: name, number }: Revision): SnapshotInfo | undefined {
    return this.store.list().find(({ revision }) => revision === `${namespace}/${name}@${number}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.close()
    await this.store[Symbol.asyncDispose]()
    rmSync(this.directory, { recursive: true, force: true })
  }

  async #until(isTrue: () => boolean, what: string): Promise<void> {
    const endMs = performance.now() + WAIT_MS
    while (!isTrue()) {
      if (performance.now() > endMs) throw new Error(`It did not come true that ${what}. ${this.#warnings.join('; ')}`)
      await new Promise((wake) => setTimeout(wake, 2))
    }
  }
}

class Collected implements AnswerSink {
  status = 0
  error: PlatformError | undefined
  readonly chunks: Buffer[] = []

  head(status: number, _headers: readonly string[], body: Buffer | undefined): void {
    this.status = status
    if (body !== undefined) this.chunks.push(body)
  }

  data(chunk: Buffer, _last: boolean, consumed: () => void): void {
    this.chunks.push(chunk)
    consumed()
  }

  fail(error: PlatformError): void {
    this.error = error
  }
}

function chunked(input: Buffer): Readable {
  const chunks: Buffer[] = []
  for (let at = 0; at < input.length; at += INLINE_BYTES_MAX) chunks.push(input.subarray(at, at + INLINE_BYTES_MAX))
  return Readable.from(chunks)
}

function writeFiles(directory: string, files: Files): void {
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), bytes)
  }
}

/**
 * A real worker for tests: real sandboxes and runtimes in a directory of its own, and code given as files.
 *
 * What the tests of one file may share is the prepared runtimes: making those takes longer than most tests.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemClock } from '#base/clock.ts'
import type { FunctionConfigInput, Revision } from '#contract/function-config.ts'
import { RecordingSink, testInvocation, testRevision } from '#contract/invocation.fake.ts'
import type { Invocation, InvocationRequest } from '#contract/invocation.ts'
import { CodeCache } from './code-cache.ts'
import { workerDefaults } from './config.ts'
import type { WorkerConfig } from './config.ts'
import type { Instance, InstanceOwner } from './instance.ts'
import type { SharedMemory } from '#transfer/shared-memory.ts'
import { Runtimes } from './runtimes.ts'
import { probeBubblewrap } from './sandbox/bubblewrap.ts'
import { ProcessSandboxProvider } from './sandbox/process-sandbox.ts'
import type { SandboxProvider } from './sandbox/sandbox.ts'
import type { SnapshotStore } from './snapshots/snapshot-store.ts'
import { Worker } from './worker.ts'

/** Why such a worker cannot run here; false where it can. */
export const workerSkip = whyNot()

function whyNot(): string | false {
  if (process.platform !== 'linux') return 'bubblewrap runs on Linux only'
  const probe = probeBubblewrap()
  return probe.state === 'works' ? false : `bubblewrap does not work here (${probe.state}): run ./skep setup`
}

export type Files = Readonly<Record<string, string | Uint8Array>>

export interface WorkerGroundOptions {
  readonly stemCells?: { readonly node: number }
  /** Generic hosts of faaslets. Default: none. */
  readonly faasletHosts?: number
  readonly config?: Partial<WorkerConfig>
  /** Where prepared runtimes are found or made. Default: in this worker's own directory. */
  readonly runtimes?: string
  readonly snapshots?: SnapshotStore
  /** By which bodies are passed. Default: all are streamed. */
  readonly memory?: SharedMemory
  /** What the worker gets in place of the real sandboxes. */
  readonly sandboxes?: (real: SandboxProvider) => SandboxProvider
}

export interface WorkerGround {
  readonly worker: Worker
  readonly code: CodeCache
  readonly codeDirectory: string
  readonly warnings: string[]
  /** Whether this host limits memory. */
  readonly limitsMemory: boolean
  /** A revision with these files; the same files have the same code. */
  revision(files: Files, config: Partial<FunctionConfigInput>, over?: Partial<Revision>): Revision
  start(revision: Revision): Promise<Instance>
  send(instance: Instance, request?: Partial<InvocationRequest>): Promise<RecordingSink>
  /** The same, with what the worker has learnt about the invocation. */
  invoke(instance: Instance, request?: Partial<InvocationRequest>): Promise<{ readonly invocation: Invocation; readonly sink: RecordingSink; readonly text: string }>
}

let grounds = 0
const nobody: InstanceOwner = { changed() {}, gone() {}, called() {}, logged() {} }

/** Gone when the test ends. @param options.stemCells Default: none. */
export function workerGround(context: Pick<TestContext, 'after'>, options: WorkerGroundOptions = {}): WorkerGround {
  const data = mkdtempSync(join(tmpdir(), 'skep-worker-'))
  const codeDirectory = join(data, 'code')
  mkdirSync(codeDirectory)
  const packed = new Map<string, Files>()
  const warnings: string[] = []
  const warn = (message: string, error: unknown): void => void warnings.push(`${message}: ${String(error)}`)
  const code = new CodeCache({
    directory: codeDirectory,
    madeBy: undefined,
    unpack: async (digest, directory) => writeFiles(directory, packed.get(digest)!),
  })
  const sandboxes = new ProcessSandboxProvider({ dataDirectory: data, ...(options.memory !== undefined && { memory: options.memory }) })
  const worker = new Worker({
    sandboxes: options.sandboxes?.(sandboxes) ?? sandboxes,
    runtimes: new Runtimes({ directory: options.runtimes ?? join(data, 'runtimes'), warn }),
    ...(options.snapshots !== undefined && { snapshots: options.snapshots }),
    code,
    clock: systemClock,
    config: { ...workerDefaults, stemCells: options.stemCells ?? {}, faasletHosts: options.faasletHosts ?? 0, ...options.config },
    environmentOf: async ({ config }) => config.environment,
    warn,
    name: `test${process.pid}-${++grounds}`,
  })
  context.after(async () => {
    await worker.close()
    rmSync(data, { recursive: true, force: true })
  })
  return {
    worker, code, codeDirectory, warnings,
    limitsMemory: sandboxes.isolation().missing.every((line) => !line.includes('"memory"')),
    revision(files, config, over = {}) {
      const digest = createHash('sha256').update(JSON.stringify(files)).digest('hex')
      packed.set(digest, files)
      return testRevision({ entry: Object.keys(files)[0]!, ...config }, { code: digest, ...over })
    },
    start: (revision) => worker.start(revision, nobody),
    send: async (instance, request) => (await invoke(instance, request)).sink,
    invoke,
  }
}

async function invoke(instance: Instance, request: Partial<InvocationRequest> = {}): ReturnType<WorkerGround['invoke']> {
  const { invocation, sink } = testInvocation(systemClock, { revision: instance.revision, request })
  instance.proxy.open(invocation)
  await sink.ended
  return { invocation, sink, text: sink.body.toString() }
}

function writeFiles(directory: string, files: Files): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), text, { mode: 0o755 })
  }
}

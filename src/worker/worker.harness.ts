/** A real worker for tests: real sandboxes and runtimes in a directory of its own, and code given as files. */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemClock } from '#base/clock.ts'
import type { FunctionConfigInput, Revision } from '#contract/function-config.ts'
import { RecordingSink, testInvocation, testRevision } from '#contract/invocation.fake.ts'
import type { InvocationRequest } from '#contract/invocation.ts'
import { CodeCache } from './code-cache.ts'
import { workerDefaults } from './config.ts'
import type { Instance, InstanceOwner } from './instance.ts'
import { Runtimes } from './runtimes.ts'
import { probeBubblewrap } from './sandbox/bubblewrap.ts'
import { ProcessSandboxProvider } from './sandbox/process-sandbox.ts'
import { Worker } from './worker.ts'

/** Why such a worker cannot run here; false where it can. */
export const workerSkip = whyNot()

function whyNot(): string | false {
  if (process.platform !== 'linux') return 'bubblewrap runs on Linux only'
  const probe = probeBubblewrap()
  return probe.state === 'works' ? false : `bubblewrap does not work here (${probe.state}): run ./skep setup`
}

export type Files = Readonly<Record<string, string>>

export interface WorkerGround {
  readonly worker: Worker
  readonly code: CodeCache
  readonly codeDirectory: string
  readonly warnings: string[]
  /** Whether this host limits memory. */
  readonly limitsMemory: boolean
  /** A revision with these files; the same files have the same code. */
  revision(files: Files, config: Partial<FunctionConfigInput>): Revision
  start(revision: Revision): Promise<Instance>
  send(instance: Instance, request?: Partial<InvocationRequest>): Promise<RecordingSink>
}

const nobody: InstanceOwner = { changed() {}, gone() {}, called() {}, logged() {} }

/** Gone when the test ends. @param options.stemCells Default: none. */
export function workerGround(context: Pick<TestContext, 'after'>, options: { readonly stemCells?: { readonly node: number } } = {}): WorkerGround {
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
  const sandboxes = new ProcessSandboxProvider({ dataDirectory: data })
  const worker = new Worker({
    sandboxes,
    runtimes: new Runtimes({ directory: join(data, 'runtimes'), warn }),
    code,
    clock: systemClock,
    config: { ...workerDefaults, stemCells: options.stemCells ?? {} },
    environmentOf: async ({ config }) => config.environment,
    warn,
    name: `test${process.pid}`,
  })
  context.after(async () => {
    await worker.close()
    rmSync(data, { recursive: true, force: true })
  })
  return {
    worker, code, codeDirectory, warnings,
    limitsMemory: sandboxes.isolation().missing.every((line) => !line.includes('"memory"')),
    revision(files, config) {
      const digest = createHash('sha256').update(JSON.stringify(files)).digest('hex')
      packed.set(digest, files)
      return testRevision({ entry: Object.keys(files)[0]!, ...config }, { code: digest })
    },
    start: (revision) => worker.start(revision, nobody),
    async send(instance, request = {}) {
      const { invocation, sink } = testInvocation(systemClock, { revision: instance.revision, request })
      instance.proxy.open(invocation)
      await sink.ended
      return sink
    },
  }
}

function writeFiles(directory: string, files: Files): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), text, { mode: 0o755 })
  }
}

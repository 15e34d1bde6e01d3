/**
 * Faaslets behind the interface of sandboxes, for its conformance suite: a sandbox is a place of a revision in a host, and one invocation
 * on it that runs test/functions/wasm/probe.c. The channel is the invocation's request and answer.
 *
 * All sandboxes of one provider belong to one tenant: so they share a host process, and what one does is seen by the others if
 * anything is.
 */
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Duplex, PassThrough } from 'node:stream'
import { systemClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { testInvocation, testRevision } from '#contract/invocation.fake.ts'
import type { AnswerSink, Invocation } from '#contract/invocation.ts'
import { CodeCache } from '../code-cache.ts'
import { workerDefaults } from '../config.ts'
import type { Instance, InstanceOwner } from '../instance.ts'
import { Runtimes } from '../runtimes.ts'
import { ProcessSandboxProvider } from '../sandbox/process-sandbox.ts'
import type { ConformanceCommands } from '../sandbox/sandbox.conformance.ts'
import type { Isolation, Sandbox, SandboxExit, SandboxOptions, SandboxProvider, SandboxUsage } from '../sandbox/sandbox.ts'
import { Worker } from '../worker.ts'

const PROBE = join(import.meta.dirname, '../../../test/functions/wasm/probe.wasm')
const MB = 1024 * 1024

const probe = (what: string, argument: string | number = ''): readonly string[] => [what, String(argument)]

export const faasletCommands: ConformanceCommands = {
  exit: (code) => probe('exit', code),
  killItself: () => probe('exit'),
  echo: probe('echo'),
  eatMemory: probe('eat-memory'),
  // There is no call by which it could ask for a process.
  forkBomb: probe('held'),
  orphan: probe('ready'),
  canRead: (path) => probe('can-read', path),
  canWrite: (path) => probe('can-write', path),
  canConnect: (port) => probe('can-connect', port),
  fillTmp: probe('fill-tmp'),
}

export class FaasletSandboxProvider implements SandboxProvider {
  readonly kind = 'faaslet'
  readonly #sandboxes: ProcessSandboxProvider
  readonly #worker: Worker

  /** @param runtimes Where the prepared host is found or made. */
  constructor(options: { readonly dataDirectory: string; readonly runtimes: string }) {
    const { dataDirectory, runtimes } = options
    const warn = (message: string, error: unknown): void => console.error(message, error)
    const code = join(dataDirectory, 'code')
    mkdirSync(code, { recursive: true })
    this.#sandboxes = new ProcessSandboxProvider({ dataDirectory })
    this.#worker = new Worker({
      sandboxes: this.#sandboxes,
      runtimes: new Runtimes({ directory: runtimes, warn }),
      code: new CodeCache({ directory: code, madeBy: undefined, unpack: async (_digest, directory) => unpack(directory) }),
      clock: systemClock,
      config: { ...workerDefaults, stemCells: {}, faasletHosts: 0 },
      environmentOf: async () => ({}),
      warn,
      name: `c${process.pid}`,
    })
  }

  isolation(): Isolation {
    return this.#sandboxes.isolation()
  }

  async start(options: SandboxOptions): Promise<Sandbox> {
    const { id, command: [what, argument], limits, network } = options
    const config = { kind: 'wasm', entry: what === 'absent' ? 'absent.wasm' : 'probe.wasm', memoryMb: limits.memoryMb, network, timeoutMs: 600_000 } as const
    const revision = testRevision(config, { function: id })
    const stderr = new PassThrough()
    const nothing = (): void => {}
    const owner: InstanceOwner = { changed: nothing, gone: nothing, called: nothing, logged: (_instance, _invocation, _level, text) => void stderr.write(text) }
    return new FaasletSandbox(id, await this.#worker.start(revision, owner), stderr, `/${what}?${argument}`)
  }

  sweep(): Promise<void> {
    return this.#sandboxes.sweep()
  }

  async close(): Promise<void> {
    await this.#worker.close()
  }
}

function unpack(directory: string): void {
  mkdirSync(directory, { recursive: true })
  copyFileSync(PROBE, join(directory, 'probe.wasm'))
}

class FaasletSandbox implements Sandbox {
  readonly id: string
  readonly channel: Duplex
  readonly stdout = new PassThrough()
  readonly stderr: PassThrough
  readonly codeDirectory: string
  readonly pid: number
  readonly exited: Promise<SandboxExit>
  readonly #instance: Instance
  readonly #invocation: Invocation
  #exit: SandboxExit | undefined

  constructor(id: string, instance: Instance, stderr: PassThrough, path: string) {
    this.id = id
    this.stderr = stderr
    this.#instance = instance
    this.codeDirectory = instance.sandbox.codeDirectory
    this.pid = instance.sandbox.pid
    const body = new PassThrough()
    const answer = new PassThrough()
    this.channel = Duplex.from({ writable: body, readable: answer } as never)
    this.channel.on('error', () => {})
    const ended = (exit: SandboxExit): void => {
      this.#exit ??= exit
      answer.end()
      void instance.sandbox.destroy('it has ended')
    }
    const sink: AnswerSink = {
      head: (_status, _headers, first, last) => {
        if (first !== undefined) answer.write(first)
        if (last) ended({ cause: 'exited', code: 0 })
      },
      data: (chunk, last, consumed) => {
        answer.write(Buffer.from(chunk), () => consumed())
        if (last) ended({ cause: 'exited', code: 0 })
      },
      fail: (error) => ended(exitOf(error)),
    }
    // Its own sink, but with the fake's books.
    this.#invocation = testInvocation(systemClock, { revision: instance.revision, sink: sink as never, request: { kind: 'http', method: 'POST', path, headers: [], body } }).invocation
    instance.proxy.open(this.#invocation)
    this.exited = instance.sandbox.exited.then((exit) => (this.#exit ??= exit))
  }

  #peakBytes = 0

  limit(): void {}

  /** Of the invocation, where it has ended; of its share of the host, while it runs. */
  usage(): SandboxUsage {
    const { cpuMs, memoryBytes } = this.#instance.usage()
    this.#peakBytes = Math.max(this.#peakBytes, this.#invocation.memoryPeakKb > 0 ? this.#invocation.memoryPeakKb * 1024 : memoryBytes)
    return { cpuMs, memoryBytes, memoryPeakBytes: this.#peakBytes }
  }

  async destroy(reason: string): Promise<SandboxExit> {
    this.#exit ??= { cause: 'destroyed', reason }
    await this.#instance.sandbox.destroy(reason)
    return this.exited
  }
}

function exitOf(error: PlatformError): SandboxExit {
  if (error.code === 'FUNCTION_OUT_OF_MEMORY') return { cause: 'out-of-memory' }
  const code = error.details?.['exitCode']
  return typeof code === 'number' ? { cause: 'exited', code } : { cause: 'destroyed', reason: error.message }
}

/** What differs for a faaslet from a process, for the suite's options. */
export const faasletForms = {
  impossible: { options: { command: probe('absent') }, code: 'CODE_INVALID' },
  boundsTmp: { options: { limits: { memoryMb: 16, cpu: 1, pidsMax: 64 } }, bytesMin: 8 * MB, bytesMax: 16 * MB },
  processes: 'shared',
  skips: {
    signals: 'WASI has no signals',
    newLimits: 'the most that a memory can have is said when it is made',
    orphans: 'it cannot start a process',
  },
} as const

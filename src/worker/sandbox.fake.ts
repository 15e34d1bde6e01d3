/** A sandbox without a process, for unit tests: its runtime is played by the test, and it dies when the test says so. */
import { PassThrough } from 'node:stream'
import { FakeRuntime } from './runtime.fake.ts'
import type { Sandbox, SandboxExit, SandboxLimits, SandboxUsage } from './sandbox/sandbox.ts'

let made = 0

export class FakeSandbox implements Sandbox {
  readonly id: string
  readonly runtime = new FakeRuntime()
  readonly channel = this.runtime.channel
  readonly stdout = new PassThrough()
  readonly stderr = new PassThrough()
  readonly codeDirectory: string
  readonly pid = 0
  readonly limits: SandboxLimits[] = []
  /** Reasons of `destroy`, in order. */
  readonly destroyed: string[] = []
  /** Takes its time to die: {@link exit} is then the test's to call. */
  diesSlowly = false
  #exit: SandboxExit | undefined
  readonly #exited = Promise.withResolvers<SandboxExit>()

  constructor(options: { readonly id?: string; readonly codeDirectory?: string } = {}) {
    this.id = options.id ?? `i${++made}`
    this.codeDirectory = options.codeDirectory ?? ''
  }

  get exited(): Promise<SandboxExit> {
    return this.#exited.promise
  }

  limit(limits: SandboxLimits): void {
    this.limits.push(limits)
  }

  usage(): SandboxUsage {
    return { cpuMs: 1, memoryBytes: 2, memoryPeakBytes: 3 }
  }

  destroy(reason: string): Promise<SandboxExit> {
    this.destroyed.push(reason)
    if (!this.diesSlowly) this.exit({ cause: 'destroyed', reason })
    return this.exited
  }

  /** It is dead, for the first reason that was given. */
  exit(exit: SandboxExit): void {
    if (this.#exit !== undefined) return
    this.#exit = exit
    this.runtime.close()
    this.#exited.resolve(exit)
  }
}

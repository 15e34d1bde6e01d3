/**
 * Where a pool's instances come from in unit tests: real instances with real queue proxies, whose sandboxes have no process
 * and whose runtimes the test plays. A start ends when the test says so.
 */
import type { Clock } from '#base/clock.ts'
import type { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import { turns } from '#contract/invocation.fake.ts'
import { Instance } from '#worker/instance.ts'
import type { InstanceOwner } from '#worker/instance.ts'
import { FakeSandbox } from '#worker/sandbox.fake.ts'
import type { OpenedStream } from '#worker/runtime.fake.ts'
import type { InstanceHost } from './revision-pool.ts'

export class FakeStart {
  readonly revision: Revision
  readonly sandbox = new FakeSandbox()
  readonly instance: Instance
  readonly promise: Promise<Instance>
  readonly #started = Promise.withResolvers<Instance>()

  constructor(revision: Revision, owner: InstanceOwner, clock: Clock) {
    this.revision = revision
    this.promise = this.#started.promise
    this.instance = new Instance({ sandbox: this.sandbox, clock })
    this.instance.assign(revision, owner)
  }

  async succeed(): Promise<void> {
    this.instance.ready({ kind: 'cold', sandboxUs: 4_000, initUs: 6_000 })
    this.#started.resolve(this.instance)
    await turns()
  }

  async fail(error: PlatformError): Promise<void> {
    this.#started.reject(error)
    await turns()
  }

  get runtime(): FakeSandbox['runtime'] {
    return this.sandbox.runtime
  }

  opened(): Promise<OpenedStream> {
    return this.runtime.opened()
  }

  /** Answers the next invocation that comes. */
  async answer(text = 'done'): Promise<void> {
    const { stream } = await this.opened()
    this.runtime.head(stream, 200, text, true)
    await turns()
  }
}

export class FakeHost implements InstanceHost {
  readonly starts: FakeStart[] = []
  readonly cores = 2
  stemCells = 0
  idleShare: number | undefined = 1
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  start(revision: Revision, owner: InstanceOwner): Promise<Instance> {
    const start = new FakeStart(revision, owner, this.#clock)
    this.starts.push(start)
    return start.promise
  }

  stemCellCount(): number {
    return this.stemCells
  }

  cpuIdleShare(): number | undefined {
    return this.idleShare
  }
}

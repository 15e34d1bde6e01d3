/** A queue proxy with its runtime played by the test, and an owner that remembers what it was told. */
import type { TestContext } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import type { PlatformError } from '#contract/errors.ts'
import { testInvocation } from '#contract/invocation.fake.ts'
import type { TestInvocation } from '#contract/invocation.fake.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { MemoryChannel } from './memory-channel.ts'
import { QueueProxy } from './queue-proxy.ts'
import type { FunctionCall, ObjectTransfer, QueueProxyOwner } from './queue-proxy-owner.ts'
import { FakeRuntime } from './runtime.fake.ts'
import type { OpenedStream } from './runtime.fake.ts'

export class RecordingOwner implements QueueProxyOwner {
  changes = 0
  readonly calls: FunctionCall[] = []
  readonly transfers: ObjectTransfer[] = []
  /** What is thrown instead of taking a body in. */
  refusal: PlatformError | undefined
  /** Bodies that all of their holders have let go. */
  releases = 0
  readonly logs: string[] = []
  readonly losses: (PlatformError | undefined)[] = []
  readonly hungs: Invocation[] = []

  changed(): void {
    this.changes++
  }

  called(call: FunctionCall): void {
    this.calls.push(call)
  }

  transferred(transfer: ObjectTransfer): void {
    this.transfers.push(transfer)
  }

  held(_invocation: Invocation, fd: number, bytes: number): HeldBody {
    if (this.refusal !== undefined) throw this.refusal
    return new HeldBody(fd, bytes, () => this.releases++)
  }

  logged(invocation: Invocation | undefined, level: string, text: string): void {
    this.logs.push(`${invocation === undefined ? 'none' : 'its'} ${level} ${text}`)
  }

  lost(error: PlatformError | undefined): void {
    this.losses.push(error)
  }

  hung(invocation: Invocation): void {
    this.hungs.push(invocation)
  }
}

export interface ProxyGround {
  readonly clock: ManualClock
  readonly runtime: FakeRuntime
  readonly owner: RecordingOwner
  readonly proxy: QueueProxy
  /** Hands over an invocation, and waits until the runtime has it. */
  open(over?: Parameters<typeof testInvocation>[1]): Promise<TestInvocation & { readonly opened: OpenedStream }>
}

/** Closed when the test ends. @param memory How the runtime and the proxy pass memory, if they do. */
export function proxyGround(context?: Pick<TestContext, 'after'>, memory?: MemoryChannel): ProxyGround {
  const clock = new ManualClock()
  const runtime = new FakeRuntime()
  const owner = new RecordingOwner()
  const proxy = new QueueProxy({ channel: runtime.channel, clock, owner, resetGraceMs: 250, ...(memory !== undefined && { memory }) })
  context?.after(() => runtime.close())
  return {
    clock, runtime, owner, proxy,
    async open(over = {}) {
      const one = testInvocation(clock, over)
      proxy.open(one.invocation)
      return { ...one, opened: await runtime.opened() }
    },
  }
}

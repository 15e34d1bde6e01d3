/**
 * One faaslet host as the worker sees it: a sandboxed process that runs the faaslets of one tenant.
 *
 * Its own channel carries commands and events (contract/frames.ts HostCommand, HostEvent); each revision that it serves has
 * a connection of its own (attachment.ts), so that nothing here lies on the way of an invocation.
 *
 *   starting ──hello──▶ generic ──first attachment──▶ a tenant's ──▶ gone
 *
 * Invariants:
 *   H1. A host that has had a tenant never gets another one.
 *   H2. A host that breaks the protocol is killed: it runs foreign code, and is believed nothing that is not checked.
 *   H3. A host that dies by itself is told as lost instances, never as a function that exited: no guest can exit its host.
 */
import { FrameDecoder, FrameType, encodeFrame, parseJson } from '#contract/frames.ts'
import type { HelloFrame, HostCommand, HostEvent } from '#contract/frames.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Sandbox, SandboxExit } from '../sandbox/sandbox.ts'

const PRINTED_BYTES_MAX = 4096

/** As contract/frames.ts HostEvent says; what else comes ends the host (H2). */
const eventNames: ReadonlySet<string> = new Set(['booted', 'ripe', 'recorded', 'damaged'] satisfies HostEvent['event'][])

export class HostProcess {
  readonly id: string
  readonly sandbox: Sandbox
  readonly hello = Promise.withResolvers<HelloFrame>()
  /** Whose code it runs; undefined while it is generic. */
  tenant: string | undefined
  /** Revisions that it serves now. */
  attachments = 0
  /** Of each that has a place: how long what runs there may compute at most, from now on, ms. */
  readonly computing = new Set<() => number>()
  onEvent: ((event: HostEvent) => void) | undefined
  #state: 'alive' | 'gone' = 'alive'
  #stops = false
  #printed = ''

  constructor(sandbox: Sandbox) {
    this.id = sandbox.id
    this.sandbox = sandbox
    this.hello.promise.catch(() => {})
    const decoder = new FrameDecoder((type, _flags, _stream, payload) => this.#receive(type, payload))
    sandbox.channel.on('data', (chunk: Buffer) => {
      try {
        decoder.push(chunk)
      } catch (thrown) {
        this.kill(PlatformError.from(thrown).message)
      }
    })
    sandbox.channel.on('error', () => {})
    // Functions print through their frames: what comes here is Node's own last message.
    const keep = (chunk: Buffer): void => {
      this.#printed = (this.#printed + chunk.toString()).slice(-PRINTED_BYTES_MAX)
    }
    sandbox.stdout.on('data', keep)
    sandbox.stderr.on('data', keep)
    void sandbox.exited.then((exit) => {
      this.#state = 'gone'
      this.hello.reject(new PlatformError('INSTANCE_LOST', `The faaslet host ended at its start (${JSON.stringify(exit)}). ${this.printed}`.trim()))
    })
  }

  get isGeneric(): boolean {
    return this.#state === 'alive' && this.tenant === undefined
  }

  /** How long it may be computing for somebody at most, and not answer others, as it has one thread; ms. 0 when it should answer at once. */
  busyMsMax(): number {
    return this.#stops ? Math.max(0, ...[...this.computing].map((most) => most())) : 0
  }

  get isAlive(): boolean {
    return this.#state === 'alive'
  }

  /** How its functions' places ended with it. It runs the code of many: that it died is the fault of none of them, but of the platform (H3). */
  exitOfItsPlaces(exit: SandboxExit): SandboxExit {
    const how = diedBy(exit)
    return how === undefined ? exit : { cause: 'destroyed', reason: `its faaslet host ${how}` }
  }

  /** What it printed last: of a crash, for the operator and nobody else. */
  get printed(): string {
    return this.#printed.trim()
  }

  command(command: HostCommand): void {
    if (this.#state === 'alive') this.sandbox.channel.write(encodeFrame(FrameType.command, 0, 0, JSON.stringify(command)))
  }

  kill(reason: string): void {
    this.#state = 'gone'
    void this.sandbox.destroy(reason)
  }

  #receive(type: number, payload: Buffer): void {
    if (type === FrameType.hello) {
      const hello = parseJson<HelloFrame>(payload.toString())
      this.#stops = hello.stops === true
      return this.hello.resolve(hello)
    }
    const event = type === FrameType.event ? parseJson<HostEvent | null>(payload.toString()) : undefined
    if (event == null || !eventNames.has(event.event) || typeof event.id !== 'string') {
      throw new PlatformError('PROTOCOL_BROKEN', `The faaslet host sent a frame of type ${type} that it may not send.`)
    }
    this.onEvent?.(event)
  }
}

/** Undefined when the platform ended it, or its limits. */
export function diedBy(exit: SandboxExit): string | undefined {
  if (exit.cause === 'exited') return `exited with code ${exit.code}`
  return exit.cause === 'signalled' ? `was ended by ${exit.signal}` : undefined
}

/**
 * Begins every invocation, wherever it comes from, and makes its record when it has ended.
 *
 * Four ways lead here: an HTTP request, the native API, a call of another function, and the queue of asynchronous work.
 * They differ in who waits for the answer (the sink) and who answers for the quota; from here on they are the same.
 *
 * Invariants:
 *   N1. Each invocation gives exactly one record, and counts in its namespace's concurrency until then.
 */
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { InvocationIds } from '#contract/ids.ts'
import { Invocation } from '#contract/invocation.ts'
import type { AnswerSink, InvocationOptions, InvocationRequest } from '#contract/invocation.ts'
import type { InvocationOrigin, InvocationRecord } from '#contract/invocation-record.ts'
import type { SnapshotFigures, StartFigures } from '#contract/start-figures.ts'
import { costOf, gbMsOf } from '#telemetry/price.ts'
import type { Prices } from '#telemetry/price.ts'
import { ownTraceparent } from '#telemetry/trace-context.ts'

export interface BeginOptions {
  readonly revision: Revision
  readonly origin: InvocationOrigin
  readonly request: InvocationRequest
  readonly sink: AnswerSink
  /** Default: a new one. */
  readonly id?: string
  readonly acceptedUs?: number
  /** W3C context that came in, if any. */
  readonly traceparent?: string | undefined
  readonly parent?: Invocation
  readonly attempt?: number
  readonly ended?: (invocation: Invocation) => void
}

export interface InvokerOptions {
  readonly activator: { submit(invocation: Invocation): void; ended(invocation: Invocation): void }
  readonly ids: InvocationIds
  readonly clock: Clock
  readonly prices: Prices
  /** Before the record is made: the last moment to complete what it says. */
  readonly ending: (invocation: Invocation) => void
  readonly recorded: (record: InvocationRecord) => void
  /** The traceparent of a new invocation's record. */
  readonly traceparentFor: (id: string, incoming: string | undefined) => string
}

/** Deeper than any program means to nest: a function that calls itself without end is stopped here. */
const CALL_DEPTH_MAX = 64

export class Invoker {
  readonly #options: InvokerOptions
  /** Slots, not a Set: see contract/stream-table.ts for what a Set costs here. */
  readonly #open: (Invocation | undefined)[] = []
  /** What to call when the invocation of the same slot has ended. */
  readonly #whenEnded: BeginOptions['ended'][] = []
  readonly #freeSlots: number[] = []
  #openCount = 0
  #state: 'open' | 'closing' = 'open'
  #drained: PromiseWithResolvers<void> | undefined

  constructor(options: InvokerOptions) {
    this.#options = options
  }

  get openCount(): number {
    return this.#openCount
  }

  /** @returns the invocation, so that its holder can cancel it. Its answer, or failure, goes to the sink, perhaps before this returns. */
  begin(begin: BeginOptions, bind?: (invocation: Invocation) => void): Invocation {
    const { ids, clock, activator } = this.#options
    const { parent, attempt } = begin
    const id = begin.id ?? ids.next()
    const own: InvocationOptions = {
      id,
      revision: begin.revision,
      origin: begin.origin,
      request: begin.request,
      sink: begin.sink,
      acceptedUs: begin.acceptedUs ?? clock.monotonicUs(),
      startedAtMs: clock.epochMs(),
      traceparent: this.#options.traceparentFor(id, begin.traceparent ?? (parent === undefined ? undefined : ownTraceparent(parent.traceparent, parent.id, parent.attempt))),
      ended: this.#ended,
    }
    const invocation = new Invocation(
      parent === undefined && attempt === undefined ? own : { ...own, ...(parent !== undefined && { parent, deadlineMs: parent.deadlineMs }), ...(attempt !== undefined && { attempt }) },
    )
    bind?.(invocation)
    this.#keep(invocation, begin.ended)
    if (this.#state === 'closing') {
      invocation.fail(new PlatformError('STOPPING', 'The platform is stopping; send the request again in a moment.'), clock.monotonicUs())
    } else if (invocation.depth > CALL_DEPTH_MAX) {
      invocation.fail(
        new PlatformError('CALL_DEPTH_EXCEEDED', `Functions called each other ${invocation.depth} deep, at most ${CALL_DEPTH_MAX} are allowed; look for a call that leads back to itself.`),
        clock.monotonicUs(),
      )
    } else {
      activator.submit(invocation)
    }
    return invocation
  }

  /** Takes no more, and resolves when those under way have ended or `graceMs` has passed; then they are cancelled. */
  async close(graceMs: number): Promise<void> {
    this.#state = 'closing'
    if (this.#openCount === 0) return
    this.#drained = Promise.withResolvers()
    const timer = this.#options.clock.after(graceMs, () => {
      for (const invocation of [...this.#open]) invocation?.cancel(new PlatformError('STOPPING', 'The platform stopped before the invocation ended.'))
      this.#drained?.resolve()
    })
    await this.#drained.promise
    timer.cancel()
  }

  #keep(invocation: Invocation, ended: BeginOptions['ended']): void {
    const slot = this.#freeSlots.pop() ?? this.#open.length
    invocation.slot = slot
    this.#open[slot] = invocation
    this.#whenEnded[slot] = ended
    this.#openCount++
  }

  /** One function for all invocations, not a closure for each. */
  readonly #ended = (invocation: Invocation): void => {
    const { slot } = invocation
    const whenEnded = this.#whenEnded[slot]
    this.#open[slot] = undefined
    this.#whenEnded[slot] = undefined
    this.#freeSlots.push(slot)
    this.#openCount--
    this.#options.activator.ended(invocation)
    this.#options.ending(invocation)
    this.#options.recorded(this.#recordOf(invocation))
    if (this.#openCount === 0) this.#drained?.resolve()
    whenEnded?.(invocation)
  }

  #recordOf(invocation: Invocation): InvocationRecord {
    const { revision, error, parent, startFigures } = invocation
    const handed = invocation.handedUs > 0
    const runUs = handed ? invocation.endedUs - invocation.handedUs : 0
    const totalUs = Math.round(invocation.endedUs - invocation.acceptedUs)
    // Whole µs that add up. A start counts as far as this invocation waited for it: its instance may have been started before
    // it came. What it waited for last was the loading of the code, before that the sandbox; the rest is the queue's.
    const handedUs = Math.min(Math.round(runUs), totalUs)
    const placementUs = Math.min(Math.round(invocation.placementUs), totalUs - handedUs)
    const loadedUs = Math.min(Math.round(invocation.initUs), totalUs - handedUs - placementUs)
    const sandboxedUs = Math.min(Math.round(invocation.sandboxUs), totalUs - handedUs - placementUs - loadedUs)
    // A host that makes an instance for each invocation does so after the hand-over.
    const startedUs = startFigures === undefined ? 0 : Math.min(Math.round(startFigures.restoreUs), handedUs)
    const initUs = startFigures?.start === 'cold' ? loadedUs + startedUs : loadedUs
    const sandboxUs = startFigures?.start === 'cold' ? sandboxedUs : sandboxedUs + startedUs
    const ranUs = handedUs - startedUs
    // Three digits: a billionth of a GB-second, and short to write.
    const gbMs = Math.round(gbMsOf(Math.max(0, runUs - startedUs), revision.config.memoryMb) * 1000) / 1000
    const record: Writable<InvocationRecord> = {
      id: invocation.id,
      namespace: revision.namespace,
      function: revision.function,
      revision: revision.number,
      origin: invocation.origin,
      traceparent: invocation.traceparent,
      attempt: invocation.attempt,
      startedAtMs: invocation.startedAtMs,
      outcome: error === undefined ? 'ok' : 'error',
      status: invocation.status,
      start: invocation.start,
      instance: invocation.instance,
      totalUs,
      queueUs: totalUs - ranUs - placementUs - initUs - sandboxUs,
      placementUs,
      sandboxUs,
      initUs,
      runUs: ranUs,
      cpuUs: invocation.cpuUs,
      memoryPeakMb: Math.round(invocation.memoryPeakKb / 102.4) / 10,
      memoryLimitMb: revision.config.memoryMb,
      gbMs,
      cost: costOf(gbMs, invocation.start, this.#options.prices),
      bytesIn: invocation.bytesIn,
      bytesOut: invocation.bytesOut,
      logLines: invocation.logLines,
    }
    if (parent !== undefined) record.parent = parent.id
    if (startFigures?.start === 'snapshot') record.snapshot = snapshotOf(startFigures)
    if (invocation.transfer !== undefined) record.transfer = invocation.transfer
    if (error !== undefined) record.error = error.toBody()
    return record
  }
}

function snapshotOf({ start: _, ...figures }: StartFigures): SnapshotFigures {
  return figures
}

type Writable<Type> = { -readonly [Key in keyof Type]: Type[Key] }

/**
 * One revision's waiting invocations and its instances: where an invocation meets an instance.
 *
 * Decisions are burst-decision.ts (hand over, wait, start how many) and the autoscaler's desired count; this part keeps
 * their inputs up to date and does what they say.
 *
 *   submit ─▶ room? ─yes─▶ instance.proxy.open
 *               │no
 *               ▼
 *             queue ─▶ start more? ─▶ host.start ─▶ ready ─▶ pump the queue
 *
 * Invariants:
 *   P1. An invocation that was submitted is handed over, or fails with a reason: it is never forgotten.
 *   P2. While the queue is not empty, an instance is ready, starting, or about to be (checked every RECHECK_MS).
 *   P3. A revision whose code cannot be loaded is not started again before its backoff has passed; its invocations get
 *       the same error at once.
 *   P4. What waits is answered at its own deadline (its caller's, or the longest wait), wherever in the queue it is: at
 *       most RECHECK_MS late, by the one timer of P2.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { hash32 } from '#contract/rendezvous.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import { concurrencyDefaults } from '#contract/function-config.ts'
import type { InstanceLoad } from '#contract/instance-load.ts'
import type { Invocation, InvocationHolder } from '#contract/invocation.ts'
import type { FunctionScaler } from '#autoscaler/function-scaler.ts'
import type { Instance, InstanceOwner } from '#worker/instance.ts'
import type { QueueProxyOwner } from '#worker/queue-proxy-owner.ts'
import { activeCount, burstSettings, chooseInstance, FunctionHistory, RECHECK_MS, startCount, WAIT } from './burst-decision.ts'
import type { BurstLoad, BurstSettings } from './burst-decision.ts'
import { InvocationQueue } from './invocation-queue.ts'

/** Where instances come from: the scheduler and the workers behind it. */
export interface InstanceHost {
  start(revision: Revision, owner: InstanceOwner): Promise<Instance>
  stemCellCount(revision: Revision): number
  readonly cores: number
  /** Idle share of all cores lately, 0..1; undefined while unknown. */
  cpuIdleShare(): number | undefined
}

export interface PoolConfig {
  /** Most invocations waiting for one revision. */
  readonly queueLengthMax: number
  /** Longest wait for an instance, ms. */
  readonly queueTimeoutMs: number
}

export type LogReceiver = (revision: Revision, ...entry: Parameters<QueueProxyOwner['logged']>) => void

export interface RevisionPoolOptions {
  readonly revision: Revision
  readonly host: InstanceHost
  readonly clock: Clock
  readonly random: () => number
  readonly config: PoolConfig
  readonly scaler: FunctionScaler
  readonly called: QueueProxyOwner['called']
  readonly logged: LogReceiver
  readonly warn: (message: string, error: unknown) => void
}

const FAILURE_BACKOFF_MS = 250
const FAILURE_BACKOFF_MS_MAX = 10_000
/** How often the CPU is looked at while invocations wait. */
const CPU_SAMPLE_MS = 50

export class RevisionPool implements InstanceOwner, InvocationHolder {
  readonly revision: Revision
  readonly history = new FunctionHistory()
  readonly scaler: FunctionScaler
  readonly #host: InstanceHost
  readonly #clock: Clock
  readonly #config: PoolConfig
  readonly #settings: BurstSettings
  readonly #queue = new InvocationQueue()
  /** The ready instances, and at the same index their loads and what colours are matched with: the decisions read only these. */
  readonly #instances: Instance[] = []
  readonly #loads: InstanceLoad[] = []
  readonly #seeds: number[] = []
  readonly #load: BurstLoad
  readonly #options: RevisionPoolOptions
  #starting = 0
  /** For those who wait for an instance without an invocation. */
  #prepared: PromiseWithResolvers<void> | undefined
  #recheckTimer: Timer | undefined
  #cpuSampledMs = 0
  /** Not later than the earliest time at which one that waits has waited too long, monotonic µs (P4). */
  #expiryUs = Infinity
  #failure: { readonly error: PlatformError; readonly untilMs: number; readonly backoffMs: number } | undefined
  /** Grows when instances that were asked for before would be out of date. */
  #generation = 0
  #state: 'open' | 'retired' = 'open'

  constructor(options: RevisionPoolOptions) {
    const { config } = options.revision
    this.revision = options.revision
    this.scaler = options.scaler
    this.#options = options
    this.#host = options.host
    this.#clock = options.clock
    this.#config = options.config
    this.#settings = burstSettings({
      policy: config.burst,
      concurrency: config.concurrency ?? concurrencyDefaults[config.kind],
      instancesMax: config.instancesMax,
      // Programs of their own compute in processes that the runtime does not see into.
      waitingReported: config.kind === 'node' || config.kind === 'python',
      random: options.random,
    })
    this.#load = { nowUs: 0, queueLength: 0, startingCount: 0, cores: options.host.cores, stemCells: 0 }
  }

  get queueLength(): number {
    return this.#queue.length
  }

  get readyCount(): number {
    return this.#instances.length
  }

  get startingCount(): number {
    return this.#starting
  }

  get inFlight(): number {
    let inFlight = 0
    for (const load of this.#loads) inFlight += load.inFlight
    return inFlight
  }

  get instances(): readonly Instance[] {
    return this.#instances
  }

  /** @throws nothing: an invocation that cannot wait fails (P1). */
  submit(invocation: Invocation): void {
    if (this.#queue.length === 0) {
      const index = chooseInstance(this.#settings, this.history, this.#loads, invocation.acceptedUs, this.#load.cores, invocation.color, this.#seeds)
      if (index !== WAIT) {
        const instance = this.#instances[index]!
        // It is warm were it the first on it: it has not waited for the start.
        instance.startReported = true
        return this.#handOver(invocation, instance)
      }
    }
    this.#enqueue(invocation)
  }

  cancelInvocation(invocation: Invocation, reason: PlatformError): void {
    if (invocation.state !== 'queued') return
    this.#queue.forgot()
    invocation.fail(reason, this.#clock.monotonicUs())
  }

  /** For each invocation that was submitted, once, when it has ended. */
  ended(invocation: Invocation): void {
    if (invocation.handedUs > 0) this.scaler.ended(invocation.endedUs / 1000)
  }

  /** Brings the count up to what the autoscaler wants. */
  startUpTo(count: number): void {
    if (this.#state === 'retired' || this.#failing() !== undefined) return
    const wanted = Math.min(count, this.revision.config.instancesMax) - this.#instances.length - this.#starting
    for (let started = 0; started < wanted; started++) this.#start()
  }

  /** Resolves when there is an instance; one is started unless it is there or on its way. @throws why none could be started (P3). */
  async prepare(): Promise<void> {
    if (this.#instances.length > 0) return
    const failure = this.#failing()
    if (failure !== undefined) throw failure
    this.#prepared ??= Promise.withResolvers<void>()
    const { promise } = this.#prepared
    if (this.#starting === 0) this.#start()
    await promise
  }

  /** The autoscaler's tick: brings the count to what the load of the last minutes asks for. */
  scale(nowMs: number): void {
    const desired = this.scaler.desiredCount(nowMs, this.#instances.length, this.#host.cpuIdleShare())
    this.startUpTo(desired)
    const prewarmAtMs = this.scaler.prewarmAtMs(nowMs)
    if (prewarmAtMs !== undefined && prewarmAtMs <= nowMs) this.startUpTo(1)
    const idle = this.#instances.map((instance) => ({ instance, inFlight: instance.proxy.load.inFlight, idleSinceMs: instance.idleSinceUs / 1000 }))
    for (const { instance } of this.scaler.toStop(idle, desired, nowMs)) this.stop(instance, 'it was idle')
  }

  /** Ends one instance when its invocations have ended. */
  stop(instance: Instance, reason: string): void {
    this.#forget(instance)
    instance.stop(reason)
  }

  /** What the instances were started with has changed: they end when they have finished what they run, and new ones start on demand. */
  replaceInstances(reason: string): void {
    this.#generation++
    // What was wrong may have been just that.
    this.#failure = undefined
    for (const instance of [...this.#instances]) this.stop(instance, reason)
    if (this.#queue.length > 0) this.#pump()
    else this.startUpTo(this.revision.config.instancesMin)
  }

  /** No new invocations come: instances end when they have finished. */
  retire(reason: string): void {
    this.#state = 'retired'
    if (this.#queue.length > 0) return
    for (const instance of [...this.#instances]) this.stop(instance, reason)
  }

  get isRetired(): boolean {
    return this.#state === 'retired'
  }

  get isEmpty(): boolean {
    return this.#instances.length === 0 && this.#starting === 0 && this.#queue.length === 0
  }

  // What its instances tell (InstanceOwner).

  changed(instance: Instance): void {
    if (instance.state.phase !== 'ready') this.#forget(instance)
    if (this.#queue.length > 0) this.#pump()
    if (this.#state === 'retired' && instance.proxy.load.inFlight === 0 && this.#queue.length === 0) this.retire('its revision gets no more traffic')
  }

  gone(instance: Instance): void {
    this.#forget(instance)
    if (this.#queue.length > 0) this.#pump()
  }

  called(_instance: Instance, call: Parameters<QueueProxyOwner['called']>[0]): void {
    this.#options.called(call)
  }

  logged(_instance: Instance, ...[invocation, level, text]: Parameters<QueueProxyOwner['logged']>): void {
    this.#options.logged(this.revision, invocation, level, text)
  }

  #enqueue(invocation: Invocation): void {
    const failure = this.#failing()
    if (failure !== undefined && this.#instances.length === 0) return invocation.fail(failure, this.#clock.monotonicUs())
    if (this.#queue.length >= this.#config.queueLengthMax) {
      const message = `${this.#queue.length} invocations of ${this.revision.function} are waiting already, the most that may; send it again later or raise its instancesMax.`
      return invocation.fail(new PlatformError('QUEUE_FULL', message), this.#clock.monotonicUs())
    }
    invocation.holder = this
    const nowUs = this.#clock.monotonicUs()
    const expiryUs = this.#expiryOf(invocation, nowUs, this.#clock.epochMs())
    if (this.#queue.length === 0 || expiryUs < this.#expiryUs) this.#expiryUs = expiryUs
    this.#queue.push(invocation)
    this.#pump()
  }

  /** Hands over what finds room, and starts more for what does not. */
  #pump(): void {
    const nowUs = this.#clock.monotonicUs()
    if (nowUs >= this.#expiryUs) this.#expire(nowUs)
    while (this.#queue.length > 0) {
      const index = chooseInstance(this.#settings, this.history, this.#loads, nowUs, this.#load.cores, this.#queue.peek()!.color, this.#seeds)
      if (index === WAIT) break
      this.#handOver(this.#queue.shift()!, this.#instances[index]!)
    }
    if (this.#queue.length === 0) return
    if (this.#failing() === undefined) {
      const load = this.#load
      load.nowUs = nowUs
      load.queueLength = this.#queue.length
      load.startingCount = this.#starting
      load.stemCells = this.#host.stemCellCount(this.revision)
      const count = startCount(this.#settings, this.history, this.#loads, load)
      for (let started = 0; started < count; started++) this.#start()
    }
    this.#recheckLater(nowUs)
  }

  #handOver(invocation: Invocation, instance: Instance): void {
    invocation.instance = instance.id
    const isFirst = !instance.startReported
    instance.startReported = true
    if (!isFirst || instance.readyUs < invocation.acceptedUs) {
      invocation.start = 'warm'
    } else {
      invocation.start = instance.times.kind
      invocation.sandboxUs = instance.times.sandboxUs
      invocation.initUs = instance.times.initUs
    }
    instance.proxy.open(invocation)
    // One that could not be handed over has failed already, and is not counted when it ends either.
    if (invocation.handedUs > 0) this.scaler.handedOver(invocation.handedUs / 1000)
  }

  #start(): void {
    this.#starting++
    const generation = this.#generation
    const askedUs = this.#clock.monotonicUs()
    const fromStemCell = this.#host.stemCellCount(this.revision) > 0
    this.#host.start(this.revision, this).then(
      (instance) => {
        this.#starting--
        this.history.observeStart(this.#clock.monotonicUs() - askedUs, fromStemCell)
        if (generation !== this.#generation) {
          instance.stop('it was started with what has changed since')
          return this.#startedInVain()
        }
        this.#failure = undefined
        if (instance.state.phase !== 'ready') return this.#startedInVain()
        instance.proxy.observer = this.history
        this.#instances.push(instance)
        this.#loads.push(instance.proxy.load)
        this.#seeds.push(hash32(instance.id))
        this.#prepared?.resolve()
        this.#prepared = undefined
        if (this.#queue.length > 0) this.#pump()
        else if (this.#state === 'retired') this.retire('its revision gets no more traffic')
      },
      (thrown: unknown) => {
        this.#starting--
        // A failure with what has changed since says nothing about the next start.
        if (generation !== this.#generation) this.#startedInVain()
        else this.#startFailed(PlatformError.from(thrown))
      },
    )
  }

  /** Neither an instance nor a failure came of it: whoever still waits gets another. */
  #startedInVain(): void {
    this.#pump()
    if (this.#prepared !== undefined && this.#starting === 0 && this.#instances.length === 0) this.#start()
  }

  #startFailed(error: PlatformError): void {
    const backoffMs = Math.min(FAILURE_BACKOFF_MS_MAX, (this.#failure?.backoffMs ?? FAILURE_BACKOFF_MS / 2) * 2)
    this.#failure = { error, untilMs: this.#clock.epochMs() + backoffMs, backoffMs }
    if (error.kind.fault === 'platform') this.#options.warn(`an instance of ${this.revision.namespace}/${this.revision.function} could not be started`, error)
    // Others may still serve what waits; with none left, waiting would be in vain.
    if (this.#instances.length > 0 || this.#starting > 0) return
    this.#prepared?.reject(error)
    this.#prepared = undefined
    const nowUs = this.#clock.monotonicUs()
    for (let invocation = this.#queue.shift(); invocation !== undefined; invocation = this.#queue.shift()) invocation.fail(error, nowUs)
  }

  #failing(): PlatformError | undefined {
    return this.#failure !== undefined && this.#clock.epochMs() < this.#failure.untilMs ? this.#failure.error : undefined
  }

  #forget(instance: Instance): void {
    const index = this.#instances.indexOf(instance)
    if (index < 0) return
    this.#instances.splice(index, 1)
    this.#loads.splice(index, 1)
    this.#seeds.splice(index, 1)
  }

  /** Predictions grow with the age of what runs, without an event: so look again while invocations wait (P2), and when one may have to go (P4). */
  #recheckLater(nowUs: number): void {
    if (this.#recheckTimer !== undefined) return
    const delayMs = Math.min(RECHECK_MS, Math.max(1, (this.#expiryUs - nowUs) / 1000))
    this.#recheckTimer = this.#clock.after(delayMs, () => {
      this.#recheckTimer = undefined
      if (this.#queue.length === 0) return
      const nowMs = this.#clock.epochMs()
      if (nowMs - this.#cpuSampledMs >= CPU_SAMPLE_MS) {
        this.#cpuSampledMs = nowMs
        const active = activeCount(this.#settings, this.#loads, this.#starting)
        this.history.observeCpu(this.#clock.monotonicUs(), this.#load.cores, this.#host.cpuIdleShare() ?? 0, active, this.#settings)
      }
      this.#pump()
    })
  }

  /** Looks through the whole queue, which the earliest expiry makes rare, and fails those that have waited too long (P4). */
  #expire(nowUs: number): void {
    const nowMs = this.#clock.epochMs()
    let nextUs = Infinity
    const late = this.#queue.waiting((invocation) => {
      const expiryUs = this.#expiryOf(invocation, nowUs, nowMs)
      if (expiryUs > nowUs) nextUs = Math.min(nextUs, expiryUs)
      return expiryUs <= nowUs
    })
    this.#expiryUs = nextUs
    for (const invocation of late) {
      // Whoever hears of the end of one may end others.
      if (invocation.state === 'queued') this.cancelInvocation(invocation, this.#timeoutOf(invocation, nowUs, nowMs))
    }
  }

  /** When it has waited too long, monotonic µs. */
  #expiryOf(invocation: Invocation, nowUs: number, nowMs: number): number {
    const longestWaitUs = invocation.acceptedUs + this.#config.queueTimeoutMs * 1000
    return invocation.deadlineMs === Infinity ? longestWaitUs : Math.min(longestWaitUs, nowUs + (invocation.deadlineMs - nowMs) * 1000)
  }

  #timeoutOf(invocation: Invocation, nowUs: number, nowMs: number): PlatformError {
    const waitedMs = Math.round((nowUs - invocation.acceptedUs) / 1000)
    const how = nowMs >= invocation.deadlineMs ? `before its caller's deadline, after ${waitedMs} ms` : `within ${waitedMs} ms`
    return new PlatformError('QUEUE_TIMEOUT', `No instance of ${this.revision.function} had room ${how}; send it again later or raise its instancesMax.`)
  }
}

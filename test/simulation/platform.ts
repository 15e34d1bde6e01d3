/**
 * A simulated platform that makes the product's own decisions: burst, balancer, autoscaler, keep-alive.
 *
 * Only what they act upon is simulated: instances that take time and CPU to start, compute one invocation at a time, let
 * many wait, and a hand-over that takes some time each way. The loop below is the one that activator/README.md describes.
 */
import assert from 'node:assert/strict'
import { activeCount, burstDefaults, burstSettings, chooseInstance, FunctionHistory, RECHECK_MS, startCount, WAIT } from '#activator/burst-decision.ts'
import type { BurstConfig, BurstLoad, BurstSettings } from '#activator/burst-decision.ts'
import type { BurstPolicy } from '#contract/function-config.ts'
import { ConcurrencyWindow } from '#autoscaler/concurrency-window.ts'
import { fixedKeepAlive, idleToStop } from '#autoscaler/keep-alive.ts'
import type { KeepAlive } from '#autoscaler/keep-alive.ts'
import { calm, decide, deciderConfigFor } from '#autoscaler/scale-decision.ts'
import type { DeciderConfig, DeciderState } from '#autoscaler/scale-decision.ts'
import type { Engine } from './engine.ts'

/** One invocation to come. It computes, then waits, then answers. */
export interface Arrival {
  readonly atUs: number
  readonly computeUs: number
  readonly waitUs: number
}

export interface FunctionOptions {
  readonly policy: BurstPolicy
  readonly concurrency: number
  readonly instancesMin: number
  readonly instancesMax: number
  readonly keepAliveMs: number
  readonly keepAlive?: KeepAlive
  /** false: waits occupy the instance like compute, but leave the CPU idle, and nothing tells. */
  readonly waitingReported: boolean
  /** CPU work of a start, and the time it takes beside. */
  readonly startCpuUs: number
  readonly startWaitUs: number
  readonly config?: BurstConfig
}

export const functionDefaults: FunctionOptions = {
  policy: { policy: 'predict' },
  concurrency: 100,
  instancesMin: 0,
  instancesMax: 1000,
  keepAliveMs: 600_000,
  waitingReported: true,
  startCpuUs: 8_000,
  startWaitUs: 2_000,
}

/** One way of a frame between platform and instance. */
const HAND_OVER_US = 30
const CPU_SAMPLE_US = 50_000
const AUTOSCALER_TICK_US = 2_000_000

class Instance {
  inFlight = 0
  computing = 0
  computingSinceUs = 0
  lastUsedUs = 0
  idleSinceMs = 0
  servedCount = 0
  /** Handed over, and behind what computes now. */
  readonly pending: Call[] = []
  isComputing = false
}

interface Call {
  readonly arrival: Arrival
  handedAtUs: number
  hasWaited: boolean
}

export interface FunctionResult {
  readonly latenciesUs: number[]
  /** Of each latency, what is not the invocation's own compute and wait. */
  readonly overheadsUs: number[]
  startedCount: number
  /** Started, and stopped without having served. */
  wastedCount: number
  instancesPeak: number
  /** Most starts under way at once. */
  startingPeak: number
  /** Instances × time, in instance-seconds. */
  instanceSeconds: number
}

export class SimulatedFunction {
  readonly result: FunctionResult = { latenciesUs: [], overheadsUs: [], startedCount: 0, wastedCount: 0, instancesPeak: 0, startingPeak: 0, instanceSeconds: 0 }
  readonly instances: Instance[] = []
  starting = 0
  readonly #engine: Engine
  readonly #options: FunctionOptions
  readonly #settings: BurstSettings
  readonly #decider: DeciderConfig
  readonly #history = new FunctionHistory()
  readonly #load: BurstLoad
  readonly #window: ConcurrencyWindow
  readonly #keepAlive: KeepAlive
  readonly #queue: Call[] = []
  #queueHead = 0
  #state: DeciderState = calm
  #inFlight = 0
  #isRechecking = false
  #isTicking = false
  #countedAtUs = 0
  #tickAtUs = 0
  #tickBusyUs = 0

  constructor(engine: Engine, options: FunctionOptions, random: () => number) {
    this.#engine = engine
    this.#options = options
    const { policy, concurrency, instancesMin, instancesMax, keepAliveMs, waitingReported, config = burstDefaults } = options
    this.#settings = burstSettings({ policy, concurrency, instancesMax, waitingReported, random, config })
    this.#decider = deciderConfigFor({ concurrency, instancesMin, instancesMax, keepAliveMs })
    this.#keepAlive = options.keepAlive ?? fixedKeepAlive(keepAliveMs)
    this.#window = new ConcurrencyWindow(0)
    this.#load = { nowUs: 0, queueLength: 0, startingCount: 0, cores: engine.cores, stemCells: 1 }
  }

  invoke(arrival: Arrival): void {
    if (this.#inFlight === 0 && this.#queueLength === 0) this.#keepAlive.busy(this.#nowMs)
    this.#queue.push({ arrival, handedAtUs: 0, hasWaited: false })
    this.#work()
    this.#tickLater()
  }

  get #nowMs(): number {
    return this.#engine.nowUs / 1000
  }

  get #queueLength(): number {
    return this.#queue.length - this.#queueHead
  }

  #work(): void {
    const { nowUs, cores } = this.#engine
    while (this.#queueLength > 0) {
      const index = chooseInstance(this.#settings, this.#history, this.instances, nowUs, cores)
      if (index === WAIT) break
      this.#handOver(this.#queue[this.#queueHead++]!, this.instances[index]!)
    }
    if (this.#queueLength === 0) {
      this.#queue.length = 0
      this.#queueHead = 0
      return
    }
    const load = this.#load
    load.nowUs = nowUs
    load.queueLength = this.#queueLength
    load.startingCount = this.starting
    const count = startCount(this.#settings, this.#history, this.instances, load)
    assert(this.instances.length + this.starting + count <= this.#options.instancesMax, 'Q2')
    for (let index = 0; index < count; index++) this.#start()
    this.#recheckLater()
  }

  #recheckLater(): void {
    if (this.#isRechecking) return
    this.#isRechecking = true
    let sampledAtUs = this.#engine.nowUs
    let sampledBusyUs = this.#engine.busyCoreUs
    const recheck = (): void => {
      const { nowUs, cores, busyCoreUs } = this.#engine
      if (this.#queueLength === 0) {
        this.#isRechecking = false
        return
      }
      if (nowUs - sampledAtUs >= CPU_SAMPLE_US) {
        const idleShare = 1 - (busyCoreUs - sampledBusyUs) / ((nowUs - sampledAtUs) * cores)
        const active = activeCount(this.#settings, this.instances, this.starting)
        this.#history.observeCpu(nowUs, cores, idleShare, active, this.#settings)
        sampledAtUs = nowUs
        sampledBusyUs = busyCoreUs
      }
      this.#work()
      this.#engine.after(RECHECK_MS * 1000, recheck)
    }
    this.#engine.after(RECHECK_MS * 1000, recheck)
  }

  #start(): void {
    const askedAtUs = this.#engine.nowUs
    this.starting++
    this.result.startedCount++
    this.result.startingPeak = Math.max(this.result.startingPeak, this.starting)
    this.#engine.after(this.#options.startWaitUs, () =>
      this.#engine.compute(this.#options.startCpuUs, () => {
        this.#count()
        this.starting--
        const instance = new Instance()
        instance.idleSinceMs = this.#nowMs
        instance.lastUsedUs = this.#engine.nowUs
        this.instances.push(instance)
        this.result.instancesPeak = Math.max(this.result.instancesPeak, this.instances.length)
        this.#history.observeStart(this.#engine.nowUs - askedAtUs, true)
        this.#work()
        this.#tickLater()
      }),
    )
  }

  #handOver(call: Call, instance: Instance): void {
    const { nowUs } = this.#engine
    assert(instance.inFlight < this.#options.concurrency, 'an instance never holds more than its concurrency')
    call.handedAtUs = nowUs
    instance.inFlight++
    if (instance.computing++ === 0) instance.computingSinceUs = nowUs
    instance.lastUsedUs = nowUs
    this.#inFlight++
    this.#window.record(this.#nowMs, this.#inFlight)
    this.#engine.after(HAND_OVER_US, () => {
      instance.pending.push(call)
      this.#computeNext(instance)
    })
  }

  #computeNext(instance: Instance): void {
    const call = instance.pending[0]
    if (instance.isComputing || call === undefined) return
    instance.pending.shift()
    instance.isComputing = true
    const { computeUs, waitUs } = call.arrival
    const free = (): void => {
      instance.isComputing = false
      this.#computeNext(instance)
    }
    this.#engine.compute(computeUs, () => {
      if (waitUs > 0 && !this.#options.waitingReported) {
        this.#engine.after(waitUs, () => {
          this.#engine.after(HAND_OVER_US, () => this.#answered(instance, call))
          free()
        })
        return
      }
      free()
      if (waitUs === 0) {
        this.#engine.after(HAND_OVER_US, () => this.#answered(instance, call))
        return
      }
      this.#engine.after(HAND_OVER_US, () => this.#waits(instance, call))
      this.#engine.after(HAND_OVER_US + waitUs, () => this.#answered(instance, call))
    })
  }

  #waits(instance: Instance, call: Call): void {
    const { nowUs } = this.#engine
    this.#history.observeCompute(nowUs - Math.max(call.handedAtUs, instance.computingSinceUs))
    call.hasWaited = true
    instance.computing--
    instance.computingSinceUs = nowUs
    this.#work()
  }

  #answered(instance: Instance, call: Call): void {
    const { nowUs } = this.#engine
    if (!call.hasWaited) {
      this.#history.observeCompute(nowUs - Math.max(call.handedAtUs, instance.computingSinceUs))
      instance.computing--
      instance.computingSinceUs = nowUs
    }
    instance.inFlight--
    instance.servedCount++
    instance.idleSinceMs = this.#nowMs
    this.#inFlight--
    this.#history.observeRun(nowUs - call.handedAtUs)
    this.#window.record(this.#nowMs, this.#inFlight)
    const { atUs, computeUs, waitUs } = call.arrival
    this.result.latenciesUs.push(nowUs - atUs)
    this.result.overheadsUs.push(nowUs - atUs - computeUs - waitUs)
    if (this.#inFlight === 0 && this.#queueLength === 0) this.#keepAlive.idle(this.#nowMs)
    this.#work()
  }

  #tickLater(): void {
    if (this.#isTicking) return
    this.#isTicking = true
    this.#engine.after(AUTOSCALER_TICK_US, () => {
      this.#isTicking = false
      this.#tick()
      if (this.instances.length + this.starting + this.#queueLength > 0) this.#tickLater()
    })
  }

  #tick(): void {
    const nowMs = this.#nowMs
    const { nowUs, busyCoreUs, cores } = this.#engine
    const cpuIdleShare = 1 - (busyCoreUs - this.#tickBusyUs) / (Math.max(1, nowUs - this.#tickAtUs) * cores)
    this.#tickBusyUs = busyCoreUs
    this.#tickAtUs = nowUs
    const decision = decide(
      this.#state,
      {
        atMs: nowMs,
        readyCount: this.instances.length,
        stableConcurrency: this.#window.average(nowMs, this.#decider.stableWindowMs),
        panicConcurrency: this.#window.average(nowMs, this.#decider.panicWindowMs),
        cpuIdleShare,
      },
      this.#decider,
    )
    this.#state = decision.state
    const missing = decision.desiredCount - this.instances.length - this.starting
    for (let index = 0; index < missing; index++) this.#start()
    const stopping = idleToStop(this.instances, decision.desiredCount, this.#keepAlive, nowMs)
    if (stopping.length > 0) this.#count()
    for (const instance of stopping) {
      if (instance.servedCount === 0) this.result.wastedCount++
      this.instances.splice(this.instances.indexOf(instance), 1)
    }
  }

  #count(): void {
    this.result.instanceSeconds += (this.instances.length * (this.#engine.nowUs - this.#countedAtUs)) / 1e6
    this.#countedAtUs = this.#engine.nowUs
  }
}

/** The value at or below which the share `rank` (0..1) of the sorted values lies. */
export function percentile(values: readonly number[], rank: number): number {
  assert(values.length > 0)
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.max(0, Math.ceil(sorted.length * rank) - 1)]!
}

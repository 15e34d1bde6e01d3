/**
 * Queue at a running instance or start one more: decided per request from predictions.
 *
 * The thesis shows what is at stake (3.5.4.3, observation 7): a provider that lets invocations queue at an instance has a
 * tail two orders of magnitude longer for long functions; one that never does starts an instance for each. Here both the
 * time until an instance would be free and the time until a new one would be ready are predicted, and the shorter wins.
 * The two classical extremes are policies of the same functions.
 *
 * The platform hands over late. An instance may hold `concurrency` invocations, but gets only so many computing ones as
 * amount to a small budget of predicted compute: trivial functions are pipelined deeply, long computations handed over one
 * by one, so that the next free instance takes the next. Invocations that wait for I/O do not count as computing.
 *
 *   predicted wait for compute = (rest of what computes now + (queue - 1) × compute estimate) / (ready + starting instances)
 *   predicted wait for a slot  = time until the next slot is free + (queue - free slots) × run estimate / all slots
 *   start more, while the longer of the two exceeds predicted start × startFactor, within instancesMax and the CPU's bound
 *
 * Bound by the CPU: instances that compute help up to the number of cores. More help only if those that occupy their
 * instance leave the CPU idle, and that is measured ({@link FunctionHistory.observeCpu}).
 *
 * Invariants:
 *   Q1. Decisions are pure functions of (settings, history, instances, load); nothing here reads a clock.
 *   Q2. ready + starting + startCount never exceeds instancesMax.
 *   Q3. With an invocation queued and no instance ready or starting, at least one is started.
 *   Q4. Under `predict`, the starts asked for never outnumber the queued invocations that no start is under way for.
 *   Q5. {@link chooseInstance} allocates nothing.
 */
import assert from 'node:assert/strict'
import { NO_COLOR } from '#contract/color.ts'
import type { BurstPolicy } from '#contract/function-config.ts'
import type { InstanceLoad } from '#contract/instance-load.ts'
import { pick } from './balancer.ts'

export interface BurstConfig {
  /** Predicted compute, µs, that may be bound to one instance ahead of time. Higher: more throughput of trivial functions, longer waits behind a slow one. */
  readonly handOverBudgetUs: number
  /** Compute per invocation, µs, assumed while nothing has been answered. Higher: more starts for an unknown function's first burst. */
  readonly computePriorUs: number
  /** Start when the predicted wait is this many times the predicted start. Above 1 because a start also costs CPU and memory. */
  readonly startFactor: number
  /** Start from a stem cell, µs, assumed while none was observed. */
  readonly stemStartPriorUs: number
  /** Start without a stem cell, µs, assumed while none was observed. */
  readonly bootStartPriorUs: number
  /** On an idle CPU, how many times the instances seen active may be active after the next decision. Higher: quicker, rougher. */
  readonly idleGrowthMax: number
  /** Most starts under way at once, per core: a start computes too, and many at once make each of them late. */
  readonly startsPerCoreMax: number
  /** How long a measurement of the CPU counts, µs. */
  readonly cpuSampleValidUs: number
}

export const burstDefaults: BurstConfig = {
  handOverBudgetUs: 2_000,
  computePriorUs: 100,
  startFactor: 2,
  stemStartPriorUs: 10_000,
  bootStartPriorUs: 60_000,
  idleGrowthMax: 4,
  startsPerCoreMax: 4,
  cpuSampleValidUs: 250_000,
}

/** What of a revision and its runtime the decisions need; made once per revision by {@link burstSettings}. */
export interface BurstSettings extends BurstConfig {
  readonly policy: BurstPolicy['policy']
  /** Of `queue-up-to`; otherwise unused. */
  readonly queueDepth: number
  /** Most invocations in flight at one instance. */
  readonly concurrency: number
  readonly instancesMax: number
  /** Whether the runtime sends `waiting` frames. Without them only an idle CPU tells that an invocation waits. */
  readonly waitingReported: boolean
  /** Numbers in [0, 1), for large sets of instances. */
  readonly random: () => number
}

/** What {@link startCount} needs to know beside the instances. Keep one object per function and change it in place. */
export interface BurstLoad {
  /** Monotonic µs. */
  nowUs: number
  /** Invocations that no instance has been chosen for. */
  queueLength: number
  startingCount: number
  /** Cores of the workers that may hold this function's instances. */
  cores: number
  /** Stem cells of its kind that are ready now. */
  stemCells: number
}

/** The answer of {@link chooseInstance}: the invocation stays in the queue. */
export const WAIT = -1

/** Without a colour, nobody looks at them. */
const NO_SEEDS: readonly number[] = []

/** @throws AssertionError when a limit is below 1. */
export function burstSettings(options: {
  readonly policy: BurstPolicy
  readonly concurrency: number
  readonly instancesMax: number
  readonly waitingReported: boolean
  readonly random: () => number
  readonly config?: BurstConfig
}): BurstSettings {
  const { policy, concurrency, instancesMax, waitingReported, random, config = burstDefaults } = options
  assert(concurrency >= 1 && instancesMax >= 1)
  assert(config.handOverBudgetUs > 0 && config.startFactor > 0 && config.idleGrowthMax >= 1)
  const queueDepth = policy.policy === 'queue-up-to' ? policy.depth : 1
  assert(queueDepth >= 1)
  return { ...config, policy: policy.policy, queueDepth, concurrency, instancesMax, waitingReported, random }
}

/** Until this many samples, an estimate is their plain mean; then each new one weighs a fifth. */
const MEAN_SAMPLES = 5

/** What a function's past says of its next invocation. One per revision; the activator feeds it. */
export class FunctionHistory {
  /** Compute per invocation, µs; negative while unknown. */
  computeUs = -1
  /** From hand-over to the answer's end, µs; negative while unknown. */
  runUs = -1
  stemStartUs = -1
  bootStartUs = -1
  #computeSamples = 0
  #runSamples = 0
  #stemSamples = 0
  #bootSamples = 0
  #cpuAtUs = -Infinity
  #cpuActiveCount = 0
  #cpuCapacity = 0

  /**
   * One invocation has computed: it was answered, or it began to wait (whichever comes first).
   * @param us Now minus the later of its hand-over and the instance's `computingSinceUs` (taken before moving that on), so
   *   that time spent behind others in the same instance is not counted.
   */
  observeCompute(us: number): void {
    this.computeUs = blend(this.computeUs, us, ++this.#computeSamples)
  }

  /** One invocation was answered, `us` after it was handed over. */
  observeRun(us: number): void {
    this.runUs = blend(this.runUs, us, ++this.#runSamples)
  }

  /** One instance became ready, `us` after it was asked for. */
  observeStart(us: number, fromStemCell: boolean): void {
    if (fromStemCell) this.stemStartUs = blend(this.stemStartUs, us, ++this.#stemSamples)
    else this.bootStartUs = blend(this.bootStartUs, us, ++this.#bootSamples)
  }

  /**
   * The CPU over the interval that ends now and began at the previous call. Call about every 50 ms while invocations
   * are queued; nothing need be called otherwise.
   * @param idleShare Of all `cores`, 0..1.
   * @param activeCount Invocations of this function that count as computing now, at most one per instance unless the
   *   runtime does not report waiting, plus its starting instances. See {@link activeCount}.
   */
  observeCpu(nowUs: number, cores: number, idleShare: number, activeCount: number, settings: BurstSettings): void {
    const isContinued = nowUs - this.#cpuAtUs <= settings.cpuSampleValidUs
    // Those active at both ends were probably active all along. Fewer than that makes the estimate only more careful.
    const activeThroughout = isContinued ? Math.min(activeCount, this.#cpuActiveCount) : 0
    this.#cpuAtUs = nowUs
    this.#cpuActiveCount = activeCount
    const busyCores = Math.max(0, 1 - idleShare) * cores
    const affordable = busyCores > 0 ? Math.floor((cores * activeThroughout) / busyCores) : Infinity
    this.#cpuCapacity = Math.min(Math.floor(activeThroughout * settings.idleGrowthMax), affordable)
  }

  /** How many may compute at once for the CPU's sake: the cores, or more when those that occupy instances leave it idle. */
  cpuCapacity(nowUs: number, cores: number, settings: BurstSettings): number {
    const isValid = nowUs - this.#cpuAtUs <= settings.cpuSampleValidUs
    return isValid ? Math.max(cores, this.#cpuCapacity) : cores
  }
}

/** The `activeCount` that {@link FunctionHistory.observeCpu} wants. */
export function activeCount(settings: BurstSettings, instances: readonly InstanceLoad[], startingCount: number): number {
  let count = startingCount
  for (const { computing } of instances) count += settings.waitingReported ? Math.min(1, computing) : computing
  return count
}

/**
 * How many computing invocations one instance may be handed under `predict`: as many as amount to the budget, at least 1,
 * at most `concurrency`; 1 while the compute time is unknown.
 */
export function handOverDepth(settings: BurstSettings, history: FunctionHistory): number {
  const { computeUs } = history
  if (computeUs < 0) return 1
  const depth = Math.floor(settings.handOverBudgetUs / Math.max(1, computeUs))
  return Math.max(1, Math.min(depth, settings.concurrency))
}

/**
 * Which instance gets the invocation at the head of the queue: an index into `instances`, or {@link WAIT}.
 * Call it until it says WAIT or the queue is empty; then, if any are left, {@link startCount}.
 *
 * @param instances The ready ones.
 * @param cores As in {@link BurstLoad}.
 * @param color Of that invocation (contract/color.ts).
 * @param seeds As in balancer.ts, `pickColored`.
 */
export function chooseInstance(
  settings: BurstSettings,
  history: FunctionHistory,
  instances: readonly InstanceLoad[],
  nowUs: number,
  cores: number,
  color = NO_COLOR,
  seeds = NO_SEEDS,
): number {
  switch (settings.policy) {
    case 'never-queue':
      return pick(instances, 1, 1, -Infinity, settings.random, color, seeds)
    case 'queue-up-to':
      return pick(instances, Math.min(settings.queueDepth, settings.concurrency), Infinity, -Infinity, settings.random, color, seeds)
    case 'predict': {
      const depth = handOverDepth(settings, history)
      if (!settings.waitingReported) {
        // More active than cores, and the CPU was idle: what seems to compute waits, and more fit into each instance.
        const capacity = history.cpuCapacity(nowUs, cores, settings)
        if (capacity > cores) {
          const share = Math.max(depth, Math.floor(capacity / Math.max(1, instances.length)))
          return pick(instances, settings.concurrency, share, -Infinity, settings.random, color, seeds)
        }
      }
      return pick(instances, settings.concurrency, depth, nowUs - settings.handOverBudgetUs, settings.random, color, seeds)
    }
  }
}

/**
 * How many instances to start now, for the invocations that {@link chooseInstance} left in the queue.
 * Call it after each event that leaves any, and every {@link RECHECK_MS} while any are left: predictions grow with the
 * age of what runs, without an event.
 */
export function startCount(
  settings: BurstSettings,
  history: FunctionHistory,
  instances: readonly InstanceLoad[],
  load: BurstLoad,
): number {
  const { queueLength, startingCount } = load
  const existing = instances.length + startingCount
  const allowed = settings.instancesMax - existing
  if (queueLength <= 0 || allowed <= 0) return 0
  switch (settings.policy) {
    case 'never-queue':
      return Math.max(0, Math.min(queueLength - startingCount, allowed))
    case 'queue-up-to': {
      let demand = queueLength
      for (const { inFlight } of instances) demand += inFlight
      return Math.max(0, Math.min(Math.ceil(demand / settings.queueDepth) - existing, allowed))
    }
    case 'predict': {
      const wanted = predictedNeed(settings, history, instances, load)
      return Math.max(existing === 0 ? 1 : 0, Math.min(wanted, allowed, queueLength - startingCount))
    }
  }
}

/** How often to ask {@link startCount} again while invocations are queued, ms. */
export const RECHECK_MS = 5

function predictedNeed(
  settings: BurstSettings,
  history: FunctionHistory,
  instances: readonly InstanceLoad[],
  load: BurstLoad,
): number {
  const { nowUs, queueLength, startingCount } = load
  const { concurrency } = settings
  const isComputeKnown = history.computeUs >= 0

  let busyCount = 0
  let oldestComputingUs = 0
  let freeSlots = startingCount * concurrency
  let oldestFullUs = 0
  let soonestFreeUs = Infinity
  for (const { inFlight, computing, computingSinceUs, lastUsedUs } of instances) {
    if (computing > 0) {
      busyCount += settings.waitingReported ? 1 : computing
      oldestComputingUs = Math.max(oldestComputingUs, nowUs - computingSinceUs)
    }
    if (inFlight < concurrency) {
      freeSlots += concurrency - inFlight
    } else {
      // A full instance was handed nothing since it became full: each of its invocations has run at least that long.
      const fullUs = nowUs - lastUsedUs
      oldestFullUs = Math.max(oldestFullUs, fullUs)
      soonestFreeUs = Math.min(soonestFreeUs, rest(history.runUs, fullUs))
    }
  }

  const cpuAllowed = Math.min(
    history.cpuCapacity(nowUs, load.cores, settings) - busyCount,
    Math.ceil(load.cores * settings.startsPerCoreMax),
  ) - startingCount
  if (cpuAllowed <= 0) return 0
  // Never 0: what is divided by it would be no number, and nothing would ever start (Q3).
  const acceptableUs = Math.max(1, predictedStartUs(settings, history, load.stemCells) * settings.startFactor)

  // Nothing is known of the first invocations but how long they have taken already.
  const computeUs = isComputeKnown ? history.computeUs : Math.max(settings.computePriorUs, oldestComputingUs)
  let workUs = (queueLength - 1) * computeUs
  let flowing = startingCount
  let soonestUs = Infinity
  for (const { computing, computingSinceUs } of instances) {
    if (computing === 0) {
      flowing++
      continue
    }
    const ageUs = nowUs - computingSinceUs
    const restUs = rest(computeUs, ageUs)
    soonestUs = Math.min(soonestUs, restUs)
    if (isComputeKnown && ageUs > Math.max(2 * computeUs, settings.handOverBudgetUs)) continue
    flowing++
    workUs += restUs + (computing - 1) * computeUs
  }
  let needed: number
  if (flowing > 0) needed = Math.ceil(workUs / acceptableUs) - flowing
  else needed = soonestUs > acceptableUs ? Math.max(1, Math.ceil(workUs / acceptableUs)) : 0

  const excess = queueLength - freeSlots
  if (excess > 0) {
    const isRunKnown = history.runUs >= 0
    const runUs = Math.max(1, isRunKnown ? history.runUs : Math.max(settings.computePriorUs, oldestFullUs))
    // Invocations of a burst end together: until the first of them does, no slot is free, however many there are.
    const untilFreeUs = !isRunKnown ? oldestFullUs : soonestFreeUs === Infinity ? runUs : soonestFreeUs
    const flowUs = Math.max(0, acceptableUs - untilFreeUs)
    // Smallest n with (excess - n × concurrency) × run / (slots + n × concurrency) ≤ what is left of the acceptable wait.
    const slots = (instances.length + startingCount) * concurrency
    const neededForSlots = Math.ceil((excess * runUs - flowUs * slots) / (concurrency * (runUs + flowUs)))
    needed = Math.max(needed, neededForSlots)
  }
  return Math.min(needed, cpuAllowed)
}

/** What is left of `expectedUs` after `ageUs`. What has already run longer than expected is expected to run as long again. */
function rest(expectedUs: number, ageUs: number): number {
  return ageUs < expectedUs ? expectedUs - ageUs : ageUs
}

/** µs from asking for an instance to its being ready. */
export function predictedStartUs(settings: BurstSettings, history: FunctionHistory, stemCells: number): number {
  if (stemCells > 0) return history.stemStartUs < 0 ? settings.stemStartPriorUs : history.stemStartUs
  return history.bootStartUs < 0 ? settings.bootStartPriorUs : history.bootStartUs
}

/** An exponentially weighted mean; a plain one over the first samples, so that a slow first call is soon forgotten. */
function blend(before: number, sample: number, sampleCount: number): number {
  if (sampleCount <= 1) return sample
  return before + (sample - before) / Math.min(sampleCount, MEAN_SAMPLES)
}

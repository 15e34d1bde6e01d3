/**
 * A cluster that runs workflows whose steps hand each other objects by reference, placed by the product's own policies.
 *
 * An invocation gets an instance of its own, as a faaslet does: it is placed, pulls what other workers hold of its inputs, computes, keeps its output on its
 * worker, and is gone. Its payload has real references, which the platform's part finds and opens to make the hints. Pulls and computing take
 * time by size; that neither gets slower on a full worker is a simplification, so latency is no figure here: bytes and load are.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { seededRandom } from '#base/seeded-random.ts'
import { colorOf } from '#contract/color.ts'
import { heldBytes } from '#scheduler/hints.ts'
import type { LocalityHints, Placement, WorkerView } from '#scheduler/placement.ts'
import { openReference, ReferenceKeys, sealReference } from '#transfer/reference.ts'
import { Heap } from './engine.ts'

export interface ClusterOptions {
  readonly workers: number
  readonly coresPerWorker: number
  readonly placement: Placement
  /** What the caller and the platform say about an invocation. */
  readonly hints: { readonly references: boolean; readonly colors: boolean }
  readonly seed: number
  /** Workflows begin at random, so many per second on average. */
  readonly workflowsPerS: number
  readonly workflows: number
}

export interface ClusterResult {
  readonly invocations: number
  /** Of all inputs, wherever they were. */
  readonly inputBytes: number
  readonly movedBytes: number
  /** The same by shape of workflow. */
  readonly byShape: Record<Shape, { inputBytes: number; movedBytes: number }>
  /** Most instances on one worker at a time. */
  readonly instancesPeak: number
  /** Instances per worker, averaged over placements. */
  readonly instancesMean: number
  /** The most by which a placement took a worker beyond max(cores, ⌈1.25 × mean⌉); 0: never. */
  readonly beyondBound: number
}

export const shapes = ['chain', 'scatter-gather', 'broadcast', 'shuffle'] as const
export type Shape = (typeof shapes)[number]

/** A step waits for its inputs: outputs of earlier steps, by index. */
interface Step {
  readonly inputs: readonly number[]
  readonly outputBytes: number
  readonly computeUs: number
}

const NAMESPACE = 'default'
const CHAIN_STEPS = 6
const FAN = 8
const PULL_BYTES_PER_US = 1_250
const PULL_US = 500

/** Objects of 10 KB to 100 MB, as many of each order of magnitude as of another. */
function stepsOf(shape: Shape, random: () => number): Step[] {
  const bytes = (): number => Math.round(10 ** (4 + 4 * random()))
  const step = (inputs: readonly number[], outputBytes = bytes()): Step => ({ inputs, outputBytes, computeUs: 5_000 + 45_000 * random() })
  const fan = Array.from({ length: FAN }, (_, index) => index)
  switch (shape) {
    case 'chain':
      return Array.from({ length: CHAIN_STEPS }, (_, index) => step(index === 0 ? [] : [index - 1]))
    case 'scatter-gather':
      // One producer per part (a camera, a shard), a filter for each, one that gathers.
      return [...fan.map(() => step([])), ...fan.map((index) => step([index])), step(fan.map((index) => FAN + index))]
    case 'broadcast':
      return [step([]), ...fan.map(() => step([0]))]
    case 'shuffle': {
      const mapped = bytes()
      return [...fan.map(() => step([], mapped)), ...fan.map(() => step(fan)), step(fan.map((index) => FAN + index))]
    }
  }
}

export function runCluster(options: ClusterOptions): ClusterResult {
  const { placement, hints, seed } = options
  const random = seededRandom(seed)
  const workers = Array.from({ length: options.workers }, (_, index) => ({
    id: `worker-${index}`, isAccepting: true, cores: options.coresPerWorker, memoryMb: 1024 ** 2, cpuPromised: 0, memoryPromisedMb: 0, instanceCount: 0, instancesMax: 100_000, stemCells: {},
  })) satisfies WorkerView[]
  const byId = new Map(workers.map((worker) => [worker.id, worker]))
  const keys = new ReferenceKeys({ id: 1, key: Buffer.alloc(32, 7) }, { nowMs: () => 0, randomBytes, objectLifeMs: 1 })
  const sizes = new Map<string, number>()
  const locate = (reference: string): { worker: string; bytes: number } => {
    const { worker, object } = openReference(keys, NAMESPACE, reference)
    return { worker, bytes: sizes.get(object)! }
  }
  const events = new Heap<() => void>()
  const byShape = Object.fromEntries(shapes.map((shape) => [shape, { inputBytes: 0, movedBytes: 0 }])) as ClusterResult['byShape']
  let nowUs = 0
  let invocations = 0
  let running = 0
  let runningSum = 0
  let instancesPeak = 0
  let beyondBound = 0

  const hintsOf = (payload: Buffer, workflow: number): LocalityHints | undefined => {
    const bytesByWorker = hints.references ? heldBytes(payload, locate) : undefined
    if (!hints.colors && bytesByWorker === undefined) return undefined
    return { ...(hints.colors && { color: colorOf(NAMESPACE, `workflow-${workflow}`) }), ...(bytesByWorker !== undefined && { bytesByWorker }) }
  }

  const begin = (workflow: number): void => {
    // Of its own randomness: it is the same whatever the policy makes of others.
    const own = seededRandom(seed ^ Math.imul(workflow + 1, 0x9e3779b1))
    const shape = shapes[Math.floor(own() * shapes.length)]!
    const steps = stepsOf(shape, own)
    const references = new Array<string | undefined>(steps.length)
    const missing = steps.map(({ inputs }) => inputs.length)
    const start = (index: number): void => {
      const { inputs, outputBytes, computeUs } = steps[index]!
      const payload = Buffer.from(JSON.stringify({ parts: inputs.map((input) => references[input]) }))
      const found = hintsOf(payload, workflow)
      const result = placement.place(workers, { kind: 'js', cpu: 0.01, memoryMb: 1, ...(found !== undefined && { hints: found }) })
      assert(result.kind === 'placed')
      const worker = byId.get(result.workerId)!
      worker.instanceCount++
      running++
      invocations++
      runningSum += running
      instancesPeak = Math.max(instancesPeak, worker.instanceCount)
      beyondBound = Math.max(beyondBound, worker.instanceCount - Math.max(worker.cores, Math.ceil((1.25 * running) / workers.length)))
      let movedBytes = 0
      for (const input of inputs) {
        const { worker: holder, bytes } = locate(references[input]!)
        byShape[shape].inputBytes += bytes
        if (holder !== worker.id) movedBytes += bytes
      }
      byShape[shape].movedBytes += movedBytes
      const pullUs = movedBytes === 0 ? 0 : PULL_US + movedBytes / PULL_BYTES_PER_US
      events.push(nowUs + pullUs + computeUs, () => {
        worker.instanceCount--
        running--
        const object = `${workflow}-${index}`
        sizes.set(object, outputBytes)
        references[index] = sealReference(keys, NAMESPACE, { worker: worker.id, object, invocation: object, function: shape, ordinal: 0 })
        for (const [next, { inputs }] of steps.entries()) if (inputs.includes(index) && --missing[next]! === 0) start(next)
      })
    }
    for (const [index, count] of missing.entries()) if (count === 0) start(index)
  }

  for (let workflow = 0, atUs = 0; workflow < options.workflows; workflow++, atUs += (-Math.log(1 - random()) / options.workflowsPerS) * 1e6) {
    events.push(atUs, () => begin(workflow))
  }
  while (events.size > 0) {
    nowUs = events.firstAt
    events.pop()!()
  }
  const inputBytes = shapes.reduce((sum, shape) => sum + byShape[shape].inputBytes, 0)
  const movedBytes = shapes.reduce((sum, shape) => sum + byShape[shape].movedBytes, 0)
  return { invocations, inputBytes, movedBytes, byShape, instancesPeak, instancesMean: runningSum / invocations / workers.length, beyondBound }
}

/**
 * What is deployed beside the user's module: takes an order, runs the function that it names, and reports.
 *
 * Loaded before the user's module, so that an Executor that the module makes knows that it is not in the user's program (executor.ts).
 *
 * Invariants:
 *   R1. An item that fails says nothing of its neighbours in the chunk: each has its outcome.
 *   R2. Results that other functions need are kept here, by reference; the report has only the references.
 */
import { get, getStream, put, SkepError } from 'skep'
import { decodeOrder, encode } from './envelope.ts'
import type { Keep, Order, Outcome, PartOrder, Report } from './envelope.ts'
import { partitionOf } from './partition.ts'
import { factsOf } from './remote-error.ts'

type Runs = (input: unknown, about?: unknown) => unknown
type Inputs = [input: unknown, about?: unknown]
type Module = Readonly<Record<string, unknown>>

/** Says to executor.ts where it is. */
;(globalThis as Record<symbol, unknown>)[Symbol.for('skep.map.remote')] = true

const GETS_AT_ONCE = 16
const gone: ReadonlySet<string> = new Set(['OBJECT_EXPIRED', 'OBJECT_USED_UP', 'OBJECT_LOST'])

export function serve(module: Module): { fetch(request: Request): Promise<Response> } {
  return {
    async fetch(request) {
      const report = await carryOut(module, decodeOrder(new Uint8Array(await request.arrayBuffer())))
      const failed = report.kind === 'outcomes' && report.outcomes.some((outcome) => !outcome.ok)
      return new Response(new Uint8Array(encodeReport(report)), { status: failed ? 500 : 200, headers: { 'content-type': 'application/x-skep-map' } })
    },
  }
}

async function carryOut(module: Module, order: Order): Promise<Report> {
  const run = find(module, order.run)
  const { work } = order
  if (work.kind === 'reduce') return reduce(run, work.references)
  const inputs: (() => Inputs | Promise<Inputs>)[] = work.kind === 'items' ? work.items.map((item) => () => [item]) : work.parts.map((part) => () => open(part, work.stream))
  const outcomes: Outcome[] = []
  for (const input of inputs) outcomes.push(await outcomeOf(async () => run(...(await input()))))
  if (order.keep === undefined || !outcomes.every((outcome) => outcome.ok)) return { kind: 'outcomes', outcomes }
  return keep(outcomes.map((outcome) => outcome.value), order.keep)
}

/** By the name it is exported under, else by its own: a default export has both. */
function find(module: Module, name: string): Runs {
  const found = module[name] ?? Object.values(module).find((value) => typeof value === 'function' && value.name === name)
  if (typeof found === 'function') return found as Runs
  return () => { throw new TypeError(`The module does not export ${name}. Write "export" before it; the module exports ${Object.keys(module).join(', ') || 'nothing'}.`) }
}

async function open({ reference, about }: PartOrder, stream: boolean): Promise<[input: unknown, about: unknown]> {
  return [stream ? getStream(reference) : await get(reference), about]
}

async function outcomeOf(act: () => unknown): Promise<Outcome> {
  try {
    return { ok: true, value: await act() }
  } catch (thrown) {
    // So that it stands in the log of the invocation, too.
    console.error(thrown)
    return { ok: false, error: factsOf(thrown) }
  }
}

/** A value that cannot be cloned is the failure of its item only. */
function encodeReport(report: Report): Buffer {
  try {
    return encode(report)
  } catch (thrown) {
    if (report.kind !== 'outcomes') throw thrown
    const outcomes = report.outcomes.map((outcome): Outcome => {
      try {
        encode(outcome)
        return outcome
      } catch (cause) {
        return { ok: false, error: factsOf(new TypeError('What the function returned cannot be sent: return data, no functions and no class instances with private state.', { cause })) }
      }
    })
    return encode({ kind: 'outcomes', outcomes } satisfies Report)
  }
}

/** One object per partition: the list of what each item has for it. */
async function keep(values: readonly unknown[], { partitions, only }: Keep): Promise<Report> {
  const wanted = only === undefined ? Array.from({ length: partitions }, (_, at) => at) : [only]
  const split = values.map((value) => partitionOf(value, partitions))
  const references = await Promise.all(wanted.map((at) => put(encode(split.map((parts) => parts[at])), { retrievals: 1 })))
  return { kind: 'kept', references }
}

async function reduce(run: Runs, references: readonly string[]): Promise<Report> {
  const { deserialize } = await import('node:v8')
  const lists: unknown[][] = []
  const lost: number[] = []
  for (let from = 0; from < references.length; from += GETS_AT_ONCE) {
    await Promise.all(references.slice(from, from + GETS_AT_ONCE).map(async (reference, offset) => {
      try {
        lists[from + offset] = deserialize(await get(reference)) as unknown[]
      } catch (thrown) {
        if (!(thrown instanceof SkepError) || !gone.has(thrown.code)) throw thrown
        lost.push(from + offset)
      }
    }))
  }
  if (lost.length > 0) return { kind: 'lost', which: lost.sort((a, b) => a - b) }
  return { kind: 'outcomes', outcomes: [await outcomeOf(() => run(lists.flat(1)))] }
}

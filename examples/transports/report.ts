/** What a workload says about a run: its result, where the time went, and what it used, from which costs are reckoned. */
import { isStorageName, storageNamed } from './storage.ts'
import type { Task } from './task.ts'
import { criticalPath, spansOf } from './trace.ts'
import type { Span } from './trace.ts'
import type { TransportName } from './transport.ts'

export interface Usage {
  /** Per function: how often it was invoked, and for how long in all, ms. A function that waits for another is being paid for too. */
  readonly functions: Readonly<Record<string, { readonly invocations: number; readonly ms: number }>>
  /** Objects between functions, when they go through a storage. */
  readonly storage: { readonly puts: number; readonly gets: number; readonly bytes: number }
  /** Bytes that functions handed each other by any transport, counted at each consumer. */
  readonly movedBytes: number
}

export interface RunReport<Result> {
  readonly transport: TransportName
  readonly result: Result
  readonly totalMs: number
  /** ms on the critical path, which add up to `totalMs`. */
  readonly phases: Readonly<Record<string, number>>
  readonly usage: Usage
}

/**
 * Ends the measured part of a run, and removes what it has left in a storage.
 * @param about Says what came out; its time is not measured.
 */
export async function report<Result>(task: Task<unknown>, about: () => Result): Promise<RunReport<Result>> {
  const span = task.span()
  await removeObjects(task.transportName, spansOf(span))
  const phases = Object.fromEntries(Object.entries(criticalPath(span)).map(([phase, ms]) => [phase, rounded(ms)]))
  return { transport: task.transportName, result: about(), totalMs: rounded(span.endMs - span.startMs), phases, usage: usageOf(span, task.transportName) }
}

/** What was handed over directly goes by itself. */
async function removeObjects(transport: TransportName, spans: Iterable<Span>): Promise<void> {
  if (!isStorageName(transport)) return
  const storage = storageNamed(transport)
  await Promise.all([...spans].flatMap(({ key }) => (key === undefined ? [] : storage.remove(key))))
}

export function usageOf(root: Span, transport: TransportName): Usage {
  const functions: Record<string, { invocations: number; ms: number }> = {}
  let puts = 0
  let gets = 0
  let putBytes = 0
  let movedBytes = 0
  for (const { kind, name, startMs, endMs, bytes = 0 } of spansOf(root)) {
    if (kind === 'function') {
      const of = (functions[name] ??= { invocations: 0, ms: 0 })
      of.invocations++
      of.ms = rounded(of.ms + endMs - startMs)
    } else if (kind === 'put') {
      puts++
      putBytes += bytes
    } else if (kind === 'get') {
      gets++
      movedBytes += bytes
    }
  }
  return { functions, storage: isStorageName(transport) ? { puts, gets, bytes: putBytes } : { puts: 0, gets: 0, bytes: 0 }, movedBytes }
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}

/** One invocation's record in a line: how it ended, how it started, where its time went, what it cost. */
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { bytes, duration, money } from './format.ts'

/** The phases that took time, in the order of an invocation's life. */
export function phases(record: InvocationRecord): string {
  const all: readonly (readonly [string, number])[] = [
    ['queue', record.queueUs], ['placement', record.placementUs], ['sandbox', record.sandboxUs], ['init', record.initUs], ['run', record.runUs],
  ]
  // A phase under 10 µs is not worth a word, but the run always is.
  return all.filter(([name, us]) => us >= 10 || name === 'run').map(([name, us]) => `${name} ${duration(us)}`).join(', ')
}

export function summary(record: InvocationRecord): string {
  const ended = record.outcome === 'ok' ? `${record.status}` : (record.error?.code ?? 'error')
  const cost = record.cost > 0 ? `, cost ${money(record.cost)}` : ''
  return `${ended} ${record.start} ${duration(record.totalUs)} (${phases(record)}) cpu ${duration(record.cpuUs)}, ${Math.round(record.memoryPeakMb)} of ${record.memoryLimitMb} MB, ` +
    `in ${bytes(record.bytesIn)}, out ${bytes(record.bytesOut)}${cost}`
}

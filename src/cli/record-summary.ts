/** One invocation's record in a line: how it ended, how it started, where its time went, what it cost; a second one says how it was restored. */
import { bandwidthMbPerS } from '#contract/start-figures.ts'
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

/** How it was restored, if it was: "restored in 15.0 ms (reap): pages 1965 prefetched, 2 faulted; read 8.06 MB, prefetch at 575 MB/s". */
export function restoreText({ snapshot }: InvocationRecord): string | undefined {
  if (snapshot === undefined) return undefined
  const { mode, restoreUs, bytesRead = 0, pagesPrefetched = 0, pagesFaulted = 0 } = snapshot
  // Where the kernel serves the pages, nobody counts them.
  const isCounted = pagesPrefetched + pagesFaulted > 0
  const pages = ([['prefetched', isCounted ? pagesPrefetched : undefined], ['faulted', isCounted ? pagesFaulted : undefined], ['recorded', snapshot.pagesRecorded], ['unused', snapshot.pagesUnused]] as const)
    .flatMap(([what, count]) => (count === undefined ? [] : `${count} ${what}`))
  const bandwidth = bandwidthMbPerS(snapshot)
  const read = [...(bytesRead === 0 ? [] : [`read ${bytes(bytesRead)}`]), ...(bandwidth === undefined ? [] : [`prefetch at ${bandwidth.toFixed(0)} MB/s`])]
  const told = [...(pages.length === 0 ? [] : [`pages ${pages.join(', ')}`]), ...(read.length === 0 ? [] : [read.join(', ')])].join('; ')
  return `restored in ${duration(restoreUs)}${mode === undefined ? '' : ` (${mode})`}${told === '' ? '' : `: ${told}`}`
}

function transferred({ transfer }: InvocationRecord): string {
  if (transfer === undefined) return ''
  const { objectsPut, bytesPut, bytesGot, bytesShared } = transfer
  return `${objectsPut === 0 ? '' : `, put ${bytes(bytesPut)}`}${bytesGot === 0 ? '' : `, got ${bytes(bytesGot)}`}${bytesShared === 0 ? '' : `, ${bytes(bytesShared)} as memory`}`
}

export function summary(record: InvocationRecord): string {
  const ended = record.outcome === 'ok' ? `${record.status}` : (record.error?.code ?? 'error')
  const restored = restoreText(record)
  const cost = record.cost > 0 ? `, cost ${money(record.cost)}` : ''
  return `${ended} ${record.start} ${duration(record.totalUs)} (${phases(record)}) cpu ${duration(record.cpuUs)}, ${Math.round(record.memoryPeakMb)} of ${record.memoryLimitMb} MB, ` +
    `in ${bytes(record.bytesIn)}, out ${bytes(record.bytesOut)}${transferred(record)}${cost}${restored === undefined ? '' : `\n${restored}`}`
}

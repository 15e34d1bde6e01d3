/**
 * What recording costs, and what an invocation touches: the first invocation from a snapshot, recorded, against the same one lazily
 * (thesis 5.3.4: 15 to 87 % more, 28 % on average).
 *
 * Both with the input that is replayed elsewhere, with a cold page cache, each the first invocation on an instance of its own, in
 * turn. Each round has a snapshot of its own, because a working set is recorded only where there is none.
 */
import { median, round } from '../../kit/figures.ts'
import type { ColdFunction } from '../../kit/cold-functions.ts'
import type { Disk } from '../../kit/disk.ts'
import type { FaasletLab } from '../../kit/faaslet-lab.ts'
import { emptyCache, revisionOf, USUAL_READ_AHEAD_KB } from './compare-modes.ts'

export interface RecordResult {
  readonly name: string
  readonly lazyMs: number
  /** With the read-ahead that disks usually have; what is recorded has the disk's own. */
  readonly lazy128kbMs?: number
  readonly recordMs: number
  readonly over: number
  /** What the replayed input touches, prefetched or not. */
  readonly pagesTouched: number
}

export async function measureRecording(options: { readonly lab: FaasletLab; readonly disk: Disk; readonly fn: ColdFunction; readonly rounds: number }): Promise<RecordResult> {
  const { lab, disk, fn, rounds } = options
  const recordMs: number[] = []
  const lazyMs: number[] = []
  const usualMs: number[] = []
  const pages: number[] = []
  const lazily = async (number: number, readAheadKb?: number): Promise<number> => {
    const attached = await disk.withReadAhead(readAheadKb, () => lab.attach(revisionOf(lab, fn, { mode: 'lazy' }, { number })))
    await emptyCache(disk, [lab.snapshotFiles(attached)])
    const { ms } = await lab.invoke(attached, fn.replayed)
    await lab.end(attached)
    return ms
  }
  for (let round = 0; round < rounds; round++) {
    const number = 2 + round
    const revision = revisionOf(lab, fn, { mode: 'lazy' }, { number })
    await lab.boot(revision)
    disk.sync()
    const recorded = await lab.record(revision, fn.replayed, (attached) => emptyCache(disk, [lab.snapshotFiles(attached)]))
    recordMs.push(recorded.ms)
    pages.push(recorded.figures.pagesRecorded!)
    disk.sync()
    lazyMs.push(await lazily(number))
    if (disk.canSetReadAhead && disk.readAheadKb !== USUAL_READ_AHEAD_KB) usualMs.push(await lazily(number, USUAL_READ_AHEAD_KB))
    lab.store.drop(`bench/${fn.name}@${number}`)
  }
  return {
    name: fn.name,
    lazyMs: round(median(lazyMs)),
    ...(usualMs.length > 0 && { lazy128kbMs: round(median(usualMs)) }),
    recordMs: round(median(recordMs)),
    over: round(median(recordMs.map((ms, index) => ms / lazyMs[index]!))),
    pagesTouched: median(pages),
  }
}

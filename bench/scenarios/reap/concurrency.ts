/**
 * Several cold functions at once (thesis 5.3.5, Figure 5.4): how long does each take, on average, from its snapshot to its answer?
 *
 * The functions are copies of one, in namespaces of their own: as many snapshots, so that no page that one reads from the disk is in
 * the page cache for another, and as many host processes, so that none waits for another's turn on a thread. Per round and mode
 * they are attached, invoked once each, the page cache is dropped, and all are invoked in the same turn of the event loop.
 */
import { availableParallelism } from 'node:os'
import { median, round } from '../../kit/figures.ts'
import type { ColdFunction } from '../../kit/cold-functions.ts'
import type { Disk } from '../../kit/disk.ts'
import type { Attached, FaasletLab } from '../../kit/faaslet-lab.ts'
import { emptyCache, revisionOf } from './compare-modes.ts'
import type { Variant } from './compare-modes.ts'

export interface ConcurrencyResult {
  readonly n: number
  /** Of each variant: mean over the functions, median over the rounds. */
  readonly ms: Readonly<Record<string, number>>
}

export interface ConcurrencyOptions {
  readonly lab: FaasletLab
  readonly disk: Disk
  readonly fn: ColdFunction
  readonly variants: readonly Variant[]
  readonly counts: readonly number[]
  readonly rounds: number
  readonly step: (text: string) => void
}

export async function measureConcurrency({ lab, disk, fn, variants, counts, rounds, step }: ConcurrencyOptions): Promise<ConcurrencyResult[]> {
  const most = Math.max(...counts)
  const namespaces = Array.from({ length: most }, (_, index) => `bench-${index}`)
  step(`${most} snapshots of ${fn.name}`)
  await inParallel(namespaces, availableParallelism(), async (namespace) => {
    const revision = revisionOf(lab, fn, { mode: 'lazy' }, { namespace })
    await lab.boot(revision)
    await lab.record(revision, fn.recorded)
  })
  disk.sync()
  const results: ConcurrencyResult[] = []
  for (const n of counts) {
    const samples = new Map<Variant, number[]>(variants.map((variant) => [variant, []]))
    for (let turn = 0; turn < rounds; turn++) {
      step(`${n} at once, round ${turn + 1} of ${rounds}`)
      for (let at = 0; at < variants.length; at++) {
        const variant = variants[(at + turn) % variants.length]!
        samples.get(variant)!.push(await together(namespaces.slice(0, n), variant))
      }
    }
    results.push({ n, ms: Object.fromEntries(variants.map((variant) => [variant.label, round(median(samples.get(variant)!))])) })
  }
  return results

  async function together(chosen: readonly string[], variant: Variant): Promise<number> {
    const attached: Attached[] = []
    try {
      await disk.withReadAhead(variant.readAheadKb, async () => {
        for (const namespace of chosen) attached.push(await lab.attach(revisionOf(lab, fn, variant, { namespace })))
      })
      for (const one of attached) await lab.invoke(one, fn.recorded)
      await emptyCache(disk, attached.map((one) => lab.snapshotFiles(one)))
      const answers = await Promise.all(attached.map((one) => lab.invoke(one, fn.replayed)))
      return answers.reduce((sum, { ms }) => sum + ms, 0) / answers.length
    } finally {
      await Promise.all(attached.map((one) => lab.end(one)))
    }
  }
}

async function inParallel<Item>(items: readonly Item[], width: number, act: (item: Item) => Promise<void>): Promise<void> {
  const left = [...items]
  const work = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await act(item)
  }
  await Promise.all(Array.from({ length: width }, work))
}

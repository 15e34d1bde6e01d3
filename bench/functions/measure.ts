/**
 * Measures what the functions are: image, working set, runs, how much of it another input shares, and how long it all takes.
 *
 * Question: do they resemble those of the thesis (Table 5.1; Figures 4.2 to 4.5), in proportion? Method: each function is booted
 * here, its memory written to a file as the pager wants it, and both inputs run while userfaultfd notes every page that is
 * touched first. Warm times are the best of five from a memory that is there. Not measured: restoring, hosts, the platform.
 *
 *   node bench/functions/measure.ts [name …]
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runsOfPages } from '../../src/pager/page-runs.ts'
import { record } from '../../src/pager/record.ts'
import { adoptMemory, openImage } from '../../src/pager/restore.ts'
import { PAGE_BYTES, pagesIn } from '../../src/pager/snapshot.ts'
import { contiguity, reuse } from '../../src/pager/working-set-facts.ts'
import { nonZeroRuns } from '../../src/pager/zero-pages.ts'
import type { Here } from './here.ts'
import { inputOf, whichInputs } from './inputs.ts'
import { bootListed, listedFunctions } from './listed.ts'

const WARM_RUNS = 5
const megabytes = (pages: number): string => ((pages * PAGE_BYTES) / 2 ** 20).toFixed(1)

async function measure(name: string): Promise<void> {
  const here = await bootListed(name)
  const { image } = here
  const stored = nonZeroRuns(image)
  const directory = mkdtempSync(join(tmpdir(), 'skep-measure-'))
  const imageFd = openSync(join(directory, 'image'), 'w+')
  try {
    ftruncateSync(imageFd, image.length)
    for (let at = 0; at < stored.length; at += 2) writeSync(imageFd, image, stored[at]! * PAGE_BYTES, stored[at + 1]! * PAGE_BYTES, stored[at]! * PAGE_BYTES)
    using opened = openImage({ imageFd, imageDirectFd: imageFd, imageOffset: 0, imageBytes: image.length, pagesStored: stored })
    const touched: Uint32Array[] = []
    for (const which of whichInputs) {
      const input = await inputOf(name, which)
      const memory = here.newMemory()
      using paged = adoptMemory(memory)
      const recording = record(paged, opened, 'userfaultfd')
      await here.invokeIn(memory, input)
      touched.push(runsOfPages(recording.read().faults.toSorted()))
    }
    const [first, second] = touched as [Uint32Array, Uint32Array]
    const { same, uniqueToSecond, sameShare } = reuse(first, second)
    const cells = [
      name, megabytes(pagesIn(stored)), megabytes(pagesIn(first)), megabytes(pagesIn(second)), contiguity(second).meanRunPages.toFixed(1),
      `${same}/${uniqueToSecond}`, `${(sameShare * 100).toFixed(1)} %`, `${Math.round(here.bootMs)} ms`, `${(await warmMs(name, here)).toFixed(1)} ms`,
    ]
    console.log(`| ${cells.join(' | ')} |`)
  } finally {
    closeSync(imageFd)
    rmSync(directory, { recursive: true })
  }
}

/** The quickest of some invocations whose memory is all there. */
async function warmMs(name: string, here: Here): Promise<number> {
  const input = await inputOf(name, 'replay')
  let quickestMs = Infinity
  for (let run = 0; run < WARM_RUNS; run++) {
    const memory = here.newMemory()
    new Uint8Array(memory.buffer).set(here.image)
    const startMs = performance.now()
    await here.invokeIn(memory, input)
    quickestMs = Math.min(quickestMs, performance.now() - startMs)
  }
  return quickestMs
}

const wanted = process.argv.slice(2)
console.log('| function | stored MB | record MB | replay MB | run, pages | same/unique | same | boot | warm |\n|---|---|---|---|---|---|---|---|---|')
for (const { name } of listedFunctions()) if (wanted.length === 0 || wanted.includes(name)) await measure(name)

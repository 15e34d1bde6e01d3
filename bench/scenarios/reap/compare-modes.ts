/**
 * One function, cold, in every way that a memory can be restored: all from the same files, each in a host process of its own.
 *
 * Method (thesis 4.3.1 and 5.3): recorded with one input; then, per iteration and mode, the page cache is dropped and the function is
 * invoked with the other input. The modes take turns within an iteration, each iteration beginning with another. A host is up, has the
 * function, and has run it before, so that what is compiled is compiled: the time is that of restoring and running. Answers of all
 * modes have to be the same.
 *
 * `learned` is the platform's own way in full: before it is measured, three other callers with inputs of their own have been served, and what
 * their starts missed is in the working set, too (pager/learning.ts). Of the input that is measured it has seen nothing, as the others.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Revision } from '#contract/function-config.ts'
import type { RestoreMode, StartFigures } from '#contract/start-figures.ts'
import { requireNative } from '#pager/native.ts'
import { learningDefaults } from '#pager/learning.ts'
import { openSnapshot, snapshotFileNames } from '#pager/open-snapshot.ts'
import { PREFETCH_MODE } from '#pager/restore.ts'
import { PAGE_BYTES, pagesIn } from '#pager/snapshot.ts'
import { median, round } from '../../kit/figures.ts'
import type { ColdFunction } from '../../kit/cold-functions.ts'
import type { Disk } from '../../kit/disk.ts'
import type { Answer, Attached, FaasletLab } from '../../kit/faaslet-lab.ts'

/** The read-ahead that disks usually have, KB. */
export const USUAL_READ_AHEAD_KB = 128
/** Not one of those that record-overhead.ts counts up. */
const ZSTD_REVISION = 1000
const LEARNED_REVISION = 2000
/** After these, nothing more is learned (pager/learning.ts). */
const STARTS_BEFORE = learningDefaults.tellAfter.at(-1)! + 1
/** For what was learned to be kept and given to the host. */
const SETTLE_MS = 300
/** Of the image, in the page cache after it was dropped: metadata pages, or somebody who reads it just now. */
const CACHED_SHARE_MAX = 0.02
const DROPS_MAX = 100

/** A mode, or one of its settings that is measured as if it were one. */
export interface Variant {
  readonly label: string
  readonly mode: RestoreMode
  readonly readAheadKb?: number
  /** An instance that has served before, and keeps its memory. */
  readonly isWarm?: true
  /** Has had other callers before. */
  readonly learns?: true
  /** Of another revision with the same code: its working set is kept in another form. */
  readonly number?: number
}

/** Figure 5.2's four designs, ours, and what they are compared with. */
export function variantsFor(disk: Disk): readonly Variant[] {
  const modes: readonly RestoreMode[] = ['lazy', 'parallel-faults', 'working-set', 'reap', 'direct', 'pipelined', 'concurrent']
  const usual = disk.canSetReadAhead && disk.readAheadKb !== USUAL_READ_AHEAD_KB
  return [
    ...modes.map((mode): Variant => ({ label: mode, mode })),
    ...(usual ? [{ label: `lazy-${USUAL_READ_AHEAD_KB}kb`, mode: 'lazy', readAheadKb: USUAL_READ_AHEAD_KB } satisfies Variant] : []),
    { label: 'zstd', mode: 'zstd', number: ZSTD_REVISION },
    { label: 'learned', mode: PREFETCH_MODE, number: LEARNED_REVISION, learns: true },
    // A lazily mapped memory that stays would keep the pages of the image in the page cache, for everybody.
    { label: 'warm', mode: 'reap', isWarm: true },
  ]
}

/** Of one mode: medians over the iterations. */
export interface ModeResult {
  readonly ms: number
  readonly minMs: number
  readonly maxMs: number
  /** Until the memory could be used: mapped, or prefetched. */
  readonly loadMs: number
  /** The rest: the function itself with its page faults, and the way to the host and back. */
  readonly processMs: number
  /** Attaching the function to a host that is up: not part of `ms`. */
  readonly connectMs: number
  readonly pagesPrefetched: number
  /** Missing at the first touch; 0 where the kernel serves them, which does not count. */
  readonly pagesFaulted: number
  readonly bytesRead: number
  readonly readMs: number
}

export interface FunctionResult {
  readonly name: string
  readonly standsFor: string
  readonly imageMb: number
  readonly storedMb: number
  readonly workingSetMb: number
  readonly runs: number
  readonly modes: Readonly<Record<string, ModeResult>>
  /** MB/s that the prefetch of mode `reap` reached, and one large O_DIRECT read of the same bytes of the same file. */
  readonly bandwidth: { readonly prefetchMbPerS: number; readonly directMbPerS: number }
}

export interface Compare {
  readonly lab: FaasletLab
  readonly disk: Disk
  readonly fn: ColdFunction
  readonly variants: readonly Variant[]
  readonly iterations: number
}

/** Of any of its modes. They share a snapshot, because only `restore` differs. */
export function revisionOf(lab: FaasletLab, { name, files, config }: ColdFunction, variant: Pick<Variant, 'mode' | 'isWarm' | 'number'>, over: { readonly number?: number; readonly namespace?: string } = {}): Revision {
  return lab.revision({ namespace: over.namespace ?? 'bench', name, number: over.number ?? variant.number ?? 1, files, config: { ...config, restore: variant.mode, reuse: variant.isWarm === true } })
}

export async function compareModes({ lab, disk, fn, variants, iterations }: Compare): Promise<FunctionResult> {
  for (const variant of variants.filter(({ number }, index) => variants.findIndex((other) => other.number === number) === index)) {
    const revision = revisionOf(lab, fn, variant)
    await lab.boot(revision)
    await lab.record(revision, fn.recorded)
  }
  disk.sync()
  const attached = new Map<Variant, Attached>()
  try {
    for (const variant of variants) {
      attached.set(variant, await disk.withReadAhead(variant.readAheadKb, () => lab.attach(revisionOf(lab, fn, variant))))
    }
    // One more than what is measured, and the working set is never found to be wrong, and recorded anew with the other input; nor is that learned.
    const before = Math.max(STARTS_BEFORE, iterations + 1)
    for (const [variant, one] of attached) {
      for (let turn = 0; turn < before; turn++) {
        await lab.invoke(one, variant.learns === true ? fn.others[turn % fn.others.length]! : fn.recorded)
        if (variant.learns === true && learningDefaults.tellAfter.includes(turn + 1)) await new Promise((wake) => setTimeout(wake, SETTLE_MS))
      }
    }
    const answers = new Map<Variant, Answer[]>(variants.map((variant) => [variant, []]))
    const filesOf = (variant: Variant): string => lab.snapshotFiles(attached.get(variant)!)
    const files = filesOf(variants[0]!)
    const directMbPerS: number[] = []
    for (let iteration = 0; iteration < iterations; iteration++) {
      for (let turn = 0; turn < variants.length; turn++) {
        const variant = variants[(turn + iteration) % variants.length]!
        if (variant.isWarm !== true) await emptyCache(disk, [filesOf(variant)])
        const answer = await lab.invoke(attached.get(variant)!, fn.replayed)
        checkStart(fn.name, variant, answer.figures)
        answers.get(variant)!.push(answer)
        if (variant.label === 'reap') directMbPerS.push(readWhole(files))
      }
    }
    checkAnswers(fn.name, [...answers.values()].flat())
    const modes = Object.fromEntries(variants.map((variant) => [variant.label, modeResult(answers.get(variant)!, attached.get(variant)!)]))
    const prefetch = answers.get(variants.find(({ label }) => label === 'reap')!)!.map(({ figures }) => (figures.readUs === undefined ? 0 : figures.pagesPrefetched! * PAGE_BYTES / figures.readUs))
    return { name: fn.name, standsFor: fn.standsFor, ...facts(files), modes, bandwidth: { prefetchMbPerS: round(median(prefetch), 0), directMbPerS: round(median(directMbPerS), 0) } }
  } finally {
    for (const one of attached.values()) await lab.end(one)
  }
}

/**
 * Drops the page cache, and makes sure that these snapshots are not in it: a host gives the memory of an invocation back only after its
 * answer, and what is mapped cannot be dropped.
 * @param directories Of their files.
 */
export async function emptyCache(disk: Disk, directories: readonly string[]): Promise<void> {
  for (let turn = 0; ; turn++) {
    disk.dropCache(directories)
    const kept = directories.filter(isCached)
    if (kept.length === 0) return
    if (turn === DROPS_MAX) throw new Error(`The image in ${kept[0]} is still in the page cache after ${DROPS_MAX} attempts to drop it: somebody has it mapped, or reads it.`)
    await new Promise((wake) => setTimeout(wake, 10))
  }
}

function isCached(directory: string): boolean {
  using snapshot = openSnapshot(directory)
  return requireNative().cachedBytes(snapshot.imageFd, snapshot.imageOffset, snapshot.imageBytes) > snapshot.imageBytes * CACHED_SHARE_MAX
}

/** @returns MB/s. */
function readWhole(files: string): number {
  const path = join(files, snapshotFileNames.workingSet)
  using snapshot = openSnapshot(files)
  const { offset, runs } = snapshot.workingSet!
  const bytes = pagesIn(runs) * PAGE_BYTES
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECT)
  try {
    return bytes / requireNative().readWhole(fd, offset, bytes)
  } finally {
    closeSync(fd)
  }
}

function facts(files: string): Pick<FunctionResult, 'imageMb' | 'storedMb' | 'workingSetMb' | 'runs'> {
  using snapshot = openSnapshot(files)
  const megabytes = (bytes: number): number => round(bytes / 2 ** 20, 1)
  const { runs, zeroRuns } = snapshot.workingSet!
  return { imageMb: megabytes(snapshot.imageBytes), storedMb: megabytes(pagesIn(snapshot.pagesStored) * PAGE_BYTES), workingSetMb: megabytes((pagesIn(runs) + pagesIn(zeroRuns)) * PAGE_BYTES), runs: runs.length / 2 }
}

function checkStart(name: string, { label, mode, isWarm }: Variant, figures: StartFigures): void {
  const wanted = isWarm === true ? 'warm' : 'snapshot'
  const isAsWanted = figures.start === wanted && (isWarm === true || figures.mode === mode) && figures.pagesRecorded === undefined
  if (!isAsWanted) throw new Error(`${name} was to start by ${label}, and did so as ${JSON.stringify(figures)}`)
}

function checkAnswers(name: string, answers: readonly Answer[]): void {
  const odd = answers.find(({ body }) => !body.equals(answers[0]!.body))
  if (odd !== undefined) throw new Error(`${name} answered differently from time to time: ${odd.body.toString('utf8', 0, 100)} and ${answers[0]!.body.toString('utf8', 0, 100)}`)
}

function modeResult(answers: readonly Answer[], { ms: connectMs }: Attached): ModeResult {
  const of = (figure: (answer: Answer) => number, digits = 0): number => round(median(answers.map(figure)), digits)
  return {
    ms: of(({ ms }) => ms, 2),
    minMs: round(Math.min(...answers.map(({ ms }) => ms))),
    maxMs: round(Math.max(...answers.map(({ ms }) => ms))),
    loadMs: of(({ figures }) => figures.restoreUs / 1000, 2),
    processMs: of(({ ms, figures }) => ms - figures.restoreUs / 1000, 2),
    connectMs: round(connectMs),
    pagesPrefetched: of(({ figures }) => figures.pagesPrefetched ?? 0),
    pagesFaulted: of(({ figures }) => figures.pagesFaulted ?? 0),
    bytesRead: of(({ figures }) => figures.bytesRead ?? 0),
    readMs: of(({ figures }) => (figures.readUs ?? 0) / 1000, 2),
  }
}

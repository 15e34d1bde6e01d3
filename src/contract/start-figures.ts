/**
 * How the instance of one invocation was made from a snapshot, in figures: the thesis's breakdown (4.2, 5.3.2) per invocation.
 *
 * A faaslet host tells them; it runs foreign code. So what comes is checked for its kind and range and otherwise believed:
 * a wrong figure misleads the reader of its own tenant's records, and at most makes the tenant's own run look shorter.
 */

/**
 * How a memory gets the content of a snapshot: the designs that the thesis compares (Figure 5.2), and ours. pager/restore.ts.
 * Records in journals have the place in this list: new ones go to its end.
 */
export const restoreModes = ['lazy', 'parallel-faults', 'working-set', 'reap', 'direct', 'pipelined', 'concurrent', 'copy', 'zstd'] as const
export type RestoreMode = (typeof restoreModes)[number]

export interface StartFigures {
  /** `cold`: booted, as there was no snapshot. `snapshot`: restored. `warm`: an instance used before. */
  readonly start: 'cold' | 'snapshot' | 'warm'
  readonly mode?: RestoreMode
  /** From wanting the instance until its code could be called, µs; for `cold` the boot. */
  readonly restoreUs: number
  readonly pagesPrefetched?: number
  /** Missing at the first touch and fetched then. Known where userfaultfd serves them. */
  readonly pagesFaulted?: number
  /** Touched, when this invocation was recorded. */
  readonly pagesRecorded?: number
  /** Prefetched and not touched, when this invocation was recorded with a prefetch. */
  readonly pagesUnused?: number
  readonly bytesRead?: number
  /** Waited for the disk by the prefetch, µs, where that can be told apart. */
  readonly readUs?: number
}

/** What a record keeps of a start from a snapshot. */
export type SnapshotFigures = Omit<StartFigures, 'start'>

/** The optional figures, in the order in which records in journals have them: new ones go to its end. */
export const snapshotFigureNames = ['pagesPrefetched', 'pagesFaulted', 'pagesRecorded', 'pagesUnused', 'bytesRead', 'readUs'] as const satisfies readonly (keyof SnapshotFigures)[]

const starts: ReadonlySet<unknown> = new Set(['cold', 'snapshot', 'warm'] satisfies StartFigures['start'][])
const modes: ReadonlySet<unknown> = new Set(restoreModes)
const PAGE_BYTES = 4096

/** From what a host has sent. Figures that are none are left out. @returns undefined when it does not even say which start it was. */
export function readStartFigures(value: unknown): StartFigures | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const sent = value as Readonly<Record<string, unknown>>
  if (!starts.has(sent['start'])) return undefined
  const figures: { -readonly [Key in keyof StartFigures]: StartFigures[Key] } = { start: sent['start'] as StartFigures['start'], restoreUs: isFigure(sent['restoreUs']) ? sent['restoreUs'] : 0 }
  if (modes.has(sent['mode'])) figures.mode = sent['mode'] as RestoreMode
  for (const name of snapshotFigureNames) {
    const figure = sent[name]
    if (isFigure(figure)) figures[name] = figure
  }
  return figures
}

/** What the prefetch reached: content it brought by the time it waited for the disk, MB/s (thesis 5.3.2). undefined without one. */
export function bandwidthMbPerS({ pagesPrefetched = 0, readUs = 0 }: Pick<StartFigures, 'pagesPrefetched' | 'readUs'>): number | undefined {
  return pagesPrefetched === 0 || readUs === 0 ? undefined : (pagesPrefetched * PAGE_BYTES) / readUs
}

function isFigure(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER
}

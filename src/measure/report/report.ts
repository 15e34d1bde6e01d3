/** Everything that a report says, before it is a page, a table or lines of a terminal: so these three can't differ in a number. */
import type { SubExperimentResult } from '../run-summary.ts'
import { drawsBy } from './cells.ts'
import { makeFigures } from './figures.ts'
import type { ReportFigure } from './figures.ts'
import type { LoadedRun } from './load-run.ts'
import { makeTable } from './table.ts'
import type { Table } from './table.ts'

export interface Report {
  readonly run: LoadedRun
  readonly table: Table
  readonly figures: readonly ReportFigure[]
  /** Sub-experiments in which the driver, not the platform, may be what was measured. */
  readonly driverBound: readonly { readonly title: string; readonly why: string }[]
}

/** Above this share of the median, own lateness is seen in the figures. */
const LATE_SHARE = 0.1

/** @param random 0..1, for intervals; the same gives the same report. */
export function makeReport(run: LoadedRun, random: () => number): Report {
  const drawsOf = drawsBy(random)
  const results = run.summary?.results ?? []
  return {
    run, table: makeTable(run, drawsOf), figures: makeFigures(run, drawsOf),
    driverBound: results.flatMap((result) => {
      const why = driverBound(result)
      return why === undefined ? [] : [{ title: `${result.index}: ${result.title}`, why }]
    }),
  }
}

/** Why a result is not to be trusted for its driver's sake; undefined when it is. */
export function driverBound({ lateness, latencies }: Pick<SubExperimentResult, 'lateness' | 'latencies'>): string | undefined {
  if (lateness.notSent > 0) return `${lateness.notSent} requests were due while as many as allowed were under way, and were not sent`
  const median = latencies?.summary.p50
  if (median === undefined || !(lateness.p99 > LATE_SHARE * median)) return undefined
  return `the driver's own p99 lateness, ${lateness.p99.toFixed(2)} ms, is more than a tenth of the median, ${median.toFixed(2)} ms`
}

/** What the CLI prints at the end of a run: a line per sub-experiment, and below it what a reader must know before he believes it. */
import { percentile } from '../statistics.ts'
import { drawsBy, percentileCell, sayFigure } from './cells.ts'
import type { Cell } from './cells.ts'
import type { LoadedSubExperiment } from './load-run.ts'
import { say } from './plots/scale.ts'
import type { Report } from './report.ts'
import { reasonOf } from './table.ts'
import type { SampleSet } from './samples.ts'

const TITLE_MAX = 36

export function terminalSummary({ run, driverBound }: Report): string {
  const heads = ['#', 'title', 'samples', 'p50 ms', 'p99 ms', 'p99.9 ms', 'TMR', 'late p99', 'outcome']
  const rows = run.subExperiments.flatMap((one, place) => {
    const first = String(one.result?.index ?? place)
    const line = (title: string, set: SampleSet | undefined, isWhole: boolean): string[] =>
      [isWhole ? first : '', title, ...figuresOf(set), isWhole && one.result !== undefined ? sayFigure(one.result.lateness.p99) : '', isWhole ? outcomeOf(one) : '']
    return [line(titleOf(one), one.latencies, true), ...(one.transfer === undefined ? [] : [line('  └ transfer', one.transfer, false)])]
  })
  const told = [
    ...driverBound.map(({ title, why }) => `! ${title}: ${why}`),
    ...run.subExperiments.flatMap(({ result }) => [
      ...(result?.failures ?? []).map(({ code, count, message }) => `! ${result!.index}: ${count} × ${code}: ${message}`),
      ...(result?.limitations ?? []).map(({ field, message }) => `! ${result!.index}: ${field}: ${message}`),
    ]),
    ...run.notes.map((note) => `! ${note}`),
  ]
  return [...alignedLines([heads, ...rows]), ...told.map((line) => plain(line).slice(0, 300))].map((line) => `${line}\n`).join('')
}

/** n400: needs so many samples. */
function figuresOf(set: SampleSet | undefined): string[] {
  if (set === undefined) return ['0', '–', '–', '–', '–']
  // Only whether there are samples enough: intervals are not printed here.
  const drawsOf = drawsBy(() => 0)
  const single = { ...set, bursts: undefined }
  const figure = (cell: Cell): string => (cell.kind === 'value' ? sayFigure(cell.value) : cell.kind === 'needs' ? `needs ${say(cell.samples)}` : '–')
  const [p50, p99, p999] = [percentileCell(single, 0.5, drawsOf), percentileCell(single, 0.99, drawsOf), percentileCell(single, 0.999, drawsOf)]
  const median = percentile(set.sorted, 0.5)
  const tmr = p99.kind === 'value' && median > 0 ? sayFigure(p99.value / median) : '–'
  return [say(set.sorted.length), figure(p50), figure(p99), figure(p999), tmr]
}

function titleOf({ settings, result, factor }: LoadedSubExperiment): string {
  const title = plain(result?.title ?? settings.Title) || factor
  return title.length > TITLE_MAX ? `${title.slice(0, TITLE_MAX - 1)}…` : title
}

function outcomeOf(one: LoadedSubExperiment): string {
  switch (one.result?.outcome.kind) {
    case undefined: return ''
    case 'done': return 'done'
    case 'stopped': return 'done, by the stop rule'
    case 'given-up': case 'interrupted': case 'not-run': return plain(reasonOf(one)).slice(0, 120)
  }
}

/** A title could move the cursor or colour the rest of the screen. */
export function plain(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]+/g, ' ').trim()
}

/** The first two columns and the last to the left, numbers to the right. */
export function alignedLines(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => [...row[column]!].length)))
  return rows.map((row) => row.map((cell, column) => {
    const room = ' '.repeat(widths[column]! - [...cell].length)
    return column < 2 || column === row.length - 1 ? cell + room : room + cell
  }).join('  ').trimEnd())
}

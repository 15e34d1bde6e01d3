/**
 * The report of a run as one HTML file: nothing is loaded from elsewhere, so it can be sent by mail and opened in ten years.
 *
 *   A1. What comes from the run is escaped (html.ts), and no script would run if it were not.
 *   A2. A number without samples enough is not printed (cells.ts).
 *   A3. The same report gives the same bytes.
 */
import { samplesNeeded } from '../statistics.ts'
import { isProblematic, sayCell, sayFigure } from './cells.ts'
import type { Cell } from './cells.ts'
import type { FigureRow, ReportFigure } from './figures.ts'
import { html, Html, htmlPage, htmlTable } from './html.ts'
import type { Content } from './html.ts'
import type { LoadedRun } from './load-run.ts'
import { say } from './plots/scale.ts'
import { svgStyle } from './plots/svg.ts'
import type { Report } from './report.ts'
import { clouds } from './thesis-clouds.ts'
import type { ThesisValue } from './thesis-clouds.ts'
import { reasonOf } from './table.ts'

export interface PageOptions {
  /** How it was measured, to repeat it. */
  readonly command?: string | undefined
}

export function reportPage(report: Report, options: PageOptions = {}): string {
  const title = `${report.run.name}: serverless measurement`
  return htmlPage(title, svgStyle, [
    html`<h1>${report.run.name}: median, tail and what makes them</h1>
<p>Measured with the method of STeLLAR (Ustiugov, <i>Data-centric serverless cloud architecture</i>, Edinburgh 2022, chapter 3), whose own figures for three clouds stand beside. They were
measured over a wide-area network: compare ratios, not milliseconds.</p>`,
    aboutPart(report.run, options),
    report.driverBound.length === 0 ? undefined : html`<div class="told"><b>The driver may be what was measured</b><ul>${report.driverBound.map(({ title: one, why }) => html`<li>${one}: ${why}</li>`)}</ul></div>`,
    tablePart(report),
    report.figures.map(figurePart),
    phasesPart(report.run),
    driverPart(report.run),
    shortcomingsPart(report.run),
    readingPart(),
  ])
}

function aboutPart({ summary, subExperiments, name }: LoadedRun, { command }: PageOptions): Html {
  const facts: readonly (readonly [string, Content])[] = summary === undefined
    ? [['Results', `${name}, CSV files of STeLLAR: the machine, the date and settings that are not in the names of directories are not known`], ['Sub-experiments', subExperiments.length]]
    : [
        ['Platform', [summary.provider.name, ...Object.entries(summary.provider.about).map(([key, value]) => html`; ${key} ${value}`)]],
        ['Driven from', `${summary.client.cpus} × ${summary.client.cpu}, Node ${summary.client.node}, skep ${summary.client.skep}`],
        ['When', `${summary.startedAt}, for ${sayDuration(summary.wallMs)}`],
        ['Experiment', `${summary.experiment}, ${summary.results.length} sub-experiments`],
        ['Samples', say(subExperiments.reduce((sum, one) => sum + (one.latencies?.sorted.length ?? 0), 0))],
        ...(command === undefined ? [] : [['Command', html`<code>${command}</code>`] as const]),
      ]
  return html`<dl>${facts.map(([key, value]) => html`<dt>${key}</dt><dd>${value}</dd>`)}</dl>`
}

function tablePart({ table }: Report): Html {
  const rows = table.rows.map((row) => html`<tr><td>${row.name} <span class="faint">§${row.section}</span></td>${
    row.mr.kind === 'none' && row.tr.kind === 'none' && row.mr.reason === row.tr.reason ? html`<td class="said" colspan="2">${row.mr.reason}</td>` : [cellPart(row.mr, 0, true), cellPart(row.tr, 0, true)]
  }<td class="said">${row.mr.kind === 'none' ? '' : row.of}</td>${clouds.map((cloud) => (row.thesis[cloud] ?? ['n/a', 'n/a']).map((value) => html`<td${value !== 'n/a' && Number(value) > 10 ? new Html(' class="problematic"') : ''}>${value}</td>`))}</tr>`)
  const heads = ['Factor', 'MR', 'TR', ['of'] as const, ...clouds.flatMap((cloud) => [`${cloud} MR`, `${cloud} TR`])]
  return html`<h2>Table 3.1: median and tail, in medians of single warm invocations</h2>
${htmlTable(heads, rows)}<p class="faint">MR and TR: median and p99 over the median of single warm invocations on the same platform. In brackets 95 % intervals. Coloured: above 10, potentially problematic (§3.6.1).
Clouds as in the thesis.</p>`
}

function figurePart(figure: ReportFigure): Html {
  const { isTransfer, rows, thesis } = figure
  const heads = [figure.number === 'others' ? 'Sub-experiment' : 'Setting', 'samples', 'p50 ms', 'p99 ms', 'p99.9 ms', 'TMR', ...(isTransfer ? ['Mb/s'] : []), ['']] as (string | readonly [string])[]
  const heading = figure.number === 'others' ? figure.title : `${figure.title} (Figure ${figure.number})`
  return html`<h2>${heading}</h2>
${figure.plots.map(({ svg }) => html`<div class="wide">${inline(svg)}</div>`)}
${htmlTable(heads, [...rows.map((row) => rowPart(row, isTransfer)), ...thesis.map((value) => thesisPart(value, isTransfer))])}
<p class="faint">${figure.note} In brackets 95 % intervals.${thesis.length > 0 ? ' In italics the thesis.' : ''}</p>`
}

function rowPart(row: FigureRow, isTransfer: boolean): Html {
  const cells = [row.p50, row.p99, row.p999].map((cell) => cellPart(cell, row.resolutionMs))
  return html`<tr><td>${row.label}</td><td>${say(row.count)}</td>${cells}${cellPart(row.tmr, 0, true)}${isTransfer && row.bandwidth !== undefined ? cellPart(row.bandwidth, 0) : undefined}<td></td></tr>`
}

function thesisPart(value: ThesisValue, isTransfer: boolean): Html {
  const number = (one: number | undefined): Html => html`<td>${one === undefined ? '' : say(one)}</td>`
  const cells = [number(value.p50), number(value.p99), number(undefined), number(value.tmr), ...(isTransfer ? [number(value.mbitPerS)] : [])]
  return html`<tr class="thesis"><td>${value.cloud}, ${value.what}</td><td></td>${cells}<td class="said">§${value.section}${value.remark === undefined ? '' : `: ${value.remark}`}</td></tr>`
}

/** The interval below the number. */
function cellPart(cell: Cell, resolutionMs: number, isRatio = false): Html {
  if (cell.kind !== 'value') return html`<td class="faint">${sayCell(cell)}</td>`
  const [value, ...interval] = sayCell(cell, resolutionMs).split(' [')
  return html`<td${isRatio && isProblematic(cell) ? new Html(' class="problematic"') : ''}>${value}${interval.length === 0 ? undefined : html`<small>[${interval}</small>`}</td>`
}

function phasesPart({ summary }: LoadedRun): Html | undefined {
  const told = (summary?.results ?? []).filter((one) => one.phases !== undefined && Object.keys(one.phases).length > 0)
  if (told.length === 0) return undefined
  const rows = told.flatMap(({ index, title, phases }) => Object.entries(phases!).map(([phase, { p50, p99 }]) => html`<tr><td>${index}: ${title}</td><td class="said">${phase}</td><td>${sayFigure(p50)}</td><td>${sayFigure(p99)}</td></tr>`))
  return html`<h2>Where the time goes</h2>${htmlTable(['Sub-experiment', ['Phase'], 'p50 ms', 'p99 ms'], rows)}<p class="faint">As the platform tells it. Percentiles of phases don't add up to those of the whole.</p>`
}

function driverPart({ summary }: LoadedRun): Html | undefined {
  if (summary === undefined) return undefined
  const rows = summary.results.map(({ index, title, outcome, wallMs, starts, lateness, latencies }) => html`<tr><td>${index}: ${title}</td><td class="said">${outcome.kind}</td><td>${sayDuration(wallMs)}</td><td>${
    say(latencies?.summary.count ?? 0)}</td><td>${starts.cold + starts.warm === 0 ? 'not told' : `${say(starts.cold)} / ${say(starts.warm)}`}</td><td>${sayFigure(lateness.p50)}</td><td>${sayFigure(lateness.p99)}</td><td>${sayFigure(lateness.max)}</td><td>${say(lateness.notSent)}</td></tr>`)
  return html`<h2>Course of the run, and the driver's own lateness</h2>
${htmlTable(['Sub-experiment', ['Outcome'], 'took', 'samples', 'cold / warm', 'late p50 ms', 'late p99 ms', 'late max ms', 'not sent'], rows)}
<p class="faint">Late: between when a request was due and when it was sent. A driver whose p99 is more than a tenth of a median is named at the top.</p>`
}

function shortcomingsPart({ summary, notes, subExperiments }: LoadedRun): Html {
  const results = summary?.results ?? []
  const limitations = results.flatMap((one) => one.limitations.map(({ field, message }) => html`<li>${one.index}: ${one.title}: <code>${field}</code>: ${message}</li>`))
  const outcomes = subExperiments.flatMap((one) => {
    const kind = one.result?.outcome.kind
    return kind === undefined || kind === 'done' || kind === 'stopped' ? [] : [html`<li>${one.result!.index}: ${one.result!.title}: ${reasonOf(one)}</li>`]
  })
  const failures = results.flatMap((one) => one.failures.map(({ code, message, count }) => html`<tr><td>${one.index}: ${one.title}</td><td class="said">${code}</td><td>${say(count)}</td><td class="said">${message.slice(0, 500)}</td></tr>`))
  const list = (items: readonly Content[], none: string): Html => (items.length === 0 ? html`<p>${none}</p>` : html`<ul>${items}</ul>`)
  return html`<h2>What is missing</h2>
<h3>Limitations of the platform or its plug-in</h3>${list(limitations, 'None were met.')}
<h3>Sub-experiments that did not come to their end</h3>${list(outcomes, 'None.')}
<h3>Failed requests</h3>${failures.length === 0 ? html`<p>None.</p>` : htmlTable(['Sub-experiment', ['Code'], 'count', ['First message']], failures)}
<h3>Warnings</h3>${list([...(summary?.warnings ?? []), ...notes].map((note) => html`<li>${note}</li>`), 'None.')}`
}

function readingPart(): Html {
  return html`<h2>How to read this</h2><ul>
<li>Percentiles are samples that were seen (empirical quantiles), as STeLLAR has them. A percentile is printed from so many samples on that a 95 % interval exists: p99 from ${samplesNeeded(0.99)}, p99.9 from ${samplesNeeded(0.999)}.</li>
<li>Intervals of single requests come from order statistics, those of ratios from the bootstrap. Requests of one burst are alike, so of bursts whole bursts are drawn; with few bursts such an interval is still rather too narrow.</li>
<li>TMR is p99 over median. Bandwidth is the payload's size over the median of its transfer, in megabits per second.</li></ul>`
}

/** Its style stands once in the page. */
function inline(svg: string): Html {
  return new Html(svg.replace(`<style>${svgStyle}</style>`, ''))
}

function sayDuration(ms: number): string {
  if (ms < 60_000) return `${say(ms / 1000)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** A comparison as lines of a terminal, as JSON, and as HTML. */
import type { Comparison, Ratio, Verdict } from './compare.ts'
import { sayFigure } from './cells.ts'
import { html, htmlPage, htmlTable } from './html.ts'
import type { Html } from './html.ts'
import { say } from './plots/scale.ts'
import { sayShare } from './table.ts'
import { alignedLines, plain } from './terminal.ts'

export const COMPARISON_FORMAT = 'skep-measure-comparison/1'

export function comparisonText(comparison: Comparison): string {
  const { a, b, pairs, warnings, onlyA, onlyB } = comparison
  const heads = ['sub-experiment', 'what', 'A', 'B', 'B / A', '95 % interval', 'B is']
  const rows = pairs.flatMap((pair) => pair.ratios.map((ratio, place) => [place === 0 ? plain(pair.name).slice(0, 48) : '', ...cellsOf(ratio), sayVerdict(ratio.verdict)]))
  const lines = [
    `A: ${a}`, `B: ${b}`, `the smallest difference that matters: ${sayShare(comparison.smallestDifference)}`, '',
    ...(rows.length === 0 ? ['nothing that both have measured'] : alignedLines([heads, ...rows])), '',
    ...warnings.map((warning) => `! ${warning}`),
    ...pairs.flatMap((pair) => pair.warnings.map((warning) => `! ${pair.name}: ${warning}`)),
    ...onlyA.map((name) => `only in A: ${name}`), ...onlyB.map((name) => `only in B: ${name}`),
  ]
  return lines.map((line) => `${plain(line) === '' ? '' : line.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]+/g, ' ')}\n`).join('')
}

/** Undefined becomes absent. */
export function comparisonJson(comparison: Comparison): string {
  return `${JSON.stringify({ format: COMPARISON_FORMAT, ...comparison }, undefined, 1)}\n`
}

/** A section for a page, and the whole of one in `comparisonPage`. */
export function comparisonHtml(comparison: Comparison): Html {
  const { a, b, pairs, warnings, onlyA, onlyB } = comparison
  const rows = pairs.flatMap((pair) => pair.ratios.map((ratio, place) => {
    const [what, valueA, valueB, over, interval] = cellsOf(ratio)
    return html`<tr><td>${place === 0 ? pair.name : ''}</td><td class="said">${what}</td><td>${valueA}</td><td>${valueB}</td><td>${over}</td><td>${interval}</td><td class="said">${sayVerdict(ratio.verdict)}</td></tr>`
  }))
  const told = [...warnings, ...pairs.flatMap((pair) => pair.warnings.map((warning) => `${pair.name}: ${warning}`))]
  const unmatched = [...onlyA.map((name) => `only in A: ${name}`), ...onlyB.map((name) => `only in B: ${name}`)]
  return html`<h2>A: ${a}. B: ${b}</h2>
${told.length === 0 ? undefined : html`<div class="told"><ul>${told.map((warning) => html`<li>${warning}</li>`)}</ul></div>`}
${htmlTable(['Sub-experiment', ['What'], 'A', 'B', 'B / A', '95 % interval', ['B is']], rows)}
<p class="faint">ms, and Mb/s over the mean transfer. A verdict where the whole interval lies on one side of, or within, the smallest difference that matters: ${sayShare(comparison.smallestDifference)}.</p>
${unmatched.length === 0 ? undefined : html`<h3>Measured by one of them only</h3><ul>${unmatched.map((one) => html`<li>${one}</li>`)}</ul>`}`
}

export function comparisonPage(comparison: Comparison): string {
  return htmlPage(`${comparison.a} and ${comparison.b}: serverless measurements compared`, '', [html`<h1>Two measurements compared</h1>`, comparisonHtml(comparison)])
}

export function sayVerdict(verdict: Verdict): string {
  if (verdict.kind !== 'not decided') return verdict.kind
  return `not decided: ${verdict.why}${verdict.samplesNeeded === undefined ? '' : `; needs about ${say(verdict.samplesNeeded)} samples`}`
}

function cellsOf({ what, a, b, ratio, interval }: Ratio): [string, string, string, string, string] {
  const figure = (value: number | undefined): string => (value === undefined ? '–' : sayFigure(value))
  return [what, figure(a), figure(b), figure(ratio), interval === undefined ? '–' : `${sayFigure(interval.lower)} … ${sayFigure(interval.upper)}`]
}

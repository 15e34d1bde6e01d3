/**
 * Goal: each sub-experiment that has samples is in one figure with a name of its own, and a plot's lines vary one thing only.
 *
 * Method: the example run with more of its kinds; texts and points of the SVG files are looked up.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { seededRandom } from '#base/seeded-random.ts'
import { percentileInterval } from '../statistics.ts'
import { drawsBy } from './cells.ts'
import { exampleParts, writeExampleRun } from './example-run.ts'
import type { ExamplePart } from './example-run.ts'
import { makeFigures } from './figures.ts'
import type { ReportFigure } from './figures.ts'
import { loadRun } from './load-run.ts'

let root = ''
before(async () => { root = await mkdtemp(join(tmpdir(), 'skep-figures-')) })
after(() => rm(root, { recursive: true, force: true }))

let runs = 0
async function figuresOf(parts: readonly ExamplePart[]): Promise<ReportFigure[]> {
  const directory = join(root, String(runs++))
  await writeExampleRun(directory, { parts })
  return makeFigures(await loadRun(directory), drawsBy(seededRandom(1)))
}

const changed = (part: ExamplePart, settings: object): ExamplePart => ({ ...part, settings: { ...part.settings, ...settings } })
const textsOf = (svg: string): string[] => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((match) => match[1]!)
const plot = (figures: readonly ReportFigure[], name: string): string => figures.flatMap((figure) => figure.plots).find((one) => one.name === name)!.svg

test('every sub-experiment is in one figure (G1), in the order of what is varied', async () => {
  const figures = await figuresOf([...exampleParts].reverse())
  assert.equal(figures.flatMap((figure) => figure.rows).length, exampleParts.length)
  assert.deepEqual(figures.map((figure) => figure.number), ['3.3', '3.4', '3.5', '3.6', '3.7', '3.8', '3.9'])
  assert.deepEqual(figures.find((figure) => figure.number === '3.7')!.rows.map((row) => row.label), ['1 KiB', '1 MiB', '100 MiB', '1 MiB, reference'])
  assert.deepEqual(figures.flatMap((figure) => figure.plots.map((one) => one.name)).filter((name) => name.endsWith('percentiles')), ['figure-3-4-percentiles', 'figure-3-6-percentiles', 'figure-3-7-percentiles', 'figure-3-8-percentiles'])
})

test('what has the same label gets what tells it apart', async () => {
  const cold = exampleParts[1]!
  const [figure] = await figuresOf([cold, changed(cold, { FunctionMemoryMB: 512 }), changed(cold, { FunctionMemoryMB: 512, Title: 'cold again' })])
  assert.deepEqual(figure!.rows.map((row) => row.label), ['cold, 128 MB memory', 'cold, 512 MB memory', 'cold, 512 MB memory #2'])
})

test('a line varies one thing: chains of other lengths are lines of their own', async () => {
  const sizes = exampleParts.slice(7, 11)
  const svg = plot(await figuresOf([...sizes, ...sizes.slice(0, 2).map((part) => changed(part, { FunctionMemoryMB: 2048 }))]), 'figure-3-6-percentiles')
  for (const said of ['median, 128 MB memory', 'p99, 2\u202f048 MB memory']) assert(textsOf(svg).includes(said), said)
  for (const [, path] of svg.matchAll(/<path d="(M[^"]*L[^"]*)"/g)) {
    const xs = [...path!.matchAll(/[ML]([\d.]+) /g)].map((match) => Number(match[1]))
    for (const [index, x] of xs.entries()) assert(index === 0 || x > xs[index - 1]!, path!)
  }
})

test('a distribution has marks at median and p99, and no p99 of too few', async () => {
  const marks = (svg: string): number => svg.match(/<circle/g)?.length ?? 0
  assert.equal(marks(plot(await figuresOf(exampleParts.slice(0, 2)), 'figure-3-3-cdf')), 4)
  assert.equal(marks(plot(await figuresOf([exampleParts.at(-1)!]), 'figure-3-9-cdf')), 1)
})

test('of more than the colours are, some are left out and it is said', async () => {
  const many = Array.from({ length: 12 }, (_, index) => changed(exampleParts[7]!, { PayloadLengthBytes: 1024 * 2 ** index }))
  const figures = await figuresOf(many)
  assert(textsOf(plot(figures, 'figure-3-6-cdf')).some((said) => said.includes('4 of 12 are left out here and are in the table')))
  assert.equal(figures[0]!.rows.length, 12)
})

test('latencies cut off to zero are drawn and said to be cut off', async () => {
  const directory = join(root, 'coarse')
  await writeExampleRun(directory, { parts: [{ ...exampleParts[1]!, medianMs: 0.5 }] })
  await rm(join(directory, 'summary.json'))
  const [figure] = makeFigures(await loadRun(directory), drawsBy(seededRandom(1)))
  assert.match(figure!.note, /In whole milliseconds, cut off/)
  assert.doesNotMatch(figure!.plots[0]!.svg, /NaN|Infinity/)
  assert.match(figure!.plots[0]!.svg, /<path d="M/)
})

test('of equals a line has the one with the most samples, and says that there is another', async () => {
  const sizes = exampleParts.slice(7, 11)
  const few = { ...changed(sizes[0]!, { Bursts: 370 }), transferMs: 90 }
  const firsts = await Promise.all([[few, ...sizes], [...sizes, few]].map(async (parts) => {
    const svg = plot(await figuresOf(parts), 'figure-3-6-percentiles')
    assert(textsOf(svg).some((said) => said.endsWith('1 of 5 are in the table only.')))
    const [, first, second] = /<path d="M[\d.]+ ([\d.]+)L[\d.]+ ([\d.]+)/.exec(svg)!
    return Number(first) - Number(second)
  }))
  // The transfer of 1 KiB takes less than that of 100 KiB, and is lower; that of 90 ms would be higher.
  assert(firsts.every((difference) => difference > 0), firsts.join())
})

test('an interval of bursts is that of whole bursts, wider than if requests were independent', async () => {
  const directory = join(root, 'bursts')
  await writeExampleRun(directory, { parts: [exampleParts[16]!] })
  const run = await loadRun(directory)
  const { p50 } = makeFigures(run, drawsBy(seededRandom(1)))[0]!.rows[0]!
  const single = percentileInterval(run.subExperiments[0]!.latencies!.sorted, 0.5)!
  assert(p50.kind === 'value' && p50.interval!.upper - p50.interval!.lower > 1.5 * (single.upper - single.lower))
})

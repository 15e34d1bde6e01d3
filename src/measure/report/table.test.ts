/**
 * Goal: Table 3.1 says what the samples say, always has its eight rows, and prints nothing that the samples don't allow.
 *
 * Method: runs with made-up latencies whose ratios are known, and runs in which something is missing.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { seededRandom } from '#base/seeded-random.ts'
import { parseExperiment } from '../experiment.ts'
import type { SubExperimentResult } from '../run-summary.ts'
import { drawsBy, isProblematic, sayCell } from './cells.ts'
import { classify } from './classify.ts'
import type { LoadedRun, LoadedSubExperiment } from './load-run.ts'
import { tableMarkdown } from './markdown.ts'
import { sampleSet } from './samples.ts'
import { makeTable, sayBytes } from './table.ts'
import type { Table, TableRow } from './table.ts'

interface Made {
  readonly settings: object
  /** The median; p99 is ten times that. */
  readonly ms?: number
  readonly count?: number
  readonly resolutionMs?: number
  readonly result?: Partial<SubExperimentResult>
}

function made(...all: readonly Made[]): LoadedRun {
  const settings = parseExperiment(JSON.stringify({ SubExperiments: all.map((one) => ({ Bursts: 10, BurstSizes: [1], DesiredServiceTimes: ['0ms'], ...one.settings })) }), 'x.json').SubExperiments
  return {
    name: 'made', summary: undefined, notes: [],
    subExperiments: all.map(({ ms, count = 1000, resolutionMs = 0.001, result }, index): LoadedSubExperiment => {
      const values = ms === undefined ? undefined : Array.from({ length: count }, (_, place) => (place >= count * 0.98 ? ms * 10 : ms))
      const set = values === undefined ? undefined : sampleSet(values, undefined, resolutionMs)
      const isChain = settings[index]!.DataTransferChainLength > 1
      const whole = { index, title: settings[index]!.Title, outcome: { kind: 'done' }, limitations: [], failures: [], starts: { cold: 0, warm: 0, unknown: 0 }, ...result } as unknown as SubExperimentResult
      return { settings: settings[index]!, factor: classify(settings[index]!), latencies: set, transfer: isChain ? set : undefined, result: whole }
    }),
  }
}

const tableOf = (run: LoadedRun): Table => makeTable(run, drawsBy(seededRandom(1)))
const row = (run: LoadedRun, factor: string): TableRow => tableOf(run).rows.find((one) => one.factor === factor)!
const said = ({ mr, tr }: TableRow): [string, string] => [sayCell(mr).split(' [')[0]!, sayCell(tr).split(' [')[0]!]

const warm: Made = { settings: { Title: 'warm' }, ms: 2 }
const chain = { DataTransferChainLength: 2, PayloadLengthBytes: 1_048_576 }

describe('a row', () => {
  test('is median and p99 over the median of single warm invocations', () => {
    const run = made(warm, { settings: { Title: 'cold' }, ms: 30 }, { settings: { ...chain, StorageTransfer: true }, ms: 5 }, { settings: { Title: 'bursty-cold', BurstSizes: [100] }, ms: 8 })
    assert.deepEqual(said(row(run, 'warm')), ['1', '10'])
    assert.deepEqual(said(row(run, 'cold')), ['15', '150'])
    assert.deepEqual(said(row(run, 'storage')), ['2.5', '25'])
    assert.deepEqual(said(row(run, 'bursty-cold')), ['4', '40'])
    assert(isProblematic(row(run, 'cold').mr) && !isProblematic(row(run, 'storage').mr) && !isProblematic(row(run, 'warm').tr))
  })

  test('of a function that runs for long is less its own run (T3)', () => {
    const long = row(made(warm, { settings: { Title: 'bursty-long', BurstSizes: [100], DesiredServiceTimes: ['1s'] }, ms: 1200 }), 'bursty-long')
    assert.deepEqual(said(long), ['100', '5 500'.replace(' ', '\u202f')])
    assert.match(long.of, /bursts of 100, less 1\u202f000 ms of its own run/)
  })

  test('is made of what is nearest to the thesis\'s (T2)', () => {
    const image = (size: number): Made => ({ settings: { Title: 'image-size', FunctionImageSizeMB: size }, ms: size })
    assert.match(row(made(warm, image(10), image(90), image(230)), 'image-size').of, /^90 MB/)
    const inline = (bytes: number): Made => ({ settings: { ...chain, PayloadLengthBytes: bytes }, ms: 4 })
    assert.match(row(made(warm, inline(1024), inline(1_048_576), inline(4_194_304)), 'inline').of, /^1 MiB/)
    const burst = (size: number): Made => ({ settings: { Title: 'bursty-warm', BurstSizes: [size] }, ms: 4 })
    assert.match(row(made(warm, burst(10), burst(500), burst(100)), 'bursty-warm').of, /^bursts of 100/)
    assert.match(row(made(warm, burst(10), { settings: burst(100).settings }), 'bursty-warm').of, /^bursts of 10$/)
  })

  test('that was not measured is there with its reason (T1)', () => {
    const limits = [{ field: 'FunctionImageSizeMB' as const, message: 'images have no size here' }]
    const run = made(
      warm, { settings: { Title: 'image-size', FunctionImageSizeMB: 100 }, ms: 3, result: { limitations: limits } },
      { settings: { Title: 'cold' }, result: { outcome: { kind: 'not-run', reason: 'never idle' } } }, { settings: chain, result: { failures: [{ code: '502', message: 'gone', count: 9 }] } },
      { settings: { Title: 'bursty-warm', BurstSizes: [100] }, ms: 3, result: { outcome: { kind: 'interrupted' } } },
    )
    assert.equal(tableOf(run).rows.length, 8)
    assert.equal(row(run, 'image-size').of, 'limitation: images have no size here')
    assert.equal(row(run, 'cold').of, 'not run: never idle')
    assert.equal(row(run, 'inline').of, 'no samples: 502, gone')
    assert.equal(row(run, 'storage').of, 'not in this run')
    assert.match(row(run, 'bursty-warm').of, /interrupted$/)
    for (const { mr, tr } of tableOf({ ...made(warm), subExperiments: [] }).rows) assert.deepEqual([mr.kind, tr.kind], ['none', 'none'])
    assert.match(row(made({ settings: { Title: 'cold' }, ms: 3 }), 'cold').of, /no single warm invocations/)
  })

  test('of too few samples has what it needs instead of a number', () => {
    assert.deepEqual(said(row(made(warm, { settings: { Title: 'cold' }, ms: 30, count: 367 }), 'cold')), ['15', 'needs 368 samples'])
    assert.deepEqual(said(row(made(warm, { settings: { Title: 'cold' }, ms: 30, count: 5 }), 'cold')), ['needs 6 samples', 'needs 368 samples'])
    assert.match(said(row(made({ ...warm, resolutionMs: 1 }, { settings: { Title: 'cold' }, ms: 30 }), 'cold'))[0], /a median of 2 ms cut off to multiples of 1 ms is too coarse/)
  })

  test('of timestamps in whole milliseconds has an interval that allows for them', () => {
    const { mr } = row(made(warm, { settings: chain, ms: 4, resolutionMs: 1 }), 'inline')
    assert.deepEqual(mr, { kind: 'value', value: 2, interval: { lower: 1.5, upper: 2.5 } })
  })

  test('of cold starts that were warm ones says so', () => {
    assert.match(row(made(warm, { settings: { Title: 'cold' }, ms: 3, result: { starts: { cold: 1, warm: 9, unknown: 0 } } }), 'cold').of, /only 10 % were cold starts/)
  })

  test('has an interval that holds its value', () => {
    for (const one of tableOf(made(warm, { settings: { Title: 'cold' }, ms: 30 })).rows.slice(0, 2)) {
      for (const cell of [one.mr, one.tr]) assert(cell.kind === 'value' && cell.interval!.lower <= cell.value && cell.value <= cell.interval!.upper)
    }
  })
})

describe('the table in Markdown', () => {
  test('has ours beside the thesis\'s, bold above 10, and as many columns in every line', () => {
    const text = tableMarkdown(tableOf(made(warm, { settings: { Title: 'cold' }, ms: 30 }, { settings: { Title: 'bursty-warm', BurstSizes: [9] }, result: { outcome: { kind: 'not-run', reason: 'a | b\n<img src=x> [x](y)' } } })))
    const lines = text.split('\n').filter((line) => line.startsWith('|'))
    assert.equal(lines.length, 10)
    for (const line of lines) assert.equal(line.match(/(?<!\\)\|/g)!.length, 11, line)
    assert.match(text, /Base cold \(§3\.5\.2\.1\) +\| \*\*15\*\* \[15, 15\] +\| \*\*150\*\* .*\| 10 +\| \*\*15\*\* +\| \*\*28\*\*/)
    assert.match(text, /n\/a/)
    assert(!text.includes('<img') && !text.includes('](y)'))
  })
})

test('sizes are said as they were asked for', () => {
  assert.deepEqual([0, 1, 1000, 1024, 102_400, 1e6, 1_048_576, 4_100_000].map(sayBytes), ['0 B', '1 B', '1 KB', '1 KiB', '100 KiB', '1 MB', '1 MiB', '4.1 MB'])
})

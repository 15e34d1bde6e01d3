/**
 * Goal: a verdict is given where the samples allow one, and only there.
 *
 * Method: runs of a known difference, of none, in another order, with bursts that are alike, with a driver that was late; the decision by itself at its borders.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { compareRuns, verdictOf } from './compare.ts'
import type { Comparison } from './compare.ts'
import { exampleParts, writeExampleRun } from './example-run.ts'
import type { ExamplePart } from './example-run.ts'
import { loadRun } from './load-run.ts'
import { compareDirectories, comparisonHtml, comparisonJson, comparisonPage, comparisonText, writeComparison } from './write-report.ts'
import { seededRandom } from '#base/seeded-random.ts'

let root = ''
before(async () => { root = await mkdtemp(join(tmpdir(), 'skep-compare-')) })
after(() => rm(root, { recursive: true, force: true }))

let runs = 0
async function run(parts: readonly ExamplePart[], options: { readonly seed?: number; readonly factor?: number; readonly provider?: string } = {}): Promise<string> {
  const directory = join(root, String(runs++))
  await writeExampleRun(directory, { seed: runs, parts, ...options })
  return directory
}

const of = (comparison: Comparison, name: string, what: string) => comparison.pairs.find((pair) => pair.name === name)!.ratios.find((ratio) => ratio.what === what)!
const [warm, cold, image10, image50] = exampleParts as [ExamplePart, ExamplePart, ExamplePart, ExamplePart]

describe('the decision', () => {
  test('follows from where the interval lies', () => {
    const kind = (ratio: number, lower: number, upper: number): string => verdictOf(ratio, { lower, upper }, 0.05, 1000).kind
    assert.deepEqual([kind(1.2, 1.1, 1.3), kind(0.8, 0.7, 0.9), kind(1, 0.97, 1.03), kind(1.2, 1.01, 1.4), kind(1, 0.9, 1.1)], ['slower', 'faster', 'no difference', 'not decided', 'not decided'])
    // Beyond one and yet not by what matters.
    assert.equal(kind(1.03, 1.01, 1.06), 'not decided')
    assert.equal(kind(1.03, 1.01, 1.04), 'no difference')
  })

  test('of the reciprocal is the opposite (Q2)', () => {
    const opposite = { faster: 'slower', slower: 'faster', 'no difference': 'no difference', 'not decided': 'not decided' } as const
    fc.assert(fc.property(fc.double({ min: 0.5, max: 2, noNaN: true }), fc.double({ min: 0.01, max: 0.5, noNaN: true }), fc.double({ min: 0.01, max: 0.5, noNaN: true }), (ratio, below, above) => {
      const [lower, upper] = [ratio * (1 - below), ratio * (1 + above)]
      const one = verdictOf(ratio, { lower, upper }, 0.05, 1000)
      const other = verdictOf(1 / ratio, { lower: 1 / upper, upper: 1 / lower }, 0.05, 1000)
      assert.equal(other.kind, opposite[one.kind])
    }))
  })

  test('asks for four times the samples for half the width', () => {
    const verdict = verdictOf(1.25, { lower: 1.25 * Math.exp(-0.4), upper: 1.25 * Math.exp(0.4) }, 0.05, 1000)
    assert(verdict.kind === 'not decided')
    // log 1.25 - log 1.05 = 0.174; (0.4 / 0.174)² × 1000 = 5265.
    assert.equal(verdict.samplesNeeded, 5300)
    assert.deepEqual(verdictOf(1.05, { lower: 1, upper: 1.1 }, 0.05, 1000), { kind: 'not decided', why: 'the interval reaches over the smallest difference that matters', samplesNeeded: undefined })
  })
})

describe('two runs', () => {
  test('of which one is slower are told apart, both ways', async () => {
    const [a, b] = [await run([warm, cold]), await run([warm, cold], { factor: 1.3 })]
    const there = await compareDirectories(a, b)
    const back = await compareDirectories(b, a)
    assert.deepEqual([of(there, 'warm', 'p50').verdict.kind, of(there, 'warm', 'p99').verdict.kind, of(back, 'warm', 'p50').verdict.kind], ['slower', 'slower', 'faster'])
    const { ratio, interval } = of(there, 'warm', 'p50')
    assert(Math.abs(ratio! - 1.3) < 0.05 && interval!.lower < 1.3 && 1.3 < interval!.upper, JSON.stringify({ ratio, interval }))
    assert(Math.abs(of(back, 'warm', 'p50').ratio! * ratio! - 1) < 1e-9)
  })

  test('of the same platform are not told apart, also where bursts are alike', async () => {
    const parts = exampleParts.filter(({ settings }) => /^(?:warm|bursty-)/.test(String(settings['Title'])) && settings['Title'] !== 'bursty-long')
    const comparison = await compareDirectories(await run(parts, { seed: 11 }), await run(parts, { seed: 12 }))
    for (const { name, ratios } of comparison.pairs) for (const { verdict, what } of ratios) assert(verdict.kind === 'no difference' || verdict.kind === 'not decided', `${name} ${what} ${verdict.kind}`)
    assert.equal(of(comparison, 'warm', 'p50').verdict.kind, 'no difference')
    assert.equal(of(comparison, 'bursty-warm, burst 100', 'p50').verdict.kind, 'not decided')
  })

  test('are matched by settings, and what only one has is listed', async () => {
    const a = await run([warm, cold, image10, image50])
    const b = await run([image50, { ...warm, settings: { ...warm.settings, FunctionMemoryMB: 2048 } }, exampleParts[9]!, image10])
    const comparison = await compareDirectories(a, b)
    assert.deepEqual(comparison.pairs.map((pair) => pair.name), ['warm', 'image-size, 10 MB image', 'image-size, 50 MB image'])
    assert.deepEqual([comparison.onlyA, comparison.onlyB], [['cold'], ['inline, 1048576 B']])
    assert.deepEqual(comparison.pairs[0]!.warnings, ['settings differ: FunctionMemoryMB 128 / 2048'])
    assert.deepEqual(comparison.pairs[1]!.warnings, [])
  })

  test('of equals go together with the fewest differences', async () => {
    const memory = (mb: number): ExamplePart => ({ ...cold, settings: { ...cold.settings, FunctionMemoryMB: mb } })
    const { pairs } = await compareDirectories(await run([memory(128), memory(512)]), await run([memory(512), memory(128)]))
    assert.deepEqual(pairs.map((pair) => pair.warnings), [[], []])
    const one = await compareDirectories(await run([memory(512)]), await run([memory(128), memory(512)]))
    assert.deepEqual(one.pairs.map((pair) => pair.warnings), [[]])
  })

  test('with too few samples or bursts are not decided, with what it needs (Q1)', async () => {
    const few = { ...cold, settings: { ...cold.settings, Bursts: 100 } }
    const comparison = await compareDirectories(await run([few, exampleParts.at(-1)!]), await run([few, exampleParts.at(-1)!], { factor: 2 }))
    assert.deepEqual(of(comparison, 'cold', 'p99').verdict, { kind: 'not decided', why: 'one has 100 samples', samplesNeeded: 368 })
    assert.equal(of(comparison, 'cold', 'p99').ratio, undefined)
    assert.match(comparisonText(comparison), /p50 .*not decided: 2 bursts on one side, at least 6 are needed/)
  })

  test('of which one was measured by a late driver are not decided, and it is said', async () => {
    const comparison = await compareDirectories(await run([warm]), await run([{ ...warm, lateP99Ms: 5 }], { factor: 3 }))
    assert.equal(of(comparison, 'warm', 'p50').verdict.kind, 'not decided')
    assert.match(comparison.pairs[0]!.warnings.join(), /B may have measured its driver: the driver's own p99 lateness, 5\.00 ms, is more than a tenth of the median/)
  })

  test('of chains compare transfers and bandwidth, of which more is faster', async () => {
    const inline = exampleParts[9]!
    const [a, b] = [await run([inline]), await run([inline], { factor: 2 })]
    const comparison = await compareDirectories(a, b)
    assert.equal(of(await compareDirectories(b, a), 'inline, 1048576 B', 'bandwidth').verdict.kind, 'faster')
    const { ratio, verdict } = of(comparison, 'inline, 1048576 B', 'bandwidth')
    assert(Math.abs(ratio! - 0.5) < 0.05)
    assert.deepEqual([verdict.kind, of(comparison, 'inline, 1048576 B', 'transfer p50').verdict.kind], ['slower', 'slower'])
  })

  test('of which one is the original\'s are compared with a warning', async () => {
    const part = { ...cold, medianMs: 300 }
    const [ours, theirs] = [await run([part, exampleParts[9]!]), await run([part, exampleParts[9]!], { factor: 2 })]
    await rm(join(theirs, 'summary.json'))
    const comparison = await compareDirectories(ours, theirs)
    assert.equal(of(comparison, 'cold', 'p50').verdict.kind, 'slower')
    assert.equal(comparison.pairs.length, 2)
    assert.match(comparison.warnings[0]!, /^B is read from STeLLAR's directories: machine, driver and most settings are not known/)
  })

  test('on other machines are warned of', async () => {
    const a = await loadRun(await run([warm]))
    const b = { ...a, summary: { ...a.summary!, client: { ...a.summary!.client, cpus: 64, skep: '0.2.0' } } }
    assert.deepEqual(compareRuns(a, b, { random: seededRandom(1) }).warnings, ['machines differ: 2 × Example CPU <4 GHz> / 64 × Example CPU <4 GHz>', 'drivers differ: 0.1.0 / 0.2.0'])
  })
})

describe('a comparison', () => {
  test('is the same for the same runs, as text, JSON and page', async () => {
    const [a, b] = [await run([warm]), await run([warm], { factor: 1.3, provider: '<script>alert(1)</script>\u001b[31m' })]
    const [one, other] = [await compareDirectories(a, b), await compareDirectories(a, b)]
    assert.deepEqual(one, other)
    assert.deepEqual(JSON.parse(comparisonJson(one)).pairs[0].ratios[0].verdict, { kind: 'slower' })
    const page = comparisonPage(one)
    assert(page.includes(comparisonHtml(one).text) && !page.includes('<script') && page.includes('&lt;script&gt;alert(1)'))
    assert(!comparisonText(one).includes('\u001b'))
    const [html, json] = await writeComparison(one, join(root, 'out'))
    assert.equal(await readFile(html!, 'utf8'), page)
    assert.equal(await readFile(json!, 'utf8'), comparisonJson(one))
  })

  test('takes a smallest difference that is one', async () => {
    for (const smallestDifference of [0, -1, Number.NaN, 10]) await assert.rejects(compareDirectories(root, root, { smallestDifference }), /is no smallest difference: give a share/)
  })
})

/**
 * Goal: each figure shows every value that it was given, ours and the thesis's, at the place where it belongs; the same results
 * give the same bytes; and no results, however odd, give something that is no SVG.
 *
 * Method: results of known values, looked up in the text; generated results (fast-check), held to the rules of XML that we need.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { restoreModes } from '#contract/start-figures.ts'
import { widthOf } from '#measure/report/plots/svg.ts'
import { allFigures, concurrencyFigure, contiguityFigure, designsFigure, distributionFigure, footprintFigure, reuseFigure, tenFunctionsFigure } from './figures.ts'
import { drawFigures } from './main.ts'
import { readResults } from './results.ts'
import type { PlotResults } from './results.ts'
import { thesisFunctions } from './thesis-values.ts'

const results: PlotResults = {
  machine: 'a machine with <2> cores & a disk',
  designs: { function: 'hello', values: [{ design: 'lazy', ms: 40, lowMs: 38, highMs: 44 }, { design: 'parallel-faults', ms: 20, bandwidthMbPerS: 210 }, { design: 'working-set', ms: 12.5 }, { design: 'reap', ms: 10 }, { design: 'direct', ms: 8 }] },
  functions: thesisFunctions.map(({ ours }, index) => ({
    name: ours, warmMs: 1 + index, lazy: { loadMs: 1, connectMs: 1, processMs: 38 + index, lowMs: 39, highMs: 50 }, reap: { loadMs: 5, connectMs: 1, processMs: 4 + index }, meanRunPages: 2 + index,
    storedBytes: 2_000_000 * (index + 1), touchedBytes: 500_000 * (index + 1), samePages: 900, uniquePages: 100 * index,
  })),
  concurrency: [{ design: 'lazy', points: [{ instances: 1, ms: 40 }, { instances: 64, ms: 2000, lowMs: 1500, highMs: 2500 }] }, { design: 'reap', points: [{ instances: 1, ms: 10 }, { instances: 64, ms: 300 }] }],
}

/** What a person reads. */
function textsOf(svg: string): string[] {
  return [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((match) => match[1]!)
}

function numberOf(text: string, attribute: string): number {
  return Number(new RegExp(`\\b${attribute}="([\\d.]+)"`).exec(text)![1])
}

/** Elements are closed in order, attributes are quoted, coordinates are numbers: enough that every reader takes it. */
function mustBeSvg(svg: string): void {
  const open: string[] = []
  assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" /)
  assert.doesNotMatch(svg, /[\u0000-\u0008\u000b\u000c\u000e-\u001f]|NaN|Infinity|undefined/)
  const rest = svg.replace(/<style>[^<]*<\/style>/, '').replace(/<(\/?)([a-z]+)((?: [a-zA-Z0-9:-]+="[^"<]*")*)(\/?)>/g, (_, closing: string, name: string, attributes: string, alone: string) => {
    if (closing !== '') assert.equal(open.pop(), name)
    else if (alone === '') open.push(name)
    for (const [, value] of attributes.matchAll(/ (?:x|y|x1|x2|y1|y2|width|height|cx|cy|r)="([^"]*)"/g)) assert.match(value!, /^-?\d+(?:\.\d+)?$/)
    return ''
  })
  assert.deepEqual(open, [])
  assert.doesNotMatch(rest, /[<>]|&(?!amp;|lt;|gt;|quot;)/)
}

describe('figures', () => {
  test('of designs has ours with their speed-ups, and the thesis\'s four beside them', () => {
    const texts = textsOf(designsFigure(results)!)
    for (const said of ['40', '20', '12.5', '10', '8', '2.0×', '4.0×', '5.0×', '210', 'direct', 'Here, hello']) assert(texts.includes(said), said)
    for (const said of ['232', '118', '71', '60', '3.9×', '43', '533', 'Thesis, helloworld']) assert(texts.includes(said), said)
    assert.equal(texts.filter((said) => said === 'REAP').length, 2)
    assert(texts.includes('Here: a machine with &lt;2&gt; cores &amp; a disk'))
  })

  test('of designs has room for every label, however many bars there are', () => {
    for (let count = 1; count <= restoreModes.length; count++) {
      const svg = designsFigure({ designs: { function: 'hello', values: restoreModes.slice(0, count).map((design) => ({ design, ms: 5 })) } })!
      const all = [...svg.matchAll(/<text ([^>]*)>([^<]*)</g)].map(([, attributes, said]) => ({ said: said!, x: numberOf(attributes!, 'x'), y: numberOf(attributes!, 'y'), isCentred: attributes!.includes('"middle"'), half: widthOf(said!, 11) / 2 }))
      const end = all.find(({ said }) => said.startsWith('Thesis'))!.x
      const ours = all.filter(({ x, isCentred }) => isCentred && x < end)
      assert(ours.length >= 2 * count)
      for (const one of ours) {
        assert(one.x + one.half <= end, one.said)
        for (const other of ours) assert(one === other || one.y !== other.y || Math.abs(one.x - other.x) >= one.half + other.half, `${one.said} touches ${other.said}, of ${count}`)
      }
      assert(numberOf(svg, 'width') >= end + 220)
    }
  })

  test('of ten functions has a row for each, the thesis\'s values in its columns, and the mean speed-up', () => {
    const svg = tenFunctionsFigure(results)!
    const texts = textsOf(svg)
    for (const { ours, lazyMs, reapMs } of thesisFunctions) {
      const thin = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, '\u202f')
      assert(texts.includes(ours), ours)
      assert(texts.includes(`${thin(lazyMs)} → ${thin(reapMs)}`), ours)
    }
    for (const said of ['40', '10', '4.0×', '3.9×', 'load', 'connect', 'process', 'warm']) assert(texts.includes(said), said)
    const mean = Math.exp(results.functions!.reduce((sum, one, index) => sum + Math.log((40 + index) / (10 + index)), 0) / 10)
    assert(texts.some((said) => said.includes(`${mean.toFixed(1)}× here, 3.7× in the thesis`)), 'mean')
  })

  test('draws bars and rows as long as their values', () => {
    const svg = designsFigure(results)!
    const heights = [...svg.matchAll(/<rect [^>]*height="([\d.]+)" class="f(\d)"\/>/g)].map((match) => Number(match[1]))
    assert.equal(heights.length, 5)
    for (const [index, ms] of [40, 20, 12.5, 10, 8].entries()) assert(Math.abs(heights[index]! / heights[0]! - ms / 40) < 0.001, `${ms} ms is ${heights[index]} px high`)
    const widths = [...reuseFigure({ functions: [{ name: 'x', samePages: 75, uniquePages: 25 }] })!.matchAll(/<rect [^>]*width="([\d.]+)" height="9"/g)].map((match) => Number(match[1]))
    assert(Math.abs(widths[0]! / widths[1]! - 3) < 0.05, String(widths))
  })

  test('of concurrency, contiguity, footprint and reuse have ours and the thesis\'s', () => {
    const concurrency = concurrencyFigure(results)!
    for (const said of ['vanilla', 'vanilla, thesis', 'REAP', 'REAP, thesis', '64', '10\u202f000']) assert(textsOf(concurrency).includes(said), said)
    assert.equal([...concurrency.matchAll(/class="s\d dash"/g)].length, 2)
    for (const said of ['2', '1.9', '11', '4.9']) assert(textsOf(contiguityFigure(results)!).includes(said), said)
    for (const said of ['25.0 %', '148 · 8', '38.7 %']) assert(textsOf(footprintFigure(results)!).includes(said), said)
    for (const said of ['100.0 %', '50.0 %', '1\u202f965 / 2', '97.0 %']) assert(textsOf(reuseFigure(results)!).includes(said), said)
  })

  test('are readable on dark paper, too, and say to those who hear them what they are', () => {
    for (const svg of allFigures(results).values()) {
      assert.match(svg, /@media\(prefers-color-scheme:dark\)/)
      assert.match(svg, /role="img"/)
      assert.match(svg, /<title>[^<]+<\/title>\n<desc>[^<]+<\/desc>/)
    }
  })

  test('are the same bytes for the same results, whatever the order of keys', () => {
    assert.deepEqual(allFigures(results), allFigures(readResults(JSON.parse(JSON.stringify(results)))))
    assert.equal(allFigures(results).size, 6)
  })

  test('are not drawn of what is not there', () => {
    assert.equal(allFigures({}).size, 0)
    assert.deepEqual([...allFigures({ functions: [{ name: 'x', meanRunPages: 3 }] }).keys()], ['figure-4-3-contiguity.svg'])
  })

  test('of a distribution climbs to one, each sample a step', () => {
    const svg = distributionFigure({ title: 'Restore', note: 'ms', series: [{ name: 'reap', samplesMs: [3, 1, 2, 2] }, { name: 'none', samplesMs: [] }] })
    mustBeSvg(svg)
    const path = /<path d="([^"]*)"/.exec(svg)![1]!
    assert.equal([...path.matchAll(/V/g)].length, 2)
    assert(textsOf(svg).includes('reap') && !textsOf(svg).includes('none'))
  })

  test('are SVG for whatever results there are', () => {
    const amount = fc.oneof(fc.double({ min: 1e-9, max: 1e12, noNaN: true }), fc.integer({ min: 1, max: 100 }))
    const count = fc.oneof(fc.constant(0), amount)
    const named = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter((text) => text.length <= 60)
    const spread = { lowMs: amount, highMs: amount }
    const design = fc.constantFrom(...restoreModes)
    const phases = fc.record({ loadMs: count, connectMs: count, processMs: count, ...spread }, { requiredKeys: ['loadMs', 'connectMs', 'processMs'], noNullPrototype: true })
    const one = fc.record(
      { name: fc.oneof(named, fc.constantFrom(...thesisFunctions.map(({ ours }) => ours))), warmMs: amount, lazy: phases, reap: phases, meanRunPages: count, storedBytes: count, touchedBytes: count, samePages: count, uniquePages: count },
      { requiredKeys: ['name'], noNullPrototype: true },
    )
    const any = fc.record({
      machine: named,
      designs: fc.record({ function: named, values: fc.array(fc.record({ design, ms: amount, bandwidthMbPerS: amount, ...spread }, { requiredKeys: ['design', 'ms'] }), { minLength: 1, maxLength: 8 }) }),
      functions: fc.array(one, { maxLength: 12 }),
      concurrency: fc.array(fc.record({ design, points: fc.array(fc.record({ instances: amount, ms: amount, ...spread }, { requiredKeys: ['instances', 'ms'] }), { minLength: 1, maxLength: 8 }) }), { maxLength: 4 }),
    }, { requiredKeys: [] })
    fc.assert(fc.property(any, (value) => {
      for (const svg of allFigures(readResults(value)).values()) mustBeSvg(svg)
    }), { numRuns: 150 })
  })
})

describe('results', () => {
  test('that are none are refused with the place that is wrong, and never half drawn', () => {
    assert.throws(() => readResults({ designs: { function: 'x', values: [{ design: 'magic', ms: 1 }] } }), /designs\.values\.0\.design/)
    assert.throws(() => readResults({ concurrency: [{ design: 'reap', points: [{ instances: 1, ms: 0 }] }] }), /concurrency\.0\.points\.0\.ms/)
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      try {
        for (const svg of allFigures(readResults(value)).values()) mustBeSvg(svg)
      } catch (error) {
        assert.match((error as Error).message, /^These are no results/)
      }
    }))
  })

  test('in a file become files', () => {
    const directory = mkdtempSync(join(tmpdir(), 'skep-plots-'))
    try {
      const path = join(directory, 'reap.json')
      writeFileSync(path, JSON.stringify({ ...results, scenario: 'reap', figures: { more: 1 } }))
      const written = drawFigures(path, join(directory, 'plots'))
      assert.equal(written.length, 6)
      for (const file of written) mustBeSvg(readFileSync(file, 'utf8'))
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})

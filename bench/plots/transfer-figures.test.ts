/**
 * Goal: what the scenarios about transfers have saved gives all seven figures, with its values and the thesis's in them; what is something else gives none.
 *
 * Method: a small file of that form, with known values that are looked up in the text; parts left out; odd values (fast-check).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromTransfers } from './from-transfers.ts'
import { transferFigures } from './transfer-figures.ts'

const bySize = (ms: Record<string, number>) => Object.fromEntries(['kb10', 'kb100', 'mb1', 'mb10', 'mb100'].map((size, power) => [size, Object.fromEntries(Object.entries(ms).map(([way, value]) => [way, value * 4 ** power]))]))
const local = bySize({ allocated: 0.01, plain: 0.02, inline: 0.01, s3: 0.46, redis: 0.05, tcp: 0.01 })
const degrees = (value: number) => ({ 1: value, 2: 2 * value, 32: 32 * value })
const patterns = ['gather', 'scatter', 'broadcast'].flatMap((pattern) => ['kb10', 'mb10'].map((size) => `${pattern}_${size}`))
const byPattern = (endings: Record<string, number>) => Object.fromEntries(patterns.flatMap((name) => Object.entries(endings).map(([ending, value]) => [`${name}_${ending}`, degrees(value)])))
const workloads = (transport: string, ms: number) => Object.fromEntries(['video', 'stacking', 'mapreduce'].flatMap((name) => [[`${name}_${transport}_ms`, ms], [`${name}_${transport}_phases`, { 'a compute': ms / 2, 'a put': ms / 4, 'b get': ms / 4 }]]))
const saved = {
  machine: { processor: 'a <processor>', cores: 2, memoryGb: 24, node: 'v26' },
  scenarios: {
    'transfer-local': { figures: { p50_ms: local, p99_ms: local, mb1_distribution_ms: { plain: [0.3, 0.4, 0.5], s3: [7, 8, 9], nats: [20] }, rounds: 9, other: 'kept' }, baselines: {}, ratios: {} },
    'transfer-remote': { figures: { figure_6_3_ms: bySize({ 'cut-through': 0.2, 'store-and-forward': 0.3, blobs: 2 }), figure_6_4_ms: { mb1: { '64kb': 5, '1024kb': 4 }, mb100: { '64kb': 90, '4096kb': 60 } } } },
    'transfer-patterns': { figures: byPattern({ xdt_ms: 2, xdt_summed_ms: 3 }), baselines: byPattern({ s3_ms: 20, redis_ms: 4 }), ratios: { ...byPattern({ vs_s3: 0.5, vs_redis: 0.3 }), gather_min: 2 } },
    workloads: { figures: workloads('xdt', 250), baselines: { ...workloads('s3', 1000), ...workloads('redis', 500) } },
  },
}

/** What a person reads. */
function textsOf(svg: string): string[] {
  return [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((match) => match[1]!)
}

test('all scenarios give all seven figures, the same for the same', () => {
  const figures = transferFigures(fromTransfers(JSON.parse(JSON.stringify(saved)))!)
  assert.deepEqual([...figures.keys()], ['figure-6-3-sizes.svg', 'figure-6-4-depths.svg', 'figure-6-5-tails.svg', 'figure-6-6-gather.svg', 'figure-6-7-scatter.svg', 'figure-6-8-broadcast.svg', 'figure-6-9-workloads.svg'])
  for (const svg of figures.values()) {
    assert.match(svg, /^<svg /)
    assert.doesNotMatch(svg, /NaN|Infinity|undefined/)
    assert(textsOf(svg).includes('Here: a &lt;processor&gt;, 2 cores, 24 GB'))
  }
  assert.deepEqual(transferFigures(fromTransfers(saved)!), figures)
})

test('values, ours and the thesis\'s, are where a person looks for them', () => {
  const figures = transferFigures(fromTransfers(saved)!)
  // S3 over XDT is 23 at each size here; the thesis has 8.9 and 6.5 for 1 MB.
  const tails = textsOf(figures.get('figure-6-5-tails.svg')!)
  assert.equal(tails.filter((said) => said === '23').length, 10)
  for (const said of ['8.9', '6.5', 'NATS objects', 'Thesis, all sizes: median 6–14.2×, p99 6.5–13×']) assert(tails.includes(said), said)
  const work = textsOf(figures.get('figure-6-9-workloads.svg')!)
  for (const said of ['4.0×', '1.14×', '2.71×', '1.42×', 'Stacking ensemble']) assert(work.includes(said), said)
  // Ways between hosts and on one, and three hollow points of the thesis in either panel.
  const sizes = figures.get('figure-6-3-sizes.svg')!
  for (const said of ['other host, CT', 'XDT, in place', '100 MB']) assert(textsOf(sizes).includes(said), said)
  assert.equal([...sizes.matchAll(/<circle[^>]*class="paper s\d"/g)].length, 6)
})

test('a scenario that is not there leaves its figures out', () => {
  const only = (...names: readonly string[]) => [...transferFigures(fromTransfers({ ...saved, scenarios: Object.fromEntries(Object.entries(saved.scenarios).filter(([name]) => names.includes(name))) })!).keys()]
  assert.deepEqual(only(), [])
  assert.deepEqual(only('transfer-patterns'), ['figure-6-6-gather.svg', 'figure-6-7-scatter.svg', 'figure-6-8-broadcast.svg'])
  assert.deepEqual(only('transfer-remote'), ['figure-6-3-sizes.svg', 'figure-6-4-depths.svg'])
})

test('what is no such file is not taken for one, and odd parts are left out', () => {
  assert.equal(fromTransfers({ machine: saved.machine }), undefined)
  fc.assert(fc.property(fc.jsonValue(), (value) => assert.equal(fromTransfers(value), undefined)))
  const odd = fc.dictionary(fc.constantFrom(...Object.keys(saved.scenarios['transfer-patterns'].figures), 'video_xdt_ms', 'video_xdt_phases', 'video_s3_ms', 'video_s3_phases'), fc.jsonValue())
  fc.assert(fc.property(odd, odd, (figures, baselines) => {
    const results = fromTransfers({ machine: saved.machine, scenarios: { 'transfer-patterns': { figures, baselines, ratios: figures }, workloads: { figures, baselines } } })
    for (const svg of transferFigures(results!).values()) assert.doesNotMatch(svg, /NaN|Infinity|undefined/)
  }))
})

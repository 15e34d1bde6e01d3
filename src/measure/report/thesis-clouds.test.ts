/** Goal: the values copied from the thesis agree with each other where its text derives one from another. Method: its own arithmetic; where it slips, the slip is pinned. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clouds, thesisTable, thesisValues } from './thesis-clouds.ts'
import type { Cloud, TableFactor } from './thesis-clouds.ts'

/** Median without the way, and the way (3.4, 3.5.1). */
const base: Readonly<Record<Cloud, number>> = { AWS: 18 + 26, Google: 17 + 14, Azure: 25 + 32 }

function follows(factor: TableFactor, cloud: Cloud, p50: number | undefined, p99: number | undefined): void {
  const [mr, tr] = thesisTable.find((row) => row.factor === factor)!.ratios[cloud]!
  for (const [ms, said] of [[p50, mr], [p99, tr]] as const) {
    if (ms !== undefined) assert(Math.abs(ms / base[cloud] - said) <= 0.51 + said * 0.02, `${factor} ${cloud}: ${ms} / ${base[cloud]} is not ${said}`)
  }
}

test('cells of Table 3.1 follow from the latencies in the text', () => {
  const value = (figure: string, what: string, cloud: Cloud) => thesisValues.find((one) => one.figure === figure && one.what === what && one.cloud === cloud)
  for (const cloud of clouds) follows('cold', cloud, value('3.3', 'cold', cloud)!.p50, value('3.3', 'cold', cloud)!.p99 ?? value('3.3', 'cold', cloud)!.p50! * value('3.3', 'cold', cloud)!.tmr!)
  for (const cloud of ['AWS', 'Azure'] as const) follows('image-size', cloud, undefined, value('3.4', '100 MB', cloud)!.p99)
  follows('image-size', 'Google', 510, 510 * 3.6)
  follows('inline', 'Google', 62, 88)
  for (const cloud of ['AWS', 'Google'] as const) follows('storage', cloud, value('3.7', '1 MB', cloud)!.p50, value('3.7', '1 MB', cloud)!.p99)
  follows('bursty-cold', 'Google', 1818, 3095)
  follows('bursty-long', 'Google', 2978 - 1000, undefined)
  follows('bursty-long', 'Azure', 18_637 - 1000, undefined)
})

test('TMR and bandwidth follow from their parts', () => {
  for (const { p50, p99, tmr, figure, what } of thesisValues) if (p50 !== undefined && p99 !== undefined && tmr !== undefined && !(figure === '3.3' && what === 'warm')) assert(Math.abs(p99 / p50 - tmr) < 0.13, `${figure} ${what}`)
  for (const { mbitPerS, p50, what } of thesisValues) {
    const bytes = { '1 MB': 1e6, '4 MB': 4e6 }[what]
    if (mbitPerS !== undefined && p50 !== undefined && bytes !== undefined) assert(Math.abs((bytes * 8) / p50 / 1000 / mbitPerS - 1) < 0.1, `${what}: ${mbitPerS}`)
  }
})

test('every factor and every cloud has its cells, transfers on Azure have none', () => {
  assert.equal(thesisTable.length, 8)
  for (const { factor, ratios } of thesisTable) for (const cloud of clouds) assert.equal(ratios[cloud] === undefined, cloud === 'Azure' && (factor === 'inline' || factor === 'storage'))
})

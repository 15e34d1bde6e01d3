/** Goal: the values taken from the thesis's figures are those that its text speaks of. Method: its sentences, computed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { thesisClaims, thesisConcurrency, thesisDesigns, thesisFunctions } from './thesis-values.ts'

test('the thesis\'s values agree with what its text says of them', () => {
  const ratios = thesisFunctions.map((one) => one.lazyMs / one.reapMs)
  const geometric = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length)
  assert.equal(thesisFunctions.length, 10)
  // "3.7× on average", "1.04-9.7×" (5.3.3).
  assert(Math.abs(geometric - thesisClaims.meanSpeedUp) < 0.1, String(geometric))
  assert(Math.abs(Math.min(...ratios) - 1.04) < 0.01 && Math.abs(Math.max(...ratios) - 9.7) < 0.15)
  // "8-99MB, which is 3-39%" (4.3.3); "around 2-3 pages for all functions except lr_training" (4.3.2); "over 76%" (4.3.4).
  assert.deepEqual([Math.min(...thesisFunctions.map((one) => one.workingSetMb)), Math.max(...thesisFunctions.map((one) => one.workingSetMb))], [8, 99])
  for (const one of thesisFunctions) assert(one.name === 'lr_training' || (one.meanRunPages > 1.5 && one.meanRunPages < 3.5), one.name)
  assert(thesisFunctions.every((one) => one.samePages / (one.samePages + one.uniquePages) > 0.76))
  assert.equal(thesisDesigns.find((one) => one.design === 'reap')!.ms, thesisFunctions[0]!.reapMs)
  assert.deepEqual(thesisConcurrency.map((one) => one.points.map((point) => point.instances).join()), ['1,2,4,8,16,32,64', '1,2,4,8,16,32,64'])
})

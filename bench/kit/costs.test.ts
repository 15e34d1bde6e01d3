/** Goal: costs are what the price lists say. Method: usages with prices that can be reckoned by hand, and the thesis's table 6.2 to the order of magnitude. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Usage } from '../../examples/transports/report.ts'
import { awsPrices, costsOf } from './costs.ts'
import type { Prices } from './costs.ts'

const GB = 1024 ** 3
const usage: Usage = { functions: { a: { invocations: 2, ms: 3000 }, b: { invocations: 10, ms: 500 } }, storage: { puts: 7, gets: 9, bytes: 2 * GB }, movedBytes: 3 * GB }
const memoryMb = { a: 2048, b: 512 }
const simple: Prices = { perGbSecond: 1, perInvocation: 0.1, perS3Put: 0.01, perS3Get: 0.001, perS3GbMonth: 30, s3KeptDays: 2, perRedisGbHour: 5, redisKeptHours: 3 }
const near = (got: number, expected: number): void => assert(Math.abs(got - expected) < 1e-6 * expected, `${got} is not ${expected}`)

test('compute is seconds x gigabytes and a fee per invocation, whatever the transport', () => {
  for (const transport of ['inline', 'xdt', 's3', 'redis'] as const) near(costsOf(usage, transport, memoryMb, simple).computeMicroUsd, (3 * 2 + 0.5 * 0.5 + 12 * 0.1) * 1e6)
})

test('S3 is requests and GB-months, Redis is GB-hours, and what goes directly costs nothing', () => {
  near(costsOf(usage, 's3', memoryMb, simple).storageMicroUsd, (0.07 + 0.009 + 2 * (2 / 30) * 30) * 1e6)
  near(costsOf(usage, 'redis', memoryMb, simple).storageMicroUsd, 2 * 3 * 5 * 1e6)
  for (const transport of ['inline', 'xdt'] as const) {
    const { computeMicroUsd, storageMicroUsd, totalMicroUsd } = costsOf(usage, transport, memoryMb, simple)
    assert.equal(storageMicroUsd, 0)
    assert.equal(totalMicroUsd, computeMicroUsd)
  }
})

test('a shuffle of 40 x 10 files costs about 2,200 millionths of a dollar in S3 requests at the prices of AWS', () => {
  const shuffle: Usage = { functions: {}, storage: { puts: 400, gets: 400, bytes: 0 }, movedBytes: 0 }
  near(costsOf(shuffle, 's3', {}, awsPrices).storageMicroUsd, 400 * 5 + 400 * 0.4)
})

test('a function of unknown memory is an error, and not free', () => {
  assert.throws(() => costsOf(usage, 'xdt', { a: 1 }), /memory of b/)
})

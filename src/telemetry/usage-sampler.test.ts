/** Goal: the idle share is that of the last sample, and absent where it can't be known (U1). Method: texts as /proc/stat has them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '#base/clock.ts'
import { Metrics } from '#base/metrics.ts'
import { UsageSampler, idleShare, parseCpuTicks } from './usage-sampler.ts'

describe('parseCpuTicks', () => {
  test('reads the line of all cpus, with guest time counted once', () => {
    assert.deepEqual(parseCpuTicks('cpu  100 5 20 300 40 1 2 3 90 0\ncpu0 1 2 3 4\n'), { idle: 340, total: 471 })
  })

  test('any other text is none', () => {
    for (const text of ['', 'cpu0 1 2 3 4', 'cpu  1 2', 'intr 5']) assert.equal(parseCpuTicks(text), undefined)
    fc.assert(fc.property(fc.string(), (text) => void parseCpuTicks(text)))
  })

  test('a share is between 0 and 1 whatever the kernel counts (U1)', () => {
    const ticks = fc.record({ idle: fc.nat(), total: fc.nat() })
    fc.assert(
      fc.property(ticks, ticks, (before, after) => {
        const share = idleShare(before, after)
        assert(share === undefined || (share >= 0 && share <= 1))
      }),
    )
  })
})

describe('UsageSampler', () => {
  test('gives the share of the last sample', () => {
    const clock = new ManualClock()
    let text = 'cpu  0 0 0 0'
    const sampler = new UsageSampler({ clock, readStat: () => text })
    sampler.start()
    assert.equal(sampler.cpuIdleShare, undefined)
    text = 'cpu  10 0 0 30'
    clock.advance(250)
    assert.equal(sampler.cpuIdleShare, 0.75)
    text = 'cpu  20 0 0 30'
    clock.advance(250)
    assert.equal(sampler.cpuIdleShare, 0)
    sampler.stop()
  })

  test('knows nothing where there is no /proc/stat', () => {
    const clock = new ManualClock()
    const sampler = new UsageSampler({ clock, readStat: () => { throw new Error('ENOENT') } })
    sampler.start()
    clock.advance(1000)
    assert.equal(sampler.cpuIdleShare, undefined)
    sampler.stop()
  })

  test('exposes the process beside it', () => {
    const metrics = new Metrics()
    new UsageSampler({ clock: new ManualClock(), readStat: () => '' }).expose(metrics)
    const text = metrics.expose()
    assert.match(text, /\nprocess_resident_memory_bytes [1-9]\d+\n/)
    assert.match(text, /\nprocess_cpu_seconds_total 0\.\d+\n/)
    assert.match(text, /\nskep_host_cpu_idle_ratio NaN\n/)
  })
})

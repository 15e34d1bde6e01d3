/**
 * Goal: what Prometheus reads is what was counted, whatever the label values, and memory stays bounded.
 *
 * Method: expected text where it is short; a small reader of the exposition format for a fuzz of label values.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Metrics } from './metrics.ts'

/** Lines that are not comments, without the registry's own. */
function samples(metrics: Metrics): string[] {
  return metrics.expose().split('\n').filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('skep_metric_sets'))
}

describe('Metrics', () => {
  test('writes help, type and samples as format 0.0.4 asks', () => {
    const metrics = new Metrics()
    metrics.counter({ name: 'calls_total', help: 'Calls.\nAll \\ of them.', labels: ['function'] }).with({ function: 'f' }).add(3)
    metrics.gauge({ name: 'room', help: 'Room.' }).with({}).set(-1.5)
    const text = metrics.expose()
    assert(text.includes('# HELP calls_total Calls.\\nAll \\\\ of them.\n# TYPE calls_total counter\ncalls_total{function="f"} 3\n'))
    assert(text.endsWith('# TYPE room gauge\nroom -1.5\n'))
  })

  test('gives the same handle for the same label values, in whatever order they are named', () => {
    const family = new Metrics().counter({ name: 'c', help: '', labels: ['a', 'b'] })
    assert.equal(family.with({ a: '1', b: '2' }), family.with({ b: '2', a: '1' }))
    assert.notEqual(family.with({ a: '1', b: '2' }), family.with({ a: '2', b: '1' }))
  })

  test('counts label sets beyond the bound together as _other, and each refusal (P1)', () => {
    const metrics = new Metrics()
    const family = metrics.counter({ name: 'c', help: '', labels: ['f'], setsMax: 2 })
    for (const f of ['a', 'b', 'c', 'd']) family.with({ f }).add(1)
    assert.deepEqual(samples(metrics), ['c{f="a"} 1', 'c{f="b"} 1', 'c{f="_other"} 2'])
    assert(metrics.expose().includes('skep_metric_sets_refused_total{metric="c"} 2'))
    family.remove({ f: 'a' })
    family.with({ f: 'e' }).add(7)
    assert.deepEqual(samples(metrics), ['c{f="b"} 1', 'c{f="e"} 7', 'c{f="_other"} 2'])
  })

  test('exposes a histogram cumulatively, with inclusive bounds in the unit of its name', () => {
    const metrics = new Metrics()
    const histogram = metrics.histogram({ name: 'd_seconds', help: '', labels: ['f'], scale: 1e-6, exposed: [5, 6, 7] }).with({ f: 'x' })
    for (const us of [32, 33, 64, 100, 1_000_000]) histogram.observe(us)
    assert.deepEqual(samples(metrics), [
      'd_seconds_bucket{f="x",le="0.000032"} 1',
      'd_seconds_bucket{f="x",le="0.000064"} 3',
      'd_seconds_bucket{f="x",le="0.000128"} 4',
      'd_seconds_bucket{f="x",le="+Inf"} 5',
      'd_seconds_sum{f="x"} 1.000229',
      'd_seconds_count{f="x"} 5',
    ])
  })

  test('label values of any kind come back as they were', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const metrics = new Metrics()
        metrics.counter({ name: 'c', help: '', labels: ['v'] }).with({ v: value }).add(1)
        const text = metrics.expose()
        const from = text.indexOf('c{v="') + 5
        const read = text.slice(from, text.lastIndexOf('"} 1\n')).replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
        assert.equal(read, value)
      }),
    )
  })

  test('comes in parts that make up the whole', () => {
    const metrics = new Metrics()
    const family = metrics.histogram({ name: 'h', help: '', labels: ['f'], exposed: [1, 2] })
    for (let count = 0; count < 1000; count++) family.with({ f: `function-${count}` }).observe(count)
    const parts = [...metrics.parts()]
    assert(parts.length > 1 && parts.every((part) => part.length < 70_000))
    assert.equal(parts.join(''), metrics.expose())
  })

  test('a gauge can be set just before it is read', () => {
    const metrics = new Metrics()
    const gauge = metrics.gauge({ name: 'g', help: '' }).with({})
    const end = metrics.beforeExpose(() => gauge.add(1))
    metrics.expose()
    end()
    assert.deepEqual(samples(metrics), ['g 1'])
  })

  test('a family made twice is one; with other labels it is a bug (P2)', () => {
    const metrics = new Metrics()
    const family = metrics.counter({ name: 'c', help: '', labels: ['a'] })
    assert.equal(metrics.counter({ name: 'c', help: '', labels: ['a'] }), family)
    assert.throws(() => metrics.counter({ name: 'c', help: '', labels: ['b'] }), /another kind or other labels/)
    assert.throws(() => metrics.counter({ name: 'c-d', help: '' }), /metric name c-d/)
  })
})

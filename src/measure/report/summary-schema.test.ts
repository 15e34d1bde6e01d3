/** Goal: what a run writes is read back as it was, and everything else is refused with file and field. Method: the example run's summary, whole and with each of its fields broken in turn. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import type { RunSummary } from '../run-summary.ts'
import { exampleParts, writeExampleRun } from './example-run.ts'
import { parseSummary } from './summary-schema.ts'

let directory = ''
let summary: RunSummary
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'skep-report-'))
  summary = await writeExampleRun(join(directory, 'run'), { parts: [exampleParts[1]!, exampleParts[8]!, { ...exampleParts[2]!, outcome: { kind: 'not-run', reason: 'no image' } }] })
})
after(() => rm(directory, { recursive: true, force: true }))

type Json = Record<string, unknown>
const copy = (): Json => JSON.parse(JSON.stringify(summary)) as Json

describe('a summary', () => {
  test('is read back as it was written', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(parseSummary(JSON.stringify(summary), 's.json'))), copy())
  })

  test('has NaN again where JSON has null', () => {
    const one = structuredClone(summary) as unknown as { results: { latencies: { summary: { standardDeviation: number } } }[] }
    one.results[0]!.latencies.summary.standardDeviation = Number.NaN
    assert.equal(parseSummary(JSON.stringify(one), 's.json').results[0]!.latencies!.summary.standardDeviation, NaN)
  })

  test('is refused with file and field, for each field that must be there', () => {
    const paths: (string | number)[][] = []
    const walk = (value: unknown, path: (string | number)[]): void => {
      if (path.length > 0) paths.push(path)
      if (value !== null && typeof value === 'object') for (const [key, one] of Object.entries(value)) walk(one, [...path, Array.isArray(value) ? Number(key) : key])
    }
    walk(copy(), [])
    const free = /^(?:results\.\d+\.settings\.(?:index|SnapStartEnabled|CPUBoostEnabled|Handler|PackagePattern|Visualization))$/
    for (const path of paths.filter((one) => !free.test(one.join('.')))) {
      const broken = copy()
      const holder = path.slice(0, -1).reduce<Json>((value, step) => value[step] as Json, broken)
      holder[path.at(-1)!] = [[[]]]
      assert.throws(() => parseSummary(JSON.stringify(broken), 's.json'), (error) => error instanceof PlatformError && error.message.startsWith('s.json: '), path.join('.'))
    }
    const late = copy()
    ;((late['results'] as Json[])[1]!['lateness'] as Json)['p99'] = 'soon'
    assert.throws(() => parseSummary(JSON.stringify(late), 's.json'), /^PlatformError: s\.json: results\[1\]\.lateness\.p99: /)
  })

  test('of another version is refused with the version', () => {
    assert.throws(() => parseSummary('{"format":"skep-measure/9"}', 's.json'), /s\.json: format: "skep-measure\/9", this version reads skep-measure\/1/)
    assert.throws(() => parseSummary('[]', 's.json'), /format: is missing/)
    assert.throws(() => parseSummary('{"format":', 's.json'), { code: 'JSON_INVALID' })
  })

  test('names no directory outside of its own', () => {
    for (const outside of ['/etc', '../other', 'a/../../b', '..']) {
      const one = copy()
      ;(one['results'] as Json[])[0]!['directory'] = outside
      assert.throws(() => parseSummary(JSON.stringify(one), 's.json'), /results\[0\]\.directory: must lie below/, outside)
    }
  })

  test('of any text or value is a summary or an error of the table', () => {
    const mixed = fc.tuple(fc.array(fc.tuple(fc.constantFrom('results', 'client', 'provider', 'warnings', 'wallMs'), fc.jsonValue()), { maxLength: 3 }), fc.boolean()).map(([changes]) => JSON.stringify({ ...copy(), ...Object.fromEntries(changes) }))
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), mixed), (text) => {
      try {
        parseSummary(text, 's.json')
      } catch (error) {
        assert(error instanceof PlatformError && ['JSON_INVALID', 'INPUT_INVALID'].includes(error.code) && error.message.startsWith('s.json: '), String(error))
      }
    }), { numRuns: 200 })
  })
})

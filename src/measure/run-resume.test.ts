/**
 * Goal: a run is resumed with the settings that it began with, or not at all, and the error names what is different.
 *
 * Method: every setting of a sub-experiment is changed in turn; the other side goes through JSON, as a summary does.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseExperiment } from './experiment.ts'
import { checkResumable, differingField, isMeasured } from './run-resume.ts'
import type { RunSummary, SubExperimentResult } from './run-summary.ts'

const base = { Title: 'a', Bursts: 1000, BurstSizes: [1], DesiredServiceTimes: ['0ms'], DataTransferChainLength: 2 }
const parse = (given: object, top: object = {}) => parseExperiment(JSON.stringify({ ...top, SubExperiments: [{ ...base, ...given }] }), 'x.json').SubExperiments
const stored = (given: object): SubExperimentResult['settings'] => JSON.parse(JSON.stringify(parse(given)[0])) as SubExperimentResult['settings']

function summaryOf(settings: SubExperimentResult['settings'], provider = 'skep'): RunSummary {
  return { provider: { name: provider }, results: [{ index: settings.index, title: settings.Title, settings }] } as unknown as RunSummary
}

const names = { file: 'x.json', directory: 'runs/1' }

describe('settings', () => {
  test('are the same after they were written and read', () => {
    for (const given of [{}, { stopRule: {}, Bursts: 5000 }, { openLoop: { arrivalsPerSecond: 3 } }, { keepAliveSeconds: 0.5, strict: true }]) {
      assert.equal(differingField(parse(given)[0]!, stored(given)), undefined)
    }
  })

  test('that differ are named, each of them', () => {
    for (const [field, value] of Object.entries({
      Title: 'b', Bursts: 999, BurstSizes: [2], IATSeconds: 3, DesiredServiceTimes: ['1ms'], PayloadLengthBytes: 1, DataTransferChainLength: 3, StorageTransfer: true, Parallelism: 2,
      FunctionMemoryMB: 256, FunctionImageSizeMB: 1, PackageType: 'Image', Visualization: 'none', Function: 'f', Handler: 'h', Runtime: 'node', PackagePattern: 'p', SnapStartEnabled: true,
      CPUBoostEnabled: true, openLoop: { arrivalsPerSecond: 1 }, warmUp: 1, stopRule: {}, strict: true, keepAliveSeconds: 1, referenceTransfer: true,
    })) {
      assert.equal(differingField(parse({ [field]: value })[0]!, stored({})), field)
      assert.equal(differingField(parse({})[0]!, stored({ [field]: value })), field)
    }
  })
})

describe('a run', () => {
  test('is resumed with the same file and provider', () => {
    checkResumable(parse({}), 'skep', summaryOf(stored({})), names)
  })

  test('of other settings is refused with both values and the next step', () => {
    assert.throws(() => checkResumable(parse({ Bursts: 3000 }), 'skep', summaryOf(stored({})), names), {
      code: 'INPUT_INVALID', message: 'SubExperiments[0].Bursts is 3000 in x.json and 1000 in runs/1: resume with the file and provider as they were, or begin a new run',
    })
    assert.throws(() => checkResumable(parse({}), 'skep', summaryOf(stored({ keepAliveSeconds: 3 })), names), /SubExperiments\[0\]\.keepAliveSeconds is not set in x\.json and 3 in runs\/1/)
  })

  test('of another provider or a longer file is refused', () => {
    assert.throws(() => checkResumable(parse({}), 'aws', summaryOf(stored({})), names), /--provider is aws, and the run in runs\/1 measured skep/)
    assert.throws(() => checkResumable(parse({}), 'skep', summaryOf({ ...stored({}), index: 1 }), names), /x\.json has 1 SubExperiments, and the run in runs\/1 has SubExperiments\[1\] \(a\)/)
  })
})

test('what came to its end is measured; what did not, or failed, is tried again', () => {
  const measured = (['done', 'stopped', 'given-up', 'interrupted', 'not-run'] as const).filter((kind) => isMeasured({ outcome: { kind }, limitations: [] as unknown } as SubExperimentResult))
  assert.deepEqual(measured, ['done', 'stopped'])
  const prevented = { outcome: { kind: 'not-run', reason: '' }, limitations: [{ field: 'StorageTransfer', message: '', prevents: true }] as unknown } as SubExperimentResult
  assert.ok(isMeasured(prevented), 'another attempt would be the same')
})

/**
 * Goal: STeLLAR's experiment files mean what they mean there; every other file is refused with the line of what is wrong with it.
 *
 * Method: sub-experiments of the original's files, with their odd spots; each kind of mistake; and broken files made by fast-check.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { failuresMax, FILE_BYTES_MAX, parseExperiment, PROBLEMS_MAX, samplesMax } from './experiment.ts'
import type { SubExperiment } from './experiment.ts'

const least = { Bursts: 2, BurstSizes: [1], DesiredServiceTimes: ['0ms'] }
const fileOf = (...subExperiments: readonly object[]): string => JSON.stringify({ Sequential: false, SubExperiments: subExperiments }, undefined, 1)
const parse = (text: string): ReturnType<typeof parseExperiment> => parseExperiment(text, 'x.json')
const only = (settings: object): SubExperiment => parse(fileOf({ ...least, ...settings })).SubExperiments[0]!

function refusal(text: string): PlatformError {
  try {
    parse(text)
  } catch (error) {
    assert(error instanceof PlatformError, String(error))
    return error
  }
  throw new assert.AssertionError({ message: `accepted: ${text.slice(0, 200)}` })
}
const problem = (settings: object): string => refusal(fileOf({ ...least, ...settings })).message

describe('files of the original', () => {
  test('are accepted as they are: cold, burst, inline, storage', () => {
    const { SubExperiments, Provider, Sequential } = parse(fileOf(
      { Title: 'cold', Function: 'hellopy', Handler: 'hellopy/lambda_function.lambda_handler', PackageType: 'Zip', PackagePattern: 'hellopy/lambda_function.py', Bursts: 3000, BurstSizes: [1], IATSeconds: 600, FunctionMemoryMB: 2048, DesiredServiceTimes: ['0ms'], Parallelism: 147 },
      { Bursts: 30, BurstSizes: [100], IATSeconds: 600, DesiredServiceTimes: ['1s'], FunctionImageSizeMB: 180, FunctionMemoryMB: 2048 },
      { Title: '2chain,inline', Bursts: 3000, BurstSizes: [1], PayloadLengthBytes: 1_048_576, IATSeconds: 0.5, PackageType: 'Image', DesiredServiceTimes: ['0ms'], DataTransferChainLength: 2 },
      { Title: '2chain,S3', Bursts: 3000, BurstSizes: [1], PayloadLengthBytes: 1_073_741_824, DesiredServiceTimes: ['0ms'], Parallelism: 5, DataTransferChainLength: 2, StorageTransfer: true },
    ))
    assert.deepEqual([Provider, Sequential], ['aws', false])
    assert.deepEqual(SubExperiments.map(({ index, Function, IATSeconds, Parallelism }) => [index, Function, IATSeconds, Parallelism]), [[0, 'hellopy', 600, 147], [1, 'hellopy', 600, 1], [2, 'producer-consumer', 0.5, 1], [3, 'producer-consumer', 0, 5]])
    assert.deepEqual(SubExperiments[1]!.DesiredServiceTimes, [{ text: '1s', ms: 1000 }])
  })

  test('with a setting twice, as coldboot-predictability has PackageType, are accepted, and the last counts', () => {
    const { SubExperiments, warnings } = parse(fileOf(least).replace('"Bursts"', '"PackageType": "Zip",\n"PackageType": "Image", "Bursts"'))
    assert.equal(SubExperiments[0]!.PackageType, 'Image')
    assert.deepEqual(warnings, ['x.json:6: PackageType: is set twice, and the last counts; keep one'])
  })

  test('have the original\'s defaults (E2)', () => {
    assert.deepEqual(only({}), {
      index: 0, Title: '', Bursts: 2, BurstSizes: [1], IATSeconds: 0, IATType: 'stochastic', DesiredServiceTimes: [{ text: '0ms', ms: 0 }], PayloadLengthBytes: 0, DataTransferChainLength: 1, StorageTransfer: false, Parallelism: 1,
      FunctionMemoryMB: 128, FunctionImageSizeMB: 0, PackageType: 'Zip', Visualization: 'cdf', Function: 'hellopy', Handler: 'main.lambda_handler', Runtime: 'python3.9', PackagePattern: '**', SnapStartEnabled: false, CPUBoostEnabled: false,
      openLoop: undefined, warmUp: 0, stopRule: undefined, strict: false, keepAliveSeconds: undefined, referenceTransfer: false,
    })
  })

  test('may say null, "" or 0 for a default, as Go\'s decoder has it', () => {
    const zero = { Title: null, IATType: '', IATSeconds: null, DataTransferChainLength: 0, Parallelism: 0, FunctionMemoryMB: 0, PackageType: '', Visualization: '', Function: '', Handler: '', Runtime: '', PackagePattern: '', StorageTransfer: null }
    assert.deepEqual(only(zero), only({}))
  })

  test('hand the runtime at the top to those that have none', () => {
    const { SubExperiments } = parse(JSON.stringify({ Provider: 'azure', Runtime: 'node18', SubExperiments: [least, { ...least, Runtime: 'go1.x' }] }))
    assert.deepEqual(SubExperiments.map(({ Runtime }) => Runtime), ['node18', 'go1.x'])
  })

  test('are done as there, and it is told where that is not what they say', () => {
    const text = fileOf({ ...least, IATSeconds: 0.5 }, { ...least, IATSeconds: 1.5, IATType: 'deterministic' }, { ...least, IATSeconds: 5, IATType: 'step' }, { ...least, BurstSizes: [1, 1000] })
    const { warnings } = parse(text)
    assert.deepEqual(warnings.map((warning) => /^x\.json:(\d+): SubExperiments\[(\d)\]\.(\w+): /.exec(warning)?.slice(2)), [['0', 'IATSeconds'], ['1', 'IATSeconds'], ['2', 'IATType'], ['3', 'BurstSizes']])
    const strict = parse(text.replace('"Sequential"', '"strict": true, "Sequential"'))
    assert.equal(strict.warnings.length, 1)
    assert(strict.SubExperiments.every((one) => one.strict))
  })
})

describe('our own fields', () => {
  test('have defaults, and stand at the top for all or in one', () => {
    const text = JSON.stringify({ warmUp: 2, strict: true, openLoop: { arrivalsPerSecond: 50 }, SubExperiments: [{ ...least, Bursts: 1000, stopRule: {} }, { ...least, warmUp: 0, strict: false, openLoop: { arrivalsPerSecond: 5, distribution: 'equidistant', inFlightMax: 7 } }] })
    const [first, second] = parse(text).SubExperiments
    assert.deepEqual([first!.warmUp, first!.strict, first!.openLoop, first!.stopRule], [2, true, { arrivalsPerSecond: 50, distribution: 'poisson', inFlightMax: 10_000 }, { percentile: 0.99, confidence: 0.95, relativeError: 0.05 }])
    assert.deepEqual([second!.warmUp, second!.strict, second!.openLoop, second!.stopRule], [0, false, { arrivalsPerSecond: 5, distribution: 'equidistant', inFlightMax: 7 }, undefined])
  })
})

describe('a file that is wrong', () => {
  test('is refused with file, line and field of each problem, in the order of the lines (E1)', () => {
    const text = '{\n"SubExperiments": [\n{"Bursts": "3",\n"BurstSizes": [1, 0],\n"DesiredServiceTimes": ["0ms", "1 day"],\n"burstsizes": [],\n"ID": 4}\n],\n"Provder": "aws"}'
    const error = refusal(text)
    assert.equal(error.code, 'INPUT_INVALID')
    assert.deepEqual(error.message.split('\n').map((line) => line.split(': ').slice(0, 2)), [
      ['x.json:3', 'SubExperiments[0].Bursts'], ['x.json:4', 'SubExperiments[0].BurstSizes[1]'], ['x.json:5', 'SubExperiments[0].DesiredServiceTimes[1]'],
      ['x.json:6', 'SubExperiments[0].burstsizes'], ['x.json:7', 'SubExperiments[0].ID'], ['x.json:9', 'Provder'],
    ])
    assert.match(error.message, /burstsizes: is no setting; write BurstSizes/)
    assert.match(error.message, /ID: is computed/)
    assert.match(error.message, /"1 day": is no duration; write/)
    assert.deepEqual((error.details?.['problems'] as { line: number }[]).map(({ line }) => line), [3, 4, 5, 6, 7, 9])
  })

  test('is refused when a required field is missing, at the line of the sub-experiment', () => {
    for (const field of ['Bursts', 'BurstSizes', 'DesiredServiceTimes']) {
      const { message } = refusal(`{"SubExperiments": [\n${JSON.stringify({ ...least, [field]: undefined })}]}`)
      assert.equal(message, `x.json:2: SubExperiments[0].${field}: is missing; set it`)
    }
    assert.match(refusal('{}').message, /^x\.json:1: SubExperiments: is missing/)
    assert.match(problem({ DesiredServiceTimes: [] }), /DesiredServiceTimes: \[\]: Too small/)
    assert.match(refusal('[]').message, /^x\.json:1: the file: /)
  })

  test('is refused for words and values that do not exist', () => {
    for (const settings of [
      { IATType: 'poisson' }, { PackageType: 'zip' }, { Visualization: 'pie' }, { Visualization: 'bar-' }, { Bursts: 0 }, { Bursts: 1.5 }, { BurstSizes: [] }, { IATSeconds: -1 }, { DesiredServiceTimes: ['-1s'] }, { Title: 'a/b' }, { Parallelism: -1 },
      { openLoop: {} }, { openLoop: { arrivalsPerSecond: 0 } }, { openLoop: { arrivalsPerSecond: 1, rate: 2 } }, { stopRule: { percentile: 1 } }, { warmUp: -1 }, { strict: 'yes' },
    ]) assert.match(problem(settings), new RegExp(`^x\\.json:\\d+: SubExperiments\\[0\\]\\.${Object.keys(settings)[0]}`), JSON.stringify(settings))
    for (const Visualization of ['bar', 'bar-200', 'bar-0.5', 'none']) assert.equal(only({ Visualization }).Visualization, Visualization)
  })

  test('is refused when settings contradict each other', () => {
    assert.match(problem({ StorageTransfer: true }), /StorageTransfer: nothing is transferred in a chain of one/)
    assert.match(problem({ openLoop: { arrivalsPerSecond: 1 }, IATSeconds: 1 }), /openLoop: says when bursts come, and so does IATSeconds/)
    assert.match(problem({ IATType: 'step' }), /IATType: step gaps of no length; set IATSeconds/)
    assert.match(problem({ stopRule: { percentile: 0.999 }, Bursts: 3000 }), /stopRule: percentile 0\.999 needs 3688 samples, and there are 3000 at most/)
    const atTheTop = refusal(JSON.stringify({ openLoop: { arrivalsPerSecond: 1 }, SubExperiments: [{ ...least, IATSeconds: 3 }] }, undefined, 1))
    assert.match(atTheTop.message, /^x\.json:2: openLoop: /)
  })

  test('is refused when it is too large, and has a message of bounded length', () => {
    assert.equal(refusal(' '.repeat(FILE_BYTES_MAX + 1)).code, 'INPUT_INVALID')
    const many = refusal(fileOf(...Array.from({ length: 2000 }, () => ({ Bursts: 'x'.repeat(100) }))))
    assert.equal(many.message.split('\n').length, PROBLEMS_MAX)
    assert(many.message.length < 20_000)
  })

  test('is refused with an error of the table, whatever it is (fuzz)', () => {
    const names = fc.constantFrom('Bursts', 'BurstSizes', 'DesiredServiceTimes', 'IATSeconds', 'IATType', 'Title', 'openLoop', 'stopRule', 'warmUp', 'Runtime', 'PackageType', 'toString', '__proto__', 'x')
    const values = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(1, [1], ['0ms'], '1s', 0.5, 'step', { arrivalsPerSecond: 3 }, {}))
    const settings = fc.array(fc.tuple(names, values), { maxLength: 6 }).map((pairs) => ({ ...least, ...Object.fromEntries(pairs) }))
    const text = fc.oneof(
      settings.map((one) => fileOf(one)), fc.array(settings, { maxLength: 3 }).map((many) => fileOf(...many)), fc.json(),
      fc.tuple(settings, fc.nat(), fc.string({ maxLength: 2 })).map(([one, at, noise]) => `${fileOf(one).slice(0, at % 200)}${noise}${fileOf(one).slice(at % 200)}`),
    )
    fc.assert(fc.property(text, (given) => {
      try {
        const { SubExperiments } = parse(given)
        for (const one of SubExperiments) assert(one.Bursts > 0 && one.BurstSizes.length > 0 && one.DesiredServiceTimes.length > 0 && Number.isFinite(one.IATSeconds))
      } catch (error) {
        assert(error instanceof PlatformError && /^x\.json:\d+:/.test(error.message), String(error))
      }
    }), { numRuns: 1500 })
  })
})

describe('what a sub-experiment comes to', () => {
  test('samples are counted over rounds, in which all endpoints get the same size', () => {
    const samples = (Bursts: number, BurstSizes: number[], Parallelism: number): number => samplesMax({ Bursts, BurstSizes, Parallelism })
    assert.deepEqual([samples(3000, [1], 147), samples(30, [100], 1), samples(5, [1, 2, 3, 4, 50], 1), samples(7, [1, 2, 3], 2), samples(8, [1, 10], 3)], [3000, 3000, 60, 13, 35])
  })

  test('it is given up above a tenth of the bursts of the first size', () => {
    assert.deepEqual([failuresMax({ Bursts: 3000, BurstSizes: [1] }), failuresMax({ Bursts: 3, BurstSizes: [2, 100] })], [300, 0])
  })
})

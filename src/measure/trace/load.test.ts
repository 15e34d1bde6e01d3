/**
 * Goal: a trace is read as it stands in its files, however they arrive; what is wrong in them is said with file, line and column.
 *
 * Method: a small trace of our own, whole and with one thing wrong at a time; the same text cut into other chunks; any text and
 * any change of a good one as a fuzz test; files on disk through the real reader; the real sample of Azure 2019 where it is.
 */
import assert from 'node:assert/strict'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { exampleFiles, exampleSources, NO_SAMPLE, realSample, textSource } from './example-trace.ts'
import { loadAzure2021, loadInVitro, loadTrace } from './load.ts'
import type { LoadOptions, Trace } from './load.ts'
import { PlatformError } from '#contract/errors.ts'

const azure2021 = `app,func,end_timestamp,duration
a,f,10.5,0.5
a,g,70,1.25
a,f,9.25,0.25
b,f,189.0,120.0
a,f,65,1e-3
`

async function refuses(loading: Promise<unknown>, pattern: RegExp): Promise<void> {
  await assert.rejects(loading, (error) => error instanceof PlatformError && error.code === 'INPUT_INVALID' && assert.match(error.message, pattern) === undefined)
}

describe("In-Vitro's format", () => {
  test('has counts per minute, and percentiles by the name of their column', async () => {
    const trace = await loadInVitro(exampleSources())
    assert.deepEqual([trace.unitUs, trace.unitCount], [60e6, 5])
    assert.deepEqual(trace.functions.map(({ name }) => name), ['steady', 'timer', 'rare', 'burst', 'idle', 'slow'])
    const slow = trace.functions.at(-1)!
    assert.deepEqual([[...slow.counts], slow.trigger, slow.averageMs, slow.averageMb], [[3, 0, 2, 0, 4], 'event', 70_000, 300.5])
    assert.deepEqual(slow.demand, {
      kind: 'percentiles',
      durationMs: { ranks: [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1], values: [100, 200, 20000, 50000, 90000, 500000, 600000] },
      memoryMb: { ranks: [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1], values: [100, 120, 200, 300, 400, 500, 600.5, 700] },
    })
  })

  test('keeps only the window asked for (L2)', async () => {
    const trace = await loadInVitro(exampleSources(), { skip: 1, take: 2, granularity: 'second' })
    assert.deepEqual([trace.unitUs, trace.unitCount, [...trace.functions[3]!.counts]], [1e6, 2, [500, 0]])
    await refuses(loadInVitro(exampleSources(), { skip: 5 }), /the file has 5/)
    await refuses(loadInVitro(exampleSources(), { take: -1 }), /take is -1/)
  })

  const wrong: [string, Partial<typeof exampleFiles>, RegExp][] = [
    ['a count that is none', { invocations: exampleFiles.invocations.replace('0,500,0', '0,5x,0') }, /^invocations\.csv, line 5: column "481" \(6\) "5x" is not a number of invocations/],
    ['half an invocation', { invocations: exampleFiles.invocations.replace('0,500,0', '0,0.5,0') }, /line 5: column "481" \(6\) 0\.5 is not a whole number/],
    ['an empty count', { invocations: exampleFiles.invocations.replace('0,500,0', '0,,0') }, /line 5: column "481" \(6\) is missing or empty/],
    ['a row too short', { invocations: exampleFiles.invocations.replace(',0,500', ',500') }, /line 5: has 8 columns, the header 9/],
    ['a minute left out', { invocations: exampleFiles.invocations.replace('481', '491') }, /line 1: column "491" does not follow 480/],
    ['no minutes', { invocations: 'HashFunction\nsteady\n' }, /line 1: no column is a number/],
    ['the same function twice', { invocations: exampleFiles.invocations.replace('idle', 'rare') }, /line 6: column "HashFunction" \(3\) "rare" is there twice/],
    ['a function without duration (L3)', { durations: exampleFiles.durations.replace('rare', 'other') }, /invocations\.csv, line 4: column "HashFunction" \(3\) "rare" has no row in durations\.csv/],
    ['a function without memory (L3)', { memory: exampleFiles.memory.replace('rare', 'other') }, /"rare" has no row in memory\.csv/],
    ['percentiles that fall (L1)', { durations: exampleFiles.durations.replace('5,6,12,18', '5,6,4,18') }, /durations\.csv, line 2: column "percentile_Average_25" \(10\) 4 is less than .* 6/],
    ['a column missing', { memory: exampleFiles.memory.replace('_pct95', '_p95') }, /memory\.csv, line 1: column "AverageAllocatedMb_pct95" is missing/],
    ['a column twice', { invocations: exampleFiles.invocations.replace('481', '480') }, /line 1: column "480" \(6\) is there twice/],
    ['a quote', { invocations: exampleFiles.invocations.replace('rare', '"rare"') }, /line 4: column 3 has a quote/],
    ['a negative duration', { durations: exampleFiles.durations.replace('timer,2,', 'timer,-2,') }, /line 3: column "Average" \(4\) "-2" is not a number of milliseconds/],
    ['nothing', { invocations: '' }, /invocations\.csv, line 1: is empty/],
    ['only a header', { invocations: exampleFiles.invocations.split('\n', 1)[0]! }, /invocations\.csv, line 2: no function/],
  ]
  for (const [what, files, pattern] of wrong) test(`refuses ${what}`, () => refuses(loadInVitro(exampleSources(files)), pattern))

  test('is the same with a byte order mark, with CR LF, with empty lines, and however it is cut (C1)', async () => {
    const expected = await loadInVitro(exampleSources())
    const files = Object.fromEntries(Object.entries(exampleFiles).map(([name, text]) => [name, `\ufeff${text.replaceAll('\n', '\r\n\r\n')}`]))
    for (const cut of [1, 2, 7, 1000, 100_000]) assert.deepEqual(await loadInVitro(exampleSources(files, cut)), expected)
  })

  test('does not hold a line without end (C2)', async () => {
    let given = 0
    const chunks = (function* () {
      for (;;) {
        given += 65_536
        yield 'x'.repeat(65_536)
      }
    })()
    await refuses(loadAzure2021({ name: 'endless.csv', chunks }), /endless\.csv, line 1: is longer than 4194304/)
    assert(given < 5 << 20)
  })
})

describe('the Azure trace of 2021', () => {
  test('has a start per invocation, from the first one on, in order', async () => {
    const { functions, unitCount } = await loadAzure2021(textSource('azure.csv', azure2021))
    assert.equal(unitCount, 2)
    assert.deepEqual(functions.map(({ name, counts, averageMb }) => [name, [...counts], averageMb]), [['a-f', [3, 0], 200], ['a-g', [1, 0], 200], ['b-f', [0, 1], 200]])
    assert.deepEqual(functions[0]!.demand, { kind: 'recorded', startUs: Float64Array.of(0, 1e6, 55_999_000), durationMs: Float64Array.of(250, 500, 1), memoryMb: 200 })
  })

  test('keeps only the window asked for, whose start is 0', async () => {
    const { functions, unitCount } = await loadAzure2021(textSource('azure.csv', azure2021), { skip: 55, take: 5, granularity: 'second' })
    assert.equal(unitCount, 5)
    assert.deepEqual(functions.map(({ demand }) => demand.kind === 'recorded' && [...demand.startUs]), [[999_000], [4_750_000], []])
  })

  test('refuses what is not seconds, and what has no end', async () => {
    await refuses(loadAzure2021(textSource('azure.csv', azure2021.replace('9.25', '1700000000'))), /azure\.csv, line 4: column "end_timestamp" \(3\).*beyond a year/)
    await refuses(loadAzure2021(textSource('azure.csv', azure2021.replace('9.25', 'NaN'))), /line 4: column "end_timestamp" \(3\) "NaN"/)
    await refuses(loadAzure2021(textSource('azure.csv', 'app,func,duration\n')), /column "end_timestamp" is missing/)
  })
})

describe('any text', () => {
  /** A good file in which some characters were replaced, left out or put in. */
  const damaged = (text: string): fc.Arbitrary<string> =>
    fc
      .array(fc.tuple(fc.nat(text.length - 1), fc.nat(3), fc.oneof(fc.constantFrom(',', '\n', '\r', '"', '-', '.', '9', 'e', '', '\0', '\ufeff'), fc.string({ maxLength: 3 }))), { maxLength: 6 })
      .map((edits) => edits.reduce((now, [at, drop, put]) => now.slice(0, at) + put + now.slice(at + drop), text))

  const isTraceOrRefused = async (loading: Promise<Trace>, files: RegExp): Promise<void> => {
    try {
      const { functions, unitCount } = await loading
      assert(functions.length > 0 && functions.every(({ counts, demand }) => counts.length === unitCount && (demand.kind === 'recorded' || demand.durationMs.values.every(Number.isFinite))))
    } catch (error) {
      assert(error instanceof PlatformError && error.code === 'INPUT_INVALID', String(error))
      assert.match(error.message, files)
    }
  }
  const options: LoadOptions = { take: 3 }

  test('is a trace, or is refused with file and line (C3)', async () => {
    const any = (good: string): fc.Arbitrary<string> => fc.oneof({ weight: 4, arbitrary: damaged(good) }, { weight: 1, arbitrary: fc.string({ maxLength: 200 }) })
    await fc.assert(
      fc.asyncProperty(any(exampleFiles.invocations), any(exampleFiles.durations), any(exampleFiles.memory), fc.integer({ min: 1, max: 50 }), async (invocations, durations, memory, cut) => {
        const place = /^(?:invocations|durations|memory)\.csv, line \d+: /
        await isTraceOrRefused(loadInVitro(exampleSources({ invocations }, cut), options), place)
        await isTraceOrRefused(loadInVitro(exampleSources({ durations }, cut), options), place)
        await isTraceOrRefused(loadInVitro(exampleSources({ memory }, cut), options), place)
      }),
      { numRuns: 60 },
    )
    await fc.assert(fc.asyncProperty(any(azure2021), (text) => isTraceOrRefused(loadAzure2021(textSource('azure.csv', text), options), /^azure\.csv, line \d+: /)), { numRuns: 200 })
  })
})

describe('on disk', () => {
  test('a directory is In-Vitro, a file is Azure 2021, and what is not there is named', async () => {
    await using directory = await mkdtempDisposable(join(tmpdir(), 'skep-trace-'))
    await refuses(loadTrace(join(directory.path, 'nothing')), /nothing cannot be read: name a directory with invocations\.csv/)
    await writeFile(join(directory.path, 'azure.csv'), azure2021)
    assert.equal((await loadTrace(join(directory.path, 'azure.csv'))).functions.length, 3)
    for (const name of ['invocations', 'durations'] as const) await writeFile(join(directory.path, `${name}.csv`), exampleFiles[name])
    await refuses(loadTrace(directory.path), /memory\.csv cannot be read/)
    await writeFile(join(directory.path, 'memory.csv'), exampleFiles.memory)
    assert.deepEqual(await loadTrace(directory.path), await loadInVitro(exampleSources()))
  })

  test('the sample of Azure 2019 has the functions and invocations that its description says', async (t) => {
    const directory = realSample()
    if (directory === undefined) return t.skip(NO_SAMPLE)
    const { functions, unitCount } = await loadTrace(directory)
    const invocations = functions.map(({ counts }) => counts.reduce((sum, count) => sum + count, 0))
    assert.deepEqual([functions.length, unitCount, invocations.reduce((sum, count) => sum + count, 0), Math.max(...invocations)], [100, 480, 339_657, 273_379])
    assert.equal(functions.filter(({ trigger }) => trigger === 'timer').length, 44)
  })
})

/**
 * Goal: a run's directory becomes values, ours and the original's alike, and nothing that is missing is taken for zero.
 *
 * Method: example runs on disk, then with files taken away, cut or changed.
 */
import assert from 'node:assert/strict'
import { appendFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { directoryName, latenciesHeader } from '../csv.ts'
import { SUMMARY_FILE } from '../run-summary.ts'
import type { RunSummary } from '../run-summary.ts'
import { percentile } from '../statistics.ts'
import { exampleParts, writeExampleRun } from './example-run.ts'
import { loadRun, settingsOfDirectory } from './load-run.ts'

let root = ''
let summary: RunSummary
const parts = [exampleParts[0]!, exampleParts[1]!, exampleParts[9]!, exampleParts[15]!]
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'skep-report-'))
  summary = await writeExampleRun(join(root, 'run'), { parts })
})
after(() => rm(root, { recursive: true, force: true }))

/** A copy to break. */
async function copyOf(name: string): Promise<string> {
  await cp(join(root, 'run'), join(root, name), { recursive: true })
  return join(root, name)
}

describe('a run with its summary', () => {
  test('has the samples of each sub-experiment and of its transfers', async () => {
    const { subExperiments, notes, name } = await loadRun(join(root, 'run'))
    assert.deepEqual(notes, [])
    assert.equal(name, 'skep')
    assert.deepEqual(subExperiments.map((one) => [one.factor, one.latencies!.sorted.length, one.transfer?.sorted.length]), [['warm', 4000, undefined], ['cold', 400, undefined], ['inline', 400, 400], ['bursty-warm', 1000, undefined]])
  })

  test('takes microseconds from the histogram where the file has whole milliseconds, and keeps bursts (L2)', async () => {
    const [strict, , , burst] = (await loadRun(join(root, 'run'))).subExperiments
    assert.equal(strict!.latencies!.resolutionMs, 0.001)
    assert.equal(burst!.latencies!.burstCount, 100)
    assert.equal(burst!.latencies!.bursts!.length, 1000)
    for (const p of ['p50', 'p99'] as const) {
      const exact = summary.results[3]!.latencies!.summary[p]
      const read = percentile(burst!.latencies!.sorted, p === 'p50' ? 0.5 : 0.99)
      assert(Math.abs(read / exact - 1) < 0.002, `${p} ${read}, was ${exact}`)
    }
  })

  test('whose CSV files are gone has the samples of its histograms, and says so (L1)', async () => {
    const directory = await copyOf('no-csv')
    for (const { directory: one } of summary.results) await rm(join(directory, one!), { recursive: true })
    const { subExperiments, notes } = await loadRun(directory)
    assert.deepEqual(subExperiments.map((one) => one.latencies!.sorted.length), [4000, 400, 400, 1000])
    assert.equal(subExperiments[2]!.transfer!.sorted.length, 400)
    assert.equal(notes.filter((note) => note.endsWith('latencies.csv: is not there')).length, 4)
  })

  test('ended in the middle of a line has the lines before it', async () => {
    const directory = await copyOf('cut')
    const file = join(directory, summary.results[1]!.directory!, 'latencies.csv')
    await writeFile(file, (await readFile(file, 'utf8')).slice(0, -5))
    const { subExperiments, notes } = await loadRun(directory)
    assert.equal(subExperiments[1]!.latencies!.sorted.length, 399)
    assert.match(notes.join('\n'), /latencies\.csv:401: the last line has no end/)
    assert.match(notes.join('\n'), /results\[1\]\.latencies\.histogram: has 400 values, the CSV file 399/)
  })

  test('with a wrong line or histogram is refused with file and field', async () => {
    const directory = await copyOf('wrong')
    await appendFile(join(directory, summary.results[0]!.directory!, 'latencies.csv'), 'r,h,a,b,x,0\n')
    await assert.rejects(loadRun(directory), { code: 'INPUT_INVALID', message: /latencies\.csv:4002: Client Latency \(ms\): "x"/ })
    const other = await copyOf('histogram')
    await writeFile(join(other, SUMMARY_FILE), JSON.stringify({ ...summary, results: summary.results.map((one) => ({ ...one, directory: undefined, latencies: { ...one.latencies, histogram: 'HIST' } })) }))
    await assert.rejects(loadRun(other), { code: 'INPUT_INVALID', message: /results\[0\]\.latencies\.histogram: / })
  })
})

describe('results of the original', () => {
  test('are read by the names of their directories, from any of three levels', async () => {
    const directory = await copyOf('original/1700000000')
    await rm(join(directory, SUMMARY_FILE))
    await mkdir(join(directory, 'plots'))
    const fromRun = await loadRun(directory)
    assert.deepEqual(fromRun.subExperiments.map((one) => one.factor).sort(), ['bursty-warm', 'cold', 'inline', 'warm'])
    assert.deepEqual((await loadRun(join(root, 'original'))).subExperiments, fromRun.subExperiments)
    const one = (await loadRun(join(directory, summary.results[2]!.directory!))).subExperiments[0]!
    assert.deepEqual([one.settings.DataTransferChainLength, one.settings.PayloadLengthBytes, one.transfer!.sorted.length, one.result], [2, 1_048_576, 400, undefined])
  })

  test('have names that are taken apart as they were made', () => {
    const made = { Title: 'a-burst2-st3-x', FunctionMemoryMB: 128, FunctionImageSizeMB: 60, IATSeconds: 0.5, BurstSizes: [7], DesiredServiceTimes: [{ text: '1.5ms', ms: 1.5 }], PayloadLengthBytes: 2048, DataTransferChainLength: 1 }
    assert.deepEqual(settingsOfDirectory(directoryName(made)), made)
    assert.equal(settingsOfDirectory(`${directoryName(made)}-2`)!.PayloadLengthBytes, 2048)
    assert.equal(settingsOfDirectory(directoryName({ ...made, IATSeconds: 1e6 }))!.IATSeconds, 1e6)
    for (const other of ['plots', '', 'x-memory1MB', `${directoryName(made)}/..`]) assert.equal(settingsOfDirectory(other), undefined)
  })

  test('that are none, or several, are refused with what to do', async () => {
    await mkdir(join(root, 'empty'))
    await assert.rejects(loadRun(join(root, 'empty')), { code: 'INPUT_INVALID', message: /has no summary\.json, and no directories of results as STeLLAR names them; name the directory of a run/ })
    await assert.rejects(loadRun(join(root, 'nowhere')), { code: 'INPUT_INVALID', message: /nowhere: cannot be read \(ENOENT\)/ })
    await mkdir(join(root, 'several'))
    for (const name of ['1', '2']) await cp(join(root, 'run'), join(root, 'several', name), { recursive: true })
    await assert.rejects(loadRun(join(root, 'several')), /name one of the runs in it: 1, 2/)
    await mkdir(join(root, 'hollow', directoryName(summary.results[0]!.settings)), { recursive: true })
    await assert.rejects(loadRun(join(root, 'hollow')), /none of its directories has a latencies\.csv/)
  })

  test('that have no samples are there without a figure', async () => {
    const directory = join(root, 'headers', directoryName(summary.results[0]!.settings))
    await mkdir(directory, { recursive: true })
    await writeFile(join(directory, 'latencies.csv'), latenciesHeader)
    const [one] = (await loadRun(join(root, 'headers'))).subExperiments
    assert.equal(one!.latencies, undefined)
  })
})

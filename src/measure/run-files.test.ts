/**
 * Goal: what a run has written is there after the worst ending, and never a part of something.
 *
 * Method: real files in a temporary directory; a process of its own that is killed while it writes; a full disk is /dev/full.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { parseExperiment } from './experiment.ts'
import { createRunDirectory, directoryNames, LineFile, LOG_FILE, RunLog, writeWhole } from './run-files.ts'

const directory = mkdtempSync(join(tmpdir(), 'skep-measure-files-'))
after(() => rmSync(directory, { recursive: true, force: true }))

const unexpected = (error: Error): never => assert.fail(error)

describe('a file of lines', () => {
  test('has every line, in order, when it is closed', async () => {
    const path = join(directory, 'lines.csv')
    const lines = Array.from({ length: 20_000 }, (_, index) => `${index},${'x'.repeat(index % 40)}\n`)
    {
      await using file = await LineFile.create(path, 'head\n', unexpected)
      for (const line of lines) file.write(line)
    }
    assert.equal(readFileSync(path, 'utf8'), `head\n${lines.join('')}`)
  })

  test('has what was written a second ago after kill -9, whole but for the last line (F1)', async () => {
    const path = join(directory, 'killed.csv')
    const source = `
      import { LineFile } from ${JSON.stringify(join(import.meta.dirname, 'run-files.ts'))}
      const file = await LineFile.create(${JSON.stringify(path)}, 'head\\n', () => {})
      let number = 0
      setInterval(() => { for (let count = 0; count < 10; count++) file.write(String(number++).padStart(8, '0') + '\\n') }, 1)
      setInterval(() => console.log(number), 100)
    `
    const child = spawn(process.execPath, ['--input-type=module', '--eval', source], { stdio: ['ignore', 'pipe', 'inherit'], cwd: import.meta.dirname })
    const said: { readonly atMs: number; readonly number: number }[] = []
    const enough = Promise.withResolvers<void>()
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.trim().split('\n')) said.push({ atMs: performance.now(), number: Number(line) })
      if (said.length >= 16) enough.resolve()
    })
    const exited = once(child, 'exit')
    await enough.promise
    child.kill('SIGKILL')
    const killedMs = performance.now()
    await exited
    const [head, ...lines] = readFileSync(path, 'utf8').split('\n')
    assert.equal(head, 'head')
    for (const [index, line] of lines.slice(0, -1).entries()) assert.equal(line, String(index).padStart(8, '0'))
    const written = said.filter(({ atMs }) => atMs < killedMs - 1000).at(-1)!
    assert(lines.length - 1 >= written.number, `${written.number} lines were written a second before, ${lines.length - 1} are there`)
  })

  test('says once that the disk is full, and how to go on', async () => {
    const failures: string[] = []
    await using file = await LineFile.create('/dev/full', '', ({ code, message }) => failures.push(`${code}: ${message}`))
    file.write('lost\n'.repeat(100_000))
    await new Promise((resolve) => setImmediate(resolve))
    file.write('lost, too\n'.repeat(100_000))
    await file[Symbol.asyncDispose]()
    assert.equal(failures.length, 1)
    assert.match(failures[0]!, /^STORE_FULL: \/dev\/full .*make room, and resume/)
  })

  test('that cannot be made is an error with the path', async () => {
    await assert.rejects(LineFile.create(join(directory, 'nowhere', 'x.csv'), '', unexpected), /STORE_FAILED|nowhere.*ENOENT/)
  })
})

describe('a whole file', () => {
  test('is the old or the new one, whoever reads (F3)', async () => {
    const path = join(directory, 'summary.json')
    await writeWhole(path, '0'.repeat(100_000))
    let done = false
    const writing = (async () => {
      for (let round = 1; round < 60; round++) await writeWhole(path, String(round % 10).repeat(100_000))
      done = true
    })()
    while (!done) {
      const text = readFileSync(path, 'utf8')
      assert.equal(text.length, 100_000)
      assert.equal(text, text[0]!.repeat(100_000))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await writing
    assert.deepEqual(readdirSync(directory).filter((name) => name.startsWith('summary')), ['summary.json'])
  })

  test('that cannot be replaced is an error, and the old one stays', async () => {
    const path = join(directory, 'taken')
    mkdirSync(path)
    writeFileSync(join(path, 'inside'), '')
    await assert.rejects(writeWhole(path, 'text'), { code: 'STORE_FAILED' })
    assert.deepEqual(readdirSync(path), ['inside'])
  })
})

describe('directories', () => {
  test('of a run are named by the second, and never shared', async () => {
    const output = join(directory, 'deep', 'output')
    const made = [await createRunDirectory(output, 1_700_000_000_999), await createRunDirectory(output, 1_700_000_000_000), await createRunDirectory(output, 1_700_000_001_000)]
    assert.deepEqual(made.map((path) => path.slice(output.length + 1)), ['1700000000', '1700000000-2', '1700000001'])
    await assert.rejects(createRunDirectory(join(directory, 'lines.csv', 'below'), 0), { code: 'INPUT_INVALID', message: /ENOTDIR.*-o/ })
  })

  test('of sub-experiments are the original\'s, and those of the same name are numbered (F2)', () => {
    const one = { Title: 'a', Bursts: 1, BurstSizes: [1], DesiredServiceTimes: ['0ms'] }
    const { SubExperiments } = parseExperiment(JSON.stringify({ SubExperiments: [one, { ...one, Bursts: 9 }, { ...one, Title: 'b' }, one] }), 'x.json')
    const name = 'memory128MB-img0MB-IAT0s-burst1-st0ms-payload0KB'
    assert.deepEqual(directoryNames(SubExperiments), [`a-${name}`, `a-${name}-2`, `b-${name}`, `a-${name}-3`])
  })
})

test('a log has its lines in order, with the time, and does not fail when it cannot be written', async () => {
  const log = new RunLog(directory, () => 0)
  for (let line = 0; line < 50; line++) log.write(`line ${line}`)
  await log.flushed()
  assert.equal(readFileSync(join(directory, LOG_FILE), 'utf8'), Array.from({ length: 50 }, (_, line) => `1970-01-01T00:00:00.000Z line ${line}\n`).join(''))
  const lost = new RunLog(join(directory, 'nowhere'), () => 0)
  lost.write('lost')
  await lost.flushed()
})

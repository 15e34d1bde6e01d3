/**
 * Goal: the provider workerd keeps the promises of Provider, says what workerd has not, and leaves no process and no directory.
 *
 * Method: the conformance suite on the real workerd, where its package is installed with the benchmarks' baselines.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ask, runProviderConformance, subExperiment } from './provider.conformance.ts'
import { WorkerdProvider } from './workerd.ts'

const binary = join(import.meta.dirname, '../../../bench/baselines/node_modules/@cloudflare/workerd-linux-64/bin/workerd')
const skip = existsSync(binary) ? undefined : 'workerd is not installed (npm ci in bench/baselines)'
const quiet = { progress: () => {}, signal: AbortSignal.timeout(60_000) }

runProviderConformance({
  name: 'workerd',
  settings: { Function: 'busy-spin', Runtime: 'node' },
  says: ['FunctionMemoryMB'],
  skip,
  async open() {
    const provider = new WorkerdProvider(binary, {})
    return { provider, functions: async () => undefined, [Symbol.asyncDispose]: () => provider[Symbol.asyncDispose]() }
  },
})

describe('the provider workerd', { skip: skip ?? false }, () => {
  const children = (): number[] => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).map(Number).filter((pid) => {
    try {
      return Number(/\nPPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) === process.pid
    } catch {
      return false
    }
  })
  const directories = (): number => readdirSync(tmpdir()).filter((name) => name.startsWith('skep-measure-workerd-')).length

  test('leaves no process and no directory, also when its start fails', async (context) => {
    const [before, directory] = [process.env['TMPDIR'], mkdtempSync(join(tmpdir(), 'skep-test-'))]
    process.env['TMPDIR'] = directory
    context.after(() => {
      if (before === undefined) delete process.env['TMPDIR']
      else process.env['TMPDIR'] = before
      rmSync(directory, { recursive: true })
    })
    const [childrenBefore, directoriesBefore] = [children().length, directories()]
    {
      await using provider = new WorkerdProvider(binary, {})
      const [endpoint] = await provider.prepare(subExperiment({ Function: 'hellonode' }), quiet)
      assert.equal((await ask(endpoint!)).timestamps.length, 1)
      assert.equal(children().length, childrenBefore + 1)
    }
    await using broken = new WorkerdProvider('/bin/false', {})
    await assert.rejects(broken.prepare(subExperiment({ Function: 'hellonode' }), quiet), { code: 'START_FAILED', message: /ended with 1/ })
    assert.deepEqual([children().length, directories()], [childrenBefore, directoriesBefore])
  })

  test('says that it has no cold starts, no sizes and no Python', async () => {
    await using provider = new WorkerdProvider(binary, {})
    const one = subExperiment({ Function: 'hellopy', FunctionImageSizeMB: 60, IATSeconds: 600, PackageType: 'Image' })
    assert.deepEqual(provider.cannot(one).map(({ field }) => field), ['IATSeconds', 'Runtime', 'FunctionMemoryMB', 'FunctionImageSizeMB', 'PackageType'])
  })
})

test('a workerd that is nowhere is told with how to say where it is', () => {
  assert.throws(() => new WorkerdProvider(undefined, { PATH: '/nowhere' }), { code: 'INPUT_INVALID', message: /--workerd PATH/ })
  assert.throws(() => new WorkerdProvider('/nowhere/workerd', {}), { code: 'INPUT_INVALID', message: /\/nowhere\/workerd/ })
})

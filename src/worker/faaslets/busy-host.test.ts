/**
 * Goal: a host has one thread, and a function that computes up to its own deadline has it: that costs its neighbours time and nothing else.
 * Nobody takes such a host for a stuck one, and a function that starts meanwhile starts elsewhere.
 * Method: a real worker; one function spins, and others of its tenant are asked and started.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { workerGround, workerSkip } from '../worker.harness.ts'
import { eventually } from './faaslets.harness.ts'

const spins = { 'index.js': 'export function main() { for (;;) ; }' } as const
const answers = { 'index.js': 'export function main() { return 1 }' } as const

describe('a busy host', { skip: workerSkip, timeout: 30_000 }, () => {
  test('is not killed for a neighbour that missed its deadline, and what starts meanwhile does not wait', async (context) => {
    const ground = workerGround(context)
    const start = (name: string, files: typeof spins | typeof answers, timeoutMs: number) => ground.start(ground.revision(files, { kind: 'js', timeoutMs }, { function: name }))
    const spinning = await start('spins', spins, 3000)
    const short = await start('short', answers, 200)
    const long = await start('long', answers, 10_000)
    assert.deepEqual([short.sandbox.pid, long.sandbox.pid], [spinning.sandbox.pid, spinning.sandbox.pid])

    const startedMs = performance.now()
    const { cpuMs } = spinning.usage()
    const stopped = ground.invoke(spinning)
    await eventually(() => spinning.usage().cpuMs > cpuMs + 20, 'it computes')
    const [late, patient] = [ground.invoke(short), ground.invoke(long)]
    const other = await start('other', answers, 1000)
    assert.notEqual(other.sandbox.pid, spinning.sandbox.pid)
    assert.equal((await ground.invoke(other)).text, '1')
    assert.ok(performance.now() - startedMs < 2900, 'it did not have to wait')

    assert.equal((await late).sink.error?.code, 'FUNCTION_TIMEOUT')
    assert.equal((await stopped).sink.error?.code, 'FUNCTION_TIMEOUT')
    assert.equal((await patient).text, '1')
    assert.equal((await ground.invoke(spinning)).sink.error?.code, 'FUNCTION_TIMEOUT')
    assert.equal(long.state.phase, 'ready')
  })
})

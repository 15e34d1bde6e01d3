/**
 * Goal: a cell is there when one is wanted, is given out once, and a runtime that does not start costs little.
 *
 * Method: starts that the test lets succeed or fail, and a clock that it moves.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { turns } from '#contract/invocation.fake.ts'
import { Instance } from './instance.ts'
import { FakeSandbox } from './sandbox.fake.ts'
import { StemCells } from './stem-cells.ts'

/** A cell of this age has lived, ms. */
const LIVED_MS = 10_000

interface Cell {
  readonly instance: Instance
  readonly sandbox: FakeSandbox
}

function ground(options: { readonly size: number; readonly refillDelayMs?: number }) {
  const clock = new ManualClock()
  const starts: PromiseWithResolvers<Instance>[] = []
  const failures: unknown[] = []
  const cells = new StemCells({
    size: options.size,
    refillDelayMs: options.refillDelayMs ?? 20,
    clock,
    start() {
      starts.push(Promise.withResolvers())
      return starts.at(-1)!.promise
    },
    failed: (error) => failures.push(error),
  })
  return {
    clock, cells, starts, failures,
    /** The start under way succeeds. */
    async started(): Promise<Cell> {
      const sandbox = new FakeSandbox()
      const instance = new Instance({ sandbox, clock })
      starts.at(-1)!.resolve(instance)
      await turns()
      return { instance, sandbox }
    },
    async failedStart(): Promise<void> {
      starts.at(-1)!.reject(new Error(`start ${starts.length}`))
      await turns()
    },
  }
}

describe('stem cells', () => {
  test('are started one at a time until the pool is full, and settled then', async () => {
    const { cells, starts, started } = ground({ size: 2 })
    let settled = false
    void cells.settled().then(() => (settled = true))
    assert.deepEqual([starts.length, cells.readyCount, cells.take()], [1, 0, undefined])
    await started()
    assert.deepEqual([starts.length, cells.readyCount, settled], [2, 1, false])
    await started()
    assert.deepEqual([starts.length, cells.readyCount, settled], [2, 2, true])
    await cells.settled()
  })

  test('are given out at most once, oldest first, and only when they have started (L1)', async () => {
    const { cells, started } = ground({ size: 2 })
    assert.equal(cells.take(), undefined)
    const first = await started()
    const second = await started()
    assert.deepEqual([cells.take(), cells.take(), cells.take()], [first.instance, second.instance, undefined])
  })

  test('are not given out dead or dying (L1)', async () => {
    const { cells, started } = ground({ size: 3 })
    const dead = await started()
    const dying = await started()
    const living = await started()
    dead.sandbox.exit({ cause: 'out-of-memory' })
    dying.sandbox.diesSlowly = true
    dying.instance.kill('for a test')
    await turns()
    assert.equal(cells.readyCount, 2)
    assert.deepEqual([cells.take(), cells.take()], [living.instance, undefined])
  })

  test('are replaced after a pause, which each further take begins anew', async () => {
    const { cells, starts, clock, started } = ground({ size: 2 })
    await started()
    await started()
    cells.take()
    clock.advance(19)
    cells.take()
    clock.advance(19)
    assert.equal(starts.length, 2)
    clock.advance(1)
    assert.equal(starts.length, 3)
    await started()
    await started()
    assert.deepEqual([cells.readyCount, starts.length], [2, 4])
  })

  test('that die in the pool after they have lived are replaced soon', async () => {
    const { cells, starts, clock, failures, started } = ground({ size: 1 })
    const { sandbox } = await started()
    clock.advance(LIVED_MS)
    sandbox.exit({ cause: 'signalled', signal: 'SIGKILL' })
    await turns()
    assert.equal(cells.readyCount, 0)
    clock.advance(20)
    assert.deepEqual([starts.length, failures], [2, []])
  })

  test('that die soon after their `hello` are tried again ever more rarely, until one has lived (L2)', async () => {
    const { starts, clock, failures, started } = ground({ size: 1 })
    const diesAfter = async (ageMs: number): Promise<void> => {
      const { sandbox } = await started()
      clock.advance(ageMs)
      sandbox.exit({ cause: 'exited', code: 1 })
      await turns()
    }
    const triedAgainAfter = (delayMs: number): void => {
      const before = starts.length
      clock.advance(delayMs - 1)
      assert.equal(starts.length, before, `none within ${delayMs} ms`)
      clock.advance(1)
      assert.equal(starts.length, before + 1)
    }
    for (const delayMs of [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]) {
      await diesAfter(30)
      triedAgainAfter(delayMs)
    }
    assert.deepEqual([failures.length, (failures[0] as Error).message.includes('{"cause":"exited","code":1}')], [8, true])
    await diesAfter(LIVED_MS)
    triedAgainAfter(20)
    await diesAfter(30)
    triedAgainAfter(1000)
  })

  test('that die soon, while another starts or is taken, are not replaced before the pause has passed (L2)', async () => {
    const { cells, starts, clock, failures, started } = ground({ size: 3 })
    const first = await started()
    first.sandbox.exit({ cause: 'exited', code: 1 })
    await turns()
    const second = await started()
    assert.deepEqual([starts.length, cells.readyCount], [2, 1])
    await cells.settled()
    second.sandbox.exit({ cause: 'exited', code: 1 })
    await turns()
    cells.take()
    clock.advance(999)
    assert.deepEqual([starts.length, failures.length], [2, 2])
    clock.advance(1)
    assert.equal(starts.length, 3, 'one pause for both, and a take does not shorten it')
  })

  test('that die as instances of a function are that function\'s matter', async () => {
    const { cells, starts, clock, failures, started } = ground({ size: 1 })
    const { sandbox } = await started()
    cells.take()
    sandbox.exit({ cause: 'exited', code: 1 })
    await turns()
    clock.advance(20)
    assert.deepEqual([starts.length, failures], [2, []])
  })

  test('that do not start are tried again ever more rarely, up to once a minute, and quickly again after a success (L2)', async () => {
    const { cells, starts, clock, failures, started, failedStart } = ground({ size: 1 })
    let delayMs = 1000
    for (let attempt = 1; attempt <= 9; attempt++) {
      await failedStart()
      assert.equal(failures.length, attempt)
      clock.advance(delayMs - 1)
      assert.equal(starts.length, attempt)
      clock.advance(1)
      assert.equal(starts.length, attempt + 1)
      delayMs = Math.min(60_000, delayMs * 2)
    }
    await started()
    cells.take()
    clock.advance(20)
    assert.equal(starts.length, 11)
  })

  test('are settled when the next try was put off, so that nobody waits for what cannot be', async () => {
    const { cells, failedStart } = ground({ size: 1 })
    const settled = cells.settled()
    await failedStart()
    await settled
  })

  test('end with the pool: the ready ones, the one that starts, and who waits for them', async () => {
    const { cells, clock, starts, failures, started } = ground({ size: 2 })
    const ready = await started()
    const settled = cells.settled()
    cells.close()
    await settled
    const late = await started()
    assert.deepEqual([ready.sandbox.destroyed, late.sandbox.destroyed], [['the platform stops'], ['the platform stops']])
    assert.deepEqual([cells.take(), cells.readyCount], [undefined, 0])
    clock.advance(100_000)
    assert.deepEqual([starts.length, failures.length], [2, 0])
    await cells.settled()
  })

  test('whose start fails because the platform stops are no failure', async () => {
    const { cells, clock, starts, failures, failedStart } = ground({ size: 1 })
    cells.close()
    await failedStart()
    clock.advance(100_000)
    assert.deepEqual([starts.length, failures], [1, []])
  })

  test('of a pool of size 0 are never started', async () => {
    const { cells, clock, starts } = ground({ size: 0 })
    clock.advance(100_000)
    assert.deepEqual([starts.length, cells.take()], [0, undefined])
    await cells.settled()
  })
})

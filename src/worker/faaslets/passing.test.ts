/**
 * Goal: each place of a host passes memory by a socket of its own, for as long as its attachment lives: also after it was parked, and whatever
 * the others of the host pass meanwhile. No socket stays when the host is gone.
 *
 * Method: a real worker and real hosts. Whether a body was passed or streamed is what its record says. Descriptors are this process's, in /proc.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { after, describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { PASSED_AHEAD_MAX } from '#contract/frames.ts'
import { HeldBody } from '#contract/held-body.ts'
import { testInvocation, turns } from '#contract/invocation.fake.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import type { Instance } from '../instance.ts'
import { workerGround, workerSkip } from '../worker.harness.ts'
import { eventually, snapshotStore } from './faaslets.harness.ts'

const native = sharedMemory()
const skip = workerSkip || (native === undefined && 'the addon is not built: node scripts/build-native.ts')
const runtimes = mkdtempSync(join(tmpdir(), 'skep-runtimes-'))
const BYTES = 300_000
const echo = { 'index.js': 'export default { async fetch(request) { return new Response(await request.bytes()) } }' }

function sockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:')
    } catch {
      return false
    }
  }).length
}

async function ground(context: TestContext) {
  const { store } = await snapshotStore(context)
  return workerGround(context, { snapshots: store, runtimes, memory: native! })
}

/** Sends so many bytes and gets them back. @returns how many went as memory, of both ways. */
async function ask(instance: Instance, byte: number): Promise<number> {
  const content = Buffer.alloc(BYTES, byte)
  const body = new HeldBody(native!.copy(content), BYTES)
  const { invocation, sink } = testInvocation(systemClock, { revision: instance.revision, request: { kind: 'http', body } })
  instance.proxy.open(invocation)
  await sink.ended
  body.release()
  assert.equal(sink.error, undefined)
  const [first] = sink.chunks as readonly (Buffer | HeldBody)[]
  const answer = first instanceof HeldBody ? await buffer(first.stream()) : sink.body
  assert.ok(answer.equals(content))
  return invocation.moved().bytesShared
}

describe('memory to and from places of a host', { skip, timeout: 60_000 }, () => {
  after(() => rmSync(runtimes, { recursive: true, force: true }))

  test('is passed to a place that was parked as to a new one', async (context) => {
    const { start, revision } = await ground(context)
    const one = revision(echo, { kind: 'js' })
    let instance = await start(one)
    const { codeDirectory } = instance.sandbox
    for (let round = 1; round <= 4; round++) {
      assert.equal(await ask(instance, round), 2 * BYTES, `round ${round}`)
      // What is to be told of the answer's memory is sent first.
      await turns()
      instance.stop('idle')
      await instance.sandbox.exited
      instance = await start(one)
      assert.equal(instance.sandbox.codeDirectory, codeDirectory, 'it was parked')
    }
  })

  test('is not held up by what others of the host pass at the same time', async (context) => {
    const { start, revision } = await ground(context)
    const instances = await Promise.all(['a', 'b', 'c'].map((name) => start(revision(echo, { kind: 'js' }, { function: name }))))
    assert.equal(new Set(instances.map(({ sandbox }) => sandbox.pid)).size, 1)
    const moved = await Promise.all(Array.from({ length: 3 * PASSED_AHEAD_MAX }, (_, at) => ask(instances[at % 3]!, at)))
    assert.ok(moved.every((bytes) => bytes >= BYTES), 'each was passed one way at least')
    assert.ok(instances.every(({ state }) => state.phase === 'ready'))
  })

  test('goes with its socket when the host ends', async (context) => {
    const { start, revision, worker } = await ground(context)
    const there = sockets()
    const instances = await Promise.all(['a', 'b', 'c'].map((name) => start(revision(echo, { kind: 'js' }, { function: name }))))
    assert.ok(sockets() >= there + 2 * 3)
    process.kill(instances[0]!.sandbox.pid, 'SIGKILL')
    await Promise.all(instances.map(({ sandbox }) => sandbox.exited))
    await eventually(() => sockets() === there, 'no socket is left')
    assert.deepEqual(worker.faasletHosts(), [])
  })
})

/**
 * Goal: who shares a host process with whom (F1 to F3), and what becomes of a place when it is given up, its host is stuck, or dies (A1).
 * Method: real hosts in real sandboxes, places without functions in them, and a manual clock for idling and for patience.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { turns } from '#contract/invocation.fake.ts'
import { FRAMES_VERSION, FrameType, encodeFrame } from '#contract/frames.ts'
import { Runtimes } from '../runtimes.ts'
import type { Runtime } from '../runtimes.ts'
import { isAlive } from '../sandbox/proc.ts'
import { ProcessSandboxProvider } from '../sandbox/process-sandbox.ts'
import { familyOf } from '../sandbox/sandbox.conformance.ts'
import { workerSkip } from '../worker.harness.ts'
import { FaasletHosts } from './faaslet-hosts.ts'
import { eventually } from './faaslets.harness.ts'
import { HostProcess } from './host-process.ts'
import type { Place } from './place.ts'

const IDLE_MS = 60_000

/** It is given up, and whoever has to know does. */
async function gone(place: Place): Promise<void> {
  await place.destroy('test')
  await turns()
}

describe('faaslet hosts', { skip: workerSkip, timeout: 30_000 }, () => {
  const prepared = mkdtempSync(join(tmpdir(), 'skep-runtimes-'))
  let runtime: Runtime
  before(async () => {
    runtime = await new Runtimes({ directory: prepared, warn: () => {} }).get('faaslet')
  })
  after(() => rmSync(prepared, { recursive: true, force: true }))

  function ground(context: TestContext) {
    const data = mkdtempSync(join(tmpdir(), 'skep-hosts-'))
    const provider = new ProcessSandboxProvider({ dataDirectory: data })
    const clock = new ManualClock()
    const stems: HostProcess[] = []
    let sequence = 0
    const startHost = async (network: 'none' | 'host'): Promise<HostProcess> => {
      const limits = { memoryMb: 1024, cpu: 1, pidsMax: 64 }
      const host = new HostProcess(await provider.start({ id: `h-${++sequence}`, ...runtime, limits, network, tmpBytesMax: 1024 * 1024, paging: true }))
      await host.hello.promise
      return host
    }
    const hosts = new FaasletHosts({ clock, takeStem: () => stems.shift(), startHost, idleMs: IDLE_MS, onEvent: () => {} })
    context.after(async () => {
      hosts.close()
      await provider.close()
      rmSync(data, { recursive: true, force: true })
    })
    /** A place that was not parked before. */
    const place = async (tenant: string, serves: string, network: 'none' | 'host' = 'none'): Promise<Place & { readonly host: HostProcess }> => {
      const { place: made, isParked } = await hosts.place({ id: `p-${++sequence}`, tenant, serves, network, canPark: true })
      assert.ok(!isParked)
      return Object.assign(made, { host: made.attachment.host })
    }
    return { hosts, clock, stems, startHost, place }
  }

  test('a tenant\'s revisions share one, two tenants or kinds of network never do (F1), nor two places of one revision (F2)', async (context) => {
    const { place, hosts } = ground(context)
    const [first, beside] = await Promise.all([place('red', 'red/a@1'), place('red', 'red/b@1')])
    assert.equal(first.host, beside.host, 'two that ask at once share the host that starts')
    assert.ok(hosts.hasRoom({ tenant: 'red', serves: 'red/c@1', network: 'none', canPark: true }))
    assert.ok(!hosts.hasRoom({ tenant: 'blue', serves: 'blue/c@1', network: 'none', canPark: true }))
    assert.ok(!hosts.hasRoom({ tenant: 'red', serves: 'red/a@1', network: 'none', canPark: true }))
    const twice = await place('red', 'red/a@1')
    const open = await place('red', 'red/c@1', 'host')
    const other = await place('blue', 'red/c@1')
    assert.equal(new Set([first, twice, open, other].map(({ pid }) => pid)).size, 4)
    assert.deepEqual([first.host.tenant, other.host.tenant, first.host.attachments], ['red', 'blue', 2])
  })

  test('a generic host becomes the first one\'s, and nobody else\'s (H1), and has no network', async (context) => {
    const { place, stems, startHost } = ground(context)
    stems.push(await startHost('none'))
    const [stem] = stems
    const open = await place('red', 'red/a@1', 'host')
    assert.notEqual(open.host, stem)
    assert.ok(stem!.isGeneric)
    const first = await place('red', 'red/a@1')
    assert.equal(first.host, stem)
    assert.ok(!stem!.isGeneric)
    await gone(first)
    assert.notEqual((await place('blue', 'blue/a@1')).host, stem)
  })

  test('a place is given up at once, with its files, and the host stays for a while (A1, F3)', async (context) => {
    const { place, clock, hosts } = ground(context)
    const [first, beside] = [await place('red', 'red/a@1'), await place('red', 'red/b@1')]
    const { host, codeDirectory } = first
    assert.ok(existsSync(codeDirectory))
    assert.deepEqual(await first.destroy('test'), { cause: 'destroyed', reason: 'test' })
    assert.deepEqual(await first.destroy('again'), { cause: 'destroyed', reason: 'test' })
    assert.ok(!existsSync(codeDirectory))
    clock.advance(IDLE_MS)
    assert.ok(host.isAlive, 'the other place keeps it')
    await gone(beside)
    clock.advance(IDLE_MS / 2)
    const third = await place('red', 'red/a@1')
    assert.equal(third.host, host)
    clock.advance(IDLE_MS)
    assert.ok(host.isAlive)
    await gone(third)
    assert.deepEqual(readdirSync(host.sandbox.codeDirectory), [])
    clock.advance(IDLE_MS)
    await host.sandbox.exited
    assert.deepEqual(hosts.hosts(), [])
  })

  test('what nobody wants any more is parked, and taken up again without a round trip', async (context) => {
    const { place, hosts, clock } = ground(context)
    const first = await place('red', 'red/a@1')
    first.attachment.handover = { firstStream: 42, takesMemory: true }
    assert.ok(first.detach('idle'))
    assert.ok(!first.detach('again'))
    assert.deepEqual([await first.exited, await first.destroy('later')], [{ cause: 'destroyed', reason: 'idle' }, { cause: 'destroyed', reason: 'idle' }])
    const { place: again, isParked } = await hosts.place({ id: 'x', tenant: 'red', serves: 'red/a@1', network: 'none', canPark: true })
    assert.ok(isParked)
    assert.equal(again.attachment, first.attachment)
    assert.deepEqual(again.attachment.handover, { firstStream: 42, takesMemory: true })
    // The first one's end is not the second one's.
    await first.destroy('late')
    assert.ok(again.attachment.host.isAlive && !again.channel.destroyed)
    assert.ok(again.detach('idle'))
    await turns()
    clock.advance(IDLE_MS)
    await first.attachment.exited
    await place('red', 'red/a@1')
  })

  test('a host that is stuck is killed with all it runs, and one that is gone is not used again (A1)', async (context) => {
    const { place, clock } = ground(context)
    const [first, beside] = [await place('red', 'red/a@1'), await place('red', 'red/b@1')]
    const inside = familyOf(first.pid)
    for (const { pid } of inside.slice(1)) process.kill(pid, 'SIGSTOP')
    const ended = first.destroy('test')
    clock.advance(999)
    assert.ok(first.host.isAlive)
    clock.advance(1)
    assert.deepEqual(await ended, { cause: 'destroyed', reason: 'test' })
    assert.equal((await beside.exited).cause, 'destroyed')
    assert.deepEqual(inside.filter(isAlive), [])
    assert.notEqual((await place('red', 'red/a@1')).pid, first.pid)
  })

  test('a host that is killed from outside takes its places along, and says how it died', async (context) => {
    const { place } = ground(context)
    const [first, beside] = [await place('red', 'red/a@1'), await place('red', 'red/b@1')]
    process.kill(first.pid, 'SIGKILL')
    const [exit, other] = await Promise.all([first.exited, beside.exited])
    assert.deepEqual([exit, other], [exit, exit])
    assert.deepEqual(exit, { cause: 'destroyed', reason: 'its faaslet host was ended by SIGKILL' })
    assert.ok(!first.host.isAlive)
    assert.ok(!first.detach('test'))
    assert.ok(first.usage().memoryBytes >= 0)
    await gone(await place('red', 'red/a@1'))
  })

  test('after close none lives, and none is started (F3)', async (context) => {
    const { place, hosts } = ground(context)
    const first = await place('red', 'red/a@1')
    const starting = place('blue', 'blue/a@1')
    hosts.close()
    await assert.rejects(starting, { code: 'STOPPING' })
    await assert.rejects(place('red', 'red/b@1'), { code: 'STOPPING' })
    assert.equal((await first.exited).cause, 'destroyed')
  })

  test('a host that breaks the protocol is killed (H2)', async (context) => {
    const { place } = ground(context)
    for (const bytes of [encodeFrame(FrameType.inited, 0, 0, '{}'), encodeFrame(FrameType.event, 0, 0, 'no JSON'), encodeFrame(FrameType.event, 0, 0, '{"event":"other","id":"x"}'), encodeFrame(FrameType.event, 0, 0, 'null'), Buffer.alloc(64, 0xff)]) {
      const { host } = await place('red', 'red/a@1')
      // As if it had come from the host.
      host.sandbox.channel.emit('data', bytes)
      assert.ok(!host.isAlive)
      await host.sandbox.exited
    }
    const { host } = await place('red', 'red/a@1')
    host.sandbox.channel.emit('data', encodeFrame(FrameType.hello, 0, 0, JSON.stringify({ protocol: FRAMES_VERSION, runtime: 'faaslet', version: '', pid: 1 })))
    assert.ok(host.isAlive)
    await eventually(() => host.attachments === 1, 'it has its place')
  })
})

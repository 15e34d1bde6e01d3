/**
 * Goal: transfers hold between hosts: over a network that is not the loopback, and when the producer's worker is killed in the middle (E2, K1).
 * Method: two processes in network namespaces joined by a pair of virtual interfaces (root; otherwise skipped). SIGKILL, when the consumer has the first bytes.
 */
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { after, before, describe, it } from 'node:test'
import { createInterface } from 'node:readline'
import { openNetwork } from '../../../bench/kit/network-namespaces.ts'
import type { Host, Network } from '../../../bench/kit/network-namespaces.ts'

const PROGRAM = fileURLToPath(new URL('./remote.child.ts', import.meta.url))
/** Far more than the window and what a network holds. */
const BYTES = 60_000_000

describe('transfers between hosts', () => {
  let network: Network
  before(async () => { network = await openNetwork() })
  after(async () => await network[Symbol.asyncDispose]())

  it('bring an object whole', async (context) => {
    if (network.kind === 'loopback') return context.skip(`no network namespaces: ${String(network.reason)}`)
    using producer = start(network.hosts[0], ['producer', network.hosts[0].address, String(BYTES)])
    const [port, digest] = (await producer.line()).split(' ') as [string, string]
    using consumer = start(network.hosts[1], ['consumer', network.hosts[0].address, port])
    assert.equal(await consumer.line(), 'first')
    consumer.child.stdin!.write('go\n')
    assert.equal(await consumer.line(), digest)
  })

  it('end with TRANSFER_BROKEN when the producer\'s worker is killed', async (context) => {
    if (network.kind === 'loopback') return context.skip(`no network namespaces: ${String(network.reason)}`)
    using producer = start(network.hosts[0], ['producer', network.hosts[0].address, String(BYTES)])
    const [port] = (await producer.line()).split(' ') as [string]
    using consumer = start(network.hosts[1], ['consumer', network.hosts[0].address, port])
    assert.equal(await consumer.line(), 'first')
    producer.child.kill('SIGKILL')
    await once(producer.child, 'exit')
    consumer.child.stdin!.write('go\n')
    assert.equal(await consumer.line(), 'TRANSFER_BROKEN')
  })

  it('leave no namespace behind, also when what went on in them failed', async (context) => {
    if (network.kind === 'loopback') return context.skip(`no network namespaces: ${String(network.reason)}`)
    const another = await openNetwork()
    const child = another.hosts[0].spawn('cat', [], { stdio: ['pipe', 'ignore', 'inherit'] })
    await once(child, 'spawn')
    const entered = await namespaceOf(child)
    child.kill('SIGKILL')
    await once(child, 'exit')
    await another[Symbol.asyncDispose]()
    assert.equal(namespaces().has(entered), false)
  })
})

interface Running extends Disposable {
  readonly child: ChildProcess
  line(): Promise<string>
}

function start(host: Host, args: readonly string[]): Running {
  // `nsenter` and `taskset` become the program: the child is the worker itself.
  const child = host.spawn(process.execPath, [PROGRAM, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return {
    child,
    line: async () => String((await lines.next()).value),
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  }
}

/** Waits until it is in another one than we are: `nsenter` takes a moment. */
async function namespaceOf(child: ChildProcess): Promise<string> {
  for (;;) {
    const namespace = readlinkSync(`/proc/${child.pid}/ns/net`)
    if (namespace !== readlinkSync('/proc/self/ns/net')) return namespace
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Network namespaces that any process is in. */
function namespaces(): Set<string> {
  return new Set(readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      return [readlinkSync(`/proc/${pid}/ns/net`)]
    } catch {
      return []
    }
  }))
}

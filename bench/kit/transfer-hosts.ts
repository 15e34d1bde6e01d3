/** A producer's and a consumer's worker on two hosts (transfer-worker.ts), and the ways from one to the other. All times are ms. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Host, Network } from './network-namespaces.ts'
import type { Stores } from './stores.ts'
import type { Commands } from './transfer-worker.ts'

const PROGRAM = fileURLToPath(new URL('./transfer-worker.ts', import.meta.url))

/** As a stream that begins before all is here, or whole. */
export type Getting = 'getStream' | 'getHeld'
export type Putting = 'copied' | 'in place'

export interface TransferHosts extends AsyncDisposable {
  /** Putting an object and getting it. `in place`: the producer made it in memory that it allocated for it, so that putting copies nothing. */
  transfer(windowBytes: number, bytes: number, getting: Getting, putting?: Putting): Promise<number>
  /** Getting alone. */
  get(windowBytes: number, bytes: number, getting: Getting): Promise<number>
  rawTcp(bytes: number, writeBytes: number, owned: boolean): Promise<number>
  throughStore(name: string, bytes: number): Promise<number>
}

/** @param windows For each, a transfer plane with this much credit per stream. */
export async function startTransferHosts({ hosts: [first, second] }: Network, windows: readonly number[], stores: Stores): Promise<TransferHosts> {
  const producer = new RemoteWorker(first)
  const consumer = new RemoteWorker(second)
  const rawPort = await producer.call('start', 'producer', first.address)
  await consumer.call('start', 'consumer', second.address)
  for (const window of windows) {
    const port = await producer.call('plane', window)
    await consumer.call('plane', window)
    await consumer.call('know', `producer-${window}`, { host: first.address, port })
  }
  const putAndGet = async (window: number, bytes: number, getting: Getting, putting: Putting): Promise<{ readonly putMs: number; readonly getMs: number }> => {
    const put = await producer.call('put', window, bytes, putting)
    return { putMs: put.ms, getMs: await consumer.call(getting, window, put.reference) }
  }
  return {
    async transfer(window, bytes, getting, putting = 'copied') {
      const { putMs, getMs } = await putAndGet(window, bytes, getting, putting)
      return putMs + getMs
    },
    get: async (window, bytes, getting) => (await putAndGet(window, bytes, getting, 'copied')).getMs,
    rawTcp: (bytes, writeBytes, owned) => consumer.call('getRaw', { host: first.address, port: rawPort }, bytes, writeBytes, owned),
    async throughStore(name, bytes) {
      const address = stores.address(name)
      if (name === 's3') return (await producer.call('putS3', stores.s3, 'o', bytes)) + (await consumer.call('getS3', stores.s3, 'o'))
      if (name === 'redis') return (await producer.call('putRedis', address, 'o', bytes)) + (await consumer.call('getRedis', address, 'o'))
      const put = await producer.call('putBlob', address, bytes)
      return put.ms + (await consumer.call('getBlob', address, put.path))
    },
    async [Symbol.asyncDispose]() {
      await producer.end()
      await consumer.end()
    },
  }
}

class RemoteWorker {
  readonly #child: ChildProcess
  readonly #exited: Promise<never>

  constructor(host: Host) {
    this.#child = host.spawn(process.execPath, [PROGRAM], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#exited = once(this.#child, 'exit').then(([code]) => Promise.reject(new Error(`a transfer worker exited with ${String(code)}`)))
    this.#exited.catch(() => {
      // Whoever calls it has it from there.
    })
  }

  async call<Name extends keyof Commands>(name: Name, ...args: Parameters<Commands[Name]>): Promise<Awaited<ReturnType<Commands[Name]>>> {
    this.#child.send([name, ...args])
    const [answer] = (await Promise.race([once(this.#child, 'message'), this.#exited])) as [{ readonly value?: unknown; readonly error?: string }]
    if (answer.error !== undefined) throw new Error(`${name}: ${answer.error}`)
    return answer.value as Awaited<ReturnType<Commands[Name]>>
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.send(['close'])
    await this.#exited.catch(() => {})
  }
}

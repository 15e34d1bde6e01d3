/** The baselines of `transfer-local` between two processes (store-peer.ts): the ways from one to the other, put and get in ms. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { PeerCommands, StoreAddresses } from './store-peer.ts'

export interface StorePeers extends AsyncDisposable {
  /** Of the storages that are there. */
  readonly stores: readonly string[]
  throughStore(name: string, bytes: number): Promise<number>
  /** The consumer asks a producer for the bytes, over a connection that is open. */
  tcp(bytes: number): Promise<number>
  grpc(bytes: number): Promise<number>
}

export async function startStorePeers(addresses: StoreAddresses): Promise<StorePeers> {
  const [producer, consumer] = [new Peer(), new Peer()]
  await producer.call('open', addresses)
  await consumer.call('open', addresses)
  const ports = await producer.call('serve')
  let stamp = 0
  return {
    stores: Object.keys(addresses),
    async throughStore(name, bytes) {
      stamp++
      const ms = (await producer.call('put', name, bytes, stamp)) + (await consumer.call('get', name, bytes, stamp))
      await consumer.call('remove', name, stamp)
      return ms
    },
    tcp: (bytes) => consumer.call('getTcp', ports.tcp, bytes),
    grpc: (bytes) => consumer.call('getGrpc', ports.grpc, bytes),
    async [Symbol.asyncDispose]() {
      await Promise.all([producer.end(), consumer.end()])
    },
  }
}

class Peer {
  readonly #child: ChildProcess = fork(fileURLToPath(new URL('./store-peer.ts', import.meta.url)))
  readonly #exited = once(this.#child, 'exit').then(([code]) => Promise.reject(new Error(`a peer exited with ${String(code)}`)))

  constructor() {
    this.#exited.catch(() => {
      // Whoever calls it has it from there.
    })
  }

  async call<Name extends keyof PeerCommands>(name: Name, ...args: Parameters<PeerCommands[Name]>): Promise<Awaited<ReturnType<PeerCommands[Name]>>> {
    this.#child.send([name, ...args])
    const [answer] = (await Promise.race([once(this.#child, 'message'), this.#exited])) as [{ readonly value?: unknown; readonly error?: string }]
    if (answer.error !== undefined) throw new Error(`${name}: ${answer.error}`)
    return answer.value as Awaited<ReturnType<PeerCommands[Name]>>
  }

  async end(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    await this.#exited.catch(() => {})
  }
}

/** Two workers' ends of the transfer plane in one process, over loopback, with real bodies behind descriptors; and an object server that counts how leases end. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, openSync, rmSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { HeldBody } from '#contract/held-body.ts'
import type { Lease, ObjectServer, Place } from '../peers.ts'
import { sharedMemory } from '../shared-memory.ts'
import { makeCredentials } from './certificates.ts'
import { remoteDefaults } from './config.ts'
import type { RemoteConfig } from './config.ts'
import { TransferClient } from './transfer-client.ts'
import { TransferServer } from './transfer-server.ts'

const memory = sharedMemory()

export const GROUP_KEY = Buffer.alloc(32, 7)

/** Objects in sealed memory where there is such a thing, or in unlinked files. Leases are counted, and their ends can be waited for. */
export class CountingObjects implements ObjectServer {
  readonly #objects = new Map<string, { readonly body: HeldBody; readonly place: Place }>()
  readonly #changed = new Set<() => void>()
  asked = 0
  open = 0
  done = 0
  failed = 0
  /** When set, `serve` waits for it. */
  gate: Promise<void> | undefined

  put(id: string, bytes: Uint8Array, place: Place = memory === undefined ? 'file' : 'memory'): void {
    if (place === 'memory') return void this.#objects.set(id, { body: new HeldBody(memory!.copy(bytes), bytes.length), place })
    const directory = mkdtempSync(join(tmpdir(), 'skep-remote-'))
    const path = join(directory, 'body')
    const fd = openSync(path, 'wx+')
    unlinkSync(path)
    rmSync(directory, { recursive: true })
    for (let offset = 0; offset < bytes.length; ) offset += writeSync(fd, bytes, offset)
    this.#objects.set(id, { body: new HeldBody(fd, bytes.length), place })
  }

  /** A body whose descriptor can't be read: what a failing disk looks like. */
  putUnreadable(id: string, bytes: number): void {
    this.#objects.set(id, { body: new HeldBody(openSync('/dev/null', 'w'), bytes), place: 'file' })
  }

  /** Gives a lease also when it is not wanted any more: the race that a real one may lose. */
  async serve(objectId: string): Promise<Lease> {
    this.asked++
    await this.gate
    const object = this.#objects.get(objectId)
    if (object === undefined) throw new PlatformError('OBJECT_LOST', `there is no ${objectId}`)
    const { body, place } = object
    body.retain()
    this.open++
    let isSettled = false
    const settle = (outcome: 'done' | 'failed'): void => {
      if (isSettled) return
      isSettled = true
      this.open--
      this[outcome]++
      body.release()
      for (const check of [...this.#changed]) check()
    }
    return { body, bytes: body.bytes, place, done: () => settle('done'), failed: () => settle('failed') }
  }

  /** Waits until this is so. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (!condition()) return
        this.#changed.delete(check)
        resolve()
      }
      this.#changed.add(check)
      check()
    })
  }

  close(): void {
    for (const { body } of this.#objects.values()) body.release()
  }
}

export interface End extends AsyncDisposable {
  readonly name: string
  readonly objects: CountingObjects
  readonly server: TransferServer
  readonly client: TransferClient
}

/** @param names A worker each; all know each other. */
export async function startEnds(names: readonly string[], overrides: Partial<RemoteConfig> = {}, groupKey = GROUP_KEY): Promise<End[]> {
  const config = { ...remoteDefaults, ...overrides }
  const ends: End[] = []
  for (const name of names) {
    const objects = new CountingObjects()
    const credentials = makeCredentials(name, [groupKey])
    const server = await TransferServer.listen({ address: { host: '127.0.0.1', port: 0 }, credentials, objects, memory, config })
    const directory = { find: (worker: string) => ends.find((end) => end.name === worker)?.server.address }
    const client = new TransferClient({ config, clock: systemClock, credentials, directory })
    ends.push({
      name, objects, server, client,
      async [Symbol.asyncDispose]() {
        client.close()
        await server.close()
        objects.close()
      },
    })
  }
  return ends
}

export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces)
}

export function someBytes(length: number): Buffer {
  return randomBytes(length)
}

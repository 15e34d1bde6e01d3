/**
 * A NATS object store as a storage, by its own client, which bench/baselines installs (types: what is used of it).
 *
 * Its memory store, which is quicker than its files. The client hashes in JavaScript (SHA-256), which is most of what it does.
 */
import { createRequire } from 'node:module'
import type { Storage } from '../../examples/transports/storage.ts'

interface ObjectStore {
  putBlob(meta: { readonly name: string }, object: Uint8Array): Promise<unknown>
  getBlob(name: string): Promise<Uint8Array | null>
  delete(name: string): Promise<unknown>
}
interface Connection {
  close(): Promise<void>
}
interface Transport {
  connect(options: { readonly servers: string }): Promise<Connection>
}
interface Objm {
  readonly Objm: new (connection: Connection) => { create(name: string, options: { readonly storage: 'memory' }): Promise<ObjectStore> }
}

export class NatsObjects implements Storage {
  readonly #connection: Connection
  readonly #objects: ObjectStore

  private constructor(connection: Connection, objects: ObjectStore) {
    this.#connection = connection
    this.#objects = objects
  }

  static async open(server: { readonly host: string; readonly port: number }): Promise<NatsObjects> {
    const load = createRequire(new URL('../baselines/package.json', import.meta.url))
    const { connect } = load('@nats-io/transport-node') as Transport
    const { Objm } = load('@nats-io/obj') as Objm
    const connection = await connect({ servers: `${server.host}:${server.port}` })
    return new NatsObjects(connection, await new Objm(connection).create('bench', { storage: 'memory' }))
  }

  async put(key: string, object: Uint8Array): Promise<void> {
    await this.#objects.putBlob({ name: key }, object)
  }

  async get(key: string): Promise<Uint8Array> {
    const object = await this.#objects.getBlob(key)
    if (object === null) throw new Error(`NATS has no object ${JSON.stringify(key)}.`)
    return object
  }

  async remove(key: string): Promise<void> {
    await this.#objects.delete(key)
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }
}

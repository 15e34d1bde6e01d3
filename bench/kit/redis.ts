/** One connection to a Redis server, as a client in the same process as what is measured. */
import { RedisStorage } from '../../examples/transports/redis.ts'

export class RedisConnection {
  readonly #storage: RedisStorage

  private constructor(storage: RedisStorage) {
    this.#storage = storage
  }

  /** @throws Error when nobody answers there. */
  static async open({ host, port }: { readonly host: string; readonly port: number }): Promise<RedisConnection> {
    const storage = new RedisStorage(`redis://${host}:${port}`)
    await storage.remove('nothing')
    return new RedisConnection(storage)
  }

  set(key: string, value: Uint8Array): Promise<void> {
    return this.#storage.put(key, value)
  }

  get(key: string): Promise<Uint8Array> {
    return this.#storage.get(key)
  }

  close(): void {
    this.#storage.close()
  }
}

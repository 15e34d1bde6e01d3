/** What the tests of this folder stand on: buckets on a real store and real blobs, and writes that fail from the nth on. */
import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Blobs } from '#store/blobs.ts'
import { openFileBlobs } from '#store/file-blobs.ts'
import type { Store } from '#store/store.ts'
import { codesOf, testGround } from '../registry.fake.ts'
import { Buckets } from './buckets.ts'
import type { Address, Incoming } from './objects.ts'

export const at = (key: string, bucket = 'bee', namespace = 'n'): Address => ({ namespace, bucket, key })

export function incoming(bytes: Uint8Array): Incoming {
  async function* source(): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  return { source: source(), bytes: bytes.length, finish: () => ({ md5: createHash('md5').update(bytes).digest('hex') }) }
}

export const text = (value: string): Incoming => incoming(Buffer.from(value))

export interface Ground {
  readonly clock: ManualClock
  readonly buckets: Buckets
  readonly store: Store
  readonly blobs: Blobs
  readonly warnings: unknown[]
  /** From now on the nth write fails, and all after it. */
  failFrom(n: number): void
  reopen(): Promise<Buckets>
  digests(): Promise<string[]>
}

/** Gone when the test ends. */
export async function ground(context: Pick<TestContext, 'after'>, options: { readonly bytesMax?: number } = {}): Promise<Ground> {
  const { store: real, directory, clock } = await testGround(context)
  const blobs = await openFileBlobs({ directory: join(directory, 'buckets') })
  let left = Infinity
  const write = <Result>(act: () => Promise<Result>): Promise<Result> => (--left < 0 ? Promise.reject(new PlatformError('STORE_FAILED', 'no more writes')) : act())
  const store: Store = Object.create(real, {
    put: { value: (...args: Parameters<Store['put']>) => write(() => real.put(...args)) },
    delete: { value: (...args: Parameters<Store['delete']>) => write(() => real.delete(...args)) },
    ...Object.fromEntries((['get', 'list', 'watch'] as const).map((name) => [name, { value: real[name].bind(real) }])),
  })
  const warnings: unknown[] = []
  const open = (): Promise<Buckets> =>
    Buckets.open({ store, blobs, randomBytes, nowMs: () => clock.epochMs(), bytesMaxOf: () => options.bytesMax ?? 1e9, warn: (_message, error) => void warnings.push(error) })
  const buckets = await open()
  await buckets.create('n', 'bee')
  return {
    clock, buckets, store, blobs, warnings,
    failFrom: (n) => void (left = n),
    async reopen() {
      left = Infinity
      return open()
    },
    digests: () => codesOf(blobs),
  }
}

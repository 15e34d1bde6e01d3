/** What the registry's tests stand on: a real store in a directory of its own, blobs, and a clock that is told the time. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { functionConfig } from '#contract/function-config.ts'
import type { FunctionConfig, FunctionConfigInput } from '#contract/function-config.ts'
import { openFileBlobs } from '#store/file-blobs.ts'
import { openSqliteStore } from '#store/sqlite-store.ts'
import type { Blobs } from '#store/blobs.ts'
import type { Store } from '#store/store.ts'
import { packFile } from './code-archive.ts'
import type { FunctionRegistry } from './functions.ts'

export interface TestGround {
  readonly directory: string
  readonly store: Store
  readonly blobs: Blobs
  readonly clock: ManualClock
}

/** Gone when the test ends. */
export async function testGround(context: Pick<TestContext, 'after'>): Promise<TestGround> {
  const directory = await mkdtemp(join(tmpdir(), 'skep-registry-'))
  const store = await openSqliteStore({ path: join(directory, 'store.db') })
  context.after(async () => {
    await store.close()
    await rm(directory, { recursive: true, force: true })
  })
  return { directory, store, blobs: await openFileBlobs({ directory: join(directory, 'code') }), clock: new ManualClock() }
}

export function config(over: Partial<FunctionConfigInput> = {}): FunctionConfig {
  return functionConfig.parse({ kind: 'node', entry: 'index.js', ...over })
}

/** Uploads a one-file tar. @returns its digest. */
export async function uploadFile(registry: FunctionRegistry, namespace: string, text: string, filename = 'index.js'): Promise<string> {
  const tar = await packFile(filename, text, { executable: false })
  return (await registry.code.upload(namespace, Readable.from([tar]), { bytesMax: 10_000_000 })).digest
}

export async function codesOf(blobs: Blobs): Promise<string[]> {
  const digests: string[] = []
  for await (const blob of blobs.list()) digests.push(blob.digest)
  return digests.sort()
}

/** Rejects and throws with this code of the table. */
export function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof PlatformError && error.code === code
}

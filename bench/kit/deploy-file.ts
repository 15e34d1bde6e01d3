/** Deploys a file of bench/kit with what it imports, as `skep deploy` builds it. */
import { join } from 'node:path'
import { buildFunction, packCode } from '#build/build-function.ts'
import type { RunningPlatform } from './server.ts'

/** @param file Relative to bench/kit. */
export async function deployFile(platform: RunningPlatform, name: string, file: string, config: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const built = await buildFunction({ path: join(import.meta.dirname, file) })
  const { tar, digest } = await packCode(built.files)
  await platform.json('/v1/code', { method: 'POST', headers: { 'content-type': 'application/x-tar' }, body: tar as Uint8Array<ArrayBuffer> })
  await platform.json(`/v1/functions/${name}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ kind: built.kind, entry: built.entry, code: digest, ...config }) })
}

/** Invokes a function with a JSON event. @throws Error with what the platform answered. */
export function call<Answer>(platform: RunningPlatform, name: string, event: object): Promise<Answer> {
  return platform.json(`/fn/${platform.namespace}/${name}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(event) })
}

/** The three workloads of the thesis (examples/), deployed to a platform under test as `skep deploy` does it, and called. */
import { join } from 'node:path'
import { buildFunction, packCode } from '#build/build-function.ts'
import type { RunReport } from '../../examples/transports/report.ts'
import type { TransportName } from '../../examples/transports/transport.ts'
import type { RunningPlatform } from './server.ts'

export interface WorkloadFunction {
  readonly name: string
  /** In the folder of its workload. */
  readonly entry: string
  readonly memoryMb: number
}

export interface Workload {
  /** Its folder in examples/. */
  readonly folder: string
  /** The first one is what is called. */
  readonly functions: readonly [WorkloadFunction, ...WorkloadFunction[]]
}

export const workloads = {
  video: {
    folder: 'video-analytics',
    functions: [
      { name: 'video-streamer', entry: 'streamer.ts', memoryMb: 512 },
      { name: 'video-decoder', entry: 'decoder.ts', memoryMb: 512 },
      { name: 'video-recogniser', entry: 'recogniser.ts', memoryMb: 512 },
    ],
  },
  stacking: {
    folder: 'stacking-ensemble',
    functions: [
      { name: 'stacking-driver', entry: 'driver.ts', memoryMb: 512 },
      { name: 'stacking-trainer', entry: 'trainer.ts', memoryMb: 512 },
      { name: 'stacking-reducer', entry: 'reducer.ts', memoryMb: 512 },
      { name: 'stacking-meta-trainer', entry: 'meta-trainer.ts', memoryMb: 512 },
    ],
  },
  mapreduce: {
    folder: 'map-reduce',
    functions: [
      { name: 'map-reduce-driver', entry: 'driver.ts', memoryMb: 512 },
      { name: 'map-reduce-mapper', entry: 'mapper.ts', memoryMb: 512 },
      { name: 'map-reduce-reducer', entry: 'reducer.ts', memoryMb: 512 },
    ],
  },
} as const satisfies Record<string, Workload>

export function memoryOf({ functions }: Workload): Readonly<Record<string, number>> {
  return Object.fromEntries(functions.map(({ name, memoryMb }) => [name, memoryMb]))
}

/** @param environment Where the storages are. They are reached over the network of the host, which functions have only when it is asked for. */
export async function deployWorkload(platform: RunningPlatform, { folder, functions }: Workload, environment: Readonly<Record<string, string>> = {}): Promise<void> {
  const path = join(import.meta.dirname, '../../examples', folder)
  for (const { name, entry, memoryMb } of functions) {
    const built = await buildFunction({ path }, { entry })
    const packed = await packCode(built.files)
    await platform.json('/v1/code', { method: 'POST', headers: { 'content-type': 'application/x-tar' }, body: packed.tar as Uint8Array<ArrayBuffer> })
    const network = Object.keys(environment).length > 0 ? 'host' : 'none'
    await platform.json(`/v1/functions/${name}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ kind: built.kind, entry: built.entry, code: packed.digest, memoryMb, network, environment }),
    })
  }
}

/** Runs a workload once. @throws Error with what the platform answered. */
export function runWorkload<Result>(platform: RunningPlatform, { functions }: Workload, transport: TransportName, fields: object = {}): Promise<RunReport<Result>> {
  return callWorkload(platform, functions[0].name, { ...fields, transport })
}

export function callWorkload<Answer>(platform: RunningPlatform, name: string, fields: object): Promise<Answer> {
  return platform.json(`/fn/${platform.namespace}/${name}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(fields) })
}

/** Credentials for the platform's own S3 endpoint, as environment variables of functions; undefined when the platform has none. */
export async function s3Environment(platform: RunningPlatform): Promise<Record<string, string> | undefined> {
  const response = await platform.request('/v1/s3/credentials', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: 'workloads' }) })
  if (response.status === 404) return undefined
  if (!response.ok) throw new Error(`no credentials for S3: ${response.status} ${await response.text()}`)
  const { accessKeyId, secretAccessKey } = (await response.json()) as { accessKeyId: string; secretAccessKey: string }
  return { AWS_ENDPOINT_URL_S3: `${platform.url}/s3`, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: 'us-east-1', S3_BUCKET: 'workloads' }
}

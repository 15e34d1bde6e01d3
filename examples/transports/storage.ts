/** Storages that functions can reach over the network, chosen and addressed by environment variables. */
import { RedisStorage } from './redis.ts'
import { S3Storage } from './s3.ts'

export interface Storage {
  put(key: string, object: Uint8Array): Promise<void>
  /** @throws Error when there is no such object. */
  get(key: string): Promise<Uint8Array>
  remove(key: string): Promise<void>
}

export const storageNames = ['s3', 'redis'] as const
export type StorageName = (typeof storageNames)[number]

export function isStorageName(name: unknown): name is StorageName {
  return storageNames.includes(name as StorageName)
}

const opened: { -readonly [Name in StorageName]?: Storage } = {}

/** One client per instance: its connections outlive an invocation. @throws Error that says which variable is missing. */
export function storageNamed(name: StorageName): Storage {
  return (opened[name] ??=
    name === 's3'
      ? new S3Storage({
          url: variable('AWS_ENDPOINT_URL_S3', 'http://127.0.0.1:8080/s3'),
          bucket: variable('S3_BUCKET', 'workloads'),
          accessKeyId: variable('AWS_ACCESS_KEY_ID', 'AKIA…'),
          secretAccessKey: variable('AWS_SECRET_ACCESS_KEY', '…'),
          region: process.env['AWS_REGION'] ?? 'us-east-1',
        })
      : new RedisStorage(variable('REDIS_URL', 'redis://127.0.0.1:6379')))
}

function variable(name: string, example: string): string {
  const value = process.env[name]
  if (value === undefined || value === '') throw new Error(`${name} is not set. Deploy with --network host --env ${name}=${example}, or choose another transport.`)
  return value
}

/** The official S3 client against a platform of a test. */
import { S3Client } from '@aws-sdk/client-s3'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import type { TestPlatform } from './platform.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** @param key Of another namespace than the platform's own. */
export async function s3Credentials(platform: TestPlatform, key = platform.key): Promise<S3Credentials> {
  const made = await platform.send('/v1/s3/credentials', { method: 'POST', body: '{}', headers: { authorization: `Bearer ${key}` } })
  const { accessKeyId, secretAccessKey } = made.json<S3Credentials>()
  return { accessKeyId, secretAccessKey }
}

/** As people configure it: nothing but the address, path style and credentials; retries would hide what a test looks for. */
export function s3Client(platform: Pick<TestPlatform, 'url'>, credentials: S3Credentials, config: S3ClientConfig = {}): S3Client {
  return new S3Client({ endpoint: `${platform.url}/s3`, region: 'us-east-1', forcePathStyle: true, credentials, maxAttempts: 1, ...config })
}

/** `skep s3 credentials`. */
import type { Context } from '../context.ts'
import { table, when } from '../format.ts'

interface Credentials {
  readonly accessKeyId: string
  readonly name: string
  readonly createdAtMs: number
}

export async function credentialsCreate(context: Context, name: string): Promise<void> {
  const client = await context.client()
  const made = await client.json<Credentials & { secretAccessKey: string }>('POST', '/v1/s3/credentials', { name })
  const endpoint = `${client.connection.url}/s3`
  context.note('The secret is shown once: keep it now.')
  context.result({ ...made, endpoint }, () =>
    [`export AWS_ACCESS_KEY_ID=${made.accessKeyId}`, `export AWS_SECRET_ACCESS_KEY=${made.secretAccessKey}`, 'export AWS_REGION=us-east-1', `export AWS_ENDPOINT_URL_S3=${endpoint}`].join('\n'),
  )
}

export async function credentialsList(context: Context): Promise<void> {
  const answer = await (await context.client()).json<{ credentials: Credentials[] }>('GET', '/v1/s3/credentials')
  context.result(answer, () =>
    answer.credentials.length === 0 ? 'No S3 credentials.' : table(['ACCESS KEY ID', 'NAME', 'CREATED'], answer.credentials.map((one) => [one.accessKeyId, one.name, when(one.createdAtMs)])),
  )
}

export async function credentialsRevoke(context: Context, accessKeyId: string): Promise<void> {
  await (await context.client()).json('DELETE', `/v1/s3/credentials/${encodeURIComponent(accessKeyId)}`)
  context.result({ revoked: accessKeyId }, () => `S3 credentials ${accessKeyId} revoked`)
}

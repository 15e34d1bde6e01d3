/** Adapter: on AWS Lambda, by its API or by a function URL. The SDK is Lambda's own, and loaded by the first chain that needs it, so that cold starts have no part of it. */
import { fieldsOf, preciseNow } from './work.ts'
import type { Fields, Links, Reply, Work } from './work.ts'

interface UrlEvent {
  readonly requestContext?: unknown
  readonly rawQueryString?: string
  readonly queryStringParameters?: Readonly<Record<string, string>>
  readonly body?: string
}

const shared: Omit<Links, 'requestId'> = {
  now: preciseNow,
  async invoke(id, fields) {
    const { client, InvokeCommand } = await lambda()
    const { FunctionError, Payload } = await client.send(new InvokeCommand({ FunctionName: id, Payload: JSON.stringify(fields) }))
    const text = new TextDecoder().decode(Payload)
    if (FunctionError !== undefined) throw new Error(`${id} failed (${FunctionError}): ${text.slice(0, 200)}`)
    return JSON.parse(text) as Reply
  },
  async put(Bucket, Key, Body) {
    const { client, PutObjectCommand } = await s3()
    await client.send(new PutObjectCommand({ Bucket, Key, Body }))
  },
  async get(Bucket, Key) {
    const { client, GetObjectCommand } = await s3()
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }))
    return Body!.transformToByteArray()
  },
}

export function serve(work: Work) {
  return async (event: Fields & UrlEvent, context: { readonly awsRequestId: string }) => {
    const isUrl = event.requestContext !== undefined
    const fields = isUrl ? fieldsOf(Object.entries(event.queryStringParameters ?? {}), event.body ?? '') : event
    const reply = await work(fields, { ...shared, requestId: context.awsRequestId })
    return isUrl ? { statusCode: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(reply) } : reply
  }
}

let lambdaLoaded: ReturnType<typeof loadLambda> | undefined
const lambda = () => (lambdaLoaded ??= loadLambda())
async function loadLambda() {
  const sdk = await import('@aws-sdk/client-lambda')
  return { ...sdk, client: new sdk.LambdaClient({ maxAttempts: 1 }) }
}

let s3Loaded: ReturnType<typeof loadS3> | undefined
const s3 = () => (s3Loaded ??= loadS3())
async function loadS3() {
  const sdk = await import('@aws-sdk/client-s3')
  // Path style is what S3's works-alikes understand, and S3 does too.
  return { ...sdk, client: new sdk.S3Client({ maxAttempts: 1, forcePathStyle: true }) }
}

/**
 * Goal: an S3 client gets SlowDown when its namespace has sent as much as it may, and knows when to come again; nobody else does. /metrics counts what
 * the clients did, what was refused and what was cut too.
 *
 * Method: the official client and raw HTTP against a real platform, in namespaces with small quotas.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, HeadObjectCommand, ListBucketsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import type { S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { open, send } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'
import { s3Client, s3Credentials } from '../kit/s3.ts'

const MB = 1024 * 1024
const Bucket = 'bee'

describe('limits and metrics of the S3 API', () => {
  let platform: TestPlatform
  const clients: S3Client[] = []

  async function namespace(name: string, quotas: object): Promise<S3Client> {
    const { key } = (await platform.send('/v1/namespaces', { method: 'POST', body: JSON.stringify({ name, quotas }) })).json()
    const client = s3Client(platform, await s3Credentials(platform, key))
    clients.push(client)
    return client
  }

  /** Of one sample; 0 when it is not there. */
  async function metric(sample: string): Promise<number> {
    const line = (await platform.send('/metrics')).text.split('\n').find((one) => one.startsWith(`${sample} `))
    return Number(line?.slice(sample.length + 1) ?? 0)
  }

  async function requestsEnded(): Promise<number> {
    const lines = (await platform.send('/metrics')).text.split('\n').filter((line) => line.startsWith('skep_s3_requests_total{'))
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }

  before(async () => {
    platform = await startTestPlatform()
  })
  after(async () => {
    for (const client of clients) client.destroy()
    await platform[Symbol.asyncDispose]()
  })

  test('beyond the requests of a minute: SlowDown, with the seconds until the next; another namespace goes on', async () => {
    const slow = await namespace('slow', { invocationsPerMinute: 3 })
    const url = await getSignedUrl(slow, new ListBucketsCommand({}))
    for (let sent = 0; sent < 3; sent++) await slow.send(new ListBucketsCommand({}))
    await assert.rejects(slow.send(new ListBucketsCommand({})), { name: 'SlowDown' })
    const refused = await send(url)
    assert.deepEqual([refused.status, refused.headers['x-skep-error'], /<Code>(\w+)</.exec(refused.text)?.[1]], [503, 'RATE_EXCEEDED', 'SlowDown'])
    const seconds = Number(refused.headers['retry-after'])
    assert.ok(seconds >= 1 && seconds <= 20, `retry-after ${seconds}`)
    assert.match(refused.text, /may have 3 S3 requests a minute/)
    // Who isn't known can't use up what others may.
    assert.equal((await send(url.replace(/Signature=(\w)/, (_, first) => `Signature=${first === '0' ? '1' : '0'}`))).status, 403)
    await (await namespace('quick', {})).send(new ListBucketsCommand({}))
    await until(async () => (await metric('skep_s3_requests_total{operation="ListBuckets",status="5xx"}')) === 2, 'both refusals are counted')
  })

  test('beyond what may be under way at once: SlowDown, until one has ended or its client has gone', async () => {
    const narrow = await namespace('narrow', { concurrentInvocations: 1 })
    // A client has its answer a moment before the request has ended here: what is counted has ended.
    const base = await requestsEnded()
    let sent = 0
    const quiet = (): Promise<unknown> => until(async () => (await requestsEnded()) === base + sent, 'all that was sent has ended')
    const isFree = (): Promise<boolean> => {
      sent++
      return narrow.send(new ListBucketsCommand({})).then(() => true, (error: { name: string }) => {
        assert.equal(error.name, 'SlowDown')
        return false
      })
    }
    sent++
    await narrow.send(new CreateBucketCommand({ Bucket }))
    for (const end of ['ended', 'gone'] as const) {
      const url = await getSignedUrl(narrow, new PutObjectCommand({ Bucket, Key: end }))
      const { promise: goOn, resolve: finish } = Promise.withResolvers<void>()
      async function* halfway(): AsyncGenerator<Buffer> {
        yield randomBytes(1000)
        await goOn
        if (end === 'gone') throw new Error('the client goes')
        yield randomBytes(1000)
      }
      await quiet()
      const putting = send(url, { method: 'PUT', headers: { 'content-length': '2000' }, body: Readable.from(halfway()) }).then((answer) => answer.status, () => 'gone')
      sent++
      await until(() => readdirSync(join(platform.data, 'buckets', 'tmp')).length > 0, 'the upload is under way')
      assert.equal(await isFree(), false)
      finish()
      assert.equal(await putting, end === 'gone' ? 'gone' : 200)
      await quiet()
      assert.equal(await isFree(), true)
    }
  })

  test('/metrics has requests by operation and status, bytes and durations', async () => {
    const s3 = await namespace('seen', {})
    await s3.send(new CreateBucketCommand({ Bucket }))
    const of = (family: string, operation: string): Promise<number> => metric(`skep_s3_${family}{operation="${operation}"}`)
    const requests = (operation: string, status: string): Promise<number> => metric(`skep_s3_requests_total{operation="${operation}",status="${status}"}`)
    await until(async () => (await requests('CreateBucket', '2xx')) >= 2, 'the bucket is made')
    const body = randomBytes(3 * MB)
    const before = { ended: await requestsEnded(), puts: await requests('PutObject', '2xx'), in: await of('request_bytes_total', 'PutObject'), missing: await requests('GetObject', '4xx'), unknown: await requests('unknown', '4xx') }
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body }))
    assert.equal((await (await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))).Body!.transformToByteArray()).length, body.length)
    await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))
    await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range: 'bytes=0-99' })).then((answer) => answer.Body!.transformToByteArray())
    await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'nothing' })))
    await send(`${platform.url}/s3/${Bucket}`)
    await until(async () => (await requestsEnded()) === before.ended + 6, 'all are counted')
    assert.deepEqual([await requests('PutObject', '2xx') - before.puts, await requests('GetObject', '2xx'), await requests('HeadObject', '2xx')], [1, 2, 1])
    assert.deepEqual([await requests('GetObject', '4xx') - before.missing, await requests('unknown', '4xx') - before.unknown], [1, 1])
    const bytesIn = await of('request_bytes_total', 'PutObject') - before.in
    assert.ok(bytesIn >= body.length && bytesIn < body.length + 10_000, `${bytesIn} bytes in`)
    const bytesOut = await of('answer_bytes_total', 'GetObject')
    assert.ok(bytesOut > body.length + 100 && bytesOut < body.length + 2000, `${bytesOut} bytes out`)
    assert.equal(await of('answer_bytes_total', 'HeadObject'), 0)
    assert.equal(await of('request_duration_seconds_count', 'GetObject'), 3)
    assert.ok(await of('request_duration_seconds_sum', 'GetObject') > 0)

    // One whose client goes in the middle of the answer is neither a success nor an error.
    await s3.send(new PutObjectCommand({ Bucket, Key: 'large', Body: randomBytes(32 * MB) }))
    const reading = await open(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'large' })))
    reading.request.destroy()
    await until(async () => (await requests('GetObject', 'cut')) === 1, 'it is counted')
    const sent = await of('answer_bytes_total', 'GetObject') - bytesOut
    assert.ok(sent < 32 * MB, `${sent} bytes of it`)
  })
})

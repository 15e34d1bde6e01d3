/**
 * Goal: what an S3 client was told is stored is there after `kill -9`, whole; what was on its way leaves nothing.
 *
 * Method: the platform is killed while clients put, replace, delete and upload parts; what was acknowledged is known to the test alone. After a start
 * on the same data everything is read again, deleted, and the directory of blobs is looked at. A week is passed by writing an earlier beginning into the store.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteObjectCommand, GetObjectCommand, ListMultipartUploadsCommand, ListPartsCommand,
  PutObjectCommand, UploadPartCommand, paginateListObjectsV2,
} from '@aws-sdk/client-s3'
import type { UploadEntity } from '#registry/buckets/objects.ts'
import { UPLOAD_KEPT_MS } from '#registry/buckets/upload-expiry.ts'
import { openSqliteStore } from '#store/sqlite-store.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import { s3Client, s3Credentials } from '../kit/s3.ts'

const Bucket = 'bee'

function files(data: string): readonly string[] {
  return readdirSync(join(data, 'buckets'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

test('kill -9 under load: every acknowledged object is there, and nothing else takes up space', async (context) => {
  const data = mkdtempSync(join(tmpdir(), 'skep-test-'))
  try {
    const first = await startTestPlatform({ data })
    const credentials = await s3Credentials(first)
    const s3 = s3Client(first, credentials)
    await s3.send(new CreateBucketCommand({ Bucket }))
    /** What each key may be: what was acknowledged last, and what was sent after it. */
    const possible = new Map<string, (string | undefined)[]>()
    let acknowledged = 0
    const writer = async (name: string): Promise<void> => {
      for (let round = 0; ; round++) {
        const Key = `${name}/${round % 7}`
        const before = possible.get(Key)?.at(-1)
        const Body = round % 5 === 4 ? undefined : `${name} ${round} ${randomBytes(200).toString('hex')}`
        possible.set(Key, [before, Body])
        try {
          await s3.send(Body === undefined ? new DeleteObjectCommand({ Bucket, Key }) : new PutObjectCommand({ Bucket, Key, Body }))
        } catch {
          return
        }
        possible.set(Key, [Body])
        acknowledged++
      }
    }
    const writers = Array.from({ length: 8 }, (_, index) => writer(`w${index}`))
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'multi' }))
    const upload = { Bucket, Key: 'multi', UploadId }
    const part = randomBytes(5 * 1024 * 1024)
    const { ETag } = await s3.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: part }))
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) {
        yield randomBytes(65_536)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
    const halfway = Readable.from(endless())
    const broken = s3.send(new PutObjectCommand({ Bucket, Key: 'halfway', Body: halfway, ContentLength: 1e9 })).catch(() => 'broken')
    await until(() => acknowledged > 300 && readdirSync(join(data, 'buckets', 'tmp')).length > 0, 'there is load')
    await first.kill()
    halfway.destroy()
    assert.equal(await broken, 'broken')
    await Promise.all(writers)
    s3.destroy()
    await first[Symbol.asyncDispose]()

    await using second = await startTestPlatform({ data })
    const again = s3Client(second, credentials)
    const found = new Map<string, string>()
    for await (const page of paginateListObjectsV2({ client: again }, { Bucket })) {
      for (const { Key } of page.Contents ?? []) found.set(Key!, await (await again.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToString())
    }
    context.diagnostic(`${acknowledged} acknowledged, ${found.size} objects there after the kill`)
    for (const [key, values] of possible) assert.ok(values.includes(found.get(key)), key)
    for (const key of found.keys()) assert.ok(possible.has(key), key)
    assert.deepEqual(readdirSync(join(data, 'buckets', 'tmp')), [])

    assert.deepEqual((await again.send(new ListPartsCommand(upload))).Parts!.map((one) => one.ETag), [ETag])
    await again.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }))
    assert.ok(Buffer.from(await (await again.send(new GetObjectCommand({ Bucket, Key: 'multi' }))).Body!.transformToByteArray()).equals(part))
    assert.equal((await again.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads, undefined)
    await assert.rejects(again.send(new AbortMultipartUploadCommand(upload)), { name: 'NoSuchUpload' })

    for (const Key of [...found.keys(), 'multi']) await again.send(new DeleteObjectCommand({ Bucket, Key }))
    assert.deepEqual(files(data), [])
    again.destroy()
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
})

test('an upload that was begun a week ago is gone after a start, with its part and the quota it held; a young one stays', async () => {
  const data = mkdtempSync(join(tmpdir(), 'skep-test-'))
  try {
    const first = await startTestPlatform({ data })
    const credentials = await s3Credentials(first)
    const s3 = s3Client(first, credentials)
    await s3.send(new CreateBucketCommand({ Bucket }))
    const begin = async (Key: string): Promise<string> => {
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
      await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: randomBytes(1000) }))
      return UploadId!
    }
    const [old, young] = [await begin('a/b'), await begin('a/b')]
    s3.destroy()
    await first.kill()
    await first[Symbol.asyncDispose]()

    const store = await openSqliteStore({ path: join(data, 'store.sqlite') })
    const [stored] = (await store.list<UploadEntity>('s3-uploads')).filter(({ value }) => value.id === old)
    await store.put('s3-uploads', stored!.key, { ...stored!.value, startedAtMs: stored!.value.startedAtMs - UPLOAD_KEPT_MS })
    await store.close()

    await using second = await startTestPlatform({ data })
    const again = s3Client(second, credentials)
    await until(async () => (await second.send('/v1/s3/usage')).json<{ bytes: number }>().bytes === 1000, 'its quota is given back')
    assert.deepEqual((await again.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads!.map((one) => one.UploadId), [young])
    assert.equal(files(data).length, 1)
    await assert.rejects(again.send(new ListPartsCommand({ Bucket, Key: 'a/b', UploadId: old })), { name: 'NoSuchUpload' })
    again.destroy()
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
})

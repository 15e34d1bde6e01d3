/**
 * Goal: the official S3 client works against /s3 as it does against S3, as far as docs/s3.md says; nobody else gets in.
 *
 * Method: @aws-sdk/client-s3 with its defaults against a real platform, what is on the disk looked at from outside. Signatures by
 * AWS's own examples, parsers and crashes between writes are tested beside their sources.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { execFile } from 'node:child_process'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteBucketCommand, DeleteObjectCommand, DeleteObjectsCommand,
  GetBucketLocationCommand, GetObjectCommand, GetObjectTaggingCommand, HeadBucketCommand, HeadObjectCommand, ListBucketsCommand, ListMultipartUploadsCommand, ListObjectsCommand, ListObjectsV2Command,
  ListPartsCommand, PutObjectCommand, PutObjectTaggingCommand, UploadPartCommand, UploadPartCopyCommand, paginateListObjectsV2,
} from '@aws-sdk/client-s3'
import type { S3Client, UploadPartCommandInput } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { startChecksum } from '#gateway/s3/checksums.ts'
import type { ChecksumAlgorithm } from '#gateway/s3/checksums.ts'
import { open, send } from '../kit/http.ts'
import { peakResidentMb, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'
import { s3Client, s3Credentials } from '../kit/s3.ts'
import type { S3Credentials } from '../kit/s3.ts'

const MB = 1024 * 1024
const Bucket = 'bee'

/** Files of blobs on the disk. */
function blobs(platform: TestPlatform): number {
  return readdirSync(join(platform.data, 'buckets'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length
}

const withError = (Code: string, status: number) => (error: { name: string; Code?: string; $metadata: { httpStatusCode?: number } }) => {
  assert.equal(error.Code ?? error.name, Code)
  assert.equal(error.$metadata.httpStatusCode, status)
  return true
}

describe('the S3 API', () => {
  let platform: TestPlatform
  let credentials: S3Credentials
  let s3: S3Client
  /** Computes no checksums. */
  let plain: S3Client
  const put = (Key: string, Body: string | Uint8Array, more = {}) => s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
  const get = async (Key: string, more = {}): Promise<Buffer> => Buffer.from(await (await s3.send(new GetObjectCommand({ Bucket, Key, ...more }))).Body!.transformToByteArray())
  const keys = async (more = {}): Promise<string[]> => ((await s3.send(new ListObjectsV2Command({ Bucket, ...more }))).Contents ?? []).map((one) => one.Key!)

  before(async () => {
    platform = await startTestPlatform()
    credentials = await s3Credentials(platform)
    s3 = s3Client(platform, credentials)
    plain = s3Client(platform, credentials, { requestChecksumCalculation: 'WHEN_REQUIRED' })
    await s3.send(new CreateBucketCommand({ Bucket }))
  })
  after(async () => {
    s3.destroy()
    plain.destroy()
    await platform[Symbol.asyncDispose]()
  })

  test('buckets: create, list, look, locate, delete', async () => {
    await s3.send(new CreateBucketCommand({ Bucket: 'second', CreateBucketConfiguration: { LocationConstraint: 'eu-west-1' } }))
    assert.deepEqual((await s3.send(new ListBucketsCommand({}))).Buckets!.map((one) => one.Name), [Bucket, 'second'])
    await assert.rejects(s3.send(new CreateBucketCommand({ Bucket: 'second' })), withError('BucketAlreadyOwnedByYou', 409))
    await assert.rejects(s3.send(new CreateBucketCommand({ Bucket: 'No_Bucket' })), withError('InvalidBucketName', 400))
    await s3.send(new HeadBucketCommand({ Bucket: 'second' }))
    assert.equal((await s3.send(new GetBucketLocationCommand({ Bucket: 'second' }))).LocationConstraint, undefined)
    await s3.send(new PutObjectCommand({ Bucket: 'second', Key: 'k', Body: 'x' }))
    await assert.rejects(s3.send(new DeleteBucketCommand({ Bucket: 'second' })), withError('BucketNotEmpty', 409))
    await s3.send(new DeleteObjectCommand({ Bucket: 'second', Key: 'k' }))
    await s3.send(new DeleteBucketCommand({ Bucket: 'second' }))
    await assert.rejects(s3.send(new HeadBucketCommand({ Bucket: 'second' })), withError('NotFound', 404))
    await assert.rejects(s3.send(new PutObjectCommand({ Bucket: 'second', Key: 'k', Body: 'x' })), withError('NoSuchBucket', 404))
    await assert.rejects(s3.send(new ListObjectsV2Command({ Bucket: 'second' })), withError('NoSuchBucket', 404))
  })

  test('an object comes back as it was put, with its type, metadata, ETag and checksum', async () => {
    const made = await put('text', 'hello', { ContentType: 'text/plain', CacheControl: 'no-cache', ContentEncoding: 'identity', Metadata: { author: 'somebody' } })
    assert.equal(made.ETag, `"${createHash('md5').update('hello').digest('hex')}"`)
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'text' }))
    assert.equal(await got.Body!.transformToString(), 'hello')
    assert.deepEqual([got.ContentType, got.CacheControl, got.ContentEncoding, got.Metadata, got.ETag, got.ChecksumCRC32], ['text/plain', 'no-cache', 'identity', { author: 'somebody' }, made.ETag, 'NhCmhg=='])
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'text' }))
    assert.deepEqual([head.ContentLength, head.Metadata, head.ETag], [5, { author: 'somebody' }, made.ETag])
    assert.ok(Math.abs(head.LastModified!.getTime() - Date.now()) < 60_000)
    assert.equal((await s3.send(new GetObjectCommand({ Bucket, Key: 'text', ResponseContentType: 'x/y' }))).ContentType, 'x/y')
    await put('empty', new Uint8Array(0))
    assert.equal((await get('empty')).length, 0)
    await assert.rejects(get('nothing'), withError('NoSuchKey', 404))
    await assert.rejects(s3.send(new HeadObjectCommand({ Bucket, Key: 'nothing' })), withError('NotFound', 404))
    await assert.rejects(put('big head', 'x', { Metadata: { a: 'x'.repeat(3000) } }), withError('MetadataTooLarge', 400))
  })

  test('a stream goes up in aws-chunked form, with every checksum the client knows', async () => {
    const bytes = randomBytes(3 * MB + 7)
    for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'SHA1', 'SHA256'] as const) {
      const Body = Readable.from([bytes.subarray(0, 100_000), bytes.subarray(100_000)])
      await s3.send(new PutObjectCommand({ Bucket, Key: 'stream', Body, ContentLength: bytes.length, ChecksumAlgorithm }))
      assert.ok((await get('stream')).equals(bytes), ChecksumAlgorithm)
    }
    await assert.rejects(put('wrong', 'hello', { ChecksumCRC32: 'AAAAAA==' }), withError('BadDigest', 400))
    await assert.rejects(put('wrong', 'hello', { ContentMD5: createHash('md5').update('other').digest('base64') }), withError('BadDigest', 400))
    await assert.rejects(get('wrong'), withError('NoSuchKey', 404))
  })

  test('ranges and conditions', async () => {
    const bytes = randomBytes(MB)
    const { ETag } = await put('ranged', bytes)
    for (const [Range, from, until] of [['bytes=0-0', 0, 1], ['bytes=500000-', 500_000, MB], ['bytes=-5', MB - 5, MB], ['bytes=300000-999999999', 300_000, MB]] as const) {
      const part = await s3.send(new GetObjectCommand({ Bucket, Key: 'ranged', Range }))
      assert.deepEqual([part.$metadata.httpStatusCode, part.ContentRange, part.ContentLength], [206, `bytes ${from}-${until - 1}/${MB}`, until - from])
      assert.ok(Buffer.from(await part.Body!.transformToByteArray()).equals(bytes.subarray(from, until)))
    }
    await assert.rejects(get('ranged', { Range: `bytes=${MB}-` }), withError('InvalidRange', 416))
    assert.ok((await get('ranged', { IfMatch: ETag })).equals(bytes))
    await assert.rejects(get('ranged', { IfMatch: '"other"' }), withError('PreconditionFailed', 412))
    await assert.rejects(get('ranged', { IfNoneMatch: ETag }), (error: { $metadata: { httpStatusCode: number } }) => error.$metadata.httpStatusCode === 304)
    await assert.rejects(put('ranged', 'x', { IfNoneMatch: '*' }), withError('PreconditionFailed', 412))
    await assert.rejects(put('ranged', 'x', { IfMatch: '"other"' }), withError('PreconditionFailed', 412))
    await put('ranged', 'x', { IfMatch: ETag })
    const first = await Promise.allSettled(Array.from({ length: 8 }, (_, index) => put('once', `${index}`, { IfNoneMatch: '*' })))
    assert.equal(first.filter((one) => one.status === 'fulfilled').length, 1)
  })

  test('keys of all kinds', async () => {
    const odd = ['a b', 'ü/ключ/🐝', 'a+b&c=d?e#f%20g', 'x//y', '/leading', 'trailing/', '.', 'a/../b', '..', "quote'\"<>", 'tab\tline', '*()!~', '\ufb00', '\u00e9', 'e\u0301']
    for (const key of odd) await put(`odd/${key}`, key)
    for (const key of odd) assert.equal((await get(`odd/${key}`)).toString(), key)
    const listed = await keys({ Prefix: 'odd/' })
    assert.deepEqual(listed, odd.map((key) => `odd/${key}`).toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
    const encoded = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'odd/', EncodingType: 'url' }))
    assert.deepEqual(encoded.Contents!.map((one) => decodeURIComponent(one.Key!)), listed)
    const removed = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: listed.map((Key) => ({ Key })) } }))
    assert.equal(removed.Deleted!.length, odd.length)
    assert.deepEqual(await keys({ Prefix: 'odd/' }), [])
    await assert.rejects(put('k'.repeat(1025), 'x'), withError('KeyTooLongError', 400))
  })

  test('2,500 keys in pages, with prefix, delimiter and start', async () => {
    await s3.send(new CreateBucketCommand({ Bucket: 'many' }))
    const names = Array.from({ length: 2500 }, (_, index) => `${index % 5 === 0 ? 'top' : `dir${index % 5}/sub${index % 3}/`}${String(index).padStart(4, '0')}`)
    for (let begin = 0; begin < names.length; begin += 50) await Promise.all(names.slice(begin, begin + 50).map((Key) => s3.send(new PutObjectCommand({ Bucket: 'many', Key, Body: Key }))))
    const sorted = names.toSorted()
    const found: string[] = []
    for await (const page of paginateListObjectsV2({ client: s3, pageSize: 700 }, { Bucket: 'many' })) found.push(...page.Contents!.map((one) => one.Key!))
    assert.deepEqual(found, sorted)
    const top = await s3.send(new ListObjectsV2Command({ Bucket: 'many', Delimiter: '/' }))
    assert.deepEqual([top.CommonPrefixes!.map((one) => one.Prefix), top.Contents!.length, top.KeyCount, top.IsTruncated], [['dir1/', 'dir2/', 'dir3/', 'dir4/'], 500, 504, false])
    const few = await s3.send(new ListObjectsV2Command({ Bucket: 'many', Delimiter: '/', MaxKeys: 2 }))
    assert.deepEqual([few.CommonPrefixes!.map((one) => one.Prefix), few.IsTruncated], [['dir1/', 'dir2/'], true])
    const next = await s3.send(new ListObjectsV2Command({ Bucket: 'many', Delimiter: '/', MaxKeys: 3, ContinuationToken: few.NextContinuationToken }))
    assert.deepEqual([next.CommonPrefixes!.map((one) => one.Prefix), next.Contents!.map((one) => one.Key)], [['dir3/', 'dir4/'], ['top0000']])
    const under = await s3.send(new ListObjectsV2Command({ Bucket: 'many', Prefix: 'dir1/', Delimiter: '/' }))
    assert.deepEqual([under.CommonPrefixes!.map((one) => one.Prefix), under.Contents], [['dir1/sub0/', 'dir1/sub1/', 'dir1/sub2/'], undefined])
    const from = await s3.send(new ListObjectsV2Command({ Bucket: 'many', StartAfter: 'top2000', MaxKeys: 1 }))
    assert.deepEqual(from.Contents!.map((one) => one.Key), ['top2005'])
    const old = await s3.send(new ListObjectsCommand({ Bucket: 'many', Marker: 'dir4/', Delimiter: '/', MaxKeys: 1 }))
    assert.deepEqual([old.Contents!.map((one) => one.Key), old.NextMarker], [['top0000'], 'top0000'])
    await assert.rejects(s3.send(new ListObjectsV2Command({ Bucket: 'many', ContinuationToken: '!' })), withError('InvalidArgument', 400))
    for (let begin = 0; begin < 3000; begin += 1000) {
      const Objects = sorted.slice(begin, begin + 1000).map((Key) => ({ Key }))
      const { Deleted = [], Errors } = await s3.send(new DeleteObjectsCommand({ Bucket: 'many', Delete: { Objects, Quiet: begin === 0 } }))
      assert.deepEqual([Deleted.length, Errors], [begin === 0 ? 0 : Objects.length, undefined])
    }
    await s3.send(new DeleteBucketCommand({ Bucket: 'many' }))
  })

  test('copies share bytes, and overwriting and deleting give them back', async () => {
    const before = blobs(platform)
    const one = randomBytes(MB)
    await put('one', one, { Metadata: { a: '1' }, ContentType: 'x/y' })
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'two', CopySource: `${Bucket}/one` }))
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'three', CopySource: `/${Bucket}/one`, MetadataDirective: 'REPLACE', Metadata: { b: '2' } }))
    await put('four', one)
    assert.equal(blobs(platform), before + 1)
    const two = await s3.send(new HeadObjectCommand({ Bucket, Key: 'two' }))
    const three = await s3.send(new HeadObjectCommand({ Bucket, Key: 'three' }))
    assert.deepEqual([two.Metadata, two.ContentType, three.Metadata], [{ a: '1' }, 'x/y', { b: '2' }])
    await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'one', CopySource: `${Bucket}/one` })), withError('InvalidRequest', 400))
    await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'x', CopySource: `${Bucket}/nothing` })), withError('NoSuchKey', 404))
    await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'x', CopySource: `${Bucket}/one`, CopySourceIfMatch: '"other"' })), withError('PreconditionFailed', 412))
    await put('one', 'small')
    for (const Key of ['two', 'three']) await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    assert.ok((await get('four')).equals(one))
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'four' }))
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'four' }))
    assert.equal(blobs(platform), before + 1)
  })

  test('the code of a function stays when an object with the same bytes goes', async () => {
    await platform.deployText('shared', 'f.ts', 'export function main() { return { body: "still here" } }')
    const directory = join(platform.data, 'code-blobs')
    const [code] = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const before = blobs(platform)
    await put('code', readFileSync(join(code!.parentPath, code!.name)))
    assert.equal(blobs(platform), before + 1)
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'code' }))
    assert.equal(blobs(platform), before)
    assert.equal((await platform.fn('shared')).text, 'still here')
  })

  test('100 MB in parts, out of order and together; memory stays bounded', async (context) => {
    const part = randomBytes(10 * MB)
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'multi', ContentType: 'x/multi' }))
    const upload = { Bucket, Key: 'multi', UploadId }
    const numbers = [3, 1, 2, 10, 9, 8, 7, 6, 5, 4]
    const parts: { PartNumber: number; ETag: string; ChecksumCRC32: string }[] = []
    const { beforeMb, peakMb } = await peakResidentMb(platform.pid, async () => {
      for (let begin = 0; begin < 10; begin += 2) {
        await Promise.all(
          numbers.slice(begin, begin + 2).map(async (PartNumber) => {
            const Body = Buffer.from(part)
            Body[0] = PartNumber
            const { ETag, ChecksumCRC32 } = await s3.send(new UploadPartCommand({ ...upload, PartNumber, Body }))
            parts.push({ PartNumber, ETag: ETag!, ChecksumCRC32: ChecksumCRC32! })
          }),
        )
      }
      const listed = await s3.send(new ListPartsCommand({ ...upload, MaxParts: 4 }))
      assert.deepEqual([listed.Parts!.map((one) => one.PartNumber), listed.IsTruncated, listed.NextPartNumberMarker], [[1, 2, 3, 4], true, '4'])
      assert.deepEqual((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads!.map((one) => [one.Key, one.UploadId]), [['multi', UploadId]])
      parts.sort((a, b) => a.PartNumber - b.PartNumber)
      await assert.rejects(s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts.toReversed() } })), withError('InvalidPartOrder', 400))
      await assert.rejects(s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: [{ PartNumber: 11, ETag: parts[0]!.ETag }] } })), withError('InvalidPart', 400))
      const done = await s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } }))
      const md5 = createHash('md5')
      for (const { ETag } of parts) md5.update(ETag.slice(1, -1), 'hex')
      assert.equal(done.ETag, `"${md5.digest('hex')}-10"`)
      const whole = await s3.send(new GetObjectCommand({ Bucket, Key: 'multi' }))
      let position = 0
      for await (const chunk of whole.Body as Readable) {
        for (let number = Math.ceil(position / part.length); number * part.length < position + chunk.length; number++) chunk[number * part.length - position] = part[0]
        const first = part.subarray(position % part.length).subarray(0, chunk.length)
        assert.ok(first.equals(chunk.subarray(0, first.length)) && part.subarray(0, chunk.length - first.length).equals(chunk.subarray(first.length)), `at ${position}`)
        position += chunk.length
      }
      assert.deepEqual([position, whole.ContentType], [100 * MB, 'x/multi'])
      const across = await get('multi', { Range: `bytes=${10 * MB - 2}-${10 * MB + 1}` })
      assert.deepEqual([...across], [part.at(-2), part.at(-1), 2, part[1]])
    })
    context.diagnostic(`platform ${beforeMb} MB before, ${peakMb} MB at most`)
    assert.ok(peakMb - beforeMb < 120, `${beforeMb} MB before, ${peakMb} MB at most`)
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'multi copy', CopySource: `${Bucket}/multi` }))
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'multi' }))
    assert.equal((await get('multi copy', { Range: 'bytes=20971520-20971520' }))[0], 3)

    const second = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'from copy' }))
    const copying = { Bucket, Key: 'from copy', UploadId: second.UploadId }
    const copied = await s3.send(new UploadPartCopyCommand({ ...copying, PartNumber: 1, CopySource: `${Bucket}/multi%20copy`, CopySourceRange: `bytes=0-${6 * MB - 1}` }))
    const tail = await s3.send(new UploadPartCommand({ ...copying, PartNumber: 2, Body: 'tail' }))
    await s3.send(new CompleteMultipartUploadCommand({ ...copying, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: copied.CopyPartResult!.ETag }, { PartNumber: 2, ETag: tail.ETag }] } }))
    assert.equal((await get('from copy')).subarray(6 * MB).toString(), 'tail')

    const before = blobs(platform)
    const third = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'given up' }))
    const givenUp = { Bucket, Key: 'given up', UploadId: third.UploadId }
    await s3.send(new UploadPartCommand({ ...givenUp, PartNumber: 1, Body: randomBytes(1000) }))
    assert.equal(blobs(platform), before + 1)
    await s3.send(new AbortMultipartUploadCommand(givenUp))
    assert.equal(blobs(platform), before)
    await assert.rejects(s3.send(new UploadPartCommand({ ...givenUp, PartNumber: 1, Body: 'x' })), withError('NoSuchUpload', 404))
    for (const Key of ['multi copy', 'from copy']) await s3.send(new DeleteObjectCommand({ Bucket, Key }))
  })

  test('the checksum of a whole object in parts is checked and kept: FULL_OBJECT from the parts, without reading them again', async () => {
    const pieces = [randomBytes(5 * MB), randomBytes(5 * MB + 3), Buffer.from('tail')]
    const whole = Buffer.concat(pieces)
    const putPlain = async (where: UploadPartCommandInput, body: BodyInit): Promise<string> => (await fetch(await getSignedUrl(plain, new UploadPartCommand(where)), { method: 'PUT', body })).headers.get('etag')!
    const fullObject = (algorithm: ChecksumAlgorithm): string => {
      const running = startChecksum(algorithm)
      running.update(whole)
      return running.digest()
    }
    for (const [ChecksumAlgorithm, field] of [['CRC32', 'ChecksumCRC32'], ['CRC32C', 'ChecksumCRC32C'], ['CRC64NVME', 'ChecksumCRC64NVME']] as const) {
      const Key = `whole ${ChecksumAlgorithm}`
      const { UploadId, ChecksumType } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm, ChecksumType: 'FULL_OBJECT' }))
      assert.equal(ChecksumType, 'FULL_OBJECT')
      const upload = { Bucket, Key, UploadId }
      const Parts: { PartNumber: number; ETag: string | undefined }[] = []
      for (const [index, piece] of pieces.entries()) {
        // The last one without a checksum of its own: with a presigned URL nothing is computed by the client.
        const where = { ...upload, PartNumber: index + 1 }
        const ETag = index === 2 ? await putPlain(where, piece) : (await s3.send(new UploadPartCommand({ ...where, Body: piece, ChecksumAlgorithm }))).ETag
        Parts.push({ PartNumber: index + 1, ETag })
      }
      const value = fullObject(ChecksumAlgorithm.toLowerCase() as ChecksumAlgorithm)
      const complete = (more: object) => s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts }, ...more }))
      const wrong = `${value[0] === 'A' ? 'B' : 'A'}${value.slice(1)}`
      await assert.rejects(complete({ [field]: wrong, ChecksumType: 'FULL_OBJECT' }), withError('BadDigest', 400))
      await assert.rejects(complete({ ChecksumSHA256: createHash('sha256').update(whole).digest('base64'), ChecksumType: 'FULL_OBJECT' }), withError('InvalidRequest', 400))
      await assert.rejects(get(Key), withError('NoSuchKey', 404))
      const done = await complete({ [field]: value, ChecksumType: 'FULL_OBJECT' })
      assert.deepEqual([done[field], done.ChecksumType], [value, 'FULL_OBJECT'])
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
      assert.deepEqual([head[field], head.ChecksumType], [value, 'FULL_OBJECT'])
      // The client checks what it reads against it.
      assert.ok((await get(Key, { ChecksumMode: 'ENABLED' })).equals(whole))
      const copy = await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${encodeURIComponent(Key)}` }))
      assert.deepEqual([copy.CopyObjectResult![field], copy.CopyObjectResult!.ChecksumType], [value, 'FULL_OBJECT'])
      // A part copied on the platform has one too.
      const again = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'copied', ChecksumAlgorithm, ChecksumType: 'FULL_OBJECT' }))
      const copied = { Bucket, Key: 'copied', UploadId: again.UploadId }
      const part = await s3.send(new UploadPartCopyCommand({ ...copied, PartNumber: 1, CopySource: `${Bucket}/${encodeURIComponent(Key)}` }))
      await s3.send(new CompleteMultipartUploadCommand({ ...copied, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: part.CopyPartResult!.ETag }] }, [field]: value, ChecksumType: 'FULL_OBJECT' }))
      for (const one of [Key, 'copy', 'copied']) await s3.send(new DeleteObjectCommand({ Bucket, Key: one }))
    }
    await assert.rejects(s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'sha', ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' })), withError('InvalidRequest', 400))
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'unknown' }))
    const upload = { Bucket, Key: 'unknown', UploadId }
    const ETag = await putPlain({ ...upload, PartNumber: 1 }, 'x')
    await assert.rejects(s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] }, ChecksumCRC32C: 'AAAAAA==', ChecksumType: 'FULL_OBJECT' })), withError('InvalidRequest', 400))
    await s3.send(new AbortMultipartUploadCommand(upload))
  })

  test('presigned URLs, with fetch', async () => {
    const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'by url/ü', Metadata: { from: 'url' } }))
    assert.equal((await fetch(put, { method: 'PUT', body: 'by url' })).status, 200)
    const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'by url/ü' }), { expiresIn: 60 })
    const got = await fetch(url)
    assert.deepEqual([got.status, await got.text(), got.headers.get('x-amz-meta-from')], [200, 'by url', 'url'])
    const unfit = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'unfit', Metadata: { a: 'b\r\nc: d' } }))
    assert.equal((await fetch(unfit, { method: 'PUT', body: 'x' })).status, 400)
    const refused = async (address: string, init: RequestInit = {}): Promise<string> => {
      const answer = await fetch(address, init)
      return `${answer.status} ${/<Code>(\w+)</.exec(await answer.text())?.[1]}`
    }
    assert.equal(await refused(url, { method: 'PUT', body: 'x' }), '403 SignatureDoesNotMatch')
    assert.equal(await refused(url.replace('by%20url', 'by%20other')), '403 SignatureDoesNotMatch')
    assert.equal(await refused(url.replace('X-Amz-Expires=60', 'X-Amz-Expires=600')), '403 SignatureDoesNotMatch')
    assert.equal(await refused(url, { headers: { 'x-amz-meta-more': '1' } }), '403 AccessDenied')
    assert.equal(await refused(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'by url/ü' }), { expiresIn: 60, signingDate: new Date(Date.now() - 61_000) })), '403 AccessDenied')
    assert.equal(await refused(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'by url/ü' }), { signingDate: new Date(Date.now() + 20 * 60_000) })), '403 AccessDenied')
    assert.equal(await refused(url.split('?')[0]!), '403 AccessDenied')
  })

  test('a wrong secret, unknown or revoked credentials, a wrong clock, another namespace: refused', async () => {
    const list = (client: S3Client) => client.send(new ListObjectsV2Command({ Bucket }))
    await assert.rejects(list(s3Client(platform, { ...credentials, secretAccessKey: 'x'.repeat(40) })), withError('SignatureDoesNotMatch', 403))
    await assert.rejects(list(s3Client(platform, { ...credentials, accessKeyId: 'SKEP0000000000000000' })), withError('InvalidAccessKeyId', 403))
    await assert.rejects(list(s3Client(platform, credentials, { systemClockOffset: -16 * 60_000 })), withError('RequestTimeTooSkewed', 403))
    await list(s3Client(platform, credentials, { systemClockOffset: 14 * 60_000 }))
    assert.equal((await platform.send('/s3/bee')).status, 400)

    const { key } = (await platform.send('/v1/namespaces', { method: 'POST', body: JSON.stringify({ name: 'red', quotas: { storageBytes: 1000 } }) })).json()
    const theirs = await s3Credentials(platform, key)
    const red = s3Client(platform, theirs)
    await assert.rejects(list(red), withError('NoSuchBucket', 404))
    await assert.rejects(red.send(new GetObjectCommand({ Bucket, Key: 'text' })), withError('NoSuchBucket', 404))
    await red.send(new CreateBucketCommand({ Bucket }))
    assert.deepEqual((await list(red)).KeyCount, 0)
    await assert.rejects(red.send(new CopyObjectCommand({ Bucket, Key: 'stolen', CopySource: `${Bucket}/text` })), withError('NoSuchKey', 404))

    await red.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x'.repeat(900) }))
    await assert.rejects(red.send(new PutObjectCommand({ Bucket, Key: 'more', Body: 'x'.repeat(101) })), withError('QuotaExceeded', 403))
    assert.deepEqual((await platform.send('/v1/s3/usage?namespace=red')).json(), { bytes: 900, bytesMax: 1000, buckets: 1 })
    await red.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
    await red.send(new PutObjectCommand({ Bucket, Key: 'more', Body: 'x'.repeat(1000) }))

    assert.equal((await platform.send(`/v1/s3/credentials/${theirs.accessKeyId}`, { method: 'DELETE' })).status, 404)
    assert.equal((await platform.send(`/v1/s3/credentials/${theirs.accessKeyId}?namespace=red`, { method: 'DELETE' })).status, 204)
    await assert.rejects(list(red), withError('InvalidAccessKeyId', 403))
    const listed = await platform.send('/v1/s3/credentials')
    assert.deepEqual(listed.json().credentials.map((one: S3Credentials) => one.accessKeyId), [credentials.accessKeyId])
    assert.ok(!listed.text.includes(credentials.secretAccessKey))
    assert.equal((await platform.send('/v1/namespaces/red', { method: 'DELETE' })).status, 204)
  })

  test('`skep s3 credentials` makes what a client works with, lists it without the secret, and revokes it', async () => {
    const skep = async (...args: readonly string[]): Promise<string> =>
      (await promisify(execFile)(join(import.meta.dirname, '../../skep'), ['s3', 'credentials', ...args], { env: { ...process.env, SKEP_URL: platform.url, SKEP_KEY: platform.key } })).stdout
    const made = JSON.parse(await skep('create', 'laptop', '--json')) as S3Credentials & { endpoint: string }
    assert.equal(made.endpoint, `${platform.url}/s3`)
    const client = s3Client(platform, made)
    assert.ok((await client.send(new ListBucketsCommand({}))).Buckets!.some((one) => one.Name === Bucket))
    const listed = await skep('list')
    assert.match(listed, new RegExp(`${made.accessKeyId} +laptop`))
    assert.ok(!listed.includes(made.secretAccessKey))
    assert.match(await skep('create'), /^export AWS_ACCESS_KEY_ID=SKEP[0-9A-F]{16}\nexport AWS_SECRET_ACCESS_KEY=[0-9a-f]{40}\nexport AWS_REGION=us-east-1\nexport AWS_ENDPOINT_URL_S3=http/)
    await skep('revoke', made.accessKeyId)
    await assert.rejects(client.send(new ListBucketsCommand({})), withError('InvalidAccessKeyId', 403))
    // The secret of a credential in use lies nowhere readably.
    const files = readdirSync(platform.data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    for (const file of files) assert.ok(!readFileSync(join(file.parentPath, file.name)).includes(credentials.secretAccessKey), file.name)
  })

  test('what is not there says so, and does not become something else', async () => {
    await put('tagged', 'stays')
    await assert.rejects(s3.send(new PutObjectTaggingCommand({ Bucket, Key: 'tagged', Tagging: { TagSet: [] } })), withError('NotImplemented', 501))
    await assert.rejects(s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'tagged' })), withError('NotImplemented', 501))
    await assert.rejects(put('tagged', 'x', { ACL: 'public-read' }), withError('NotImplemented', 501))
    await assert.rejects(put('tagged', 'x', { ServerSideEncryption: 'aws:kms' }), withError('NotImplemented', 501))
    await assert.rejects(put('tagged', 'x', { StorageClass: 'GLACIER' }), withError('NotImplemented', 501))
    assert.equal((await get('tagged')).toString(), 'stays')
  })

  test('an upload that breaks off leaves nothing, and the platform goes on', async () => {
    const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'broken' }))
    const before = blobs(platform)
    const halfway = async function* (): AsyncGenerator<Buffer> {
      yield randomBytes(300_000)
      await until(() => blobs(platform) === before + 1, 'the upload has begun')
      throw new Error('the client goes')
    }
    await assert.rejects(send(url, { method: 'PUT', headers: { 'content-length': '1000000' }, body: Readable.from(halfway()) }))
    await until(() => blobs(platform) === before, 'what was uploaded is gone')
    await assert.rejects(get('broken'), withError('NoSuchKey', 404))
    // One that goes in the middle of its answer, likewise.
    await put('large', randomBytes(8 * MB))
    const reading = await open(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'large' })))
    reading.request.destroy()
    assert.equal((await get('large')).length, 8 * MB)
    assert.ok(!platform.log().includes('an S3 request failed'), platform.log())
  })

  test('a damaged object is never given for a whole one, and putting it again heals it', async () => {
    const body = randomBytes(600_000)
    await put('damaged', body)
    const digest = createHash('sha256').update(body).digest('hex')
    const path = join(platform.data, 'buckets', digest.slice(0, 2), digest.slice(2))
    writeFileSync(path, Buffer.concat([body.subarray(0, 300_000), Buffer.of(body[300_000]! ^ 1), body.subarray(300_001)]))
    await assert.rejects(get('damaged'))
    await until(() => /S3 request failed.*is damaged/.test(platform.log()), 'the log says so')
    await put('damaged', body)
    assert.ok((await get('damaged')).equals(body))
  })

  test('anything else that is sent to /s3 gets an answer of S3', async () => {
    for (const [method, path] of [['GET', '/s3'], ['POST', '/s3/'], ['PATCH', '/s3/a'], ['GET', '/s3/%'], ['GET', '/s3/a/%ff'], ['PUT', '/s3/a?uploadId=../..&partNumber=x'], ['GET', '/s3?X-Amz-Signature=&X-Amz-Algorithm=x']] as const) {
      const answer = await send(platform.url + path, { method })
      assert.ok(answer.status >= 400 && answer.status < 500, `${method} ${path}: ${answer.status}`)
      assert.match(answer.text, /^<\?xml .*\n<Error><Code>\w+<\/Code>/)
    }
  })
})

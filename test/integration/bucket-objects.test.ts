/**
 * Goal: functions without network put objects into buckets of their namespace and get them, in every language; they outlive the platform's death.
 *
 * Method: real functions and a real platform; another S3 client's view is the API's own.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const NODE = `import { get, put } from 'skep'
export async function main({ key, bytes, how, terms }) {
  try {
    if (how === 'get') { const found = await get(key); return { bytes: found.length, first: found[0], last: found[found.length - 1] } }
    async function* parts() { for (let at = 0; at < bytes; at += 100_000) yield Buffer.alloc(Math.min(100_000, bytes - at), 7) }
    return { reference: await put(how === 'stream' ? parts() : Buffer.alloc(bytes, 7), { key, ...terms }) }
  } catch (error) { return { code: error.code, message: error.message } }
}`
const PYTHON = `import skep
def main(params):
    if params['how'] == 'get':
        found = skep.get(params['key'])
        return {'bytes': len(found), 'first': found[0], 'last': found[-1]}
    return {'reference': skep.put(b'\\x07' * params['bytes'], key=params['key'])}`

/** Sealed memory that a process holds. */
function objectDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).includes('skep-object')
    } catch {
      return false
    }
  }).length
}

async function clientOf(platform: TestPlatform): Promise<S3Client> {
  const { accessKeyId, secretAccessKey } = await platform.json<{ accessKeyId: string; secretAccessKey: string }>('/v1/s3/credentials', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"test"}' })
  return new S3Client({ endpoint: `${platform.url}/s3`, region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
}

test('what one function puts into a bucket others get, and S3 clients, also after the platform was killed', async (context) => {
  const data = mkdtempSync(join(tmpdir(), 'skep-bucket-objects-'))
  context.after(() => rmSync(data, { recursive: true, force: true }))
  const sizes = [0, 1, 70_000, 3_000_000]
  const ask = async (platform: TestPlatform, name: string, event: object): Promise<any> => {
    const answer = await platform.invoke(name, event)
    assert.equal(answer.status, 200, answer.text)
    return answer.json()
  }
  {
    await using platform = await startTestPlatform({ data })
    const s3 = await clientOf(platform)
    context.after(() => s3.destroy())
    await platform.deployText('js', 'f.mjs', NODE)
    await platform.deployText('py', 'f.py', PYTHON)
    await s3.send(new CreateBucketCommand({ Bucket: 'made' }))
    for (const bytes of sizes) {
      for (const how of ['whole', 'stream']) assert.deepEqual(await ask(platform, 'js', { how, bytes, key: `s3://made/js/${how}/${bytes}` }), { reference: `s3://made/js/${how}/${bytes}` })
      assert.deepEqual(await ask(platform, 'py', { how: 'whole', bytes, key: `s3://made/py/${bytes}` }), { reference: `s3://made/py/${bytes}` })
    }
    const { Body, ETag } = await s3.send(new GetObjectCommand({ Bucket: 'made', Key: 'js/stream/3000000' }))
    assert.deepEqual([(await Body!.transformToByteArray()).length, ETag!.length], [3_000_000, 34])
    await platform.kill()
  }
  await using platform = await startTestPlatform({ data })
  for (const bytes of sizes.slice(1)) {
    for (const [reader, writer] of [['py', 'js/whole'], ['py', 'js/stream'], ['js', 'py']]) {
      assert.deepEqual(await ask(platform, reader!, { how: 'get', key: `s3://made/${writer}/${bytes}` }), { bytes, first: 7, last: 7 })
    }
  }
})

test('what is no place, is not there, or is counted, is refused with the next step', async () => {
  await using platform = await startTestPlatform()
  await platform.deployText('js', 'f.mjs', NODE)
  const ask = async (event: object): Promise<any> => (await platform.invoke('js', event)).json()
  for (const [event, code, message] of [
    [{ how: 'whole', bytes: 5, key: 'made/x' }, 'INPUT_INVALID', /s3:\/\/<bucket>\/<key>/],
    [{ how: 'whole', bytes: 5, key: 's3://Made/x' }, 'INPUT_INVALID', /s3:\/\//],
    [{ how: 'whole', bytes: 100_000, key: 's3://made/x' }, 'ENTITY_NOT_FOUND', /no bucket made/],
    [{ how: 'stream', bytes: 100_000, key: 's3://made/x' }, 'ENTITY_NOT_FOUND', /no bucket made/],
    [{ how: 'whole', bytes: 5, key: 's3://made/x', terms: { retrievals: 2 } }, 'INPUT_INVALID', /until it is deleted/],
    [{ how: 'get', key: 's3://made/x' }, 'ENTITY_NOT_FOUND', /no bucket made/],
    [{ how: 'get', key: 's3://' }, 'INPUT_INVALID', /s3:\/\//],
  ] as const) {
    const answer = await ask(event)
    assert.equal(answer.code, code, JSON.stringify([event, answer]))
    assert.match(answer.message, message)
  }
  // Nothing of what was refused is kept: neither an object nor a byte of a body.
  await until(async () => {
    const metrics = (await platform.send('/metrics')).text
    return ['skep_objects{state="kept"} 0', 'skep_objects{state="leased"} 0', 'skep_object_bytes{place="memory"} 0', 'skep_object_bytes{place="file"} 0'].every((line) => metrics.includes(`${line}\n`)) && objectDescriptors(platform.pid) === 0
  }, 'nothing is held any more')
})

/**
 * Goal: the three data-heavy examples give the same result however their bytes travel, say where their time went, and leave nothing in a storage.
 *
 * Method: one platform; the examples as they are shipped, built and deployed as `skep deploy` does, with small inputs; every transport there is here, the
 * platform's own S3 endpoint and Debian's Redis (where it is installed) among them.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startRedis } from '../../bench/kit/redis-server.ts'
import type { RedisServer } from '../../bench/kit/redis-server.ts'
import { callWorkload, deployWorkload, runWorkload, s3Environment, workloads } from '../../bench/kit/workload.ts'
import type { MapReduceResult } from '../../examples/map-reduce/driver.ts'
import { mapRows, reduceGroups, writeGroups } from '../../examples/map-reduce/query.ts'
import { generateVisits } from '../../examples/map-reduce/visits.ts'
import type { StackingResult } from '../../examples/stacking-ensemble/driver.ts'
import type { RunReport } from '../../examples/transports/report.ts'
import { S3Storage } from '../../examples/transports/s3.ts'
import type { TransportName } from '../../examples/transports/transport.ts'
import { filmLabels } from '../../examples/video-analytics/scene.ts'
import type { VideoResult } from '../../examples/video-analytics/streamer.ts'
import { startTestPlatform } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

describe('examples that move data', () => {
  let platform: TestPlatform
  let redis: RedisServer | undefined
  let s3: S3Storage
  let transports: TransportName[]

  before(async () => {
    platform = await startTestPlatform()
    redis = await startRedis()
    transports = ['inline', 'xdt', 's3', ...(redis === undefined ? [] : ['redis' as const])]
    const environment = (await s3Environment(platform))!
    s3 = new S3Storage({
      url: environment['AWS_ENDPOINT_URL_S3']!,
      bucket: environment['S3_BUCKET']!,
      accessKeyId: environment['AWS_ACCESS_KEY_ID']!,
      secretAccessKey: environment['AWS_SECRET_ACCESS_KEY']!,
      region: environment['AWS_REGION']!,
    })
    await s3.createBucket()
    for (const workload of Object.values(workloads)) await deployWorkload(platform, workload, { ...environment, ...(redis !== undefined && { REDIS_URL: redis.url }) })
  })
  after(async () => {
    s3.close()
    await redis?.[Symbol.asyncDispose]()
    await platform[Symbol.asyncDispose]()
  })

  /** Runs by each transport; the phases of each run add up to its time, and its functions are those of the workload. */
  async function runs<Result>(name: keyof typeof workloads, fields: object): Promise<RunReport<Result>[]> {
    const reports: RunReport<Result>[] = []
    for (const transport of transports) {
      const report = await runWorkload<Result>(platform, workloads[name], transport, fields)
      const sum = Object.values(report.phases).reduce((a, b) => a + b, 0)
      assert(Math.abs(sum - report.totalMs) < 0.1, `${transport}: phases of ${sum} ms in ${report.totalMs}`)
      assert.deepEqual(Object.keys(report.usage.functions).sort(), workloads[name].functions.map((one) => one.name).sort())
      assert.equal(report.transport, transport)
      assert.equal(report.usage.storage.puts > 0, transport === 's3' || transport === 'redis')
      reports.push(report)
    }
    return reports
  }

  test('video analytics recognises every fifth frame, and alike by every transport', async () => {
    const film = { width: 384, height: 216, frames: 30, seed: 9 }
    const [first, ...others] = await runs<VideoResult>('video', film)
    const { recognised, right } = first!.result
    assert.deepEqual(recognised.map(({ frame }) => frame), [0, 5, 10, 15, 20, 25])
    const shown = filmLabels({ ...film, framesPerObject: 10 })
    assert.equal(right, recognised.filter(({ frame, label }) => label === shown[frame]).length)
    assert(right >= 4, `${right} of 6`)
    assert.equal(first!.usage.functions['video-recogniser']!.invocations, 6)
    for (const other of others) assert.deepEqual(other.result, first!.result, other.transport)
  })

  test('stacking trains all sixteen models, and the same bytes of an ensemble by every transport', async () => {
    const [first, ...others] = await runs<StackingResult>('stacking', { samples: 120, features: 96 })
    assert.equal(first!.result.scores.length, 16)
    assert(first!.result.score > 0.6, `${first!.result.score}`)
    assert.equal(first!.usage.functions['stacking-trainer']!.invocations, 16)
    // The dataset to 16 trainers and the meta-trainer; 16 models and predictions to the reducer; then two objects, and two.
    const s3Run = others.find(({ transport }) => transport === 's3')!
    assert.deepEqual([s3Run.usage.storage.puts, s3Run.usage.storage.gets], [1 + 32 + 2 + 2, 17 + 32 + 2 + 2])
    for (const other of others) assert.deepEqual(other.result, first!.result, other.transport)
  })

  test('MapReduce gives what one loop over all rows gives, in files that are the same by every transport', async () => {
    const size = { mappers: 6, reducers: 3, rows: 400 }
    await callWorkload(platform, 'map-reduce-driver', { ...size, do: 'prepare' })
    const reports = await runs<MapReduceResult>('mapreduce', size)
    const files = Array.from({ length: size.mappers }, (_, mapper) => generateVisits(size.rows, 1000 + mapper))
    const expected = [0, 1, 2].map((reducer) => writeGroups(reduceGroups(files.map((file) => mapRows(file, 8, 3).partitions[reducer]!))))
    for (const { transport, result } of reports) {
      assert.equal(result.rows, 2400)
      const outputs = await Promise.all(result.outputs.map(async (key) => new TextDecoder().decode(await s3.get(key))))
      assert.deepEqual(outputs, expected, transport)
    }
  })

  test('nothing that went through the storage is left in it', async () => {
    assert.deepEqual(await s3.list('transfers/'), [])
    assert((await s3.list('map-reduce/')).length > 0)
  })

  test('a transport that there is not is refused by name, and a function of a workload that is called alone says who calls it', async () => {
    const refused = await platform.fn('video-streamer', { method: 'POST', body: '{"transport": "pigeon"}' })
    assert.equal(refused.status, 400)
    assert.match(refused.json().error.message, /"pigeon".*inline, xdt, s3, redis/)
    const alone = await platform.fn('stacking-trainer', { method: 'POST', body: '{}' })
    assert.equal(alone.status, 400)
    assert.match(alone.json().error.message, /called by stacking-driver/)
  })
})

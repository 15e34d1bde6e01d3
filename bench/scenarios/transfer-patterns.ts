/**
 * Question: how quickly do objects come from one function to many, and from many to one, by direct transfers and through a storage?
 *
 * Method: the thesis's patterns (6.5.4) with degrees 1 to 32, objects of 10 KB and of 10 MB, on one platform whose functions hold one invocation at a time, so that every producer and
 * consumer is an instance of its own; all are there before anything is measured. The time is taken by the driver and the consumers (kit/transfer-functions/patterns.ts): from
 * the first put or invocation until the last consumer has read. `touched` reads the first and the last byte of each object, `summed` all of them (CRC-32). Transports run the same code in the same
 * instances, in turn; every object lies in an ordinary buffer before it is put, and differs from all earlier ones. There are at least three rounds, and as many more as
 * fit into their time (`rounds` says how many); figures are medians, ratios are medians of the rounds' ratios. A transport's turn begins with a pause, in which what a storage does after its answers is done, and
 * with runs that do not count, 50 ms of them at least: after a pause the cores of a virtual machine are slow (a gather of one takes 0.34 ms without and 0.68 after one of 5 ms), and it pays again for
 * free pages that its host has taken back.
 *   s3     Skep's own S3 endpoint, over loopback, durable when PUT answers: the baseline of the ratios. In the thesis it was AWS S3
 *   redis  Debian's redis-server on loopback, in memory only
 *
 * Not measured: several hosts; a machine with a core for each instance (the thesis's had 96: here N instances share what there is, which costs every transport the same); cold starts.
 *
 * Arguments: `degrees=1,2,4,8,16,32`  `patterns=gather,scatter,broadcast`  `seconds=120` (of measuring, at least)  `save` (adds the result to docs/results/<date>-transfers.json, for the plots)
 */
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { call, deployFile } from '../kit/deploy-file.ts'
import { median, round } from '../kit/figures.ts'
import { startRedis } from '../kit/redis-server.ts'
import { saveTransfers } from '../kit/saved-transfers.ts'
import { startPlatform } from '../kit/server.ts'
import type { RunningPlatform } from '../kit/server.ts'
import type { Pattern, PatternRun, PatternTime, PatternTransport, Reading } from '../kit/transfer-functions/patterns.ts'
import { s3Environment } from '../kit/workload.ts'
import { S3Storage } from '../../examples/transports/s3.ts'

const patterns: readonly Pattern[] = ['gather', 'scatter', 'broadcast']
const SIZES = { kb10: 10_000, mb10: 10_000_000 } as const
type Size = keyof typeof SIZES
const READINGS: readonly Reading[] = ['touched', 'summed']
const WARM_UP_RUNS = 10
const ROUNDS_MIN = 3
/** Between transports: what a storage does after its answers (removing, writing back) is not to be done in the time of the next one. */
const SETTLE_MS = 50
/** Then so long what does not count: cores that slept are slow, and memory that went back to the host is paid for again. */
const WARM_MS = 50
/** After this a place has one round: on a machine that is busy with something else, or slow. */
const PATIENCE_MS = 165_000
const ROUNDS_MAX = 25

/** One pattern, size and degree. */
interface Place extends Omit<PatternRun, 'transport' | 'bytes' | 'reading'> {
  readonly size: Size
}

/** ms of each transport, by the round. */
type Times = Readonly<Partial<Record<PatternTransport, readonly number[]>>>

interface Cell extends Place {
  readonly ms: Readonly<Record<Reading, Times>>
  /** The fewest of a run: producers and consumers. */
  readonly instances: number
}

export default async function measure(context: BenchContext): Promise<BenchResult> {
  const asked = parseArgs(context)
  await using platform = await startPlatform()
  await using redis = await startRedis()
  if (redis === undefined) context.step('redis-server is not installed (apt-get install redis-server): measured without it')
  const transports: readonly PatternTransport[] = redis === undefined ? ['xdt', 's3'] : ['xdt', 's3', 'redis']
  context.step('deploying')
  await deploy(platform, Math.max(...asked.degrees), redis?.url)

  const sizes = Object.keys(SIZES) as Size[]
  const wanted = asked.patterns.flatMap((pattern) => sizes.flatMap((size) => asked.degrees.map((degree): Place => ({ pattern, size, degree }))))
  const cells: Cell[] = []
  const startedMs = performance.now()
  for (const one of wanted) {
    const isLate = performance.now() - startedMs > PATIENCE_MS
    context.step(`${one.pattern} of ${one.degree} × ${one.size}`)
    cells.push(await measureCell(platform, transports, one, isLate ? 0 : (1000 * asked.seconds) / wanted.length, context.quick || isLate ? 1 : ROUNDS_MIN))
  }
  const result = summary(cells)
  if (asked.isSaved) process.stderr.write(`${saveTransfers(context.root, 'transfer-patterns', result)}\n`)
  return result
}

async function deploy(platform: RunningPlatform, degreeMax: number, redis: string | undefined): Promise<void> {
  const s3 = await s3Environment(platform)
  if (s3 === undefined) throw new Error('this platform has no S3 endpoint, which is the baseline')
  const storage = new S3Storage({ url: s3['AWS_ENDPOINT_URL_S3']!, bucket: s3['S3_BUCKET']!, accessKeyId: s3['AWS_ACCESS_KEY_ID']!, secretAccessKey: s3['AWS_SECRET_ACCESS_KEY']!, region: 'us-east-1' })
  await storage.createBucket()
  storage.close()
  const environment = { ...s3, ...(redis !== undefined && { REDIS_URL: redis }) }
  // Storages are reached over the network of the host. Whoever holds all objects at once has the memory for it.
  const shared = { network: 'host', concurrency: 1, environment, burst: { policy: 'never-queue' } }
  for (const name of ['patterns-driver', 'patterns-gatherer']) await deployFile(platform, name, 'transfer-functions/patterns.ts', { ...shared, memoryMb: 4096, instancesMin: 1 })
  for (const [name, own] of [['patterns-producer', { OBJECT_BYTES: Object.values(SIZES).join() }], ['patterns-consumer', {}]] as const) {
    await deployFile(platform, name, 'transfer-functions/patterns.ts', { ...shared, environment: { ...environment, ...own }, memoryMb: 512, instancesMin: degreeMax })
  }
}

/** Each transport in turn, the order turning round by round. */
async function measureCell(platform: RunningPlatform, transports: readonly PatternTransport[], place: Place, budgetMs: number, roundsMin: number): Promise<Cell> {
  const { pattern, size, degree } = place
  const ms: Record<Reading, Partial<Record<PatternTransport, number[]>>> = { touched: {}, summed: {} }
  let instances = Infinity
  const run = (transport: PatternTransport, reading: Reading): Promise<PatternTime> =>
    call(platform, 'patterns-driver', { pattern, degree, bytes: SIZES[size], transport, reading } satisfies PatternRun)
  // The first runs of small objects are those of code that was not compiled yet.
  if (size === 'kb10') for (const transport of transports) for (let time = 0; time < WARM_UP_RUNS; time++) await run(transport, 'summed')
  const startedMs = performance.now()
  for (let pass = 0; pass < ROUNDS_MAX && (pass < roundsMin || performance.now() - startedMs < budgetMs); pass++) {
    for (let turn = 0; turn < transports.length; turn++) {
      const transport = transports[(turn + pass) % transports.length]!
      await new Promise((wake) => { setTimeout(wake, SETTLE_MS) })
      for (const warmFromMs = performance.now(); performance.now() - warmFromMs < WARM_MS; ) await run(transport, 'touched')
      for (const reading of READINGS) {
        const time = await run(transport, reading)
        ;(ms[reading][transport] ??= []).push(time.ms)
        instances = Math.min(instances, time.instances)
      }
    }
  }
  return { ...place, ms, instances }
}

/** Keys: `gather_mb10_xdt_ms`, and with all bytes read `gather_mb10_xdt_summed_ms`; in each, by the degree. */
function summary(cells: readonly Cell[]): BenchResult {
  const figures: Record<string, Record<string, number>> = {}
  const baselines: Record<string, Record<string, number>> = {}
  const ratios: Record<string, Record<string, number> | number> = {}
  const byDegree = (into: Record<string, Record<string, number> | number>, key: string, { degree }: Cell, value: number): void => {
    ;((into[key] ??= {}) as Record<string, number>)[degree] = round(value, 3)
  }
  for (const cell of cells) {
    const name = `${cell.pattern}_${cell.size}`
    for (const reading of READINGS) {
      const suffix = reading === 'summed' ? '_summed' : ''
      for (const [transport, ms] of Object.entries(cell.ms[reading])) {
        const into = transport === 'xdt' ? figures : baselines
        byDegree(into, `${name}_${transport}${suffix}_ms`, cell, median(ms))
        // As in the thesis: what arrived at all consumers, over the time.
        if (reading === 'touched') byDegree(into, `${name}_${transport}_mb_per_s`, cell, (cell.degree * SIZES[cell.size]) / 1000 / median(ms))
        if (transport !== 'xdt') byDegree(ratios, `${name}_vs_${transport}${suffix}`, cell, ratioOf(cell.ms[reading], transport as PatternTransport))
      }
    }
    for (const [key, value] of [[`${cell.pattern}_instances`, cell.instances], ['rounds', cell.ms.touched.xdt!.length]] as const) {
      byDegree(figures, key, cell, Math.min(figures[key]?.[cell.degree] ?? Infinity, value))
    }
  }
  for (const pattern of patterns) {
    for (const [key, transport, reading] of [['min', 's3', 'touched'], ['summed_min', 's3', 'summed'], ['vs_redis_min', 'redis', 'touched'], ['vs_redis_summed_min', 'redis', 'summed']] as const) {
      const of = cells.filter((cell) => cell.pattern === pattern && cell.ms[reading][transport] !== undefined)
      if (of.length > 0) ratios[`${pattern}_${key}`] = round(Math.min(...of.map((cell) => ratioOf(cell.ms[reading], transport))))
    }
  }
  return { figures, baselines, ratios }
}

function ratioOf(ms: Times, transport: PatternTransport): number {
  return median(ms[transport]!.map((other, pass) => other / ms.xdt![pass]!))
}

function parseArgs({ args, quick }: BenchContext): { readonly degrees: readonly number[]; readonly patterns: readonly Pattern[]; readonly seconds: number; readonly isSaved: boolean } {
  const values = new Map(args.map((arg) => arg.replace(/^--/, '').split('=') as [string, string | undefined]))
  for (const name of values.keys()) if (!['degrees', 'patterns', 'seconds', 'save'].includes(name)) throw new Error(`transfer-patterns knows degrees=1,2,4,8,16,32 patterns=gather,scatter,broadcast seconds=120 save, and not ${name}`)
  const degrees = values.get('degrees')?.split(',').map(Number) ?? (quick ? [1, 4] : [1, 2, 4, 8, 16, 32])
  if (!degrees.every((degree) => Number.isInteger(degree) && degree > 0 && degree <= 64)) throw new Error(`degrees is ${values.get('degrees')}, and has to be whole numbers from 1 to 64`)
  const named = values.get('patterns')?.split(',') ?? patterns
  if (!named.every((one): one is Pattern => patterns.some((pattern) => pattern === one))) throw new Error(`patterns is ${values.get('patterns')}, and has to be of ${patterns.join(', ')}`)
  return { degrees, patterns: named, seconds: quick ? 0 : Number(values.get('seconds') ?? 120), isSaved: values.has('save') }
}

/**
 * Question: how quickly does an object come from a function to another one on the same host?
 *
 * Method: a producer and a consumer on the platform as a user starts it (kit/transfer-functions/pair.ts). `put` of the producer and `get` of the consumer are
 * timed where they are called, with the reading of the object's first and last byte; the figure is their sum, and `end_to_end` is the time from the begin of `put` until the
 * consumer has read, the invocation in between. `mb100_ms` is an object that was made in memory of the SDK's (`allocate`); `plain` lies in an ordinary Buffer,
 * which `put` copies once; `inline` is the same Buffer as the payload of the invocation, from the begin of that. Making the bytes is in no way's time. Every round takes each way in turn; before
 * large objects count, each way has a transfer that does not: a virtual machine whose host takes free pages back pays for them again after a pause.
 *
 * Baselines: put and get by two processes over loopback, with connections that are open (kit/store-peer.ts): Redis, Skep's own S3 endpoint (durable when PUT answers), the object store of
 * NATS in memory; the quickest of them is `best_storage`. Raw TCP between them, and gRPC's streaming in 64 KB as in the thesis: there is no put, and the consumer has the object in
 * one buffer. `memcpy` is one copy of the 100 MB in the producer, into fresh memory as that of `put` is (`Buffer.from`); `warm_memcpy` into memory that is there.
 *
 * Not measured: other hosts (transfer-remote), many functions (transfer-patterns), reading all bytes, which costs the same wherever they came from; storages on other machines, as in
 * the thesis, where a round trip takes milliseconds.
 *
 * Arguments: `rounds=9`  `save` (adds the result to docs/results/<date>-transfers.json, for the plots)
 */
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { call, deployFile } from '../kit/deploy-file.ts'
import { median, percentile, round } from '../kit/figures.ts'
import { startNats } from '../kit/nats-server.ts'
import { startRedis } from '../kit/redis-server.ts'
import { saveTransfers } from '../kit/saved-transfers.ts'
import { startPlatform } from '../kit/server.ts'
import type { RunningPlatform } from '../kit/server.ts'
import type { StoreAddresses } from '../kit/store-peer.ts'
import { startStorePeers } from '../kit/store-peers.ts'
import type { StorePeers } from '../kit/store-peers.ts'
import type { PairWay, Sample } from '../kit/transfer-functions/pair.ts'
import { s3Environment } from '../kit/workload.ts'

const SIZES = { kb10: 10_000, kb100: 100_000, mb1: 1_000_000, mb10: 10_000_000, mb100: 100_000_000 } as const
type Size = keyof typeof SIZES
/** Transfers of each way in a round, by the size. */
const TIMES: Readonly<Record<Size, number>> = { kb10: 60, kb100: 30, mb1: 25, mb10: 3, mb100: 1 }
/** Before each turn with objects of at least 10 MB. */
const UNCOUNTED_TIMES = 1
/** The first transfers of small objects are those of code that was not compiled yet. */
const WARM_UP_TIMES = 10
const WAYS = ['allocated', 'plain', 'inline'] as const satisfies readonly PairWay[]
const COPIES = ['memcpy', 'warm-memcpy'] as const satisfies readonly PairWay[]
/** Both parts together. */
const sumOf = ({ putMs, getMs }: Sample): number => putMs + getMs

/** ms of each way, by its name. */
type Samples = Record<string, number[]>

export default async function measure(context: BenchContext): Promise<BenchResult> {
  const { rounds, isSaved } = parseArgs(context)
  await using platform = await startPlatform()
  await using redis = await startRedis()
  await using nats = await startNats()
  for (const [server, name] of [[redis, 'redis-server'], [nats, 'nats-server']] as const) {
    if (server === undefined) context.step(`${name} is not installed (apt-get install ${name}): measured without it`)
  }
  const config = { memoryMb: 1024, instancesMin: 1 }
  for (const name of ['producer', 'consumer']) await deployFile(platform, name, 'transfer-functions/pair.ts', config)
  for (const name of ['py-producer', 'py-consumer']) await deployFile(platform, name, 'transfer-functions/pair.py', config)
  await using peers = await startStorePeers(await addressesOf(platform, redis?.url, nats))

  const bySize: Partial<Record<Size, Samples>> = {}
  for (const size of Object.keys(SIZES) as Size[]) bySize[size] = await sampleSize(context, platform, peers, size, rounds)
  context.step('100 MB in Python')
  const python: Samples = {}
  for (let turn = 0; turn <= rounds; turn++) await sampleFunctions(platform, 'py-producer', 'mb100', ['allocated', 'plain'], turn === 0 ? {} : python)

  const result = summary(bySize as Record<Size, Samples>, python, peers.stores, rounds)
  if (isSaved) process.stderr.write(`${saveTransfers(context.root, 'transfer-local', result)}\n`)
  return result
}

async function addressesOf(platform: RunningPlatform, redis: string | undefined, nats: { readonly host: string; readonly port: number } | undefined): Promise<StoreAddresses> {
  const s3 = await s3Environment(platform)
  if (s3 === undefined) throw new Error('this platform has no S3 endpoint, which is a baseline')
  return {
    s3: { url: s3['AWS_ENDPOINT_URL_S3']!, bucket: 'bench', accessKeyId: s3['AWS_ACCESS_KEY_ID']!, secretAccessKey: s3['AWS_SECRET_ACCESS_KEY']!, region: 'us-east-1' },
    ...(redis !== undefined && { redis }),
    ...(nats !== undefined && { nats }),
  }
}

/** Every way in turn, round by round, after a round that does not count, or several of small objects. */
async function sampleSize(context: BenchContext, platform: RunningPlatform, peers: StorePeers, size: Size, rounds: number): Promise<Samples> {
  const samples: Samples = {}
  const bytes = SIZES[size]
  const baselines: Record<string, () => Promise<number>> = {
    ...Object.fromEntries(peers.stores.map((name) => [name, () => peers.throughStore(name, bytes)])),
    tcp: () => peers.tcp(bytes),
    grpc: () => peers.grpc(bytes),
  }
  const warmUps = TIMES[size] >= TIMES.mb1 ? WARM_UP_TIMES : 1
  for (let turn = 1 - warmUps; turn <= rounds; turn++) {
    context.step(`${size}: ${turn < 1 ? 'warming up' : `round ${turn} of ${rounds}`}`)
    const into = turn < 1 ? {} : samples
    await sampleFunctions(platform, 'producer', size, [...WAYS, ...(size === 'mb100' ? COPIES : [])], into)
    for (const [name, run] of Object.entries(baselines)) {
      for (let time = 0; time < uncountedTimes(size); time++) await run()
      for (let time = 0; time < TIMES[size]; time++) (into[name] ??= []).push(await run())
    }
  }
  return samples
}

async function sampleFunctions(platform: RunningPlatform, producer: string, size: Size, ways: readonly PairWay[], into: Samples): Promise<void> {
  const answer = await call<Record<PairWay, Sample[]>>(platform, producer, { ways, bytes: SIZES[size], times: uncountedTimes(size) + TIMES[size] })
  for (const way of ways) {
    const counted = answer[way].slice(uncountedTimes(size))
    ;(into[way] ??= []).push(...counted.map(way === 'inline' ? ({ endToEndMs }) => endToEndMs : sumOf))
    if (way === 'allocated' || way === 'plain') (into[`${way} end to end`] ??= []).push(...counted.map(({ endToEndMs }) => endToEndMs))
  }
}

function uncountedTimes(size: Size): number {
  return TIMES[size] < TIMES.mb1 ? UNCOUNTED_TIMES : 0
}

function summary(bySize: Readonly<Record<Size, Samples>>, python: Samples, stores: readonly string[], rounds: number): BenchResult {
  const { kb10, mb1, mb100 } = bySize
  const pairs = (over: string, under: string): number => round(median(mb100[over]!.map((ms, index) => ms / mb100[under]![index]!)))
  const best = stores.toSorted((a, b) => median(mb100[a]!) - median(mb100[b]!))[0]!
  const eachSize = <Value>(of: (samples: Samples) => Value): Record<string, Value> => Object.fromEntries(Object.entries(bySize).map(([size, samples]) => [size, of(samples)]))
  const eachWay = (p: number) => (samples: Samples): Record<string, number> => Object.fromEntries(Object.entries(samples).map(([way, ms]) => [way, round(percentile(ms, p), 3)]))
  const factor = (samples: Samples, way: string, p: number): number => round(percentile(samples[way]!, p) / percentile(samples['plain']!, p))
  const against = (way: string): Record<string, Record<string, number>> => eachSize((samples) => ({ p50: factor(samples, way, 50), p99: factor(samples, way, 99) }))
  return {
    figures: {
      mb100_ms: round(median(mb100['allocated']!), 3),
      mb100_best_ms: round(Math.min(...mb100['allocated']!), 3),
      mb100_end_to_end_ms: round(median(mb100['allocated end to end']!), 3),
      mb100_plain_ms: round(median(mb100['plain']!), 2),
      mb100_plain_end_to_end_ms: round(median(mb100['plain end to end']!), 2),
      kb10_p50_us: round(1000 * median(kb10['plain']!), 1),
      kb10_p99_us: round(1000 * percentile(kb10['plain']!, 99), 1),
      kb10_end_to_end_p50_us: round(1000 * median(kb10['plain end to end']!), 1),
      kb10_inline_p50_us: round(1000 * median(kb10['inline']!), 1),
      python_mb100_ms: round(median(python['allocated']!), 3),
      python_mb100_plain_ms: round(median(python['plain']!), 2),
      p50_ms: eachSize(eachWay(50)),
      p99_ms: eachSize(eachWay(99)),
      // The percentiles 1 to 100 of 1 MB.
      mb1_distribution_ms: Object.fromEntries(['plain', ...stores].map((way) => [way, Array.from({ length: 100 }, (_, index) => round(percentile(mb1[way]!, index + 1), 3))])),
      rounds,
    },
    baselines: {
      mb100_memcpy_ms: round(median(mb100['memcpy']!)),
      mb100_warm_memcpy_ms: round(median(mb100['warm-memcpy']!)),
      ...Object.fromEntries([...stores, 'tcp', 'grpc'].flatMap((way) => [[`mb100_${way}_ms`, round(median(mb100[way]!))], [`kb10_${way}_p50_us`, round(1000 * median(kb10[way]!), 1)]])),
      best_storage: best,
    },
    ratios: {
      mb100_vs_best_storage: pairs(best, 'allocated'),
      mb100_plain_vs_best_storage: pairs(best, 'plain'),
      mb100_plain_over_memcpy: pairs('plain', 'memcpy'),
      mb100_plain_over_warm_memcpy: pairs('plain', 'warm-memcpy'),
      // The samples that were disturbed least: for a machine that others use, too.
      mb100_plain_over_memcpy_of_minima: round(Math.min(...mb100['plain']!) / Math.min(...mb100['memcpy']!)),
      mb100_vs_tcp: pairs('tcp', 'allocated'),
      mb100_plain_vs_tcp: pairs('tcp', 'plain'),
      mb100_vs_grpc: pairs('grpc', 'allocated'),
      kb10_end_to_end_over_inline: round(median(kb10['plain end to end']!) / median(kb10['inline']!)),
      plain_vs_s3: against('s3'),
      ...(stores.includes('redis') && { plain_vs_redis: against('redis') }),
    },
  }
}

function parseArgs({ args, quick }: BenchContext): { readonly rounds: number; readonly isSaved: boolean } {
  const values = new Map(args.map((arg) => arg.replace(/^--/, '').split('=') as [string, string | undefined]))
  for (const name of values.keys()) if (!['rounds', 'save'].includes(name)) throw new Error(`transfer-local knows rounds=9 and save, and not ${name}`)
  const rounds = Number(values.get('rounds') ?? (quick ? 1 : 9))
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) throw new Error(`rounds is ${values.get('rounds')}, and has to be a whole number from 1 to 100`)
  return { rounds, isSaved: values.has('save') }
}

/**
 * Question: how quickly does an object come from a producer on one host to a consumer on another?
 *
 * Method: two workers' transfers in processes of their own, on two hosts (kit/network-namespaces.ts: network namespaces that a pair of virtual
 * interfaces joins, a core each), with TLS. In every round each way of transferring has its turn, and the median round is reported. A turn begins with a run that does not count:
 * on a virtual machine, processes and memory that were left alone while the others had their turns are slow at first. Percentiles at 1 MB are of turns of 25 runs, after a pause and five that do not count: what a
 * storage does after its answers (it writes back) is in nobody else's time.
 * `mb100_mb_per_s` is a consumer that takes 100 MB as a stream (cut-through), out of the producer's sealed memory. Beside it are the sweeps of the thesis: store-and-forward
 * against cut-through over sizes (Figure 6.3), and over the depth of the buffers (Figure 6.4).
 *
 * Baselines: `tcp_*` are two Node processes over node:net, without TLS, on the same hosts: the best of writes of 64 KB, 256 KB and all at once, to a receiver
 * that gets buffers which it may keep, as our consumer does. `tcp_static_*` is the receiver that cannot keep anything: every read
 * goes over the same 256 KB, which the processor's cache holds. `s3` is the S3 endpoint of a Skep that runs there, durable when PUT answers, asked by signed requests; `blobs`
 * are the files under it over bare HTTP, without signatures, buckets and names; `redis` is Redis, in memory. All run on the producer's host, without TLS, may use both cores, and are
 * asked over open connections. With storage, time is put and get, for us too, where put copies the object out of an ordinary buffer; `in_place` is a producer that made it in
 * memory that it had allocated for it. `vs_storage` is against `s3`, as in the thesis; the others stand beside it.
 *
 * Not measured: a network with a delay or a loss of its own, more than two hosts, sandboxes (see transfer-patterns).
 *
 * Arguments: `rounds=9`
 */
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { remoteDefaults } from '#transfer/remote/config.ts'
import { median, percentile, round } from '../kit/figures.ts'
import { openNetwork } from '../kit/network-namespaces.ts'
import { startStores } from '../kit/stores.ts'
import { startTransferHosts } from '../kit/transfer-hosts.ts'
import type { TransferHosts } from '../kit/transfer-hosts.ts'

const KB = 1024
const MB100 = 100_000_000
const WINDOW = remoteDefaults.windowBytes
const SIZES = { kb10: 10_000, kb100: 100_000, mb1: 1_000_000, mb10: 10_000_000, mb100: MB100 } as const
const SETTLE_MS = 100
const DEPTHS = [64, 128, 256, 512, 1024, 2048, 4096].map((kb) => kb * KB)
const S3 = 's3'
const TCP_WRITES = { 'writes of 64 KB': 64 * KB, 'writes of 256 KB': 256 * KB, 'one write': MB100 } as const

/** Samples of each way, by its name. */
type Samples = Record<string, number[]>

export default async function transferRemote(context: BenchContext): Promise<BenchResult> {
  const rounds = parseRounds(context)
  await using network = await openNetwork()
  if (network.kind === 'loopback') process.stderr.write(`Both hosts are the loopback interface: ${String(network.reason)}\n`)
  await using stores = await startStores(network)
  await using hosts = await startTransferHosts(network, DEPTHS, stores)
  const times = (full: number): number => (context.quick ? 2 : Math.ceil((full * rounds) / 9))

  context.step('100 MB, and raw TCP')
  const bandwidth = await sample(times(9), bandwidthWays(hosts))
  context.step('1 MB, put and get')
  const latency = await sample(times(10), storageWays(hosts, SIZES.mb1, stores.names), context.quick ? 2 : 25)
  const bySize: Record<string, Record<string, number>> = {}
  for (const [name, bytes] of Object.entries(SIZES)) {
    context.step(`Figure 6.3: ${name}`)
    bySize[name] = medians(await sample(times(bytes > 1e7 ? 5 : bytes > 1e6 ? 9 : 40), { ...storageWays(hosts, bytes, stores.names), 'store-and-forward': () => hosts.transfer(WINDOW, bytes, 'getHeld') }))
  }
  const byDepth: Record<string, Record<string, number>> = {}
  for (const name of ['mb1', 'mb10', 'mb100'] as const) {
    context.step(`Figure 6.4: ${name}`)
    const ways = Object.fromEntries(DEPTHS.map((depth) => [`${depth / KB}kb`, () => hosts.transfer(depth, SIZES[name], 'getStream')]))
    byDepth[name] = medians(await sample(times(name === 'mb100' ? 7 : 25), ways))
  }

  const rate = (ms: number): number => Math.round(MB100 / 1000 / ms)
  const tcp = Object.keys(TCP_WRITES)
  const [p50, p99] = [50, 99].map((p) => (way: string) => percentile(latency[way]!, p)) as [(way: string) => number, (way: string) => number]
  const others = stores.names.filter((name) => name !== S3)
  return {
    figures: {
      mb100_mb_per_s: rate(median(bandwidth['cut-through']!)),
      mb100_ms: round(median(bandwidth['cut-through']!)),
      mb100_best_mb_per_s: rate(Math.min(...bandwidth['cut-through']!)),
      mb100_held_mb_per_s: rate(median(bandwidth['store-and-forward']!)),
      mb1_p50_ms: round(p50('cut-through'), 3),
      mb1_p99_ms: round(p99('cut-through'), 3),
      mb1_in_place_p50_ms: round(p50('in place'), 3),
      kb10_p50_ms: round(bySize['kb10']!['cut-through']!, 3),
      figure_6_3_ms: bySize,
      figure_6_4_ms: byDepth,
      network: network.kind,
      rounds,
    },
    baselines: {
      tcp_mb_per_s: rate(Math.min(...tcp.map((way) => median(bandwidth[way]!)))),
      tcp_best_mb_per_s: rate(Math.min(...tcp.map((way) => Math.min(...bandwidth[way]!)))),
      tcp_static_mb_per_s: rate(median(bandwidth['static']!)),
      ...Object.fromEntries(stores.names.flatMap((name) => [[`mb1_${name}_p50_ms`, round(p50(name), 3)], [`mb1_${name}_p99_ms`, round(p99(name), 3)]])),
    },
    ratios: {
      mb100_vs_tcp: round(median(bandwidth['cut-through']!.map((ms, index) => bestOf(bandwidth, tcp, index) / ms))),
      mb100_vs_tcp_static: round(median(bandwidth['cut-through']!.map((ms, index) => bandwidth['static']![index]! / ms))),
      // The samples that were disturbed least: for a machine that others use, too.
      mb100_vs_tcp_of_minima: round(Math.min(...tcp.map((way) => Math.min(...bandwidth[way]!))) / Math.min(...bandwidth['cut-through']!)),
      mb1_p50_vs_storage: round(p50(S3) / p50('cut-through')),
      mb1_p99_vs_storage: round(p99(S3) / p99('cut-through')),
      mb1_in_place_p50_vs_storage: round(p50(S3) / p50('in place')),
      mb1_in_place_p99_vs_storage: round(p99(S3) / p99('in place')),
      ...Object.fromEntries(others.flatMap((name) => [[`mb1_p50_vs_${name}`, round(p50(name) / p50('cut-through'))], [`mb1_p99_vs_${name}`, round(p99(name) / p99('cut-through'))], [`mb1_in_place_p50_vs_${name}`, round(p50(name) / p50('in place'))]])),
      figure_6_3_cut_through_vs_store_and_forward: Object.fromEntries(Object.entries(bySize).map(([name, ms]) => [name, round(ms['store-and-forward']! / ms['cut-through']!)])),
    },
  }
}

/** Getting alone: what is got lies in the producer's memory. */
function bandwidthWays(hosts: TransferHosts): Record<string, () => Promise<number>> {
  const raw = Object.fromEntries(Object.entries(TCP_WRITES).map(([way, writeBytes]) => [way, () => hosts.rawTcp(MB100, writeBytes, true)]))
  return {
    ...raw,
    static: () => hosts.rawTcp(MB100, 256 * KB, false),
    'cut-through': () => hosts.get(WINDOW, MB100, 'getStream'),
    'store-and-forward': () => hosts.get(WINDOW, MB100, 'getHeld'),
  }
}

/** Putting and getting. */
function storageWays(hosts: TransferHosts, bytes: number, stores: readonly string[]): Record<string, () => Promise<number>> {
  return {
    'cut-through': () => hosts.transfer(WINDOW, bytes, 'getStream'),
    'in place': () => hosts.transfer(WINDOW, bytes, 'getStream', 'in place'),
    ...Object.fromEntries(stores.map((name) => [name, () => hosts.throughStore(name, bytes)])),
  }
}

/** Each way in turn, so many turns, each of so many runs in a row. What comes before those does not count: a run, or a pause and five when they are many. */
async function sample(turns: number, ways: Readonly<Record<string, () => Promise<number>>>, inARow = 1): Promise<Samples> {
  const samples: Samples = Object.fromEntries(Object.keys(ways).map((way) => [way, []]))
  for (let turn = 0; turn < turns; turn++) {
    for (const [way, run] of Object.entries(ways)) {
      if (inARow > 1) await new Promise((wake) => { setTimeout(wake, SETTLE_MS) })
      for (let time = 0; time < (inARow > 1 ? 5 : 1); time++) await run()
      for (let time = 0; time < inARow; time++) samples[way]!.push(await run())
    }
  }
  return samples
}

function medians(samples: Samples): Record<string, number> {
  return Object.fromEntries(Object.entries(samples).map(([way, ms]) => [way, round(median(ms), 3)]))
}

function bestOf(samples: Samples, ways: readonly string[], index: number): number {
  return Math.min(...ways.map((way) => samples[way]![index]!))
}

function parseRounds({ args, quick }: BenchContext): number {
  const given = args.map((arg) => /^(?:--)?rounds=(\d+)$/.exec(arg)?.[1])
  if (given.includes(undefined)) throw new Error(`transfer-remote knows rounds=9, and not ${args.join(' ')}`)
  const rounds = Number(given.at(-1) ?? 9)
  if (rounds < 1 || rounds > 100) throw new Error(`rounds is ${rounds}, and has to be 1 to 100`)
  return quick ? 2 : rounds
}

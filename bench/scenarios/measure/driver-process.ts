/**
 * The driver of `skep measure` in a process of its own, which can be pinned to a core: prints one JSON line with what it measured.
 *
 * Usage: driver-process.ts closed ORIGIN CONNECTIONS SECONDS PAUSE_MS, or driver-process.ts open ORIGIN PER_SECOND SECONDS ENDPOINTS
 *
 * `closed` is as wrk is: each of the connections sends its next request when its last is answered, after a random pause of at least PAUSE_MS unless that is 0. `open`
 * is a Poisson process over the endpoints.
 */
import { driveSubExperiment } from '#measure/driver/drive.ts'
import { parseExperiment } from '#measure/experiment.ts'
import { Histogram } from '#measure/histogram.ts'
import type { Endpoint } from '#measure/provider.ts'
import { residentMb } from '../../kit/server.ts'

/** Requests before the first that counts: the driver's code has been compiled by then. */
const WARM_UP_REQUESTS = 5000

const [mode, origin, amount, seconds, fifth] = process.argv.slice(2)
const endpoints = Array.from({ length: mode === 'open' ? Number(fifth) : 1 }, (_, index): Endpoint => ({
  host: origin!,
  transport: { kind: 'http', origin: origin! },
  request: () => ({ method: 'GET', path: `/${index}`, headers: {}, body: undefined }),
  readAnswer: ({ status }) => {
    if (status !== 200) throw new Error(`status ${status}`)
    return { requestId: '', timestamps: [], start: 'unknown', phases: undefined }
  },
}))
const bursts = mode === 'open' ? Number(amount) * Number(seconds) : 1_000_000_000
const warmUpRequests = mode === 'closed' && Number(fifth) > 0 ? WARM_UP_REQUESTS / 20 : WARM_UP_REQUESTS
const settings = parseExperiment(JSON.stringify({
  SubExperiments: [{
    Bursts: bursts, BurstSizes: [1], DesiredServiceTimes: ['0ms'], warmUp: Math.ceil(warmUpRequests / endpoints.length), strict: true,
    ...(mode === 'open' ? { openLoop: { arrivalsPerSecond: Number(amount) } } : { IATSeconds: Number(fifth) / 1000 }),
  }],
}), 'bench').SubExperiments[0]!

const latency = new Histogram()
let ended: AbortController | undefined
const drive = (): ReturnType<typeof driveSubExperiment> => {
  ended ??= new AbortController()
  return driveSubExperiment({
    settings, endpoints, random: Math.random, signal: ended.signal,
    onSample: ({ latencyMs }) => {
      // A closed loop is measured from its first sample that counts.
      if (latency.count === 0 && mode === 'closed') setTimeout(() => ended!.abort(), Number(seconds) * 1000).unref()
      latency.record(latencyMs * 1000)
    },
  })
}
const results = await Promise.all(Array.from({ length: mode === 'open' ? 1 : Number(amount) }, drive))
const lateness = results.map((result) => result.lateness)
process.stdout.write(`${JSON.stringify({
  p50Us: latency.percentile(0.5),
  p99Us: latency.percentile(0.99),
  samples: latency.count,
  sent: results.reduce((sum, { sent }) => sum + sent, 0),
  failures: results.flatMap((result) => result.failures),
  latenessP50Ms: Math.max(...lateness.map(({ p50 }) => p50)),
  latenessP99Ms: Math.max(...lateness.map(({ p99 }) => p99)),
  latenessMaxMs: Math.max(...lateness.map(({ max }) => max)),
  notSent: lateness.reduce((sum, { notSent }) => sum + notSent, 0),
  connectionsOpened: results.reduce((sum, { connectionsOpened }) => sum + connectionsOpened, 0),
  bottleneck: results.find((result) => result.bottleneck !== undefined)?.bottleneck ?? null,
  wallMs: Math.max(...results.map(({ wallMs }) => wallMs)),
  cpuMs: (process.cpuUsage().user + process.cpuUsage().system) / 1000,
  residentMb: await residentMb(process.pid),
})}\n`)

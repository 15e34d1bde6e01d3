/**
 * From an exchange to the line of In-Vitro's results (trace/results.ts).
 *
 * Times are counted from when the invocation was due, as in an open loop they have to be: a late driver must not make a platform look quick. What the function
 * says of itself is in its answer, by the names of In-Vitro's reply; another function says nothing, and the columns are 0.
 */
import type { EndedExchange, SendFailure } from './driver/exchange.ts'
import type { Endpoint, RawAnswer, RequestMessage } from './provider.ts'
import { invocationId } from './trace/schedule.ts'
import type { ScheduledInvocation } from './trace/schedule.ts'
import type { InvocationResult } from './trace/results.ts'
import type { Trace } from './trace/load.ts'

export interface ReplayArrival extends ScheduledInvocation {
  readonly dueMs: number
}

export function messageOf(endpoint: Endpoint, { runtimeMs, memoryMb }: Pick<ReplayArrival, 'runtimeMs' | 'memoryMb'>): RequestMessage {
  return endpoint.request({ serviceTimeMs: runtimeMs, payloadBytes: 0, memoryMb })
}

/** A function that was deployed by somebody: a message with In-Vitro's fields, and any answer below 300 will do. */
export function anyFunction(url: string, headers: Readonly<Record<string, string>>): Endpoint {
  const { origin, pathname, search, host } = new URL(url)
  return {
    host: `${host}${pathname}`.replaceAll(/[,"\s]/g, '_'),
    transport: { kind: 'http', origin },
    request({ serviceTimeMs, memoryMb = 0 }) {
      const query = `runtimeInMilliSec=${serviceTimeMs}&memoryInMebiBytes=${memoryMb}`
      return { method: 'GET', path: `${pathname}${search}${search === '' ? '?' : '&'}${query}`, headers, body: undefined }
    },
    readAnswer: () => ({ requestId: '', timestamps: [], start: 'unknown', phases: undefined }),
  }
}

export function failureOf(ended: Pick<EndedExchange, 'failure' | 'status' | 'rawAnswer'>): SendFailure | undefined {
  const { failure, status } = ended
  if (failure !== undefined) return failure
  if (status >= 200 && status <= 299) return undefined
  const said = Buffer.from(ended.rawAnswer().body).toString('utf8', 0, SAID_BYTES_MAX).replace(/[\u0000-\u001f\u007f]+/g, ' ')
  return { code: String(status), message: `answered with status ${status}${said === '' ? '' : `: ${said}`}` }
}
const SAID_BYTES_MAX = 200

/** @param epochOffsetMs From the driver's monotonic clock to 1970. */
export function resultOf(
  arrival: ReplayArrival, ended: EndedExchange, trace: Pick<Trace, 'unitUs'>, { host, epochOffsetMs }: { readonly host: string; readonly epochOffsetMs: number },
): InvocationResult {
  const { status, dueMs, sentMs, connectedMs, endMs } = ended
  const failed = failureOf(ended) !== undefined
  const connected = connectedMs > 0
  const { durationUs, memoryMb } = failed ? NOTHING_SAID : workOf(ended.rawAnswer())
  return {
    phase: arrival.phase,
    instance: failed && status === 0 ? '' : host,
    invocationID: invocationId(trace, arrival),
    startTime: (dueMs + epochOffsetMs) * 1000,
    requestedDuration: arrival.runtimeMs * 1000,
    grpcConnEstablish: connected ? (connectedMs - sentMs) * 1000 : 0,
    responseTime: (endMs - dueMs) * 1000,
    actualDuration: durationUs,
    connectionTimeout: failed && !connected,
    functionTimeout: failed && connected,
    actualMemoryUsage: memoryMb,
    memoryAllocationTimeout: false,
    timeToSubmitMs: 0, userCodeExecutionMs: 0, timeToGetResponseMs: 0,
  }
}

const NOTHING_SAID = { durationUs: 0, memoryMb: 0 }
/** Of the reply, some hundred bytes; what is longer is another function's answer. */
const REPLY_BYTES_MAX = 4096

/** Whatever the bytes are: what is not there, or no number, is 0. */
export function workOf({ body }: Pick<RawAnswer, 'body'>): { readonly durationUs: number; readonly memoryMb: number } {
  if (body.length > REPLY_BYTES_MAX) return NOTHING_SAID
  try {
    const reply = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')) as Record<string, unknown> | null
    const number = (name: string): number => {
      const value = Number(reply?.[name] ?? 0)
      return value >= 0 && value < Number.MAX_SAFE_INTEGER ? value : 0
    }
    return { durationUs: number('durationInMicroSec'), memoryMb: number('memoryUsageInKb') / 1024 }
  } catch {
    return NOTHING_SAID
  }
}

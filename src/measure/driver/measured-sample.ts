/**
 * From an exchange that has ended to a sample, or to why there is none.
 *
 *   M1. A sample is an answer that its endpoint could read, from a chain with as many timestamps as functions. Anything else is a failure; the original too
 *       writes no line for it.
 *   M2. Latency ends at the answer's first byte, and begins when the request was sent (closed loop, as the original) or due (open loop).
 */
import { PlatformError } from '#contract/errors.ts'
import type { Sample } from '../csv.ts'
import type { Answer, Endpoint } from '../provider.ts'
import type { EndedExchange, SendFailure } from './exchange.ts'
import { failureOf } from './sender.ts'

export interface MeasuredSample extends Sample, Answer {
  /** From when latency counts until the last byte. */
  readonly wholeMs: number
  /** Of `latencyMs`: opening a connection; 0 when one was open. */
  readonly connectMs: number
  /** How late the driver turned to it. In an open loop it is part of `latencyMs`. */
  readonly lateMs: number
  /** Bytes of the answer's body. */
  readonly bodyBytes: number
}

export interface SampleContext {
  readonly endpoint: Endpoint
  readonly burstId: number
  readonly chainLength: number
  readonly countedFrom: 'sent' | 'due'
  /** What to add to monotonic milliseconds for those since 1970. */
  readonly epochOffsetMs: number
}

export type Measured = { readonly kind: 'sample'; readonly sample: MeasuredSample } | { readonly kind: 'failure'; readonly failure: SendFailure }

export function measure(ended: EndedExchange, context: SampleContext): Measured {
  if (ended.failure !== undefined) return { kind: 'failure', failure: ended.failure }
  const { endpoint, burstId, chainLength, countedFrom, epochOffsetMs } = context
  const raw = ended.rawAnswer()
  try {
    const answer = endpoint.readAnswer(raw)
    if (chainLength > 1 && answer.timestamps.length !== chainLength) {
      const counts = `${answer.timestamps.length} timestamps, its chain has ${chainLength} functions`
      throw new PlatformError('ANSWER_INVALID', `${endpoint.host} answered with ${counts}: check that each adds one to TimestampChain`)
    }
    const fromMs = countedFrom === 'due' ? ended.dueMs : ended.sentMs
    const { requestId, timestamps, start, phases } = answer
    return {
      kind: 'sample',
      sample: {
        requestId, timestamps, start, phases, burstId,
        host: endpoint.host,
        sentAtMs: fromMs + epochOffsetMs,
        latencyMs: ended.firstByteMs - fromMs,
        wholeMs: ended.endMs - fromMs,
        connectMs: ended.connectedMs - ended.sentMs,
        lateMs: ended.sentMs - ended.dueMs,
        bodyBytes: ended.bodyBytes,
      },
    }
  } catch (thrown) {
    const { code, message } = failureOf(thrown)
    // A status says more than that the answer was none of the function's.
    if (ended.status < 200 || ended.status > 299) return { kind: 'failure', failure: { code: String(ended.status), message } }
    if (ended.bodyBytes === raw.body.length) return { kind: 'failure', failure: { code, message } }
    const cut = `the answer has ${ended.bodyBytes} bytes, of which ${raw.body.length} are kept for reading: let the function answer less`
    return { kind: 'failure', failure: { code: 'ANSWER_TOO_LARGE', message: `${cut} (${message})` } }
  }
}

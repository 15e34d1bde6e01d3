/**
 * W3C trace context: the `traceparent` header, read strictly, and which span is whose parent.
 *
 *   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *   version · trace-id · parent-id (a span) · flags (1: sampled)
 *
 * An invocation's record carries the traceparent that it came with; without one, a trace of its own whose trace-id is the
 * invocation's id. The invocation's span-id follows from its id (and attempt), so nothing else has to be kept, and
 * {@link ownTraceparent} is what the function sees and what its calls carry.
 *
 * Source: W3C Trace Context, level 1, sections 3.2 and 4; level 2 for the random flag. Where we differ: nothing. A header
 * that breaks the rules is as good as none, as section 3.2.2.3 asks.
 *
 * Invariants:
 *   W1. parse(format(x)) is x; whatever parses, formats to a valid version 00 header.
 *   W2. The caller's sampling decision is kept; only a trace that begins here is decided here.
 */

export interface TraceContext {
  /** 32 lowercase hex digits, not all zero. */
  readonly traceId: string
  /** 16 lowercase hex digits, not all zero. */
  readonly spanId: string
  readonly sampled: boolean
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const ZERO_TRACE = '0'.repeat(32)
const ZERO_SPAN = '0'.repeat(16)

/** @returns undefined when the header is absent or breaks the rules. */
export function parseTraceparent(header: string | undefined): TraceContext | undefined {
  if (header === undefined || header.length > 512) return undefined
  const parts = TRACEPARENT.exec(header)
  if (parts === null) return undefined
  const [, version, traceId, spanId, flags, rest] = parts
  // A later version may say more behind these four, version 00 may not; ff is forbidden.
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (traceId === ZERO_TRACE || spanId === ZERO_SPAN) return undefined
  return { traceId: traceId!, spanId: spanId!, sampled: (Number.parseInt(flags!, 16) & 1) === 1 }
}

export function formatTraceparent(context: TraceContext): string {
  return `00-${context.traceId}-${context.spanId}-${context.sampled ? '01' : '00'}`
}

/**
 * The traceparent that an invocation's record carries.
 *
 * @param header The caller's, if any. @param sampleShare 0..1: of the traces that begin here, how many are sampled.
 */
export function acceptTraceparent(header: string | undefined, id: string, sampleShare: number): string {
  const incoming = parseTraceparent(header)
  if (incoming !== undefined) return formatTraceparent(incoming)
  return formatTraceparent({ traceId: id, spanId: spanIdOf(id, 1), sampled: isSampled(id, sampleShare) })
}

/** The span of an invocation: the end of its id, which is random; another one for each attempt. */
export function spanIdOf(id: string, attempt: number): string {
  const span = id.slice(16)
  if (attempt <= 1 && span !== ZERO_SPAN) return span
  const last = (Number.parseInt(span.slice(8), 16) ^ Math.max(1, attempt - 1)) >>> 0
  return span.slice(0, 8) + last.toString(16).padStart(8, '0')
}

/**
 * What the invoked function sees, and what calls made during the invocation carry: its own span as the parent.
 *
 * @param traceparent Of the record: valid.
 */
export function ownTraceparent(traceparent: string, id: string, attempt: number): string {
  return traceparent.slice(0, 36) + spanIdOf(id, attempt) + traceparent.slice(52)
}

/** The same decision for the same trace everywhere: the last 32 bits of its id are the dice. */
export function isSampled(traceId: string, share: number): boolean {
  return share > 0 && Number.parseInt(traceId.slice(24), 16) < share * 2 ** 32
}

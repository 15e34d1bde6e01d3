/**
 * The spans of an invocation in the JSON of OTLP, from its record: the invocation, and below it the phases it went through.
 *
 *   invocation  ├───────────────────────────────────────────┤   parent: the span that the caller named
 *   queue       ├────┤
 *   placement        ├─┤
 *   sandbox            ├─────────┤                              phases that took no time have no span
 *   init                         ├─────┤
 *   run                                     ├───────────────┤   laid at the end, where the record says it was
 *
 * Source: OpenTelemetry, OTLP 1.x, JSON encoding (ids in hex, 64-bit numbers as text); semantic conventions for FaaS.
 */
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { parseTraceparent, spanIdOf } from './trace-context.ts'

export type OtlpValue = { readonly stringValue: string } | { readonly intValue: string } | { readonly doubleValue: number } | { readonly boolValue: boolean }

export interface OtlpAttribute {
  readonly key: string
  readonly value: OtlpValue
}

export interface OtlpSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  /** 1 internal, 2 server. */
  readonly kind: 1 | 2
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly OtlpAttribute[]
  /** 0 unset, 2 error. */
  readonly status: { readonly code: 0 | 2; readonly message?: string }
}

/** The request body of `POST /v1/traces`. */
export interface OtlpTraces {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] }
    readonly scopeSpans: readonly { readonly scope: { readonly name: string }; readonly spans: readonly OtlpSpan[] }[]
  }[]
}

export function otlpTraces(resource: Readonly<Record<string, string>>, spans: readonly OtlpSpan[]): OtlpTraces {
  return { resourceSpans: [{ resource: { attributes: attributes(resource) }, scopeSpans: [{ scope: { name: 'skep' }, spans }] }] }
}

/** None when the record's traceparent is not valid. */
export function spansOf(record: InvocationRecord): OtlpSpan[] {
  const context = parseTraceparent(record.traceparent)
  if (context === undefined) return []
  const spanId = spanIdOf(record.id, record.attempt)
  const startUs = Math.round(record.startedAtMs * 1000)
  const endUs = startUs + Math.round(record.totalUs)
  // A trace that begins here names the first attempt's span as its parent: its own, or that of the attempts after it.
  const hasParent = context.spanId !== spanId && context.traceId !== record.id
  const root: OtlpSpan = {
    traceId: context.traceId,
    spanId,
    ...(hasParent && { parentSpanId: context.spanId }),
    name: record.function,
    kind: 2,
    startTimeUnixNano: nanos(startUs),
    endTimeUnixNano: nanos(endUs),
    attributes: attributes({
      'faas.invocation_id': record.id, 'faas.name': record.function, 'faas.version': String(record.revision), 'faas.instance': record.instance,
      'faas.trigger': record.origin === 'http' ? 'http' : 'other', 'faas.coldstart': record.start === 'cold' || record.start === 'snapshot',
      'http.response.status_code': record.status, 'skep.namespace': record.namespace, 'skep.start': record.start, 'skep.origin': record.origin,
      'skep.attempt': record.attempt, 'skep.cpu_us': record.cpuUs, 'skep.memory_peak_mb': record.memoryPeakMb, 'skep.gb_ms': record.gbMs, 'skep.cost': record.cost,
      'skep.bytes_in': record.bytesIn, 'skep.bytes_out': record.bytesOut, ...(record.error !== undefined && { 'error.type': record.error.code }),
    }),
    status: record.outcome === 'error' ? { code: 2, message: (record.error?.message ?? '').slice(0, 1024) } : { code: 0 },
  }
  return [root, ...phasesOf(record, context.traceId, spanId, startUs, endUs)]
}

function phasesOf(record: InvocationRecord, traceId: string, parentSpanId: string, startUs: number, endUs: number): OtlpSpan[] {
  const phases: readonly (readonly [name: string, us: number])[] = [
    ['queue', record.queueUs], ['placement', record.placementUs], ['sandbox', record.sandboxUs], ['init', record.initUs], ['run', record.runUs],
  ]
  const spans: OtlpSpan[] = []
  let atUs = startUs
  for (const [index, [name, us]] of phases.entries()) {
    if (!(us > 0)) continue
    const fromUs = name === 'run' ? Math.max(startUs, endUs - Math.round(us)) : Math.min(atUs, endUs)
    const untilUs = Math.min(endUs, fromUs + Math.round(us))
    atUs = untilUs
    spans.push({
      traceId, spanId: phaseSpanId(parentSpanId, index), parentSpanId, name, kind: 1, startTimeUnixNano: nanos(fromUs), endTimeUnixNano: nanos(untilUs),
      attributes: [], status: { code: 0 },
    })
  }
  return spans
}

/** Derived, so that a repeated export is the same span: the first digits changed, which attempts leave alone. */
function phaseSpanId(spanId: string, index: number): string {
  const first = (Number.parseInt(spanId.slice(0, 8), 16) ^ (index + 1)) >>> 0
  return first.toString(16).padStart(8, '0') + spanId.slice(8)
}

/** µs since the epoch fit a number exactly, ns do not. */
function nanos(us: number): string {
  return `${us}000`
}

function attributes(values: Readonly<Record<string, string | number | boolean>>): OtlpAttribute[] {
  return Object.entries(values).map(([key, value]) => ({ key, value: otlpValue(value) }))
}

function otlpValue(value: string | number | boolean): OtlpValue {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

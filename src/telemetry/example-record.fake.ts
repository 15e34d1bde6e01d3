/** A plausible record, for unit tests. */
import type { InvocationRecord } from '#contract/invocation-record.ts'

let made = 0

/** A new id each time, accepted at `startedAtMs`. */
export function exampleRecord(over: Partial<InvocationRecord> = {}): InvocationRecord {
  const startedAtMs = over.startedAtMs ?? 1_700_000_000_000
  const id = startedAtMs.toString(16).padStart(12, '0') + (++made).toString(16).padStart(20, '0')
  return {
    id, namespace: 'guest', function: 'resize', revision: 3, origin: 'http', traceparent: `00-${id}-${id.slice(16)}-00`, attempt: 1, startedAtMs, outcome: 'ok',
    status: 200, start: 'warm', instance: 'resize-3-17', totalUs: 1800, queueUs: 20, placementUs: 0, sandboxUs: 0, initUs: 0, runUs: 1700, cpuUs: 900,
    memoryPeakMb: 41, memoryLimitMb: 256, gbMs: 0.425, cost: 2.07e-7, bytesIn: 120, bytesOut: 4096, logLines: 1, ...over,
  }
}

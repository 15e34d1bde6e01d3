/**
 * Reads blocks of records as they were written until the format of record-codec.ts: the row is JSON as a whole, and each
 * record is a line with its values in the order of `columns`.
 *
 *   [{"v":1,"n":17,"c":2,"e":1, …},
 *   ["0190…","resize",3,"http", …],
 *   ["0190…","resize",3,"http", …]]
 *
 * Records are kept for 14 days: what is older than that was written by a newer version, and then this file can go.
 */
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { formatTraceparent, spanIdOf } from './trace-context.ts'

const columns = [
  'id', 'function', 'revision', 'origin', 'parent', 'traceparent', 'attempt', 'startedAtMs', 'outcome', 'status', 'error', 'start', 'instance',
  'totalUs', 'queueUs', 'placementUs', 'sandboxUs', 'initUs', 'runUs', 'cpuUs', 'memoryPeakMb', 'memoryLimitMb', 'gbMs', 'cost',
  'bytesIn', 'bytesOut', 'logLines',
] as const satisfies readonly (keyof InvocationRecord)[]

/** The records of a block of version 1, oldest first. @throws when the row is damaged. */
export function decodeBlockV1(row: string, namespace: string): InvocationRecord[] {
  const [, ...lines] = JSON.parse(row) as [unknown, ...unknown[][]]
  return lines.map((values) => {
    if (values.length !== columns.length) throw new RangeError(`a record of ${values.length} values`)
    const record: Record<string, unknown> = { id: values[0], namespace }
    for (let column = 1; column < columns.length; column++) {
      const value = values[column]
      if (value !== null && value !== undefined) record[columns[column]!] = value
    }
    const id = String(values[0])
    // A trace that began here, unsampled, was left out: it follows from the invocation's id.
    record['traceparent'] ??= formatTraceparent({ traceId: id, spanId: spanIdOf(id, 1), sampled: false })
    return record as unknown as InvocationRecord
  })
}

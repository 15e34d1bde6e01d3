/** `skep stats` and `skep openapi`. */
import type { FunctionFigures } from '../api-types.ts'
import type { Context } from '../context.ts'
import { bytes, duration, money, table } from '../format.ts'

interface StatsAnswer {
  readonly functions: readonly FunctionFigures[]
  /** For an admin key. */
  readonly platform?: Readonly<Record<string, number>>
}

export async function stats(context: Context): Promise<void> {
  const answer = await (await context.client()).json<StatsAnswer>('GET', '/v1/stats')
  context.result(answer, () => statsText(answer))
}

export async function openapi(context: Context): Promise<void> {
  const document = await (await context.client()).json<object>('GET', '/v1/openapi.json')
  context.result(document, () => JSON.stringify(document, null, 2))
}

/** The busiest functions first, then the platform itself. */
export function statsText({ functions, platform }: StatsAnswer): string {
  const rows = functions
    .toSorted((one, other) => other.invocations - one.invocations)
    .map((of) => [
      of.function,
      String(of.invocations),
      String(of.errors),
      String(of.cold),
      duration(of.totalUs.p50),
      duration(of.totalUs.p99),
      duration(of.queueUs.p99),
      duration(of.runUs.p50),
      `${of.cpuMs.toFixed(1)} ms`,
      of.gbSeconds.toFixed(3),
      money(of.cost),
    ])
  const head = ['FUNCTION', 'CALLS', 'ERRORS', 'COLD', 'P50', 'P99', 'QUEUE P99', 'RUN P50', 'CPU', 'GB·S', 'COST']
  const parts = [rows.length === 0 ? 'No function was invoked in the last 15 minutes.' : table(head, rows)]
  if (platform !== undefined) {
    const { instances = 0, instanceBytes = 0, stemCells = 0, stemCellBytes = 0, faasletHosts = 0, snapshots = 0, snapshotBytes = 0, residentBytes = 0, uptimeS = 0 } = platform
    parts.push(`Up for ${uptimeS} s with ${bytes(residentBytes)}; ${instances} instances with ${bytes(instanceBytes)}, ${stemCells} stem cells with ${bytes(stemCellBytes)}, ${faasletHosts} faaslet hosts; ${snapshots} snapshots on ${bytes(snapshotBytes)} of disk.`)
  }
  return parts.join('\n\n')
}

/** `skep snapshot list`, `show` and `drop`. A snapshot is named as its function, or as one revision of it: hello, hello@3. */
import { PlatformError } from '#contract/errors.ts'
import type { SnapshotDetails, SnapshotSummary } from '../api-types.ts'
import type { Context } from '../context.ts'
import { ago, bytes, table, when } from '../format.ts'

const PAGE_BYTES = 4096

export async function list(context: Context): Promise<void> {
  const answer = await (await context.client()).json<{ snapshots: SnapshotSummary[] }>('GET', '/v1/snapshots')
  context.result(answer, () => {
    if (answer.snapshots.length === 0) return 'No snapshots. Functions of kinds wasm and js get one with their first instance.'
    return table(
      ['NAME', 'IMAGE', 'STORED', 'DISK', 'RECORDED', 'PREFETCHED', 'RUNS', 'IN USE', 'AGE', 'LAST USE'],
      answer.snapshots.map((one) => {
        const { recording } = one
        const recorded = recording === undefined ? ['-', '-', '-'] : [recording.pagesRecorded, recording.pagesPrefetched, recording.runs].map(String)
        return [`${one.function}@${one.revision}`, bytes(one.imageBytes), bytes(one.storedBytes), bytes(one.diskBytes), ...recorded, String(one.inUse), ago(one.takenAtMs, Date.now()), ago(one.lastUsedMs, Date.now())]
      }),
    )
  })
}

export async function show(context: Context, name: string): Promise<void> {
  const path = pathOf(name)
  const details = await (await context.client()).json<SnapshotDetails>('GET', path)
  context.result(details, () => detailsText(details, Date.now()))
}

export async function drop(context: Context, names: readonly string[]): Promise<void> {
  const paths = names.map(pathOf)
  const client = await context.client()
  const dropped: string[] = []
  for (const [index, path] of paths.entries()) {
    const answer = await client.json<{ dropped: number[] }>('DELETE', path)
    for (const revision of answer.dropped) dropped.push(`${names[index]!.split('@')[0]}@${revision}`)
  }
  context.result({ dropped }, () => `dropped ${dropped.join(', ')}`)
}

export function detailsText(of: SnapshotDetails, nowMs: number): string {
  const time = (atMs: number): string => `${when(atMs)}, ${ago(atMs, nowMs)} ago`
  const rows: [string, string][] = [
    ['name', `${of.function}@${of.revision}`],
    ['image', `${bytes(of.imageBytes)} of memory, ${bytes(of.storedBytes)} of it not zero`],
    ['disk', bytes(of.diskBytes)],
    ['taken', `${time(of.takenAtMs)}, ${of.answered === 0 ? 'after initialisation' : `after ${of.answered} ${of.answered === 1 ? 'invocation' : 'invocations'}`}`],
    ['last use', `${time(of.lastUsedMs)}; ${of.inUse} ${of.inUse === 1 ? 'instance holds' : 'instances hold'} it now`],
    ['checked', of.verified ? 'yes, since the platform started' : 'not yet since the platform started'],
  ]
  const { recording, footprint, contiguity } = of
  if (recording === undefined) rows.push(['recorded', 'no: a start reads pages when they are touched'])
  else {
    rows.push(['recorded', time(recording.recordedAtMs)])
    rows.push(['pages', `${recording.pagesRecorded} touched, ${recording.pagesZero} of them zero`])
    rows.push(['prefetch', `${recording.pagesPrefetched} pages, ${bytes(recording.pagesPrefetched * PAGE_BYTES)} in ${recording.runs} runs by ${recording.order}, ${recording.encoding}`])
  }
  if (footprint !== undefined) {
    const { touchedBytes, storedBytes, touchedZeroBytes, touchedShare } = footprint
    rows.push(['footprint', `${bytes(touchedBytes)} touched of ${bytes(storedBytes + touchedZeroBytes)}: ${(100 * touchedShare).toFixed(1)} %`])
  }
  if (contiguity !== undefined && contiguity.runs > 0) {
    rows.push(['contiguity', `${contiguity.meanRunPages.toFixed(1)} pages a run on average, ${contiguity.longestRunPages} the longest`])
    rows.push(['', runsText(contiguity.runsByPowerOfTwo)])
  }
  return rows.map(([label, text]) => `${label.padEnd(12)}${text}`.trimEnd()).join('\n')
}

/** "1: 40, 2: 12, 3–4: 7": how many runs have so many pages. */
function runsText(byPowerOfTwo: readonly number[]): string {
  const range = (power: number): string => (power < 2 ? String(2 ** power) : `${2 ** (power - 1) + 1}–${2 ** power}`)
  return `runs by length: ${byPowerOfTwo.flatMap((count, power) => (count === 0 ? [] : `${range(power)}: ${count}`)).join(', ')}`
}

function pathOf(name: string): string {
  const parts = /^([^@]+)(?:@(\d+))?$/.exec(name)
  if (parts === null) throw new PlatformError('INPUT_INVALID', `${JSON.stringify(name)} is no name of a snapshot. Write FUNCTION, or FUNCTION@REVISION for one revision.`)
  return `/v1/snapshots/${encodeURIComponent(parts[1]!)}${parts[2] === undefined ? '' : `?revision=${parts[2]}`}`
}

/** `skep invocations`, `skep get invocation` and `skep get result`. */
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { PlatformError } from '#contract/errors.ts'
import { errorOf, readBytes, readText } from '../api-client.ts'
import { exitCodes } from '../exit-codes.ts'
import { resultOf } from './invoke.ts'
import type { InvocationView, RecordsAnswer } from '../api-types.ts'
import type { Context } from '../context.ts'
import { duration, parseSince, parseWhole, table, when } from '../format.ts'
import { phases, restoreText } from '../record-summary.ts'

export async function invocations(context: Context, name: string | undefined): Promise<void> {
  const { options } = context
  const query = new URLSearchParams({ limit: String(parseWhole('--limit', String(options['limit']), 1, 1000)) })
  if (name !== undefined) query.set('function', name)
  if (options['since'] !== undefined) query.set('since', String(parseSince(options['since'] as string, Date.now())))
  if (options['until'] !== undefined) query.set('until', String(parseSince(options['until'] as string, Date.now())))
  for (const [option, key] of [['outcome', 'status'], ['start', 'start'], ['search', 'search']] as const) if (options[option] !== undefined) query.set(key, options[option] as string)
  if (options['slower'] !== undefined) query.set('minUs', String(parseWhole('--slower', options['slower'] as string, 0, 1e9) * 1000))
  const answer = await (await context.client()).json<RecordsAnswer>('GET', `/v1/invocations?${query}`)
  context.result(answer, () => {
    if (answer.invocations.length === 0) return 'No invocations. Run one: skep invoke NAME'
    return table(
      ['STARTED', 'FUNCTION', 'REV', 'ENDED', 'START', 'TOTAL', 'WHERE', 'ID'],
      answer.invocations.map((one) => [when(one.startedAtMs), one.function, String(one.revision), one.outcome === 'ok' ? String(one.status) : (one.error?.code ?? 'error'), one.start, duration(one.totalUs), phases(one), one.id]),
    )
  })
}

export async function getInvocation(context: Context, id: string): Promise<void> {
  const record = await (await context.client()).json<InvocationView>('GET', `/v1/invocations/${encodeURIComponent(id)}`)
  context.result(record, () => JSON.stringify(record, null, 2))
  const restored = record.state === 'ended' ? restoreText(record) : undefined
  if (restored !== undefined) context.note(restored)
}

/** The answer as it is, into the output or a file. @returns exit code `later` while there is none yet. */
export async function getResult(context: Context, id: string): Promise<number> {
  const response = await (await context.client()).send(`/v1/invocations/${encodeURIComponent(id)}/result`, {})
  if (response.headers['x-skep-error'] !== undefined) throw errorOf(response, await readText(response))
  if (response.headers['x-skep-state'] === 'queued') {
    context.result(JSON.parse(await readText(response)), () => '')
    context.note(`${id} waits or runs still; ask again later.`)
    return exitCodes.later
  }
  const path = context.options['output'] as string | undefined
  try {
    if (context.json) {
      const type = String(response.headers['content-type'] ?? '')
      context.result({ id, status: response.statusCode, ...resultOf(await readBytes(response), type) }, () => '')
    } else {
      await pipeline(response, path === undefined ? process.stdout : createWriteStream(path), { end: path !== undefined })
    }
  } catch (cause) {
    throw new PlatformError('SERVER_UNREACHABLE', 'The answer broke off before its end. What came of it is not all; ask again.', { cause })
  }
  return response.statusCode! >= 500 ? exitCodes.functionFailed : exitCodes.ok
}

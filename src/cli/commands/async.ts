/** `skep async`: the durable queue of accepted invocations, and its dead letters. */
import type { AsyncStatus, DeadLetter } from '../api-types.ts'
import type { Context } from '../context.ts'
import { parseWhole, table, when } from '../format.ts'

export async function status(context: Context): Promise<void> {
  const answer = await (await context.client()).json<AsyncStatus>('GET', '/v1/async')
  context.result(answer, () => `${answer.waiting} waiting, ${answer.claimed} running, ${answer.dead} dead${answer.dead > 0 ? ' (skep async dead)' : ''}`)
}

export async function dead(context: Context): Promise<void> {
  const limit = parseWhole('--limit', String(context.options['limit']), 1, 1000)
  const answer = await (await context.client()).json<{ dead: DeadLetter[] }>('GET', `/v1/async/dead?limit=${limit}`)
  context.result(answer, () => {
    if (answer.dead.length === 0) return 'No dead letters.'
    return table(['GIVEN UP', 'FUNCTION', 'ATTEMPTS', 'ID', 'WHY'], answer.dead.map((one) => [when(one.buriedAtMs), one.function, String(one.attempt), one.id, one.reason]))
  })
}

export async function redrive(context: Context, ids: readonly string[]): Promise<void> {
  const client = await context.client()
  const wanted = ids.length > 0 ? ids : (await client.json<{ dead: DeadLetter[] }>('GET', '/v1/async/dead?limit=1000')).dead.map((one) => one.id)
  const answer = wanted.length === 0 ? { redriven: 0 } : await client.json<{ redriven: number }>('POST', '/v1/async/redrive', { ids: wanted })
  context.result(answer, () => `${answer.redriven} back in the queue`)
}

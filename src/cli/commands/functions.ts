/** `skep list`, `get function`, `delete`, `revisions`, `rollback`, `traffic`. */
import { PlatformError } from '#contract/errors.ts'
import type { FunctionSummary, FunctionView, Revision, TrafficShare } from '../api-types.ts'
import type { Context } from '../context.ts'
import { ago, bytes, table } from '../format.ts'

export async function list(context: Context): Promise<void> {
  const client = await context.client()
  const answer = await client.json<{ functions: FunctionSummary[] }>('GET', '/v1/functions?limit=10000')
  context.result(answer, () => {
    if (answer.functions.length === 0) return 'No functions yet. Deploy one: skep deploy FILE'
    const rows = answer.functions.map((fn) => [fn.name, fn.kind, String(fn.revision), shares(fn.traffic), String(fn.instances.ready + fn.instances.busy), ago(fn.updatedAtMs, Date.now()), fn.public ? 'public' : 'key', fn.url])
    return table(['NAME', 'KIND', 'REVISION', 'TRAFFIC', 'INSTANCES', 'AGE', 'ACCESS', 'URL'], rows)
  })
}

export async function getFunction(context: Context, name: string): Promise<void> {
  const answer = await (await context.client()).json<FunctionView>('GET', path(name))
  context.result(answer, () => JSON.stringify(answer, null, 2))
}

export async function remove(context: Context, names: readonly string[]): Promise<void> {
  const client = await context.client()
  for (const name of names) await client.json('DELETE', path(name))
  context.result({ deleted: names }, () => `deleted ${names.join(', ')}`)
}

export async function revisions(context: Context, name: string): Promise<void> {
  const client = await context.client()
  const [{ revisions: all }, { traffic: current }] = await Promise.all([
    client.json<{ revisions: Revision[] }>('GET', `${path(name)}/revisions`),
    client.json<FunctionView>('GET', path(name)),
  ])
  context.result({ revisions: all, traffic: current }, () => {
    const weight = (number: number): string => `${current.find((share) => share.revision === number)?.weight ?? 0} %`
    return table(
      ['REVISION', 'TRAFFIC', 'KIND', 'MEMORY', 'CODE', 'BYTES', 'AGE'],
      all.map((one) => [String(one.number), weight(one.number), one.config.kind, `${one.config.memoryMb} MB`, one.code.slice(0, 12), bytes(one.codeBytes), ago(one.createdAtMs, Date.now())]),
    )
  })
}

export async function rollback(context: Context, name: string, revision: string | undefined): Promise<void> {
  const answer = await (await context.client()).json<FunctionView>('POST', `${path(name)}/rollback`, revision === undefined ? {} : { revision: Number(revision) })
  context.result(answer, () => `${name} now runs ${shares(answer.traffic)}`)
}

export async function traffic(context: Context, name: string, pairs: readonly string[]): Promise<void> {
  const wanted = pairs.map((pair): TrafficShare => {
    const match = /^(\d+)=(\d+(?:\.\d+)?)%?$/.exec(pair)
    if (match === null) throw new PlatformError('INPUT_INVALID', `${JSON.stringify(pair)} is no share of the traffic. Write REVISION=PERCENT, for example: skep traffic ${name} 3=90 4=10`)
    return { revision: Number(match[1]), weight: Number(match[2]) }
  })
  const answer = await (await context.client()).json<FunctionView>('PUT', `${path(name)}/traffic`, wanted)
  context.result(answer, () => `${name} now runs ${shares(answer.traffic)}`)
}

/** "r3 90 %, r4 10 %". */
function shares(all: readonly TrafficShare[]): string {
  return all.map((share) => (share.weight === 100 ? `r${share.revision}` : `r${share.revision} ${share.weight} %`)).join(', ')
}

function path(name: string): string {
  return `/v1/functions/${encodeURIComponent(name)}`
}

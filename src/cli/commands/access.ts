/** `skep secret`, `skep namespace`, `skep key`. */
import { PlatformError } from '#contract/errors.ts'
import type { ApiClient } from '../api-client.ts'
import type { Context } from '../context.ts'
import { table, when } from '../format.ts'
import { readStandardInput } from '../input.ts'

export async function secretSet(context: Context, name: string): Promise<void> {
  const input = (await readStandardInput()).toString('utf8')
  // `echo value | skep secret set NAME` means the value, not the value and a newline.
  const value = context.options['keepNewline'] === true ? input : input.replace(/\r?\n$/, '')
  if (value === '') throw new PlatformError('INPUT_INVALID', `Standard input is empty: the secret ${name} was not set. For example: printf %s "$TOKEN" | skep secret set ${name}`)
  await (await context.client()).json('PUT', `/v1/secrets/${encodeURIComponent(name)}`, { value })
  context.result({ set: name }, () => `secret ${name} set; functions that name it see it from their next instance on`)
}

export async function secretList(context: Context): Promise<void> {
  const answer = await (await context.client()).json<{ secrets: { name: string; updatedAtMs: number }[] }>('GET', '/v1/secrets')
  context.result(answer, () => (answer.secrets.length === 0 ? 'No secrets.' : table(['NAME', 'SET'], answer.secrets.map((one) => [one.name, when(one.updatedAtMs)]))))
}

export async function secretDelete(context: Context, name: string): Promise<void> {
  await (await context.client()).json('DELETE', `/v1/secrets/${encodeURIComponent(name)}`)
  context.result({ deleted: name }, () => `secret ${name} deleted`)
}

export async function namespaceList(context: Context): Promise<void> {
  const answer = await (await context.client()).json<{ namespaces: { name: string; createdAtMs: number }[] }>('GET', '/v1/namespaces')
  context.result(answer, () => table(['NAME', 'CREATED'], answer.namespaces.map((one) => [one.name, when(one.createdAtMs)])))
}

export async function namespaceCreate(context: Context, name: string): Promise<void> {
  const answer = await (await context.client()).json<{ key: string }>('POST', '/v1/namespaces', { name, ...quotasOf(context) })
  context.note(`namespace ${name} created. Its first key is shown once: keep it now.`)
  context.result(answer, () => answer.key)
}

export async function namespaceDelete(context: Context, name: string): Promise<void> {
  await (await context.client()).json('DELETE', `/v1/namespaces/${encodeURIComponent(name)}`)
  context.result({ deleted: name }, () => `namespace ${name} deleted`)
}

export async function keyList(context: Context): Promise<void> {
  const client = await context.client()
  const answer = await client.json<{ keys: { id: string; name: string; role: string; createdAtMs: number }[] }>('GET', await keysPath(client))
  context.result(answer, () => table(['ID', 'NAME', 'ROLE', 'CREATED'], answer.keys.map((one) => [one.id, one.name, one.role, when(one.createdAtMs)])))
}

export async function keyCreate(context: Context, name: string): Promise<void> {
  const client = await context.client()
  const answer = await client.json<{ key: string }>('POST', await keysPath(client), { name, role: context.options['admin'] === true ? 'admin' : 'namespace' })
  context.note('It is shown once: keep it now.')
  context.result(answer, () => answer.key)
}

export async function keyRevoke(context: Context, id: string): Promise<void> {
  const client = await context.client()
  await client.json('DELETE', `${await keysPath(client)}/${encodeURIComponent(id)}`)
  context.result({ revoked: id }, () => `key ${id} revoked`)
}

/** Keys belong to a namespace: the one that is named, or the one of the key in use. */
async function keysPath(client: ApiClient): Promise<string> {
  const namespace = client.connection.namespace ?? (await client.json<{ namespace: string }>('GET', '/v1/whoami')).namespace
  return `/v1/namespaces/${encodeURIComponent(namespace)}/keys`
}

function quotasOf(context: Context): { quotas?: unknown } {
  const text = context.options['quotas'] as string | undefined
  if (text === undefined) return {}
  try {
    return { quotas: JSON.parse(text) as unknown }
  } catch (cause) {
    throw new PlatformError('JSON_INVALID', `--quotas is not JSON: ${(cause as Error).message}. For example: --quotas '{"invocationsPerMinute":600}'`, { cause })
  }
}

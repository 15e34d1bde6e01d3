/** Adapter: an action of OpenWhisk. Chains go through its API, with the key that the annotation provide-api-key gives an action. */
import { preciseNow } from './work.ts'
import type { Fields, Reply, Work } from './work.ts'

export function serve(work: Work) {
  return (parameters: Fields): Reply | Promise<Reply> =>
    work(parameters, { requestId: process.env['__OW_ACTIVATION_ID'] ?? '', now: preciseNow, invoke: callNext })
}

async function callNext(id: string, message: Fields): Promise<Reply> {
  const host = process.env['__OW_API_HOST'] ?? ''
  const key = Buffer.from(process.env['__OW_API_KEY'] ?? '').toString('base64')
  const response = await fetch(`${/^https?:/.test(host) ? host : `https://${host}`}/api/v1/namespaces/_/actions/${encodeURIComponent(id)}?blocking=true&result=true`, {
    method: 'POST',
    headers: { authorization: `Basic ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(message),
  })
  if (response.status !== 200) throw new Error(`${id} answered ${response.status}: ${(await response.text()).slice(0, 200)}`)
  return (await response.json()) as Reply
}

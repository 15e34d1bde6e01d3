/**
 * Adapter: a server of its own, for Knative and wherever else a container that listens on $PORT is a function. The ids of a chain are addresses.
 *
 * It is all that an image needs: `node main.mjs`. Storage is the image's affair: whoever has a client of one in it hands in `put` and `get`.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import { fieldsOf, preciseNow } from './work.ts'
import type { Links, Reply, Work } from './work.ts'

/** @param host An image's network is its own; elsewhere say which. */
export function serve(work: Work, port = Number(process.env['PORT'] ?? 8080), host = '0.0.0.0', links: Partial<Links> = {}): Server {
  const server = createServer((request, response) => {
    answer(work, request, links).then(
      (reply) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply)),
      (error: unknown) => response.writeHead(500, { 'content-type': 'application/json' }).end(JSON.stringify({ error: String(error) })),
    )
  })
  return server.listen(port, host)
}

async function answer(work: Work, request: IncomingMessage, links: Partial<Links>): Promise<Reply> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const fields = fieldsOf(new URL(request.url ?? '/', 'http://here').searchParams, Buffer.concat(chunks).toString())
  const named = request.headers['x-request-id']
  return work(fields, { requestId: typeof named === 'string' ? named : randomUUID(), now: preciseNow, invoke: callNext, ...links })
}

async function callNext(id: string, message: object): Promise<Reply> {
  const response = await fetch(/^https?:/.test(id) ? id : `http://${id}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(message) })
  if (!response.ok) throw new Error(`${id} answered ${response.status}: ${(await response.text()).slice(0, 200)}`)
  return (await response.json()) as Reply
}

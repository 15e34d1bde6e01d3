/** Adapter: a module worker on workerd. The functions of a chain are bound to each other as services, by their ids. */
import { fieldsOf } from './work.ts'
import type { Reply, Work } from './work.ts'

type Services = Readonly<Record<string, { fetch(request: Request): Promise<Response> }>>

export function serve(work: Work) {
  return {
    async fetch(request: Request, services: Services): Promise<Response> {
      const body = request.method === 'GET' ? '' : await request.text()
      const fields = fieldsOf(new URL(request.url).searchParams, body)
      const reply = await work(fields, {
        requestId: crypto.randomUUID(),
        // Its clock only goes on with I/O, and has whole milliseconds.
        now: () => new Promise((resolve) => setTimeout(() => resolve(Date.now()), 0)),
        async invoke(id, message) {
          const service = services[id]
          if (service === undefined) throw new Error(`DataTransferChainIDs: no service is bound as ${id}`)
          const answer = await service.fetch(new Request('http://next/', { method: 'POST', body: JSON.stringify(message) }))
          if (!answer.ok) throw new Error(`${id} answered ${answer.status}: ${(await answer.text()).slice(0, 200)}`)
          return (await answer.json()) as Reply
        },
      })
      return Response.json(reply)
    },
  }
}

/** Invocations: run one, find records, read and follow logs; asynchronous ones that wait or have died. */
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import { functionMissing } from '#registry/functions.ts'
import { sendLines } from '../answer.ts'
import { sendKeptAnswer } from '../kept-answer.ts'
import { handled, route } from '../route.ts'
import type { Route } from '../route.ts'
import { deadInvocation, flag, invocationId, invocationRecord, invocationView, limit, logLine, queuedInvocation, recordQuery, time } from '../schemas.ts'

export const invocationRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/functions/{name}/invocations',
    summary: 'Invoke a function; the body is its payload',
    tag: 'invocations',
    access: 'key',
    namespaced: true,
    rawBody: '*/*',
    query: z.strictObject({ async: flag.default(false).describe('true: accepted durably and run later; answers 202 with the id.') }),
    answers: {
      200: { description: 'What the function answered, with its own status and headers.' },
      202: { description: 'Accepted.', schema: z.object({ id: invocationId }) },
    },
    handle(call) {
      call.services.invoke(call.request, call.response, call.principal, call.namespace, call.params['name']!, { async: call.query.async })
      return handled
    },
  }),
  route({
    method: 'GET',
    path: '/v1/invocations',
    summary: 'Records of invocations that ended',
    tag: 'invocations',
    access: 'key',
    namespaced: true,
    query: recordQuery,
    answers: {
      200: {
        description: 'Newest first. A page may be short and still have a cursor.',
        schema: z.object({ invocations: z.array(invocationRecord).readonly(), cursor: z.string().optional() }),
      },
    },
    async handle(call) {
      const { status, since, until, ...rest } = call.query
      const page = await call.services.records.list({
        ...defined(rest),
        limit: rest.limit,
        namespace: call.namespace,
        ...(status !== undefined && { outcome: status }),
        ...(since !== undefined && { sinceMs: since }),
        ...(until !== undefined && { untilMs: until }),
      })
      return { status: 200, value: { invocations: page.records, ...(page.cursor !== undefined && { cursor: page.cursor }) } }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/invocations/{id}',
    summary: 'One invocation: its record and logs, or where it waits',
    tag: 'invocations',
    access: 'key',
    namespaced: true,
    answers: { 200: { description: 'Ended, or (asynchronous ones) queued.', schema: invocationView } },
    async handle(call) {
      const id = call.params['id']!
      const { records, queue, logs } = call.services
      // The queue first: an attempt that failed has a record, but the invocation goes on.
      const queued = await queue.find(call.namespace, id)
      if (queued !== undefined) return { status: 200, value: { state: 'queued' as const, ...queued } }
      const record = await records.get(call.namespace, id)
      if (record === undefined) {
        throw new PlatformError(
          'INVOCATION_NOT_FOUND',
          `There is no invocation ${id} in namespace ${call.namespace}: it runs still, its record was trimmed, or it is of another namespace.`,
          { details: { id } },
        )
      }
      return { status: 200, value: { ...record, state: 'ended' as const, logs: await logs.ofInvocation(record) } }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/invocations/{id}/result',
    summary: 'What an asynchronous invocation answered',
    tag: 'async',
    access: 'key',
    namespaced: true,
    answers: {
      200: { description: 'What the function answered, with its own status and headers, or the error in place of it: as if the invocation had been waited for. `x-skep-state: ended` tells it from answers about the result.' },
      202: { description: 'Not yet: it waits or runs (`x-skep-state: queued`).', schema: queuedInvocation },
    },
    async handle(call) {
      const id = call.params['id']!
      const { queue } = call.services
      // The queue first: an item leaves it only after its result is there.
      const queued = await queue.find(call.namespace, id)
      if (queued !== undefined) {
        call.response.setHeader('x-skep-state', 'queued')
        return { status: 202, value: queued }
      }
      const result = await queue.result(call.namespace, id)
      if (result === undefined) {
        throw new PlatformError(
          'INVOCATION_NOT_FOUND',
          `There is no result of ${id} in namespace ${call.namespace}: it was not an asynchronous invocation, it was accepted more than 24 h ago, or it is of another namespace.`,
          { details: { id } },
        )
      }
      await sendKeptAnswer(call.response, id, result)
      return handled
    },
  }),
  route({
    method: 'GET',
    path: '/v1/functions/{name}/logs',
    summary: 'What a function printed, one JSON line each',
    tag: 'invocations',
    access: 'key',
    namespaced: true,
    query: z.strictObject({ since: time.optional(), limit: limit(1000, 100_000), follow: flag.default(false).describe('true: go on with each new line.') }),
    answers: { 200: { description: 'Lines, oldest first.', schema: logLine, contentType: 'application/x-ndjson' } },
    async handle(call) {
      const name = call.params['name']!
      const { namespace, response, services } = call
      if (services.functions.get(namespace, name) === undefined) throw functionMissing(namespace, name)
      const { since, limit, follow } = call.query
      const query = { namespace, function: name, limit, ...(since !== undefined && { sinceMs: since }) }
      const gone = new AbortController()
      response.once('close', () => gone.abort())
      await sendLines(response, follow ? services.logs.follow({ ...query, signal: gone.signal }) : services.logs.read(query), gone.signal)
      return handled
    },
  }),
  route({
    method: 'GET',
    path: '/v1/async',
    summary: 'How many asynchronous invocations wait, run, or have died',
    tag: 'async',
    access: 'key',
    namespaced: false,
    answers: { 200: { description: 'Of the whole platform.', schema: z.object({ waiting: z.int(), claimed: z.int(), dead: z.int() }) } },
    handle: async (call) => ({ status: 200, value: await call.services.queue.depth() }),
  }),
  route({
    method: 'GET',
    path: '/v1/async/dead',
    summary: 'Asynchronous invocations that failed for good',
    tag: 'async',
    access: 'key',
    namespaced: true,
    query: z.strictObject({ limit: limit(100, 1000) }),
    answers: { 200: { description: 'Dead letters.', schema: z.object({ dead: z.array(deadInvocation).readonly() }) } },
    handle: async (call) => ({ status: 200, value: { dead: await call.services.queue.dead(call.namespace, { limit: call.query.limit }) } }),
  }),
  route({
    method: 'POST',
    path: '/v1/async/redrive',
    summary: 'Run dead ones again, with all their attempts',
    tag: 'async',
    access: 'key',
    namespaced: true,
    body: z.strictObject({ ids: z.array(invocationId).min(1).max(1000) }),
    answers: { 200: { description: 'How many went back into the queue.', schema: z.object({ redriven: z.int() }) } },
    handle: async (call) => ({ status: 200, value: { redriven: await call.services.queue.redrive(call.namespace, call.body.ids) } }),
  }),
]

/** Without the keys whose value is undefined, which an exact optional property may not have. */
function defined<Value extends object>(value: Value): { [Key in keyof Value]: Exclude<Value[Key], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as never
}

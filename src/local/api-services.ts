/** Joins the native API to the parts that do what it offers: one small adapter for each of its narrow interfaces. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Activator } from '#activator/activator.ts'
import { ASYNC_QUEUE } from '#activator/async-queue.ts'
import type { AsyncQueue } from '#activator/async-queue.ts'
import type { Log } from '#base/log.ts'
import type { Revision } from '#contract/function-config.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { sendError } from '#gateway/api/answer.ts'
import { createApi } from '#gateway/api/main.ts'
import type { ApiServices, DeadInvocation, QueuedInvocation } from '#gateway/api/services.ts'
import type { Authenticator } from '#gateway/authentication.ts'
import type { Front } from '#gateway/front.ts'
import type { FunctionRegistry } from '#registry/functions.ts'
import { functionMissing } from '#registry/functions.ts'
import type { NamespaceRegistry } from '#registry/namespaces.ts'
import type { SecretStore } from '#registry/secrets.ts'
import type { ClaimedItem, DeadItem, Store } from '#store/store.ts'
import type { Telemetry } from '#telemetry/main.ts'
import type { SnapshotStore } from '#worker/snapshots/snapshot-store.ts'
import type { Worker } from '#worker/worker.ts'
import { checkFaasletCode } from './code-check.ts'
import { snapshotReader } from './snapshot-services.ts'
import { version } from './version.ts'

export interface ApiParts {
  readonly front: Front
  readonly authenticator: Authenticator
  readonly functions: FunctionRegistry
  readonly namespaces: NamespaceRegistry
  readonly secrets: SecretStore
  readonly s3: ApiServices['s3']
  readonly telemetry: Telemetry
  readonly store: Store
  readonly asyncQueue: AsyncQueue
  readonly activator: Activator
  readonly worker: Worker
  readonly snapshots: SnapshotStore
  readonly resolve: (namespace: string, name: string) => Revision | undefined
  readonly log: Log
}

export function makeApi(parts: ApiParts): (request: IncomingMessage, response: ServerResponse) => void {
  const { front, authenticator, functions, namespaces, secrets, telemetry, activator, resolve, log } = parts
  const services: ApiServices = {
    authenticator,
    functions,
    namespaces,
    secrets,
    s3: parts.s3,
    records: {
      list: (query) => telemetry.records.list(query),
      get: async (namespace, id) => telemetry.records.get(namespace, id),
    },
    logs: logReader(telemetry),
    queue: queueReader(parts.store, parts.asyncQueue),
    instances: (namespace, name) => {
      const counts = { starting: 0, ready: 0, busy: 0 }
      for (const pool of activator.pools()) {
        if (pool.revision.namespace !== namespace || pool.revision.function !== name) continue
        counts.starting += pool.startingCount
        for (const instance of pool.instances) counts[instance.proxy.load.inFlight > 0 ? 'busy' : 'ready']++
      }
      return counts
    },
    snapshots: snapshotReader(parts.snapshots),
    deployments: {
      check: checkFaasletCode,
      prepare: (revision) => activator.prepare(revision),
      release: (revision) => activator.dropped(revision),
    },
    stats: async (namespace) => statsOf(parts, namespace),
    invoke(request, response, _principal, namespace, name, options) {
      const revision = resolve(namespace, name)
      if (revision === undefined) return sendError(response, functionMissing(namespace, name))
      front.invoke(request, response, revision, { kind: 'event', path: '/', keyed: true, prefix: `/fn/${namespace}/${name}`, async: options.async })
    },
    version,
    onInternalError: (error, request) => log.error('a request failed in a way nobody foresaw', { url: request.url, error: error instanceof Error ? error.stack : String(error) }),
  }
  const api = createApi(services)
  return (request, response) => api.handle(request, response)
}

function logReader(telemetry: Telemetry): ApiServices['logs'] {
  const { logs } = telemetry
  return {
    async ofInvocation(record: Pick<InvocationRecord, 'namespace' | 'function' | 'id'>) {
      const { lines } = await logs.read({ namespace: record.namespace, function: record.function, invocation: record.id, limit: 10_000 })
      return lines
    },
    async *read(query) {
      const { lines } = await logs.read(query)
      yield* lines
    },
    follow: ({ namespace, function: name, limit, sinceMs, signal }) =>
      logs.follow({ namespace, function: name, tail: limit, ...(sinceMs !== undefined && { sinceMs }), signal }),
  }
}

function queueReader(store: Store, asyncQueue: AsyncQueue): ApiServices['queue'] {
  // The queue's items name their namespace inside; whose an item is, is asked before anything is said of it.
  const view = (item: ClaimedItem): QueuedInvocation => {
    const { namespace, function: name } = JSON.parse(item.payload) as { namespace: string; function: string }
    return { id: item.id, namespace, function: name, attempt: item.attempt, acceptedAtMs: item.enqueuedAtMs, dueAtMs: item.dueAtMs }
  }
  const deadView = (item: DeadItem): DeadInvocation => ({ ...view(item), reason: item.reason, buriedAtMs: item.buriedAtMs })
  return {
    async find(namespace, id) {
      const item = await store.find(ASYNC_QUEUE, id)
      const queued = item === undefined ? undefined : view(item)
      return queued?.namespace === namespace ? queued : undefined
    },
    async result(namespace, id) {
      const result = await asyncQueue.result(id)
      if (result?.namespace !== namespace) return undefined
      const { status, headers, error } = result
      return { status, headers, ...(error !== undefined && { error }), body: () => asyncQueue.resultBody(result) }
    },
    depth: () => store.depth(ASYNC_QUEUE),
    async dead(namespace, { limit }) {
      const items = await store.dead(ASYNC_QUEUE, { limit: DEAD_SCAN_MAX })
      return items.map(deadView).filter((dead) => dead.namespace === namespace).slice(0, limit)
    },
    async redrive(namespace, ids) {
      const wanted = new Set(ids)
      const own = (await store.dead(ASYNC_QUEUE, { limit: DEAD_SCAN_MAX })).map(deadView).filter((dead) => dead.namespace === namespace && wanted.has(dead.id))
      return store.redrive(ASYNC_QUEUE, own.map((dead) => dead.id), Date.now())
    },
  }
}

/** Dead letters looked through for those of one namespace. */
const DEAD_SCAN_MAX = 10_000

function statsOf(parts: ApiParts, namespace: string | undefined): Record<string, unknown> {
  const { namespaces, telemetry, activator, worker } = parts
  const names = namespace === undefined ? namespaces.list().map((entity) => entity.name) : [namespace]
  const nowMs = Date.now()
  const functions = names.flatMap((name) => telemetry.stats.read({ namespace: name, nowMs }))
  if (namespace !== undefined) return { functions }
  let stemCells = 0
  let stemCellBytes = 0
  for (const cells of worker.stemCells().values()) {
    stemCells += cells.length
    for (const cell of cells) stemCellBytes += cell.usage().memoryBytes
  }
  return {
    functions,
    platform: {
      pid: process.pid,
      uptimeS: Math.round(process.uptime()),
      residentBytes: process.memoryUsage.rss(),
      instances: [...activator.instances()].length,
      instanceBytes: [...activator.instances()].reduce((bytes, instance) => bytes + instance.usage().memoryBytes, 0),
      stemCells,
      stemCellBytes,
      faasletHosts: worker.faasletHosts().length,
      snapshots: parts.snapshots.list().length,
      snapshotBytes: parts.snapshots.diskBytes,
    },
  }
}

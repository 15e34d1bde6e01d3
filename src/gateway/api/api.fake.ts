/** The API on a real server on a port of its own, over a real registry; what others implement is faked in memory. */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { LogLevel } from '#contract/frames.ts'
import type { Revision } from '#contract/function-config.ts'
import type { InvocationRecord, LogLine } from '#contract/invocation-record.ts'
import { checkFaasletCode } from '#local/code-check.ts'
import { FunctionRegistry } from '#registry/functions.ts'
import { Buckets } from '#registry/buckets/buckets.ts'
import { S3Credentials } from '#registry/buckets/credentials.ts'
import { openFileBlobs } from '#store/file-blobs.ts'
import { NamespaceRegistry } from '#registry/namespaces.ts'
import { testGround } from '#registry/registry.fake.ts'
import { SecretStore } from '#registry/secrets.ts'
import { Authenticator } from '../authentication.ts'
import { createApi } from './main.ts'
import type { Api } from './main.ts'
import type { ApiServices, DeadInvocation, InvocationResult, QueuedInvocation, RecordListQuery, SnapshotDetails } from './services.ts'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // The tests look into answers of every shape.
  readonly json: any
}

export interface ApiGround {
  readonly url: string
  readonly api: Api
  readonly services: ApiServices
  readonly adminKey: string
  readonly records: InvocationRecord[]
  readonly lines: LogLine[]
  readonly queued: QueuedInvocation[]
  readonly dead: DeadInvocation[]
  readonly results: (InvocationResult & { readonly namespace: string; readonly id: string })[]
  readonly queries: RecordListQuery[]
  readonly snapshots: (SnapshotDetails & { readonly namespace: string })[]
  /** What deployments asked for: `prepare NAME@REVISION`, `release NAME@REVISION`. */
  readonly prepared: string[]
  /** How the next instances start; throws when they do not. Default: at once. */
  readonly starts: { by: (revision: Revision) => Promise<void> }
  /** Wakes followers of logs. */
  readonly print: (line: LogLine) => void
  readonly followers: () => number
  readonly internalErrors: unknown[]
  /** @param key `false`: none. Default: the admin key. @param body A string or bytes go as they are, anything else as JSON. */
  readonly call: (method: string, path: string, options?: { readonly body?: unknown; readonly key?: string | false; readonly headers?: Record<string, string> }) => Promise<Answer>
}

export async function apiGround(context: Pick<TestContext, 'after'>): Promise<ApiGround> {
  const { store, blobs, clock, directory } = await testGround(context)
  const nowMs = () => clock.epochMs()
  const functions = await FunctionRegistry.open({ store, blobs, nowMs })
  const namespaces = await NamespaceRegistry.open({ store, randomBytes, nowMs })
  const secrets = await SecretStore.open({ store, keyFile: join(directory, 'master.key'), randomBytes, nowMs })
  const s3 = {
    buckets: await Buckets.open({
      store, randomBytes, nowMs, blobs: await openFileBlobs({ directory: join(directory, 'buckets') }), bytesMaxOf: (namespace) => namespaces.required(namespace).quotas.storageBytes, warn() {},
    }),
    credentials: await S3Credentials.open({ store, keyFile: join(directory, 'master.key'), randomBytes, nowMs }),
  }
  const { key: adminKey } = await namespaces.createKey({ namespace: 'default', name: 'admin', role: 'admin' })

  const records: InvocationRecord[] = []
  const lines: LogLine[] = []
  const queued: QueuedInvocation[] = []
  const dead: DeadInvocation[] = []
  const results: (InvocationResult & { readonly namespace: string; readonly id: string })[] = []
  const queries: RecordListQuery[] = []
  const snapshots: (SnapshotDetails & { readonly namespace: string })[] = []
  const prepared: string[] = []
  const starts: ApiGround['starts'] = { by: async () => {} }
  const internalErrors: unknown[] = []
  const followers = new Set<(line: LogLine) => void>()

  const services: ApiServices = {
    authenticator: new Authenticator({ namespaces }),
    functions, namespaces, secrets, s3,
    records: {
      async list(query) {
        queries.push(query)
        return { records: records.filter((record) => record.namespace === query.namespace).slice(0, query.limit), cursor: 'next' }
      },
      get: async (namespace, id) => records.find((record) => record.namespace === namespace && record.id === id),
    },
    logs: {
      ofInvocation: async ({ id }) => lines.filter((line) => line.invocation === id),
      async *read({ limit }) {
        yield* lines.slice(-limit)
      },
      async *follow({ signal, limit }) {
        yield* lines.slice(-limit)
        while (!signal.aborted) {
          const next = await new Promise<LogLine | undefined>((resolve) => {
            followers.add(resolve)
            signal.addEventListener('abort', () => {
              followers.delete(resolve)
              resolve(undefined)
            }, { once: true })
          })
          if (next !== undefined) yield next
        }
      },
    },
    queue: {
      find: async (namespace, id) => queued.find((item) => item.namespace === namespace && item.id === id),
      result: async (namespace, id) => results.find((result) => result.namespace === namespace && result.id === id),
      depth: async () => ({ waiting: queued.length, claimed: 0, dead: dead.length }),
      dead: async (namespace, { limit }) => dead.filter((item) => item.namespace === namespace).slice(0, limit),
      redrive: async (namespace, ids) => dead.filter((item) => item.namespace === namespace && ids.includes(item.id)).length,
    },
    instances: () => ({ starting: 0, ready: 1, busy: 2 }),
    snapshots: {
      list: (namespace) => snapshots.filter((one) => one.namespace === namespace),
      show: async (namespace, name, revision) => snapshots.find((one) => one.namespace === namespace && one.function === name && one.revision === revision)!,
      drop(namespace, name, revision) {
        snapshots.splice(snapshots.findIndex((one) => one.namespace === namespace && one.function === name && one.revision === revision), 1)
      },
    },
    deployments: {
      check: checkFaasletCode,
      async prepare(revision) {
        prepared.push(`prepare ${revision.function}@${revision.number}`)
        await starts.by(revision)
      },
      release: (revision) => void prepared.push(`release ${revision.function}@${revision.number}`),
    },
    stats: async (namespace) => ({ of: namespace ?? 'all' }),
    invoke(request, response, principal, namespace, name, { async }) {
      request.resume()
      response.end(JSON.stringify({ by: principal.keyId, namespace, name, async }))
    },
    version: '1.2.3',
    onInternalError: (error) => internalErrors.push(error),
  }
  const api = createApi(services)
  const server = createServer((request, response) => api.handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url, api, services, adminKey, records, lines, queued, dead, results, queries, snapshots, prepared, starts, internalErrors,
    followers: () => followers.size,
    print(line) {
      for (const wake of [...followers]) {
        followers.delete(wake)
        wake(line)
      }
    },
    async call(method, path, { body, key = adminKey, headers = {} } = {}) {
      const raw = body === undefined || typeof body === 'string' || body instanceof Uint8Array
      const response = await fetch(url + path, {
        method,
        headers: { ...(key !== false && { authorization: `Bearer ${key}` }), ...headers },
        ...(body !== undefined && { body: raw ? (body as BodyInit) : JSON.stringify(body) }),
      })
      const text = await response.text()
      const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false
      return { status: response.status, headers: response.headers, text, json: isJson && text !== '' ? JSON.parse(text) : undefined }
    },
  }
}

export function exampleRecord(over: Partial<InvocationRecord> = {}): InvocationRecord {
  return {
    id: '0123456789ab'.padEnd(32, '0'), namespace: 'default', function: 'f', revision: 1, origin: 'api', traceparent: '00-0-0-00', attempt: 1, startedAtMs: 1,
    outcome: 'ok', status: 200, start: 'warm', instance: 'i', totalUs: 9, queueUs: 1, placementUs: 0, sandboxUs: 0, initUs: 0, runUs: 8, cpuUs: 5,
    memoryPeakMb: 20, memoryLimitMb: 256, gbMs: 0.1, cost: 0, bytesIn: 1, bytesOut: 2, logLines: 1, ...over,
  }
}

export function exampleLine(text: string, invocation = exampleRecord().id): LogLine {
  const level = Object.keys(LogLevel)[1] as LogLine['level']
  return { atMs: 1, invocation, level, text }
}

/**
 * The whole platform in one process: puts the parts together, opens the door, and closes everything in order again.
 *
 * The only place that knows every part; each part knows only the interfaces it was handed. Order of start: the store
 * (what is known), the registry (what is deployed), the worker (where it runs), the activator, the front door; then, when
 * requests are answered already, stem cells and sweeping. Order of stop: the reverse.
 *
 * Invariants:
 *   S1. `startPlatform` resolves when requests are answered; when it rejects, nothing is left open.
 *   S2. After `close` no process, port, timer or sandbox of this platform is left, and all accepted work is durable.
 */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Activator, poolDefaults } from '#activator/activator.ts'
import { AsyncQueue, asyncQueueDefaults } from '#activator/async-queue.ts'
import { ProducerInputs } from '#activator/producer-inputs.ts'
import { systemClock } from '#base/clock.ts'
import { processLog } from '#base/log.ts'
import type { Log } from '#base/log.ts'
import { EXPOSITION_TYPE } from '#base/metrics.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import { InvocationIds } from '#contract/ids.ts'
import { Authenticator } from '#gateway/authentication.ts'
import { Front } from '#gateway/front.ts'
import { Invoker } from '#gateway/invoker.ts'
import { createS3 } from '#gateway/s3/main.ts'
import { QuotaAdmission } from '#gateway/quota-admission.ts'
import { MemoryQuotaHost } from '#gateway/quota-memory.ts'
import { Quotas } from '#gateway/quota.ts'
import { Buckets } from '#registry/buckets/buckets.ts'
import { S3Credentials } from '#registry/buckets/credentials.ts'
import { UploadExpiry } from '#registry/buckets/upload-expiry.ts'
import { FunctionRegistry } from '#registry/functions.ts'
import { ensureLocalKey } from '#registry/local-key.ts'
import { NamespaceRegistry, quotaDefaults } from '#registry/namespaces.ts'
import { SecretStore } from '#registry/secrets.ts'
import { unpackCode } from '#registry/code-archive.ts'
import { LocalHost } from '#scheduler/local-host.ts'
import { openFileBlobs } from '#store/file-blobs.ts'
import { openSqliteStore } from '#store/sqlite-store.ts'
import { InvocationLogs } from '#telemetry/invocation-logs.ts'
import { Telemetry } from '#telemetry/main.ts'
import { priceDefaults } from '#telemetry/price.ts'
import { acceptTraceparent, parseTraceparent } from '#telemetry/trace-context.ts'
import { traceConfigFromEnvironment } from '#telemetry/trace-exporter.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { transferDefaults } from '#transfer/config.ts'
import type { TransferConfig } from '#transfer/config.ts'
import { CodeCache, codeMaker } from '#worker/code-cache.ts'
import { workerDefaults } from '#worker/config.ts'
import type { WorkerConfig } from '#worker/config.ts'
import { Runtimes } from '#worker/runtimes.ts'
import { ProcessSandboxProvider } from '#worker/sandbox/process-sandbox.ts'
import { SnapshotStore } from '#worker/snapshots/snapshot-store.ts'
import { Worker } from '#worker/worker.ts'
import { makeApi } from './api-services.ts'
import { bucketObjects } from './bucket-objects.ts'
import { callBackTo, checkCallback } from './callback.ts'
import { FunctionCalls } from './function-calls.ts'
import { exposePlatform } from './platform-gauges.ts'
import { ProducerReruns } from './producer-reruns.ts'
import { forgetSnapshots, sweepSnapshots } from './snapshot-services.ts'
import { exposeTransfers, openTransfers } from './transfer-services.ts'

export interface PlatformOptions {
  /** 0 picks one. */
  readonly port: number
  /** Default: loopback. Anything else opens the platform to the network: keys then travel unencrypted without a TLS proxy in front. */
  readonly host?: string
  readonly dataDirectory: string
  /** Runs code without isolation where bubblewrap is missing. */
  readonly allowUnsandboxed?: boolean
  readonly worker?: Partial<WorkerConfig>
  readonly transfers?: Partial<TransferConfig>
  /** Hosts that callbacks of asynchronous invocations may go to, beside this machine. */
  readonly callbackHosts?: readonly string[]
  readonly log?: Log
}

export interface Platform {
  readonly url: string
  readonly namespace: string
  readonly key: string
  /** Sandboxes started without a function, by kind; resolves when the first of each is ready. */
  stemCellsReady(): Promise<void>
  close(): Promise<void>
}

/** How long running invocations may take to end when the platform stops, ms. */
const CLOSE_GRACE_MS = 10_000

/** @throws PORT_IN_USE, DATA_LOCKED, DATA_VERSION_NEWER, STORE_FAILED, STORE_FULL. */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const opened: (() => unknown)[] = []
  try {
    return await open(options, (close) => opened.push(close))
  } catch (thrown) {
    for (const close of opened.reverse()) await close()
    throw thrown
  }
}

async function open(options: PlatformOptions, onClose: (close: () => unknown) => void): Promise<Platform> {
  const clock = systemClock
  const log = options.log ?? processLog()
  const warn = (message: string, error: unknown): void => log.warn(message, { error: PlatformError.from(error).message })
  const data = options.dataDirectory
  await mkdir(data, { recursive: true, mode: 0o700 }).catch((cause: NodeJS.ErrnoException) => {
    throw new PlatformError(cause.code === 'ENOSPC' ? 'STORE_FULL' : 'STORE_FAILED', `The data directory ${data} could not be made (${cause.message}); choose another with --data.`, { cause })
  })

  const nowMs = clock.epochMs
  const store = await openSqliteStore({ path: join(data, 'store.sqlite'), clock })
  onClose(() => store.close())
  const blobs = await openFileBlobs({ directory: join(data, 'code-blobs') })
  const objects = await openFileBlobs({ directory: join(data, 'objects') })
  const [namespaces, functions, secrets] = await Promise.all([
    NamespaceRegistry.open({ store, randomBytes, nowMs }),
    FunctionRegistry.open({ store, blobs, nowMs }),
    SecretStore.open({ store, keyFile: join(data, 'master.key'), randomBytes, nowMs }),
  ])
  onClose(() => namespaces.close())
  onClose(() => functions.close())
  const s3 = {
    credentials: await S3Credentials.open({ store, keyFile: join(data, 'master.key'), randomBytes, nowMs }),
    buckets: await Buckets.open({
      store,
      blobs: await openFileBlobs({ directory: join(data, 'buckets') }),
      randomBytes,
      nowMs,
      // Namespaces that are older than this quota have none stored.
      bytesMaxOf: (namespace) => namespaces.get(namespace)?.quotas.storageBytes ?? quotaDefaults.storageBytes,
      warn,
    }),
  }
  onClose(() => s3.credentials.close())
  onClose(() => s3.buckets.close())
  const uploadExpiry = new UploadExpiry({ store, uploads: s3.buckets.uploads, clock, warn })
  onClose(() => uploadExpiry.close())

  const memory = process.env['SKEP_SHARED_MEMORY'] === 'off' ? undefined : sharedMemory()
  const transfers = await openTransfers({
    dataDirectory: data, masterKeyFile: join(data, 'master.key'), memory, clock,
    rerun: (namespace, contents) => reruns.rerun(namespace, contents),
    ...(options.transfers !== undefined && { config: options.transfers }),
  })
  onClose(() => transfers.close())
  const sandboxes = new ProcessSandboxProvider({ dataDirectory: data, allowUnsandboxed: options.allowUnsandboxed ?? false, memory })
  const code = new CodeCache({
    directory: join(data, 'code'),
    unpack: async (digest, directory) => void (await unpackCode(await functions.code.open(digest), directory)),
    madeBy: await codeMaker(),
  })
  const { removal } = await code.prepare(new Set([...functions.routed()].map((revision) => revision.code)))
  removal.catch((error: unknown) => warn('code that is not used any more could not be removed', error))
  const workerConfig = { ...workerDefaults, ...options.worker }
  let endUsers = (_revision: string): void => {}
  const snapshots = await SnapshotStore.open({
    directory: join(data, 'snapshots'),
    bytesMax: workerConfig.snapshotBytesMax,
    clock,
    onLost({ revision, part, error }) {
      warn(`the ${part} of ${revision ?? 'an unknown revision'} is of no use any more and is made anew`, error)
      if (part === 'snapshot' && revision !== undefined) endUsers(revision)
    },
  })
  onClose(() => snapshots[Symbol.asyncDispose]())
  const worker = new Worker({
    sandboxes,
    snapshots,
    transfers,
    buckets: bucketObjects(s3.buckets),
    objectWatch: { before: (invocation) => reruns.before(invocation), made: (...made) => reruns.made(...made) },
    runtimes: new Runtimes({ directory: join(data, 'runtimes'), warn }),
    code,
    clock,
    config: workerConfig,
    environmentOf: async ({ namespace, config }) =>
      config.secrets.length === 0 ? config.environment : { ...config.environment, ...(await secrets.environment(namespace, config.secrets)) },
    isBusy: () => activator.isBusy,
    warn,
    name: `p${process.pid}`,
  })
  onClose(() => worker.close())
  endUsers = (revision) => worker.snapshotLost(revision)

  const telemetry = new Telemetry({
    store,
    clock,
    random: Math.random,
    log,
    traces: traceConfigFromEnvironment(process.env, log),
    isDeployed: (namespace, name) => functions.get(namespace, name) !== undefined,
  })
  await telemetry.start()
  onClose(() => telemetry.close())
  const invocationLogs = new InvocationLogs({ logs: telemetry.logs, clock })
  // Without a collector nobody reads the decision; with one, everything is sampled unless the operator says less.
  const sampleShare = telemetry.traces === undefined ? 0 : Number(process.env['OTEL_TRACES_SAMPLER_ARG'] ?? 1)
  const ids = new InvocationIds({ randomBytes, nowMs })
  const host = new LocalHost({ worker, usage: telemetry.usage, evictIdle: (bytes) => activator.evictIdle(bytes) })
  const calls = new FunctionCalls({ resolve, begin: (...begin) => invoker.begin(...begin), accept: (accept) => asyncQueue.accept(accept) })
  const quotaHost = new MemoryQuotaHost({ host, limitMbOf: (namespace) => namespaces.required(namespace).quotas.memoryMb, pools: () => activator.pools() })
  const activator: Activator = new Activator({
    host: quotaHost,
    clock,
    random: Math.random,
    config: poolDefaults,
    called: (call) => calls.called(call),
    logged: invocationLogs.logged,
    warn,
  })
  const invoker: Invoker = new Invoker({
    activator,
    ids,
    clock,
    prices: priceDefaults,
    ending: invocationLogs.ending,
    recorded: (record) => telemetry.ended(record),
    traceparentFor: (id, incoming) => acceptTraceparent(incoming, id, sampleShare),
  })
  const inputs = new ProducerInputs({ store, blobs: objects, clock, lifeMs: transferDefaults.ttlMsMax, warn })
  onClose(() => inputs.close())
  const reruns: ProducerReruns = new ProducerReruns({ inputs, resolve, begin: (begin) => invoker.begin(begin), ids, clock, told: (message, fields) => log.info(message, fields) })
  const asyncQueue: AsyncQueue = new AsyncQueue({
    store,
    blobs: objects,
    clock,
    ids,
    random: Math.random,
    config: asyncQueueDefaults,
    resolve,
    run: (run) => void invoker.begin({ ...run, origin: 'async' }),
    callBack: callBackTo({ accept: (accept) => asyncQueue.accept(accept) }),
    beforeComplete: () => telemetry.records.writeWaiting(),
    warn,
  })
  function resolve(namespace: string, name: string): ReturnType<FunctionRegistry['resolve']> {
    return functions.resolve(namespace, name, Math.random())
  }

  for (const revision of functions.routed()) activator.routed(revision)
  functions.onChange((change) => {
    if (change.kind === 'pruned') return forgetSnapshots(snapshots, change)
    if (change.kind === 'routed') for (const revision of change.routed) activator.routed(revision)
    for (const revision of change.dropped) activator.dropped(revision)
    if (change.kind !== 'deleted') return
    forgetCode(change.dropped)
    forgetSnapshots(snapshots, change)
    telemetry.functionDeleted(change.namespace, change.name)
  })
  /** The unpacked code of revisions that are no more, unless another function has the same. */
  function forgetCode(revisions: readonly Revision[]): void {
    const used = new Set([...functions.routed()].map((revision) => revision.code))
    for (const digest of new Set(revisions.map((revision) => revision.code))) {
      if (!used.has(digest)) code.forget(digest).catch((error: unknown) => warn('the code of a deleted function could not be removed', error))
    }
  }
  secrets.onChange((namespace, name) =>
    activator.replaceInstances((revision) => revision.namespace === namespace && revision.config.secrets.includes(name), `its secret ${name} has changed`),
  )

  const callbackHosts = new Set(options.callbackHosts)
  const authenticator = new Authenticator({ namespaces })
  onClose(() => authenticator.close())
  const quotas = new Quotas({ limitsOf: (namespace) => namespaces.required(namespace).quotas })
  // The same limits, counted on their own: objects and invocations don't take each other's.
  const s3Quotas = new Quotas({ limitsOf: (namespace) => namespaces.required(namespace).quotas })
  namespaces.onNamespaceChange((name, namespace) => {
    for (const counted of [quotas, s3Quotas]) counted.changed(name, namespace?.quotas)
  })
  const front: Front = new Front({
    invoker,
    resolve,
    authenticate: (authorization) => authenticator.authenticate(authorization),
    admission: new QuotaAdmission({ quotas, nowMs: () => clock.monotonicUs() / 1000 }),
    async acceptAsync(accept) {
      if (accept.callback !== undefined) checkCallback(accept.callback, callbackHosts)
      return asyncQueue.accept(accept)
    },
    api: (request, response) => api(request, response),
    s3: createS3({
      ...s3,
      nowMs,
      monotonicUs: clock.monotonicUs,
      admission: new QuotaAdmission({ quotas: s3Quotas, nowMs: () => clock.monotonicUs() / 1000, counted: 'S3 requests' }),
      onEnded: telemetry.s3.add,
      onPlatformError: (error, request) => log.error('an S3 request failed by the platform\'s fault', { url: request.url, error: error instanceof Error ? error.stack : String(error) }),
    }),
    metrics: () => ({ type: EXPOSITION_TYPE, text: telemetry.metrics.expose() }),
    traceparent: (header) => (typeof header === 'string' && parseTraceparent(header) !== undefined ? header : undefined),
  })
  const api = makeApi({ front, authenticator, functions, namespaces, secrets, s3, telemetry, store, asyncQueue, activator, worker, snapshots, resolve, log })

  const server = createServer({ keepAliveTimeout: 65_000, requestTimeout: 0 }, front.handle)
  const address = await listen(server, options.port, options.host ?? '127.0.0.1')
  onClose(() => closeServer(server))
  const url = `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`
  const credentials = await ensureLocalKey({ namespaces, file: join(data, 'credentials.json'), randomBytes })

  activator.start()
  asyncQueue.start()
  inputs.start()
  uploadExpiry.start()
  exposePlatform(telemetry.metrics, { activator, worker, invoker, snapshots })
  exposeTransfers(telemetry.metrics, transfers)
  // What a killed platform left behind is nobody's any more; the store's lock says that no other platform is here.
  setImmediate(() => {
    sandboxes.sweep().catch((error: unknown) => warn('leftovers of an earlier run could not be removed', error))
    functions.sweep().catch((error: unknown) => warn('unused code could not be removed', error))
    sweepSnapshots(snapshots, functions).catch((error: unknown) => warn('snapshots of deleted functions could not be removed', error))
    worker.warmUp()
  })

  return {
    url,
    namespace: credentials.namespace,
    key: credentials.key,
    stemCellsReady: () => worker.stemCellsReady(),
    async close() {
      asyncQueue.drain()
      await closeServer(server, invoker.close(CLOSE_GRACE_MS))
      activator.close()
      await asyncQueue.close()
      await worker.close()
      transfers.close()
      await telemetry.close()
      authenticator.close()
      s3.credentials.close()
      await uploadExpiry.close()
      s3.buckets.close()
      functions.close()
      namespaces.close()
      await store.close()
    },
  }
}

async function listen(server: Server, port: number, host: string): Promise<AddressInfo> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port, host, backlog: 4096 }, resolve)
    })
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'EADDRINUSE') {
      throw new PlatformError('PORT_IN_USE', `Port ${port} on ${host} is in use; stop what uses it, or choose another with --port (0 picks a free one).`, { cause })
    }
    if (code === 'EACCES') throw new PlatformError('PORT_IN_USE', `Port ${port} may not be opened by this user; choose one above 1023 with --port.`, { cause })
    throw cause
  }
  return server.address() as AddressInfo
}

/** Refuses new connections, waits for `drained`, and then for the last answers to leave. */
async function closeServer(server: Server, drained: Promise<void> = Promise.resolve()): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  await drained
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), 1000)
  await closed
  clearTimeout(timer)
}

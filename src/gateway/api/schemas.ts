/**
 * The shapes of the API that several routes share. Input objects are strict: a misspelt field is an error, not a default.
 */
import * as z from 'zod'
import { platformErrors } from '#contract/errors.ts'
import type { PlatformErrorCode } from '#contract/errors.ts'
import { functionConfig, functionKinds, functionName } from '#contract/function-config.ts'
import { INVOCATION_ID_PATTERN } from '#contract/ids.ts'
import { restoreModes } from '#contract/start-figures.ts'
import { SECRET_CHARACTERS_MAX } from '#registry/secrets.ts'

export const digest = z.string().regex(/^[0-9a-f]{64}$/, 'a digest has 64 lowercase hex digits (SHA-256)')
export const invocationId = z.string().regex(INVOCATION_ID_PATTERN, 'an invocation id has 32 lowercase hex digits')
export const keyId = z.string().regex(/^[0-9a-f]{12}$/, 'a key id has 12 lowercase hex digits')
export const secretName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'a secret has the name of a variable: 1 to 128 letters, digits and "_", not beginning with a digit')
export const revisionNumber = z.int().min(1)
const atMs = z.number().describe('Epoch ms.')

/** The parameters of paths, by name. */
export const accessKeyId = z.string().regex(/^SKEP[0-9A-F]{16}$/, 'an S3 access key id is SKEP and 16 capital hex digits')
export const pathParameters: Readonly<Record<string, z.ZodType<string>>> = { name: functionName, digest, id: invocationId, key: keyId, secret: secretName, accessKey: accessKeyId }

/** In a query everything is text. */
export const flag = z.enum(['', 'true', 'false', '1', '0']).transform((text) => text !== 'false' && text !== '0')
export const time = z
  .string()
  .max(40)
  .transform((text, context) => {
    const ms = /^\d{1,15}$/.test(text) ? Number(text) : Date.parse(text)
    if (Number.isNaN(ms)) context.addIssue('give epoch ms, or a time like 2026-11-21T04:30:00Z')
    return ms
  })
  .describe('Epoch ms, or ISO 8601.')
export const limit = (standard: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,6}$/, 'give a whole number')
    .transform(Number)
    .pipe(z.int().min(1).max(max))
    .default(standard)
    .describe(`Most entries, 1 to ${max}; default ${standard}.`)

export const errorAnswer = z
  .object({
    error: z.object({
      code: z.enum(Object.keys(platformErrors) as [PlatformErrorCode, ...PlatformErrorCode[]]),
      message: z.string(),
      stack: z.string().optional(),
      details: z.record(z.string(), z.unknown()).optional(),
    }),
  })
  .describe('Every error; its code is in the header x-skep-error, too.')

export const trafficShare = z.strictObject({ revision: revisionNumber, weight: z.int().min(0).max(100).describe('Per cent.') })
export const traffic = z.array(trafficShare).min(1).max(100)

export const revisionView = z.object({
  namespace: z.string(),
  function: z.string(),
  number: revisionNumber,
  code: digest,
  codeBytes: z.int(),
  // Not the input's schema: what is stored was checked then, and may be older than a rule.
  config: z.looseObject({ kind: z.enum(functionKinds), entry: z.string() }),
  createdAtMs: atMs,
})

export const functionSummary = z.object({
  namespace: z.string(),
  name: z.string(),
  url: z.string().describe('Where it answers.'),
  kind: z.enum(functionKinds),
  public: z.boolean(),
  revision: revisionNumber.describe('The latest.'),
  traffic: z.array(trafficShare).readonly(),
  instances: z.object({ starting: z.int(), ready: z.int(), busy: z.int() }),
  createdAtMs: atMs,
  updatedAtMs: atMs,
})
export const functionView = functionSummary.extend({ latest: revisionView })

export const deployInput = functionConfig
  .partial({ kind: true, entry: true })
  .extend({
    code: digest.optional().describe('Of a tar sent to POST /v1/code.'),
    source: z
      .strictObject({
        filename: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$/, 'a file name has letters, digits, "_", "-", "."; no directory'),
        text: z.string(),
      })
      .optional()
      .describe('A function of one file, given here. Its name decides the kind when there is none.'),
    activate: z.boolean().default(true).describe('false: the new revision gets no traffic yet.'),
    prepare: z.boolean().default(false).describe('true: answers when an instance of the revision is ready, and gives it the traffic only then. One that does not start is kept without traffic, unless it is the first.'),
  })
  .refine((input) => (input.code === undefined) !== (input.source === undefined), { message: 'give either code (the digest of an uploaded tar) or source (one file)' })
  .refine((input) => input.code === undefined || input.entry !== undefined, { message: 'is required with code', path: ['entry'] })
export const deployAnswer = functionView.extend({
  deployed: revisionNumber.describe('The revision that this deployment stands for.'),
  created: z.boolean().describe('false: it was there already.'),
})

const restoreMode = z.enum(restoreModes)
const figure = z.number().optional()
export const snapshotFigures = z
  .object({
    mode: restoreMode.optional().describe('How the memory was filled (docs/observability.md).'),
    restoreUs: z.number().describe('From wanting the instance until its code could be called; part of sandboxUs.'),
    pagesPrefetched: figure.describe('Of 4096 bytes, read before they were touched.'),
    pagesFaulted: figure.describe('Missing at the first touch and fetched then.'),
    pagesRecorded: figure.describe('Touched, when this invocation was recorded.'),
    pagesUnused: figure.describe('Prefetched and not touched, when this invocation was recorded.'),
    bytesRead: figure,
    readUs: figure.describe('Waited for the disk by the prefetch. pagesPrefetched × 4096 ÷ readUs is the bandwidth it reached, in MB/s.'),
  })
  .describe('Of a snapshot start.')

const startKind = z.enum(['cold', 'snapshot', 'warm', 'none'])
export const invocationRecord = z.object({
  id: invocationId,
  namespace: z.string(),
  function: z.string(),
  revision: z.int(),
  origin: z.string(),
  parent: z.string().optional(),
  traceparent: z.string(),
  attempt: z.int(),
  startedAtMs: atMs,
  outcome: z.enum(['ok', 'error']),
  status: z.int(),
  error: z.unknown().optional(),
  start: startKind,
  snapshot: snapshotFigures.optional(),
  instance: z.string(),
  totalUs: z.number(),
  queueUs: z.number().describe('Buffered.'),
  placementUs: z.number().describe('Choosing a worker.'),
  sandboxUs: z.number().describe('Starting or specialising a sandbox, or restoring it from a snapshot.'),
  initUs: z.number().describe('Loading the code.'),
  runUs: z.number().describe('The handler, until the last byte.'),
  cpuUs: z.number(),
  memoryPeakMb: z.number(),
  memoryLimitMb: z.number(),
  gbMs: z.number().describe('Run time × memory limit: what is billed.'),
  cost: z.number(),
  bytesIn: z.number(),
  bytesOut: z.number(),
  transfer: z
    .object({ objectsPut: z.int(), bytesPut: z.number(), bytesGot: z.number().describe('Of objects retrieved completely.'), bytesShared: z.number().describe('Of bodies passed as memory.') })
    .optional()
    .describe('Of one that put or got an object, or had a body passed as memory.'),
  logLines: z.number(),
})
export const logLine = z.object({ atMs, invocation: z.string(), level: z.enum(['debug', 'info', 'warn', 'error', 'stdout', 'stderr']), text: z.string() })
export const queuedInvocation = z.object({ id: z.string(), namespace: z.string(), function: z.string(), attempt: z.int(), acceptedAtMs: atMs, dueAtMs: atMs })
export const deadInvocation = queuedInvocation.extend({ reason: z.string(), buriedAtMs: atMs })
export const invocationView = z.discriminatedUnion('state', [
  invocationRecord.extend({ state: z.literal('ended'), logs: z.array(logLine).readonly() }),
  queuedInvocation.extend({ state: z.literal('queued') }),
])
export const recordQuery = z.strictObject({
  function: functionName.optional(),
  status: z.enum(['ok', 'error']).optional().describe('How it ended.'),
  start: startKind.optional(),
  minUs: z.string().regex(/^\d{1,15}$/, 'give whole µs').transform(Number).optional().describe('Took at least so long, µs.'),
  search: z.string().min(1).max(200).optional().describe('Text in the error.'),
  since: time.optional(),
  until: time.optional(),
  limit: limit(100, 1000),
  cursor: z.string().max(1000).optional().describe('Of the page before.'),
})

export const revisionQuery = z.string().regex(/^\d{1,9}$/, 'give a whole number').transform(Number).pipe(revisionNumber)
export const snapshotSummary = z.object({
  function: z.string(),
  revision: revisionNumber,
  imageBytes: z.int().describe('Of the memory.'),
  storedBytes: z.int().describe('Of its pages that are not zero.'),
  diskBytes: z.int().describe('Allocated on the disk, for all of its files.'),
  takenAtMs: atMs,
  answered: z.int().describe('Invocations that the instance had answered of which it was taken (snapshotAfter).'),
  lastUsedMs: atMs,
  inUse: z.int().describe('Instances that hold it now.'),
  verified: z.boolean().describe('Its pages were compared with their checksums since the platform started.'),
  recording: z
    .object({
      recordedAtMs: atMs,
      pagesRecorded: z.int().describe('Of 4096 bytes, touched by the recorded invocation.'),
      pagesZero: z.int().describe('Of those, zero ones: they are not read.'),
      pagesPrefetched: z.int().describe('Read by a prefetch.'),
      runs: z.int().describe('Pieces of memory that these are in.'),
      order: z.enum(['page', 'fault']),
      encoding: z.string(),
      diskBytes: z.int(),
    })
    .optional()
    .describe('Absent until an invocation was recorded.'),
})
export const snapshotDetails = snapshotSummary.extend({
  contiguity: z
    .object({
      pages: z.int(),
      runs: z.int(),
      meanRunPages: z.number(),
      longestRunPages: z.int(),
      runsByPowerOfTwo: z.array(z.int()).readonly().describe('Entry n: runs of more than 2^(n-1) and at most 2^n pages.'),
    })
    .optional(),
  footprint: z
    .object({
      imageBytes: z.int(),
      storedBytes: z.int(),
      touchedBytes: z.int(),
      touchedZeroBytes: z.int(),
      touchedShare: z.number().describe('Touched pages by those that are not zero and the touched zero ones.'),
    })
    .optional(),
})

export const quotas = z.strictObject({
  invocationsPerMinute: z.int().min(1).max(1e9).describe('Invocations accepted per minute.'),
  concurrentInvocations: z.int().min(1).max(1e6).describe('Invocations that run or wait at once.'),
  memoryMb: z.int().min(16).max(1e9).describe('Sum of the memory limits of all instances, MB.'),
  codeBytes: z.int().min(1).max(1024 ** 3).describe('Most bytes of one function\'s code, packed.'),
  storageBytes: z.int().min(0).max(1e15).describe('Most bytes of all objects in the buckets of the namespace.'),
})
export const namespaceView = z.object({ name: z.string(), quotas: z.object(quotas.shape), createdAtMs: atMs })
export const s3CredentialView = z.object({ accessKeyId, namespace: z.string(), name: z.string(), createdAtMs: atMs })
export const keyRole = z.enum(['admin', 'namespace'])
export const keyView = z.object({ id: keyId, namespace: z.string(), name: z.string(), role: keyRole, createdAtMs: atMs })
export const keyName = z.string().min(1).max(64)
export const secretInput = z.strictObject({ value: z.string().max(SECRET_CHARACTERS_MAX) })
export const secretView = z.object({ name: z.string(), updatedAtMs: atMs })

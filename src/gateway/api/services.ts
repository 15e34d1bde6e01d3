/**
 * What the control API asks of the rest of the platform, and no more. Others implement these; local/ puts them together.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { PlatformErrorBody } from '#contract/errors.ts'
import type { FunctionConfig, Revision } from '#contract/function-config.ts'
import type { InvocationRecord, LogLine, StartKind } from '#contract/invocation-record.ts'
import type { Buckets } from '#registry/buckets/buckets.ts'
import type { S3Credentials } from '#registry/buckets/credentials.ts'
import type { CodeStore } from '#registry/code-store.ts'
import type { FunctionRegistry } from '#registry/functions.ts'
import type { NamespaceRegistry } from '#registry/namespaces.ts'
import type { SecretStore } from '#registry/secrets.ts'
import type { Authenticator, Principal } from '../authentication.ts'

/** Instances of a function by state, now. */
export interface InstanceCounts {
  readonly starting: number
  readonly ready: number
  readonly busy: number
}

export interface RecordReader {
  /** Newest first. @throws INPUT_INVALID when the cursor is none. */
  list(query: RecordListQuery): Promise<{ readonly records: readonly InvocationRecord[]; readonly cursor?: string }>
  get(namespace: string, id: string): Promise<InvocationRecord | undefined>
}

export interface RecordListQuery {
  readonly namespace: string
  readonly function?: string
  readonly outcome?: 'ok' | 'error'
  readonly start?: StartKind
  /** Took at least this long in all, µs. */
  readonly minUs?: number
  /** Text in the error. */
  readonly search?: string
  readonly sinceMs?: number
  readonly untilMs?: number
  readonly limit: number
  readonly cursor?: string
}

export interface LogQuery {
  readonly namespace: string
  readonly function: string
  readonly sinceMs?: number
  readonly limit: number
}

export interface LogReader {
  /** The lines of one invocation, oldest first. */
  ofInvocation(record: Pick<InvocationRecord, 'namespace' | 'function' | 'id'>): Promise<readonly LogLine[]>
  /** The last `limit` lines since then, oldest first. */
  read(query: LogQuery): AsyncIterable<LogLine>
  /** What `read` gives, and then each new line until the signal. */
  follow(query: LogQuery & { readonly signal: AbortSignal }): AsyncIterable<LogLine>
}

/** An asynchronous invocation that was accepted and has not ended. */
export interface QueuedInvocation {
  readonly id: string
  readonly namespace: string
  readonly function: string
  /** Attempts begun. */
  readonly attempt: number
  readonly acceptedAtMs: number
  /** Not tried (again) before. */
  readonly dueAtMs: number
}

export interface DeadInvocation extends QueuedInvocation {
  readonly reason: string
  readonly buriedAtMs: number
}

/** What an asynchronous invocation answered, or why it did not. */
export interface InvocationResult {
  readonly status: number
  /** Raw: name, value, name, value, … names in lower case. */
  readonly headers: readonly string[]
  readonly error?: PlatformErrorBody
  /** @returns undefined when there is none. @throws ENTITY_NOT_FOUND when it was removed meanwhile. */
  body(): Promise<{ readonly bytes: number; readonly body: Buffer | Readable } | undefined>
}

export interface AsyncQueue {
  find(namespace: string, id: string): Promise<QueuedInvocation | undefined>
  /** Of one that has ended, for as long as results are kept. */
  result(namespace: string, id: string): Promise<InvocationResult | undefined>
  depth(): Promise<{ readonly waiting: number; readonly claimed: number; readonly dead: number }>
  dead(namespace: string, options: { readonly limit: number }): Promise<readonly DeadInvocation[]>
  /** Only those of the namespace. @returns how many went back. */
  redrive(namespace: string, ids: readonly string[]): Promise<number>
}

/** What is kept of a snapshot, and of the invocation that was recorded from it; sizes in bytes, times in epoch ms. */
export interface SnapshotSummary {
  readonly function: string
  readonly revision: number
  /** Of the memory. */
  readonly imageBytes: number
  /** Of its pages that are not zero. */
  readonly storedBytes: number
  /** Allocated on the disk, for all of its files. */
  readonly diskBytes: number
  readonly takenAtMs: number
  /** Invocations that the instance had answered of which it was taken (`snapshotAfter`). */
  readonly answered: number
  readonly lastUsedMs: number
  /** Instances that hold it now. */
  readonly inUse: number
  /** Whether its pages were compared with their checksums since the platform started. */
  readonly verified: boolean
  readonly recording?: {
    readonly recordedAtMs: number
    /** Pages (4096 bytes) that the recorded invocation touched; of those, zero ones need no reading. */
    readonly pagesRecorded: number
    readonly pagesZero: number
    /** Pages that a prefetch reads. */
    readonly pagesPrefetched: number
    /** Pieces of memory that these are in. */
    readonly runs: number
    readonly order: 'page' | 'fault'
    readonly encoding: string
    readonly diskBytes: number
  }
}

export interface SnapshotDetails extends SnapshotSummary {
  /** Of the recorded invocation: thesis, Figures 4.3 and 4.4. */
  readonly contiguity?: { readonly pages: number; readonly runs: number; readonly meanRunPages: number; readonly longestRunPages: number; readonly runsByPowerOfTwo: readonly number[] }
  readonly footprint?: { readonly imageBytes: number; readonly storedBytes: number; readonly touchedBytes: number; readonly touchedZeroBytes: number; readonly touchedShare: number }
}

export interface SnapshotReader {
  /** Of a namespace, by function and revision. */
  list(namespace: string): readonly SnapshotSummary[]
  /** @throws ENTITY_NOT_FOUND; SNAPSHOT_DAMAGED, STORE_FAILED. */
  show(namespace: string, name: string, revision: number): Promise<SnapshotDetails>
  /** Forgets it: the next start boots, and takes another. @throws ENTITY_NOT_FOUND. */
  drop(namespace: string, name: string, revision: number): void
}

/** What a deployment asks of the parts that run code. */
export interface Deployments {
  /** Judges the entry file of a function of a faaslet kind without running it. @throws CODE_INVALID, HANDLER_NOT_FOUND; what `entry` throws. */
  check(config: FunctionConfig, entry: AsyncIterable<Uint8Array>): Promise<void>
  /** An instance of a revision, with traffic or without, ahead of its first invocation. @throws why it could not be started. */
  prepare(revision: Revision): Promise<void>
  /** One that was prepared gets no traffic: its instance ends. */
  release(revision: Revision): void
}

export interface ApiServices {
  readonly authenticator: Pick<Authenticator, 'authenticate'>
  readonly functions: FunctionRegistry & { readonly code: CodeStore }
  readonly namespaces: NamespaceRegistry
  readonly secrets: SecretStore
  readonly s3: { readonly buckets: Buckets; readonly credentials: S3Credentials }
  readonly records: RecordReader
  readonly logs: LogReader
  readonly queue: AsyncQueue
  readonly instances: (namespace: string, name: string) => InstanceCounts
  readonly snapshots: SnapshotReader
  readonly deployments: Deployments
  /** Any JSON: figures of the platform, or of one namespace for who may see only that. */
  readonly stats: (namespace: string | undefined) => Promise<Readonly<Record<string, unknown>>>
  /** Runs a function with the request's body as payload, and answers. The key was checked, the function was not looked up. */
  readonly invoke: (
    request: IncomingMessage,
    response: ServerResponse,
    principal: Principal,
    namespace: string,
    name: string,
    options: { readonly async: boolean },
  ) => void
  /** Where clients reach this server, e.g. `https://skep.example`; without it, what the request's Host header says. */
  readonly publicUrl?: string | undefined
  readonly version: string
  /** Told of errors that nobody foresaw. */
  readonly onInternalError: (error: unknown, request: IncomingMessage) => void
}

/**
 * What is kept of every invocation: how it ended, how it started, and where its time and bytes went.
 *
 * Phases follow the life of an invocation (thesis 3.2.1): queue (buffered by the activator), placement (choosing a
 * worker), sandbox (starting or specialising one, or restoring it from a snapshot), init (loading the code), run (the handler,
 * until the last byte). Sandbox, init and run of a snapshot start are the thesis's load, connect and process (4.3.2).
 */
import type { PlatformErrorBody } from './errors.ts'
import type { SnapshotFigures } from './start-figures.ts'

export type StartKind = 'cold' | 'snapshot' | 'warm' | 'none'
export type InvocationOrigin = 'http' | 'api' | 'call' | 'async'

/** What went beside an invocation's own frames (transfer/README.md). */
export interface TransferFigures {
  readonly objectsPut: number
  readonly bytesPut: number
  /** Of objects that it retrieved, completely. */
  readonly bytesGot: number
  /** Of bodies that were passed as memory: put, got, or travelling by value. None of them was copied through a socket. */
  readonly bytesShared: number
}

export interface InvocationRecord {
  readonly id: string
  readonly namespace: string
  readonly function: string
  readonly revision: number
  readonly origin: InvocationOrigin
  /** The invocation that called this one, if a function did. */
  readonly parent?: string
  readonly traceparent: string
  readonly attempt: number
  readonly startedAtMs: number
  /** `ok`: the handler answered (with whatever status). Otherwise error says what happened. */
  readonly outcome: 'ok' | 'error'
  readonly status: number
  readonly error?: PlatformErrorBody
  readonly start: StartKind
  /** Of a snapshot start. */
  readonly snapshot?: SnapshotFigures
  readonly instance: string
  readonly totalUs: number
  readonly queueUs: number
  readonly placementUs: number
  readonly sandboxUs: number
  readonly initUs: number
  readonly runUs: number
  readonly cpuUs: number
  readonly memoryPeakMb: number
  readonly memoryLimitMb: number
  /** Run time × memory limit, in GB·ms: what is billed. */
  readonly gbMs: number
  /** In the currency of the configured prices. */
  readonly cost: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Of one that put or got an object, or had a body passed as memory. */
  readonly transfer?: TransferFigures
  readonly logLines: number
}

/** One line that a function printed. */
export interface LogLine {
  readonly atMs: number
  readonly invocation: string
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'stdout' | 'stderr'
  readonly text: string
}

/** What the native API answers, as far as the commands read it. Fields that a newer platform adds are passed on with --json. */
import type { Revision, TrafficShare } from '#contract/function-config.ts'
import type { InvocationRecord, LogLine } from '#contract/invocation-record.ts'

export interface FunctionSummary {
  readonly namespace: string
  readonly name: string
  readonly url: string
  readonly kind: string
  readonly public: boolean
  /** The latest one's number. */
  readonly revision: number
  readonly traffic: readonly TrafficShare[]
  readonly instances: { readonly starting: number; readonly ready: number; readonly busy: number }
  readonly updatedAtMs: number
}

export interface FunctionView extends FunctionSummary {
  readonly latest: Revision
}

export interface DeployAnswer extends FunctionView {
  /** The revision that the deployment stands for. */
  readonly deployed: number
  /** False: it was there already. */
  readonly created: boolean
}

export interface RecordsAnswer {
  readonly invocations: readonly InvocationRecord[]
  /** Where to go on; absent at the end. */
  readonly cursor?: string
}

/** An invocation that has ended, or an asynchronous one that waits. */
export type InvocationView = (InvocationRecord & { readonly state: 'ended'; readonly logs: readonly LogLine[] }) | { readonly state: 'queued'; readonly id: string }

export interface SnapshotSummary {
  readonly function: string
  readonly revision: number
  readonly imageBytes: number
  readonly storedBytes: number
  readonly diskBytes: number
  readonly takenAtMs: number
  readonly answered: number
  readonly lastUsedMs: number
  readonly inUse: number
  readonly verified: boolean
  readonly recording?: {
    readonly recordedAtMs: number
    readonly pagesRecorded: number
    readonly pagesZero: number
    readonly pagesPrefetched: number
    readonly runs: number
    readonly order: string
    readonly encoding: string
  }
}

export interface SnapshotDetails extends SnapshotSummary {
  readonly contiguity?: { readonly runs: number; readonly meanRunPages: number; readonly longestRunPages: number; readonly runsByPowerOfTwo: readonly number[] }
  readonly footprint?: { readonly storedBytes: number; readonly touchedBytes: number; readonly touchedZeroBytes: number; readonly touchedShare: number }
}

export interface DeadLetter {
  readonly id: string
  readonly function: string
  readonly attempt: number
  readonly reason: string
  readonly buriedAtMs: number
}

export interface AsyncStatus {
  readonly waiting: number
  readonly claimed: number
  readonly dead: number
}

export type { InvocationRecord, Revision, TrafficShare }

/** Of one function over the last minutes, as GET /v1/stats has it. */
export interface FunctionFigures {
  readonly function: string
  readonly invocations: number
  readonly errors: number
  readonly cold: number
  readonly totalUs: { readonly p50: number; readonly p99: number }
  readonly queueUs: { readonly p99: number }
  readonly runUs: { readonly p50: number }
  readonly cpuMs: number
  readonly gbSeconds: number
  readonly cost: number
}

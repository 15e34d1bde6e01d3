/**
 * What a person says about a function when deploying it, checked at the edge; everything behind the edge trusts it.
 *
 * The same schemas give the types, the checks, the OpenAPI document and docs/configuration.md.
 * A revision is a configuration together with code, and never changes.
 */
import * as z from 'zod'
import { restoreModes } from './start-figures.ts'

/** Letters, digits, `_`, `-` and `.`; begins with a letter or digit. 64 characters fit a file name and a cgroup's. */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/

export const functionKinds = ['node', 'python', 'command', 'http', 'wasm', 'js'] as const
export type FunctionKind = (typeof functionKinds)[number]

/** Kinds that run as faaslets: in a WebAssembly memory restored from a snapshot, in a host process shared by a namespace's functions. */
export const faasletKinds = ['wasm', 'js'] as const
export type FaasletKind = (typeof faasletKinds)[number]

export function isFaaslet(kind: FunctionKind): kind is FaasletKind {
  return kind === 'wasm' || kind === 'js'
}

export const functionName = z
  .string()
  .regex(NAME_PATTERN, 'a name has 1 to 64 characters: letters, digits, "_", "-", "."; it begins with a letter or digit')

/**
 * Queue at a running instance or start one more (thesis 3.5.4.3: the choice moves tail latency by two orders of magnitude).
 * `predict` compares the predicted wait with the predicted start per request; the other two are the classical extremes.
 */
export const burstPolicy = z.discriminatedUnion('policy', [
  z.object({ policy: z.literal('predict') }),
  z.object({ policy: z.literal('never-queue') }),
  z.object({ policy: z.literal('queue-up-to'), depth: z.int().min(1).max(10_000) }),
])
export type BurstPolicy = z.infer<typeof burstPolicy>

export const functionConfig = z.strictObject({
  kind: z.enum(functionKinds).describe('node: JavaScript/TypeScript on Node 26. python: Python 3. command: a program run per invocation, stdin to stdout. http: a program that serves HTTP on $PORT. wasm: a WASI preview-1 module. js: JavaScript on QuickJS in WebAssembly, which starts in a millisecond; it has web-standard globals and no Node modules.'),
  entry: z.string().min(1).max(1024).describe('The file to load or run, relative to the root of the code.'),
  handler: z.string().min(1).max(256).optional().describe('Name of the exported handler; recognised by its shape when absent.'),
  args: z.array(z.string().max(4096)).max(64).default([]).describe('Arguments of the program (kinds command and http).'),
  memoryMb: z.int().min(16).max(65_536).default(256).describe('Memory limit of one instance, MB. Exceeding it ends the instance (FUNCTION_OUT_OF_MEMORY).'),
  cpu: z.number().min(0.05).max(64).default(1).describe('CPU limit of one instance, in cores.'),
  timeoutMs: z.int().min(1).max(24 * 3600 * 1000).default(60_000).describe('Longest run of one invocation, ms; then FUNCTION_TIMEOUT.'),
  initTimeoutMs: z.int().min(1).max(600_000).default(30_000).describe('Longest initialisation of one instance, ms; then INIT_TIMEOUT.'),
  concurrency: z.int().min(1).max(1000).optional().describe('Most invocations that one instance holds at once. Default: node 100, http 100, python 16, command 8, wasm 100, js 100.'),
  logBytesMax: z.int().min(0).max(64 * 1024 * 1024).default(1024 * 1024).describe('Most log bytes kept of one invocation; what is over is dropped, and a line says so.'),
  answerBytesMax: z.int().min(1).max(1024 ** 4).default(16 * 1024 ** 3).describe('Most bytes of one answer; then ANSWER_TOO_LARGE.'),
  environment: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'a variable name has letters, digits and "_"'), z.string().max(32_768)).default({}),
  secrets: z.array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/)).max(100).default([]).describe('Names of the namespace\'s secrets that the function sees as variables.'),
  public: z.boolean().default(false).describe('Whether anyone may call it without a key.'),
  network: z.enum(['none', 'host']).default('none').describe('none: a network namespace of its own without a way out. host: the network of this machine.'),
  instancesMin: z.int().min(0).max(10_000).default(0).describe('Instances kept ready always.'),
  instancesMax: z.int().min(1).max(10_000).default(1000).describe('Most instances at once.'),
  keepAliveMs: z.int().min(0).max(24 * 3600 * 1000).default(600_000).describe('How long an idle instance stays, ms.'),
  reuse: z.boolean().default(false).describe('Kinds wasm and js: whether an instance serves further invocations. Otherwise each gets a fresh one, and no state of one is seen by another.'),
  restore: z.enum(['auto', ...restoreModes]).default('auto').describe('Kinds wasm and js: how the memory of an instance comes from its snapshot. auto: mapped while the page cache holds it, prefetched from the working set while it does not.'),
  snapshotAfter: z.int().min(0).max(100).default(0).describe('Kinds wasm and js: after how many invocations the snapshot is taken anew, of the instance that answered them one after the other. What they left in memory, random values drawn ahead too, is then in all later ones. 0: only after initialisation. Not with secrets.'),
  burst: burstPolicy.default({ policy: 'predict' }),
  retriesMax: z.int().min(0).max(100).default(3).describe('Retries of a failed asynchronous invocation before it goes to the dead letters.'),
  retry: z.enum(['never', 'producer']).default('never').describe('What is done when an object that it put is lost with its worker. never: whoever gets it has the error OBJECT_LOST. producer: the invocation that put it is run again, with the same input, at most twice.'),
  retryBackoffMs: z.int().min(1).max(3_600_000).default(1000).describe('Wait before the first retry, ms; doubles each time, with jitter.'),
})
export type FunctionConfig = z.infer<typeof functionConfig>
export type FunctionConfigInput = z.input<typeof functionConfig>

export const concurrencyDefaults: Readonly<Record<FunctionKind, number>> = { node: 100, http: 100, python: 16, command: 8, wasm: 100, js: 100 }

/** An immutable deployed version. Its code is a directory of files, kept as one tar in the blobs. */
export interface Revision {
  readonly namespace: string
  readonly function: string
  /** 1, 2, 3, … */
  readonly number: number
  /** SHA-256 of the code's tar: the blob's name. */
  readonly code: string
  readonly codeBytes: number
  readonly config: FunctionConfig
  readonly createdAtMs: number
}

/** Which share of the invocations a revision gets. Weights add up to 100. */
export interface TrafficShare {
  readonly revision: number
  readonly weight: number
}

/** A deployed function: its revisions' numbers and who gets the traffic. */
export interface FunctionEntity {
  readonly namespace: string
  readonly name: string
  readonly latest: number
  readonly traffic: readonly TrafficShare[]
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

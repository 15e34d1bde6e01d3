/**
 * The isolation around one instance, and its promises.
 *
 * A sandbox is started generic: a runtime and no user code (a stem cell), and becomes an instance when the frames of
 * contract/frames.ts tell the runtime inside to load what then lies in its code directory. This interface knows neither
 * functions nor invocations. Every kind passes sandbox.conformance.ts.
 *
 * Promises:
 *   S1. `start` resolves only when the sandbox exists and its channel can be written; when it rejects, nothing is left.
 *   S2. `exited` resolves exactly once, after everything inside is dead and everything the sandbox had on the host
 *       (cgroup, directories) is gone. It never rejects.
 *   S3. Any call after death is harmless: `destroy` answers the first reason, `limit` does nothing, `usage` gives the last figures.
 *   S4. The death of the process that started it kills the sandbox, even by SIGKILL.
 *   S5. Code inside sees only the runtime, its own code directory (read-only), a private /tmp of limited size, and no
 *       other sandbox, process, network or file of the host.
 */
import type { Duplex, Readable } from 'node:stream'
import type { MemoryChannel } from '../memory-channel.ts'

export interface SandboxLimits {
  readonly memoryMb: number
  /** Cores. */
  readonly cpu: number
  readonly pidsMax: number
}

/** A file or directory of the host that the sandbox sees, read-only. */
export interface SandboxMount {
  readonly from: string
  readonly to: string
  /** `from` is a path inside, which another mount shows, and `to` becomes a link to it: a mount takes 0.1 ms or more, a link nothing. */
  readonly isLink?: true
}

export interface SandboxOptions {
  /** Unique among living sandboxes: letters, digits, "-". Names its cgroup and directories. */
  readonly id: string
  /** Program and arguments, as paths inside. File descriptor 3 is the channel, and 5 the socket for memory, if there is one. */
  readonly command: readonly string[]
  readonly mounts: readonly SandboxMount[]
  readonly environment: Readonly<Record<string, string>>
  readonly limits: SandboxLimits
  readonly network: 'none' | 'host'
  /** Size of the private /tmp. */
  readonly tmpBytesMax: number
  /** Lets the program serve the page faults of its own memory (userfaultfd): only for the platform's own programs. */
  readonly paging?: boolean
}

export interface SandboxUsage {
  readonly cpuMs: number
  readonly memoryBytes: number
  readonly memoryPeakBytes: number
}

export type SandboxExit =
  /** `destroy` was called. */
  | { readonly cause: 'destroyed'; readonly reason: string }
  /** The program inside ended by itself. */
  | { readonly cause: 'exited'; readonly code: number }
  | { readonly cause: 'signalled'; readonly signal: string }
  | { readonly cause: 'out-of-memory' }

export interface Sandbox {
  readonly id: string
  /** Bytes to and from the runtime inside. */
  readonly channel: Duplex
  readonly stdout: Readable
  readonly stderr: Readable
  /** How memory is passed to and from the runtime inside, beside the channel; closed when the sandbox is dead. Absent where it cannot be. */
  readonly memory?: MemoryChannel | undefined
  /** Host path of the directory that the inside sees, read-only, as /app. Empty at start; the worker fills it. */
  readonly codeDirectory: string
  /** Host pid of the sandbox's outermost process. */
  readonly pid: number
  readonly exited: Promise<SandboxExit>
  /** Replaces the limits, when a stem cell becomes an instance of a function that has its own. */
  limit(limits: SandboxLimits): void
  usage(): SandboxUsage
  /**
   * Where a sandbox can outlive the instance that had it: leaves it to the next one of the same revision. Only when nothing runs in it.
   * @returns false when it cannot, and has to be ended otherwise. After true, `exited` resolves as if it had been destroyed.
   */
  detach?(reason: string): boolean
  /** Kills everything inside at once. Resolves as `exited` does. */
  destroy(reason: string): Promise<SandboxExit>
}

/** What this machine can give, in words for a person: a missing protection names what is lost without it. */
export interface Isolation {
  readonly level: 'full' | 'partial' | 'none'
  /** One line for each protection that is not in force, with the command that would bring it. */
  readonly missing: readonly string[]
}

export interface SandboxProvider {
  readonly kind: string
  isolation(): Isolation
  start(options: SandboxOptions): Promise<Sandbox>
  /** Removes what a killed platform left behind on this data directory: cgroups, directories. Never touches the living. */
  sweep(): Promise<void>
  /** Destroys every sandbox it started. */
  close(): Promise<void>
}

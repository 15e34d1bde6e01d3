/**
 * What a faaslet host knows of the programs it runs: a guest is one revision's program, a faaslet one instance of it.
 *
 * A guest is made once per revision and host. It boots once, in a fresh instance, and what its memory then holds is the
 * snapshot (Faasm's Proto-Faaslet; thesis 4.2 for what a snapshot saves). Every faaslet starts from that memory.
 *
 * Invariants:
 *   G1. A faaslet's state lies in its memory, its mutable globals and its table; a guest keeps nothing per faaslet but
 *       `Faaslet.state`, which is undefined in every new one.
 *   G2. Code of a faaslet runs only inside `Enter`, which says whose it is and stops it at its deadline.
 */
import type { Invocation } from '../node/invocation.ts'

export interface Faaslet {
  readonly memory: WebAssembly.Memory
  readonly exports: WebAssembly.Exports
  /** Undefined while it boots. */
  invocation: Invocation | undefined
  /** By when it has to have booted, or to be at rest, on the scale of performance.now(). */
  bootDeadlineMs?: number
  /** The guest's own, for this one faaslet. */
  state: unknown
  /** Where bodies were mapped over its memory in this invocation (passed-memory.ts), pages of 4 KB; undefined when that was never done. */
  mapped?: { readonly page: number; readonly pages: number }[]
}

/**
 * Runs `run` as this faaslet: `running.faaslet` is set while it lasts, and the jobs that it leaves in the microtask queue
 * are done before it returns. A continuation after a wait (a promise that the faaslet waits for is settled) is an `Enter` too.
 * Never called from a microtask: V8 does not run the queue within itself, so the faaslet's jobs would run after it.
 * @throws PlatformError FUNCTION_TIMEOUT when it was stopped at its deadline: the faaslet is then of no further use.
 */
export type Enter = <Result>(faaslet: Faaslet, run: () => Result) => Result

/** Whose code runs now. One per host: imports are made once and look here. */
export interface Running {
  faaslet: Faaslet | undefined
  /**
   * Between these two the code is not stopped: for imports that change what belongs to the host, which a stop in the middle would
   * leave broken for all. `hold` throws when the code is being stopped already. Absent where nothing is ever stopped.
   */
  hold?(): void
  release?(): void
}

export interface Guest {
  readonly imports: WebAssembly.Imports
  /** The module whose instances the faaslets are: shared by all JavaScript guests of a host. */
  readonly module: GuestModule
  /** Initialises a fresh instance, up to the point where the snapshot is taken. @throws PlatformError of the function's fault. */
  boot(faaslet: Faaslet): Promise<void>
  /** Runs one invocation and answers it. Resolves when nothing of it is left; throws only PlatformErrors, which the host answers. */
  invoke(faaslet: Faaslet, invocation: Invocation): Promise<void>
  /** After `boot`: why a snapshot would not hold the whole faaslet (an open file, say). Absent: it always does. */
  snapshotProblem?(faaslet: Faaslet): string | undefined
  /** After `invoke` has resolved: what of its invocations was cut off by their end, so that it may wait in vain for ever. Absent: nothing. */
  cutOff?(faaslet: Faaslet): string | undefined
  /** Between two invocations, before `capture`: brings it to rest. @throws PlatformError: it is of no further use then. */
  rest?(faaslet: Faaslet): void
  /** After `invoke` has resolved: whether it may be given another invocation. Absent: it may. One whose `invoke` threw never may. */
  isReusable?(faaslet: Faaslet): boolean
}

/** A module made ready for snapshots (wasm/rewrite.ts): its memory is imported, its mutable globals are exported. */
export interface GuestModule {
  /** With its data and start function: for booting. */
  readonly boot: WebAssembly.Module
  /** Without active data and start function: for restoring, where the memory has it all. */
  readonly restore: WebAssembly.Module
  readonly memoryPagesMin: number
  readonly memoryPagesMax: number | undefined
  /** Names under which the mutable globals are exported, in order. */
  readonly globals: readonly string[]
  readonly tables: readonly string[]
}

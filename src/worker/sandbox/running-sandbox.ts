/**
 * One sandbox from its spawn to the moment when nothing of it is left.
 *
 * ```
 * starting ──gate closes──▶ running ──program ends──▶ ending ──group empty, directory gone──▶ gone
 *     └──────────────────────destroy kills──────────────┘
 * ```
 * It owns the bwrap process (or the bare program), its cgroup and its directory, and gives all three back at the end.
 *
 * Invariants:
 *   R1. Why it ended is decided once: by the first of `destroy` and the program's own end.
 *   R2. It is gone only when its cgroup could be removed, which the kernel allows only when no process is in it; without
 *       cgroups, when the init process inside is dead, for the kernel kills a pid namespace before its init.
 */
import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import type { Duplex, Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import type { PlatformError } from '#contract/errors.ts'
import { channelFd } from './bubblewrap.ts'
import type { Cgroup } from './cgroup.ts'
import { childrenOf, isAlive, processName, treeUsage } from './proc.ts'
import type { ProcessName } from './proc.ts'
import type { MemoryChannel } from '../memory-channel.ts'
import type { Sandbox, SandboxExit, SandboxLimits, SandboxUsage } from './sandbox.ts'

export interface RunningSandboxOptions {
  readonly id: string
  readonly child: ChildProcess
  /** Undefined when the program runs unsandboxed. */
  readonly gate: Socket | undefined
  readonly memory: MemoryChannel | undefined
  readonly group: Cgroup
  readonly codeDirectory: string
  readonly startMsMax: number
  readonly clock: Clock
  readonly failed: (why: string, cause?: unknown) => PlatformError
  readonly removeDirectory: () => Promise<void>
}

type State =
  | { readonly at: 'starting' }
  | { readonly at: 'running' }
  /** `destroy` was called; the processes are being killed. */
  | { readonly at: 'dying'; readonly exit: SandboxExit }
  /** The outermost process has ended. */
  | { readonly at: 'ended'; readonly exit: SandboxExit }

/** How often we look whether the last process is dead. Mostly it is, the first or second time. */
const lookAgainMsMin = 1
const lookAgainMsMax = 50
/** bwrap gives a signal's death on as this plus the signal's number, like a shell. */
const signalledFrom = 128
const stderrBytesMax = 4096

export class RunningSandbox implements Sandbox {
  readonly id: string
  readonly channel: Duplex
  readonly stdout: Readable
  readonly stderr: Readable
  readonly memory: MemoryChannel | undefined
  readonly codeDirectory: string
  readonly pid: number
  readonly exited: Promise<SandboxExit>
  /** Resolves when the sandbox stands and its program is started, rejects with START_FAILED when it came to nothing. */
  readonly opened: Promise<void>
  readonly #options: RunningSandboxOptions
  #state: State = { at: 'starting' }
  /** The init process inside. Looked for only where there is no cgroup to tell who is alive. */
  #init: ProcessName | undefined
  #usage: SandboxUsage = { cpuMs: 0, memoryBytes: 0, memoryPeakBytes: 0 }

  constructor(options: RunningSandboxOptions) {
    const { child } = options
    this.#options = options
    this.id = options.id
    this.memory = options.memory
    this.codeDirectory = options.codeDirectory
    this.pid = child.pid ?? -1
    this.channel = child.stdio[channelFd] as Duplex
    this.stdout = child.stdout!
    this.stderr = child.stderr!
    // A program that is killed resets its channel. Whoever uses the channel hears 'close'; why is told by `exited`.
    this.channel.on('error', () => {})
    const release = [this.channel, this.stdout, this.stderr].map(hold)
    this.exited = this.#untilGone()
    this.opened = this.#untilOpen().finally(() => release.forEach((each) => each()))
    // `exited` and `opened` are also there when nobody looks at them.
    this.opened.catch(() => {})
  }

  limit(limits: SandboxLimits): void {
    if (this.#state.at === 'starting' || this.#state.at === 'running') this.#options.group.limit(limits)
  }

  usage(): SandboxUsage {
    if (this.#options.group.accounts) return this.#options.group.usage()
    if (this.#state.at === 'ended') return this.#usage
    const now = treeUsage(this.pid)
    const cpuMs = Math.max(now.cpuMs, this.#usage.cpuMs)
    this.#usage = { cpuMs, memoryBytes: now.memoryBytes, memoryPeakBytes: Math.max(now.memoryBytes, this.#usage.memoryPeakBytes) }
    return this.#usage
  }

  destroy(reason: string): Promise<SandboxExit> {
    if (this.#state.at === 'starting' || this.#state.at === 'running') {
      this.usage()
      this.#state = { at: 'dying', exit: { cause: 'destroyed', reason } }
      this.#kill()
    }
    return this.exited
  }

  /** Kills all, by the group where there is one: it also names what left its process group or its session. */
  #kill(): void {
    if (this.#options.group.isReal) {
      this.#options.group.kill()
      // One that is only just starting may not have joined its group yet: then nothing in the group was there to kill.
      killQuietly(this.pid)
      return
    }
    if (this.#options.gate === undefined) {
      killQuietly(-this.pid)
      return
    }
    // The init process goes first and bwrap reaps it, so that bwrap's own end says that everything is dead.
    const inits = childrenOf(this.pid)
    for (const pid of inits) killQuietly(pid)
    if (inits.length === 0) killQuietly(this.pid)
  }

  #untilOpen(): Promise<void> {
    const { child, gate, clock, startMsMax } = this.#options
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const opened = (): void => {
      if (this.#state.at === 'starting') this.#state = { at: 'running' }
      if (!this.#options.group.isReal) this.#init = childrenOf(this.pid).map(processName)[0]
      resolve()
    }
    child.once('error', (error) => reject(this.#options.failed(`${child.spawnfile} could not be run (${error.message})`, error)))
    if (child.pid === undefined) return promise
    if (gate === undefined) {
      opened()
      return promise
    }
    gate.once('end', opened)
    // Closed with the filter unread: bwrap is dead or dying, and has said why.
    gate.once('error', () => void this.#lastWords().then((text) => reject(this.#options.failed(text))))
    gate.resume()
    const timer = clock.after(startMsMax, () => reject(this.#options.failed(`bubblewrap took longer than ${startMsMax} ms`)))
    return promise.finally(() => timer.cancel())
  }

  /** What bwrap wrote before it died. */
  async #lastWords(): Promise<string> {
    let text = ''
    try {
      for await (const chunk of this.stderr) {
        text += String(chunk)
        if (text.length >= stderrBytesMax) break
      }
    } catch {
      // What there is will do.
    }
    return text.trim() === '' ? 'bubblewrap died without a word' : text.trim().slice(0, stderrBytesMax)
  }

  async #untilGone(): Promise<SandboxExit> {
    const { child, group } = this.#options
    if (child.pid !== undefined) {
      const { promise, resolve } = Promise.withResolvers<{ code: number | null; signal: NodeJS.Signals | null }>()
      child.once('exit', (code, signal) => resolve({ code, signal }))
      const { code, signal } = await promise
      const exit = this.#state.at === 'dying' ? this.#state.exit : this.#causeOf(code, signal)
      this.#state = { at: 'ended', exit }
      for (let waitMs = lookAgainMsMin; !this.#isGone(); waitMs = Math.min(waitMs * 2, lookAgainMsMax)) {
        await new Promise((wake) => setTimeout(wake, waitMs))
      }
    } else {
      this.#state = { at: 'ended', exit: { cause: 'destroyed', reason: 'it could not be spawned' } }
      group.remove()
    }
    this.memory?.close()
    // A directory that can't be removed now is removed by the next sweep.
    await this.#options.removeDirectory().catch(() => {})
    return this.#state.exit
  }

  /** Whether nothing of it is alive (R2). What is still there is killed. */
  #isGone(): boolean {
    const { group, gate } = this.#options
    if (group.isReal) {
      if (group.remove()) return true
      group.kill()
      return false
    }
    if (gate === undefined) return !killQuietly(-this.pid)
    if (this.#init === undefined || !isAlive(this.#init)) return true
    killQuietly(this.#init.pid)
    return false
  }

  #causeOf(code: number | null, signal: NodeJS.Signals | null): SandboxExit {
    // A program that itself exits with 128 and more looks the same as one that was killed: shells have that too.
    const died = signal ?? (code !== null && code > signalledFrom ? signalName(code - signalledFrom) : undefined)
    if (died === undefined) return { cause: 'exited', code: code ?? 0 }
    if (died === 'SIGKILL' && this.#options.group.oomKills() > 0) return { cause: 'out-of-memory' }
    return { cause: 'signalled', signal: died }
  }
}

/**
 * Keeps what a stream brings until it is released. Node reads and drops what nobody has listened to when a child ends, and
 * a program can have said something and ended before whoever started it knows that it stands (P2).
 */
function hold(stream: Readable): () => void {
  const listener = (): void => {}
  stream.on('readable', listener)
  return () => void stream.off('readable', listener)
}

function signalName(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
}

/** Answers whether there was something to kill. */
function killQuietly(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}

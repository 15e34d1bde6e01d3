/**
 * Sandboxes made of Linux namespaces, by bubblewrap, with limits by cgroups.
 *
 * One sandbox is three processes: bwrap outside, which we wait for; an init process inside, which collects orphans and
 * whose death ends the pid namespace; and the program. A start is: directory and cgroup (0.3 ms), spawn (1 to 2 ms; together
 * that is how long the event loop stands still), into the cgroup (launcher.ts), and some 5 ms later bwrap's gate (bubblewrap.ts)
 * says that the sandbox stands. Nobody waits for that on top: the runtime inside needs longer to say hello.
 *
 * Where bubblewrap is missing and the operator allows it, the command runs unsandboxed (unsandboxed.ts).
 *
 * Invariants, beside S1 to S5 of sandbox.ts:
 *   P1. No process of a sandbox is ever outside its cgroup, but for the shell that moves itself and becomes bwrap.
 *   P2. What the program writes before `start` resolves is kept for whoever listens then, also when it has ended by then.
 *       Who listens later than in the same turn may find that Node has dropped what a dead program wrote.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { systemClock } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { MEMORY_FD } from '#contract/frames.ts'
import type { SharedMemory } from '#transfer/shared-memory.ts'
import { MemoryChannel } from '../memory-channel.ts'
import { bubblewrapCommand, gateFd, probeBubblewrap } from './bubblewrap.ts'
import type { BubblewrapProbe } from './bubblewrap.ts'
import { CgroupParent, parentDirectories } from './cgroup.ts'
import type { Cgroup } from './cgroup.ts'
import { cgroupFiles, cgroupTrees } from './cgroup-layout.ts'
import type { CgroupTree } from './cgroup-layout.ts'
import { inheritedFds, withoutInherited } from './inherited-fds.ts'
import type { StdioPlace } from './inherited-fds.ts'
import { SandboxDirectories } from './leftovers.ts'
import { describeIsolation } from './isolation.ts'
import { launch } from './launcher.ts'
import { RunningSandbox } from './running-sandbox.ts'
import type { Isolation, Sandbox, SandboxOptions, SandboxProvider } from './sandbox.ts'
import { isSeccompArchitecture, seccompProgram } from './seccomp.ts'
import { unsandboxedCommand } from './unsandboxed.ts'

export interface ProcessSandboxOptions {
  readonly dataDirectory: string
  /** Run code without isolation where this host has none. Only for code that the operator trusts as himself. */
  readonly allowUnsandboxed?: boolean
  /** Absent where memory cannot be passed: then no sandbox gets a socket for it. */
  readonly memory?: SharedMemory | undefined
  /** How long bwrap may take to set a sandbox up. */
  readonly startMsMax?: number
  readonly clock?: Clock
  /** Where to look for bwrap; the PATH of this process unless given. */
  readonly searchPath?: string
  /** The cgroup trees to use; those of this host unless given. */
  readonly cgroups?: readonly CgroupTree[]
}

/** What the host offers, found out at the first use. */
interface Host {
  readonly probe: BubblewrapProbe
  readonly groups: CgroupParent
  readonly isolation: Isolation
  readonly inherited: readonly number[]
}

const filter = isSeccompArchitecture(process.arch) ? seccompProgram(process.arch) : undefined
const pagingFilter = isSeccompArchitecture(process.arch) ? seccompProgram(process.arch, { paging: true }) : undefined
/** Opens the gate where there is no filter to bring: bwrap then waits for one byte. */
const gateByte = Buffer.from([0])

export class ProcessSandboxProvider implements SandboxProvider {
  readonly kind = 'process'
  readonly #options: ProcessSandboxOptions
  readonly #clock: Clock
  readonly #directories: SandboxDirectories
  readonly #living = new Map<string, RunningSandbox>()
  #host: Host | undefined
  #closed = false

  constructor(options: ProcessSandboxOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#directories = new SandboxDirectories(options.dataDirectory)
  }

  isolation(): Isolation {
    return this.#getHost().isolation
  }

  /** @throws ISOLATION_MISSING without bubblewrap, unless unsandboxed is allowed; START_FAILED with what bubblewrap said. */
  async start(options: SandboxOptions): Promise<Sandbox> {
    assert(/^[A-Za-z0-9-]+$/.test(options.id), `sandbox id "${options.id}"`)
    if (this.#closed) throw new PlatformError('STOPPING', 'the platform is stopping and starts no sandbox: try again when it is up')
    const { probe, isolation } = this.#getHost()
    if (probe.state !== 'works' && this.#options.allowUnsandboxed !== true) {
      throw new PlatformError('ISOLATION_MISSING', `this host can't isolate code: ${isolation.missing.join('; ')}`)
    }
    const sandbox = this.#spawn(options)
    try {
      await sandbox.opened
    } catch (thrown) {
      await sandbox.destroy('it did not start')
      throw asStartFailed(options, thrown)
    }
    return sandbox
  }

  async sweep(): Promise<void> {
    await this.#directories.sweep()
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#living.values()].map((sandbox) => sandbox.destroy('the platform is stopping')))
    this.#host?.groups.remove()
    this.#directories.release()
  }

  #spawn(options: SandboxOptions): RunningSandbox {
    const { probe, groups } = this.#getHost()
    if (this.#living.has(options.id)) throw startFailed(options, 'a sandbox with this id is alive: give each its own')
    let codeDirectory: string | undefined
    let group: Cgroup | undefined
    let memory: MemoryChannel | undefined
    let theirs: number | undefined
    try {
      codeDirectory = this.#directories.make(options.id)
      group = groups.createChild(options.id, options.limits)
      if (this.#options.memory !== undefined) {
        const pair = this.#options.memory.socketPair()
        theirs = pair.theirs
        memory = new MemoryChannel(this.#options.memory, pair.ours)
      }
      const child = probe.state === 'works' ? this.#spawnInside(probe.path, options, codeDirectory, group, theirs) : this.#spawnBare(options, codeDirectory, group, theirs)
      // Whatever is wrong with it is told by RunningSandbox, which listens too; nothing may stay unheard meanwhile.
      child.on('error', () => {})
      // Node makes no streams when it could not even make the pipes.
      if (!Array.isArray(child.stdio)) throw new Error('no file descriptors are left: raise ulimit -n')
      const gate = probe.state === 'works' ? (child.stdio[gateFd] as Socket) : undefined
      gate?.on('error', () => {})
      gate?.end((options.paging === true ? pagingFilter : filter) ?? gateByte)
      const sandbox = new RunningSandbox({
        id: options.id,
        child,
        gate,
        memory,
        group,
        codeDirectory,
        startMsMax: this.#options.startMsMax ?? 10_000,
        clock: this.#clock,
        failed: (why, cause) => startFailed(options, why, cause),
        removeDirectory: () => this.#directories.remove(options.id),
      })
      this.#living.set(options.id, sandbox)
      void sandbox.exited.then(() => this.#living.delete(options.id))
      return sandbox
    } catch (thrown) {
      memory?.close()
      group?.remove()
      // A directory that was there before is somebody else's.
      if (codeDirectory !== undefined) this.#directories.discard(options.id)
      throw asStartFailed(options, thrown)
    } finally {
      // The child has its own by now.
      if (theirs !== undefined) closeSync(theirs)
    }
  }

  #spawnInside(bwrap: string, options: SandboxOptions, codeDirectory: string, group: Cgroup, memorySocket: number | undefined): ChildProcess {
    const command = bubblewrapCommand(options, codeDirectory, filter !== undefined)
    const { program, arguments: all } = launch(group.joinFiles, bwrap, command.arguments)
    const stdio = withoutInherited(stdioOf('pipe', memorySocket), this.#getHost().inherited)
    return spawn(program, all, { cwd: '/', env: command.environment, stdio })
  }

  #spawnBare(options: SandboxOptions, codeDirectory: string, group: Cgroup, memorySocket: number | undefined): ChildProcess {
    const command = unsandboxedCommand(options, codeDirectory)
    const { program, arguments: all } = launch(group.joinFiles, command.program, command.arguments)
    const stdio = withoutInherited(stdioOf('ignore', memorySocket), this.#getHost().inherited)
    // Its own process group is all that holds an unsandboxed program together.
    return spawn(program, all, { cwd: codeDirectory, env: command.environment, stdio, detached: true })
  }

  #getHost(): Host {
    if (this.#host !== undefined) return this.#host
    const trees = this.#options.cgroups ?? cgroupTrees(cgroupFiles())
    const probe = probeBubblewrap(this.#options.searchPath)
    this.#directories.claim(parentDirectories(this.#directories.groupName, trees))
    const groups = CgroupParent.create(this.#directories.groupName, trees)
    const isolation = describeIsolation(probe, groups.controllers, filter !== undefined)
    this.#host = { probe, groups, isolation, inherited: inheritedFds(gateFd) }
    return this.#host
  }
}

/** What a program is started with: no input, output and errors, the channel, the gate, and the socket for memory. */
function stdioOf(gate: 'pipe' | 'ignore', memorySocket: number | undefined): readonly StdioPlace[] {
  const stdio: StdioPlace[] = ['ignore', 'pipe', 'pipe', 'pipe', gate]
  if (memorySocket !== undefined) stdio[MEMORY_FD] = memorySocket
  return stdio
}

function asStartFailed(options: SandboxOptions, thrown: unknown): PlatformError {
  if (thrown instanceof PlatformError) return thrown
  return startFailed(options, thrown instanceof Error ? thrown.message : String(thrown), thrown)
}

function startFailed(options: SandboxOptions, why: string, cause?: unknown): PlatformError {
  const message = `sandbox ${options.id} did not start: ${why}. Run ./skep doctor to see what this host allows`
  return new PlatformError('START_FAILED', message, { cause, details: { command: options.command } })
}

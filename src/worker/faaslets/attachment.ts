/**
 * A revision's place in a faaslet host, as the sandbox that an instance of the platform has.
 *
 * The platform listens on a socket in the host's code directory, which the inside sees read-only, and the host connects when it
 * is told to. So each revision has a channel with the kernel's own back-pressure, and several revisions of a tenant share one
 * process without seeing each other's frames. Its files lie in a directory of its own beside the socket.
 *
 * Invariants, beside S1 to S5 of sandbox.ts:
 *   A1. `exited` resolves after the host has closed the connection, which it does when no faaslet of the revision is left, or
 *       is dead. One that has not closed it {@link CLOSE_GRACE_MS} after `destroy` and after the deadlines of its other
 *       faaslets is killed with all it runs.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import type { Readable } from 'node:stream'
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import type { Sandbox, SandboxExit, SandboxUsage } from '../sandbox/sandbox.ts'
import type { MemoryChannel } from '../memory-channel.ts'
import type { QueueProxyHandover } from '../queue-proxy-owner.ts'
import type { HostProcess } from './host-process.ts'
import { acceptOne } from './one-connection.ts'

/** How long after its connections a host's death may become known: until then, one that closed by itself is not said to have ended well. */
const DEATH_KNOWN_MS = 250
/** A host that is not stuck closes within a turn of its event loop, when it does not compute. */
const CLOSE_GRACE_MS = 1_000
/** Connecting takes the host some 0.3 ms, unless it computes. */
const CONNECT_MS_MAX = 5_000

export class Attachment implements Sandbox {
  readonly id: string
  readonly channel: Socket
  readonly stdout: Readable = new PassThrough()
  readonly stderr: Readable = new PassThrough()
  readonly codeDirectory: string
  readonly pid: number
  readonly exited: Promise<SandboxExit>
  readonly host: HostProcess
  readonly memory: MemoryChannel | undefined
  /** What one place leaves for the next one's queue proxy, as the host says hello once. */
  handover: QueueProxyHandover = { firstStream: 2, takesMemory: false }
  readonly #clock: Clock
  #exit: SandboxExit | undefined
  readonly #asked = Promise.withResolvers<void>()
  readonly #usage = { cpuMs: 0, hostCpuMs: 0, memoryPeakBytes: 0 }
  #lastUsage: SandboxUsage | undefined

  private constructor(options: { readonly id: string; readonly host: HostProcess; readonly channel: Socket; readonly codeDirectory: string; readonly memory: MemoryChannel | undefined; readonly clock: Clock }) {
    this.id = options.id
    this.host = options.host
    this.channel = options.channel
    this.codeDirectory = options.codeDirectory
    this.pid = options.host.sandbox.pid
    this.memory = options.memory
    this.#clock = options.clock
    // Between two places nobody else listens: a host that dies then must not be the platform's error.
    this.channel.on('error', () => {})
    this.exited = this.#untilGone()
  }

  /** @throws START_FAILED when the host does not connect. */
  static async make(options: { readonly id: string; readonly host: HostProcess; readonly serves: string; readonly clock: Clock; readonly timeoutMs?: number }): Promise<Attachment> {
    const { id, host, serves, clock, timeoutMs = CONNECT_MS_MAX } = options
    const codeDirectory = join(host.sandbox.codeDirectory, id)
    host.attachments++
    let memory: ReturnType<MemoryChannel['divide']>
    try {
      mkdirSync(codeDirectory)
      const channel = await acceptOne(host.sandbox.codeDirectory, `${id}.sock`, {
        clock,
        timeoutMs,
        gone: host.sandbox.exited,
        listening: (socket) => {
          memory = host.sandbox.memory?.divide()
          host.command({ do: 'attach', id, socket, ...(memory !== undefined && { memory: memory.n }) })
        },
      })
      return new Attachment({ id, host, channel, codeDirectory, memory: memory?.channel, clock })
    } catch (thrown) {
      memory?.channel.close()
      host.attachments--
      rmSync(codeDirectory, { recursive: true, force: true })
      throw thrown instanceof PlatformError ? thrown : new PlatformError('START_FAILED', `A faaslet host could not be given function ${serves}: ${(thrown as Error).message}.`, { cause: thrown })
    }
  }

  /** The limits of a faaslet are its memory's maximum and its deadline, which the host is told with the function. */
  limit(): void {}

  /** An equal share of what the host uses: the memory of faaslets is one process's. */
  usage(): SandboxUsage {
    if (this.#lastUsage !== undefined) return this.#lastUsage
    const { cpuMs, memoryBytes, memoryPeakBytes } = this.host.sandbox.usage()
    const share = Math.max(1, this.host.attachments)
    // Shares change with the number of attachments; what was counted once stays counted.
    const used = this.#usage
    used.cpuMs += Math.max(0, cpuMs - used.hostCpuMs) / share
    used.hostCpuMs = Math.max(cpuMs, used.hostCpuMs)
    used.memoryPeakBytes = Math.max(memoryPeakBytes / share, used.memoryPeakBytes)
    return { cpuMs: used.cpuMs, memoryBytes: memoryBytes / share, memoryPeakBytes: used.memoryPeakBytes }
  }

  destroy(reason: string): Promise<SandboxExit> {
    if (this.#exit === undefined) {
      this.#exit = { cause: 'destroyed', reason }
      this.#asked.resolve()
      this.channel.end()
      // It closes when everything has been read, and nobody may be reading.
      this.channel.resume()
      // While it computes for a neighbour, until that one's deadline, it is not stuck.
      const timer = this.#clock.after(CLOSE_GRACE_MS + this.host.busyMsMax(), () => this.host.kill(`a faaslet of ${this.id} could not be ended (${reason})`))
      void this.exited.then(() => timer.cancel())
    }
    return this.exited
  }

  async #untilGone(): Promise<SandboxExit> {
    const closed = new Promise<void>((resolve) => this.channel.once('close', () => resolve()))
    const died = this.host.sandbox.exited.then((exit) => {
      this.#exit ??= this.host.exitOfItsPlaces(exit)
      this.channel.destroy()
    })
    // The host may have closed it because it is dying: why is known a moment later.
    await closed
    if (this.#exit === undefined && this.host.isAlive) {
      const late = Promise.withResolvers<void>()
      const timer = this.#clock.after(DEATH_KNOWN_MS, late.resolve)
      await Promise.race([died, this.#asked.promise, late.promise])
      timer.cancel()
    }
    if (!this.host.isAlive) await died
    this.#lastUsage = this.usage()
    this.memory?.close()
    this.host.attachments--
    this.stdout.destroy()
    this.stderr.destroy()
    // A newer snapshot may be linked into it at this very moment. What stays goes with the host's own directory.
    await rm(this.codeDirectory, { recursive: true, force: true, maxRetries: 3 }).catch(() => {})
    return (this.#exit ??= { cause: 'exited', code: 0 })
  }
}

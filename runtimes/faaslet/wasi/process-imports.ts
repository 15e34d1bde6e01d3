/**
 * WASI's functions that are about neither files nor paths: arguments, variables, clocks, randomness, waiting, the end.
 *
 * Clocks and randomness are the host's at every call. So two clones of a snapshot never share them, whatever the function
 * read before it was taken; a generator that a function seeded itself before the snapshot is its own to seed again.
 *
 * Source: WASI preview 1, witx; layouts of subscription (48 bytes) and event (32).
 */
import { randomFillSync } from 'node:crypto'
import { Errno } from './abi.ts'
import type { StringList } from './environment.ts'
import { Exit } from './failures.ts'
import { WasiError } from './files.ts'
import type { Run } from './run.ts'

const SUBSCRIPTION_BYTES = 48
const EVENT_BYTES = 32
const SUBSCRIPTIONS_MAX = 4096
const EventKind = { clock: 0, read: 1, write: 2 } as const
const ABSOLUTE = 1
/** Bytes that filling with randomness takes in one step: a step cannot be stopped at a deadline. */
const RANDOM_STEP = 1 << 20

interface Subscription {
  readonly user: bigint
  readonly kind: number
  readonly fd: number
  /** Of a clock: when it fires, ms as `performance.now()` says. */
  readonly atMs: number
}

export const processImports = {
  args_get(run: Run, pointers: number, bytes: number): void {
    writeStrings(run, run.host.arguments, pointers, bytes)
  },

  args_sizes_get(run: Run, count: number, bytes: number): void {
    writeSizes(run, run.host.arguments, count, bytes)
  },

  environ_get(run: Run, pointers: number, bytes: number): void {
    writeStrings(run, run.environment, pointers, bytes)
  },

  environ_sizes_get(run: Run, count: number, bytes: number): void {
    writeSizes(run, run.environment, count, bytes)
  },

  clock_res_get(run: Run, clock: number, out: number): void {
    if (clock >>> 0 > 3) throw new WasiError(Errno.inval)
    run.memory.setU64(out, 1000n)
  },

  clock_time_get(run: Run, clock: number, _precision: bigint, out: number): void {
    run.memory.setU64(out, clockNs(clock))
  },

  random_get(run: Run, address: number, length: number): void {
    fillRandom(run, address, length)
  },

  proc_exit(_run: Run, code: number): void {
    throw new Exit(code >>> 0)
  },

  proc_raise(_run: Run, signal: number): void {
    throw new Exit(128 + (signal & 0x7f))
  },

  sched_yield(run: Run): Promise<number> {
    return run.wait(async () => {
      await new Promise((resolve) => setImmediate(resolve))
      return Errno.success
    })
  },

  poll_oneoff(run: Run, input: number, output: number, count: number, out: number): number | Promise<number> {
    const list = subscriptionsOf(run, input, count)
    run.memory.bytes(output, list.length * EVENT_BYTES)
    run.memory.setU32(out, 0)
    const untilMs = Math.min(...list.filter(({ kind }) => kind === EventKind.clock).map(({ atMs }) => atMs))
    const readsInput = list.some((one) => one.kind === EventKind.read && isInput(run, one.fd))
    if (writeEvents(run, list, output, out) > 0) return Errno.success
    return run.wait(async () => {
      while (writeEvents(run, list, output, out) === 0) {
        const waits: Promise<void>[] = []
        if (readsInput) waits.push(run.input.wait())
        if (untilMs < Infinity) waits.push(run.timer(Math.max(0, untilMs - performance.now())))
        await Promise.race(waits)
        run.stopTimer()
      }
      return Errno.success
    })
  },

  sock_accept(): void {
    throw new WasiError(Errno.notsup)
  },

  sock_recv(run: Run, fd: number): void {
    run.descriptors.get(fd)
    throw new WasiError(Errno.notsock)
  },

  sock_send(run: Run, fd: number): void {
    run.descriptors.get(fd)
    throw new WasiError(Errno.notsock)
  },

  sock_shutdown(run: Run, fd: number): void {
    run.descriptors.get(fd)
    throw new WasiError(Errno.notsock)
  },
}

/** Fills memory with bytes that nobody else has. */
export function fillRandom(run: Run, address: number, length: number): void {
  const bytes = run.memory.bytes(address, length)
  for (let at = 0; at < bytes.length; at += RANDOM_STEP) randomFillSync(bytes.subarray(at, at + RANDOM_STEP))
}

/** 0 is the time of day; 1 and the cpu-time clocks 2 and 3 only go forward (an instance's own cpu time is not measured). */
function clockNs(clock: number): bigint {
  if (clock === 0) return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n
  if (clock === 1 || clock === 2 || clock === 3) return process.hrtime.bigint()
  throw new WasiError(Errno.inval)
}

function writeSizes(run: Run, list: StringList, count: number, bytes: number): void {
  run.memory.setU32(count, list.items.length)
  run.memory.setU32(bytes, list.bytes)
}

function writeStrings(run: Run, list: StringList, pointers: number, bytes: number): void {
  let at = bytes >>> 0
  for (const [index, item] of list.items.entries()) {
    run.memory.setU32(pointers + index * 4, at)
    run.memory.bytes(at, item.length).set(item)
    at += item.length
  }
}

function subscriptionsOf(run: Run, input: number, count: number): Subscription[] {
  if (count === 0 || count >>> 0 > SUBSCRIPTIONS_MAX) throw new WasiError(Errno.inval)
  const bytes = run.memory.bytes(input, count * SUBSCRIPTION_BYTES)
  const nowMs = performance.now()
  return Array.from({ length: count }, (_, index) => {
    const one = bytes.subarray(index * SUBSCRIPTION_BYTES, (index + 1) * SUBSCRIPTION_BYTES)
    const kind = one[8]!
    const user = one.readBigUInt64LE(0)
    if (kind !== EventKind.clock) return { user, kind, fd: one.readUInt32LE(16), atMs: Infinity }
    const isAbsolute = (one.readUInt16LE(40) & ABSOLUTE) !== 0
    const waitNs = one.readBigUInt64LE(24) - (isAbsolute ? clockNs(one.readUInt32LE(16)) : 0n)
    return { user, kind, fd: -1, atMs: nowMs + Number(waitNs) / 1e6 }
  })
}

/** Writes the events that have come. @returns how many. */
function writeEvents(run: Run, list: readonly Subscription[], output: number, out: number): number {
  const nowMs = performance.now()
  let count = 0
  for (const { user, kind, fd, atMs } of list) {
    let bytes = 0
    let errno: number = Errno.success
    if (kind === EventKind.clock) {
      if (atMs > nowMs) continue
    } else if (kind === EventKind.read && isInput(run, fd)) {
      if (!run.input.isReady && !run.input.hasFailed) continue
      bytes = run.input.bytesReady
    } else if (kind === EventKind.read || kind === EventKind.write) errno = statusOf(run, fd)
    else errno = Errno.inval
    const event = run.memory.bytes(output + count * EVENT_BYTES, EVENT_BYTES).fill(0)
    event.writeBigUInt64LE(user, 0)
    event.writeUInt16LE(errno, 8)
    event[10] = kind
    event.writeBigUInt64LE(BigInt(bytes), 16)
    count++
  }
  run.memory.setU32(out, count)
  return count
}

/** Files and streams of output are always ready. */
function statusOf(run: Run, fd: number): number {
  try {
    run.descriptors.get(fd)
    return Errno.success
  } catch {
    return Errno.badf
  }
}

function isInput(run: Run, fd: number): boolean {
  return statusOf(run, fd) === Errno.success && run.descriptors.get(fd).kind === 'stdin'
}

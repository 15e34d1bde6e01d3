/**
 * setTimeout, setInterval, setImmediate and performance.
 *
 * A timer that is set while the code loads has no clock yet: it begins with the first invocation. The host drops timers when an
 * invocation has ended; what is to go on needs `waitUntil`.
 */
import { HostOp } from '../ops.ts'
import { host } from './host.ts'

type Callback = (...args: unknown[]) => void
const LONGEST_MS = 0x7fffffff

const timers = new Map<number, Timeout>()
let nextId = 1
let isLoaded = false

/** What setTimeout returns: an object, as in Node, which counts as its number. */
class Timeout {
  readonly id = nextId++
  readonly callback: Callback
  readonly args: unknown[]
  readonly ms: number
  readonly repeats: boolean

  constructor(callback: Callback, ms: unknown, repeats: boolean, args: unknown[]) {
    if (typeof callback !== 'function') throw new TypeError(`The "callback" argument must be of type function. Received ${callback === null ? 'null' : typeof callback}`)
    const number = Number(ms)
    this.callback = callback
    this.args = args
    this.ms = number >= 1 && number <= LONGEST_MS ? number : 1
    this.repeats = repeats
    timers.set(this.id, this)
    this.begin()
  }

  begin(): void {
    if (isLoaded) host(HostOp.timer, this.id, this.ms)
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }

  refresh(): this {
    host(HostOp.clearTimer, this.id)
    timers.set(this.id, this)
    this.begin()
    return this
  }

  close(): this {
    clearTimeout(this)
    return this
  }

  [Symbol.toPrimitive](): number {
    return this.id
  }

  [Symbol.dispose](): void {
    clearTimeout(this)
  }
}

export function setTimeout(callback: Callback, ms?: unknown, ...args: unknown[]): Timeout {
  return new Timeout(callback, ms, false, args)
}

export function setInterval(callback: Callback, ms?: unknown, ...args: unknown[]): Timeout {
  return new Timeout(callback, ms, true, args)
}

export function setImmediate(callback: Callback, ...args: unknown[]): Timeout {
  return new Timeout(callback, 0, false, args)
}

export function clearTimeout(timer: unknown): void {
  const id = timer instanceof Timeout ? timer.id : Number(timer)
  if (!timers.delete(id) || !isLoaded) return
  host(HostOp.clearTimer, id)
}

/** The first invocation begins. */
export function beginTimers(): void {
  if (isLoaded) return
  isLoaded = true
  originMs = undefined
  for (const timer of timers.values()) timer.begin()
}

/** The memory becomes a snapshot: the clock of the next faaslet begins anew, and timers that are left here have none. */
export function forgetTimers(): void {
  timers.clear()
  isLoaded = false
}

/** From the host. */
export function fireTimer(id: number): void {
  const timer = timers.get(id)
  if (timer === undefined) return
  if (timer.repeats) timer.begin()
  else timers.delete(id)
  timer.callback(...timer.args)
}

const engineNow = performance.now.bind(performance)
let originMs: number | undefined
let engineOriginMs = 0

/** Its time begins when it is first asked for in a faaslet: the engine's own begins with the snapshot. */
export const webPerformance = {
  now(): number {
    begin()
    return engineNow() - engineOriginMs
  },
  get timeOrigin(): number {
    return begin()
  },
  mark: () => undefined,
  measure: () => undefined,
  toJSON: () => ({ timeOrigin: begin() }),
}

function begin(): number {
  // While the code loads, every asking begins anew: that time is not a faaslet's.
  if (originMs === undefined || !isLoaded) {
    originMs = Date.now()
    engineOriginMs = engineNow()
  }
  return originMs
}

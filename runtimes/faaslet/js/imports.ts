/**
 * What quickjs.wasm imports. Made once; whose call it is, `running` says.
 *
 * Clocks are live: a restored faaslet sees the time of now. The time zone is UTC. Descriptors do not exist; what the engine writes to
 * 1 and 2 (it hardly ever does) is a log entry.
 */
import { getRandomValues } from 'node:crypto'
import { PlatformError } from '../../../src/contract/errors.ts'
import type { Faaslet, Running } from '../guest.ts'
import type { Life } from './life.ts'

const SUCCESS = 0
const BAD_DESCRIPTOR = 8
const NOT_SUPPORTED = 52
const CLOCK_REALTIME = 0
const NS_PER_MS = 1e6

export function engineImports(running: Running): WebAssembly.Imports {
  const faaslet = (): Faaslet => running.faaslet!
  const life = (): Life => running.faaslet!.state as Life
  return {
    env: {
      // What the guest asks for is done wholly or not at all: it goes to a channel and to timers that others use as well.
      host_call: (_name: number, _nameLength: number, _self: number, count: number, argv: number) => {
        running.hold?.()
        try {
          return life().hostCall(count, argv)
        } catch (thrown) {
          // What the host refuses (a name that fits no frame) is the guest's to catch.
          if (thrown instanceof PlatformError) return life().engine.throwError(thrown.message)
          throw thrown
        } finally {
          running.release?.()
        }
      },
      // Spinning code is ended from outside, by the watchdog behind Enter.
      host_interrupt: () => 0,
      host_promise_rejection: (promise: number, reason: number, isHandled: number) => life().rejected(promise, reason, isHandled !== 0),
      host_module_normalize: (_base: number, name: number) => copyOf(life(), name),
      host_module_load: (name: number) => {
        const { engine } = life()
        const end = engine.bytes.indexOf(0, name)
        return engine.throwError(`Cannot find module ${JSON.stringify(engine.bytes.toString('utf8', name, end))}: kind js has none of Node's modules, and packages must be in the bundle`)
      },
      host_get_timezone_offset: () => 0,
    },
    wasi_snapshot_preview1: {
      clock_time_get: (clock: number, _precision: bigint, at: number) => {
        const ms = clock === CLOCK_REALTIME ? performance.timeOrigin + performance.now() : performance.now()
        new DataView(faaslet().memory.buffer).setBigUint64(at, BigInt(Math.floor(ms * 1000)) * BigInt(NS_PER_MS / 1000), true)
        return SUCCESS
      },
      random_get: (at: number, length: number) => {
        getRandomValues(new Uint8Array(faaslet().memory.buffer, at, length))
        return SUCCESS
      },
      fd_write: (descriptor: number, list: number, count: number, written: number) => {
        const { buffer } = faaslet().memory
        const view = new DataView(buffer)
        const parts: Buffer[] = []
        for (let index = 0; index < count; index++) parts.push(Buffer.from(buffer as ArrayBuffer, view.getUint32(list + index * 8, true), view.getUint32(list + index * 8 + 4, true)))
        const text = Buffer.concat(parts)
        running.hold?.()
        life().log(descriptor === 1 ? 'stdout' : 'stderr', text.toString())
        running.release?.()
        view.setUint32(written, text.length, true)
        return SUCCESS
      },
      fd_close: () => BAD_DESCRIPTOR,
      fd_fdstat_get: () => BAD_DESCRIPTOR,
      fd_seek: () => NOT_SUPPORTED,
    },
  }
}

/** Module names stay as they are written. */
function copyOf({ engine }: Life, name: number): number {
  const end = engine.bytes.indexOf(0, name)
  const at = engine.exports.wasm_malloc(end - name + 1)
  if (at !== 0) engine.bytes.copyWithin(at, name, end + 1)
  return at
}

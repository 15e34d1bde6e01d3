/**
 * A host process for tests of WebAssembly functions: the real frame protocol, invocations and calls, the simplest `Enter`.
 *
 * The file that `init` names is made a guest and booted; each invocation gets a faaslet of its own, restored by copying the
 * memory. Variables: TEST_NETWORK=1 gives the network, TEST_REUSE=1 keeps one faaslet as long as it is reusable.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { FrameType, LogLevel } from '../../../src/contract/frames.ts'
import { PlatformError } from '../../../src/contract/errors.ts'
import { Call } from '../../node/calls.ts'
import { Host } from '../../node/host.ts'
import { boot, capture, newMemory, restore } from '../faaslets.ts'
import type { Enter, Faaslet, Running } from '../guest.ts'
import { decodeState, encodeState } from '../wasm/state-codec.ts'
import { directoryFiles } from './app-files.ts'
import { makeWasiGuest, type WasiGuest } from './guest.ts'

const running: Running = { faaslet: undefined }

/** Runs the queue of microtasks, which works outside of them only. */
const runMicrotasks = (process as unknown as { _tickCallback(): void })._tickCallback

const enter: Enter = (faaslet, run) => {
  if (running.faaslet !== undefined) throw new Error('Enter was entered within itself.')
  running.faaslet = faaslet
  try {
    const result = run()
    runMicrotasks()
    return result
  } finally {
    running.faaslet = undefined
  }
}

const root = process.env['SKEP_APP_DIR']!
const host = new Host()
let guest: WasiGuest
let make: () => Promise<Faaslet>
let kept: Faaslet | undefined

host.serve({
  async init(frame) {
    guest = await makeWasiGuest({
      bytes: readFileSync(join(root, frame.entry)),
      frame,
      memoryBytesMax: frame.memoryMb * 2 ** 20,
      files: directoryFiles(root),
      enter,
      running,
      log: (level, text, stream) => host.channel.send(FrameType.log, 0, stream, Buffer.concat([Buffer.of(LogLevel[level]), Buffer.from(text)])),
      call: (options) => new Call(host, options),
      fetch: process.env['TEST_NETWORK'] === '1' ? fetch : undefined,
    })
    const booted = await outside(() => boot(guest))
    const captured = capture(guest, booted)
    if (captured.kind === 'problem') {
      host.channel.send(FrameType.log, 0, 0, Buffer.concat([Buffer.of(LogLevel.warn), Buffer.from(`no snapshot: ${captured.reason}`)]))
      make = () => boot(guest)
    } else {
      const image = Buffer.from(Buffer.from(captured.memory.buffer))
      const state = decodeState(encodeState(captured.state))
      make = async () => {
        const memory = newMemory(guest)
        if (memory.buffer.byteLength < image.length) memory.grow((image.length - memory.buffer.byteLength) / 65_536)
        Buffer.from(memory.buffer).set(image)
        return restore(guest, memory, state)
      }
    }
    return guest.shape.kind === 'command' ? 'command' : 'handler'
  },

  invoke(invocation) {
    const run = async (): Promise<void> => {
      const faaslet = kept ?? (await outside(make))
      kept = undefined
      await outside(() => guest.invoke(faaslet, invocation))
      if (process.env['TEST_REUSE'] === '1' && guest.isReusable(faaslet)) kept = faaslet
    }
    run().catch((error: unknown) => invocation.fail(PlatformError.from(error)))
  },
})
host.hello('node')

/** Out of the microtask queue (Enter demands it). */
function outside<Value>(run: () => Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => setImmediate(() => void run().then(resolve, reject)))
}

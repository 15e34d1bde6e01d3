/**
 * The faaslet host: one process that runs the faaslets of one tenant, inside a process sandbox.
 *
 *   descriptor 3       commands of the platform, events of the host (contract/frames.ts)
 *   descriptor 5       sockets over which bodies are passed as memory, one for each revision (passed-memory.ts)
 *   /app/<id>.sock     one connection per revision: frames, as a runtime of its own has them on descriptor 3
 *   /app/<id>/         that revision's code and snapshot, read-only
 *
 * It starts without a tenant (a stem cell), with the JavaScript engine compiled. It holds nothing that a second start would miss.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { FRAMES_VERSION, FrameType, parseJson } from '../../src/contract/frames.ts'
import type { CaptureKind, HelloFrame, HostCommand, HostEvent } from '../../src/contract/frames.ts'
import { PlatformError } from '../../src/contract/errors.ts'
import { encodeCapture, encodeRecording } from '../../src/pager/capture-stream.ts'
import { loadNative } from '../../src/pager/native.ts'
import { Channel } from '../node/channel.ts'
import { EXIT_BROKEN, Host } from '../node/host.ts'
import { makeEntries } from './enter.ts'
import { javaScriptEngine } from './make-guest.ts'
import { HostMemory, MemorySocket } from './passed-memory.ts'
import { ServedRevision } from './served-revision.ts'
import { encodeState } from './wasm/state-codec.ts'

const root = process.env['SKEP_APP_DIR'] ?? '/app'
/** Without the addon everything works, by copying; so its absence is no reason not to start. */
loadNative(process.env['SKEP_NATIVE'])

const entries = makeEntries()
const memorySocket = MemorySocket.find()
const served = new Map<string, ServedRevision>()

const control = new Channel({
  to: { fd: 3 },
  onFrame: (type, _flags, _stream, payload) => {
    if (type === FrameType.stop) process.exit(0)
    if (type !== FrameType.command) throw new PlatformError('PROTOCOL_BROKEN', `A faaslet host got a frame of type ${type}.`)
    obey(parseJson<HostCommand>(payload.toString()))
  },
  onTurn: () => {},
  onEnd: (error) => process.exit(error === undefined ? 0 : EXIT_BROKEN),
  onDrain: () => {},
})

await javaScriptEngine(import.meta.dirname)
const hello: HelloFrame = { protocol: FRAMES_VERSION, runtime: 'faaslet', version: process.version, pid: process.pid, stops: entries.running.hold !== undefined, memory: memorySocket !== undefined }
control.send(FrameType.hello, 0, 0, JSON.stringify(hello))

function obey(command: HostCommand): void {
  switch (command.do) {
    case 'attach':
      return attach(command.id, join(root, command.socket), command.memory === undefined ? undefined : memorySocket?.divide(command.memory))
    case 'use':
      return served.get(command.id)?.use(command.snapshot)
    case 'capture':
      return void capture(command.id, command.what, command.imageId, connect(join(root, command.socket)))
  }
}

function attach(id: string, path: string, socket: MemorySocket | undefined): void {
  const memory = socket === undefined ? undefined : new HostMemory(socket)
  const host = new Host({
    to: { path },
    memory,
    exit: () => {
      if (!served.delete(id)) return
      revision.close()
      socket?.close()
      void host.channel.close()
    },
  })
  const revision = new ServedRevision({ id, host, memory, entries, root, tell })
  served.set(id, revision)
  host.serve(revision)
  host.hello('faaslet')
}

async function capture(id: string, what: CaptureKind, imageId: string | undefined, socket: Socket): Promise<void> {
  try {
    const revision = served.get(id)
    if (what !== 'trace') {
      using ripe = what === 'ripe' ? revision?.takeRipe() : undefined
      const template = what === 'ripe' ? ripe?.template : revision?.template()
      if (template === undefined) throw new Error('there is nothing to capture')
      await pipeline(Readable.from(encodeCapture(template.memory, new TextEncoder().encode(encodeState(template.state))), { objectMode: true }), socket)
    } else {
      const trace = revision?.takeTrace(imageId)
      if (trace === undefined) throw new Error('nothing was recorded')
      await pipeline(Readable.from([encodeRecording(trace.faults, trace.ordered)]), socket)
    }
  } catch {
    // The worker sees the capture end too early, and says so.
    socket.destroy()
  }
}

function tell(event: HostEvent): void {
  control.send(FrameType.event, 0, 0, JSON.stringify(event))
}

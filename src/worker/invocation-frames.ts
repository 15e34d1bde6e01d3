/**
 * What single frames say of an invocation, on the way in and out of a runtime; the conversation itself is queue-proxy.ts.
 */
import { closeSync } from 'node:fs'
import { PlatformError } from '#contract/errors.ts'
import { encodeFrame, FrameType, LogLevel, parseJson, USAGE_BYTES } from '#contract/frames.ts'
import type { LogLevelName, PassedMemory } from '#contract/frames.ts'
import type { Invocation } from '#contract/invocation.ts'
import { readStartFigures } from '#contract/start-figures.ts'
import { ownTraceparent } from '#telemetry/trace-context.ts'
import type { MemoryChannel } from './memory-channel.ts'

export const levelNames = Object.fromEntries(Object.entries(LogLevel).map(([name, level]) => [level, name])) as Record<number, LogLevelName>

/** @throws PROTOCOL_BROKEN. */
export function receiveUsage(invocation: Invocation, payload: Buffer): void {
  if (payload.length < USAGE_BYTES) throw new PlatformError('PROTOCOL_BROKEN', `The runtime reported usage in ${payload.length} bytes.`)
  invocation.cpuUs = payload.readUInt32LE(0)
  invocation.memoryPeakKb = payload.readUInt32LE(4)
}

/** Figures of a host that runs foreign code: a wrong one harms nobody but its reader. @throws PROTOCOL_BROKEN. */
export function receiveStart(invocation: Invocation, payload: Buffer): void {
  const figures = readStartFigures(parseJson<unknown>(payload.toString()))
  if (figures === undefined) throw new PlatformError('PROTOCOL_BROKEN', 'The runtime told a start of an unknown kind.')
  invocation.startFigures = figures
  invocation.start = figures.start
}

/** The receiver of a stream has consumed so many bytes: of data frames, or of memory, which nobody holds any more. */
export function creditFrame(stream: number, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(4)
  payload.writeUInt32LE(Math.min(bytes, 0xffffffff), 0)
  return encodeFrame(FrameType.credit, 0, stream, payload)
}

/** The memory that is a frame's whole body. @param alone The frame has END and no bytes beside it. @throws PROTOCOL_BROKEN. */
export function takeWhole(memory: MemoryChannel | undefined, passed: PassedMemory, alone: boolean): { readonly fd: number; readonly bytes: number } {
  if (memory === undefined) throw new PlatformError('PROTOCOL_BROKEN', 'The runtime named memory, and its sandbox has nothing to pass it by.')
  const taken = memory.take(passed)
  if (alone) return taken
  closeSync(taken.fd)
  throw new PlatformError('PROTOCOL_BROKEN', 'The runtime sent a body twice: as memory, and as bytes.')
}

/** The JSON of an {@link OpenHead}, written by hand: most of it needs no escaping, and the headers are encoded already. */
export function openHeadJson(invocation: Invocation, deadlineMs: number, passed?: PassedMemory): string {
  const { id, request, attempt } = invocation
  const headers = request.headersJson ?? JSON.stringify(request.headers)
  const trace = ownTraceparent(invocation.traceparent, id, attempt)
  const more = passed === undefined && request.binary === undefined ? '' : `${request.binary === true ? ',"b":true' : ''}${passed === undefined ? '' : `,"p":{"n":${passed.n},"b":${passed.b}}`}`
  return `{"k":"${request.kind}","i":"${id}","m":${JSON.stringify(request.method)},"u":${JSON.stringify(request.path)},"h":${headers},"d":${deadlineMs},"t":"${trace}","n":${attempt}${more}}`
}

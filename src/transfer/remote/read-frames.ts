/**
 * Reads a TLS connection through a frame parser, without a buffer between: `onread` asks the parser where the next bytes belong.
 *
 * node:net has this option for sockets that connect, and node:tls passes it on; a socket that a server has accepted gets its data as events,
 * and those are copied: what a server reads is small.
 */
import type { TLSSocket } from 'node:tls'
import { PlatformError } from '#contract/errors.ts'
import type { FrameParser } from './protocol.ts'

export interface OnRead {
  readonly buffer: () => Buffer
  readonly callback: (count: number) => boolean
}

/** For `tls.connect`. @param failed Called with the PlatformError of the parser, or the sink: after that, nothing is read any more. Another error is a bug, and thrown. */
export function readInto(parser: FrameParser, failed: (error: PlatformError) => void): OnRead {
  let isFailed = false
  const guarded = <Result>(read: () => Result, otherwise: Result): Result => {
    if (isFailed) return otherwise
    try {
      return read()
    } catch (thrown) {
      if (!(thrown instanceof PlatformError)) throw thrown
      isFailed = true
      failed(thrown)
      return otherwise
    }
  }
  const nowhere = Buffer.allocUnsafeSlow(1)
  return {
    // Node takes the first place before there is data, and then one after each read.
    buffer: () => guarded(() => parser.place(), nowhere),
    callback: (count) => guarded(() => { parser.came(count); return true }, false),
  }
}

/** For an accepted socket. */
export function readEvents(socket: TLSSocket, parser: FrameParser, failed: (error: PlatformError) => void): void {
  const onData = (data: Buffer): void => {
    try {
      feed(parser, data)
    } catch (thrown) {
      if (!(thrown instanceof PlatformError)) throw thrown
      socket.off('data', onData)
      failed(thrown)
    }
  }
  socket.on('data', onData)
}

/** @throws What the parser throws, or the sink. */
export function feed(parser: FrameParser, data: Uint8Array): void {
  for (let offset = 0; offset < data.length; ) {
    const place = parser.place()
    const count = Math.min(place.length, data.length - offset)
    place.set(data.subarray(offset, offset + count))
    parser.came(count)
    offset += count
  }
}

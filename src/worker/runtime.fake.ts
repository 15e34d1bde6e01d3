/**
 * The runtime's side of the frame protocol in this process, for unit tests: scripted by the test, over a real stream.
 *
 * It may break every rule: what it sends is what the test says. It waits for frames, never for time.
 */
import { duplexPair } from 'node:stream'
import type { Duplex } from 'node:stream'
import { encodeFrame, encodeHeadFrame, FrameDecoder, FrameFlag, FrameType, FRAMES_VERSION, splitHead } from '#contract/frames.ts'
import type { HelloFrame, InitedFrame, OpenHead } from '#contract/frames.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'

export interface ReceivedFrame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export interface OpenedStream {
  readonly stream: number
  readonly head: OpenHead
  readonly body: Buffer
  readonly ended: boolean
}

export class FakeRuntime {
  /** The platform's end. */
  readonly channel: Duplex
  readonly own: Duplex
  /** Received and not taken, in order. */
  readonly frames: ReceivedFrame[] = []
  /** Takes each frame instead of keeping it, when set. */
  onFrame: ((frame: ReceivedFrame) => void) | undefined
  #waiting: (() => void)[] = []

  constructor() {
    const [platform, own] = duplexPair()
    this.channel = platform
    this.own = own
    const decoder = new FrameDecoder((type, flags, stream, payload) => {
      const frame = { type, flags, stream, payload: Buffer.from(payload) }
      if (this.onFrame !== undefined) return this.onFrame(frame)
      this.frames.push(frame)
      for (const wake of this.#waiting.splice(0)) wake()
    })
    own.on('data', (chunk: Buffer) => decoder.push(chunk))
    own.on('error', () => {})
  }

  /** The first frame of this type (and stream) that was not taken yet. */
  async take(type: FrameType, stream?: number): Promise<ReceivedFrame> {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.type === type && (stream === undefined || frame.stream === stream))
      if (at >= 0) return this.frames.splice(at, 1)[0]!
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  async opened(): Promise<OpenedStream> {
    const { stream, flags, payload } = await this.take(FrameType.open)
    const { head, body } = splitHead<OpenHead>(payload)
    return { stream, head, body, ended: (flags & FrameFlag.end) !== 0 }
  }

  /** Body bytes of this stream that were received and not taken, and whether they were the last; takes them. */
  takeData(stream: number): { readonly bytes: Buffer; readonly ended: boolean } {
    const mine = this.frames.filter((frame) => frame.type === FrameType.data && frame.stream === stream)
    for (const frame of mine) this.frames.splice(this.frames.indexOf(frame), 1)
    return { bytes: Buffer.concat(mine.map(({ payload }) => payload)), ended: mine.some(({ flags }) => (flags & FrameFlag.end) !== 0) }
  }

  send(type: FrameType, flags: number, stream: number, payload: Uint8Array | string = ''): void {
    this.own.write(encodeFrame(type, flags, stream, payload))
  }

  raw(bytes: Uint8Array): void {
    this.own.write(bytes)
  }

  hello(over: Partial<HelloFrame> = {}): void {
    this.send(FrameType.hello, 0, 0, JSON.stringify({ protocol: FRAMES_VERSION, runtime: 'node', version: '26', pid: 1, ...over } satisfies HelloFrame))
  }

  inited(over: Partial<InitedFrame> = {}): void {
    this.send(FrameType.inited, 0, 0, JSON.stringify({ shape: 'main', initUs: 5, ...over } satisfies InitedFrame))
  }

  head(stream: number, status: number, body: Uint8Array | string | undefined, last: boolean, headers: readonly string[] = []): void {
    this.own.write(encodeHeadFrame(FrameType.head, last ? FrameFlag.end : 0, stream, JSON.stringify({ s: status, h: headers }), body))
  }

  data(stream: number, bytes: Uint8Array | string, last: boolean): void {
    this.send(FrameType.data, last ? FrameFlag.end : 0, stream, bytes)
  }

  credit(stream: number, bytes: number): void {
    this.send(FrameType.credit, 0, stream, u32(bytes))
  }

  reset(stream: number, error?: PlatformErrorBody): void {
    this.send(FrameType.reset, 0, stream, error === undefined ? '' : JSON.stringify(error))
  }

  waiting(stream: number): void {
    this.send(FrameType.waiting, 0, stream)
  }

  usage(stream: number, cpuUs: number, peakKb: number): void {
    this.send(FrameType.usage, 0, stream, Buffer.concat([u32(cpuUs), u32(peakKb)]))
  }

  log(stream: number, level: number, text: string): void {
    this.send(FrameType.log, 0, stream, Buffer.concat([Buffer.from([level]), Buffer.from(text)]))
  }

  /** A call that the function makes, on an odd stream. */
  call(stream: number, head: Partial<OpenHead>, body: Uint8Array | string | undefined, ended: boolean): void {
    this.own.write(encodeHeadFrame(FrameType.open, ended ? FrameFlag.end : 0, stream, JSON.stringify({ k: 'event', ...head }), body))
  }

  /** As when its process has ended. */
  close(): void {
    this.own.destroy()
    this.channel.destroy()
  }
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

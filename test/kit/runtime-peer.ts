/**
 * The platform's side of the frame protocol, for tests of a runtime: starts it as a child process with descriptor 3, as
 * the sandbox does, and speaks frames to it.
 *
 * It waits for frames, never for time; a frame that does not come fails the test after a generous bound.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Socket } from 'node:net'
import { PlatformError, type PlatformErrorBody } from '#contract/errors.ts'
import {
  encodeFrame,
  encodeHeadFrame,
  FrameDecoder,
  FrameFlag,
  FrameType, USAGE_BYTES,
  type AnswerHead,
  type HelloFrame,
  type InitedFrame,
  type InitFrame,
  type OpenHead,
} from '#contract/frames.ts'
import { nativeFile } from '#pager/native-file.ts'
import type { SharedMemory } from '#transfer/shared-memory.ts'

export interface ReceivedFrame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export interface PeerAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  readonly text: string
  readonly usage: { readonly cpuUs: number; readonly memoryKb: number } | undefined
  readonly waited: boolean
}

export interface RuntimePeerOptions {
  /** Program and arguments after `node`. */
  readonly args: readonly string[]
  /** Files of the code directory, by path; or the directory itself, which is then left alone. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>
  readonly directory?: string
  readonly environment?: Readonly<Record<string, string>>
  /** Gives it a socket for memory on descriptor 5, and the addon. */
  readonly memory?: SharedMemory | undefined
}

/** A frame that has not come by then does not come: generous, for a busy machine. */
const FRAME_WAIT_MS = 15_000
const CLEAN_EXIT_MS = 1000

const repository = join(import.meta.dirname, '../..')
export const nodeRuntime = join(repository, 'runtimes/node/main.ts')
export const bridgeRuntime = join(repository, 'runtimes/node/bridge.ts')
/** Flags of Node that the platform starts the runtime with (runtimes/node/web/real.ts says why). */
export const runtimeFlags = ['--expose-internals']
export const nodeFixtures = join(repository, 'test/functions/node')

export class RuntimePeer {
  readonly directory: string
  readonly child: ChildProcess
  readonly channel: Socket
  readonly frames: ReceivedFrame[] = []
  readonly exited: Promise<number | string>
  /** The platform's end of the socket for memory. */
  readonly memorySocket: number | undefined
  stderr = ''
  readonly #ownsDirectory: boolean
  #watchers: (() => void)[] = []
  #nextStream = 2
  #ended = false

  constructor(options: RuntimePeerOptions) {
    this.#ownsDirectory = options.directory === undefined
    this.directory = options.directory ?? codeDirectory(options.files ?? {})
    const sockets = options.memory?.socketPair()
    this.memorySocket = sockets?.ours
    this.child = spawn(process.execPath, [...runtimeFlags, ...options.args], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', ...(sockets === undefined ? [] : (['ignore', sockets.theirs] as const))],
      env: { PATH: process.env['PATH'], SKEP_APP_DIR: this.directory, ...(sockets !== undefined && { SKEP_NATIVE: nativeFile() }), ...options.environment },
    })
    if (sockets !== undefined) closeSync(sockets.theirs)
    this.channel = this.child.stdio[3] as Socket
    this.child.stderr!.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()))
    this.child.stdout!.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()))
    const decoder = new FrameDecoder((type, flags, stream, payload) => this.frames.push({ type, flags, stream, payload: Buffer.from(payload) }))
    this.channel.on('data', (chunk: Buffer) => {
      decoder.push(chunk)
      this.#notify()
    })
    this.channel.on('error', () => {})
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        this.#ended = true
        this.#notify()
        resolve(code ?? signal ?? 'unknown')
      })
    })
  }

  send(type: FrameType, flags: number, stream: number, payload: Uint8Array | string = ''): void {
    this.channel.write(encodeFrame(type, flags, stream, payload))
  }

  /** The first frame that matches and has not been taken; removes it. @throws Error when the runtime ends before. */
  async take(matches: (frame: ReceivedFrame) => boolean): Promise<ReceivedFrame> {
    for (;;) {
      const at = this.frames.findIndex(matches)
      if (at !== -1) return this.frames.splice(at, 1)[0]!
      if (this.#ended) throw new Error(`The runtime ended before the frame came. It wrote: ${this.stderr}`)
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`No such frame within ${FRAME_WAIT_MS} ms; here are ${JSON.stringify(this.frames)}. The runtime wrote: ${this.stderr}`)), FRAME_WAIT_MS)
        this.#watchers.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  async hello(): Promise<HelloFrame> {
    return JSON.parse((await this.take((frame) => frame.type === FrameType.hello)).payload.toString()) as HelloFrame
  }

  /** @throws PlatformError that the runtime reports. */
  async init(frame: Partial<InitFrame> & { readonly entry: string }): Promise<InitedFrame> {
    const full: InitFrame = { namespace: 'test', function: 'fixture', revision: 1, instance: 'i1', environment: {}, concurrency: 100, memoryMb: 256, ...frame }
    this.send(FrameType.init, 0, 0, JSON.stringify(full))
    const answer = await this.take(({ type }) => type === FrameType.inited || type === FrameType.initFailed)
    if (answer.type === FrameType.initFailed) throw PlatformError.fromBody(JSON.parse(answer.payload.toString()) as PlatformErrorBody)
    return JSON.parse(answer.payload.toString()) as InitedFrame
  }

  /** Opens an invocation; without END the body follows by `send(FrameType.data, …)`. */
  open(head: OpenHead, body: Uint8Array | string = '', isLast = true): number {
    const stream = this.#nextStream
    this.#nextStream += 2
    this.channel.write(encodeHeadFrame(FrameType.open, isLast ? FrameFlag.end : 0, stream, JSON.stringify({ i: `inv-${stream}`, ...head }), body))
    return stream
  }

  /** The whole answer of a stream, giving credit as a reader does. @throws PlatformError of a reset. */
  async answer(stream: number): Promise<PeerAnswer> {
    let head: AnswerHead | undefined
    let usage: PeerAnswer['usage']
    let waited = false
    const chunks: Buffer[] = []
    for (;;) {
      const frame = await this.take((one) => one.stream === stream && one.type !== FrameType.log && one.type !== FrameType.credit)
      if (frame.type === FrameType.waiting) waited = true
      if (frame.type === FrameType.usage) usage = { cpuUs: frame.payload.readUInt32LE(0), memoryKb: frame.payload.readUInt32LE(4) }
      if (frame.type === FrameType.reset) {
        throw frame.payload.length === 0 ? new PlatformError('CANCELLED', 'confirmed') : PlatformError.fromBody(JSON.parse(frame.payload.toString()) as PlatformErrorBody)
      }
      if (frame.type === FrameType.head) {
        let { payload } = frame
        if ((frame.flags & FrameFlag.usage) !== 0) {
          usage = { cpuUs: payload.readUInt32LE(0), memoryKb: payload.readUInt32LE(4) }
          payload = payload.subarray(USAGE_BYTES)
        }
        const length = payload.readUInt32LE(0)
        head = JSON.parse(payload.toString('utf8', 4, 4 + length)) as AnswerHead
        chunks.push(payload.subarray(4 + length))
      }
      if (frame.type === FrameType.data && frame.payload.length > 0) {
        chunks.push(frame.payload)
        this.giveCredit(stream, frame.payload.length)
      }
      if ((frame.flags & FrameFlag.end) === 0) continue
      const body = Buffer.concat(chunks)
      const headers: Record<string, string> = {}
      for (let at = 0; at < head!.h.length; at += 2) headers[head!.h[at]!] = head!.h[at + 1]!
      return { status: head!.s, headers, rawHeaders: head!.h, body, text: body.toString(), usage, waited }
    }
  }

  giveCredit(stream: number, bytes: number): void {
    const payload = Buffer.alloc(4)
    payload.writeUInt32LE(bytes)
    this.send(FrameType.credit, 0, stream, payload)
  }

  http(method: string, url: string, options: { readonly headers?: readonly string[]; readonly body?: Uint8Array | string } = {}): Promise<PeerAnswer> {
    return this.answer(this.open({ k: 'http', m: method, u: url, h: ['host', 'test.local', ...(options.headers ?? [])] }, options.body))
  }

  event(value?: unknown): Promise<PeerAnswer> {
    return this.answer(this.open({ k: 'event' }, value === undefined ? '' : JSON.stringify(value)))
  }

  /** Log entries received so far, as "level text", and removes them. */
  logs(stream?: number): string[] {
    const levels = ['debug', 'info', 'warn', 'error', 'stdout', 'stderr']
    const found = this.frames.filter((frame) => frame.type === FrameType.log && (stream === undefined || frame.stream === stream))
    for (const frame of found) this.frames.splice(this.frames.indexOf(frame), 1)
    return found.map(({ payload }) => `${levels[payload[0]!]} ${payload.toString('utf8', 1)}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Its channel ends, and it with it, taking its children along; one whose loop is blocked is killed.
    this.channel.end()
    const timer = setTimeout(() => this.child.kill('SIGKILL'), CLEAN_EXIT_MS)
    await this.exited
    clearTimeout(timer)
    this.channel.destroy()
    if (this.memorySocket !== undefined) closeSync(this.memorySocket)
    if (this.#ownsDirectory) rmSync(this.directory, { recursive: true, force: true })
  }

  #notify(): void {
    const watchers = this.#watchers
    this.#watchers = []
    for (const watcher of watchers) watcher()
  }
}

/** A started and initialised Node runtime with one fixture function. */
export async function startNodeFunction(entry: string, source: string | Readonly<Record<string, string>>, init: Partial<InitFrame> = {}, memory?: SharedMemory): Promise<RuntimePeer> {
  const peer = new RuntimePeer({ args: [nodeRuntime], files: typeof source === 'string' ? { [entry]: source } : source, memory })
  try {
    await peer.hello()
    await peer.init({ entry, ...init })
    return peer
  } catch (error) {
    await peer[Symbol.asyncDispose]()
    throw error
  }
}

/** The same with a file of test/functions/node. */
export function startNodeFixture(file: string, init: Partial<InitFrame> = {}): Promise<RuntimePeer> {
  return startNodeFunction(file, readFileSync(join(nodeFixtures, file), 'utf8'), init)
}

function codeDirectory(files: Readonly<Record<string, string | Uint8Array>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'skep-runtime-'))
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), content, { mode: 0o755 })
  }
  // In the sandbox, the SDK is mounted where every function finds it.
  mkdirSync(join(directory, 'node_modules'), { recursive: true })
  symlinkSync(join(repository, 'runtimes/node/sdk'), join(directory, 'node_modules/skep'))
  return directory
}

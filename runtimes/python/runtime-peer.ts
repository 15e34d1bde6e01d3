/**
 * The platform's side of the channel, for tests of a runtime: starts the real program and speaks frames with it.
 *
 * It grants credit by itself as data arrives, unless a stream is opened with `credit: 'manual'`.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { closeSync, fstatSync } from 'node:fs'
import type { ChildProcess } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import { encodeFrame, encodeHeadFrame, FrameDecoder, FrameFlag, FrameType, LogLevel, parseJson, splitHead } from '#contract/frames.ts'
import type { AnswerHead, HelloFrame, InitedFrame, InitFrame, LogLevelName, OpenHead } from '#contract/frames.ts'
import { creditFrame, PeerCall } from './peer-call.ts'
import type { PeerMemory } from './peer-memory.ts'

export interface RuntimePeerOptions {
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** Answers the calls that the function makes. Without it they fail with FUNCTION_NOT_FOUND. */
  readonly onCall?: (call: PeerCall) => void
  /** Descriptor 5. Without it the runtime passes no memory, and is passed none. */
  readonly memory?: PeerMemory
}

export interface PeerLog {
  readonly stream: number
  readonly level: LogLevelName
  readonly text: string
}

export interface PeerAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly text: string
  /** The body as JSON. */
  readonly json: unknown
  readonly usage: { readonly cpuUs: number; readonly memoryPeakKb: number } | undefined
  /** Of the memory that it came as; undefined when it came in frames. */
  readonly inode: number | undefined
}

export interface PeerRequest {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  readonly deadlineMs?: number
}

const levelNames = Object.fromEntries(Object.entries(LogLevel).map(([name, level]) => [level, name])) as Record<number, LogLevelName>

export class RuntimePeer {
  readonly child: ChildProcess
  readonly logs: PeerLog[] = []
  /** What the program wrote to its own stderr, past the channel. */
  stderr = ''
  /** Frames on streams that are not open are ignored, for tests that send what they like. */
  tolerant = false
  readonly memory: PeerMemory | undefined
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>
  readonly #channel: Duplex
  readonly #streams = new Map<number, PeerStream>()
  readonly #calls = new Map<number, PeerCall>()
  readonly #onCall: (call: PeerCall) => void
  readonly #hello = Promise.withResolvers<HelloFrame>()
  readonly #inited = Promise.withResolvers<InitedFrame>()
  readonly #listeners = new Set<() => void>()
  #nextStream = 2

  constructor(options: RuntimePeerOptions) {
    const [program, ...parameters] = options.command
    const environment = { PATH: process.env.PATH ?? '/usr/bin:/bin', ...options.environment }
    this.memory = options.memory
    const inherited = this.memory === undefined ? [] : (['ignore', this.memory.theirs] as const)
    this.child = spawn(program!, parameters, { stdio: ['ignore', 'ignore', 'pipe', 'pipe', ...inherited], env: environment })
    if (this.memory !== undefined) closeSync(this.memory.theirs)
    this.#channel = this.child.stdio[3] as Duplex
    this.#onCall = options.onCall ?? ((call) => call.fail(new PlatformError('FUNCTION_NOT_FOUND', `There is no function ${call.head.f}.`)))
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => { this.stderr += text })
    const decoder = new FrameDecoder((type, flags, stream, payload) => this.#receive(type, flags, stream, payload))
    this.#channel.on('data', (chunk: Buffer) => decoder.push(chunk))
    this.#channel.on('error', () => {})
    this.#hello.promise.catch(() => {})
    this.#inited.promise.catch(() => {})
    this.exited = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', (code, signal) => {
        const lost = new PlatformError('INSTANCE_LOST', `The runtime ended with ${code ?? signal}: ${this.stderr}`)
        this.#hello.reject(lost)
        this.#inited.reject(lost)
        for (const stream of this.#streams.values()) stream.lose(lost)
        resolve({ code, signal })
      })
    })
    this.exited.catch(() => {})
  }

  get hello(): Promise<HelloFrame> {
    return this.#hello.promise
  }

  /** Makes it an instance. @throws what the runtime says. */
  init(frame: Partial<InitFrame> & { readonly entry: string }): Promise<InitedFrame> {
    const full: InitFrame = { namespace: 'default', function: 'f', revision: 1, instance: 'i-1', environment: {}, concurrency: 16, memoryMb: 256, ...frame }
    this.send(encodeFrame(FrameType.init, 0, 0, JSON.stringify(full)))
    return this.#inited.promise
  }

  event(value: unknown, head: Partial<OpenHead> = {}): Promise<PeerAnswer> {
    return this.open({ head: { k: 'event', i: 'f'.repeat(32), ...head }, body: JSON.stringify(value) }).answer
  }

  http(request: PeerRequest = {}): Promise<PeerAnswer> {
    return this.open({ head: httpHead(request), ...(request.body !== undefined && { body: request.body }) }).answer
  }

  /** Opens a stream. With `ended: false` the body goes on by {@link PeerStream.data}. */
  open(options: { readonly head: OpenHead; readonly body?: string | Buffer; readonly memory?: Buffer; readonly ended?: boolean; readonly credit?: 'auto' | 'manual'; readonly id?: number }): PeerStream {
    const stream = new PeerStream(this, options.id ?? this.#nextStream, options.credit ?? 'auto')
    this.#nextStream = stream.id + 2
    this.#streams.set(stream.id, stream)
    const flags = options.ended === false ? 0 : FrameFlag.end
    const head = options.memory === undefined ? options.head : { ...options.head, p: this.memory!.pass(options.memory) }
    this.send(encodeHeadFrame(FrameType.open, flags, stream.id, JSON.stringify(head), options.body))
    return stream
  }

  /** Resolves once the condition holds, looked at after each frame of a call. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#listeners.add(resolve)
      await promise
      this.#listeners.delete(resolve)
    }
  }

  stop(): void {
    this.send(encodeFrame(FrameType.stop, 0, 0))
  }

  send(bytes: Buffer): void {
    if (this.#channel.writable) this.#channel.write(bytes)
  }

  /** Stops taking what the runtime sends, as a platform that is overloaded would. */
  pause(): void {
    this.#channel.pause()
  }

  resume(): void {
    this.#channel.resume()
  }

  closeChannel(): void {
    this.#channel.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    this.#channel.destroy()
    await this.exited.catch(() => {})
    this.memory?.close()
    for (const call of this.#calls.values()) call.close()
  }

  #receive(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === FrameType.log) {
      this.logs.push({ stream: id, level: levelNames[payload[0]!]!, text: payload.toString('utf8', 1) })
    } else if ((id & 1) === 1) {
      this.#receiveCall(type, flags, id, payload)
    } else if (type === FrameType.hello) this.#hello.resolve(parseJson<HelloFrame>(payload.toString()))
    else if (type === FrameType.inited) this.#inited.resolve(parseJson<InitedFrame>(payload.toString()))
    else if (type === FrameType.initFailed) this.#inited.reject(PlatformError.fromBody(parseJson(payload.toString())))
    else {
      const stream = this.#streams.get(id)
      if (stream === undefined && this.tolerant) return
      assert.ok(stream !== undefined, `a frame of type ${type} on the unknown stream ${id}`)
      stream.receive(type, flags, payload)
    }
  }

  #receiveCall(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === FrameType.open) {
      const { head, body } = splitHead<OpenHead>(payload)
      const call = new PeerCall(this, id, head)
      this.#calls.set(id, call)
      if (head.p !== undefined) assert.deepEqual([body.length, flags & FrameFlag.end], [0, FrameFlag.end], 'a body that is passed is whole')
      call.take(head.p === undefined ? Buffer.from(body) : this.memory!.take(head.p), (flags & FrameFlag.end) !== 0)
      this.#onCall(call)
    } else if (type === FrameType.data) {
      const call = this.#calls.get(id)
      if (call !== undefined && !call.holdsCredit) this.send(creditFrame(id, payload.length))
      call?.take(Buffer.from(payload), (flags & FrameFlag.end) !== 0)
    } else {
      const call = this.#calls.get(id)
      if (type === FrameType.credit && call !== undefined) call.creditBytes += payload.readUInt32LE(0)
      if (type === FrameType.reset && call !== undefined) call.wasReset = true
    }
    for (const listener of [...this.#listeners]) listener()
  }
}

/** An invocation, as the platform sees it. */
export class PeerStream {
  readonly id: number
  /** The complete answer. Rejects with what the runtime's reset says. */
  readonly answer: Promise<PeerAnswer>
  /** When the answer began. */
  readonly headSeen: Promise<AnswerHead>
  /** Whether the runtime said that the invocation waits, and how often. */
  waitingCount = 0
  /** Data bytes, past those inside the head. */
  dataBytes = 0
  /** Bytes the runtime has given credit for. */
  creditBytes = 0
  /** An empty reset came: the code has let go. */
  readonly letGo: Promise<void>
  readonly #peer: RuntimePeer
  readonly #credit: 'auto' | 'manual'
  readonly #answered = Promise.withResolvers<PeerAnswer>()
  readonly #head = Promise.withResolvers<AnswerHead>()
  readonly #letGo = Promise.withResolvers<void>()
  #answerHead: AnswerHead | undefined
  #chunks: Buffer[] = []
  #inode: number | undefined
  #usage: PeerAnswer['usage']
  #listeners = new Set<() => void>()

  constructor(peer: RuntimePeer, id: number, credit: 'auto' | 'manual') {
    this.#peer = peer
    this.id = id
    this.#credit = credit
    this.answer = this.#answered.promise
    this.headSeen = this.#head.promise
    this.letGo = this.#letGo.promise
    for (const promise of [this.answer, this.headSeen, this.letGo] as Promise<unknown>[]) promise.catch(() => {})
  }

  /** The body bytes that have come so far. */
  get received(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  data(bytes: string | Buffer, ended = false): void {
    this.#peer.send(encodeFrame(FrameType.data, ended ? FrameFlag.end : 0, this.id, bytes))
  }

  giveCredit(bytes: number): void {
    this.#peer.send(creditFrame(this.id, bytes))
  }

  reset(): void {
    this.#peer.send(encodeFrame(FrameType.reset, 0, this.id, JSON.stringify({ code: 'CANCELLED', message: 'The caller went away.' })))
  }

  /** Resolves once the condition holds, looked at after each frame. */
  async until(condition: (stream: PeerStream) => boolean): Promise<void> {
    while (!condition(this)) {
      await new Promise<void>((resolve) => {
        const listener = (): void => {
          this.#listeners.delete(listener)
          resolve()
        }
        this.#listeners.add(listener)
      })
    }
  }

  receive(type: number, flags: number, payload: Buffer): void {
    if (type === FrameType.head) {
      assert.equal(this.#answerHead, undefined, 'an invocation is answered once')
      const { head, body } = splitHead<AnswerHead>(payload)
      this.#answerHead = head
      this.#head.resolve(head)
      if (body.length > 0) this.#chunks.push(Buffer.from(body))
      if (head.p !== undefined) {
        const fd = this.#peer.memory!.take(head.p)
        this.#inode = fstatSync(fd).ino
        this.#chunks.push(this.#peer.memory!.read(fd, head.p.b))
      }
    } else if (type === FrameType.data) {
      this.dataBytes += payload.length
      if (payload.length > 0) this.#chunks.push(Buffer.from(payload))
      if (this.#credit === 'auto' && payload.length > 0 && (flags & FrameFlag.end) === 0) this.giveCredit(payload.length)
    } else if (type === FrameType.waiting) this.waitingCount++
    else if (type === FrameType.credit) this.creditBytes += payload.readUInt32LE(0)
    else if (type === FrameType.usage) this.#usage = { cpuUs: payload.readUInt32LE(0), memoryPeakKb: payload.readUInt32LE(4) }
    else if (type === FrameType.reset) {
      if (payload.length === 0) this.#letGo.resolve()
      const error = payload.length === 0 ? new PlatformError('CANCELLED', 'let go') : PlatformError.fromBody(parseJson(payload.toString()))
      this.lose(error)
    } else assert.fail(`a frame of type ${type} on stream ${this.id}`)
    if ((flags & FrameFlag.end) !== 0) this.#finish()
    for (const listener of [...this.#listeners]) listener()
  }

  lose(error: Error): void {
    this.#answered.reject(error)
    this.#head.reject(error)
    this.#letGo.reject(error)
  }

  #finish(): void {
    const { s: status, h: raw } = this.#answerHead!
    const headers: Record<string, string> = {}
    for (let index = 0; index < raw.length; index += 2) {
      const name = raw[index]!
      headers[name] = name in headers ? `${headers[name]}, ${raw[index + 1]}` : raw[index + 1]!
    }
    const body = this.received
    this.#answered.resolve({
      status,
      headers,
      body,
      text: body.toString(),
      get json() {
        return JSON.parse(body.toString()) as unknown
      },
      usage: this.#usage,
      inode: this.#inode,
    })
  }
}

function httpHead(request: PeerRequest): OpenHead {
  return {
    k: 'http',
    i: 'e'.repeat(32),
    m: request.method ?? 'GET',
    u: request.path ?? '/',
    h: Object.entries(request.headers ?? {}).flat(),
    ...(request.deadlineMs !== undefined && { d: request.deadlineMs }),
  }
}

/**
 * Kind `http`: the user's program serves HTTP on $PORT of its private network; invocations are proxied to it.
 *
 * The program is started once, at init; it is ready when the port accepts a connection. Bodies stream both ways, and
 * connections are kept. Cancelling an invocation destroys its connection, which is how an HTTP server learns of it.
 *
 * Invariants:
 *   BH1. When the program ends, the instance ends with it.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import { PlatformError } from '../../../src/contract/errors.ts'
import type { InitedFrame, InitFrame } from '../../../src/contract/frames.ts'
import type { Instance } from '../host.ts'
import { answerInvalid, type Invocation } from '../invocation.ts'
import type { Output } from '../output.ts'
import { LineReader, programOf, startFailure } from './program.ts'

// Not imported: the bundler puts imports of Node's modules to the top of its one file, and this one takes 8 ms, which kind `command` need not wait for.
const { Agent, request: httpRequest } = process.getBuiltinModule('node:http')

const PORT_DEFAULT = '8080'
/** First and longest pause between two tries to connect, ms. */
const POLL_FIRST_MS = 1
const POLL_LONGEST_MS = 20
/** Headers of one connection, not of the message (RFC 9110, 7.6.1). */
const HOP_HEADERS = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'])

export class HttpInstance implements Instance {
  readonly #output: Output
  readonly #root: string
  readonly #agent = new Agent({ keepAlive: true })
  #child: ChildProcess | undefined
  #port = 0

  constructor(output: Output, root: string) {
    this.#output = output
    this.#root = root
  }

  async init(frame: InitFrame): Promise<InitedFrame['shape']> {
    const { command, args, environment } = programOf(this.#root, frame)
    const port = environment['PORT'] ?? PORT_DEFAULT
    this.#port = Number(port)
    const child = spawn(command, args, { cwd: this.#root, env: { ...environment, PORT: port }, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    const stderr = new LineReader((line) => this.#output.entry('stderr', line, 0))
    const stdout = new LineReader((line) => this.#output.entry('stdout', line, 0))
    child.stderr.setEncoding('utf8').on('data', (text: string) => stderr.push(text))
    child.stdout.setEncoding('utf8').on('data', (text: string) => stdout.push(text))
    let isReady = false
    const ended = new Promise<never>((_, reject) => {
      child.once('error', (error) => reject(startFailure(frame, error)))
      child.once('close', (code, signal) => {
        stderr.end()
        stdout.end()
        if (isReady) process.exit(code === null || code === 0 ? 1 : code)
        const how = signal !== null ? `was killed by ${signal}` : `ended with exit code ${code}`
        reject(new PlatformError('INIT_FAILED', `"${frame.entry}" ${how} before it accepted a connection on port ${port}. Its last lines: ${stderr.last.join('\n')}`))
      })
    })
    ended.catch(() => {})
    await Promise.race([this.#accepting(), ended])
    isReady = true
    return 'http'
  }

  invoke(invocation: Invocation): void {
    const { head } = invocation
    const isEvent = head.k === 'event'
    const request = httpRequest({
      agent: this.#agent,
      host: '127.0.0.1',
      port: this.#port,
      method: head.m ?? (isEvent ? 'POST' : 'GET'),
      path: head.u ?? '/',
      headers: requestHeaders(invocation),
    })
    invocation.onCancel(() => request.destroy())
    request.once('error', (error) => invocation.fail(new PlatformError('FUNCTION_THREW', `The program broke the connection: ${error.message}.`, { cause: error })))
    request.once('response', (response) => {
      const headers: string[] = []
      for (let at = 0; at < response.rawHeaders.length; at += 2) {
        const name = response.rawHeaders[at]!.toLowerCase()
        if (!HOP_HEADERS.has(name)) headers.push(name, response.rawHeaders[at + 1]!)
      }
      const status = response.statusCode ?? 0
      if (status < 200) return invocation.fail(answerInvalid(`its status is ${status}`))
      invocation.answerStream(status, headers, response[Symbol.asyncIterator]())
    })
    this.#feed(invocation, request).catch(() => request.destroy())
  }

  onDrain(): void {
    this.#output.sayDropped()
  }

  beforeExit(): void {
    this.#child?.kill('SIGTERM')
  }

  async #feed(invocation: Invocation, request: ReturnType<typeof httpRequest>): Promise<void> {
    if (invocation.body.isComplete) {
      request.end(invocation.body.takeAll())
      return
    }
    for (let chunk = await invocation.body.read(); chunk !== undefined; chunk = await invocation.body.read()) {
      if (!request.write(chunk)) await new Promise((resolve) => request.once('drain', resolve).once('close', resolve))
      if (request.destroyed) return
    }
    request.end()
  }

  /** Resolves when something accepts connections on the port. The platform bounds the time (INIT_TIMEOUT). */
  async #accepting(): Promise<void> {
    for (let pauseMs = POLL_FIRST_MS; ; pauseMs = Math.min(POLL_LONGEST_MS, pauseMs * 2)) {
      const isOpen = await new Promise<boolean>((resolve) => {
        const socket = connect(this.#port, '127.0.0.1')
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
        socket.once('connect', () => socket.destroy())
      })
      if (isOpen) return
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
}

function requestHeaders(invocation: Invocation): string[] {
  const { head } = invocation
  const headers: string[] = []
  const given = head.h ?? []
  let hasHost = false
  for (let at = 0; at < given.length; at += 2) {
    const name = given[at]!
    // Node sets the length itself when it knows the body; for a streamed one the client's is right.
    if (HOP_HEADERS.has(name) || name === 'expect' || (name === 'content-length' && invocation.body.isComplete)) continue
    hasHost ||= name === 'host'
    headers.push(name, given[at + 1]!)
  }
  if (!hasHost) headers.push('host', 'localhost')
  if (invocation.body.isComplete && invocation.body.hasBytes) headers.push('content-length', String(invocation.body.bytesHeld))
  if (head.k === 'event' && !headers.includes('content-type')) headers.push('content-type', 'application/json')
  headers.push('x-skep-invocation-id', head.i ?? '')
  if (head.t !== undefined && !given.includes('traceparent')) headers.push('traceparent', head.t)
  return headers
}

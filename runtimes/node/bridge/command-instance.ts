/**
 * Kind `command`: each invocation is one process; the request's body is its standard input, its output the answer.
 *
 * Standard error is the invocation's log. The answer is 200 and begins soon after the first bytes of output, or at the end
 * when there are none; so an exit code other than 0 is FUNCTION_THREW if the program printed nothing or ended right after,
 * and breaks the answer off otherwise. Its type is $SKEP_CONTENT_TYPE if set, else text/plain for UTF-8 and application/octet-stream for other bytes.
 *
 * Invariants:
 *   BC1. A process never outlives its invocation: cancelling kills its whole process group.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { PlatformError } from '../../../src/contract/errors.ts'
import type { InitedFrame, InitFrame } from '../../../src/contract/frames.ts'
import type { Instance } from '../host.ts'
import type { Invocation } from '../invocation.ts'
import type { Output } from '../output.ts'
import { LineReader, programOf, startFailure, type Program } from './program.ts'

/** How long the first output is held back for the end of the program, ms. */
const HOLD_MS = 5

export class CommandInstance implements Instance {
  readonly #output: Output
  readonly #root: string
  #frame!: InitFrame
  #program!: Program
  readonly #running = new Set<ChildProcess>()

  constructor(output: Output, root: string) {
    this.#output = output
    this.#root = root
  }

  async init(frame: InitFrame): Promise<InitedFrame['shape']> {
    this.#frame = frame
    this.#program = programOf(this.#root, frame)
    return 'command'
  }

  invoke(invocation: Invocation): void {
    const { command, args, environment } = this.#program
    let child: ChildProcess
    try {
      child = spawn(command, args, { cwd: this.#root, env: { ...environment, ...requestEnvironment(invocation) }, stdio: ['pipe', 'pipe', 'pipe'], detached: true })
    } catch (error) {
      return invocation.fail(startFailure(this.#frame, error as NodeJS.ErrnoException))
    }
    this.#running.add(child)
    child.once('close', () => this.#running.delete(child))
    invocation.onCancel(() => killGroup(child))
    const lines = new LineReader((line) => this.#output.entry('stderr', line, invocation.stream))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => lines.push(text))
    const ended = new Promise<string | undefined>((resolve, reject) => {
      child.once('error', (error) => reject(startFailure(this.#frame, error)))
      child.once('close', (code, signal) => resolve(signal !== null ? `was killed by ${signal}` : code !== 0 ? `ended with exit code ${code}` : undefined))
    })
    ended.catch(() => {})
    void feed(invocation, child)
    this.#answer(invocation, child, ended, lines).catch((error: unknown) => {
      killGroup(child)
      invocation.fail(PlatformError.from(error))
    })
  }

  onDrain(): void {
    this.#output.sayDropped()
  }

  beforeExit(): void {
    for (const child of this.#running) killGroup(child)
  }

  async #answer(invocation: Invocation, child: ChildProcess, ended: Promise<string | undefined>, lines: LineReader): Promise<void> {
    const output = child.stdout![Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const checkEnd = async (): Promise<void> => {
      const failure = await ended
      lines.end()
      if (failure === undefined) return
      const last = lines.last.length === 0 ? '' : ` Its last lines: ${lines.last.join('\n')}`
      throw new PlatformError('FUNCTION_THREW', `"${this.#frame.entry}" ${failure}.${last}`, { details: { stderr: lines.last } })
    }
    const first = await output.next()
    const type = this.#contentType(first.done === true ? undefined : first.value)
    if (first.done === true) {
      await checkEnd()
      return invocation.answer(200, type, undefined)
    }
    const second = output.next()
    // A program that prints once and ends is waited for, so that its exit code can still decide about the answer.
    const soon = await Promise.race([second, new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), HOLD_MS).unref())])
    if (soon?.done === true) {
      await checkEnd()
      return invocation.answer(200, type, first.value)
    }
    invocation.answerStream(200, type, streamed(first.value, second, output, checkEnd, () => killGroup(child)))
  }

  #contentType(first: Buffer | undefined): string[] {
    const set = this.#frame.environment['SKEP_CONTENT_TYPE']
    if (set !== undefined) return ['content-type', set]
    if (first === undefined) return []
    // A chunk may end within a character; only a fault before its last three bytes counts.
    const text = first.toString()
    const fault = text.indexOf('\ufffd')
    const isText = (fault === -1 || fault >= text.length - 3) && !first.includes(0)
    return ['content-type', isText ? 'text/plain; charset=utf-8' : 'application/octet-stream']
  }
}

async function* streamed(first: Buffer, second: Promise<IteratorResult<Buffer>>, rest: AsyncIterator<Buffer>, atEnd: () => Promise<void>, onReturn: () => void): AsyncGenerator<Buffer> {
  let isComplete = false
  try {
    yield first
    for (let next = await second; next.done !== true; next = await rest.next()) yield next.value
    await atEnd()
    isComplete = true
  } finally {
    if (!isComplete) onReturn()
  }
}

/** Request body to standard input, as fast as the program reads. A program that does not read it is fine. */
async function feed(invocation: Invocation, child: ChildProcess): Promise<void> {
  const stdin = child.stdin!
  stdin.on('error', () => invocation.body.discard())
  try {
    for (let chunk = await invocation.body.read(); chunk !== undefined; chunk = await invocation.body.read()) {
      if (!stdin.write(chunk)) await new Promise((resolve) => stdin.once('drain', resolve).once('close', resolve))
      if (stdin.destroyed) return invocation.body.discard()
    }
    stdin.end()
  } catch {
    stdin.destroy()
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has just ended by itself.
  }
}

/** As CGI (RFC 3875, 4.1) names them, and SKEP_ for what CGI does not know. */
function requestEnvironment(invocation: Invocation): Record<string, string> {
  const { head } = invocation
  const [path = '/', query = ''] = split(head.u ?? '/')
  const environment: Record<string, string> = {
    REQUEST_METHOD: head.m ?? 'POST',
    PATH_INFO: path,
    QUERY_STRING: query,
    SKEP_METHOD: head.m ?? 'POST',
    SKEP_PATH: path,
    SKEP_QUERY: query,
    SKEP_INVOCATION_ID: head.i ?? '',
    SKEP_EVENT: head.k === 'event' ? '1' : '',
    ...(head.d !== undefined && { SKEP_DEADLINE_MS: String(head.d) }),
    ...(head.t !== undefined && { TRACEPARENT: head.t }),
    ...(head.n !== undefined && { SKEP_ATTEMPT: String(head.n) }),
  }
  const headers = head.h ?? []
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!
    const value = headers[at + 1]!
    // A null byte cannot be in a variable, and "proxy" would become HTTP_PROXY (httpoxy).
    if (name === 'proxy' || value.includes('\0')) continue
    const key = name === 'content-type' ? 'CONTENT_TYPE' : name === 'content-length' ? 'CONTENT_LENGTH' : `HTTP_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`
    environment[key] = value
  }
  return environment
}

function split(url: string): [string, string] {
  const at = url.indexOf('?')
  return at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)]
}

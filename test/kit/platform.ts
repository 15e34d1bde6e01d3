/**
 * A whole platform for an integration test: `skep up` as a process of its own, with its own data and port.
 *
 * It is the benchmarks' platform (bench/kit/server.ts) and what only tests need: raw requests with the key, records, the
 * platform's own log, its death, and its start as a command that fails.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FunctionConfigInput } from '#contract/function-config.ts'
import type { InvocationRecord, LogLine } from '#contract/invocation-record.ts'
import { residentMb, startPlatform } from '../../bench/kit/server.ts'
import type { RunningPlatform } from '../../bench/kit/server.ts'
import { open, send } from './http.ts'
import type { Answer, OpenAnswer, SendOptions } from './http.ts'

export type DeployConfig = Partial<FunctionConfigInput> & { readonly activate?: boolean; readonly prepare?: boolean }
export type EndedInvocation = InvocationRecord & { readonly state: 'ended'; readonly logs: readonly LogLine[] }

export interface TestPlatformSettings {
  /** Keep this directory, and do not remove it. */
  readonly data?: string
  readonly args?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

export interface TestPlatform extends RunningPlatform {
  /** Deploys one file; its name decides the kind. @returns the revision's number. */
  deployText(name: string, filename: string, text: string, config?: DeployConfig): Promise<number>
  /** A request to the API with the platform's key; other headers win. */
  send(path: string, options?: SendOptions): Promise<Answer>
  /** A request to a function's own address, `name` or `name/path?query`. */
  fn(address: string, options?: SendOptions): Promise<Answer>
  /** The same, with the body of the answer still to be read. */
  open(address: string, options?: SendOptions): Promise<OpenAnswer>
  /** Runs a function with an event, as the native API does. */
  invoke(name: string, payload?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>
  /** The record of an invocation, when it has ended. */
  record(id: string): Promise<EndedInvocation>
  /** Closes this client's connections; the next request opens one again. */
  disconnect(): void
  /** What the platform has logged. */
  log(): string
  /** Ends the process as nothing else does. */
  kill(): Promise<void>
}

const repository = join(import.meta.dirname, '../..')

export async function startTestPlatform(settings: TestPlatformSettings = {}): Promise<TestPlatform> {
  const data = settings.data ?? mkdtempSync(join(tmpdir(), 'skep-test-'))
  const logDirectory = mkdtempSync(join(tmpdir(), 'skep-test-log-'))
  const logFile = join(logDirectory, 'log')
  const descriptor = openSync(logFile, 'a')
  const log = (): string => readFileSync(logFile, 'utf8')
  const platform = await startPlatform({ ...settings, data, logTo: descriptor }).catch((error: unknown) => {
    throw new Error(`the platform did not start: ${String(error)}\n${log()}`)
  })
  closeSync(descriptor)
  const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
  const authorization = `Bearer ${platform.key}`
  const withKey = (options: SendOptions = {}): SendOptions => ({ ...options, headers: { authorization, ...options.headers } })
  const address = (of: string): string => `${platform.url}/fn/${platform.namespace}/${of}`

  return {
    ...platform,
    log,
    async deployText(name, filename, text, config = {}) {
      const answer = await platform.json<{ deployed: number }>(`/v1/functions/${name}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ source: { filename, text }, ...config }),
      })
      return answer.deployed
    },
    send: (path, options) => send(`${platform.url}${path}`, withKey(options), agent),
    fn: (of, options) => send(address(of), withKey(options), agent),
    // A connection of its own, which a test may cut.
    open: (of, options) => open(address(of), withKey(options), new Agent()),
    invoke: (name, payload, headers = {}) =>
      send(
        `${platform.url}/v1/functions/${name}/invocations`,
        withKey({ method: 'POST', headers: { 'content-type': 'application/json', ...headers }, ...(payload !== undefined && { body: JSON.stringify(payload) }) }),
        agent,
      ),
    record: (id) =>
      until(async () => {
        const response = await platform.request(`/v1/invocations/${id}`)
        const value = (await response.json()) as EndedInvocation
        return response.ok && value.state === 'ended' ? value : undefined
      }, `invocation ${id} has ended`),
    disconnect: () => agent.destroy(),
    async kill() {
      if (!isAlive(platform.pid)) return
      process.kill(platform.pid, 'SIGKILL')
      await until(() => !isAlive(platform.pid), 'the platform is dead')
    },
    async [Symbol.asyncDispose]() {
      // A test may end a platform itself, and then leave the block that would.
      if (!existsSync(logFile)) return
      agent.destroy()
      const isStopped = await stop(platform.pid)
      await platform[Symbol.asyncDispose]()
      const said = log()
      rmSync(logDirectory, { recursive: true, force: true })
      if (settings.data === undefined) rmSync(data, { recursive: true, force: true })
      assert.ok(isStopped, `the platform did not stop within ${STOP_MS_MAX} ms of SIGTERM, and was killed. Its log: ${said}`)
    },
  }
}

/** The platform's own grace for what runs, and some for a busy machine. */
const STOP_MS_MAX = 15_000

/** Ends a platform as a user does. @returns false when it had to be killed. */
async function stop(pid: number): Promise<boolean> {
  if (!isAlive(pid)) return true
  process.kill(pid, 'SIGTERM')
  const endMs = performance.now() + STOP_MS_MAX
  while (isAlive(pid)) {
    if (performance.now() > endMs) {
      process.kill(pid, 'SIGKILL')
      return false
    }
    await pause(10)
  }
  return true
}

export interface FailedStart {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `skep up` for the sake of how it fails. One that starts is ended, and its exit code is 0. */
export async function failedStart(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<FailedStart> {
  const child = spawn(join(repository, 'skep'), ['up', ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } })
  const timer = setTimeout(() => child.kill('SIGTERM'), 5_000)
  const exited = once(child, 'exit') as Promise<[number | null]>
  const [stdout, stderr, [exitCode]] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  clearTimeout(timer)
  return { exitCode, stdout, stderr }
}

/**
 * Asks until there is an answer: for what happens soon, but not at once. Fails with `what` after a generous time.
 * @returns what `ask` gave, once it is neither undefined nor false.
 */
export async function until<Value>(ask: () => Value | Promise<Value>, what: string, timeoutMs = 15_000): Promise<Exclude<Awaited<Value>, undefined | false>> {
  const endMs = performance.now() + timeoutMs
  for (;;) {
    const value = await ask()
    if (value !== undefined && value !== false) return value as Exclude<Awaited<Value>, undefined | false>
    if (performance.now() > endMs) assert.fail(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** The most memory that a process has while `work` runs, MB. */
export async function peakResidentMb(pid: number, work: () => Promise<void>): Promise<{ readonly beforeMb: number; readonly peakMb: number }> {
  const beforeMb = await residentMb(pid)
  let peakMb = beforeMb
  const timer = setInterval(() => void residentMb(pid).then((nowMb) => (peakMb = Math.max(peakMb, nowMb))), 20)
  try {
    await work()
    return { beforeMb, peakMb: Math.max(peakMb, await residentMb(pid)) }
  } finally {
    clearInterval(timer)
  }
}

/** Whether a process runs; one that has died and waits for its parent does not. */
export function isAlive(pid: number): boolean {
  try {
    const state = /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1]
    return state !== 'Z' && state !== 'X'
  } catch {
    return false
  }
}

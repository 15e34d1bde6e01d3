/**
 * The platform under test: started as a user starts it, in a process of its own, with a fresh data directory.
 *
 * Load generators and baselines run in other processes too, so that none of them shares an event loop with what it
 * measures. On a machine of few cores they still share the cores; scenarios pin what they can and say so.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface RunningPlatform {
  readonly url: string
  readonly namespace: string
  readonly key: string
  readonly pid: number
  readonly data: string
  /** From spawning the process to its line that says it is ready, ms. */
  readonly readyMs: number
  deploy(name: string, source: { readonly filename: string; readonly text: string }, config?: Record<string, unknown>): Promise<void>
  request(path: string, init?: RequestInit): Promise<Response>
  json<Value>(path: string, init?: RequestInit): Promise<Value>
  /** Ends idle instances of a function by deploying it anew, and waits until the stem cells are full again. */
  stemCellsFull(count: number): Promise<void>
  residentMb(): Promise<number>
  [Symbol.asyncDispose](): Promise<void>
}

export interface PlatformSettings {
  /** Keep this directory's data, and do not remove it. */
  readonly data?: string
  readonly args?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** File descriptor for what it logs; default: this process's standard error. */
  readonly logTo?: number
}

export async function startPlatform(settings: PlatformSettings = {}): Promise<RunningPlatform> {
  const data = settings.data ?? (await mkdtemp(join(tmpdir(), 'skep-bench-')))
  const startedMs = performance.now()
  const child = spawn(join(root, 'skep'), ['up', '--port', '0', '--data', data, '--json', ...(settings.args ?? [])], {
    stdio: ['ignore', 'pipe', settings.logTo ?? 'inherit'],
    env: { ...process.env, ...settings.environment },
  })
  const line = await firstLine(child)
  const readyMs = performance.now() - startedMs
  const ready = JSON.parse(line) as { url: string; namespace: string; key: string; pid: number }
  const authorization = `Bearer ${ready.key}`

  const request: RunningPlatform['request'] = (path, init = {}) =>
    fetch(`${ready.url}${path}`, { ...init, headers: { authorization, ...(init.headers as Record<string, string> | undefined) } })
  const json = async <Value>(path: string, init?: RequestInit): Promise<Value> => {
    const response = await request(path, init)
    const text = await response.text()
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`)
    return JSON.parse(text) as Value
  }
  return {
    ...ready,
    data,
    readyMs,
    request,
    json,
    async deploy(name, source, config = {}) {
      await json(`/v1/functions/${name}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ source, ...config }) })
    },
    async stemCellsFull(count) {
      for (;;) {
        const { platform } = await json<{ platform: { stemCells: number } }>('/v1/stats')
        if (platform.stemCells >= count) return
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
    residentMb: () => residentMb(ready.pid),
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit')
        process.kill(ready.pid, 'SIGTERM')
        await exited
      }
      if (settings.data === undefined) await rm(data, { recursive: true, force: true })
    },
  }
}

/** Resident memory of a process, MB. */
export async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 102.4) / 10
}

/** The first line that a process prints; its exit before that is an error. */
export async function firstLine(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout! })
  const line = once(lines, 'line').then(([text]) => String(text))
  const exited = once(child, 'exit').then(([code]) => Promise.reject(new Error(`it exited with ${String(code)} before it was ready`)))
  try {
    return await Promise.race([line, exited])
  } finally {
    exited.catch(() => {})
    line.catch(() => {})
    lines.close()
    child.stdout!.resume()
  }
}

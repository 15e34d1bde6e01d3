/**
 * wrk (Debian package) as the load generator: written in C, so that on two cores most of the machine is left to what is
 * measured. Closed loop: it says what the server can do, not what users with their own pace would see.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

export interface WrkResult {
  readonly p50Us: number
  readonly p99Us: number
  readonly rps: number
  readonly requests: number
  readonly errors: number
}

export interface WrkOptions {
  readonly url: string
  readonly connections: number
  readonly seconds: number
  readonly headers?: Readonly<Record<string, string>>
  /** The core that wrk is pinned to. */
  readonly core?: number
  /** A Lua script, for bodies. */
  readonly script?: string
}

export async function wrk(options: WrkOptions): Promise<WrkResult> {
  const { url, connections, seconds, headers = {}, core, script } = options
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency']
  for (const [name, value] of Object.entries(headers)) args.push('-H', `${name}: ${value}`)
  if (script !== undefined) args.push('-s', script)
  args.push(url)
  const [command, commandArgs] = core === undefined ? ['wrk', args] : ['taskset', ['-c', String(core), 'wrk', ...args]]
  const { stdout } = await promisify(execFile)(command, commandArgs).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? new Error('wrk is missing: ./skep setup installs it') : error
  })
  const failed = /Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1]
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)
  return {
    p50Us: inUs(/^\s+50%\s+(\S+)/m.exec(stdout)![1]!),
    p99Us: inUs(/^\s+99%\s+(\S+)/m.exec(stdout)![1]!),
    rps: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]),
    requests: Number(/(\d+) requests in/.exec(stdout)![1]),
    errors: Number(failed ?? 0) + (sockets === null ? 0 : sockets.slice(1).reduce((sum, count) => sum + Number(count), 0)),
  }
}

function inUs(text: string): number {
  const value = Number.parseFloat(text)
  if (text.endsWith('us')) return value
  if (text.endsWith('ms')) return value * 1000
  return value * 1_000_000
}

/** A Redis server (Debian package `redis-server`) for a measurement: on loopback, in memory only, ended with it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePort } from './free-port.ts'

export interface RedisServer extends AsyncDisposable {
  readonly url: string
  readonly pid: number
}

/** @returns undefined when redis-server is not installed. */
export async function startRedis(): Promise<RedisServer | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'skep-redis-'))
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', directory, '--daemonize', 'no']
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true })
  const failed = once(child, 'error').then(([error]) => error as NodeJS.ErrnoException)
  const exited = once(child, 'exit')
  exited.catch(() => {})
  const ready = new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => line.includes('Ready to accept connections') && resolve())
    child.on('exit', (code) => reject(new Error(`redis-server ended with ${String(code)} before it was ready`)))
  })
  ready.catch(() => {})
  const error = await Promise.race([failed, ready.then(() => undefined)]).catch(async (thrown: unknown) => {
    await remove()
    throw thrown
  })
  failed.catch(() => {})
  if (error !== undefined) {
    await remove()
    if (error.code === 'ENOENT') return undefined
    throw error
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exited
      await remove()
    },
  }
}

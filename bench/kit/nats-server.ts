/** A NATS server with JetStream (Debian package `nats-server`) for a measurement: on loopback, its store in a temporary directory, ended with it. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface NatsServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
}

/** @returns undefined when nats-server is not installed. */
export async function startNats(): Promise<NatsServer | undefined> {
  if (spawnSync('nats-server', ['--version']).error !== undefined) return undefined
  const directory = await mkdtemp(join(tmpdir(), 'skep-nats-'))
  const host = '127.0.0.1'
  const child = spawn('nats-server', ['-a', host, '-p', '-1', '-js', '-sd', directory], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit')
  try {
    return { host, port: await listeningPort(), async [Symbol.asyncDispose]() { await end() } }
  } catch (thrown) {
    await end()
    throw thrown
  }

  /** It chooses a free one, and logs it. */
  async function listeningPort(): Promise<number> {
    let port: number | undefined
    for await (const line of createInterface({ input: child.stderr })) {
      port = Number(/Listening for client connections on \S+:(\d+)/.exec(line)?.[1] ?? port)
      if (/Server is ready/.test(line) && port !== undefined) {
        child.stderr.resume()
        return port
      }
    }
    throw new Error('nats-server ended before it was ready')
  }

  async function end(): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await exited
    await rm(directory, { recursive: true, force: true })
  }
}

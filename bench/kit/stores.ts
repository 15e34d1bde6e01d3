/**
 * Stores to compare transfers with, on the first host of a network: Skep's own S3 endpoint, the files under it without its protocol (blob-server.ts), and
 * Redis where it is installed.
 */
import { spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import type { Network } from './network-namespaces.ts'
import { firstLine } from './server.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export interface Stores extends AsyncDisposable {
  readonly names: readonly string[]
  /** Of the platform whose endpoint is the store `s3`. */
  readonly s3: { readonly url: string; readonly key: string }
  /** Of a store of this name. */
  address(name: string): { readonly host: string; readonly port: number }
}

export async function startStores({ hosts: [host] }: Network): Promise<Stores> {
  const ports = new Map<string, number>()
  const children: ChildProcess[] = []
  const stdio: ['pipe', 'pipe', 'inherit'] = ['pipe', 'pipe', 'inherit']

  const blobs = host.spawn(process.execPath, [fileURLToPath(new URL('./blob-server.ts', import.meta.url)), host.address], { stdio, floating: true })
  children.push(blobs)
  ports.set('blobs', Number(await firstLine(blobs)))

  const data = await mkdtemp(join(tmpdir(), 'skep-bench-'))
  const platform = host.spawn(process.execPath, [MAIN, 'up', '--host', host.address, '--port', '0', '--data', data, '--stem-cells', '0', '--json'], { stdio, floating: true })
  children.push(platform)
  const s3 = JSON.parse(await firstLine(platform)) as Stores['s3']

  if (spawnSync('redis-server', ['--version']).error === undefined) {
    const port = await freePort()
    const redis = host.spawn('redis-server', ['--port', String(port), '--bind', host.address, '--protected-mode', 'no', '--save', '', '--appendonly', 'no', '--dir', tmpdir()], { stdio, floating: true })
    children.push(redis)
    for await (const line of createInterface({ input: redis.stdout! })) if (/Ready to accept connections/.test(line)) break
    redis.stdout!.resume()
    ports.set('redis', port)
  } else process.stderr.write('redis-server is not installed: it is left out. Debian has it: apt-get install redis-server\n')

  return {
    names: ['s3', ...ports.keys()],
    s3,
    address: (name) => ({ host: host.address, port: ports.get(name)! }),
    async [Symbol.asyncDispose]() {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue
        const exited = once(child, 'exit')
        child.kill('SIGTERM')
        await exited
      }
      await rm(data, { recursive: true, force: true })
    },
  }
}

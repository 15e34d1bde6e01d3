/** Stores to compare transfers with, on the first host of a network: an object store of S3's kind (blob-server.ts), and Redis where it is installed. */
import { spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { tmpdir } from 'node:os'
import { freePort } from './free-port.ts'
import type { Network } from './network-namespaces.ts'
import { firstLine } from './server.ts'

export interface Stores extends AsyncDisposable {
  readonly names: readonly string[]
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

  if (spawnSync('redis-server', ['--version']).error === undefined) {
    const port = await freePort()
    const redis = host.spawn('redis-server', ['--port', String(port), '--bind', host.address, '--protected-mode', 'no', '--save', '', '--appendonly', 'no', '--dir', tmpdir()], { stdio, floating: true })
    children.push(redis)
    for await (const line of createInterface({ input: redis.stdout! })) if (/Ready to accept connections/.test(line)) break
    redis.stdout!.resume()
    ports.set('redis', port)
  } else process.stderr.write('redis-server is not installed: it is left out. Debian has it: apt-get install redis-server\n')

  return {
    names: [...ports.keys()],
    address: (name) => ({ host: host.address, port: ports.get(name)! }),
    async [Symbol.asyncDispose]() {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue
        const exited = once(child, 'exit')
        child.kill('SIGTERM')
        await exited
      }
    },
  }
}

/**
 * Starts the homes that Skep is compared with in the scenario `js`: a Node process, threads of a Node process, workerd. Each is started anew
 * per sample, and says by itself when it listens: nobody polls.
 */
import { fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { firstLine } from '../server.ts'

const here = import.meta.dirname
const handlers = readFileSync(join(here, 'handlers.mjs'), 'utf8')

/** The handlers as a deployment of Skep. */
export const source = { filename: 'handlers.mjs', text: handlers }

export interface Home extends AsyncDisposable {
  readonly url: string
  readonly pid: number
}

/** Resolves when it listens. */
export async function startNode(): Promise<Home> {
  const child = spawn(process.execPath, [join(here, 'server.mjs')], { stdio: ['ignore', 'pipe', 'inherit'] })
  return { url: `http://127.0.0.1:${await firstLine(child)}`, pid: child.pid!, [Symbol.asyncDispose]: () => stop(child) }
}

export interface Workerd extends AsyncDisposable {
  /** Resolves when it listens. @param workers How many, each on a port of its own. */
  start(workers?: number): Promise<Home & { readonly urls: readonly string[] }>
}

/** Undefined where its package is not installed (other processors). */
export async function prepareWorkerd(root: string): Promise<Workerd | undefined> {
  const binary = join(root, 'bench/baselines/node_modules/@cloudflare/workerd-linux-64/bin/workerd')
  if (!existsSync(binary)) {
    process.stderr.write('workerd is not installed for this processor: its figures are left out\n')
    return undefined
  }
  const directory = await mkdtemp(join(tmpdir(), 'skep-workerd-'))
  await writeFile(join(directory, 'handlers.mjs'), handlers)
  return {
    async start(workers = 1) {
      const names = Array.from({ length: workers }, (_, index) => `w${index}`)
      const config = join(directory, `config-${workers}.capnp`)
      await writeFile(config, configOf(names))
      const child = spawn(binary, ['serve', config, '--control-fd=3'], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] })
      const ports = await listening(child, workers)
      const urls = names.map((name) => `http://127.0.0.1:${ports.get(name)}`)
      return { url: urls[0]!, urls, pid: child.pid!, [Symbol.asyncDispose]: () => stop(child) }
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  }
}

function configOf(names: readonly string[]): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ ${names.map((name) => `(name = "${name}", worker = .handlers)`).join(', ')} ],
  sockets = [ ${names.map((name) => `(name = "${name}", address = "127.0.0.1:0", http = (), service = "${name}")`).join(', ')} ]
);
const handlers :Workerd.Worker = (modules = [ (name = "handlers.mjs", esModule = embed "handlers.mjs") ], compatibilityDate = "2025-01-01");
`
}

/** What workerd says on its control descriptor: `{"event":"listen","socket":"w0","port":…}` per socket. */
async function listening(child: ChildProcess, count: number): Promise<ReadonlyMap<string, number>> {
  const ports = new Map<string, number>()
  const exited = once(child, 'exit').then(([code]) => Promise.reject(new Error(`workerd exited with ${String(code)} before it listened`)))
  exited.catch(() => {})
  const lines = createInterface({ input: child.stdio[3] as Readable })
  const all = (async () => {
    for await (const line of lines) {
      const said = JSON.parse(line) as { event: string; socket: string; port: number }
      if (said.event === 'listen') ports.set(said.socket, said.port)
      if (ports.size === count) return
    }
  })()
  await Promise.race([all, exited])
  return ports
}

export interface ThreadHost extends AsyncDisposable {
  readonly pid: number
  /** One more thread. @returns from making it to its first answer, ms. */
  start(): Promise<number>
  /** Calls of the last one. @returns µs there and back, each. */
  ask(calls: number): Promise<number[]>
  endAll(): Promise<void>
}

export async function startThreadHost(): Promise<ThreadHost> {
  const child = fork(join(here, 'threads.mjs'), { serialization: 'advanced', execArgv: [] })
  const answered = <Answer>(): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the process with the threads has ended'))
      child.once('exit', gone)
      child.once('message', (answer) => {
        child.off('exit', gone)
        resolve(answer as Answer)
      })
    })
  await answered()
  const command = <Answer>(message: object): Promise<Answer> => {
    child.send(message)
    return answered<Answer>()
  }
  return {
    pid: child.pid!,
    start: async () => (await command<{ ms: number }>({ start: true })).ms,
    ask: async (calls) => (await command<{ us: number[] }>({ ask: calls })).us,
    endAll: () => command<void>({ end: true }),
    [Symbol.asyncDispose]: () => stop(child),
  }
}

/** Proportional shares of memory (Pss) of a process and of all that descend from it, MB: what they share is counted once. */
export function familyMb(pid: number): number {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const parent = Number(/\) \w (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'latin1'))?.[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // It has ended meanwhile.
    }
  }
  const sum = (one: number): number => pssMb(one) + (children.get(one) ?? []).reduce((total, child) => total + sum(child), 0)
  return sum(pid)
}

function pssMb(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/**
 * workerd, started here: functions are module workers of one process, each endpoint at a port of its own on loopback.
 *
 *   endpoint 0 ─▶ socket s0 ─▶ service f0-0 ─binding─▶ f0-1 ─binding─▶ …
 *
 * Source: workerd's src/workerd/server/workerd.capnp; ports are told on a control descriptor, so that nobody has to find free ones. Workers of one process have no memory limit each, are
 * never unloaded, and have no storage: `cannot` says so. The clock of a worker stands still while it computes, so service times are increments, measured from outside (calibrate.ts).
 *
 *   X1. One process per sub-experiment, and it is gone when `release` has ended, or this process has.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from '../experiment.ts'
import { functionPackage } from '../functions/package.ts'
import type { Capabilities, Endpoint, Limitation, PrepareOptions, Provider } from '../provider.ts'
import { incrementsPerMs } from './calibrate.ts'
import { askEachOnce } from './deployments.ts'
import { functionFor, limitationsOf, refuseImpossible } from './limitations.ts'
import type { Offer } from './limitations.ts'
import { sendTo } from './send.ts'
import { fieldsFor, plainAnswer, transferOf, withQuery } from './stellar-protocol.ts'

/** Beyond it, a process of workerd is no comparison any more. */
const FUNCTIONS_MAX = 5000
const START_MS_MAX = 30_000
const SAID_MAX = 2000

const offer = {
  name: 'workerd',
  capabilities: { deploys: true, coldStarts: 'never', transfers: ['none', 'inline'], runtimes: ['node'], imageSize: false, memory: false, phases: [] },
  versions: { node: 'its own V8, without Node' },
} as const satisfies Offer

export class WorkerdProvider implements Provider {
  readonly name = 'workerd'
  readonly capabilities: Capabilities = offer.capabilities
  readonly about: Readonly<Record<string, string>>
  readonly #binary: string
  readonly #running = new Map<number, Workerd>()

  /** @param binary Its path; without one it is looked for in PATH. @throws INPUT_INVALID where there is none. */
  constructor(binary: string | undefined, environment: Readonly<Record<string, string | undefined>>) {
    const found = binary ?? (environment['PATH'] ?? '').split(delimiter).map((directory) => join(directory, 'workerd')).find((path) => existsSync(path))
    if (found === undefined || !existsSync(found)) {
      throw new PlatformError('INPUT_INVALID', `There is no workerd ${binary === undefined ? 'in PATH' : `at ${binary}`}; install the npm package workerd and say where it is with --workerd PATH, or let "./skep bench" install it in a checkout.`)
    }
    this.#binary = found
    this.about = { binary: found, place: 'this machine, over loopback' }
  }

  cannot(one: SubExperiment): readonly Limitation[] {
    return limitationsOf(one, offer)
  }

  async prepare(one: SubExperiment, options: PrepareOptions): Promise<readonly Endpoint[]> {
    refuseImpossible(one, offer)
    const count = one.Parallelism * one.DataTransferChainLength
    if (count > FUNCTIONS_MAX) throw new PlatformError('INPUT_INVALID', `Parallelism ${one.Parallelism} × chain ${one.DataTransferChainLength}: ${count} workers, at most ${FUNCTIONS_MAX} in one workerd; lower Parallelism.`)
    options.progress(`starting workerd with ${count} workers`)
    const workerd = await start(this.#binary, one)
    this.#running.set(one.index, workerd)
    try {
      const make = (perMs: number): readonly Endpoint[] => workerd.ports.map((port, index) => endpointOf(port, index, one, perMs))
      await askEachOnce(make(0), one, options)
      if (!one.DesiredServiceTimes.some(({ ms }) => ms > 0)) return make(0)
      options.progress('measuring what a millisecond is to workerd')
      return make(await incrementsPerMs(async (increments) => {
        const [probe] = make(increments)
        const startMs = performance.now()
        probe!.readAnswer(await sendTo(probe!, probe!.request({ serviceTimeMs: 1, payloadBytes: 0 }), options.signal))
        // Every function of a chain spins.
        return (performance.now() - startMs) / one.DataTransferChainLength
      }))
    } catch (error) {
      await this.release(one)
      throw error
    }
  }

  async release({ index }: Pick<SubExperiment, 'index'>): Promise<void> {
    await this.#running.get(index)?.stop()
    this.#running.delete(index)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const index of [...this.#running.keys()]) await this.release({ index })
  }
}

function endpointOf(port: number, index: number, one: SubExperiment, perMs: number): Endpoint {
  const chain = Array.from({ length: one.DataTransferChainLength - 1 }, (_, place) => nameOf(index, place + 1))
  const options = { chain, transfer: transferOf(one), incrementsPerMs: perMs }
  return {
    host: `127.0.0.1:${port}`,
    transport: { kind: 'http', origin: `http://127.0.0.1:${port}` },
    request: (parameters) => ({ method: 'GET', path: withQuery('/', fieldsFor(parameters, options)), headers: {}, body: undefined }),
    readAnswer: (raw) => plainAnswer(raw, chain.length + 1),
  }
}

interface Workerd {
  /** By endpoint. */
  readonly ports: readonly number[]
  stop(): Promise<void>
}

async function start(binary: string, one: SubExperiment): Promise<Workerd> {
  const directory = await mkdtemp(join(tmpdir(), 'skep-measure-workerd-'))
  const { files, entry } = functionPackage({ ...functionFor(one, offer), target: 'workerd', imageBytes: 0 })
  for (const [name, text] of files) await writeFile(join(directory, name), text)
  const modules = [entry, ...[...files.keys()].filter((name) => name !== entry)]
  const config = join(directory, 'config.capnp')
  await writeFile(config, configOf(modules, one.Parallelism, one.DataTransferChainLength))
  const child = spawn(binary, ['serve', config, '--control-fd=3'], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] })
  const end = (): void => void child.kill('SIGKILL')
  process.once('exit', end)
  const stop = async (): Promise<void> => {
    process.off('exit', end)
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      end()
      await exited
    }
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const ports = await listening(child, one.Parallelism)
    return { ports, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Names are also those of bindings: letters, digits and `_`. */
function nameOf(endpoint: number, place: number): string {
  return `f${endpoint}_${place}`
}

function configOf(modules: readonly string[], endpoints: number, length: number): string {
  const numbers = Array.from({ length: endpoints }, (_, endpoint) => endpoint)
  const code = modules.map((name) => `(name = "${name}", esModule = embed "${name}")`).join(', ')
  const worker = (endpoint: number, place: number): string => {
    const following = Array.from({ length: length - 1 - place }, (_, step) => nameOf(endpoint, place + 1 + step)).slice(0, 1)
    const bindings = following.map((name) => `(name = "${name}", service = "${name}")`).join(', ')
    return `(name = "${nameOf(endpoint, place)}", worker = (modules = .modules, compatibilityDate = "2025-01-01", bindings = [${bindings}]))`
  }
  const services = numbers.flatMap((endpoint) => Array.from({ length }, (_, place) => worker(endpoint, place)))
  const sockets = numbers.map((endpoint) => `(name = "s${endpoint}", address = "127.0.0.1:0", http = (), service = "${nameOf(endpoint, 0)}")`)
  return `using Workerd = import "/workerd/workerd.capnp";
const modules :List(Workerd.Worker.Module) = [ ${code} ];
const config :Workerd.Config = (
  services = [ ${services.join(',\n    ')} ],
  sockets = [ ${sockets.join(',\n    ')} ]
);
`
}

/** The ports by endpoint, as `{"event":"listen","socket":"s0","port":…}` tells them. @throws START_FAILED with what it said. */
async function listening(child: ChildProcess, count: number): Promise<readonly number[]> {
  let said = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (said = `${said}${text}`.slice(-SAID_MAX)))
  const failed = (why: string): PlatformError => new PlatformError('START_FAILED', `workerd ${why}: ${said.trim() === '' ? 'it said nothing' : said.trim()}`)
  const ports = new Map<string, number>()
  const lines = createInterface({ input: child.stdio[3] as Readable })
  const timer = AbortSignal.timeout(START_MS_MAX)
  const all = new Promise<void>((resolve, reject) => {
    child.once('error', (error) => reject(failed(`can't be run (${error.message})`)))
    // With its pipes closed, all that it said has been read.
    child.once('close', (code) => reject(failed(`ended with ${String(code)} before it listened`)))
    timer.addEventListener('abort', () => reject(failed(`did not listen within ${START_MS_MAX} ms`)))
    lines.on('line', (line) => {
      const { event, socket, port } = JSON.parse(line) as { event: string; socket: string; port: number }
      if (event === 'listen') ports.set(socket, port)
      if (ports.size === count) resolve()
    })
  })
  await all
  return Array.from({ length: count }, (_, endpoint) => ports.get(`s${endpoint}`)!)
}

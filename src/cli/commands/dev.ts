/**
 * `skep dev`: a platform of its own that serves the functions of a directory and follows its files.
 *
 * Every save builds and deploys the functions that the file is part of, the same way as `skep deploy`: what works here
 * works there. Functions are public here, so that a browser or curl needs no key. With --json, each event is one line.
 *
 *   E1. What does not build leaves the revision before it serving.
 *   E2. Saves that come while one is being deployed are deployed after it, the last state once.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import type { LogLine } from '#contract/invocation-record.ts'
import { ApiClient } from '../api-client.ts'
import type { Context } from '../context.ts'
import { deployFunction } from '../deploy-function.ts'
import { findFunctions } from '../dev-functions.ts'
import type { DevFunction } from '../dev-functions.ts'
import { exitCodes } from '../exit-codes.ts'
import { parseWhole, table } from '../format.ts'
import { parseEnvironmentFile } from '../input.ts'
import { reportError } from '../report-error.ts'
import { startHere, stopSignal } from '../start-here.ts'
import { FileWatch } from '../watch-files.ts'
import { logText } from './logs.ts'

export async function dev(context: Context, directory: string): Promise<number> {
  const root = resolve(directory)
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) throw new PlatformError('INPUT_INVALID', `${directory} is not a directory. Give the one that holds your functions: skep dev DIRECTORY`)
  const stopped = stopSignal()
  const port = parseWhole('--port', String(context.options['port']), 0, 65_535)
  const data = await mkdtemp(join(tmpdir(), 'skep-dev-'))
  try {
    const platform = await startHere({ port, dataDirectory: data, allowUnsandboxed: context.options['allowUnsandboxed'] === true })
    const server = new DevServer(context, root, new ApiClient({ ...platform, namespaceGiven: false }))
    try {
      await server.start()
      await stopped
    } finally {
      server.close()
      await platform.close()
    }
  } finally {
    await rm(data, { recursive: true, force: true })
  }
  return exitCodes.ok
}

class DevServer {
  readonly #context: Context
  readonly #root: string
  readonly #client: ApiClient
  readonly #closing = new AbortController()
  readonly #served = new Map<string, { readonly fn: DevFunction; sources: ReadonlySet<string>; url: string; following: boolean }>()
  #watch: FileWatch | undefined
  #waiting = new Set<string>()
  #working = false

  constructor(context: Context, root: string, client: ApiClient) {
    this.#context = context
    this.#root = root
    this.#client = client
  }

  async start(): Promise<void> {
    // First, so that a save during the first deploys is not missed.
    this.#watch = new FileWatch(this.#root, (paths) => void this.#changed(paths))
    if (this.#watch.polling) this.#context.warn('The system gives no more file watchers: comparing file times instead. Raise fs.inotify.max_user_watches.')
    await this.#changed(new Set([this.#root]))
    const urls = [...this.#served.values()].filter((one) => one.url !== '').map((one) => ({ name: one.fn.name, url: one.url }))
    this.#event({ event: 'ready', url: this.#client.connection.url, key: this.#client.connection.key, functions: urls }, () => [
      urls.length === 0 ? `No functions in ${this.#root} yet: save one, like hello.ts with an exported main.` : table(['FUNCTION', 'URL'], urls.map((one) => [one.name, one.url])),
      `\nSave a file to see it here. Ctrl-C stops.\n`,
    ].join('\n'))
  }

  close(): void {
    this.#watch?.close()
    this.#closing.abort()
  }

  async #changed(paths: ReadonlySet<string>): Promise<void> {
    for (const path of paths) this.#waiting.add(path)
    if (this.#working) return
    this.#working = true
    try {
      while (this.#waiting.size > 0 && !this.#closing.signal.aborted) {
        const batch = this.#waiting
        this.#waiting = new Set()
        await this.#reload(batch)
      }
    } finally {
      this.#working = false
    }
  }

  async #reload(paths: ReadonlySet<string>): Promise<void> {
    const functions = findFunctions(this.#root, (path, name) => this.#context.warn(`${path} is not served: another file is the function ${name} already.`))
    for (const [name] of this.#served) if (!functions.some((fn) => fn.name === name)) await this.#remove(name)
    const environment = [...paths].some((path) => path === join(this.#root, '.env'))
    for (const fn of functions) {
      const served = this.#served.get(fn.name)
      const touched = served === undefined || environment || [...paths].some((path) => path === fn.path || served.sources.has(path) || (fn.directory && path.startsWith(`${fn.path}/`)))
      if (touched) await this.#deploy(fn)
    }
  }

  async #deploy(fn: DevFunction): Promise<void> {
    const startedMs = performance.now()
    const served = this.#served.get(fn.name) ?? { fn, sources: new Set([fn.path]), url: '', following: false }
    this.#served.set(fn.name, served)
    try {
      const deployed = await deployFunction(this.#client, { name: fn.name, source: { path: fn.path }, build: {}, config: { public: true, environment: this.#environment() } })
      served.sources = new Set(deployed.sources)
      served.url = deployed.url
      this.#watch?.also(deployed.sources)
      if (!served.following) void this.#follow(served)
      const ms = Math.round(performance.now() - startedMs)
      if (!deployed.created) return
      for (const warning of deployed.warnings) this.#context.warn(`${fn.name}: ${warning}`)
      this.#event({ event: 'deployed', function: fn.name, revision: deployed.revision, url: deployed.url, ms }, () => `${this.#context.style('green', '↻')} ${fn.name} r${deployed.revision} in ${ms} ms\n`)
    } catch (thrown) {
      const error = PlatformError.from(thrown)
      // The file with the mistake is one to watch, even if no build ever came so far as to name it.
      const file = error.details?.['file']
      if (typeof file === 'string') served.sources = new Set([...served.sources, resolve(fn.directory ? fn.path : this.#root, file)])
      if (this.#context.json) this.#event({ event: 'error', function: fn.name, error: error.toBody() }, () => '')
      else {
        reportError(this.#context, error)
        this.#context.note(`${relative(process.cwd(), fn.path) || fn.path}: ${served.url === '' ? 'not served until it builds' : 'the revision before it goes on serving'}`)
      }
    }
  }

  async #remove(name: string): Promise<void> {
    this.#served.delete(name)
    await this.#client.json('DELETE', `/v1/functions/${name}`).catch(() => {})
    this.#event({ event: 'removed', function: name }, () => `${name} is gone\n`)
  }

  async #follow(served: { readonly fn: DevFunction; following: boolean }): Promise<void> {
    served.following = true
    const { name } = served.fn
    try {
      for await (const line of this.#client.lines<LogLine>(`/v1/functions/${name}/logs?follow=true&since=${Date.now()}`, this.#closing.signal)) {
        this.#event({ event: 'log', function: name, ...line }, () => `${this.#context.style('dim', name)} ${logText(line, this.#context.terminal)}\n`)
      }
    } catch {
      // The function is gone, or the platform is.
    }
    served.following = false
  }

  #environment(): Record<string, string> {
    const path = (this.#context.options['env'] as string | undefined) ?? join(this.#root, '.env')
    return existsSync(path) ? parseEnvironmentFile(readFileSync(path, 'utf8')) : {}
  }

  #event(value: object, text: () => string): void {
    process.stdout.write(this.#context.json ? `${JSON.stringify(value)}\n` : text())
  }
}

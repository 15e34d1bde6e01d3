/**
 * Tells when files below a directory, or single files elsewhere, have changed.
 *
 * One watcher per directory: Node's recursive watching would also watch node_modules, file by file. Directories and not
 * files are watched, because editors save by writing another file and renaming it. Where the system gives no (more)
 * watchers, file times are compared a few times a second instead.
 *
 *   W1. Changes that come within `settleMs` of each other are told together, once.
 *   W2. A directory that appears is watched from then on.
 */
import { readdirSync, statSync, watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { dirname, join } from 'node:path'

const SETTLE_MS = 12
const POLL_MS = 300
const skipped = new Set(['node_modules', '__pycache__', '.git', '.skep', '.venv'])

export class FileWatch {
  readonly #root: string
  readonly #changed: (paths: ReadonlySet<string>) => void
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #polled = new Map<string, number>()
  #poll: NodeJS.Timeout | undefined
  #settle: NodeJS.Timeout | undefined
  #paths = new Set<string>()

  constructor(root: string, changed: (paths: ReadonlySet<string>) => void) {
    this.#root = root
    this.#changed = changed
    this.#watchTree(root)
  }

  /** Whether times are compared because watching is not possible. */
  get polling(): boolean {
    return this.#poll !== undefined
  }

  /** Also watches where these files lie: modules that a function imports from elsewhere. */
  also(files: readonly string[]): void {
    for (const file of files) if (!file.startsWith(`${this.#root}/`) && !file.includes('/node_modules/')) this.#watchDirectory(dirname(file))
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
    clearInterval(this.#poll)
    clearTimeout(this.#settle)
  }

  #watchTree(directory: string): void {
    this.#watchDirectory(directory)
    for (const item of entries(directory)) if (item.isDirectory() && !skipped.has(item.name)) this.#watchTree(join(directory, item.name))
  }

  #watchDirectory(directory: string): void {
    if (this.#watchers.has(directory)) return
    try {
      const watcher = watch(directory, (_event, name) => this.#seen(directory, name))
      watcher.on('error', () => this.#unwatch(directory))
      this.#watchers.set(directory, watcher)
    } catch {
      this.#startPolling()
    }
  }

  #unwatch(directory: string): void {
    this.#watchers.get(directory)?.close()
    this.#watchers.delete(directory)
  }

  #seen(directory: string, name: string | null): void {
    const path = name === null ? directory : join(directory, name)
    if (name !== null && skipped.has(name)) return
    const info = statSync(path, { throwIfNoEntry: false })
    if (info?.isDirectory() === true) this.#watchTree(path)
    else if (info === undefined) this.#unwatch(path)
    this.#tell(path)
  }

  #tell(path: string): void {
    this.#paths.add(path)
    clearTimeout(this.#settle)
    this.#settle = setTimeout(() => {
      const paths = this.#paths
      this.#paths = new Set()
      this.#changed(paths)
    }, SETTLE_MS)
  }

  #startPolling(): void {
    if (this.#poll !== undefined) return
    this.#compare(() => {})
    this.#poll = setInterval(() => this.#compare((path) => this.#tell(path)), POLL_MS)
  }

  #compare(changed: (path: string) => void): void {
    const visit = (directory: string): void => {
      for (const item of entries(directory)) {
        const path = join(directory, item.name)
        if (item.isDirectory()) {
          if (!skipped.has(item.name)) visit(path)
          continue
        }
        const modifiedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
        if (this.#polled.get(path) !== modifiedMs) changed(path)
        this.#polled.set(path, modifiedMs)
      }
    }
    visit(this.#root)
  }
}

function entries(directory: string): { name: string; isDirectory(): boolean }[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
  } catch {
    return []
  }
}

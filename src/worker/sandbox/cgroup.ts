/**
 * Limits and accounts for sandboxes, by the kernel's control groups.
 *
 * A provider has one parent group in each tree (cgroup-layout.ts), and below it one child per sandbox. The files are in
 * memory, so everything here is synchronous; a child costs about 0.2 ms on v1 (four trees), less on v2.
 *
 * Processes move in by themselves: see launcher.ts. On v1, what a process was charged for before it moved stays with its old
 * group: less than 1 MB, of the shell, and nothing of the user's.
 *
 * Invariants:
 *   G1. A parent group's name tells which process made it, so that only the groups of dead platforms are swept.
 *   G2. After `remove` has answered true, no process of the group is alive, and its last figures stay readable.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { delegate } from './cgroup-layout.ts'
import type { CgroupController, CgroupTree } from './cgroup-layout.ts'
import type { SandboxLimits, SandboxUsage } from './sandbox.ts'

/** What bwrap itself needs: the process outside and the init process inside. Not the user's to pay for. */
const ownPids = 2
const cpuPeriodUs = 100_000
const bytesPerMb = 1024 * 1024

/** A directory of groups in one tree. */
export interface CgroupPlace {
  readonly directory: string
  readonly version: 1 | 2
  readonly controllers: readonly CgroupController[]
}

/** The parent groups of one provider. */
export class CgroupParent {
  readonly #parents: readonly CgroupPlace[]
  /** The controllers that limit and account here. */
  readonly controllers: readonly CgroupController[]

  private constructor(parents: readonly CgroupPlace[]) {
    this.#parents = parents
    this.controllers = parents.flatMap((parent) => parent.controllers)
  }

  /** Makes the parent groups. A tree that refuses is left out: `controllers` says what there is. */
  static create(name: string, trees: readonly CgroupTree[]): CgroupParent {
    return new CgroupParent(trees.flatMap((tree) => makeParent(tree, name)))
  }


  /** A group for one sandbox, with its limits in force. */
  createChild(name: string, limits: SandboxLimits): Cgroup {
    const group = new Cgroup(this.#parents.map((parent) => ({ ...parent, directory: join(parent.directory, name) })))
    try {
      group.limit(limits)
    } catch (thrown) {
      group.remove()
      throw thrown
    }
    return group
  }

  /** Removes the parent groups. They must be empty. */
  remove(): void {
    for (const parent of this.#parents) removeDirectory(parent.directory)
  }
}

/** The group of one sandbox. */
export class Cgroup {
  readonly #places: readonly CgroupPlace[]
  #last: SandboxUsage = { cpuMs: 0, memoryBytes: 0, memoryPeakBytes: 0 }
  #lastOomKills = 0
  #removed = false

  constructor(places: readonly CgroupPlace[]) {
    this.#places = places
    for (const place of places) mkdirSync(place.directory)
  }

  /** The files to which a process writes 0 to move in (launcher.ts). What it forks from then on is born inside. */
  get joinFiles(): readonly string[] {
    // On v1 a thread can move alone, which is quick; the shell that does it has no other.
    return this.#places.map(({ directory, version }) => join(directory, version === 2 ? 'cgroup.procs' : 'tasks'))
  }

  /** @throws START_FAILED when the new memory limit is below what is in use; the old limit then stays. */
  limit(limits: SandboxLimits): void {
    if (this.#removed) return
    for (const { directory, version, controllers } of this.#places) {
      if (controllers.includes('memory')) limitMemory(directory, version, limits.memoryMb)
      if (controllers.includes('cpu')) {
        const quotaUs = Math.max(1000, Math.round(limits.cpu * cpuPeriodUs))
        // v1 groups are born with this same period.
        if (version === 2) writeFileSync(join(directory, 'cpu.max'), `${quotaUs} ${cpuPeriodUs}`)
        else writeFileSync(join(directory, 'cpu.cfs_quota_us'), String(quotaUs))
      }
      if (controllers.includes('pids')) writeFileSync(join(directory, 'pids.max'), String(limits.pidsMax + ownPids))
    }
  }

  usage(): SandboxUsage {
    if (this.#removed) return this.#last
    let { cpuMs, memoryBytes, memoryPeakBytes } = this.#last
    for (const { directory, version, controllers } of this.#places) {
      if (controllers.includes('cpuacct')) {
        const used = version === 2 ? keyed(join(directory, 'cpu.stat'), 'usage_usec') / 1e3 : number(join(directory, 'cpuacct.usage')) / 1e6
        // Figures never go back: of several trees, this one's group may be removed already while another still has processes.
        cpuMs = Math.max(cpuMs, used)
      }
      if (controllers.includes('memory')) {
        memoryBytes = number(join(directory, version === 2 ? 'memory.current' : 'memory.usage_in_bytes'))
        // memory.peak came with Linux 5.19; before it the peak is the highest that anyone has asked for.
        const peak = number(join(directory, version === 2 ? 'memory.peak' : 'memory.max_usage_in_bytes'))
        memoryPeakBytes = Math.max(memoryPeakBytes, peak, memoryBytes)
      }
    }
    this.#last = { cpuMs, memoryBytes, memoryPeakBytes }
    return this.#last
  }

  /** How many processes of the group the kernel has killed because the group had no memory left. */
  oomKills(): number {
    const place = this.#places.find((each) => each.controllers.includes('memory'))
    if (place === undefined || this.#removed) return this.#lastOomKills
const kills = keyed(join(place.directory, place.version === 2 ? 'memory.events' : 'memory.oom_control'), 'oom_kill')
    this.#lastOomKills = Math.max(this.#lastOomKills, kills)
    return this.#lastOomKills
  }

  /** Whether the group holds processes: without a tree there is nobody to name or kill. */
  get isReal(): boolean {
    return this.#places.length > 0
  }

  /** Whether it counts both cpu time and memory. */
  get accounts(): boolean {
    const controllers = this.#places.flatMap((place) => place.controllers)
    return controllers.includes('cpuacct') && controllers.includes('memory')
  }

  /** Kills every process inside. Some may be born meanwhile: call again until `remove` answers true. */
  kill(): void {
    if (this.#removed) return
    for (const { directory } of this.#places) killAll(directory)
  }

  /** Removes the group if it is empty. Answers whether it is gone (G2). */
  remove(): boolean {
    if (this.#removed) return true
    this.usage()
    this.oomKills()
    const gone = this.#places.map((place) => removeDirectory(place.directory))
    this.#removed = gone.every((each) => each)
    if (this.#removed) this.#last = { ...this.#last, memoryBytes: 0 }
    return this.#removed
  }
}

/** Every directory that {@link CgroupParent.create} may make, for a later platform to sweep. */
export function parentDirectories(name: string, trees: readonly CgroupTree[]): readonly string[] {
  return trees.flatMap((tree) => tree.candidates.map((candidate) => join(candidate, name)))
}

/** Kills what lives in a dead platform's parent group, and removes it. Answers whether it is gone: a process takes a moment
 * to die. */
export function sweepParent(directory: string): boolean {
  if (!existsSync(directory)) return true
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    killAll(join(directory, entry.name))
    removeDirectory(join(directory, entry.name))
  }
  return removeDirectory(directory)
}

/** A group below the first candidate that allows it and gives every controller, else below the one that gives most. */
function makeParent(tree: CgroupTree, name: string): readonly CgroupPlace[] {
  let best: CgroupPlace | undefined
  for (const candidate of tree.candidates) {
    const directory = join(candidate, name)
    try {
      // On v2 a child has only the controllers that both its ancestors pass on.
      const passed = tree.version === 2 ? delegate(candidate, tree.controllers) : tree.controllers
      mkdirSync(directory)
      const controllers = tree.version === 2 ? delegate(directory, passed) : passed
      if (best !== undefined && best.controllers.length >= controllers.length) {
        removeDirectory(directory)
        continue
      }
      if (best !== undefined) removeDirectory(best.directory)
      best = { directory, version: tree.version, controllers }
      if (controllers.length === tree.controllers.length) break
    } catch {
      // Not ours to write to: the next one may be.
    }
  }
  return best === undefined ? [] : [best]
}

function limitMemory(directory: string, version: 1 | 2, memoryMb: number): void {
  const bytes = Math.floor(memoryMb * bytesPerMb)
  const currentFile = join(directory, version === 2 ? 'memory.current' : 'memory.usage_in_bytes')
  const refuse = (): never => {
    const usedMb = Math.ceil(number(currentFile) / bytesPerMb)
    const message = `a memory limit of ${memoryMb} MB is below the ${usedMb} MB that the runtime already uses: set memoryMb to ${usedMb * 2} or more`
    throw new PlatformError('START_FAILED', message, { details: { memoryMb, usedMb } })
  }
  if (version === 2) {
    // The kernel would kill for this. We rather say it.
    if (number(currentFile) > bytes) refuse()
    writeFileSync(join(directory, 'memory.max'), String(bytes))
    writeIfPresent(join(directory, 'memory.swap.max'), '0')
    // A sandbox dies whole: half of one is no use to anybody.
    writeIfPresent(join(directory, 'memory.oom.group'), '1')
    return
  }
  const memory = join(directory, 'memory.limit_in_bytes')
  const withSwap = join(directory, 'memory.memsw.limit_in_bytes')
  try {
    // The limit with swap may never be below the one without, so which goes first depends on the direction.
    const raising = number(memory) <= bytes
    if (raising) writeIfPresent(withSwap, String(bytes))
    writeFileSync(memory, String(bytes))
    if (!raising) writeIfPresent(withSwap, String(bytes))
  } catch (thrown) {
    if (codeOf(thrown) === 'EBUSY') refuse()
    throw thrown
  }
}

function killAll(directory: string): void {
  // Since Linux 5.14, v2 only: the kernel kills all at once, also those being born.
  if (existsSync(join(directory, 'cgroup.kill'))) {
    writeIfPresent(join(directory, 'cgroup.kill'), '1')
    return
  }
  for (const pid of textOf(join(directory, 'cgroup.procs')).split('\n').map(Number)) {
    // 0 is a process of a pid namespace that we can't see; 1 and our own group are never ours to kill.
    if (pid <= 1 || pid === process.pid) continue
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // Gone already.
    }
  }
}

function removeDirectory(directory: string): boolean {
  try {
    rmdirSync(directory)
    return true
  } catch (thrown) {
    return codeOf(thrown) === 'ENOENT'
  }
}

function writeIfPresent(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: 'r+' })
  } catch (thrown) {
    if (codeOf(thrown) === 'EBUSY') throw thrown
    // A kernel without this file has nothing to be told.
  }
}

function number(file: string): number {
  return Number(textOf(file)) || 0
}

/** The number behind a word in a file of "word number" lines. */
function keyed(file: string, word: string): number {
  const line = textOf(file).split('\n').find((each) => each.startsWith(`${word} `))
  return line === undefined ? 0 : Number(line.slice(word.length + 1))
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
}

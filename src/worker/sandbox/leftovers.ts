/**
 * Who owns what in `<data>/sandboxes`, and the removal of what has lost its owner.
 *
 * ```
 * sandboxes/
 *   .owner-4711-90210-1     one per provider: JSON with its cgroup directories; the name holds pid and start time
 *   s-12/owner              a link to the name of the owner, which is one system call to write and one to read
 *   s-12/app/               the code directory
 * ```
 *
 * Invariants:
 *   L1. An owner's file is written before its first cgroup or directory is made and removed after the last is gone: what
 *       exists can always be traced to an owner.
 *   L2. Only what belongs to a dead owner, or to none, is removed.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { sweepParent } from './cgroup.ts'
import { isAlive, processName } from './proc.ts'

const ownerFile = /^\.owner-(\d+)-(\d+)-\d+$/
const sweepTriesMax = 400
const sweepPauseMs = 5

let providersMade = 0

/** The directories of one provider. */
export class SandboxDirectories {
  readonly root: string
  /** Unique among all providers on this machine that are alive, or have been since it was started. */
  readonly owner: string
  /** The same for cgroups, which providers with other data directories share. */
  readonly groupName: string

  constructor(dataDirectory: string) {
    this.root = resolve(dataDirectory, 'sandboxes')
    const self = processName(process.pid)
    const unique = `${process.pid}-${self?.startTicks ?? 0}-${++providersMade}`
    this.owner = `.owner-${unique}`
    this.groupName = `skep-${createHash('sha256').update(this.root).digest('hex').slice(0, 8)}-${unique}`
  }

  /** Writes down the owner, with every cgroup directory that it may come to have (L1). */
  claim(groupDirectories: readonly string[]): void {
    mkdirSync(this.root, { recursive: true })
    writeFileSync(join(this.root, this.owner), JSON.stringify(groupDirectories))
  }

  /** Makes a sandbox's directory. Answers its code directory. @throws EEXIST when the id is in use. */
  make(id: string): string {
    const directory = join(this.root, id)
    mkdirSync(directory)
    symlinkSync(this.owner, join(directory, 'owner'))
    const code = join(directory, 'app')
    mkdirSync(code)
    return code
  }

  /** Removes a sandbox's directory. The link goes last with it, so that a half-removed one still has its owner. */
  async remove(id: string): Promise<void> {
    const directory = join(this.root, id)
    await rm(join(directory, 'app'), { recursive: true, force: true })
    await rm(directory, { recursive: true, force: true })
  }

  /** Removes a directory in which nothing has been put yet. */
  discard(id: string): void {
    const directory = join(this.root, id)
    try {
      // One by one, which takes no descriptor: they may be what was lacking.
      rmdirSync(join(directory, 'app'))
      unlinkSync(join(directory, 'owner'))
      rmdirSync(directory)
    } catch {
      // The next sweep removes it.
    }
  }

  /** The owner is gone: called when nothing of it is left. */
  release(): void {
    rmSync(join(this.root, this.owner), { force: true })
  }

  /** Removes what dead owners left: processes that outlived them, cgroups, directories (L2). */
  async sweep(): Promise<void> {
    const names = namesIn(this.root)
    const dead = names.filter((name) => ownerFile.test(name) && !ownerIsAlive(name))
    for (const owner of dead) {
      for (const group of groupsOf(join(this.root, owner))) await sweepGroup(group)
    }
    for (const id of names.filter((name) => !name.startsWith('.'))) {
      const owner = ownerOf(join(this.root, id))
      if (owner === undefined || !ownerIsAlive(owner)) await this.remove(id)
    }
    // Last, so that a sweep that is itself killed can be done again.
    for (const owner of dead) rmSync(join(this.root, owner), { force: true })
  }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function ownerIsAlive(name: string): boolean {
  const match = ownerFile.exec(name)
  return match !== null && isAlive({ pid: Number(match[1]), startTicks: Number(match[2]) })
}

function ownerOf(directory: string): string | undefined {
  try {
    return readlinkSync(join(directory, 'owner'))
  } catch {
    return undefined
  }
}

function groupsOf(file: string): readonly string[] {
  try {
    const groups: unknown = JSON.parse(readFileSync(file, 'utf8'))
    // Only what bears our name: a file that somebody damaged must not make us kill anything else.
    return Array.isArray(groups) ? groups.filter((group) => typeof group === 'string' && /\/skep-[0-9a-f]{8}-\d+-\d+-\d+$/.test(group)) : []
  } catch {
    return []
  }
}

async function sweepGroup(directory: string): Promise<void> {
  for (let tries = 0; tries < sweepTriesMax && !sweepParent(directory); tries++) {
    await new Promise((wake) => setTimeout(wake, sweepPauseMs))
  }
}

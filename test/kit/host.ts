/**
 * What a platform has on the host, seen from outside and by other means than its own: processes, cgroups, directories,
 * descriptors, memory. For tests that look whether anything is left behind, or grows.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive } from './platform.ts'

/** Processes in a sandbox of this data directory: bwrap and what descends from it. Ascending. */
export function sandboxProcesses(data: string): readonly number[] {
  const parents = new Map<number, number>()
  const roots: number[] = []
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number)) {
    try {
      if (!isAlive(pid)) continue
      parents.set(pid, Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))![1]))
      if (readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(join(data, 'sandboxes'))) roots.push(pid)
    } catch {
      // Gone meanwhile.
    }
  }
  return [...parents.keys()].filter((pid) => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at)) if (roots.includes(at)) return true
    return false
  })
}

/** The cgroup directories that are there of all platforms which have written theirs down in this data directory. */
export function cgroupDirectories(data: string): readonly string[] {
  return sandboxEntries(data)
    .filter((name) => name.startsWith('.owner-'))
    .flatMap((name) => JSON.parse(readFileSync(join(data, 'sandboxes', name), 'utf8')) as string[])
    .filter((directory) => existsSync(directory))
}

/** The sandboxes' cgroups: one directory in each of those. */
export function sandboxCgroups(data: string): readonly string[] {
  const names = new Set<string>()
  for (const directory of cgroupDirectories(data)) {
    for (const entry of readdirSync(directory, { withFileTypes: true })) if (entry.isDirectory()) names.add(entry.name)
  }
  return [...names].sort()
}

/** Who is in a sandbox's cgroups, with what they do: for a message about one that does not go. */
export function cgroupMembers(data: string, sandbox: string): string {
  const members = new Set<string>()
  for (const directory of cgroupDirectories(data)) {
    try {
      for (const pid of readFileSync(join(directory, sandbox, 'cgroup.procs'), 'latin1').split('\n').filter(Boolean)) {
        const [, name = '', state = '', parent = ''] = /^\d+ \((.*)\) (\S) (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? []
        members.add(`${pid} (${name}, ${state}, of ${parent})`)
      }
    } catch {
      // Gone meanwhile, or never there in this hierarchy.
    }
  }
  return members.size === 0 ? 'nobody' : [...members].join(', ')
}

/** Directories of sandboxes, without the files that say who owns them. */
export function sandboxDirectories(data: string): readonly string[] {
  return sandboxEntries(data).filter((name) => !name.startsWith('.'))
}

/** Everything in the directory of the sandboxes. */
export function sandboxEntries(data: string): readonly string[] {
  const directory = join(data, 'sandboxes')
  return existsSync(directory) ? readdirSync(directory) : []
}

/** Open descriptors of a process by kind: `socket`, `pipe`, `anon_inode:[eventpoll]`, or the path of a file without its digits. */
export function descriptors(pid: number): ReadonlyMap<string, number> {
  const kinds = new Map<string, number>()
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const kind = readlinkSync(`/proc/${pid}/fd/${name}`).replace(/:\[\d+\]$/, '').replaceAll(/\d+/g, '#')
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    } catch {
      // Closed meanwhile.
    }
  }
  return kinds
}

/** What a process has more of in `after` than in `before`, as text; empty when nothing. */
export function moreOf(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): string {
  return [...after]
    .map(([kind, count]) => [kind, count - (before.get(kind) ?? 0)] as const)
    .filter(([, more]) => more > 0)
    .map(([kind, more]) => `${more} more ${kind}`)
    .join(', ')
}

/** Memory of a process that is in RAM, MB: all of it, and what of that belongs to no file. */
export function memoryOf(pid: number): { readonly residentMb: number; readonly anonymousMb: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const mb = (field: string): number => Math.round(Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)![1]) / 102.4) / 10
  return { residentMb: mb('VmRSS'), anonymousMb: mb('RssAnon') }
}

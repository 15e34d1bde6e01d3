/**
 * What /proc tells about processes: who is alive, who is whose child, what a tree of them has used.
 *
 * A pid alone does not name a process, because the kernel hands it out again; a pid with its start time does. That pair
 * is how one platform tells whether what another left behind still has an owner.
 */
import { readFileSync } from 'node:fs'

export interface ProcessName {
  readonly pid: number
  /** Clock ticks after boot, as /proc/<pid>/stat has it. */
  readonly startTicks: number
}

export interface TreeUsage {
  readonly cpuMs: number
  readonly memoryBytes: number
}

/** USER_HZ, which is 100 on every architecture that we run on. */
const msPerTick = 10
const pageBytes = 4096

/** The process with this pid, or undefined when there is none. A zombie is none: it is dead, and waits to be noticed. */
export function processName(pid: number): ProcessName | undefined {
  const fields = statFields(pid)
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : { pid, startTicks: Number(fields[19]) }
}

export function isAlive(process: ProcessName): boolean {
  return processName(process.pid)?.startTicks === process.startTicks
}

/** The living children that the main thread of a process has. Empty when it is gone, or on a kernel that doesn't tell. */
export function childrenOf(pid: number): readonly number[] {
  const text = readOrEmpty(`/proc/${pid}/task/${pid}/children`)
  return text.split(' ').filter((part) => part !== '').map(Number)
}

/** What a process and everything below it has used, as far as it is still alive. Memory is the sum of resident sets, so
 * that pages which two processes share count twice. */
export function treeUsage(pid: number): TreeUsage {
  const fields = statFields(pid)
  if (fields === undefined) return { cpuMs: 0, memoryBytes: 0 }
  // Fields 14 to 17 of proc(5): own user and system time, then those of children already waited for.
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0)
  let cpuMs = ticks * msPerTick
  let memoryBytes = Number(fields[21]) * pageBytes
  for (const child of childrenOf(pid)) {
    const below = treeUsage(child)
    cpuMs += below.cpuMs
    memoryBytes += below.memoryBytes
  }
  return { cpuMs, memoryBytes }
}

/** The fields of /proc/<pid>/stat from the third on. The second is the program's name, which may hold spaces and brackets. */
function statFields(pid: number): readonly string[] | undefined {
  const text = readOrEmpty(`/proc/${pid}/stat`)
  return text === '' ? undefined : text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** A process can go between any two reads, which is no error here. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/**
 * Where this host keeps its cgroups, and which controllers a platform can use there.
 *
 * Three layouts are about. v2: one tree for everything. v1: one tree per controller, some of them mounted together.
 * Hybrid: v1 for the controllers, and a v2 tree beside it that controls nothing; that is v1 to us. The kernel names the
 * mounts in /proc/self/mountinfo and the process's own group in each tree in /proc/self/cgroup.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const cgroupControllers = ['memory', 'cpu', 'cpuacct', 'pids'] as const
export type CgroupController = (typeof cgroupControllers)[number]

/** One tree that we want groups in: the directories that may hold them, best first, and what it controls. */
export interface CgroupTree {
  readonly version: 1 | 2
  readonly controllers: readonly CgroupController[]
  /** The process's own group, then the root of the tree: below the first, limits set on the platform itself still hold. */
  readonly candidates: readonly string[]
}

export interface CgroupFiles {
  readonly mountinfo: string
  readonly cgroup: string
}

/** Reads the two files of the kernel. Empty on a host without /proc. */
export function cgroupFiles(): CgroupFiles {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return ''
    }
  }
  return { mountinfo: read('/proc/self/mountinfo'), cgroup: read('/proc/self/cgroup') }
}

/** The trees that hold our controllers: one on v2, one per (group of) controllers on v1, none where nothing is mounted. */
export function cgroupTrees(files: CgroupFiles): readonly CgroupTree[] {
  const mounts = files.mountinfo.split('\n').flatMap(parseMount)
  const own = new Map(files.cgroup.split('\n').filter((line) => line !== '').map(parseOwn))
  const unified = mounts.find((mount) => mount.type === 'cgroup2')
  if (unified !== undefined) {
    const available = controllersIn(join(unified.at, 'cgroup.controllers'))
    // v2 counts cpu time in every group, without a controller.
    const controllers = cgroupControllers.filter((name) => name === 'cpuacct' || available.includes(name))
    if (controllers.includes('memory')) return [{ version: 2, controllers, candidates: candidatesIn(unified, own.get('')) }]
  }
  const trees: CgroupTree[] = []
  for (const mount of mounts.filter((each) => each.type === 'cgroup')) {
    const controllers = cgroupControllers.filter((name) => mount.options.includes(name))
    const taken = trees.flatMap((tree) => tree.controllers)
    if (controllers.length === 0 || controllers.some((name) => taken.includes(name))) continue
    trees.push({ version: 1, controllers, candidates: candidatesIn(mount, own.get(controllers[0]!)) })
  }
  return trees
}

/** Lets a v2 group's children use the controllers. Answers which of them its children then have. */
export function delegate(directory: string, controllers: readonly CgroupController[]): readonly CgroupController[] {
  const file = join(directory, 'cgroup.subtree_control')
  for (const name of controllers.filter((each) => each !== 'cpuacct')) {
    try {
      // One at a time, for a write with one refused controller changes nothing at all.
      if (!controllersIn(file).includes(name)) writeFileSync(file, `+${name}`)
    } catch {
      // Refused where the group has processes of its own, or isn't ours: what is in force is read back below.
    }
  }
  const inForce = controllersIn(file)
  return controllers.filter((name) => name === 'cpuacct' || inForce.includes(name))
}

interface Mount {
  readonly at: string
  readonly root: string
  readonly type: string
  readonly options: readonly string[]
}

/** One line of proc(5) mountinfo: id parent major:minor root mountpoint options [tags...] - type source superoptions. */
function parseMount(line: string): readonly Mount[] {
  const [before, after] = line.split(' - ')
  const left = before?.split(' ') ?? []
  const right = after?.split(' ') ?? []
  if (left[3] === undefined || left[4] === undefined || right[0] === undefined) return []
  return [{ root: unescapeOctal(left[3]), at: unescapeOctal(left[4]), type: right[0], options: right[2]?.split(',') ?? [] }]
}

/** One line of /proc/self/cgroup: id:controllers:path. v2 has no controllers there. The first one is enough as a key. */
function parseOwn(line: string): readonly [string, string] {
  const [, controllers = '', ...path] = line.split(':')
  const known = controllers.split(',').find((name) => (cgroupControllers as readonly string[]).includes(name))
  return [known ?? controllers, path.join(':')]
}

function candidatesIn(mount: Mount, ownPath: string | undefined): readonly string[] {
  if (ownPath === undefined) return [mount.at]
  // In a container the mount shows a part of the tree; a path outside that part can't be reached.
  const prefix = mount.root === '/' ? '' : mount.root
  if (ownPath !== prefix && !ownPath.startsWith(`${prefix}/`)) return [mount.at]
  return [...new Set([join(mount.at, ownPath.slice(prefix.length)).replace(/\/$/, ''), mount.at])]
}

function controllersIn(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').trim().split(' ')
  } catch {
    return []
  }
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)))
}

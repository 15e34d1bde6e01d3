/**
 * What this machine has, as a list of findings: each with what is lost without it and the command that brings it.
 *
 * Reads files and looks for programs; changes nothing, and starts nothing but `bwrap` and `python3` for a moment.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, freemem, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { bytes } from './format.ts'
import { findProgram, installCommand, systemPackages } from './system-packages.ts'

export interface Finding {
  readonly name: string
  readonly ok: boolean
  /** What was found. */
  readonly found: string
  /** What is lost, when it is not ok. */
  readonly without?: string
  /** The command that helps, when there is one. */
  readonly command?: string
}

export function checkMachine(dataDirectory: string): Finding[] {
  return [node(), bubblewrap(), userNamespaces(), cgroups(), seccomp(), python(), cores(), memory(), disk(dataDirectory)]
}

function node(): Finding {
  const ok = Number(process.versions.node.split('.')[0]) >= 26
  return { name: 'node', ok, found: `${process.versions.node} at ${process.execPath}`, ...(!ok && { without: 'the platform cannot run', command: 'npm ci' }) }
}

function bubblewrap(): Finding {
  const { without, apt } = systemPackages[0]!
  const path = findProgram('bwrap')
  if (path === undefined) return { name: 'bubblewrap', ok: false, found: 'not in PATH', without, command: installCommand([systemPackages[0]!]) }
  const problem = attempt(path, ['--unshare-all', '--die-with-parent', '--ro-bind', '/', '/', 'true'])
  if (problem !== undefined) return { name: 'bubblewrap', ok: false, found: `${path}, but it cannot make a sandbox: ${problem}`, without, command: `see user-namespaces below; the package is ${apt}` }
  return { name: 'bubblewrap', ok: true, found: `${path}, makes a sandbox` }
}

function userNamespaces(): Finding {
  const most = read('/proc/sys/user/max_user_namespaces')
  const unprivileged = read('/proc/sys/kernel/unprivileged_userns_clone')
  const restricted = read('/proc/sys/kernel/apparmor_restrict_unprivileged_userns')
  const root = process.getuid?.() === 0
  const ok = most !== '0' && (root || (unprivileged !== '0' && restricted !== '1'))
  if (ok) return { name: 'user-namespaces', ok, found: `allowed${most === undefined ? '' : `, at most ${most}`}` }
  const setting = most === '0' ? 'user.max_user_namespaces=28633' : unprivileged === '0' ? 'kernel.unprivileged_userns_clone=1' : 'kernel.apparmor_restrict_unprivileged_userns=0'
  return { name: 'user-namespaces', ok, found: 'not allowed for this user', without: 'functions cannot be isolated unless the platform runs as root', command: `sudo sysctl -w ${setting}` }
}

function cgroups(): Finding {
  const controllers = read('/sys/fs/cgroup/cgroup.controllers')
  const layout = controllers !== undefined ? `v2 (${controllers})` : existsSync('/sys/fs/cgroup/memory') ? 'v1' : existsSync('/sys/fs/cgroup/unified') ? 'hybrid' : undefined
  if (layout === undefined) return { name: 'cgroups', ok: false, found: 'none mounted', without: 'memory, cpu and process limits of functions are not enforced' }
  const root = process.getuid?.() === 0
  if (!root) return { name: 'cgroups', ok: false, found: `${layout}, not writable for this user`, without: 'memory, cpu and process limits of functions are not enforced by the kernel', command: 'systemd-run --user --scope -p Delegate=yes ./skep up' }
  return { name: 'cgroups', ok: true, found: layout }
}

function seccomp(): Finding {
  const actions = read('/proc/sys/kernel/seccomp/actions_avail')
  return actions === undefined ? { name: 'seccomp', ok: false, found: 'not in this kernel', without: 'system calls of functions are not filtered' } : { name: 'seccomp', ok: true, found: 'filters available' }
}

function python(): Finding {
  const path = findProgram('python3')
  const { without } = systemPackages[1]!
  if (path === undefined) return { name: 'python', ok: false, found: 'not in PATH', without, command: installCommand([systemPackages[1]!]) }
  const problem = attempt(path, ['-c', 'import sys; sys.exit(sys.version_info < (3, 9))'])
  return problem === undefined ? { name: 'python', ok: true, found: path } : { name: 'python', ok: false, found: `${path}: older than 3.9, or broken`, without, command: installCommand([systemPackages[1]!]) }
}

function cores(): Finding {
  return { name: 'cores', ok: true, found: String(availableParallelism()) }
}

function memory(): Finding {
  const ok = freemem() > 512e6 || totalmem() > 2e9
  return { name: 'memory', ok, found: `${bytes(totalmem())}, ${bytes(freemem())} free`, ...(!ok && { without: 'few instances fit' }) }
}

function disk(directory: string): Finding {
  let existing = directory
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing)
  const { bavail, bsize } = statfsSync(existing)
  const free = bavail * bsize
  return { name: 'disk', ok: free > 1e9, found: `${bytes(free)} free for ${directory}`, ...(free <= 1e9 && { without: 'code, records and accepted invocations may not fit (STORE_FULL)' }) }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** Undefined when the program ended well, else the first line of what it said. */
function attempt(program: string, args: readonly string[]): string | undefined {
  try {
    execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 5000, encoding: 'utf8' })
    return undefined
  } catch (thrown) {
    return String((thrown as { stderr?: string }).stderr ?? '').trim().split('\n')[0] || (thrown as Error).message
  }
}

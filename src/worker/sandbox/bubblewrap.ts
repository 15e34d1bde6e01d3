/**
 * How a sandbox is said to bubblewrap: its arguments, and whether it can work on this host.
 *
 * The root is a fresh tmpfs that holds only what is mounted into it, and is made read-only at the end. /dev has five
 * devices; /dev/shm is a link into /tmp, so that one size bounds both. bwrap applies arguments in their order.
 *
 * The gate: bwrap reads the system call filter from file descriptor 4 as the last thing it does before it starts the
 * program, after all mounts, and closes it. The other end is ours, so that this moment tells, at no extra cost, that the
 * sandbox stands. Should bwrap die with the filter unread, the same descriptor reports a reset instead of an end. (Seen with
 * strace on 0.8.0.)
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { hostNetworkMounts } from './runtime-mounts.ts'
import type { SandboxMount, SandboxOptions } from './sandbox.ts'

/** File descriptors as bwrap sees them. */
export const channelFd = 3
export const gateFd = 4

/** The user inside. The host sees the platform's own user. */
const insideUser = 1000
const devices = ['null', 'zero', 'full', 'random', 'urandom']

/**
 * Names of variables that bwrap and the shell before it may have in their own environment. The others, which a shell, the
 * dynamic loader or the C library obeys, would run foreign code on the host: bwrap sets those for the program only.
 */
function isHarmless(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !/^(LD_|GLIBC_|MALLOC_|GCONV_|LOCPATH$|NLSPATH$|BASH|SHELLOPTS$|ENV$|PS[0-9]$|IFS$|PATH$|POSIXLY_)/.test(name)
}

export interface BubblewrapCommand {
  readonly arguments: readonly string[]
  /** bwrap's own environment, which the program inside inherits: values in arguments could be read by anyone with `ps`. */
  readonly environment: Readonly<Record<string, string>>
}

/**
 * @param codeDirectory Host directory that becomes /app.
 * @param hasFilter Whether the gate brings a system call filter; without one it brings one byte.
 */
export function bubblewrapCommand(options: SandboxOptions, codeDirectory: string, hasFilter: boolean): BubblewrapCommand {
  const bind = (mount: SandboxMount): string[] => [mount.isLink === true ? '--symlink' : '--ro-bind', mount.from, mount.to]
  const shared = options.network === 'host'
  const [harmless, others] = [true, false].map((wanted) => Object.entries(options.environment).filter(([name]) => isHarmless(name) === wanted))
  return {
    arguments: [
      ...['--unshare-user', '--uid', String(insideUser), '--gid', String(insideUser)],
      ...['--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try', ...(shared ? [] : ['--unshare-net'])],
      ...['--die-with-parent', '--new-session', '--hostname', 'sandbox'],
      ...['--proc', '/proc'],
      ...['--size', '65536', '--tmpfs', '/dev', ...devices.flatMap((name) => ['--dev-bind', `/dev/${name}`, `/dev/${name}`])],
      ...['--symlink', '/tmp', '/dev/shm', '--symlink', '/proc/self/fd', '/dev/fd'],
      ...['stdin', 'stdout', 'stderr'].flatMap((name, fd) => ['--symlink', `/proc/self/fd/${fd}`, `/dev/${name}`]),
      ...['--remount-ro', '/dev'],
      // Before the given mounts: a platform that is itself installed below /tmp mounts its runtime there.
      ...['--perms', '1777', '--size', String(options.tmpBytesMax), '--tmpfs', '/tmp'],
      ...options.mounts.flatMap(bind),
      ...(shared ? hostNetworkMounts().flatMap(bind) : []),
      ...['--ro-bind', codeDirectory, '/app', '--remount-ro', '/', '--chdir', '/app'],
      ...(others ?? []).flatMap(([name, value]) => ['--setenv', name, value]),
      ...[hasFilter ? '--seccomp' : '--block-fd', String(gateFd)],
      ...['--', ...options.command],
    ],
    environment: Object.fromEntries(harmless ?? []),
  }
}

export type BubblewrapProbe =
  | { readonly state: 'works'; readonly path: string }
  | { readonly state: 'absent' }
  /** It is there, and the host refuses what it needs. */
  | { readonly state: 'refused'; readonly message: string }

/** Looks bwrap up and lets it make one empty sandbox. Takes about 5 ms, blocking: once per provider. */
export function probeBubblewrap(searchPath: string = process.env['PATH'] ?? ''): BubblewrapProbe {
  const path = searchPath.split(delimiter).filter((directory) => directory !== '').map((directory) => join(directory, 'bwrap')).find(isExecutable)
  if (path === undefined) return { state: 'absent' }
  const unshare = ['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-net']
  const probe = spawnSync(path, [...unshare, '--ro-bind', '/', '/', '--proc', '/proc', '--', path, '--version'], { encoding: 'utf8', timeout: 10_000 })
  if (probe.status === 0) return { state: 'works', path }
  return { state: 'refused', message: probe.error?.message ?? (probe.stderr.trim() || `exit status ${probe.status}`) }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Runs a sandbox's command without a sandbox, on a host that has no bubblewrap, when the operator allows it.
 *
 * Paths inside become the host paths that would have been mounted there, in the program, its arguments and the environment;
 * /app is the code directory, and the working directory as well.
 *
 * What is lost: the program sees all files, processes and the network with the rights of the platform's user, and can write
 * where that user can; /tmp is the host's, without a limit; there is no system call filter. The program outlives a platform
 * that is killed, unless it reads its channel and sees the end. Where cgroups work, limits and accounts still hold and
 * `destroy` kills everything; without them, a grandchild that left the process group stays.
 */
import type { SandboxMount, SandboxOptions } from './sandbox.ts'

export interface UnsandboxedCommand {
  readonly program: string
  readonly arguments: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

export function unsandboxedCommand(options: SandboxOptions, codeDirectory: string): UnsandboxedCommand {
  const mounts = [...options.mounts, { from: codeDirectory, to: '/app' }]
  const [program = '', ...rest] = options.command.map((part) => hostPath(part, mounts))
  const environment: Record<string, string> = {}
  // A list of paths, such as PATH or PYTHONPATH, or anything else that begins as one.
  for (const [name, value] of Object.entries(options.environment)) {
    environment[name] = value.startsWith('/') ? value.split(':').map((part) => hostPath(part, mounts)).join(':') : value
  }
  return { program, arguments: rest, environment }
}

/** The host path of a path inside: by the longest mount that it lies in, as the kernel would. Itself where there is none. */
export function hostPath(path: string, mounts: readonly SandboxMount[]): string {
  let best: SandboxMount | undefined
  for (const mount of mounts) {
    // Where a link leads is a path inside, too.
    if (mount.isLink === true) continue
    const isWithin = path === mount.to || path.startsWith(mount.to.endsWith('/') ? mount.to : `${mount.to}/`)
    // Of two at the same place the later one hides the earlier.
    if (isWithin && mount.to.length >= (best?.to.length ?? 0)) best = mount
  }
  return best === undefined ? path : best.from + path.slice(best.to.length)
}

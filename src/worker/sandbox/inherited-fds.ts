/**
 * Keeps file descriptors that this process was born with from reaching a sandbox.
 *
 * Node opens everything close-on-exec, but whoever started it may have left descriptors open, and Node closes those to its
 * children only below 16. One that leads to a directory of the host would be a way out of the sandbox. Node can't set the flag
 * on them, and they are not ours to close; but a child's descriptor can be replaced, so each becomes /dev/null there.
 */
import { openSync, readdirSync, readFileSync } from 'node:fs'
import type { StdioOptions } from 'node:child_process'

/** O_CLOEXEC as /proc shows it, in octal digits. */
const closeOnExec = 0o2000000

let devNull: number | undefined

/** Descriptors above `from` that a child would inherit. Empty on nearly every host. */
export function inheritedFds(from: number): readonly number[] {
  try {
    return readdirSync('/proc/self/fd').map(Number).filter((fd) => fd > from && isInherited(fd))
  } catch {
    return []
  }
}

/** One descriptor of a child: a pipe to it, nothing, or a descriptor of ours. */
export type StdioPlace = 'pipe' | 'ignore' | number

/** `stdio` with every descriptor of `inherited` replaced that it does not give itself. */
export function withoutInherited(stdio: readonly StdioPlace[], inherited: readonly number[]): StdioOptions {
  if (inherited.length === 0) return [...stdio]
  devNull ??= openSync('/dev/null', 'r')
  // A place that says "ignore" leaves the child's descriptor as it is.
  const all: StdioPlace[] = [...stdio]
  const last = Math.max(...inherited)
  while (all.length <= last) all.push('ignore')
  for (const fd of inherited) if (all[fd] === 'ignore') all[fd] = devNull
  return all
}

function isInherited(fd: number): boolean {
  try {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
    return flags !== undefined && (parseInt(flags, 8) & closeOnExec) === 0
  } catch {
    // The descriptor of the listing itself.
    return false
  }
}

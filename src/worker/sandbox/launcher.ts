/**
 * Starts a program that is in its cgroups from its first instruction.
 *
 * A shell of two lines moves itself and then becomes the program. It is not the platform that moves it, for two reasons: what
 * the program forks before the move would stay outside; and the kernel makes whoever moves *another* process wait for a
 * grace period, 13 ms here, in which the platform's event loop would stand still. A single thread that moves itself on v1
 * waits for nothing. On v2 it waits too, unless the tree is mounted with `favordynmods`, but it waits alone.
 * Cost here: 0.8 ms.
 */

export interface Launch {
  readonly program: string
  readonly arguments: readonly string[]
}

/** The files come first, then "--", then the program. 0 means the writer itself. Only builtins: nothing is looked up in PATH. */
const script = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'

/** @param joinFiles Of the group (cgroup.ts). Without any the program is started directly. */
export function launch(joinFiles: readonly string[], program: string, programArguments: readonly string[]): Launch {
  if (joinFiles.length === 0) return { program, arguments: programArguments }
  return { program: '/bin/sh', arguments: ['-c', script, 'sh', ...joinFiles, '--', program, ...programArguments] }
}

/** Puts in words what protection this host gives to sandboxes of kind process, and how to get what is missing. */
import type { BubblewrapProbe } from './bubblewrap.ts'
import { cgroupControllers } from './cgroup-layout.ts'
import type { CgroupController } from './cgroup-layout.ts'
import type { Isolation } from './sandbox.ts'

const lossWithout: Readonly<Record<CgroupController, string>> = {
  memory: 'memory is not limited: one function can use all of the machine’s, and only /tmp has a bound',
  cpu: 'cpu time is not limited: one function can slow all others down',
  cpuacct: 'cpu time is read from /proc and misses processes that have ended',
  pids: 'the number of processes is not limited: a fork bomb can fill the machine',
}

/** Memory takes no RLIMIT in place of its cgroup: Node reserves far more address space than it uses, and a limit has to change
 * when a stem cell becomes an instance, which Node can't do to another process. */
export function describeIsolation(probe: BubblewrapProbe, controllers: readonly CgroupController[], hasFilter: boolean): Isolation {
  const missing: string[] = []
  if (probe.state === 'absent') {
    missing.push('bubblewrap is not installed, so code would run with the files, network and processes of this user: run ./skep setup, or apt-get install bubblewrap')
  } else if (probe.state === 'refused') {
    missing.push(
      `bubblewrap is installed but this host refuses namespaces (${probe.message}), so code would run with the files, network and processes of this user: ` +
        'allow them with sysctl -w user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 (on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0), or run as root',
    )
  }
  for (const name of cgroupControllers) {
    if (controllers.includes(name)) continue
    missing.push(`no cgroup controller "${name}", so ${lossWithout[name]}: run as root, or in a systemd unit with Delegate=yes`)
  }
  if (!hasFilter) missing.push(`no system call filter for ${process.arch}, so kernel interfaces are open that functions don't need: run on x64 or arm64`)
  return { level: probe.state !== 'works' ? 'none' : missing.length > 0 ? 'partial' : 'full', missing }
}

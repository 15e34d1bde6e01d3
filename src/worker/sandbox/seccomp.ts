/**
 * The system call filter of a sandbox, as a classic BPF program.
 *
 * Everything is allowed but a list: what changes mounts, namespaces, the clock or the kernel itself, what looks into
 * other processes, and the large or rarely used interfaces that kernel bugs come from (io_uring, bpf, userfaultfd,
 * perf, keys). Most of the list needs a privilege that the inside lacks anyway; the filter stands behind that check, for
 * the day when the check has a hole, and takes away what user namespaces give to everybody.
 *
 * The program is one linear chain of comparisons. It is not slow: the kernel works out at load time which calls the
 * filter always allows and does not run it for those (since 5.11); it is short, and easy to read back in a test.
 *
 * Source: Docker's default profile (moby/profiles, seccomp/default.json), turned from an allow list into a deny list.
 * Where we differ: no chroot and no NUMA placement; sockets of the families UNIX, INET, INET6 and NETLINK_ROUTE only,
 * because AF_VSOCK knows no network namespace and reaches the hypervisor; personality only asked, never set.
 *
 * Invariants:
 *   F1. A call made for another architecture kills the process: its numbers mean other calls. x32 calls do not exist.
 *   F2. A denied call answers EPERM, and never an answer that looks like success.
 *   F3. No clone can make a namespace. clone3, whose flags a filter cannot see, does not exist (ENOSYS): the C library
 *       then uses clone.
 */

export type SeccompArchitecture = 'x64' | 'arm64'

/** linux/audit.h AUDIT_ARCH_*. */
export const auditArchitectures = { x64: 0xc000003e, arm64: 0xc00000b7 } as const

/** Calls that always answer EPERM: number on x86_64, number on arm64. -1 where the architecture has no such call. */
export const deniedCalls = {
  // Mounts and roots.
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  open_tree_attr: [467, 467],
  // Namespaces. clone is looked into below.
  setns: [308, 268],
  unshare: [272, 97],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  // Other processes.
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  pidfd_getfd: [438, 438],
  kcmp: [312, 272],
  // Files by handle, which pass by the mounts.
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  fanotify_init: [300, 262],
  fanotify_mark: [301, 263],
  lookup_dcookie: [212, 18],
  // Kernel code, its keys, its traces.
  bpf: [321, 280],
  perf_event_open: [298, 241],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  create_module: [174, -1],
  query_module: [178, -1],
  get_kernel_syms: [177, -1],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  syslog: [103, 116],
  // Wide interfaces with a history.
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  userfaultfd: [323, 282],
  modify_ldt: [154, -1],
  uselib: [134, -1],
  ustat: [136, -1],
  sysfs: [139, -1],
  _sysctl: [156, -1],
  nfsservctl: [180, 42],
  // Memory placement.
  mbind: [237, 235],
  get_mempolicy: [239, 236],
  set_mempolicy: [238, 237],
  set_mempolicy_home_node: [450, 450],
  migrate_pages: [256, 238],
  move_pages: [279, 239],
  // The machine.
  reboot: [169, 142],
  swapon: [167, 224],
  swapoff: [168, 225],
  acct: [163, 89],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  clock_adjtime: [305, 266],
  adjtimex: [159, 171],
  iopl: [172, -1],
  ioperm: [173, -1],
  vhangup: [153, 58],
} as const satisfies Record<string, readonly [number, number]>

/** Calls that the filter looks into, or hides. */
export const inspectedCalls = {
  clone: [56, 220],
  clone3: [435, 435],
  personality: [135, 92],
  socket: [41, 198],
  ioctl: [16, 29],
} as const satisfies Record<string, readonly [number, number]>

/** NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. NEWTIME is not among clone's flags: its bit is a signal's. */
export const cloneNamespaceFlags = 0x7e020000

const allow = 0x7fff0000
const killProcess = 0x80000000
const errno = (number: number): number => 0x00050000 | number
const EPERM = 1
const ENOSYS = 38
const EAFNOSUPPORT = 97

/** Every x32 call has this bit; so has the number -1. */
const x32Bit = 0x40000000

/** linux/userfaultfd.h. Without it, one that handles the faults of system calls could hold the kernel up at any of them. */
const UFFD_USER_MODE_ONLY = 1

/** linux/net.h and linux/netlink.h. */
const AF_NETLINK = 16
const openFamilies = [1 /* UNIX */, 2 /* INET */, 10 /* INET6 */]
/** Typing into the terminal that a sandbox might share. */
const terminalRequests = [0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */]

/** One instruction, before jumps know where they go: a label is a distance that is filled in at the end. */
type Step =
  | { readonly kind: 'load'; readonly offset: number }
  | { readonly kind: 'jump'; readonly test: 'equal' | 'atLeast' | 'anyBit'; readonly value: number; readonly then?: string; readonly else?: string }
  | { readonly kind: 'return'; readonly value: number }
  | { readonly kind: 'label'; readonly name: string }

/** struct seccomp_data: nr, arch, instruction pointer, then six arguments of 64 bits, whose low half comes first. */
const offsets = { number: 0, architecture: 4, argument: (index: number) => 16 + 8 * index }
const opcodes = { load: 0x20, equal: 0x15, atLeast: 0x35, anyBit: 0x45, return: 0x06 } as const

/** Whether there is a filter for this architecture (a `process.arch`). */
export function isSeccompArchitecture(architecture: string): architecture is SeccompArchitecture {
  return Object.hasOwn(auditArchitectures, architecture)
}

/**
 * The program as the kernel and `bwrap --seccomp` take it: little-endian instructions of eight bytes.
 * @param paging Allows userfaultfd for faults of the program itself: what a faaslet host restores memories with (pager/).
 */
export function seccompProgram(architecture: SeccompArchitecture, { paging = false }: { readonly paging?: boolean } = {}): Buffer {
  return assemble(steps(architecture, paging))
}

function steps(architecture: SeccompArchitecture, paging: boolean): readonly Step[] {
  const numberOf = (numbers: readonly [number, number]): number => numbers[architecture === 'x64' ? 0 : 1]
  const denied = Object.values(deniedCalls).map(numberOf).filter((number) => number >= 0)
  const load = (offset: number): Step => ({ kind: 'load', offset })
  // Only the low half of an argument is compared: the kernel itself takes no more of these than an int.
  return [
    load(offsets.architecture),
    { kind: 'jump', test: 'equal', value: auditArchitectures[architecture], else: 'kill' },
    load(offsets.number),
    { kind: 'jump', test: 'atLeast', value: x32Bit, then: 'absent' },
    { kind: 'jump', test: 'equal', value: numberOf(inspectedCalls.clone), then: 'clone' },
    { kind: 'jump', test: 'equal', value: numberOf(inspectedCalls.socket), then: 'socket' },
    { kind: 'jump', test: 'equal', value: numberOf(inspectedCalls.ioctl), then: 'ioctl' },
    { kind: 'jump', test: 'equal', value: numberOf(inspectedCalls.personality), then: 'personality' },
    { kind: 'jump', test: 'equal', value: numberOf(inspectedCalls.clone3), then: 'absent' },
    ...(paging ? [{ kind: 'jump', test: 'equal', value: numberOf(deniedCalls.userfaultfd), then: 'userfaultfd' } as const] : []),
    ...denied.map((value): Step => ({ kind: 'jump', test: 'equal', value, then: 'deny' })),
    { kind: 'return', value: allow },
    { kind: 'label', name: 'clone' },
    load(offsets.argument(0)),
    { kind: 'jump', test: 'anyBit', value: cloneNamespaceFlags, then: 'deny', else: 'allow' },
    { kind: 'label', name: 'personality' },
    load(offsets.argument(0)),
    { kind: 'jump', test: 'equal', value: 0, then: 'allow' },
    { kind: 'jump', test: 'equal', value: 0xffffffff, then: 'allow', else: 'deny' },
    ...(paging ? ([{ kind: 'label', name: 'userfaultfd' }, load(offsets.argument(0)), { kind: 'jump', test: 'anyBit', value: UFFD_USER_MODE_ONLY, then: 'allow', else: 'deny' }] as const) : []),
    { kind: 'label', name: 'ioctl' },
    load(offsets.argument(1)),
    ...terminalRequests.map((value): Step => ({ kind: 'jump', test: 'equal', value, then: 'deny' })),
    { kind: 'return', value: allow },
    { kind: 'label', name: 'socket' },
    load(offsets.argument(0)),
    ...openFamilies.map((value): Step => ({ kind: 'jump', test: 'equal', value, then: 'allow' })),
    { kind: 'jump', test: 'equal', value: AF_NETLINK, else: 'family' },
    load(offsets.argument(2)),
    { kind: 'jump', test: 'equal', value: 0, then: 'allow', else: 'family' },
    { kind: 'label', name: 'allow' },
    { kind: 'return', value: allow },
    { kind: 'label', name: 'deny' },
    { kind: 'return', value: errno(EPERM) },
    { kind: 'label', name: 'absent' },
    { kind: 'return', value: errno(ENOSYS) },
    { kind: 'label', name: 'family' },
    { kind: 'return', value: errno(EAFNOSUPPORT) },
    { kind: 'label', name: 'kill' },
    { kind: 'return', value: killProcess },
  ]
}

function assemble(all: readonly Step[]): Buffer {
  const labels = new Map<string, number>()
  const instructions: Exclude<Step, { kind: 'label' }>[] = []
  for (const step of all) {
    if (step.kind === 'label') labels.set(step.name, instructions.length)
    else instructions.push(step)
  }
  const program = Buffer.alloc(instructions.length * 8)
  for (const [index, step] of instructions.entries()) {
    const distance = (label: string | undefined): number => {
      if (label === undefined) return 0
      const target = labels.get(label)
      // A jump is forward and has eight bits. The list would have to triple to meet this.
      if (target === undefined || target <= index || target - index - 1 > 255) throw new RangeError(`seccomp: no jump to ${label}`)
      return target - index - 1
    }
    const at = index * 8
    program.writeUInt16LE(step.kind === 'jump' ? opcodes[step.test] : opcodes[step.kind], at)
    if (step.kind === 'jump') {
      program.writeUInt8(distance(step.then), at + 2)
      program.writeUInt8(distance(step.else), at + 3)
    }
    program.writeUInt32LE((step.kind === 'load' ? step.offset : step.value) >>> 0, at + 4)
  }
  return program
}

/**
 * What a WebAssembly function may import: every name with its signature, and whether calling it may wait.
 *
 * Pure data, so that the platform can judge a module at deploy without loading anything that runs it. docs/wasm-abi.md and
 * skep.h say what each of `skep` does.
 *
 * Sources: WASI preview 1, witx (wasi_snapshot_preview1); AssemblyScript's runtime for `env`.
 */
import type { FunctionType, ValueType } from '../wasm/module.ts'

export const WASI_MODULE = 'wasi_snapshot_preview1'
export const SKEP_MODULE = 'skep'
/** Where AssemblyScript's own runtime imports from. */
export const SCRIPT_MODULE = 'env'

/** Parameters, a colon, results: i is i32, I is i64, d is f64. */
const wasi = {
  args_get: 'ii:i', args_sizes_get: 'ii:i', environ_get: 'ii:i', environ_sizes_get: 'ii:i', clock_res_get: 'ii:i', clock_time_get: 'iIi:i',
  fd_advise: 'iIIi:i', fd_allocate: 'iII:i', fd_close: 'i:i', fd_datasync: 'i:i', fd_fdstat_get: 'ii:i', fd_fdstat_set_flags: 'ii:i',
  fd_fdstat_set_rights: 'iII:i', fd_filestat_get: 'ii:i', fd_filestat_set_size: 'iI:i', fd_filestat_set_times: 'iIIi:i', fd_pread: 'iiiIi:i',
  fd_prestat_get: 'ii:i', fd_prestat_dir_name: 'iii:i', fd_pwrite: 'iiiIi:i', fd_read: 'iiii:i', fd_readdir: 'iiiIi:i', fd_renumber: 'ii:i',
  fd_seek: 'iIii:i', fd_sync: 'i:i', fd_tell: 'ii:i', fd_write: 'iiii:i', path_create_directory: 'iii:i', path_filestat_get: 'iiiii:i',
  path_filestat_set_times: 'iiiiIIi:i', path_link: 'iiiiiii:i', path_open: 'iiiiiIIii:i', path_readlink: 'iiiiii:i', path_remove_directory: 'iii:i',
  path_rename: 'iiiiii:i', path_symlink: 'iiiii:i', path_unlink_file: 'iii:i', poll_oneoff: 'iiii:i', proc_exit: 'i:', proc_raise: 'i:i',
  random_get: 'ii:i', sched_yield: ':i', sock_accept: 'iii:i', sock_recv: 'iiiiii:i', sock_send: 'iiiii:i', sock_shutdown: 'ii:i',
} as const

const skep = {
  input_size: ':I', input_read: 'ii:i', output_write: 'ii:i', status: 'i:i', header: 'iiii:i', request_head: 'ii:i', invoke: 'iiiiii:i',
  fetch: 'iiiii:i', result_status: 'i:i', result_head: 'iii:i', result_read: 'iii:i', result_close: 'i:i', last_error: 'ii:i', log: 'iii:i',
  deadline_ms: ':I', invocation_id: 'ii:i', random: 'ii:i', input_map: 'ii:i', put: 'iiiiii:i', put_open: 'ii:i', put_write: 'iii:i', put_close: 'iii:i',
  get: 'iii:i', result_size: 'i:I', result_map: 'iii:i',
} as const

const script = { abort: 'iiii:', seed: ':d', trace: 'iiddddd:', 'console.log': 'i:', 'Date.now': ':d' } as const

export type WasiName = keyof typeof wasi
export type SkepName = keyof typeof skep
export type ScriptName = keyof typeof script

/** Every import there is: module, name, signature. */
export const supportedImports: Readonly<Record<string, Readonly<Record<string, string>>>> = { [WASI_MODULE]: wasi, [SKEP_MODULE]: skep, [SCRIPT_MODULE]: script }

/** Those that may wait: their caller needs a stack of its own. */
export const waitingImports: ReadonlySet<string> = new Set(['fd_read', 'fd_write', 'poll_oneoff', 'sched_yield', 'input_read', 'output_write', 'result_status', 'result_head', 'result_read', 'input_map', 'put', 'put_write', 'put_close', 'result_size', 'result_map'])

const letters: Readonly<Record<string, ValueType>> = { i: 'i32', I: 'i64', d: 'f64' }

/** The type that an import must have; undefined when there is no such import. */
export function importType(module: string, name: string): FunctionType | undefined {
  const names = Object.hasOwn(supportedImports, module) ? supportedImports[module]! : {}
  if (!Object.hasOwn(names, name)) return undefined
  const [params = '', results = ''] = names[name]!.split(':')
  return { params: [...params].map((letter) => letters[letter]!), results: [...results].map((letter) => letters[letter]!) }
}

/** Numbers of errors in WASI (witx `errno`), those that are used here. */
export const Errno = {
  success: 0, badf: 8, exist: 20, fault: 21, inval: 28, io: 29, isdir: 31, nametoolong: 37, noent: 44, nospc: 51, nosys: 52, notdir: 54, notempty: 55,
  notsock: 57, notsup: 58, overflow: 61, perm: 63, pipe: 64, rofs: 69, spipe: 70, xdev: 75, notcapable: 76,
} as const

/** What the functions of `skep` return instead of a size or a handle. skep.h has the same numbers. */
export const SkepError = {
  /** An argument is not what it must be. */
  invalid: -1,
  /** A pointer or length reaches beyond the memory. */
  fault: -2,
  /** There is no invocation: the instance is being initialised. */
  notNow: -3,
  /** The answer's head has left already. */
  tooLate: -4,
  /** The function may not use the network. */
  noNetwork: -5,
  /** The call or request failed; `last_error` says how. */
  failed: -6,
  /** There is no result of this handle. */
  badHandle: -7,
  /** So many results are open that one must be closed first. */
  tooMany: -8,
  /** Nobody waits for the answer any more, or the request's body broke off. */
  closed: -9,
} as const

/**
 * A `process` of the few members that portable code asks for. It does not say that this is Node: `process.versions` has no `node`.
 */
import { log } from './console.ts'
import { decodeUtf8 } from './host.ts'

/** Text without its line break yet. */
const partial = { stdout: '', stderr: '' }

const writable = (level: 'stdout' | 'stderr') => ({
  isTTY: false,
  write: (chunk: unknown): boolean => {
    const text = partial[level] + (chunk instanceof Uint8Array ? decodeUtf8(chunk) : String(chunk))
    const end = text.lastIndexOf('\n')
    if (end !== -1) log(level, text.slice(0, end))
    partial[level] = text.slice(end + 1)
    return true
  },
})

/** What still waits for its line break, when an answer is given. */
export function flushOutput(): void {
  for (const level of ['stdout', 'stderr'] as const) {
    const text = partial[level]
    if (text === '') continue
    partial[level] = ''
    log(level, text)
  }
}

const none = (): object => webProcess

export const webProcess = {
  env: {} as Record<string, string>,
  argv: ['skep'],
  execArgv: [],
  pid: 1,
  platform: 'linux',
  arch: 'wasm32',
  version: '',
  versions: { quickjs: 'ng' },
  title: 'skep',
  exitCode: undefined as number | undefined,
  stdout: writable('stdout'),
  stderr: writable('stderr'),
  cwd: () => '/app',
  uptime: () => performance.now() / 1000,
  hrtime: Object.assign(
    (since?: readonly [number, number]): [number, number] => {
      const ns = performance.now() * 1e6 - (since === undefined ? 0 : since[0] * 1e9 + since[1])
      return [Math.floor(ns / 1e9), Math.floor(ns % 1e9)]
    },
    { bigint: () => BigInt(Math.floor(performance.now() * 1e6)) },
  ),
  nextTick: (run: (...args: unknown[]) => void, ...args: unknown[]) => queueMicrotask(() => run(...args)),
  emitWarning: (warning: unknown) => log('warn', String(warning)),
  exit: (code = 0) => {
    throw new Error(`process.exit(${code}) was called: an instance ends when its invocation has ended. Return an answer or throw an error.`)
  },
  on: none as () => unknown,
  once: none,
  off: none,
  addListener: none,
  removeListener: none,
  removeAllListeners: none,
  emit: () => false,
  listenerCount: () => 0,
}

/** Exactly the given variables, and the few that programs rely on. */
export function setEnvironment(given: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  Object.assign(webProcess.env, { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/tmp', TMPDIR: '/tmp', NODE_ENV: 'production', ...given })
  return { ...webProcess.env }
}

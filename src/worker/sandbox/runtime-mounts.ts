/**
 * The least of the host that a runtime needs to see: its program, the shared libraries it is linked with, its own library.
 *
 * Everything keeps its host path, because programs know their own places. What a program is linked with is asked of `ldd`,
 * once per process; the answers are kept.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { PlatformError } from '#contract/errors.ts'
import type { SandboxMount } from './sandbox.ts'

const run = promisify(execFile)

export interface PythonRuntime {
  /** Path of the interpreter itself, behind every shim and link. Also its path inside. */
  readonly command: string
  readonly mounts: readonly SandboxMount[]
  /** Such as 3.11.7. */
  readonly version: string
}

const pythonMinimum = { major: 3, minor: 9 }

/** What stands in for site-packages. */
const noPackages = fileURLToPath(new URL('./no-packages', import.meta.url))

/** Windows on a screen and the Yellow Pages: half of all the libraries, and no function has either. A mount costs 0.1 to 0.2 ms. */
const extensionsLeftOut = /\/(_tkinter|nis)\.[^/]*$/

const known = new Map<string, Promise<readonly SandboxMount[]>>()
let knownPython: Promise<PythonRuntime> | undefined

/** What Node needs: itself and its libraries. @param nodePath Absolute path, which is also its path inside. */
export function nodeRuntimeMounts(nodePath: string): Promise<readonly SandboxMount[]> {
  const before = known.get(nodePath)
  if (before !== undefined) return before
  const mounts = libraryMounts([nodePath]).then((libraries) => [same(nodePath), ...libraries])
  known.set(nodePath, mounts)
  mounts.catch(() => known.delete(nodePath))
  return mounts
}

/**
 * What Python needs: the interpreter, its standard library without the packages installed beside it, and the libraries
 * that either is linked with.
 * @throws RUNTIME_MISSING when there is no Python 3.9 or newer.
 */
export function pythonRuntime(): Promise<PythonRuntime> {
  if (knownPython !== undefined) return knownPython
  const found = findPython()
  knownPython = found
  // It may be installed by the next time somebody asks.
  found.catch(() => (knownPython = undefined))
  return found
}

/** What programs of the host may need, for functions that are any executable: programs, libraries, public settings. */
export function systemMounts(): readonly SandboxMount[] {
  const directories = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']
  const settings = ['passwd', 'group', 'ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'ssl', 'pki', 'ca-certificates', 'alternatives', 'localtime', 'mime.types']
  return present([...directories, ...settings.map((name) => `/etc/${name}`)])
}

/**
 * The mounts that `others` do not show anyway. Below a mounted directory nothing more can be mounted: it is read-only, and
 * where there is no file in it to mount over, none can be made.
 */
export function notShownBy(mounts: readonly SandboxMount[], others: readonly SandboxMount[]): readonly SandboxMount[] {
  return mounts.filter(({ from, to }) => !others.some((other) => to === other.to || isShownBelow(from, to, other)))
}

function isShownBelow(from: string, to: string, other: SandboxMount): boolean {
  const inside = other.to === '/' ? '/' : `${other.to}/`
  return to.startsWith(inside) && from === join(other.from, to.slice(inside.length))
}

/** What name resolution and TLS need. A sandbox with the host's network has them without being given them. */
export function hostNetworkMounts(): readonly SandboxMount[] {
  return present(['resolv.conf', 'hosts', 'nsswitch.conf', 'ssl', 'pki', 'ca-certificates'].map((name) => `/etc/${name}`))
}

/** Paths that `ldd` names, for any number of files. Exported for its test. */
export function parseLdd(output: string): readonly string[] {
  const paths = new Set<string>()
  for (const line of output.split('\n')) {
    // "libm.so.6 => /lib/libm.so.6 (0x…)" or "/lib64/ld-linux-x86-64.so.2 (0x…)"; "/file:" heads the list of one file.
    const match = /^\s+(?:\S+ => )?(\/.+) \(0x[0-9a-f]+\)$/.exec(line)
    if (match?.[1] !== undefined) paths.add(match[1])
  }
  return [...paths]
}

/** Where Python says it lives. Runs inside the interpreter, isolated from the environment and from user settings. */
const pythonQuestion = `
import json, os, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps({
  'executable': os.path.realpath(sys.executable),
  'version': list(sys.version_info[:3]),
  'library': [paths['stdlib'], paths['platstdlib']],
  'dynload': [p for p in sys.path if p.endswith('lib-dynload')],
}))`

async function findPython(): Promise<PythonRuntime> {
  const need = `Python ${pythonMinimum.major}.${pythonMinimum.minor} or newer`
  const next = 'run ./skep setup, or install python3 and deploy again'
  let answer: { readonly executable: string; readonly version: readonly number[]; readonly library: readonly string[]; readonly dynload: readonly string[] }
  try {
    // From the root directory, because version managers choose by the working directory.
    const { stdout } = await run('python3', ['-I', '-c', pythonQuestion], { cwd: '/', timeout: 20_000 })
    answer = JSON.parse(stdout)
  } catch (thrown) {
    throw new PlatformError('RUNTIME_MISSING', `python3 was not found or does not run; functions of kind python need ${need}: ${next}`, { cause: thrown })
  }
  const [major = 0, minor = 0] = answer.version
  const version = answer.version.join('.')
  if (major !== pythonMinimum.major || minor < pythonMinimum.minor) {
    throw new PlatformError('RUNTIME_MISSING', `python3 is ${version}; functions of kind python need ${need}: ${next}`)
  }
  const extensions = answer.dynload.flatMap((directory) => sharedObjectsIn(directory)).filter((path) => !extensionsLeftOut.test(path))
  const libraryDirectories = [...new Set(answer.library)]
  const packages = libraryDirectories.map((directory) => join(directory, 'site-packages')).filter(existsSync)
  return {
    command: answer.executable,
    version,
    mounts: [
      same(answer.executable),
      ...libraryDirectories.map(same),
      ...packages.map((directory) => ({ from: noPackages, to: directory })),
      ...(await libraryMounts([answer.executable, ...extensions])),
    ],
  }
}

/** The shared libraries of programs and of other libraries, and the loader's list of where libraries are. */
async function libraryMounts(files: readonly string[]): Promise<readonly SandboxMount[]> {
  let output: string
  try {
    output = (await run('ldd', [...files], { maxBuffer: 16 * 1024 * 1024 })).stdout
  } catch (thrown) {
    // ldd fails when one of the files is linked with nothing, or misses a library; it has still told about the others.
    output = thrown instanceof Error && 'stdout' in thrown ? String(thrown.stdout) : ''
    if (output === '') {
      throw new PlatformError('RUNTIME_MISSING', `ldd could not tell what ${files[0]} is linked with: see that ldd is installed and the file runs`, { cause: thrown })
    }
  }
  return [...parseLdd(output).map(same), ...present(['/etc/ld.so.cache'])]
}

function sharedObjectsIn(directory: string): readonly string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory).filter((name) => name.endsWith('.so')).map((name) => join(directory, name))
}

function present(paths: readonly string[]): readonly SandboxMount[] {
  return paths.filter(existsSync).map(same)
}

function same(path: string): SandboxMount {
  return { from: path, to: path }
}

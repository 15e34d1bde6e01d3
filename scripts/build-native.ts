/**
 * Builds the native addon, if it is not there: one call of the system's C++ compiler (native/README.md says why not node-gyp).
 *
 * Run alone it says what it did; `buildNative` is for whoever needs the addon. The file's name has the hash of the sources, so
 * that most calls find it and do nothing else.
 *
 *   N1. The file appears whole (rename), so that whoever finds it can load it.
 *   N2. Two builders at once compile once: the second waits for the first. The lock of a dead one is taken over.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PlatformError } from '#contract/errors.ts'
import { compilerOptions, nativeFile, nativeSourceFiles, nativeSources } from '#pager/native-file.ts'

export interface Built {
  readonly path: string
  /** 0: it was there. */
  readonly tookMs: number
}

const COMPILE_MS_MAX = 5 * 60_000
const OLD_BUILD_MS = 24 * 3_600_000

/** @throws NATIVE_MISSING, with what to install, when the addon can't be built here. */
export async function buildNative(): Promise<Built> {
  if (process.platform !== 'linux') throw new PlatformError('NATIVE_MISSING', `The native addon is for Linux, and this is ${process.platform}. Snapshots are restored by copying.`)
  const path = nativeFile()
  if (existsSync(path)) return { path, tookMs: 0 }
  mkdirSync(nativeSources.build, { recursive: true })
  const release = await lock(`${path}.lock`)
  try {
    // Another builder was faster.
    if (existsSync(path)) return { path, tookMs: 0 }
    const startedMs = performance.now()
    const partial = `${path}.${process.pid}.tmp`
    try {
      await compileNative(compilers(), partial)
      renameSync(partial, path)
    } finally {
      rmSync(partial, { force: true })
    }
    removeOld(path)
    return { path, tookMs: performance.now() - startedMs }
  } finally {
    release()
  }
}

function compilers(): string[] {
  return [process.env['CXX'] ?? '', 'g++', 'c++', 'clang++'].filter((name) => name !== '')
}

/** Compiles with the first of these that is there. @throws NATIVE_MISSING. */
export async function compileNative(candidates: readonly string[], path: string): Promise<void> {
  const options = ['-isystem', findHeaders(), '-o', path]
  for (const compiler of candidates) {
    const ended = await run(compiler, [...compilerOptions, ...options, ...nativeSourceFiles()])
    if (ended === undefined) continue
    if (ended.code === 0) return
    const first = ended.output.split('\n').filter((line) => /error|undefined|No space|not found/i.test(line)).slice(0, 5)
    throw new PlatformError('NATIVE_MISSING', `${compiler} could not build the native addon (exit code ${ended.code}): ${(first.length > 0 ? first : ended.output.trim().split('\n').slice(-3)).join(' · ')}. It needs C++20: g++ 10 or clang 12, or newer.`)
  }
  throw new PlatformError('NATIVE_MISSING', `There is no C++ compiler in PATH (looked for ${candidates.join(', ')}). Install one: sudo apt-get install -y g++. Until then, snapshots are restored by copying.`)
}

/** @returns Nothing when there is no such program. */
function run(program: string, options: readonly string[]): Promise<{ readonly code: number | null; readonly output: string } | undefined> {
  return new Promise((resolve) => {
    const child = spawn(program, options, { cwd: nativeSources.directory, stdio: ['ignore', 'ignore', 'pipe'], timeout: COMPILE_MS_MAX })
    let output = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => { output = (output + text).slice(0, 1_000_000) })
    child.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ENOENT' || error.code === 'EACCES' ? undefined : { code: -1, output: error.message }))
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** Node's own headers: beside the running Node, as in its packages and archives. */
function findHeaders(): string {
  const directory = join(dirname(process.execPath), '..', 'include', 'node')
  if (existsSync(join(directory, 'node_api.h'))) return directory
  throw new PlatformError('NATIVE_MISSING', `The headers of Node ${process.versions.node} are not in ${directory}. Run with the Node of this checkout (npm ci, then ./skep), or install them.`)
}

async function lock(path: string): Promise<() => void> {
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' })
      return () => rmSync(path, { force: true })
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
    }
    const owner = ownerOf(path)
    if (owner === 'gone') rmSync(path, { force: true })
    else await sleep(50)
  }
}

function ownerOf(path: string): 'alive' | 'gone' {
  try {
    const pid = Number(readFileSync(path, 'utf8'))
    // Between the two system calls of its writer there is no number in it yet.
    if (pid === 0) return Date.now() - statSync(path).mtimeMs > 5000 ? 'gone' : 'alive'
    process.kill(pid, 0)
    return Date.now() - statSync(path).mtimeMs > 2 * COMPILE_MS_MAX ? 'gone' : 'alive'
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM' ? 'alive' : 'gone'
  }
}

/** Builds of earlier sources. Whoever runs one of them has it mapped, and loses nothing. */
function removeOld(current: string): void {
  for (const name of readdirSync(nativeSources.build)) {
    const path = join(nativeSources.build, name)
    if (name !== basename(current) && name.startsWith('skep-') && Date.now() - statSync(path).mtimeMs > OLD_BUILD_MS) rmSync(path, { force: true })
  }
}

if (import.meta.main) {
  try {
    const { path, tookMs } = await buildNative()
    console.log(tookMs === 0 ? `${path} is there` : `built ${path} in ${(tookMs / 1000).toFixed(1)} s`)
  } catch (thrown) {
    console.error(PlatformError.from(thrown).message)
    process.exitCode = 1
  }
}

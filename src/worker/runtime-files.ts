/**
 * The runtimes' own files in the form that starts fastest: JavaScript bundled and compiled, Python compiled; and beside
 * Node's the shared libraries that Node is linked with, so that a sandbox gets all of it with one mount.
 *
 * Made once per version of the files, beside the data, by processes of their own: neither the bundler's memory nor the
 * 100 ms it takes are the platform's. Where that fails (no space, read-only), the files are used as they are, which only
 * makes each start some 30 ms slower.
 *
 * The libraries are copies, made when the platform starts and the host's have changed: a sandbox sees an update of the host's after the
 * platform's next start.
 *
 * Invariants:
 *   F1. A directory under its digest is complete: it was renamed there after everything in it was written.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { access, chmod, constants, copyFile, cp, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { nativeFile } from '#pager/native-file.ts'

export const sourceRoot = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

/** The native addon in a prepared directory, where it has been built. */
export const ADDON_FILE = 'skep.node'

/** Below the directory of {@link nodeRuntimeFiles}: a library at /lib/x is in `host/lib/x`. */
export const LIBRARIES_DIRECTORY = 'host'

/**
 * Host directory with main.cjs and bridge.cjs, what they run, the SDK, the native addon where it has been built, and copies of the libraries.
 * @param libraries Files of the host, by absolute path.
 * @throws when it cannot be made.
 */
export async function nodeRuntimeFiles(directory: string, libraries: readonly string[]): Promise<string> {
  const states = await Promise.all(libraries.map(async (path) => [path, await stat(path)] as const))
  const addon = builtAddon()
  const salt = [process.version, process.arch, addon ?? 'no addon', ...states.map(([path, { size, mtimeMs }]) => `${path} ${size} ${mtimeMs}`)].join('\n')
  return prepared(
    directory,
    ['runtimes/node', 'src/contract'],
    async (temporary) => {
      await run(process.execPath, [join(sourceRoot, 'runtimes/node/bundle.ts'), temporary])
      if (addon !== undefined) await copyFile(addon, join(temporary, ADDON_FILE))
      for (const path of libraries) {
        const copy = join(temporary, LIBRARIES_DIRECTORY, path)
        await mkdir(dirname(copy), { recursive: true })
        await copyFile(path, copy)
        await chmod(copy, 0o755)
      }
    },
    salt,
  )
}

/** Host directory with main.js, the JavaScript engine, and the native addon where it has been built. @throws when it cannot be made. */
export async function faasletHostFiles(directory: string): Promise<string> {
  // Compiled once per checkout and version. Without a compiler, the host does without it.
  if (!existsSync(nativeFile())) await run(process.execPath, [join(sourceRoot, 'scripts/build-native.ts')]).catch(() => {})
  // The addon's name has its content, and whether it is there at all matters.
  const addon = builtAddon() ?? 'no addon'
  const sources = ['runtimes/faaslet', 'runtimes/node', 'src/contract', 'src/pager']
  return prepared(directory, sources, (temporary) => run(process.execPath, [join(sourceRoot, 'runtimes/faaslet/bundle.ts'), temporary]).then(() => {}), `${process.version} ${process.arch} ${addon}`)
}

/** The native addon of this checkout; undefined until it has been built (scripts/build-native.ts). */
function builtAddon(): string | undefined {
  const file = nativeFile()
  return existsSync(file) ? file : undefined
}

/** Whether programs may be run from a file's file system: the kernel says so of executable files (mount option noexec). */
export async function mayRun(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

/** Host directory with main.py and compiled modules. @param python Host path of the interpreter that will run them. */
export function pythonRuntimeFiles(directory: string, python: string): Promise<string> {
  return prepared(directory, ['runtimes/python'], async (temporary) => {
    await cp(join(sourceRoot, 'runtimes/python'), temporary, { recursive: true, filter: (path) => !/\.ts$|__pycache__/.test(path) })
    await run(python, ['-I', '-S', join(temporary, 'main.py'), '--compile'])
  }, python)
}

async function prepared(directory: string, sources: readonly string[], make: (temporary: string) => Promise<void>, salt: string): Promise<string> {
  const digest = createHash('sha256').update(salt)
  for (const source of sources) await addFiles(digest, join(sourceRoot, source))
  const target = join(directory, `${sources[0]!.slice('runtimes/'.length)}-${digest.digest('hex').slice(0, 16)}`)
  if (existsSync(target)) return target
  const temporary = `${target}.${process.pid}.new`
  try {
    await mkdir(temporary, { recursive: true })
    await make(temporary)
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    // Another platform on the same directory was faster.
    if (!existsSync(target)) throw error
  }
  return target
}

async function addFiles(digest: ReturnType<typeof createHash>, directory: string): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name === '__pycache__') continue
    const path = join(directory, entry.name)
    if (entry.isDirectory()) await addFiles(digest, path)
    else if (!entry.name.includes('.test.')) digest.update(entry.name).update(await readFile(path))
  }
}

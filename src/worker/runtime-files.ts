/**
 * The runtimes' own files in the form that starts fastest: JavaScript bundled without types, Python compiled.
 *
 * Made once per version of the files, beside the data, by processes of their own: neither the bundler's memory nor the
 * 100 ms it takes are the platform's. Where that fails (no space, read-only), the files are used as they are, which only
 * makes each start some 30 ms slower.
 *
 * Invariants:
 *   F1. A directory under its digest is complete: it was renamed there after everything in it was written.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const sourceRoot = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

/** Host directory with main.js and bridge.js. @throws when it cannot be made. */
export function nodeRuntimeFiles(directory: string): Promise<string> {
  return prepared(directory, ['runtimes/node', 'src/contract'], async (temporary) => {
    await run(process.execPath, [join(sourceRoot, 'runtimes/node/bundle.ts'), temporary])
  })
}

/** Host directory with main.py and compiled modules. @param python Host path of the interpreter that will run them. */
export function pythonRuntimeFiles(directory: string, python: string): Promise<string> {
  return prepared(directory, ['runtimes/python'], async (temporary) => {
    await cp(join(sourceRoot, 'runtimes/python'), temporary, { recursive: true, filter: (path) => !/\.ts$|__pycache__/.test(path) })
    await run(python, ['-I', '-S', join(temporary, 'main.py'), '--compile'])
  }, python)
}

async function prepared(directory: string, sources: readonly string[], make: (temporary: string) => Promise<void>, salt = process.version): Promise<string> {
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

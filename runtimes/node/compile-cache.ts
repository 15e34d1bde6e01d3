/**
 * Makes the compile cache of a function's code, at deploy, inside a sandbox: loads it once and writes what V8 compiled.
 *
 * The cache is keyed by path, so it must be made with the code at the path where instances will see it.
 */
import { enableCompileCache, flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Ends the process: 0 when the cache was written, 1 when the code could not be loaded. Code that needs its variables may fail. */
export async function makeCompileCache(root: string, entry: string, directory: string): Promise<never> {
  enableCompileCache(directory)
  process.chdir(root)
  try {
    await import(pathToFileURL(join(root, entry)).href)
  } catch (error) {
    process.stderr.write(`${String(error)}\n`)
    process.exit(1)
  }
  flushCompileCache()
  process.exit(0)
}

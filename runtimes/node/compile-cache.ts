/**
 * Makes the compile cache of a function's code: loads it once, in a sandbox of its own, and sends what V8 compiled.
 *
 * The cache is keyed by path, so it must be made with the code at the path where instances will see it. No directory of
 * the host can be written from inside: the files go out as one message, whose form is contract/compile-cache.ts.
 *
 * Code that throws, or waits, is compiled all the same, as far as it came: it may need variables or a network that it has
 * not here.
 */
import { readdirSync, readFileSync, readSync, writeSync } from 'node:fs'
import { enableCompileCache, flushCompileCache } from 'node:module'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { encodeCompileCache } from '../../src/contract/compile-cache.ts'

/** How long the code may wait for something at its top level, ms. What it computes is not bounded here. */
const WAIT_MS = 1_000

/**
 * Ends the process: 0 when the message was sent, also one without files.
 * @param directory Where Node writes; it need not exist.
 */
export async function makeCompileCache(root: string, entry: string, directory: string, fd = 3): Promise<never> {
  // The code comes into its place after this process has started; the descriptor blocks until then.
  readSync(fd, Buffer.alloc(1))
  process.chdir(root)
  enableCompileCache(directory)
  try {
    await Promise.race([import(pathToFileURL(join(root, entry)).href), new Promise((resolve) => setTimeout(resolve, WAIT_MS))])
  } catch (error) {
    process.stderr.write(`${String(error)}\n`)
  }
  flushCompileCache()
  const message = encodeCompileCache(filesBelow(directory))
  for (let sent = 0; sent < message.length; ) sent += writeSync(fd, message, sent)
  process.exit(0)
}

function filesBelow(directory: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    files.set(relative(directory, path), readFileSync(path))
  }
  return files
}

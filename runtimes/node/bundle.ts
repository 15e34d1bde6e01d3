/**
 * Makes one JavaScript file of each entry of the runtime, and V8's compiled form of it, for the platform to mount in place of
 * the TypeScript.
 *
 * Why: stripping types costs 29 ms per start, loading the ES modules 6 ms, and compiling 2 ms. Node's compile cache would save
 * the first and the last, but has one directory per process, which the function's own code needs (load-handler.ts). Made once
 * per version, kept in the data directory. This file runs in the platform, never inside the sandbox.
 */
import { copyFile, cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { makeCodeCache } from './code-cache.ts'

export const runtimeEntries = ['main', 'bridge'] as const

/**
 * Writes for each entry `main.cjs`, which Node is started with, `main.js` and `main.cache` (starter.cjs), and the SDK, into
 * the directory, which must exist. Takes some 400 ms. @returns why a cache could not be made: starts then take longer, and nothing is lost.
 */
export async function bundleRuntime(directory: string): Promise<readonly unknown[]> {
  await cp(join(import.meta.dirname, 'sdk'), join(directory, 'sdk'), { recursive: true })
  const failed: unknown[] = []
  for (const name of runtimeEntries) {
    const bundle = await rolldown({ input: join(import.meta.dirname, `${name}.ts`), platform: 'node', external: /^node:/, logLevel: 'silent' })
    const { output } = await bundle.generate({ format: 'cjs', codeSplitting: false, minify: false })
    await bundle.close()
    await writeFile(join(directory, `${name}.js`), `(function (require, __filename) {${ascii(output[0].code)}\n})`)
    await copyFile(join(import.meta.dirname, 'starter.cjs'), join(directory, `${name}.cjs`))
    await makeCodeCache(directory, name).catch((error: unknown) => failed.push(error))
  }
  return failed
}

/** The same program in ASCII: other characters stand in texts and comments only, where their escapes mean the same. */
function ascii(code: string): string {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

// `node bundle.ts DIRECTORY`: a process of its own, so that the bundler's memory is not the platform's.
if (import.meta.main) for (const error of await bundleRuntime(process.argv[2]!)) console.error(error)

/**
 * Makes one JavaScript file of each entry of the runtime, for the platform to mount in place of the TypeScript.
 *
 * Why: stripping types costs 29 ms per start, and Node's compile cache, which would save it, has one directory per process,
 * which the function's own code needs (load-handler.ts). One plain file has neither problem. Made once per version, kept in the data
 * directory. This file runs in the platform, never inside the sandbox.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

export const runtimeEntries = ['main', 'bridge'] as const

/** Writes `main.js`, `bridge.js`, their chunks and a package.json into the directory, which must exist or be creatable. Takes some 50 ms. */
export async function bundleRuntime(directory: string): Promise<void> {
  const input = Object.fromEntries(runtimeEntries.map((name) => [name, join(import.meta.dirname, `${name}.ts`)]))
  const bundle = await rolldown({ input, platform: 'node', external: /^node:/, logLevel: 'silent' })
  await bundle.write({ dir: directory, format: 'esm', entryFileNames: '[name].js', chunkFileNames: 'chunk-[name]-[hash].js', minify: false })
  await bundle.close()
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }\n')
}

// `node bundle.ts DIRECTORY`: a process of its own, so that the bundler's memory is not the platform's.
if (import.meta.main) await bundleRuntime(process.argv[2]!)

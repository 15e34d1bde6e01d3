/**
 * Makes what a faaslet host is started with: its program as one JavaScript file, the JavaScript engine with the guest's prelude
 * compiled, and the native addon where it has been built. Made once per version, kept in the data directory.
 *
 * This file runs in the platform, never inside the sandbox.
 */
import { copyFile, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import { nativeFile } from '../../src/pager/native-file.ts'
import { quickJsBytes } from './js/engine.ts'
import { makePrelude } from './js/make-prelude.ts'
import { encodePrelude } from './js/prelude-file.ts'

/** Writes main.js, quickjs.wasm, prelude.bin and, if there is one, skep.node into the directory, which must exist. */
export async function bundleFaasletHost(directory: string): Promise<void> {
  const bundle = await rolldown({ input: join(import.meta.dirname, 'main.ts'), platform: 'node', external: [/^node:/, 'rolldown'], logLevel: 'silent' })
  await bundle.write({ dir: directory, format: 'esm', entryFileNames: 'main.js', codeSplitting: false, minify: false })
  await bundle.close()
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }\n')
  await writeFile(join(directory, 'quickjs.wasm'), quickJsBytes())
  await writeFile(join(directory, 'prelude.bin'), encodePrelude(await makePrelude()))
  if (existsSync(nativeFile())) await copyFile(nativeFile(), join(directory, 'skep.node'))
}

// `node bundle.ts DIRECTORY`: a process of its own, so that the bundler's memory is not the platform's.
if (import.meta.main) await bundleFaasletHost(process.argv[2]!)

/**
 * Makes the prelude: bundles prelude/ into one script, and has QuickJS compile it. Runs in the platform, once per version.
 *
 * Files of runtimes/node that mean the same in both runtimes (results of handlers, the SDK's runtime, Headers) are bundled as they are;
 * what they import of Node's own is replaced by files of prelude/, here and nowhere else.
 */
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { rolldown, type Plugin } from 'rolldown'
import { Engine, EvalFlag, quickJsBytes } from './engine.ts'
import { engineImports } from './imports.ts'
import type { Prelude } from './prelude-file.ts'
import type { Faaslet, Running } from '../guest.ts'

const here = import.meta.dirname
const nodeDirectory = join(here, '../../node')
const inside = (name: string): string => join(here, 'prelude', name)

/** Imports of files in runtimes/node, and what they get instead. */
const replacements: Readonly<Record<string, string>> = {
  'node:util': inside('inspect.ts'),
  'node:async_hooks': inside('async-hooks.ts'),
  [join(nodeDirectory, 'invocation.ts')]: inside('invocation.ts'),
  [join(nodeDirectory, 'calls.ts')]: inside('calls.ts'),
  [join(nodeDirectory, 'memory.ts')]: inside('memory.ts'),
  [join(nodeDirectory, 'web/light-request.ts')]: inside('request.ts'),
  [join(nodeDirectory, 'web/light-response.ts')]: inside('response.ts'),
  [join(nodeDirectory, 'web/real.ts')]: inside('real.ts'),
}

const replacing: Plugin = {
  name: 'guest',
  resolveId(id, importer) {
    if (importer === undefined || !importer.startsWith(nodeDirectory)) return null
    return replacements[id] ?? replacements[join(importer, '..', id)] ?? null
  },
}

/** The guest's side as the text of one script. */
export async function bundlePrelude(): Promise<string> {
  const bundle = await rolldown({
    input: inside('main.ts'),
    platform: 'neutral',
    plugins: [replacing],
    treeshake: { moduleSideEffects: false },
    transform: { inject: { Buffer: [inside('bytes.ts'), 'Buffer'] } },
    onLog: (level, log) => {
      if (level === 'warn' && log.code !== 'CIRCULAR_DEPENDENCY') throw new Error(`The prelude cannot be bundled: ${log.message}`)
    },
  })
  const { output } = await bundle.generate({ format: 'iife', name: 'prelude', minify: false })
  await bundle.close()
  return `(function (skepHost) {\n${output[0].code}\nreturn prelude.enter\n})`
}

/** Takes some 200 ms. */
export async function makePrelude(): Promise<Prelude> {
  const script = await bundlePrelude()
  const sdk = await readFile(join(nodeDirectory, 'sdk/index.js'), 'utf8')
  const running: Running = { faaslet: undefined }
  const instance = await WebAssembly.instantiate(await WebAssembly.compile(quickJsBytes() as BufferSource), engineImports(running))
  const memory = instance.exports['memory'] as WebAssembly.Memory
  running.faaslet = { memory, exports: instance.exports, invocation: undefined, state: undefined } satisfies Faaslet
  const engine = Engine.boot(instance.exports, memory)
  return { main: engine.compile(script, basename('prelude.js'), EvalFlag.script), sdk: engine.compile(sdk, 'skep', EvalFlag.module) }
}

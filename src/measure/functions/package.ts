/**
 * A function as it is deployed: its files, for one platform, and a filler that makes the package as large as asked for.
 *
 * No bundler: a function is its own file, busy.ts, work.ts and an adapter, with the types taken out, and an entry of three lines that puts them together. So what is
 * deployed is what stands in this folder.
 *
 *   K1. The filler is random, so that no archive and no file system makes it smaller; with the other files it is `imageBytes`, or nothing when they are more.
 */
import { randomFillSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'

export const functionNames = ['busy-spin', 'producer-consumer', 'trace-work'] as const
export type FunctionName = (typeof functionNames)[number]
export type Language = 'node' | 'python'
export type Target = 'skep' | 'workerd' | 'http' | 'lambda' | 'openwhisk'

export interface PackageOptions {
  readonly name: FunctionName
  readonly language: Language
  readonly target: Target
  readonly imageBytes: number
}

export interface FunctionPackage {
  readonly files: ReadonlyMap<string, string>
  /** The file to load. */
  readonly entry: string
  /** Of a file FILLER; 0 for none. */
  readonly fillerBytes: number
}

export const FILLER = 'filler.file'
/** Those in Python have the same names with `_` and .py. */
const WORKS: Readonly<Record<FunctionName, string>> = { 'busy-spin': 'busy-spin.ts', 'producer-consumer': 'producer-consumer.ts', 'trace-work': 'trace-work.ts' }
const ADAPTERS: Readonly<Record<Target, string>> = { skep: 'on-skep.ts', workerd: 'on-workerd.ts', http: 'on-http.ts', lambda: 'on-lambda.ts', openwhisk: 'on-openwhisk.ts' }
const CHUNK_BYTES = 1024 * 1024

/** Python is there for skep, lambda and openwhisk. */
export function functionPackage({ name, language, target, imageBytes }: PackageOptions): FunctionPackage {
  const files = language === 'node' ? nodeFiles(name, target) : pythonFiles(name, target)
  const used = [...files.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const [entry] = files.keys()
  return { files, entry: entry!, fillerBytes: Math.max(0, Math.round(imageBytes) - used) }
}

/** K1. */
export function* fillerChunks(bytes: number): Generator<Buffer, void> {
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) yield randomFillSync(Buffer.allocUnsafe(Math.min(left, CHUNK_BYTES)))
}

function nodeFiles(name: FunctionName, target: Target): Map<string, string> {
  const parts = ['work.ts', 'busy.ts', WORKS[name], ADAPTERS[target]].map((file): [string, string] => [file.replace(/ts$/, 'mjs'), javaScript(file)])
  const imports = `import { serve } from './on-${target}.mjs'\nimport { work } from './${name}.mjs'\n`
  const entries: Record<Target, readonly [string, string][]> = {
    skep: [['main.mjs', `${imports}export default serve(work)\n`]],
    workerd: [['main.mjs', `${imports}export default serve(work)\n`]],
    http: [['main.mjs', `${imports}serve(work)\n`]],
    lambda: [['index.mjs', `${imports}export const handler = serve(work)\n`]],
    // Its proxy loads actions with require().
    openwhisk: [
      ['index.js', `const run = Promise.all([import('./on-openwhisk.mjs'), import('./${name}.mjs')]).then(([{ serve }, { work }]) => serve(work))\nexports.main = async (parameters) => (await run)(parameters)\n`],
      ['package.json', '{"main":"index.js"}\n'],
    ],
  }
  return new Map([...entries[target], ...parts])
}

function pythonFiles(name: FunctionName, target: Target): Map<string, string> {
  const module = name.replaceAll('-', '_')
  const [entry, handler] = target === 'lambda' ? ['main.py', 'lambda_handler'] : target === 'openwhisk' ? ['__main__.py', 'main'] : ['main.py', 'main']
  const parts = ['work.ts', 'busy.ts', WORKS[name], ADAPTERS[target]].map((file) => file.replaceAll('-', '_').replace(/ts$/, 'py')).map((file): [string, string] => [file, source(file)])
  return new Map([[entry, `from on_${target} import serve\nfrom ${module} import work\n\n${handler} = serve(work)\n`], ...parts])
}

function javaScript(file: string): string {
  return stripTypeScriptTypes(source(file)).replaceAll(/from '\.\/([\w-]+)\.ts'/g, 'from \'./$1.mjs\'')
}

function source(file: string): string {
  return readFileSync(join(import.meta.dirname, file), 'utf8')
}

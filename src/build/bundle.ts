/**
 * Makes one JavaScript file of a Node function: its TypeScript, its modules and the npm packages it imports.
 *
 * Bundling at deploy is the cheapest way to a short cold start: one file to read and compile instead of hundreds
 * (a function with a web framework and a schema library imports in 11 ms bundled, 62 ms unbundled).
 *
 * - Node's own modules and `skep` stay imports. A package that looks for files beside itself, or is a native addon, stays
 *   outside too and is shipped with its dependencies (packages.ts).
 * - The bundle lies where its entry lay, so that files beside the entry are found from it (handler-shim.ts).
 * - What the user wrote wrong is CODE_INVALID with file, line, column and the lines around. When only somebody else's
 *   package resists bundling, `refused` says so: the directory then goes as it is.
 * - Nothing in it tells where it was built (B1 of build-function.ts): no comments with paths, no names made of the root's or a
 *   parent's, and a source map that knows a module outside of the root only by its package or its name.
 */
import { readFile, realpath } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { basename, dirname, join, posix, relative, resolve } from 'node:path'
import type { OutputChunk, Plugin, RolldownLog, RolldownOutput } from 'rolldown'
import { PlatformError } from '#contract/errors.ts'
import { BUNDLE_DIRECTORY, commonJsNames, isCommonJs, missingExport, rewritePosition } from './handler-shim.ts'
import { copyPackages, packageOf } from './packages.ts'
import type { SourceFiles } from './source-files.ts'

export interface BundleOptions {
  /** Directory that the code's paths are relative to. */
  readonly root: string
  /** Relative to the root. */
  readonly entry: string
  /** What it is to run on: kind js has web-standard globals and no packages beside the bundle. */
  readonly kind: 'node' | 'js'
  /** The handler's name, when the user gave one. */
  readonly handler?: string | undefined
}

export interface Bundle {
  /** The bundle, its source map, and packages that stay outside. */
  readonly files: SourceFiles
  readonly entry: string
  readonly warnings: readonly string[]
  /** Absolute paths of the user's files that went in: what to watch. */
  readonly sources: readonly string[]
}

export interface BundleRefusal {
  /** Why it cannot be bundled: a package at fault, in a sentence. */
  readonly refused: string
}

/** Files beside it that code asks for: they would not be found from inside a bundle. */
const looksBesideItself = /\b__dirname\b|\b__filename\b|\bimport\.meta\.(?:url|dirname|filename|resolve)\b|\.node['"`]|\brequire\.resolve\b/
const HANDLER_NAMES = ['main', 'handler', 'fetch']

/** @throws CODE_INVALID. */
export async function bundle(options: BundleOptions): Promise<Bundle | BundleRefusal> {
  const first = await attempt(options, new Set())
  if (options.kind === 'js') return onlyItself(first, options.entry)
  if ('refused' in first || first.outside.size === 0) return 'refused' in first ? first : first.bundle
  const second = await attempt(options, first.outside)
  if ('refused' in second) return second
  const warnings = [...second.bundle.warnings]
  const files = await copyPackages(second.outside, options.root, (name) => warnings.push(`package ${name} is not installed: shipped without it.`))
  warnings.push(`shipped unbundled, because they look for files beside themselves: ${[...second.outside].sort().join(', ')}`)
  return { ...second.bundle, files: new Map([...second.bundle.files, ...files]), warnings }
}

/** Kind js: what does not fit into one file, or asks for what is not there, is refused at deploy. @throws CODE_INVALID. */
async function onlyItself(attempted: Attempt | BundleRefusal, entry: string): Promise<Bundle> {
  if ('refused' in attempted) throw new PlatformError('CODE_INVALID', `"${entry}" cannot run as kind js: ${attempted.refused}. Deploy it with kind node.`)
  const { checkBundle } = await import('../../runtimes/faaslet/js/check-bundle.ts')
  const { bundle } = attempted
  checkBundle(bundle.files.get(bundle.entry)!.bytes.toString(), entry)
  return bundle
}

interface Attempt {
  readonly bundle: Bundle
  /** Packages that must stay outside of the bundle. */
  readonly outside: Set<string>
}

async function attempt(options: BundleOptions, outside: ReadonlySet<string>): Promise<Attempt | BundleRefusal> {
  const { rolldown } = await import('rolldown')
  // As the bundler names what it finds: a root behind a link would lie outside of itself.
  const root = await realpath(options.root)
  const found = new Set(outside)
  const logs: RolldownLog[] = []
  const entryDirectory = posix.dirname(options.entry)
  const stem = posix.basename(options.entry).replace(/\.[^.]+$/, '')
  const entryText = await readFile(join(root, options.entry), 'utf8')
  const names = [...new Set([...(options.handler === undefined ? [] : [options.handler]), ...HANDLER_NAMES])]
  const commonNames = isCommonJs(entryText) ? commonJsNames(entryText, names) : undefined
  const isGuest = options.kind === 'js'
  const target = isGuest
    ? (await import('../../runtimes/faaslet/js/check-bundle.ts')).guestBundleOptions
    : {
        platform: 'node' as const,
        external: (id: string): boolean => isBuiltin(id) || id === 'skep' || id.startsWith('skep/') || id.endsWith('.node') || outside.has(packageOfImport(id)),
      }
  const plugins = [shimPlugin(join(root, options.entry), commonNames ?? []), namelessPlugin(root)]
  try {
    const build = await rolldown({
      input: { [stem]: commonNames === undefined ? join(root, options.entry) : SHIM_ID },
      cwd: root,
      ...target,
      onLog: (_level, log) => logs.push(log),
      experimental: { attachDebugInfo: 'none' },
      plugins: isGuest ? plugins : [...plugins, positionPlugin(root, entryDirectory, join(root, options.entry), names), besidePlugin(found)],
    })
    try {
      const output = await build.generate({
        format: 'esm',
        dir: join(root, entryDirectory),
        entryFileNames: '[name].mjs',
        codeSplitting: false,
        comments: { legal: false, annotation: true, jsdoc: false },
        sourcemap: true,
        sourcemapExcludeSources: true,
        sourcemapPathTransform: (source) => sourceName(root, entryDirectory, resolve(root, entryDirectory, source)),
        // Only when a module speaks of it: an unused line would be one more line to compile in every function.
        banner: (chunk) => (chunk.moduleIds.some((id) => positioned.has(id)) ? `const ${BUNDLE_DIRECTORY} = import.meta.dirname;` : ''),
      })
      checkLogs(logs, root)
      return { bundle: bundleOf(output, entryDirectory, root), outside: found }
    } finally {
      await build.close()
    }
  } catch (thrown) {
    return refusalOf(thrown, root)
  }
}

const SHIM_ID = '\0skep-commonjs-entry'

/** The entry of a CommonJS function: its default is module.exports, and the handler's names are exports of their own. */
function shimPlugin(entry: string, names: readonly string[]): Plugin {
  return {
    name: 'commonjs-entry',
    resolveId: { filter: { id: /^\0skep-commonjs-entry$/ }, handler: (id) => id },
    load: {
      filter: { id: /^\0skep-commonjs-entry$/ },
      handler: () => [`import code from ${JSON.stringify(entry)}`, 'export default code', ...names.map((name) => `export const ${name} = code.${name}`)].join('\n'),
    },
  }
}

/**
 * The bundler names a variable of `index.ts` by its directory. Where that is the root or above it, another checkout has another name: such a module
 * is `index$.ts` to the bundler.
 */
function namelessPlugin(root: string): Plugin {
  const renamed = new Set<string>()
  return {
    name: 'nameless',
    async resolveId(source, importer, extra) {
      // A package's modules do not import the function's.
      if (importer !== undefined && packageOf(importer) !== undefined) return null
      const found = await this.resolve(source, importer, { ...extra, skipSelf: true })
      if (found === null || found.external !== false || !/\/index\.(?:[cm]?[jt]sx?|json)$/.test(found.id) || !`${root}/`.startsWith(`${dirname(found.id)}/`)) return null
      const id = found.id.replace(/\.\w+$/, '$$$&')
      renamed.add(id)
      return { ...found, id }
    },
    load: { filter: { id: /\/index\$\.\w+$/ }, handler: (id) => (renamed.has(id) ? readFile(plain(id), 'utf8') : null) },
  }
}

/** What the bundler says, with the names that files have. */
function plain(said: string): string {
  return said.replaceAll(/\bindex\$(?=\.\w)/g, 'index')
}

/** What the source map, and so a stack trace, calls a module: where it lies beside the bundle, or in which package. */
function sourceName(root: string, entryDirectory: string, id: string): string {
  const file = plain(id)
  const path = relative(root, file)
  if (!path.startsWith('../')) return posix.relative(entryDirectory, path)
  const inPackage = file.lastIndexOf('/node_modules/')
  return posix.relative(entryDirectory, inPackage >= 0 ? file.slice(inPackage + 1) : `outside/${basename(file)}`)
}

/** Modules whose text names the bundle's directory. Ids are absolute paths, so builds do not confuse each other. */
const positioned = new Set<string>()

function positionPlugin(root: string, entryDirectory: string, entry: string, names: readonly string[]): Plugin {
  return {
    name: 'position',
    transform: {
      filter: { id: { include: /\.[cm]?[jt]sx?$/, exclude: /\/node_modules\// } },
      handler(code, id) {
        const path = relative(root, plain(id))
        let text = plain(id) === entry ? code + missingExport(code, names) : code
        if (!path.startsWith('..')) text = rewritePosition(text, path, entryDirectory)
        if (text.includes(BUNDLE_DIRECTORY)) positioned.add(id)
        else positioned.delete(id)
        // No map: lines stay where they are, and a column of a rewritten line is close enough.
        return text === code ? null : { code: text }
      },
    },
  }
}

function besidePlugin(found: Set<string>): Plugin {
  return {
    name: 'beside',
    transform: {
      filter: { id: /\/node_modules\/.*\.[cm]?js$/, code: looksBesideItself },
      handler(_code, id) {
        const name = packageOf(id)
        if (name !== undefined) found.add(name)
        return null
      },
    },
  }
}

function bundleOf(output: RolldownOutput, entryDirectory: string, root: string): Bundle {
  const files: SourceFiles = new Map()
  let main: OutputChunk | undefined
  for (const item of output.output) {
    const path = posix.join(entryDirectory, item.fileName)
    files.set(path, { bytes: Buffer.from(item.type === 'chunk' ? item.code : item.source), executable: false })
    if (item.type === 'chunk' && item.isEntry) main = item
  }
  const sources = (main?.moduleIds ?? []).filter((id) => id.startsWith('/') && packageOf(id) === undefined).map(plain)
  return { files, entry: posix.join(entryDirectory, main?.fileName ?? ''), warnings: [], sources: sources.length === 0 ? [root] : sources }
}

/** A package that is not there is only a warning to the bundler, which leaves the import; the function would fail at its start. */
function checkLogs(logs: readonly RolldownLog[], root: string): void {
  for (const log of logs) {
    const importer = log.loc?.file ?? ''
    if (log.code !== 'UNRESOLVED_IMPORT' || importer === '' || packageOf(importer) !== undefined) continue
    // An import that is tried (`try { require(…) }`, `import(…).catch`) may be missing on purpose.
    if (/\b(?:import|require)\s*\(/.test(log.frame ?? log.message)) continue
    throw codeInvalid(log, root, `Cannot find package ${JSON.stringify(log.exporter ?? log.id)}. Install it (npm install ${packageOfImport(String(log.exporter ?? log.id))}) and deploy again`)
  }
}

function refusalOf(thrown: unknown, root: string): BundleRefusal {
  if (thrown instanceof PlatformError) throw thrown
  const errors = (thrown as { errors?: RolldownLog[] }).errors ?? []
  const own = errors.find((error) => packageOf(error.loc?.file ?? error.id ?? '') === undefined && error.loc !== undefined)
  if (own !== undefined) throw codeInvalid(own, root, firstLine(own.message))
  const other = errors.map((error) => packageOf(error.loc?.file ?? error.id ?? '')).find((name) => name !== undefined)
  if (other === undefined) throw new PlatformError('CODE_INVALID', `The code cannot be bundled: ${firstLine((thrown as Error).message)}.`, { cause: thrown })
  return { refused: `package ${other} cannot be bundled (${firstLine(errors[0]!.message)})` }
}

function codeInvalid(log: RolldownLog, root: string, what: string): PlatformError {
  const file = relative(root, plain(log.loc?.file ?? log.id ?? ''))
  const line = log.loc?.line ?? 0
  const column = (log.loc?.column ?? 0) + 1
  const frame = plain(log.frame ?? '')
  return new PlatformError('CODE_INVALID', `${file}:${line}:${column}: ${plain(what)}.${frame === '' ? '' : `\n${frame}`}`, { details: { file, line, column, frame } })
}

function firstLine(message: string): string {
  const lines = message.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('Build failed'))
  return (lines[0] ?? message).replace(/^\[\w+\] /, '').replace(/\.$/, '')
}

function packageOfImport(id: string): string {
  const parts = id.split('/')
  return parts[0]!.startsWith('@') ? `${parts[0]}/${parts[1] ?? ''}` : parts[0]!
}

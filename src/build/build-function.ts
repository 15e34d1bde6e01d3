/**
 * From what a person points at (a file, a directory, a zip, standard input) to the files of a revision.
 *
 *   read ──▶ guess kind and entry ──▶ node, js: bundle, beside everything else │ python, wasm: check │ command, http: as it is
 *
 * Building happens at the client, so that one small artefact is uploaded and the server needs neither packages nor a bundler.
 *
 * Invariants:
 *   B1. The same input gives the same files, whatever the path, the day or the machine; so the same digest (tar.ts).
 *   B2. A function that cannot work because of what the user wrote is refused here, with the place, when that can be seen here.
 */
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { FunctionKind } from '#contract/function-config.ts'
import { PlatformError } from '#contract/errors.ts'
import { guessFromFiles, kindOfName, kindOfStart, kindOfText } from './guess-kind.ts'
import type { Guess, Wishes } from './guess-kind.ts'
import { readSourceDirectory, readSourceFile } from './source-files.ts'
import type { SourceFiles } from './source-files.ts'
import { isZip, readZip } from './zip-files.ts'

export { packCode } from './tar.ts'
export type { PackedCode } from './tar.ts'

export type BuildSource = { readonly path: string } | { readonly stdin: Buffer }

/** 4 GB: what the function's own limit allows, only the platform knows. */
const WASM_PAGES_MAX = 65_536

export interface BuildOptions extends Wishes {
  /** The handler's name, when the user gave one. */
  readonly handler?: string | undefined
}

export interface BuiltFunction {
  readonly kind: FunctionKind
  /** Of the built files: for kind node usually a bundle. */
  readonly entry: string
  readonly files: SourceFiles
  /** Sentences for a person: what was left out, what was done differently. */
  readonly warnings: readonly string[]
  /** Absolute paths that the build came from. */
  readonly sources: readonly string[]
}

/** @throws CODE_INVALID, BODY_TOO_LARGE. */
export async function buildFunction(source: BuildSource, options: BuildOptions = {}): Promise<BuiltFunction> {
  if ('stdin' in source) return isZip(source.stdin) ? buildZip(source.stdin, 'the zip', options) : buildText(source.stdin, options)
  const info = await stat(source.path).catch(() => undefined)
  if (info?.isDirectory() === true) return buildDirectory(source.path, source.path, options)
  const file = await readSourceFile(source.path)
  if (isZip(file.bytes)) return buildZip(file.bytes, source.path, options)
  const name = basename(source.path)
  const kind = options.kind ?? kindOfName(name) ?? kindOfStart(file.bytes, file.executable)
  if (kind === undefined) throw unknownKind(source.path)
  const files: SourceFiles = new Map([[name, file]])
  const built = await finish({ kind, entry: name }, files, dirname(source.path), options, { alone: true })
  return { ...built, sources: [...new Set([source.path, ...built.sources])] }
}

async function buildDirectory(path: string, shownAs: string, options: BuildOptions): Promise<BuiltFunction> {
  const { files, warnings } = await readSourceDirectory(path)
  const built = await finish(guessFromFiles(files, options, shownAs), files, path, options, { alone: false })
  return { ...built, warnings: [...warnings, ...built.warnings], sources: [path, ...built.sources] }
}

async function buildZip(bytes: Buffer, shownAs: string, options: BuildOptions): Promise<BuiltFunction> {
  const files = await readZip(bytes)
  return inDirectory(files, (directory) => buildDirectory(directory, shownAs, options))
}

async function buildText(bytes: Buffer, options: BuildOptions): Promise<BuiltFunction> {
  if (bytes.length === 0) throw new PlatformError('CODE_INVALID', 'Standard input is empty. Pipe the code in, or give a path instead of "-".')
  const kind = options.kind ?? kindOfText(bytes)
  const entry = options.entry ?? { node: 'index.ts', js: 'index.ts', python: 'main.py', command: 'main', http: 'main', wasm: 'main.wasm' }[kind]
  const files: SourceFiles = new Map([[entry, { bytes, executable: false }]])
  return inDirectory(files, (directory) => finish({ kind, entry }, files, directory, options, { alone: true }))
}

async function finish(guess: Guess, files: SourceFiles, root: string, options: BuildOptions, input: { readonly alone: boolean }): Promise<BuiltFunction> {
  const plain: BuiltFunction = { ...guess, files, warnings: [], sources: [] }
  if (guess.kind === 'python') {
    const { checkPython } = await import('./python-check.ts')
    await checkPython(files)
    const asks = files.has('requirements.txt') ? ['requirements.txt is not installed by a deploy. Put the packages beside the code: pip install -r requirements.txt -t .'] : []
    return { ...plain, warnings: asks }
  }
  if (guess.kind === 'wasm') {
    const { checkModule } = await import('../../runtimes/faaslet/wasm/check.ts')
    const { errors } = checkModule(files.get(guess.entry)!.bytes, { memoryPagesMax: WASM_PAGES_MAX, handler: options.handler })
    if (errors.length > 0) throw errors[0]!
    return plain
  }
  if (guess.kind !== 'node' && guess.kind !== 'js') return { ...plain, files: withExecutable(files, guess.entry) }
  const { bundle } = await import('./bundle.ts')
  const bundled = await bundle({ root, entry: guess.entry, kind: guess.kind, handler: options.handler })
  if ('refused' in bundled) {
    const everything = input.alone ? files : (await readSourceDirectory(root, { everything: true })).files
    return { ...plain, files: everything, warnings: [`${bundled.refused}: shipped as it is, with node_modules. It will start slower.`] }
  }
  // One file needs nothing but its bundle. A directory brings everything: data files, templates, scripts of its workers.
  const beside = input.alone ? [] : files
  return { kind: guess.kind, entry: bundled.entry, files: new Map([...beside, ...bundled.files]), warnings: bundled.warnings, sources: bundled.sources }
}

/** A program that is shipped to run must be executable there, even if a checkout, a zip or a download lost the bit. */
function withExecutable(files: SourceFiles, entry: string): SourceFiles {
  return new Map([...files].map(([path, file]) => [path, path === entry ? { ...file, executable: true } : file]))
}

/** For code without a directory of its own: the bundler and its package look-up need one. */
async function inDirectory(files: SourceFiles, build: (directory: string) => Promise<BuiltFunction>): Promise<BuiltFunction> {
  const directory = await mkdtemp(join(tmpdir(), 'skep-build-'))
  try {
    for (const [path, file] of files) {
      await mkdir(dirname(join(directory, path)), { recursive: true })
      await writeFile(join(directory, path), file.bytes, { mode: file.executable ? 0o755 : 0o644 })
    }
    return { ...(await build(directory)), sources: [] }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function unknownKind(path: string): PlatformError {
  return new PlatformError(
    'CODE_INVALID',
    `What kind of function ${path} is cannot be told: it is no .ts, .js, .mjs, .cjs or .py file, no zip, not executable, and has no "#!" line. ` +
      'Say it with --kind node, python, command or http.',
  )
}

/**
 * Recognises what a person points at: which kind of function it is, and which file is its entry.
 *
 * By name first (extension, package.json, index, main, handler), by the first bytes otherwise. A guess is only made
 * where there is one sensible answer; else the message lists what was looked for and names the options.
 */
import { posix } from 'node:path'
import type { FunctionKind } from '#contract/function-config.ts'
import { PlatformError } from '#contract/errors.ts'
import type { SourceFiles } from './source-files.ts'

export interface Guess {
  readonly kind: FunctionKind
  readonly entry: string
}

export interface Wishes {
  readonly kind?: FunctionKind | undefined
  readonly entry?: string | undefined
}

const nodeExtensions = ['.ts', '.mts', '.js', '.mjs', '.cjs', '.cts', '.tsx', '.jsx']
const nodeStems = ['index', 'main', 'handler']
const pythonEntries = ['main.py', 'handler.py', '__main__.py', 'index.py', 'app.py']
const commandEntries = ['main', 'run', 'bootstrap', 'run.sh', 'main.sh']

/** The kind that a file name tells. */
export function kindOfName(name: string): FunctionKind | undefined {
  const extension = posix.extname(name)
  if (nodeExtensions.includes(extension)) return 'node'
  if (extension === '.py') return 'python'
  if (extension === '.wasm') return 'wasm'
  return undefined
}

/** The kind of a program by its first bytes: a `#!` line names its runtime, ELF is a program, WebAssembly has its own mark. */
export function kindOfStart(start: Buffer, executable: boolean): FunctionKind | undefined {
  if (start.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'))) return 'command'
  if (start.subarray(0, 2).toString('latin1') === '#!') return 'command'
  if (start.subarray(0, 4).equals(Buffer.from('\0asm', 'latin1'))) return 'wasm'
  return executable ? 'command' : undefined
}

/** The kind of source text without a name, from standard input. */
export function kindOfText(bytes: Buffer): FunctionKind {
  const byStart = kindOfStart(bytes, false)
  if (byStart !== undefined) return byStart
  const text = bytes.toString('utf8', 0, 64 * 1024)
  const looksPython = /^(?:async )?def \w+\(.*\).*:\s*(?:#.*)?$/m.test(text)
  const looksNode = /^\s*(?:export|const|let|var|module\.exports|(?:async )?function)\b/m.test(text)
  return looksPython && !looksNode ? 'python' : 'node'
}

/** Kind and entry of the files of a directory or zip. @throws CODE_INVALID when there is no one answer. */
export function guessFromFiles(files: SourceFiles, wishes: Wishes, where: string): Guess {
  if (wishes.entry !== undefined) {
    const entry = posix.normalize(wishes.entry)
    const file = files.get(entry)
    if (file === undefined) throw notFound(`${where} has no file ${entry}`, files)
    const kind = wishes.kind ?? kindOfName(entry) ?? kindOfStart(file.bytes, file.executable)
    if (kind === undefined) throw notFound(`the kind of ${entry} cannot be told from its name`, files)
    return { kind, entry }
  }
  for (const kind of wishes.kind === undefined ? (['node', 'python', 'command', 'wasm'] as const) : [wishes.kind]) {
    const entry = entryFor(kind, files)
    if (entry !== undefined) return { kind, entry }
  }
  throw notFound(`${where} has no entry${wishes.kind === undefined ? '' : ` for kind ${wishes.kind}`}`, files)
}

function entryFor(kind: FunctionKind, files: SourceFiles): string | undefined {
  if (kind === 'node' || kind === 'js') return nodeEntry(files)
  if (kind === 'python') return pythonEntries.find((name) => files.has(name)) ?? onlyFile(files, 'python')
  if (kind === 'wasm') return ['main.wasm', 'index.wasm', 'handler.wasm'].find((name) => files.has(name)) ?? onlyFile(files, 'wasm')
  const named = commandEntries.find((name) => files.has(name))
  if (named !== undefined) return named
  const programs = [...files].filter(([path, file]) => !path.includes('/') && kindOfStart(file.bytes, file.executable) === 'command')
  return programs.length === 1 ? programs[0]![0] : undefined
}

function nodeEntry(files: SourceFiles): string | undefined {
  const manifest = files.get('package.json')
  const named = manifest === undefined ? undefined : mainOf(manifest.bytes)
  if (named !== undefined && files.has(named)) return named
  for (const stem of nodeStems) {
    const found = nodeExtensions.map((extension) => stem + extension).find((name) => files.has(name))
    if (found !== undefined) return found
  }
  return onlyFile(files, 'node')
}

function onlyFile(files: SourceFiles, kind: FunctionKind): string | undefined {
  const candidates = [...files.keys()].filter((path) => !path.includes('/') && kindOfName(path) === kind && !/\.(?:test|spec|config|d)\.\w+$/.test(path))
  return candidates.length === 1 ? candidates[0] : undefined
}

function mainOf(manifest: Buffer): string | undefined {
  try {
    const { main } = JSON.parse(manifest.toString('utf8')) as { main?: unknown }
    return typeof main === 'string' ? posix.normalize(main) : undefined
  } catch {
    return undefined
  }
}

function notFound(what: string, files: SourceFiles): PlatformError {
  const some = [...files.keys()].slice(0, 8).join(', ')
  return new PlatformError(
    'CODE_INVALID',
    `No function found: ${what}. Looked for package.json "main", index.*, main.*, handler.* and one executable file among ` +
      `${files.size} files${some === '' ? '' : ` (${some}${files.size > 8 ? ', …' : ''})`}. Name it with --entry FILE, and with --kind KIND if need be.`,
  )
}

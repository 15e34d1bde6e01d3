/**
 * Judges a WebAssembly module without running it: which shape it has, what it wants, and what stands in the way.
 *
 *   command   exports `_start`: it runs once per invocation, standard input to standard output
 *   reactor   exports `handle`, `handler` or `main` (without parameters): called once per invocation; `_initialize` before
 *
 * Before the snapshot run, in this order: `_initialize` (a reactor's), then `skep_init` or `wizer.initialize`. A module that
 * exports both `_start` and `handle` is a reactor that `_start` initialises (TinyGo). A command that was initialised before
 * may export `skep_resume` or `wizer.resume`, which is then run in place of `_start`.
 *
 * The platform calls this at deploy, and the host again when it makes a guest; V8's own validation comes with compiling.
 *
 * Source: WASI application ABI (commands and reactors); Wizer for the names of its two exports.
 */
import { PlatformError } from '../../../src/contract/errors.ts'
import { importType, SCRIPT_MODULE, SKEP_MODULE, supportedImports, waitingImports, WASI_MODULE } from '../wasi/abi.ts'
import { readModule, typeOf, typeText, type FunctionType, type WasmModule } from './module.ts'
import { memoryLimits, rewriteModule } from './rewrite.ts'

export interface ModuleShape {
  readonly kind: 'command' | 'reactor'
  /** Exports that run before the snapshot, in order. The start function comes before them. */
  readonly boot: readonly string[]
  /** The export that runs per invocation. */
  readonly entry: string
}

export interface ModuleReport {
  /** Undefined when the module has none that is known; `errors` says why. */
  readonly shape: ModuleShape | undefined
  /** What it imports, as "module.name". */
  readonly imports: readonly string[]
  /** Whether it imports something that may wait. */
  readonly waits: boolean
  /** In pages of 64 KB; the maximum is the smaller of its own and the function's. */
  readonly memoryPagesMin: number
  readonly memoryPagesMax: number
  /** Empty when it can be deployed. */
  readonly errors: readonly PlatformError[]
}

export interface CheckOptions {
  /** The function's memory limit in pages of 64 KB. */
  readonly memoryPagesMax: number
  /** The export to call per invocation, when the user named one. */
  readonly handler?: string | undefined
}

const HANDLERS = ['handle', 'handler', 'main'] as const

/** Never throws: what is wrong is in `errors`, each with its next step. */
export function checkModule(bytes: Uint8Array, options: CheckOptions): ModuleReport {
  const none: ModuleReport = { shape: undefined, imports: [], waits: false, memoryPagesMin: 0, memoryPagesMax: 0, errors: [] }
  let module: WasmModule
  try {
    module = readModule(bytes)
  } catch (error) {
    return { ...none, errors: [PlatformError.from(error)] }
  }
  const errors: PlatformError[] = []
  const attempt = <Value>(run: () => Value): Value | undefined => {
    try {
      return run()
    } catch (error) {
      errors.push(PlatformError.from(error))
      return undefined
    }
  }
  const memory = attempt(() => memoryLimits(module, options.memoryPagesMax))
  // Everything else that the rewriting refuses is refused here; memory alone is already said.
  if (memory !== undefined) attempt(() => rewriteModule(module, options))
  attempt(() => checkImports(module))
  const shape = attempt(() => shapeOf(module, options.handler))
  const functions = module.imports.filter(({ kind }) => kind === 'function')
  return {
    shape,
    imports: module.imports.map((one) => `${one.module}.${one.name}`),
    waits: functions.some(({ module: from, name }) => from !== SCRIPT_MODULE && waitingImports.has(name)),
    memoryPagesMin: memory?.min ?? module.memories[0]?.min ?? 0,
    memoryPagesMax: memory?.max ?? 0,
    errors,
  }
}

/** @throws CODE_INVALID that lists every import which is not there. */
function checkImports(module: WasmModule): void {
  const unknown: string[] = []
  const wrong: string[] = []
  for (const one of module.imports) {
    if (one.kind !== 'function') continue
    const type = importType(one.module, one.name)
    if (type === undefined) unknown.push(`${one.module}.${one.name}`)
    else if (!sameType(type, one.type!)) wrong.push(`${one.module}.${one.name} ${typeText(one.type!)}, which is ${typeText(type)}`)
  }
  if (unknown.length > 0) {
    const shown = `${unknown.slice(0, 20).join(', ')}${unknown.length > 20 ? ` and ${unknown.length - 20} more` : ''}`
    throw new PlatformError('CODE_INVALID', `The WebAssembly module imports ${shown}; there is no such import. ${importAdvice(unknown)}`, { details: { imports: unknown.slice(0, 100) } })
  }
  if (wrong.length > 0) throw new PlatformError('CODE_INVALID', `The WebAssembly module imports ${wrong.slice(0, 20).join('; ')}. Build it against the current headers.`, { details: { imports: wrong.slice(0, 100) } })
}

function importAdvice(unknown: readonly string[]): string {
  if (unknown.some((name) => name.startsWith('wasi_unstable.'))) return 'wasi_unstable is WASI preview 0: build it with a newer compiler, for preview 1.'
  if (unknown.some((name) => name.startsWith('wasi:'))) return 'That is WASI preview 2: build it for preview 1 (wasm32-wasip1).'
  if (unknown.some((name) => /__wbindgen|wbg/.test(name))) return 'wasm-bindgen is for browsers: build it for wasm32-wasip1.'
  if (unknown.some((name) => /emscripten/.test(name))) return 'Emscripten builds for browsers: build it with -sSTANDALONE_WASM, or with wasi-sdk.'
  if (unknown.some((name) => name.startsWith('gojs.') || name.startsWith('go.'))) return 'GOOS=js is for browsers: build it with GOOS=wasip1.'
  return `Supported are ${WASI_MODULE} (WASI preview 1), ${SKEP_MODULE} (${Object.keys(supportedImports[SKEP_MODULE]!).join(', ')}) and AssemblyScript's ${SCRIPT_MODULE} (${Object.keys(supportedImports[SCRIPT_MODULE]!).join(', ')}); docs/wasm-abi.md describes them.`
}

function sameType(a: FunctionType, b: FunctionType): boolean {
  return a.params.join() === b.params.join() && a.results.join() === b.results.join()
}

/** @throws HANDLER_NOT_FOUND */
function shapeOf(module: WasmModule, handler: string | undefined): ModuleShape {
  const types = new Map(module.exports.filter(({ kind }) => kind === 'function').map(({ name, index }) => [name, typeOf(module, index)]))
  const isPlain = (name: string): boolean => types.has(name) && types.get(name)!.params.length === 0
  const init = ['skep_init', 'wizer.initialize'].filter(isPlain).slice(0, 1)
  const entry = handler ?? HANDLERS.find((name) => isHandler(types.get(name)))
  if (handler !== undefined && handler !== '_start' && !isHandler(types.get(handler))) throw notFound(`no handler "${handler}"`, types)
  const isCommand = isPlain('_start') && !isPlain('_initialize') && (handler === undefined ? entry !== 'handle' : handler === '_start')
  if (isCommand) {
    const resume = ['skep_resume', 'wizer.resume'].find(isPlain)
    return { kind: 'command', boot: init, entry: init.length > 0 && resume !== undefined ? resume : '_start' }
  }
  if (entry === undefined) throw notFound('neither "_start" (a command) nor "handle", "handler" or "main" without parameters (a reactor)', types)
  return { kind: 'reactor', boot: [...['_initialize', '_start'].filter(isPlain).slice(0, 1), ...init], entry }
}

function isHandler(type: FunctionType | undefined): boolean {
  return type !== undefined && type.params.length === 0 && (type.results.length === 0 || type.results.join() === 'i32')
}

function notFound(what: string, types: ReadonlyMap<string, FunctionType>): PlatformError {
  const names = [...types].slice(0, 20).map(([name, type]) => `${name} ${typeText(type)}`)
  const has = names.length === 0 ? 'It exports no function.' : `It exports ${names.join(', ')}${types.size > 20 ? ` and ${types.size - 20} more` : ''}.`
  return new PlatformError('HANDLER_NOT_FOUND', `The WebAssembly module has ${what}. ${has} A handler has no parameters and returns nothing or an i32.`)
}

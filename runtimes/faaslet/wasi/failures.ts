/**
 * How a WebAssembly function can end other than by returning, as the platform's errors.
 *
 *   exit code not 0, a result not 0, a trap, an exception nobody caught   FUNCTION_THREW
 *   any of these when memory was refused, as far as that can be seen      FUNCTION_OUT_OF_MEMORY
 *   any of these while it is initialised                                  INIT_FAILED
 *
 * WebAssembly does not tell that `memory.grow` was refused, so running out of memory is recognised by what the language's
 * runtime says on standard error, or by a memory that is nearly full at a trap or abort.
 */
import { PlatformError } from '../../../src/contract/errors.ts'
import { PAGE_BYTES } from '../wasm/rewrite.ts'

/** `proc_exit`: not an Error, because it needs no stack and nobody shows it. */
export class Exit {
  readonly code: number

  constructor(code: number) {
    this.code = code
  }
}

/** AssemblyScript's `abort`. */
export class ScriptAbort extends Error {
  override readonly name = 'abort'
}

export interface FailureContext {
  /** The file that was deployed. */
  readonly entry: string
  readonly lastLines: readonly string[]
  readonly memoryBytes: number
  readonly memoryBytesMax: number
  readonly isBooting: boolean
  /** What V8's positions are ahead of the deployed file's. */
  readonly codeShift: number
}

const OUT_OF_MEMORY = /out of memory|memory allocation of \d+ bytes failed|cannot allocate memory|bad_alloc|OutOfMemory/i
/** This near to its limit, a memory counts as full. */
const FULL = 7 / 8

/** What the code threw, or PlatformErrors of Enter as they are. */
export function failureOf(thrown: unknown, context: FailureContext): PlatformError {
  if (thrown instanceof PlatformError) return context.isBooting && thrown.code === 'FUNCTION_TIMEOUT' ? new PlatformError('INIT_TIMEOUT', thrown.message, { cause: thrown }) : thrown
  if (thrown instanceof Exit) return ended(`ended with exit code ${thrown.code}`, { exitCode: thrown.code }, undefined, context)
  if (isWasmException(thrown)) return ended('threw an exception that it did not catch', {}, undefined, context)
  if (thrown instanceof Error) return ended(`stopped: ${thrown.name}: ${thrown.message}`, {}, wasmStack(thrown, context.codeShift), context)
  return PlatformError.from(thrown)
}

/** A handler's result that is not 0. */
export function resultFailure(handler: string, code: number, context: FailureContext): PlatformError {
  return ended(`failed: ${handler} returned ${code}`, { exitCode: code }, undefined, context)
}

function ended(how: string, details: Record<string, unknown>, functionStack: string | undefined, context: FailureContext): PlatformError {
  const { entry, lastLines, memoryBytes, memoryBytesMax, isBooting } = context
  const last = lastLines.length === 0 ? '' : ` Its last lines: ${lastLines.join('\n')}`
  const options = { details: { ...details, stderr: lastLines }, ...(functionStack !== undefined && { functionStack }) }
  const isExit = details['exitCode'] !== undefined
  if (OUT_OF_MEMORY.test(how) || lastLines.some((line) => OUT_OF_MEMORY.test(line)) || (!isExit && memoryBytes >= memoryBytesMax * FULL)) {
    const limit = `its memory has ${megabytes(memoryBytes)} of at most ${megabytes(memoryBytesMax)} MB`
    return new PlatformError('FUNCTION_OUT_OF_MEMORY', `"${entry}" ran out of memory: ${limit}. It ${how}. Deploy it with a larger memory.${last}`, options)
  }
  const when = isBooting ? 'while it was initialised, ' : ''
  return new PlatformError(isBooting ? 'INIT_FAILED' : 'FUNCTION_THREW', `${when === '' ? '' : 'W' + when.slice(1)}"${entry}" ${how}.${last}`, options)
}

function megabytes(bytes: number): number {
  return Math.round((bytes / PAGE_BYTES / 16) * 10) / 10
}

function isWasmException(thrown: unknown): boolean {
  const { Exception } = WebAssembly as unknown as { readonly Exception: new () => object }
  return typeof thrown === 'object' && thrown !== null && thrown instanceof Exception
}

/** The frames of the function's own code: `at name (wasm-function[12]:0x1a3)`, positions as in the deployed file. */
export function wasmStack(error: Error, codeShift: number): string {
  const frames = String(error.stack)
    .split('\n')
    .flatMap((line) => {
      const match = /^\s+at (?:(?<name>.+) \()?wasm:\/\/wasm\/[^)]*?(?<place>wasm-function\[\d+\]):0x(?<at>[0-9a-f]+)\)?$/.exec(line)
      if (match === null) return []
      const { name, place, at } = match.groups as { name?: string; place: string; at: string }
      const position = `${place}:0x${(Number.parseInt(at, 16) - codeShift).toString(16)}`
      return [`    at ${name === undefined ? position : `${name} (${position})`}`]
    })
  return [`${error.name}: ${error.message}`, ...frames].join('\n')
}

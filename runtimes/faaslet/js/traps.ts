/**
 * What it means when the engine itself stops: a trap of the WebAssembly code, or the end of the host's own stack.
 *
 * The engine's limits are set so that user code meets them as JavaScript errors. Where V8's stack ends first all the same, or the engine has
 * a fault, it was the function's code that led there: its fault, and only that faaslet's end.
 */
import { PlatformError } from '../../../src/contract/errors.ts'

export function trapped(thrown: unknown): PlatformError {
  if (thrown instanceof PlatformError) return thrown
  if (thrown instanceof RangeError) {
    return new PlatformError('FUNCTION_THREW', 'RangeError: Maximum call stack size exceeded', { cause: thrown })
  }
  if (thrown instanceof WebAssembly.RuntimeError) {
    return new PlatformError('FUNCTION_EXITED', `The JavaScript engine stopped in the function's code (${thrown.message}). Should the code do nothing unusual, deploy it with kind node.`, { cause: thrown })
  }
  return new PlatformError('INTERNAL', thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown })
}

/**
 * Looks at the code of a faaslet function when it is deployed, without running it: what a WebAssembly module imports, exports and needs, and
 * what JavaScript asks for that kind js does not have.
 *
 * In a process of its own (code-check-program.ts), as types are stripped (registry/strip-types.ts): a parser that meets a source nested a hundred
 * thousand deep runs out of its native stack and takes its process with it, a large bundle takes seconds of an event loop,
 * and none of the parsers' memory stays in the platform.
 *
 * Invariants:
 *   Q1. Refused is only what the check has found. When it breaks, or is not done in time, the start of the first instance finds out.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { PlatformError } from '#contract/errors.ts'
import type { PlatformErrorBody } from '#contract/errors.ts'
import type { FunctionConfig } from '#contract/function-config.ts'

/** What of a configuration the check goes by. */
export type CheckedConfig = Pick<FunctionConfig, 'kind' | 'entry' | 'memoryMb' | 'handler'>

/** A check takes some 0.15 s, and 3 s for JavaScript of 3 MB; a person who deploys waits for it. */
const CHECK_MS_MAX = 20_000
const program = join(import.meta.dirname, 'code-check-program.ts')

/**
 * @param config Of kind wasm or js.
 * @param entry The bytes of the entry file. Not read to its end when the check has its answer before.
 * @throws CODE_INVALID, HANDLER_NOT_FOUND; what `entry` throws.
 */
export async function checkFaasletCode({ kind, entry: name, memoryMb, handler }: CheckedConfig, entry: AsyncIterable<Uint8Array>): Promise<void> {
  const asked = JSON.stringify({ kind, entry: name, memoryMb, handler })
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, asked], { stdio: ['pipe', 'pipe', 'ignore'], timeout: CHECK_MS_MAX, killSignal: 'SIGKILL' })
  let sourceError: unknown
  async function* guarded(): AsyncGenerator<Uint8Array> {
    try {
      yield* entry
    } catch (thrown) {
      sourceError = thrown
      throw thrown
    }
  }
  const failed = new Promise<void>((resolve) => child.on('error', () => resolve()))
  // A child that ends early closes its end, which is no error of the code.
  const fed = pipeline(guarded(), child.stdin).catch(() => {})
  const [printed] = await Promise.all([text(child.stdout), Promise.race([fed, failed])])
  if (sourceError !== undefined) throw sourceError
  const found = parse(printed)
  if (found !== undefined) throw PlatformError.fromBody(found)
}

function parse(printed: string): PlatformErrorBody | undefined {
  try {
    return (JSON.parse(printed) as { readonly error?: PlatformErrorBody }).error
  } catch {
    // It broke (Q1).
    return undefined
  }
}

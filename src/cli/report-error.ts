/**
 * Shows an error to a person (what happened, and what to do next) or to a program (one JSON document), and answers the exit code.
 */
import { PlatformError } from '#contract/errors.ts'
import type { PlatformErrorCode } from '#contract/errors.ts'
import type { Context } from './context.ts'
import { exitCodeFor } from './exit-codes.ts'

/** The next step where the message itself does not know how the CLI would take it. */
const nextSteps: Partial<Record<PlatformErrorCode, string>> = {
  KEY_MISSING: 'set SKEP_KEY, or pass --key; `skep up` prints the key of a new platform',
  KEY_INVALID: 'check SKEP_KEY (or --key) against the credentials.json in the data directory',
  FUNCTION_NOT_FOUND: 'skep list',
  REVISION_NOT_FOUND: 'skep revisions NAME',
  INVOCATION_NOT_FOUND: 'skep invocations',
  FUNCTION_THREW: 'skep logs NAME',
  FUNCTION_EXITED: 'skep logs NAME',
  INIT_FAILED: 'skep logs NAME',
  FUNCTION_TIMEOUT: 'skep logs NAME; or deploy it with a larger --timeout',
  FUNCTION_OUT_OF_MEMORY: 'deploy it with a larger --memory',
  ANSWER_INVALID: 'skep logs NAME',
  RUNTIME_MISSING: 'skep doctor',
  ISOLATION_MISSING: 'skep doctor',
  INTERNAL: 'this is a bug of the platform: its log has more (skep up prints it)',
}

/** @param name Of the function that it is about, for the next step. */
export function reportError(context: Context, thrown: unknown, name = 'NAME'): number {
  const error = PlatformError.from(thrown)
  const next = nextSteps[error.code]?.replace('NAME', name)
  const exitCode = exitCodeFor(error.code)
  if (context.json) {
    process.stdout.write(`${JSON.stringify({ error: { ...error.toBody(), ...(next !== undefined && { next }), exitCode } })}\n`)
    return exitCode
  }
  const lines = [`${context.style(['red', 'bold'], 'error')} ${error.code}: ${error.message}`]
  if (error.functionStack !== undefined) lines.push(context.style('dim', error.functionStack))
  if (next !== undefined) lines.push(`${context.style('cyan', 'next')} ${next}`)
  // Our own stack is for those who work on the platform.
  if (process.env['SKEP_DEBUG'] !== undefined && error.code === 'INTERNAL' && error.cause instanceof Error) lines.push(String(error.cause.stack))
  process.stderr.write(`${lines.join('\n')}\n`)
  return exitCode
}

/**
 * The command line: parses, runs one command, and ends with its exit code.
 *
 * Only what every command needs is imported here; each command's module is imported when it is called (lazy.ts), so that
 * `skep invoke` does not pay for the bundler and `skep --help` for neither.
 */
import { CommanderError } from 'commander'
import { Context } from './context.ts'
import { exitCodes } from './exit-codes.ts'
import { buildProgram } from './program.ts'
import { reportError } from './report-error.ts'

const wantsJson = process.argv.includes('--json')

// A reader that has seen enough (`skep logs | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exitCodes.ok : exitCodes.platform)
})

try {
  await buildProgram({ quiet: wantsJson }).parseAsync(process.argv)
} catch (thrown) {
  process.exitCode = thrown instanceof CommanderError ? usage(thrown) : reportError(new Context({ json: wantsJson }), thrown)
}

/** Commander has said it to a person already; help and version are no errors. */
function usage(error: CommanderError): number {
  if (error.exitCode === 0) return exitCodes.ok
  if (wantsJson) process.stdout.write(`${JSON.stringify({ error: { code: 'USAGE', message: error.message.replace(/^error: /, ''), next: 'skep help', exitCode: exitCodes.usage } })}\n`)
  return exitCodes.usage
}

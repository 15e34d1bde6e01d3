/**
 * The tree of all commands: names, arguments, options and one line of help each. Nothing is done here.
 *
 * Completions and docs are made from this tree, so what is not in it does not exist.
 */
import { Command } from 'commander'
import { addFunctionCommands } from './program-functions.ts'
import { addInvocationCommands } from './program-invocations.ts'
import { addMeasureCommands } from './program-measure.ts'
import { addPlatformCommands } from './program-platform.ts'

export const VERSION = '0.1.0'

export interface ProgramOptions {
  /** Commander says nothing itself: the caller prints usage errors as JSON. */
  readonly quiet: boolean
}

export function buildProgram(options: ProgramOptions = { quiet: false }): Command {
  const program = new Command('skep')
    .description('A serverless cloud in which data moves as little as possible.')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('(skep COMMAND --help tells more)')
    .addHelpText('after', [
      '',
      'First steps:',
      '  skep up                                   start a platform on this machine',
      '  skep deploy hello.ts                      one file is a function',
      '  skep invoke hello --data \'{"name":"you"}\'  run it, and see where the time went',
      '  skep dev .                                serve a directory, with reload on save',
      '',
      'Exit codes: 0 done, 1 the function failed, 2 usage, 3 not found, 4 not allowed, 5 platform, 6 try later (docs/cli.md).',
    ].join('\n'))
  addPlatformCommands(program)
  addFunctionCommands(program)
  addInvocationCommands(program)
  addMeasureCommands(program)
  for (const command of everyCommand(program)) {
    command.exitOverride()
    if (options.quiet) command.configureOutput({ writeErr: () => {} }).showHelpAfterError(false)
  }
  return program
}

/** A command and all below it. */
export function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap((below) => everyCommand(below as Command))]
}

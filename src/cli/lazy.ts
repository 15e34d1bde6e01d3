/**
 * Joins commander's commands to their modules, which are imported only when the command runs.
 *
 * A command's function is given the context, its arguments in order, and its options. It answers an exit code other than
 * 0, or nothing; what it throws is reported in one place (main.ts).
 */
import type { Command } from 'commander'
import { Context } from './context.ts'
import type { CommandOptions } from './context.ts'

/** Arguments are as commander gives them: a string, a list of strings, or undefined. */
export type CommandAction = (context: Context, ...values: never[]) => Promise<number | void>

/** For {@link Command.action}: loads the command's function, and runs it. */
export function lazy(load: () => Promise<CommandAction>): (...values: unknown[]) => Promise<void> {
  return async (...values) => {
    const command = values.at(-1) as Command
    const options = command.optsWithGlobals<CommandOptions>()
    const run = (await load()) as (context: Context, ...values: unknown[]) => Promise<number | void>
    const code = await run(new Context(options), ...values.slice(0, -2))
    if (typeof code === 'number' && code !== 0) process.exitCode = code
  }
}

/** Options of every command that talks to a platform. */
export function withConnection(command: Command): Command {
  return withJson(command)
    .option('--url <url>', 'the platform (default: SKEP_URL, or the credentials of a platform of this user)')
    .option('--key <key>', 'the API key (default: SKEP_KEY, or those credentials)')
    .option('-N, --namespace <name>', 'act in this namespace (default: that of the key; another one needs an admin key)')
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON, for programs')
}

/** For options that may be given several times. */
export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

/** The commands that run a platform, look at the machine, and work on Skep itself. */
import type { Command } from 'commander'
import { collect, lazy, withJson } from './lazy.ts'

export function addPlatformCommands(program: Command): void {
  withJson(program.command('up'))
    .description('start a platform on this machine')
    .option('-p, --port <port>', 'port to listen at; 0 picks a free one', '7070')
    .option('--host <address>', 'address to listen at', '127.0.0.1')
    .option('--data <directory>', 'where everything is kept (default: SKEP_DATA, or the data directory of this user)')
    .option('--pretty', 'say it for people, also without a terminal')
    .option('--allow-unsandboxed', 'run functions even where they cannot be isolated: only for code that you trust')
    .option('--stem-cells <n>', 'sandboxes kept started for node functions, half as many for python (default: 2 and 1); 0 keeps none')
    .option('--callback-host <host>', 'callbacks of asynchronous invocations may go to this host, too (repeat)', collect)
    .action(lazy(() => import('./commands/up.ts').then((module) => module.up)))

  withJson(program.command('dev'))
    .argument('[directory]', 'each file in it is a function, and each directory with an index or main file', '.')
    .description('serve the functions of a directory, and reload them when they are saved')
    .option('-p, --port <port>', 'port to listen at; 0 picks a free one', '7070')
    .option('-e, --env <file>', 'variables for all functions, NAME=value per line (default: .env in the directory)')
    .option('--allow-unsandboxed', 'run functions even where they cannot be isolated')
    .action(lazy(() => import('./commands/dev.ts').then((module) => module.dev)))

  withJson(program.command('demo'))
    .description('start a platform, run the examples on real input, and show what each call cost')
    .option('-p, --port <port>', 'port to listen at; 0 picks a free one', '0')
    .option('--no-system', 'install no system packages')
    .option('--allow-unsandboxed', 'run functions even where they cannot be isolated')
    .action(lazy(() => import('./commands/demo.ts').then((module) => module.demo)))

  withJson(program.command('doctor'))
    .description('what this machine has, what is lost without the rest, and how to get it')
    .option('--data <directory>', 'the data directory to look at')
    .action(lazy(() => import('./commands/doctor.ts').then((module) => module.doctor)))

  withJson(program.command('setup'))
    .description('install missing system packages (with apt, as root)')
    .option('--no-system', 'only say what is missing')
    .option('--bench', 'also what the benchmarks compare with')
    .action(lazy(() => import('./commands/setup.ts').then((module) => module.setup)))

  withJson(program.command('bench'))
    .argument('[scenario]')
    .argument('[args...]', 'handed to the scenario')
    .description('measure: one scenario per question; the last line is one JSON object')
    .option('--list', 'list the scenarios')
    .option('--quick', 'fewer samples: to see that it runs, not what it measures')
    .action(lazy(() => import('./commands/bench.ts').then((module) => module.bench)))

  withJson(program.command('test'))
    .argument('[filters...]', 'only test files whose path contains one of these')
    .description('check types, tidiness and all tests')
    .option('--soak', 'also the long ones, *.soak.ts')
    .option('--no-system', 'install no system packages')
    .option('--concurrency <n>', 'test files at once')
    .action(lazy(() => import('./commands/test.ts').then((module) => module.test)))

  withJson(program.command('completions'))
    .argument('<shell>', 'bash, zsh or fish')
    .description('print completions for a shell')
    .addHelpText('after', '\nbash: eval "$(skep completions bash)"\nzsh:  eval "$(skep completions zsh)"\nfish: skep completions fish | source')
    .action(lazy(() => import('./commands/completions.ts').then((module) => module.completions)))
}

/** The commands that measure a serverless cloud: this one or another. */
import type { Command } from 'commander'
import { collect, lazy, withConnection, withJson } from './lazy.ts'

export function addMeasureCommands(program: Command): void {
  const measure = program.command('measure').description('measure this platform or another one (the method of STeLLAR and In-Vitro)')

  withPlace(measure.command('run'))
    .argument('<file...>', 'experiment files, in the format of STeLLAR')
    .description('run the experiments of files; Ctrl-C ends a run early and keeps what was measured')
    .option('-p, --provider <names>', 'measure on this provider rather than on the file\'s; several, as skep,workerd: on each in turn, and compare')
    .option('-o, --output <directory>', 'each run makes a directory in it', 'latency-samples')
    .option('--only <n>', 'only this sub-experiment, counted from 0')
    .option('--resume <directory>', 'go on with an earlier run: what it has measured to the end stays')
    .option('--seed <n>', 'repeat the random gaps of another run', '42')
    .option('--report', 'write the report of each run, and of two providers a comparison')
    .addHelpText('after', '\nskep measure run examples/measure/smoke.json --report\nskep measure run examples/measure/chapter-3.json --provider skep,workerd --report')
    .action(lazy(() => import('./commands/measure-run.ts').then((module) => module.measureRun)))

  withPlace(measure.command('replay'))
    .argument('<trace>', 'a directory in In-Vitro\'s format (invocations.csv, durations.csv, memory.csv), or a file of the Azure trace of 2021')
    .description('replay a trace: each function of it invoked when it was, for as long and with as much memory')
    .option('-p, --provider <name>', 'where to replay', 'skep')
    .option('-o, --output <directory>', 'each replay makes a directory in it', 'latency-samples')
    .option('--function <name|url>', 'invoke this one, deployed already, rather than functions that work as the trace says')
    .option('--runtime <name>', 'of functions that are deployed: node, python', 'node')
    .option('--functions <n>', 'a sample of so many functions that is like the whole trace')
    .option('--skip <n>', 'leave out so many minutes at the beginning', '0')
    .option('--minutes <n>', 'replay so many minutes of the trace')
    .option('--warm-up <n>', 'so many minutes at the beginning do not count', '0')
    .option('--speed-up <factor>', 'so many times faster than recorded; how long functions run stays', '1')
    .option('--distribution <name>', 'of arrivals in a minute: exponential, uniform, equidistant', 'exponential')
    .option('--shift', 'a minute\'s first arrival is not at its beginning')
    .option('--granularity <unit>', 'what a column counts: minute, second', 'minute')
    .option('--in-flight <n>', 'most invocations under way at once; what is due above it is not sent, and counted', '10000')
    .option('--seed <n>', 'the same seed gives the same arrivals', '42')
    .option('--dry-run', 'print what would be invoked when, and stop')
    .action(lazy(() => import('./commands/measure-replay.ts').then((module) => module.measureReplay)))

  withJson(measure.command('report'))
    .argument('<directory>', 'of a run')
    .description('tables and plots of a run as one page, and a summary here')
    .action(lazy(() => import('./commands/measure-report.ts').then((module) => module.measureReport)))

  withJson(measure.command('compare'))
    .argument('<a>', 'directory of a run')
    .argument('<b>', 'directory of another')
    .description('two runs: ratios with intervals, and a verdict where they allow one')
    .option('-o, --output <directory>', 'write comparison.html and comparison.json there, too')
    .option('--smallest-difference <share>', 'what is less than this is no difference', '0.05')
    .action(lazy(() => import('./commands/measure-report.ts').then((module) => module.measureCompare)))
}

/** Options that say where a provider is. Each provider names those that it lacks. */
function withPlace(command: Command): Command {
  return withConnection(command)
    .option('-g, --endpoints <directory>', 'functions that are deployed, in STeLLAR\'s endpoints files: vHive.json, azure.json, google.json, endpoints.json')
    .option('--endpoint <url>', 'a function that is deployed, in place of a file (repeat)', collect)
    .option('--host <name>', 'knative: the header Host of the --endpoint at the same place (repeat)', collect)
    .option('--bucket <name>', 'for transfers through storage, where the provider makes none')
    .option('--region <name>', 'aws: where to deploy')
    .option('--role <arn>', 'aws: the role that functions have')
    .option('--reserved-concurrency <n>', 'aws: reserve as many instances for each function')
    .option('--workerd <path>', 'workerd: the program (default: that of the benchmarks, or in PATH)')
}
